use super::*;
use crate::engine::Space;
use crate::keys::Key;
use crate::rows::{Held, Retirement};

impl World {
    /// Overwrites a row.
    fn damage(&self, key: Key) {
        assert!(self.reader().get(&key).unwrap().is_some(), "it is there");
        let mut batch = Batch::new();
        batch.insert(Space::Rows, key, b"?".to_vec());
        self.engine.commit(batch, Durability::Synced).unwrap();
    }

    /// Looks for what lists these, some rows at a time.
    fn search(&self, ids: &[QueueId], rows_max: usize) -> Vec<Traces> {
        let mut search = Search::new(&self.reader(), ids).unwrap();
        while search.step(&self.reader(), rows_max).unwrap() {}
        search.finish(&self.reader()).unwrap()
    }

    /// Removes these; gives how the counts change.
    fn remove(&self, ids: &[QueueId], rows_max: usize) -> Delta {
        let mut all = Edit::default();
        for traces in self.search(ids, rows_max) {
            assert!(traces.domain.is_some());
            let removal = remove_damaged(&self.reader(), &traces).unwrap();
            let Removal::Removed { edit, .. } = removal else { panic!("{removal:?}") };
            all.append(edit);
        }
        self.engine.commit(all.batch, Durability::Synced).unwrap();
        all.delta
    }

    fn rows(&self) -> Vec<Vec<u8>> {
        self.reader().prefix(&[]).map(|row| row.unwrap().0.to_vec()).collect()
    }
}

/// A message of account 3 to one recipient, with an id that leads to it, and what programs are told.
fn with_id(world: &World, id: &str) -> QueueId {
    let from_id = Some(FromId { id: id.into(), mail_from: b"a+id@sender.example".as_slice().into() });
    let recipient = NewRecipient { from_id, ..NewRecipient::new("r@one.example") };
    let new = NewQueued { recipients: vec![recipient], ..message(world.content(), &["r@one.example"]) };
    world.enqueue(new)[0].id
}

/// Damages an entry in some way.
type Way = fn(&World, QueueId);

fn own_row(world: &World, id: QueueId) {
    world.damage(keys::queue(id));
}

fn recipient_row(world: &World, id: QueueId) {
    world.damage(keys::queue_recipient(id, 0));
}

#[test]
fn a_list_goes_on_over_damaged_entries_whatever_leads_to_them() {
    for damage in [own_row, recipient_row] as [Way; 2] {
        let world = World::new();
        let ids: Vec<QueueId> = (0..6).map(|_| world.send(&["r@one.example", "s@one.example"])[0]).collect();
        // Two in a row, and the last one.
        let damaged = [ids[1], ids[2], ids[5]];
        damaged.iter().for_each(|id| damage(&world, *id));
        let filters = [
            Filter::default(),
            Filter { ids: Some(ids.clone()), ..Filter::default() },
            Filter { account: Some(3), ..Filter::default() },
            Filter { recipient_domain: Some("one.example".to_owned()), ..Filter::default() },
            Filter { to: Some("@one".to_owned()), ..Filter::default() },
            Filter { to: Some("r@one".to_owned()), account: Some(3), ..Filter::default() },
        ];
        for (filter, order) in
            filters.iter().flat_map(|one| [(one, Order::Ascending), (one, Order::Descending)])
        {
            for (entries_max, rows_max) in [(100, 1000), (1, 1000), (2, 1000), (100, 1), (100, 4)] {
                let (mut found, mut cursor) = (Vec::new(), None);
                loop {
                    let bounds = Bounds { entries_max, rows_max };
                    let page = list(&world.reader(), filter, order, cursor.as_ref(), bounds).unwrap();
                    assert!(page.entries.len() + page.damaged.len() <= entries_max);
                    assert!(page.rows <= rows_max + 2);
                    let mut all: Vec<_> = page.entries.iter().map(|listed| (listed.id, false)).collect();
                    for one in page.damaged.iter().rev() {
                        assert!(one.error.is_damage(), "{:?}", one.error);
                        all.insert(one.behind, (one.id, true));
                    }
                    found.extend(all);
                    cursor = page.next;
                    if cursor.is_none() {
                        break;
                    }
                }
                let mut expected: Vec<_> = ids.iter().map(|id| (*id, damaged.contains(id))).collect();
                if order == Order::Descending {
                    expected.reverse();
                }
                assert_eq!(found, expected, "{filter:?} {order:?} {entries_max} {rows_max}");
            }
        }
    }
}

