//! Which hosts take mail for a recipient's domain (RFC 5321 §5, RFC 7505), and what is known of how they were found.
//!
//! Always holds: a lookup that failed is never taken for one that found nothing; a host at which this server would
//! meet itself is none (RFC 5321 §5.1).

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use postrider_dns::dane::{Found, NextHop, find as find_dane};
use postrider_dns::lookups::{Exchanger, exchangers};
use postrider_dns::{Answer, Authenticity, ExtendedError, Lookup, Name, Outcome, Step, parse_name};
use postrider_proto::address::{AddressError, AddressLiteral, Domain};

use crate::limits::{ALIASES_MAX, DNS_ERRORS_MAX, EXCHANGERS_MAX};
use crate::outcome::{Class, Status};
use crate::transport::RelayHost;

/// What recipients of one entry have in common: what stands behind the `@`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A domain.
    Domain(Domain),
    /// An address literal.
    Literal(IpAddr),
}

impl Target {
    /// Parses a domain, or an address literal with its brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.starts_with('[') {
            return AddressLiteral::parse(text).map(|literal| Self::Literal(literal.0));
        }
        Domain::parse(text).map(Self::Domain)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => write!(f, "{domain}"),
            Self::Literal(address) => write!(f, "{}", AddressLiteral(*address)),
        }
    }
}

/// What this server is called, and where it listens. Nothing for a domain whose mailboxes are here: it is delivered
/// to by connecting to ourselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own<'a> {
    /// Names that MX records may have for it, absolute.
    pub names: &'a [Name],
    /// Addresses at which it takes mail.
    pub addresses: &'a [IpAddr],
}

/// How hosts were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// By MX records.
    Exchangers,
    /// There are none, so the domain itself is the host (RFC 5321 §5.1).
    Implicit,
    /// The recipient's address has it.
    Literal,
    /// A relay is configured.
    Relay,
}

/// A host that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its name, as DNS has it.
    pub host: String,
    /// Why.
    pub why: Why,
}

/// Why a host is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Its name isn't that of a host.
    NoHostName,
    /// It is this server.
    Ourselves,
    /// It isn't preferred to this server, which would send the message in circles.
    BehindOurselves,
    /// There are over [`EXCHANGERS_MAX`], or it comes a second time.
    Surplus,
}

/// Where a message goes.
#[derive(Clone, Debug)]
pub struct Destination {
    /// What was asked for.
    pub target: Target,
    /// How the hosts were found.
    pub via: Via,
    /// Where aliases of the domain lead, the domain itself without any. None for addresses.
    pub expanded: Option<Name>,
    /// The aliases.
    pub aliases: Vec<Step>,
    /// Whether what was found at the original name can be believed: its first alias, or its records, or that it has
    /// none.
    pub original: Authenticity,
    /// Whether all of it can be believed: each alias and the MX records, or that there are none.
    pub chain: Authenticity,
    /// The hosts by preference, in the order of the answer within one.
    pub hosts: Vec<Exchanger>,
    /// The address that is connected to, where no host has a name.
    pub address: Option<IpAddr>,
    /// Records that name no host.
    pub ignored: Vec<Ignored>,
    /// Why it isn't secure; empty when there is nothing to say.
    pub reason: String,
    /// Extended DNS errors of the lookup.
    pub errors: Vec<ExtendedError>,
}

/// Why a message goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfound {
    /// The domain doesn't exist.
    #[error("the domain {0} does not exist")]
    NoSuchDomain(String),
    /// It takes no mail (RFC 7505).
    #[error("the domain {0} takes no mail")]
    TakesNoMail(String),
    /// None of its MX records names a host.
    #[error("none of the MX records of {0} names a host")]
    NoHost(String),
    /// Its most preferred host is this server, which doesn't have it.
    #[error("mail for {0} would come back to this server")]
    Ourselves(String),
    /// DNS failed.
    #[error("looking up the mail hosts of {domain} failed: {reason}")]
    Failed {
        /// The domain.
        domain: String,
        /// Why.
        reason: String,
        /// What upstreams and validation said of it.
        errors: Vec<ExtendedError>,
    },
}

impl Unfound {
    /// The enhanced status code (RFC 3463, RFC 7505 §4.1).
    #[must_use]
    pub fn status(&self) -> Status {
        let (class, subject, detail) = match self {
            Self::NoSuchDomain(_) => (Class::Permanent, 1, 2),
            Self::TakesNoMail(_) => (Class::Permanent, 1, 10),
            Self::NoHost(_) => (Class::Permanent, 4, 4),
            Self::Ourselves(_) => (Class::Permanent, 4, 6),
            Self::Failed { .. } => (Class::Temporary, 4, 3),
        };
        Status { class, subject, detail }
    }

    /// The reply code that a server would give for it.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::TakesNoMail(_) => 556,
            Self::NoSuchDomain(_) => 550,
            Self::NoHost(_) | Self::Ourselves(_) => 554,
            Self::Failed { .. } => 451,
        }
    }
}

