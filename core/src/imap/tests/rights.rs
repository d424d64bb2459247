//! Every command against every right (RFC 4314 §4), asked by another user at another shard.

use postrider_storage::directory::{self, AccountName, Change, HeldMail};
use postrider_storage::engine::Durability;

use super::server::{Peer, Server, Setup};

const LETTERS: &str = "lrswipkxtea";
const MESSAGE: &str = "Subject: x\r\n\r\nx\r\n";
const HERE: &str = "\"Other Users/user/Here\"";

struct World {
    owner: Peer,
    other: Peer,
}

impl World {
    /// A mailbox with a message that has `\Deleted`, and another one below it.
    fn new(server: &Server) -> Self {
        let mut world = Self { owner: server.log_in(), other: server.log_in_as("bob") };
        world.renew();
        world
    }

    /// Makes the mailbox as it was at first, whatever became of it.
    fn renew(&mut self) {
        for name in ["Here/New", "Here/Moved", "Here", "Moved"] {
            say(&mut self.owner, &format!("DELETE {name}"));
        }
        assert!(say(&mut self.owner, "CREATE Here").starts_with("OK"));
        let append = format!("APPEND Here (\\Deleted \\Flagged) {{{}+}}\r\n{MESSAGE}", MESSAGE.len());
        assert!(say(&mut self.owner, &append).starts_with("OK"));
    }

    fn grant(&mut self, rights: &str) {
        assert!(say(&mut self.owner, &format!("SETACL Here bob \"{rights}\"")).starts_with("OK"));
    }

    fn with(&mut self, rights: &str, command: &str) -> String {
        self.grant(rights);
        say(&mut self.other, command)
    }
}

/// Says a command, and gives its answer without the tag.
fn say(peer: &mut Peer, command: &str) -> String {
    peer.send(format!("t {command}\r\n").as_bytes());
    loop {
        let line = peer.line();
        assert_ne!(line, "EOF", "{command}");
        if let Some(answer) = line.strip_prefix("t ") {
            return answer.to_owned();
        }
    }
}

/// Commands that one right alone allows, in any state.
fn in_any_state() -> Vec<(String, char)> {
    let append = format!("APPEND {HERE} {{{}+}}\r\n{MESSAGE}", MESSAGE.len());
    let commands = [
        (format!("STATUS {HERE} (MESSAGES)"), 'r'),
        (format!("SELECT {HERE}"), 'r'),
        (format!("EXAMINE {HERE}"), 'r'),
        (format!("GETQUOTAROOT {HERE}"), 'r'),
        (append, 'i'),
        ("CREATE \"Other Users/user/Here/New\"".to_owned(), 'k'),
        (format!("DELETE {HERE}"), 'x'),
        (format!("GETACL {HERE}"), 'a'),
        (format!("SETACL {HERE} bob +l"), 'a'),
        (format!("DELETEACL {HERE} anyone"), 'a'),
        (format!("LISTRIGHTS {HERE} bob"), 'a'),
        (format!("RESETKEY {HERE}"), 'a'),
    ];
    commands.into()
}

fn server() -> Server {
    let server = Server::start(&Setup { shards: 2, ..Setup::default() });
    server.add_account("bob");
    server
}

#[test]
fn each_command_needs_its_right_and_no_other() {
    let server = server();
    let mut world = World::new(&server);
    for (command, needed) in in_any_state() {
        let without: String = LETTERS.chars().filter(|right| *right != needed).collect();
        let hidden: String = without.chars().filter(|right| *right != 'l').collect();
        let refused = world.with(&without, &command);
        assert!(refused.starts_with("NO [NOPERM] "), "{command} with {without}: {refused}");
        let refused = world.with(&hidden, &command);
        // What can't be seen isn't there; but that nothing can be made below it says no more.
        let unseen = ["NO [NONEXISTENT] ", "NO [TRYCREATE] ", "NO [NOPERM] "];
        let unseen = if needed == 'k' { &unseen[2..] } else { &unseen[..2] };
        assert!(unseen.iter().any(|start| refused.starts_with(start)), "{command} with {hidden}: {refused}");
        let done = world.with(&needed.to_string(), &command);
        assert!(done.starts_with("OK"), "{command} with {needed}: {done}");
        say(&mut world.other, "UNSELECT");
        world.renew();
    }
    server.messages();
}

