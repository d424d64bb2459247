//! Webhooks: programs of users are told by HTTP of messages that they sent and got (product 3.13).
//!
//! A call is a row that is in the same batch as what it tells of: so none is lost, and none tells of what never was. Each URL
//! belongs to one shard, which makes its calls one after the other. A call that was made, but whose result a crash cut off,
//! is made again.
//!
//! Where a call goes, and what it is signed with, is looked up when it is made: so who moves a webhook is called where it is
//! now, and nothing secret is in a row.

mod attempt;
mod backoff;
mod incoming;
mod operate;
mod payload;
mod schedule;
mod settings;
mod signature;
mod turn;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use postrider_storage::engine::{BATCH_OCTETS_MAX, Batch};
use postrider_storage::ids::{AccountId, HookId};
use postrider_storage::queue;
use postrider_storage::rows::{HookEnd, HookRow, HookSubject};
use postrider_storage::store::Store;
use postrider_storage::webhooks::{self, ScheduledHook};
use tracing::{error, info};

#[cfg(test)]
pub(crate) use backoff::LIFE;
pub use incoming::{Arrival, Stored};
pub use payload::{Meta, Told};
pub use settings::{Hooks, of};

pub(crate) use operate::{Operated, Wish, expire, operate, test};
pub(crate) use turn::Trouble;

use crate::clock::unix_now;
use crate::config;
use crate::delivery::Connector;
use crate::http::Reach;
use crate::metrics::GivenUp;
use crate::runtime::{LocalNotify, ShardId, Turns, sleep, spawn};
use crate::shard::Shard;
use payload::Room;
use schedule::Schedule;

/// The longest sleep: clocks are set, too.
const SLEEP_MAX: i64 = 60;
/// From here on, calls of one change tell only what tells them apart.
const CROWDED_OCTETS: usize = 4 << 20;
/// From here on, a change gets no more calls: it could not be written with them.
const FULL_OCTETS: usize = BATCH_OCTETS_MAX - (4 << 20);
/// The fewest places of a shard that makes calls: of fewer none could be kept for those who don't stall.
const PLACES_MIN: usize = 4;
/// URLs that are found in one step at the start, and pauses between steps.
const FOUND_MAX: usize = 1000;
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The calls of a shard.
pub struct Webhooks {
    schedule: RefCell<Schedule>,
    /// Something changed for the schedule.
    changed: LocalNotify,
    /// Who changes calls: one at a time.
    turns: Turns,
    /// Calls that are being made, by the hash of their URL.
    underway: RefCell<HashMap<u64, HookId>>,
    connector: Connector,
    reach: Reach,
}

impl Webhooks {
    /// Those of shard `id` of `shards`; nothing yet.
    pub fn new(config: &config::Webhooks, connector: Connector, id: ShardId, shards: usize) -> Self {
        let places = places(config.calls_max, shards, id.0);
        Self {
            schedule: RefCell::new(Schedule::new(places)),
            changed: LocalNotify::new(),
            turns: Turns::default(),
            underway: RefCell::default(),
            connector,
            reach: config.reach.clone(),
        }
    }

    fn notify(&self, scheduled: ScheduledHook) {
        self.schedule.borrow_mut().notify(scheduled.url, scheduled.due);
        self.changed.notify();
    }
}

/// The shards that make calls, whatever their number is: so few that each has at least [`PLACES_MIN`] places, if there are as many.
/// Calls cost a shard little but time, and URLs that stall hold up those of their shard: few with many places are fairer.
fn owners(calls_max: usize, shards: usize) -> usize {
    shards.min(calls_max / PLACES_MIN).max(1)
}

/// How many calls a shard makes at a time: together they are as many as may be.
fn places(calls_max: usize, shards: usize, shard: usize) -> usize {
    let owners = owners(calls_max, shards);
    if shard < owners { calls_max / owners + usize::from(shard < calls_max % owners) } else { 0 }
}

/// The shard that makes calls of a URL.
fn owner(shard: &Shard, url: u64) -> ShardId {
    let owners = owners(shard.shared.config.webhooks.calls_max, shard.shared.shards.len());
    ShardId(queue::shard_of(url, owners))
}

/// Adds the call that tells of an event to the change that makes it; none when nobody wants to know. Tell of it by [`announce`]
/// when it is committed. Nothing is read.
pub fn add(
    store: &Store,
    account: AccountId,
    hooks: &Hooks,
    told: &Told<'_>,
    batch: &mut Batch,
) -> Option<ScheduledHook> {
    let webhook = hooks.outgoing.as_ref().filter(|webhook| webhook.events.contains(told.event))?;
    let room = if batch.octets() < CROWDED_OCTETS { Room::Enough } else { Room::Scarce };
    let now = unix_now();
    let recipient = webhooks::recipient_hash(told.recipient);
    let subject = HookSubject::Outgoing { event: told.event, base: told.base, recipient };
    let payload = payload::outgoing(told, now, room);
    insert(store, batch, new_row(account, subject, webhook.hook.url().as_str(), payload, now))
}

/// Counts a call that has ended, if it was given up.
fn count_end(shard: &Shard, end: HookEnd) {
    let why = match end {
        HookEnd::Failed => GivenUp::Attempts,
        HookEnd::Expired => GivenUp::Age,
        HookEnd::Delivered | HookEnd::Superseded(_) | HookEnd::Canceled | HookEnd::Unwanted => return,
    };
    shard.recorder.increment(shard.shared.metrics.webhooks.given_up.at([why as usize]));
}

