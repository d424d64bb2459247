//! The queue. Every commit of these tests is followed by a check of all invariants.
#![expect(clippy::unwrap_used, reason = "tests")]

mod attempts;
mod conversion;
mod damage;
mod lists;
mod model;
mod operations;
mod submission;
mod suppressions;

use std::sync::Arc;

use super::*;
use crate::blobs::{BlobWriter, Sharing};
use crate::engine::memory::MemoryEngine;
use crate::engine::{Batch, Durability, Engine};
use crate::ids::AccountId;
use crate::rows::{AttemptResult, Kind, RequireTls, Ret};
use crate::store::Store;
use crate::verify::verify;

/// A store in memory.
struct World {
    engine: Arc<MemoryEngine>,
    store: Store,
}

impl World {
    fn new() -> Self {
        let engine = Arc::new(MemoryEngine::new());
        let store = Store::open(Arc::clone(&engine) as Arc<dyn Engine>).unwrap();
        Self { engine, store }
    }

    fn reader(&self) -> Reader {
        self.store.reader()
    }

    fn commit(&self, batch: Batch) {
        self.engine.commit(batch, Durability::Synced).unwrap();
        self.verify();
    }

    fn verify(&self) {
        let report = verify(self.reader(), None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:#?}", report.violations);
    }

    /// Stores a content.
    fn content(&self) -> Content {
        let mut writer = BlobWriter::new(self.store.new_blob(), u64::MAX);
        writer.push(b"content").unwrap();
        let blob = writer.finish(b"", Sharing::Several).unwrap();
        self.engine.commit(blob.batch, Durability::Synced).unwrap();
        blob.content
    }

    fn enqueue(&self, message: NewQueued) -> Vec<Scheduled> {
        let rules = HoldRules::load(&self.reader()).unwrap();
        let enqueued = enqueue(|| self.store.new_queue_id(), message, &rules).unwrap();
        self.commit(enqueued.edit.batch);
        enqueued.entries
    }

    /// Enqueues a message without checking the store.
    fn enqueue_unchecked(&self, recipient: &str) {
        let message = message(self.content(), &[recipient]);
        let enqueued = enqueue(|| self.store.new_queue_id(), message, &HoldRules::default()).unwrap();
        self.engine.commit(enqueued.edit.batch, Durability::Synced).unwrap();
    }

    /// Enqueues a message to these addresses, from `a@sender.example` of account 3, accepted at 100.
    fn send(&self, recipients: &[&str]) -> Vec<QueueId> {
        let entries = self.enqueue(message(self.content(), recipients));
        entries.into_iter().map(|entry| entry.id).collect()
    }

    fn entry(&self, id: QueueId) -> QueueRow {
        entry(&self.reader(), id).unwrap().unwrap()
    }

    fn is_gone(&self, id: QueueId) -> bool {
        entry(&self.reader(), id).unwrap().is_none()
    }

    /// The addresses that wait with an entry, with their numbers.
    fn addresses(&self, id: QueueId) -> Vec<(u32, String)> {
        let text = |row: RecipientRow| String::from_utf8(row.address.to_vec()).unwrap();
        recipients(&self.reader(), id)
            .map(|row| row.map(|(number, row)| (number, text(row))).unwrap())
            .collect()
    }

    fn claim(&self, id: QueueId, now: i64) -> Claimed {
        let mut claimed = claim(&self.reader(), id, Attempt { now, next: now + 450 }).unwrap().unwrap();
        self.commit(std::mem::take(&mut claimed.edit).batch);
        claimed
    }

    /// Writes the outcome of the attempt that is under way.
    fn outcome(&self, id: QueueId, of: &Outcome) -> Concluded {
        let of = Outcome { attempt: self.entry(id).attempts, ..of.clone() };
        let mut concluded = outcome(&self.reader(), id, &of).unwrap().unwrap();
        self.commit(std::mem::take(&mut concluded.edit).batch);
        concluded
    }

    fn change(&self, id: QueueId, chosen: Chosen<'_>, what: &Change) -> Done {
        let changed = change(&self.reader(), id, chosen, what, || self.store.new_queue_id()).unwrap();
        let Changed::Done(mut done) = changed else { panic!("{changed:?}") };
        self.commit(std::mem::take(&mut done.edit).batch);
        done
    }

    fn counts(&self) -> (u64, u64, u64) {
        let QueueCounts { entries, recipients, held } = count(&self.reader()).unwrap();
        (entries, recipients, held)
    }
}

fn message(content: Content, recipients: &[&str]) -> NewQueued {
    let recipient = |address: &&str| NewRecipient {
        original: b"rfc822;r@example.net".to_vec(),
        ..NewRecipient::new(*address)
    };
    NewQueued {
        prefix: b"Received: x\r\n".to_vec(),
        sender: AccountId::new(3),
        mail_from: b"a@sender.example".to_vec(),
        eight_bit: true,
        ret: Ret::Full,
        envelope_id: b"id".to_vec(),
        ..NewQueued::new(content, 100, recipients.iter().map(recipient).collect())
    }
}

fn of(account: Option<u32>) -> RetiredFilter {
    RetiredFilter { account, ..RetiredFilter::default() }
}

fn said(time: i64, code: u16, text: &str) -> AttemptResult {
    AttemptResult::new(time, code, Some([code / 100, 1, 1]), "mx.example.net", text)
}
