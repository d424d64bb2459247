//! One conversation on the control socket, from the server's side.

use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::protocol::{
    ANSWER_OCTETS_MAX, Answer, CHUNK_OCTETS_MAX, Failure, FailureKind, Frame, Greeting, LINE_OCTETS_MAX,
    Progress, Request,
};

/// The stream below a conversation.
#[expect(async_fn_in_trait, reason = "a shard's futures stay on their thread, so none needs to be Send")]
pub trait Transport {
    /// Reads up to `buffer.len()` octets; 0 is the end. Fails with `TimedOut` after `patience`.
    async fn read(&mut self, buffer: &mut [u8], patience: Duration) -> io::Result<usize>;

    /// Writes all octets. Fails with `TimedOut` after `patience`.
    async fn write_all(&mut self, bytes: &[u8], patience: Duration) -> io::Result<()>;
}

/// The client closed its end, was silent for too long, or broke the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Gone {
    /// It closed its end.
    #[error("the client went away")]
    Closed,
    /// It didn't read or write for too long.
    #[error("the client was silent for too long")]
    Silent,
    /// It sent what the protocol doesn't allow here.
    #[error("the client broke the protocol: {0}")]
    Protocol(&'static str),
}

/// Bounds of one conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExchangeLimits {
    /// Time for the request to arrive.
    pub request: Duration,
    /// Time for one read or write, acknowledgements included.
    pub io: Duration,
    /// Octets of all that a client streams with one request.
    pub input_octets: u64,
}

impl Default for ExchangeLimits {
    fn default() -> Self {
        Self { request: Duration::from_secs(10), io: Duration::from_secs(60), input_octets: 4 << 30 }
    }
}

/// One conversation: streams of the request that is carried out.
pub struct Exchange<T> {
    transport: T,
    limits: ExchangeLimits,
    /// Octets that were read and not yet used.
    input: Vec<u8>,
    /// Rows that wait to be sent together.
    rows: Vec<u8>,
    received_octets: u64,
    input_ended: bool,
}

impl<T: Transport> Exchange<T> {
    /// Begins a conversation on a fresh connection.
    pub fn new(transport: T, limits: ExchangeLimits) -> Self {
        Self {
            transport,
            limits,
            input: Vec::new(),
            rows: Vec::new(),
            received_octets: 0,
            input_ended: false,
        }
    }

    /// The next chunk that the client streams, at most [`CHUNK_OCTETS_MAX`] octets; none at the
    /// end. The chunk is acknowledged once it was read.
    pub async fn read(&mut self) -> Result<Option<Vec<u8>>, Gone> {
        if self.input_ended {
            return Ok(None);
        }
        let octets = match self.frame(self.limits.io).await? {
            Frame::Data(octets) => octets,
            _ => return Err(Gone::Protocol("data was expected")),
        };
        if octets == 0 {
            self.input_ended = true;
            return Ok(None);
        }
        if octets as usize > CHUNK_OCTETS_MAX {
            return Err(Gone::Protocol("a chunk is too long"));
        }
        self.received_octets += u64::from(octets);
        if self.received_octets > self.limits.input_octets {
            return Err(Gone::Protocol("the data is too long"));
        }
        let deadline = Instant::now() + self.limits.io;
        while self.input.len() < octets as usize {
            self.fill(deadline).await?;
        }
        let rest = self.input.split_off(octets as usize);
        let chunk = std::mem::replace(&mut self.input, rest);
        self.send(&Frame::Ack(octets)).await?;
        Ok(Some(chunk))
    }

