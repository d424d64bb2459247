//! Delivery status notifications (RFC 3464, in the container of RFC 6522, international ones by RFC 6533): as
//! values, written as messages whose text is for a person, and read from messages of other servers.

mod meaning;
mod read;
#[cfg(test)]
mod tests;
mod text;
mod write;

pub use read::{Incoming, StatusPart, find, parse, read};
pub use write::{Composed, Letter, Returned, compose};

use crate::smtp::client::{EnhancedCode, Reply};
use crate::smtp::envelope::OriginalRecipient;

/// An address with its type: `rfc822` or `utf-8`, in foreign reports anything.
pub type TypedAddress = OriginalRecipient;

/// What became of a message for one recipient (RFC 3464 §2.3.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Action {
    /// It was not delivered, and won't be.
    Failed,
    /// It was not delivered yet.
    Delayed,
    /// It was delivered.
    Delivered,
    /// It was handed to a server that doesn't report on delivery.
    Relayed,
    /// It was delivered to an alias, and went on to several recipients.
    Expanded,
}

impl Action {
    const ALL: [(&'static str, Self); 5] = [
        ("failed", Self::Failed),
        ("delayed", Self::Delayed),
        ("delivered", Self::Delivered),
        ("relayed", Self::Relayed),
        ("expanded", Self::Expanded),
    ];

    /// The value of the Action field.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }

    /// Reads the value of the field, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, action)| *action)
    }
}

/// What the last server said (RFC 3464 §2.3.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// `smtp` nearly always.
    pub kind: Box<str>,
    /// The code and the text.
    pub text: Box<str>,
}

impl Diagnostic {
    /// A reply of an SMTP server.
    #[must_use]
    pub fn smtp(reply: &Reply) -> Self {
        Self { kind: "smtp".into(), text: reply.to_string().into() }
    }

    /// The code of an SMTP reply, if it is one. Some write the enhanced code, or words, before it.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        let mut words =
            self.text.split([' ', '-', '<', '>', '(', ')', ':']).filter(|word| !word.is_empty()).take(4);
        let is_code = |word: &&str| word.len() == 3 && word.bytes().all(|octet| octet.is_ascii_digit());
        words.find(is_code).and_then(|word| word.parse().ok()).filter(|code| (200..=599).contains(code))
    }

    /// The enhanced code in the text, if there is one.
    #[must_use]
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        let mut words = self.text.split([' ', '-', '<', '>', '(', ')', '#', ':']);
        words.find_map(EnhancedCode::parse)
    }
}

/// What is reported of one recipient. Times are in seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipient {
    /// The address that the author gave, before aliases (ORCPT).
    pub original: Option<TypedAddress>,
    /// The address that the message was to be delivered to.
    pub address: TypedAddress,
    /// What became of it.
    pub action: Action,
    /// Why.
    pub status: EnhancedCode,
    /// What happened in our words, as a clause without a full stop: where no server said anything.
    pub reason: Option<Box<str>>,
    /// The server that said it, or that it is about.
    pub remote_mta: Option<Box<str>>,
    /// What it said; without a server, what this one said of a mailbox here.
    pub diagnostic: Option<Diagnostic>,
    /// Attempts so far; 0 when that isn't known. For the text only.
    pub attempts: u32,
    /// The last attempt.
    pub last_attempt: Option<i64>,
    /// The next attempt. For the text only.
    pub next_attempt: Option<i64>,
    /// When it is given up, of a delayed message.
    pub will_retry_until: Option<i64>,
}

impl Recipient {
    /// One with nothing but what must be there. An address that isn't ASCII gets the type `utf-8`.
    #[must_use]
    pub fn new(address: &str, action: Action, status: EnhancedCode) -> Self {
        let address_type = if address.is_ascii() { "rfc822" } else { "utf-8" };
        Self {
            original: None,
            address: TypedAddress { address_type: address_type.into(), address: address.into() },
            action,
            status,
            reason: None,
            remote_mta: None,
            diagnostic: None,
            attempts: 0,
            last_attempt: None,
            next_attempt: None,
            will_retry_until: None,
        }
    }
}

/// A report on one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The server that reports.
    pub reporting_mta: Box<str>,
    /// When the message came to it, in seconds since 1970.
    pub arrival: Option<i64>,
    /// ENVID.
    pub envelope_id: Option<Box<str>>,
    /// For how long, or until when, the message was to be held (RFC 4865 §5.1.2): `for;` or `until;` and a value.
    pub future_release: Option<Box<str>>,
    /// At least one.
    pub recipients: Vec<Recipient>,
    /// Whether it may have UTF-8 (RFC 6533): the message came with SMTPUTF8.
    pub utf8: bool,
}
