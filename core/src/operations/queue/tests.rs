//! What requests about the queue do to a running server that delivers nothing by itself.
#![expect(clippy::unwrap_used, reason = "tests")]

mod damaged;
mod suppressions;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postrider_proto::smtp::envelope::Notify;
use postrider_storage::account::Content;
use postrider_storage::blobs::BlobReader;
use postrider_storage::engine::Durability;
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Attempt};
use postrider_storage::rows::{Held, QueueRow, RequireTls};
use postrider_storage::store::StoreError;

use crate::commit;
use crate::control::protocol::{
    Answer, FailureKind, HoldRule, QueueChange, QueueDetails, QueueFilter, QueueRecipientRow,
    QueueRequireTls, Request, RetiredFilter, Secret,
};
use crate::testing::{TestServer, wait_until};

const DUE: i64 = 2_000_000_000;
const MESSAGE: &str = "Subject: greetings\r\nMessage-ID: <1@example.org>\r\n\r\nHello.\r\n";

fn text(text: &str) -> String {
    text.to_owned()
}

/// With accounts anna and bo.
fn start() -> TestServer {
    start_with("$ORIGIN example.")
}

/// The same, where DNS is what a script says.
fn start_with(script: &str) -> TestServer {
    start_on(Arc::new(MemoryEngine::new()), script)
}

fn start_on(engine: Arc<MemoryEngine>, script: &str) -> TestServer {
    let server = TestServer::with_script(engine, script, |config| {
        config.delivery.keep_retired = Some(Duration::from_secs(1000));
        config.delivery.routes.clear();
    });
    server.ok(&Request::DomainAdd { domain: text("example.org"), disabled: false });
    for name in ["anna", "bo"] {
        server.ok(&Request::AccountAdd {
            account: text(name),
            address: format!("{name}@example.org"),
            password: Secret(text("a password")),
            quota: None,
        });
    }
    server
}

/// Puts a message of an account into the queue, due far in the future, and gives its entries.
fn enqueue(server: &TestServer, account: &str, to: &[&str]) -> Vec<QueueId> {
    server.enqueue(account, MESSAGE, to, DUE)
}

fn row(server: &TestServer, id: QueueId) -> Option<QueueRow> {
    queue::entry(&server.shared.store.reader(), id).unwrap()
}

fn addresses(server: &TestServer, id: QueueId) -> Vec<String> {
    let reader = server.shared.store.reader();
    let rows = queue::recipients(&reader, id).map(|row| row.unwrap().1.address.to_vec());
    rows.map(|address| String::from_utf8(address).unwrap()).collect()
}

fn retired(filter: RetiredFilter) -> Request {
    Request::RetiredList { filter: Box::new(filter), cursor: None, limit: None }
}

fn of(id: QueueId) -> QueueFilter {
    QueueFilter { ids: vec![id.0.to_string()], ..QueueFilter::default() }
}

fn change(server: &TestServer, filter: QueueFilter, change: QueueChange) -> (u64, u64, u64) {
    let (_, answer) = server.ok(&Request::QueueChange { filter: Box::new(filter), change });
    let Answer::QueueChanged { entries, recipients, busy, .. } = answer else { panic!("{answer:?}") };
    (entries, recipients, busy)
}

fn list(
    server: &TestServer,
    filter: &QueueFilter,
    cursor: Option<String>,
    limit: u32,
) -> (Vec<String>, Option<String>) {
    let request = Request::QueueList {
        filter: Box::new(filter.clone()),
        descending: false,
        cursor,
        limit: Some(limit),
    };
    let (rows, answer) = server.ok(&request);
    let Answer::Page { next } = answer else { panic!("{answer:?}") };
    let rows =
        rows.lines().map(|line| serde_json::from_str::<crate::control::protocol::QueueRow>(line).unwrap());
    (rows.map(|row| row.id).collect(), next)
}

fn ids(entries: &[QueueId]) -> Vec<String> {
    entries.iter().map(|id| id.0.to_string()).collect()
}

/// The messages in an inbox.
fn inbox(server: &TestServer, account: &str) -> Vec<String> {
    let account = server.account(account).unwrap();
    let reader = server.shared.store.reader();
    let mut texts = Vec::new();
    for mailbox in reader.mailboxes(account) {
        let (mailbox, _) = mailbox.unwrap();
        for uid in reader.uid_set(account, mailbox).unwrap().iter() {
            let message = reader.message(account, mailbox, uid).unwrap().unwrap();
            let email = reader.email(account, message.email).unwrap().unwrap();
            let size = reader.blob(email.blob).unwrap().unwrap().size;
            let mut content = BlobReader::new(Content { blob: email.blob, size }, 0..size);
            let mut text = Vec::new();
            while let Some(piece) = content.read(&reader).unwrap() {
                text.extend_from_slice(&piece);
            }
            texts.push(String::from_utf8(text).unwrap());
        }
    }
    texts
}