#[test]
fn a_rename_needs_a_right_at_both_ends() {
    let server = server();
    let mut world = World::new(&server);
    say(&mut world.owner, "CREATE There");
    let rename = format!("RENAME {HERE} \"Other Users/user/There/Moved\"");
    for (here, there, done) in
        [("lx", "lk", true), ("l", "lk", false), ("lx", "l", false), ("lkx", "", false)]
    {
        assert!(say(&mut world.owner, &format!("SETACL There bob \"{there}\"")).starts_with("OK"));
        let answer = world.with(here, &rename);
        assert_eq!(answer.starts_with("OK"), done, "{here} {there}: {answer}");
        say(&mut world.owner, "DELETE There/Moved");
        world.renew();
    }
}

/// Commands in the selected mailbox with the rights besides `r` that they need.
const SELECTED: [(&str, &str); 8] = [
    ("STORE 1 +FLAGS.SILENT (\\Seen)", "s"),
    ("STORE 1 +FLAGS.SILENT (\\Answered)", "w"),
    ("STORE 1 +FLAGS.SILENT (keyword)", "w"),
    ("STORE 1 -FLAGS.SILENT (\\Deleted)", "t"),
    ("EXPUNGE", "e"),
    ("UID EXPUNGE 1:*", "e"),
    ("MOVE 1 Trash", "te"),
    ("REPLACE 1 \"Other Users/user/Here\" {3+}\r\nx\r\n", "ite"),
];

#[test]
fn what_changes_a_selected_mailbox_needs_its_rights_and_no_others() {
    let server = server();
    let mut world = World::new(&server);
    for (command, needed) in SELECTED {
        for lacking in needed.chars() {
            let rights: String = LETTERS.chars().filter(|right| *right != lacking).collect();
            world.grant(&rights);
            assert!(say(&mut world.other, &format!("SELECT {HERE}")).starts_with("OK"));
            let refused = say(&mut world.other, command);
            assert!(refused.starts_with("NO [NOPERM] "), "{command} with {rights}: {refused}");
        }
        // The rights may change while it is selected.
        world.grant(&format!("r{needed}"));
        let done = say(&mut world.other, command);
        assert!(done.starts_with("OK"), "{command} with {needed}: {done}");
        say(&mut world.other, "UNSELECT");
        world.renew();
    }
    // Nothing more than to read it.
    world.grant("r");
    assert!(say(&mut world.other, &format!("SELECT {HERE}")).starts_with("OK [READ-ONLY] "));
    for command in
        ["FETCH 1 (FLAGS BODY[])", "SEARCH ALL", "UID SEARCH TEXT x", "COPY 1 Trash", "CHECK", "NOOP"]
    {
        let done = say(&mut world.other, command);
        assert!(done.starts_with("OK"), "{command}: {done}");
    }
    assert!(say(&mut world.other, "CLOSE").starts_with("OK"));
    say(&mut world.owner, "SELECT Here");
    world.owner.send(b"t FETCH 1 (FLAGS)\r\n");
    assert_eq!(world.owner.line(), "* 1 FETCH (UID 1 FLAGS (\\Flagged \\Deleted))");
    assert_eq!(world.owner.line(), "t OK FETCH done");
    server.messages();
}

