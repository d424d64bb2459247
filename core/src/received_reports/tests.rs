//! Rows and documents, with a store in memory. What comes by mail is tested with SMTP.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use postrider_proto::dmarc::report::Disposition;
use postrider_proto::reports::Report;
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::engine::{Batch, Durability, Engine};
use postrider_storage::ids::ReportId;
use postrider_storage::reports::{self as stored, Filter, TEXT_OCTETS_MAX};
use postrider_storage::rows::{ReportProof, ReportRow, ReportTodoRow};
use postrider_storage::store::Store;

use super::judge::tests::{KEEP, on_mail, on_tls, policy, record, todo};
use super::room::Room;
use super::summary::{Summary, document, summarise};
use super::{judge, trim};

fn judged(report: Report, proof: ReportProof) -> (ReportRow, Report) {
    let todo = ReportTodoRow { dmarc: true, signers: "them.example".into(), ..todo() };
    let judged = judge::judge(report, &todo, KEEP, |_| Ok(Some("us.example".into()))).unwrap();
    let Ok(mut judged) = judged else { panic!() };
    let judge::Judged { mut row, report, .. } = judged.remove(0);
    row.proof = proof;
    (row, report)
}

struct World {
    engine: Arc<dyn Engine>,
    store: Store,
}

impl World {
    fn new() -> Self {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        let store = Store::open(Arc::clone(&engine)).unwrap();
        Self { engine, store }
    }

    /// Stores a report, as number so and so.
    fn add(&self, number: u64, report: Report, proof: ReportProof) -> ReportRow {
        let (mut row, report) = judged(report, proof);
        row.digest = [number as u8; 16];
        let (text, _) = trim::fit(report, &mut row);
        row.text_octets = text.len() as u32;
        let mut batch = Batch::new();
        stored::add(&mut batch, "us.example", ReportId(number), &row, &text).unwrap();
        self.engine.commit(batch, Durability::Synced).unwrap();
        row
    }
}

