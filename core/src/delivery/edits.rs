//! Who is writing which entry: an edit is built from rows that nobody else is about to write.
//!
//! Claims have their domain, outcomes their entry, which is claimed; what operators do has both.

use std::cell::RefCell;
use std::collections::BTreeSet;

use postrider_storage::ids::QueueId;

use crate::runtime::LocalNotify;

/// An entry with the hash of its domain.
pub(crate) type Place = (u64, QueueId);

/// What one task has at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// Claims of a domain's entries.
    Domain(u64),
    /// An entry.
    Entry(QueueId),
}

/// What is being edited on a shard.
#[derive(Default)]
pub(super) struct Edits {
    keys: RefCell<BTreeSet<Key>>,
    freed: LocalNotify,
}

/// Nobody else edits the same until this is dropped, which is when the edit is acknowledged.
#[must_use = "others may edit the entries when this is dropped"]
pub(super) struct Editing<'a> {
    edits: &'a Edits,
    keys: Vec<Key>,
}

impl Edits {
    /// For claiming entries of a domain.
    pub(super) async fn claim(&self, domain: u64) -> Editing<'_> {
        self.take(vec![Key::Domain(domain)]).await
    }

    /// For entries whose attempt is over.
    pub(super) async fn conclude(&self, ids: &[QueueId]) -> Editing<'_> {
        self.take(ids.iter().map(|id| Key::Entry(*id)).collect()).await
    }

    /// For what operators do.
    pub(super) async fn operate(&self, entries: &[Place]) -> Editing<'_> {
        let keys = entries.iter().flat_map(|(domain, id)| [Key::Domain(*domain), Key::Entry(*id)]);
        self.take(keys.collect()).await
    }

    /// Waits for each key that somebody has. All do so in the same order, so nobody waits for ever.
    async fn take(&self, mut keys: Vec<Key>) -> Editing<'_> {
        keys.sort_unstable();
        keys.dedup();
        let mut taken = Editing { edits: self, keys: Vec::with_capacity(keys.len()) };
        for key in keys {
            while !self.keys.borrow_mut().insert(key) {
                self.freed.changed(self.freed.version()).await;
            }
            taken.keys.push(key);
        }
        taken
    }
}

impl Drop for Editing<'_> {
    fn drop(&mut self) {
        {
            let mut all = self.edits.keys.borrow_mut();
            for key in &self.keys {
                all.remove(key);
            }
        }
        self.edits.freed.notify();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::runtime::tests::on_shard;
    use crate::runtime::{sleep, spawn_task};

    #[test]
    fn an_entry_is_edited_by_one_at_a_time() {
        on_shard(|| async {
            let edits = Rc::new(Edits::default());
            let (here, there) = ((7, QueueId(1)), (8, QueueId(2)));
            let claiming = edits.claim(7).await;
            let concluding = edits.conclude(&[here.1]).await;
            // Neither is in the way of the other, nor of another domain.
            drop(edits.operate(&[there]).await);
            let done = Rc::new(Cell::new(false));
            let operates = {
                let (edits, done) = (Rc::clone(&edits), Rc::clone(&done));
                spawn_task("operates", async move {
                    let _editing = edits.operate(&[there, here, here]).await;
                    done.set(true);
                })
            };
            for held in [claiming, concluding] {
                sleep(Duration::from_millis(5)).await;
                assert!(!done.get(), "it waits for both");
                drop(held);
            }
            assert!(operates.await.is_ok() && done.get());
            assert!(edits.keys.borrow().is_empty());
        });
    }
}
