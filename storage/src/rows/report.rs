//! Rows of reports that other servers sent, and of messages that may have one.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, Tail, bit, field, length, split};
use crate::directory::ReportKinds;

/// The longest text of a row, in octets.
const TEXT_OCTETS_MAX: usize = 1024;

/// What a report is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ReportKind {
    /// Mail in the name of a domain (RFC 7489 §7.2).
    Dmarc = 1,
    /// Connections to its servers (RFC 8460).
    Tls = 2,
}

/// What confirms that a report is from whom it says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ReportProof {
    /// Nothing.
    Nothing = 0,
    /// A DKIM signature.
    Dkim = 1,
    /// SPF.
    Spf = 2,
    /// DMARC.
    Dmarc = 3,
    /// It was submitted by a user of ours, who may use the address.
    Submission = 4,
}

/// A report that was received, without what it says in detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportRow {
    /// What it is about.
    pub kind: ReportKind,
    /// What confirms its submitter.
    pub proof: ReportProof,
    /// When it came, in seconds since 1970.
    pub received: i64,
    /// From when on it reports.
    pub begin: i64,
    /// Until when.
    pub end: i64,
    /// Messages, or sessions, that it is about.
    pub total: u64,
    /// Of these, how many failed: DMARC, or TLS.
    pub failed: u64,
    /// Messages that were put aside for what the policy says.
    pub quarantined: u64,
    /// Messages that were refused for it.
    pub rejected: u64,
    /// Records, or policies, that are kept of it.
    pub entries: u32,
    /// Those that there was no room for. They are in the sums.
    pub left_out: u32,
    /// Octets of what is kept of it.
    pub text_octets: u32,
    /// By which its kind, its domain, its submitter and its id are known again.
    pub digest: [u8; 16],
    /// How who made it is called.
    pub organization: Box<str>,
    /// The domain of who sent it.
    pub submitter: Box<str>,
    /// What its submitter calls it.
    pub report_id: Box<str>,
    /// The domain that it names, ours or one below it.
    pub policy_domain: Box<str>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ReportLayout {
    version: u8,
    kind: u8,
    proof: u8,
    reserved: u8,
    received: I64,
    begin: I64,
    end: I64,
    total: U64,
    failed: U64,
    quarantined: U64,
    rejected: U64,
    entries: U32,
    left_out: U32,
    text_octets: U32,
    digest: [u8; 16],
    lengths: [U16; 4],
}

impl Fixed for ReportLayout {
    const NAME: &'static str = "REPORT";
}

impl ReportRow {
    /// The longest of its texts.
    pub const TEXT_OCTETS_MAX: usize = TEXT_OCTETS_MAX;

    const fn texts(&self) -> [&str; 4] {
        [&self.organization, &self.submitter, &self.report_id, &self.policy_domain]
    }

    /// The bytes that are stored; none when a text is longer than [`Self::TEXT_OCTETS_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let fixed = ReportLayout {
            version: ReportLayout::VERSION,
            kind: self.kind as u8,
            proof: self.proof as u8,
            reserved: 0,
            received: self.received.into(),
            begin: self.begin.into(),
            end: self.end.into(),
            total: self.total.into(),
            failed: self.failed.into(),
            quarantined: self.quarantined.into(),
            rejected: self.rejected.into(),
            entries: self.entries.into(),
            left_out: self.left_out.into(),
            text_octets: self.text_octets.into(),
            digest: self.digest,
            lengths: lengths(self.texts())?,
        };
        Some([fixed.as_bytes(), self.texts().concat().as_bytes()].concat())
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<ReportLayout>(bytes)?;
        let mut tail = Tail::of::<ReportLayout>(tail, bytes.len());
        let [organization, submitter, report_id, policy_domain] = row.lengths;
        let this = Self {
            kind: match row.kind {
                1 => ReportKind::Dmarc,
                2 => ReportKind::Tls,
                _ => return Err(field::<ReportLayout>("kind")),
            },
            proof: match row.proof {
                0 => ReportProof::Nothing,
                1 => ReportProof::Dkim,
                2 => ReportProof::Spf,
                3 => ReportProof::Dmarc,
                4 => ReportProof::Submission,
                _ => return Err(field::<ReportLayout>("proof")),
            },
            received: row.received.get(),
            begin: row.begin.get(),
            end: row.end.get(),
            total: row.total.get(),
            failed: row.failed.get(),
            quarantined: row.quarantined.get(),
            rejected: row.rejected.get(),
            entries: row.entries.get(),
            left_out: row.left_out.get(),
            text_octets: row.text_octets.get(),
            digest: row.digest,
            organization: tail.text(organization.get())?,
            submitter: tail.text(submitter.get())?,
            report_id: tail.text(report_id.get())?,
            policy_domain: tail.text(policy_domain.get())?,
        };
        tail.end()?;
        Ok(this)
    }
}

