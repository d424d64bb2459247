//! Many clients at once, of several users, on mailboxes that two of them share from two shards. Each does what its
//! dice say, at its own pace: some are slow, some lose their connections. From time to time all stand still, and
//! what they know is compared with what is there, message by message.
//!
//! `cargo xtask clients` runs them against the program for as long as one likes, by `POSTRIDER_CLIENTS`,
//! `POSTRIDER_SECONDS` and `POSTRIDER_SEED`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postrider_storage::account::Quota;

use super::model::{
    Client, Dice, Doing, Facts, Habits, PLAIN, Set, There, between, content, name_of, token_of,
};
use super::program::Served;
use super::server::Setup;

/// Whose mailboxes they are, and all who use them.
const OWNERS: [&str; 2] = ["user", "bob"];
const USERS: [&str; 4] = ["user", "bob", "carol", "dave"];
const BOXES: [&str; 2] = ["Inbox", "Archive"];
/// As high as no mailbox gets, so that the use is told.
const QUOTA: Quota = Quota { octets: Some(1 << 40), messages: Some(1 << 30) };
/// The time between two comparisons.
const EPOCH: Duration = Duration::from_secs(5);
/// Before a comparison no connection is lost, so that nothing is done behind it.
const CALM: Duration = Duration::from_millis(700);
/// Messages that stay in each mailbox after a comparison.
const KEPT: usize = 100;

const HABITS: [Habits; 9] = [
    PLAIN,
    Habits { qresync: true, compress: true, ..PLAIN },
    Habits { qresync: true, notify: Some("SELECTED-DELAYED"), ..PLAIN },
    Habits { notify: Some("SELECTED"), by_uid: true, ..PLAIN },
    Habits { condstore: true, slow: true, compress: true, ..PLAIN },
    Habits { uid_only: true, ..PLAIN },
    Habits { uid_only: true, qresync: true, ..PLAIN },
    Habits { uid_only: true, qresync: true, notify: Some("SELECTED"), ..PLAIN },
    Habits { qresync: true, slow: true, ..PLAIN },
];

/// What a look at a mailbox found.
#[derive(Default)]
struct Found {
    tokens: There,
    flags: BTreeMap<u32, Set>,
    octets: usize,
    modseq: u64,
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |value| value.parse().unwrap())
}

#[test]
fn clients_at_random_on_shared_mailboxes_know_what_is_there() {
    let clients = usize::try_from(number("POSTRIDER_CLIENTS", 9)).unwrap();
    let time = Duration::from_secs(number("POSTRIDER_SECONDS", 3));
    let seed = number("POSTRIDER_SEED", 1);
    let server = Served::start(&Setup { shards: 2, quota: QUOTA, ..Setup::default() });
    USERS[1..].iter().for_each(|user| server.add_account(user, QUOTA));
    for owner in OWNERS {
        let mut peer = server.log_in_as(owner);
        for (mailbox, user) in BOXES.iter().flat_map(|mailbox| USERS.map(|user| (mailbox, user))) {
            peer.send(format!("a SETACL {mailbox} {user} lrswipkxtea\r\n").as_bytes());
            assert_eq!(peer.line(), "a OK rights are set");
        }
    }
    let facts = Facts::default();
    let client = |name: usize, user: &'static str, habits: Habits| {
        let boxes = OWNERS.iter().flat_map(|owner| BOXES.map(|mailbox| name_of(owner, mailbox, user)));
        Client::new((&server, &facts), name, user, boxes.collect(), habits)
    };
    // Each kind of client is of each user, sooner or later.
    let mut crowd: Vec<_> =
        (0..clients).map(|at| client(at, USERS[at % USERS.len()], HABITS[at % HABITS.len()])).collect();
    crowd.iter_mut().for_each(|client| client.fellows = &USERS);
    let mut observers = OWNERS.map(|owner| client(clients, owner, PLAIN));
    let mut dice: Vec<_> = (0..clients as u64).map(|at| Dice(seed.wrapping_mul(1000) + at)).collect();
    let begun = Instant::now();
    crowd.iter_mut().enumerate().for_each(|(at, client)| client.select(at % 4, "SELECT"));
    while begun.elapsed() < time {
        let until = Instant::now() + EPOCH.min(time);
        let failed = AtomicBool::new(false);
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = crowd
                .iter_mut()
                .zip(&mut dice)
                .map(|(client, dice)| scope.spawn(|| live(client, dice, until, &failed)))
                .collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        report(&crowd, &results, seed);
        server.wait_for_lost(crowd.len() + observers.len());
        let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            compare(&facts, &mut crowd, &mut observers);
        }));
        if compared.is_err() {
            crowd.iter().for_each(|client| client.print(seed));
        }
        compared.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    let commands: u32 = crowd.iter().map(|client| client.commands).sum();
    let took = begun.elapsed().as_secs();
    println!("clients: {clients} for {took} s, seed {seed}: {commands} commands, {:?}", facts.done());
    drop((crowd, observers));
    server.finish();
}

