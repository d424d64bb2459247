//! Claimed entries that no session has any more: what could not be given back, and what a fault of the server cut off.
//! They are set right here, again and again until that is on the disk, so that none waits for the next start. One whose rows
//! can't be read, claimed or not, waits for itself alone: it is told of, and looked at again with pauses, while others go on
//! at once.
//!
//! What always holds: the domain of a stray has its turns as if there were none, and is told of it when it is set right.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use postrider_storage::engine::Durability;
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Attempt, Edit};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{AttemptResult, Held};
use postrider_storage::store::StoreError;
use tracing::{debug, error, info, warn};

use crate::clock::unix_now;
use crate::commit;
use crate::runtime::{LocalNotify, sleep, timeout_at};
use crate::shard::Shard;

/// The pauses between two tries, the first and the longest; they double.
type Pauses = (Duration, Duration);
const PAUSES: Pauses = (Duration::from_secs(5), Duration::from_secs(5 * 60));
/// Entries that one edit sets right.
const STEP: usize = 256;

/// What is known of a stray.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stray {
    /// It was not tried: the attempt doesn't count, and it is due. Perhaps it isn't even claimed.
    Untried,
    /// Its attempt broke off, and may have delivered: it is tried again at the time that its claim said, as after a
    /// crash; after its last attempt it is held.
    CutOff {
        /// How many attempts are made of it.
        attempts_max: u16,
    },
    /// Its outcome can't be made. It is held, since another attempt would deliver it once more and end as this one.
    Endless,
    /// It was to be claimed, and a row of it can't be read: it has its turn once that can be.
    Unreadable,
}

/// A stray that waits to be set right.
#[derive(Clone, Copy)]
struct Waiting {
    stray: Stray,
    /// Its row is damaged: when it is looked at again, and the pause before that.
    again: Option<(Instant, Duration)>,
}

/// The strays of a shard.
pub(super) struct Strays {
    found: RefCell<BTreeMap<QueueId, Waiting>>,
    changed: LocalNotify,
    pauses: Cell<Pauses>,
}

impl Default for Strays {
    fn default() -> Self {
        Self { found: RefCell::default(), changed: LocalNotify::default(), pauses: Cell::new(PAUSES) }
    }
}

/// What there is to do.
enum Next {
    Now(Vec<(QueueId, Stray)>),
    At(Instant),
    Nothing,
}

impl Strays {
    /// Takes entries that nobody has any more. Until they are set right nobody may claim them.
    pub(super) fn add(&self, ids: impl IntoIterator<Item = QueueId>, stray: Stray) {
        let mut found = self.found.borrow_mut();
        for id in ids {
            let known = found.get(&id);
            // What is known of an entry says more than that it can't be read.
            if known.is_some() && matches!(stray, Stray::Unreadable) {
                continue;
            }
            let again = known.and_then(|known| known.again);
            found.insert(id, Waiting { stray, again });
        }
        drop(found);
        self.changed.notify();
    }

    /// Those that nobody may claim now, ascending; few, and mostly none.
    pub(super) fn ids(&self) -> Vec<QueueId> {
        self.found.borrow().keys().copied().collect()
    }

    fn next(&self, now: Instant) -> Next {
        let found = self.found.borrow();
        let is_ready = |waiting: &Waiting| waiting.again.is_none_or(|(at, _)| at <= now);
        let ready = found.iter().filter(|(_, waiting)| is_ready(waiting));
        let ready: Vec<_> = ready.map(|(id, waiting)| (*id, waiting.stray)).take(STEP).collect();
        if !ready.is_empty() {
            return Next::Now(ready);
        }
        let first = found.values().filter_map(|waiting| waiting.again).map(|(at, _)| at).min();
        first.map_or(Next::Nothing, Next::At)
    }

    /// Takes that the row of one is damaged; says whether that is new.
    fn damaged(&self, id: QueueId, now: Instant) -> bool {
        let (first, longest) = self.pauses.get();
        let mut found = self.found.borrow_mut();
        let Some(waiting) = found.get_mut(&id) else { return false };
        let before = waiting.again;
        let pause = before.map_or(first, |(_, pause)| (pause * 2).min(longest));
        waiting.again = Some((now + pause, pause));
        before.is_none()
    }

    /// Takes that these are set right, or removed; gives how many of them had been damaged.
    pub(super) fn forget(&self, ids: impl IntoIterator<Item = QueueId>) -> usize {
        let mut found = self.found.borrow_mut();
        let forgotten = ids.into_iter().filter_map(|id| found.remove(&id));
        forgotten.filter(|waiting| waiting.again.is_some()).count()
    }
}

