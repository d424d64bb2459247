//! A client that knows only what it was told.

use std::collections::BTreeSet;
use std::time::Duration;

use super::facts::{Deed, Facts, content, token_of};
use super::grammar;
use super::mirror::{Mirror, between, numbers};
use crate::imap::tests::program::Served;
use crate::imap::tests::server::Peer;

/// Lines of a conversation that are kept for a report.
const LOG_LINES: usize = 4000;

/// What a client is like.
#[derive(Clone, Copy, Default, Debug)]
pub(in super::super) struct Habits {
    pub(in super::super) qresync: bool,
    pub(in super::super) condstore: bool,
    /// It knows no message numbers (RFC 9586).
    pub(in super::super) uid_only: bool,
    /// How it asks for the selected mailbox by NOTIFY.
    pub(in super::super) notify: Option<&'static str>,
    /// It names messages by uids only: their numbers may change at any time.
    pub(in super::super) by_uid: bool,
    /// It keeps the server waiting with what it is to read.
    pub(in super::super) slow: bool,
    /// Its connection is compressed.
    pub(in super::super) compress: bool,
}

pub(in super::super) struct Client<'a> {
    pub(in super::super) name: usize,
    pub(super) user: &'static str,
    /// The mailboxes, as this user names them.
    pub(super) boxes: Vec<String>,
    /// Users to whom it gives rights, and from whom it takes them.
    pub(in super::super) fellows: &'static [&'static str],
    server: &'a Served,
    pub(super) facts: &'a Facts,
    pub(in super::super) peer: Peer,
    pub(in super::super) habits: Habits,
    pub(in super::super) mirror: Option<Mirror>,
    pub(super) read_only: bool,
    /// What comes is still of the mailbox selected before.
    closing: bool,
    pub(in super::super) commands: u32,
    /// What was sent: nothing of EXPUNGE may come during some commands.
    pub(super) running: String,
    /// What that does to messages.
    pub(super) deed: Deed,
    /// The last uid that it knew when it sent that.
    last_known: u32,
    /// Those of the last response.
    literals: Vec<String>,
    pub(in super::super) log: Vec<String>,
}

impl<'a> Client<'a> {
    pub(in super::super) fn new(
        (server, facts): (&'a Served, &'a Facts),
        name: usize,
        user: &'static str,
        boxes: Vec<String>,
        habits: Habits,
    ) -> Self {
        let mut client = Self {
            name,
            user,
            boxes,
            fellows: &[],
            server,
            facts,
            peer: server.log_in_as(user),
            habits,
            mirror: None,
            read_only: false,
            closing: false,
            commands: 0,
            running: String::new(),
            deed: Deed::Nothing,
            last_known: 0,
            literals: Vec::new(),
            log: Vec::new(),
        };
        client.hello();
        client
    }

    fn hello(&mut self) {
        let Habits { qresync, condstore, uid_only, compress, .. } = self.habits;
        if compress {
            self.run("COMPRESS DEFLATE");
            self.peer.compress();
        }
        let enabled = [(qresync, "QRESYNC"), (condstore, "CONDSTORE"), (uid_only, "UIDONLY")];
        for (_, name) in enabled.into_iter().filter(|(wanted, _)| *wanted) {
            self.run(&format!("ENABLE {name}"));
        }
        if let Some(selected) = self.habits.notify {
            let events = "MessageNew (FLAGS) MessageExpunge FlagChange";
            self.run(&format!("NOTIFY SET ({selected} ({events}))"));
        }
    }

    /// Sends a command that does nothing to messages, or what `deed` says.
    pub(in super::super) fn send(&mut self, command: &str) {
        self.commands += 1;
        command.clone_into(&mut self.running);
        let uids = self.mirror.as_ref().map(|mirror| mirror.uids.iter().flatten().max());
        self.last_known = uids.flatten().copied().unwrap_or(0);
        let first = command.lines().next().unwrap_or_default();
        self.note(&format!("C: t{} {first}", self.commands));
        self.peer.send(format!("t{} {command}\r\n", self.commands).as_bytes());
    }

