//! Reading aggregate reports: kind to what reporters do to the schema, and strict about sizes.
//!
//! Namespaces, order, case of names and what the schema doesn't know are passed over; of what should stand there once,
//! the first counts. A document type is refused, so that nothing is ever expanded but the five entities of XML.

use std::borrow::Cow;

use quick_xml::Reader as XmlReader;
use quick_xml::events::{BytesRef, Event};

use super::{
    AuthResult, Disposition, DkimResult, Outcome, OverrideType, PublishedPolicy, Reason, Record, Report,
    SpfResult, SpfScope,
};
use crate::dmarc::Alignment;
use crate::smtp::client::reply::harmless;

/// Octets of a report, as XML.
pub const REPORT_OCTETS_MAX: usize = 16 << 20;
/// Records of a report.
pub const RECORDS_MAX: usize = 20_000;
/// Results, reasons and errors of a report, all records together.
pub const PARTS_MAX: usize = 100_000;
/// Octets of a text that are kept.
pub const TEXT_OCTETS_MAX: usize = 1024;
/// Results of one kind, or reasons, of a record that are kept (RFC 9990 §3.1.3 has no more signatures).
const LIST_MAX: usize = 100;
/// Elements in each other.
const DEPTH_MAX: usize = 24;
/// Tags, texts and references of a report: more than so many records of some thirty elements have.
const EVENTS_MAX: usize = 3_000_000;
/// What no time in seconds is: it would be in the year 5138.
const SECONDS_MAX: i64 = 100_000_000_000;

