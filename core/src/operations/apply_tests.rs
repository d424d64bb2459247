//! Documents of many accounts, over the control socket, and what a process that ended leaves of them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use postrider_proto::address::Address;
use postrider_storage::directory::{
    self, Apply, Directory, Finish, Mode, Options, PENDING_OCTETS_MAX, Recipient, Resolution, plan_state,
};
use postrider_storage::engine::memory::{Fault, MemoryEngine};
use postrider_storage::engine::{Batch, Durability, Engine};

use crate::control::protocol::{Answer, FailureKind, Request, Secret};
use crate::control::{Client, ClientError};
use crate::testing::{Came, TestServer, wait_until};

/// Enough that it is staged in several batches.
const ACCOUNTS: usize = 2500;

fn document(accounts: usize, mark: &str) -> String {
    let mut text = "version = 1\n[domain.\"many.example\"]\n".to_owned();
    for number in 0..accounts {
        write!(
            text,
            "[account.user{number}]\ndomain = \"many.example\"\nfull_name = \"{mark}\"\n\
             addresses = [\"user{number}@many.example\", \"{mark}{number}@many.example\"]\n"
        )
        .unwrap();
    }
    text
}

fn apply(server: &TestServer, text: &str, dry_run: bool) -> (Came, Result<Answer, ClientError>) {
    server.call_with(&Request::DirectoryApply { dry_run, files: None }, Some(text))
}

fn resolves(server: &TestServer, address: &str) -> bool {
    let reader = server.shared.store.reader();
    let address = Address::parse(address).unwrap();
    let found = Directory::new(reader.snapshot()).resolve(Recipient::Address(&address), &[]).unwrap();
    matches!(found, Resolution::Account { .. })
}

fn plan_is_gone(server: &TestServer) -> bool {
    plan_state(&*server.shared.store.engine().snapshot()).unwrap().is_none()
}

#[test]
fn many_accounts_are_applied_as_one_transaction_and_exported() {
    let server = TestServer::start();
    let text = document(ACCOUNTS, "first");
    let changes = 1 + 3 * ACCOUNTS as u64;
    let (tried, answer) = apply(&server, &text, true);
    assert_eq!(answer.unwrap(), Answer::Applied { changes });
    assert!(plan_is_gone(&server) && !resolves(&server, "user7@many.example"));
    let (made, answer) = apply(&server, &text, false);
    assert_eq!(answer.unwrap(), Answer::Applied { changes });
    assert_eq!(made.data, tried.data);
    assert!(plan_is_gone(&server));
    let last = ACCOUNTS - 1;
    assert!(resolves(&server, &format!("user{last}@many.example")));
    let (mailboxes, _) = server.ok(&Request::AccountShow { account: format!("user{last}") });
    assert_eq!(mailboxes.lines().count(), 6);
    let (exported, _) = server.ok(&Request::DirectoryExport);
    assert_eq!(exported.matches("[account.").count(), ACCOUNTS);
    assert_eq!(apply(&server, &exported, false).1.unwrap(), Answer::Applied { changes: 0 });

    // Some of them go, the others get another name and another address.
    const GONE: usize = 20;
    let gone = server.account(&format!("user{last}")).unwrap();
    let fewer = document(ACCOUNTS - GONE, "second");
    let Answer::Applied { changes } = apply(&server, &fewer, false).1.unwrap() else { panic!("not applied") };
    assert_eq!(changes, (3 * (ACCOUNTS - GONE) + GONE) as u64);
    assert!(!resolves(&server, "first7@many.example") && resolves(&server, "second7@many.example"));
    wait_until(|| {
        let reader = server.shared.store.reader();
        Directory::new(reader.snapshot()).removed_accounts(10).unwrap().is_empty()
    });
    assert!(server.shared.store.reader().head(gone).unwrap().is_none(), "its rows are erased");
}

/// Gives what a test sends it, and says when the next is asked for.
struct Fed {
    chunks: Receiver<Vec<u8>>,
    asked: Sender<()>,
    rest: Vec<u8>,
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() {
            let _ = self.asked.send(());
            match self.chunks.recv() {
                Ok(chunk) if chunk.is_empty() => return Err(std::io::Error::other("the client goes away")),
                Ok(chunk) => self.rest = chunk,
                Err(_) => return Ok(0),
            }
        }
        let octets = buffer.len().min(self.rest.len());
        buffer[..octets].copy_from_slice(&self.rest[..octets]);
        self.rest.drain(..octets);
        Ok(octets)
    }
}

