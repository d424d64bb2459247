//! Rows of the queue as they are shown.

use std::collections::HashMap;

use postrider_proto::smtp::envelope::Notify;
use postrider_storage::directory::Directory;
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::queue::{self, Listed, Page, Retired};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{
    AttemptResult, Held, Kind, QueueRow, RecipientRow, ReportedAction, ReportedResult, RequireTls, Ret,
    Retirement,
};
use postrider_storage::store::StoreError;

use crate::control::protocol::{
    self, QueueDamagedRow, QueueDetails, QueueListRow, QueueRecipientRow, QueueReport, QueueRequireTls,
    QueueResult,
};

/// What may have become of a recipient.
pub(super) const RETIREMENTS: [Retirement; 3] =
    [Retirement::Delivered, Retirement::Failed, Retirement::Dropped];

/// The word for it.
pub(super) const fn outcome(retirement: Retirement) -> &'static str {
    match retirement {
        Retirement::Delivered => "delivered",
        Retirement::Failed => "failed",
        Retirement::Dropped => "dropped",
    }
}

/// Names of accounts, by their numbers: most rows of a page are of few.
pub(in crate::operations) struct Names<'a> {
    reader: &'a Reader,
    known: HashMap<u32, Option<String>>,
}

impl<'a> Names<'a> {
    pub(in crate::operations) fn new(reader: &'a Reader) -> Self {
        Self { reader, known: HashMap::new() }
    }

    /// The name; that of one that was removed is its number, none is the server.
    pub(in crate::operations) fn of(&mut self, number: u32) -> Result<Option<String>, StoreError> {
        let Some(id) = AccountId::new(number) else { return Ok(None) };
        if let Some(known) = self.known.get(&number) {
            return Ok(known.clone());
        }
        let account = Directory::new(self.reader.snapshot()).account(id)?;
        let name = Some(account.map_or_else(|| format!("#{number}"), |account| account.name.to_string()));
        self.known.insert(number, name.clone());
        Ok(name)
    }

    /// The rows of a page, damaged entries where they stand.
    pub(super) fn page(&mut self, page: &Page) -> Result<Vec<QueueListRow>, StoreError> {
        let mut rows = Vec::with_capacity(page.entries.len() + page.damaged.len());
        let mut damaged = page.damaged.iter().peekable();
        for at in 0..=page.entries.len() {
            while let Some(one) = damaged.next_if(|one| one.behind == at) {
                rows.push(QueueListRow::Damaged(self::damaged(one.id, &one.error)));
            }
            if let Some(listed) = page.entries.get(at) {
                rows.push(QueueListRow::Entry(Box::new(self.row(listed)?)));
            }
        }
        Ok(rows)
    }

    fn row(&mut self, listed: &Listed) -> Result<protocol::QueueRow, StoreError> {
        let to = listed.recipients.iter().map(|(_, recipient)| text(&recipient.address)).collect();
        self.entry(listed.id, &listed.row, to)
    }

    fn entry(
        &mut self,
        id: QueueId,
        row: &QueueRow,
        to: Vec<String>,
    ) -> Result<protocol::QueueRow, StoreError> {
        Ok(protocol::QueueRow {
            id: id.0.to_string(),
            base: row.base.0.to_string(),
            account: self.of(row.sender)?,
            from: text(&row.mail_from),
            domain: row.domain.to_string(),
            to,
            waiting: row.waiting,
            kind: kind(row).to_owned(),
            size: row.size,
            submitted: row.created,
            attempts: row.attempts,
            last_attempt: (row.last_attempt > 0).then_some(row.last_attempt),
            next_attempt: (row.held == Held::No).then_some(row.due),
            underway: row.claimed,
            held: row.held != Held::No,
            held_by_rule: match row.held {
                Held::Rule(rule) => Some(rule.0),
                Held::No | Held::Operator => None,
            },
            transport: filled(&row.transport),
            requiretls: match row.require_tls {
                RequireTls::Unset => QueueRequireTls::Default,
                RequireTls::Required => QueueRequireTls::Yes,
                RequireTls::No => QueueRequireTls::No,
            },
            error: row.last_error.as_ref().map(result),
        })
    }

