//! Who is writing which entry: an edit is built from rows that nobody else is about to write.

use std::cell::RefCell;
use std::collections::BTreeSet;

use postrider_storage::ids::QueueId;

use crate::runtime::LocalNotify;

/// Entries of which an edit is built, or isn't acknowledged yet. Of one shard.
#[derive(Default)]
pub(super) struct Edits {
    ids: RefCell<BTreeSet<QueueId>>,
    freed: LocalNotify,
}

/// Some entries that nobody else edits until this is dropped.
#[must_use = "others may edit the entries when this is dropped"]
pub(super) struct Editing<'a> {
    edits: &'a Edits,
    ids: Vec<QueueId>,
}

impl Edits {
    /// Takes entries, and waits for each that somebody has. All who wait do so in the same order, so nobody waits
    /// for ever.
    pub(super) async fn take(&self, mut ids: Vec<QueueId>) -> Editing<'_> {
        ids.sort_unstable();
        ids.dedup();
        let mut taken = Editing { edits: self, ids: Vec::with_capacity(ids.len()) };
        for id in ids {
            while !self.ids.borrow_mut().insert(id) {
                self.freed.changed(self.freed.version()).await;
            }
            taken.ids.push(id);
        }
        taken
    }

    /// Takes those entries that nobody has.
    pub(super) fn take_free(&self, ids: &[QueueId]) -> Editing<'_> {
        let mut all = self.ids.borrow_mut();
        Editing { edits: self, ids: ids.iter().copied().filter(|id| all.insert(*id)).collect() }
    }
}

impl Editing<'_> {
    /// They.
    pub(super) fn ids(&self) -> &[QueueId] {
        &self.ids
    }
}

impl Drop for Editing<'_> {
    fn drop(&mut self) {
        {
            let mut all = self.edits.ids.borrow_mut();
            for id in &self.ids {
                all.remove(id);
            }
        }
        self.edits.freed.notify();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::runtime::spawn_task;
    use crate::runtime::tests::on_shard;

    #[test]
    fn an_entry_is_edited_by_one_at_a_time() {
        on_shard(|| async {
            let edits = Rc::new(Edits::default());
            let [one, two, three] = [1, 2, 3].map(QueueId);
            let first = edits.take(vec![two, one, two]).await;
            assert_eq!(first.ids(), [one, two]);
            let free = edits.take_free(&[one, two, three]);
            assert_eq!(free.ids(), [three]);
            let waits = {
                let edits = Rc::clone(&edits);
                spawn_task("waits", async move { edits.take(vec![three, two]).await.ids().len() })
            };
            crate::runtime::sleep(std::time::Duration::from_millis(5)).await;
            assert!(edits.take_free(&[one, two, three]).ids().is_empty(), "nothing is free yet");
            drop(free);
            drop(first);
            assert_eq!(waits.await.ok(), Some(2));
            assert_eq!(edits.take_free(&[one, two, three]).ids().len(), 3);
        });
    }
}
