use super::*;
use crate::blobs;
use crate::rows::{Held, Retirement};

#[test]
fn a_claim_backs_off_and_nothing_is_claimed_twice() {
    let world = World::new();
    let id = world.send(&["r@one.example", "s@one.example"])[0];
    let domain = domain_hash("one.example");
    assert_eq!(due(&world.reader(), Scheduled::start(domain), 99, 10).unwrap().entries, []);
    let place = Scheduled { domain, due: 100, id };
    assert_eq!(due(&world.reader(), Scheduled::start(domain), 100, 10).unwrap().entries, [place]);
    let claimed = world.claim(id, 1000);
    assert_eq!((claimed.entry.attempts, claimed.entry.last_attempt, claimed.entry.due), (1, 1000, 1450));
    assert_eq!(claimed.entry, world.entry(id));
    assert_eq!(claimed.recipients.len(), 2);
    let again = Attempt { now: 2000, next: 3000 };
    assert!(claim(&world.reader(), id, again).unwrap().is_none());
    assert_eq!(first(&world.reader(), Scheduled::start(domain)).unwrap(), None, "an attempt is under way");
    assert_eq!(world.entry(id).scheduled(), UNDERWAY);

    let (edit, place) = unclaim(&world.reader(), id, 1100).unwrap().unwrap();
    assert_eq!((edit.delta, place.due), (Delta::default(), 1100));
    world.commit(edit.batch);
    assert_eq!((world.entry(id).attempts, world.entry(id).claimed), (0, false));
    assert_eq!(first(&world.reader(), Scheduled::start(domain)).unwrap(), Some(place));
    assert_eq!(first(&world.reader(), place).unwrap(), Some(place), "at the place itself");
    let behind = Scheduled { id: QueueId(id.0 + 1), ..place };
    assert_eq!(first(&world.reader(), behind).unwrap(), None);
    assert_eq!(due(&world.reader(), behind, 2000, 10).unwrap().entries, []);
    assert!(unclaim(&world.reader(), id, 1100).unwrap().is_none());

    world.change(id, Chosen::All, &Change::Hold(Held::Operator));
    assert!(claim(&world.reader(), id, again).unwrap().is_none(), "held");
    assert_eq!(
        due(&world.reader(), Scheduled::start(domain), i64::MAX, 10).unwrap().entries,
        [],
        "what is held is never due"
    );
    assert!(claim(&world.reader(), QueueId(1), again).unwrap().is_none(), "gone");
}

#[test]
fn each_recipient_has_its_own_outcome_and_the_last_takes_the_entry_with_it() {
    let world = World::new();
    let id = world.send(&["r@one.example", "s@one.example", "t@one.example"])[0];
    world.claim(id, 1000);
    let (fine, wait, bad) = (said(1001, 250, "ok"), said(1001, 451, "later"), said(1001, 550, "no"));
    let mut outcome_of = Outcome {
        attempt: 1,
        now: 1001,
        due: 1900,
        recipients: vec![
            (0, Fate::Delivered(fine.clone())),
            (1, Fate::Failed(bad.clone(), Consequence::None)),
            (1, Fate::Delivered(fine.clone())),
            (2, Fate::Waits(wait.clone())),
            (9, Fate::Delivered(fine)),
        ],
        dialed: vec!["192.0.2.1".parse().unwrap()],
        error: Some(wait.clone()),
        delay_reported: true,
        retired_until: Some(5000),
    };
    let concluded = outcome(&world.reader(), id, &outcome_of).unwrap().unwrap();
    assert_eq!(concluded.edit.delta, Delta { entries: 0, recipients: -2, held: 0 });
    let concluded = world.outcome(id, &outcome_of);
    assert_eq!(concluded.left.unwrap().due, 1900);
    let row = world.entry(id);
    assert_eq!((row.waiting, row.recipients, row.claimed, row.delay_reported), (1, 3, false, true));
    assert_eq!((row.last_error.as_ref(), row.dialed.len()), (Some(&wait), 1));
    assert_eq!(recipient(&world.reader(), id, 2).unwrap().unwrap().result, Some(wait.clone()));
    let ended = retired(&world.reader(), &of(Some(3)), None, Bounds::default()).unwrap().recipients;
    let facts: Vec<_> = ended.iter().map(|ended| (ended.number, ended.row.retirement)).collect();
    assert_eq!(facts, [(1, Retirement::Failed), (0, Retirement::Delivered)], "the first word counts");
    assert_eq!(ended[0].row.result, Some(bad.clone()));

    world.claim(id, 2000);
    outcome_of.recipients = vec![(2, Fate::Failed(bad, Consequence::None))];
    outcome_of.retired_until = None;
    assert!(outcome(&world.reader(), id, &outcome_of).unwrap().is_none(), "of the attempt before");
    let concluded = world.outcome(id, &outcome_of);
    assert_eq!(concluded.left, None);
    assert!(world.is_gone(id));
    assert!(outcome(&world.reader(), id, &outcome_of).unwrap().is_none());
    assert_eq!(retired(&world.reader(), &of(None), None, Bounds::default()).unwrap().recipients.len(), 2);
}

