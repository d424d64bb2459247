//! Listing entries, page by page, by the index that leads to the fewest rows.

use std::ops::Bound;

use super::cursor::Cursor;
use super::filter::{Filter, Span};
use super::{entry, recipients};
use crate::engine::Space;
use crate::ids::QueueId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::{Raw, Reader};
use crate::rows::{QueueRow, RecipientRow};
use crate::store::StoreError;

/// The most recipients that are listed of one entry.
pub const RECIPIENTS_LISTED_MAX: usize = 100;

/// About the most octets of rows on one page.
const PAGE_OCTETS_MAX: usize = 1024 * 1024;

/// The most rows of an index that are looked at to find out whether it is the shorter one.
const PROBE_MAX: usize = 256;

/// In which order a list is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// By id, which is the order of acceptance; of one recipient domain by the next attempt.
    #[default]
    Ascending,
    /// The other way round.
    Descending,
}

/// How much a page has, and how much is looked at for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The most entries on a page.
    pub entries_max: usize,
    /// The most rows that are looked at, recipients included.
    pub rows_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries_max: 100, rows_max: 10_000 }
    }
}

/// An entry of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The entry.
    pub id: QueueId,
    /// Its row.
    pub row: QueueRow,
    /// The numbers of the recipients that are meant, when they aren't all.
    pub part: Option<Vec<u32>>,
    /// The recipients that are meant, the first [`RECIPIENTS_LISTED_MAX`].
    pub recipients: Vec<(u32, RecipientRow)>,
}

/// Some entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// They, in order.
    pub entries: Vec<Listed>,
    /// Where to go on; none at the end. There may be more even when nothing was found.
    pub next: Option<Cursor>,
    /// Rows that were looked at.
    pub rows: usize,
}

/// Lists entries that a filter means.
pub fn list(
    reader: &Reader,
    filter: &Filter,
    order: Order,
    cursor: Option<&Cursor>,
    bounds: Bounds,
) -> Result<Page, StoreError> {
    let mut entries = Vec::new();
    let mut octets = 0;
    let mut walk = Walk { rows: 0, rows_max: bounds.rows_max };
    let next = walk.run(reader, filter, order, cursor, |walk, id, row| {
        let Some(listed) = walk.listed(reader, filter, id, row)? else { return Ok(true) };
        octets += octets_of(&listed);
        entries.push(listed);
        Ok(entries.len() < bounds.entries_max && octets < PAGE_OCTETS_MAX)
    })?;
    Ok(Page { entries, next, rows: walk.rows })
}

fn octets_of(listed: &Listed) -> usize {
    let recipients = listed.recipients.iter().map(|(_, row)| row.address.len() + row.original.len() + 64);
    256 + listed.row.mail_from.len() + recipients.sum::<usize>()
}

/// A walk over the entries that a filter means.
pub(super) struct Walk {
    pub rows: usize,
    pub rows_max: usize,
}

impl Walk {
    /// Calls `visit` for each entry until it says false, the rows to look at are used up, or there are no more.
    /// Gives where to go on.
    pub(super) fn run(
        &mut self,
        reader: &Reader,
        filter: &Filter,
        order: Order,
        cursor: Option<&Cursor>,
        mut visit: impl FnMut(&mut Self, QueueId, QueueRow) -> Result<bool, StoreError>,
    ) -> Result<Option<Cursor>, StoreError> {
        let mut rows = Index::of(reader, filter, cursor)?.rows(reader, filter, order, cursor)?.peekable();
        while let Some(row) = rows.next() {
            let (key, value) = row?;
            self.rows += 1;
            let (id, row) = read(reader, &key, &value)?;
            let goes_on = match row.filter(|row| filter.matches(row)) {
                Some(row) => visit(self, id, row)?,
                None => true,
            };
            if !goes_on || self.rows >= self.rows_max {
                let more = rows.next().transpose()?.is_some();
                return Ok(more.then(|| Cursor::at(key)));
            }
        }
        Ok(None)
    }

    /// What is listed of an entry; none when no recipient is meant.
    fn listed(
        &mut self,
        reader: &Reader,
        filter: &Filter,
        id: QueueId,
        row: QueueRow,
    ) -> Result<Option<Listed>, StoreError> {
        let mut listed = Listed { id, row, part: None, recipients: Vec::new() };
        let mut numbers = Vec::new();
        for recipient in recipients(reader, id) {
            if filter.to.is_none() && listed.recipients.len() == RECIPIENTS_LISTED_MAX {
                break;
            }
            self.rows += 1;
            let (number, recipient) = recipient?;
            if filter.matches_recipient(&recipient) {
                numbers.push(number);
                if listed.recipients.len() < RECIPIENTS_LISTED_MAX {
                    listed.recipients.push((number, recipient));
                }
            }
        }
        if filter.to.is_some() {
            if numbers.is_empty() {
                return Ok(None);
            }
            if numbers.len() != listed.row.waiting as usize {
                listed.part = Some(numbers);
            }
        }
        Ok(Some(listed))
    }
}

/// What leads to entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Index {
    /// Their ids.
    Ids,
    /// The schedule of a domain, or of the domains of a shard.
    Due,
    /// The list of an account.
    Owner,
    /// All of them.
    All,
}

