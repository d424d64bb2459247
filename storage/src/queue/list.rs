//! Listing entries, page by page.

use super::cursor::Cursor;
use super::filter::Filter;
use super::recipients_of;
use super::walk::Walk;
use crate::ids::QueueId;
use crate::reader::Reader;
use crate::rows::{QueueRow, RecipientRow};
use crate::store::StoreError;

/// The most recipients that are listed of one entry.
pub const RECIPIENTS_LISTED_MAX: usize = 100;

/// About the most octets of rows on one page.
const PAGE_OCTETS_MAX: usize = 1024 * 1024;

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

/// An entry of which a row can't be read. What is known of it doesn't say that it isn't meant.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// The entry.
    pub id: QueueId,
    /// How many of [`Page::entries`] come before it.
    pub behind: usize,
    /// What is wrong.
    pub error: StoreError,
}

/// Some entries.
#[derive(Clone, Debug)]
pub struct Page {
    /// They, in order.
    pub entries: Vec<Listed>,
    /// Those that are damaged, in the same order.
    pub damaged: Vec<Damaged>,
    /// Where to go on; none at the end. There may be more even when nothing was found.
    pub next: Option<Cursor>,
    /// Rows that were looked at.
    pub rows: usize,
}

/// Lists entries that a filter means. Those that are damaged are among them when no row that can be read says otherwise, and
/// count as any other; so the page is as long, and costs as much.
pub fn list(
    reader: &Reader,
    filter: &Filter,
    order: Order,
    cursor: Option<&Cursor>,
    bounds: Bounds,
) -> Result<Page, StoreError> {
    let (mut entries, mut damaged) = (Vec::new(), Vec::new());
    let mut octets = 0;
    let mut walk = Walk { rows: 0, rows_max: bounds.rows_max };
    let next = walk.run(reader, filter, order, cursor, |walk, id, row| {
        match row.and_then(|row| listed(walk, reader, filter, id, row)) {
            Ok(Some(listed)) => {
                octets += octets_of(&listed);
                entries.push(listed);
            }
            Ok(None) => return Ok(true),
            Err(error) if error.is_damage() => damaged.push(Damaged { id, behind: entries.len(), error }),
            Err(error) => return Err(error),
        }
        Ok(entries.len() + damaged.len() < bounds.entries_max && octets < PAGE_OCTETS_MAX)
    })?;
    Ok(Page { entries, damaged, next, rows: walk.rows })
}

fn octets_of(listed: &Listed) -> usize {
    let recipients = listed.recipients.iter().map(|(_, row)| {
        let text = row.result.as_ref().map_or(0, |result| result.text().len());
        row.address.len() + row.original.len() + text + 64
    });
    256 + listed.row.mail_from.len() + recipients.sum::<usize>()
}

/// What is listed of an entry; none when no recipient is meant.
fn listed(
    walk: &mut Walk,
    reader: &Reader,
    filter: &Filter,
    id: QueueId,
    row: QueueRow,
) -> Result<Option<Listed>, StoreError> {
    let mut listed = Listed { id, row, part: None, recipients: Vec::new() };
    let mut numbers = Vec::new();
    for recipient in recipients_of(reader, id, &listed.row) {
        if filter.to.is_none() && listed.recipients.len() == RECIPIENTS_LISTED_MAX {
            break;
        }
        walk.rows += 1;
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
