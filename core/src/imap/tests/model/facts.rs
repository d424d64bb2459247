//! What all clients together know of the messages. Each message has a number of its own, in its subject, so that
//! at any time it can be said which message every uid is, and whether one is lost or doubled.
//!
//! Where a connection was lost, nobody knows what its last command did: what that may have been is noted, too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Instant;

/// A mailbox and a uid there.
pub(super) type Place = (usize, u32);

/// What a command may do to messages.
#[derive(Clone, Debug, Default)]
pub(super) enum Deed {
    #[default]
    Nothing,
    Append {
        to: usize,
        tokens: Vec<u32>,
    },
    Copy {
        to: usize,
        uids: Vec<u32>,
    },
    Move {
        to: usize,
        uids: Vec<u32>,
    },
    /// Of all, or of some uids.
    Expunge {
        uids: Option<Vec<u32>>,
    },
    /// A new message for one that is there.
    Replace {
        uid: u32,
        to: usize,
        token: u32,
    },
    /// A new message that is made of one that is there.
    Catenate {
        uid: u32,
        to: usize,
    },
}

/// What is there, in one mailbox: the message of each uid.
pub(in super::super) type There = BTreeMap<u32, u32>;

pub(in super::super) struct Facts {
    inner: Mutex<Inner>,
    begun: Instant,
}

impl Default for Facts {
    fn default() -> Self {
        Self { inner: Mutex::default(), begun: Instant::now() }
    }
}

#[derive(Default)]
struct Inner {
    /// Seconds since the beginning.
    now: f64,
    tokens: u32,
    known: HashMap<Place, u32>,
    /// From where to where; the message is found out when it is known.
    copies: Vec<(Place, Place)>,
    /// Those that a MOVE took away, told by its COPYUID.
    moved: HashSet<Place>,
    /// Those that are gone, as a client was told whose own command removes messages.
    expunged: HashSet<Place>,
    /// Those that are gone, as any client was told.
    gone: HashSet<Place>,
    /// Mailboxes in which a client removed all that was marked, with the last uid that it knew: of what came behind
    /// that it is told neither that it came nor that it went.
    swept: Vec<(usize, u32)>,
    /// How many such a client was told of by numbers, before it knew their uids.
    nameless: HashMap<usize, u32>,
    /// Of commands without answer.
    maybe: Maybe,
    /// Messages that no client marks as deleted: each is somewhere, always.
    staying: HashSet<u32>,
    /// Whether clients give and take rights.
    rights_change: bool,
    /// What was done since the beginning, for a report.
    done: Done,
    /// What was said of each message since the last comparison, for a report.
    history: HashMap<Place, Vec<(f64, String)>>,
    /// What was begun on connections that were lost.
    lost: Vec<(f64, usize, Deed)>,
}

#[derive(Default)]
struct Maybe {
    added: Vec<(usize, u32)>,
    copied: Vec<(Place, usize)>,
    moved: Vec<(Place, usize)>,
    expunged: HashSet<Place>,
    all_expunged: HashSet<usize>,
}

/// Numbers of what was done.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Done {
    pub(in super::super) appended: usize,
    pub(in super::super) copied: usize,
    pub(in super::super) moved: usize,
    pub(in super::super) replaced: usize,
    pub(in super::super) refused: usize,
    pub(in super::super) closed: usize,
    pub(in super::super) removed: usize,
    pub(in super::super) lost: usize,
}

/// Whether clients leave the message alone when they delete.
pub(super) fn stays(token: u32) -> bool {
    token.is_multiple_of(4)
}

/// The message of a number. Some are larger than what a socket takes at once.
pub(in super::super) fn content(token: u32) -> String {
    let lines = match token % 32 {
        0 => 1500,
        1..=4 => 100,
        _ => 1,
    };
    format!("Subject: message {token}\r\n\r\n{}", "hello from a client that was there\r\n".repeat(lines))
}

