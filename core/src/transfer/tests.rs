//! Imports and exports on a running server, over its control socket.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postrider_proto::imap::types::{Flags, Uid};
use postrider_storage::account::Content;
use postrider_storage::blobs::BlobReader;
use postrider_storage::engine::memory::{Crash, MemoryEngine};

use super::source::{PIECE_OCTETS, moment};
use crate::control::protocol::{Answer, FailureKind, Format, Request, Secret};
use crate::testing::TestServer;

fn with_account(server: &TestServer, name: &str) {
    let domain = Request::DomainAdd { domain: "example.org".to_owned(), disabled: false };
    // It is there already for the second one.
    let _ = server.call(&domain);
    server.ok(&Request::AccountAdd {
        account: name.to_owned(),
        address: format!("{name}@example.org"),
        password: Secret("long enough".to_owned()),
        quota: None,
    });
}

fn import(format: Format, account: &str, mailbox: &str, path: &Path) -> Request {
    let (account, mailbox) = (account.to_owned(), mailbox.to_owned());
    Request::Import { format, account, mailbox, path: path.to_owned() }
}

fn export(format: Format, account: &str, mailbox: Option<&str>, path: &Path) -> Request {
    let (account, mailbox) = (account.to_owned(), mailbox.map(str::to_owned));
    Request::Export { format, account, mailbox, path: path.to_owned() }
}

fn transferred(answer: Answer) -> (u64, Vec<String>) {
    let Answer::Transferred { messages, skipped, skipped_count, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(skipped.len() as u64, skipped_count);
    (messages, skipped)
}

/// A message, as a client would see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    mailbox: String,
    content: Vec<u8>,
    flags: u8,
    keywords: Vec<String>,
    received: i64,
}

/// All messages of an account, by mailbox and uid.
fn seen(server: &TestServer, account: &str) -> Vec<Seen> {
    let id = server.account(account).unwrap();
    let reader = server.shared.store.reader();
    let mut all = Vec::new();
    for mailbox in reader.mailboxes(id) {
        let (mailbox, row) = mailbox.unwrap();
        for message in reader.messages(id, mailbox, Uid::MIN..=Uid::MAX) {
            let (_, message) = message.unwrap();
            let email = reader.email(id, message.email).unwrap().unwrap();
            let mut content = email.prefix.to_vec();
            let size = email.size - content.len() as u64;
            let mut octets = BlobReader::new(Content { blob: email.blob, size }, 0..size);
            while let Some(piece) = octets.read(&reader).unwrap() {
                content.extend_from_slice(&piece);
            }
            assert_eq!(content.len() as u64, email.size);
            let keyword = |id| reader.keyword(server.account(account).unwrap(), id).unwrap().unwrap();
            let mut keywords: Vec<_> = message.keywords.iter().map(|id| keyword(*id).to_string()).collect();
            keywords.sort();
            let flags = message.flags.bits();
            let mailbox = row.name.to_string();
            all.push(Seen { mailbox, content, flags, keywords, received: message.received });
        }
    }
    all.sort_by(|a, b| a.mailbox.cmp(&b.mailbox));
    all
}

/// Makes a Maildir folder of files with these names and contents, dated one by one.
fn maildir(path: &Path, files: &[(&str, &str)]) {
    for directory in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(directory)).unwrap();
    }
    for (at, (name, content)) in (0..).zip(files) {
        fs::write(path.join(name), content).unwrap();
        let file = fs::File::options().write(true).open(path.join(name)).unwrap();
        file.set_modified(moment(1_000_000_000 + at)).unwrap();
    }
}

fn sample(server: &TestServer) -> PathBuf {
    let path = server.path("maildir");
    let long = format!("Subject: long\n\n{}\n", "0123456789abcde\n".repeat(PIECE_OCTETS / 8));
    maildir(
        &path,
        &[
            ("cur/1.a.host:2,FSa", "Subject: one\n\nFrom here\n>From there\n\nFrom me to you\n"),
            ("new/2.b.host", "Subject: two\r\n\r\nalready CRLF\r\n"),
            ("cur/3.c.host:2,DRTPc", "Subject: three\n\nends without a line end"),
            ("cur/10.d.host:2,", &long),
        ],
    );
    fs::write(path.join("dovecot-keywords"), "0 $Junk\n2 work\n").unwrap();
    maildir(&path.join(".Sent"), &[("cur/1.x:2,S", "Status: mine\nSubject: sent\n\n\n\n")]);
    maildir(&path.join(".A.B%2EC"), &[("cur/1.x:2,", "\nno header\n")]);
    path
}