#[test]
fn documents_have_what_counts_most() {
    let few: Vec<_> = (1..=5).map(|count| record(count, true, Disposition::None)).collect();
    let (mut row, report) = judged(on_mail("us.example", few), ReportProof::Dmarc);
    let (text, same) = trim::fit(report.clone(), &mut row);
    assert_eq!((row.left_out, &same), (0, &report));
    assert_eq!(document(row.kind, &text), Some(report));
    // The smallest go; the others stay in their order.
    let many: Vec<_> = (0..10_000).map(|count| record(count % 5000, false, Disposition::None)).collect();
    let (mut row, report) = judged(on_mail("us.example", many), ReportProof::Dmarc);
    let (text, cut) = trim::fit(report, &mut row);
    assert!(text.len() <= TEXT_OCTETS_MAX);
    let Report::Dmarc(cut) = cut else { panic!() };
    assert_eq!((row.left_out, row.entries, cut.records.len()), (8000, 10_000, 2000));
    assert!(cut.records.iter().all(|record| record.count >= 4000));
    assert!(cut.records.windows(2).all(|pair| pair[0].count < pair[1].count || pair[0].count == 4999));
    assert_eq!(row.total, (0..10_000).map(|count| count % 5000).sum::<u64>(), "sums are of all");
    // Texts that don't compress take less of them.
    let noise = |number: u64| {
        let text: String = (0..30)
            .map(|part| format!("{:x}", (number * 31 + part).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        let mut record = record(1, false, Disposition::None);
        record.header_from = text.into();
        record
    };
    let (mut row, report) = judged(on_mail("us.example", (0..2000).map(noise).collect()), ReportProof::Dmarc);
    let (text, _) = trim::fit(report, &mut row);
    assert!(text.len() <= TEXT_OCTETS_MAX && row.left_out >= 1000, "{} {}", text.len(), row.left_out);
    let failures: Vec<u64> = (0..3000).collect();
    let (mut row, report) = judged(on_tls(None, vec![policy("us.example", 1, &failures)]), ReportProof::Dkim);
    let (text, _) = trim::fit(report, &mut row);
    let Some(Report::Tls(report)) = document(row.kind, &text) else { panic!() };
    assert_eq!((row.left_out, report.policies[0].failures.len()), (1000, 2000));
    assert_eq!(report.policies[0].failed_sessions, row.failed);
}

#[test]
fn documents_are_read_again_whatever_they_expand_to() {
    // Little in gzip, and each sign is five in XML.
    let text: Box<str> = "&".repeat(1024).into();
    let expanding = |_| {
        let mut record = record(1, false, Disposition::None);
        (record.header_from, record.envelope_from) = (text.clone(), Some(text.clone()));
        record
    };
    let report = on_mail("us.example", (0..2000).map(expanding).collect());
    let (mut row, report) = judged(report, ReportProof::Dmarc);
    let (text, kept) = trim::fit(report, &mut row);
    assert_eq!(document(row.kind, &text), Some(kept));
    assert!((1000..2000).contains(&row.left_out), "{}", row.left_out);
    let wide = || {
        let mut policy = policy("us.example", 1, &vec![1; 2000]);
        for failure in &mut policy.failures {
            failure.reason_code = Some("x".repeat(1024).into());
        }
        policy
    };
    let (mut row, report) = judged(on_tls(None, (0..20).map(|_| wide()).collect()), ReportProof::Dkim);
    let (text, kept) = trim::fit(report, &mut row);
    assert_eq!(document(row.kind, &text), Some(kept));
    assert!(row.left_out > 0);
}

#[test]
fn a_day_has_room_for_so_many_of_each() {
    const DAY: i64 = 24 * 60 * 60;
    let world = World::new();
    let reader = world.store.reader();
    let now = 20_000 * DAY;
    let mut room = Room::default();
    let row = |proof, submitter: &str, octets| {
        let (row, _) = judged(on_mail("us.example", vec![]), proof);
        ReportRow { submitter: submitter.into(), text_octets: octets, ..row }
    };
    let mut take = |row: &ReportRow, now| room.take(&reader, "us.example", row, now).unwrap();
    let forged = row(ReportProof::Nothing, "them.example", 10);
    assert!((0..100).all(|_| take(&forged, now)));
    assert!(!take(&forged, now), "as many as may be forged");
    let real = row(ReportProof::Dmarc, "them.example", 10);
    assert!((0..100).all(|_| take(&real, now)), "which takes no room from those that are confirmed");
    assert!(!take(&real, now), "one submitter has a part of it");
    let below = row(ReportProof::Dkim, "more.them.example", 10);
    assert!(!take(&below, now), "however many names it has");
    let mut count = 100;
    while take(&row(ReportProof::Dkim, &format!("{}.example", count / 100), 10), now) {
        count += 1;
    }
    assert_eq!(count, 2000);
    assert!(take(&forged, now + DAY), "another day");
    // Octets count as well.
    let large = row(ReportProof::Spf, "large.example", 16 << 20);
    let mut fresh = Room::default();
    let taken = (0..100).take_while(|_| fresh.take(&reader, "us.example", &large, now).unwrap()).count();
    assert_eq!(taken, 4);
    // What was not stored is given back, and what was is counted from the store.
    fresh.give_back();
    assert!(fresh.take(&reader, "us.example", &large, now).unwrap());
}

#[test]
fn what_is_stored_counts_for_its_day() {
    const DAY: i64 = 24 * 60 * 60;
    let world = World::new();
    let now = 20_000 * DAY;
    let first = ReportId::first_at(now).0;
    for number in 0..100 {
        world.add(first + number, on_mail("us.example", vec![]), ReportProof::Nothing);
    }
    let reader = world.store.reader();
    let (row, _) = judged(on_mail("us.example", vec![]), ReportProof::Nothing);
    let mut room = Room::default();
    assert!(!room.take(&reader, "us.example", &row, now + 5).unwrap());
    assert!(room.take(&reader, "second.example", &row, now + 5).unwrap());
    assert!(room.take(&reader, "us.example", &row, now + DAY).unwrap());
    // One that is damaged isn't counted, and doesn't keep others away.
    let mut batch = Batch::new();
    let key = postrider_storage::keys::report("us.example", ReportId(first));
    batch.insert(postrider_storage::engine::Space::Rows, key, b"?".to_vec());
    world.engine.commit(batch, Durability::Synced).unwrap();
    assert!(Room::default().take(&world.store.reader(), "us.example", &row, now + 5).unwrap());
}

#[test]
fn sums_are_made_page_by_page() {
    let world = World::new();
    let mut expected = 0;
    for number in 1..=50 {
        let proof = if number % 10 == 0 { ReportProof::Nothing } else { ReportProof::Dmarc };
        let report = on_mail("us.example", vec![record(number, number % 2 == 0, Disposition::None)]);
        world.add(number, report, proof);
        expected += if number % 10 == 0 { 0 } else { number };
    }
    world.add(51, on_tls(None, vec![policy("us.example", 5, &[2, 3])]), ReportProof::Dkim);
    let reader = world.store.reader();
    let domain = Some("us.example".to_owned());
    let mut filter = Some(Filter { domain, kind: None, from: ReportId(0), before: ReportId(u64::MAX) });
    let (mut summary, mut steps) = (Summary::default(), 0);
    while let Some(asked) = filter {
        filter = summarise(&reader, &asked, &mut summary).unwrap().0;
        steps += 1;
    }
    let (dmarc, tls) = summary.finish();
    assert_eq!(steps, 3);
    assert_eq!((dmarc.reports, dmarc.unconfirmed, dmarc.messages), (45, 5, expected));
    assert_eq!(dmarc.sources.len(), 1);
    assert_eq!((dmarc.sources[0].messages, dmarc.failed), (expected, (1..50).step_by(2).sum::<u64>()));
    assert_eq!((tls.reports, tls.successful, tls.failed), (1, 5, 5));
    let told: Vec<_> = tls.failures.iter().map(|one| (one.sessions, &*one.reason)).collect();
    assert_eq!(told, [(3, "reason 3"), (2, "reason 2")]);
}

#[test]
fn a_step_of_a_sum_reads_so_much() {
    let world = World::new();
    let text: Box<str> = "x".repeat(1000).into();
    let record = || {
        let mut record = record(1, false, Disposition::None);
        record.header_from = text.clone();
        record
    };
    for number in 1..=5 {
        let records = (0..1500).map(|_| record()).collect();
        world.add(number, on_mail("us.example", records), ReportProof::Dmarc);
    }
    let reader = world.store.reader();
    let domain = Some("us.example".to_owned());
    let mut filter = Some(Filter { domain, kind: None, from: ReportId(0), before: ReportId(u64::MAX) });
    let (mut summary, mut steps) = (Summary::default(), Vec::new());
    while let Some(asked) = filter {
        let (rest, looked) = summarise(&reader, &asked, &mut summary).unwrap();
        steps.push(looked);
        filter = rest;
    }
    assert_eq!(steps, [3, 2]);
    assert_eq!(summary.finish().0.messages, 5 * 1500);
}

#[test]
fn what_is_told_of_hostile_reports_fits_into_an_answer() {
    use crate::control::protocol::{ANSWER_OCTETS_MAX, ReportSummary};
    let mut summary = Summary::default();
    let world = World::new();
    let text = "\"".repeat(1024);
    let records = (0..200u32).map(|number| {
        let mut record = record(1, false, Disposition::None);
        record.source = Some(std::net::Ipv4Addr::from(number).into());
        record.dkim_results = (0..10)
            .map(|other| postrider_proto::dmarc::report::DkimResult {
                domain: format!("{other}{text}").into(),
                selector: None,
                result: postrider_proto::dmarc::report::AuthResult::Pass,
                human_result: None,
            })
            .collect();
        record
    });
    world.add(1, on_mail("us.example", records.collect()), ReportProof::Dmarc);
    let mut failing = policy("us.example", 1, &(1..=200).collect::<Vec<_>>());
    for failure in &mut failing.failures {
        failure.reason_code = Some(format!("{}{text}", failure.sessions).into());
        failure.receiving_mx_hostname = Some(text.as_str().into());
    }
    world.add(2, on_tls(None, vec![failing]), ReportProof::Dkim);
    let domain = Some("us.example".to_owned());
    let filter = Filter { domain, kind: None, from: ReportId(0), before: ReportId(u64::MAX) };
    summarise(&world.store.reader(), &filter, &mut summary).unwrap();
    let (dmarc, tls) = summary.finish();
    assert_eq!((dmarc.sources.len(), dmarc.sources_left_out), (100, 100));
    assert_eq!((tls.failures.len(), tls.failures_left_out), (100, 100));
    let whole = ReportSummary { domain: "us.example".into(), since: 0, until: 0, dmarc, tls };
    assert!(serde_json::to_vec(&whole).unwrap().len() < ANSWER_OCTETS_MAX / 2);
}