/// Ends the test when a client's thread failed, with what that client had heard.
fn report(crowd: &[Client<'_>], results: &[std::thread::Result<()>], seed: u64) {
    let failed = crowd.iter().zip(results).filter(|(_, result)| result.is_err());
    let failed: Vec<_> = failed.map(|(client, _)| client).collect();
    failed.iter().for_each(|client| client.print(seed));
    assert!(failed.is_empty(), "{} clients failed", failed.len());
}

/// Tells the others when a client fails.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Does one thing after the other.
fn live(client: &mut Client<'_>, dice: &mut Dice, until: Instant, failed: &AtomicBool) {
    let _alarm = Alarm(failed);
    while Instant::now() < until && !failed.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if client.habits.slow && dice.roll(20) == 0 {
            client.dawdle(8, Duration::from_millis(dice.roll(1000) as u64).min(left));
        }
        let moment = Duration::from_millis(dice.roll(300) as u64).min(left);
        match client.begin(dice, left > CALM) {
            Doing::Nothing => {}
            Doing::Command => {
                if client.habits.slow {
                    std::thread::sleep(moment);
                }
                client.finish();
            }
            Doing::Idle => {
                client.wait_for_idle();
                std::thread::sleep(moment);
                client.peer.send(b"DONE\r\n");
                client.finish();
            }
            Doing::Lost => client.come_back(dice.one(&["SELECT", "SELECT", "EXAMINE"])),
        }
        client.fill();
    }
}

/// What is there is what the clients know, what they did, and what the server counts.
fn compare(facts: &Facts, crowd: &mut [Client<'_>], observers: &mut [Client<'_>; 2]) {
    for client in crowd.iter_mut() {
        client.run("NOOP");
        client.fill();
    }
    let found = look(observers);
    for client in crowd.iter_mut() {
        let mirror = client.mirror.as_ref().unwrap();
        let known: Vec<u32> = mirror.uids.iter().map(|uid| uid.unwrap()).collect();
        let there = &found[mirror.place];
        assert_eq!(known, there.tokens.keys().copied().collect::<Vec<_>>(), "uids of client {}", client.name);
        assert_eq!(mirror.flags, there.flags, "flags of client {}", client.name);
        search(client);
    }
    let there: Vec<There> = found.iter().map(|found| found.tokens.clone()).collect();
    facts.compare(&there);
    counters(observers, &found);
    // So that mailboxes don't grow for ever.
    for (place, found) in found.iter().enumerate() {
        let count = found.tokens.len().saturating_sub(KEPT);
        if let Some(last) = found.tokens.keys().take(count).next_back() {
            let owner = &mut observers[place / BOXES.len()];
            owner.select(place, "SELECT");
            owner.run(&format!("UID STORE 1:{last} +FLAGS.SILENT (\\Deleted)"));
            owner.run(&format!("UID EXPUNGE 1:{last}"));
        }
    }
    let there: Vec<There> = look(observers).into_iter().map(|found| found.tokens).collect();
    facts.accept(&there);
}