#[test]
fn an_outcome_without_word_of_a_recipient_lets_it_wait() {
    let world = World::new();
    let id = world.send(&["r@one.example"])[0];
    world.claim(id, 1000);
    world.outcome(id, &Outcome { now: 1001, due: 1500, ..Outcome::default() });
    let row = world.entry(id);
    assert_eq!((row.attempts, row.waiting, row.due, row.claimed), (1, 1, 1500, false));
}

/// When it isn't known whether an outcome was written, it is written again.
#[test]
fn an_outcome_counts_once() {
    let world = World::new();
    let id = world.send(&["r@one.example", "s@one.example"])[0];
    let failed = |attempt| Outcome {
        attempt,
        now: 1001,
        due: 1500,
        recipients: vec![(0, Fate::Failed(said(1001, 550, "no"), Consequence::None))],
        ..Outcome::default()
    };
    // As if the claim had been lost, which isn't synced.
    assert!(outcome(&world.reader(), id, &failed(1)).unwrap().is_some());
    world.claim(id, 1000);
    world.outcome(id, &failed(1));
    assert!(outcome(&world.reader(), id, &failed(1)).unwrap().is_none(), "it is written");
    world.claim(id, 2000);
    assert!(outcome(&world.reader(), id, &failed(1)).unwrap().is_none(), "another attempt is under way");
    assert!(outcome(&world.reader(), id, &failed(2)).unwrap().is_some());
}

