//! How many sessions the messages of an account take. One whose messages go to servers that stall would have all of them, and
//! nobody else's mail would leave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sessions of all shards, by the accounts whose entries they deliver.
#[derive(Debug, Default)]
pub(super) struct Shares {
    taken: Mutex<HashMap<u32, usize>>,
}

impl Shares {
    fn taken(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        // What is held by the lock is whole at each step.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accounts that get no further session now: those that have half of them, when so many run that the last quarter
    /// begins, which is for others.
    pub(super) fn used_up(&self, sessions: usize, sessions_max: usize) -> Vec<u32> {
        if sessions.saturating_mul(4) <= sessions_max.saturating_mul(3) {
            return Vec::new();
        }
        let taken = self.taken();
        let has_half = |count: usize| count.saturating_mul(2) >= sessions_max;
        taken.iter().filter(|(_, count)| has_half(**count)).map(|(account, _)| *account).collect()
    }

    /// Takes that a session delivers entries of an account.
    pub(super) fn take(self: &Arc<Self>, account: u32) -> Share {
        *self.taken().entry(account).or_default() += 1;
        Share { shares: Arc::clone(self), account }
    }
}

/// That a session does so, until it is dropped.
pub(super) struct Share {
    shares: Arc<Shares>,
    account: u32,
}

impl Share {
    /// Whose entries they are.
    pub(super) const fn account(&self) -> u32 {
        self.account
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        if let Some(count) = taken.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_is_for_those_with_less_than_half() {
        let shares = Arc::new(Shares::default());
        let mut held: Vec<Share> = (0..4).map(|_| shares.take(1)).collect();
        held.push(shares.take(1));
        assert!(shares.used_up(6, 8).is_empty(), "while there are enough, one may have most of them");
        assert_eq!(shares.used_up(7, 8), [1]);
        held.remove(0);
        assert_eq!(shares.used_up(7, 8), [1], "half of them");
        held.remove(0);
        assert!(shares.used_up(8, 8).is_empty());
        held.clear();
        assert!(shares.taken().is_empty(), "what nobody has takes no memory");
    }

    #[test]
    fn a_single_session_is_for_everybody() {
        let shares = Arc::new(Shares::default());
        assert!(shares.used_up(1, 1).is_empty());
        let _held = shares.take(1);
        assert_eq!(shares.used_up(1, 1), [1]);
    }
}
