#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use postrider_proto::tlsrpt::{Failure, PolicyType, ResultType};
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::store::Store;

use super::*;

#[test]
fn rounds_begin_some_minutes_after_midnight() {
    for now in [0, 1, FIRST, DAY_SECONDS - 1] {
        for chance in [0, 1, 119, 120, u64::MAX] {
            let due = next_round(now, chance);
            assert!((DAY_SECONDS + 240..DAY_SECONDS + 360).contains(&due), "{now} {chance}: {due}");
        }
    }
    assert_ne!(next_round(0, 1), next_round(0, 2));
}

#[test]
fn a_clock_that_is_set_back_puts_off_no_round() {
    let due = next_round(1000 * DAY_SECONDS, 7);
    for now in [due - 1, due - 600, due - DAY_SECONDS + 1] {
        assert_eq!(still_due(due, now, 7), due);
    }
    assert_eq!(still_due(due, 10 * DAY_SECONDS, 7), next_round(10 * DAY_SECONDS, 7));
    // One after trouble is sooner, and stays so.
    assert_eq!(still_due(600, 0, 7), 600);
}

fn policy(domain: &str, failed: u64) -> PolicyReport {
    let failures =
        (failed > 0).then(|| Failure { sessions: failed, ..Failure::new(ResultType::StarttlsNotSupported) });
    PolicyReport {
        policy_type: PolicyType::NoPolicyFound,
        policy_strings: Vec::new(),
        policy_domain: domain.into(),
        mx_hosts: Vec::new(),
        successful_sessions: 1,
        failed_sessions: failed,
        failures: failures.into_iter().collect(),
    }
}

fn id(order: Order, recipient: &str, policy_domain: &str) -> TlsResultId {
    let is_host = recipient != policy_domain;
    TlsResultId { day: 1, order, recipient: recipient.into(), policy_domain: policy_domain.into(), is_host }
}

fn store(rows: &[(TlsResultId, TlsResultRow)]) -> Store {
    let store = Store::open(Arc::new(MemoryEngine::new())).unwrap();
    let mut batch = Batch::new();
    rows.iter().for_each(|(id, row)| tls_results::put(&mut batch, id, row));
    store.engine().commit(batch, Durability::Synced).unwrap();
    store
}

fn row(domain: &str, failed: u64, told: &[&str]) -> TlsResultRow {
    let told = told.iter().map(|address| Box::from(*address)).collect();
    TlsResultRow { is_reason: true, told, policies: vec![policy(domain, failed)] }
}

#[test]
fn a_recipient_domain_is_told_of_its_hosts_and_they_are_next() {
    let [own, host] = ["a.example", "mx.example"].map(|of| id(Order::ByRecipient, "a.example", of));
    let rows = [(own, row("a.example", 0, &[])), (host, row("mx.example", 2, &[]))];
    let to = [Box::from("x@a.example"), Box::from("y@a.example")];
    for (to, told) in [(&to[..], &["x@a.example", "y@a.example"][..]), (&[], &[])] {
        let store = store(&rows);
        let summed = sum_up(&store.reader(), (1, Order::ByRecipient, "a.example"), to, false).unwrap();
        let expected = vec![policy("a.example", 0), policy("mx.example", 2)];
        let reports: Vec<_> = (!to.is_empty()).then(|| (vec![0, 1], expected)).into_iter().collect();
        assert_eq!(summed.reports, reports);
        store.engine().commit(summed.done, Durability::Synced).unwrap();
        let left: Vec<_> = tls_results::after(&store.reader(), None).map(Result::unwrap).collect();
        let moved = id(Order::ByPolicy, "a.example", "mx.example");
        assert_eq!(left, [(moved, row("mx.example", 2, told))]);
    }
}

#[test]
fn a_host_is_told_what_its_addresses_have_not_had() {
    let of = |recipient| id(Order::ByPolicy, recipient, "mx.example");
    let rows = [
        (of("a.example"), row("mx.example", 1, &["x@a.example"])),
        (of("b.example"), row("mx.example", 2, &[])),
        (of("c.example"), row("mx.example", 0, &["x@a.example", "z@a.example"])),
    ];
    let store = store(&rows);
    let to = ["x@a.example", "y@a.example", "z@a.example", "v@a.example"].map(Box::from);
    let about = (1, Order::ByPolicy, "mx.example");
    let summed = sum_up(&store.reader(), about, &to, false).unwrap();
    let sum = |good, failed| PolicyReport { successful_sessions: good, ..policy("mx.example", failed) };
    let expected =
        vec![(vec![0], vec![sum(1, 2)]), (vec![1, 3], vec![sum(3, 3)]), (vec![2], vec![sum(2, 3)])];
    assert_eq!(summed.reports, expected);
    // After the first report the process may die: nobody gets what it has had.
    let batch = tell(&store.reader(), about, &to[..1]).unwrap();
    store.engine().commit(batch, Durability::Synced).unwrap();
    let again = sum_up(&store.reader(), about, &to, false).unwrap();
    assert_eq!(again.reports, expected[1..]);
    store.engine().commit(again.done, Durability::Synced).unwrap();
    assert_eq!(tls_results::first_day(&store.reader(), 0).unwrap(), None);
}

#[test]
fn nothing_that_failed_is_no_reason_unless_asked_for() {
    let own = id(Order::ByRecipient, "a.example", "a.example");
    let quiet = TlsResultRow { is_reason: false, ..row("a.example", 1, &[]) };
    let to = [Box::from("x@a.example")];
    for (row, always, expected) in [
        (row("a.example", 0, &[]), false, 0),
        (row("a.example", 0, &[]), true, 1),
        (row("a.example", 1, &[]), false, 1),
        (quiet.clone(), false, 0),
        (quiet, true, 0),
    ] {
        let store = store(&[(own.clone(), row)]);
        let summed = sum_up(&store.reader(), (1, Order::ByRecipient, "a.example"), &to, always).unwrap();
        assert_eq!(summed.reports.len(), expected);
        assert_eq!(summed.done.len(), 1);
    }
}
