//! How TLS with other servers went, summed in memory until it is written.
//!
//! Always holds: recording waits for nothing and can't fail; a row of the store is changed by one shard only, the one
//! that delivers to its recipient domain, until its day is over.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use postrider_delivery::tls_results::TlsResult;
use postrider_proto::address::Domain;
use postrider_proto::tlsrpt::add;
use postrider_storage::account::hash;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::keys;
use postrider_storage::reader::Reader;
use postrider_storage::rows::{Kind, TlsResultRow};
use postrider_storage::store::StoreError;
use postrider_storage::tls_results::{self, DAY_SECONDS, Order, TlsResultId, day_of};
use tracing::debug;

use crate::clock::unix_now;
use crate::commit;
use crate::metrics::Limit;
use crate::runtime::{LocalNotify, sleep, timeout};
use crate::shard::Shard;

/// How often results are written.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// The same while the server stops: what still runs may record more.
const WRITE_EVERY_AT_STOP: Duration = Duration::from_secs(1);
/// Rows in memory at which they are written at once.
const ROWS_FULL: usize = 1000;
/// Rows in memory; beyond, what has none isn't recorded.
const ROWS_MAX: usize = 2000;
/// Rows that a shard writes for one day.
const ROWS_A_DAY_MAX: usize = 10_000;
/// Seconds of a day after which results of the day before are no longer written: its reports are about to be made.
const LATE: i64 = 180;

/// What a shard has recorded and not written yet.
#[derive(Default)]
pub(crate) struct Pending {
    rows: RefCell<HashMap<TlsResultId, TlsResultRow>>,
    /// Hashes of the rows of a day, so that there are not too many.
    known: RefCell<(u32, HashSet<u64>)>,
    /// There are many.
    full: LocalNotify,
    /// Nobody but one writes.
    writing: Cell<bool>,
}

/// Records what came of an attempt to deliver to a domain.
pub(crate) fn record(shard: &Shard, domain: &Domain, kind: Kind, results: Vec<TlsResult>) {
    // RFC 8460 §3: sessions that bring such reports are in none.
    if kind == Kind::TlsReport || !shard.shared.config.reports.tls {
        return;
    }
    if !shard.tls_results.add(day_of(unix_now()), domain, kind, results) {
        shard.recorder.increment(shard.shared.metrics.limit(Limit::TlsResults));
    }
}

impl Pending {
    /// Adds results; false when some had no room.
    fn add(&self, day: u32, domain: &Domain, kind: Kind, results: Vec<TlsResult>) -> bool {
        // Otherwise two domains that report to each other about DMARC would report on TLS for ever, too.
        let is_reason =
            kind != Kind::DmarcReport || results.iter().any(|result| result.report.failed_sessions > 0);
        let mut rows = self.rows.borrow_mut();
        let mut had_room = true;
        for TlsResult { is_host, report } in results {
            let policy_domain = report.policy_domain.clone();
            let recipient = domain.as_str().into();
            let id = TlsResultId { day, order: Order::ByRecipient, recipient, policy_domain, is_host };
            let is_new = !rows.contains_key(&id);
            if is_new && (rows.len() >= ROWS_MAX || !self.may_be_written(&id)) {
                had_room = false;
                continue;
            }
            let row = rows.entry(id).or_default();
            row.is_reason |= is_reason;
            add(&mut row.policies, report);
        }
        if rows.len() >= ROWS_FULL {
            self.full.notify();
        }
        had_room
    }

    /// Counts a row of a day, if there is room.
    fn may_be_written(&self, id: &TlsResultId) -> bool {
        let mut known = self.known.borrow_mut();
        if known.0 != id.day {
            *known = (id.day, HashSet::new());
        }
        let hash = hash(&keys::tls_result(id));
        known.1.contains(&hash) || (known.1.len() < ROWS_A_DAY_MAX && known.1.insert(hash))
    }
}

/// Writes what was recorded, as long as the server runs.
pub(super) async fn write_from_time_to_time(shard: &Rc<Shard>) {
    let pending = &shard.tls_results;
    let shutdown = shard.shared.shutdown.clone();
    while !shutdown.is_stopping() {
        let seen = pending.full.version();
        let due = async {
            let full = async {
                pending.full.changed(seen).await;
            };
            let stopped = async {
                shutdown.wait().await;
            };
            or(full, stopped).await;
        };
        let _ = timeout(WRITE_EVERY, due).await;
        flush(shard, unix_now()).await;
    }
    loop {
        sleep(WRITE_EVERY_AT_STOP).await;
        flush(shard, unix_now()).await;
    }
}

