//! A message as it streams in: its header is kept, its body only hashed.
//!
//! DKIM and ARC share this, so that a body is brought into each canonical form once and hashed once, however
//! many signatures there are and whatever lengths they sign. Memory is bounded by the header.

mod body;

use postrider_proto::arc::{self, Chain, ChainError};
use postrider_proto::dkim::header::{FieldNumber, Header, HeaderError};
use postrider_proto::dkim::limits::HEADER_OCTETS_MAX;
use postrider_proto::dkim::signature::{Claims, Content as Signed, Signature, SignatureError};

pub use body::{BodyHash, BodyHasher, BodyHashes, Wanted};

/// Signatures of a message that are verified; each may cost a lookup and a check of an RSA signature. Those
/// of the rest are told to be too many.
pub const SIGNATURES_MAX: usize = 10;
/// Signatures of a message of which anything is told.
pub const SIGNATURES_REPORTED_MAX: usize = 100;

const _: () = assert!(SIGNATURES_MAX < SIGNATURES_REPORTED_MAX);

/// Takes a message piece by piece, in lines that end with CRLF.
pub struct Reader {
    state: State,
    /// A hash that is made whatever the header asks for.
    signed: Option<Wanted>,
}

enum State {
    /// The header up to here.
    Header(Vec<u8>),
    Body(Box<(Found, BodyHasher)>),
    /// The header isn't looked at, so the body isn't, either.
    Refused(HeaderError),
}

/// What the header says.
struct Found {
    header: Header,
    signatures: Vec<Candidate>,
    chain: Option<Result<Chain, ChainError>>,
}

/// A DKIM-Signature field.
#[derive(Debug)]
pub struct Candidate {
    /// Which field it is.
    pub field: FieldNumber,
    /// What it claims.
    pub claims: Claims,
    /// The signature, or why it is none.
    pub signature: Result<Signature, SignatureError>,
    /// Whether it is one of those that are verified.
    pub within_limit: bool,
}

/// A whole message, as far as its signatures need it.
#[derive(Debug)]
pub struct Content {
    /// The header.
    pub header: Header,
    /// Its DKIM-Signature fields in their order, at most [`SIGNATURES_REPORTED_MAX`].
    pub signatures: Vec<Candidate>,
    /// Its ARC sets. None where it has none.
    pub chain: Option<Result<Chain, ChainError>>,
    /// Hashes of the body that its signatures ask for.
    pub hashes: BodyHashes,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// One for a message that is about to begin.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Header(Vec::with_capacity(4096)), signed: None }
    }

    /// One for a message that is to be signed, too: its body is also hashed as [`Signer`](crate::dkim::Signer) needs it.
    #[must_use]
    pub fn signing(hash: Wanted) -> Self {
        Self { signed: Some(hash), ..Self::new() }
    }

    /// Takes a piece of the message.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.state {
            State::Header(header) => {
                if let Some(state) = gather(header, piece, self.signed) {
                    self.state = state;
                }
            }
            State::Body(body) => body.1.push(piece),
            State::Refused(_) => {}
        }
    }

    /// Octets of the header that are kept.
    #[must_use]
    pub fn header_octets(&self) -> usize {
        match &self.state {
            State::Header(header) => header.len(),
            State::Body(body) => body.0.header.octets().len(),
            State::Refused(_) => 0,
        }
    }

    /// The message is complete. Fails where its header was over a limit.
    pub fn finish(self) -> Result<Content, HeaderError> {
        let (found, hasher) = match self.state {
            State::Header(header) => {
                let found = Found::read(header)?;
                let hasher = found.hasher(self.signed);
                (found, hasher)
            }
            State::Body(body) => *body,
            State::Refused(error) => return Err(error),
        };
        let Found { header, signatures, chain } = found;
        Ok(Content { header, signatures, chain, hashes: hasher.finish() })
    }
}

