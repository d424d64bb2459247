//! A store in memory with one mailbox, for tests of what commands read.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU32;
use std::sync::Arc;

use postrider_proto::imap::command::{Command, Context, Utf8, parse};
use postrider_proto::imap::limits::Limits;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{Flags, Keyword, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_proto::mime::scan::Scanner;
use postrider_proto::mime::{self, record};
use postrider_storage::account::{self, Account, Initial, NewMessage, ThreadInfo, Tx};
use postrider_storage::blobs::{BLOB_OCTETS_MAX, BlobWriter, Sharing};
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::engine::{Durability, Engine};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::store::{Store, StoreError};

/// A store with one account.
pub struct World {
    pub store: Arc<Store>,
    pub account: Account,
    pub inbox: MailboxId,
}

/// A message to be added.
pub struct Mail<'a> {
    pub prefix: &'a [u8],
    pub message: &'a [u8],
    pub flags: Flags,
    pub keywords: &'a [&'a str],
    pub received: i64,
}

impl Default for Mail<'_> {
    fn default() -> Self {
        Self { prefix: b"", message: b"\r\n", flags: Flags::NONE, keywords: &[], received: 0 }
    }
}

impl World {
    pub fn new() -> Self {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        let store = Arc::new(Store::open(engine).unwrap());
        let id = AccountId::new(7).unwrap();
        let account = Account::load(&store.reader(), id, account::Limits::default()).unwrap();
        let inbox = MailboxId::new(1).unwrap();
        let mut world = Self { store, account, inbox };
        let initial = Initial { uid_validity: NonZeroU32::MIN, mailboxes: Vec::new() };
        world.transact(|tx| tx.create_account(&initial));
        world.inbox = world.account.mailbox_id(&MailboxName::inbox()).unwrap();
        world
    }

    pub fn place(&self) -> (AccountId, MailboxId) {
        (self.account.id(), self.inbox)
    }

    pub fn transact<T>(&mut self, work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, StoreError>) -> T {
        let reader = self.store.reader();
        let mut batch = self.account.begin(&reader);
        let (value, _) = batch.transact(1000, work).unwrap();
        let (batch, pending) = batch.finish();
        self.store.engine().commit(batch, Durability::Synced).unwrap();
        self.account.install(pending);
        value
    }

    pub fn append(&mut self, mail: &Mail<'_>) -> Uid {
        let mut scanner = Scanner::new(mime::Limits::DEFAULT);
        scanner.push(mail.message);
        let mut structure = Vec::new();
        record::encode(&scanner.finish(), &mut structure);
        let mut writer = BlobWriter::new(self.store.new_blob(), BLOB_OCTETS_MAX);
        if let Some(batch) = writer.push(mail.message).unwrap() {
            self.store.engine().commit(batch, Durability::Buffered).unwrap();
        }
        let finished = writer.finish(&structure, Sharing::One).unwrap();
        let message = NewMessage {
            content: finished.content,
            prefix: mail.prefix.to_vec(),
            flags: mail.flags,
            keywords: mail.keywords.iter().map(|keyword| Keyword::new(keyword).unwrap()).collect(),
            received: mail.received,
            thread: ThreadInfo::default(),
        };
        let inbox = self.inbox;
        self.transact(move |tx| {
            tx.attach(finished.batch);
            tx.append(inbox, message)
        })
        .uid
    }

    pub fn view(&self) -> UidSet {
        let rows = self
            .store
            .reader()
            .messages(self.account.id(), self.inbox, Uid::MIN..=Uid::MAX)
            .collect::<Vec<_>>();
        rows.into_iter().map(|row| row.unwrap().0).collect()
    }

    pub fn keywords(&self) -> Vec<Box<str>> {
        let keywords = self.store.reader().keywords(self.account.id()).unwrap();
        keywords.iter().map(|keyword| keyword.as_str().into()).collect()
    }
}

/// A command as a client writes it, without tag and line end.
pub fn command(text: &str) -> Command {
    let context = Context { utf8: Utf8::Off, limits: &Limits::AUTHENTICATED };
    parse(format!("a {text}\r\n").as_bytes(), context).unwrap_or_else(|bad| panic!("{text}: {bad:?}")).command
}
