//! Indexes that a server builds by itself, and those that an operator asks for.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::sync::Arc;

use postrider_proto::mime::text::Needle;
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::ids::{AccountId, EmailId};
use postrider_storage::keys::{self, table};
use postrider_storage::text::Hits;

use super::is_on;
use super::lookup::{TEXT, Wanted, look_up};
use crate::config::{Config, TextIndex};
use crate::control::protocol::{Answer, FailureKind, Format, Request, Secret, TextIndexStatus};
use crate::testing::{TestServer, wait_until};

fn server(engine: &Arc<MemoryEngine>, text_index: TextIndex) -> TestServer {
    TestServer::with(Arc::clone(engine) as _, |config: &mut Config| config.search.text_index = text_index)
}

fn add_account(server: &TestServer) -> AccountId {
    server.ok(&Request::DomainAdd { domain: "example.org".to_owned(), disabled: false });
    server.ok(&Request::AccountAdd {
        account: "anna".to_owned(),
        address: "anna@example.org".to_owned(),
        password: Secret("long enough".to_owned()),
        quota: None,
    });
    server.account("anna").unwrap()
}

/// Imports messages with numbers from `first` on.
fn import(server: &TestServer, first: usize, count: usize) {
    let path = server.path(&format!("maildir{first}"));
    fs::create_dir_all(path.join("cur")).unwrap();
    for number in first..first + count {
        let text = format!("Subject: letter\n\nnumber{number} of many, multiple of {}\n", number % 10);
        fs::write(path.join(format!("cur/{number}.x:2,")), text).unwrap();
    }
    let (account, mailbox) = ("anna".to_owned(), "Inbox".to_owned());
    server.ok(&Request::Import { format: Format::Maildir, account, mailbox, path });
}

fn find(server: &TestServer, account: AccountId, text: &'static str) -> Option<Hits> {
    server.at_home(account, move |shard| {
        Box::pin(async move {
            if !is_on(&shard) {
                return None;
            }
            let needle = Needle::new(text);
            let wanted = [Wanted { needle: &needle, places: TEXT }];
            let (pool, store) = (&shard.shared.pool, &shard.shared.store);
            let demand = shard.accounts.text();
            look_up(pool, store, demand, account, wanted.into_iter()).await.unwrap().pop().unwrap()
        })
    })
}

/// How many emails have it, as the index says; none when it doesn't tell of all `emails`.
fn count(hits: &Hits, emails: u64) -> Option<usize> {
    let told: Option<Vec<bool>> = (1..=emails).map(|email| hits.decide(EmailId(email))).collect();
    Some(told?.into_iter().filter(|is_in| *is_in).count())
}

fn status(server: &TestServer) -> TextIndexStatus {
    let (_, answer) = server.ok(&Request::IndexStatus { account: "anna".to_owned() });
    let Answer::TextIndex(status) = answer else { panic!("{answer:?}") };
    status
}

#[test]
fn the_first_search_of_texts_has_an_index_built_and_further_ones_have_it_grow() {
    let engine = Arc::new(MemoryEngine::new());
    let server = server(&engine, TextIndex::Used);
    let anna = add_account(&server);
    import(&server, 0, 300);
    assert!(!status(&server).exists);
    assert_eq!(find(&server, anna, "number7"), None);
    wait_until(|| status(&server).emails == 300);
    let hits = find(&server, anna, "number7").unwrap();
    let next = status(&server).next;
    let first = next - 300;
    assert_eq!(count(&hits, next - 1), Some(11), "7 and 70 to 79");
    // Too few to be worth it.
    import(&server, 300, 100);
    let hits = find(&server, anna, "number7").unwrap();
    assert_eq!(count(&hits, next - 1), Some(11));
    assert_eq!(hits.decide(EmailId(next)), None, "what is new is not in the index");
    assert_eq!(status(&server).emails, 300);
    import(&server, 400, 200);
    find(&server, anna, "number7");
    wait_until(|| status(&server).emails == 600);
    let hits = find(&server, anna, "NUMBER59").unwrap();
    assert_eq!(count(&hits, first + 599), Some(11), "59 and 590 to 599");
    server.verify();
    // It goes with the account.
    let rows = [table::TEXT, table::TERMS, table::POSTINGS].map(|table| keys::of_table(anna.get(), table));
    let are_there = || {
        let reader = server.shared.store.reader();
        rows.clone().map(|prefix| reader.prefix(&prefix).next().is_some())
    };
    assert_eq!(are_there(), [true; 3]);
    server.ok(&Request::AccountRemove { account: "anna".to_owned() });
    wait_until(|| are_there() == [false; 3]);
}

#[test]
fn an_operator_rebuilds_an_index_and_one_that_is_off_is_neither_built_nor_used() {
    let engine = Arc::new(MemoryEngine::new());
    let running = server(&engine, TextIndex::Used);
    let anna = add_account(&running);
    import(&running, 0, 20);
    let rebuild = Request::IndexRebuild { account: "anna".to_owned() };
    for _ in 0..2 {
        let (_, answer) = running.ok(&rebuild);
        let Answer::TextIndex(status) = answer else { panic!("{answer:?}") };
        assert_eq!((status.exists, status.emails, status.segments), (true, 20, 1));
        assert_eq!(status.covered, status.next);
        assert!(status.terms > 20 && status.octets > 100, "{status:?}");
    }
    assert!(find(&running, anna, "number7").is_some());
    let nobody = Request::IndexRebuild { account: "nobody".to_owned() };
    assert_eq!(running.fails(&nobody).0, FailureKind::NotFound);
    drop(running);
    let off = server(&engine, TextIndex::Off);
    assert_eq!(find(&off, anna, "number7"), None);
    assert_eq!(off.fails(&rebuild).0, FailureKind::Invalid);
}

#[test]
fn every_account_is_indexed_when_that_is_configured() {
    let engine = Arc::new(MemoryEngine::new());
    let before = server(&engine, TextIndex::Used);
    let anna = add_account(&before);
    import(&before, 0, 300);
    drop(before);
    let always = server(&engine, TextIndex::Always);
    wait_until(|| status(&always).emails == 300);
    assert!(find(&always, anna, "number7").is_some());
}
