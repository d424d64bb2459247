//! The evaluation of a record and of those that it includes or redirects to (RFC 7208 §4 to §7).

use std::net::IpAddr;

use postrider_dns::{Authenticity, Lookup, Name, Outcome, RecordType};
use postrider_proto::spf::{
    Directive, DomainSpec, DualPrefix, ExplainString, Letter, Mechanism, Record, SpfResult, Values,
};

use super::ask::{Addresses, Budgeted, Stop, mail_hosts, pointed_at};
use super::{Limits, Query};
use crate::names;

/// A record that is being evaluated.
struct Frame {
    /// `<domain>` of the standard.
    domain: String,
    record: Record,
    /// The directive that comes next.
    next: usize,
}

impl Frame {
    fn new(domain: String, record: Record) -> Self {
        Self { domain, record, next: 0 }
    }

    /// The directive that was looked at last.
    fn last_directive(&self) -> Option<&Directive> {
        self.record.directives.get(self.next.checked_sub(1)?)
    }
}

/// What an evaluation found.
pub(super) struct Found {
    pub(super) result: SpfResult,
    pub(super) mechanism: Option<String>,
    pub(super) problem: Option<String>,
    /// Where the explanation is, and `<domain>` for its macros.
    pub(super) explanation: Option<(DomainSpec, String)>,
}

impl Found {
    fn plain(result: SpfResult) -> Self {
        Self { result, mechanism: None, problem: None, explanation: None }
    }
}

impl From<Stop> for Found {
    fn from(stop: Stop) -> Self {
        let (result, problem) = match stop {
            Stop::Temporary(problem) => (SpfResult::Temperror, problem),
            Stop::Permanent(problem) => (SpfResult::Permerror, problem),
        };
        Self { problem: Some(problem), ..Self::plain(result) }
    }
}

/// The name that a term is about.
enum Target {
    Name(Name),
    /// No name can be made of it, so it matches nothing.
    None,
}

/// The evaluation of one identity.
pub(super) struct Evaluation<'a, L> {
    dns: Budgeted<'a, L>,
    limits: &'a Limits,
    query: &'a Query<'a>,
    /// The domain of the sender, in A-labels.
    sender_domain: &'a str,
    /// The client, never mapped.
    address: IpAddr,
    lookups: u32,
    void_lookups: u32,
    /// The names of the client that its PTR records tell, once they were asked for; none of them is validated.
    client_names: Option<Vec<Name>>,
}

impl<'a, L: Lookup> Evaluation<'a, L> {
    pub(super) fn new(dns: &'a L, limits: &'a Limits, query: &'a Query<'a>, domain: &'a str) -> Self {
        Self {
            dns: Budgeted::new(dns, limits),
            limits,
            query,
            sender_domain: domain,
            address: names::unmapped(query.client_ip),
            lookups: 0,
            void_lookups: 0,
            client_names: None,
        }
    }

    pub(super) fn lookups(&self) -> u32 {
        self.lookups
    }

    pub(super) fn void_lookups(&self) -> u32 {
        self.void_lookups
    }

    pub(super) fn queries(&self) -> u32 {
        self.dns.queries
    }

    pub(super) fn authenticity(&self) -> Authenticity {
        self.dns.authenticity.unwrap_or(Authenticity::Indeterminate)
    }

    pub(super) async fn run(&mut self) -> Found {
        self.evaluate().await.unwrap_or_else(Found::from)
    }

    async fn evaluate(&mut self) -> Result<Found, Stop> {
        let Some(record) = self.record(self.sender_domain).await? else {
            return Ok(Found::plain(SpfResult::None));
        };
        let mut frames = vec![Frame::new(self.sender_domain.into(), record)];
        loop {
            let Some(frame) = frames.last_mut() else { return Ok(Found::plain(SpfResult::None)) };
            let mut end = None;
            if let Some(directive) = frame.record.directives.get(frame.next).cloned() {
                frame.next += 1;
                let domain = frame.domain.clone();
                if let Mechanism::Include(spec) = &directive.mechanism {
                    if let Some(frame) = self.included(spec, &domain).await? {
                        frames.push(frame);
                    }
                } else if self.is_match(&directive.mechanism, &domain).await? {
                    end = Some(End::Matched(directive.qualifier.result()));
                }
            } else if let Some(spec) = frame.record.redirect.clone() {
                let domain = frame.domain.clone();
                *frame = self.redirected(&spec, &domain).await?;
            } else {
                end = Some(End::Default);
            }
            if let Some(end) = end
                && let Some(found) = finish(&mut frames, end)
            {
                return Ok(found);
            }
        }
    }

