//! Which TLSA records apply to a host (RFC 7672 §2.2).

use hickory_proto::rr::rdata::TLSA;
use hickory_proto::rr::{Name, RecordType};

use super::decide::Verification;
use super::record::Associations;
use crate::answer::{Answer, Authenticity, ExtendedError, Lookup, Outcome};
use crate::lookups::{Addresses, addresses, associations};

/// How a host was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// It was named itself: a configured relay, or a domain without MX records.
    Host,
    /// By the MX records of a domain.
    Exchanger {
        /// The domain, as the recipient's address has it.
        domain: Name,
        /// Where its aliases lead; the domain itself when it is none.
        expanded: Name,
        /// Whether the MX records can be believed, and all aliases on the way to them.
        authenticity: Authenticity,
    },
}

/// What applies to a host.
#[derive(Clone, Debug)]
pub enum Applies {
    /// There are secure records. TLS is required; with a usable record among them, so is authentication.
    Records {
        /// The name that has them, without port and protocol: what is asked for in the handshake.
        base: Name,
        /// All of them, usable or not.
        records: Vec<TLSA>,
        /// What the server has to show. With no usable record its `associations` are empty, and any
        /// certificate does.
        verification: Verification,
    },
    /// DANE doesn't apply, for this reason; other policies may.
    No(String),
    /// It can't be found out. The host must be treated as unreachable (RFC 7672 §2.1.2), for this reason.
    Unknown(String),
    /// The host has no addresses, so there is nothing to apply it to.
    NoAddresses(String),
}

/// What was found for a host.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its addresses, which are looked up first: some servers fail for types they don't know (RFC 7672 §2.2.2).
    pub addresses: Addresses,
    /// What applies.
    pub applies: Applies,
    /// The answers for TLSA records, in the order of the candidates.
    pub answers: Vec<Answer>,
}

impl Found {
    /// The extended errors of all lookups for TLSA records.
    pub fn errors(&self) -> impl Iterator<Item = &ExtendedError> {
        self.answers.iter().flat_map(|answer| &answer.errors)
    }
}

/// The name of the TLSA records of a service over TCP (RFC 6698 §3). None when it is too long.
#[must_use]
pub fn tlsa_name(base: &Name, port: u16) -> Option<Name> {
    let name = base.prepend_label("_tcp").ok()?.prepend_label(format!("_{port}")).ok()?;
    (name.len() <= Name::MAX_LENGTH).then_some(name)
}

/// Finds what applies to a host and port.
pub async fn find(lookup: &impl Lookup, host: &Name, port: u16, next_hop: &NextHop) -> Found {
    let mut host = host.clone();
    host.set_fqdn(true);
    let addresses = addresses(lookup, &host).await;
    let mut answers = Vec::new();
    let applies = match addresses.outcome() {
        Outcome::NoData | Outcome::NoName => Applies::NoAddresses(format!("{host} has no addresses")),
        Outcome::Failed => Applies::Unknown(format!("the addresses of {host}: {}", addresses.reason())),
        Outcome::Found => match next_hop {
            NextHop::Exchanger { domain, authenticity, .. } if !authenticity.is_secure() => {
                Applies::No(format!("the MX records of {domain} are {}", authenticity.word()))
            }
            _ => match candidates(lookup, &host, &addresses).await {
                Ok(bases) => ask(lookup, bases, &host, port, next_hop, &mut answers).await,
                Err(applies) => applies,
            },
        },
    };
    Found { addresses, applies, answers }
}

/// The names that may have TLSA records, in the order in which they are asked.
async fn candidates(lookup: &impl Lookup, host: &Name, addresses: &Addresses) -> Result<Vec<Name>, Applies> {
    // A family that failed or has no addresses says nothing of those that are connected to.
    let found: Vec<&Answer> = addresses.answers.iter().filter(|one| one.outcome == Outcome::Found).collect();
    let authenticity =
        found.iter().fold(Authenticity::Secure, |least, answer| least.and(answer.authenticity));
    let aliases = found.first().map(|answer| answer.aliases.as_slice()).unwrap_or_default();
    let (Some(first), Some(last)) = (aliases.first(), aliases.last()) else {
        return match authenticity {
            Authenticity::Secure => Ok(vec![host.clone()]),
            other => Err(Applies::No(format!("the addresses of {host} are {}", other.word()))),
        };
    };
    if authenticity.is_secure() {
        // Secure at every stage: the expanded name first.
        return Ok(vec![last.to.clone(), host.clone()]);
    }
    // The alias itself may be secure although it leads out of what is signed. Who only knows of the answer as
    // a whole has to ask for the alias alone (RFC 7672 §2.1.3).
    if first.authenticity.is_secure() {
        return Ok(vec![host.clone()]);
    }
    let alias = lookup.lookup(host, RecordType::CNAME).await;
    match (alias.outcome, alias.authenticity) {
        (Outcome::Failed, _) => Err(Applies::Unknown(format!("the alias {host}: {}", alias.reason))),
        (_, Authenticity::Secure) => Ok(vec![host.clone()]),
        (_, other) => Err(Applies::No(format!("the addresses of {host} and its alias are {}", other.word()))),
    }
}

async fn ask(
    lookup: &impl Lookup,
    bases: Vec<Name>,
    host: &Name,
    port: u16,
    next_hop: &NextHop,
    answers: &mut Vec<Answer>,
) -> Applies {
    let mut why = String::new();
    for base in bases {
        let Some(name) = tlsa_name(&base, port) else {
            why = format!("{base} is too long to have TLSA records");
            continue;
        };
        let found = associations(lookup, &name).await;
        let (outcome, authenticity) = (found.answer.outcome, found.answer.authenticity);
        let reason = found.answer.reason.clone();
        answers.push(found.answer);
        match (outcome, authenticity) {
            (Outcome::Failed, _) => return Applies::Unknown(format!("the TLSA records of {name}: {reason}")),
            (Outcome::Found, Authenticity::Secure) => {
                let names = identifiers(&base, host, next_hop);
                let associations = Associations::of(&found.values);
                let verification = Verification { associations, names };
                return Applies::Records { base, records: found.values, verification };
            }
            (Outcome::Found, other) => why = format!("the TLSA records of {name} are {}", other.word()),
            (Outcome::NoData | Outcome::NoName, _) => why = format!("there are no TLSA records of {name}"),
        }
    }
    Applies::No(why)
}

/// The names that a certificate of an authority may be for (RFC 7672 §3.2.2), the base first.
fn identifiers(base: &Name, host: &Name, next_hop: &NextHop) -> Vec<Name> {
    let mut names = vec![base.clone()];
    let mut add = |name: &Name| {
        let mut name = name.clone();
        name.set_fqdn(true);
        if !names.contains(&name) {
            names.push(name);
        }
    };
    add(host);
    if let NextHop::Exchanger { domain, expanded, .. } = next_hop {
        add(domain);
        add(expanded);
    }
    names
}
