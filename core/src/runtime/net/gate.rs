//! The cap on connections of the whole process, below the limit of open files.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Files kept free for everything that is not a connection: tables and blobs of the store, logs,
/// outgoing connections' sockets, rings.
const FILES_KEPT: u64 = 1200;

/// Counts connections over all shards. Clones share the count.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: AtomicUsize,
    connections_max: usize,
}

/// The right to one connection. It travels with the stream and is given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Inner>);

impl Gate {
    /// Lets `connections_max` connections in.
    pub fn new(connections_max: usize) -> Self {
        Self(Arc::new(Inner { open: AtomicUsize::new(0), connections_max }))
    }

    /// Lets in what the limit of open files allows, at most `wanted` connections. A small limit is
    /// shared half and half with the rest of the server.
    pub fn below_file_limit(files_max: Option<u64>, wanted: usize) -> Self {
        let room = files_max.map_or(u64::MAX, |files| files.saturating_sub(FILES_KEPT).max(files / 2));
        Self::new(wanted.min(usize::try_from(room).unwrap_or(usize::MAX)))
    }

    /// Files that are open when all connections are, and that the rest of the server then has.
    pub fn files(&self) -> u64 {
        self.0.connections_max as u64 + FILES_KEPT
    }

    /// Takes a permit, unless all are taken.
    pub fn try_enter(&self) -> Option<Permit> {
        if self.0.open.fetch_add(1, Relaxed) < self.0.connections_max {
            return Some(Permit(Arc::clone(&self.0)));
        }
        self.0.open.fetch_sub(1, Relaxed);
        None
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.0.open.load(Relaxed).min(self.0.connections_max)
    }

    /// Connections that may be open.
    pub fn connections_max(&self) -> usize {
        self.0.connections_max
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_lets_in_its_maximum_and_not_one_more() {
        let gate = Gate::new(2);
        let first = gate.try_enter();
        let second = gate.try_enter();
        assert!(first.is_some() && second.is_some());
        assert!(gate.try_enter().is_none());
        assert_eq!(gate.open(), 2);
        drop(first);
        assert!(gate.try_enter().is_some());
    }

    #[test]
    fn the_gate_stays_below_the_file_limit() {
        assert_eq!(Gate::below_file_limit(Some(20_000), 100_000).connections_max(), 18_800);
        assert_eq!(Gate::below_file_limit(Some(1024), 100_000).connections_max(), 512);
        assert_eq!(Gate::below_file_limit(Some(20_000), 100).connections_max(), 100);
        assert_eq!(Gate::below_file_limit(None, 100).connections_max(), 100);
    }
}