/// Finds the hosts for a target.
pub async fn find(lookup: &impl Lookup, target: &Target, own: Own<'_>) -> Result<Destination, Unfound> {
    let domain = match target {
        Target::Literal(address) => return Ok(Destination::address(target.clone(), *address, Via::Literal)),
        Target::Domain(domain) => domain,
    };
    let name = parse_name(domain.as_str()).map_err(|_| Unfound::NoSuchDomain(domain.to_string()))?;
    let found = exchangers(lookup, &name).await;
    let answer = &found.answer;
    if answer.outcome == Outcome::Failed || answer.aliases.len() > ALIASES_MAX {
        let reason = if answer.reason.is_empty() { "too many aliases".into() } else { answer.reason.clone() };
        return Err(Unfound::Failed { domain: domain.to_string(), reason, errors: errors_of(answer) });
    }
    if answer.outcome == Outcome::NoName {
        return Err(Unfound::NoSuchDomain(domain.to_string()));
    }
    if found.takes_no_mail {
        return Err(Unfound::TakesNoMail(domain.to_string()));
    }
    let mut destination = Destination::of(target.clone(), &name, answer);
    if answer.outcome == Outcome::Found {
        destination.take_exchangers(&found.hosts);
        if destination.hosts.is_empty() {
            return Err(Unfound::NoHost(domain.to_string()));
        }
    } else {
        // The name of the address, not that at the end of its aliases: RFC 7672 §2.2.2 begins with it.
        destination.via = Via::Implicit;
        destination.hosts.push(Exchanger { preference: 0, host: name });
    }
    destination.drop_ourselves(own.names);
    if destination.hosts.is_empty() { Err(Unfound::Ourselves(domain.to_string())) } else { Ok(destination) }
}

impl Destination {
    /// A relay.
    #[must_use]
    pub fn relay(target: Target, host: &RelayHost) -> Self {
        match host {
            RelayHost::Address(address) => Self::address(target, *address, Via::Relay),
            RelayHost::Name(domain) => {
                let mut destination = Self::empty(target, Via::Relay);
                if let Ok(host) = parse_name(domain.as_str()) {
                    destination.hosts.push(Exchanger { preference: 0, host });
                }
                destination
            }
        }
    }

    fn empty(target: Target, via: Via) -> Self {
        Self {
            target,
            via,
            expanded: None,
            aliases: Vec::new(),
            original: Authenticity::Insecure,
            chain: Authenticity::Insecure,
            hosts: Vec::new(),
            address: None,
            ignored: Vec::new(),
            reason: String::new(),
            errors: Vec::new(),
        }
    }

    fn address(target: Target, address: IpAddr, via: Via) -> Self {
        Self { address: Some(address), ..Self::empty(target, via) }
    }

    fn of(target: Target, name: &Name, answer: &Answer) -> Self {
        Self {
            expanded: Some(answer.aliases.last().map_or(name, |step| &step.to).clone()),
            original: answer.aliases.first().map_or(answer.authenticity, |step| step.authenticity),
            aliases: answer.aliases.clone(),
            chain: answer.authenticity,
            reason: answer.reason.clone(),
            errors: errors_of(answer),
            ..Self::empty(target, Via::Exchangers)
        }
    }

    fn take_exchangers(&mut self, found: &[Exchanger]) {
        for exchanger in found {
            let is_known = self.hosts.iter().any(|known| known.host == exchanger.host);
            let why = if !is_host(&exchanger.host) {
                Why::NoHostName
            } else if is_known || self.hosts.len() == EXCHANGERS_MAX {
                Why::Surplus
            } else {
                self.hosts.push(exchanger.clone());
                continue;
            };
            self.ignore(&exchanger.host, why);
        }
    }

    fn drop_ourselves(&mut self, names: &[Name]) {
        let own = self.hosts.iter().find(|host| names.contains(&host.host)).map(|host| host.preference);
        if let Some(own) = own {
            self.drop_from(own, names);
        }
    }

    /// Drops a host that turned out to be this server, and all that aren't preferred to it.
    fn drop_from(&mut self, preference: u16, names: &[Name]) {
        let (kept, dropped) = std::mem::take(&mut self.hosts)
            .into_iter()
            .partition(|host: &Exchanger| host.preference < preference);
        self.hosts = kept;
        let dropped: Vec<Exchanger> = dropped;
        for host in dropped {
            let why = if names.contains(&host.host) { Why::Ourselves } else { Why::BehindOurselves };
            self.ignore(&host.host, why);
        }
    }

    fn ignore(&mut self, host: &Name, why: Why) {
        if self.ignored.len() < EXCHANGERS_MAX {
            self.ignored.push(Ignored { host: text_of(host), why });
        }
    }

    /// How its hosts were found, as the lookup of TLSA records wants to know.
    #[must_use]
    pub fn next_hop(&self) -> NextHop {
        match (&self.target, self.via, &self.expanded) {
            (Target::Domain(domain), Via::Exchangers, Some(expanded)) => NextHop::Exchanger {
                domain: parse_name(domain.as_str()).unwrap_or_else(|_| expanded.clone()),
                expanded: expanded.clone(),
                authenticity: self.chain,
            },
            _ => NextHop::Host,
        }
    }

    /// Looks up the addresses of a host, and the TLSA records that apply to it.
    pub async fn host(&self, lookup: &impl Lookup, host: &Name, port: u16) -> Found {
        find_dane(lookup, host, port, &self.next_hop()).await
    }
}

/// A host by name as policies and logs have it: without a dot at its end.
#[must_use]
pub fn text_of(host: &Name) -> String {
    let text = host.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').map_or_else(|| text.clone(), str::to_owned)
}

/// Whether a name can be that of a host. Underscores are seen in the field; addresses in the place of names too, and
/// these are none.
fn is_host(name: &Name) -> bool {
    let text = text_of(name);
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(fits) && text.parse::<IpAddr>().is_err()
}

fn errors_of(answer: &Answer) -> Vec<ExtendedError> {
    answer.errors.iter().take(DNS_ERRORS_MAX).cloned().collect()
}