#[test]
fn a_maildir_is_imported_with_flags_keywords_dates_and_folders() {
    let server = TestServer::start();
    with_account(&server, "anna");
    let path = sample(&server);
    let (came, answer) = server.call(&import(Format::Maildir, "anna", "Inbox", &path));
    assert_eq!(transferred(answer.unwrap()), (6, vec![]));
    assert!(came.data.is_empty());
    let all = seen(&server, "anna");
    let names: Vec<_> = all.iter().map(|seen| seen.mailbox.as_str()).collect();
    assert_eq!(names, ["A/B.C", "Inbox", "Inbox", "Inbox", "Inbox", "Sent"]);
    let [_, one, two, three, long, _] = &all[..] else { panic!("{}", all.len()) };
    assert_eq!(one.content, b"Subject: one\r\n\r\nFrom here\r\n>From there\r\n\r\nFrom me to you\r\n");
    assert_eq!(one.flags, Flags::SEEN.with(Flags::FLAGGED).bits());
    assert_eq!((one.keywords.join(" ").as_str(), one.received), ("$Junk", 1_000_000_000));
    assert_eq!(two.content, b"Subject: two\r\n\r\nalready CRLF\r\n");
    assert_eq!((two.flags, two.received), (0, 1_000_000_001));
    assert_eq!(three.content, b"Subject: three\r\n\r\nends without a line end");
    assert_eq!(three.flags, Flags::DRAFT.with(Flags::ANSWERED).with(Flags::DELETED).bits());
    assert_eq!(three.keywords, ["$Forwarded", "work"]);
    assert!(long.content.len() > PIECE_OCTETS && long.content.ends_with(b"0123456789abcde\r\n\r\n"));
}

#[test]
fn what_can_not_be_imported_is_named_and_the_rest_goes_on() {
    let server = TestServer::start();
    with_account(&server, "anna");
    let path = server.path("maildir");
    maildir(
        &path,
        &[("cur/1.a", "Subject: a\n\n"), ("cur/2.b", ""), ("cur/4.d", "Subject: d\n\n"), ("cur/.x", "x")],
    );
    fs::create_dir(path.join("cur/3.c")).unwrap();
    fs::create_dir_all(path.join(".bad..name/cur")).unwrap();
    let (_, answer) = server.ok(&import(Format::Maildir, "anna", "Old/2020", &path));
    let (messages, skipped) = transferred(answer);
    assert_eq!((messages, skipped.len()), (2, 3), "{skipped:?}");
    assert!(skipped[0].contains(".bad..name: its name"), "{skipped:?}");
    assert!(skipped[1].contains("cur/3.c") || skipped[2].contains("cur/3.c"), "{skipped:?}");
    assert!(skipped.iter().any(|what| what.ends_with("cur/2.b: it is empty")), "{skipped:?}");
    assert!(seen(&server, "anna").iter().all(|seen| seen.mailbox == "Old/2020"));
}

#[test]
fn exports_come_back_as_they_were() {
    let server = TestServer::start();
    for name in ["anna", "bert", "carl"] {
        with_account(&server, name);
    }
    server.ok(&import(Format::Maildir, "anna", "Inbox", &sample(&server)));
    let before = seen(&server, "anna");

    let path = server.path("as maildir");
    let (_, answer) = server.ok(&export(Format::Maildir, "anna", None, &path));
    assert_eq!(transferred(answer), (6, vec![]));
    server.ok(&import(Format::Maildir, "bert", "Inbox", &path));
    assert_eq!(seen(&server, "bert"), before);

    let path = server.path("as mbox");
    let (_, answer) = server.ok(&export(Format::Mbox, "anna", None, &path));
    assert_eq!(transferred(answer), (6, vec![]));
    for (file, mailbox) in [("Inbox", "Inbox"), ("Sent", "Sent"), ("A.B%2EC", "A/B.C")] {
        server.ok(&import(Format::Mbox, "carl", mailbox, &path.join(format!("{file}.mbox"))));
    }
    let mut expected = before;
    // An mbox has lines only.
    let open_end = expected.iter_mut().find(|seen| seen.content.ends_with(b"without a line end")).unwrap();
    open_end.content.extend_from_slice(b"\r\n");
    let (found, expected) = (seen(&server, "carl"), expected);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!(found == expected, "{}: {:?} {:?}", found.mailbox, found.keywords, expected.keywords);
    }
    // Each format refuses what is there.
    let (kind, message) = server.fails(&export(Format::Maildir, "anna", None, &path));
    assert!(kind == FailureKind::Exists && message.contains("is there already"), "{message}");
    assert!(!server.path("as mbox.incomplete").exists());
}