/// Adds a piece to the header. Gives what comes next when the header ends or is too large.
fn gather(header: &mut Vec<u8>, piece: &[u8], signed: Option<Wanted>) -> Option<State> {
    let before = header.len();
    // What is beyond the limit need not be copied.
    header.extend_from_slice(&piece[..piece.len().min(HEADER_OCTETS_MAX + EMPTY_LINE.len() - before)]);
    let Some(end) = header_end(header, before) else {
        return (header.len() > HEADER_OCTETS_MAX).then_some(State::Refused(HeaderError::TooLarge));
    };
    let mut header = std::mem::take(header);
    header.truncate(end);
    Some(match Found::read(header) {
        Ok(found) => {
            let mut hasher = found.hasher(signed);
            hasher.push(&piece[end - before..]);
            State::Body(Box::new((found, hasher)))
        }
        Err(error) => State::Refused(error),
    })
}

/// An empty line as it is on the wire.
const EMPTY_LINE: &[u8] = b"\r\n";

/// Where the header ends, its empty line included, of which no more than the first `known` octets were looked at
/// before.
///
/// Who reads the message takes LF alone for the end of a line, and content of BINARYMIME may have it. So it ends the
/// header here as well: text that stood between such an empty line and one with CRLF would be neither of the signed
/// header nor of the signed body, and be shown all the same.
fn header_end(header: &[u8], known: usize) -> Option<usize> {
    let after_break = |start: usize| match &header[start..] {
        [b'\n', ..] => Some(start + 1),
        [b'\r', b'\n', ..] => Some(start + 2),
        _ => None,
    };
    if let Some(end) = after_break(0) {
        return Some(end);
    }
    // The octets of an empty line may come in pieces.
    let from = known.saturating_sub(EMPTY_LINE.len());
    memchr::memchr_iter(b'\n', &header[from..]).find_map(|at| after_break(from + at + 1))
}

impl Found {
    fn read(header: Vec<u8>) -> Result<Self, HeaderError> {
        let header = Header::parse(header)?;
        let mut signatures = Vec::new();
        let mut valid = 0;
        for field in header.numbers("DKIM-Signature").take(SIGNATURES_REPORTED_MAX) {
            let value = header.get(field).value;
            let signature = Signature::parse(value);
            valid += usize::from(signature.is_ok());
            let within_limit = valid <= SIGNATURES_MAX;
            signatures.push(Candidate { field, claims: Claims::parse(value), signature, within_limit });
        }
        let chain = arc::collect(&header);
        Ok(Self { header, signatures, chain })
    }

    /// What hashes the body for all signatures, and for one that is to be made.
    fn hasher(&self, signed: Option<Wanted>) -> BodyHasher {
        let signatures = self.signatures.iter().filter(|candidate| candidate.within_limit);
        let dkim = signatures.filter_map(|candidate| candidate.signature.as_ref().ok());
        let sets = self.chain.iter().flatten().flat_map(|chain| &chain.sets);
        let arc = sets.filter_map(|set| set.signature.as_ref().ok());
        let contents =
            dkim.map(|signature| &signature.content).chain(arc.map(|signature| &signature.content));
        BodyHasher::new(contents.map(wanted).chain(signed))
    }
}

