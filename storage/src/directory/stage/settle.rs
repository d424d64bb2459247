//! Brings a plan to its end: one that is sealed to its place, one that isn't to nothing.

use std::ops::Bound;

use super::super::lookup::{Directory, corrupt, damaged};
use super::super::rows::{self, StateRow};
use super::super::types::AccountSettings;
use super::{PlanState, decode_staged, plan_key, plan_state, staged_key, unstaged_key};
use crate::engine::{Batch, EngineError, Rows, Snapshot, Space};
use crate::ids::AccountId;

/// Octets of rows that one step takes on, unless one account or row has more; what it writes is some more.
const STEP_OCTETS: usize = 512 * 1024;
/// Rows that are looked at together for effects.
const EFFECT_ROWS: usize = 1024;

/// One step of bringing a plan to its end.
#[derive(Debug)]
pub enum Settled {
    /// To be committed before the next step is asked for. A buffered commit will do.
    Step {
        /// What to write.
        batch: Batch,
        /// Rows of the plan that are done with it.
        rows: u64,
    },
    /// The last step, to be committed as synced.
    Last {
        /// What to write.
        batch: Batch,
        /// What became of the plan: [`PlanState::Sealed`] when it came to its place.
        state: PlanState,
    },
    /// There is no plan.
    Nothing,
}

/// A plan on its way to its end. Each step goes on behind the one before, for what was removed still has to
/// be passed over by whoever begins anew. So all steps have to be committed, in one life of the engine;
/// otherwise a new one begins from the start, which does no harm.
#[derive(Debug, Default)]
pub struct Settling {
    phase: Phase,
    after: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    /// First rows of accounts that won't be, or the numbers of those.
    #[default]
    Accounts,
    /// Rows that are staged.
    Staged,
    Wanted,
    Plan,
}

impl Settling {
    /// Works out the next step. `snapshot` is the engine's own: what is on top of it is what is moved.
    pub fn step(&mut self, snapshot: &dyn Snapshot) -> Result<Settled, EngineError> {
        let Some(state) = plan_state(snapshot)? else { return Ok(Settled::Nothing) };
        let mut batch = Batch::new();
        loop {
            let (rows, next) = match (self.phase, state) {
                (Phase::Accounts, PlanState::Writing) => (self.undo(snapshot, &mut batch)?, Phase::Staged),
                (Phase::Accounts, _) => (0, Phase::Staged),
                (Phase::Staged, PlanState::Sealed) => (self.redo(snapshot, &mut batch)?, Phase::Wanted),
                (Phase::Staged, _) => (self.remove_all(snapshot, rows::STAGED, &mut batch)?, Phase::Wanted),
                (Phase::Wanted, _) => (self.remove_all(snapshot, rows::WANTED, &mut batch)?, Phase::Plan),
                (Phase::Plan, _) => {
                    batch.remove(Space::Rows, plan_key());
                    return Ok(Settled::Last { batch, state });
                }
            };
            if rows > 0 {
                return Ok(Settled::Step { batch, rows });
            }
            (self.phase, self.after) = (next, None);
        }
    }