#[test]
fn one_mailbox_is_exported_alone() {
    let server = TestServer::start();
    with_account(&server, "anna");
    server.ok(&import(Format::Maildir, "anna", "Inbox", &sample(&server)));
    let path = server.path("out");
    let (_, answer) = server.ok(&export(Format::Maildir, "anna", Some("Sent"), &path));
    assert_eq!(transferred(answer).0, 1);
    let files: Vec<_> =
        fs::read_dir(path.join("cur")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.len() == 1 && files[0].to_str().unwrap().ends_with(":2,S"), "{files:?}");
    let missing = export(Format::Mbox, "anna", Some("Nothing"), &server.path("other"));
    assert_eq!(server.fails(&missing).0, FailureKind::NotFound);
    assert!(!server.path("other.incomplete").exists());
}

#[test]
fn an_mbox_of_other_programs_is_imported() {
    let server = TestServer::start();
    with_account(&server, "anna");
    let path = server.path("mbox");
    let text = "From a@example.org Thu Jan  1 00:00:10 1970\nSubject: 1\nStatus: RO\nX-Status: AF\nX-Keywords: work $Junk\n\n\
                >From quoted\nFrom unquoted, but not after an empty line\n\n\
                From b@example.org Thu Jan  1 00:00:20 1970\r\nSubject: 2\r\n\r\nbody\r\n\r\n\r\n\
                From nobody at all\n\n\
                From c Thu Jan  1 00:00:30 1970\nSubject: 3\n\nno end";
    fs::write(&path, text).unwrap();
    let (_, answer) = server.ok(&import(Format::Mbox, "anna", "New/Box", &path));
    let (messages, skipped) = transferred(answer);
    assert_eq!((messages, skipped.len()), (3, 1), "{skipped:?}");
    assert!(skipped[0].contains("line 16 of"), "{skipped:?}");
    let [one, two, three] = &seen(&server, "anna")[..] else { panic!("not three") };
    // Only what our export adds is taken away.
    let header = "Subject: 1\r\nStatus: RO\r\nX-Status: AF\r\nX-Keywords: work $Junk\r\n\r\n";
    let body = "From quoted\r\nFrom unquoted, but not after an empty line\r\n";
    assert_eq!(String::from_utf8(one.content.clone()).unwrap(), format!("{header}{body}"));
    assert_eq!(one.flags, Flags::SEEN.with(Flags::ANSWERED).with(Flags::FLAGGED).bits());
    assert_eq!((one.keywords.join(" ").as_str(), one.received), ("$Junk work", 10));
    assert_eq!((two.content.as_slice(), two.received), (&b"Subject: 2\r\n\r\nbody\r\n\r\n"[..], 20));
    assert_eq!((three.content.as_slice(), three.received), (&b"Subject: 3\r\n\r\nno end"[..], 30));
}

#[test]
fn wrong_paths_are_refused_with_the_reason() {
    let server = TestServer::start();
    with_account(&server, "anna");
    fs::write(server.path("text"), "hello").unwrap();
    fs::create_dir(server.path("empty")).unwrap();
    for (format, path, why) in [
        (Format::Maildir, "nothing", "No such file"),
        (Format::Maildir, "empty", "no Maildir"),
        (Format::Maildir, "text", "Not a directory"),
        (Format::Mbox, "nothing", "No such file"),
        (Format::Mbox, "empty", "not a regular file"),
        (Format::Mbox, "text", "no mbox"),
    ] {
        let (kind, message) = server.fails(&import(format, "anna", "Inbox", &server.path(path)));
        assert!(kind == FailureKind::Files && message.contains(why), "{path}: {message}");
    }
    let (_, message) = server.fails(&import(Format::Mbox, "anna", "Inbox", Path::new("text")));
    assert!(message.contains("absolute"), "{message}");
    let unknown = import(Format::Mbox, "bert", "Inbox", &server.path("text"));
    assert_eq!(server.fails(&unknown).0, FailureKind::NotFound);
    let below_nothing = export(Format::Mbox, "anna", None, &server.path("no/where"));
    assert_eq!(server.fails(&below_nothing).0, FailureKind::Files);
}

