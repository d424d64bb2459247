//! A future that several wait for.
//!
//! Whoever is polled drives it, for all. When one stops waiting the others go on, and when all have stopped
//! it is dropped. Nothing is spawned, so it needs no runtime.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Wakes all that wait.
#[derive(Debug, Default)]
struct Waiters(Mutex<Vec<(u64, Waker)>>);

impl Waiters {
    fn with<R>(&self, change: impl FnOnce(&mut Vec<(u64, Waker)>) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waiting = self.with(std::mem::take);
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}

enum State<T> {
    Running(Pin<Box<dyn Future<Output = T>>>),
    /// It is being polled, further up on the stack.
    Polled,
    Ready(T),
    /// It panicked. Who waits has to begin anew.
    Lost,
}

/// A future under way.
pub(crate) struct Flight<T> {
    state: RefCell<State<T>>,
    waiters: Arc<Waiters>,
    next: RefCell<u64>,
}

impl<T: Clone> Flight<T> {
    pub fn new(future: Pin<Box<dyn Future<Output = T>>>) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(State::Running(future)),
            waiters: Arc::default(),
            next: RefCell::new(0),
        })
    }

    /// Waits for it. None when whoever drove it panicked.
    pub fn join(self: &Rc<Self>) -> Join<T> {
        let mut next = self.next.borrow_mut();
        *next += 1;
        Join { flight: Rc::clone(self), number: *next }
    }
}

/// One that waits.
pub(crate) struct Join<T> {
    flight: Rc<Flight<T>>,
    number: u64,
}

/// Marks the future as lost and wakes the others, when a poll doesn't return.
struct Polling<'a, T>(&'a Flight<T>);

impl<T> Drop for Polling<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        if matches!(*state, State::Polled) {
            *state = State::Lost;
            drop(state);
            self.0.waiters.wake_by_ref();
        }
    }
}

impl<T: Clone> Future for Join<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let flight = &self.flight;
        // The waker goes in before the poll, so that a wake from within isn't missed.
        flight.waiters.with(|list| {
            list.retain(|(number, _)| *number != self.number);
            list.push((self.number, context.waker().clone()));
        });
        let state = flight.state.replace(State::Polled);
        let mut future = match state {
            State::Running(future) => future,
            State::Ready(value) => {
                flight.state.replace(State::Ready(value.clone()));
                return Poll::Ready(Some(value));
            }
            State::Lost => {
                flight.state.replace(State::Lost);
                return Poll::Ready(None);
            }
            State::Polled => return Poll::Pending,
        };
        let polling = Polling(flight);
        let waker = Waker::from(Arc::clone(&flight.waiters));
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        match polled {
            Poll::Ready(value) => {
                flight.state.replace(State::Ready(value.clone()));
                drop(polling);
                // The future may own what waits for this flight: it goes before the others are woken.
                drop(future);
                flight.waiters.wake_by_ref();
                Poll::Ready(Some(value))
            }
            Poll::Pending => {
                flight.state.replace(State::Running(future));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Join<T> {
    fn drop(&mut self) {
        self.flight.waiters.with(|list| list.retain(|(number, _)| *number != self.number));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use futures_lite::future::{block_on, poll_once, yield_now, zip};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn all_who_wait_get_what_is_made_once() {
        let runs = Rc::new(Cell::new(0));
        let counted = Rc::clone(&runs);
        let flight = Flight::new(Box::pin(async move {
            yield_now().await;
            counted.set(counted.get() + 1);
            counted.get()
        }));
        let both = block_on(zip(flight.join(), flight.join()));
        assert_eq!(both, (Some(1), Some(1)));
        assert_eq!(block_on(flight.join()), Some(1), "who comes late, too");
    }

    #[test]
    fn one_that_stops_waiting_strands_nobody() {
        let gate: Rc<RefCell<Option<Waker>>> = Rc::default();
        let open = Rc::new(Cell::new(false));
        let (kept, opened) = (Rc::clone(&gate), Rc::clone(&open));
        let flight = Flight::new(Box::pin(poll_fn(move |context| {
            kept.replace(Some(context.waker().clone()));
            if opened.get() { Poll::Ready(7) } else { Poll::Pending }
        })));
        let mut first = Box::pin(flight.join());
        let mut second = Box::pin(flight.join());
        let (count_first, count_second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (wake_first, wake_second) = (count_first.clone().into(), count_second.clone().into());
        // The second polls first, then the first drives, and goes away.
        assert!(second.as_mut().poll(&mut Context::from_waker(&wake_second)).is_pending());
        assert!(first.as_mut().poll(&mut Context::from_waker(&wake_first)).is_pending());
        drop(first);
        open.set(true);
        gate.borrow_mut().take().unwrap().wake();
        assert_eq!((count_first.0.load(Relaxed), count_second.0.load(Relaxed)), (0, 1));
        assert_eq!(block_on(second), Some(7));
    }

    #[test]
    fn it_is_dropped_with_the_last_that_waits() {
        let alive = Rc::new(());
        let held = Rc::clone(&alive);
        let flight = Flight::new(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(held);
        }));
        let mut join = Box::pin(flight.join());
        assert_eq!(block_on(poll_once(join.as_mut())), None);
        drop(flight);
        assert_eq!(Rc::strong_count(&alive), 2);
        drop(join);
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    #[test]
    fn a_panic_of_who_drives_is_told_to_the_others() {
        let flight: Rc<Flight<u32>> = Flight::new(Box::pin(async {
            yield_now().await;
            panic!("a fault");
        }));
        let mut other = Box::pin(flight.join());
        let count = Arc::new(Count::default());
        let waker = count.clone().into();
        assert!(other.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let driver = flight.join();
        assert!(catch_unwind(AssertUnwindSafe(|| block_on(driver))).is_err());
        assert!(count.0.load(Relaxed) > 0);
        assert_eq!(block_on(other), None);
    }
}