    fn note(&mut self, line: &str) {
        let line = format!("{:9.4} {line}", self.facts.seconds());
        if self.log.len() > LOG_LINES {
            self.log.drain(..LOG_LINES / 2);
        }
        self.log.push(line);
    }

    pub(in super::super) fn run(&mut self, command: &str) -> String {
        self.send(command);
        self.finish()
    }

    /// Reads up to the tagged response, which is OK.
    pub(in super::super) fn finish(&mut self) -> String {
        self.finish_as(self.commands, &mut Vec::new())
    }

    /// Runs a command; its untagged responses, with their literals.
    pub(in super::super) fn hear(&mut self, command: &str) -> Vec<(String, Vec<String>)> {
        self.send(command);
        let mut heard = Vec::new();
        self.finish_as(self.commands, &mut heard);
        heard
    }

    /// Asks for much, and leaves it where it is for a while.
    pub(in super::super) fn dawdle(&mut self, times: u32, while_: Duration) {
        let first = self.commands + 1;
        (0..times).for_each(|_| self.send("UID FETCH 1:* (FLAGS BODY.PEEK[])"));
        std::thread::sleep(while_);
        (first..first + times).for_each(|tag| drop(self.finish_as(tag, &mut Vec::new())));
        self.fill();
    }

    fn finish_as(&mut self, tag: u32, heard: &mut Vec<(String, Vec<String>)>) -> String {
        let tag = format!("t{tag} ");
        loop {
            let line = self.response();
            if let Some(answer) = line.strip_prefix(&tag) {
                let done = answer.starts_with("OK");
                assert!(done || self.facts.may_refuse(&self.deed, answer), "{}: {answer}", self.running);
                self.did(answer);
                if let (true, Deed::Expunge { uids: None }, Some(mirror)) = (done, &self.deed, &self.mirror) {
                    self.facts.swept(mirror.place, self.last_known);
                }
                self.deed = Deed::Nothing;
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
            heard.push((line, std::mem::take(&mut self.literals)));
        }
    }

    /// A code told which uids messages have now.
    fn did(&mut self, text: &str) {
        let uids = |words: &str| words.split(' ').skip(1).map(numbers).collect::<Vec<_>>();
        let here = self.mirror.as_ref().map(|mirror| mirror.place);
        if let Some(words) = between(text, "[APPENDUID ", "]") {
            let uids = &uids(words)[0];
            match (&self.deed, here) {
                (Deed::Append { to, tokens }, _) => self.facts.appended(*to, uids, tokens, self.name),
                (Deed::Replace { uid, to, token }, Some(here)) => {
                    self.facts.appended(*to, uids, &[*token], self.name);
                    self.facts.replaced(here, *uid, self.name);
                }
                (Deed::Catenate { uid, to }, Some(here)) => {
                    self.facts.copied((here, &[*uid]), (*to, uids), false, self.name);
                }
                _ => {}
            }
        }
        if let Some(words) = between(text, "[COPYUID ", "]")
            && let (Deed::Copy { to, .. } | Deed::Move { to, .. }, Some(here)) = (&self.deed, here)
        {
            let uids = uids(words);
            let moved = matches!(self.deed, Deed::Move { .. });
            self.facts.copied((here, &uids[0]), (*to, &uids[1]), moved, self.name);
        }
    }

    pub(in super::super) fn wait_for_idle(&mut self) {
        loop {
            let line = self.response();
            if line == "+ waiting" {
                return;
            }
            self.untagged(&line);
        }
    }

    /// A line; the literals in it are put aside.
    fn response(&mut self) -> String {
        let mut line = self.peer.line();
        self.literals.clear();
        while let Some(octets) = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')) {
            let octets = octets.1.parse().unwrap();
            self.literals.push(self.peer.octets(octets));
            line = format!("{line}{}", self.peer.line());
        }
        self.note(&format!("S: {line}"));
        grammar::check(&line);
        line
    }

