//! Claimed entries that no session has any more: what could not be given back, and what a fault of the server cut off.
//! They are set right here, again and again until that is on the disk, so that none waits for the next start.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use postrider_storage::engine::Durability;
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Edit};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{AttemptResult, Held};
use postrider_storage::store::StoreError;
use tracing::{error, info, warn};

use crate::clock::unix_now;
use crate::commit;
use crate::runtime::{LocalNotify, sleep};
use crate::shard::Shard;

/// The pauses between two tries; they double.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
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
}

/// The strays of a shard.
#[derive(Default)]
pub(super) struct Strays {
    found: RefCell<BTreeMap<QueueId, Stray>>,
    changed: LocalNotify,
}

impl Strays {
    /// Takes entries that nobody has any more. Until they are set right nobody may claim them.
    pub(super) fn add(&self, ids: impl IntoIterator<Item = QueueId>, stray: Stray) {
        self.found.borrow_mut().extend(ids.into_iter().map(|id| (id, stray)));
        self.changed.notify();
    }

    /// Those that nobody may claim now; few, and mostly none.
    pub(super) fn ids(&self) -> Vec<QueueId> {
        self.found.borrow().keys().copied().collect()
    }

    fn some(&self) -> Vec<(QueueId, Stray)> {
        self.found.borrow().iter().take(STEP).map(|(id, stray)| (*id, *stray)).collect()
    }

    fn forget(&self, strays: &[(QueueId, Stray)]) {
        let mut found = self.found.borrow_mut();
        for (id, _) in strays {
            found.remove(id);
        }
    }
}

/// Sets strays right, as long as the server runs. What is left then is found at the next start.
pub(super) async fn run(shard: &Rc<Shard>) {
    let strays = &shard.deliveries.strays;
    let mut pause = PAUSE_FIRST;
    while !shard.shared.shutdown.is_stopping() {
        let seen = strays.changed.version();
        let some = strays.some();
        if some.is_empty() {
            strays.changed.changed(seen).await;
            continue;
        }
        match set_right(shard, &some).await {
            Ok(()) => pause = PAUSE_FIRST,
            Err(error) => {
                warn!(%error, entries = some.len(), "claimed entries of the queue can't be given back; they are later");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

async fn set_right(shard: &Rc<Shard>, strays: &[(QueueId, Stray)]) -> Result<(), String> {
    let (shared, deliveries) = (&shard.shared, &shard.deliveries);
    let ids: Vec<QueueId> = strays.iter().map(|(id, _)| *id).collect();
    let editing = deliveries.edits.conclude(&ids).await;
    let (these, now) = (strays.to_vec(), unix_now());
    let built = shared.reads.run(move |reader| {
        let (mut edit, mut places, mut set, mut failed) = (Edit::default(), Vec::new(), Vec::new(), None);
        for (id, stray) in these {
            // One that can't be read keeps no other from its turn.
            match right(reader, id, stray, now) {
                Ok(Some((one, place))) => {
                    edit.append(one);
                    places.push(place);
                }
                Ok(None) => {}
                Err(error) => {
                    failed = Some(format!("entry {}: {error}", id.0));
                    continue;
                }
            }
            set.push((id, stray));
        }
        Ok((edit, places, set, failed))
    });
    let (edit, places, set, failed) = built.await.map_err(|error| error.to_string())?;
    if !edit.batch.is_empty() {
        let committed = commit::commit(&shared.committer, edit.batch, Durability::Buffered).await;
        committed.map_err(|error| error.to_string())?;
        shared.queue_counts.add(edit.delta);
    }
    deliveries.strays.forget(&set);
    drop(editing);
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
        }
    }
    for place in places {
        deliveries.notify(place, 0);
    }
    failed.map_or(Ok(()), Err)
}

fn right(
    reader: &Reader,
    id: QueueId,
    stray: Stray,
    now: i64,
) -> Result<Option<(Edit, queue::Scheduled)>, StoreError> {
    let fault = |text: &str| AttemptResult::new(now, 0, Some([4, 3, 0]), "", text);
    match stray {
        Stray::Untried => queue::unclaim(reader, id, now),
        Stray::CutOff { attempts_max } => {
            let made = queue::entry(reader, id)?.map_or(0, |row| row.attempts);
            let held = if made < u32::from(attempts_max) { Held::No } else { Held::Operator };
            queue::cut_off(reader, id, held, fault("the attempt broke off inside this server"))
        }
        Stray::Endless => {
            queue::cut_off(reader, id, Held::Operator, fault("what came of the attempt can't be written"))
        }
    }
}
