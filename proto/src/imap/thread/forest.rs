//! Trees of messages, in their order, as THREAD tells them (RFC 5256 §4 and §5).

use super::super::response::write_number;
use super::super::types::Uid;
use super::{NONE, Place, Top};

/// How deeply threads are nested in what is told: where a thread splits deeper down, all that follows is
/// told as one line of descendants. No discussion comes near it; made-up references could otherwise
/// exhaust the stack of a client.
pub const NESTING_MAX: usize = 500;

/// Trees.
pub(super) struct Forest {
    tops: Vec<Top>,
    /// The first child of each member, and its next sibling.
    first: Vec<u32>,
    next: Vec<u32>,
    /// The first member of each group.
    groups: Vec<u32>,
}

impl Forest {
    /// Puts members where they belong; siblings are in the order of `order`, a group where its first
    /// member is (RFC 5256 §3, steps 4 and 6).
    pub(super) fn new(places: Vec<Place>, order: &[u32]) -> Self {
        let group_count = places.iter().map(|place| match place {
            Place::Group(group) => *group as usize + 1,
            _ => 0,
        });
        let mut groups = vec![NONE; group_count.max().unwrap_or(0)];
        let (mut first, mut next) = (vec![NONE; places.len()], vec![NONE; places.len()]);
        for member in order.iter().rev() {
            let head = match places[*member as usize] {
                Place::Top => continue,
                Place::Under(parent) => &mut first[parent as usize],
                Place::Group(group) => &mut groups[group as usize],
            };
            next[*member as usize] = std::mem::replace(head, *member);
        }
        let top = |member: &u32| match places[*member as usize] {
            Place::Top => Some(Top::Member(*member)),
            Place::Group(group) if groups[group as usize] == *member => Some(Top::Group(group)),
            _ => None,
        };
        let tops = order.iter().filter_map(top).collect();
        Self { tops, first, next, groups }
    }

    /// The threads, by date.
    pub(super) fn into_tops(self) -> Vec<Top> {
        self.tops
    }

    /// Orders the threads by the message of each that arrived last.
    pub(super) fn sort_by_newest(&mut self, received: &[i64]) {
        let newest = |member: u32| (received[member as usize], member);
        let mut keyed: Vec<((i64, u32), Top)> = Vec::with_capacity(self.tops.len());
        for top in &self.tops {
            let mut last = None;
            match *top {
                Top::Member(member) => {
                    last = last.max(Some(newest(member)));
                    self.each_below(member, |member| last = last.max(Some(newest(member))));
                }
                Top::Group(group) => {
                    let mut member = self.groups[group as usize];
                    while member != NONE {
                        last = last.max(Some(newest(member)));
                        self.each_below(member, |member| last = last.max(Some(newest(member))));
                        member = self.next[member as usize];
                    }
                }
            }
            keyed.extend(last.map(|last| (last, *top)));
        }
        keyed.sort_unstable_by_key(|(newest, _)| *newest);
        self.tops = keyed.into_iter().map(|(_, top)| top).collect();
    }

    /// Calls `each` for all descendants, parents before their children, siblings in their order.
    fn each_below(&self, member: u32, mut each: impl FnMut(u32)) {
        let mut open = vec![self.first[member as usize]];
        while let Some(member) = open.pop() {
            if member != NONE {
                each(member);
                open.push(self.next[member as usize]);
                open.push(self.first[member as usize]);
            }
        }
    }

    /// Appends THREAD.
    pub(super) fn write(&self, numbers: &[Uid], out: &mut Vec<u8>) {
        out.extend_from_slice(b"* THREAD");
        if !self.tops.is_empty() {
            out.push(b' ');
        }
        for top in &self.tops {
            match *top {
                Top::Member(member) => self.write_thread(member, numbers, 0, out),
                Top::Group(group) => {
                    out.push(b'(');
                    let mut member = self.groups[group as usize];
                    while member != NONE {
                        self.write_thread(member, numbers, 1, out);
                        member = self.next[member as usize];
                    }
                    out.push(b')');
                }
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends `thread-list` of a member and its descendants.
    fn write_thread(&self, member: u32, numbers: &[Uid], around: usize, out: &mut Vec<u8>) {
        let number =
            |out: &mut Vec<u8>, member: u32| write_number(out, numbers[member as usize].get().into());
        out.push(b'(');
        number(out, member);
        let mut member = member;
        // For each list that is open inside another: what comes behind it.
        let mut behind: Vec<u32> = Vec::new();
        loop {
            let child = self.first[member as usize];
            if child != NONE && self.next[child as usize] == NONE {
                out.push(b' ');
                number(out, child);
                member = child;
                continue;
            }
            if child != NONE && around + behind.len() + 1 < NESTING_MAX {
                out.extend_from_slice(b" (");
                number(out, child);
                behind.push(self.next[child as usize]);
                member = child;
                continue;
            }
            if child != NONE {
                self.each_below(member, |below| {
                    out.push(b' ');
                    number(out, below);
                });
            }
            // The list ends, and all around it that have nothing behind it.
            out.push(b')');
            loop {
                match behind.pop() {
                    None => return,
                    Some(NONE) => out.push(b')'),
                    Some(sibling) => {
                        out.push(b'(');
                        number(out, sibling);
                        behind.push(self.next[sibling as usize]);
                        member = sibling;
                        break;
                    }
                }
            }
        }
    }
}
