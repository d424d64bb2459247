//! Object identifiers (RFC 8474 §7): the one place that knows their text form.
//!
//! `F` (mailbox), `M` (email) or `T` (thread), the number of the account that owns the object, a hyphen
//! and the number that the object has there, both in decimal. The account is part of it, because a
//! client may see mailboxes of several. Numbers are never handed out again, so neither is an identifier.

use std::num::NonZeroU32;

use super::response::write_number;

/// What an identifier is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectKind {
    /// MAILBOXID
    Mailbox,
    /// EMAILID
    Email,
    /// THREADID
    Thread,
}

/// The identifier of a mailbox, an email or a thread.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObjectId {
    /// What it is of.
    pub kind: ObjectKind,
    /// The account that owns the object.
    pub account: NonZeroU32,
    /// The object's number there.
    pub number: u64,
}

impl ObjectKind {
    const ALL: [Self; 3] = [Self::Mailbox, Self::Email, Self::Thread];

    const fn letter(self) -> u8 {
        match self {
            Self::Mailbox => b'F',
            Self::Email => b'M',
            Self::Thread => b'T',
        }
    }
}

impl ObjectId {
    /// Of a mailbox.
    pub const fn mailbox(account: NonZeroU32, mailbox: NonZeroU32) -> Self {
        Self { kind: ObjectKind::Mailbox, account, number: mailbox.get() as u64 }
    }

    /// Of an email.
    pub const fn email(account: NonZeroU32, email: u64) -> Self {
        Self { kind: ObjectKind::Email, account, number: email }
    }

    /// Of a thread.
    pub const fn thread(account: NonZeroU32, thread: u64) -> Self {
        Self { kind: ObjectKind::Thread, account, number: thread }
    }

    /// Appends the text form.
    pub fn write(self, out: &mut Vec<u8>) {
        out.push(self.kind.letter());
        write_number(out, self.account.get().into());
        out.push(b'-');
        write_number(out, self.number);
    }

    /// Reads the text form; none when no object can have that identifier. Identifiers are compared
    /// octet by octet, so only the form that [`Self::write`] makes is one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (letter, rest) = text.split_first()?;
        let kind = ObjectKind::ALL.into_iter().find(|kind| kind.letter() == *letter)?;
        let at = rest.iter().position(|octet| *octet == b'-')?;
        let account = u32::try_from(decimal(&rest[..at])?).ok().and_then(NonZeroU32::new)?;
        Some(Self { kind, account, number: decimal(&rest[at + 1..])? })
    }
}

/// A number without leading zeros.
fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_as_they_are_written() {
        let account = NonZeroU32::MAX;
        for id in [
            ObjectId::mailbox(account, NonZeroU32::MIN),
            ObjectId::email(account, u64::MAX),
            ObjectId::thread(NonZeroU32::MIN, 0),
        ] {
            let mut text = Vec::new();
            id.write(&mut text);
            assert_eq!(ObjectId::parse(&text), Some(id));
            // RFC 8474 §7: objectid = 1*255(ALPHA / DIGIT / "_" / "-").
            assert!(text.len() <= 255 && text.iter().all(|o| o.is_ascii_alphanumeric() || *o == b'-'));
        }
        let mut text = Vec::new();
        ObjectId::email(NonZeroU32::MIN, 23).write(&mut text);
        assert_eq!(text, b"M1-23");
    }

    #[test]
    fn other_texts_are_no_identifiers() {
        for text in [
            "",
            "M",
            "M-",
            "M1",
            "M1-",
            "M-1",
            "m1-2",
            "X1-2",
            "M01-2",
            "M1-02",
            "M0-2",
            "M1-2-3",
            "M+1-2",
            "M1--2",
            "M1- 2",
            "M4294967296-1",
            "M1-18446744073709551616",
        ] {
            assert_eq!(ObjectId::parse(text.as_bytes()), None, "{text}");
        }
    }
}
