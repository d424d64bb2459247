//! Waiting for the client: input, the time limit, the stop of the server, changes.

use std::cell::Cell;
use std::future::{Future, pending};
use std::time::Duration;

use futures_lite::future::or;
use postrider_proto::imap::framing::{Frame, Outcome};
use postrider_proto::imap::response::write_refused;

use super::connection::Connection;
use super::session::Ended;
use crate::metrics;
use crate::runtime::{sleep_until, timeout_at};

/// What is kept of the time that a stop leaves, for storing what came and for the last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the stop of the server means to a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    /// It ends.
    AtOnce,
    /// A command is coming in, and has the time that the stop leaves.
    InTime,
}

/// What ended a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Woken {
    /// The client sent something.
    Input,
    /// What was waited for besides is there.
    Other,
}

impl Connection {
    /// Writes what has gathered, and waits for more input.
    pub(super) async fn fill(&mut self) -> Result<(), Ended> {
        self.fill_until(Stop::AtOnce, pending()).await.map(drop)
    }

    /// The same in the middle of a command: when the server stops, the client may still finish it.
    pub(super) async fn fill_to_finish(&mut self) -> Result<(), Ended> {
        self.fill_until(Stop::InTime, pending()).await.map(drop)
    }

    /// Writes what has gathered, and waits for more input or for `other`.
    pub(super) async fn fill_or(&mut self, other: impl Future<Output = ()>) -> Result<Woken, Ended> {
        self.fill_until(Stop::AtOnce, other).await
    }

    async fn fill_until(&mut self, stop: Stop, other: impl Future<Output = ()>) -> Result<Woken, Ended> {
        self.out.flush().await?;
        let shutdown = self.shard.shared.shutdown.clone();
        let (framer, deadline) = (&mut self.framer, self.deadline);
        let transport = self.out.transport()?;
        let read = Cell::new(None);
        let woken = Cell::new(false);
        let reading = async {
            let count = transport.receive(|input| framer.push(input)).await;
            read.set(Some(count));
        };
        let stopping = async {
            let end = shutdown.wait().await;
            if stop == Stop::InTime {
                sleep_until(end.checked_sub(FAREWELL).unwrap_or(end)).await;
            }
        };
        let other = async {
            other.await;
            woken.set(true);
        };
        // Dropping the read loses nothing: it takes octets only when it is ready.
        let _ = timeout_at(deadline, or(reading, or(other, stopping))).await;
        match read.take() {
            Some(Ok(0)) => Err(Ended::Gone),
            Some(Ok(_)) => Ok(Woken::Input),
            Some(Err(error)) => Err(error.into()),
            None if woken.get() => Ok(Woken::Other),
            None if shutdown.is_stopping() => Err(Ended::Bye(None, "the server stops")),
            None => {
                self.count_limit(metrics::Limit::ImapIdleTime);
                Err(Ended::Bye(None, "inactive for too long"))
            }
        }
    }

    /// Reads a line that isn't a command: of a SASL exchange.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>, Ended> {
        self.framer.expect_line();
        loop {
            match self.framer.next_frame() {
                Some(Frame::Line(line)) => return Ok(line.to_vec()),
                Some(Frame::Refused(refused)) => {
                    write_refused(&mut self.out.buffer, &refused);
                    if refused.outcome == Outcome::Closes {
                        return Err(Ended::Gone);
                    }
                }
                Some(_) => return Err(Ended::Bye(None, "a line was expected")),
                None => self.fill().await?,
            }
        }
    }
}
