//! Entries of which a row is damaged.

use postrider_storage::engine::{Batch, Space};
use postrider_storage::keys;

use super::*;
use crate::control::protocol::{QueueDamagedRow, QueueListRow};

/// What came of a change.
#[derive(Debug, PartialEq)]
struct Came {
    entries: u64,
    recipients: u64,
    damaged: Vec<String>,
}

fn try_to(server: &TestServer, filter: QueueFilter, change: QueueChange) -> Came {
    let (_, answer) = server.ok(&Request::QueueChange { filter: Box::new(filter), change });
    let Answer::QueueChanged { entries, recipients, busy: 0, missing, damaged, damaged_ids } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!((missing, damaged), (Vec::new(), damaged_ids.len() as u64));
    Came { entries, recipients, damaged: damaged_ids }
}

fn came(entries: u64, recipients: u64, damaged: &[QueueId]) -> Came {
    Came { entries, recipients, damaged: ids(damaged) }
}

fn damage(server: &TestServer, rows: &[keys::Key]) {
    let mut batch = Batch::new();
    for key in rows {
        assert!(server.shared.store.reader().get(key).unwrap().is_some());
        batch.insert(Space::Rows, key.clone(), b"?".to_vec());
    }
    server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
}

/// Six entries with two recipients each, of which the second and the third have damaged rows of their own, and the fifth one of a
/// recipient.
fn world() -> (TestServer, Vec<QueueId>, [QueueId; 3]) {
    let server = start();
    let domains = ["one", "one", "two", "three", "one", "two"];
    let add = |domain: &str| {
        enqueue(&server, "anna", &[&format!("a@{domain}.example"), &format!("b@{domain}.example")])[0]
    };
    let all: Vec<QueueId> = domains.into_iter().map(add).collect();
    let damaged = [all[1], all[2], all[4]];
    damage(&server, &[keys::queue(all[1]), keys::queue(all[2]), keys::queue_recipient(all[4], 1)]);
    (server, all, damaged)
}

/// A server ends with a sound store.
fn drop_all(server: &TestServer, damaged: &[QueueId; 3]) {
    let filter = QueueFilter { ids: ids(damaged), ..QueueFilter::default() };
    assert_eq!(try_to(server, filter, QueueChange::Drop), came(3, 6, &[]));
}

fn sound(all: &[QueueId]) -> Vec<QueueId> {
    vec![all[0], all[3], all[5]]
}

/// The rows of a list, page by page, and how they end.
fn listed(server: &TestServer, filter: &QueueFilter, limit: u32) -> Vec<QueueListRow> {
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let filter = Box::new(filter.clone());
        let request = Request::QueueList { filter, descending: false, cursor, limit: Some(limit) };
        let (text, answer) = server.ok(&request);
        let page = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let before = rows.len();
        rows.extend(page);
        assert!(rows.len() - before <= limit as usize);
        let Answer::Page { next } = answer else { panic!("{answer:?}") };
        cursor = next;
        if cursor.is_none() {
            return rows;
        }
    }
}

#[test]
fn lists_have_damaged_entries_where_they_stand() {
    let (server, all, damaged) = world();
    let any = QueueFilter::default();
    for (filter, expected) in [
        (any.clone(), all.clone()),
        (QueueFilter { account: Some(text("anna")), ..any.clone() }, all.clone()),
        (QueueFilter { ids: ids(&all[..3]), ..any.clone() }, all[..3].to_vec()),
        // Nobody knows of the first two whether they are so; of the third, its own row says that it isn't.
        (QueueFilter { held: Some(true), ..any }, damaged[..2].to_vec()),
    ] {
        for limit in [1, 2, 100] {
            let rows = listed(&server, &filter, limit);
            let shown: Vec<_> = rows
                .iter()
                .map(|row| match row {
                    QueueListRow::Entry(row) => (row.id.clone(), false),
                    QueueListRow::Damaged(row) => {
                        assert!(row.damaged.contains("the store is damaged: a QUEUE"), "{row:?}");
                        (row.id.clone(), true)
                    }
                })
                .collect();
            let expected: Vec<_> =
                expected.iter().map(|id| (id.0.to_string(), damaged.contains(id))).collect();
            assert_eq!(shown, expected, "{filter:?} {limit}");
        }
    }
    drop_all(&server, &damaged);
}

