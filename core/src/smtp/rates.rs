//! How much mail an account takes from one part of the network, so that a flood from one place fills nobody's
//! mailbox (product 1.12, step 1).
//!
//! Counted on the home shard of the account, in memory and in fixed windows, as connections are
//! ([`crate::admission`]): what a restart forgets is a minute or a day of one flood. A table has a bound. When it is
//! full, those who sent least are forgotten, since a flood isn't among them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use postrider_storage::ids::AccountId;

use super::room::NoRoom;
use crate::admission::Class;
use crate::config::{Classes, DeliveryLimits};

/// Counters that a window of a shard keeps at most, of some 64 octets each.
const COUNTERS_MAX: usize = 50_000;

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * 60;

/// What came of one class of addresses to one account.
#[derive(Clone, Copy, Default)]
struct Taken {
    messages: u32,
    octets: u64,
}

/// Counts of one window; all are forgotten when it ends.
#[derive(Default)]
struct Window {
    number: i64,
    taken: HashMap<(AccountId, Class), Taken>,
}

impl Window {
    fn advance(&mut self, now: i64, seconds: i64) {
        let number = now / seconds;
        if number != self.number {
            self.number = number;
            self.taken.clear();
        }
    }

    fn is_used_up(
        &self,
        account: AccountId,
        classes: &[Class; 3],
        messages: Classes,
        mebibytes: Classes,
    ) -> bool {
        classes.iter().zip(numbers(messages)).zip(numbers(mebibytes)).any(|((class, messages), mebibytes)| {
            let taken = self.taken.get(&(account, *class)).copied().unwrap_or_default();
            taken.messages >= messages || taken.octets >= u64::from(mebibytes) << 20
        })
    }

    fn count(&mut self, account: AccountId, classes: &[Class; 3], octets: u64) {
        for class in classes {
            if self.taken.len() >= COUNTERS_MAX {
                self.forget_the_least();
            }
            let taken = self.taken.entry((account, *class)).or_default();
            taken.messages = taken.messages.saturating_add(1);
            taken.octets = taken.octets.saturating_add(octets);
        }
    }

    fn uncount(&mut self, account: AccountId, classes: &[Class; 3], octets: u64) {
        for class in classes {
            // What was forgotten has nothing to take back from.
            if let Some(taken) = self.taken.get_mut(&(account, *class)) {
                taken.messages = taken.messages.saturating_sub(1);
                taken.octets = taken.octets.saturating_sub(octets);
            }
        }
    }

    /// Makes room: half of the table at least, so that it is gone through seldom.
    fn forget_the_least(&mut self) {
        let mut messages: Vec<u32> = self.taken.values().map(|taken| taken.messages).collect();
        let middle = messages.len() / 2;
        let (_, median, _) = messages.select_nth_unstable(middle);
        let median = *median;
        self.taken.retain(|_, taken| taken.messages > median);
    }
}

/// From the finest class to the coarsest.
const fn numbers(classes: Classes) -> [u32; 3] {
    [classes.host, classes.site, classes.range]
}

#[derive(Default)]
struct Windows {
    minute: Window,
    day: Window,
}

/// What the accounts of a shard took from whom, and what they had no room for.
#[derive(Default)]
pub(crate) struct DeliveryRates {
    windows: RefCell<Windows>,
    /// Of messages that will come again.
    pub(crate) no_room: NoRoom,
}

impl DeliveryRates {
    /// Counts a message for an account, unless its part of the network has used up what the account takes from
    /// there: then nothing is counted, and false returned. `now` is in seconds since the epoch.
    pub(crate) fn take(
        &self,
        account: AccountId,
        peer: IpAddr,
        octets: u64,
        limits: &DeliveryLimits,
        now: i64,
    ) -> bool {
        if self.is_used_up(account, peer, limits, now) {
            return false;
        }
        let classes = Class::all(peer);
        let Windows { minute, day } = &mut *self.windows.borrow_mut();
        minute.count(account, &classes, octets);
        day.count(account, &classes, octets);
        true
    }

    /// Whether a part of the network has used up what the account takes from there.
    pub(crate) fn is_used_up(
        &self,
        account: AccountId,
        peer: IpAddr,
        limits: &DeliveryLimits,
        now: i64,
    ) -> bool {
        let classes = Class::all(peer);
        let Windows { minute, day } = &mut *self.windows.borrow_mut();
        minute.advance(now, MINUTE);
        day.advance(now, DAY);
        minute.is_used_up(account, &classes, limits.messages_per_minute, limits.mebibytes_per_minute)
            || day.is_used_up(account, &classes, limits.messages_per_day, limits.mebibytes_per_day)
    }

