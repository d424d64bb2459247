//! Sessions that change the same mailboxes at random. Each client knows only what it was told, and has
//! to know in the end what is there; also one that lost its connection and comes back with QRESYNC. They are
//! of one user, or of several that share the mailboxes from different shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{Flags, Uid};

use super::probe::Probe;
use super::server::{Peer, Server, Setup};

const BOXES: [&str; 2] = ["Inbox", "Archive"];
/// As other users know them.
const SHARED: [&str; 2] = ["\"Other Users/user/Inbox\"", "\"Other Users/user/Archive\""];
const KEYWORDS: [&str; 8] =
    ["\\Seen", "\\Deleted", "\\Flagged", "\\Answered", "one", "two", "Three", "$four"];
const MESSAGE: &str = "Subject: x\r\n\r\nhello\r\n";

type Set = BTreeSet<String>;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// What a client knows of a mailbox.
#[derive(Default)]
struct Mirror {
    place: usize,
    validity: u64,
    /// By message number; without uid until that is told.
    uids: Vec<Option<u32>>,
    flags: BTreeMap<u32, Set>,
    /// The last MODSEQ told of each message; none is told a lower one later.
    modseqs: BTreeMap<u32, u64>,
    told: Set,
    /// As RFC 7162 §6 has clients find it.
    highest: u64,
    /// The highest code and item of the command under way.
    code: Option<u64>,
    items: u64,
}

impl Mirror {
    fn drop_at(&mut self, at: usize) {
        if let Some(uid) = self.uids.remove(at) {
            self.flags.remove(&uid);
        }
    }

    fn vanish(&mut self, uid: u32) {
        if let Some(at) = self.uids.iter().position(|known| *known == Some(uid)) {
            return self.drop_at(at);
        }
        // One whose uid wasn't told yet.
        let behind = self.uids.iter().rposition(|known| known.is_some_and(|known| known < uid));
        let at = behind.map_or(0, |at| at + 1);
        assert_eq!(self.uids.get(at), Some(&None), "{uid} isn't there: {:?}", self.uids);
        self.uids.remove(at);
    }

    fn row(&mut self, number: usize, text: &str) {
        let mut words = text.strip_prefix("(UID ").expect("UID comes first").splitn(2, [' ', ')']);
        let uid: u32 = words.next().unwrap().parse().unwrap();
        let known = &mut self.uids[number - 1];
        assert!(known.is_none_or(|known| known == uid), "{number} is {known:?}, told {uid}");
        *known = Some(uid);
        let sorted: Vec<u32> = self.uids.iter().flatten().copied().collect();
        assert!(sorted.is_sorted_by(|one, other| one < other), "{:?}", self.uids);
        if let Some(flags) = between(text, "FLAGS (", ")") {
            let flags: Set = flags.split_whitespace().map(str::to_owned).collect();
            assert!(flags.is_subset(&self.told), "{flags:?} told before FLAGS: {:?}", self.told);
            self.flags.insert(uid, flags);
        }
        if let Some(modseq) = between(text, "MODSEQ (", ")") {
            let modseq = modseq.parse().unwrap();
            let before = self.modseqs.insert(uid, modseq).unwrap_or(0);
            assert!(before <= modseq, "{uid} goes back from {before} to {modseq}");
            self.items = self.items.max(modseq);
        }
    }

    /// A tagged response came.
    fn settle(&mut self) {
        let items = std::mem::take(&mut self.items);
        match self.code.take() {
            Some(code) => self.highest = code,
            None => self.highest = self.highest.max(items),
        }
    }
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    Some(text.split_once(from)?.1.split_once(to)?.0)
}

/// The numbers of `1:3,5`.
fn numbers(set: &str) -> Vec<u32> {
    let one = |part: &str| match part.split_once(':') {
        Some((from, to)) => from.parse().unwrap()..=to.parse::<u32>().unwrap(),
        None => part.parse().unwrap()..=part.parse().unwrap(),
    };
    set.split(',').flat_map(one).collect()
}

/// What a client is like.
#[derive(Clone, Copy, Default)]
struct Habits {
    qresync: bool,
    /// How it asks for the selected mailbox by NOTIFY.
    notify: Option<&'static str>,
    /// It names messages by uids only: their numbers may change at any time.
    by_uid: bool,
}

const HABITS: [Habits; 4] = [
    Habits { qresync: false, notify: None, by_uid: false },
    Habits { qresync: true, notify: None, by_uid: false },
    Habits { qresync: true, notify: Some("SELECTED-DELAYED"), by_uid: false },
    Habits { qresync: false, notify: Some("SELECTED"), by_uid: true },
];