    /// Counts a term that asks DNS.
    fn count_lookup(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > self.limits.lookups_max {
            return Err(Stop::Permanent(format!("more than {} terms that ask DNS", self.limits.lookups_max)));
        }
        Ok(())
    }

    /// Counts a term for which there was nothing in DNS.
    fn count_void(&mut self) -> Result<(), Stop> {
        self.void_lookups += 1;
        if self.void_lookups > self.limits.void_lookups_max {
            let max = self.limits.void_lookups_max;
            return Err(Stop::Permanent(format!("more than {max} terms with nothing in DNS")));
        }
        Ok(())
    }

    /// The record of a domain (RFC 7208 §4.3 to §4.6); none when there is none, or the domain can't have one.
    async fn record(&mut self, domain: &str) -> Result<Option<Record>, Stop> {
        let Some(name) = names::absolute(domain).filter(|name| name.num_labels() > 1) else {
            return Ok(None);
        };
        // Nor has an address literal.
        if !domain.is_ascii() || domain.starts_with('[') {
            return Ok(None);
        }
        let answer = self.dns.ask(&name, RecordType::TXT).await?;
        if answer.outcome == Outcome::Failed {
            return Err(Stop::Temporary(names::failure(&answer)));
        }
        let texts = answer.data().filter_map(names::text_of);
        let mut records = texts.filter(|text| Record::is_one(text));
        let Some(text) = records.next() else { return Ok(None) };
        if records.next().is_some() {
            return Err(Stop::Permanent(format!("{domain} has more than one SPF record")));
        }
        let record = Record::parse(&text);
        record.map(Some).map_err(|error| Stop::Permanent(format!("SPF record of {domain}: {error}")))
    }

    /// The record that an `include` is about; none when it matches nothing (RFC 8616 §4).
    async fn included(&mut self, spec: &DomainSpec, domain: &str) -> Result<Option<Frame>, Stop> {
        self.count_lookup()?;
        let Some(target) = self.target_name(spec, domain).await? else { return Ok(None) };
        match self.record(&target).await? {
            Some(record) => Ok(Some(Frame::new(target, record))),
            None => {
                let problem = format!("{domain} includes {target}, which has no SPF record");
                Err(Stop::Permanent(problem))
            }
        }
    }

    /// The record that takes the place of the one of `domain` (RFC 7208 §6.1).
    async fn redirected(&mut self, spec: &DomainSpec, domain: &str) -> Result<Frame, Stop> {
        self.count_lookup()?;
        let target = self.target_name(spec, domain).await?;
        let record = match &target {
            Some(target) => self.record(target).await?,
            None => None,
        };
        match (target, record) {
            (Some(target), Some(record)) => Ok(Frame::new(target, record)),
            (target, _) => {
                let target = target.unwrap_or_else(|| spec.to_string());
                let problem = format!("{domain} redirects to {target}, which has no SPF record");
                Err(Stop::Permanent(problem))
            }
        }
    }

