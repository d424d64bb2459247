//! How TLS with other servers went, by UTC day, until it is reported (RFC 8460).
//!
//! Results are recorded by recipient domain. When that domain was looked after, those that are of hosts are put into
//! the order of their policy domains, which may want reports, too; and when these were looked after, they are gone.

use crate::engine::{Batch, Space};
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::TlsResultRow;
use crate::store::StoreError;

/// Days for which results are kept besides the present one.
pub const DAYS_KEPT: u32 = 2;

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 24 * 3600;

/// The number of the UTC day of a time in seconds since 1970.
#[must_use]
pub fn day_of(time: i64) -> u32 {
    u32::try_from(time.div_euclid(DAY_SECONDS)).unwrap_or(0)
}

/// What the results of a day are ordered by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Order {
    /// The recipient domain: not reported yet.
    ByRecipient = 0,
    /// The policy domain: the recipient domain was looked after.
    ByPolicy = 1,
}

/// Which results.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TlsResultId {
    /// The UTC day, counted from 1970.
    pub day: u32,
    /// In which order they are.
    pub order: Order,
    /// The domain of recipients.
    pub recipient: Box<str>,
    /// The domain that the policy is of: that of recipients, or of a host.
    pub policy_domain: Box<str>,
    /// Whether they are of a host.
    pub is_host: bool,
}

/// Results with what they are of.
pub type TlsResult = (TlsResultId, TlsResultRow);

/// Some results.
pub fn get(reader: &Reader, id: &TlsResultId) -> Result<Option<TlsResultRow>, StoreError> {
    reader.get(&keys::tls_result(id))?.map(|row| named(id, &row)).transpose()
}

/// Adds results to a batch; those that are there are replaced. What can't be encoded is left out.
pub fn put(batch: &mut Batch, id: &TlsResultId, row: &TlsResultRow) {
    if let Some(row) = row.encode() {
        batch.insert(Space::Rows, keys::tls_result(id), row);
    }
}

/// Adds to a batch that results are gone.
pub fn remove(batch: &mut Batch, id: &TlsResultId) {
    batch.remove(Space::Rows, keys::tls_result(id));
}

/// The results behind a key, in the order of keys: by day, order and domain.
pub fn after<'a>(
    reader: &'a Reader,
    after: Option<&TlsResultId>,
) -> impl Iterator<Item = Result<TlsResult, StoreError>> + use<'a> {
    let table = keys::of_table(SYSTEM, table::TLSRESULT);
    let from = after.map_or_else(|| table.clone(), |id| [&keys::tls_result(id)[..], &[0]].concat());
    reader.from(&from, &table).map(read)
}

/// The first day from `day` on of which there are results.
pub fn first_day(reader: &Reader, day: u32) -> Result<Option<u32>, StoreError> {
    let table = keys::of_table(SYSTEM, table::TLSRESULT);
    let first = reader.from(&keys::tls_results_from(day), &table).next().transpose()?;
    first.map(|(key, _)| Ok(keys::tls_result_id(&key)?.day)).transpose()
}

/// The first domain behind `after` that has results of a day in an order.
pub fn next_domain(
    reader: &Reader,
    day: u32,
    order: Order,
    after: Option<&str>,
) -> Result<Option<Box<str>>, StoreError> {
    let all = keys::tls_results_in(day, order);
    let from = match after {
        None => all.clone(),
        Some(after) => {
            let mut key = keys::tls_results_of(day, order, after);
            // Behind all that begins with the domain and 0.
            key.pop();
            key.push(1);
            key
        }
    };
    let first = reader.from(&from, &all).next().transpose()?;
    let first = first.map(|(key, _)| keys::tls_result_id(&key)).transpose()?;
    Ok(first.map(|id| match order {
        Order::ByRecipient => id.recipient,
        Order::ByPolicy => id.policy_domain,
    }))
}

/// The results of a domain and a day in an order.
pub fn of<'a>(
    reader: &'a Reader,
    day: u32,
    order: Order,
    domain: &str,
) -> impl Iterator<Item = Result<TlsResult, StoreError>> + use<'a> {
    reader.prefix(&keys::tls_results_of(day, order, domain)).map(read)
}

/// The batch that removes results from before a day, at most `rows_max` of them, and how many it removes.
pub fn remove_before(reader: &Reader, day: u32, rows_max: usize) -> Result<(Batch, usize), StoreError> {
    let mut batch = Batch::new();
    let mut count = 0;
    for row in reader.prefix(&keys::of_table(SYSTEM, table::TLSRESULT)).take(rows_max) {
        let (key, _) = row?;
        if keys::tls_result_id(&key)?.day >= day {
            break;
        }
        batch.remove(Space::Rows, key);
        count += 1;
    }
    Ok((batch, count))
}

