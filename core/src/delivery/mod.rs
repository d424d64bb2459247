//! Messages on their way to other servers.
//!
//! Each shard delivers to the domains whose hashes are in its range ([`queue::shard_of`]). What to do when is decided by
//! the [`Schedule`], and what becomes of a message by `postrider_delivery`; here are the clock, the sockets and the
//! store.
//!
//! What always holds:
//! - An entry is claimed on the disk's side of a crash of the process before anything of it is sent, and its outcome is
//!   synced before anything else is made of it. What is cut off between is tried again; it is counted when the end of the
//!   message was sent (`ends`). So is what a fault of the server cut off (`strays`).
//! - What became of a message and the reports on it are one change of the store: whatever is cut off, who is to be told is
//!   told once.
//! - Nothing here stops mail from coming in: sessions, memory and work at a time are bounded.

mod attempt;
mod claim;
mod connection;
pub(crate) mod content;
mod counts;
pub(crate) mod damage;
pub(crate) mod dial;
mod downgrade;
pub(crate) mod edits;
mod ending;
mod ends;
mod events;
mod faults;
mod fronts;
mod hosts;
pub(crate) mod incoming;
mod learned;
mod letters;
pub(crate) mod operate;
mod outcome;
pub(crate) mod reports;
mod routing;
mod rules;
mod secure;
mod session;
mod setup;
mod shares;
mod start;
mod strays;
mod sts;
mod sts_fetch;
mod translate;
mod ways;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::or;
use postrider_delivery::destination::Own;
use postrider_delivery::schedule::{Command, Hosts, Mark, Notice, Obstacle, Schedule, SessionId, Settings};
use postrider_dns::{Name, parse_name};
use postrider_proto::address::Domain;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Edit, NewQueued, Scheduled};
use postrider_storage::store::StoreError;

pub use counts::Counts;
pub use ending::{UnderWay, finish};
pub use ends::{EndsFile, FILE as ENDS_FILE, Noted, noted};
pub(crate) use learned::forget as forget_learned;
pub(crate) use letters::{Mail, Unstored, composing, into_mailbox, taken};
pub(crate) use outcome::configured_keep;
pub(crate) use routing::{Passage, Routing, transport_named};
pub use rules::Rules;
pub use secure::{Connector, Failed, Pkix, Wanted};
pub(crate) use start::nonce;
pub use start::release_claims;
#[cfg(test)]
pub(crate) use sts::keep as keep_policy;
pub(crate) use sts::{Judged as JudgedPolicy, refresh as refresh_policy};

use crate::clock::unix_now;
use crate::commit;
use crate::config::Config;
use crate::intake;
use crate::lock::Lock;
use crate::runtime::{LocalNotify, ShardId, sleep, sleep_until, spawn};
use crate::shard::Shard;
use session::Open;

/// The longest sleep of the schedule: clocks are set, too.
const SLEEP_MAX: i64 = 60;

/// What a shard delivers.
pub struct Deliveries {
    schedule: RefCell<Schedule>,
    /// Something changed for the schedule.
    changed: LocalNotify,
    /// Connections that wait for a next message.
    idle: RefCell<HashMap<SessionId, Open>>,
    connector: Connector,
    edits: edits::Edits,
    ends: Rc<ends::Ends>,
    fronts: fronts::Fronts,
    ways: ways::Ways,
    strays: strays::Strays,
    /// Outcomes that can't be written, and why.
    unwritten: RefCell<HashMap<QueueId, String>>,
    /// The names and addresses at which this server takes mail.
    names: Vec<Name>,
    addresses: Vec<IpAddr>,
    learned: learned::Learned,
    sts_remembered: sts::Remembered,
    /// A message that came for an id couldn't be looked at.
    unseen: LocalNotify,
    /// Held while what a report says of a recipient is written.
    reporting: Lock,
    /// Held while a report with a whole message is composed: many would take much memory at once.
    composing: Lock,
    /// Sessions that run.
    sessions: Cell<i64>,
    /// What runs when the server stops is over but for answers that are waited for.
    cut_off: LocalNotify,
}