/// Many small messages of known content.
fn many(path: &Path, count: usize) {
    for directory in ["cur", "new"] {
        fs::create_dir_all(path.join(directory)).unwrap();
    }
    for number in 0..count {
        fs::write(path.join(format!("cur/{number}.x:2,")), message(number)).unwrap();
    }
}

fn message(number: usize) -> String {
    format!("Message-ID: <{number}@example.org>\n\nmessage {number}\n{}\n", "x".repeat(number % 700))
}

fn assert_whole(server: &TestServer, account: &str, most: usize) -> usize {
    let all = seen(server, account);
    for (number, seen) in all.iter().enumerate() {
        assert_eq!(String::from_utf8_lossy(&seen.content), message(number).replace('\n', "\r\n"));
    }
    assert!(all.len() <= most);
    all.len()
}

#[test]
fn a_full_quota_ends_an_import_and_what_fits_stays() {
    let server = TestServer::start();
    with_account(&server, "anna");
    let path = server.path("many");
    many(&path, 250);
    let octets: usize = (0..150).map(|number| message(number).replace('\n', "\r\n").len()).sum();
    let quota = Some(octets as u64);
    server.ok(&Request::AccountSetQuota { account: "anna".to_owned(), quota });
    let (kind, message) = server.fails(&import(Format::Maildir, "anna", "Inbox", &path));
    assert!(kind == FailureKind::Invalid && message.contains("quota"), "{message}");
    assert!(message.contains("150 messages were imported before"), "{message}");
    assert_eq!(assert_whole(&server, "anna", 150), 150);
}

#[test]
fn a_client_that_goes_away_ends_an_import_with_whole_messages() {
    let server = TestServer::start();
    with_account(&server, "anna");
    let path = server.path("many");
    many(&path, 3000);
    let mut client = UnixStream::connect(server.socket()).unwrap();
    let request = serde_json::to_string(&import(Format::Maildir, "anna", "Inbox", &path)).unwrap();
    client.write_all(format!("{request}\n").as_bytes()).unwrap();
    // The greeting, and the beginning of the first report of progress, or of the end.
    let mut octets = [0; 64];
    client.read_exact(&mut octets).unwrap();
    drop(client);
    let id = server.account("anna").unwrap();
    let count = || server.shared.store.reader().head(id).unwrap().unwrap().messages;
    let last = std::cell::Cell::new(u64::MAX);
    crate::testing::wait_until(|| {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = count();
        last.replace(now) == now
    });
    assert_whole(&server, "anna", 3000);
}

#[test]
fn a_killed_import_leaves_whole_messages_only() {
    let engine = Arc::new(MemoryEngine::new());
    let server = TestServer::on(Arc::clone(&engine) as _);
    with_account(&server, "anna");
    let path = server.path("many");
    many(&path, 2000);
    // Large ones are written by several batches.
    fs::write(path.join("cur/500.y:2,"), "x".repeat(300_000)).unwrap();
    let socket = server.socket().to_owned();
    let request = import(Format::Maildir, "anna", "Inbox", &path);
    let thread = std::thread::spawn(move || {
        let client = crate::control::Client::connect(&socket).unwrap();
        client.call(&request, None, &mut crate::testing::Came::default())
    });
    let id = server.account("anna").unwrap();
    let count = || server.shared.store.reader().head(id).unwrap().unwrap().messages;
    crate::testing::wait_until(|| count() >= 400);
    // From here on nothing reaches the disk.
    engine.fail_commit(1, postrider_storage::engine::memory::Fault::Sync);
    assert!(thread.join().unwrap().is_err());
    engine.crash(Crash::LoseUnsynced);
    server.verify();
    let stored = count();
    assert!((400..2000).contains(&stored), "{stored}");
    let all = seen(&server, "anna");
    assert_eq!(all.len() as u64, stored);
    let texts: Vec<String> = (0..2000).map(|number| message(number).replace('\n', "\r\n")).collect();
    for seen in &all {
        let text = String::from_utf8_lossy(&seen.content);
        assert!(text.len() == 300_000 || texts.iter().any(|known| *known == text), "{text:.60}");
    }
}
