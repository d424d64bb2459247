//! "Something changed" for tasks of one shard: new mail for sessions in IDLE, a free slot, a stop.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A change counter that tasks of the same shard can wait on. Clones share the counter.
///
/// A waiter that remembers the [`version`](Self::version) it has seen misses nothing: a change
/// between looking and waiting makes [`changed`](Self::changed) ready at once. Waiters are not told
/// what changed; several changes before a waiter runs are one wake-up.
#[derive(Clone, Default)]
pub struct LocalNotify(Rc<Inner>);

#[derive(Default)]
struct Inner {
    version: Cell<u64>,
    /// Slots of waiting futures; a free slot is `None`, its index is in `free`.
    waiters: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
}

impl LocalNotify {
    /// Makes a counter at version 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of changes so far.
    pub fn version(&self) -> u64 {
        self.0.version.get()
    }

    /// Counts a change and wakes all who wait.
    pub fn notify(&self) {
        self.0.version.set(self.0.version.get() + 1);
        // Waking may run destructors of wakers; the borrow must be over by then.
        let woken: Vec<Waker> = self.0.waiters.borrow_mut().iter_mut().filter_map(Option::take).collect();
        for waker in woken {
            waker.wake();
        }
    }

    /// Waits until the version differs from `seen`, and returns it.
    pub fn changed(&self, seen: u64) -> Changed {
        Changed { notify: self.clone(), seen, slot: None }
    }

    /// Number of futures that hold a place in the list of waiters.
    pub fn waiting(&self) -> usize {
        self.0.waiters.borrow().len() - self.0.free.borrow().len()
    }
}

/// The future of [`LocalNotify::changed`].
pub struct Changed {
    notify: LocalNotify,
    seen: u64,
    slot: Option<usize>,
}

impl Future for Changed {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let version = self.notify.version();
        if version != self.seen {
            return Poll::Ready(version);
        }
        let inner = Rc::clone(&self.notify.0);
        let mut waiters = inner.waiters.borrow_mut();
        let slot = *self.slot.get_or_insert_with(|| {
            inner.free.borrow_mut().pop().unwrap_or_else(|| {
                waiters.push(None);
                waiters.len() - 1
            })
        });
        let waker = waiters[slot].get_or_insert_with(|| context.waker().clone());
        waker.clone_from(context.waker());
        Poll::Pending
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let waker = self.notify.0.waiters.borrow_mut()[slot].take();
            self.notify.0.free.borrow_mut().push(slot);
            drop(waker);
        }
    }
}