#[test]
fn a_list_has_what_everything_that_was_given_is_true_of() {
    let server = start();
    let mut entries = enqueue(&server, "anna", &["a@one.example", "b@one.example", "c@two.example"]);
    entries.extend(enqueue(&server, "bo", &["a@one.example"]));
    let any = QueueFilter::default();
    assert_eq!(list(&server, &any, None, 100).0, ids(&entries));
    let anna = QueueFilter { account: Some(text("anna")), ..any.clone() };
    assert_eq!(list(&server, &anna, None, 100).0, ids(&entries[..2]));
    let both = QueueFilter { to: Some(text("A@ONE")), ..anna.clone() };
    assert_eq!(list(&server, &both, None, 100).0, ids(&entries[..1]));
    let neither = QueueFilter { from: Some(text("bo@")), ..anna.clone() };
    assert!(list(&server, &neither, None, 100).0.is_empty());
    let domain = QueueFilter { recipient_domain: Some(text("ONE.example")), ..any.clone() };
    assert_eq!(list(&server, &domain, None, 100).0, [ids(&entries[..1]), ids(&entries[2..])].concat());
    let later = QueueFilter { next_from: Some(DUE + 1), ..any.clone() };
    assert!(list(&server, &later, None, 100).0.is_empty());
    // Page by page it is the same.
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let (rows, next) = list(&server, &any, cursor, 1);
        assert!(rows.len() <= 1);
        all.extend(rows);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(all, ids(&entries));
    let bad = |filter: QueueFilter, cursor: Option<&str>| Request::QueueList {
        filter: Box::new(filter),
        descending: false,
        cursor: cursor.map(text),
        limit: None,
    };
    // As an account is shown that was removed.
    let number = format!("#{}", server.account("anna").unwrap().get());
    let removed = QueueFilter { account: Some(number), ..any.clone() };
    assert_eq!(list(&server, &removed, None, 100).0, ids(&entries[..2]));
    let nobody = QueueFilter { account: Some(text("carl")), ..any.clone() };
    assert_eq!(server.fails(&bad(nobody, None)).0, FailureKind::NotFound);
    assert_eq!(server.fails(&bad(any.clone(), Some("0g"))).0, FailureKind::Invalid);
    let no_id = QueueFilter { ids: vec![text("one")], ..any };
    assert_eq!(server.fails(&bad(no_id, None)).0, FailureKind::Invalid);
}

#[test]
fn an_entry_is_shown_with_its_recipients_and_dumped_as_it_is() {
    let server = start();
    let [id] = enqueue(&server, "anna", &["a@one.example", "b@one.example"])[..] else { panic!("one entry") };
    let (rows, answer) = server.ok(&Request::QueueShow { id: id.0.to_string() });
    let recipients: Vec<QueueRecipientRow> =
        rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(recipients.iter().map(|row| &*row.to).collect::<Vec<_>>(), ["a@one.example", "b@one.example"]);
    let Answer::QueueEntry(details) = answer else { panic!("{answer:?}") };
    let QueueDetails { row, recipients, ret, prefix, .. } = *details;
    assert_eq!(
        (row.account.as_deref(), &*row.from, &*row.domain),
        (Some("anna"), "anna@example.org", "one.example")
    );
    assert_eq!((row.waiting, recipients, row.next_attempt), (2, 2, Some(DUE)));
    assert_eq!((ret.as_deref(), &*prefix), (Some("full"), "Received: by here\r\n"));
    let (dumped, _) = server.ok(&Request::QueueDump { id: id.0.to_string() });
    assert_eq!(dumped, format!("Received: by here\r\n{MESSAGE}"));
    for request in [Request::QueueShow { id: text("1") }, Request::QueueDump { id: text("1") }] {
        assert_eq!(server.fails(&request).0, FailureKind::NotFound);
    }
}

