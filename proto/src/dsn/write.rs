//! Composing a report as a message.
//!
//! Always holds: the message has CR and LF only as CR LF, no line over 998 octets, and no eight-bit octet outside the
//! text for a person unless the report may have UTF-8; no text of a peer ends a field early.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::text::{self, shown};
use super::{Action, Recipient, Report, TypedAddress};
use crate::address::Address;
use crate::smtp::trace::date;
use crate::smtp::xtext;

/// Columns after which fields are folded at a space.
const COLUMNS: usize = 78;
/// Octets of a word after which it is cut in two.
const WORD_OCTETS_MAX: usize = 900;

/// What of the message comes back (RFC 3461 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returned {
    /// Nothing, for example because it isn't there any more.
    Nothing,
    /// The header.
    Headers,
    /// All of it.
    Full,
}

/// What the message around a report says.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    /// Whom it goes to.
    pub to: &'a Address,
    /// None when that is the sender of the message that it is about; otherwise the sender's address, which is empty for
    /// the null sender.
    pub sender: Option<&'a str>,
    /// When it is written, in seconds since 1970.
    pub now: i64,
    /// What nobody can know before, of letters and digits: from it come the Message-ID and the boundary, and a
    /// message that could name the boundary could forge a part.
    pub unique: &'a str,
    /// The Message-ID of the message that it is about, with its angle brackets.
    pub about: Option<&'a str>,
    /// The subject of that message, decoded.
    pub subject: Option<&'a str>,
    /// What comes back.
    pub returned: Returned,
}

/// A report around what comes back. Between the two goes the header of the message, with the empty line behind it,
/// or the whole message, each with lines that end in CR LF; nothing for [`Returned::Nothing`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Composed {
    /// What stands before it.
    pub before: String,
    /// What stands after it.
    pub after: String,
}

/// Composes a report.
#[must_use]
pub fn compose(report: &Report, letter: &Letter<'_>) -> Composed {
    let unique: String = letter.unique.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let boundary = format!("=_report_{unique}");
    let host = shown(&report.reporting_mta, report.utf8);
    let mut before = String::new();
    let mut field = |name: &str, value: &str| fold(&mut before, name, value, report.utf8);
    field("From", &format!("Mail Delivery System <postmaster@{host}>"));
    field("To", &format!("<{}>", letter.to));
    field("Subject", subject(report, letter));
    field("Date", &date(letter.now));
    field("Message-ID", &format!("<report.{unique}@{host}>"));
    if let Some(id) = letter.about.filter(|id| is_message_id(id)) {
        field("In-Reply-To", id);
        field("References", id);
    }
    // RFC 3834 §3.1.7: a report is a reply, to which nobody replies.
    field("Auto-Submitted", "auto-replied");
    field("MIME-Version", "1.0");
    field("Content-Type", &format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\""));
    let text = text::text(report, letter);
    // RFC 2045 §6.4: as one of its parts says, below.
    if report.utf8 || letter.returned != Returned::Nothing || !text.is_ascii() {
        field("Content-Transfer-Encoding", "8bit");
    }
    let _ = write!(before, "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n");
    let _ = write!(before, "Content-Transfer-Encoding: {}\r\n\r\n{text}", encoding(&text));
    let kind = if report.utf8 { "global-delivery-status" } else { "delivery-status" };
    let status = status(report);
    let _ = write!(before, "\r\n--{boundary}\r\nContent-Type: message/{kind}\r\n");
    let _ = write!(before, "Content-Transfer-Encoding: {}\r\n\r\n{status}", encoding(&status));
    let media_type = match (letter.returned, report.utf8) {
        (Returned::Nothing, _) => {
            return Composed { before, after: format!("\r\n--{boundary}--\r\n") };
        }
        (Returned::Headers, false) => "text/rfc822-headers",
        (Returned::Headers, true) => "message/global-headers",
        (Returned::Full, false) => "message/rfc822",
        (Returned::Full, true) => "message/global",
    };
    let _ = write!(before, "\r\n--{boundary}\r\nContent-Type: {media_type}\r\n");
    // What it holds isn't known here: 8bit is true of all lines (RFC 2045 §6.2).
    before += "Content-Transfer-Encoding: 8bit\r\n\r\n";
    Composed { before, after: format!("\r\n--{boundary}--\r\n") }
}

fn encoding(text: &str) -> &'static str {
    if text.is_ascii() { "7bit" } else { "8bit" }
}

