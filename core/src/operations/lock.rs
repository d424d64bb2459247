//! A lock between the tasks of one shard.

use std::cell::Cell;

use crate::runtime::LocalNotify;

/// One task at a time.
#[derive(Default)]
pub(super) struct Lock {
    held: Cell<bool>,
    freed: LocalNotify,
}

/// Frees the lock when it is dropped.
#[must_use = "the lock is free again when this is dropped"]
pub(super) struct Held<'a>(&'a Lock);

impl Lock {
    /// Waits until nobody has the lock, and takes it.
    pub(super) async fn take(&self) -> Held<'_> {
        while self.held.get() {
            self.freed.changed(self.freed.version()).await;
        }
        self.held.set(true);
        Held(self)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.set(false);
        self.0.freed.notify();
    }
}
