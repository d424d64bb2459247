//! Waits before a batch where the crate would wait behind it.
//!
//! The crate shows a batch as soon as it is in the journal and in memory, and then, when flushes or
//! compactions are behind, keeps the one who wrote it until they have caught up. Meanwhile everybody sees what
//! isn't acknowledged yet, and may not be told; a session that looks at that mailbox would wait, too. So
//! the waiting is done before the batch is written: then sessions see what was there before.

use ::fjall::{AbstractTree, Database, Keyspace, PersistMode};
use std::time::Duration;

/// The crate waits from four memory tables that are to be flushed on. A full one that is just being put among
/// them is counted here, so that a commit never makes the fourth.
const SEALED_MAX: usize = 3;
/// The crate waits from thirty runs in the first level on; flushes that are under way may add some more.
const RUNS_MAX: usize = 30 - SEALED_MAX - 1;
/// How often it is looked again.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until all keyspaces, given with the size at which their memory tables are flushed, have room for
/// another batch; not when the database is poisoned, for then there will be none, and the commit says so.
pub(super) fn wait_for_room(db: &Database, keyspaces: [(&Keyspace, u64); 2]) {
    while !keyspaces.iter().all(has_room) {
        if db.persist(PersistMode::Buffer).is_err() {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

fn has_room((keyspace, octets_max): &(&Keyspace, u64)) -> bool {
    let tree = &keyspace.tree;
    let full = usize::from(tree.active_memtable().size() > *octets_max);
    tree.sealed_memtable_count() + full < SEALED_MAX && tree.l0_run_count() < RUNS_MAX
}
