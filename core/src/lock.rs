//! A lock between the tasks of one shard.

use std::cell::Cell;

use crate::runtime::LocalNotify;

/// One task at a time.
#[derive(Default)]
pub(crate) struct Lock {
    held: Cell<bool>,
    /// What goes on that takes too long to be waited for.
    long: Cell<Option<&'static str>>,
    freed: LocalNotify,
}

/// Frees the lock when it is dropped.
#[must_use = "the lock is free again when this is dropped"]
pub(crate) struct Held<'a>(&'a Lock);

impl Lock {
    /// Waits until nobody has the lock, and takes it. Fails with what is going on where that takes long.
    pub(crate) async fn take(&self) -> Result<Held<'_>, &'static str> {
        while self.held.get() {
            if let Some(what) = self.long.get() {
                return Err(what);
            }
            self.freed.changed(self.freed.version()).await;
        }
        self.held.set(true);
        Ok(Held(self))
    }
}

impl Held<'_> {
    /// Whoever waits, or comes, is told `what` goes on instead of having to wait for it.
    pub(crate) fn for_long(&self, what: &'static str) {
        self.0.long.set(Some(what));
        self.0.freed.notify();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.long.set(None);
        self.0.held.set(false);
        self.0.freed.notify();
    }
}
