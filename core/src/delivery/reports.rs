//! What delivery status notifications say, and to whom.

use std::rc::Rc;

use postrider_delivery::backoff::Promise;
use postrider_delivery::outcome::{Class, Failure, Verdict};
use postrider_delivery::report::{self, About, Event, decide};
use postrider_proto::address::Address;
use postrider_proto::dsn::{self, Diagnostic, Letter, Recipient, Returned, TypedAddress};
use postrider_proto::mime::header::unfold;
use postrider_proto::mime::{self, FieldName, words};
use postrider_proto::smtp::client::EnhancedCode;
use postrider_proto::smtp::envelope::{Hold, Return};
use postrider_storage::account::Content;
use postrider_storage::queue;
use postrider_storage::rows::{QueueRow, Ret};
use postrider_storage::store::StoreError;

use super::content::Source;
use super::outcome::{Tried, result_of};
use super::{attempt, start, translate};
use crate::clock::unix_now;
use crate::reads::Reads;
use crate::shard::Shard;

/// The largest message that comes back whole.
const FULL_OCTETS_MAX: u64 = 1 << 20;
/// Octets of a header that comes back.
const HEADER_OCTETS_MAX: usize = 64 * 1024;

/// What decides on reports about an entry.
pub(super) fn about(entry: &QueueRow) -> About {
    About {
        has_null_sender: entry.mail_from.is_empty(),
        kind: translate::kind(entry),
        requirement: translate::requirement(entry),
        ret: match entry.ret {
            Ret::Unspecified => None,
            Ret::Full => Some(Return::Full),
            Ret::Headers => Some(Return::Headers),
        },
        fits: fits(entry.size, entry.binary),
    }
}

/// Whether a whole message may come back with a report. What isn't made of lines can't be a part of one.
pub(crate) const fn fits(octets: u64, is_binary: bool) -> bool {
    octets <= FULL_OCTETS_MAX && !is_binary
}

/// What came of recipients of an entry, and who is told of it.
pub(super) struct News<'a> {
    pub(super) tried: &'a Tried,
    /// What came of each recipient.
    pub(super) verdicts: Vec<&'a Verdict>,
    /// When those that wait are tried again.
    promise: Promise,
    /// The reports that are to be made, each with places of recipients.
    pub(super) wanted: Vec<report::Report>,
}

impl<'a> News<'a> {
    /// Decides on reports about what happened to each recipient; none is nothing to be told of.
    pub(super) fn new(
        tried: &'a Tried,
        verdicts: Vec<&'a Verdict>,
        events: impl Iterator<Item = Option<Event>>,
        promise: Promise,
    ) -> Self {
        let told: Vec<(usize, Event)> =
            events.enumerate().filter_map(|(place, event)| Some((place, event?))).collect();
        let notify = |place: usize| tried.recipients.get(place).and_then(|(_, row)| row.notify);
        let asked: Vec<_> = told.iter().map(|(place, event)| (*event, notify(*place))).collect();
        let mut wanted = decide(&about(&tried.entry), &asked);
        for index in wanted.iter_mut().flat_map(|report| &mut report.recipients) {
            *index = told[*index].0;
        }
        Self { tried, verdicts, promise, wanted }
    }
}

/// A report as a message to its sender, or to somebody else.
pub(super) async fn compose(
    shard: &Rc<Shard>,
    news: &News<'_>,
    wanted: &report::Report,
    to: &Address,
    is_sender: bool,
) -> Result<Vec<u8>, StoreError> {
    let News { tried, verdicts, promise, .. } = news;
    let now = unix_now();
    let entry = &tried.entry;
    let recipients = wanted
        .recipients
        .iter()
        .filter_map(|place| Some((&tried.recipients.get(*place)?.1, *verdicts.get(*place)?)))
        .map(|(row, verdict)| recipient(row, verdict, wanted.action, entry, promise, now))
        .collect();
    let (id, reads) = (tried.id, &shard.shared.reads);
    let read = match reads.run(move |reader| queue::prefix(reader, id)).await {
        Ok(prefix) => returned(reads, Source::stored(prefix, queue::content(entry)), wanted.returns).await,
        Err(error) => Err(error),
    };
    let (returned, original) = match (wanted.returns, read) {
        (Return::Full, Ok(whole)) => (Returned::Full, whole),
        (Return::Headers, Ok(header)) => (Returned::Headers, header),
        // What is damaged stays so, and who sent it is told all the same.
        (_, Err(StoreError::BadRow(_) | StoreError::BadKey(_) | StoreError::Inconsistent(_))) => {
            (Returned::Nothing, Vec::new())
        }
        (_, Err(error)) => return Err(error),
    };
    let (id, subject) = named(&original);
    let report = dsn::Report {
        reporting_mta: shard.shared.config.hostname.as_str().into(),
        arrival: Some(entry.created),
        envelope_id: (!entry.envelope_id.is_empty()).then(|| attempt::text(&entry.envelope_id).into()),
        future_release: hold_of(entry).map(|hold| hold.to_string().into()),
        recipients,
        utf8: entry.smtputf8,
    };
    let sender = attempt::text(&entry.mail_from);
    let letter = Letter {
        to,
        sender: (!is_sender).then_some(&sender),
        now,
        unique: &start::nonce(),
        about: id.as_deref(),
        subject: subject.as_deref(),
        returned,
    };
    let composed = dsn::compose(&report, &letter);
    Ok([composed.before.as_bytes(), &original, composed.after.as_bytes()].concat())
}

