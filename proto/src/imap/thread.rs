//! Threads of messages (RFC 5256 §3, draft-ietf-morg-inthread): from what messages refer to, to trees.
//!
//! Nothing here recurses, so depth costs nothing but memory; and all work is done in steps, so that a
//! caller may pause. Members are numbered from 0 in the order of the mailbox. What messages refer to is
//! known by hashes: 64 bits that differ for any two ids that meet by chance.

mod forest;
mod references;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::command::ThreadAlgorithm;
use super::types::Uid;
use forest::Forest;
pub use forest::NESTING_MAX;
use references::Nodes;

/// What is known of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member<'a> {
    /// How it is told.
    pub number: Uid,
    /// The hash of its Message-ID, if that is valid.
    pub id: Option<u64>,
    /// The hashes of what it refers to, the oldest first.
    pub references: &'a [u64],
    /// When it was sent (RFC 5256 §2.2).
    pub sent: i64,
    /// When it arrived.
    pub received: i64,
    /// The hash of its base subject; 0 without one.
    pub subject: u64,
    /// Whether the subject is that of a reply or forward.
    pub is_reply: bool,
}

/// Messages on their way into threads.
pub struct Threads {
    algorithm: ThreadAlgorithm,
    nodes: Nodes,
    numbers: Vec<Uid>,
    sent: Vec<i64>,
    /// For REFS.
    received: Vec<i64>,
    /// For the others: base subjects, and which are of replies.
    subjects: Vec<(u64, bool)>,
}

/// Nothing.
const NONE: u32 = u32::MAX;

/// Where a member belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// It begins a thread.
    Top,
    /// It is a child of another member.
    Under(u32),
    /// It is one of several that belong together below a message that isn't there.
    Group(u32),
}

impl Threads {
    /// None yet.
    pub fn new(algorithm: ThreadAlgorithm) -> Self {
        Self {
            algorithm,
            nodes: Nodes::default(),
            numbers: Vec::new(),
            sent: Vec::new(),
            received: Vec::new(),
            subjects: Vec::new(),
        }
    }

    /// Whether references are looked at.
    pub fn needs_references(&self) -> bool {
        self.algorithm != ThreadAlgorithm::OrderedSubject
    }

    /// Whether subjects are looked at.
    pub fn needs_subjects(&self) -> bool {
        self.algorithm != ThreadAlgorithm::Refs
    }

    /// Adds the next message.
    pub fn push(&mut self, member: &Member<'_>) {
        if self.needs_references() {
            self.nodes.push(member.id, member.references);
        }
        if self.needs_subjects() {
            self.subjects.push((member.subject, member.is_reply));
        } else {
            self.received.push(member.received);
        }
        self.numbers.push(member.number);
        self.sent.push(member.sent);
    }

    /// How many messages.
    pub fn len(&self) -> u32 {
        // A mailbox has fewer messages than there are uids.
        u32::try_from(self.numbers.len()).unwrap_or(NONE)
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Octets that are held, and will be until the end.
    pub fn octets(&self) -> usize {
        // Number, sent, received or subject, order twice, place, child, next.
        self.numbers.len() * (4 + 8 + 16 + 8 + 8 + 8) + self.nodes.octets()
    }

    /// Steps that were taken up the trees to keep loops out: most of what hostile references cost.
    pub fn steps(&self) -> u64 {
        self.nodes.steps()
    }

    /// How members are to be ordered for [`Threads::write`]: by sent date.
    pub fn compare(&self, a: u32, b: u32) -> std::cmp::Ordering {
        let sent = |member: u32| self.sent[member as usize];
        sent(a).cmp(&sent(b)).then(a.cmp(&b))
    }

    /// Appends THREAD. `order` has all members as [`Threads::compare`] orders them.
    pub fn write(self, order: &[u32], out: &mut Vec<u8>) {
        let forest = match self.algorithm {
            ThreadAlgorithm::OrderedSubject => Forest::new(self.by_subject(order), order),
            ThreadAlgorithm::References => {
                let (mut places, mut groups) = self.nodes.into_places(self.numbers.len());
                let tops = Forest::new(places.clone(), order).into_tops();
                merge(&mut places, &mut groups, &tops, order, &self.subjects);
                Forest::new(places, order)
            }
            ThreadAlgorithm::Refs => {
                let mut forest = Forest::new(self.nodes.into_places(self.numbers.len()).0, order);
                forest.sort_by_newest(&self.received);
                forest
            }
        };
        forest.write(&self.numbers, out);
    }

    /// ORDEREDSUBJECT: the first of each subject begins a thread, the others are its children.
    fn by_subject(&self, order: &[u32]) -> Vec<Place> {
        let mut places = vec![Place::Top; self.numbers.len()];
        let mut first: HashMap<u64, u32> = HashMap::new();
        for member in order {
            let first = *first.entry(self.subjects[*member as usize].0).or_insert(*member);
            if first != *member {
                places[*member as usize] = Place::Under(first);
            }
        }
        places
    }
}

/// A thread as it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Top {
    Member(u32),
    Group(u32),
}

/// Puts threads with the same subject together (RFC 5256 §3, step 5). `tops` are the threads by date.
fn merge(places: &mut [Place], groups: &mut u32, tops: &[Top], order: &[u32], subjects: &[(u64, bool)]) {
    let mut members: HashMap<u32, Vec<u32>> = HashMap::new();
    for member in order {
        if let Place::Group(group) = places[*member as usize] {
            members.entry(group).or_default().push(*member);
        }
    }
    // The subject of a thread is that of the first message in it (step 5.B.i).
    let subject = |top: Top, members: &HashMap<u32, Vec<u32>>| match top {
        Top::Member(member) => subjects[member as usize].0,
        Top::Group(group) => {
            let first = members.get(&group).and_then(|members| members.first());
            first.map_or(0, |first| subjects[*first as usize].0)
        }
    };
    let is_reply = |top: Top| match top {
        Top::Member(member) => subjects[member as usize].1,
        Top::Group(_) => false,
    };
    let mut table: HashMap<u64, Top> = HashMap::new();
    let mut known: Vec<(Top, u64)> = Vec::with_capacity(tops.len());
    for top in tops {
        let subject = subject(*top, &members);
        if subject == 0 {
            continue;
        }
        known.push((*top, subject));
        table
            .entry(subject)
            .and_modify(|kept| {
                let is_dummy = matches!(top, Top::Group(_));
                if matches!(kept, Top::Member(_)) && (is_dummy || (is_reply(*kept) && !is_reply(*top))) {
                    *kept = *top;
                }
            })
            .or_insert(*top);
    }
    for (top, subject) in known {
        let Some(kept) = table.get_mut(&subject) else { continue };
        if *kept == top {
            continue;
        }
        match (*kept, top) {
            (Top::Group(kept), Top::Group(group)) => {
                for member in members.remove(&group).unwrap_or_default() {
                    places[member as usize] = Place::Group(kept);
                }
            }
            (Top::Group(kept), Top::Member(member)) => places[member as usize] = Place::Group(kept),
            (Top::Member(parent), Top::Member(member)) if is_reply(top) && !is_reply(*kept) => {
                places[member as usize] = Place::Under(parent);
            }
            (Top::Member(first), _) => {
                let group = *groups;
                *groups += 1;
                places[first as usize] = Place::Group(group);
                match top {
                    Top::Member(member) => places[member as usize] = Place::Group(group),
                    Top::Group(other) => {
                        for member in members.remove(&other).unwrap_or_default() {
                            places[member as usize] = Place::Group(group);
                        }
                    }
                }
                *kept = Top::Group(group);
            }
        }
    }
}