    /// Takes back what [`Self::take`] counted at the time `taken`, of a message that was not stored after all.
    pub(crate) fn give_back(&self, account: AccountId, peer: IpAddr, octets: u64, taken: i64) {
        let classes = Class::all(peer);
        let Windows { minute, day } = &mut *self.windows.borrow_mut();
        for (window, seconds) in [(minute, MINUTE), (day, DAY)] {
            if window.number == taken / seconds {
                window.uncount(account, &classes, octets);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

    use std::num::NonZero;

    use super::*;

    const ANNA: AccountId = AccountId(NonZero::new(1).unwrap());
    const BEN: AccountId = AccountId(NonZero::new(2).unwrap());
    /// Begin of a minute and of a day.
    const NOW: i64 = 20_000 * DAY;

    fn limits() -> DeliveryLimits {
        DeliveryLimits {
            messages_per_minute: Classes::new(2, 3, 4),
            messages_per_day: Classes::new(5, 50, 50),
            mebibytes_per_minute: Classes::new(2, 100, 100),
            mebibytes_per_day: Classes::new(3, 100, 100),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_class_has_its_own_number_and_each_account_is_counted_alone() {
        let rates = DeliveryRates::default();
        let take = |account, peer: &str, now| rates.take(account, ip(peer), 1, &limits(), now);
        assert!(take(ANNA, "192.0.2.1", NOW) && take(ANNA, "192.0.2.1", NOW));
        assert!(!take(ANNA, "192.0.2.1", NOW + 59), "the third of one host in a minute");
        assert!(take(BEN, "192.0.2.1", NOW), "another account");
        assert!(take(ANNA, "192.0.2.2", NOW), "another host");
        assert!(!take(ANNA, "192.0.2.3", NOW), "the fourth of one site");
        assert!(take(ANNA, "192.0.2.65", NOW), "another site");
        assert!(!take(ANNA, "192.0.2.129", NOW), "the fifth of one range");
        assert!(take(ANNA, "198.51.100.1", NOW), "another range");
        assert!(take(ANNA, "192.0.2.1", NOW + 60), "another minute");
    }

    #[test]
    fn a_day_has_numbers_of_its_own() {
        let rates = DeliveryRates::default();
        let take = |now| rates.take(ANNA, ip("2001:db8::1"), 1, &limits(), now);
        assert!((0..5).all(|minute| take(NOW + minute * MINUTE)));
        assert!(!take(NOW + 5 * MINUTE), "the sixth of a day");
        assert!(take(NOW + DAY));
    }

    #[test]
    fn what_is_given_back_may_be_taken_again_in_its_window() {
        let rates = DeliveryRates::default();
        let peer = ip("192.0.2.1");
        let take = |now| rates.take(ANNA, peer, 1 << 20, &limits(), now);
        let is_used_up = |now| rates.is_used_up(ANNA, peer, &limits(), now);
        assert!(take(NOW) && !is_used_up(NOW) && take(NOW) && is_used_up(NOW));
        rates.give_back(BEN, peer, 1 << 20, NOW);
        assert!(is_used_up(NOW), "another account");
        rates.give_back(ANNA, peer, 1 << 20, NOW);
        assert!(!is_used_up(NOW) && take(NOW) && is_used_up(NOW));
        assert!(!is_used_up(NOW + MINUTE));
        // Of a minute that is over, only the day remembers it: of its three mebibytes, one is left again.
        assert!(take(NOW + MINUTE) && is_used_up(NOW + MINUTE));
        rates.give_back(ANNA, peer, 1 << 20, NOW);
        assert!(!is_used_up(NOW + MINUTE) && take(NOW + MINUTE) && is_used_up(NOW + MINUTE));
    }

    #[test]
    fn octets_count_too() {
        let rates = DeliveryRates::default();
        let take = |octets, now| rates.take(ANNA, ip("192.0.2.1"), octets, &limits(), now);
        assert!(take((2 << 20) - 1, NOW) && take(1 << 20, NOW), "below two mebibytes before it");
        assert!(!take(1, NOW + 59), "three in a minute");
        assert!(take(1, NOW + 60), "an octet is left of the three of a day");
        assert!(!take(1, NOW + 120), "none is left");
        assert!(take(1, NOW + DAY));
    }

    #[test]
    fn a_full_table_forgets_those_who_sent_least() {
        let rates = DeliveryRates::default();
        let limits = DeliveryLimits {
            messages_per_minute: Classes::new(20, u32::MAX, u32::MAX),
            ..DeliveryLimits::default()
        };
        let flood = |to: AccountId| rates.take(to, ip("192.0.2.1"), 1, &limits, NOW);
        assert!((0..20).all(|_| flood(ANNA)));
        for number in 100..100 + u32::try_from(COUNTERS_MAX).unwrap() {
            assert!(rates.take(AccountId(number.try_into().unwrap()), ip("198.51.100.1"), 1, &limits, NOW));
            assert!(rates.windows.borrow().minute.taken.len() <= COUNTERS_MAX);
        }
        assert!(!flood(ANNA), "still known after {COUNTERS_MAX} others");
    }
}
