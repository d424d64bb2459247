//! The command line's side of the control socket. Blocking: a command has nothing else to do.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{
    ANSWER_OCTETS_MAX, Answer, CHUNK_OCTETS_MAX, Failure, Frame, Greeting, Progress, Request, VERSION,
};

/// Time for the server to greet.
const GREETING_TIME: Duration = Duration::from_secs(10);

/// A connection to the server, good for one request.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    input: Vec<u8>,
}

/// What comes while a request is carried out.
pub trait Events {
    /// Streamed data came. It is acknowledged when this returns.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The request got further.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no server listens on the control socket {}: {source}. Start it with `postrider serve` or `postrider \
         localserve`, or name the socket of another one with --socket", path.display()
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What connecting gave.
        source: io::Error,
    },
    /// The user may not use the socket.
    #[error(
        "you may not use the control socket {}: only root and the user that the server runs as may. Try it with \
         sudo", path.display()
    )]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// Another version.
    #[error(
        "the server runs version {server}, whose control protocol differs from that of this command ({ours}). Use \
         the command of the server's version, or restart the server",
        ours = env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// The server's version.
        server: String,
    },
    /// The server says why not.
    #[error("{0}")]
    Failed(Failure),
    /// The connection broke.
    #[error("lost the connection to the server: {0}. Its log says more")]
    Lost(#[source] io::Error),
    /// What was to be sent could not be read, or what came could not be written.
    #[error("{0}")]
    Local(#[source] io::Error),
}

impl Client {
    /// Connects to the control socket at `path`.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path: path.to_owned() },
            _ => ClientError::NotRunning { path: path.to_owned(), source },
        })?;
        Self::greeted(stream)
    }

    /// Takes a fresh connection, and checks its greeting.
    pub(super) fn greeted(stream: UnixStream) -> Result<Self, ClientError> {
        stream.set_read_timeout(Some(GREETING_TIME)).map_err(ClientError::Lost)?;
        let mut client = Self { stream, input: Vec::new() };
        let line = client.line()?;
        let Ok(greeting) = serde_json::from_slice::<Greeting>(&line) else {
            return Err(match serde_json::from_slice(&line) {
                Ok(Frame::Failed(failure)) => ClientError::Failed(failure),
                _ => misunderstood(),
            });
        };
        if greeting.version != VERSION {
            return Err(ClientError::Version { server: greeting.server });
        }
        // A request may take as long as it takes; a server that dies closes the connection.
        client.stream.set_read_timeout(None).map_err(ClientError::Lost)?;
        Ok(client)
    }

    /// Sends a request and waits for its answer. `input` is streamed after a request that
    /// [has one](Request::has_input).
    pub fn call(
        mut self,
        request: &Request,
        input: Option<&mut dyn Read>,
        events: &mut dyn Events,
    ) -> Result<Answer, ClientError> {
        self.send(request)?;
        if let Some(input) = input {
            let mut chunk = vec![0; CHUNK_OCTETS_MAX];
            loop {
                let octets = read_chunk(input, &mut chunk).map_err(ClientError::Local)?;
                // When the server has failed it reads no more, but says why.
                let sent = self.send_chunk(&chunk[..octets]);
                if octets == 0 && sent.is_ok() {
                    break;
                }
                if let Some(answer) = self.until_ack(octets, events)? {
                    return Ok(answer);
                }
                sent.map_err(ClientError::Lost)?;
            }
        }
        loop {
            if let Some(answer) = self.handle_frame(events)?.into_answer()? {
                return Ok(answer);
            }
        }
    }

    fn send_chunk(&mut self, chunk: &[u8]) -> io::Result<()> {
        let octets = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        self.write_line(&Frame::Data(octets))?;
        self.stream.write_all(chunk)
    }

    /// Handles frames until the chunk is acknowledged, or the answer came.
    fn until_ack(&mut self, octets: usize, events: &mut dyn Events) -> Result<Option<Answer>, ClientError> {
        loop {
            match self.handle_frame(events)? {
                Handled::Ack(acked) if acked as usize == octets => return Ok(None),
                Handled::Ack(_) => return Err(misunderstood()),
                Handled::More => {}
                Handled::Answer(answer) => return Ok(Some(answer)),
            }
        }
    }

    fn handle_frame(&mut self, events: &mut dyn Events) -> Result<Handled, ClientError> {
        let line = self.line()?;
        match serde_json::from_slice(&line).map_err(|_| misunderstood())? {
            Frame::Data(octets) if octets as usize <= CHUNK_OCTETS_MAX => {
                let chunk = self.take(octets as usize)?;
                events.data(&chunk).map_err(ClientError::Local)?;
                self.send(&Frame::Ack(octets))?;
                Ok(Handled::More)
            }
            Frame::Data(_) => Err(misunderstood()),
            Frame::Ack(octets) => Ok(Handled::Ack(octets)),
            Frame::Progress(progress) => {
                events.progress(&progress);
                Ok(Handled::More)
            }
            Frame::Done(answer) => Ok(Handled::Answer(answer)),
            Frame::Failed(failure) => Err(ClientError::Failed(failure)),
        }
    }

    fn send(&mut self, value: &impl serde::Serialize) -> Result<(), ClientError> {
        self.write_line(value).map_err(ClientError::Lost)
    }

    fn write_line(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                let mut line = self.take(end + 1)?;
                line.truncate(end);
                return Ok(line);
            }
            if self.input.len() > ANSWER_OCTETS_MAX {
                return Err(misunderstood());
            }
            self.fill()?;
        }
    }

    fn take(&mut self, octets: usize) -> Result<Vec<u8>, ClientError> {
        while self.input.len() < octets {
            self.fill()?;
        }
        let rest = self.input.split_off(octets);
        Ok(std::mem::replace(&mut self.input, rest))
    }

    fn fill(&mut self) -> Result<(), ClientError> {
        let mut buffer = [0; 16 << 10];
        let read = loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(ClientError::Lost)?,
            }
        };
        if read == 0 {
            return Err(ClientError::Lost(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it closed the connection",
            )));
        }
        self.input.extend_from_slice(&buffer[..read]);
        Ok(())
    }
}

enum Handled {
    More,
    Ack(u32),
    Answer(Answer),
}

impl Handled {
    fn into_answer(self) -> Result<Option<Answer>, ClientError> {
        match self {
            Self::More => Ok(None),
            Self::Answer(answer) => Ok(Some(answer)),
            Self::Ack(_) => Err(misunderstood()),
        }
    }
}

/// Fills `chunk` as far as `input` goes.
fn read_chunk(input: &mut dyn Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < chunk.len() {
        match input.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn misunderstood() -> ClientError {
    ClientError::Lost(io::Error::new(
        io::ErrorKind::InvalidData,
        "it said what this command doesn't understand. Are both the same version? Restart the server after an upgrade",
    ))
}
