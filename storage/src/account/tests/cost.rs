//! What reads of a mailbox with a million messages touch.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider_proto::imap::types::{Flags, ModSeq, Uid};

use super::{World, uid};
use crate::account::Account;
use crate::engine::{Batch, Bytes, Durability, Engine, EngineError, Rows, Snapshot, Space};
use crate::ids::{EmailId, ThreadId};
use crate::keys::{self, Which};
use crate::reader::Reader;
use crate::rows::pack::{BLOCK_MESSAGES_MAX, Block};
use crate::rows::{MailboxRow, MessageRow};

/// Counts the rows that are read through it.
struct Counting {
    snapshot: Box<dyn Snapshot>,
    rows: Arc<AtomicUsize>,
}

impl Snapshot for Counting {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.rows.fetch_add(1, Ordering::Relaxed);
        self.snapshot.get(space, key)
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        let rows = Arc::clone(&self.rows);
        Box::new(self.snapshot.range(space, from, to).inspect(move |_| {
            rows.fetch_add(1, Ordering::Relaxed);
        }))
    }
}

const MESSAGES: u32 = 1_000_000;
const RECENT: u32 = 100;

/// Writes the rows of a large mailbox; the last `RECENT` messages have a later modseq than all others.
fn fill(world: &mut World) {
    let (account, inbox) = (world.account.id(), world.inbox());
    let old = ModSeq::new(3).unwrap();
    let new = ModSeq::new(4).unwrap();
    let mut block = Block::new(Uid::MIN);
    let mut batch = Batch::new();
    for number in 1..=MESSAGES {
        let uid = uid(number);
        let modseq = if number > MESSAGES - RECENT { new } else { old };
        let row = MessageRow {
            flags: Flags::SEEN,
            keywords: Box::default(),
            modseq,
            createseq: old,
            email: EmailId(1),
            thread: ThreadId(1),
            size: 1,
            received: 0,
            saved: 0,
        };
        batch.insert(Space::Rows, keys::message(account, inbox, uid), row.encode());
        batch.insert(Space::Rows, keys::change(account, inbox, Which::Live, modseq, uid), []);
        if !block.push(uid, Flags::SEEN.bits()) {
            let full = std::mem::replace(&mut block, Block::new(uid));
            batch.insert(Space::Rows, keys::pack(account, inbox, full.base()), full.encode());
            assert!(block.push(uid, Flags::SEEN.bits()));
        }
        if number % 50_000 == 0 {
            world.engine.commit(std::mem::take(&mut batch), Durability::Synced).unwrap();
        }
    }
    batch.insert(Space::Rows, keys::pack(account, inbox, block.base()), block.encode());
    let row = MailboxRow {
        exists: MESSAGES,
        size: MESSAGES.into(),
        uid_next: uid(MESSAGES + 1),
        modseq: new,
        tail: Some(block.base()),
        ..(**world.account.mailbox(inbox).unwrap()).clone()
    };
    batch.insert(Space::Rows, keys::mailbox(account, inbox), row.encode());
    let head = crate::rows::HeadRow { modseq: new, ..*world.account.head().unwrap() };
    batch.insert(Space::Rows, keys::head(account), head.encode());
    world.engine.commit(batch, Durability::Synced).unwrap();
}

#[test]
fn opening_a_mailbox_of_a_million_messages_touches_few_rows() {
    let mut world = World::new();
    fill(&mut world);
    let rows = Arc::new(AtomicUsize::new(0));
    let snapshot = Counting { snapshot: world.engine.snapshot(), rows: Arc::clone(&rows) };
    let reader = Reader::new(Box::new(snapshot));
    let touched = || rows.swap(0, Ordering::Relaxed);
    let (id, inbox) = (world.account.id(), world.inbox());

    let account = Account::load(&reader, id, *world.account.limits()).unwrap();
    assert_eq!(account.mailbox(inbox).unwrap().exists, MESSAGES);
    assert!(touched() < 20, "SELECT needs the account's own rows only");

    let since = ModSeq::new(3).unwrap();
    assert_eq!(reader.changes(id, inbox, since, Which::Live).count(), RECENT as usize);
    assert_eq!(reader.changes(id, inbox, since, Which::Tombstones).count(), 0);
    assert_eq!(touched(), RECENT as usize, "changes cost what changed");

    let mut count = 0;
    reader.uid_runs(id, inbox, |_, run| count += run).unwrap();
    assert_eq!(count, MESSAGES);
    let blocks = (MESSAGES as usize).div_ceil(BLOCK_MESSAGES_MAX);
    assert_eq!(touched(), blocks, "all uids cost one row for each block");
    let uids = reader.uid_set(id, inbox).unwrap();
    assert_eq!((uids.len(), uids.run_count(), touched()), (MESSAGES, 1, blocks));

    let mut batch = account.begin(&reader);
    let (_, changes) = batch
        .transact(0, |tx| {
            let change = crate::account::FlagChange {
                op: crate::account::FlagOp::Add,
                flags: Flags::FLAGGED,
                keywords: Vec::new(),
            };
            tx.store_flags(inbox, &[uid(500_000)], &change, None)
        })
        .unwrap();
    assert_eq!(changes.len(), 1);
    assert!(touched() <= 4, "one flag of one message");
    let (batch, _) = batch.finish();
    assert_eq!(batch.len(), 6, "MESSAGE, CHANGE twice, PACK, MAILBOX, HEAD");

    let packed: usize = reader.prefix(&keys::packs(id, inbox)).map(|row| row.unwrap().1.len()).sum();
    assert!(packed < 1_300_000, "{packed} octets of packed blocks");
}
