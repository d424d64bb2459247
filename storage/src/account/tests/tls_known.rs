use super::*;
use crate::account::{tls_known, tls_known_list};
use crate::rows::{MtaStsSeen, TlsKnownRow};
use crate::store::Refusal;

#[test]
fn what_is_known_of_a_domain_is_the_last_word_and_is_forgotten_when_it_is_old() {
    let limits = Limits { messages_max: 2, ..Limits::default() };
    let mut world = World::with_limits(limits);
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

    let (swept, next) = world.run(|tx| tx.forget_tls_known("", 25)).unwrap().0;
    assert_eq!((swept.rows, swept.more, next.as_deref()), (2, true, Some("c.example")));
    let (swept, next) = world.run(|tx| tx.forget_tls_known("c.example", 25)).unwrap().0;
    assert_eq!((swept.rows, swept.more, next), (1, false, None));
    assert_eq!(list(&world, "", 9), ["a.example", "c.example"]);
    for bad in [String::new(), "x".repeat(256)] {
        assert_eq!(world.refused(|tx| tx.note_tls_known(&bad, row(1))), Some(Refusal::TextTooLong));
    }
}