#[test]
fn entries_are_held_released_scheduled_and_routed() {
    let server = start();
    let entries = enqueue(&server, "anna", &["a@one.example", "c@two.example", "d@three.example"]);
    let anna = QueueFilter { account: Some(text("anna")), ..QueueFilter::default() };
    assert_eq!(change(&server, anna.clone(), QueueChange::Hold), (3, 3, 0));
    assert!(entries.iter().all(|id| row(&server, *id).unwrap().held == Held::Operator));
    assert_eq!(server.shared.queue_counts.get().held, 3);
    let held = QueueFilter { held: Some(true), ..QueueFilter::default() };
    assert_eq!(change(&server, of(entries[0]), QueueChange::Release), (1, 1, 0));
    assert_eq!(list(&server, &held, None, 9).0, ids(&entries[1..]));
    assert_eq!(change(&server, anna.clone(), QueueChange::Release), (3, 3, 0));
    assert_eq!(row(&server, entries[1]).unwrap().due, DUE, "due when it was");
    assert_eq!(change(&server, of(entries[1]), QueueChange::Schedule { at: DUE - 5 }), (1, 1, 0));
    assert_eq!(row(&server, entries[1]).unwrap().due, DUE - 5);
    let wish = QueueRequireTls::No;
    assert_eq!(change(&server, anna.clone(), QueueChange::RequireTls { wish }), (3, 3, 0));
    assert!(entries.iter().all(|id| row(&server, *id).unwrap().require_tls == RequireTls::No));
    let by = |name: Option<&str>| QueueChange::Transport { name: name.map(text) };
    change(&server, of(entries[2]), by(Some("itself")));
    assert_eq!(&*row(&server, entries[2]).unwrap().transport, "itself");
    let unknown = Request::QueueChange { filter: Box::new(anna.clone()), change: by(Some("nowhere")) };
    let (kind, message) = server.fails(&unknown);
    assert!(kind == FailureKind::NotFound && message.contains("itself"), "{message}");
    assert_eq!(
        change(&server, QueueFilter { transport: Some(text("itself")), ..anna.clone() }, by(None)).0,
        1
    );
    assert_eq!(&*row(&server, entries[2]).unwrap().transport, "");
    let gone = Request::QueueChange { filter: Box::new(of(QueueId(7))), change: QueueChange::Hold };
    assert_eq!(server.fails(&gone).0, FailureKind::NotFound);
}

