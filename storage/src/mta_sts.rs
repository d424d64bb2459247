//! Cached policies of MTA-STS (RFC 8461), by policy domain: they must outlive a restart, for the protection begins
//! only with the first policy that was seen.

use crate::engine::{Batch, Space};
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::MtaStsRow;
use crate::store::{Refusal, StoreError};

/// The longest policy domain.
const DOMAIN_OCTETS_MAX: usize = 255;

/// The cached policy of a domain (lower-case ASCII).
pub fn get(reader: &Reader, domain: &str) -> Result<Option<MtaStsRow>, StoreError> {
    let row = reader.get(&keys::mta_sts(domain))?;
    row.map(|row| Ok(MtaStsRow::decode(&row)?)).transpose()
}

/// Adds to a batch that a domain has this policy.
pub fn put(batch: &mut Batch, domain: &str, row: &MtaStsRow) -> Result<(), StoreError> {
    if domain.is_empty() || domain.len() > DOMAIN_OCTETS_MAX {
        return Err(Refusal::TextTooLong.into());
    }
    let value = row.encode().ok_or(Refusal::TextTooLong)?;
    batch.insert(Space::Rows, keys::mta_sts(domain), value);
    Ok(())
}

/// Adds to a batch that a domain's policy is forgotten.
pub fn remove(batch: &mut Batch, domain: &str) {
    batch.remove(Space::Rows, keys::mta_sts(domain));
}

/// The cached policies of domains from `from` on, in their order.
pub fn from<'a>(
    reader: &'a Reader,
    from: &str,
) -> impl Iterator<Item = Result<(String, MtaStsRow), StoreError>> + use<'a> {
    reader.from(&keys::mta_sts(from), &keys::of_table(SYSTEM, table::MTASTS)).map(|row| {
        let (key, value) = row?;
        Ok((keys::domain_of(&key)?.to_owned(), MtaStsRow::decode(&value)?))
    })
}

/// The batch that forgets policies which were last used before `time` (seconds since 1970), of at most `rows_max`
/// domains from `first` on, and the domain to go on from.
pub fn forget_unused(
    reader: &Reader,
    first: &str,
    time: i64,
    rows_max: usize,
) -> Result<(Batch, Option<String>), StoreError> {
    let mut batch = Batch::new();
    for (looked, row) in from(reader, first).enumerate() {
        let (domain, row) = row?;
        if looked == rows_max {
            return Ok((batch, Some(domain)));
        }
        if row.used < time {
            remove(&mut batch, &domain);
        }
    }
    Ok((batch, None))
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
    fn policies_are_kept_until_they_are_not_used() {
        let store = Store::open(Arc::new(MemoryEngine::new())).unwrap();
        let row = |used| MtaStsRow {
            inserted: 1,
            valid_until: 2,
            updated: 3,
            used,
            backoff: false,
            record_id: "2026".into(),
            policy: "version: STSv1\r\nmode: enforce\r\n".into(),
        };
        let mut batch = Batch::new();
        for (domain, used) in [("a.example", 10), ("b.example", 20), ("c.example", 5)] {
            put(&mut batch, domain, &row(used)).unwrap();
        }
        assert!(put(&mut batch, "", &row(0)).is_err());
        assert!(put(&mut batch, &"x".repeat(256), &row(0)).is_err());
        let long = MtaStsRow { policy: "x".repeat(MtaStsRow::POLICY_OCTETS_MAX + 1).into(), ..row(0) };
        assert!(put(&mut batch, "d.example", &long).is_err());
        store.engine().commit(batch, Durability::Synced).unwrap();
        assert_eq!(get(&store.reader(), "b.example").unwrap(), Some(row(20)));
        assert_eq!(get(&store.reader(), "b.exampl").unwrap(), None);
        assert!(verify(store.reader(), None, &mut |_| {}).unwrap().is_clean());

        let (batch, next) = forget_unused(&store.reader(), "", 15, 2).unwrap();
        assert_eq!(next.as_deref(), Some("c.example"));
        store.engine().commit(batch, Durability::Synced).unwrap();
        let (batch, next) = forget_unused(&store.reader(), "c.example", 15, 2).unwrap();
        assert_eq!(next, None);
        store.engine().commit(batch, Durability::Synced).unwrap();
        let left: Vec<_> = from(&store.reader(), "").map(|row| row.unwrap().0).collect();
        assert_eq!(left, ["b.example"]);
    }
}
