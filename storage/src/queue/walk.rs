//! The walk over the entries that a filter means, by the index that leads to the fewest rows.

use std::ops::Bound;

use super::cursor::Cursor;
use super::entry;
use super::filter::{Filter, Span};
use super::list::Order;
use crate::engine::Space;
use crate::ids::QueueId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::{Raw, Reader};
use crate::rows::{QueueRow, RecipientRow};
use crate::store::{Refusal, StoreError};

/// The most ids that a filter names.
pub const IDS_MAX: usize = 10_000;

/// The most rows of an index that are looked at to find out whether it is the shorter one.
const PROBE_MAX: usize = 256;

/// An entry's row, or why it can't be read.
type ReadRow = Result<QueueRow, StoreError>;

/// How much a walk looked at, and may.
pub(super) struct Walk {
    pub rows: usize,
    pub rows_max: usize,
}

impl Walk {
    /// Calls `visit` for each entry until it says false, the rows to look at are used up, or there are no more; also for one
    /// whose row can't be read, of which nobody knows whether it is meant. Gives where to go on.
    pub(super) fn run(
        &mut self,
        reader: &Reader,
        filter: &Filter,
        order: Order,
        cursor: Option<&Cursor>,
        mut visit: impl FnMut(&mut Self, QueueId, ReadRow) -> Result<bool, StoreError>,
    ) -> Result<Option<Cursor>, StoreError> {
        let index = Index::of(reader, filter, cursor)?;
        let mut rows = index.rows(reader, filter, order, cursor)?;
        let mut visited = None;
        while let Some(row) = rows.next() {
            let (key, value) = row?;
            self.rows += 1;
            let found = index.read(reader, filter, &key, &value)?.filter(|(id, _)| visited != Some(*id));
            let is_meant = |row: &ReadRow| row.as_ref().map_or(true, |row| filter.matches(row));
            let goes_on = match found.filter(|(_, row)| is_meant(row)) {
                Some((id, row)) => {
                    visited = Some(id);
                    visit(self, id, row)?
                }
                None => true,
            };
            if !goes_on || self.rows >= self.rows_max {
                let more = rows.next().transpose()?.is_some();
                return Ok(more.then(|| index.cursor(&key, visited, order)));
            }
        }
        Ok(None)
    }
}

/// What leads to entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Index {
    /// Their ids.
    Ids,
    /// The schedule of a domain.
    Due,
    /// The list of an account.
    Owner,
    /// All recipients.
    Recipients,
    /// All of them.
    All,
}

impl Index {
    /// The best one for a filter; the one of the cursor when there is one.
    fn of(reader: &Reader, filter: &Filter, cursor: Option<&Cursor>) -> Result<Self, StoreError> {
        if let Some(ids) = &filter.ids {
            return if ids.len() <= IDS_MAX { Ok(Self::Ids) } else { Err(Refusal::TooManyIds.into()) };
        }
        let (due, owner) = (filter.recipient_domain.is_some(), filter.account.is_some());
        let at = |number| cursor.is_some_and(|at| at.key(&keys::of_table(SYSTEM, number)).is_ok());
        Ok(match (due, owner) {
            (false, false) if filter.to.is_some() => Self::Recipients,
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
            Self::Recipients => {
                let first = keys::queue_recipients(submitted_from(filter.submitted));
                (first, range_of(&keys::of_table(SYSTEM, table::QUEUERCPT)).1)
            }
            Self::All => {
                let first = keys::queue(submitted_from(filter.submitted));
                (first, range_of(&keys::of_table(SYSTEM, table::QUEUE)).1)
            }
        };
        let cursor = cursor.map(|cursor| cursor.key(&keys::of_table(SYSTEM, self.table()))).transpose()?;
        Ok(between(reader, &first, &behind, order, cursor))
    }

    /// The entry that a row leads to, and its row, or why that can't be read.
    fn read(
        self,
        reader: &Reader,
        filter: &Filter,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<(QueueId, ReadRow)>, StoreError> {
        let id = match self {
            Self::Ids | Self::All => {
                let row = QueueRow::decode(value).map_err(StoreError::from);
                return Ok(Some((QueueId(keys::last_number(key)?), row)));
            }
            Self::Due | Self::Owner => QueueId(keys::last_number(key)?),
            // One that can't be read may be meant: whether its entry is says that one's row first.
            Self::Recipients
                if RecipientRow::decode(value).is_ok_and(|row| !filter.matches_recipient(&row)) =>
            {
                return Ok(None);
            }
            Self::Recipients => {
                let [id, _] = keys::numbers(key, [8, 4])?;
                QueueId(id)
            }
        };
        match entry(reader, id) {
            Ok(row) => Ok(row.map(|row| (id, Ok(row)))),
            Err(error) if error.is_damage() => Ok(Some((id, Err(error)))),
            Err(error) => Err(error),
        }
    }

    /// Where to go on behind a row: of a visited entry, all recipients were looked at.
    fn cursor(self, key: &[u8], visited: Option<QueueId>, order: Order) -> Cursor {
        match visited {
            Some(id) if self == Self::Recipients && key.starts_with(&keys::queue_recipients(id)) => {
                let number = if order == Order::Ascending { u32::MAX } else { 0 };
                Cursor::at(keys::queue_recipient(id, number))
            }
            _ => Cursor::at(key),
        }
    }

    fn table(self) -> u8 {
        match self {
            Self::Ids | Self::All => table::QUEUE,
            Self::Due => table::QUEUEDUE,
            Self::Owner => table::QUEUEOWNER,
            Self::Recipients => table::QUEUERCPT,
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
    let domain = filter.domain().unwrap_or(0);
    let (first, behind) = range_of(&keys::queue_domain(domain));
    let Span { from, before } = filter.next_attempt;
    let at = |time: i64| keys::queue_due(domain, time, QueueId(0));
    (from.map_or(first, at), before.map_or(behind, at))
}

/// The first id that may be meant: ids have the time at which they were made, which is not before the message was
/// accepted.
fn submitted_from(submitted: Span) -> QueueId {
    /// What the clock may be set back by between the two.
    const SLACK_SECONDS: i64 = 24 * 60 * 60;
    let from = submitted.from.map_or(0, |from| from.saturating_sub(SLACK_SECONDS));
    QueueId(crate::store::first_id(from))
}

/// The rows from `first` to `behind`, behind a cursor.
pub(crate) fn between<'a>(
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
