//! The local addresses that connections of a shard come from.

use std::collections::HashMap;
use std::net::IpAddr;

/// Seconds after which a domain looks again that waits for a connection from a local address; nobody wakes it.
pub(super) const LOOK_AGAIN: i64 = 2;

/// How many come from each.
#[derive(Debug, Default)]
pub(super) struct Sources(HashMap<IpAddr, u16>);

impl Sources {
    /// Whether so many come from it.
    pub(super) fn is_full(&self, source: Option<IpAddr>, most: u16) -> bool {
        source.and_then(|source| self.0.get(&source)).is_some_and(|open| *open >= most)
    }

    pub(super) fn add(&mut self, source: Option<IpAddr>) {
        if let Some(source) = source {
            *self.0.entry(source).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, source: Option<IpAddr>) {
        if let Some(source) = source
            && let Some(open) = self.0.get_mut(&source)
        {
            *open -= 1;
            if *open == 0 {
                self.0.remove(&source);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.0.len()
    }
}
