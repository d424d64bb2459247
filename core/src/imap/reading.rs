//! Waiting for the client: input, the time limit, the stop of the server, changes.

use std::cell::Cell;
use std::future::{Future, pending};
use std::time::Duration;

use futures_lite::future::or;
use postrider_proto::deflate::BadInput;
use postrider_proto::imap::framing::{Frame, Outcome};
use postrider_proto::imap::response::{Code, write_refused};

use super::connection::Connection;
use super::session::Ended;
use crate::metrics;
use crate::runtime::{sleep_until, timeout_at, yield_if_needed};
use crate::tls::TransportError;

/// What is kept of the time that a stop leaves, for storing what came and for the last words.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

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

/// What came of reading.
enum Read {
    /// So many octets for the framer.
    Octets(usize),
    Failed(TransportError),
    Bad(BadInput),
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
        let (transport, mut compression) = self.out.reading()?;
        if compression.as_ref().is_some_and(|compression| compression.is_ready()) {
            // A client that packs many commands into few octets isn't alone on the shard.
            yield_if_needed().await;
        }
        let read = Cell::new(None);
        let woken = Cell::new(false);
        let reading = async {
            let Some(compression) = &mut compression else {
                let count = transport.receive(|input| framer.push(input)).await;
                return read.set(Some(count.map_or_else(Read::Failed, Read::Octets)));
            };
            // What was read before comes first; a read may hold nothing that can be unpacked yet.
            loop {
                while compression.is_ready() {
                    match compression.unpack(|input| framer.push(input)) {
                        Ok(0) => {}
                        Ok(count) => return read.set(Some(Read::Octets(count))),
                        Err(bad) => return read.set(Some(Read::Bad(bad))),
                    }
                }
                match transport.receive(|input| compression.push(input)).await {
                    Ok(0) => return read.set(Some(Read::Octets(0))),
                    Ok(_) => {}
                    Err(error) => return read.set(Some(Read::Failed(error))),
                }
            }
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
            Some(Read::Octets(0)) => Err(Ended::Gone),
            Some(Read::Octets(_)) => Ok(Woken::Input),
            Some(Read::Failed(error)) => Err(error.into()),
            Some(Read::Bad(bad)) => Err(self.bad_compression(bad)),
            None if woken.get() => Ok(Woken::Other),
            None if shutdown.is_stopping() => Err(Ended::Bye(None, "the server stops")),
            None => {
                self.count_limit(metrics::Limit::ImapIdleTime);
                Err(Ended::Bye(None, "inactive for too long"))
            }
        }
    }

    /// What follows can't be read any more, or not at a price that is paid (row D10).
    fn bad_compression(&self, bad: BadInput) -> Ended {
        match bad {
            BadInput::Bomb => {
                self.count_limit(metrics::Limit::ImapCompression);
                Ended::Bye(Some(Code::Limit), "compressed input expands too much")
            }
            BadInput::Malformed | BadInput::Ended => Ended::Bye(None, "compressed input is malformed"),
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
