//! The uids of large mailboxes that were selected lately, so that SELECT need not read them again.
//!
//! A mailbox's id is never given out twice, its uids only grow, and a removal lowers its count: so the
//! next uid and the count together say which uids there are. An entry with other numbers is brought up
//! to date from the change index when little changed, or read anew.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Bound;

use postrider_proto::imap::types::{Flags, ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::engine::{Incarnation, Space};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::keys::{self, Which};
use postrider_storage::reader::Reader;
use postrider_storage::rows::MailboxRow;
use postrider_storage::rows::pack::{self, Block};
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
    /// After a failed commit the same numbers may mean other messages.
    incarnation: Incarnation,
    used: u64,
}

/// Where the first unseen message is at the earliest.
#[derive(Clone, Copy)]
struct Hint {
    /// All messages below are seen.
    from: Uid,
    /// The account's modification sequence of that moment.
    modseq: ModSeq,
    incarnation: Incarnation,
}

#[derive(Default)]
struct Views {
    all: HashMap<(AccountId, MailboxId), View>,
    hints: HashMap<(AccountId, MailboxId), Hint>,
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

/// The uids of a mailbox at the moment of `reader`, whose rows `row` and `head` are. `incarnation` is the
/// life of the store that is read.
pub(super) fn load(
    reader: &Reader,
    (account, mailbox): (AccountId, MailboxId),
    incarnation: Incarnation,
    row: &MailboxRow,
    head: ModSeq,
) -> Result<UidSet, StoreError> {
    if row.exists < MESSAGES_MIN {
        return read_view(account, reader, mailbox);
    }
    let key = (account, mailbox);
    if let Some(view) = VIEWS.with_borrow_mut(|views| views.get(key))
        && view.incarnation == incarnation
        && let Some(uids) = update(account, reader, mailbox, row, &view)?
    {
        let view = View { uids: uids.clone(), uid_next: row.uid_next, modseq: head, ..view };
        VIEWS.with_borrow_mut(|views| views.put(key, view));
        return Ok(uids);
    }
    let uids = read_view(account, reader, mailbox)?;
    let view = View { uids: uids.clone(), uid_next: row.uid_next, modseq: head, incarnation, used: 0 };
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

/// The number of the first unseen message; `view`, `row` and `head` are of the moment of `reader`.
/// Where it was found last is remembered, so that not all blocks before it are read again.
pub(super) fn first_unseen(
    reader: &Reader,
    (id, mailbox): (AccountId, MailboxId),
    incarnation: Incarnation,
    row: &MailboxRow,
    view: &UidSet,
    head: ModSeq,
) -> Result<Option<u32>, StoreError> {
    if row.unseen == 0 {
        return Ok(None);
    }
    let hint = VIEWS.with_borrow(|views| views.hints.get(&(id, mailbox)).copied());
    let from = match hint {
        Some(hint) if hint.incarnation == incarnation => lowered(id, reader, mailbox, hint)?,
        _ => Uid::MIN,
    };
    let found = unseen_from(id, reader, mailbox, from)?;
    if row.exists >= MESSAGES_MIN {
        let hint = Hint { from: found.unwrap_or(row.uid_next), modseq: head, incarnation };
        VIEWS.with_borrow_mut(|views| {
            if views.hints.len() >= VIEWS_MAX {
                views.hints.clear();
            }
            views.hints.insert((id, mailbox), hint);
        });
    }
    Ok(found.and_then(|uid| view.sequence_of(uid)))
}

/// A hint as of now: messages below it may have lost `\Seen`.
fn lowered(account: AccountId, reader: &Reader, mailbox: MailboxId, hint: Hint) -> Result<Uid, StoreError> {
    let mut from = hint.from;
    for (at, changed) in reader.changes(account, mailbox, hint.modseq, Which::Live).enumerate() {
        if at == CHANGES_MAX {
            return Ok(Uid::MIN);
        }
        let uid = changed?.uid;
        if uid < from
            && let Some(row) = reader.message(account, mailbox, uid)?
            && !row.flags.contains(Flags::SEEN)
        {
            from = uid;
        }
    }
    Ok(from)
}

/// The first unseen message that isn't below `from`.
fn unseen_from(
    account: AccountId,
    reader: &Reader,
    mailbox: MailboxId,
    from: Uid,
) -> Result<Option<Uid>, StoreError> {
    // The block that `from` is in begins at or before it.
    let (all, at) = (keys::packs(account, mailbox), keys::pack(account, mailbox, from));
    let before = (Bound::Included(&all[..]), Bound::Included(&at[..]));
    let block = reader.snapshot().range(Space::Rows, before.0, before.1).next_back().transpose()?;
    let start = block.map_or_else(|| all.to_vec(), |(key, _)| key.to_vec());
    for row in reader.from(&start, &all) {
        let (key, value) = row?;
        let base = keys::mailbox_and_uid(&key)?.1;
        if pack::View::parse(base, &value)?.counts().unseen == 0 {
            continue;
        }
        let block = Block::decode(base, &value)?;
        let unseen = |(uid, flags): &(Uid, Flags)| *uid >= from && !flags.contains(Flags::SEEN);
        if let Some((uid, _)) = block.iter().find(unseen) {
            return Ok(Some(uid));
        }
    }
    Ok(None)
}

/// Keeps the view of a session that leaves its mailbox, when it is up to date.
pub(super) fn remember(account: &AccountHandle, selected: &Selected) {
    let state = account.state();
    let (Some(row), Some(head)) = (state.mailbox(selected.mailbox), state.head()) else { return };
    let current = selected.deferred.is_empty() && selected.withheld.is_none() && selected.seen == head.modseq;
    if !current || row.exists < MESSAGES_MIN || selected.view.len() != row.exists {
        return;
    }
    let (uids, incarnation) = (selected.view.clone(), account.incarnation());
    let view = View { uids, uid_next: row.uid_next, modseq: head.modseq, incarnation, used: 0 };
    VIEWS.with_borrow_mut(|views| views.put((account.id(), selected.mailbox), view));
}
