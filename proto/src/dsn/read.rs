//! Reading of reports that others send.
//!
//! Kind to what is seen in the wild: fields in any order and case, addresses without a type, comments, statuses
//! that disagree; a group that says of no address what became of it is passed over.

use super::{Action, Diagnostic, Recipient, Report, TypedAddress};
use crate::mime::decode::{TransferEncoding, decode};
use crate::mime::header::{fields, message_id, sent, unfold};
use crate::mime::parameter::MediaType;
use crate::mime::scan::Scanner;
use crate::mime::{FieldName, Kind, Limits, Part, Structure};
use crate::smtp::client::EnhancedCode;
use crate::smtp::client::reply::harmless;
use crate::smtp::xtext;

/// Octets of the part with the fields that are looked at.
pub const STATUS_OCTETS_MAX: usize = 1 << 20;
/// Recipients of a report.
pub const RECIPIENTS_MAX: usize = 1000;
/// Octets of a field that are kept.
const FIELD_OCTETS_MAX: usize = 2048;
/// Octets of a returned header in which the Message-ID is looked for.
const HEADER_OCTETS_MAX: usize = 256 * 1024;

/// Where the fields of a report are in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusPart {
    /// Where they start, in octets from the start of the message.
    pub start: u64,
    /// Where they end.
    pub end: u64,
    /// How they are encoded.
    pub encoding: TransferEncoding,
    /// Whether they may be UTF-8.
    pub utf8: bool,
}

/// A report, and which message it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// What is reported.
    pub report: Report,
    /// The Message-ID of the message, if its header came with the report; without angle brackets.
    pub message_id: Option<Vec<u8>>,
}

/// Finds the report in a message: a multipart/report with a part for machines (RFC 3464 §2). None in any
/// other message.
#[must_use]
pub fn find(structure: &Structure) -> Option<StatusPart> {
    let root = structure.root();
    let media = MediaType::parse(root.field(FieldName::ContentType)?)?;
    if root.kind != Kind::Multipart || !media.is("multipart", "report") {
        return None;
    }
    let kind = media.parameter("report-type");
    if kind.is_some_and(|kind| !kind.trim_ascii().eq_ignore_ascii_case(b"delivery-status")) {
        return None;
    }
    children(structure).find_map(|part| {
        let media = MediaType::parse(part.field(FieldName::ContentType)?)?;
        let utf8 = media.is("message", "global-delivery-status");
        let is_status = utf8 || media.is("message", "delivery-status");
        let encoding = part.field(FieldName::ContentTransferEncoding).unwrap_or_default();
        let encoding = TransferEncoding::parse(encoding);
        is_status.then_some(StatusPart { start: part.body_start, end: part.end, encoding, utf8 })
    })
}

/// The parts right within the message.
fn children(structure: &Structure) -> impl Iterator<Item = &Part> {
    structure.parts.iter().filter(|part| part.parent == Some(0))
}

/// Reads a whole message; none when it is no report.
#[must_use]
pub fn read(message: &[u8]) -> Option<Incoming> {
    let mut scanner = Scanner::new(Limits::DEFAULT);
    scanner.push(message);
    let structure = scanner.finish();
    let part = find(&structure)?;
    let range = |start: u64, end: u64| message.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?);
    let report = parse(range(part.start, part.end)?, &part)?;
    let returned = returned_header(&structure).and_then(|(start, end)| range(start, end));
    Some(Incoming { report, message_id: returned.and_then(message_id_of) })
}

/// Where the header of the returned message is.
fn returned_header(structure: &Structure) -> Option<(u64, u64)> {
    let message = structure.parts.iter().skip(1).find(|part| part.is_message);
    let header = message.map(|part| (part.header_start, part.body_start));
    header.or_else(|| {
        let is_header = |part: &&Part| {
            let media = part.field(FieldName::ContentType).and_then(MediaType::parse);
            media.is_some_and(|media| {
                media.is("text", "rfc822-headers") || media.is("message", "global-headers")
            })
        };
        children(structure).find(is_header).map(|part| (part.body_start, part.end))
    })
}

fn message_id_of(header: &[u8]) -> Option<Vec<u8>> {
    let header = &header[..header.len().min(HEADER_OCTETS_MAX)];
    let value = crate::mime::header::first(header, "Message-ID")?;
    message_id(value)
}

/// Reads the part with the fields, as it stands in the message. None without a recipient.
#[must_use]
pub fn parse(octets: &[u8], part: &StatusPart) -> Option<Report> {
    let octets = &octets[..octets.len().min(STATUS_OCTETS_MAX)];
    let decoded = decode(part.encoding, octets)?;
    let mut report = Report {
        reporting_mta: "".into(),
        arrival: None,
        envelope_id: None,
        future_release: None,
        recipients: Vec::new(),
        utf8: part.utf8,
    };
    for group in Groups(&decoded) {
        if report.recipients.len() == RECIPIENTS_MAX {
            break;
        }
        let mut found = Found::default();
        for field in fields(group) {
            let value = unfold(field.value);
            let value = &value[..value.len().min(FIELD_OCTETS_MAX)];
            let value = harmless(String::from_utf8_lossy(value).trim());
            per_message(&mut report, field.name, &value);
            found.field(field.name, &value);
        }
        report.recipients.extend(found.recipient());
    }
    (!report.recipients.is_empty()).then_some(report)
}

