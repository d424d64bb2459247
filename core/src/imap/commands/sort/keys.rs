//! What messages are sorted by: a column for each criterion (RFC 5256 §3, RFC 5957 §3).

use std::cmp::Ordering;

use postrider_proto::imap::command::{Direction, SortCriterion, SortKey};
use postrider_proto::mime::FieldName;
use postrider_proto::mime::address::{self, Address};
use postrider_proto::mime::collation::fold;
use postrider_proto::mime::record::PartRef;
use postrider_proto::mime::{header, subject, words};
use postrider_storage::rows::MessageRow;

/// Octets of a folded text that are compared; texts that are the same up to there are equal.
const TEXT_OCTETS_MAX: usize = 1000;

/// The keys of messages, which are counted from 0.
pub struct Columns {
    columns: Vec<Column>,
    len: u32,
}

struct Column {
    criterion: SortCriterion,
    values: Values,
}

enum Values {
    Numbers(Vec<i64>),
    /// Texts behind each other, and where each ends.
    Texts(Vec<u8>, Vec<u32>),
}

impl Columns {
    /// Empty columns.
    pub fn new(criteria: &[SortCriterion]) -> Self {
        let column = |criterion: &SortCriterion| Column {
            criterion: *criterion,
            values: match criterion.key {
                SortKey::Arrival | SortKey::Date | SortKey::Size => Values::Numbers(Vec::new()),
                _ => Values::Texts(Vec::new(), Vec::new()),
            },
        };
        Self { columns: criteria.iter().map(column).collect(), len: 0 }
    }

    /// Whether any key is in the structure record.
    pub fn need_structure(&self) -> bool {
        let is_in_row = |column: &Column| matches!(column.criterion.key, SortKey::Arrival | SortKey::Size);
        !self.columns.iter().all(is_in_row)
    }

    /// Adds the keys of a message: from its row, and from the root of its structure if that is needed.
    pub fn push(&mut self, row: &MessageRow, root: Option<&PartRef<'_>>) {
        for Column { criterion, values } in &mut self.columns {
            match values {
                Values::Numbers(numbers) => numbers.push(match criterion.key {
                    SortKey::Size => i64::try_from(row.size).unwrap_or(i64::MAX),
                    SortKey::Date => sent(row, root),
                    _ => row.received,
                }),
                Values::Texts(octets, ends) => {
                    let text = root.map(|root| text(criterion.key, root)).unwrap_or_default();
                    let text = fold(&text);
                    octets.extend_from_slice(&text.as_bytes()[..text.len().min(TEXT_OCTETS_MAX)]);
                    // The bound on memory keeps it below.
                    ends.push(u32::try_from(octets.len()).unwrap_or(u32::MAX));
                }
            }
        }
        self.len += 1;
    }

    /// How many messages.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Octets held.
    pub fn octets(&self) -> usize {
        let octets = |column: &Column| match &column.values {
            Values::Numbers(numbers) => numbers.len() * size_of::<i64>(),
            Values::Texts(octets, ends) => octets.len() + ends.len() * size_of::<u32>(),
        };
        self.columns.iter().map(octets).sum()
    }

    /// How two messages compare by all criteria; equal ones go in the order of the mailbox.
    pub fn compare(&self, a: u32, b: u32) -> Ordering {
        for column in &self.columns {
            let order = match &column.values {
                Values::Numbers(numbers) => numbers[a as usize].cmp(&numbers[b as usize]),
                Values::Texts(octets, ends) => at(octets, ends, a).cmp(at(octets, ends, b)),
            };
            let order = match column.criterion.direction {
                Direction::Ascending => order,
                Direction::Descending => order.reverse(),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }
}

fn at<'a>(octets: &'a [u8], ends: &[u32], index: u32) -> &'a [u8] {
    let index = index as usize;
    let start = index.checked_sub(1).map_or(0, |before| ends[before]);
    &octets[start as usize..ends[index] as usize]
}

/// When the message was sent (RFC 5256 §2.2).
pub fn sent(row: &MessageRow, root: Option<&PartRef<'_>>) -> i64 {
    let date = root.and_then(|root| root.field(FieldName::Date)).and_then(header::sent);
    date.unwrap_or(row.received)
}

/// The text to sort by; a field that isn't there is empty (RFC 5256 §3).
fn text(key: SortKey, root: &PartRef<'_>) -> String {
    let field = match key {
        SortKey::Cc => FieldName::Cc,
        SortKey::From | SortKey::DisplayFrom => FieldName::From,
        SortKey::To | SortKey::DisplayTo => FieldName::To,
        _ => FieldName::Subject,
    };
    let Some(value) = root.field(field) else { return String::new() };
    let first = || address::parse(value, 1).into_iter().next();
    match key {
        SortKey::DisplayFrom | SortKey::DisplayTo => first().map(display).unwrap_or_default(),
        SortKey::Cc | SortKey::From | SortKey::To => first()
            .and_then(|address| address.mailbox)
            .map(|mailbox| words::decode(&mailbox))
            .unwrap_or_default(),
        _ => subject::base_subject(value).text,
    }
}

/// The sort value of an address (RFC 5957 §3).
fn display(address: Address) -> String {
    let name = address.name.map(|name| words::decode(&name)).filter(|name| !name.is_empty());
    let Some(mailbox) = address.mailbox else { return name.unwrap_or_default() };
    name.unwrap_or_else(|| {
        let mailbox = words::decode(&mailbox);
        match address.host {
            Some(host) => format!("{mailbox}@{}", words::decode(&host)),
            None => mailbox,
        }
    })
}