/// What was found out about a message that may have a report in it, which is still to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportTodoRow {
    /// The kinds that are read where it went.
    pub kinds: ReportKinds,
    /// When it came, in seconds since 1970.
    pub received: i64,
    /// DMARC passes for the domain of its From field.
    pub dmarc: bool,
    /// One of our own users submitted it.
    pub submitted: bool,
    /// The domain of its From field; empty when it has none.
    pub from: Box<str>,
    /// The domain for which SPF passes; empty when it doesn't.
    pub spf: Box<str>,
    /// The domains whose signatures pass, with spaces in between.
    pub signers: Box<str>,
    /// The same of signatures by keys that are for nothing but reports of TLS.
    pub tls_signers: Box<str>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ReportTodoLayout {
    version: u8,
    kinds: u8,
    traits: u8,
    reserved: u8,
    lengths: [U16; 4],
    received: I64,
}

impl Fixed for ReportTodoLayout {
    const NAME: &'static str = "REPORTTODO";
}

const DMARC: u8 = 1;
const SUBMITTED: u8 = 1 << 1;

impl ReportTodoRow {
    /// The longest of its texts.
    pub const TEXT_OCTETS_MAX: usize = TEXT_OCTETS_MAX;

    const fn texts(&self) -> [&str; 4] {
        [&self.from, &self.spf, &self.signers, &self.tls_signers]
    }

    /// The bytes that are stored; none when a text is longer than [`Self::TEXT_OCTETS_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let fixed = ReportTodoLayout {
            version: ReportTodoLayout::VERSION,
            kinds: self.kinds.bits(),
            traits: bit(self.dmarc, DMARC) | bit(self.submitted, SUBMITTED),
            reserved: 0,
            lengths: lengths(self.texts())?,
            received: self.received.into(),
        };
        Some([fixed.as_bytes(), self.texts().concat().as_bytes()].concat())
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<ReportTodoLayout>(bytes)?;
        let mut tail = Tail::of::<ReportTodoLayout>(tail, bytes.len());
        let [from, spf, signers, tls_signers] = row.lengths;
        let this = Self {
            kinds: ReportKinds::from_bits(row.kinds).ok_or_else(|| field::<ReportTodoLayout>("kinds"))?,
            received: row.received.get(),
            dmarc: row.traits & DMARC != 0,
            submitted: row.traits & SUBMITTED != 0,
            from: tail.text(from.get())?,
            spf: tail.text(spf.get())?,
            signers: tail.text(signers.get())?,
            tls_signers: tail.text(tls_signers.get())?,
        };
        tail.end()?;
        Ok(this)
    }
}

fn lengths<const N: usize>(texts: [&str; N]) -> Option<[U16; N]> {
    let mut lengths = [U16::ZERO; N];
    for (at, text) in lengths.iter_mut().zip(texts) {
        *at = length(text.as_bytes(), TEXT_OCTETS_MAX)?;
    }
    Some(lengths)
}
