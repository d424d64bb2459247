//! What an attempt is given, what it asks for, and what comes of it.

use std::net::IpAddr;

use postrider_dns::dane::{ASSOCIATIONS_MAX, Applies, Found, Verification as DaneVerification, presented};
use postrider_dns::{ExtendedError, Name};

use crate::destination::{Own, text_of};
use crate::limits::DNS_ERRORS_MAX;
use crate::order::Dialed;
use crate::outcome::{Failure, HostEnd, Signal, Verdict};
use crate::security::{Begins, Channel, Counter, Facts, Here, Kind, Requirement, Rule, Sts};
use crate::transport::{Families, RelayTls};

/// What is to be delivered, and how.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The kind of message.
    pub kind: Kind,
    /// The sender's wish about TLS.
    pub requirement: Requirement,
    /// Attempts that were made before this one.
    pub attempts_before: u16,
    /// Recipients of the entry that are to be delivered to.
    pub recipients: usize,
    /// What is known of the domain's policy.
    pub sts: &'a Sts,
    /// To which addresses connections were made before.
    pub dialed: Dialed,
    /// Which families are connected to.
    pub families: Families,
    /// The port.
    pub port: u16,
    /// Whether we can do TLS.
    pub here: Here,
    /// Of a relay, its TLS.
    pub relay: Option<(RelayTls, Begins)>,
    /// What this server is, as for [`crate::destination::find`].
    pub own: Own<'a>,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Step {
    /// Connect to a host.
    Dial(Box<Dial>),
    /// Nothing more.
    Done,
}

/// A host to connect to.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Its name; of an address, the address in brackets.
    pub host: String,
    /// Its name as one of DNS.
    pub name: Option<Name>,
    /// Its addresses: connect to one after the other until one takes the connection.
    pub addresses: Vec<IpAddr>,
    /// The port.
    pub port: u16,
    /// What TLS has to give.
    pub rule: Rule,
    /// Of DANE, what the server has to show, and the names for the handshake.
    pub dane: Option<DaneVerification>,
    /// The recipients, by their places in the entry.
    pub recipients: Vec<usize>,
    /// Connections to this host were made for the entry before: the order of the addresses has a reason.
    pub is_retry: bool,
}

impl Dial {
    /// Whether an open connection to an address may be used instead of a new one: it is what the rule asks for, and
    /// the address is one of these; when the entry comes again, the first, since another family or the same address
    /// may be what it takes.
    #[must_use]
    pub fn may_use(&self, address: &IpAddr, channel: &Channel) -> bool {
        let is_right = match self.is_retry {
            true => self.addresses.first() == Some(address),
            false => self.addresses.contains(address),
        };
        is_right && self.rule.allows(channel).is_ok()
    }

    /// The name to ask for in the handshake: the TLSA base domain, or the host (RFC 7672 §8.1).
    #[must_use]
    pub fn server_name(&self) -> String {
        let base = self.dane.as_ref().and_then(|dane| dane.names.first());
        base.map_or_else(|| self.host.clone(), text_of)
    }
}

/// What is known of a host in the end, for explanations and reports.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Its name.
    pub host: String,
    /// What the decision on TLS rested on; none when it didn't come to that.
    pub facts: Option<Facts>,
    /// The decision.
    pub rule: Option<Rule>,
    /// Why DANE applies or doesn't, in words.
    pub dane: String,
    /// The TLSA records.
    pub tlsa: Tlsa,
    /// The addresses that were connected to, or tried.
    pub addresses: Vec<IpAddr>,
    /// What came of it.
    pub end: HostEnd,
}

/// The TLSA records of a host, for reports.
#[derive(Clone, Debug, Default)]
pub struct Tlsa {
    /// The name that has them, without port and protocol; none without records.
    pub base: Option<String>,
    /// The records, as master files have them.
    pub records: Vec<String>,
    /// Extended DNS errors of looking for them.
    pub errors: Vec<ExtendedError>,
}

impl Tlsa {
    /// What was found for a host.
    #[must_use]
    pub fn of(found: &Found) -> Self {
        let errors = found.errors().take(DNS_ERRORS_MAX).cloned().collect();
        match &found.applies {
            Applies::Records { base, records, .. } => Self {
                base: Some(text_of(base)),
                records: records.iter().take(ASSOCIATIONS_MAX).map(presented).collect(),
                errors,
            },
            _ => Self { errors, ..Self::default() },
        }
    }
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct Conclusion {
    /// What becomes of each recipient, in their order.
    pub verdicts: Vec<Verdict>,
    /// What to remember of connections.
    pub dialed: Dialed,
    /// What is counted.
    pub counters: Vec<Counter>,
    /// The hosts, in the order in which they were tried. One that TLS failed with comes twice when it was connected
    /// to in clear.
    pub tried: Vec<Tried>,
    /// What the schedule learns of the domain.
    pub signal: Signal,
    /// The failure that other entries of the domain share, when they are told to
    /// ([`crate::schedule::Afterwards::Share`]): of connections and greetings, not of this message.
    pub shared: Option<Failure>,
    /// Extended DNS errors of all lookups.
    pub errors: Vec<ExtendedError>,
}
