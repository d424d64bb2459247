//! Reading one response (RFC 9112), piece by piece, without a connection.
//!
//! One request on a connection of its own: no redirects, no cache, no compression, nothing kept alive.

/// Octets of the status line and the fields.
const HEAD_OCTETS_MAX: usize = 16 * 1024;
/// Fields of a response.
const FIELDS_MAX: usize = 64;
/// Octets of the line before a chunk, and of all lines behind the last one together.
const CHUNK_LINE_OCTETS_MAX: usize = 1024;

/// Which responses are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// With which status.
    pub statuses: Statuses,
    /// With this media type, whatever its parameters, and without a content coding. None: with any, and any.
    pub media_type: Option<&'static str>,
    /// So many octets of the body.
    pub body_octets_max: usize,
    /// What becomes of a body that is longer.
    pub longer: Longer,
}

/// Which statuses count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statuses {
    /// 200 alone; any other is [`ResponseError::Status`].
    Ok,
    /// All: [`ResponseReader::status`] says which it is.
    All,
}

/// What becomes of a body that is longer than wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Longer {
    /// It is an error.
    Refused,
    /// What was wanted of it is complete.
    Cut,
}

/// Why a response can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not HTTP.
    #[error("the host does not speak HTTP/1.1")]
    Grammar,
    /// The status line and the fields are too long, or there are too many of them.
    #[error("the head of the response is too large")]
    HeadTooLarge,
    /// Another status than 200: redirects must not be followed.
    #[error("the host answers with status {0}, and only 200 counts")]
    Status(u16),
    /// Another media type.
    #[error("the response is not of the media type {0}")]
    MediaType(&'static str),
    /// A coding that nobody asked for.
    #[error("the response is in a coding that was not asked for")]
    Coding,
    /// Longer than is read.
    #[error("the body is over {0} octets")]
    TooLong(usize),
    /// The connection ended before the response did.
    #[error("the response is not complete")]
    Incomplete,
}

/// How far a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More of it must come.
    More,
    /// It is complete; what follows doesn't matter.
    Complete,
}

/// Reads one response, piece by piece.
#[derive(Debug)]
pub struct ResponseReader {
    accept: Accept,
    state: State,
    status: Option<u16>,
    /// What was not read yet.
    input: Vec<u8>,
    /// Octets of heads before that of the response itself.
    before: usize,
    body: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Head,
    /// So many octets of the body are to come.
    Length(u64),
    /// The body ends with the connection.
    UntilEnd,
    /// The line before a chunk.
    ChunkLine,
    /// So many octets of a chunk, then CRLF.
    Chunk(u64),
    ChunkEnd,
    /// Lines behind the last chunk, of which so many octets were read.
    Trailer(usize),
    Complete,
}

impl ResponseReader {
    /// One for a response that is about to begin.
    #[must_use]
    pub const fn new(accept: Accept) -> Self {
        Self { accept, state: State::Head, status: None, input: Vec::new(), before: 0, body: Vec::new() }
    }

