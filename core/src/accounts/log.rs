//! The last changes of an account, in order, for the sessions that watch it.
//!
//! A session that has seen everything up to a modification sequence asks for what came since. When the
//! log doesn't reach back that far, the store's change index answers instead: nothing is lost, so the
//! log can be small, and no session has a queue of its own that could overflow.

use std::collections::VecDeque;
use std::rc::Rc;

use postrider_proto::imap::types::ModSeq;
use postrider_storage::account::Change;

use super::watch::WatcherId;

/// Changes that are kept.
pub const CHANGES_MAX: usize = 4096;

/// A committed change.
#[derive(Debug)]
pub struct Published {
    /// The transaction.
    pub modseq: ModSeq,
    /// What changed.
    pub change: Change,
    /// Who caused it, when that was a session.
    pub origin: Option<WatcherId>,
}

/// What came since.
pub enum Since {
    /// These changes, in order.
    Changes(Vec<Rc<Published>>),
    /// More than the log remembers: ask the store's change index.
    Forgotten,
}

/// The last changes of an account.
#[derive(Default)]
pub struct ChangeLog {
    /// Every change with a larger modification sequence is in the log.
    floor: Option<ModSeq>,
    changes: VecDeque<Rc<Published>>,
}

impl ChangeLog {
    /// A log that begins after `floor`.
    pub fn new(floor: Option<ModSeq>) -> Self {
        Self { floor, changes: VecDeque::new() }
    }

    /// Adds the changes of a batch. `modseq` must not be lower than that of earlier ones.
    pub fn push(&mut self, published: Published) {
        debug_assert!(self.changes.back().is_none_or(|last| last.modseq <= published.modseq));
        if self.changes.len() == CHANGES_MAX {
            self.drop_oldest();
        }
        self.changes.push_back(Rc::new(published));
    }

    /// Drops the oldest change and all others of its transaction, which would be incomplete.
    fn drop_oldest(&mut self) {
        let Some(oldest) = self.changes.pop_front() else { return };
        self.floor = Some(oldest.modseq);
        while self.changes.front().is_some_and(|change| change.modseq == oldest.modseq) {
            self.changes.pop_front();
        }
    }

    /// Everything that came after `seen`.
    pub fn since(&self, seen: ModSeq) -> Since {
        if self.floor.is_some_and(|floor| seen < floor) {
            return Since::Forgotten;
        }
        let first = self.changes.partition_point(|change| change.modseq <= seen);
        Since::Changes(self.changes.iter().skip(first).cloned().collect())
    }

    /// Whether anything came after `seen`.
    pub fn has_since(&self, seen: ModSeq) -> bool {
        self.floor.is_some_and(|floor| seen < floor)
            || self.changes.back().is_some_and(|change| change.modseq > seen)
    }

    /// Forgets everything up to `head`, the present modification sequence: nobody watches.
    pub fn clear(&mut self, head: Option<ModSeq>) {
        self.changes.clear();
        self.floor = head;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use postrider_proto::imap::mailbox::MailboxName;

    use super::*;

    fn modseq(value: u64) -> ModSeq {
        ModSeq::new(value).unwrap()
    }

    fn push(log: &mut ChangeLog, value: u64) {
        let change = Change::Subscribed { name: MailboxName::inbox(), modseq: modseq(value) };
        log.push(Published { modseq: modseq(value), change, origin: None });
    }

    fn since(log: &ChangeLog, seen: u64) -> Option<Vec<u64>> {
        match log.since(modseq(seen)) {
            Since::Changes(changes) => Some(changes.iter().map(|change| change.modseq.get()).collect()),
            Since::Forgotten => None,
        }
    }

    #[test]
    fn what_came_since_is_told_in_order_or_known_to_be_forgotten() {
        let mut log = ChangeLog::new(Some(modseq(10)));
        for value in [11, 12, 12, 13] {
            push(&mut log, value);
        }
        assert_eq!(since(&log, 10), Some(vec![11, 12, 12, 13]));
        assert_eq!(since(&log, 12), Some(vec![13]));
        assert_eq!(since(&log, 13), Some(vec![]));
        assert_eq!(since(&log, 9), None);
        assert!(log.has_since(modseq(12)) && !log.has_since(modseq(13)));
    }

    #[test]
    fn the_log_forgets_whole_transactions_when_it_is_full() {
        let mut log = ChangeLog::new(Some(modseq(1)));
        push(&mut log, 2);
        push(&mut log, 2);
        for value in 3..u64::try_from(CHANGES_MAX).unwrap() + 1 {
            push(&mut log, value);
        }
        assert!(since(&log, 1).is_some(), "just full");
        push(&mut log, 100_000);
        assert_eq!(since(&log, 1), None);
        assert_eq!(since(&log, 2).unwrap().first(), Some(&3));
    }
}
