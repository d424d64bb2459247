//! Which webhooks an account has, and what they are told.

use postrider_proto::http::Url;
use postrider_proto::sasl::Secret;

/// The webhooks of an account.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Webhooks {
    /// What is called about messages that the account sent.
    pub outgoing: Option<Endpoint>,
    /// Of which events.
    pub events: Events,
    /// What is called for each message that the account gets.
    pub incoming: Option<Endpoint>,
}

/// Who is called, and how it knows by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The address.
    pub url: Url,
    /// The value of the field `Authorization`, as it is sent.
    pub authorization: Option<Secret<Box<str>>>,
    /// The key of the signature of what is sent.
    pub secret: Option<Secret<Box<str>>>,
}

impl Endpoint {
    /// The longest value of the field `Authorization`.
    pub const AUTHORIZATION_OCTETS_MAX: usize = 1024;
    /// The longest key.
    pub const SECRET_OCTETS_MAX: usize = 256;

    /// Whether a text can be the value of a field: visible ASCII, with blanks inside.
    #[must_use]
    pub fn is_authorization(text: &str) -> bool {
        let inside = |octet: u8| octet.is_ascii_graphic() || octet == b' ';
        !text.is_empty()
            && text.len() <= Self::AUTHORIZATION_OCTETS_MAX
            && text.bytes().all(inside)
            && text.trim_ascii().len() == text.len()
    }

    /// Whether a text can be a key.
    #[must_use]
    pub fn is_secret(text: &str) -> bool {
        !text.is_empty() && text.len() <= Self::SECRET_OCTETS_MAX
    }
}

/// What happened to a message that an account sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// The next server took it.
    Delivered = 0,
    /// It was not sent, since its recipient is on the account's suppression list.
    Suppressed = 1,
    /// An attempt failed, and others follow.
    Delayed = 2,
    /// It is given up.
    Failed = 3,
    /// A server handed it to one that reports nothing, as a report says.
    Relayed = 4,
    /// A server handed it to several recipients, as a report says.
    Expanded = 5,
    /// An operator dropped it.
    Canceled = 6,
    /// A report came that can't be understood.
    Unrecognized = 7,
}

impl Event {
    /// All of them, by their numbers.
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Suppressed,
        Self::Delayed,
        Self::Failed,
        Self::Relayed,
        Self::Expanded,
        Self::Canceled,
        Self::Unrecognized,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Suppressed => "suppressed",
            Self::Delayed => "delayed",
            Self::Failed => "failed",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
            Self::Canceled => "canceled",
            Self::Unrecognized => "unrecognized",
        }
    }

    /// The event of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.word() == word)
    }

    /// The event of a number.
    pub(crate) fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Some events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Events(u8);

impl Events {
    /// All of them.
    pub const ALL: Self = Self(u8::MAX);
    /// None.
    pub const NONE: Self = Self(0);

    /// Those of a set of bits: the lowest is that of [`Event::Delivered`].
    #[must_use]
    pub const fn of_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, event: Event) -> Self {
        Self(self.0 | 1 << event as u8)
    }

    /// Whether an event is one of them.
    #[must_use]
    pub const fn contains(self, event: Event) -> bool {
        self.0 & 1 << event as u8 != 0
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_words_numbers_and_bits() {
        for event in Event::ALL {
            assert_eq!(Event::parse(event.word()), Some(event));
            assert_eq!(Event::of(event as u8), Some(event));
            let one = Events::NONE.with(event);
            assert!(Event::ALL.into_iter().all(|other| one.contains(other) == (other == event)));
            assert!(Events::of_bits(one.bits()) == one && Events::ALL.contains(event));
        }
        assert_eq!((Event::of(8), Event::parse("lost")), (None, None));
    }

    #[test]
    fn what_can_be_sent_and_what_signs_have_limits() {
        let long = |octets: usize| "x".repeat(octets);
        for (text, good) in [
            ("Bearer a b", true),
            ("", false),
            (" x", false),
            ("x ", false),
            ("a\r\nX: y", false),
            ("\u{e9}", false),
            (&long(Endpoint::AUTHORIZATION_OCTETS_MAX), true),
            (&long(Endpoint::AUTHORIZATION_OCTETS_MAX + 1), false),
        ] {
            assert_eq!(Endpoint::is_authorization(text), good, "{text:.20}");
        }
        assert!(Endpoint::is_secret(&long(Endpoint::SECRET_OCTETS_MAX)) && !Endpoint::is_secret(""));
        assert!(!Endpoint::is_secret(&long(Endpoint::SECRET_OCTETS_MAX + 1)));
    }
}
