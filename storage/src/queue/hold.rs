//! Rules that hold messages, new ones and those that wait.

use super::filter::Filter;
use crate::engine::{Batch, Space};
use crate::ids::RuleId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{BadRow, HoldRuleRow, MARK, QueueRow};
use crate::store::{Refusal, StoreError};

/// The most rules.
pub const HOLD_RULES_MAX: usize = 1000;

/// The rules of a moment, to be kept in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HoldRules(Vec<(RuleId, HoldRuleRow)>);

impl HoldRules {
    /// Reads them.
    pub fn load(reader: &Reader) -> Result<Self, StoreError> {
        Ok(Self(hold_rules(reader)?))
    }

    /// The first rule that matches an entry.
    pub fn matching(&self, row: &QueueRow) -> Option<RuleId> {
        let found = self.0.iter().find(|(_, rule)| {
            // Whether it is held already doesn't matter here.
            let filter = Filter { held: None, ..Filter::of_rule(rule, 0..=u64::MAX) };
            filter.matches(row)
        });
        found.map(|(id, _)| *id)
    }
}

/// All rules, by id. Where there never was one it costs no seek.
pub fn hold_rules(reader: &Reader) -> Result<Vec<(RuleId, HoldRuleRow)>, StoreError> {
    if reader.get(&keys::hold_rule(RuleId(0)))?.is_none() {
        return Ok(Vec::new());
    }
    let rows = reader.from(&keys::hold_rule(RuleId(1)), &keys::of_table(SYSTEM, table::HOLDRULE));
    rows.map(|row| {
        let (key, value) = row?;
        let [id] = keys::numbers(&key, [4])?;
        Ok((RuleId(id as u32), HoldRuleRow::decode(&value)?))
    })
    .collect()
}

/// The batch that adds a rule, and its id, which no other rule ever had. New messages are held from when it is
/// committed and known to whoever enqueues; those that wait are listed by [`Filter::of_rule`] and held by
/// [`change`](super::change()). Only one rule may be added at a time.
pub fn add_hold_rule(reader: &Reader, rule: &HoldRuleRow) -> Result<(RuleId, Batch), StoreError> {
    if hold_rules(reader)?.len() >= HOLD_RULES_MAX {
        return Err(Refusal::TooManyHoldRules.into());
    }
    let id = next_rule(reader)?;
    let next = id.0.checked_add(1).ok_or(Refusal::CounterEnd)?;
    let mut batch = Batch::new();
    batch.insert(Space::Rows, keys::hold_rule(id), rule.encode().ok_or(Refusal::TextTooLong)?);
    batch.insert(Space::Rows, keys::hold_rule(RuleId(0)), [&MARK[..], &next.to_le_bytes()].concat());
    Ok((id, batch))
}

/// The batch that removes a rule. What it holds stays held.
pub fn remove_hold_rule(reader: &Reader, id: RuleId) -> Result<Option<Batch>, StoreError> {
    let key = keys::hold_rule(id);
    if id.0 == 0 || reader.get(&key)?.is_none() {
        return Ok(None);
    }
    let mut batch = Batch::new();
    batch.remove(Space::Rows, key);
    Ok(Some(batch))
}

/// The id that the next rule gets.
pub(crate) fn next_rule(reader: &Reader) -> Result<RuleId, StoreError> {
    const ROW: &str = "HOLDRULE";
    let Some(row) = reader.get(&keys::hold_rule(RuleId(0)))? else { return Ok(RuleId(1)) };
    match row.split_first() {
        Some((&version, rest)) if version == MARK[0] => {
            let next = rest.try_into().map(u32::from_le_bytes).ok().filter(|next| *next > 0);
            Ok(RuleId(next.ok_or(BadRow::Length { row: ROW, octets: row.len() })?))
        }
        Some((&found, _)) => Err(BadRow::Version { row: ROW, found, known: MARK[0] }.into()),
        None => Err(BadRow::Length { row: ROW, octets: 0 }.into()),
    }
}