struct Client {
    name: usize,
    user: &'static str,
    boxes: [&'static str; 2],
    peer: Peer,
    habits: Habits,
    mirror: Option<Mirror>,
    /// What comes is still of the mailbox selected before.
    closing: bool,
    commands: u32,
    /// What was sent: nothing of EXPUNGE may come during some commands.
    running: String,
    log: Vec<String>,
}

impl Client {
    fn new(server: &Server, name: usize, user: &'static str, habits: Habits) -> Self {
        let (peer, running, log) = (server.log_in_as(user), String::new(), Vec::new());
        let boxes = if user == "user" { BOXES } else { SHARED };
        let (mirror, closing, commands) = (None, false, 0);
        let mut client = Self { name, user, boxes, peer, habits, mirror, closing, commands, running, log };
        client.hello();
        client
    }

    fn hello(&mut self) {
        if self.habits.qresync {
            self.run("ENABLE QRESYNC");
        }
        if let Some(selected) = self.habits.notify {
            let events = "MessageNew (FLAGS) MessageExpunge FlagChange";
            self.run(&format!("NOTIFY SET ({selected} ({events}))"));
        }
    }

    fn send(&mut self, command: &str) {
        self.commands += 1;
        command.clone_into(&mut self.running);
        self.log.push(format!("C: {command}"));
        self.peer.send(format!("t{} {command}\r\n", self.commands).as_bytes());
    }

    fn run(&mut self, command: &str) -> String {
        self.send(command);
        self.finish()
    }

    /// Reads up to the tagged response, which is OK.
    fn finish(&mut self) -> String {
        let tag = format!("t{} ", self.commands);
        loop {
            let line = self.response();
            if let Some(answer) = line.strip_prefix(&tag) {
                assert!(answer.starts_with("OK"), "{}", self.running);
                if let Some(mirror) = &mut self.mirror {
                    if let Some(code) = between(answer, "[HIGHESTMODSEQ ", "]") {
                        mirror.code = Some(code.parse().unwrap());
                    }
                    // What has no uid yet is asked for first.
                    if mirror.uids.iter().all(Option::is_some) {
                        mirror.settle();
                    }
                }
                return answer.to_owned();
            }
            self.untagged(&line);
        }
    }

    fn wait_for_idle(&mut self) {
        loop {
            let line = self.response();
            if line == "+ waiting" {
                return;
            }
            self.untagged(&line);
        }
    }

    /// A line with the literals in it.
    fn response(&mut self) -> String {
        let mut line = self.peer.line();
        while let Some(octets) = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')) {
            let octets = octets.1.parse().unwrap();
            let literal = self.peer.octets(octets);
            assert_eq!(literal, MESSAGE);
            line = format!("{line}{}", self.peer.line());
        }
        self.log.push(format!("S: {line}"));
        line
    }

    fn untagged(&mut self, line: &str) {
        let text = line.strip_prefix("* ").unwrap_or_else(|| panic!("{line}"));
        let quiet = ["FETCH", "STORE", "SEARCH"].iter().any(|name| self.running.starts_with(name));
        if self.closing {
            self.closing = !text.starts_with("OK [CLOSED]");
            return;
        }
        let Some(mirror) = &mut self.mirror else { return };
        if let Some(code) = between(text, "OK [HIGHESTMODSEQ ", "]") {
            mirror.code = Some(code.parse().unwrap());
        } else if let Some(flags) = text.strip_prefix("FLAGS (") {
            mirror.told = flags.trim_end_matches(')').split(' ').map(str::to_owned).collect();
        } else if let Some(validity) = between(text, "[UIDVALIDITY ", "]") {
            mirror.validity = validity.parse().unwrap();
        } else if let Some(gone) = text.strip_prefix("VANISHED (EARLIER) ") {
            for uid in numbers(gone) {
                mirror.flags.remove(&uid);
                mirror.uids.retain(|known| *known != Some(uid));
            }
        } else if let Some(gone) = text.strip_prefix("VANISHED ") {
            assert!(self.habits.qresync && !quiet, "{} {line}", self.running);
            numbers(gone).into_iter().for_each(|uid| mirror.vanish(uid));
        } else if let Some((number, rest)) = text.split_once(' ')
            && let Ok(number) = number.parse::<usize>()
        {
            match rest.split_once(' ').unwrap_or((rest, "")) {
                ("EXISTS", _) => {
                    assert!(number >= mirror.uids.len(), "EXISTS {number} of {:?}", mirror.uids);
                    mirror.uids.resize(number, None);
                }
                ("EXPUNGE", _) => {
                    assert!(!self.habits.qresync && !quiet, "{} {line}", self.running);
                    mirror.drop_at(number - 1);
                }
                ("FETCH", row) => mirror.row(number, row),
                _ => {}
            }
        }
    }