/// A call that is due at `now`.
fn new_row(account: AccountId, subject: HookSubject, url: &str, payload: Vec<u8>, now: i64) -> HookRow {
    HookRow {
        account,
        subject,
        created: now,
        due: now,
        attempts: 0,
        url: url.into(),
        payload: payload.into(),
        results: Vec::new(),
    }
}

fn insert(store: &Store, batch: &mut Batch, row: HookRow) -> Option<ScheduledHook> {
    if batch.octets() >= FULL_OCTETS {
        error!(account = %row.account, "there is no room for another call of a webhook in one change");
        return None;
    }
    let added = webhooks::add(batch, store.new_hook_id(), &row);
    added
        .inspect_err(|error| error!(account = %row.account, %error, "a call of a webhook can't be kept"))
        .ok()
}

/// Tells the shards that make them of calls that are committed. What a crash keeps from them is found at the next start.
pub async fn announce(shard: &Rc<Shard>, added: impl IntoIterator<Item = ScheduledHook>) {
    for scheduled in first_of_each(added) {
        let to = owner(shard, scheduled.url);
        // A shard that is gone finds it at the next start.
        let _ = shard.send(to, Box::new(move |owner| owner.webhooks.notify(scheduled))).await;
    }
}

/// The first call of each URL: a message to thousands is told of to one, which has to hear of it once.
fn first_of_each(added: impl IntoIterator<Item = ScheduledHook>) -> impl Iterator<Item = ScheduledHook> {
    let mut first: Vec<ScheduledHook> = Vec::new();
    for scheduled in added {
        // One or two: what belongs together is of one account, and of one webhook.
        match first.iter_mut().find(|known| known.url == scheduled.url) {
            Some(known) => *known = (*known).min(scheduled),
            None => first.push(scheduled),
        }
    }
    first.into_iter()
}

/// Starts to make calls.
pub fn start(shard: &Rc<Shard>) {
    if places(shard.shared.config.webhooks.calls_max, shard.shared.shards.len(), shard.id.0) == 0 {
        return;
    }
    let running = Rc::clone(shard);
    spawn("schedule of webhooks", async move { run(&running).await });
    let found = Rc::clone(shard);
    spawn("find waiting calls of webhooks", async move { find_waiting(&found).await });
}

async fn run(shard: &Rc<Shard>) {
    let webhooks = &shard.webhooks;
    let shutdown = shard.shared.shutdown.clone();
    while !shutdown.is_stopping() {
        let seen = webhooks.changed.version();
        let now = unix_now();
        loop {
            // The borrow ends before anything runs.
            let url = webhooks.schedule.borrow_mut().poll(now);
            let Some(url) = url else { break };
            turn::spawn_one(shard, url);
        }
        let wake = webhooks.schedule.borrow().next_wake();
        let wait = wake.map_or(SLEEP_MAX, |wake| wake.saturating_sub(now).clamp(1, SLEEP_MAX));
        let wait = Duration::from_secs(u64::try_from(wait).unwrap_or(1));
        let changed = async {
            webhooks.changed.changed(seen).await;
        };
        let stopped = async {
            shutdown.wait().await;
        };
        or(or(changed, stopped), sleep(wait)).await;
    }
}

/// Tells the schedule of every URL of the shard for which something waits, a step at a time.
async fn find_waiting(shard: &Rc<Shard>) {
    let shared = &shard.shared;
    let owners = owners(shared.config.webhooks.calls_max, shared.shards.len());
    let range = queue::range_of(shard.id.0, owners);
    let (mut from, end) = (*range.start(), *range.end());
    let mut count = 0_usize;
    while !shared.shutdown.is_stopping() {
        let step = shared.reads.run(move |reader| {
            webhooks::waiting(reader, from..=end).take(FOUND_MAX).collect::<Result<Vec<_>, _>>()
        });
        let found = match step.await {
            Ok(found) => found,
            Err(error) => {
                error!(%error, "calls of webhooks can't be read; it is tried again");
                sleep(PAUSE_AFTER_FAILURE).await;
                continue;
            }
        };
        found.iter().for_each(|first| shard.webhooks.notify(*first));
        count += found.len();
        match found.last().and_then(|last| last.url.checked_add(1)) {
            Some(next) if found.len() == FOUND_MAX && next <= end => from = next,
            _ => break,
        }
        sleep(PAUSE).await;
    }
    if count > 0 {
        info!(urls = count, "calls of webhooks wait");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_makes_calls_has_enough_places_and_together_they_are_as_many_as_may_be() {
        for calls_max in 1..=100 {
            for shards in 1..=130 {
                let all: Vec<_> = (0..shards).map(|shard| places(calls_max, shards, shard)).collect();
                assert_eq!(all.iter().sum::<usize>(), calls_max, "{calls_max} {shards}");
                let (making, idle) = all.split_at(owners(calls_max, shards));
                let least = PLACES_MIN.min(calls_max);
                assert!(making.iter().all(|places| *places >= least), "{calls_max} {shards}: {all:?}");
                assert!(idle.iter().all(|places| *places == 0), "{calls_max} {shards}: {all:?}");
            }
        }
        assert_eq!((owners(10, 1), owners(10, 64), owners(100, 64)), (1, 2, 25));
    }

    #[test]
    fn a_shard_is_told_of_a_url_once() {
        let hook = |url, due, id| ScheduledHook { url, due, id: HookId(id) };
        let added = [hook(1, 9, 1), hook(2, 5, 2), hook(1, 7, 3), hook(1, 8, 4)];
        assert_eq!(first_of_each(added).collect::<Vec<_>>(), [hook(1, 7, 3), hook(2, 5, 2)]);
    }
}
