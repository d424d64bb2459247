//! Messages that came for the id of one that was sent: reports of other servers on it (RFC 3464; product 3.14).
//!
//! Only who was sent the message, or is on its way, knows the id. What a report says counts for the one recipient that was sent the
//! id, whatever address it names.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use postrider_delivery::outcome::Answer;
use postrider_delivery::suppression::{Suppress, decide_reported};
use postrider_proto::dsn::{self, Action, Recipient};
use postrider_proto::mime::record::StructureRef;
use postrider_proto::smtp::client::EnhancedCode;
use postrider_storage::account::Content;
use postrider_storage::blobs::BlobReader;
use postrider_storage::directory::{Directory, WebhookEvent};
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::{AccountId, EmailId, QueueId};
use postrider_storage::queue::{self, IncomingReport, Sender, suppression};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{AttemptResult, ReportedAction, ReportedResult};
use postrider_storage::store::StoreError;
use tracing::{error, info};

use super::events::kept;
use crate::clock::unix_now;
use crate::commit;
use crate::runtime::{ShardId, sleep};
use crate::shard::Shard;
use crate::webhooks::{self, Meta, Told};

/// Octets of the part with the fields that are looked at: a report on one recipient has some hundred.
const STATUS_OCTETS_MAX: u64 = 64 * 1024;
/// Messages that one step of a walk finds.
const STEP: usize = 256;
/// The pauses before what failed is done again; they double.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// What a message said of the one that was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reported {
    /// What became of it; none when the message is no report on one recipient.
    pub(crate) action: Option<Action>,
    /// The SMTP code that is quoted, or the one that the status stands for.
    pub(crate) code: Option<u16>,
    /// The enhanced code.
    pub(crate) enhanced: Option<[u16; 3]>,
    /// The server that said it.
    pub(crate) host: String,
    /// What it said.
    pub(crate) text: String,
}

impl Reported {
    const UNRECOGNIZED: Self =
        Self { action: None, code: None, enhanced: None, host: String::new(), text: String::new() };

    fn of(recipient: &Recipient) -> Self {
        let numbers = |code: EnhancedCode| [u16::from(code.class), code.subject, code.detail];
        let status = numbers(recipient.status);
        let diagnostic = recipient.diagnostic.as_ref();
        let quoted = diagnostic.and_then(dsn::Diagnostic::code);
        // A status without a reply stands for the plainest reply of its class.
        let code = quoted.unwrap_or(status[0] * 100);
        let enhanced = diagnostic.and_then(dsn::Diagnostic::enhanced);
        Self {
            action: Some(recipient.action),
            code: Some(code),
            enhanced: Some(enhanced.map_or(status, numbers)),
            host: recipient.remote_mta.as_deref().unwrap_or_default().to_owned(),
            text: diagnostic.map_or_else(String::new, |diagnostic| diagnostic.text.to_string()),
        }
    }

    /// What programs are told.
    pub(crate) const fn event(&self) -> WebhookEvent {
        match self.action {
            Some(Action::Failed) => WebhookEvent::Failed,
            Some(Action::Delayed) => WebhookEvent::Delayed,
            Some(Action::Delivered) => WebhookEvent::Delivered,
            Some(Action::Relayed) => WebhookEvent::Relayed,
            Some(Action::Expanded) => WebhookEvent::Expanded,
            None => WebhookEvent::Unrecognized,
        }
    }

    /// What it means for later mail to the address.
    fn verdict(&self) -> suppression::Verdict {
        let (Some(Action::Failed), Some(code)) = (self.action, self.code) else {
            return suppression::Verdict::Nothing;
        };
        let enhanced = self.enhanced.map(|[class, subject, detail]| (class, subject, detail));
        match decide_reported(&Answer::new(code, enhanced, &self.text), 0) {
            Suppress::Now => suppression::Verdict::Suppress,
            // Strikes are counted by the store.
            Suppress::Strike => suppression::Verdict::Strike,
            Suppress::No => suppression::Verdict::Nothing,
        }
    }

    fn result(&self, now: i64) -> Option<ReportedResult> {
        let action = match self.action? {
            Action::Failed => ReportedAction::Failed,
            Action::Delayed => ReportedAction::Delayed,
            Action::Delivered => ReportedAction::Delivered,
            Action::Relayed => ReportedAction::Relayed,
            Action::Expanded => ReportedAction::Expanded,
        };
        let code = self.code.unwrap_or(0);
        let result = AttemptResult::new(now, code, self.enhanced, &self.host, without_codes(&self.text));
        Some(ReportedResult { action, result })
    }
}

