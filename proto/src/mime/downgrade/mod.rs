//! Making a message fit for servers that take less than it holds: no eight-bit octets (RFC 6152 §3), or no binary
//! content (RFC 3030 §3).
//!
//! Parts are encoded one by one (RFC 2045 §6); what surrounds them, and parts that fit, stay as they are but for
//! labels that would be wrong. The content goes by twice: [`Survey`] finds out what is to be done, [`Converter`]
//! does it. Memory is bounded by the number of parts and the longest header, not by the size of the message.
//!
//! Always holds: what is written decodes to the octets of the original, part by part; nothing under a signature
//! (RFC 1847) is touched: where that would have to be, there is an [`Obstacle`]. Signatures over the whole message
//! (DKIM) are to be made over what is written.
//!
//! Lines are expected to end in CR LF; a lone one of the two makes a part binary.

mod convert;
mod encode;
mod survey;
#[cfg(test)]
mod tests;

pub use convert::Converter;
pub use survey::Survey;

/// What the other side takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Seven-bit lines: it has no 8BITMIME.
    SevenBit,
    /// Lines: it has 8BITMIME, but no BINARYMIME.
    EightBit,
}

/// Why a message can't be made fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Obstacle {
    /// The parts that would have to be changed are signed.
    #[error("a part that would have to be encoded is signed")]
    Signed,
    /// A header has eight-bit octets, which needs SMTPUTF8.
    #[error("a header has eight-bit characters")]
    Header,
    /// A part of a type that can't be encoded (RFC 2046 §5.2), or that is encoded and holds what its encoding
    /// doesn't have.
    #[error("a part that would have to be encoded may not be")]
    NotEncodable,
    /// There are more parts than are looked at, or a header is too large.
    #[error("the message has too many parts or too large a header")]
    TooComplex,
}

/// How a part is encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encoding {
    QuotedPrintable,
    Base64,
}

impl Encoding {
    const fn name(self) -> &'static str {
        match self {
            Self::QuotedPrintable => "quoted-printable",
            Self::Base64 => "base64",
        }
    }
}

/// What is done at one place; the rest is copied.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Edit {
    /// Octets from the start of the message.
    start: u64,
    end: u64,
    what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    /// Other octets stand there.
    Replace(Vec<u8>),
    /// They are encoded.
    Encode(Encoding),
    /// Eight-bit octets become question marks: between parts, where nobody reads (RFC 2046 §5.1.1).
    Mask,
}

/// What is to be done with a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// In the order of their places, none over another.
    edits: Vec<Edit>,
}

impl Plan {
    /// Whether the message fits as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }
}