/// The number of the message that begins so.
pub(in super::super) fn token_of(content: &str) -> u32 {
    let line = content.strip_prefix("Subject: message ").and_then(|rest| rest.split_once('\r'));
    line.unwrap_or_else(|| panic!("no message of ours: {content:?}")).0.parse().unwrap()
}

impl Facts {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        // After a panic of another client the facts still say what was done.
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.now = self.begun.elapsed().as_secs_f64();
        work(&mut inner)
    }

    /// Time since the beginning, for reports.
    pub(super) fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub(super) fn new_token(&self) -> u32 {
        self.with(|facts| {
            facts.tokens += 1;
            facts.tokens
        })
    }

    /// Whether all of them are known as messages that may be deleted.
    pub(super) fn deletable(&self, mailbox: usize, uids: &[u32]) -> bool {
        self.with(|facts| {
            uids.iter().all(|uid| facts.known.get(&(mailbox, *uid)).is_some_and(|token| !stays(*token)))
        })
    }

    pub(super) fn appended(&self, mailbox: usize, uids: &[u32], tokens: &[u32], who: usize) {
        assert_eq!(uids.len(), tokens.len(), "APPENDUID {uids:?} of messages {tokens:?}");
        self.with(|facts| {
            for (uid, token) in uids.iter().zip(tokens) {
                facts.note((mailbox, *uid), format!("{who} appended message {token}"));
                facts.know((mailbox, *uid), *token);
                facts.done.appended += 1;
                if stays(*token) {
                    facts.staying.insert(*token);
                }
            }
        });
    }

    /// COPYUID told so.
    pub(super) fn copied(
        &self,
        (from, uids): (usize, &[u32]),
        (to, copies): (usize, &[u32]),
        moved: bool,
        who: usize,
    ) {
        assert_eq!(uids.len(), copies.len(), "COPYUID {uids:?} {copies:?}");
        self.with(|facts| {
            for (uid, copy) in uids.iter().zip(copies) {
                facts.copies.push(((from, *uid), (to, *copy)));
                let verb = if moved { "moved" } else { "copied" };
                facts.note((from, *uid), format!("{who} {verb} it to {:?}", (to, *copy)));
                facts.note((to, *copy), format!("{who} {verb} it from {:?}", (from, *uid)));
                if moved {
                    assert!(facts.moved.insert((from, *uid)), "{uid} of mailbox {from} was moved twice");
                    facts.done.moved += 1;
                } else {
                    facts.done.copied += 1;
                }
            }
        });
    }

    /// A client was told that a message is gone, `removing` when it runs a command that removes.
    pub(super) fn gone(&self, mailbox: usize, uid: Option<u32>, removing: bool, told: &str) {
        self.with(|facts| match uid {
            Some(uid) => {
                facts.note((mailbox, uid), format!("{told} was told that it is gone"));
                facts.gone.insert((mailbox, uid));
                if removing && facts.expunged.insert((mailbox, uid)) {
                    facts.done.removed += 1;
                }
            }
            None if removing => *facts.nameless.entry(mailbox).or_default() += 1,
            None => {}
        });
    }

    /// APPENDUID told so of a replacement.
    pub(super) fn replaced(&self, mailbox: usize, uid: u32, who: usize) {
        self.with(|facts| {
            facts.note((mailbox, uid), format!("{who} replaced it"));
            facts.expunged.insert((mailbox, uid));
            facts.done.replaced += 1;
        });
    }

    /// A client closes a mailbox: it isn't told what that removes.
    pub(super) fn closes(&self, mailbox: usize) {
        self.with(|facts| {
            facts.maybe.all_expunged.insert(mailbox);
            facts.done.closed += 1;
        });
    }

    /// Rights are given and taken from now on.
    pub(super) fn rights_change(&self) {
        self.with(|facts| facts.rights_change = true);
    }

    /// Whether a command may be refused so: what it is about may be gone by then, or the right to do it.
    pub(super) fn may_refuse(&self, deed: &Deed, answer: &str) -> bool {
        self.with(|facts| {
            let may = match deed {
                Deed::Replace { .. } if answer.starts_with("NO [EXPUNGEISSUED] ") => true,
                Deed::Catenate { .. } if answer.starts_with("NO [BADURL ") => true,
                Deed::Nothing => false,
                _ => facts.rights_change && answer.starts_with("NO [NOPERM] "),
            };
            facts.done.refused += usize::from(may);
            may
        })
    }

    /// A client removed all that is marked as deleted.
    pub(super) fn swept(&self, mailbox: usize, last: u32) {
        self.with(|facts| facts.swept.push((mailbox, last)));
    }

    /// A connection was lost before the answer.
    pub(super) fn maybe(&self, mailbox: usize, deed: &Deed) {
        self.with(|facts| {
            facts.done.lost += 1;
            facts.lost.push((facts.now, mailbox, deed.clone()));
            let maybe = &mut facts.maybe;
            match deed {
                Deed::Nothing => {}
                Deed::Append { to, tokens } => maybe.added.extend(tokens.iter().map(|token| (*to, *token))),
                Deed::Copy { to, uids } => maybe.copied.extend(uids.iter().map(|uid| ((mailbox, *uid), *to))),
                Deed::Move { to, uids } => maybe.moved.extend(uids.iter().map(|uid| ((mailbox, *uid), *to))),
                Deed::Expunge { uids: Some(uids) } => {
                    maybe.expunged.extend(uids.iter().map(|uid| (mailbox, *uid)));
                }
                Deed::Expunge { uids: None } => drop(maybe.all_expunged.insert(mailbox)),
                Deed::Replace { uid, to, token } => {
                    maybe.added.push((*to, *token));
                    maybe.expunged.insert((mailbox, *uid));
                }
                Deed::Catenate { uid, to } => maybe.copied.push(((mailbox, *uid), *to)),
            }
        });
    }

    /// A client read the message of a uid.
    pub(super) fn read(&self, mailbox: usize, uid: u32, token: u32) {
        self.with(|facts| {
            if let Some(known) = facts.known.get(&(mailbox, uid)) {
                assert_eq!(*known, token, "message of uid {uid} in mailbox {mailbox}");
            }
        });
    }

    /// Compares with what is there, while no client does anything. From then on that is what is known.
    pub(in super::super) fn compare(&self, there: &[There]) {
        self.with(|facts| facts.compare(there));
    }

    /// Takes what is there as known, after messages were removed with nobody looking.
    pub(in super::super) fn accept(&self, there: &[There]) {
        self.with(|facts| facts.accept(there));
    }

    pub(in super::super) fn done(&self) -> Done {
        self.with(|facts| facts.done)
    }
}