    /// An entry with its recipients, as far as they can be read; none when it is gone. Instead of one whose own row is damaged,
    /// there is what is wrong.
    pub(super) fn shown(&mut self, id: QueueId) -> Result<Option<Shown>, StoreError> {
        let reader = self.reader;
        let row = match queue::entry(reader, id) {
            Ok(None) => return Ok(None),
            Ok(Some(row)) => Ok(row),
            Err(error) if error.is_damage() => Err(damaged(id, &error)),
            Err(error) => return Err(error),
        };
        let mut wrong = None;
        let mut recipients = Vec::new();
        for row in queue::recipients(reader, id) {
            recipients.extend(readable(row, &mut wrong)?.map(|(_, row)| recipient(&row)));
        }
        let row = match row {
            Ok(row) => row,
            Err(damaged) => return Ok(Some((recipients, Err(damaged)))),
        };
        let prefix = readable(queue::prefix(reader, id), &mut wrong)?.unwrap_or_default();
        readable(queue::meta(reader, id), &mut wrong)?;
        let details = QueueDetails { damaged: wrong, ..self.details(id, &row, &prefix)? };
        Ok(Some((recipients, Ok(details))))
    }

    fn details(&mut self, id: QueueId, row: &QueueRow, prefix: &[u8]) -> Result<QueueDetails, StoreError> {
        Ok(QueueDetails {
            row: self.entry(id, row, Vec::new())?,
            recipients: row.recipients,
            max_attempts: (row.max_attempts > 0).then_some(row.max_attempts),
            hold_until: (row.hold_until > 0).then_some(row.hold_until),
            delay_reported: row.delay_reported,
            damaged: None,
            unwritten: None,
            waits_for: None,
            envelope_id: filled(&text(&row.envelope_id)),
            ret: match row.ret {
                Ret::Unspecified => None,
                Ret::Full => Some("full".to_owned()),
                Ret::Headers => Some("headers".to_owned()),
            },
            smtputf8: row.smtputf8,
            eight_bit: row.eight_bit,
            dialed: row.dialed.iter().map(ToString::to_string).collect(),
            prefix: text(prefix),
        })
    }

    pub(super) fn retired(&mut self, retired: &Retired) -> Result<protocol::RetiredRow, StoreError> {
        let row = &retired.row;
        Ok(protocol::RetiredRow {
            id: retired.id.0.to_string(),
            base: row.base.0.to_string(),
            account: self.of(row.sender)?,
            from: text(&row.mail_from),
            to: text(&row.address),
            outcome: outcome(row.retirement).to_owned(),
            submitted: row.created,
            ended: row.ended,
            until: retired.until,
            attempts: row.attempts,
            result: row.result.as_ref().map(result),
            from_id: row.meta.as_ref().and_then(|meta| filled(&meta.from_id)),
            message_id: row.meta.as_ref().and_then(|meta| filled(&meta.message_id)),
            reports: row.reports.iter().map(report).collect(),
        })
    }
}

/// What is shown of an entry: its recipients, and itself or what is wrong with its row.
pub(super) type Shown = (Vec<QueueRecipientRow>, Result<QueueDetails, QueueDamagedRow>);

fn damaged(id: QueueId, error: &StoreError) -> QueueDamagedRow {
    QueueDamagedRow { id: id.0.to_string(), damaged: error.to_string() }
}

/// What was read; where that is damaged, `wrong` says so unless something else is.
fn readable<T>(read: Result<T, StoreError>, wrong: &mut Option<String>) -> Result<Option<T>, StoreError> {
    match read {
        Err(error) if error.is_damage() => {
            wrong.get_or_insert_with(|| error.to_string());
            Ok(None)
        }
        read => read.map(Some),
    }
}

fn report(report: &ReportedResult) -> QueueReport {
    let action = match report.action {
        ReportedAction::Failed => "failed",
        ReportedAction::Delayed => "delayed",
        ReportedAction::Delivered => "delivered",
        ReportedAction::Relayed => "relayed",
        ReportedAction::Expanded => "expanded",
    };
    QueueReport { action: action.to_owned(), result: result(&report.result) }
}

pub(super) fn recipient(row: &RecipientRow) -> QueueRecipientRow {
    QueueRecipientRow {
        to: text(&row.address),
        notify: row.notify.map(notify),
        original: filled(&text(&row.original)),
        result: row.result.as_ref().map(result),
    }
}

fn kind(row: &QueueRow) -> &'static str {
    match row.kind {
        Kind::Ordinary => "message",
        Kind::Report => "report",
        Kind::DmarcReport => "dmarc-report",
        Kind::TlsReport => "tls-report",
    }
}

fn result(result: &AttemptResult) -> QueueResult {
    QueueResult {
        time: result.time,
        code: (result.code != 0).then_some(result.code),
        enhanced: result.enhanced.map(|[class, subject, detail]| format!("{class}.{subject}.{detail}")),
        host: result.host().to_owned(),
        text: result.text().to_owned(),
    }
}

/// As in RFC 3461 §4.1.
pub(super) fn notify(notify: Notify) -> String {
    let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let words: Vec<&str> = words.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word).collect();
    if words.is_empty() { "NEVER".to_owned() } else { words.join(",") }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