    /// What macros stand for, but for the client's validated name.
    fn values<'v>(&'v self, domain: &'v str, validated_name: &'v str) -> Values<'v> {
        let local_part = if self.query.local_part.is_empty() { "postmaster" } else { self.query.local_part };
        Values {
            local_part,
            sender_domain: self.sender_domain,
            domain,
            address: self.address,
            validated_name,
            helo: self.query.helo,
            receiver: self.query.receiver,
            unix_seconds: self.query.unix_seconds,
        }
    }

    /// Expands the name of a term; none when it would need what is beyond ASCII.
    async fn target_name(&mut self, spec: &DomainSpec, domain: &str) -> Result<Option<String>, Stop> {
        let validated =
            if spec.has(Letter::ValidatedName) { self.validated_name(domain).await? } else { None };
        let validated = validated.as_deref().unwrap_or("unknown");
        Ok(spec.target_name(&self.values(domain, validated)).ok())
    }

    async fn target(&mut self, spec: Option<&DomainSpec>, domain: &str) -> Result<Target, Stop> {
        let text = match spec {
            Some(spec) => self.target_name(spec, domain).await?,
            None => Some(domain.to_owned()),
        };
        // RFC 7208 §4.8 leaves open what a name with an empty or a long label does.
        Ok(text.and_then(|text| names::absolute(&text)).map_or(Target::None, Target::Name))
    }

    /// Whether a mechanism other than `include` matches.
    async fn is_match(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        if mechanism.asks_dns() {
            self.count_lookup()?;
        }
        match mechanism {
            Mechanism::All => Ok(true),
            // Handled by the caller.
            Mechanism::Include(_) => Ok(false),
            Mechanism::Ip4(network, bits) => Ok(is_within(self.address, IpAddr::V4(*network), *bits)),
            Mechanism::Ip6(network, bits) => Ok(is_within(self.address, IpAddr::V6(*network), *bits)),
            Mechanism::A(spec, prefix) => {
                let Target::Name(name) = self.target(spec.as_ref(), domain).await? else { return Ok(false) };
                self.is_address_of(&name, *prefix).await
            }
            Mechanism::Mx(spec, prefix) => {
                let Target::Name(name) = self.target(spec.as_ref(), domain).await? else { return Ok(false) };
                self.is_mail_host(&name, *prefix).await
            }
            Mechanism::Ptr(spec) => {
                let Target::Name(name) = self.target(spec.as_ref(), domain).await? else { return Ok(false) };
                self.is_named_within(&name).await
            }
            Mechanism::Exists(spec) => {
                let Target::Name(name) = self.target(Some(spec), domain).await? else { return Ok(false) };
                match self.dns.addresses(&name, RecordType::A).await? {
                    Addresses::Failed(problem) => Err(Stop::Temporary(problem)),
                    Addresses::Known(addresses) if addresses.is_empty() => {
                        self.count_void()?;
                        Ok(false)
                    }
                    Addresses::Known(_) => Ok(true),
                }
            }
        }
    }

    /// Whether the client is at an address of a host, in the prefix of one, respectively.
    fn has_client(&self, addresses: &[IpAddr], prefix: DualPrefix) -> bool {
        let bits = if self.address.is_ipv4() { prefix.v4 } else { prefix.v6 };
        addresses.iter().any(|address| is_within(self.address, *address, bits))
    }

    async fn is_address_of(&mut self, name: &Name, prefix: DualPrefix) -> Result<bool, Stop> {
        match self.dns.addresses(name, names::address_type(self.address)).await? {
            Addresses::Failed(problem) => Err(Stop::Temporary(problem)),
            Addresses::Known(addresses) => {
                if addresses.is_empty() {
                    self.count_void()?;
                }
                Ok(self.has_client(&addresses, prefix))
            }
        }
    }

    async fn is_mail_host(&mut self, name: &Name, prefix: DualPrefix) -> Result<bool, Stop> {
        let answer = self.dns.ask(name, RecordType::MX).await?;
        if answer.outcome == Outcome::Failed {
            return Err(Stop::Temporary(names::failure(&answer)));
        }
        let mut has_addresses = false;
        for (number, host) in mail_hosts(&answer).iter().enumerate() {
            // RFC 7208 §4.6.4: no more than ten are asked for. Who would need the eleventh gets no result.
            if number == self.limits.hosts_max {
                let name = name.to_ascii();
                let name = name.strip_suffix('.').unwrap_or(&name);
                let problem = format!("{name} has more than {} mail hosts", self.limits.hosts_max);
                return Err(Stop::Permanent(problem));
            }
            match self.dns.addresses(host, names::address_type(self.address)).await? {
                Addresses::Failed(problem) => return Err(Stop::Temporary(problem)),
                Addresses::Known(addresses) if self.has_client(&addresses, prefix) => return Ok(true),
                Addresses::Known(addresses) => has_addresses |= !addresses.is_empty(),
            }
        }
        // A term counts once: hosts without an address of the client's kind are frequent.
        if !has_addresses {
            self.count_void()?;
        }
        Ok(false)
    }

    /// The names that the client's PTR records tell, at most ten. Empty when DNS fails (RFC 7208 §5.5).
    async fn client_names(&mut self) -> Result<Vec<Name>, Stop> {
        if let Some(known) = &self.client_names {
            return Ok(known.clone());
        }
        let mut found = Vec::new();
        if let Some(name) = names::of_address(self.address) {
            let answer = self.dns.ask(&name, RecordType::PTR).await?;
            found = pointed_at(&answer);
            // Which names there are is not up to the domain: what is over is ignored.
            found.truncate(self.limits.hosts_max);
            if matches!(answer.outcome, Outcome::NoData | Outcome::NoName) {
                self.count_void()?;
            }
        }
        self.client_names = Some(found.clone());
        Ok(found)
    }

    /// Whether a name of the client has the client's address.
    async fn is_validated(&mut self, name: &Name) -> bool {
        // A client's names must not spoil the domain's result by using up the questions.
        match self.dns.addresses(name, names::address_type(self.address)).await {
            Ok(Addresses::Known(addresses)) => addresses.contains(&self.address),
            Ok(Addresses::Failed(_)) | Err(_) => false,
        }
    }

    /// Whether a validated name of the client is at or below `target`. Others aren't asked for.
    async fn is_named_within(&mut self, target: &Name) -> Result<bool, Stop> {
        for name in self.client_names().await? {
            if target.zone_of(&name) && self.is_validated(&name).await {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `%{p}` (RFC 7208 §7.3): the domain itself, else a name below it, else any validated name.
    async fn validated_name(&mut self, domain: &str) -> Result<Option<String>, Stop> {
        if self.client_names.is_none() {
            // RFC 7208 §4.6.4: the question for PTR records counts.
            self.count_lookup()?;
        }
        let mut found = self.client_names().await?;
        if let Some(domain) = names::absolute(domain) {
            found.sort_by_key(|name| (*name != domain, !domain.zone_of(name)));
        }
        for name in found {
            if let Some(text) = names::host_name(&name)
                && self.is_validated(&name).await
            {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// What the domain says of a failure (RFC 7208 §6.2); none when it says nothing that can be understood.
    pub(super) async fn explain(&mut self, spec: &DomainSpec, domain: &str) -> Option<String> {
        let target = self.target_name(spec, domain).await.ok()??;
        let answer = self.dns.ask_beyond(&names::absolute(&target)?, RecordType::TXT).await;
        let mut texts = answer.data().filter_map(names::text_of);
        let (text, other) = (texts.next()?, texts.next());
        if other.is_some() {
            return None;
        }
        let text = ExplainString::parse(&text).ok()?;
        let validated = match text.has(Letter::ValidatedName) {
            true => self.validated_name(domain).await.ok()?,
            false => None,
        };
        let validated = validated.as_deref().unwrap_or("unknown");
        text.expand(&self.values(domain, validated)).ok()
    }
}

/// How a record ends.
enum End {
    /// A directive matched, which says this.
    Matched(SpfResult),
    /// None did (RFC 7208 §4.7).
    Default,
}

/// Ends the record on top, and those that included it as far as that decides them. What was found, when the first
/// record is decided.
fn finish(frames: &mut Vec<Frame>, mut end: End) -> Option<Found> {
    loop {
        let frame = frames.pop()?;
        let Some(parent) = frames.last() else {
            let End::Matched(result) = end else { return Some(Found::plain(SpfResult::Neutral)) };
            let explanation = frame.record.explanation.as_ref().filter(|_| result == SpfResult::Fail);
            return Some(Found {
                mechanism: frame.last_directive().map(ToString::to_string),
                explanation: explanation.map(|spec| (spec.clone(), frame.domain.clone())),
                ..Found::plain(result)
            });
        };
        // RFC 7208 §5.2: pass is a match, every other result is none.
        if !matches!(end, End::Matched(SpfResult::Pass)) {
            return None;
        }
        end = End::Matched(parent.last_directive()?.qualifier.result());
    }
}

/// Whether the first `bits` of two addresses of one kind are the same.
fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    // A prefix of 0 bits shifts everything out, which a plain shift can't do.
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = u32::from(address) ^ u32::from(network);
            differing.checked_shr(32 - u32::from(bits.min(32))).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = u128::from(address) ^ u128::from(network);
            differing.checked_shr(128 - u32::from(bits.min(128))).unwrap_or(0) == 0
        }
        _ => false,
    }
}