#[test]
fn what_can_be_read_of_a_damaged_entry_is_shown() {
    let (server, _, damaged) = world();
    let [own, _, of_recipient] = damaged;
    let show = |id: QueueId| {
        let (rows, answer) = server.ok(&Request::QueueShow { id: id.0.to_string() });
        let rows = rows.lines().map(|line| serde_json::from_str::<QueueRecipientRow>(line).unwrap().to);
        (rows.collect::<Vec<_>>(), answer)
    };
    let (recipients, answer) = show(own);
    assert_eq!(recipients, ["a@one.example", "b@one.example"]);
    let Answer::QueueDamaged(QueueDamagedRow { id, damaged: wrong }) = answer else { panic!("{answer:?}") };
    assert!(id == own.0.to_string() && wrong.contains("QUEUE"), "{wrong}");
    let (recipients, answer) = show(of_recipient);
    assert_eq!(recipients, ["a@one.example"]);
    let Answer::QueueEntry(details) = answer else { panic!("{answer:?}") };
    assert_eq!((details.row.waiting, &*details.row.from), (2, "anna@example.org"));
    assert!(details.damaged.unwrap().contains("QUEUERCPT"));
    let (kind, said) = server.fails(&Request::QueueDump { id: own.0.to_string() });
    assert!(kind == FailureKind::Internal && said.contains(&format!("queue drop {}", own.0)), "{said}");
    assert!(server.ok(&Request::QueueDump { id: of_recipient.0.to_string() }).0.contains("Hello."));
    drop_all(&server, &damaged);
}

#[test]
fn changes_pass_over_damaged_entries_and_say_so() {
    let (server, all, damaged) = world();
    let anna = QueueFilter { account: Some(text("anna")), ..QueueFilter::default() };
    for change in [
        QueueChange::Hold,
        QueueChange::Release,
        QueueChange::Schedule { at: DUE + 7 },
        QueueChange::RequireTls { wish: QueueRequireTls::No },
    ] {
        assert_eq!(try_to(&server, QueueFilter::default(), change.clone()), came(3, 6, &damaged));
        assert_eq!(try_to(&server, anna.clone(), change.clone()), came(3, 6, &damaged));
        assert_eq!(try_to(&server, of(damaged[1]), change), came(0, 0, &damaged[1..2]));
    }
    assert!(sound(&all).iter().all(|id| row(&server, *id).unwrap().due == DUE + 7));
    // A rule holds the others.
    let (_, answer) = server.ok(&Request::HoldRuleAdd { rule: HoldRule::default() });
    assert!(matches!(answer, Answer::HoldRule { held: 3, .. }), "{answer:?}");
    // Of a message whose beginning alone can't be read, its sender is told all the same.
    damage(&server, &[keys::queue_prefix(all[0])]);
    let fail = QueueChange::Fail { reason: text("no more") };
    assert_eq!(try_to(&server, QueueFilter::default(), fail), came(3, 6, &damaged));
    assert_eq!(inbox(&server, "anna").len(), 3);
    assert_eq!(listed(&server, &QueueFilter::default(), 100).len(), 3);
    drop_all(&server, &damaged);
    server.verify();
}

#[test]
fn damaged_entries_are_dropped_when_nothing_but_their_ids_says_so() {
    let (server, all, damaged) = world();
    let named = QueueFilter { ids: ids(&damaged), ..QueueFilter::default() };
    for filter in [
        QueueFilter { held: Some(true), ..QueueFilter::default() },
        QueueFilter { account: Some(text("anna")), held: Some(false), ..named.clone() },
        QueueFilter { to: Some(text("b@")), ..named },
    ] {
        assert_eq!(try_to(&server, filter, QueueChange::Drop).entries, 0);
    }
    let several = QueueFilter { ids: ids(&all[..4]), ..QueueFilter::default() };
    assert_eq!(try_to(&server, several, QueueChange::Drop), came(4, 8, &[]));
    let counts = server.shared.queue_counts.get();
    assert_eq!((counts.entries, counts.recipients, counts.held), (2, 4, 0));
    assert_eq!(try_to(&server, of(all[4]), QueueChange::Drop), came(1, 2, &[]));
    let again = Request::QueueChange { filter: Box::new(of(all[4])), change: QueueChange::Drop };
    assert_eq!(server.fails(&again).0, FailureKind::NotFound);
    let counts = server.shared.queue_counts.get();
    assert_eq!((counts.entries, counts.recipients, counts.held), (1, 2, 0));
    // Nothing is left of them.
    server.verify();
    assert_eq!(list(&server, &QueueFilter::default(), None, 9).0, ids(&all[5..]));
}

