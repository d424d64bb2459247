//! Rows of what became of recipients, kept for a while.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::queue::Kind;
use super::result::ResultLayout;
use super::{AttemptResult, BadRow, Fixed, QueueMeta, Tail, field, length, split};
use crate::ids::QueueId;

/// What became of a recipient.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retirement {
    /// The next server took the message.
    Delivered = 0,
    /// It could not be delivered.
    Failed = 1,
    /// An operator dropped it.
    Dropped = 2,
}

/// What another server reported of a recipient (RFC 3464 §2.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportedAction {
    /// It failed.
    Failed = 0,
    /// It waits.
    Delayed = 1,
    /// It is in a mailbox.
    Delivered = 2,
    /// It went on to a server that reports nothing.
    Relayed = 3,
    /// It went on to the members of a list.
    Expanded = 4,
}

impl ReportedAction {
    const fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Failed),
            1 => Some(Self::Delayed),
            2 => Some(Self::Delivered),
            3 => Some(Self::Relayed),
            4 => Some(Self::Expanded),
            _ => None,
        }
    }
}

/// What a report said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportedResult {
    /// What became of it.
    pub action: ReportedAction,
    /// When the report came, and what it says: the host is the one that is said to have replied.
    pub result: AttemptResult,
}

/// A recipient that left the queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetiredRow {
    /// What became of it.
    pub retirement: Retirement,
    /// What the message was.
    pub kind: Kind,
    /// When it left, in seconds since 1970.
    pub ended: i64,
    /// When the message was accepted.
    pub created: i64,
    /// What was common to the entries of the submission.
    pub base: QueueId,
    /// The account that submitted it; 0 when the system did.
    pub sender: u32,
    /// Attempts made.
    pub attempts: u32,
    /// The reverse path; empty for reports.
    pub mail_from: Box<[u8]>,
    /// The recipient's address.
    pub address: Box<[u8]>,
    /// RFC 3461 ENVID; empty without one.
    pub envelope_id: Box<[u8]>,
    /// What came of the last attempt.
    pub result: Option<AttemptResult>,
    /// What programs are told of the message, where that was kept.
    pub meta: Option<QueueMeta>,
    /// What reports said later, the last [`RetiredRow::REPORTS_MAX`] of them.
    pub reports: Vec<ReportedResult>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RetiredLayout {
    version: u8,
    retirement: u8,
    kind: u8,
    reserved: u8,
    mail_from: U16,
    address: U16,
    envelope_id: U16,
    reserved_too: [u8; 2],
    sender: U32,
    attempts: U32,
    base: U64,
    ended: I64,
    created: I64,
    result: ResultLayout,
}

impl Fixed for RetiredLayout {
    const NAME: &'static str = "RETIRED";
}

/// Version 2, which is written when there is something in it that version 1 hasn't.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct WithReportsLayout {
    retired: RetiredLayout,
    meta: U16,
    reports: u8,
    reserved: u8,
}

impl Fixed for WithReportsLayout {
    const NAME: &'static str = "RETIRED";
    const VERSION: u8 = 2;
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ReportLayout {
    action: u8,
    reserved: u8,
    result: ResultLayout,
}

impl RetiredRow {
    /// How many reports are kept.
    pub const REPORTS_MAX: usize = 8;

    /// Adds what a report said; the oldest is forgotten when there are too many.
    pub fn note_report(&mut self, report: ReportedResult) {
        self.reports.push(report);
        let surplus = self.reports.len().saturating_sub(Self::REPORTS_MAX);
        self.reports.drain(..surplus);
    }

