#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::directory::ReportKinds;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Durability, Engine};
use crate::rows::ReportProof;
use crate::store::Store;
use crate::verify;

fn row(kind: ReportKind, number: u8) -> ReportRow {
    ReportRow {
        kind,
        proof: ReportProof::Dkim,
        received: 1000 + i64::from(number),
        begin: 1,
        end: 2,
        total: 5,
        failed: 1,
        quarantined: 0,
        rejected: 0,
        entries: 1,
        left_out: 0,
        text_octets: 4,
        digest: [number; 16],
        organization: "Them".into(),
        submitter: "them.example".into(),
        report_id: number.to_string().into(),
        policy_domain: "us.example".into(),
    }
}

struct World(Arc<dyn Engine>, Store);

impl World {
    fn new() -> Self {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        let store = Store::open(Arc::clone(&engine)).unwrap();
        Self(engine, store)
    }

    fn commit(&self, batch: Batch) {
        self.0.commit(batch, Durability::Synced).unwrap();
    }

    fn add(&self, domain: &str, id: u64, kind: ReportKind) {
        let mut batch = Batch::new();
        add(&mut batch, domain, ReportId(id), &row(kind, id as u8), b"gzip").unwrap();
        self.commit(batch);
    }

    fn ids(&self, filter: &Filter, max: usize) -> (Vec<u64>, Option<u64>) {
        let page = list(&self.1.reader(), filter, max).unwrap();
        (page.reports.iter().map(|listed| listed.id.0).collect(), page.next.map(|next| next.0))
    }

    fn violations(&self) -> Vec<String> {
        let report = verify::verify(self.1.reader(), None, &mut |_| {}).unwrap();
        report.violations.iter().map(ToString::to_string).collect()
    }
}

fn all() -> Filter {
    Filter { domain: None, kind: None, from: ReportId(0), before: ReportId(u64::MAX) }
}

#[test]
fn reports_are_found_by_domain_kind_and_time() {
    use ReportKind::{Dmarc, Tls};
    let world = World::new();
    for (domain, id, kind) in [
        ("a.example", 1, Dmarc),
        ("b.example", 2, Dmarc),
        ("a.example", 3, Tls),
        ("a.example.org", 4, Tls),
        ("a.example", 9, Dmarc),
    ] {
        world.add(domain, id, kind);
    }
    let of = |domain: &str| Filter { domain: Some(domain.into()), ..all() };
    for (filter, max, expected, next) in [
        (all(), 100, &[1, 2, 3, 4, 9][..], None),
        (all(), 2, &[1, 2], Some(3)),
        (Filter { from: ReportId(3), ..all() }, 2, &[3, 4], Some(9)),
        (Filter { before: ReportId(3), ..all() }, 100, &[1, 2], None),
        (Filter { kind: Some(Tls), ..all() }, 100, &[3, 4], None),
        (of("a.example"), 100, &[1, 3, 9], None),
        (of("a.example"), 1, &[1], Some(3)),
        (Filter { kind: Some(Dmarc), from: ReportId(2), ..of("a.example") }, 100, &[9], None),
        (Filter { from: ReportId(2), before: ReportId(9), ..of("a.example") }, 100, &[3], None),
        (Filter { from: ReportId(9), before: ReportId(2), ..of("a.example") }, 100, &[], None),
        (of("example"), 100, &[], None),
    ] {
        assert_eq!(world.ids(&filter, max), (expected.to_vec(), next), "{filter:?}");
    }
    let reader = world.1.reader();
    let (listed, text) = get(&reader, ReportId(3)).unwrap().unwrap();
    assert_eq!((listed.domain.as_str(), listed.row, &*text), ("a.example", row(Tls, 3), &b"gzip"[..]));
    assert_eq!(get(&reader, ReportId(5)).unwrap(), None);
    assert_eq!(known(&reader, &[9; 16]).unwrap(), Some(ReportId(9)));
    assert_eq!(known(&reader, &[8; 16]).unwrap(), None);
    assert_eq!(world.violations(), [""; 0]);
}

