use super::*;
use crate::rows::Held;

const ALL: Bounds = Bounds { entries_max: 1000, rows_max: 100_000 };

/// Twelve entries: accounts 3 and 4, three domains, accepted at 100, 101, ..., the third held, the fourth with a transport.
fn world() -> (World, Vec<QueueId>) {
    let world = World::new();
    let mut ids = Vec::new();
    for number in 0..12_u32 {
        let to = [format!("Some{number}@d{}.example", number % 3), format!("other@d{}.example", number % 3)];
        let mut new = message(world.content(), &[&to[0], &to[1]]);
        new.sender = AccountId::new(3 + number % 2);
        new.created = 100 + i64::from(number);
        new.mail_from = format!("From{number}@s{}.example", number % 4).into_bytes();
        ids.push(world.enqueue(new)[0].id);
    }
    world.change(ids[2], Chosen::All, &Change::Hold(Held::Operator));
    world.change(ids[3], Chosen::All, &Change::Transport("relay".into()));
    (world, ids)
}

fn found(world: &World, filter: &Filter) -> Vec<QueueId> {
    let page = list(&world.reader(), filter, Order::Ascending, None, ALL).unwrap();
    assert_eq!(page.next, None);
    page.entries.into_iter().map(|entry| entry.id).collect()
}

#[test]
fn filters_combine() {
    let (world, ids) = world();
    let none = Filter::default;
    let text = |text: &str| Some(text.to_owned());
    let span = |from, before| Span { from, before };
    let cases: Vec<(Filter, Vec<usize>)> = vec![
        (none(), (0..12).collect()),
        (Filter { ids: Some(vec![ids[5], QueueId(1), ids[1], ids[5]]), ..none() }, vec![1, 5]),
        (Filter { ids: Some(vec![ids[5], ids[1]]), account: Some(3), ..none() }, vec![]),
        (Filter { account: Some(4), ..none() }, vec![1, 3, 5, 7, 9, 11]),
        (Filter { account: Some(SYSTEM), ..none() }, vec![]),
        (Filter { from: text("fRoM1"), ..none() }, vec![1, 10, 11]),
        (Filter { from: text("fRoM1"), to: text("SOME11"), ..none() }, vec![11]),
        (Filter { sender_domain: text("S1.example"), ..none() }, vec![1, 5, 9]),
        (Filter { recipient_domain: text("D1.example"), ..none() }, vec![1, 4, 7, 10]),
        (Filter { recipient_domain: text("d1.example"), account: Some(4), ..none() }, vec![1, 7]),
        (Filter { submitted: span(Some(103), Some(105)), ..none() }, vec![3, 4]),
        (Filter { next_attempt: span(None, Some(104)), ..none() }, vec![0, 1, 3]),
        (
            Filter {
                next_attempt: span(Some(104), Some(108)),
                recipient_domain: text("d1.example"),
                ..none()
            },
            vec![4, 7],
        ),
        (Filter { held: Some(true), ..none() }, vec![2]),
        (Filter { held: Some(false), account: Some(3), ..none() }, vec![0, 4, 6, 8, 10]),
        (Filter { transport: text("relay"), ..none() }, vec![3]),
        (Filter { transport: text(""), sender_domain: text("s3.example"), ..none() }, vec![7, 11]),
        (Filter { to: text("nobody"), ..none() }, vec![]),
    ];
    for (filter, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(|at| ids[at]).collect();
        assert_eq!(found(&world, &filter), expected, "{filter:?}");
    }
    let parts: usize =
        (0..3).map(|shard| found(&world, &Filter { domains: range_of(shard, 3), ..none() }).len()).sum();
    assert_eq!(parts, 12);
}

#[test]
fn a_list_says_which_recipients_are_meant() {
    let (world, ids) = world();
    let filter = Filter { to: Some("some4@".to_owned()), ..Filter::default() };
    let page = list(&world.reader(), &filter, Order::Ascending, None, ALL).unwrap();
    let [listed] = &page.entries[..] else { panic!("{page:?}") };
    assert_eq!((listed.id, listed.part.as_deref()), (ids[4], Some(&[0][..])));
    assert_eq!(listed.recipients.len(), 1);
    let filter = Filter { to: Some("@d1.".to_owned()), ..Filter::default() };
    let page = list(&world.reader(), &filter, Order::Ascending, None, ALL).unwrap();
    assert!(page.entries.iter().all(|listed| listed.part.is_none() && listed.recipients.len() == 2));
}