/// Sets strays right, as long as the server runs. What is left then is found at the next start.
pub(super) async fn run(shard: &Rc<Shard>) {
    let strays = &shard.deliveries.strays;
    let (pause_first, pause_max) = PAUSES;
    let mut pause = pause_first;
    while !shard.shared.shutdown.is_stopping() {
        let seen = strays.changed.version();
        let some = match strays.next(Instant::now()) {
            Next::Now(some) => some,
            Next::At(time) => {
                // Either more came, or it is time.
                let _ = timeout_at(time, strays.changed.changed(seen)).await;
                continue;
            }
            Next::Nothing => {
                strays.changed.changed(seen).await;
                continue;
            }
        };
        match set_right(shard, &some).await {
            Ok(()) => pause = pause_first,
            Err(error) => {
                warn!(%error, entries = some.len(), "claimed entries of the queue can't be given back; they are later");
                sleep(pause).await;
                pause = (pause * 2).min(pause_max);
            }
        }
    }
}

/// Sets these right, but for those that are damaged. Fails when the store takes none of it.
async fn set_right(shard: &Rc<Shard>, strays: &[(QueueId, Stray)]) -> Result<(), String> {
    let (shared, deliveries) = (&shard.shared, &shard.deliveries);
    let ids: Vec<QueueId> = strays.iter().map(|(id, _)| *id).collect();
    let editing = deliveries.edits.conclude(&ids).await;
    let (these, now) = (strays.to_vec(), unix_now());
    let built = shared.reads.run(move |reader| {
        let (mut edit, mut places, mut set, mut gone, mut damaged) =
            (Edit::default(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (id, stray) in these {
            // One that can't be read keeps no other from its turn.
            match right(reader, id, stray, now) {
                Ok(Right::Set(one, place)) => {
                    edit.append(one);
                    places.extend(place);
                }
                Ok(Right::Gone) => {
                    gone.push(id);
                    continue;
                }
                Err(error) => {
                    damaged.push((id, error));
                    continue;
                }
            }
            set.push((id, stray));
        }
        Ok((edit, places, set, gone, damaged))
    });
    let (edit, places, set, gone, damaged) = built.await.map_err(|error| error.to_string())?;
    if !edit.batch.is_empty() {
        let committed = commit::commit(&shared.committer, edit.batch, Durability::Buffered).await;
        committed.map_err(|error| error.to_string())?;
        shared.queue_counts.add(edit.delta);
    }
    let mended = deliveries.strays.forget(set.iter().map(|(id, _)| *id).chain(gone));
    drop(editing);
    let mut more = -i64::try_from(mended).unwrap_or(0);
    for (id, error) in damaged {
        if deliveries.strays.damaged(id, Instant::now()) {
            more += 1;
            error!(entry = %id.0, %error, "an entry of the queue is damaged and is not delivered; it is looked at again with pauses, and holds up no other. postrider verifydata tells what else is damaged. Only a backup of the store has it whole; postrider queue drop with its id removes it");
        } else {
            debug!(entry = %id.0, %error, "an entry of the queue is still damaged");
        }
    }
    shard.recorder.change(shared.metrics.queue.damaged, more);
    for (id, stray) in &set {
        match stray {
            Stray::Untried => info!(entry = %id.0, "an entry that was not tried is given back"),
            Stray::CutOff { .. } => {
                error!(entry = %id.0, "an attempt was cut off by a fault of the server, and is made again");
                if deliveries.ends.take_doubt(*id) {
                    info!(entry = %id.0, "the message may have arrived, and is sent again");
                    shard.recorder.increment(shared.metrics.queue.possible_duplicates);
                }
            }
            Stray::Endless => {
                error!(entry = %id.0, "what came of an attempt can't be written: the entry is held until an operator releases or drops it");
            }
            Stray::Unreadable => info!(entry = %id.0, "an entry that was damaged can be read"),
        }
    }
    for place in places {
        deliveries.notify(place, 0);
    }
    Ok(())
}

/// How a stray is set right.
enum Right {
    /// By this, after which it waits at this place; at none when another one has claimed it.
    Set(Edit, Option<queue::Scheduled>),
    /// There is no such entry any more.
    Gone,
}

/// What sets a stray right.
fn right(reader: &Reader, id: QueueId, stray: Stray, now: i64) -> Result<Right, StoreError> {
    let Some(row) = queue::entry(reader, id)? else { return Ok(Right::Gone) };
    let fault = |text: &str| AttemptResult::new(now, 0, Some([4, 3, 0]), "", text);
    if !row.claimed {
        // Nobody had it meanwhile.
        let place = queue::Scheduled::of(id, &row);
        if stray == Stray::Unreadable {
            // Whether it can be claimed now.
            drop(queue::claim_row(reader, id, row, Attempt { now, next: now })?);
        }
        return Ok(Right::Set(Edit::default(), Some(place)));
    }
    let set = match stray {
        Stray::Untried => queue::unclaim(reader, id, now)?,
        Stray::CutOff { attempts_max } => {
            let held = if row.attempts < u32::from(attempts_max) { Held::No } else { Held::Operator };
            queue::cut_off(reader, id, held, fault("the attempt broke off inside this server"))?
        }
        Stray::Endless => {
            queue::cut_off(reader, id, Held::Operator, fault("what came of the attempt can't be written"))?
        }
        Stray::Unreadable => None,
    };
    Ok(set.map_or(Right::Set(Edit::default(), None), |(edit, place)| Right::Set(edit, Some(place))))
}
