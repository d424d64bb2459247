//! Turns: what tasks of one shard do one after the other.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::LocalNotify;

/// One turn at a time. Who came first is served first, also before who has just had a turn.
#[derive(Default)]
pub struct Turns {
    taken: Cell<bool>,
    /// The numbers of those who wait.
    waiting: RefCell<BTreeSet<u64>>,
    next: Cell<u64>,
    free: LocalNotify,
}

/// A turn, until it is dropped.
pub struct Turn<'a>(&'a Turns);

/// A place among those who wait, until it is dropped.
struct Place<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    /// Waits until nobody has a turn, and all who came before have had theirs, or have given up.
    pub async fn take(&self) -> Turn<'_> {
        let place = self.queue();
        loop {
            let version = self.free.version();
            if !self.taken.get() && self.waiting.borrow().first() == Some(&place.number) {
                self.taken.set(true);
                return Turn(self);
            }
            self.free.changed(version).await;
        }
    }

    fn queue(&self) -> Place<'_> {
        let number = self.next.replace(self.next.get() + 1);
        self.waiting.borrow_mut().insert(number);
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
