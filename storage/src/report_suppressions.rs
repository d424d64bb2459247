//! Addresses to which no reports of DMARC and TLS are sent, because somebody said so, until a time.
//!
//! An address is compared without regard to case. One whose time is over counts no more, and stays for operators to see.

use crate::engine::{Batch, Space};
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::ReportSuppressionRow;
use crate::store::{Refusal, StoreError};

/// The longest address.
pub const ADDRESS_OCTETS_MAX: usize = 512;

fn key_of(address: &str) -> keys::Key {
    keys::report_suppression(&address.to_lowercase())
}

/// Whether, and why, no reports are sent to an address; what has ended doesn't count.
pub fn get(reader: &Reader, address: &str, now: i64) -> Result<Option<ReportSuppressionRow>, StoreError> {
    let row = reader.get(&key_of(address))?;
    let row = row.map(|row| ReportSuppressionRow::decode(&row)).transpose()?;
    Ok(row.filter(|row| now < row.until))
}

/// Adds to a batch that no reports are sent to an address. What was known of it is replaced.
pub fn add(batch: &mut Batch, address: &str, row: &ReportSuppressionRow) -> Result<(), StoreError> {
    if address.is_empty() || address.to_lowercase().len() > ADDRESS_OCTETS_MAX {
        return Err(Refusal::TextTooLong.into());
    }
    let value = row.encode().ok_or(Refusal::TextTooLong)?;
    batch.insert(Space::Rows, key_of(address), value);
    Ok(())
}

/// Adds to a batch that reports are sent to an address again; false when they are.
pub fn remove(reader: &Reader, batch: &mut Batch, address: &str) -> Result<bool, StoreError> {
    let key = key_of(address);
    let known = reader.get(&key)?.is_some();
    if known {
        batch.remove(Space::Rows, key);
    }
    Ok(known)
}

/// The addresses behind `after`, in their order, those that have ended, too.
pub fn list<'a>(
    reader: &'a Reader,
    after: Option<&str>,
) -> impl Iterator<Item = Result<(String, ReportSuppressionRow), StoreError>> + use<'a> {
    let prefix = keys::of_table(SYSTEM, table::REPORTSUPPRESS);
    let from =
        after.map_or_else(|| prefix.clone(), |after| [&keys::report_suppression(after)[..], &[0]].concat());
    reader.from(&from, &prefix).map(|row| {
        let (key, value) = row?;
        Ok((keys::report_suppression_address(&key)?.to_owned(), ReportSuppressionRow::decode(&value)?))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use super::*;
    use crate::engine::Durability;
    use crate::engine::memory::MemoryEngine;
    use crate::store::Store;
    use crate::verify::verify;

    #[test]
    fn no_reports_are_sent_to_an_address_until_the_time_is_over() {
        let store = Store::open(Arc::new(MemoryEngine::new())).unwrap();
        let row = |until| ReportSuppressionRow { created: 1, until, comment: "it bounces".into() };
        let mut batch = Batch::new();
        add(&mut batch, "Reports@Them.Example", &row(100)).unwrap();
        add(&mut batch, "b@them.example", &row(i64::MAX)).unwrap();
        assert!(add(&mut batch, "", &row(1)).is_err());
        assert!(add(&mut batch, &"x".repeat(ADDRESS_OCTETS_MAX + 1), &row(1)).is_err());
        let long = "x".repeat(ReportSuppressionRow::COMMENT_OCTETS_MAX + 1).into();
        assert!(
            add(&mut batch, "c@them.example", &ReportSuppressionRow { comment: long, ..row(1) }).is_err()
        );
        store.engine().commit(batch, Durability::Synced).unwrap();
        let get = |address, now| get(&store.reader(), address, now).unwrap().map(|row| row.until);
        assert_eq!(get("reports@THEM.example", 99), Some(100));
        assert_eq!(get("reports@them.example", 100), None);
        assert_eq!(get("c@them.example", 0), None);
        let list = |after| {
            let found: Vec<_> = list(&store.reader(), after).map(|row| row.unwrap().0).collect();
            found
        };
        assert_eq!(list(None), ["b@them.example", "reports@them.example"]);
        assert_eq!(list(Some("b@them.example")), ["reports@them.example"]);
        let report = verify(store.reader(), None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.violations);
        let mut batch = Batch::new();
        assert!(remove(&store.reader(), &mut batch, "B@them.example").unwrap());
        assert!(!remove(&store.reader(), &mut batch, "c@them.example").unwrap());
        store.engine().commit(batch, Durability::Synced).unwrap();
        assert_eq!(list(None), ["reports@them.example"]);
    }
}