impl Deliveries {
    /// What a shard, of so many, delivers; nothing yet.
    pub fn new(
        config: &Config,
        connector: Connector,
        ends: EndsFile,
        hosts: Arc<Hosts>,
        (shard, shards): (ShardId, usize),
    ) -> Self {
        let ends = ends::Ends::new(ends, shard, shards);
        let schedule = Schedule::of_shard(settings(config), hosts, shard.0);
        let hostnames = config.listeners.iter().map(|listener| &listener.hostname).chain([&config.hostname]);
        let mut names: Vec<Name> = hostnames.filter_map(|name| parse_name(name.as_str()).ok()).collect();
        names.sort();
        names.dedup();
        Self {
            schedule: RefCell::new(schedule),
            changed: LocalNotify::new(),
            idle: RefCell::default(),
            connector,
            edits: edits::Edits::default(),
            ends,
            fronts: fronts::Fronts::default(),
            ways: ways::Ways::default(),
            strays: strays::Strays::default(),
            unwritten: RefCell::default(),
            names,
            addresses: start::own_addresses(config),
            learned: learned::Learned::default(),
            sts_remembered: sts::Remembered::default(),
            unseen: LocalNotify::default(),
            reporting: Lock::default(),
            composing: Lock::default(),
            sessions: Cell::new(0),
            cut_off: LocalNotify::new(),
        }
    }

    /// What this server is called, and where it listens.
    pub(crate) fn own(&self) -> Own<'_> {
        Own { names: &self.names, addresses: &self.addresses }
    }

    /// Until when the policy of a domain isn't fetched here, since that failed a short while ago.
    pub(crate) fn policy_failed_until(&self, domain: &Domain, now: i64) -> Option<i64> {
        self.sts_remembered.failed_until(domain, now)
    }

    /// As when the policy of a domain couldn't be fetched.
    #[cfg(test)]
    pub(crate) fn policy_failed(&self, domain: &Domain, now: i64) {
        self.sts_remembered.note(domain, now);
    }

    /// Takes that an operator has the policy of a domain forgotten; to be told to each shard before it is removed. One policy at a
    /// time is.
    pub(crate) fn forget_policy(&self, domain: &Domain) {
        self.sts_remembered.forget(domain);
    }

    /// Whether the policy of a domain is just being removed.
    #[cfg(test)]
    pub(crate) fn forgets_policy(&self, domain: &Domain) -> bool {
        self.sts_remembered.forgets(domain)
    }

    /// Takes that it is removed.
    pub(crate) fn forgot_policy(&self) {
        self.sts_remembered.forgot();
    }

    /// How connections are secured.
    pub const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Takes that an entry of this shard is new, or due at another time than before.
    pub fn notify(&self, entry: Scheduled, account: u32) {
        self.fronts.placed(entry);
        let notice = Notice { domain: entry.domain, due: entry.due, entry: Some((entry.id.0, account)) };
        self.schedule.borrow_mut().notify(notice, unix_now());
        self.changed.notify();
    }

    /// Why what came of the last attempt of an entry can't be written; it is tried again.
    pub(crate) fn unwritten(&self, id: QueueId) -> Option<String> {
        self.unwritten.borrow().get(&id).cloned()
    }

    /// What keeps a domain from its turn now, in words.
    pub(crate) fn obstacle(&self, domain: u64) -> Option<String> {
        Some(match self.schedule.borrow().obstacle(domain, unix_now())? {
            Obstacle::Pause { until, failures } => {
                let times =
                    if failures == 1 { "once".to_owned() } else { format!("{failures} times in a row") };
                let until = jiff::Timestamp::from_second(until).unwrap_or(jiff::Timestamp::MAX);
                format!(
                    "its servers could not be reached, or wanted no more, {times}; the domain is left alone until \
                     {until}, unless it is scheduled for now"
                )
            }
            Obstacle::Connections => "there are as many connections to its host as there may be".to_owned(),
            Obstacle::Sessions => "all connections of the server are in use".to_owned(),
        })
    }

    /// What is known of a domain now; to be taken before its first row is read for [`Self::set`].
    pub fn mark(&self, domain: u64) -> Mark {
        self.schedule.borrow().mark(domain)
    }

    /// Takes when the first entry of a domain is due, after some were changed.
    pub fn set(&self, domain: u64, mark: Mark, first_due: Option<i64>) {
        self.schedule.borrow_mut().set(domain, mark, first_due, unix_now());
        self.changed.notify();
    }

    /// Lets a domain have its turn without waiting for the end of a pause.
    pub fn kick(&self, domain: u64) {
        self.schedule.borrow_mut().kick(domain, unix_now());
        self.changed.notify();
    }
}

