//! Turns: what tasks of one shard do one after the other.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::LocalNotify;

/// One turn at a time, or any number of shared ones. Who came first is served first, also before who has just had a
/// turn; those who share needn't wait for one another.
#[derive(Default)]
pub struct Turns {
    taken: Cell<bool>,
    shared: Cell<usize>,
    /// Who waits, by number.
    waiting: RefCell<BTreeMap<u64, Kind>>,
    next: Cell<u64>,
    free: LocalNotify,
}

/// What somebody waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Alone,
    Shared,
}

/// A turn, until it is dropped.
pub struct Turn<'a>(&'a Turns);

/// A turn beside others, until it is dropped.
pub struct SharedTurn<'a>(&'a Turns);

/// A place among those who wait, until it is dropped.
struct Place<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    /// Waits until nobody has a turn, and all who came before have had theirs, or have given up.
    pub async fn take(&self) -> Turn<'_> {
        let place = self.queue(Kind::Alone);
        loop {
            let version = self.free.version();
            let is_first =
                self.waiting.borrow().first_key_value().is_some_and(|(first, _)| *first == place.number);
            if !self.taken.get() && self.shared.get() == 0 && is_first {
                self.taken.set(true);
                return Turn(self);
            }
            self.free.changed(version).await;
        }
    }

    /// Waits until nobody has a turn alone, and all who came before for one have had theirs, or have given up.
    pub async fn share(&self) -> SharedTurn<'_> {
        let place = self.queue(Kind::Shared);
        loop {
            let version = self.free.version();
            let is_behind = self.waiting.borrow().range(..place.number).any(|(_, kind)| *kind == Kind::Alone);
            if !self.taken.get() && !is_behind {
                self.shared.set(self.shared.get() + 1);
                return SharedTurn(self);
            }
            self.free.changed(version).await;
        }
    }

    fn queue(&self, kind: Kind) -> Place<'_> {
        let number = self.next.replace(self.next.get() + 1);
        self.waiting.borrow_mut().insert(number, kind);
        Place { turns: self, number }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.waiting.borrow_mut().remove(&self.number);
        self.turns.free.notify();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.taken.set(false);
        self.0.free.notify();
    }
}

impl Drop for SharedTurn<'_> {
    fn drop(&mut self) {
        self.0.shared.set(self.0.shared.get() - 1);
        self.0.free.notify();
    }
}
