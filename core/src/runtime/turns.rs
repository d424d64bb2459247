//! Turns: what tasks of one shard do one after the other.

use std::cell::Cell;

use super::LocalNotify;

/// One turn at a time. Who waits is served in no order.
#[derive(Default)]
pub struct Turns {
    taken: Cell<bool>,
    free: LocalNotify,
}

/// A turn, until it is dropped.
pub struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits until nobody has a turn.
    pub async fn take(&self) -> Turn<'_> {
        loop {
            let version = self.free.version();
            if !self.taken.replace(true) {
                return Turn(self);
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