/// A reply without the codes that it begins with: results have these in places of their own.
fn without_codes(text: &str) -> &str {
    let Some((code, rest)) = text.split_at_checked(3) else { return text };
    let Some(rest) = rest.strip_prefix([' ', '-']).filter(|_| is_number(code)) else { return text };
    let Some((enhanced, said)) = rest.split_once(' ') else { return rest };
    let is_enhanced = enhanced.split('.').count() == 3
        && enhanced.split('.').all(is_number)
        && enhanced.split('.').next() == code.get(..1);
    if is_enhanced { said } else { rest }
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit())
}

/// Looks at a message that came just now, and does what follows from it. What fails is done again ([`look_at_rest`]).
pub(crate) async fn look_at(shard: &Rc<Shard>, report: IncomingReport) {
    if !try_look_at(shard, report).await {
        shard.deliveries.unseen.notify();
    }
}

/// Whether it could be looked at.
async fn try_look_at(shard: &Rc<Shard>, report: IncomingReport) -> bool {
    let email = report.email.0;
    let looked = read_and_conclude(shard, report).await;
    looked
        .inspect_err(|error| {
            error!(email, error, "a message that came for an id can't be looked at; it is later")
        })
        .is_ok()
}

async fn read_and_conclude(shard: &Rc<Shard>, report: IncomingReport) -> Result<(), String> {
    let store = Arc::clone(&shard.shared.store);
    let work = move || -> Result<_, StoreError> {
        let reader = store.reader();
        let reported = undamaged(read(&reader, report.account, report.email), Reported::UNRECOGNIZED)?;
        let sender = undamaged(queue::by_id(&reader, report.account, &report.id), None)?;
        Ok((report, reported, sender.map(|sender| domain_of(&sender))))
    };
    // Nobody waits for it, and it has to be done.
    let built = shard.shared.pool.run_anyway(work).await.map_err(|error| error.to_string())?;
    let (report, reported, domain) = built.map_err(|error| error.to_string())?;
    // What is kept of a recipient is changed on the shard of its domain alone.
    let owner = domain.map_or(shard.id, |domain| ShardId(queue::shard_of(domain, shard.shared.shards.len())));
    let concluded =
        shard.at_shard(owner, move |owner| Box::pin(async move { conclude(&owner, report, reported).await }));
    concluded.await.unwrap_or_else(|_| Err("the server stops".to_owned()))
}

/// What is damaged stays so: it counts as something else, and is not looked at again and again.
fn undamaged<T>(read: Result<T, StoreError>, otherwise: T) -> Result<T, StoreError> {
    match read {
        Err(error @ (StoreError::BadRow(_) | StoreError::BadKey(_) | StoreError::Inconsistent(_))) => {
            error!(%error, "what belongs to a message that came for an id can't be read");
            Ok(otherwise)
        }
        read => read,
    }
}

async fn conclude(owner: &Rc<Shard>, report: IncomingReport, reported: Reported) -> Result<(), String> {
    // One after the other: each reads what the one before wrote.
    let _held = owner.deliveries.reporting.take().await;
    let shared = &owner.shared;
    let now = unix_now();
    let hooks = webhooks::of(owner, report.account).await.map_err(|error| error.to_string())?;
    let read = move |reader: &Reader| {
        let concluded = build(reader, &report, &reported, now)?;
        Ok((report, reported, concluded))
    };
    let (report, reported, concluded) = shared.reads.run(read).await.map_err(|error| error.to_string())?;
    let Some(Concluded { mut batch, about, suppressed }) = concluded else { return Ok(()) };
    let call = about.as_ref().and_then(|about| {
        let told = Told {
            event: reported.event(),
            is_dsn: true,
            suppressing: suppressed.is_some(),
            entry: about.entry,
            base: about.base,
            recipient: &about.address,
            meta: &about.meta,
            code: reported.code,
            enhanced: reported.enhanced,
            error: &reported.text,
        };
        webhooks::add(&shared.store, report.account, &hooks, &told, &mut batch)
    });
    commit::commit(&shared.committer, batch, Durability::Synced).await.map_err(|error| error.to_string())?;
    webhooks::announce(owner, call).await;
    let (account, event) = (report.account, reported.event().name());
    match about {
        Some(About { address, .. }) => {
            info!(%account, id = %report.id, %address, event, code = reported.code, "a message came for one that was sent");
        }
        None => info!(%account, id = %report.id, "a message came for one that isn't known any more"),
    }
    if let Some(address) = suppressed {
        info!(%account, %address, "the address is suppressed from now on");
    }
    Ok(())
}

struct Concluded {
    batch: Batch,
    about: Option<About>,
    suppressed: Option<String>,
}

/// The message that was sent.
struct About {
    entry: QueueId,
    base: QueueId,
    /// To whom.
    address: String,
    meta: Meta,
}