#[test]
fn ids_that_no_entry_has_are_named() {
    let server = start();
    let [id] = enqueue(&server, "anna", &["a@one.example"])[..] else { panic!("one entry") };
    let filter = QueueFilter { ids: vec![id.0.to_string(), text("5")], ..QueueFilter::default() };
    let request = Request::QueueChange { filter: Box::new(filter), change: QueueChange::Hold };
    let (_, answer) = server.ok(&request);
    let Answer::QueueChanged { entries, missing, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((entries, missing), (1, vec![text("5")]));
}

#[test]
fn what_is_meant_for_some_recipients_parts_them_from_the_others() {
    let server = start();
    let [id] = enqueue(&server, "anna", &["a@one.example", "b@one.example"])[..] else { panic!("one entry") };
    let filter = QueueFilter { to: Some(text("b@")), ..QueueFilter::default() };
    assert_eq!(change(&server, filter.clone(), QueueChange::Hold), (1, 1, 0));
    assert_eq!(addresses(&server, id), ["a@one.example"]);
    assert_eq!(row(&server, id).unwrap().held, Held::No);
    let [other] = &list(&server, &filter, None, 9).0[..] else { panic!("another entry") };
    let other = QueueId(other.parse().unwrap());
    assert_ne!(other, id);
    assert_eq!(addresses(&server, other), ["b@one.example"]);
    assert_eq!(row(&server, other).unwrap().held, Held::Operator);
    assert_eq!(server.shared.queue_counts.get().entries, 2);
    assert_eq!(server.shared.queue_counts.get().recipients, 2);
}

#[test]
fn who_sent_what_is_given_up_hears_of_it_and_nobody_of_what_is_dropped() {
    let server = start();
    let entries = enqueue(&server, "anna", &["a@one.example", "b@one.example", "c@two.example"]);
    let some = QueueFilter { to: Some(text("b@one")), ..QueueFilter::default() };
    let fail = QueueChange::Fail { reason: text("the domain was given up") };
    assert_eq!(change(&server, some, fail), (1, 1, 0));
    let [report] = &inbox(&server, "anna")[..] else { panic!("one report") };
    for field in ["Final-Recipient: rfc822; b@one.example", "Action: failed", "Status: 5.3.0"] {
        assert!(report.contains(field), "{field}: {report}");
    }
    assert!(report.contains("the domain was given up"), "{report}");
    assert!(!report.contains("a@one.example") && !report.contains("Last-Attempt-Date"), "{report}");
    assert!(report.contains("Hello."), "RET=FULL: {report}");
    assert_eq!(addresses(&server, entries[0]), ["a@one.example"]);
    assert_eq!(change(&server, QueueFilter::default(), QueueChange::Drop), (2, 2, 0));
    assert_eq!(inbox(&server, "anna").len(), 1);
    assert_eq!(server.shared.queue_counts.get(), queue::Delta::default());
    let (rows, answer) =
        server.ok(&retired(RetiredFilter { account: Some(text("anna")), ..RetiredFilter::default() }));
    assert!(matches!(answer, Answer::Page { next: None }), "{answer:?}");
    let mut outcomes: Vec<(String, String)> = rows
        .lines()
        .map(|line| serde_json::from_str::<crate::control::protocol::RetiredRow>(line).unwrap())
        .map(|row| (row.to, row.outcome))
        .collect();
    outcomes.sort();
    let expected = [("a@one.example", "dropped"), ("b@one.example", "failed"), ("c@two.example", "dropped")];
    assert_eq!(outcomes, expected.map(|(to, outcome)| (text(to), text(outcome))));
    let count = |filter: RetiredFilter| server.ok(&retired(filter)).0.lines().count();
    for (filter, expected) in [
        (RetiredFilter { account: Some(text("bo")), ..RetiredFilter::default() }, 0),
        (RetiredFilter { to: Some(text("@ONE.example")), ..RetiredFilter::default() }, 2),
        (RetiredFilter { from: Some(text("anna@")), ..RetiredFilter::default() }, 3),
        (RetiredFilter { from: Some(text("bo@")), ..RetiredFilter::default() }, 0),
        (RetiredFilter { outcome: Some(text("dropped")), ..RetiredFilter::default() }, 2),
        (RetiredFilter { entry: Some(entries[1].0.to_string()), ..RetiredFilter::default() }, 1),
        (RetiredFilter { entry: Some(text("7")), ..RetiredFilter::default() }, 0),
    ] {
        assert_eq!(count(filter.clone()), expected, "{filter:?}");
    }
    let unknown = retired(RetiredFilter { outcome: Some(text("lost")), ..RetiredFilter::default() });
    assert_eq!(server.fails(&unknown).0, FailureKind::Invalid);
    let two_lines = QueueChange::Fail { reason: text("one\r\ntwo") };
    let request = Request::QueueChange { filter: Box::default(), change: two_lines };
    assert_eq!(server.fails(&request).0, FailureKind::Invalid);
}

#[test]
fn what_is_being_delivered_is_not_given_up() {
    let server = start();
    let entries = enqueue(&server, "anna", &["a@one.example", "c@two.example"]);
    let claimed = entries[0];
    let shared = Arc::clone(&server.shared);
    server.at_home(server.account("anna").unwrap(), move |_| {
        Box::pin(async move {
            let attempt = Attempt { now: DUE, next: DUE + 100 };
            let built: Result<_, StoreError> = queue::claim(&shared.store.reader(), claimed, attempt);
            let batch = built.unwrap().unwrap().edit.batch;
            commit::commit(&shared.committer, batch, Durability::Buffered).await.unwrap();
        })
    });
    let fail = QueueChange::Fail { reason: text("no more") };
    assert_eq!(change(&server, QueueFilter::default(), fail), (1, 1, 1));
    assert_eq!(row(&server, entries[1]), None);
    let kept = row(&server, claimed).unwrap();
    assert!(kept.claimed && inbox(&server, "anna").len() == 1);
    assert_eq!(change(&server, of(claimed), QueueChange::Schedule { at: 5 }), (0, 0, 1));
    // What is for the next attempt can be said meanwhile.
    assert_eq!(change(&server, of(claimed), QueueChange::Hold), (1, 1, 0));
    assert_eq!(row(&server, claimed).unwrap(), QueueRow { held: Held::Operator, ..kept });
}

#[test]
fn what_is_scheduled_and_released_has_its_turn() {
    let server = start_with("$ORIGIN example.\none MX 0 .\ntwo MX 0 .\nthree MX 0 .");
    let entries = enqueue(&server, "anna", &["a@one.example", "b@two.example", "c@three.example"]);
    for sender in &server.shared.shards {
        let start: crate::shard::Work = Box::new(|shard| crate::delivery::start(&shard));
        assert!(sender.send_blocking(start).is_ok());
    }
    change(&server, of(entries[1]), QueueChange::Hold);
    let two = QueueFilter { ids: ids(&entries[..2]), ..QueueFilter::default() };
    assert_eq!(change(&server, two, QueueChange::Schedule { at: 5 }), (2, 2, 0));
    wait_until(|| row(&server, entries[0]).is_none());
    wait_until(|| inbox(&server, "anna").len() == 1);
    let held = row(&server, entries[1]).unwrap();
    assert_eq!((held.attempts, held.due), (0, 5), "held");
    assert_eq!(row(&server, entries[2]).unwrap().attempts, 0, "not due");
    change(&server, of(entries[1]), QueueChange::Release);
    wait_until(|| row(&server, entries[1]).is_none());
    wait_until(|| inbox(&server, "anna").len() == 2);
    assert_eq!(list(&server, &QueueFilter::default(), None, 9).0, ids(&entries[2..]));
}

#[test]
fn hold_rules_hold_what_waits_and_what_comes() {
    let server = start();
    let old = enqueue(&server, "anna", &["a@one.example", "c@two.example"]);
    let others = enqueue(&server, "bo", &["a@one.example"]);
    let rule = HoldRule {
        account: Some(text("anna")),
        recipient_domain: Some(text("one.example")),
        ..HoldRule::default()
    };
    let (_, answer) = server.ok(&Request::HoldRuleAdd { rule });
    let Answer::HoldRule { id, held: 1 } = answer else { panic!("{answer:?}") };
    let new = enqueue(&server, "anna", &["b@one.example", "d@two.example"]);
    let is_held = |id: QueueId| row(&server, id).unwrap().held != Held::No;
    assert_eq!([old[0], old[1], others[0], new[0], new[1]].map(is_held), [true, false, false, true, false]);
    let (rows, _) = server.ok(&Request::HoldRuleList);
    assert!(
        rows.contains("\"account\":\"anna\"") && rows.contains("\"recipient_domain\":\"one.example\""),
        "{rows}"
    );
    server.ok(&Request::HoldRuleRemove { id });
    assert_eq!(server.fails(&Request::HoldRuleRemove { id }).0, FailureKind::NotFound);
    assert_eq!(server.ok(&Request::HoldRuleList).0, "");
    assert!(is_held(old[0]), "what was held stays so");
    assert!(!is_held(enqueue(&server, "anna", &["b@one.example"])[0]));
    let (_, answer) = server.ok(&Request::HoldRuleAdd { rule: HoldRule::default() });
    assert!(matches!(answer, Answer::HoldRule { held: 4, .. }), "all that isn't held yet: {answer:?}");
}

/// Lets commits go on at its end, so that a test that fails ends.
struct LetGo<'a>(&'a MemoryEngine);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        self.0.hold_commits(false);
    }
}