#[test]
fn the_oldest_go_first_with_all_that_is_theirs() {
    let world = World::new();
    for id in 1..=6 {
        world.add(if id % 2 == 0 { "a.example" } else { "b.example" }, id, ReportKind::Dmarc);
    }
    for (max, removed, left) in [(2, 2, &[3, 4, 5, 6][..]), (10, 2, &[5, 6]), (10, 0, &[5, 6])] {
        let (batch, count) = remove_before(&world.1.reader(), ReportId(5), max).unwrap();
        world.commit(batch);
        assert_eq!((count, world.ids(&all(), 100).0.as_slice()), (removed, left));
        assert_eq!(world.violations(), [""; 0]);
    }
    assert_eq!(known(&world.1.reader(), &[1; 16]).unwrap(), None);
    assert!(ReportId::first_at(10) < ReportId::first_at(11));
}

#[test]
fn messages_to_read_wait_in_their_order() {
    let world = World::new();
    let mut batch = Batch::new();
    let kinds = ReportKinds { dmarc: true, tls: false };
    let row = ReportTodoRow {
        kinds,
        received: 7,
        dmarc: true,
        submitted: false,
        from: "them.example".into(),
        spf: "".into(),
        signers: "them.example mail.them.example".into(),
        tls_signers: "".into(),
    };
    for blob in [5, 9] {
        add_todo(&mut batch, BlobId(blob), &row).unwrap();
    }
    world.commit(batch);
    let next = |from| todo(&world.1.reader(), BlobId(from)).unwrap();
    assert_eq!(next(0), Some((BlobId(5), Some(row.clone()))));
    assert_eq!(next(6), Some((BlobId(9), Some(row.clone()))));
    assert_eq!(next(10), None);
    assert_eq!(world.violations(), [""; 0]);
    let mut batch = Batch::new();
    remove_todo(&mut batch, BlobId(5));
    world.commit(batch);
    assert_eq!(next(0), Some((BlobId(9), Some(row.clone()))));
    let long = ReportTodoRow { signers: "x".repeat(ReportTodoRow::TEXT_OCTETS_MAX + 1).into(), ..row };
    assert!(add_todo(&mut Batch::new(), BlobId(1), &long).is_err());
    // One that is damaged holds up nobody.
    let mut batch = Batch::new();
    batch.insert(Space::Rows, keys::report_todo(BlobId(9)), b"?".to_vec());
    world.commit(batch);
    assert_eq!(next(0), Some((BlobId(9), None)));
    assert_eq!(world.violations().len(), 1);
}

#[test]
fn rows_without_their_others_are_found() {
    let removed = |key: fn() -> keys::Key| {
        let world = World::new();
        world.add("a.example", 1, ReportKind::Tls);
        let mut batch = Batch::new();
        batch.remove(Space::Rows, key());
        world.commit(batch);
        world.violations()
    };
    for key in [
        || keys::report("a.example", ReportId(1)),
        || keys::report_text(ReportId(1)),
        || keys::report_known(&[1; 16]),
    ] as [fn() -> keys::Key; 3]
    {
        assert!(!removed(key).is_empty(), "{:?}", key());
    }
}

#[test]
fn one_that_is_damaged_hides_and_keeps_no_others() {
    let world = World::new();
    for id in 1..=3 {
        world.add("a.example", id, ReportKind::Dmarc);
    }
    let mut batch = Batch::new();
    batch.insert(Space::Rows, keys::report("a.example", ReportId(2)), b"?".to_vec());
    world.commit(batch);
    for domain in [None, Some("a.example".to_owned())] {
        let page = list(&world.1.reader(), &Filter { domain, ..all() }, 100).unwrap();
        let ids: Vec<u64> = page.reports.iter().map(|listed| listed.id.0).collect();
        assert_eq!((ids, page.rows, page.damaged), (vec![1, 3], 3, 1));
    }
    assert!(get(&world.1.reader(), ReportId(2)).is_err());
    let (batch, count) = remove_before(&world.1.reader(), ReportId(3), 10).unwrap();
    world.commit(batch);
    assert_eq!((count, world.ids(&all(), 100).0), (2, vec![3]));
    let page = list(&world.1.reader(), &Filter { domain: Some("a.example".into()), ..all() }, 100).unwrap();
    assert_eq!((page.rows, page.damaged), (1, 0));
}