#[test]
fn damage_that_no_list_shows_is_found_by_who_needs_the_row() {
    let server = start();
    let to: Vec<String> = (0..102).map(|number| format!("r{number}@one.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let [id] = enqueue(&server, "anna", &to)[..] else { panic!("one entry") };
    let other = enqueue(&server, "anna", &["a@one.example"])[0];
    damage(&server, &[keys::queue_recipient(id, 101)]);
    assert!(matches!(
        &listed(&server, &QueueFilter::default(), 9)[..],
        [QueueListRow::Entry(_), QueueListRow::Entry(_)]
    ));
    assert_eq!(try_to(&server, QueueFilter::default(), QueueChange::Hold), came(2, 103, &[]));
    let fail = QueueChange::Fail { reason: text("no more") };
    assert_eq!(try_to(&server, of(id), fail), came(0, 0, &[id]));
    assert_eq!(try_to(&server, QueueFilter::default(), QueueChange::Drop), came(1, 1, &[id]));
    assert_eq!(row(&server, other), None);
    assert_eq!(server.shared.queue_counts.get().held, 1);
    assert_eq!(try_to(&server, of(id), QueueChange::Drop), came(1, 102, &[]));
    assert_eq!(server.shared.queue_counts.get(), queue::Delta::default());
    server.verify();
}

#[test]
fn what_cut_the_removal_off_leaves_it_to_be_done() {
    let engine = Arc::new(MemoryEngine::new());
    let server = start_on(Arc::clone(&engine), "$ORIGIN example.");
    let [id] = enqueue(&server, "anna", &["a@one.example"])[..] else { panic!("one entry") };
    damage(&server, &[keys::queue(id)]);
    let rows = || server.shared.store.reader().prefix(&[]).map(|row| row.unwrap().0).collect::<Vec<_>>();
    let before = rows();
    let drop_it = Request::QueueChange { filter: Box::new(of(id)), change: QueueChange::Drop };
    let committed = engine.commits();
    engine.hold_commits(true);
    std::thread::scope(|scope| {
        let held = LetGo(&engine);
        let (server, drop_it) = (&server, &drop_it);
        let dropping = scope.spawn(move || server.ok(drop_it));
        wait_until(|| engine.waiting_commits() == 1);
        assert_eq!(rows(), before, "all is in one batch");
        drop(held);
        dropping.join().unwrap();
    });
    assert_eq!(engine.commits(), committed + 1);
    server.verify();
}

#[test]
fn an_entry_under_way_of_which_no_outcome_can_be_written_is_dropped_too() {
    let server = start();
    // More than a list looks at.
    let to: Vec<String> = (0..102).map(|number| format!("r{number}@one.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let [damaged, sound] = [&to[..], &to[..1]].map(|to| enqueue(&server, "anna", to)[0]);
    for id in [damaged, sound] {
        let reader = server.shared.store.reader();
        let claimed = queue::claim(&reader, id, Attempt { now: 1, next: i64::MAX / 2 }).unwrap().unwrap();
        server.shared.committer.commit_blocking(claimed.edit.batch, Durability::Synced).unwrap();
    }
    damage(&server, &[keys::queue_recipient(damaged, 101)]);
    assert_eq!(try_to(&server, of(damaged), QueueChange::Drop), came(1, 102, &[]));
    assert_eq!(row(&server, damaged), None);
    // One that is sound is left to its attempt.
    let drop_it = Request::QueueChange { filter: Box::new(of(sound)), change: QueueChange::Drop };
    let (_, answer) = server.ok(&drop_it);
    assert!(matches!(answer, Answer::QueueChanged { entries: 0, busy: 1, damaged: 0, .. }), "{answer:?}");
    server.verify();
}
