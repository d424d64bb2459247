use super::*;
use crate::account::{has_old_tls_known, tls_known, tls_known_list};
use crate::engine::{Batch, Space};
use crate::keys::{self, table};
use crate::rows::{MtaStsSeen, TlsKnownRow};
use crate::store::Refusal;

#[test]
fn what_is_known_of_a_domain_is_the_last_word() {
    let mut world = World::new();
    let id = world.account.id();
    let row = |updated| TlsKnownRow {
        updated,
        starttls: true,
        mta_sts: MtaStsSeen::Testing,
        ..TlsKnownRow::default()
    };
    let modseq = world.account.head().unwrap().modseq;
    for (domain, updated) in [("c.example", 30), ("a.example", 10), ("b.example", 20), ("a.example", 40)] {
        world.run(|tx| tx.note_tls_known(domain, row(updated))).unwrap();
    }
    assert_eq!(world.account.head().unwrap().modseq, modseq, "no session sees it");
    world.verify();
    assert_eq!(tls_known(&world.store.reader(), id, "a.example").unwrap(), Some(row(40)));
    assert_eq!(tls_known(&world.store.reader(), id, "example").unwrap(), None);
    let list = |world: &World, from: &str, count_max| {
        let found = tls_known_list(&world.store.reader(), id, from, count_max).unwrap();
        found.into_iter().map(|known| known.domain).collect::<Vec<_>>()
    };
    assert_eq!(list(&world, "", 2), ["a.example", "b.example"]);
    assert_eq!(list(&world, "b", 9), ["b.example", "c.example"]);

    for bad in [String::new(), "x".repeat(256)] {
        assert_eq!(world.refused(|tx| tx.note_tls_known(&bad, row(1))), Some(Refusal::TextTooLong));
    }
}

#[test]
fn what_is_old_is_forgotten_without_a_look_at_the_rest() {
    const PERIOD: i64 = TlsKnownRow::PERIOD;
    let limits = Limits { messages_max: 2, ..Limits::default() };
    let mut world = World::with_limits(limits);
    let id = world.account.id();
    let note = |world: &mut World, domain: &str, updated| {
        world.run(|tx| tx.note_tls_known(domain, TlsKnownRow { updated, ..TlsKnownRow::default() })).unwrap();
    };
    let ages = |world: &World| world.store.reader().prefix(&keys::of_table(id.get(), table::TLSAGE)).count();
    let has_old = |world: &World, time| has_old_tls_known(&world.store.reader(), id, time).unwrap();
    let domains = |world: &World| {
        let found = tls_known_list(&world.store.reader(), id, "", 99).unwrap();
        found.into_iter().map(|known| known.domain).collect::<Vec<_>>().join(" ")
    };
    let forget = |world: &mut World, time| {
        let (swept, gone) = world.run(|tx| tx.forget_tls_known(time)).unwrap().0;
        (swept.rows, swept.more, gone.join(" "))
    };
    assert!(!has_old(&world, i64::MAX));
    for (domain, period) in [("d", 3), ("b", 1), ("a", 1), ("c", 2), ("e", 1), ("before-1970", -5), ("f", 1)]
    {
        note(&mut world, domain, period * PERIOD + 7);
    }
    // Renewed in the same period, in another one, and by a clock that went back.
    for updated in [PERIOD, 3 * PERIOD - 1, 2 * PERIOD, 2 * PERIOD + 1] {
        note(&mut world, "b", updated);
    }
    assert_eq!(ages(&world), 7, "one for each");
    world.verify();

    assert!(!has_old(&world, PERIOD - 1) && has_old(&world, PERIOD));
    assert_eq!(forget(&mut world, PERIOD - 1), (0, false, String::new()));
    assert_eq!(forget(&mut world, 2 * PERIOD - 1), (1, false, "before-1970".to_owned()));
    assert_eq!(forget(&mut world, 2 * PERIOD), (2, true, "a e".to_owned()));
    // One that is renewed between two steps stays.
    note(&mut world, "f", 9 * PERIOD);
    assert_eq!(forget(&mut world, 2 * PERIOD), (0, false, String::new()));
    assert_eq!((domains(&world).as_str(), ages(&world)), ("b c d f", 4));
    world.verify();

    // What is damaged goes, too, and where it was noted doesn't take a newer row along.
    let mut batch = Batch::new();
    batch.insert(Space::Rows, keys::tls_known(id, "b"), b"?".as_slice());
    batch.insert(Space::Rows, keys::tls_known(id, "c"), b"?".as_slice());
    world.engine.commit(batch, Durability::Synced).unwrap();
    note(&mut world, "c", 9 * PERIOD);
    assert_eq!(forget(&mut world, 3 * PERIOD), (2, true, "b".to_owned()));
    assert_eq!(forget(&mut world, 3 * PERIOD), (0, false, String::new()));
    assert_eq!((domains(&world).as_str(), ages(&world)), ("c d f", 3));
    world.verify();
    assert_eq!(forget(&mut world, i64::MAX).2, "d c");
    assert_eq!(forget(&mut world, i64::MAX).2, "f");
    assert_eq!((domains(&world).as_str(), ages(&world)), ("", 0));
}
