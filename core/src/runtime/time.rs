//! Timers of a shard.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use glommio::timer::Timer;

use super::shards;

/// The time limit passed before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time limit was reached")]
pub struct Elapsed;

/// The current time of the monotonic clock.
pub fn now() -> Instant {
    Instant::now()
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    sleep_until(Instant::now() + duration).await;
}

/// Waits until `deadline`; returns at once when it has passed.
pub async fn sleep_until(deadline: Instant) {
    let wait = deadline.saturating_duration_since(Instant::now());
    if wait.is_zero() {
        return;
    }
    Timer::new(wait).await;
    shards::record_timer(Instant::now().saturating_duration_since(deadline));
}

/// Runs `future` for at most `limit`. See [`timeout_at`].
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    timeout_at(Instant::now() + limit, future).await
}

/// Runs `future` until `deadline`, then drops it.
///
/// The future is polled first: when it is ready at once, no timer is made, and a ready future wins
/// over a deadline that has passed; but a task that has used up its time gives way first. Reads and writes of [`super::net::Stream`] may be dropped; an
/// accept may not, which is why no accept future is exported.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut timer: Option<Timer> = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        let timer =
            timer.get_or_insert_with(|| Timer::new(deadline.saturating_duration_since(Instant::now())));
        match Pin::new(timer).poll(context) {
            Poll::Ready(_) => {
                shards::record_timer(Instant::now().saturating_duration_since(deadline));
                Poll::Ready(Err(Elapsed))
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
