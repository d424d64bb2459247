//! ENVELOPE (RFC 9051 §7.5.2).

use super::super::address::{self, Address, plain};
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
    out.push(b' ');
    let from = out.len();
    list(out, value(FieldName::From), client);
    let from = from..out.len();
    for name in [FieldName::Sender, FieldName::ReplyTo] {
        out.push(b' ');
        // RFC 9051: absent or empty sender and reply-to are the from.
        if !list(out, value(name), client) {
            out.truncate(out.len() - NIL.len());
            out.extend_from_within(from.clone());
        }
    }
    for name in [FieldName::To, FieldName::Cc, FieldName::Bcc] {
        out.push(b' ');
        list(out, value(name), client);
    }
    for name in [FieldName::InReplyTo, FieldName::MessageId] {
        out.push(b' ');
        text(out, value(name), client);
    }
    out.push(b')');
}

const NIL: &[u8] = b"NIL";

/// Appends an address list in parentheses, or NIL and says false when it has no address.
fn list(out: &mut Vec<u8>, value: Option<&[u8]>, client: ClientText) -> bool {
    let Some(value) = value else {
        out.extend_from_slice(NIL);
        return false;
    };
    if plain_list(out, value) {
        return true;
    }
    // The scanner has bounded the list; a group adds an entry for its end.
    let addresses = address::parse(value, 2 * Limits::DEFAULT.addresses_max);
    if addresses.is_empty() {
        out.extend_from_slice(NIL);
        return false;
    }
    out.push(b'(');
    for address in &addresses {
        write_address(out, address, client);
    }
    out.push(b')');
    true
}

/// Appends a list of plain addresses: all of it, or nothing and says false.
fn plain_list(out: &mut Vec<u8>, value: &[u8]) -> bool {
    let start = out.len();
    let mut rest = value;
    let mut addresses = 0;
    out.push(b'(');
    loop {
        let Some((address, behind)) = plain::first(rest) else {
            out.truncate(start);
            return false;
        };
        addresses += 1;
        if addresses > Limits::DEFAULT.addresses_max {
            out.truncate(start);
            return false;
        }
        out.push(b'(');
        match address.name {
            // Neither quotes nor backslashes are in it.
            Some(name) => quoted(out, name),
            None => out.extend_from_slice(NIL),
        }
        out.extend_from_slice(b" NIL ");
        quoted(out, address.mailbox);
        out.push(b' ');
        quoted(out, address.host);
        out.push(b')');
        if behind.is_empty() {
            out.push(b')');
            return true;
        }
        rest = behind;
    }
}

/// Appends printable ASCII without quotes and backslashes.
fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
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
