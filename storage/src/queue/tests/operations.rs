use super::*;
use crate::rows::{Held, HoldRuleRow, Retirement};
use crate::store::Refusal;

fn drop_of(retired_until: Option<i64>) -> End {
    End { retirement: Retirement::Dropped, result: said(70, 0, "dropped"), retired_until }
}

#[test]
fn what_is_held_is_due_again_when_it_was_before() {
    let world = World::new();
    let id = world.send(&["r@one.example"])[0];
    let done = world.change(id, Chosen::All, &Change::Hold(Held::Operator));
    assert_eq!((done.entries[0].due, done.recipients, world.counts()), (i64::MAX, 1, (1, 1, 1)));
    world.change(id, Chosen::All, &Change::Hold(Held::Rule(crate::ids::RuleId(5))));
    assert_eq!(world.entry(id).held, Held::Operator, "the first one counts");
    world.change(id, Chosen::All, &Change::Due(777));
    assert_eq!(world.entry(id).scheduled(), i64::MAX);
    let done = world.change(id, Chosen::All, &Change::Release);
    assert_eq!((done.entries[0].due, world.counts()), (777, (1, 1, 0)));
    world.change(id, Chosen::All, &Change::Transport("relay".into()));
    world.change(id, Chosen::All, &Change::RequireTls(RequireTls::No));
    assert_eq!((&*world.entry(id).transport, world.entry(id).require_tls), ("relay", RequireTls::No));
    let long = Change::Transport("x".repeat(QueueRow::TEXT_OCTETS_MAX + 1).into());
    let refused = change(&world.reader(), id, Chosen::All, &long, || QueueId(1));
    assert!(matches!(refused, Err(StoreError::Refused(Refusal::TextTooLong))));
}

#[test]
fn some_recipients_become_an_entry_of_their_own() {
    let world = World::new();
    let id = world.send(&["r@one.example", "s@one.example", "t@one.example"])[0];
    world.claim(id, 1000);
    world.outcome(id, &Outcome { now: 1000, due: 1500, ..Outcome::default() });
    let done = world.change(id, Chosen::These(&[1, 7, 1]), &Change::Hold(Held::Operator));
    let [left, new] = done.entries[..] else { panic!("{done:?}") };
    assert_eq!((left.id, left.due, new.due, done.recipients), (id, 1500, i64::MAX, 1));
    assert_eq!(world.addresses(id), [(0, "r@one.example".to_owned()), (2, "t@one.example".to_owned())]);
    assert_eq!(world.addresses(new.id), [(0, "s@one.example".to_owned())]);
    let (old_row, new_row) = (world.entry(id), world.entry(new.id));
    assert_eq!((old_row.waiting, new_row.waiting, new_row.recipients), (2, 1, 1));
    assert_eq!((new_row.base, new_row.attempts, new_row.blob), (id, 1, old_row.blob));
    assert_eq!(prefix(&world.reader(), new.id).unwrap(), prefix(&world.reader(), id).unwrap());
    assert_eq!(world.counts(), (2, 3, 1));
    // All that are left are the whole entry.
    let done = world.change(id, Chosen::These(&[0, 2]), &Change::Due(5));
    assert_eq!((done.entries.len(), done.entries[0].id), (1, id));
    let none = change(&world.reader(), id, Chosen::These(&[1]), &Change::Due(5), || QueueId(1)).unwrap();
    assert!(matches!(none, Changed::Gone));
}

#[test]
fn what_is_being_delivered_is_not_torn_apart() {
    let world = World::new();
    let id = world.send(&["r@one.example", "s@one.example"])[0];
    world.claim(id, 1000);
    let try_to = |chosen, what: &Change| change(&world.reader(), id, chosen, what, || QueueId(1)).unwrap();
    assert!(matches!(try_to(Chosen::All, &Change::Due(1)), Changed::Busy));
    assert!(matches!(try_to(Chosen::These(&[0]), &Change::Release), Changed::Busy));
    assert!(matches!(end(&world.reader(), id, Chosen::All, &drop_of(None)).unwrap(), Changed::Busy));
    assert!(matches!(end(&world.reader(), id, Chosen::These(&[9]), &drop_of(None)).unwrap(), Changed::Gone));
    world.change(id, Chosen::All, &Change::Transport("relay".into()));
    world.change(id, Chosen::All, &Change::Hold(Held::Operator));
    let left = world.outcome(id, &Outcome { now: 1001, due: 1500, ..Outcome::default() }).left.unwrap();
    let row = world.entry(id);
    assert_eq!((left.due, row.due, row.held, &*row.transport), (i64::MAX, 1500, Held::Operator, "relay"));
}

