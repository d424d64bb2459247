//! Sessions that change the same mailboxes at random. Each client knows only what it was told, and has
//! to know in the end what is there; also one that lost its connection and comes back with QRESYNC. They are
//! of one user, or of several that share the mailboxes from different shards.
//!
//! Here they go by rounds, on a server whose store is slow, in this process; [`super::crowd`] has them go as they like.

mod choice;
mod client;
mod facts;
mod grammar;
mod mirror;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{Flags, Uid};

pub(super) use choice::{Dice, Doing};
pub(super) use client::{Client, Habits};
pub(super) use facts::{Facts, There, content, token_of};
pub(super) use mirror::{Set, between};

use super::probe::Probe;
use super::program::Served;
use super::server::{Server, Setup};

const BOXES: [&str; 2] = ["Inbox", "Archive"];

/// Without any extension.
pub(super) const PLAIN: Habits = Habits {
    qresync: false,
    condstore: false,
    uid_only: false,
    notify: None,
    by_uid: false,
    slow: false,
    compress: false,
};
const HABITS: [Habits; 4] = [
    PLAIN,
    Habits { qresync: true, ..PLAIN },
    Habits { qresync: true, notify: Some("SELECTED-DELAYED"), ..PLAIN },
    Habits { notify: Some("SELECTED"), by_uid: true, ..PLAIN },
];

/// A mailbox of `owner`, as `user` names it.
pub(super) fn name_of(owner: &str, mailbox: &str, user: &str) -> String {
    if user == owner { mailbox.to_owned() } else { format!("\"Other Users/{owner}/{mailbox}\"") }
}

/// What is there.
fn truth(server: &Server, place: usize) -> BTreeMap<u32, Set> {
    let reader = server.shared.store.reader();
    let wanted = MailboxName::new(BOXES[place]).unwrap();
    let found = reader.mailboxes(server.account).map(Result::unwrap).find(|(_, row)| row.name == wanted);
    let (mailbox, row) = found.unwrap();
    let keywords = reader.keywords(server.account).unwrap();
    let named = [
        ("\\Seen", Flags::SEEN),
        ("\\Deleted", Flags::DELETED),
        ("\\Flagged", Flags::FLAGGED),
        ("\\Answered", Flags::ANSWERED),
    ];
    let all: BTreeMap<u32, Set> = reader
        .messages(server.account, mailbox, Uid::MIN..=Uid::MAX)
        .map(|message| {
            let (uid, message) = message.unwrap();
            let system = named.iter().filter(|(_, flag)| message.flags.contains(*flag));
            let mut flags: Set = system.map(|(name, _)| (*name).to_owned()).collect();
            flags.extend(message.keywords.iter().map(|id| keywords[usize::from(id.0)].as_str().to_owned()));
            (uid.get(), flags)
        })
        .collect();
    assert_eq!(all.len(), row.exists as usize);
    all
}

fn check(server: &Server, clients: &mut [Client<'_>]) {
    for client in clients.iter_mut() {
        client.run("NOOP");
        client.fill();
    }
    for client in clients.iter_mut() {
        let mirror = client.mirror.as_ref().unwrap();
        let known: Vec<u32> = mirror.uids.iter().map(|uid| uid.unwrap()).collect();
        let truth = truth(server, mirror.place);
        assert_eq!(known, truth.keys().copied().collect::<Vec<_>>(), "uids of client {}", client.name);
        assert_eq!(mirror.flags, truth, "flags of client {}", client.name);
    }
}

/// One thing of each; connections are lost when `loses`.
fn round(clients: &mut [Client<'_>], dice: &mut Dice, loses: bool) {
    let doing: Vec<Doing> = clients.iter_mut().map(|client| client.begin(dice, loses)).collect();
    for (client, _) in clients.iter_mut().zip(&doing).filter(|(_, doing)| **doing == Doing::Idle) {
        client.wait_for_idle();
    }
    for (client, doing) in clients.iter_mut().zip(&doing) {
        match doing {
            Doing::Command => drop(client.finish()),
            Doing::Lost => client.come_back("SELECT"),
            Doing::Nothing | Doing::Idle => {}
        }
    }
    for (client, _) in clients.iter_mut().zip(&doing).filter(|(_, doing)| **doing == Doing::Idle) {
        client.peer.send(b"DONE\r\n");
        client.finish();
    }
    clients.iter_mut().for_each(Client::fill);
}

fn play(seed: u64) {
    play_with(seed, 1, &HABITS.map(|habits| ("user", habits)));
}

fn play_with(seed: u64, shards: usize, users: &[(&'static str, Habits)]) {
    let engine = Arc::new(Probe::default());
    // Long enough for other sessions to see what isn't acknowledged yet.
    engine.sync_micros.store(300, Ordering::Relaxed);
    let server = Server::start(&Setup { engine, shards, ..Setup::default() });
    let mut owner = server.log_in();
    for (user, _) in users.iter().filter(|(user, _)| *user != "user") {
        server.add_account(user);
        for shared in BOXES {
            owner.send(format!("a SETACL {shared} {user} lrswipkxtea\r\n").as_bytes());
            assert_eq!(owner.line(), "a OK rights are set");
        }
    }
    drop(owner);
    let (served, facts) = (Served::Here(Box::new(server)), Facts::default());
    let Served::Here(server) = &served else { unreachable!("it is here") };
    let clients = users.iter().enumerate();
    let mut clients: Vec<_> = clients
        .map(|(name, (user, habits))| {
            let boxes = BOXES.iter().map(|mailbox| name_of("user", mailbox, user)).collect();
            Client::new((&served, &facts), name, user, boxes, *habits)
        })
        .collect();
    let mut dice = Dice(seed);
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for (at, client) in clients.iter_mut().enumerate() {
            client.select(at % 2, "SELECT");
        }
        for step in 0..120 {
            // What a lost connection had begun is done before all is compared.
            let compares = step % 20 == 19;
            round(&mut clients, &mut dice, !compares);
            if compares {
                served.wait_for_lost(clients.len());
                check(server, &mut clients);
            }
        }
    }));
    if let Err(panic) = played {
        clients.iter().for_each(|client| client.print(seed));
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn clients_know_in_the_end_what_is_there() {
    (1..=10).for_each(play);
}

#[test]
fn clients_of_several_users_on_several_shards_know_what_is_there() {
    let users = [("user", HABITS[0]), ("bob", HABITS[1]), ("carol", HABITS[1])];
    (1..=6).for_each(|seed| play_with(seed, 2, &users));
}
