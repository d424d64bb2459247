//! Accounts that had no room for a message which had other recipients, too, or couldn't be opened.
//!
//! Such a message comes again as a whole (see [`super::deliver`]). So that the account doesn't keep it from the others
//! for days, it is refused at RCPT then, and the client goes on without it. What a restart forgets costs one attempt
//! more.

use std::cell::RefCell;
use std::collections::HashMap;

use postrider_storage::ids::AccountId;

/// Accounts that a shard remembers. When there are more, those who were noted first are forgotten.
const ACCOUNTS_MAX: usize = 10_000;
/// How long one is remembered, in seconds: longer than the wait of a client before it tries again (RFC 5321 §4.5.4.1
/// suggests half an hour at first).
const REMEMBERED: i64 = 24 * 60 * 60;

/// The same of one that couldn't be opened: it may be well again soon.
const TROUBLE_REMEMBERED: i64 = 60 * 60;

/// Why an account took no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lack {
    /// There was no room for so many octets.
    Room(u64),
    /// It couldn't be opened.
    Trouble,
}

#[derive(Clone, Copy)]
struct Noted {
    lack: Lack,
    at: i64,
}

/// What accounts of a shard could not take.
#[derive(Default)]
pub(crate) struct NoRoom(RefCell<HashMap<AccountId, Noted>>);

impl NoRoom {
    /// Notes why an account took no message. Times are in seconds since the epoch.
    pub(crate) fn note(&self, account: AccountId, lack: Lack, now: i64) {
        let mut noted = self.0.borrow_mut();
        if noted.len() >= ACCOUNTS_MAX && !noted.contains_key(&account) {
            let mut times: Vec<i64> = noted.values().map(|noted| noted.at).collect();
            // Half of them at least, so that it is gone through seldom.
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            noted.retain(|_, noted| noted.at > median);
        }
        noted.insert(account, Noted { lack, at: now });
    }

    /// Why an account took no message, if the one that is announced may be that one: a client that says how large it is
    /// says about the same as before.
    pub(crate) fn of(&self, account: AccountId, announced: Option<u64>, now: i64) -> Option<Lack> {
        let mut noted = self.0.borrow_mut();
        let Noted { lack, at } = *noted.get(&account)?;
        let remembered = match lack {
            Lack::Room(_) => REMEMBERED,
            Lack::Trouble => TROUBLE_REMEMBERED,
        };
        if !(at..at + remembered).contains(&now) {
            noted.remove(&account);
            return None;
        }
        let is_it = match lack {
            Lack::Room(octets) => announced.is_none_or(|announced| announced >= octets / 2),
            Lack::Trouble => true,
        };
        is_it.then_some(lack)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

    use super::*;

    fn account(number: usize) -> AccountId {
        AccountId::new(u32::try_from(number).unwrap()).unwrap()
    }

    #[test]
    fn what_had_no_room_is_remembered_for_a_day() {
        let room = NoRoom::default();
        let lack = Lack::Room(1000);
        room.note(account(1), lack, 5000);
        let of = |number, announced, now| room.of(account(number), announced, now);
        assert_eq!(of(1, None, 5000), Some(lack));
        assert_eq!(of(2, None, 5000), None);
        assert_eq!((of(1, Some(499), 5000), of(1, Some(500), 5000)), (None, Some(lack)));
        assert_eq!(of(1, None, 5000 + REMEMBERED - 1), Some(lack));
        assert_eq!(of(1, None, 5000 + REMEMBERED), None);
        assert!(room.0.borrow().is_empty());
        room.note(account(1), lack, 5000);
        assert_eq!(of(1, None, 4999), None, "the clock went back");
        room.note(account(1), Lack::Trouble, 5000);
        assert_eq!(of(1, Some(1), 5000 + TROUBLE_REMEMBERED - 1), Some(Lack::Trouble));
        assert_eq!(of(1, None, 5000 + TROUBLE_REMEMBERED), None);
    }

    #[test]
    fn so_many_accounts_are_remembered_and_no_more() {
        let room = NoRoom::default();
        for number in 1..=ACCOUNTS_MAX + 1 {
            room.note(account(number), Lack::Trouble, i64::try_from(number).unwrap());
            assert!(room.0.borrow().len() <= ACCOUNTS_MAX);
        }
        let now = i64::try_from(ACCOUNTS_MAX).unwrap() + 1;
        assert_eq!(room.of(account(1), None, now), None, "the first is forgotten");
        assert_eq!(room.of(account(ACCOUNTS_MAX + 1), None, now), Some(Lack::Trouble));
        // All at one time: some are forgotten, too.
        let room = NoRoom::default();
        (1..=ACCOUNTS_MAX + 1).for_each(|number| room.note(account(number), Lack::Trouble, 7));
        assert_eq!(room.of(account(ACCOUNTS_MAX + 1), None, 7), Some(Lack::Trouble));
    }
}