#[test]
fn recipients_are_taken_out_and_it_is_known_for_a_while() {
    let world = World::new();
    let id = world.send(&["r@one.example", "s@one.example", "t@one.example"])[0];
    let take = |chosen, until| {
        let changed = end(&world.reader(), id, chosen, &drop_of(until)).unwrap();
        let Changed::Done(done) = changed else { panic!("{changed:?}") };
        world.commit(done.edit.batch);
        (done.entries.len(), done.recipients)
    };
    assert_eq!(take(Chosen::These(&[0]), Some(1000)), (1, 1));
    assert_eq!(take(Chosen::All, Some(2000)), (0, 2));
    assert!(world.is_gone(id));
    let page = |sender, cursor: Option<&Cursor>, entries_max, rows_max| {
        let page = retired(&world.reader(), &of(sender), cursor, Bounds { entries_max, rows_max }).unwrap();
        (page.recipients.iter().map(|ended| ended.number).collect::<Vec<_>>(), page.next)
    };
    let (some, next) = page(None, None, 2, 100);
    assert_eq!(some, [2, 1]);
    let (rest, end_of) = page(None, next.as_ref(), 2, 100);
    assert_eq!((rest, end_of), (vec![0], None));
    let (none, next) = page(Some(4), None, 10, 2);
    assert!(none.is_empty() && next.is_some(), "two rows were looked at, and there are more");
    let row =
        retired(&world.reader(), &of(Some(3)), None, Bounds::default()).unwrap().recipients.pop().unwrap();
    assert_eq!((row.until, &*row.row.address, row.row.ended), (1000, &b"r@one.example"[..], 70));
    let any = RetiredFilter::default();
    for (filter, expected) in [
        (any.clone(), 3),
        (RetiredFilter { to: Some("S@One".into()), ..any.clone() }, 1),
        (RetiredFilter { to: Some("@one.example".into()), from: Some("nobody".into()), ..any.clone() }, 0),
        (RetiredFilter { entry: Some(id), ..any.clone() }, 3),
        (RetiredFilter { entry: Some(QueueId(id.0 + 1)), ..any.clone() }, 0),
        (RetiredFilter { outcome: Some(Retirement::Dropped), ..any.clone() }, 3),
        (RetiredFilter { outcome: Some(Retirement::Failed), ..any }, 0),
    ] {
        let found = retired(&world.reader(), &filter, None, Bounds::default()).unwrap().recipients.len();
        assert_eq!(found, expected, "{filter:?}");
    }
    for (now, rows_max, gone) in [(999, 10, 0), (1000, 10, 1), (5000, 1, 1), (5000, 10, 1), (5000, 10, 0)] {
        let (batch, count) = purge_retired(&world.reader(), now, rows_max).unwrap();
        assert_eq!(count, gone);
        world.commit(batch);
    }
}

#[test]
fn a_new_rule_holds_what_waits_page_by_page_and_in_each_shard() {
    for (account, sender, recipient) in [
        (None, None, None),
        (AccountId::new(3), None, None),
        (None, None, Some("d1.example")),
        (AccountId::new(3), Some("sender.example"), Some("d1.example")),
    ] {
        let world = World::new();
        for number in 0..12 {
            let mut message = message(world.content(), &[&format!("r@d{}.example", number % 3)]);
            message.sender = AccountId::new(3 + number % 2);
            world.enqueue(message);
        }
        let ids: Vec<_> = entries(&world.reader(), QueueId(0)).map(|entry| entry.unwrap().0).collect();
        world.change(ids[1], Chosen::All, &Change::Hold(Held::Operator));
        let rule = HoldRuleRow {
            account,
            sender_domain: sender.map(Into::into),
            recipient_domain: recipient.map(Into::into),
            ..HoldRuleRow::default()
        };
        let (id, batch) = add_hold_rule(&world.reader(), &rule).unwrap();
        world.commit(batch);
        let filter = Filter::of_rule(&rule, 0..=u64::MAX);
        let mut held = Vec::new();
        let mut cursor = None;
        loop {
            let bounds = Bounds { entries_max: 2, ..Bounds::default() };
            let page = list(&world.reader(), &filter, Order::Ascending, cursor.as_ref(), bounds).unwrap();
            for listed in page.entries {
                world.change(listed.id, Chosen::All, &Change::Hold(Held::Rule(id)));
                held.push(listed.id);
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        held.sort_unstable();
        let matches = |at: usize| {
            account.is_none_or(|account| account.get() as usize == 3 + at % 2)
                && recipient.is_none_or(|_| at % 3 == 1)
        };
        let expected: Vec<_> = (0..12).filter(|at| matches(*at) && *at != 1).map(|at| ids[at]).collect();
        assert_eq!(held, expected, "{rule:?}");
        assert!(expected.iter().all(|entry| world.entry(*entry).held == Held::Rule(id)));
        assert_eq!(world.entry(ids[1]).held, Held::Operator);
    }
}
