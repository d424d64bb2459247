//! The uids of large mailboxes that were selected lately, so that SELECT need not read them again.
//!
//! A mailbox's id is never given out twice, its uids only grow, and a removal lowers its count: so the
//! next uid and the count together say which uids there are. An entry with other numbers is brought up
//! to date from the change index when little changed, or read anew.

use std::cell::RefCell;
use std::collections::HashMap;

use postrider_proto::imap::types::{ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::keys::Which;
use postrider_storage::reader::Reader;
use postrider_storage::rows::MailboxRow;
use postrider_storage::store::StoreError;

use super::selected::Selected;
use super::sync::read_view;
use crate::accounts::AccountHandle;

/// Mailboxes with fewer messages are read each time: that takes two rows.
const MESSAGES_MIN: u32 = 1024;
/// Mailboxes that are kept on a shard.
const VIEWS_MAX: usize = 256;
/// Octets that they take at most.
const OCTETS_MAX: usize = 4 * 1024 * 1024;
/// Changes up to which an entry is brought up to date.
const CHANGES_MAX: usize = 1000;

#[derive(Clone)]
struct View {
    uids: UidSet,
    uid_next: Uid,
    /// The account's modification sequence of that moment.
    modseq: ModSeq,
    used: u64,
}

#[derive(Default)]
struct Views {
    all: HashMap<(AccountId, MailboxId), View>,
    octets: usize,
    clock: u64,
}

thread_local! {
    static VIEWS: RefCell<Views> = RefCell::default();
}

impl Views {
    fn get(&mut self, key: (AccountId, MailboxId)) -> Option<View> {
        self.clock += 1;
        let view = self.all.get_mut(&key)?;
        view.used = self.clock;
        Some(view.clone())
    }

    fn put(&mut self, key: (AccountId, MailboxId), mut view: View) {
        self.clock += 1;
        view.used = self.clock;
        self.octets += view.uids.memory_octets();
        if let Some(old) = self.all.insert(key, view) {
            self.octets -= old.uids.memory_octets();
        }
        while self.all.len() > VIEWS_MAX || self.octets > OCTETS_MAX {
            let Some((&oldest, _)) = self.all.iter().min_by_key(|(_, view)| view.used) else { return };
            if let Some(old) = self.all.remove(&oldest) {
                self.octets -= old.uids.memory_octets();
            }
        }
    }
}

/// The uids of a mailbox at the moment of `reader`, whose rows `row` and `head` are.
pub(super) fn load(
    account: &AccountHandle,
    reader: &Reader,
    mailbox: MailboxId,
    row: &MailboxRow,
    head: ModSeq,
) -> Result<UidSet, StoreError> {
    if row.exists < MESSAGES_MIN {
        return read_view(account, reader, mailbox);
    }
    let key = (account.id(), mailbox);
    if let Some(view) = VIEWS.with_borrow_mut(|views| views.get(key))
        && let Some(uids) = update(account.id(), reader, mailbox, row, &view)?
    {
        let view = View { uids: uids.clone(), uid_next: row.uid_next, modseq: head, used: 0 };
        VIEWS.with_borrow_mut(|views| views.put(key, view));
        return Ok(uids);
    }
    let uids = read_view(account, reader, mailbox)?;
    let view = View { uids: uids.clone(), uid_next: row.uid_next, modseq: head, used: 0 };
    VIEWS.with_borrow_mut(|views| views.put(key, view));
    Ok(uids)
}

/// A kept view as of now; none when that would take long, or isn't possible.
fn update(
    account: AccountId,
    reader: &Reader,
    mailbox: MailboxId,
    row: &MailboxRow,
    view: &View,
) -> Result<Option<UidSet>, StoreError> {
    if (view.uid_next, view.uids.len()) == (row.uid_next, row.exists) {
        return Ok(Some(view.uids.clone()));
    }
    if row.horizon > view.modseq.get() || row.uid_next < view.uid_next {
        return Ok(None);
    }
    let mut uids = view.uids.clone();
    for (at, message) in reader.messages(account, mailbox, view.uid_next..=row.uid_next).enumerate() {
        if at == CHANGES_MAX {
            return Ok(None);
        }
        uids.push(message?.0);
    }
    let mut removed = Vec::new();
    for changed in reader.changes(account, mailbox, view.modseq, Which::Tombstones) {
        if removed.len() == CHANGES_MAX {
            return Ok(None);
        }
        removed.push(changed?.uid);
    }
    uids.remove_all(&removed.into_iter().collect());
    Ok((uids.len() == row.exists).then_some(uids))
}

/// Keeps the view of a session that leaves its mailbox, when it is up to date.
pub(super) fn remember(account: &AccountHandle, selected: &Selected) {
    let state = account.state();
    let (Some(row), Some(head)) = (state.mailbox(selected.mailbox), state.head()) else { return };
    let current = selected.deferred.is_empty() && selected.seen == head.modseq;
    if !current || row.exists < MESSAGES_MIN || selected.view.len() != row.exists {
        return;
    }
    let uids = selected.view.clone();
    let view = View { uids, uid_next: row.uid_next, modseq: head.modseq, used: 0 };
    VIEWS.with_borrow_mut(|views| views.put((account.id(), selected.mailbox), view));
}