/// Why a report can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is larger than is looked at, or has too many entries.
    #[error("the report is too large")]
    TooLarge,
    /// Elements lie too deep in each other.
    #[error("the report is nested too deeply")]
    TooDeep,
    /// It has a document type.
    #[error("the report has a document type")]
    Doctype,
    /// It is cut off.
    #[error("the report is cut off")]
    CutOff,
    /// It is no XML.
    #[error("the report is not XML: {0}")]
    Syntax(#[from] quick_xml::Error),
    /// It lacks what it can't do without.
    #[error("the report has no {0}")]
    Missing(&'static str),
}

/// Names of elements that say something. `identities` is what a draft called `identifiers`.
const NAMES: [&str; 44] = [
    "adkim",
    "aspf",
    "auth_results",
    "begin",
    "comment",
    "count",
    "date_range",
    "discovery_method",
    "disposition",
    "dkim",
    "domain",
    "email",
    "end",
    "envelope_from",
    "envelope_to",
    "error",
    "extra_contact_info",
    "feedback",
    "fo",
    "generator",
    "header_from",
    "human_result",
    "identifiers",
    "identities",
    "np",
    "org_name",
    "p",
    "pct",
    "policy_evaluated",
    "policy_published",
    "reason",
    "record",
    "report_id",
    "report_metadata",
    "result",
    "row",
    "scope",
    "selector",
    "source_ip",
    "sp",
    "spf",
    "testing",
    "type",
    "version",
];

impl Report {
    /// Reads XML. Beyond 1 MiB it takes milliseconds, and half a second at most.
    pub fn parse(xml: &[u8]) -> Result<Self, ReportError> {
        if xml.len() > REPORT_OCTETS_MAX {
            return Err(ReportError::TooLarge);
        }
        let xml = decode(xml);
        let mut reader = XmlReader::from_str(&xml);
        let config = reader.config_mut();
        config.allow_dangling_amp = true;
        config.expand_empty_elements = true;
        let mut draft = Draft::default();
        for _ in 0..EVENTS_MAX {
            match reader.read_event()? {
                Event::Start(start) => draft.open(start.name().as_ref())?,
                Event::End(_) => {
                    if draft.close() {
                        return draft.finish();
                    }
                }
                Event::Text(text) => draft.add(&text),
                Event::CData(text) => draft.add(&text),
                Event::GeneralRef(reference) => draft.add(&resolve(&reference)),
                Event::DocType(_) => return Err(ReportError::Doctype),
                Event::Eof if draft.path.is_empty() => return Err(ReportError::Missing("feedback")),
                Event::Eof => return Err(ReportError::CutOff),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
        Err(ReportError::TooLarge)
    }
}

/// The text of a document in UTF-8, or in UTF-16 with its mark. Of other encodings what isn't ASCII is lost.
fn decode(xml: &[u8]) -> Cow<'_, str> {
    match encoding_rs::Encoding::for_bom(xml) {
        Some((encoding, mark)) => encoding.decode_without_bom_handling(xml.get(mark..).unwrap_or_default()).0,
        None => String::from_utf8_lossy(xml),
    }
}

/// The character that a reference stands for; what XML doesn't define stays as it is.
fn resolve(reference: &BytesRef<'_>) -> String {
    let name: &str = reference;
    let number = name.strip_prefix('#').and_then(|number| match number.strip_prefix(['x', 'X']) {
        Some(number) => u32::from_str_radix(number, 16).ok(),
        None => number.parse().ok(),
    });
    let character = match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => number.and_then(char::from_u32),
    };
    character.map_or_else(|| format!("&{name};"), String::from)
}

/// The text as it is kept: without blanks around it and without what could hide or break a line.
pub(super) fn clean(text: &str) -> Box<str> {
    if text.is_empty() {
        return "".into();
    }
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let text = harmless(&words.join(" ")).replace(['\u{fffe}', '\u{ffff}'], "?");
    text[..text.floor_char_boundary(TEXT_OCTETS_MAX)].trim_end().into()
}

/// What has been read so far.
#[derive(Default)]
struct Draft {
    /// The elements that are open, from `feedback` on; one that says nothing has no name.
    path: Vec<&'static str>,
    /// How many are open around it. Some begin with the schema, which they never end.
    outside: usize,
    /// The text of the innermost one.
    text: String,
    organization_name: Option<Box<str>>,
    email: Option<Box<str>>,
    extra_contact_info: Option<Box<str>>,
    report_id: Option<Box<str>>,
    begin: Option<i64>,
    end: Option<i64>,
    errors: Vec<Box<str>>,
    generator: Option<Box<str>>,
    domain: Option<Box<str>>,
    policy: PublishedPolicy,
    records: Vec<Record>,
    record: DraftRecord,
    parts: usize,
}

#[derive(Default)]
struct DraftRecord {
    source: Option<std::net::IpAddr>,
    count: Option<u64>,
    disposition: Option<Disposition>,
    dkim: Option<Outcome>,
    spf: Option<Outcome>,
    reasons: Vec<Reason>,
    header_from: Option<Box<str>>,
    envelope_from: Option<Box<str>>,
    envelope_to: Option<Box<str>>,
    dkim_results: Vec<DkimResult>,
    spf_results: Vec<SpfResult>,
    part: Part,
}

/// A result or a reason that is being read.
#[derive(Default)]
struct Part {
    name: Option<Box<str>>,
    selector: Option<Box<str>>,
    scope: Option<SpfScope>,
    result: Option<AuthResult>,
    human: Option<Box<str>>,
}

impl Draft {
    fn open(&mut self, name: &str) -> Result<(), ReportError> {
        if self.outside + self.path.len() == DEPTH_MAX {
            return Err(ReportError::TooDeep);
        }
        let local = name.rsplit(':').next().unwrap_or_default();
        let known = NAMES.iter().find(|known| known.eq_ignore_ascii_case(local));
        let known = known.map_or("", |known| if *known == "identities" { "identifiers" } else { known });
        self.text.clear();
        if self.path.is_empty() && known != "feedback" {
            self.outside += 1;
            return Ok(());
        }
        self.path.push(known);
        match self.path[..] {
            ["feedback", "record"] if self.records.len() == RECORDS_MAX => return Err(ReportError::TooLarge),
            ["feedback", "record"] => self.record = DraftRecord::default(),
            ["feedback", "record", "auth_results", "dkim" | "spf"]
            | ["feedback", "record", "row", "policy_evaluated", "reason"]
            | ["feedback", "report_metadata", "error"] => {
                if self.parts == PARTS_MAX {
                    return Err(ReportError::TooLarge);
                }
                self.record.part = Part::default();
                self.parts += 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds to the text, of which more than is kept is wanted only for the blanks in it.
    fn add(&mut self, text: &str) {
        let room = (4 * TEXT_OCTETS_MAX).saturating_sub(self.text.len());
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
    }

    /// Closes the innermost element; whether that was `feedback`.
    fn close(&mut self) -> bool {
        if self.path.is_empty() {
            self.outside = self.outside.saturating_sub(1);
            return false;
        }
        let is_known = self.path.last().is_some_and(|name| !name.is_empty());
        let text = if is_known { clean(&self.text) } else { "".into() };
        self.text.clear();
        let mut path = std::mem::take(&mut self.path);
        match &path[..] {
            ["feedback", "report_metadata", rest @ ..] => self.close_metadata(rest, text),
            ["feedback", "policy_published", name] => self.close_policy(name, text),
            ["feedback", "record"] => {
                let record = std::mem::take(&mut self.record);
                self.records.push(record.finish());
            }
            ["feedback", "record", rest @ ..] => self.record.close(rest, text),
            _ => {}
        }
        path.pop();
        self.path = path;
        self.path.is_empty()
    }

    fn close_metadata(&mut self, path: &[&str], text: Box<str>) {
        match path {
            ["org_name"] => first(&mut self.organization_name, text),
            ["email"] => first(&mut self.email, text),
            ["extra_contact_info"] => first(&mut self.extra_contact_info, text),
            ["report_id"] => first(&mut self.report_id, text),
            ["generator"] => first(&mut self.generator, text),
            ["error"] if !text.is_empty() && self.errors.len() < LIST_MAX => self.errors.push(text),
            ["date_range", "begin"] => self.begin = self.begin.or_else(|| time(&text)),
            ["date_range", "end"] => self.end = self.end.or_else(|| time(&text)),
            _ => {}
        }
    }

    fn close_policy(&mut self, name: &str, text: Box<str>) {
        let policy = &mut self.policy;
        match name {
            "domain" => first(&mut self.domain, text),
            "p" => first_word(&mut policy.policy, &text, Disposition::parse),
            "sp" => first_word(&mut policy.subdomain_policy, &text, Disposition::parse),
            "np" => first_word(&mut policy.nonexistent_policy, &text, Disposition::parse),
            "adkim" => policy.dkim_alignment = policy.dkim_alignment.or_else(|| alignment(&text)),
            "aspf" => policy.spf_alignment = policy.spf_alignment.or_else(|| alignment(&text)),
            "pct" => policy.percent = policy.percent.or_else(|| text.parse().ok()),
            "fo" => first(&mut policy.failure_options, text),
            "testing" => policy.testing = policy.testing.or_else(|| testing(&text)),
            "discovery_method" => first(&mut policy.discovery_method, text),
            _ => {}
        }
    }

    fn finish(self) -> Result<Report, ReportError> {
        let domain = self.domain.ok_or(ReportError::Missing("policy domain"))?;
        Ok(Report {
            organization_name: self.organization_name.unwrap_or_default(),
            email: self.email.unwrap_or_default(),
            extra_contact_info: self.extra_contact_info,
            report_id: self.report_id.unwrap_or_default(),
            begin: self.begin.ok_or(ReportError::Missing("begin of its date range"))?,
            end: self.end.ok_or(ReportError::Missing("end of its date range"))?,
            errors: self.errors,
            generator: self.generator,
            policy: PublishedPolicy { domain, ..self.policy },
            records: self.records,
        })
    }
}

impl DraftRecord {
    fn close(&mut self, path: &[&str], text: Box<str>) {
        let part = &mut self.part;
        match path {
            ["row", "source_ip"] => self.source = self.source.or_else(|| text.parse().ok()),
            ["row", "count"] => self.count = self.count.or_else(|| text.parse().ok()),
            ["row", "policy_evaluated", "disposition"] => {
                first_word(&mut self.disposition, &text, Disposition::parse);
            }
            ["row", "policy_evaluated", "dkim"] => first_word(&mut self.dkim, &text, Outcome::parse),
            ["row", "policy_evaluated", "spf"] => first_word(&mut self.spf, &text, Outcome::parse),
            ["row", "policy_evaluated", "reason", "type"] => first(&mut part.name, text),
            ["row", "policy_evaluated", "reason", "comment"] => first(&mut part.human, text),
            ["row", "policy_evaluated", "reason"] => self.close_reason(),
            ["identifiers", "header_from"] => first(&mut self.header_from, text),
            // The null path is said by an empty one.
            ["identifiers", "envelope_from"] => self.envelope_from = self.envelope_from.take().or(Some(text)),
            ["identifiers", "envelope_to"] => first(&mut self.envelope_to, text),
            ["auth_results", "dkim" | "spf", "domain"] => first(&mut part.name, text),
            ["auth_results", "dkim" | "spf", "result"] => first_word(&mut part.result, &text, auth_result),
            ["auth_results", "dkim" | "spf", "human_result"] => first(&mut part.human, text),
            ["auth_results", "dkim", "selector"] => first(&mut part.selector, text),
            ["auth_results", "spf", "scope"] => first_word(&mut part.scope, &text, SpfScope::parse),
            ["auth_results", "dkim"] => self.close_dkim(),
            ["auth_results", "spf"] => self.close_spf(),
            _ => {}
        }
    }

    fn close_reason(&mut self) {
        let Part { name, human, .. } = std::mem::take(&mut self.part);
        // Some write an empty one for each message.
        if (name.is_some() || human.is_some()) && self.reasons.len() < LIST_MAX {
            let kind = OverrideType::parse(&name.unwrap_or_default().to_lowercase());
            self.reasons.push(Reason { kind, comment: human });
        }
    }

    fn close_dkim(&mut self) {
        let Part { name, selector, result, human, .. } = std::mem::take(&mut self.part);
        if (name.is_some() || result.is_some()) && self.dkim_results.len() < LIST_MAX {
            self.dkim_results.push(DkimResult {
                domain: name.unwrap_or_default(),
                selector,
                result: result.unwrap_or(AuthResult::Other("".into())),
                human_result: human,
            });
        }
    }

    fn close_spf(&mut self) {
        let Part { name, scope, result, human, .. } = std::mem::take(&mut self.part);
        if (name.is_some() || result.is_some()) && self.spf_results.len() < LIST_MAX {
            self.spf_results.push(SpfResult {
                domain: name.unwrap_or_default(),
                scope,
                result: result.unwrap_or(AuthResult::Other("".into())),
                human_result: human,
            });
        }
    }

    fn finish(self) -> Record {
        Record {
            source: self.source,
            count: self.count.unwrap_or(0),
            disposition: self.disposition.unwrap_or(Disposition::Other("".into())),
            dkim: self.dkim.unwrap_or(Outcome::Other("".into())),
            spf: self.spf.unwrap_or(Outcome::Other("".into())),
            reasons: self.reasons,
            header_from: self.header_from.unwrap_or_default(),
            envelope_from: self.envelope_from,
            envelope_to: self.envelope_to,
            dkim_results: self.dkim_results,
            spf_results: self.spf_results,
        }
    }
}

/// Keeps a text where there is none yet.
fn first(place: &mut Option<Box<str>>, text: Box<str>) {
    if place.is_none() && !text.is_empty() {
        *place = Some(text);
    }
}

/// Keeps a word where there is none yet.
fn first_word<T>(place: &mut Option<T>, text: &str, parse: fn(&str) -> T) {
    if place.is_none() && !text.is_empty() {
        *place = Some(parse(&text.to_lowercase()));
    }
}

/// The words that RFC 7489 Appendix C says are in use, too, and one of many mail servers.
fn auth_result(word: &str) -> AuthResult {
    match word {
        "unknown" => AuthResult::Temperror,
        "error" => AuthResult::Permerror,
        "hardfail" => AuthResult::Fail,
        word => AuthResult::parse(word),
    }
}

fn alignment(text: &str) -> Option<Alignment> {
    match text.to_lowercase().as_str() {
        "r" | "relaxed" => Some(Alignment::Relaxed),
        "s" | "strict" => Some(Alignment::Strict),
        _ => None,
    }
}

fn testing(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

/// Seconds since 1970, also with a fraction, in thousandths and less, or as a date.
fn time(text: &str) -> Option<i64> {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    if let Ok(mut number) = whole.parse::<i64>() {
        while number >= SECONDS_MAX {
            number /= 1000;
        }
        return Some(number);
    }
    let date = text.parse::<jiff::Timestamp>().ok();
    let civil = || {
        Some(text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    Some(date.or_else(civil)?.as_second()).filter(|seconds| *seconds < SECONDS_MAX)
}
