//! Delivery status notifications: to the sender's mailbox when it is one of ours, otherwise by the queue.

use std::rc::Rc;

use postrider_delivery::backoff::Promise;
use postrider_delivery::outcome::{Class, Failure, Verdict};
use postrider_delivery::report::{self, About, Addressee, Event};
use postrider_delivery::security::Requirement;
use postrider_proto::address::Address;
use postrider_proto::dsn::{self, Diagnostic, Letter, Recipient, Returned, TypedAddress, compose};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::Flags;
use postrider_proto::mime::{self, FieldName};
use postrider_proto::smtp::client::EnhancedCode;
use postrider_proto::smtp::envelope::{Hold, Return};
use postrider_storage::account::NewMessage;
use postrider_storage::blobs::Sharing;
use postrider_storage::directory::{Directory, Recipient as Asked, Resolution};
use postrider_storage::engine::Batch;
use postrider_storage::ids::AccountId;
use postrider_storage::queue::{self, NewQueued, NewRecipient};
use postrider_storage::rows::{Kind, QueueRow, RequireTls, Ret};
use postrider_storage::store::Refusal;
use tracing::{error, info, warn};

use super::content::Source;
use super::outcome::{Tried, result_of};
use super::{attempt, enqueue, start, translate};
use crate::accounts::{LoadError, WriteError};
use crate::clock::unix_now;
use crate::intake::{self, Intake};
use crate::shard::{OpenError, Shard};
use crate::signing;

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
        // What isn't made of lines can't be a part of a report.
        fits: entry.size <= FULL_OCTETS_MAX && !entry.binary,
    }
}

/// Where a report goes.
enum Place {
    Mailbox(AccountId, MailboxName),
    Queue,
}

/// Who gets it.
struct To {
    place: Place,
    /// The sender of the message; otherwise the postmaster.
    is_sender: bool,
}

/// Why a report isn't stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unstored {
    /// The mailbox doesn't take it, now and later: it is full, or gone.
    #[error("{0}")]
    Refused(Refusal),
    /// It may work another time.
    #[error("{0}")]
    Failed(String),
}

/// Writes the reports that were decided on, each to the disk, from the one on that `written` says, which then counts them.
/// `told` has the places of recipients that they are about.
///
/// A sender whose mailbox is full is not told; of a message that failed the postmaster is, so that it never waits for ever.
pub(super) async fn write(
    shard: &Rc<Shard>,
    tried: &Tried,
    told: &[(usize, Event)],
    wanted: &[report::Report],
    verdicts: &[&Verdict],
    promise: &Promise,
    written: &mut usize,
) -> Result<(), String> {
    for report in wanted.iter().skip(*written) {
        let places: Vec<usize> =
            report.recipients.iter().filter_map(|index| told.get(*index)).map(|(place, _)| *place).collect();
        let falls_back = report.action == report::Action::Failed && report.to == Addressee::Sender;
        for whom in [report.to].into_iter().chain(falls_back.then_some(Addressee::Postmaster)) {
            let Some((to, address)) = addressee(shard, tried, whom).await? else {
                warn!(entry = %tried.id.0, "there is nobody to tell of a message that failed; set [postmaster]");
                break;
            };
            let letter = (&address, to.is_sender);
            let text = message(shard, tried, report, &places, verdicts, promise, letter).await?;
            match store(shard, tried, report, to.place, &address, &text).await {
                Ok(()) => {
                    info!(entry = %tried.id.0, action = report.action.word(), to = %address, "a report is written");
                    break;
                }
                Err(Unstored::Refused(why)) => {
                    error!(entry = %tried.id.0, to = %address, %why, "a report is not taken");
                }
                Err(Unstored::Failed(error)) => return Err(error),
            }
        }
        *written += 1;
    }
    Ok(())
}

async fn addressee(shard: &Rc<Shard>, tried: &Tried, to: Addressee) -> Result<Option<(To, Address)>, String> {
    let shared = &shard.shared;
    let account = AccountId::new(tried.entry.sender);
    let from = Address::parse(&attempt::text(&tried.entry.mail_from)).ok();
    let (to_sender, hostname) = (to == Addressee::Sender, shared.config.hostname.domain().clone());
    let found = shared.reads.run(move |reader| {
        let directory = Directory::new(reader.snapshot());
        if let (true, Some(from)) = (to_sender, &from) {
            match account {
                None => return Ok(Some((To { place: Place::Queue, is_sender: true }, from.clone()))),
                Some(account) if directory.account(account)?.is_some() => {
                    let place = Place::Mailbox(account, MailboxName::inbox());
                    return Ok(Some((To { place, is_sender: true }, from.clone())));
                }
                Some(_) => {}
            }
        }
        let Ok(address) = Address::parse(&format!("postmaster@{hostname}")) else { return Ok(None) };
        Ok(match directory.resolve(Asked::Postmaster, &[hostname])? {
            Resolution::Account { account, mailbox, .. } => {
                Some((To { place: Place::Mailbox(account, mailbox), is_sender: false }, address))
            }
            _ => None,
        })
    });
    found.await.map_err(|error| error.to_string())
}

