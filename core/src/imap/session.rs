//! What the commands of a session work with, and how they end.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use postrider_proto::imap::command::{Tag, Utf8};
use postrider_proto::imap::response::{Code, Condition, Status, write_tagged};
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::types::UidValidity;
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::ids::AccountId;

use super::connection::Member;
use super::notify::Notify;
use super::output::Output;
use super::places::Asker;
use super::selected::Selected;
use crate::accounts::{AccountHandle, Watcher, WatcherId};
use crate::config::Listener;
use crate::log::ConnectionId;
use crate::shard::Shard;
use crate::tls::TransportError;

/// What the client has enabled.
#[derive(Clone, Copy, Default, Debug)]
pub struct Enabled {
    /// How names and strings are written and read.
    pub utf8: Utf8,
    /// IMAP4rev2 responses.
    pub rev2: bool,
    /// CONDSTORE (RFC 7162 §3.1): MODSEQ in FETCH responses, HIGHESTMODSEQ.
    pub condstore: bool,
    /// QRESYNC (RFC 7162 §3.2): VANISHED instead of EXPUNGE.
    pub qresync: bool,
    /// UIDONLY (RFC 9586): no message numbers in either direction.
    pub uid_only: bool,
}

impl Enabled {
    /// How rows name messages.
    pub const fn numbering(&self) -> Numbering {
        if self.uid_only { Numbering::Uid } else { Numbering::Sequence }
    }
}

/// How many messages one command deals with (RFC 9738), and how often its client is told how far it is.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimit {
    /// Every command.
    pub messages: Option<NonZeroU32>,
    /// COPY alone.
    pub saved: Option<NonZeroU32>,
    /// Between two INPROGRESS (RFC 9585).
    pub progress: Duration,
}

impl MessageLimit {
    /// What a listener has.
    pub fn of(listener: &Listener) -> Self {
        let limits = &listener.limits.imap;
        let (messages, saved) =
            (NonZeroU32::new(limits.messages_per_command), NonZeroU32::new(limits.saved_per_command));
        Self { messages, saved: messages.or(saved), progress: limits.progress }
    }

    /// The last of `uids` up to the limit, and what is told when there were more (RFC 9738 §3.1: from
    /// the highest uid down).
    pub fn cut(&self, uids: UidSet) -> (UidSet, Option<Code<'static>>) {
        match self.messages.map(NonZeroU32::get) {
            Some(limit) if uids.len() > limit => {
                let uids = uids.last_members(limit);
                let code = Code::MessageLimit(limit, uids.first());
                (uids, Some(code))
            }
            _ => (uids, None),
        }
    }

    /// The refusal of a command that can't be done in parts, when it is about more messages.
    pub fn refuses(&self, uids: &UidSet, text: &'static str) -> Option<Completion> {
        let limit = self.messages.map(NonZeroU32::get).filter(|limit| uids.len() > *limit)?;
        Some(Completion::refused(Code::MessageLimit(limit, None), text))
    }
}

/// Why a session ends.
#[derive(Debug)]
pub enum Ended {
    /// The client is gone, or too slow, or has been told everything.
    Gone,
    /// The connection broke.
    Broken(TransportError),
    /// The client is told, and the connection closed.
    Bye(Option<Code<'static>>, &'static str),
}

impl From<TransportError> for Ended {
    fn from(error: TransportError) -> Self {
        Self::Broken(error)
    }
}

/// The response code of a completion.
#[derive(Clone, Debug, Default)]
pub enum CompletionCode {
    /// None.
    #[default]
    None,
    /// One that holds nothing of its own.
    Plain(Code<'static>),
    /// CAPABILITY
    Capability(String),
    /// APPENDUID
    AppendUid(UidValidity, UidSet),
    /// COPYUID: source and destination.
    CopyUid(UidValidity, UidSet, UidSet),
    /// BADURL: the URL that can't be used.
    BadUrl(String),
    /// MODIFIED: message numbers or uids, as the command had them.
    Modified(UidSet),
}

impl CompletionCode {
    /// The code as the responses want it.
    pub fn code(&self) -> Option<Code<'_>> {
        match self {
            Self::None => None,
            Self::Plain(code) => Some(*code),
            Self::Capability(names) => Some(Code::Capability(names)),
            Self::AppendUid(validity, uids) => Some(Code::AppendUid(*validity, uids)),
            Self::CopyUid(validity, from, to) => Some(Code::CopyUid(*validity, from, to)),
            Self::BadUrl(url) => Some(Code::BadUrl(url)),
            Self::Modified(numbers) => Some(Code::Modified(numbers)),
        }
    }
}

/// What is said of a command that dealt with some of its messages only.
const LIMITED: &str = "done for the last messages, go on below this uid";

/// How a command ended: what its tagged response says.
#[derive(Clone, Debug)]
#[must_use = "every command is answered"]
pub struct Completion {
    /// OK, NO or BAD.
    pub status: Status,
    /// The response code.
    pub code: CompletionCode,
    /// The text: ASCII without line ends.
    pub text: Cow<'static, str>,
}