    /// The bytes that are stored; none when a text is longer than 65,535 octets, or there are too many reports.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let retired = self.layout()?;
        let mut out = match (&self.meta, &*self.reports) {
            (None, []) => retired.as_bytes().to_vec(),
            (meta, reports) => {
                let reports = u8::try_from(reports.len()).ok()?;
                if usize::from(reports) > Self::REPORTS_MAX {
                    return None;
                }
                let meta = meta.as_ref().map(QueueMeta::encode).map_or(Some(0), |meta| Some(meta?.len()))?;
                let retired = RetiredLayout { version: WithReportsLayout::VERSION, ..retired };
                let meta = u16::try_from(meta).ok()?.into();
                WithReportsLayout { retired, meta, reports, reserved: 0 }.as_bytes().to_vec()
            }
        };
        for text in [&self.mail_from, &self.address, &self.envelope_id] {
            out.extend_from_slice(text);
        }
        AttemptResult::put(self.result.as_ref(), &mut out);
        if let Some(meta) = &self.meta {
            out.extend_from_slice(&meta.encode()?);
        }
        for ReportedResult { action, result } in &self.reports {
            let fixed = ReportLayout {
                action: *action as u8,
                reserved: 0,
                result: AttemptResult::layout(Some(result))?,
            };
            out.extend_from_slice(fixed.as_bytes());
            AttemptResult::put(Some(result), &mut out);
        }
        Some(out)
    }

    fn layout(&self) -> Option<RetiredLayout> {
        let octets_max = usize::from(u16::MAX);
        Some(RetiredLayout {
            version: RetiredLayout::VERSION,
            retirement: self.retirement as u8,
            kind: self.kind as u8,
            reserved: 0,
            mail_from: length(&self.mail_from, octets_max)?,
            address: length(&self.address, octets_max)?,
            envelope_id: length(&self.envelope_id, octets_max)?,
            reserved_too: [0; 2],
            sender: self.sender.into(),
            attempts: self.attempts.into(),
            base: self.base.0.into(),
            ended: self.ended.into(),
            created: self.created.into(),
            result: AttemptResult::layout(self.result.as_ref())?,
        })
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail, meta, reports) = if bytes.first() == Some(&RetiredLayout::VERSION) {
            let (row, tail) = split::<RetiredLayout>(bytes)?;
            (row, tail, 0, 0)
        } else {
            let (row, tail) = split::<WithReportsLayout>(bytes)?;
            (&row.retired, tail, row.meta.get(), row.reports)
        };
        let mut tail = Tail::of::<RetiredLayout>(tail, bytes.len());
        if usize::from(reports) > Self::REPORTS_MAX {
            return Err(field::<RetiredLayout>("number of reports"));
        }
        let mut this = Self {
            retirement: match row.retirement {
                0 => Retirement::Delivered,
                1 => Retirement::Failed,
                2 => Retirement::Dropped,
                _ => return Err(field::<RetiredLayout>("end")),
            },
            kind: Kind::of(row.kind).ok_or(field::<RetiredLayout>("kind"))?,
            ended: row.ended.get(),
            created: row.created.get(),
            base: QueueId(row.base.get()),
            sender: row.sender.get(),
            attempts: row.attempts.get(),
            mail_from: tail.octets(row.mail_from.get())?.into(),
            address: tail.octets(row.address.get())?.into(),
            envelope_id: tail.octets(row.envelope_id.get())?.into(),
            result: AttemptResult::take::<RetiredLayout>(&row.result, &mut tail)?,
            meta: None,
            reports: Vec::new(),
        };
        if meta > 0 {
            this.meta = Some(QueueMeta::decode(tail.octets(meta)?)?);
        }
        for _ in 0..reports {
            let fixed = tail.octets(size_of::<ReportLayout>())?;
            let wrong = || field::<RetiredLayout>("report");
            let fixed = ReportLayout::ref_from_bytes(fixed).map_err(|_| wrong())?;
            let action = ReportedAction::of(fixed.action).ok_or_else(wrong)?;
            let result = AttemptResult::take::<RetiredLayout>(&fixed.result, &mut tail)?;
            this.reports.push(ReportedResult { action, result: result.ok_or_else(wrong)? });
        }
        tail.end()?;
        Ok(this)
    }
}
