//! What the schedule is told and what it wants.

use super::places::Scope;
use crate::outcome::Signal;

/// What keeps a domain from its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is left alone until then, after so many failures in a row.
    Pause {
        /// Seconds since 1970.
        until: i64,
        /// How often it could not be reached, or wanted less, one time after the other.
        failures: u8,
    },
    /// Its host, or the address that is connected from, has as many connections as it may have.
    Connections,
    /// All sessions are taken.
    Sessions,
}

/// What the operator decides. Limits are those of all shards that have [`super::Hosts`] in common, unless they say something
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sessions: those that do something, and those whose connections wait for a next message.
    pub sessions_max: usize,
    /// Of these, connections of one shard that wait.
    pub idle_max: usize,
    /// For how long they do, in seconds.
    pub idle_wait: u32,
    /// Sessions for one domain, those that wait not counted.
    pub domain_sessions_max: u16,
    /// Connections to one address.
    pub host_connections_max: u16,
    /// Connections from one local address.
    pub source_connections_max: usize,
    /// The first pause of what can't be reached, in seconds. It doubles each time.
    pub pause_first: u32,
    /// The longest pause, in seconds.
    pub pause_max: u32,
}

impl Settings {
    /// What is used where nothing else is said.
    pub const DEFAULT: Self = Self {
        sessions_max: 200,
        idle_max: 32,
        idle_wait: 10,
        domain_sessions_max: 20,
        host_connections_max: 20,
        source_connections_max: 200,
        pause_first: 60,
        pause_max: 900,
    };
}

/// A session: one connection, or the way to one. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(super) u64);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Claim entries, call [`super::Schedule::claimed`], and deliver them.
    Start(Turn),
    /// The same over the connection of this session, which was idle.
    Reuse(Turn),
    /// Close the idle connection of this session. It is forgotten: nothing is to be called for it.
    Close(SessionId),
}

/// A domain's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who delivers.
    pub session: SessionId,
    /// The hash of the domain.
    pub domain: u64,
    /// Entries to claim, at most.
    pub entries_max: usize,
    /// Entries to claim before others, when they are due: new ones of accounts that others' backlogs must not hold up.
    pub first: Vec<u64>,
}

/// What a session does after what it claimed is done and its connection is still good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Claim more, call [`super::Schedule::claimed`], and deliver them on the same connection.
    Claim(Turn),
    /// Keep the connection: [`Command::Reuse`] or [`Command::Close`] comes.
    Idle,
    /// Close it, and call [`super::Schedule::finished`].
    Close,
}

/// A due time, of a new entry or as it was found in the store at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The hash of the domain.
    pub domain: u64,
    /// When it is due; [`i64::MAX`] for never.
    pub due: i64,
    /// A new entry, and the account that submitted it.
    pub entry: Option<(u64, u32)>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What was learnt of the domain ([`crate::attempt::Conclusion::signal`]).
    pub signal: Signal,
    /// When nothing was tried, or not all, because the host was busy: until when to wait ([`super::Admission::Busy`]). What
    /// the turn had to claim before others comes first again.
    pub postponed: Option<i64>,
    /// The due time of the domain's first row in the store, read after the outcome was written.
    pub first_due: Option<i64>,
}

/// What the schedule of another shard is to be told of places for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The shard.
    pub shard: usize,
    pub(super) told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A place is kept for this domain, which waits for one.
    Woken {
        /// Of what.
        scope: Scope,
        /// The domain.
        domain: u64,
    },
    /// Somebody waits: an idle connection is to be closed, at once or when it is not used soon.
    MakeRoom {
        /// For a place of what.
        scope: Scope,
        /// Whose connection.
        session: SessionId,
        /// Whether at once.
        at_once: bool,
    },
}

/// What was known of a domain at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub(super) Option<u32>);

/// What a driver does after a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "entries that are due would wait for a domain that nobody can reach"]
pub enum Afterwards {
    /// Nothing.
    Nothing,
    /// Count an attempt for all entries of the domain that are due now and have the same transport, with the failure
    /// that the attempt says is shared ([`crate::attempt::Conclusion::shared`]; without one there is nothing to do):
    /// write them in steps, and then call [`Schedule::set`](super::Schedule::set). The domain has a pause meanwhile.
    Share,
}