impl Completion {
    /// It is done.
    pub const fn ok(text: &'static str) -> Self {
        Self { status: Status::Ok, code: CompletionCode::None, text: Cow::Borrowed(text) }
    }

    /// It can't be done.
    pub const fn no(text: &'static str) -> Self {
        Self { status: Status::No, code: CompletionCode::None, text: Cow::Borrowed(text) }
    }

    /// It can't be done; the code says why.
    pub const fn refused(code: Code<'static>, text: &'static str) -> Self {
        Self { status: Status::No, code: CompletionCode::Plain(code), text: Cow::Borrowed(text) }
    }

    /// It makes no sense here.
    pub const fn bad(text: &'static str) -> Self {
        Self { status: Status::Bad, code: CompletionCode::None, text: Cow::Borrowed(text) }
    }

    /// Says that only some messages were dealt with, unless nothing was done anyway. A completion that
    /// has a code already keeps it, and the limit is told before it.
    pub fn limited(self, limit: Option<Code<'static>>, out: &mut Output) -> Self {
        let Some(code) = limit.filter(|_| self.status == Status::Ok) else { return self };
        if !matches!(self.code, CompletionCode::None) {
            out.untagged(Condition::No, Some(&code), LIMITED);
            return self;
        }
        Self { code: CompletionCode::Plain(code), text: Cow::Borrowed(LIMITED), ..self }
    }

    /// With a code.
    pub fn with(self, code: CompletionCode) -> Self {
        Self { code, ..self }
    }

    /// Appends the tagged response.
    pub(super) fn write(&self, out: &mut Vec<u8>, tag: &Tag) {
        write_tagged(out, tag, self.status, self.code.code().as_ref(), &self.text);
    }
}

/// What a command in the selected state works with.
pub struct Context<'a> {
    /// The shard, home of the account.
    pub shard: &'a Rc<Shard>,
    /// The account whose mailbox is selected; not always the user's.
    pub account: &'a Rc<AccountHandle>,
    /// The session, as the account knows it: `watcher.id()` is the origin of its changes.
    pub watcher: &'a Rc<Watcher>,
    /// What is enabled. Call [`Context::enable_condstore`] to change it.
    pub enabled: &'a mut Enabled,
    /// The selected mailbox.
    pub selected: &'a mut Selected,
    /// What the client asked for by NOTIFY; none before it used that.
    pub notify: Option<&'a Notify>,
    /// Where responses go.
    pub out: &'a mut Output,
    /// The command's tag, for ESEARCH.
    pub tag: &'a Tag,
    /// Who asks, and the connection for logs.
    pub asker: Asker,
    /// How many messages it may deal with.
    pub limit: MessageLimit,
    /// The connection, for logs.
    pub id: ConnectionId,
}

impl Context<'_> {
    /// Enables CONDSTORE because the client used it, and tells HIGHESTMODSEQ the first time
    /// (RFC 7162 §3.1.2).
    pub fn enable_condstore(&mut self) {
        if !std::mem::replace(&mut self.enabled.condstore, true) {
            tell_highest(self.account, self.selected, self.out);
        }
    }
}

impl AccountContext<'_> {
    /// Who asks.
    pub(super) fn asker(&self) -> Asker {
        self.member.asker
    }

    /// The session, as an account knows it in which it changes something.
    pub(super) fn origin(&self, account: AccountId) -> Option<WatcherId> {
        (self.member.account.id() == account).then(|| self.member.watcher.id())
    }

    /// As [`Context::enable_condstore`], whether a mailbox is selected or not.
    pub(super) fn enable_condstore(&mut self) {
        if !std::mem::replace(&mut self.member.enabled.condstore, true)
            && let Some(selected) = &self.member.selected
        {
            tell_highest(&self.member.account, selected, self.out);
        }
    }
}

fn tell_highest(account: &AccountHandle, selected: &Selected, out: &mut Output) {
    let modseq = account.state().mailbox(selected.mailbox).map(|row| row.modseq);
    if let Some(modseq) = modseq {
        // Not more than what the client was told of.
        let modseq = modseq.min(selected.told());
        out.untagged(Condition::Ok, Some(&Code::HighestModSeq(modseq)), "CONDSTORE is enabled");
    }
}

/// What a command that needs a user works with.
pub(super) struct AccountContext<'a> {
    /// The shard, home of the account.
    pub(super) shard: &'a Rc<Shard>,
    /// The session's part of the user: account, what is enabled, what is selected.
    pub(super) member: &'a mut Member,
    /// Where responses go.
    pub(super) out: &'a mut Output,
    /// The command's tag.
    pub(super) tag: &'a Tag,
    /// The connection, for logs.
    pub(super) id: ConnectionId,
    /// The listener's settings.
    pub(super) listener: &'a Listener,
    /// The largest message that APPEND takes.
    pub(super) append_octets_max: u64,
}