impl Inner {
    fn note(&mut self, place: Place, what: String) {
        self.history.entry(place).or_default().push((self.now, what));
    }

    /// What was said of a message, and was begun in its mailbox on connections that were lost.
    fn story(&self, place: Place, token: u32) -> String {
        let mut story = format!("message {token} at {place:?}");
        let others = self.known.iter().filter(|(_, known)| **known == token).map(|(place, _)| *place);
        for place in others.chain([place]).collect::<HashSet<_>>() {
            for (at, what) in self.history.get(&place).into_iter().flatten() {
                let _ = write!(story, "\n{at:9.4} {place:?}: {what}");
            }
        }
        for (at, mailbox, deed) in &self.lost {
            let _ = write!(story, "\n{at:9.4} lost in {mailbox}: {deed:?}");
        }
        story
    }

    fn know(&mut self, place: Place, token: u32) {
        let before = self.known.insert(place, token);
        assert!(
            before.is_none_or(|before| before == token),
            "{place:?} was message {before:?}, and is {token}"
        );
    }

    /// Finds out which messages the copies are.
    fn resolve(&mut self) {
        loop {
            let copies = std::mem::take(&mut self.copies);
            let count = copies.len();
            for (from, to) in copies {
                match self.known.get(&from).copied() {
                    Some(token) => self.know(to, token),
                    None => self.copies.push((from, to)),
                }
            }
            if self.copies.len() == count {
                return;
            }
        }
    }

