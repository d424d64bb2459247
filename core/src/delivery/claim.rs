//! What a session claims of what is due of its domain: what has to come first, then entries of all accounts in turn, but for
//! those of accounts that have their share of sessions. One of which a row can't be read is passed over, and the others have
//! their turns.

use postrider_delivery::backoff::Backoff;
use postrider_delivery::schedule::{Turn, pick};
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Attempt, Claimed, Scheduled};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{Held, QueueRow};
use postrider_storage::store::StoreError;

use super::outcome::backoff_of;
use super::session::chance;

/// Due entries that are looked at for each that is claimed, so that accounts have their turns.
const CANDIDATES: usize = 4;
/// How often so many entries are passed over, of which none can be claimed, to find one that can.
const PAGES_PASSED_MAX: usize = 20;

/// What is to be claimed.
pub(super) struct Wanted {
    pub(super) turn: Turn,
    /// Where the rows of the domain begin.
    pub(super) from: Scheduled,
    pub(super) now: i64,
    pub(super) backoff: Backoff,
    /// Entries that nobody may claim, ascending.
    pub(super) strays: Vec<QueueId>,
    /// Accounts that have used up their share of sessions.
    pub(super) used_up: Vec<u32>,
}

/// What can be claimed.
#[derive(Default)]
pub(super) struct Found {
    pub(super) claimed: Vec<(QueueId, Claimed)>,
    /// Due entries of which a row can't be read.
    pub(super) damaged: Vec<QueueId>,
    /// The first due entry of those that are left, damaged ones not counted.
    pub(super) left: Option<Scheduled>,
    /// Some were left since their accounts have their share of sessions.
    pub(super) waits_for_share: bool,
}

impl Found {
    /// Takes what was read of an entry; none when that is damaged. What says nothing of others fails.
    fn sound<T>(&mut self, id: QueueId, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match read {
            Err(error) if error.is_of_rows() => {
                self.damaged.push(id);
                Ok(None)
            }
            read => read.map(Some),
        }
    }
}

impl Wanted {
    /// Looks for entries until some can be claimed, page by page.
    pub(super) fn find(&self, reader: &Reader) -> Result<Found, StoreError> {
        let candidates = CANDIDATES * self.turn.entries_max;
        let mut found = Found::default();
        let mut first: Vec<QueueId> = self.turn.first.iter().map(|id| QueueId(*id)).collect();
        let mut page = queue::due(reader, self.from, self.now, candidates)?;
        let (mut passed, mut pages_passed) = (None, 0);
        loop {
            let damaged_before = found.damaged.len();
            let ids = self.choose(reader, &first, &page.entries, &mut found)?;
            self.claim(reader, ids, &mut found)?;
            if !found.claimed.is_empty() {
                break;
            }
            if found.damaged.len() > damaged_before {
                // The others of the page have their turn.
                continue;
            }
            // Others may stand behind those that can't be claimed.
            let Some(next) = page.next.filter(|next| next.due <= self.now && pages_passed < PAGES_PASSED_MAX)
            else {
                break;
            };
            passed = passed.or(self.first_left(&page.entries, &found));
            pages_passed += 1;
            first.clear();
            page = queue::due(reader, next, self.now, candidates)?;
        }
        found.left = passed.or(self.first_left(&page.entries, &found)).or(page.next);
        Ok(found)
    }

    fn first_left(&self, due: &[Scheduled], found: &Found) -> Option<Scheduled> {
        let is_claimed = |id| found.claimed.iter().any(|(claimed, _)| *claimed == id);
        due.iter().find(|one| self.is_claimable(one.id, found) && !is_claimed(one.id)).copied()
    }

    fn is_claimable(&self, id: QueueId, found: &Found) -> bool {
        self.strays.binary_search(&id).is_err() && !found.damaged.contains(&id)
    }

    /// Chooses what to claim: what has to come first, then entries of all accounts in turn, but for those that have used up
    /// their share of sessions.
    fn choose(
        &self,
        reader: &Reader,
        first: &[QueueId],
        due: &[Scheduled],
        found: &mut Found,
    ) -> Result<Vec<QueueId>, StoreError> {
        let most = self.turn.entries_max;
        let rest = due.iter().map(|due| due.id).filter(|id| !first.contains(id));
        let all = first.iter().map(|id| (*id, true)).chain(rest.map(|id| (id, false)));
        let all: Vec<(QueueId, bool)> = all.filter(|(id, _)| self.is_claimable(*id, found)).collect();
        if due.len() <= most && self.used_up.is_empty() {
            return Ok(all.into_iter().map(|(id, _)| id).take(most).collect());
        }
        let (mut ids, mut accounts) = (Vec::new(), Vec::new());
        let mut chosen = Vec::new();
        for (id, is_first) in all {
            let Some(row) = found.sound(id, queue::entry(reader, id))? else { continue };
            let account = row.map_or(0, |row| row.sender);
            if self.used_up.contains(&account) {
                found.waits_for_share = true;
            } else if is_first {
                chosen.push(id);
            } else {
                ids.push(id);
                accounts.push(account);
            }
        }
        chosen.extend(pick(&accounts, most).into_iter().map(|place| ids[place]));
        chosen.truncate(most);
        Ok(chosen)
    }

    /// Claims those of entries that are still due.
    fn claim(&self, reader: &Reader, ids: Vec<QueueId>, found: &mut Found) -> Result<(), StoreError> {
        for id in ids {
            // Nothing is claimed twice, whoever named it twice.
            if found.claimed.iter().any(|(known, _)| *known == id) {
                continue;
            }
            let claim = found.sound(id, self.claim_one(reader, id))?;
            found.claimed.extend(claim.flatten().map(|claimed| (id, claimed)));
        }
        Ok(())
    }

    fn claim_one(&self, reader: &Reader, id: QueueId) -> Result<Option<Claimed>, StoreError> {
        let Some(row) = queue::entry(reader, id)?.filter(|row| is_due(row, self.now)) else {
            return Ok(None);
        };
        let made = u16::try_from(row.attempts.saturating_add(1)).unwrap_or(u16::MAX);
        let next = backoff_of(self.backoff, &row).due_when_cut_off(made, self.now, chance(id));
        queue::claim_row(reader, id, row, Attempt { now: self.now, next })
    }
}

fn is_due(row: &QueueRow, now: i64) -> bool {
    row.held == Held::No && !row.claimed && row.due <= now
}

#[cfg(test)]
mod tests;