fn subject(report: &Report, letter: &Letter<'_>) -> &'static str {
    if letter.sender.is_some() {
        return "A message could not be delivered";
    }
    match report.recipients.iter().map(|recipient| recipient.action).min() {
        Some(Action::Failed) => "Your message could not be delivered",
        Some(Action::Delayed) => "Your message is delayed",
        Some(Action::Delivered) => "Your message was delivered",
        Some(Action::Relayed) => "Your message was passed on",
        Some(Action::Expanded) | None => "Your message was delivered to a list",
    }
}

/// The fields of the message and of its recipients (RFC 3464 §2.1), each group with an empty line before it but
/// the first.
fn status(report: &Report) -> String {
    let mut out = String::new();
    let utf8 = report.utf8;
    if let Some(id) = &report.envelope_id {
        fold(&mut out, "Original-Envelope-Id", id, utf8);
    }
    // RFC 3461 §6.3: `dns` is for names of the DNS alone.
    let name = &*report.reporting_mta;
    let is_address = name.starts_with('[') || name.parse::<IpAddr>().is_ok();
    let kind = if is_address { "x-local-hostname" } else { "dns" };
    fold(&mut out, "Reporting-MTA", &format!("{kind}; {name}"), utf8);
    if let Some(arrival) = report.arrival {
        fold(&mut out, "Arrival-Date", &date(arrival), utf8);
    }
    if let Some(wish) = &report.future_release {
        fold(&mut out, "Future-Release-Request", wish, utf8);
    }
    for recipient in &report.recipients {
        out += "\r\n";
        recipient_fields(recipient, utf8, &mut out);
    }
    out
}

fn recipient_fields(recipient: &Recipient, utf8: bool, out: &mut String) {
    let mut field = |name: &str, value: &str| fold(out, name, value, utf8);
    if let Some(original) = &recipient.original {
        field("Original-Recipient", &typed(original, utf8));
    }
    field("Final-Recipient", &typed(&recipient.address, utf8));
    field("Action", recipient.action.name());
    match &recipient.reason {
        Some(reason) => {
            // A comment must not end before its end.
            let reason = reason.replace(['(', '['], "[").replace([')', ']'], "]").replace('\\', "/");
            field("Status", &format!("{} ({reason})", recipient.status));
        }
        None => field("Status", &recipient.status.to_string()),
    }
    if let Some(name) = &recipient.remote_mta {
        field("Remote-MTA", &format!("dns; {name}"));
    }
    if let Some(diagnostic) = &recipient.diagnostic {
        field("Diagnostic-Code", &format!("{}; {}", diagnostic.kind, diagnostic.text));
    }
    if let Some(time) = recipient.last_attempt {
        field("Last-Attempt-Date", &date(time));
    }
    if let Some(time) = recipient.will_retry_until.filter(|_| recipient.action == Action::Delayed) {
        field("Will-Retry-Until", &date(time));
    }
}

/// `type; address`, in seven bits where it must be (RFC 6533 §3).
fn typed(address: &TypedAddress, utf8: bool) -> String {
    let TypedAddress { address_type, address } = address;
    match &**address_type {
        "utf-8" if !utf8 => format!("utf-8; {}", xtext::encode_utf8_address(address)),
        _ => format!("{address_type}; {address}"),
    }
}

/// Whether a text may stand in a field as a message id (RFC 5322 §3.6.4).
fn is_message_id(text: &str) -> bool {
    let inside = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    inside.is_some_and(|inside| {
        (1..=500).contains(&inside.len())
            && inside.bytes().all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'<' | b'>'))
    })
}

/// Writes a field, folded at spaces, with what no field may hold taken out.
fn fold(out: &mut String, name: &str, value: &str, utf8: bool) {
    out.push_str(name);
    out.push(':');
    let mut column = name.len() + 1;
    let value = shown(value, utf8);
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        for (number, piece) in pieces(word).enumerate() {
            if number > 0 || (column + 1 + piece.len() > COLUMNS && column > name.len() + 1) {
                out.push_str("\r\n\t");
                column = 1;
            } else {
                out.push(' ');
                column += 1;
            }
            out.push_str(piece);
            column += piece.len();
        }
    }
    out.push_str("\r\n");
}

/// A word in pieces that fit a line.
pub(super) fn pieces(mut word: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = word.floor_char_boundary(WORD_OCTETS_MAX);
        let (piece, rest) = word.split_at(end);
        word = rest;
        (!piece.is_empty()).then_some(piece)
    })
}
