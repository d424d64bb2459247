//! Tests of transactions on the engine in memory.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cost;
mod limits;
mod metadata;
mod model;
mod operations;
mod outgoing;
mod sharing;
mod tls_known;

use std::num::NonZeroU32;
use std::sync::Arc;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{Flags, Keyword, Uid};

use super::{Account, Change, Initial, Limits, NewMessage, ThreadInfo, Tx};
use crate::blobs::{BlobWriter, Sharing};
use crate::engine::memory::MemoryEngine;
use crate::engine::{Durability, Engine};
use crate::ids::{AccountId, MailboxId};
use crate::store::{Refusal, Store, StoreError};
use crate::verify::verify;

pub(crate) const NOW: i64 = 1_700_000_000;

/// A store in memory with one account.
pub(crate) struct World {
    pub engine: Arc<MemoryEngine>,
    pub store: Store,
    pub account: Account,
}

impl World {
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub fn with_limits(limits: Limits) -> Self {
        let engine = Arc::new(MemoryEngine::new());
        let store = Store::open(Arc::clone(&engine) as Arc<dyn Engine>).unwrap();
        let id = AccountId::new(7).unwrap();
        let account = Account::load(&store.reader(), id, limits).unwrap();
        assert!(!account.exists());
        let mut world = Self { engine, store, account };
        world.run(|tx| tx.create_account(&Initial::usual(NonZeroU32::new(1000).unwrap()))).unwrap();
        world
    }

    /// Runs, commits and installs one transaction.
    pub fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, StoreError>,
    ) -> Result<(T, Vec<Change>), StoreError> {
        let reader = self.store.reader();
        let mut batch = self.account.begin(&reader);
        let done = batch.transact(NOW, work)?;
        let (batch, pending) = batch.finish();
        self.engine.commit(batch, Durability::Synced).unwrap();
        self.account.install(pending);
        Ok(done)
    }

    /// Runs a transaction that must be refused.
    pub fn refused<T>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, StoreError>,
    ) -> Option<Refusal> {
        match self.run(work) {
            Err(StoreError::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }

    pub fn reload(&mut self) {
        let (id, limits, quota) = (self.account.id(), *self.account.limits(), self.account.quota());
        self.account = Account::load(&self.store.reader(), id, limits).unwrap();
        self.account.set_quota(quota);
    }

    pub fn inbox(&self) -> MailboxId {
        self.account.mailbox_id(&MailboxName::inbox()).unwrap()
    }

    pub fn named(&self, text: &str) -> MailboxId {
        self.account.mailbox_id(&name(text)).unwrap()
    }

    /// Appends a message with this content.
    pub fn append(&mut self, mailbox: MailboxId, content: &[u8], flags: Flags, keywords: &[&str]) -> Uid {
        let (message, blob) = message(&self.store, content, flags, keywords);
        self.run(|tx| {
            tx.attach(blob);
            tx.append(mailbox, message)
        })
        .unwrap()
        .0
        .uid
    }

    pub fn verify(&self) {
        let report = verify(self.store.reader(), None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:#?}", report.violations);
    }
}

/// A message with its content's last batch; longer contents are committed by the caller.
pub(crate) fn message(
    store: &Store,
    content: &[u8],
    flags: Flags,
    keywords: &[&str],
) -> (NewMessage, crate::engine::Batch) {
    let mut writer = BlobWriter::new(store.new_blob(), u64::MAX);
    if let Some(batch) = writer.push(content).unwrap() {
        store.engine().commit(batch, Durability::Buffered).unwrap();
    }
    let finished = writer.finish(b"structure", Sharing::One).unwrap();
    let message = NewMessage {
        content: finished.content,
        prefix: b"Return-Path: <>\r\n".to_vec(),
        flags,
        keywords: keywords.iter().map(|text| Keyword::new(text).unwrap()).collect(),
        received: NOW - 5,
        thread: ThreadInfo::default(),
    };
    (message, finished.batch)
}

pub(crate) fn name(text: &str) -> MailboxName {
    MailboxName::new(text).unwrap()
}

pub(crate) fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}