/// However much is kept of it for programs, and however many recipients it has.
#[test]
fn the_outcome_of_the_largest_message_fits_a_batch() {
    let world = World::new();
    let addresses: Vec<_> = (0..RECIPIENTS_MAX).map(|number| format!("r{number}@one.example")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let text: String = "x".repeat(QueueMeta::TEXT_OCTETS_MAX);
    let extra = vec![("key".into(), "x".repeat(QueueMeta::EXTRA_OCTETS_MAX - 3).into())];
    let meta =
        QueueMeta { subject: text.clone().into(), message_id: text.into(), extra, ..QueueMeta::default() };
    let message = NewQueued { meta: Some(meta), ..message(world.content(), &addresses) };
    let id = world.enqueue(message)[0].id;
    world.claim(id, 1000);
    let failed = Fate::Failed(said(1001, 550, &"x".repeat(2000)), Consequence::Strike);
    let recipients = (0..RECIPIENTS_MAX as u32).map(|number| (number, failed.clone())).collect();
    world.outcome(id, &Outcome { now: 1001, recipients, retired_until: Some(5000), ..Outcome::default() });
    assert!(world.is_gone(id));
    let all = Bounds { entries_max: RECIPIENTS_MAX, rows_max: usize::MAX };
    assert_eq!(retired(&world.reader(), &of(None), None, all).unwrap().recipients.len(), RECIPIENTS_MAX);
}

#[test]
fn attempts_that_were_cut_off_are_found_without_reading_the_queue() {
    let world = World::new();
    let ids: Vec<_> = (0..5).flat_map(|number| world.send(&[&format!("r@d{number}.example")])).collect();
    for id in &ids[1..4] {
        world.claim(*id, 1000);
    }
    world.change(ids[2], Chosen::All, &Change::Hold(Held::Operator));
    let (mut found, mut from) = (Vec::new(), Some(QueueId(0)));
    while let Some(next) = from {
        let released = release_claims(&world.reader(), next, 2).unwrap();
        world.commit(released.edit.batch);
        assert!(released.damaged.is_empty());
        found.extend(released.entries);
        from = released.next;
    }
    assert_eq!(found, [(ids[1], 1), (ids[2], 1), (ids[3], 1)]);
    let places: Vec<_> = ids[1..4].iter().map(|id| world.entry(*id).scheduled()).collect();
    assert_eq!(places, [1450, i64::MAX, 1450]);
    let rows: Vec<_> = ids.iter().map(|id| world.entry(*id)).collect();
    assert!(rows.iter().all(|row| !row.claimed));
    assert_eq!(rows.iter().map(|row| row.attempts).collect::<Vec<_>>(), [0, 1, 1, 1, 0]);
}

#[test]
fn an_attempt_that_ended_without_an_outcome_counts_and_may_be_held() {
    let world = World::new();
    let id = world.send(&["r@one.example"])[0];
    let cut = |held| cut_off(&world.reader(), id, held, said(1001, 0, "broke")).unwrap();
    assert!(cut(Held::No).is_none(), "it isn't claimed");
    for (attempt, held, due) in [(1, Held::No, 1450), (2, Held::Operator, i64::MAX)] {
        let claimed = world.claim(id, 1000);
        assert_eq!(claimed.entry.attempts, attempt);
        let (edit, place) = cut(held).unwrap();
        assert_eq!(edit.delta.held, i64::from(held != Held::No));
        world.commit(edit.batch);
        assert_eq!(place.due, due);
        let row = world.entry(id);
        assert_eq!((row.attempts, row.due, row.held, row.claimed), (attempt, 1450, held, false));
        assert_eq!(row.last_error, Some(said(1001, 0, "broke")));
    }
    assert!(cut_off(&world.reader(), QueueId(1), Held::No, said(1, 0, "gone")).unwrap().is_none());
}

#[test]
fn waiting_domains_are_found_in_order_and_within_a_range() {
    let world = World::new();
    for number in [3, 1, 4, 1, 5, 9, 2, 6] {
        world.send(&[&format!("r@d{number}.example")]);
    }
    let mut hashes: Vec<_> =
        (1..=9).filter(|n| ![7, 8].contains(n)).map(|n| domain_hash(&format!("d{n}.example"))).collect();
    hashes.sort_unstable();
    let found =
        |range| waiting(&world.reader(), range).map(|found| found.unwrap().domain).collect::<Vec<_>>();
    assert_eq!(found(0..=u64::MAX), hashes);
    assert_eq!(found(hashes[1]..=hashes[3]), hashes[1..4]);
    assert_eq!(found(hashes[1] + 1..=hashes[3] - 1), hashes[2..3]);
    assert!(found(hashes[6] + 1..=u64::MAX).is_empty());
    let parts: Vec<_> = (0..3).flat_map(|shard| found(range_of(shard, 3))).collect();
    assert_eq!(parts, hashes);
    // So many that the next domain is sought.
    for _ in 0..130 {
        world.enqueue_unchecked("r@d3.example");
    }
    assert_eq!(found(0..=u64::MAX), hashes);
    world.verify();
    let start = Scheduled::start(domain_hash("d1.example"));
    let two = due(&world.reader(), start, 100, 10).unwrap();
    assert_eq!((two.entries.len(), two.next), (2, None));
    let one = due(&world.reader(), start, 100, 1).unwrap();
    assert_eq!((&*one.entries, one.next), (&two.entries[..1], Some(two.entries[1])), "there is more");
    let none = due(&world.reader(), start, two.entries[0].due - 1, 10).unwrap();
    assert_eq!((&*none.entries, none.next), (&[][..], Some(two.entries[0])), "it isn't due yet");
}

#[test]
fn a_content_goes_with_an_entry_that_leaves_soon() {
    let left = |recipients: &[&str], now: i64| {
        let world = World::new();
        let content = world.content();
        let entries = world.enqueue(message(content, recipients));
        world.commit(blobs::settle(content.blob));
        for entry in entries {
            world.claim(entry.id, now);
            let fine = Fate::Delivered(said(now, 250, "ok"));
            let ended = Outcome { attempt: 1, now, recipients: vec![(0, fine)], ..Outcome::default() };
            world.outcome(entry.id, &ended);
            assert!(world.is_gone(entry.id));
        }
        let counts = verify(world.reader(), None, &mut |_| {}).unwrap().counts;
        (counts.blobs, counts.chunks, counts.blobs_to_collect)
    };
    // It was accepted at 100.
    assert_eq!(left(&["r@one.example"], 160), (0, 0, 0));
    assert_eq!(left(&["r@one.example"], 161), (1, 1, 1), "the collector counts it");
    assert_eq!(left(&["r@one.example", "r@two.example"], 100), (1, 1, 2), "of many each is a use");
}