#[test]
fn pages_follow_each_other_in_both_orders_whatever_they_look_at() {
    let (world, _) = world();
    let filters = [
        Filter::default(),
        Filter { account: Some(4), ..Filter::default() },
        Filter { recipient_domain: Some("d2.example".to_owned()), ..Filter::default() },
        Filter { recipient_domain: Some("d2.example".to_owned()), account: Some(3), ..Filter::default() },
        Filter {
            ids: Some(entries(&world.reader(), QueueId(0)).map(|e| e.unwrap().0).collect()),
            ..Filter::default()
        },
        Filter { domains: range_of(1, 2), ..Filter::default() },
        Filter { from: Some("from1".to_owned()), ..Filter::default() },
        Filter { to: Some("@d1".to_owned()), ..Filter::default() },
        Filter { to: Some("other".to_owned()), ..Filter::default() },
        Filter { to: Some("some1".to_owned()), account: Some(4), ..Filter::default() },
    ];
    for filter in filters {
        let all = found(&world, &filter);
        for order in [Order::Ascending, Order::Descending] {
            let mut expected = all.clone();
            if order == Order::Descending {
                expected.reverse();
            }
            for bounds in [(1, 1000), (3, 1000), (1000, 1), (1000, 5)] {
                let bounds = Bounds { entries_max: bounds.0, rows_max: bounds.1 };
                let (mut collected, mut cursor) = (Vec::new(), None);
                loop {
                    let page = list(&world.reader(), &filter, order, cursor.as_ref(), bounds).unwrap();
                    assert!(page.entries.len() <= bounds.entries_max);
                    // A row of an index, and the recipients of an entry, are looked at whole.
                    assert!(page.rows <= bounds.rows_max + 2);
                    collected.extend(page.entries.into_iter().map(|entry| entry.id));
                    let Some(next) = page.next else { break };
                    cursor = Some(next.to_string().parse().unwrap());
                }
                assert_eq!(collected, expected, "{filter:?} {order:?} {bounds:?}");
            }
        }
    }
}

#[test]
fn a_cursor_of_another_list_is_refused() {
    let (world, _) = world();
    let bounds = Bounds { entries_max: 1, rows_max: 100 };
    let of_account = Filter { account: Some(4), ..Filter::default() };
    let next = list(&world.reader(), &of_account, Order::Ascending, None, bounds).unwrap().next.unwrap();
    assert!(list(&world.reader(), &Filter::default(), Order::Ascending, Some(&next), bounds).is_err());
    let other = Filter { account: Some(5), ..Filter::default() };
    let page = list(&world.reader(), &other, Order::Ascending, Some(&next), bounds).unwrap();
    assert!(page.entries.is_empty() && page.rows == 0, "another account's rows are not walked");
}

#[test]
fn a_filter_names_so_many_ids() {
    let world = World::new();
    let of = |count: usize| Filter { ids: Some(vec![QueueId(1); count]), ..Filter::default() };
    assert!(list(&world.reader(), &of(IDS_MAX), Order::Ascending, None, ALL).is_ok());
    let refused = list(&world.reader(), &of(IDS_MAX + 1), Order::Ascending, None, ALL);
    assert!(matches!(refused, Err(StoreError::Refused(crate::store::Refusal::TooManyIds))));
}

#[test]
fn the_walk_that_counts_goes_on_where_it_was() {
    let (world, ids) = world();
    let (mut from, mut sum) = (QueueId(0), QueueCounts::default());
    let reader = world.reader();
    let mut parts = 0;
    loop {
        let Counted { counts, next } = count_some(&reader, from, 5).unwrap();
        sum.entries += counts.entries;
        sum.recipients += counts.recipients;
        sum.held += counts.held;
        parts += 1;
        let Some(next) = next else { break };
        from = next;
    }
    assert_eq!((parts, sum), (3, QueueCounts { entries: 12, recipients: 24, held: 1 }));
    assert_eq!(count_some(&reader, ids[11], 1).unwrap().next, None);
}
