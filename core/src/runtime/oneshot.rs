//! One value from one thread to one waiting task: a commit that is acknowledged, a job that is done.
//!
//! Costs one allocation and, as a rule, two uncontended locks.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::channel::Closed;

enum State<T> {
    Empty,
    Waiting(Waker),
    Sent(T),
    Closed,
}

struct Shared<T>(Mutex<State<T>>);

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Completes the waiting side. Dropping it without sending wakes the receiver with an error.
pub struct Sender<T>(Option<Arc<Shared<T>>>);

/// A future of the value.
pub struct Receiver<T>(Arc<Shared<T>>);

/// Makes a connected pair.
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared(Mutex::new(State::Empty)));
    (Sender(Some(Arc::clone(&shared))), Receiver(shared))
}

impl<T> Sender<T> {
    /// Hands `value` over, from any thread. Gives it back when nobody waits any more.
    pub fn send(mut self, value: T) -> Result<(), T> {
        match self.0.take() {
            Some(shared) => complete(&shared, State::Sent(value)),
            None => Err(value),
        }
    }

    /// True once the receiver was dropped: the work need not be done.
    pub fn is_closed(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| matches!(*shared.lock(), State::Closed))
    }
}

/// Wakes after the lock is released, so the woken thread does not run into it.
fn complete<T>(shared: &Shared<T>, outcome: State<T>) -> Result<(), T> {
    let mut state = shared.lock();
    if matches!(*state, State::Closed) {
        return match outcome {
            State::Sent(value) => Err(value),
            _ => Ok(()),
        };
    }
    let before = std::mem::replace(&mut *state, outcome);
    drop(state);
    if let State::Waiting(waker) = before {
        waker.wake();
    }
    Ok(())
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            let _ = complete(&shared, State::Closed);
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match &mut *state {
            State::Sent(_) | State::Closed => match std::mem::replace(&mut *state, State::Closed) {
                State::Sent(value) => Poll::Ready(Ok(value)),
                _ => Poll::Ready(Err(Closed)),
            },
            State::Waiting(waker) => {
                waker.clone_from(context.waker());
                Poll::Pending
            }
            State::Empty => {
                *state = State::Waiting(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Closed);
        drop(before);
    }
}

impl<T> Receiver<T> {
    /// Waits on a thread that is not a shard.
    pub fn wait_blocking(self) -> Result<T, Closed> {
        futures_lite::future::block_on(self)
    }
}
