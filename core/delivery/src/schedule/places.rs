//! Places for connections: at a host, from a local address, of the server as a whole. Whoever finds none waits, and is woken
//! in the order of waiting, on whatever shard.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::SessionId;
use crate::limits::HOST_WAITING_MAX;

/// Seconds for which a place is kept for who was woken. Its shard gives it up before that when it isn't needed.
pub(super) const KEPT: i64 = 10;

/// What has places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// The server, for its sessions.
    Server,
    /// A local address that connections come from.
    Source(IpAddr),
    /// The address of a host.
    Host(IpAddr),
}

/// A domain that waits for a place, and its shard. For one of the server the shard waits, and the domain is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) shard: usize,
    pub(super) domain: u64,
}

/// A session whose idle connection is to make room, and its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) shard: usize,
    pub(super) session: SessionId,
    /// At once, or when its connection is not used soon.
    pub(super) at_once: bool,
}

/// Who waits for a place, seen from a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Nobody,
    /// A domain of this shard, maybe among others.
    Here,
    /// Domains of other shards alone, of which each has connections of its own for them.
    Elsewhere,
    /// Domains of other shards alone, and one of these shards has no connection.
    Without,
}

/// Places of one of these.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: usize,
    /// How many of them each shard has; those without aren't here.
    shards: Vec<(usize, usize)>,
    /// Who waits, by their shards, with the number by which they came.
    waiting: HashMap<usize, VecDeque<(u64, u64)>>,
    /// Who ever waited.
    waited: u64,
    /// Those that were woken, for which places are kept until a time: who comes meanwhile doesn't pass them.
    kept: Vec<(Waiter, i64)>,
    /// Sessions whose connections lie idle, the one that does so longest first. Each is asked to make room once.
    idle: VecDeque<(usize, SessionId)>,
}

impl Places {
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Those that are taken, and by none whose connection lies idle.
    pub(super) fn in_use(&self) -> usize {
        self.taken.saturating_sub(self.idle.len())
    }

    /// Whether nobody has, wants or is promised one.
    pub(super) fn is_unused(&self) -> bool {
        self.taken == 0 && self.waiting.is_empty() && self.kept.is_empty()
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Places that may be taken, those for who was woken not counted.
    fn room(&self, most: usize) -> usize {
        most.saturating_sub(self.taken + self.kept.len())
    }

    /// Takes a place, if there is one: that which is kept for who asks, or any that is kept for nobody.
    pub(super) fn take(&mut self, waiter: Waiter, most: usize, now: i64) -> bool {
        self.kept.retain(|(kept, until)| *kept != waiter && *until > now);
        if self.room(most) == 0 {
            return false;
        }
        self.taken += 1;
        match self.shards.iter_mut().find(|(one, _)| *one == waiter.shard) {
            Some((_, taken)) => *taken += 1,
            None => self.shards.push((waiter.shard, 1)),
        }
        true
    }

    /// Has who found no place wait. `waits` is whether it does so already, here or elsewhere. Gives whose idle connection may
    /// make room, one of its own shard if there is any.
    pub(super) fn wait(&mut self, waiter: Waiter, waits: &mut bool) -> Option<(usize, SessionId)> {
        *waits = *waits || self.enter(waiter);
        self.ask(waiter.shard)
    }

    fn enter(&mut self, waiter: Waiter) -> bool {
        if self.waiting.values().map(VecDeque::len).sum::<usize>() >= HOST_WAITING_MAX {
            return false;
        }
        self.waiting.entry(waiter.shard).or_default().push_back((self.waited, waiter.domain));
        self.waited += 1;
        true
    }

    /// The next one to be asked to make room, one of `shard` if there is any.
    pub(super) fn ask(&mut self, shard: usize) -> Option<(usize, SessionId)> {
        let own = self.idle.iter().position(|(one, _)| *one == shard);
        self.idle.remove(own.unwrap_or(0))
    }

    /// Gives a place of a shard back.
    pub(super) fn give_back(&mut self, shard: usize) {
        self.taken -= 1;
        if let Some(place) = self.shards.iter().position(|(one, _)| *one == shard) {
            self.shards[place].1 -= 1;
            if self.shards[place].1 == 0 {
                self.shards.swap_remove(place);
            }
        }
    }

    pub(super) fn has_some(&self, shard: usize) -> bool {
        self.shards.iter().any(|(one, _)| *one == shard)
    }

    /// Wakes as many of those that wait as there are places for, in the order in which they came; these are kept for them.
    pub(super) fn call(&mut self, most: usize, now: i64) -> Vec<Waiter> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        self.kept.retain(|(_, until)| *until > now);
        let mut called = Vec::new();
        while self.room(most) > 0
            && let Some(waiter) = self.first()
        {
            // One that waited twice has its place.
            if !self.kept.iter().any(|(kept, _)| *kept == waiter) {
                self.kept.push((waiter, now.saturating_add(KEPT)));
                called.push(waiter);
            }
        }
        called
    }

    /// Takes the one that waits longest.
    fn first(&mut self) -> Option<Waiter> {
        let front = |(shard, queue): (&usize, &VecDeque<(u64, u64)>)| Some((queue.front()?.0, *shard));
        let (_, shard) = self.waiting.iter().filter_map(front).min()?;
        Some(Waiter { shard, domain: self.first_of(shard)? })
    }

    /// Takes the one of a shard that waits longest.
    pub(super) fn first_of(&mut self, shard: usize) -> Option<u64> {
        let queue = self.waiting.get_mut(&shard)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&shard);
        }
        first.map(|(_, domain)| domain)
    }

    /// Takes that what was kept for one is not needed.
    pub(super) fn give_up(&mut self, waiter: Waiter) {
        self.kept.retain(|(kept, _)| *kept != waiter);
    }

    pub(super) fn waiting(&self, shard: usize) -> Waiting {
        if self.waiting.is_empty() {
            Waiting::Nobody
        } else if self.waiting.contains_key(&shard) {
            Waiting::Here
        } else if self.waiting.keys().all(|shard| self.has_some(*shard)) {
            Waiting::Elsewhere
        } else {
            Waiting::Without
        }
    }

    /// Takes that the connection of a session lies idle, or no longer.
    pub(super) fn lies_idle(&mut self, shard: usize, session: SessionId, is_idle: bool) {
        if is_idle {
            self.idle.push_back((shard, session));
        } else if let Some(place) = self.idle.iter().position(|idle| *idle == (shard, session)) {
            self.idle.remove(place);
        }
    }

    /// What is kept after the clock was set back would be kept for longer.
    pub(super) fn clock_went_back(&mut self, now: i64) {
        self.kept.retain(|(_, until)| *until <= now.saturating_add(KEPT));
    }
}