/// Groups of fields, with empty lines between them.
struct Groups<'a>(&'a [u8]);

impl<'a> Iterator for Groups<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some(rest) = self.0.strip_prefix(b"\r\n").or_else(|| self.0.strip_prefix(b"\n")) {
            self.0 = rest;
        }
        if self.0.is_empty() {
            return None;
        }
        let mut end = 0;
        for line in self.0.split_inclusive(|octet| *octet == b'\n') {
            if matches!(line, b"\r\n" | b"\n") {
                break;
            }
            end += line.len();
        }
        let (group, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(group)
    }
}

/// Takes a field that is about the whole message. The first of a name counts.
fn per_message(report: &mut Report, name: &[u8], value: &str) {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if is("Reporting-MTA") && report.reporting_mta.is_empty() {
        report.reporting_mta = after_type(value).into();
    } else if is("Arrival-Date") && report.arrival.is_none() {
        report.arrival = sent(value.as_bytes());
    } else if is("Original-Envelope-Id") && report.envelope_id.is_none() {
        report.envelope_id = Some(value.into());
    } else if is("Future-Release-Request") && report.future_release.is_none() {
        report.future_release = Some(value.into());
    }
}

/// What stands behind `type;`, or all.
fn after_type(value: &str) -> &str {
    value.split_once(';').map_or(value, |(_, name)| name).trim()
}

/// What a group says.
#[derive(Default)]
struct Found {
    original: Option<TypedAddress>,
    address: Option<TypedAddress>,
    action: Option<Action>,
    status: Option<EnhancedCode>,
    reason: Option<Box<str>>,
    remote_mta: Option<Box<str>>,
    diagnostic: Option<Diagnostic>,
    last_attempt: Option<i64>,
    will_retry_until: Option<i64>,
}

impl Found {
    /// Takes a field. The first of a name counts.
    fn field(&mut self, name: &[u8], value: &str) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("Final-Recipient") {
            self.address = self.address.take().or_else(|| typed(value));
        } else if is("Original-Recipient") {
            self.original = self.original.take().or_else(|| typed(value));
        } else if is("Action") {
            let word = value.split([' ', '(', ';']).next().unwrap_or_default();
            self.action = self.action.or_else(|| Action::parse(word));
        } else if is("Status") && self.status.is_none() {
            let (code, comment) = value.split_once([' ', '(']).unwrap_or((value, ""));
            self.status = EnhancedCode::parse(code);
            let comment = comment.trim().trim_start_matches('(').trim_end_matches(')');
            self.reason = (!comment.is_empty()).then(|| comment.into());
        } else if is("Remote-MTA") {
            self.remote_mta.get_or_insert_with(|| after_type(value).into());
        } else if is("Diagnostic-Code") {
            self.diagnostic.get_or_insert_with(|| diagnostic(value));
        } else if is("Last-Attempt-Date") {
            self.last_attempt = self.last_attempt.or_else(|| sent(value.as_bytes()));
        } else if is("Will-Retry-Until") {
            self.will_retry_until = self.will_retry_until.or_else(|| sent(value.as_bytes()));
        }
    }

    /// The recipient, when address and action are known. A status that is missing or none is taken from what the
    /// server said, or says no more than the action.
    fn recipient(self) -> Option<Recipient> {
        let action = self.action?;
        let address = self.address.or_else(|| self.original.clone())?;
        let said = self.diagnostic.as_ref().and_then(Diagnostic::enhanced);
        let class = match action {
            Action::Failed => 5,
            Action::Delayed => 4,
            Action::Delivered | Action::Relayed | Action::Expanded => 2,
        };
        let unknown = EnhancedCode { class, subject: 0, detail: 0 };
        Some(Recipient {
            original: self.original,
            address,
            action,
            status: self.status.or(said).unwrap_or(unknown),
            reason: self.reason,
            remote_mta: self.remote_mta,
            diagnostic: self.diagnostic,
            attempts: 0,
            last_attempt: self.last_attempt,
            next_attempt: None,
            will_retry_until: self.will_retry_until,
        })
    }
}

/// `type; address`, where the type may be missing and the address may be in angle brackets.
fn typed(value: &str) -> Option<TypedAddress> {
    let (address_type, address) = value.split_once(';').unwrap_or(("rfc822", value));
    let address_type = address_type.trim().to_ascii_lowercase();
    let address = address.trim();
    let address = address.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(address);
    let decoded = if address_type == "utf-8" { xtext::decode_utf8_address(address) } else { None };
    let address: Box<str> = decoded.map_or_else(|| address.into(), Into::into);
    (!address.is_empty()).then(|| TypedAddress { address_type: address_type.into(), address })
}

/// `type; text`, where the type may be missing.
fn diagnostic(value: &str) -> Diagnostic {
    let is_type = |text: &str| {
        !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    };
    match value.split_once(';') {
        Some((kind, text)) if is_type(kind.trim()) => {
            Diagnostic { kind: kind.trim().to_ascii_lowercase().into(), text: text.trim().into() }
        }
        _ => Diagnostic { kind: "smtp".into(), text: value.into() },
    }
}