/// Writes what was recorded, and what somebody else is about to write.
#[cfg(test)]
pub(crate) async fn flush_and_wait(shard: &Rc<Shard>) {
    while shard.tls_results.writing.get() {
        sleep(Duration::from_millis(5)).await;
    }
    flush(shard, unix_now()).await;
}

/// Adds what was recorded to what is in the store. What can't be written is lost.
async fn flush(shard: &Rc<Shard>, now: i64) {
    let pending = &shard.tls_results;
    if pending.writing.get() || pending.rows.borrow().is_empty() {
        return;
    }
    let (day, since_midnight) = (day_of(now), now.rem_euclid(DAY_SECONDS));
    let first = if since_midnight < LATE { day.saturating_sub(1) } else { day };
    let rows = std::mem::take(&mut *pending.rows.borrow_mut());
    let rows: Vec<_> = rows.into_iter().filter(|(id, _)| (first..=day).contains(&id.day)).collect();
    pending.writing.set(true);
    let merged = shard.shared.pool.run_anyway({
        let store = std::sync::Arc::clone(&shard.shared.store);
        move || merge(&store.reader(), rows)
    });
    let written = match merged.await {
        Ok(Ok(batch)) => commit::commit(&shard.shared.committer, batch, Durability::Buffered)
            .await
            .map(drop)
            .map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    pending.writing.set(false);
    if let Err(error) = written {
        debug!(%error, "some results of TLS are lost");
    }
}

/// The batch that adds rows to those of the store.
fn merge(reader: &Reader, rows: Vec<(TlsResultId, TlsResultRow)>) -> Result<Batch, StoreError> {
    let mut batch = Batch::new();
    for (id, row) in rows {
        let mut sum = tls_results::get(reader, &id)?.unwrap_or_default();
        sum.is_reason |= row.is_reason;
        row.policies.into_iter().for_each(|policy| add(&mut sum.policies, policy));
        tls_results::put(&mut batch, &id, &sum);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use postrider_proto::tlsrpt::{PolicyReport, PolicyType};

    use super::*;

    fn result(failed_sessions: u64) -> TlsResult {
        let report = PolicyReport {
            policy_type: PolicyType::NoPolicyFound,
            policy_strings: Vec::new(),
            policy_domain: "mx.example".into(),
            mx_hosts: Vec::new(),
            successful_sessions: 1,
            failed_sessions,
            failures: Vec::new(),
        };
        TlsResult { is_host: true, report }
    }

    #[test]
    fn memory_and_rows_of_a_day_are_bounded() {
        let pending = Pending::default();
        let domain = |number: usize| Domain::parse(&format!("d{number}.example")).unwrap();
        let add = |day, number| pending.add(day, &domain(number), Kind::Ordinary, vec![result(0)]);
        assert!((0..ROWS_MAX).all(|number| add(1, number)));
        assert!(!add(1, ROWS_MAX));
        assert!(add(1, 0), "what has a row is summed");
        for number in ROWS_MAX..ROWS_A_DAY_MAX {
            pending.rows.borrow_mut().clear();
            assert!(add(1, number));
        }
        pending.rows.borrow_mut().clear();
        assert!(!add(1, ROWS_A_DAY_MAX));
        assert!(add(1, 5) && add(2, ROWS_A_DAY_MAX));
    }

    #[test]
    fn reports_on_dmarc_are_a_reason_only_when_something_failed() {
        let domain = Domain::parse("them.example").unwrap();
        for (kind, failed, expected) in
            [(Kind::Ordinary, 0, true), (Kind::DmarcReport, 0, false), (Kind::DmarcReport, 1, true)]
        {
            let pending = Pending::default();
            assert!(pending.add(1, &domain, kind, vec![result(failed)]));
            let rows = pending.rows.borrow();
            let (id, row) = rows.iter().next().unwrap();
            assert_eq!((id.day, &*id.policy_domain, row.is_reason), (1, "mx.example", expected), "{kind:?}");
        }
    }
}
