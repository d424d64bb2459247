//! What a dialog of one account can't show of APPEND and URLs: other accounts on other shards, and clients
//! that go away in the middle.

use postrider_proto::imap::mailbox::MailboxName;
use postrider_storage::blobs;
use postrider_storage::engine::{Durability, Space};
use postrider_storage::ids::BlobId;
use postrider_storage::keys::{SYSTEM, of_table, table};

use super::server::{Peer, Server, Setup};
use crate::testing::wait_until;

fn log_in(server: &Server, name: &str) -> Peer {
    let mut peer = server.connect();
    peer.line();
    peer.authenticate(&format!("{name}@localhost"), "localserve");
    assert!(peer.line().starts_with("login OK "));
    peer
}

/// Sends a command; the lines of its answer.
fn ask(peer: &mut Peer, command: &str) -> Vec<String> {
    peer.send(format!("t {command}\r\n").as_bytes());
    let mut lines = Vec::new();
    loop {
        let line = peer.line();
        assert!(line != "EOF" && !line.starts_with("NOTHING"), "{command}: {lines:?} {line}");
        let is_last = line.starts_with("t ");
        lines.push(line);
        if is_last {
            return lines;
        }
    }
}

/// Authorises a URL and gives it back.
fn authorised(peer: &mut Peer, url: &str) -> String {
    let lines = ask(peer, &format!("GENURLAUTH \"imap://user%40localhost@localhost{url}\" INTERNAL"));
    assert_eq!(lines.last().unwrap(), "t OK authorised");
    lines[0].strip_prefix("* GENURLAUTH \"").unwrap().strip_suffix('"').unwrap().to_owned()
}

fn fetched(peer: &mut Peer, url: &str) -> Option<String> {
    let lines = ask(peer, &format!("URLFETCH \"{url}\""));
    assert_eq!(lines.last().unwrap(), "t OK done");
    let start = format!("* URLFETCH \"{url}\" ");
    let told = lines[0].strip_prefix(&start).unwrap();
    (told != "NIL").then(|| lines[1..lines.len() - 1].join("\n"))
}

#[test]
fn urls_lead_to_mailboxes_of_other_accounts_on_other_shards() {
    let server = Server::start(&Setup {
        shards: 3,
        submission_servers: vec!["submit".to_owned()],
        ..Setup::default()
    });
    let names = ["other", "submit", "third"];
    for name in names {
        server.add_account(name);
    }
    let mut user = log_in(&server, "user");
    ask(&mut user, "APPEND Inbox {5+}\r\nwords");
    let everybody = authorised(&mut user, "/Inbox/;UID=1;URLAUTH=anonymous");
    let users = authorised(&mut user, "/Inbox/;UID=1/;PARTIAL=0.4;URLAUTH=authuser");
    let other = authorised(&mut user, "/Inbox/;UID=1;URLAUTH=user+other%40localhost");
    let submission = authorised(&mut user, "/Inbox/;UID=1;URLAUTH=submit+user%40localhost");
    let mut peers = names.map(|name| log_in(&server, name));
    for (name, peer) in names.iter().zip(&mut peers) {
        assert_eq!(fetched(peer, &everybody).as_deref(), Some("words"), "{name}");
        assert_eq!(fetched(peer, &users).as_deref(), Some("word"), "{name}");
        assert_eq!(fetched(peer, &other).is_some(), *name == "other", "{name}");
        assert_eq!(fetched(peer, &submission).is_some(), *name == "submit", "{name}");
        // The token is of the user's mailbox, not of a mailbox of that name.
        assert_eq!(fetched(peer, &everybody.replace("user%40", &format!("{name}%40"))), None);
        assert_eq!(fetched(peer, &everybody.replace("user%40", "nobody%40")), None);
        // Nor does it give access to anything else.
        let refused = ask(
            peer,
            "GENURLAUTH \"imap://user%40localhost@localhost/Inbox/;UID=1;URLAUTH=anonymous\" INTERNAL",
        );
        assert_eq!(refused, ["t BAD a URL isn't of a mailbox of yours"]);
        let refused =
            ask(peer, "APPEND Inbox CATENATE (URL \"imap://user%40localhost@localhost/Inbox/;UID=1\")");
        assert!(refused[0].starts_with("t NO [BADURL "), "{refused:?}");
    }
    // Forward without download, also of what was submitted for another.
    let [peer, ..] = &mut peers;
    let appended = ask(peer, &format!("APPEND Inbox CATENATE (TEXT {{1+}}\r\n! URL \"{everybody}\")"));
    assert!(appended[0].starts_with("t OK [APPENDUID "), "{appended:?}");
    ask(&mut user, "SELECT Inbox");
    ask(&mut user, "UID MOVE 1 Trash");
    assert_eq!(fetched(peer, &everybody), None);
    ask(peer, "EXAMINE Inbox");
    let lines = ask(peer, "FETCH 1 BODY.PEEK[]");
    assert_eq!(lines[1], "!words)");
}

