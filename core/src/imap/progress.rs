//! Tells a client that waits that its command is still worked on (RFC 9585).

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use postrider_proto::imap::command::Tag;
use postrider_proto::imap::response::{Code, Condition};

use super::output::Output;
use super::session::Ended;
use crate::runtime::timeout;

const TEXT: &str = "still working on it";

/// How many messages a command has dealt with, and of how many. Clones share the numbers.
#[derive(Clone, Debug, Default)]
pub struct Counts(Rc<Cell<(u32, u32)>>);

impl Counts {
    /// So many messages more are to be dealt with.
    pub fn add_goal(&self, messages: u32) {
        let (done, goal) = self.0.get();
        self.0.set((done, goal.saturating_add(messages)));
    }

    /// So many messages more are done.
    pub fn add_done(&self, messages: u32) {
        let (done, goal) = self.0.get();
        self.0.set((done.saturating_add(messages), goal));
    }

    /// What is told: what is done is always less than the goal (RFC 9585 §4).
    fn shown(&self) -> (u32, Option<u32>) {
        let (done, goal) = self.0.get();
        (done, (done < goal).then_some(goal))
    }

    /// Appends INPROGRESS.
    fn tell(&self, out: &mut Output, tag: &Tag) {
        let (done, goal) = self.shown();
        out.untagged(Condition::Ok, Some(&Code::InProgress { tag, done, goal }), TEXT);
    }
}

/// Waits for `work`, and tells the client each time that `every` has passed how far it is.
pub async fn telling<T>(
    every: Duration,
    out: &mut Output,
    tag: &Tag,
    counts: &Counts,
    work: impl Future<Output = T>,
) -> Result<T, Ended> {
    let tell = async || {
        counts.tell(out, tag);
        out.flush().await
    };
    waiting(every, work, tell).await
}

/// Waits for `work`, and calls `tell` each time that it has taken so long again.
async fn waiting<T>(
    every: Duration,
    work: impl Future<Output = T>,
    mut tell: impl AsyncFnMut() -> Result<(), Ended>,
) -> Result<T, Ended> {
    let mut work = pin!(work);
    loop {
        match timeout(every, work.as_mut()).await {
            Ok(value) => return Ok(value),
            Err(_) => tell().await?,
        }
    }
}

/// Tells a client now and then, from within the loop of a command.
#[derive(Debug)]
pub struct Teller {
    counts: Counts,
    every: Duration,
    next: Instant,
}

impl Teller {
    /// For a command that deals with so many messages.
    pub fn new(every: Duration, goal: u32) -> Self {
        let counts = Counts::default();
        counts.add_goal(goal);
        Self { counts, every, next: Instant::now() + every }
    }

    /// So many messages more are done: tells the client when it is time to, but not at the end.
    pub async fn done(&mut self, messages: u32, out: &mut Output, tag: &Tag) -> Result<(), Ended> {
        self.counts.add_done(messages);
        if self.counts.shown().1.is_none() || Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + self.every;
        self.counts.tell(out, tag);
        out.flush().await
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use postrider_storage::ids::AccountId;

    use super::*;
    use crate::runtime::{sleep, yield_now};
    use crate::testing::TestServer;

    #[test]
    fn a_client_is_told_again_and_again_until_the_work_is_done() {
        let server = TestServer::start();
        let (value, told) = server.at_home(AccountId::new(7).unwrap(), |_| {
            Box::pin(async {
                let (told, done) = (Cell::new(0), Cell::new(0));
                // It goes on whenever the client is told, and needs that.
                let work = async {
                    while done.get() < 3 {
                        yield_now().await;
                        done.set(told.get());
                    }
                    7
                };
                let tell = async || {
                    told.set(told.get() + 1);
                    Ok(())
                };
                let value = waiting(Duration::from_millis(5), work, tell).await.unwrap();
                (value, told.get())
            })
        });
        assert_eq!((value, told), (7, 3));
    }

    #[test]
    fn work_that_is_quick_is_not_told_of_and_a_client_that_is_gone_ends_it() {
        let server = TestServer::start();
        let (quick, gone) = server.at_home(AccountId::new(7).unwrap(), |_| {
            Box::pin(async {
                let never = async || Err(Ended::Gone);
                let quick = waiting(Duration::from_secs(3600), async { 7 }, never).await.is_ok();
                let endless = sleep(Duration::from_secs(3600));
                let gone = waiting(Duration::from_millis(5), endless, never).await;
                (quick, matches!(gone, Err(Ended::Gone)))
            })
        });
        assert!(quick && gone);
    }

    #[test]
    fn what_is_done_is_less_than_the_goal_or_there_is_none() {
        let counts = Counts::default();
        assert_eq!(counts.shown(), (0, None));
        counts.add_goal(10);
        counts.add_done(4);
        assert_eq!(counts.shown(), (4, Some(10)));
        counts.add_done(6);
        assert_eq!(counts.shown(), (10, None));
        // The next mailbox.
        counts.add_goal(1);
        assert_eq!(counts.shown(), (10, Some(11)));
    }
}
