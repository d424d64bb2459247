//! The one signal that the server stops, seen by all shards and threads.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A switch that is thrown once. Clones are the same switch.
#[derive(Clone, Default)]
pub struct Shutdown(Arc<Inner>);

#[derive(Default)]
struct Inner {
    stopping: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    deadline: Option<Instant>,
    waiters: HashMap<u64, Waker>,
    next_waiter: u64,
}

impl Shutdown {
    /// Makes a switch that has not been thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to finish within `grace`. A later call can only bring the deadline forward.
    pub fn begin(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let mut state = self.lock();
        state.deadline = Some(state.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        self.0.stopping.store(true, Ordering::Release);
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        for waker in waiters.into_values() {
            waker.wake();
        }
    }

    /// True once the stop began.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// The time at which what still runs is cut off; none while the server runs.
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_stopping() { self.lock().deadline } else { None }
    }

    /// Waits for the stop to begin and returns its deadline.
    pub fn wait(&self) -> Stopping {
        Stopping { shutdown: self.clone(), waiter: None }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The future of [`Shutdown::wait`].
pub struct Stopping {
    shutdown: Shutdown,
    waiter: Option<u64>,
}

impl Future for Stopping {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Instant> {
        let shutdown = self.shutdown.clone();
        let mut state = shutdown.lock();
        if let Some(deadline) = state.deadline {
            return Poll::Ready(deadline);
        }
        let waiter = *self.waiter.get_or_insert_with(|| {
            state.next_waiter += 1;
            state.next_waiter
        });
        state
            .waiters
            .entry(waiter)
            .and_modify(|waker| waker.clone_from(context.waker()))
            .or_insert_with(|| context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            let waker = self.shutdown.lock().waiters.remove(&waiter);
            drop(waker);
        }
    }
}