/// A search finds what the client knows.
fn search(client: &mut Client<'_>) {
    let mirror = client.mirror.as_ref().unwrap();
    let wanted = |test: &dyn Fn(&Set) -> bool| {
        let all = mirror.flags.iter().filter(|(_, flags)| test(flags));
        all.map(|(uid, _)| uid.to_string()).collect::<Vec<_>>()
    };
    let searches = [
        ("KEYWORD two", wanted(&|flags| flags.contains("two"))),
        ("UNSEEN", wanted(&|flags| !flags.contains("\\Seen"))),
        ("DELETED NOT FLAGGED", wanted(&|flags| flags.contains("\\Deleted") && !flags.contains("\\Flagged"))),
    ];
    for (keys, uids) in searches {
        let heard = client.hear(&format!("UID SEARCH {keys}"));
        let found: Vec<_> = heard.iter().filter_map(|(line, _)| line.strip_prefix("* SEARCH")).collect();
        assert_eq!(found.len(), 1, "{heard:?}");
        assert_eq!(found[0].split_whitespace().collect::<Vec<_>>(), uids, "{keys}, client {}", client.name);
    }
}

fn look(observers: &mut [Client<'_>; 2]) -> Vec<Found> {
    let mut all = Vec::new();
    for place in 0..OWNERS.len() * BOXES.len() {
        let observer = &mut observers[place / BOXES.len()];
        observer.select(place, "EXAMINE");
        let items = "RFC822.SIZE MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)]";
        let mut found = Found { flags: observer.mirror.as_ref().unwrap().flags.clone(), ..Found::default() };
        let heard = observer.hear(&format!("UID FETCH 1:* ({items})"));
        for (line, literals) in heard.into_iter().filter(|(line, _)| line.contains(" FETCH (")) {
            let uid = between(&line, "FETCH (UID ", " ").unwrap().parse().unwrap();
            let token = token_of(&literals[0]);
            let octets: usize = between(&line, "RFC822.SIZE ", " ").unwrap().parse().unwrap();
            assert_eq!(octets, content(token).len(), "size of message {token}");
            found.octets += octets;
            found.modseq = found.modseq.max(between(&line, "MODSEQ (", ")").unwrap().parse().unwrap());
            found.tokens.insert(uid, token);
        }
        assert_eq!(found.tokens.len(), found.flags.len(), "rows that FETCH told");
        all.push(found);
    }
    all
}

/// STATUS and QUOTA count what is there.
fn counters(observers: &mut [Client<'_>; 2], found: &[Found]) {
    for (owner, observer) in observers.iter_mut().enumerate() {
        let boxes = &found[owner * BOXES.len()..(owner + 1) * BOXES.len()];
        for (mailbox, found) in BOXES.iter().zip(boxes) {
            let items = "MESSAGES UNSEEN DELETED SIZE UIDNEXT HIGHESTMODSEQ";
            let heard = observer.hear(&format!("STATUS {mailbox} ({items})"));
            let told = |item: &str| -> u64 {
                let mut words = heard[0].0.split(['(', ')', ' ']).skip_while(|word| *word != item);
                words.nth(1).unwrap().parse().unwrap()
            };
            let without = |flag: &str| found.flags.values().filter(|flags| !flags.contains(flag)).count();
            assert_eq!(told("MESSAGES"), found.flags.len() as u64, "{heard:?}");
            assert_eq!(told("UNSEEN"), without("\\Seen") as u64, "{heard:?}");
            assert_eq!(told("DELETED"), (found.flags.len() - without("\\Deleted")) as u64, "{heard:?}");
            assert_eq!(told("SIZE"), found.octets as u64, "{heard:?}");
            assert!(told("UIDNEXT") > found.flags.keys().next_back().copied().unwrap_or(0).into());
            assert!(told("HIGHESTMODSEQ") >= found.modseq, "{heard:?}");
        }
        let (messages, octets) = boxes
            .iter()
            .fold((0, 0), |(messages, octets), found| (messages + found.tokens.len(), octets + found.octets));
        let heard = observer.hear("GETQUOTA \"\"");
        let storage = octets.div_ceil(1024);
        let limits = [1u64 << 30, 1 << 30];
        let told = format!("* QUOTA \"\" (STORAGE {storage} {} MESSAGE {messages} {})", limits[0], limits[1]);
        assert_eq!(heard[0].0, told);
    }
}
