//! Tasks of a shard. A panic ends its task and nothing else.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::timer::Timer;

use super::shards;
use super::stats::{LabelId, ShardStats};

/// For how long at least who gives way isn't ready.
const GIVING_WAY: Duration = Duration::from_micros(5);
/// How long a task may run before [`yield_if_needed`] gives way.
const RUN_BUDGET: Duration = Duration::from_millis(2);

/// The task panicked. The panic was logged and counted where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task panicked")]
pub struct TaskPanicked;

/// Starts a task on this shard and lets it run on its own. `label` names it in logs and figures.
/// The task first runs after the caller gives way, never inside this call.
///
/// # Panics
/// When called outside of a shard.
pub fn spawn<F: Future<Output = ()> + 'static>(label: &'static str, future: F) {
    glommio::spawn_local(Guarded::new(label, future)).detach();
}

/// Starts a task on this shard whose result can be awaited. Dropping the handle cancels the task.
///
/// The library's own handles are not used: when another thread drops the last waker of a task at the
/// moment at which its handle is dropped here, the task is freed twice. A detached task is safe, so the
/// result goes through a slot of ours.
///
/// # Panics
/// When called outside of a shard.
pub fn spawn_task<T: 'static, F: Future<Output = T> + 'static>(label: &'static str, future: F) -> Task<T> {
    let slot = Rc::new(Slot { state: RefCell::new(SlotState::Running { task: None, waiter: None }) });
    spawn(label, Slotted { future: Some(Box::pin(future)), slot: Rc::clone(&slot) });
    Task { slot: Some(slot) }
}

/// Handle of a running task. Dropping it cancels the task.
#[must_use = "dropping the handle cancels the task"]
pub struct Task<T> {
    slot: Option<Rc<Slot<T>>>,
}

/// What a task and its handle share.
struct Slot<T> {
    state: RefCell<SlotState<T>>,
}

enum SlotState<T> {
    /// The wakers of the task itself, to cancel it, and of whoever waits for it.
    Running {
        task: Option<Waker>,
        waiter: Option<Waker>,
    },
    Done(T),
    /// The task ended without a result, which is a panic, or its result was taken.
    Ended,
    Cancelled,
}

impl<T> Slot<T> {
    /// Leaves how the task ended, and wakes who waits.
    fn end(&self, ended: SlotState<T>) {
        let before = match &*self.state.borrow() {
            SlotState::Running { .. } => true,
            SlotState::Done(_) | SlotState::Ended | SlotState::Cancelled => false,
        };
        if before && let SlotState::Running { waiter: Some(waiter), .. } = self.state.replace(ended) {
            waiter.wake();
        }
    }
}

impl<T> Task<T> {
    /// Lets the task run on without its handle.
    pub fn detach(mut self) {
        self.slot = None;
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskPanicked>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(slot) = &self.slot else { return Poll::Ready(Err(TaskPanicked)) };
        let mut state = slot.state.borrow_mut();
        if let SlotState::Running { waiter, .. } = &mut *state {
            *waiter = Some(context.waker().clone());
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, SlotState::Ended) {
            SlotState::Done(value) => Poll::Ready(Ok(value)),
            _ => Poll::Ready(Err(TaskPanicked)),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let before = slot.state.replace(SlotState::Cancelled);
        // The task sees that it is cancelled, and ends.
        if let SlotState::Running { task: Some(task), .. } = before {
            task.wake();
        }
    }
}

/// A future that leaves its result in a slot, and ends early when it is cancelled.
struct Slotted<T, F> {
    future: Option<Pin<Box<F>>>,
    slot: Rc<Slot<T>>,
}

impl<T, F: Future<Output = T>> Future for Slotted<T, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let SlotState::Running { task, .. } = &mut *this.slot.state.borrow_mut() {
            match task {
                Some(known) if known.will_wake(context.waker()) => {}
                _ => *task = Some(context.waker().clone()),
            }
        } else {
            this.future = None;
            return Poll::Ready(());
        }
        let Some(future) = this.future.as_mut() else { return Poll::Ready(()) };
        match future.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(value) => {
                this.future = None;
                this.slot.end(SlotState::Done(value));
                Poll::Ready(())
            }
        }
    }
}

impl<T, F> Drop for Slotted<T, F> {
    fn drop(&mut self) {
        // Not after a result: then the slot has it already.
        self.slot.end(SlotState::Ended);
    }
}

/// Lets the other ready tasks of this shard run first, and the shard look at its sockets and timers.
pub async fn yield_now() {
    let mut timer: Option<Timer> = None;
    poll_fn(|context| match &mut timer {
        Some(timer) => Pin::new(timer).poll(context).map(drop),
        // A task that wakes itself stays ready, and while one is, the shard looks at nothing else.
        None => {
            if Pin::new(timer.insert(Timer::new(GIVING_WAY))).poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        }
    })
    .await;
}

/// Gives way when the running task has used up its 2 ms. Cheap enough for the body of any loop.
pub async fn yield_if_needed() {
    if shards::with_stats(ShardStats::running_for) >= RUN_BUDGET {
        yield_now().await;
    }
}

/// Wraps each poll of a task: measures it, and catches its panics.
///
/// The future is boxed, so its memory is given back when it ends, and moving the task is cheap.
struct Guarded<F> {
    future: Option<Pin<Box<F>>>,
    stats: Arc<ShardStats>,
    label: LabelId,
    started: bool,
}

impl<F> Guarded<F> {
    fn new(label: &'static str, future: F) -> Self {
        let stats = shards::with_stats_arc();
        stats.task_begins();
        Self { future: Some(Box::pin(future)), stats, label: LabelId::of(label), started: false }
    }

    fn panicked(&mut self, payload: &(dyn Any + Send)) {
        // A destructor may panic too; that must not reach the executor either.
        let future = self.future.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
        self.stats.task_panicked();
        tracing::error!(task = self.label.text(), panic = panic_text(payload), "a task panicked");
    }
}

impl<T, F: Future<Output = T>> Future for Guarded<F> {
    type Output = Result<T, TaskPanicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !this.started {
            // The library polls a new task inside `spawn`: there the caller may hold borrows, and
            // tasks that start tasks would pile up on one stack.
            this.started = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(future) = this.future.as_mut() else { return Poll::Ready(Err(TaskPanicked)) };
        let began = this.stats.poll_begins(this.label);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        this.stats.poll_ends(this.label, began);
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => {
                let future = this.future.take();
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
                    this.panicked(&*payload);
                }
                Poll::Ready(Ok(output))
            }
            Err(payload) => {
                this.panicked(&*payload);
                Poll::Ready(Err(TaskPanicked))
            }
        }
    }
}

impl<F> Drop for Guarded<F> {
    fn drop(&mut self) {
        self.stats.task_ends();
        let future = self.future.take();
        if future.is_some() && catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
            self.stats.task_panicked();
        }
    }
}

/// The message of a panic, when it has one.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