    /// Streams `bytes` to the client, and waits until it has read them.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.flush().await?;
        self.write_chunks(bytes).await
    }

    /// Streams one row as a line of JSON; rows are sent some at a time.
    pub async fn row(&mut self, row: &impl Serialize) -> Result<(), Gone> {
        serde_json::to_writer(&mut self.rows, row)
            .map_err(|_| Gone::Protocol("a row can't be written as JSON"))?;
        self.rows.push(b'\n');
        if self.rows.len() >= CHUNK_OCTETS_MAX / 2 { self.flush().await } else { Ok(()) }
    }

    /// Tells the client how far the request is.
    pub async fn progress(&mut self, progress: Progress) -> Result<(), Gone> {
        self.flush().await?;
        self.send(&Frame::Progress(progress)).await
    }

    /// Greets, and reads the request. A request that can't be understood is answered here.
    pub(super) async fn begin(&mut self) -> Result<Request, Gone> {
        self.send(&Greeting::ours()).await?;
        let line = self.line(self.limits.request).await?;
        match serde_json::from_slice(&line) {
            Ok(request) => Ok(request),
            Err(error) => {
                let message = format!(
                    "the server doesn't understand the request ({error}); are both the same version?"
                );
                self.end(Err(Failure::new(FailureKind::Protocol, message))).await?;
                Err(Gone::Protocol("the request can't be understood"))
            }
        }
    }

    /// Sends what the request gave.
    pub(super) async fn end(&mut self, outcome: Result<Answer, Failure>) -> Result<(), Gone> {
        self.flush().await?;
        let frame = match outcome {
            Ok(answer) => Frame::Done(answer),
            Err(failure) => Frame::Failed(failure),
        };
        match encode(&frame)? {
            line if line.len() <= ANSWER_OCTETS_MAX => self.send_line(&line).await,
            _ => {
                let failure = Failure::new(FailureKind::Internal, "the answer is too long to be sent");
                self.send(&Frame::Failed(failure)).await
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        let rows = std::mem::take(&mut self.rows);
        self.write_chunks(&rows).await
    }

    async fn write_chunks(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        for chunk in bytes.chunks(CHUNK_OCTETS_MAX) {
            let octets = u32::try_from(chunk.len()).map_err(|_| Gone::Protocol("a chunk is too long"))?;
            self.send(&Frame::Data(octets)).await?;
            self.transport.write_all(chunk, self.limits.io).await.map_err(gone)?;
            if self.frame(self.limits.io).await? != Frame::Ack(octets) {
                return Err(Gone::Protocol("an acknowledgement was expected"));
            }
        }
        Ok(())
    }

    async fn send(&mut self, value: &impl Serialize) -> Result<(), Gone> {
        self.send_line(&encode(value)?).await
    }

    async fn send_line(&mut self, line: &[u8]) -> Result<(), Gone> {
        self.transport.write_all(line, self.limits.io).await.map_err(gone)
    }

    async fn frame(&mut self, patience: Duration) -> Result<Frame, Gone> {
        let line = self.line(patience).await?;
        serde_json::from_slice(&line).map_err(|_| Gone::Protocol("a frame can't be understood"))
    }

    /// A line without its line feed.
    async fn line(&mut self, patience: Duration) -> Result<Vec<u8>, Gone> {
        // Only a whole line earns more time, so dripping octets doesn't hold the connection.
        let deadline = Instant::now() + patience;
        let mut searched = 0;
        loop {
            if let Some(found) = memchr::memchr(b'\n', &self.input[searched..]) {
                let end = searched + found;
                if end + 1 > LINE_OCTETS_MAX {
                    return Err(Gone::Protocol("a line is too long"));
                }
                let rest = self.input.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.input, rest);
                line.truncate(end);
                return Ok(line);
            }
            searched = self.input.len();
            if searched >= LINE_OCTETS_MAX {
                return Err(Gone::Protocol("a line is too long"));
            }
            self.fill(deadline).await?;
        }
    }

    async fn fill(&mut self, deadline: Instant) -> Result<(), Gone> {
        let patience = deadline.saturating_duration_since(Instant::now());
        if patience.is_zero() {
            return Err(Gone::Silent);
        }
        let start = self.input.len();
        self.input.resize(start + (16 << 10), 0);
        let read = self.transport.read(&mut self.input[start..], patience).await;
        self.input.truncate(start + *read.as_ref().unwrap_or(&0));
        match read.map_err(gone)? {
            0 => Err(Gone::Closed),
            _ => Ok(()),
        }
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, Gone> {
    let mut line =
        serde_json::to_vec(value).map_err(|_| Gone::Protocol("a frame can't be written as JSON"))?;
    line.push(b'\n');
    Ok(line)
}

fn gone(error: io::Error) -> Gone {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Gone::Silent,
        _ => Gone::Closed,
    }
}