/// What is known of hosts that mail goes to, and of the connections to them, for all shards: nothing yet.
pub fn known_hosts(config: &Config) -> Arc<Hosts> {
    Arc::new(Hosts::new(settings(config)))
}

fn settings(config: &Config) -> Settings {
    let delivery = &config.delivery;
    let host = u16::try_from(delivery.host_sessions_max).unwrap_or(u16::MAX);
    let most = |most: u32| usize::try_from(most).unwrap_or(usize::MAX);
    Settings {
        sessions_max: most(delivery.sessions_max),
        domain_sessions_max: host,
        host_connections_max: host,
        source_connections_max: most(delivery.source_sessions_max),
        ..Settings::DEFAULT
    }
}

/// Tells the shards that own them of new entries.
pub async fn announce(shard: &Rc<Shard>, entries: Vec<Scheduled>, account: u32) {
    for entry in entries {
        let owner = ShardId(queue::shard_of(entry.domain, shard.shared.shards.len()));
        // A shard that is gone finds them at the next start.
        let _ = shard.send(owner, Box::new(move |owner| owner.deliveries.notify(entry, account))).await;
    }
}

/// A domain's first entry in the schedule; none when nothing waits for it. Strays don't count: the domain has nothing to do
/// for them, and is told of those that are set right.
async fn first(shard: &Shard, domain: u64) -> Result<Option<Scheduled>, StoreError> {
    let asked = shard.deliveries.fronts.ask(domain);
    if asked.from >= Scheduled::end(domain) {
        // Nothing waits, and nobody has to look for it.
        return Ok(None);
    }
    let strays = shard.deliveries.strays.ids();
    let first = shard.shared.reads.run(move |reader| {
        // Of one more than there are strays, one is none.
        let waiting = queue::due(reader, asked.from, i64::MAX, strays.len())?;
        Ok(waiting.entries.into_iter().find(|one| strays.binary_search(&one.id).is_err()).or(waiting.next))
    });
    let first = first.await?;
    shard.deliveries.fronts.found(asked, first);
    Ok(first)
}

/// Queues a message that the server wrote, and waits for the disk. `also` is in the same batch: it happens when the
/// message is queued, and not otherwise.
pub(crate) async fn enqueue(
    shard: &Rc<Shard>,
    queued: NewQueued,
    message: intake::Message,
    also: Batch,
) -> Result<(), String> {
    enqueue_all(shard, vec![(queued, message)], also).await
}

/// The same of several messages: all of them are queued, or none.
async fn enqueue_all(
    shard: &Rc<Shard>,
    messages: Vec<(NewQueued, intake::Message)>,
    also: Batch,
) -> Result<(), String> {
    let shared = &shard.shared;
    let these = Arc::clone(shared);
    let incarnation = letters::incarnation(messages.iter().map(|(_, message)| message))
        .map_err(|()| letters::REOPENED.to_owned())?;
    let (queued, contents): (Vec<_>, Vec<_>) =
        messages.into_iter().map(|(queued, message)| (queued, message.batch)).unzip();
    let built = shared.reads.run(move |_| {
        let rules = these.hold_rules.get(&these.store)?;
        let (mut edit, mut entries) = (Edit::default(), Vec::new());
        for queued in queued {
            let enqueued = queue::enqueue(|| these.store.new_queue_id(), queued, &rules)?;
            edit.append(enqueued.edit);
            entries.extend(enqueued.entries);
        }
        Ok((edit, entries))
    });
    let (edit, entries) = built.await.map_err(|error| error.to_string())?;
    let (mut batch, delta) = (edit.batch, edit.delta);
    contents.into_iter().for_each(|content| batch.append(content));
    batch.append(also);
    let submitted = commit::submit(&shared.committer, batch, Durability::Synced, incarnation).await;
    let done = match submitted {
        Ok(submitted) => submitted.done().await,
        Err(error) => Err(error),
    };
    done.map_err(|error| error.to_string())?;
    shared.queue_counts.add(delta);
    announce(shard, entries, 0).await;
    Ok(())
}

