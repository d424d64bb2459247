//! What DMARC said of a message, for the reports that domains ask for.

use std::net::{IpAddr, Ipv6Addr};

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, field, split};

/// What was done with a message because of DMARC (RFC 7489 Appendix C, DispositionType).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Nothing.
    None = 0,
    /// It was treated as suspicious.
    Quarantine = 1,
    /// It was refused.
    Reject = 2,
}

/// One evaluation of DMARC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvaluationRow {
    /// Whether it alone is no reason for a report: mail from nobody whose mail was wanted.
    pub optional: bool,
    /// What was done.
    pub disposition: Disposition,
    /// Whether an aligned DKIM signature passed.
    pub dkim_aligned: bool,
    /// Whether an aligned SPF identity passed.
    pub spf_aligned: bool,
    /// Why the policy was not applied, as words of RFC 7489 Appendix C (PolicyOverrideType) with blanks between.
    pub overrides: Box<str>,
    /// Where the message came from.
    pub source: IpAddr,
    /// The domain that the policy is of.
    pub policy_domain: Box<str>,
    /// Its record.
    pub record: Box<str>,
    /// The domain of the From field.
    pub header_from: Box<str>,
    /// The domain of the reverse path; empty for the null path.
    pub envelope_from: Box<str>,
    /// The domain of the recipient.
    pub envelope_to: Box<str>,
    /// The SPF identity's domain.
    pub spf_domain: Box<str>,
    /// SPF's word.
    pub spf_result: Box<str>,
    /// Of each DKIM signature its domain, its selector and its result, with blanks between and a line each.
    pub dkim: Box<str>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct EvaluationLayout {
    version: u8,
    traits: u8,
    disposition: u8,
    reserved: u8,
    source: [u8; 16],
    lengths: [U16; TEXTS],
}

impl Fixed for EvaluationLayout {
    const NAME: &'static str = "EVALUATION";
}

const TEXTS: usize = 9;
const OPTIONAL: u8 = 1;
const DKIM: u8 = 1 << 1;
const SPF: u8 = 1 << 2;

impl EvaluationRow {
    /// The longest text of one.
    pub const TEXT_OCTETS_MAX: usize = 4096;

    fn texts(&self) -> [&str; TEXTS] {
        [
            &self.overrides,
            &self.policy_domain,
            &self.record,
            &self.header_from,
            &self.envelope_from,
            &self.envelope_to,
            &self.spf_domain,
            &self.spf_result,
            &self.dkim,
        ]
    }

    /// The bytes that are stored; none when a text is longer than [`Self::TEXT_OCTETS_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let texts = self.texts();
        let mut lengths = [U16::ZERO; TEXTS];
        for (length, text) in lengths.iter_mut().zip(texts) {
            *length = u16::try_from(text.len()).ok().filter(|_| text.len() <= Self::TEXT_OCTETS_MAX)?.into();
        }
        let source = match self.source {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let fixed = EvaluationLayout {
            version: EvaluationLayout::VERSION,
            traits: bit(self.optional, OPTIONAL) | bit(self.dkim_aligned, DKIM) | bit(self.spf_aligned, SPF),
            disposition: self.disposition as u8,
            reserved: 0,
            source: source.octets(),
            lengths,
        };
        let mut out = fixed.as_bytes().to_vec();
        texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
        Some(out)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, mut tail) = split::<EvaluationLayout>(bytes)?;
        let wrong = BadRow::Length { row: EvaluationLayout::NAME, octets: bytes.len() };
        let mut texts: [Box<str>; TEXTS] = Default::default();
        for (text, length) in texts.iter_mut().zip(row.lengths) {
            let (octets, rest) = tail.split_at_checked(length.get().into()).ok_or(wrong)?;
            *text = std::str::from_utf8(octets).map_err(|_| field::<EvaluationLayout>("text"))?.into();
            tail = rest;
        }
        if !tail.is_empty() {
            return Err(wrong);
        }
        let disposition = match row.disposition {
            0 => Disposition::None,
            1 => Disposition::Quarantine,
            2 => Disposition::Reject,
            _ => return Err(field::<EvaluationLayout>("disposition")),
        };
        let [
            overrides,
            policy_domain,
            record,
            header_from,
            envelope_from,
            envelope_to,
            spf_domain,
            spf_result,
            dkim,
        ] = texts;
        Ok(Self {
            optional: row.traits & OPTIONAL != 0,
            disposition,
            dkim_aligned: row.traits & DKIM != 0,
            spf_aligned: row.traits & SPF != 0,
            overrides,
            source: Ipv6Addr::from(row.source).to_canonical(),
            policy_domain,
            record,
            header_from,
            envelope_from,
            envelope_to,
            spf_domain,
            spf_result,
            dkim,
        })
    }
}
