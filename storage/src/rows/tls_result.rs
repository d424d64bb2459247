//! Rows of how TLS with the servers of a domain went in a day.

use std::net::{IpAddr, Ipv6Addr};

use postrider_proto::tlsrpt::{Failure, PolicyReport, PolicyType, ResultType};
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, Tail, bit, field, split};

/// How TLS with the servers of a domain went in a day, under one policy domain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsResultRow {
    /// Whether it is a reason for a report by itself: it isn't all about reports of ours.
    pub is_reason: bool,
    /// Addresses that have had it, in a report to the recipient's domain.
    pub told: Vec<Box<str>>,
    /// By policy. Their `policy_domain` is in the key, and empty here.
    pub policies: Vec<PolicyReport>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TlsResultLayout {
    version: u8,
    traits: u8,
    told: u8,
    policies: u8,
}

impl Fixed for TlsResultLayout {
    const NAME: &'static str = "TLSRESULT";
}

const REASON: u8 = 1;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PolicyLayout {
    kind: u8,
    reserved: u8,
    lines: U16,
    hosts: U16,
    failures: U16,
    successful: U64,
    failed: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FailureLayout {
    sessions: U64,
    traits: u8,
    reserved: u8,
    sending: [u8; 16],
    receiving: [u8; 16],
}

const SENDING: u8 = 1;
const RECEIVING: u8 = 1 << 1;
const KINDS: [PolicyType; 3] = [PolicyType::Tlsa, PolicyType::Sts, PolicyType::NoPolicyFound];

impl TlsResultRow {
    /// The bytes that are stored; none when something is longer than its length can say.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let fixed = TlsResultLayout {
            version: TlsResultLayout::VERSION,
            traits: bit(self.is_reason, REASON),
            told: u8::try_from(self.told.len()).ok()?,
            policies: u8::try_from(self.policies.len()).ok()?,
        };
        let mut out = fixed.as_bytes().to_vec();
        for address in &self.told {
            put(&mut out, address)?;
        }
        for policy in &self.policies {
            put_policy(&mut out, policy)?;
        }
        Some(out)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<TlsResultLayout>(bytes)?;
        let mut tail = Tail::of::<TlsResultLayout>(tail, bytes.len());
        let told = (0..row.told).map(|_| take(&mut tail)).collect::<Result<_, _>>()?;
        let policies = (0..row.policies).map(|_| policy(&mut tail)).collect::<Result<_, _>>()?;
        tail.end()?;
        Ok(Self { is_reason: row.traits & REASON != 0, told, policies })
    }

    /// Whether any session failed.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.policies.iter().any(|policy| policy.failed_sessions > 0)
    }
}

/// A text with its length before it.
fn put(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

fn take(tail: &mut Tail<'_>) -> Result<Box<str>, BadRow> {
    let length = tail.octets(2_usize)?;
    let length = u16::from_le_bytes([length[0], length[1]]);
    tail.text(length)
}

/// The fixed part of something in a row.
fn part<'a, T: FromBytes + KnownLayout + Immutable + Unaligned>(
    tail: &mut Tail<'a>,
) -> Result<&'a T, BadRow> {
    let octets = tail.octets(size_of::<T>())?;
    T::ref_from_bytes(octets).map_err(|_| tail.wrong)
}

fn put_policy(out: &mut Vec<u8>, policy: &PolicyReport) -> Option<()> {
    let count = |count: usize| u16::try_from(count).ok().map(U16::from);
    let fixed = PolicyLayout {
        kind: u8::try_from(KINDS.iter().position(|kind| *kind == policy.policy_type)?).ok()?,
        reserved: 0,
        lines: count(policy.policy_strings.len())?,
        hosts: count(policy.mx_hosts.len())?,
        failures: count(policy.failures.len())?,
        successful: policy.successful_sessions.into(),
        failed: policy.failed_sessions.into(),
    };
    out.extend_from_slice(fixed.as_bytes());
    for text in policy.policy_strings.iter().chain(&policy.mx_hosts) {
        put(out, text)?;
    }
    for failure in &policy.failures {
        let address = |address: Option<IpAddr>| match address {
            None => [0; 16],
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped().octets(),
            Some(IpAddr::V6(address)) => address.octets(),
        };
        let fixed = FailureLayout {
            sessions: failure.sessions.into(),
            traits: bit(failure.sending_mta_ip.is_some(), SENDING)
                | bit(failure.receiving_ip.is_some(), RECEIVING),
            reserved: 0,
            sending: address(failure.sending_mta_ip),
            receiving: address(failure.receiving_ip),
        };
        out.extend_from_slice(fixed.as_bytes());
        put(out, failure.result_type.name())?;
        for text in [&failure.receiving_mx_hostname, &failure.receiving_mx_helo, &failure.reason_code] {
            put(out, text.as_deref().unwrap_or_default())?;
        }
    }
    Some(())
}

fn policy(tail: &mut Tail<'_>) -> Result<PolicyReport, BadRow> {
    let row: &PolicyLayout = part(tail)?;
    let policy_type = KINDS.get(usize::from(row.kind)).ok_or(field::<TlsResultLayout>("policy type"))?;
    let mut texts = |count: U16| (0..count.get()).map(|_| take(tail)).collect::<Result<_, _>>();
    let (policy_strings, mx_hosts) = (texts(row.lines)?, texts(row.hosts)?);
    Ok(PolicyReport {
        policy_type: policy_type.clone(),
        policy_strings,
        policy_domain: Box::default(),
        mx_hosts,
        successful_sessions: row.successful.get(),
        failed_sessions: row.failed.get(),
        failures: (0..row.failures.get()).map(|_| failure(tail)).collect::<Result<_, _>>()?,
    })
}

fn failure(tail: &mut Tail<'_>) -> Result<Failure, BadRow> {
    let row: &FailureLayout = part(tail)?;
    let address = |octets: [u8; 16], is_there: u8| {
        (row.traits & is_there != 0).then(|| Ipv6Addr::from(octets).to_canonical())
    };
    let (sending_mta_ip, receiving_ip) = (address(row.sending, SENDING), address(row.receiving, RECEIVING));
    let result_type = ResultType::parse(&take(tail)?);
    let mut text = || Ok::<_, BadRow>(Some(take(tail)?).filter(|text| !text.is_empty()));
    Ok(Failure {
        result_type,
        sending_mta_ip,
        receiving_mx_hostname: text()?,
        receiving_mx_helo: text()?,
        receiving_ip,
        sessions: row.sessions.get(),
        additional_information: None,
        reason_code: text()?,
    })
}
