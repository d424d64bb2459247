//! A store on disk with mailboxes of several sizes.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{Flags, ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_proto::mime::scan::Scanner;
use postrider_proto::mime::{self, record};
use postrider_storage::account::{
    Account, Expunge, FlagChange, FlagOp, Initial, Limits, NewMessage, ThreadInfo, Tx,
};
use postrider_storage::blobs::{BLOB_OCTETS_MAX, BlobWriter, Sharing};
use postrider_storage::engine::fjall::{FjallEngine, Options};
use postrider_storage::engine::{Batch, Durability, Engine, Incarnation};
use postrider_storage::ids::{AccountId, MailboxId, QueueId};
use postrider_storage::reader::Reader;
use postrider_storage::rows::SpecialUse;
use postrider_storage::store::{Store, StoreError};

/// The sizes of the mailboxes, in messages.
pub const MAILBOXES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Transactions on one message each at the end of a mailbox's life: one in five removes it.
const CHANGES: u32 = 10_000;
/// The last of them come after everything else, so that they lie alike in the store for each mailbox.
const LATEST: u32 = 100;
/// Messages in one transaction.
const TOGETHER: u32 = 500;
/// Transactions in one batch.
const BATCHED: usize = 20;

/// The store, open.
pub struct World {
    engine: Arc<FjallEngine>,
    store: Store,
    account: RefCell<Account>,
}

/// One mailbox.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The account.
    pub account: AccountId,
    /// The mailbox.
    pub mailbox: MailboxId,
}

impl World {
    /// Opens the store in `directory`, and fills the mailboxes of up to `messages_max` messages when it is
    /// empty.
    pub fn prepare(directory: &Path, messages_max: u32) -> Result<Self> {
        let world = Self::open(directory)?;
        if world.account.borrow().exists() {
            return Ok(world);
        }
        let initial = Initial { uid_validity: NonZeroU32::MIN, mailboxes: Vec::new() };
        world.transact(|tx| tx.create_account(&initial))?;
        let sizes = MAILBOXES.into_iter().filter(|messages| *messages <= messages_max);
        for messages in sizes.clone() {
            let name = name(messages)?;
            let mailbox = world.transact(|tx| tx.create_mailbox(&name, SpecialUse::NONE))?;
            for first in (0..messages).step_by(TOGETHER as usize) {
                world.append(mailbox, first..messages.min(first + TOGETHER))?;
            }
        }
        for messages in sizes.clone() {
            world.change(messages, 0..changes(messages) - LATEST)?;
        }
        for messages in sizes {
            world.change(messages, changes(messages) - LATEST..changes(messages))?;
        }
        Ok(world)
    }

    /// Opens the store in `directory`.
    pub fn open(directory: &Path) -> Result<Self> {
        let engine = Arc::new(FjallEngine::open(Options::at(directory))?);
        let store = Store::open(Arc::clone(&engine) as Arc<dyn Engine>)?;
        let id = AccountId::new(1).context("1 is an account id")?;
        let account = RefCell::new(Account::load(&store.reader(), id, Limits::default())?);
        Ok(Self { engine, store, account })
    }

    /// The mailbox with `messages` messages.
    pub fn place(&self, messages: u32) -> Result<Place> {
        let account = self.account.borrow();
        let mailbox = account.mailbox_id(&name(messages)?);
        let mailbox = mailbox.with_context(|| format!("the mailbox of {messages} isn't prepared"))?;
        Ok(Place { account: account.id(), mailbox })
    }

