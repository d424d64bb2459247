//! Rules that hold messages, new ones and those that wait.

use std::ops::RangeInclusive;

use super::cursor::Cursor;
use super::edit::Edit;
use super::filter::Filter;
use super::list::Order;
use super::schedule::Scheduled;
use super::walk::Walk;
use crate::engine::{Batch, Space};
use crate::ids::{QueueId, RuleId};
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{BadRow, Held, HoldRuleRow, MARK, QueueRow};
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
/// committed and known to whoever enqueues; after that, [`hold_matching`] holds those that wait. Only one rule may
/// be added at a time.
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

/// Some of what a rule holds of the messages that wait.
#[derive(Debug)]
pub struct HeldPage {
    /// The writes.
    pub edit: Edit,
    /// The entries that it holds, with the places that they had in the schedule.
    pub entries: Vec<Scheduled>,
    /// Entries that match, but are busy: hold each by [`change`](super::change()) when they aren't any more.
    pub busy: Vec<QueueId>,
    /// Where to go on, with a reader that shows this edit committed; none at the end.
    pub next: Option<Cursor>,
}

/// Holds entries that match a rule, of the domains in `range`, which the caller's shard owns. At most `rows_max` rows
/// are looked at. `busy` says of which entries an edit is still to be acknowledged.
pub fn hold_matching(
    reader: &Reader,
    (id, rule): (RuleId, &HoldRuleRow),
    range: RangeInclusive<u64>,
    cursor: Option<&Cursor>,
    rows_max: usize,
    mut busy: impl FnMut(QueueId) -> bool,
) -> Result<HeldPage, StoreError> {
    let filter = Filter::of_rule(rule, range);
    let mut page = HeldPage { edit: Edit::default(), entries: Vec::new(), busy: Vec::new(), next: None };
    let mut walk = Walk { rows: 0, rows_max };
    page.next = walk.run(reader, &filter, Order::Ascending, cursor, |_, entry, old| {
        if busy(entry) {
            page.busy.push(entry);
            return Ok(true);
        }
        page.entries.push(Scheduled::of(entry, &old));
        page.edit.replace(entry, &old, &QueueRow { held: Held::Rule(id), ..old.clone() })?;
        Ok(true)
    })?;
    Ok(page)
}
