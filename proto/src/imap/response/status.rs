//! Status responses, continuation requests, CAPABILITY, ENABLED, ID (RFC 9051 §7.1, §7.2, §7.6).

use data_encoding::BASE64;

use super::super::command::{BadCommand, Extension, Fault, Tag, Utf8};
use super::super::framing::{Outcome, Refused};
use super::{Code, write_nstring, write_string};

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// OK
    Ok,
    /// NO: not done
    No,
    /// BAD: not understood, or not allowed here
    Bad,
}

/// The kind of an untagged status response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// OK
    Ok,
    /// NO
    No,
    /// BAD
    Bad,
    /// BYE: the connection is closed after this
    Bye,
    /// PREAUTH: a greeting to a client that is already known
    PreAuth,
}

/// Appends the answer that ends a command. `text` has to be ASCII without line ends.
pub fn write_tagged(out: &mut Vec<u8>, tag: &Tag, status: Status, code: Option<&Code<'_>>, text: &str) {
    out.extend_from_slice(tag.as_str().as_bytes());
    out.extend_from_slice(match status {
        Status::Ok => b" OK ",
        Status::No => b" NO ",
        Status::Bad => b" BAD ",
    });
    write_text(out, code, text);
}

/// Appends an untagged status response. `text` has to be ASCII without line ends.
pub fn write_untagged(out: &mut Vec<u8>, condition: Condition, code: Option<&Code<'_>>, text: &str) {
    out.extend_from_slice(match condition {
        Condition::Ok => b"* OK ",
        Condition::No => b"* NO ",
        Condition::Bad => b"* BAD ",
        Condition::Bye => b"* BYE ",
        Condition::PreAuth => b"* PREAUTH ",
    });
    write_text(out, code, text);
}

fn write_text(out: &mut Vec<u8>, code: Option<&Code<'_>>, text: &str) {
    debug_assert!(!text.is_empty() && text.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{text:?}");
    if let Some(code) = code {
        out.push(b'[');
        code.write(out);
        out.extend_from_slice(b"] ");
    }
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a continuation request with a text.
pub fn write_continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    write_text(out, None, text);
}

/// Appends a continuation request with a SASL challenge.
pub fn write_continuation_base64(out: &mut Vec<u8>, challenge: &[u8]) {
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(BASE64.encode(challenge).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends the answer to a command that the grammar refused.
pub fn write_bad_command(out: &mut Vec<u8>, bad: &BadCommand) {
    let (status, code, text) = answer(&bad.fault);
    match &bad.tag {
        Some(tag) => write_tagged(out, tag, status, code.as_ref(), text),
        None => write_untagged(out, Condition::Bad, code.as_ref(), text),
    }
}

/// Appends the answer to input that the framer refused: BYE when the connection has to be closed.
pub fn write_refused(out: &mut Vec<u8>, refused: &Refused) {
    let (_, code, text) = answer(&refused.fault);
    match (&refused.tag, refused.outcome) {
        (Some(tag), Outcome::Continues) => write_tagged(out, tag, Status::Bad, code.as_ref(), text),
        (None, Outcome::Continues) => write_untagged(out, Condition::Bad, code.as_ref(), text),
        (_, Outcome::Closes) => write_untagged(out, Condition::Bye, code.as_ref(), text),
    }
}

/// The one place that says on the wire why a command is refused.
fn answer(fault: &Fault) -> (Status, Option<Code<'static>>, &'static str) {
    match fault {
        Fault::Syntax(text) => (Status::Bad, None, text),
        Fault::UnknownCommand => (Status::Bad, None, "unknown command"),
        Fault::Limit(text) => (Status::No, Some(Code::Limit), text),
        Fault::TooBig(text) => (Status::Bad, Some(Code::TooBig), text),
        Fault::Charset => (Status::No, Some(Code::BadCharset), "charset is not supported"),
        Fault::Event => (Status::No, Some(Code::BadEvent), "event is not supported"),
        Fault::SpecialUse => (Status::No, Some(Code::UseAttr), "special use is not supported"),
    }
}

/// Appends CAPABILITY; `names` are separated by spaces.
pub fn write_capability(out: &mut Vec<u8>, names: &str) {
    out.extend_from_slice(b"* ");
    Code::Capability(names).write(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends ENABLED (RFC 5161 §3.2).
pub fn write_enabled(out: &mut Vec<u8>, extensions: &[Extension]) {
    out.extend_from_slice(b"* ENABLED");
    for extension in extensions {
        out.push(b' ');
        out.extend_from_slice(extension.name().as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends ID (RFC 2971 §3.2); NIL without fields.
pub fn write_id(out: &mut Vec<u8>, fields: &[(&str, Option<&str>)]) {
    out.extend_from_slice(b"* ID ");
    if fields.is_empty() {
        out.extend_from_slice(b"NIL");
    }
    for (index, (field, value)) in fields.iter().enumerate() {
        out.push(if index == 0 { b'(' } else { b' ' });
        write_string(out, Utf8::Off, field.as_bytes());
        out.push(b' ');
        write_nstring(out, Utf8::Off, value.map(str::as_bytes));
    }
    out.extend_from_slice(if fields.is_empty() { b"\r\n" } else { b")\r\n" });
}