    /// The committed state of the account.
    pub fn account(&self) -> std::cell::Ref<'_, Account> {
        self.account.borrow()
    }

    /// A snapshot of now.
    pub fn reader(&self) -> Reader {
        self.store.reader()
    }

    /// The life of the store.
    pub fn incarnation(&self) -> Incarnation {
        self.engine.incarnation()
    }

    /// The modification sequence of a mailbox before its last `count` changes: none, the latest or all.
    pub fn before(&self, messages: u32, count: u32) -> Result<ModSeq> {
        let account = self.account.borrow();
        let own = account.mailbox(self.place(messages)?.mailbox).context("no such mailbox")?.modseq.get();
        let before = if count <= LATEST {
            own - u64::from(count)
        } else {
            ensure!(count == changes(messages), "a mailbox of {messages} has {} changes", changes(messages));
            // All of the latest come after all others, and those of larger mailboxes after this one's.
            let there = MAILBOXES.into_iter().filter(|other| self.place(*other).is_ok());
            let (mut last, mut since) = (0, 0);
            for other in there {
                let row = account.mailbox(self.place(other)?.mailbox).context("no such mailbox")?;
                last = last.max(row.modseq.get());
                since += u64::from(if other < messages { LATEST } else { changes(other) });
            }
            last - since
        };
        ModSeq::new(before).context("modification sequences begin at 1")
    }

    /// Changes messages, each in a transaction of its own. They are spread over all of the mailbox.
    fn change(&self, messages: u32, which: std::ops::Range<u32>) -> Result<()> {
        let mailbox = self.place(messages)?.mailbox;
        let step = (messages / changes(messages)).max(1);
        let flagged = FlagChange { op: FlagOp::Add, flags: Flags::FLAGGED, keywords: Vec::new() };
        let all: Vec<u32> = which.collect();
        for some in all.chunks(BATCHED) {
            let reader = self.store.reader();
            let mut account = self.account.borrow_mut();
            let mut building = account.begin(&reader);
            for change in some {
                let uid = Uid::new(change * step + 1).context("uids begin at 1")?;
                let changed = building.transact(NOW, |tx| {
                    if change % 5 == 4 {
                        tx.expunge(mailbox, Expunge::These(&[uid])).map(drop)
                    } else {
                        tx.store_flags(mailbox, &[uid], &flagged, None).map(drop)
                    }
                });
                let _changes = changed?;
            }
            let (rows, pending) = building.finish();
            self.engine.commit(rows, Durability::Buffered)?;
            account.install(pending);
        }
        Ok(())
    }

    fn append(&self, mailbox: MailboxId, numbers: std::ops::Range<u32>) -> Result<()> {
        let mut contents = Vec::new();
        for number in numbers {
            let message = message(number);
            let mut scanner = Scanner::new(mime::Limits::DEFAULT);
            scanner.push(message.as_bytes());
            let mut structure = Vec::new();
            record::encode(&scanner.finish(), &mut structure);
            let mut writer = BlobWriter::new(self.store.new_blob(), BLOB_OCTETS_MAX);
            ensure!(writer.push(message.as_bytes())?.is_none(), "a message fits one chunk");
            contents.push(writer.finish(&structure, Sharing::One)?);
        }
        self.transact(|tx| {
            for content in contents {
                tx.attach(content.batch);
                let new = NewMessage {
                    content: content.content,
                    prefix: Vec::new(),
                    flags: Flags::SEEN,
                    keywords: Vec::new(),
                    received: NOW,
                    thread: ThreadInfo::default(),
                };
                tx.append(mailbox, new)?;
            }
            Ok(())
        })
    }

    fn transact<T>(&self, work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, StoreError>) -> Result<T> {
        let reader = self.store.reader();
        let mut account = self.account.borrow_mut();
        let mut building = account.begin(&reader);
        let (value, _changes) = building.transact(NOW, work)?;
        let (rows, pending) = building.finish();
        self.engine.commit(rows, Durability::Buffered)?;
        account.install(pending);
        Ok(value)
    }

    /// The store.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// The messages of a mailbox.
    pub(crate) fn view(&self, place: Place) -> Result<UidSet> {
        Ok(self.reader().uid_set(place.account, place.mailbox)?)
    }

    /// The id of a new entry of the queue.
    pub(crate) fn queue_id(&self) -> QueueId {
        self.store.new_queue_id()
    }

    /// Writes rows.
    pub(crate) fn commit(&self, batch: Batch) -> Result<()> {
        Ok(self.engine.commit(batch, Durability::Buffered)?)
    }

    /// Builds the rows of one more message, and throws them away: what a delivery costs besides its commit.
    pub fn build_append(&self, place: Place) -> Result<usize> {
        let reader = self.store.reader();
        let account = self.account.borrow();
        let mut building = account.begin(&reader);
        let new = NewMessage {
            content: postrider_storage::account::Content { blob: self.store.new_blob(), size: 10_240 },
            prefix: b"Return-Path: <sender@example.org>\r\n".to_vec(),
            flags: Flags::NONE,
            keywords: Vec::new(),
            received: NOW,
            thread: ThreadInfo::default(),
        };
        let (_, changes) = building.transact(NOW, |tx| tx.append(place.mailbox, new))?;
        Ok(changes.len())
    }
}

const NOW: i64 = 1_700_000_000;

/// How many changes a mailbox has at its end.
pub(crate) const fn changes(messages: u32) -> u32 {
    if messages / 2 < CHANGES { messages / 2 } else { CHANGES }
}

fn name(messages: u32) -> Result<MailboxName> {
    Ok(MailboxName::new(&format!("of {messages}"))?)
}

/// A short message with the header that mail has.
fn message(number: u32) -> String {
    format!(
        "From: Some Sender <sender{number}@example.org>\r\nTo: A Recipient <recipient@example.net>\r\n\
         Cc: Another <another@example.net>\r\nSubject: message number {number} of a list\r\n\
         Message-ID: <{number}.1700000000@example.org>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nText of message {number}.\r\n"
    )
}
