//! The command lines of a transaction: MAIL and RCPT with the parameters that were announced for.

use std::fmt::Write as _;

use super::capabilities::{Capabilities, Extension};
use crate::smtp::envelope::{BodyType, Envelope, Notify, OriginalRecipient, Recipient, Return};
use crate::smtp::xtext;

/// Why a message can't go over this connection. Nothing was sent, and the connection is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsendable {
    /// It is larger than the limit that was announced (RFC 1870 §6.1).
    #[error("the message is larger than the {limit} octets that the other server takes")]
    TooLarge {
        /// Octets.
        limit: u64,
    },
    /// It holds eight-bit octets, which the other side doesn't announce to take (RFC 6152 §3).
    #[error("the message has eight-bit content, which the other server doesn't take")]
    EightBit,
    /// It is BINARYMIME, which the other side doesn't announce to take (RFC 3030 §3).
    #[error("the message has binary content, which the other server doesn't take")]
    Binary,
    /// Addresses or header fields need SMTPUTF8, which the other side doesn't announce (RFC 6531 §3.2).
    #[error("the message needs SMTPUTF8, which the other server doesn't have")]
    Utf8,
    /// REQUIRETLS was not announced, or the connection has no TLS (RFC 8689 §4.2.1).
    #[error("the message needs REQUIRETLS, which the other server doesn't have")]
    RequireTls,
    /// The other side's MAILMAX (RFC 9422) was reached: another connection is needed.
    #[error("the other server takes no more messages on this connection")]
    UsedUp,
    /// There is no recipient.
    #[error("the message has no recipients")]
    NoRecipients,
    /// The connection isn't [ready](super::Action::Ready).
    #[error("the connection is not ready for a message")]
    NotReady,
}

/// Whether a message can be sent to a server with these capabilities, REQUIRETLS and MAILMAX aside.
pub(super) fn check(envelope: &Envelope, capabilities: &Capabilities) -> Result<(), Unsendable> {
    if envelope.recipients.is_empty() {
        return Err(Unsendable::NoRecipients);
    }
    if let (Some(octets), Some(limit)) = (envelope.declared_octets, capabilities.message_octets_max)
        && octets > limit
    {
        return Err(Unsendable::TooLarge { limit });
    }
    let has = |extension| capabilities.has(extension);
    match envelope.body {
        BodyType::EightBitMime if !has(Extension::EightBitMime) => return Err(Unsendable::EightBit),
        BodyType::BinaryMime if !(has(Extension::BinaryMime) && has(Extension::Chunking)) => {
            return Err(Unsendable::Binary);
        }
        _ => {}
    }
    if needs_utf8(envelope) && !has(Extension::SmtpUtf8) { Err(Unsendable::Utf8) } else { Ok(()) }
}

/// Whether SMTPUTF8 was asked for, or an address can't do without.
fn needs_utf8(envelope: &Envelope) -> bool {
    envelope.smtputf8 || envelope.has_utf8_address()
}

/// MAIL for a message that passed [`check`], with its line end.
pub(super) fn mail(envelope: &Envelope, capabilities: &Capabilities) -> String {
    let has = |extension| capabilities.has(extension);
    let mut line = format!("MAIL FROM:{}", envelope.reverse_path);
    if let Some(octets) = envelope.declared_octets.filter(|_| has(Extension::Size)) {
        let _ = write!(line, " SIZE={octets}");
    }
    line += match envelope.body {
        BodyType::SevenBit => "",
        BodyType::EightBitMime => " BODY=8BITMIME",
        BodyType::BinaryMime => " BODY=BINARYMIME",
    };
    if needs_utf8(envelope) {
        line += " SMTPUTF8";
    }
    if envelope.requiretls {
        line += " REQUIRETLS";
    }
    if has(Extension::Dsn) {
        line += match envelope.ret {
            None => "",
            Some(Return::Full) => " RET=FULL",
            Some(Return::Headers) => " RET=HDRS",
        };
        if let Some(id) = &envelope.envelope_id {
            let _ = write!(line, " ENVID={}", xtext::encode(id));
        }
    }
    line + "\r\n"
}

/// RCPT, with its line end.
pub(super) fn rcpt(recipient: &Recipient, capabilities: &Capabilities) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.path);
    if capabilities.has(Extension::Dsn) {
        if let Some(notify) = recipient.notify {
            let _ = write!(line, " NOTIFY={}", notify_words(notify));
        }
        if let Some(original) = &recipient.original {
            let _ = write!(line, " ORCPT={}", original_recipient(original));
        }
    }
    line + "\r\n"
}

fn notify_words(notify: Notify) -> String {
    let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let words: Vec<&str> = words.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word).collect();
    if words.is_empty() { "NEVER".to_owned() } else { words.join(",") }
}

/// `addr-type ";" xtext`. Addresses of the type `utf-8` have a form of seven bits, which fits whether the other
/// side has SMTPUTF8 or not (RFC 6533 §3, utf-8-addr-xtext).
fn original_recipient(original: &OriginalRecipient) -> String {
    let OriginalRecipient { address_type, address } = original;
    if &**address_type != "utf-8" {
        return format!("{address_type};{}", xtext::encode(address));
    }
    format!("utf-8;{}", xtext::encode_utf8_address(address))
}