#[test]
fn a_message_that_waits_for_the_disk_with_a_new_rule_is_held() {
    let engine = Arc::new(MemoryEngine::new());
    let server = start_on(Arc::clone(&engine), "$ORIGIN example.");
    let committed = engine.commits();
    let add = Request::HoldRuleAdd { rule: HoldRule::default() };
    engine.hold_commits(true);
    std::thread::scope(|scope| {
        let held = LetGo(&engine);
        let (server, add) = (&server, &add);
        let adding = scope.spawn(move || server.ok(add).1);
        wait_until(|| engine.waiting_commits() == 1);
        // There is no rule yet.
        let coming = scope.spawn(move || enqueue(server, "anna", &["a@one.example"])[0]);
        let queued = &server.shared.committer.metrics().queue_members;
        wait_until(|| queued.load(Ordering::Relaxed) == 1);
        engine.let_one_commit();
        wait_until(|| engine.commits() == committed + 1 && engine.waiting_commits() == 1);
        // Longer than the rule waits before it looks again.
        std::thread::sleep(2 * super::rules::SETTLING);
        assert!(!adding.is_finished(), "it was not waited for");
        drop(held);
        let (id, answer) = (coming.join().unwrap(), adding.join().unwrap());
        assert!(matches!(answer, Answer::HoldRule { held: 1, .. }), "{answer:?}");
        assert_ne!(row(server, id).unwrap().held, Held::No);
    });
}

#[test]
fn notify_is_shown_as_it_was_sent() {
    let shown = |success, failure, delay| super::rows::notify(Notify { success, failure, delay });
    assert_eq!(shown(false, false, false), "NEVER");
    assert_eq!(shown(true, false, true), "SUCCESS,DELAY");
}
