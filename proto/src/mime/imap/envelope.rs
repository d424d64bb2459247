//! ENVELOPE (RFC 9051 §7.5.2).

use super::super::address::{self, Address};
use super::super::record::PartRef;
use super::super::{FieldName, Limits};
use super::string::{ClientText, encoded_words, nstring, string, text};

/// Appends the envelope of a message: `part` is part 0 or the child of a message part.
pub fn envelope(out: &mut Vec<u8>, part: &PartRef<'_>, client: ClientText) {
    // The fields are stored in the order of their numbers, which is that of the envelope.
    let mut values: [Option<&[u8]>; 11] = [None; 11];
    for (name, value) in part.fields().filter(|(name, _)| name.is_envelope()) {
        values[usize::from(name.code())] = Some(value);
    }
    let value = |name: FieldName| values[usize::from(name.code())];
    out.push(b'(');
    text(out, value(FieldName::Date), client);
    out.push(b' ');
    text(out, value(FieldName::Subject), client);
    let from = list(value(FieldName::From), client);
    for name in [FieldName::From, FieldName::Sender, FieldName::ReplyTo] {
        out.push(b' ');
        // RFC 9051: absent or empty sender and reply-to are the from.
        let own = if name == FieldName::From { None } else { list(value(name), client) };
        match own.as_ref().or(from.as_ref()) {
            Some(list) => out.extend_from_slice(list),
            None => out.extend_from_slice(b"NIL"),
        }
    }
    for name in [FieldName::To, FieldName::Cc, FieldName::Bcc] {
        out.push(b' ');
        out.extend_from_slice(list(value(name), client).as_deref().unwrap_or(b"NIL"));
    }
    for name in [FieldName::InReplyTo, FieldName::MessageId] {
        out.push(b' ');
        text(out, value(name), client);
    }
    out.push(b')');
}

/// An address list in parentheses; none when it has no address.
fn list(value: Option<&[u8]>, client: ClientText) -> Option<Vec<u8>> {
    // The scanner has bounded the list; a group adds an entry for its end.
    let addresses = address::parse(value?, 2 * Limits::DEFAULT.addresses_max);
    if addresses.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(addresses.len() * 48);
    out.push(b'(');
    for address in &addresses {
        write_address(&mut out, address, client);
    }
    out.push(b')');
    Some(out)
}

fn write_address(out: &mut Vec<u8>, address: &Address, client: ClientText) {
    out.push(b'(');
    text(out, address.name.as_deref(), client);
    out.push(b' ');
    nstring(out, address.route.as_deref(), client);
    out.push(b' ');
    text(out, address.mailbox.as_deref(), client);
    out.push(b' ');
    match &address.host {
        Some(host) if client == ClientText::SevenBit && !host.is_ascii() => {
            match std::str::from_utf8(host).ok().and_then(|host| idna::domain_to_ascii(host).ok()) {
                Some(ascii) => string(out, ascii.as_bytes(), client),
                None => string(out, &encoded_words(host), client),
            }
        }
        host => nstring(out, host.as_deref(), client),
    }
    out.push(b')');
}
