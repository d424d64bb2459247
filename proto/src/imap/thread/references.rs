//! The tree of what messages refer to (RFC 5256 §3, REFERENCES, steps 1 to 3).

use std::collections::HashMap;

use super::{NONE, Place};

/// Messages that are there, and those that are only referred to.
#[derive(Default)]
pub(super) struct Nodes {
    parents: Vec<u32>,
    /// The member that a node is; none of a message that isn't there.
    members: Vec<u32>,
    /// How many children each has: what has none can't begin a loop.
    children: Vec<u32>,
    /// Keys are hashes of what strangers chose, so the table has its own hash over them.
    ids: HashMap<u64, u32>,
    len: u32,
    steps: u64,
}

/// Marks a node that stands for a message that isn't there.
const DUMMY: u32 = 1 << 31;

impl Nodes {
    /// Adds the next message (step 1).
    pub(super) fn push(&mut self, id: Option<u64>, references: &[u64]) {
        // (A)
        let mut previous = NONE;
        for reference in references {
            let node = self.node(*reference);
            if previous != NONE && self.parents[node as usize] == NONE && !self.is_above(node, previous) {
                self.link(previous, node);
            }
            previous = node;
        }
        // Of messages with the same id the first has it.
        let own = id.map(|id| self.node(id)).filter(|node| self.members[*node as usize] == NONE);
        let own = own.unwrap_or_else(|| self.add());
        self.members[own as usize] = self.len;
        self.len += 1;
        // (B)
        let parent = std::mem::replace(&mut self.parents[own as usize], NONE);
        if parent != NONE {
            self.children[parent as usize] -= 1;
        }
        if previous != NONE && !self.is_above(own, previous) {
            self.link(previous, own);
        }
    }

    fn node(&mut self, id: u64) -> u32 {
        if let Some(node) = self.ids.get(&id) {
            return *node;
        }
        let node = self.add();
        self.ids.insert(id, node);
        node
    }

    fn add(&mut self) -> u32 {
        self.parents.push(NONE);
        self.members.push(NONE);
        self.children.push(0);
        // The bound on memory keeps it far below `DUMMY`.
        u32::try_from(self.parents.len() - 1).unwrap_or(NONE)
    }

    fn link(&mut self, parent: u32, child: u32) {
        self.parents[child as usize] = parent;
        self.children[parent as usize] += 1;
    }

    /// Whether `node` is `other`, or above it.
    fn is_above(&mut self, node: u32, other: u32) -> bool {
        if node == other {
            return true;
        }
        if self.children[node as usize] == 0 {
            return false;
        }
        let mut up = self.parents[other as usize];
        while up != NONE && up != node {
            self.steps += 1;
            up = self.parents[up as usize];
        }
        up == node
    }

    pub(super) fn octets(&self) -> usize {
        // Parents, members, children, what members become; the table has an eighth and up to a half free.
        self.parents.len() * 16 + self.ids.capacity() * 17 * 8 / 7
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes out the messages that aren't there (step 3). Also tells how many groups there are.
    pub(super) fn into_places(self, count: usize) -> (Vec<Place>, u32) {
        let Self { parents, members, ids, .. } = self;
        drop(ids);
        let above = nearest(&parents, &members);
        // Messages that aren't there and begin a thread, with how many members they keep together.
        let mut together: HashMap<u32, u32> = HashMap::new();
        for (node, member) in members.iter().enumerate() {
            if *member != NONE && above[node] != NONE && above[node] & DUMMY != 0 {
                *together.entry(above[node]).or_default() += 1;
            }
        }
        let mut places = vec![Place::Top; count];
        let mut groups: HashMap<u32, u32> = HashMap::new();
        for (node, member) in members.iter().enumerate().filter(|(_, member)| **member != NONE) {
            places[*member as usize] = match above[node] {
                NONE => Place::Top,
                // An only child takes the place of its parent.
                dummy if dummy & DUMMY != 0 && together.get(&dummy) == Some(&1) => Place::Top,
                dummy if dummy & DUMMY != 0 => {
                    let next = u32::try_from(groups.len()).unwrap_or(NONE);
                    Place::Group(*groups.entry(dummy).or_insert(next))
                }
                parent => Place::Under(parent),
            };
        }
        (places, u32::try_from(groups.len()).unwrap_or(NONE))
    }
}

/// For each node the member that is nearest above it; without one the node at the top, marked, or none
/// for a node that begins a thread itself.
fn nearest(parents: &[u32], members: &[u32]) -> Vec<u32> {
    const UNKNOWN: u32 = NONE - 1;
    let mut above = vec![UNKNOWN; parents.len()];
    let mut path = Vec::new();
    for start in 0..parents.len() {
        let mut node = start;
        // Up to where it is known, and then down again.
        let found = loop {
            if above[node] != UNKNOWN {
                break above[node];
            }
            let parent = parents[node];
            if parent == NONE {
                above[node] = NONE;
                break NONE;
            }
            path.push(node);
            if members[parent as usize] != NONE {
                break members[parent as usize];
            }
            node = parent as usize;
        };
        // From a message that isn't there and begins a thread on down, it is the top.
        let mut found = if found == NONE && !path.is_empty() { DUMMY | node as u32 } else { found };
        while let Some(node) = path.pop() {
            above[node] = found;
            if members[node] != NONE && !path.is_empty() {
                found = members[node];
            }
        }
    }
    above
}