    /// The rows of a table that are not done with.
    fn rest<'a>(&self, snapshot: &'a dyn Snapshot, table: u8) -> Rows<'a> {
        let (first, end) = (rows::table(table), rows::table(table + 1));
        let from = self.after.as_deref().map_or(Bound::Included(&first[..]), Bound::Excluded);
        snapshot.range(Space::Rows, from, Bound::Excluded(&end))
    }

    /// Moves staged rows to their places. Readers see no difference: what leaves the staged rows is below them
    /// in the same moment.
    fn redo(&mut self, snapshot: &dyn Snapshot, batch: &mut Batch) -> Result<u64, EngineError> {
        let mut rows = 0;
        for row in self.rest(snapshot, rows::STAGED) {
            let (staged, value) = row?;
            let key = unstaged_key(&staged).ok_or_else(|| damaged(&staged))?;
            match decode_staged(&staged, &value).map_err(corrupt)? {
                Some(value) => batch.insert(Space::Rows, key, value),
                None => batch.remove(Space::Rows, key),
            }
            self.after = Some(staged.to_vec());
            batch.remove(Space::Rows, staged);
            rows += 1;
            if batch.octets() >= STEP_OCTETS {
                break;
            }
        }
        Ok(rows)
    }

    /// Removes the first rows of accounts that the plan would have added, each account's together, and then
    /// makes sure that their numbers stay unused: something may remember that there was nothing.
    fn undo(&mut self, snapshot: &dyn Snapshot, batch: &mut Batch) -> Result<u64, EngineError> {
        let before = Directory::new(snapshot).state()?;
        let key = staged_key(&rows::state());
        let Some(value) = snapshot.get(Space::Rows, &key)? else { return Ok(0) };
        let Some(value) = decode_staged(&key, &value).map_err(corrupt)? else { return Ok(0) };
        let next_account = StateRow::decode(&key, &value).map_err(corrupt)?.next_account;
        if next_account == before.next_account {
            return Ok(0);
        }
        let first = before.next_account.to_be_bytes();
        let from = self.after.as_deref().map_or(Bound::Included(&first[..]), Bound::Excluded);
        // After the last number comes 0.
        let to = next_account.to_be_bytes();
        let to = if next_account == 0 { Bound::Unbounded } else { Bound::Excluded(&to[..]) };
        let (mut rows, mut owner) = (0, None);
        for row in snapshot.range(Space::Rows, from, to) {
            let (key, _) = row?;
            let own = key.first_chunk::<4>().copied();
            if own != owner && batch.octets() >= STEP_OCTETS {
                break;
            }
            owner = own;
            self.after = Some(key.to_vec());
            batch.remove(Space::Rows, key);
            rows += 1;
        }
        if rows == 0 {
            batch.insert(Space::Rows, rows::state(), StateRow { next_account, ..before }.encode());
            rows = 1;
        }
        Ok(rows)
    }

    fn remove_all(
        &mut self,
        snapshot: &dyn Snapshot,
        table: u8,
        batch: &mut Batch,
    ) -> Result<u64, EngineError> {
        let mut rows = 0;
        for row in self.rest(snapshot, table) {
            let (key, _) = row?;
            self.after = Some(key.to_vec());
            batch.remove(Space::Rows, key);
            rows += 1;
            if batch.octets() >= STEP_OCTETS {
                break;
            }
        }
        Ok(rows)
    }
}

/// What others than readers of the directory have to hear of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The account is removed. Its rows are to be erased once the plan is settled.
    Removed(AccountId),
    /// What is set for the account is another than before.
    Set(AccountId, Box<AccountSettings>),
}

/// The effects of a change that fits one batch, which isn't committed yet.
pub fn effects_of(snapshot: &dyn Snapshot, batch: &Batch) -> Result<Vec<Effect>, EngineError> {
    let accounts = rows::table(rows::ACCOUNT);
    let writes = batch.writes().iter().filter(|write| write.key.starts_with(&accounts));
    let effects = writes.map(|write| effect(snapshot, &write.key, write.value.as_deref()).transpose());
    effects.flatten().collect()
}

/// A part of the effects of a sealed plan on accounts that were there before, and where the next part
/// begins. `snapshot` is the engine's own, from before the first step of settling.
pub fn effects(
    snapshot: &dyn Snapshot,
    after: Option<&[u8]>,
) -> Result<(Vec<Effect>, Option<Vec<u8>>), EngineError> {
    let staged = |table| {
        let mut key = rows::table(rows::STAGED);
        key.push(table);
        key
    };
    let (first, end) = (staged(rows::ACCOUNT), staged(rows::ACCOUNT + 1));
    let from = after.unwrap_or(&first);
    let mut effects = Vec::new();
    let rows = snapshot.range(Space::Rows, Bound::Excluded(from), Bound::Excluded(&end));
    for (seen, row) in rows.enumerate() {
        let (staged, value) = row?;
        let key = unstaged_key(&staged).ok_or_else(|| damaged(&staged))?;
        let value = decode_staged(&staged, &value).map_err(corrupt)?;
        effects.extend(effect(snapshot, &key, value.as_deref())?);
        if seen + 1 == EFFECT_ROWS {
            return Ok((effects, Some(staged.to_vec())));
        }
    }
    Ok((effects, None))
}

/// The effect of writing a row of ACCOUNT.
fn effect(snapshot: &dyn Snapshot, key: &[u8], value: Option<&[u8]>) -> Result<Option<Effect>, EngineError> {
    let Some(before) = snapshot.get(Space::Rows, key)? else { return Ok(None) };
    let before = rows::decode_account(key, &before).map_err(corrupt)?;
    let Some(value) = value else { return Ok(Some(Effect::Removed(before.id))) };
    let settings = rows::decode_account(key, value).map_err(corrupt)?.settings;
    Ok((settings != before.settings).then(|| Effect::Set(before.id, Box::new(settings))))
}