#[test]
fn anyone_is_nobody_where_the_configuration_says_so() {
    let server = Server::start(&Setup { anyone: false, ..Setup::default() });
    server.add_account("bob");
    let (mut owner, mut other) = (server.log_in(), server.log_in_as("bob"));
    assert!(say(&mut owner, "SETACL Inbox anyone lr").starts_with("NO [CANNOT] "));
    // What an earlier configuration allowed has no effect, and can be removed.
    assert!(say(&mut owner, "SETACL Inbox -anyone lr").starts_with("OK"));
    assert!(say(&mut owner, "SETACL Inbox bob lr").starts_with("OK"));
    assert!(say(&mut other, "STATUS \"Other Users/user/Inbox\" (MESSAGES)").starts_with("OK"));
    assert!(say(&mut owner, "DELETEACL Inbox anyone").starts_with("OK"));
}

#[test]
fn sessions_go_to_the_mailbox_and_back_with_all_that_was_sent() {
    let server = Server::start(&Setup { shards: 3, ..Setup::default() });
    let users = ["bob", "carol", "dora"];
    users.iter().for_each(|user| {
        server.add_account(user);
    });
    for user in users {
        let mut owner = server.log_in_as(user);
        for other in ["user", "bob", "carol", "dora"].iter().filter(|other| **other != user) {
            assert!(say(&mut owner, &format!("SETACL Inbox {other} lrsi")).starts_with("OK"));
        }
    }
    let mut peer = server.log_in();
    let mut sent = String::new();
    let mut expected = Vec::new();
    for round in 0..12 {
        let owner = ["bob", "carol", "dora"][round % 3];
        let inbox = format!("\"Other Users/{owner}/Inbox\"");
        sent += &format!("{round}a APPEND {inbox} {{{}+}}\r\n{MESSAGE}\r\n", MESSAGE.len());
        sent += &format!(
            "{round}b SELECT {inbox}\r\n{round}c UID SEARCH ALL\r\n{round}d STATUS Inbox (MESSAGES)\r\n"
        );
        let uids: Vec<String> = (1..=round / 3 + 1).map(|uid| uid.to_string()).collect();
        expected.push(format!("* SEARCH {}", uids.join(" ")));
    }
    peer.send(sent.as_bytes());
    for (round, wanted) in expected.into_iter().enumerate() {
        let mut found = None;
        loop {
            let line = peer.line();
            assert!(line != "EOF" && !line.starts_with("NOTHING"), "{round}: {line}");
            if line.starts_with("* SEARCH") {
                found = Some(line);
            } else if line == "* STATUS Inbox (MESSAGES 0)" {
                assert_eq!(found.as_deref(), Some(wanted.as_str()), "{round}");
            } else if line.starts_with(&format!("{round}d ")) {
                assert!(line.ends_with("OK done") && found.is_some(), "{line}");
                break;
            } else if let Some(answer) = line.strip_prefix(&round.to_string()) {
                assert!(answer[1..].starts_with(" OK"), "{line}");
            }
        }
    }
    assert!(say(&mut peer, "LOGOUT").starts_with("OK"));
    assert_eq!(server.messages(), 12);
}

#[test]
fn who_is_removed_loses_what_is_shared_with_anyone() {
    let server = server();
    let (mut owner, mut other) = (server.log_in(), server.log_in_as("bob"));
    assert!(say(&mut owner, "SETACL Inbox anyone lr").starts_with("OK"));
    assert!(say(&mut other, "SELECT \"Other Users/user/Inbox\"").starts_with("OK"));
    assert!(say(&mut other, "NOOP").starts_with("OK"));
    let removal = [Change::RemoveAccount { name: AccountName::new("bob").unwrap(), mail: HeldMail::Keep }];
    let reader = server.shared.store.reader();
    let batch = directory::plan(reader.snapshot(), &removal, &directory::Limits::DEFAULT, 1).unwrap();
    server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    other.send(b"t FETCH 1:* (FLAGS)\r\n");
    assert!(other.line().starts_with("* BYE [UNAVAILABLE] "));
    assert_eq!(other.line(), "EOF");
}