    /// The status, once the whole head was read.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        self.status
    }

    /// What was read of the body so far.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes a piece of the response.
    pub fn push(&mut self, piece: &[u8]) -> Result<Progress, ResponseError> {
        self.input.extend_from_slice(piece);
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        while let Some(after) = self.step(rest)? {
            rest = after;
        }
        if self.state != State::Complete {
            self.input = rest.to_vec();
        }
        Ok(if self.state == State::Complete { Progress::Complete } else { Progress::More })
    }

    /// Whether all of the response has come, when the connection has ended.
    pub const fn end(&self) -> Result<(), ResponseError> {
        match self.state {
            State::Complete | State::UntilEnd => Ok(()),
            _ => Err(ResponseError::Incomplete),
        }
    }

    /// The body, when the connection has ended or the response is complete.
    pub fn finish(self) -> Result<Vec<u8>, ResponseError> {
        self.end().map(|()| self.body)
    }

    /// Reads what comes next; what follows it, or none when more of the response must come.
    fn step<'a>(&mut self, input: &'a [u8]) -> Result<Option<&'a [u8]>, ResponseError> {
        match self.state {
            State::Head => self.head(input),
            State::Length(0) => {
                self.state = State::Complete;
                Ok(None)
            }
            State::Length(left) => {
                let (piece, after) = split(input, left);
                self.state = State::Length(left - piece.len() as u64);
                self.add(piece)?;
                Ok((!piece.is_empty()).then_some(after))
            }
            State::UntilEnd => {
                self.add(input)?;
                Ok((!input.is_empty()).then_some(&[]))
            }
            State::ChunkLine => {
                let Some((line, after)) = line(input)? else { return Ok(None) };
                let size = chunk_size(line).ok_or(ResponseError::Grammar)?;
                self.state = if size == 0 { State::Trailer(0) } else { State::Chunk(size) };
                Ok(Some(after))
            }
            State::Chunk(left) => {
                let (piece, after) = split(input, left);
                let left = left - piece.len() as u64;
                self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                self.add(piece)?;
                Ok((!piece.is_empty()).then_some(after))
            }
            State::ChunkEnd => match input {
                [b'\r', b'\n', after @ ..] => {
                    self.state = State::ChunkLine;
                    Ok(Some(after))
                }
                [] | [b'\r'] => Ok(None),
                _ => Err(ResponseError::Grammar),
            },
            State::Trailer(before) => {
                let Some((line, after)) = line(input)? else { return Ok(None) };
                let octets = before + line.len();
                if octets > CHUNK_LINE_OCTETS_MAX {
                    return Err(ResponseError::HeadTooLarge);
                }
                self.state = if line.is_empty() { State::Complete } else { State::Trailer(octets) };
                Ok((!line.is_empty()).then_some(after))
            }
            State::Complete => Ok(None),
        }
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), ResponseError> {
        let room = self.accept.body_octets_max - self.body.len();
        if piece.len() <= room {
            self.body.extend_from_slice(piece);
            return Ok(());
        }
        match self.accept.longer {
            Longer::Refused => Err(ResponseError::TooLong(self.accept.body_octets_max)),
            Longer::Cut => {
                self.body.extend_from_slice(&piece[..room]);
                self.state = State::Complete;
                Ok(())
            }
        }
    }

    fn head<'a>(&mut self, input: &'a [u8]) -> Result<Option<&'a [u8]>, ResponseError> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let room = HEAD_OCTETS_MAX - self.before;
        let head = &input[..input.len().min(room)];
        let octets = match response.parse(head) {
            Ok(httparse::Status::Complete(octets)) => octets,
            Ok(httparse::Status::Partial) if input.len() < room => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(ResponseError::HeadTooLarge);
            }
            Err(_) => return Err(ResponseError::Grammar),
        };
        let after = &input[octets..];
        // Three digits, of which the first is a class (RFC 9110 §15).
        let status = response.code.filter(|code| *code >= 100).ok_or(ResponseError::Grammar)?;
        // What comes before the response itself (RFC 9110 §15.2), except for another protocol.
        if matches!(status, 100 | 102..=199) {
            self.before += octets;
            return Ok(Some(after));
        }
        if self.accept.statuses == Statuses::Ok && status != 200 {
            return Err(ResponseError::Status(status));
        }
        // It was said, whatever follows.
        self.status = Some(status);
        self.state = match status {
            // No body follows, whatever the fields say (RFC 9112 §6.3).
            101 | 204 | 304 => State::Complete,
            _ => self.accept.framing(response.version, response.headers)?,
        };
        Ok(Some(after))
    }
}

impl Accept {
    /// How the body ends, by the fields of a response (RFC 9112 §6.3).
    fn framing(&self, version: Option<u8>, fields: &[httparse::Header<'_>]) -> Result<State, ResponseError> {
        let values = |name: &'static str| {
            let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
            named.map(|field| field.value.trim_ascii())
        };
        if let Some(wanted) = self.media_type {
            let media_type = values("Content-Type").next().unwrap_or_default();
            let media_type = media_type.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
            if !media_type.eq_ignore_ascii_case(wanted.as_bytes()) {
                return Err(ResponseError::MediaType(wanted));
            }
            if values("Content-Encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
                return Err(ResponseError::Coding);
            }
        }
        let mut codings = values("Transfer-Encoding");
        match (codings.next(), codings.next()) {
            // HTTP/1.0 has none: what follows can't be told (RFC 9112 §6.1).
            (Some(coding), None) if version == Some(1) && coding.eq_ignore_ascii_case(b"chunked") => {
                return Ok(State::ChunkLine);
            }
            (None, _) => {}
            _ => return Err(ResponseError::Coding),
        }
        let mut lengths = values("Content-Length");
        let Some(length) = lengths.next() else { return Ok(State::UntilEnd) };
        if lengths.any(|other| other != length) {
            return Err(ResponseError::Grammar);
        }
        let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(length).ok().filter(|_| is_number).ok_or(ResponseError::Grammar)?;
        // What doesn't fit is too long as well.
        let length = text.parse().unwrap_or(u64::MAX);
        if self.longer == Longer::Refused && length > self.body_octets_max as u64 {
            return Err(ResponseError::TooLong(self.body_octets_max));
        }
        Ok(State::Length(length))
    }
}

/// The first `octets` of the input, or all, and what follows.
fn split(input: &[u8], octets: u64) -> (&[u8], &[u8]) {
    input.split_at(usize::try_from(octets).unwrap_or(usize::MAX).min(input.len()))
}

/// A line without its CRLF, and what follows it.
type Line<'a> = (&'a [u8], &'a [u8]);

/// The first line; none when its end must still come.
fn line(input: &[u8]) -> Result<Option<Line<'_>>, ResponseError> {
    match memchr::memchr(b'\n', input) {
        Some(at) if at > CHUNK_LINE_OCTETS_MAX + 1 => Err(ResponseError::HeadTooLarge),
        Some(at) if at > 0 && input[at - 1] == b'\r' => Ok(Some((&input[..at - 1], &input[at + 1..]))),
        Some(_) => Err(ResponseError::Grammar),
        None if input.len() > CHUNK_LINE_OCTETS_MAX + 1 => Err(ResponseError::HeadTooLarge),
        None => Ok(None),
    }
}

/// `chunk-size [ chunk-ext ]` (RFC 9112 §7.1); no more than what is too long.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|octet| *octet == b';').next()?.trim_ascii_end();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
