//! Turns: what tasks of one shard do one after the other.

use std::cell::Cell;

use super::LocalNotify;

/// One turn at a time, or any number of shared ones, which wait for who wants one alone. Who waits is otherwise
/// served in no order.
#[derive(Default)]
pub struct Turns {
    taken: Cell<bool>,
    shared: Cell<usize>,
    /// How many wait for a turn alone.
    wanting: Cell<usize>,
    free: LocalNotify,
}

/// A turn, until it is dropped.
pub struct Turn<'a>(&'a Turns);

/// A turn beside others, until it is dropped.
pub struct SharedTurn<'a>(&'a Turns);

/// Somebody waits for a turn alone.
struct Wanting<'a>(&'a Turns);

impl Turns {
    /// Waits until nobody has a turn.
    pub async fn take(&self) -> Turn<'_> {
        self.wanting.set(self.wanting.get() + 1);
        let wanting = Wanting(self);
        loop {
            let version = self.free.version();
            if self.shared.get() == 0 && !self.taken.replace(true) {
                drop(wanting);
                return Turn(self);
            }
            self.free.changed(version).await;
        }
    }

    /// Waits until nobody has a turn alone, or waits for one.
    pub async fn share(&self) -> SharedTurn<'_> {
        loop {
            let version = self.free.version();
            if !self.taken.get() && self.wanting.get() == 0 {
                self.shared.set(self.shared.get() + 1);
                return SharedTurn(self);
            }
            self.free.changed(version).await;
        }
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

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.wanting.set(self.0.wanting.get() - 1);
        self.0.free.notify();
    }
}
