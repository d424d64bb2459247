//! Sessions that want to know what changes in their account.

use std::cell::Cell;
use std::rc::Rc;

use postrider_proto::imap::types::ModSeq;
use postrider_storage::ids::MailboxId;

/// A session, among those of its account.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WatcherId(pub u64);

/// What the account knows of a session that watches it.
#[derive(Debug)]
pub struct Watcher {
    pub(super) id: WatcherId,
    /// The mailbox that it has selected, and up to where it has processed the removals of it: the
    /// content of messages removed later is kept.
    pub(super) holds: Cell<Option<(MailboxId, ModSeq)>>,
}

impl Watcher {
    /// Its id, to mark the changes that it causes.
    pub const fn id(&self) -> WatcherId {
        self.id
    }

    /// The mailbox whose removed messages it may still fetch, and from which removal on.
    pub fn holds(&self) -> Option<(MailboxId, ModSeq)> {
        self.holds.get()
    }
}

/// The sessions of an account.
#[derive(Default)]
pub(super) struct Watchers {
    next: u64,
    all: Vec<Rc<Watcher>>,
}

impl Watchers {
    pub(super) fn add(&mut self) -> Rc<Watcher> {
        self.next += 1;
        let watcher = Rc::new(Watcher { id: WatcherId(self.next), holds: Cell::new(None) });
        self.all.push(Rc::clone(&watcher));
        watcher
    }

    pub(super) fn remove(&mut self, id: WatcherId) {
        self.all.retain(|watcher| watcher.id != id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The last removal that every session with a selected mailbox has processed.
    pub(super) fn processed_by_all(&self) -> Option<ModSeq> {
        self.all.iter().filter_map(|watcher| watcher.holds.get()).map(|(_, seen)| seen).min()
    }

    /// Whether a session may still fetch a message that was removed from `mailbox` at `modseq`.
    pub(super) fn hold(&self, mailbox: MailboxId, modseq: ModSeq) -> bool {
        self.all.iter().any(|watcher| {
            watcher.holds.get().is_some_and(|(selected, seen)| selected == mailbox && seen < modseq)
        })
    }
}