#[test]
fn meanwhile_other_changes_are_refused_and_a_client_that_goes_away_leaves_nothing() {
    let server = TestServer::start();
    server.ok(&Request::DomainAdd { domain: "many.example".to_owned(), disabled: false });
    let add = |name: &str| Request::AccountAdd {
        account: name.to_owned(),
        address: format!("{name}@many.example"),
        password: Secret("first password".to_owned()),
        quota: None,
    };
    server.ok(&add("before"));
    let (exported, _) = server.ok(&Request::DirectoryExport);
    let (feed, chunks) = channel();
    let (asked, is_asked) = channel();
    let socket = server.socket().to_owned();
    let applying = std::thread::spawn(move || {
        let mut fed = Fed { chunks, asked, rest: Vec::new() };
        let request = Request::DirectoryApply { dry_run: false, files: None };
        Client::connect(&socket).unwrap().call(&request, Some(&mut fed), &mut Came::default())
    });
    // All but the end.
    is_asked.recv().unwrap();
    feed.send(document(20_000, "x").into_bytes()).unwrap();
    is_asked.recv().unwrap();
    wait_until(|| !plan_is_gone(&server));
    let (kind, message) = server.fails(&add("meanwhile"));
    assert_eq!(kind, FailureKind::Unavailable);
    assert_eq!(message, "a document is being applied to the directory; try again when that is done");
    assert!(apply(&server, &exported, false).1.is_err());
    assert!(resolves(&server, "before@many.example") && !resolves(&server, "user1@many.example"));
    assert_eq!(server.ok(&Request::DirectoryExport).0, exported);
    feed.send(Vec::new()).unwrap();
    assert!(matches!(applying.join().unwrap(), Err(ClientError::Local(_))));
    wait_until(|| plan_is_gone(&server));
    wait_until(|| server.call(&add("after")).1.is_ok());
    assert!(resolves(&server, "before@many.example") && !resolves(&server, "user1@many.example"));
}

#[test]
fn faults_of_a_large_document_are_told_with_their_lines_and_change_nothing() {
    let server = TestServer::start();
    let text = format!("{}[account.zulu]\ndomain = \"many.example\"\n", document(ACCOUNTS, "x"));
    let line = 1 + text.lines().count();
    // Of two that are the same, that of the account whose name comes later is told.
    let twice = format!("{text}addresses = [\"USER5@many.example\"]\n");
    let error = apply(&server, &twice, false).1.unwrap_err().to_string();
    assert_eq!(error, format!("line {line}: USER5@many.example is given twice"));
    let nowhere = format!("{text}addresses = [\"user5@nowhere.example\"]\n");
    let error = apply(&server, &nowhere, false).1.unwrap_err().to_string();
    assert_eq!(error, format!("line {line}: there is no domain nowhere.example; add it first"));
    let short = format!("{text}password = \"short\"\n");
    assert!(apply(&server, &short, false).1.unwrap_err().to_string().starts_with(&format!("line {line}: ")));
    assert!(plan_is_gone(&server) && server.account("user1").is_none());
}

/// As a process that ended left it: a plan with a first part, or whole and sealed.
fn left_behind(engine: &MemoryEngine, text: &str, sealed: bool) {
    let mut apply = Apply::new(Options {
        mode: Mode::Make,
        limits: directory::Limits::DEFAULT,
        now: 1,
        first_rows: Batch::new(),
        derive: Box::new(|_| Err("none".to_owned())),
        read_key: Box::new(|_| Err("none".to_owned())),
        pending_octets_max: PENDING_OCTETS_MAX,
    });
    apply.text(Some(text.as_bytes()));
    apply.text(None);
    while !apply.is_done() {
        let step = apply.step(&*engine.snapshot()).unwrap();
        engine.commit(step.batch, Durability::Buffered).unwrap();
        if apply.is_staged() && !sealed {
            return;
        }
    }
    let Finish::Seal(batch) = apply.finish(&*engine.snapshot()).unwrap() else { panic!("not staged") };
    engine.commit(batch, Durability::Synced).unwrap();
}

#[test]
fn what_a_process_that_ended_left_is_settled_at_start() {
    let text = document(ACCOUNTS, "x");
    for sealed in [false, true] {
        let engine = Arc::new(MemoryEngine::new());
        drop(TestServer::on(Arc::clone(&engine) as Arc<dyn Engine>));
        left_behind(&engine, &text, sealed);
        let server = TestServer::on(Arc::clone(&engine) as Arc<dyn Engine>);
        assert_eq!(resolves(&server, "user9@many.example"), sealed, "at once");
        wait_until(|| plan_is_gone(&server));
        assert_eq!(resolves(&server, "user9@many.example"), sealed);
        assert_eq!(server.account("user9").is_some(), sealed);
        let add = Request::DomainAdd { domain: "more.example".to_owned(), disabled: false };
        wait_until(|| server.call(&add).1.is_ok());
    }
}

#[test]
fn a_store_that_takes_no_writes_fails_a_large_change_as_a_whole() {
    let text = document(ACCOUNTS, "x");
    for commit in [2, 4] {
        let engine = Arc::new(MemoryEngine::new());
        let server = TestServer::on(Arc::clone(&engine) as Arc<dyn Engine>);
        engine.fail_commit(commit, Fault::Full);
        let error = apply(&server, &text, false).1.unwrap_err();
        let ClientError::Failed(failure) = error else { panic!("{error}") };
        assert_eq!(failure.kind, FailureKind::Unavailable, "{failure}");
        assert!(!resolves(&server, "user9@many.example"));
        // There is room again: the next change first does away with what was left.
        server.shared.committer.reopen().unwrap();
        server.ok(&Request::DomainAdd { domain: "other.example".to_owned(), disabled: false });
        assert!(plan_is_gone(&server) && !resolves(&server, "user9@many.example"));
    }
}