/// Starts to deliver.
pub fn start(shard: &Rc<Shard>) {
    let running = Rc::clone(shard);
    spawn("schedule of deliveries", async move { run(&running).await });
    let strays = Rc::clone(shard);
    spawn("set strays right", async move { strays::run(&strays).await });
    if shard.id == ShardId(0) {
        let before = shard.shared.store.reader();
        let counting = Rc::clone(shard);
        spawn("count the queue", async move { counts::count(&counting, before).await });
    }
    let found = Rc::clone(shard);
    spawn("find waiting mail", async move { start::find_waiting(&found).await });
    let rest = Rc::clone(shard);
    spawn("look at messages for ids", async move { incoming::look_at_rest(&rest).await });
}

async fn run(shard: &Rc<Shard>) {
    let deliveries = &shard.deliveries;
    let shutdown = shard.shared.shutdown.clone();
    while !shutdown.is_stopping() {
        let seen = deliveries.changed.version();
        let now = unix_now();
        loop {
            // The borrow ends before anything runs.
            let command = deliveries.schedule.borrow_mut().poll(now);
            let Some(command) = command else { break };
            carry_out(shard, command);
        }
        tell_others(shard);
        let (wake, ready) = {
            let schedule = deliveries.schedule.borrow();
            (schedule.next_wake(), schedule.ready())
        };
        let known = &shard.shared.metrics.queue;
        shard.recorder.set(known.domains_ready, i64::try_from(ready).unwrap_or(i64::MAX));
        let wait = wake.map_or(SLEEP_MAX, |wake| wake.saturating_sub(now).clamp(1, SLEEP_MAX));
        let wait = Duration::from_secs(u64::try_from(wait).unwrap_or(1));
        let changed = async {
            deliveries.changed.changed(seen).await;
        };
        let stopped = async {
            shutdown.wait().await;
        };
        or(or(changed, stopped), sleep(wait)).await;
    }
    // What lies idle is told good-bye.
    let idle: Vec<Open> = deliveries.idle.borrow_mut().drain().map(|(_, open)| open).collect();
    for open in idle {
        spawn("say good-bye", open.connection.quit());
    }
    sleep_until(shutdown.wait().await).await;
    deliveries.cut_off.notify();
}

/// Tells other shards that there is a place for a connection that they wait for, or that this one waits for theirs.
fn tell_others(shard: &Rc<Shard>) {
    loop {
        let call = shard.deliveries.schedule.borrow_mut().next_call();
        let Some(call) = call else { return };
        let from = Rc::clone(shard);
        spawn("tell another shard of connections", async move {
            let to = ShardId(call.shard);
            let told = move |shard: Rc<Shard>| {
                shard.deliveries.schedule.borrow_mut().called(&call, unix_now());
                shard.deliveries.changed.notify();
            };
            // One that is gone takes the server with it.
            let _ = from.send(to, Box::new(told)).await;
        });
    }
}

fn carry_out(shard: &Rc<Shard>, command: Command) {
    let idle = |session: SessionId| shard.deliveries.idle.borrow_mut().remove(&session);
    match command {
        Command::Start(turn) => session::spawn_one(shard, turn, None),
        Command::Reuse(turn) => {
            let open = idle(turn.session);
            session::spawn_one(shard, turn, open);
        }
        Command::Close(session) => {
            if let Some(open) = idle(session) {
                spawn("say good-bye", open.connection.quit());
            }
        }
    }
}