/// Which hash of the body a signature is about.
#[must_use]
pub fn wanted(signed: &Signed) -> Wanted {
    Wanted { algorithm: signed.canonicalization.body, length: signed.length }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    const SIGNATURE: &str =
        "DKIM-Signature: v=1; a=rsa-sha256; d=a.b; s=c; c=relaxed/relaxed; h=from; bh=AA==; b=AA==\r\n";

    fn read(pieces: &[&[u8]]) -> Result<Content, HeaderError> {
        let mut reader = Reader::new();
        for piece in pieces {
            reader.push(piece);
        }
        reader.finish()
    }

    #[test]
    fn a_message_is_the_same_wherever_it_is_cut() {
        let message = format!("{SIGNATURE}From: a\r\n\r\nbody  text \r\n\r\n");
        let hash = |content: &Content| {
            let signature = content.signatures[0].signature.as_ref().unwrap();
            content.hashes.get(wanted(&signature.content)).unwrap()
        };
        let whole = hash(&read(&[message.as_bytes()]).unwrap());
        for cut in 0..=message.len() {
            let (one, other) = message.as_bytes().split_at(cut);
            let content = read(&[one, other]).unwrap();
            assert_eq!(content.header.fields().count(), 2);
            assert_eq!(hash(&content), whole, "cut at {cut}");
        }
        let octets: Vec<&[u8]> = message.as_bytes().chunks(1).collect();
        assert_eq!(hash(&read(&octets).unwrap()), whole);
    }

    #[test]
    fn messages_without_body_header_or_anything() {
        assert_eq!(read(&[]).unwrap().header.fields().count(), 0);
        assert_eq!(read(&[b"From: a\r\n"]).unwrap().header.fields().count(), 1);
        assert_eq!(read(&[b"\r\nFrom: a\r\n"]).unwrap().header.fields().count(), 0);
        assert_eq!(read(&[b"\r", b"\nFrom: a\r\n"]).unwrap().header.fields().count(), 0);
    }

    #[test]
    fn a_header_ends_where_every_reader_ends_it() {
        for message in [
            &b"From: a\r\n\r\nbody"[..],
            b"From: a\n\nbody",
            b"From: a\r\n\nbody",
            b"From: a\n\r\nbody",
            b"From: a\r\n\nbody\r\n\r\nmore",
            b"\nbody",
            b"\r\nbody",
            b"From: a\r\n\r\r\n\nbody",
            b"From: a\r\n\rX: b\r\n\r\nbody",
        ] {
            let structure = {
                let mut scanner =
                    postrider_proto::mime::scan::Scanner::new(postrider_proto::mime::Limits::DEFAULT);
                scanner.push(message);
                scanner.finish()
            };
            let end = usize::try_from(structure.root().body_start).unwrap();
            for cut in 0..=message.len() {
                let (one, other) = message.split_at(cut);
                let content = read(&[one, other]).unwrap();
                assert_eq!(
                    content.header.octets(),
                    &message[..end],
                    "{} cut at {cut}",
                    message.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn a_header_at_the_limit_is_read_and_one_past_it_is_not() {
        let header = |octets: usize| [&b"a: "[..], &vec![b'x'; octets - 7], b"\r\n\r\n"].concat();
        let message = |octets: usize| [header(octets), b"body".to_vec()].concat();
        for chunk in [1000, usize::MAX] {
            let read = |octets: usize| {
                let message = message(octets);
                let pieces: Vec<&[u8]> = message.chunks(chunk.min(message.len())).collect();
                read(&pieces).map(|content| content.header.octets().len())
            };
            assert_eq!(read(HEADER_OCTETS_MAX), Ok(HEADER_OCTETS_MAX));
            assert_eq!(read(HEADER_OCTETS_MAX + 1), Err(HeaderError::TooLarge));
            assert_eq!(read(2 * HEADER_OCTETS_MAX), Err(HeaderError::TooLarge));
        }
        let fields = b"a: b\r\n".repeat(postrider_proto::dkim::limits::HEADER_FIELDS_MAX + 1);
        assert_eq!(read(&[&fields, b"\r\nbody"]).unwrap_err(), HeaderError::TooManyFields);
    }

    #[test]
    fn what_is_kept_of_a_message_is_its_header() {
        let mut reader = Reader::new();
        for (piece, octets) in [(&b"From: a\r\n"[..], 9), (b"\r\nbody", 11), (&[b'x'; 5000], 11)] {
            reader.push(piece);
            assert_eq!(reader.header_octets(), octets);
        }
        let mut large = Reader::new();
        large.push(&[b'x'; HEADER_OCTETS_MAX + 1]);
        assert_eq!(large.header_octets(), 0);
    }

    #[test]
    fn only_so_many_signatures_are_verified_and_told_of() {
        let bad = "DKIM-Signature: v=2\r\n";
        let message = format!("{bad}{}\r\n", SIGNATURE.repeat(SIGNATURES_REPORTED_MAX + 1));
        let content = read(&[message.as_bytes()]).unwrap();
        assert_eq!(content.signatures.len(), SIGNATURES_REPORTED_MAX);
        let within = content.signatures.iter().filter(|candidate| candidate.within_limit).count();
        // The one that can't be read costs nothing.
        assert_eq!(within, SIGNATURES_MAX + 1);
    }
}