    /// Asks for what has come without uid.
    fn fill(&mut self) {
        while let Some(mirror) = &self.mirror
            && let Some(first) = mirror.uids.iter().position(Option::is_none)
        {
            // By uid, because that may tell of removals, too.
            let before = mirror.uids[..first].last().copied().flatten().unwrap_or(0);
            self.run(&format!("UID FETCH {}:* (FLAGS)", before + 1));
        }
    }

    fn select(&mut self, place: usize) {
        // What is told of the one before ends with CLOSED, which begins the responses.
        self.closing = self.mirror.take().is_some();
        self.send(&format!("SELECT {}", self.boxes[place]));
        self.mirror = Some(Mirror { place, ..Mirror::default() });
        self.finish();
        self.mirror.as_mut().unwrap().items = 0;
        self.fill();
    }

    /// Loses the connection and comes back.
    fn come_back(&mut self, server: &Server) {
        self.log.push("lost".to_owned());
        self.peer = server.log_in_as(self.user);
        let old = self.mirror.take();
        self.hello();
        let Some(mut old) = old.filter(|_| self.habits.qresync) else { return self.select(0) };
        old.uids.retain(Option::is_some);
        (old.code, old.items) = (None, 0);
        let known: BTreeSet<u32> = old.uids.iter().flatten().copied().collect();
        let flags = old.flags.clone();
        let (place, validity, highest) = (old.place, old.validity, old.highest);
        // Numbers are known after EXISTS only, and VANISHED comes behind it: told from the lines.
        self.mirror = None;
        self.send(&format!("SELECT {} (QRESYNC ({validity} {highest}))", self.boxes[place]));
        let start = self.log.len();
        self.finish();
        let lines: Vec<String> = self.log[start..].to_vec();
        let mut known = known;
        let mut rows = Vec::new();
        let mut mirror = Mirror { place, validity, flags, ..Mirror::default() };
        for line in &lines {
            let text = line.strip_prefix("S: * ").unwrap_or("");
            if let Some(gone) = text.strip_prefix("VANISHED (EARLIER) ") {
                for uid in numbers(gone) {
                    known.remove(&uid);
                    mirror.flags.remove(&uid);
                }
            } else if text.contains(" FETCH (UID ") {
                let uid: u32 = between(text, "(UID ", " ").unwrap().parse().unwrap();
                known.insert(uid);
                rows.push(text.to_owned());
            } else if let Some(modseq) = between(text, "[HIGHESTMODSEQ ", "]") {
                mirror.highest = modseq.parse().unwrap();
            } else if let Some(flags) = text.strip_prefix("FLAGS (") {
                mirror.told = flags.trim_end_matches(')').split(' ').map(str::to_owned).collect();
            } else if let Some(count) = text.strip_suffix(" EXISTS") {
                mirror.uids.resize(count.parse().unwrap(), None);
            }
        }
        // Only behind the last known message there may be some that it knows nothing of.
        assert!(known.len() <= mirror.uids.len(), "removals were lost: {known:?} {}", mirror.uids.len());
        for (slot, uid) in mirror.uids.iter_mut().zip(&known) {
            *slot = Some(*uid);
        }
        for row in rows {
            let (number, row) = row.split_once(" FETCH ").unwrap();
            mirror.row(number.parse().unwrap(), row);
        }
        mirror.items = 0;
        self.mirror = Some(mirror);
        self.fill();
    }

    /// A random set of messages, in numbers or uids.
    fn some(&self, dice: &mut Dice) -> Option<(&'static str, String)> {
        let mirror = self.mirror.as_ref()?;
        let count = mirror.uids.len();
        if count == 0 {
            return None;
        }
        let by_uid = dice.roll(2) == 0 || self.habits.by_uid;
        let mut ends = [dice.roll(count), (dice.roll(count) + dice.roll(count)) / 2];
        ends.sort_unstable();
        if dice.roll(2) == 0 {
            ends[1] = (ends[0] + dice.roll(3)).min(count - 1);
        }
        let name = |at: usize| if by_uid { mirror.uids[at].unwrap() } else { u32::try_from(at + 1).unwrap() };
        let set = match dice.roll(6) {
            0 => format!("{}:*", name(ends[0])),
            1 => format!("{},{}", name(ends[1]), name(ends[0])),
            _ => format!("{}:{}", name(ends[0]), name(ends[1])),
        };
        Some((if by_uid { "UID " } else { "" }, set))
    }

    fn flags(dice: &mut Dice) -> String {
        let count = 1 + dice.roll(2);
        (0..count).map(|_| dice.one(&KEYWORDS)).collect::<Vec<_>>().join(" ")
    }