#[test]
fn long_content_is_streamed_to_another_account() {
    let server = Server::start(&Setup { shards: 2, ..Setup::default() });
    server.add_account("other");
    let mut user = log_in(&server, "user");
    let line = "0123456789abcdef".repeat(4);
    let message = format!("Subject: long\r\n\r\n{}", format!("{line}\r\n").repeat(5000));
    ask(&mut user, &format!("APPEND Inbox {{{}+}}\r\n{message}", message.len()));
    let url = authorised(&mut user, "/Inbox/;UID=1/;SECTION=TEXT;URLAUTH=authuser");
    let mut other = log_in(&server, "other");
    assert_eq!(fetched(&mut other, &url).unwrap(), [&*line; 5000].join("\n") + "\n");
    let appended =
        ask(&mut user, "APPEND Inbox CATENATE (URL /Inbox/;UID=1 URL /Inbox/;UID=1/;SECTION=TEXT)");
    assert!(appended[0].starts_with("t OK [APPENDUID "), "{appended:?}");
    ask(&mut user, "EXAMINE Inbox");
    let lines = ask(&mut user, "FETCH 2 RFC822.SIZE");
    let octets = message.len() * 2 - "Subject: long\r\n\r\n".len();
    assert_eq!(lines[0], format!("* 2 FETCH (UID 2 RFC822.SIZE {octets})"));
}

#[test]
fn a_client_that_goes_away_in_the_middle_leaves_nothing() {
    let large = "x".repeat(150_000);
    let beginnings = [
        // In a later message, with chunks of its own written.
        format!("t APPEND Inbox {{3+}}\r\none {{150000+}}\r\n{large} {{200000+}}\r\n{large}"),
        // Behind the last one, before the line's end.
        format!("t APPEND Inbox {{3+}}\r\none {{150000+}}\r\n{large}"),
        format!("t APPEND Inbox CATENATE (TEXT {{150000+}}\r\n{large} URL /Inbox/;UID=1 TEXT {{9+}}\r\n"),
        format!("t REPLACE 1 Inbox {{150000+}}\r\n{large}"),
    ];
    for beginning in &beginnings {
        let server = Server::start(&Setup::default());
        let mut watcher = log_in(&server, "user");
        ask(&mut watcher, "APPEND Inbox {4+}\r\nkept");
        let mut peer = log_in(&server, "user");
        ask(&mut peer, "SELECT Inbox");
        peer.send(beginning.as_bytes());
        // So that the server has read something of it.
        wait_until(|| contents(&server) > 1);
        drop(peer);
        wait_until(|| {
            collect(&server);
            pending(&server) == 0 && contents(&server) == 1
        });
        let lines = ask(&mut watcher, "STATUS Inbox (MESSAGES UIDNEXT)");
        assert_eq!(lines[0], "* STATUS Inbox (MESSAGES 1 UIDNEXT 2)");
    }
}

/// Contents that are still protected.
fn pending(server: &Server) -> usize {
    server.shared.store.reader().prefix(&of_table(SYSTEM, table::BLOBPENDING)).count()
}

/// Contents of which at least the first chunk is there.
fn contents(server: &Server) -> usize {
    let reader = server.shared.store.reader();
    let keys = reader.snapshot().prefix(Space::Blobs, &[]).map(|row| row.unwrap().0[..8].to_vec());
    keys.collect::<std::collections::BTreeSet<_>>().len()
}

fn collect(server: &Server) {
    let collected = blobs::collect(&server.shared.store.reader(), BlobId(0), 1000).unwrap();
    server.shared.committer.commit_blocking(collected.batch, Durability::Buffered).unwrap();
}

#[test]
fn mailboxes_of_urls_are_those_that_exist() {
    // A URL can't name what no mailbox can be called, nor lead out of the account.
    for text in ["/../x/;UID=1", "/%2e%2e/;UID=1", "/#news/;UID=1", "/%23news/;UID=1", "/a%2F%2Fb/;UID=1"] {
        assert!(postrider_proto::imap::url::MessageUrl::parse(text).is_err(), "{text}");
    }
    assert!(MailboxName::new("..").is_err());
}