/// The report as a message.
async fn message(
    shard: &Rc<Shard>,
    tried: &Tried,
    wanted: &report::Report,
    places: &[usize],
    verdicts: &[&Verdict],
    promise: &Promise,
    (to, is_sender): (&Address, bool),
) -> Result<Vec<u8>, String> {
    let now = unix_now();
    let entry = &tried.entry;
    let recipients = places
        .iter()
        .filter_map(|place| Some((&tried.recipients.get(*place)?.1, *verdicts.get(*place)?)))
        .map(|(row, verdict)| recipient(row, verdict, wanted.action, entry, promise, now))
        .collect();
    let (returned, original) = match wanted.returns {
        Return::Full => (Returned::Full, read(shard, tried, usize::MAX).await?),
        Return::Headers => (Returned::Headers, header_of(read(shard, tried, HEADER_OCTETS_MAX).await?)),
    };
    let structure = {
        let mut scanner = mime::scan::Scanner::new(mime::Limits::DEFAULT);
        scanner.push(&original);
        scanner.finish()
    };
    let field = |name| {
        let value = structure.root().field(name)?;
        Some(String::from_utf8_lossy(value).trim().to_owned())
    };
    let (id, subject) = (field(FieldName::MessageId), field(FieldName::Subject));
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
    let composed = compose(&report, &letter);
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
        last_attempt: (entry.last_attempt > 0).then_some(entry.last_attempt),
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

/// The message, at most so much of it; what is longer is cut.
async fn read(shard: &Rc<Shard>, tried: &Tried, octets_max: usize) -> Result<Vec<u8>, String> {
    let (id, reads) = (tried.id, &shard.shared.reads);
    let prefix =
        reads.run(move |reader| queue::prefix(reader, id)).await.map_err(|error| error.to_string())?;
    let mut source = Source::stored(prefix, queue::content(&tried.entry));
    let mut octets = Vec::new();
    while octets.len() < octets_max
        && let Some(part) = source.next(reads).await.map_err(|error| error.to_string())?
    {
        octets.extend_from_slice(part.as_ref());
    }
    octets.truncate(octets_max);
    Ok(octets)
}

/// The header with the empty line behind it. One that was cut ends with its last whole line.
fn header_of(mut octets: Vec<u8>) -> Vec<u8> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 2);
    let end = end.or_else(|| octets.windows(2).rposition(|two| two == b"\r\n").map(|at| at + 2));
    octets.truncate(end.unwrap_or(0));
    octets.extend_from_slice(b"\r\n");
    octets
}

/// Stores a report, and waits for the disk.
async fn store(
    shard: &Rc<Shard>,
    tried: &Tried,
    wanted: &report::Report,
    to: Place,
    address: &Address,
    text: &[u8],
) -> Result<(), Unstored> {
    let shared = &shard.shared;
    let failed = |error: intake::IntakeError| Unstored::Failed(error.to_string());
    let mut taken = Intake::new(&shared.store, &shared.committer, u64::MAX);
    taken.push(text).await.map_err(failed)?;
    let message = taken.finish(Sharing::One).map_err(failed)?;
    let content = message.content;
    let stored = match to {
        Place::Mailbox(account, mailbox) => into_mailbox(shard, account, mailbox, message).await,
        Place::Queue => {
            let prefix = signing::sign_ours(shard, shared.config.hostname.domain(), text).await;
            let queued = NewQueued {
                content,
                prefix,
                created: unix_now(),
                sender: None,
                mail_from: Vec::new(),
                kind: Kind::Report,
                require_tls: match (wanted.requires_tls, translate::requirement(&tried.entry)) {
                    (true, _) => RequireTls::Required,
                    (false, Requirement::No) => RequireTls::No,
                    (false, _) => RequireTls::Unset,
                },
                smtputf8: tried.entry.smtputf8,
                eight_bit: !text.is_ascii(),
                binary: false,
                ret: Ret::Unspecified,
                envelope_id: Vec::new(),
                hold_until: None,
                max_attempts: 0,
                meta: None,
                recipients: vec![NewRecipient {
                    address: address.to_string().into(),
                    notify: None,
                    original: Vec::new(),
                    from_id: None,
                }],
            };
            enqueue(shard, queued, message, Batch::new()).await.map_err(Unstored::Failed)
        }
    };
    if stored.is_err() {
        intake::abandon(&shared.committer, content);
    }
    stored
}

pub(crate) async fn into_mailbox(
    shard: &Rc<Shard>,
    account: AccountId,
    mailbox: MailboxName,
    message: intake::Message,
) -> Result<(), Unstored> {
    let intake::Message { content, batch, thread, incarnation, .. } = message;
    let new = NewMessage {
        content,
        prefix: Vec::new(),
        flags: Flags::NONE,
        keywords: Vec::new(),
        received: unix_now(),
        thread,
    };
    let appended = shard.at_home(account, move |home| {
        Box::pin(async move {
            let handle = match home.open_account(account).await {
                Ok(handle) => handle,
                Err(OpenError::Load(LoadError::Removed)) => {
                    return Err(Unstored::Refused(Refusal::NoSuchAccount));
                }
                Err(error) => return Err(Unstored::Failed(error.to_string())),
            };
            let appended = handle.transact(None, incarnation, move |tx| {
                let inbox = MailboxName::inbox();
                let mailbox = tx.mailbox_id(&mailbox).or_else(|| tx.mailbox_id(&inbox));
                tx.attach(batch);
                tx.append(mailbox.ok_or(Refusal::NoSuchMailbox)?, new)
            });
            match appended.await {
                Ok(_) => Ok(()),
                Err(WriteError::Refused(refusal)) => Err(Unstored::Refused(refusal)),
                Err(error) => Err(Unstored::Failed(error.to_string())),
            }
        })
    });
    appended.await.unwrap_or_else(|_| Err(Unstored::Failed("the server stops".to_owned())))
}