fn read<K: AsRef<[u8]>, V: AsRef<[u8]>>(row: Result<(K, V), StoreError>) -> Result<TlsResult, StoreError> {
    let (key, value) = row?;
    let id = keys::tls_result_id(key.as_ref())?;
    let row = named(&id, value.as_ref())?;
    Ok((id, row))
}

/// A row whose policies have the name that is in their key.
fn named(id: &TlsResultId, value: &[u8]) -> Result<TlsResultRow, StoreError> {
    let mut row = TlsResultRow::decode(value)?;
    row.policies.iter_mut().for_each(|policy| policy.policy_domain = id.policy_domain.clone());
    Ok(row)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use postrider_proto::tlsrpt::{Failure, PolicyReport, PolicyType, ResultType};

    use super::*;
    use crate::engine::Durability;
    use crate::engine::memory::MemoryEngine;
    use crate::store::Store;
    use crate::verify::verify;

    fn id(day: u32, order: Order, recipient: &str, policy_domain: &str) -> TlsResultId {
        let is_host = recipient != policy_domain;
        TlsResultId { day, order, recipient: recipient.into(), policy_domain: policy_domain.into(), is_host }
    }

    fn row(policy_domain: &str) -> TlsResultRow {
        let failure = Failure { sessions: 2, ..Failure::new(ResultType::StarttlsNotSupported) };
        let policy = PolicyReport {
            policy_type: PolicyType::NoPolicyFound,
            policy_strings: Vec::new(),
            policy_domain: policy_domain.into(),
            mx_hosts: Vec::new(),
            successful_sessions: 1,
            failed_sessions: 2,
            failures: vec![failure],
        };
        TlsResultRow { is_reason: true, told: Vec::new(), policies: vec![policy] }
    }

    #[test]
    fn days_begin_at_midnight() {
        assert_eq!([-1, 0, DAY_SECONDS - 1, DAY_SECONDS].map(day_of), [0, 0, 0, 1]);
    }

    #[test]
    fn results_are_found_by_day_and_domain_and_go_when_they_are_old() {
        let store = Store::open(Arc::new(MemoryEngine::new())).unwrap();
        let all = [
            id(5, Order::ByRecipient, "a.example", "a.example"),
            id(5, Order::ByRecipient, "a.example", "mx.example"),
            id(5, Order::ByRecipient, "a.example.b", "a.example.b"),
            id(5, Order::ByPolicy, "z.example", "mx.example"),
            id(7, Order::ByRecipient, "a.example", "a.example"),
        ];
        let mut batch = Batch::new();
        for id in &all {
            put(&mut batch, id, &row(&id.policy_domain));
        }
        store.engine().commit(batch, Durability::Synced).unwrap();
        let reader = store.reader();
        let report = verify(store.reader(), None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.violations);
        assert_eq!(report.counts.tls_results, 5);
        let ids = |found: Vec<TlsResult>| found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        let after = |from: Option<&TlsResultId>| ids(after(&reader, from).map(Result::unwrap).collect());
        assert_eq!(after(None), all);
        assert_eq!(after(Some(&all[2])), all[3..]);
        assert_eq!(get(&reader, &all[1]).unwrap(), Some(row("mx.example")));
        let found = |order, domain| ids(of(&reader, 5, order, domain).map(Result::unwrap).collect());
        assert_eq!(found(Order::ByRecipient, "a.example"), all[..2]);
        assert_eq!(found(Order::ByPolicy, "mx.example"), all[3..4]);
        let next = |day, order, from| next_domain(&reader, day, order, from).unwrap();
        assert_eq!(next(5, Order::ByRecipient, None).as_deref(), Some("a.example"));
        assert_eq!(next(5, Order::ByRecipient, Some("a.example")).as_deref(), Some("a.example.b"));
        assert_eq!(next(5, Order::ByRecipient, Some("a.example.b")), None);
        assert_eq!(next(5, Order::ByPolicy, None).as_deref(), Some("mx.example"));
        assert_eq!(next(6, Order::ByRecipient, None), None);
        assert_eq!(
            [0, 5, 6, 8].map(|day| first_day(&reader, day).unwrap()),
            [Some(5), Some(5), Some(7), None]
        );
        for (rows_max, left) in [(3, &all[3..]), (10, &all[4..]), (10, &all[4..])] {
            let (batch, _) = remove_before(&store.reader(), 7, rows_max).unwrap();
            store.engine().commit(batch, Durability::Synced).unwrap();
            let reader = store.reader();
            assert_eq!(ids(super::after(&reader, None).map(Result::unwrap).collect()), left);
        }
        let mut batch = Batch::new();
        remove(&mut batch, &all[4]);
        store.engine().commit(batch, Durability::Synced).unwrap();
        assert_eq!(first_day(&store.reader(), 0).unwrap(), None);
    }
}