    fn untagged(&mut self, line: &str) {
        let text = line.strip_prefix("* ").unwrap_or_else(|| panic!("{line}"));
        if self.closing {
            self.closing = !text.starts_with("OK [CLOSED]");
            return;
        }
        self.did(text.strip_prefix("OK ").unwrap_or_default());
        let quiet = ["FETCH", "STORE", "SEARCH"].iter().any(|name| self.running.starts_with(name));
        let Habits { qresync, uid_only, .. } = self.habits;
        let removing = matches!(self.deed, Deed::Expunge { .. });
        let me = format!("{} ({})", self.name, self.running.lines().next().unwrap_or_default());
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
                self.facts.gone(mirror.place, Some(uid), false, &me);
            }
        } else if let Some(gone) = text.strip_prefix("VANISHED ") {
            assert!((qresync || uid_only) && !quiet, "{} {line}", self.running);
            for uid in numbers(gone) {
                mirror.vanish(uid, uid_only);
                self.facts.gone(mirror.place, Some(uid), removing, &me);
            }
        } else if let Some((number, rest)) = text.split_once(' ')
            && let Ok(number) = number.parse::<u32>()
        {
            let index = number as usize;
            match rest.split_once(' ').unwrap_or((rest, "")) {
                ("EXISTS", _) => {
                    assert!(index >= mirror.uids.len(), "EXISTS {number} of {:?}", mirror.uids);
                    mirror.uids.resize(index, None);
                }
                ("EXPUNGE", _) => {
                    assert!(!qresync && !uid_only && !quiet, "{} {line}", self.running);
                    let uid = mirror.drop_at(index - 1);
                    self.facts.gone(mirror.place, uid, removing, &me);
                }
                ("FETCH", row) => {
                    assert!(!uid_only, "{line}");
                    let uid = mirror.row(index, row);
                    self.read(uid);
                }
                ("UIDFETCH", row) => {
                    assert!(uid_only, "{line}");
                    mirror.row_by_uid(number, row);
                    self.read(number);
                }
                _ => {}
            }
        }
    }

    /// The content of a message came, or its subject.
    fn read(&self, uid: u32) {
        let Some(mirror) = &self.mirror else { return };
        for literal in &self.literals {
            let token = token_of(literal);
            if self.running.contains("BODY[]") {
                assert!(*literal == content(token), "content of message {token}: {literal:?}");
            }
            self.facts.read(mirror.place, uid, token);
        }
    }

    /// Asks for what has come without uid.
    pub(in super::super) fn fill(&mut self) {
        for _ in 0..1000 {
            let Some(mirror) = &self.mirror else { return };
            let Some(first) = mirror.uids.iter().position(Option::is_none) else { return };
            // By uid, because that may tell of removals, too. Without numbers it isn't known where it is.
            let known = if self.habits.uid_only { &[] } else { &mirror.uids[..first] };
            let before = known.last().copied().flatten().unwrap_or(0);
            self.run(&format!("UID FETCH {}:* (FLAGS)", before + 1));
        }
        panic!("uids are never told: {:?}", self.mirror.as_ref().map(|mirror| &mirror.uids));
    }

    pub(in super::super) fn select(&mut self, place: usize, verb: &str) {
        // What is told of the one before ends with CLOSED, which begins the responses.
        self.closing = self.mirror.take().is_some();
        self.read_only = verb == "EXAMINE";
        self.send(&format!("{verb} {}", self.boxes[place]));
        self.mirror = Some(Mirror { place, ..Mirror::default() });
        self.finish();
        assert!(!self.closing, "CLOSED was told");
        self.mirror.as_mut().unwrap().items = 0;
        self.fill();
    }

    /// Closes the mailbox, which removes what is marked as deleted, and selects one.
    pub(super) fn close(&mut self, place: usize, verb: &str) {
        if let Some(mirror) = &self.mirror {
            self.facts.closes(mirror.place);
        }
        self.deed = Deed::Expunge { uids: None };
        self.run("CLOSE");
        self.mirror = None;
        self.select(place, verb);
    }

    /// Loses the connection and comes back.
    pub(in super::super) fn come_back(&mut self, verb: &str) {
        self.note("lost");
        if let Some(mirror) = &self.mirror {
            self.facts.maybe(mirror.place, &std::mem::take(&mut self.deed));
        }
        self.peer = self.server.log_in_as(self.user);
        let old = self.mirror.take();
        self.hello();
        let Some(mut old) = old.filter(|_| self.habits.qresync) else { return self.select(0, verb) };
        old.uids.retain(Option::is_some);
        let mut known: BTreeSet<u32> = old.uids.iter().flatten().copied().collect();
        let (place, validity, highest) = (old.place, old.validity, old.highest);
        // Numbers are known after EXISTS only, and VANISHED comes behind it: told from the lines.
        self.read_only = verb == "EXAMINE";
        let heard = self.hear(&format!("{verb} {} (QRESYNC ({validity} {highest}))", self.boxes[place]));
        let mut mirror = Mirror { place, validity, flags: old.flags, ..Mirror::default() };
        // Rows, and what happened since the moment that is told first.
        let mut later = Vec::new();
        let (mut counted, mut moved_on) = (false, false);
        for (line, _) in &heard {
            let text = line.strip_prefix("* ").unwrap_or_default();
            if let Some(gone) = text.strip_prefix("VANISHED (EARLIER) ") {
                for uid in numbers(gone) {
                    known.remove(&uid);
                    mirror.flags.remove(&uid);
                    self.facts.gone(place, Some(uid), false, &format!("{} (coming back)", self.name));
                }
            } else if let Some(modseq) = between(text, "[HIGHESTMODSEQ ", "]") {
                mirror.highest = modseq.parse().unwrap();
            } else if let Some(flags) = text.strip_prefix("FLAGS (") {
                mirror.told = flags.trim_end_matches(')').split(' ').map(str::to_owned).collect();
            } else if let Some((uid, _)) = text.split_once(" UIDFETCH ").filter(|_| !moved_on) {
                known.insert(uid.parse().unwrap());
                later.push(text);
            } else if let Some(uid) = between(text, " FETCH (UID ", " ").filter(|_| !moved_on) {
                known.insert(uid.parse().unwrap());
                later.push(text);
            } else if let Some(count) = text.strip_suffix(" EXISTS").filter(|_| !counted) {
                mirror.uids.resize(count.parse().unwrap(), None);
                counted = true;
            } else if text.starts_with("VANISHED ") || text.ends_with(" EXISTS") || text.contains("FETCH (") {
                moved_on |= !text.contains("FETCH (");
                later.push(text);
            }
        }
        // Only behind the last known message there may be some that it knows nothing of.
        assert!(known.len() <= mirror.uids.len(), "removals were lost: {known:?} {}", mirror.uids.len());
        for (slot, uid) in mirror.uids.iter_mut().zip(&known) {
            *slot = Some(*uid);
        }
        for text in later {
            self.happen(&mut mirror, text);
        }
        mirror.items = 0;
        self.mirror = Some(mirror);
        self.fill();
    }

    /// A row, a removal, or new messages, of a client that knows the uids.
    fn happen(&self, mirror: &mut Mirror, text: &str) {
        if let Some(gone) = text.strip_prefix("VANISHED ") {
            for uid in numbers(gone) {
                mirror.vanish(uid, self.habits.uid_only);
                self.facts.gone(mirror.place, Some(uid), false, &format!("{} (coming back)", self.name));
            }
        } else if let Some(count) = text.strip_suffix(" EXISTS") {
            mirror.uids.resize(count.parse().unwrap(), None);
        } else if let Some((uid, row)) = text.split_once(" UIDFETCH ") {
            mirror.row_by_uid(uid.parse().unwrap(), row);
        } else {
            let (number, row) = text.split_once(" FETCH ").unwrap();
            mirror.row(number.parse().unwrap(), row);
        }
    }

    /// What was said, for a report.
    pub(in super::super) fn print(&self, seed: u64) {
        let lines = std::env::var("POSTRIDER_LINES").ok().and_then(|lines| lines.parse().ok()).unwrap_or(40);
        let from = self.log.len().saturating_sub(lines);
        println!("seed {seed}, client {} ({}, {:?}):", self.name, self.user, self.habits);
        println!("{}", self.log[from..].join("\n"));
    }
}