/// What follows from a message; none when somebody else looked at it meanwhile.
fn build(
    reader: &Reader,
    report: &IncomingReport,
    reported: &Reported,
    now: i64,
) -> Result<Option<Concluded>, StoreError> {
    if !queue::is_noted(reader, report)? {
        return Ok(None);
    }
    let mut concluded = Concluded { batch: Batch::new(), about: None, suppressed: None };
    queue::looked_at(&mut concluded.batch, report);
    match undamaged(queue::by_id(reader, report.account, &report.id), None)? {
        None => {}
        // It is tried again, and what comes of it is what counts.
        Some(Sender::Queued(entry, row, meta)) => {
            let recipient = queue::recipient(reader, entry, 0)?;
            let address = recipient.map(|row| String::from_utf8_lossy(&row.address).to_string());
            let (address, meta) = (address.unwrap_or_default(), kept(&meta));
            concluded.about = Some(About { entry, base: row.base, address, meta });
        }
        Some(Sender::Retired(mut retired)) => {
            let address = String::from_utf8_lossy(&retired.row.address).to_string();
            if let Some(result) = reported.result(now) {
                queue::append_report(&mut concluded.batch, &mut retired, result, now)?;
            }
            if Directory::new(reader.snapshot()).account(report.account)?.is_some() {
                let failure = suppression::Failure { address: &address, time: now, reason: &reported.text };
                concluded.suppressed = suppression::note(
                    reader,
                    &mut concluded.batch,
                    report.account,
                    reported.verdict(),
                    failure,
                )?;
            }
            let meta = retired.row.meta.as_ref().map(kept).unwrap_or_default();
            concluded.about = Some(About { entry: retired.id, base: retired.row.base, address, meta });
        }
    }
    Ok(Some(concluded))
}

/// The hash of the domain to which a message was sent.
fn domain_of(sender: &Sender) -> u64 {
    match sender {
        Sender::Queued(_, row, _) => queue::domain_hash(&row.domain),
        Sender::Retired(retired) => {
            let address = String::from_utf8_lossy(&retired.row.address);
            let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
            queue::domain_hash(&domain.to_ascii_lowercase())
        }
    }
}

/// What a message says. One that is gone, or no report on one recipient, is unrecognized.
fn read(reader: &Reader, account: AccountId, email: EmailId) -> Result<Reported, StoreError> {
    let Some(row) = reader.email(account, email)? else { return Ok(Reported::UNRECOGNIZED) };
    let Some(blob) = reader.blob(row.blob)? else { return Ok(Reported::UNRECOGNIZED) };
    let Ok(structure) = StructureRef::decode(&blob.structure) else { return Ok(Reported::UNRECOGNIZED) };
    let Some(part) = dsn::find(&structure.to_structure()) else { return Ok(Reported::UNRECOGNIZED) };
    let end = part.end.min(part.start.saturating_add(STATUS_OCTETS_MAX)).min(blob.size);
    let content = Content { blob: row.blob, size: blob.size };
    let mut content = BlobReader::new(content, part.start.min(end)..end);
    let mut octets = Vec::new();
    while let Some(piece) = content.read(reader)? {
        octets.extend_from_slice(&piece);
    }
    let report = dsn::parse(&octets, &part);
    Ok(match report.as_ref().map(|report| &*report.recipients) {
        Some([only]) => Reported::of(only),
        _ => Reported::UNRECOGNIZED,
    })
}

/// Looks at messages of accounts that live on this shard for which that wasn't done: at the start at those that an earlier
/// process didn't get to, and later at those for which it failed, again and again with pauses.
pub(super) async fn look_at_rest(shard: &Rc<Shard>) {
    let unseen = &shard.deliveries.unseen;
    let mut pause = PAUSE_FIRST;
    while !shard.shared.shutdown.is_stopping() {
        let seen = unseen.version();
        match walk(shard).await {
            Ok(true) => {
                pause = PAUSE_FIRST;
                unseen.changed(seen).await;
            }
            Ok(false) => {}
            Err(error) => error!(%error, "messages that came for ids can't be read; it is tried again"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Looks at all that are noted, and says whether none failed.
async fn walk(shard: &Rc<Shard>) -> Result<bool, StoreError> {
    let mut last: Option<IncomingReport> = None;
    let mut is_done = true;
    loop {
        let after = last.take();
        let step = move |reader: &Reader| queue::incoming_reports(reader, after.as_ref(), STEP);
        let found = shard.shared.reads.run(step).await?;
        last = found.last().cloned();
        let is_last = found.len() < STEP;
        for report in found {
            if shard.home_of(report.account) == shard.id && !shard.shared.shutdown.is_stopping() {
                is_done &= try_look_at(shard, report).await;
            }
        }
        if is_last {
            return Ok(is_done);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