#[test]
fn what_can_be_read_of_a_damaged_entry_says_that_it_is_not_meant() {
    let world = World::new();
    let [own, of_recipient] = [(); 2].map(|()| world.send(&["r@one.example", "s@one.example"])[0]);
    own_row(&world, own);
    recipient_row(&world, of_recipient);
    let damaged = |filter: Filter| {
        let page = list(&world.reader(), &filter, Order::Ascending, None, Bounds::default()).unwrap();
        assert!(page.entries.is_empty(), "{page:?}");
        page.damaged.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    let any = Filter::default;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(damaged(any()), [own, of_recipient]);
    assert_eq!(damaged(Filter { ids: Some(vec![own]), ..any() }), [own]);
    assert_eq!(damaged(Filter { held: Some(true), ..any() }), [own]);
    assert_eq!(damaged(Filter { from: text("other"), ..any() }), [own]);
    assert_eq!(damaged(Filter { account: Some(4), ..any() }), []);
    assert_eq!(damaged(Filter { recipient_domain: text("two.example"), ..any() }), []);
    assert_eq!(damaged(Filter { to: text("t@"), ..any() }), [of_recipient]);
    assert_eq!(damaged(Filter { to: text("t@"), from: text("other"), ..any() }), []);
}

#[test]
fn a_damaged_entry_is_removed_with_all_that_lists_it() {
    let ways: [Way; 7] = [
        own_row,
        recipient_row,
        |world, id| {
            own_row(world, id);
            recipient_row(world, id);
        },
        |world, id| world.damage(keys::queue_meta(id)),
        |world, id| {
            own_row(world, id);
            [keys::queue_meta(id), keys::queue_prefix(id)].into_iter().for_each(|key| world.damage(key));
        },
        |world, id| {
            recipient_row(world, id);
            world.damage(keys::queue_meta(id));
        },
        |world, id| {
            world.claim(id, 1000);
            own_row(world, id);
        },
    ];
    for (number, damage) in ways.into_iter().enumerate() {
        for rows_max in [1, 2, 1000] {
            let world = World::new();
            // Others around it, of the same domain and account.
            let others = [with_id(&world, "before"), world.send(&["r@one.example", "s@one.example"])[0]];
            let before = world.rows();
            let id = with_id(&world, "damaged");
            let after = with_id(&world, "after");
            let counts = world.counts();
            damage(&world, id);
            assert_eq!(world.counts(), counts, "{number}: it still counts");
            let delta = world.remove(&[id], rows_max);
            assert_eq!(delta, Delta { entries: -1, recipients: -1, held: 0 }, "{number}");
            // Nothing is said of it any more, and its content will be collected.
            world.verify();
            assert!(world.is_gone(id) && !others.iter().chain([&after]).any(|id| world.is_gone(*id)));
            let is_of_it = |key: &&Vec<u8>| key.ends_with(&id.0.to_be_bytes());
            let left: Vec<_> = world.rows();
            let left: Vec<_> = left.iter().filter(is_of_it).collect();
            let [mark] = left[..] else { panic!("{number}: {left:?}") };
            assert!(mark.starts_with(&keys::of_table(SYSTEM, table::BLOBGC)), "{number}: {mark:?}");
            assert!(before.iter().all(|key| world.rows().contains(key)), "{number}");
            assert_eq!(world.reader().get(&keys::from_id(3, "damaged")).unwrap(), None);
            assert!(world.reader().get(&keys::from_id(3, "after")).unwrap().is_some());
        }
    }
}

#[test]
fn several_are_looked_for_at_once_and_count_as_they_did() {
    let world = World::new();
    let ids: Vec<QueueId> = (0..4).map(|_| world.send(&["r@one.example", "s@two.example"])[0]).collect();
    world.change(ids[1], Chosen::All, &Change::Hold(Held::Operator));
    own_row(&world, ids[0]);
    recipient_row(&world, ids[1]);
    own_row(&world, ids[2]);
    let before = world.counts();
    assert_eq!(before, (8, 8, 1));
    let delta = world.remove(&ids[..3], 3);
    assert_eq!(delta, Delta { entries: -3, recipients: -3, held: -1 });
    assert_eq!(world.counts(), (5, 5, 0));
    world.verify();
}

#[test]
fn only_what_is_damaged_is_removed_so() {
    let world = World::new();
    let [sound, under_way, worse] = [(); 3].map(|()| world.send(&["r@one.example"])[0]);
    world.claim(under_way, 1000);
    recipient_row(&world, worse);
    let traces = world.search(&[sound, under_way, worse, QueueId(7)], 100);
    let [other, sound, under_way_traces, worse_traces] = &traces[..] else { panic!("{traces:?}") };
    let of = |traces| remove_damaged(&world.reader(), traces).unwrap();
    assert!(matches!(of(other), Removal::Gone));
    assert!(matches!(of(sound), Removal::Otherwise));
    assert!(matches!(of(under_way_traces), Removal::Otherwise));
    recipient_row(&world, under_way);
    let removal = of(under_way_traces);
    assert!(matches!(removal, Removal::Removed { .. }), "what comes of it can't be written: {removal:?}");
    assert!(matches!(of(worse_traces), Removal::Removed { recipients: 1, .. }));
    // What lists it wasn't looked for.
    own_row(&world, worse);
    assert!(matches!(of(worse_traces), Removal::Otherwise));
    let traces = world.search(&[worse], 100);
    assert!(matches!(of(&traces[0]), Removal::Removed { .. }));
}

#[test]
fn nothing_is_sent_of_which_no_outcome_could_be_written() {
    let world = World::new();
    let [first, second] = ["one", "two"].map(|id| with_id(&world, id));
    world.claim(second, 1000);
    for id in [first, second] {
        world.damage(keys::queue_meta(id));
    }
    let claimed = claim(&world.reader(), first, Attempt { now: 1, next: 2 });
    assert!(claimed.is_err_and(|error| error.is_damage()));
    let end_it = End {
        retirement: Retirement::Dropped,
        result: AttemptResult::new(0, 0, None, "", ""),
        retired_until: None,
    };
    let ended = end(&world.reader(), second, Chosen::All, &end_it);
    assert!(ended.is_err_and(|error| error.is_damage()), "it would be busy for ever");
}

#[test]
fn the_domain_of_a_damaged_entry_is_known_by_what_is_left() {
    let world = World::new();
    let [id] = world.send(&["r@one.example"])[..] else { panic!("one entry") };
    let due = Scheduled::of(id, &world.entry(id));
    own_row(&world, id);
    let domain = || world.search(&[id], 100)[0].domain;
    assert_eq!(domain(), Some(due.domain));
    let mut batch = Batch::new();
    batch.remove(Space::Rows, keys::queue_due(due.domain, due.due, id));
    world.engine.commit(batch, Durability::Synced).unwrap();
    assert_eq!(domain(), Some(due.domain), "by its recipient");
    recipient_row(&world, id);
    assert_eq!(domain(), None);
}