impl Index {
    /// The best one for a filter; the one of the cursor when there is one.
    fn of(reader: &Reader, filter: &Filter, cursor: Option<&Cursor>) -> Result<Self, StoreError> {
        if filter.ids.is_some() {
            return Ok(Self::Ids);
        }
        let is_part = filter.domains != (0..=u64::MAX);
        let (due, owner) = (filter.recipient_domain.is_some() || is_part, filter.account.is_some());
        let at = |number| cursor.is_some_and(|at| at.key(&keys::of_table(SYSTEM, number)).is_ok());
        Ok(match (due, owner) {
            (false, false) => Self::All,
            (true, false) => Self::Due,
            (false, true) => Self::Owner,
            _ if at(table::QUEUEDUE) => Self::Due,
            _ if at(table::QUEUEOWNER) => Self::Owner,
            _ => {
                let count = |index: Self| -> Result<usize, StoreError> {
                    Ok(index.rows(reader, filter, Order::Ascending, None)?.take(PROBE_MAX).count())
                };
                if count(Self::Due)? <= count(Self::Owner)? { Self::Due } else { Self::Owner }
            }
        })
    }

    /// Its rows, behind a cursor.
    fn rows<'a>(
        self,
        reader: &'a Reader,
        filter: &Filter,
        order: Order,
        cursor: Option<&Cursor>,
    ) -> Result<Box<dyn Iterator<Item = Result<Raw, StoreError>> + 'a>, StoreError> {
        let (first, behind) = match self {
            Self::Ids => return ids(reader, filter, order, cursor),
            Self::Due => due_range(filter),
            Self::Owner => range_of(&keys::queue_owned(filter.account.unwrap_or(SYSTEM))),
            Self::All => {
                (submitted_from(filter.submitted), range_of(&keys::of_table(SYSTEM, table::QUEUE)).1)
            }
        };
        let cursor = cursor.map(|cursor| cursor.key(&keys::of_table(SYSTEM, self.table()))).transpose()?;
        Ok(between(reader, &first, &behind, order, cursor))
    }

    fn table(self) -> u8 {
        match self {
            Self::Ids | Self::All => table::QUEUE,
            Self::Due => table::QUEUEDUE,
            Self::Owner => table::QUEUEOWNER,
        }
    }
}

/// The keys that begin with `prefix`, and the first one behind them.
fn range_of(prefix: &[u8]) -> (keys::Key, keys::Key) {
    // No prefix of a table is all ones.
    (prefix.to_vec(), keys::after(prefix).unwrap_or_default())
}

/// The schedule's keys that may be meant.
fn due_range(filter: &Filter) -> (keys::Key, keys::Key) {
    let Some(domain) = filter.domain() else {
        let (_, behind) = range_of(&keys::of_table(SYSTEM, table::QUEUEDUE));
        let last = filter.domains.end().checked_add(1);
        return (keys::queue_domain(*filter.domains.start()), last.map_or(behind, keys::queue_domain));
    };
    let (first, behind) = range_of(&keys::queue_domain(domain));
    let Span { from, before } = filter.next_attempt;
    let at = |time: i64| keys::queue_due(domain, time, QueueId(0));
    (from.map_or(first, at), before.map_or(behind, at))
}

/// Ids have the time at which they were made, which is not before the message was accepted.
fn submitted_from(submitted: Span) -> keys::Key {
    /// What the clock may be set back by between the two.
    const SLACK_SECONDS: i64 = 24 * 60 * 60;
    let from = submitted.from.map_or(0, |from| from.saturating_sub(SLACK_SECONDS));
    keys::queue(crate::store::first_queue_id(from))
}

/// The rows from `first` to `behind`, behind a cursor.
pub(super) fn between<'a>(
    reader: &'a Reader,
    first: &[u8],
    behind: &[u8],
    order: Order,
    cursor: Option<&[u8]>,
) -> Box<dyn Iterator<Item = Result<Raw, StoreError>> + 'a> {
    let (from, to) = match (order, cursor) {
        (Order::Ascending, Some(key)) if key >= first => (Bound::Excluded(key), behind),
        (Order::Descending, Some(key)) => (Bound::Included(first), key.min(behind)),
        _ => (Bound::Included(first), behind),
    };
    let rows = reader.snapshot().range(Space::Rows, from, Bound::Excluded(to)).map(|row| Ok(row?));
    match order {
        Order::Ascending => Box::new(rows),
        Order::Descending => Box::new(rows.rev()),
    }
}

/// The rows of chosen ids, each once.
fn ids<'a>(
    reader: &'a Reader,
    filter: &Filter,
    order: Order,
    cursor: Option<&Cursor>,
) -> Result<Box<dyn Iterator<Item = Result<Raw, StoreError>> + 'a>, StoreError> {
    let mut keys: Vec<_> = filter.ids.iter().flatten().map(|id| keys::queue(*id)).collect();
    keys.sort_unstable();
    keys.dedup();
    if order == Order::Descending {
        keys.reverse();
    }
    if let Some(cursor) = cursor {
        let at = cursor.key(&keys::of_table(SYSTEM, table::QUEUE))?;
        keys.retain(|key| if order == Order::Ascending { &key[..] > at } else { &key[..] < at });
    }
    Ok(Box::new(keys.into_iter().filter_map(|key| match reader.get(&key) {
        Ok(value) => Some(Ok((key.into(), value?))),
        Err(error) => Some(Err(error)),
    })))
}

/// The entry that a row of an index leads to.
fn read(reader: &Reader, key: &[u8], value: &[u8]) -> Result<(QueueId, Option<QueueRow>), StoreError> {
    let id = QueueId(keys::last_number(key)?);
    let (_, number, _) = keys::split(key)?;
    let row = if number == table::QUEUE { Some(QueueRow::decode(value)?) } else { entry(reader, id)? };
    Ok((id, row))
}