/// How its sender wished it to be held.
fn hold_of(entry: &QueueRow) -> Option<Hold> {
    match (entry.hold_until, entry.hold_for) {
        (0, _) => None,
        (until, true) => u32::try_from(until.saturating_sub(entry.created)).ok().map(Hold::For),
        (until, false) => Some(Hold::Until(until)),
    }
}

fn recipient(
    row: &postrider_storage::rows::RecipientRow,
    verdict: &Verdict,
    action: report::Action,
    entry: &QueueRow,
    promise: &Promise,
    now: i64,
) -> Recipient {
    let result = result_of(verdict, now);
    let failure = match verdict {
        Verdict::Delivered { .. } => None,
        Verdict::Retry(failure) | Verdict::Failed { failure, .. } => Some(failure),
    };
    let replied = result.code != 0;
    let action = match action {
        report::Action::Failed => dsn::Action::Failed,
        report::Action::Delayed => dsn::Action::Delayed,
        report::Action::Delivered => dsn::Action::Delivered,
        report::Action::Relayed => dsn::Action::Relayed,
    };
    let is_delayed = action == dsn::Action::Delayed;
    // An attempt that ended before it began isn't told of as one.
    let is_tried = failure.is_none_or(|failure| failure.is_tried);
    let original = attempt::text(&row.original);
    Recipient {
        original: original
            .split_once(';')
            .map(|(kind, address)| TypedAddress { address_type: kind.into(), address: address.into() }),
        reason: failure
            .filter(|failure| failure.answer.is_none())
            .map(|failure| failure.reason.as_str().into()),
        remote_mta: (!result.host().is_empty()).then(|| result.host().into()),
        diagnostic: replied.then(|| Diagnostic { kind: "smtp".into(), text: diagnostic(&result).into() }),
        attempts: entry.attempts,
        last_attempt: (is_tried && entry.last_attempt > 0).then_some(entry.last_attempt),
        next_attempt: promise.attempts.first().copied().filter(|_| is_delayed),
        will_retry_until: promise.until().filter(|_| is_delayed),
        ..Recipient::new(&attempt::text(&row.address), action, status(failure, verdict))
    }
}

fn diagnostic(result: &postrider_storage::rows::AttemptResult) -> String {
    let text = result.text().replace('\n', " ");
    match result.enhanced {
        Some([class, subject, detail]) => format!("{} {class}.{subject}.{detail} {text}", result.code),
        None => format!("{} {text}", result.code),
    }
}

fn status(failure: Option<&Failure>, verdict: &Verdict) -> EnhancedCode {
    match failure {
        Some(failure) => EnhancedCode {
            class: if failure.status.class == Class::Permanent { 5 } else { 4 },
            subject: failure.status.subject,
            detail: failure.status.detail,
        },
        None => {
            let said = match verdict {
                Verdict::Delivered { answer, .. } => answer.enhanced.filter(|(class, ..)| *class == 2),
                _ => None,
            };
            let (class, subject, detail) = said.unwrap_or((2, 0, 0));
            EnhancedCode { class: if class == 2 { 2 } else { 4 }, subject, detail }
        }
    }
}

/// What a report brings back of a stored message: all of it, or the header with the empty line behind it.
pub(crate) async fn original(
    reads: &Reads,
    content: Content,
    returns: Return,
) -> Result<Vec<u8>, StoreError> {
    returned(reads, Source::stored(Vec::new(), content), returns).await
}

async fn returned(reads: &Reads, source: Source, returns: Return) -> Result<Vec<u8>, StoreError> {
    match returns {
        Return::Full => octets_of(reads, source, usize::MAX).await,
        Return::Headers => octets_of(reads, source, HEADER_OCTETS_MAX).await.map(header_of),
    }
}

/// A message, at most so much of it; what is longer is cut.
async fn octets_of(reads: &Reads, mut source: Source, octets_max: usize) -> Result<Vec<u8>, StoreError> {
    let mut octets = Vec::new();
    while octets.len() < octets_max
        && let Some(part) = source.next(reads).await?
    {
        octets.extend_from_slice(part.as_ref());
    }
    octets.truncate(octets_max);
    Ok(octets)
}

/// Message-ID and subject of a message, as reports name it: of what its header may be at most, whatever is behind it.
pub(crate) fn named(message: &[u8]) -> (Option<String>, Option<String>) {
    let structure = {
        let mut scanner = mime::scan::Scanner::new(mime::Limits::DEFAULT);
        scanner.push(&message[..message.len().min(HEADER_OCTETS_MAX)]);
        scanner.finish()
    };
    let field = |name| Some(structure.root().field(name)?.to_vec());
    let id = field(FieldName::MessageId).map(|id| String::from_utf8_lossy(&id).trim().to_owned());
    let subject = field(FieldName::Subject).map(|subject| words::decode(&unfold(&subject)).trim().to_owned());
    (id, subject)
}

/// The header with the empty line behind it. One that was cut ends with its last whole line.
fn header_of(mut octets: Vec<u8>) -> Vec<u8> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 2);
    let end = end.or_else(|| octets.windows(2).rposition(|two| two == b"\r\n").map(|at| at + 2));
    octets.truncate(end.unwrap_or(0));
    octets.extend_from_slice(b"\r\n");
    octets
}