    /// What it does next; what it can assume of it is in the mirror at once.
    fn next(&mut self, dice: &mut Dice) -> String {
        let Some((uid, set)) = self.some(dice) else {
            return format!("APPEND {} () {{{}+}}\r\n{MESSAGE}", dice.one(&self.boxes), MESSAGE.len());
        };
        let mirror = self.mirror.as_ref().unwrap();
        let other = self.boxes[1 - mirror.place];
        match dice.roll(22) {
            0..=3 => {
                let flags = if dice.roll(3) == 0 { Self::flags(dice) } else { String::new() };
                format!("APPEND {} ({flags}) {{{}+}}\r\n{MESSAGE}", dice.one(&self.boxes), MESSAGE.len())
            }
            4..=8 => self.store(dice, uid, &set),
            9 => format!("{uid}COPY {set} {other}"),
            10 => format!("{uid}MOVE {set} {other}"),
            11 => "EXPUNGE".to_owned(),
            12 if uid.is_empty() => "EXPUNGE".to_owned(),
            12 => format!("UID EXPUNGE {set}"),
            13..=14 => "NOOP".to_owned(),
            15 => format!("{uid}FETCH {set} (FLAGS INTERNALDATE)"),
            16 => format!("{uid}FETCH {set} (BODY[])"),
            17 => format!("{uid}FETCH {set} (FLAGS MODSEQ RFC822.SIZE)"),
            18 => format!("{uid}SEARCH UNSEEN NOT KEYWORD one"),
            _ => "IDLE".to_owned(),
        }
    }

    fn store(&mut self, dice: &mut Dice, uid: &str, set: &str) -> String {
        let sign = dice.one(&["", "+", "-", "+"]);
        let flags = Self::flags(dice);
        let silent = dice.roll(3) == 0;
        let mirror = self.mirror.as_mut().unwrap();
        if !silent {
            let since = match dice.roll(4) {
                0 => format!(" (UNCHANGEDSINCE {})", mirror.highest.max(1)),
                _ => String::new(),
            };
            return format!("{uid}STORE {set}{since} {sign}FLAGS ({flags})");
        }
        // A single message, so that it is plain which one is meant.
        let at = dice.roll(mirror.uids.len());
        let this = mirror.uids[at].unwrap();
        let name = if uid.is_empty() { u32::try_from(at + 1).unwrap() } else { this };
        let known = mirror.flags.entry(this).or_default();
        let words = flags.split(' ').map(str::to_owned);
        match sign {
            "+" => known.extend(words),
            "-" => words.for_each(|word| {
                known.remove(&word);
            }),
            _ => *known = words.collect(),
        }
        format!("{uid}STORE {name} {sign}FLAGS.SILENT ({flags})")
    }
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

/// Prints what was said when it panics.
struct Spoken<'a>(&'a [Client], u64);

impl Spoken<'_> {
    fn print(&self) {
        for client in self.0 {
            let from = client.log.len().saturating_sub(40);
            println!("seed {}, client {}:\n{}", self.1, client.name, client.log[from..].join("\n"));
        }
    }
}

fn check(server: &Server, clients: &mut [Client]) {
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

/// What a client does in a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    Command,
    Idle,
    Lost,
}

fn round(server: &Server, clients: &mut [Client], dice: &mut Dice) {
    let begin = |client: &mut Client| match dice.roll(25) {
        0 => {
            client.select(dice.roll(2));
            Doing::Nothing
        }
        1 => {
            // Half of the time with a command under way, of which it doesn't know whether it was done.
            if dice.roll(2) == 0 {
                let flags = client.mirror.as_ref().unwrap().flags.clone();
                let command = client.next(dice);
                client.send(&command);
                client.mirror.as_mut().unwrap().flags = flags;
            }
            Doing::Lost
        }
        _ => {
            let command = client.next(dice);
            client.send(&command);
            if command == "IDLE" { Doing::Idle } else { Doing::Command }
        }
    };
    let doing: Vec<Doing> = clients.iter_mut().map(begin).collect();
    for (client, _) in clients.iter_mut().zip(&doing).filter(|(_, doing)| **doing == Doing::Idle) {
        client.wait_for_idle();
    }
    for (client, doing) in clients.iter_mut().zip(&doing) {
        match doing {
            Doing::Command => drop(client.finish()),
            Doing::Lost => client.come_back(server),
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
    let clients = users.iter().enumerate();
    let mut clients: Vec<_> =
        clients.map(|(name, (user, habits))| Client::new(&server, name, user, *habits)).collect();
    let mut dice = Dice(seed);
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for (at, client) in clients.iter_mut().enumerate() {
            client.select(at % 2);
        }
        for step in 0..120 {
            round(&server, &mut clients, &mut dice);
            if step % 20 == 19 {
                check(&server, &mut clients);
            }
        }
    }));
    if let Err(panic) = played {
        Spoken(&clients, seed).print();
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
