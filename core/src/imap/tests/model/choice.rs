//! What a client does next, by its dice.

use super::client::Client;
use super::facts::{Deed, content};
use super::mirror::Set;

const KEYWORDS: [&str; 8] =
    ["\\Seen", "\\Deleted", "\\Flagged", "\\Answered", "one", "two", "Three", "$four"];
const DELETED: &str = "\\Deleted";
/// With more messages than this, clients rather remove some.
const MANY: usize = 150;
/// Messages that one COPY copies at most, so that mailboxes don't double.
const COPIED_MAX: usize = 8;

/// SplitMix64.
pub(in super::super) struct Dice(pub(in super::super) u64);

impl Dice {
    pub(in super::super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }

    pub(in super::super) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// What a client is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Doing {
    Nothing,
    Command,
    Idle,
    Lost,
}

/// Messages that a command names.
struct Chosen {
    /// `UID ` or nothing.
    uid: &'static str,
    set: String,
    /// Which these are, as far as the client knows.
    uids: Vec<u32>,
    /// Whether there may be more of them.
    open: bool,
}

impl Client<'_> {
    /// Begins the next thing.
    pub(in super::super) fn begin(&mut self, dice: &mut Dice, loses: bool) -> Doing {
        match dice.roll(25) {
            0 => {
                let place = dice.roll(self.boxes.len());
                self.select(place, dice.one(&["SELECT", "SELECT", "SELECT", "EXAMINE"]));
                Doing::Nothing
            }
            1 if loses => {
                self.begin_to_lose(dice);
                Doing::Lost
            }
            2 if dice.roll(3) == 0 => {
                let place = dice.roll(self.boxes.len());
                self.close(place, dice.one(&["SELECT", "SELECT", "SELECT", "EXAMINE"]));
                Doing::Nothing
            }
            _ => {
                let command = self.next(dice);
                self.send(&command);
                if command == "IDLE" { Doing::Idle } else { Doing::Command }
            }
        }
    }

    /// Loses the connection now, or with a command under way, of which it doesn't know whether it was done, or
    /// with a part of one, which isn't done.
    fn begin_to_lose(&mut self, dice: &mut Dice) {
        match dice.roll(4) {
            0 => {}
            1 => {
                let message = content(self.facts.new_token());
                let (some, _) = message.split_at(message.len() / 2);
                let to = dice.one(&self.boxes.iter().map(String::as_str).collect::<Vec<_>>());
                self.peer.send(format!("x APPEND {to} {{{}+}}\r\n{some}", message.len()).as_bytes());
            }
            _ => {
                let flags = self.mirror.as_ref().unwrap().flags.clone();
                let command = self.next(dice);
                self.send(&command);
                self.mirror.as_mut().unwrap().flags = flags;
            }
        }
    }

    /// A random set of messages, in numbers or uids.
    fn some(&self, dice: &mut Dice, count_max: usize) -> Option<Chosen> {
        let mirror = self.mirror.as_ref()?;
        let count = mirror.uids.len();
        if count == 0 {
            return None;
        }
        let by_uid = dice.roll(2) == 0 || self.habits.by_uid || self.habits.uid_only;
        let mut ends = [dice.roll(count), (dice.roll(count) + dice.roll(count)) / 2];
        ends.sort_unstable();
        if dice.roll(2) == 0 {
            ends[1] = (ends[0] + dice.roll(3)).min(count - 1);
        }
        ends[1] = ends[1].min(ends[0] + count_max - 1);
        let name = |at: usize| if by_uid { mirror.uids[at].unwrap() } else { u32::try_from(at + 1).unwrap() };
        let all = |from: usize, to: usize| mirror.uids[from..=to].iter().map(|uid| uid.unwrap()).collect();
        let (set, uids, open) = match dice.roll(6) {
            0 if count_max >= count => (format!("{}:*", name(ends[0])), all(ends[0], count - 1), true),
            1 => {
                let [from, to] = ends.map(|at| mirror.uids[at].unwrap());
                let uids = if from == to { vec![from] } else { vec![from, to] };
                (format!("{},{}", name(ends[1]), name(ends[0])), uids, false)
            }
            _ => (format!("{}:{}", name(ends[0]), name(ends[1])), all(ends[0], ends[1]), false),
        };
        Some(Chosen { uid: if by_uid { "UID " } else { "" }, set, uids, open })
    }

    fn flags(dice: &mut Dice) -> Vec<&'static str> {
        (0..=dice.roll(2)).map(|_| dice.one(&KEYWORDS)).collect()
    }

    fn append(&mut self, dice: &mut Dice) -> String {
        let to = dice.roll(self.boxes.len());
        let count = if dice.roll(8) == 0 { 2 + dice.roll(3) } else { 1 };
        let tokens: Vec<u32> = (0..count).map(|_| self.facts.new_token()).collect();
        let mut command = format!("APPEND {}", self.boxes[to]);
        for token in &tokens {
            let flags = if dice.roll(3) == 0 { Self::flags(dice) } else { Vec::new() };
            // Who is the first to be told of it doesn't know yet which one it is: it may be one that stays.
            let flags: Vec<_> = flags.into_iter().filter(|flag| *flag != DELETED).collect();
            let message = content(*token);
            command.push_str(&format!(" ({}) {{{}+}}\r\n{message}", flags.join(" "), message.len()));
        }
        self.deed = Deed::Append { to, tokens };
        command
    }

    /// What it does next; what it can assume of it is in the mirror at once.
    pub(super) fn next(&mut self, dice: &mut Dice) -> String {
        let count_max = self.mirror.as_ref().map_or(1, |mirror| mirror.uids.len()).max(1);
        let Some(chosen) = self.some(dice, count_max) else { return self.append(dice) };
        let Chosen { uid, set, uids, open } = chosen;
        let many = count_max > MANY;
        match dice.roll(28) {
            0..=3 if !many => self.append(dice),
            4..=8 if !self.read_only => self.store(dice),
            9 if !many => self.copy(dice, false),
            10..=11 if !self.read_only => self.copy(dice, true),
            12 if !self.read_only => self.delete(dice),
            0..=3 if !self.read_only => self.delete(dice),
            13 if !self.read_only => {
                self.deed = Deed::Expunge { uids: None };
                "EXPUNGE".to_owned()
            }
            14 if !self.read_only && !uid.is_empty() => {
                self.deed = Deed::Expunge { uids: (!open).then_some(uids) };
                format!("UID EXPUNGE {set}")
            }
            15 => format!("{uid}FETCH {set} (FLAGS INTERNALDATE)"),
            16 => format!("{uid}FETCH {set} (BODY.PEEK[])"),
            17 if !self.read_only => format!("{uid}FETCH {set} (BODY[])"),
            18 => format!("{uid}FETCH {set} (FLAGS MODSEQ RFC822.SIZE)"),
            19 => format!("{uid}SEARCH UNSEEN NOT KEYWORD one"),
            20 => format!("{uid}SEARCH RETURN (COUNT ALL) OR KEYWORD two FLAGGED"),
            21 => format!("STATUS {} (MESSAGES UIDNEXT UNSEEN)", dice.one(&self.names())),
            22 => "NOOP".to_owned(),
            23 if !self.read_only => self.replace(dice),
            24 if !many => self.catenate(dice),
            25 if !many => self.catenate_url(dice),
            26 => self.change_rights(dice),
            _ => "IDLE".to_owned(),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.boxes.iter().map(String::as_str).collect()
    }

    fn copy(&mut self, dice: &mut Dice, moves: bool) -> String {
        let here = self.mirror.as_ref().unwrap().place;
        let to = (here + 1 + dice.roll(self.boxes.len() - 1)) % self.boxes.len();
        // Of a set with `*` the client doesn't know what it names: then it couldn't be said what a lost one did.
        let chosen = self.some(dice, COPIED_MAX).filter(|chosen| !chosen.open);
        let Some(Chosen { uid, set, uids, .. }) = chosen else { return "NOOP".to_owned() };
        let name = if moves { "MOVE" } else { "COPY" };
        self.deed = if moves { Deed::Move { to, uids } } else { Deed::Copy { to, uids } };
        format!("{uid}{name} {set} {}", self.boxes[to])
    }

    /// One message, and how it is named.
    fn one(&self, dice: &mut Dice) -> (&'static str, u32, u32) {
        let by_uid = dice.roll(2) == 0 || self.habits.by_uid || self.habits.uid_only;
        let mirror = self.mirror.as_ref().unwrap();
        let at = dice.roll(mirror.uids.len());
        let this = mirror.uids[at].unwrap();
        if by_uid { ("UID ", this, this) } else { ("", u32::try_from(at + 1).unwrap(), this) }
    }

    fn replace(&mut self, dice: &mut Dice) -> String {
        let (uid, name, this) = self.one(dice);
        let place = self.mirror.as_ref().unwrap().place;
        if !self.facts.deletable(place, &[this]) {
            return "NOOP".to_owned();
        }
        let (to, token) = (dice.roll(self.boxes.len()), self.facts.new_token());
        let message = content(token);
        self.deed = Deed::Replace { uid: this, to, token };
        format!("{uid}REPLACE {name} {} (\\Seen) {{{}+}}\r\n{message}", self.boxes[to], message.len())
    }

    /// Sends a message in two parts.
    fn catenate(&mut self, dice: &mut Dice) -> String {
        let (to, token) = (dice.roll(self.boxes.len()), self.facts.new_token());
        let message = content(token);
        let (one, two) = message.split_at(1 + dice.roll(message.len() - 1));
        self.deed = Deed::Append { to, tokens: vec![token] };
        let [one, two] = [one, two].map(|part| format!("TEXT {{{}+}}\r\n{part}", part.len()));
        format!("APPEND {} CATENATE ({one} {two})", self.boxes[to])
    }

    /// Makes a message of one that is there.
    fn catenate_url(&mut self, dice: &mut Dice) -> String {
        let (_, _, this) = self.one(dice);
        let (to, place) = (dice.roll(self.boxes.len()), self.mirror.as_ref().unwrap().place);
        let mailbox = self.boxes[place].trim_matches('"').replace(' ', "%20");
        self.deed = Deed::Catenate { uid: this, to };
        format!("APPEND {} CATENATE (URL \"/{mailbox}/;UID={this}\")", self.boxes[to])
    }

    /// Gives or takes rights on which what this or another client knows doesn't depend.
    fn change_rights(&mut self, dice: &mut Dice) -> String {
        let mailbox = dice.one(&self.names()).to_owned();
        let owner = mailbox.split('/').nth(1).unwrap_or(self.user);
        let others: Vec<_> = self.fellows.iter().copied().filter(|user| *user != owner).collect();
        if others.is_empty() {
            return "NOOP".to_owned();
        }
        self.facts.rights_change();
        let (whose, sign) = (dice.one(&others), dice.one(&["+", "+", "-"]));
        format!("SETACL {mailbox} {whose} {sign}{}", dice.one(&["i", "e", "kx"]))
    }

    /// Marks messages as deleted, or removes those that are; others are left alone.
    fn delete(&mut self, dice: &mut Dice) -> String {
        let chosen = self.some(dice, 4);
        let place = self.mirror.as_ref().unwrap().place;
        match chosen.filter(|chosen| !chosen.open && self.facts.deletable(place, &chosen.uids)) {
            Some(Chosen { uid, set, .. }) if dice.roll(3) > 0 => {
                format!("{uid}STORE {set} +FLAGS ({DELETED})")
            }
            _ => {
                self.deed = Deed::Expunge { uids: None };
                "EXPUNGE".to_owned()
            }
        }
    }

    fn store(&mut self, dice: &mut Dice) -> String {
        let sign = dice.one(&["", "+", "-", "+"]);
        let mut flags = Self::flags(dice);
        let silent = dice.roll(3) == 0;
        let count_max = self.mirror.as_ref().unwrap().uids.len();
        let Some(chosen) = self.some(dice, count_max) else { return "NOOP".to_owned() };
        let place = self.mirror.as_ref().unwrap().place;
        if silent {
            return self.store_silently(dice, sign, flags);
        }
        if sign != "-" && (chosen.open || !self.facts.deletable(place, &chosen.uids)) {
            flags.retain(|flag| *flag != DELETED);
        }
        let Chosen { uid, set, .. } = chosen;
        let highest = self.mirror.as_ref().unwrap().highest;
        let since = match dice.roll(4) {
            0 => format!(" (UNCHANGEDSINCE {})", highest.max(1)),
            _ => String::new(),
        };
        format!("{uid}STORE {set}{since} {sign}FLAGS ({})", flags.join(" "))
    }

    /// A single message, so that it is plain which one is meant.
    fn store_silently(&mut self, dice: &mut Dice, sign: &str, mut flags: Vec<&str>) -> String {
        let by_uid = dice.roll(2) == 0 || self.habits.by_uid || self.habits.uid_only;
        let mirror = self.mirror.as_mut().unwrap();
        let at = dice.roll(mirror.uids.len());
        let this = mirror.uids[at].unwrap();
        if sign != "-" && !self.facts.deletable(mirror.place, &[this]) {
            flags.retain(|flag| *flag != DELETED);
        }
        let (uid, name) = if by_uid { ("UID ", this) } else { ("", u32::try_from(at + 1).unwrap()) };
        let known: &mut Set = mirror.flags.entry(this).or_default();
        let words = flags.iter().map(|flag| (*flag).to_owned());
        match sign {
            "+" => known.extend(words),
            "-" => words.for_each(|word| {
                known.remove(&word);
            }),
            _ => *known = words.collect(),
        }
        format!("{uid}STORE {name} {sign}FLAGS.SILENT ({})", flags.join(" "))
    }
}