    fn compare(&mut self, there: &[There]) {
        let at = |(mailbox, uid): &Place| there[*mailbox].get(uid).copied();
        // What a lost APPEND added is known now; so are copies of it.
        let mut maybe = std::mem::take(&mut self.maybe);
        self.resolve();
        let known: HashSet<Place> = self.known.keys().copied().collect();
        let copies: HashSet<Place> = self.copies.iter().map(|(_, to)| *to).collect();
        // What explains messages that nobody was told of.
        let mut added: Vec<(usize, u32)> = std::mem::take(&mut maybe.added);
        let mut unknown = Vec::new();
        for (from, to) in &maybe.copied {
            match self.known.get(from).copied().or_else(|| at(from)) {
                Some(token) => added.push((*to, token)),
                None => unknown.push(*to),
            }
        }
        // What was moved is in one of both mailboxes, never in both.
        for (from, to) in maybe.moved.iter().filter(|(from, _)| at(from).is_none()) {
            match self.known.get(from) {
                Some(token) => added.push((*to, *token)),
                None => unknown.push(*to),
            }
        }
        // A lost command may be about what another lost one added: then only that it was one of those is known.
        let strays: HashSet<u32> = added.iter().map(|(_, token)| *token).collect();
        for (mailbox, uids) in there.iter().enumerate() {
            for (uid, token) in uids {
                let place = (mailbox, *uid);
                assert!(!self.gone.contains(&place), "{place:?} was told to be gone, and is there");
                assert!(!self.moved.contains(&place), "{place:?} was moved, and is there");
                if known.contains(&place) {
                    assert_eq!(self.known[&place], *token, "message of {place:?}");
                } else if !copies.contains(&place) {
                    if let Some(reason) = added.iter().position(|maybe| *maybe == (mailbox, *token)) {
                        added.swap_remove(reason);
                        continue;
                    }
                    let stray = unknown.iter().position(|to| *to == mailbox && strays.contains(token));
                    let stray = stray.unwrap_or_else(|| panic!("once more: {}", self.story(place, *token)));
                    unknown.swap_remove(stray);
                }
            }
        }
        let moved: HashSet<Place> = maybe.moved.iter().map(|(from, _)| *from).collect();
        for (place, token) in &self.known {
            if at(place).is_some() || self.moved.contains(place) || moved.contains(place) {
                continue;
            }
            let named = self.expunged.contains(place)
                || maybe.expunged.contains(place)
                || maybe.all_expunged.contains(&place.0)
                || self.swept.iter().any(|(mailbox, last)| *mailbox == place.0 && place.1 > *last);
            let reason = named
                || self.nameless.get_mut(&place.0).is_some_and(|count| {
                    let some = *count > 0;
                    *count = count.saturating_sub(1);
                    some
                });
            assert!(!stays(*token) && reason, "lost: {}", self.story(*place, *token));
        }
        let all: HashSet<u32> = there.iter().flat_map(BTreeMap::values).copied().collect();
        let lost: Vec<_> = self.staying.difference(&all).collect();
        assert!(lost.is_empty(), "messages {lost:?} are nowhere");
        self.accept(there);
    }

    fn accept(&mut self, there: &[There]) {
        let uids = there
            .iter()
            .enumerate()
            .flat_map(|(mailbox, uids)| uids.iter().map(move |(uid, token)| ((mailbox, *uid), *token)));
        self.known = uids.collect();
        self.staying = self.known.values().copied().filter(|token| stays(*token)).collect();
        self.copies.clear();
        self.moved.clear();
        self.expunged.clear();
        self.gone.clear();
        self.swept.clear();
        self.nameless.clear();
        self.maybe = Maybe::default();
        self.history.clear();
        self.lost.clear();
    }
}
