//! The envelope of one message: what MAIL and RCPT said (RFC 5321 §2.3.1).

use std::fmt;

use crate::address::{ForwardPath, ReversePath};

/// What the content may hold: the BODY parameter (RFC 6152, RFC 3030).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BodyType {
    /// Not said, or 7BIT.
    #[default]
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
    /// BINARYMIME: any octets, by BDAT only.
    BinaryMime,
}

/// What a delivery report brings back (RFC 3461 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Return {
    /// RET=FULL
    Full,
    /// RET=HDRS
    Headers,
}

/// When to report on a recipient (RFC 3461 §4.1). All false is NEVER.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Notify {
    /// On delivery.
    pub success: bool,
    /// On failure.
    pub failure: bool,
    /// On delay.
    pub delay: bool,
}

/// The ORCPT parameter (RFC 3461 §4.2), decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginalRecipient {
    /// `rfc822`, `utf-8`, ... in lower case.
    pub address_type: Box<str>,
    /// The address: printable ASCII, or UTF-8 without control characters when the type is `utf-8`.
    pub address: Box<str>,
}

/// When a held message is released (RFC 4865).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// HOLDFOR, in seconds.
    For(u32),
    /// HOLDUNTIL, in seconds since 1970.
    Until(i64),
}

/// As reports have it (RFC 4865 §5.1.2).
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(seconds) => write!(f, "for;{seconds}"),
            Self::Until(time) => {
                let time = jiff::Timestamp::from_second(*time).unwrap_or(jiff::Timestamp::MAX);
                write!(f, "until;{}", time.strftime("%Y-%m-%dT%H:%M:%SZ"))
            }
        }
    }
}

/// One accepted recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipient {
    /// The address.
    pub path: ForwardPath,
    /// When to report.
    pub notify: Option<Notify>,
    /// The address before forwarding and aliases.
    pub original: Option<OriginalRecipient>,
    /// Whatever the driver gave when it accepted the recipient.
    pub token: u32,
}

/// Everything MAIL and RCPT said about one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Where reports go.
    pub reverse_path: ReversePath,
    /// The accepted recipients, in order.
    pub recipients: Vec<Recipient>,
    /// What the content may hold.
    pub body: BodyType,
    /// Addresses and header fields may be UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// Verified TLS is needed all the way (RFC 8689).
    pub requiretls: bool,
    /// What reports bring back.
    pub ret: Option<Return>,
    /// The sender's name for this envelope: printable ASCII.
    pub envelope_id: Option<Box<str>>,
    /// The SIZE parameter. A promise of the client's, checked against the limit but never trusted.
    pub declared_octets: Option<u64>,
    /// When to release it.
    pub hold: Option<Hold>,
}

impl Envelope {
    /// An envelope without recipients and parameters.
    pub fn new(reverse_path: ReversePath) -> Self {
        Self {
            reverse_path,
            recipients: Vec::new(),
            body: BodyType::SevenBit,
            smtputf8: false,
            requiretls: false,
            ret: None,
            envelope_id: None,
            declared_octets: None,
            hold: None,
        }
    }

    /// Whether an address can't do without SMTPUTF8: domains always can.
    pub fn has_utf8_address(&self) -> bool {
        let is_ascii = |path: &ForwardPath| match path {
            ForwardPath::Postmaster => true,
            ForwardPath::Address(address) => address.is_ascii(),
            ForwardPath::Literal(address) => address.localpart.is_ascii(),
        };
        self.reverse_path.address().is_some_and(|address| !address.is_ascii())
            || self.recipients.iter().any(|recipient| !is_ascii(&recipient.path))
    }
}
