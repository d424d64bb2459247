//! What TLS has to give before a message is handed to a host: the table of `docs/transport-security.md`.
//!
//! [`rule`] decides on a host before it is connected to, [`Rule::after`] on what happens there, and
//! [`Rule::allows`] once more on the connection as it is, just before the message is handed over. RFC 3207,
//! RFC 7672 §2.2, RFC 8461 §5, RFC 8689 §4.2, RFC 8460 §3.
//!
//! Always holds: no state of DNS, of a policy or of a host makes a rule weaker than the same state without a
//! failure; only the sender's own wish does (`TLS-Required: No`).

mod connection;
mod facts;
#[cfg(test)]
mod tests;
mod words;

pub use connection::{AfterTls, Channel, Hand, Lacks, TlsEvent};
pub use facts::{DaneHost, Here, Kind, Listed, Requirement, Sts, StsHost};
pub use words::{Counter, Ignored, Skip, Unsupported};

use crate::transport::RelayTls;

/// What the decision on a host rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The policy.
    pub sts: StsHost,
    /// DANE.
    pub dane: DaneHost,
    /// The sender's wish.
    pub requirement: Requirement,
    /// The kind of message.
    pub kind: Kind,
    /// What we can do.
    pub here: Here,
}

/// Whether TLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Starttls {
    /// It isn't.
    Never,
    /// When it is offered.
    Opportunistic,
    /// It must be. The command is sent even when it isn't offered: somebody may have taken the offer away.
    Mandatory,
    /// It is there from the start.
    Implicit,
}

/// What the server has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verification {
    /// Any certificate.
    None,
    /// One of a public authority, for its name.
    Pkix,
    /// One of the TLSA records.
    Dane,
    /// Both.
    Both,
}

impl Verification {
    fn of(dane: bool, pkix: bool) -> Self {
        match (dane, pkix) {
            (false, false) => Self::None,
            (false, true) => Self::Pkix,
            (true, false) => Self::Dane,
            (true, true) => Self::Both,
        }
    }

    /// Whether the TLSA records are part of it.
    #[must_use]
    pub fn has_dane(self) -> bool {
        matches!(self, Self::Dane | Self::Both)
    }

    /// Whether public authorities are part of it.
    #[must_use]
    pub fn has_pkix(self) -> bool {
        matches!(self, Self::Pkix | Self::Both)
    }
}

/// Whether the REQUIRETLS parameter is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Announce {
    /// Never.
    No,
    /// When the server offers it.
    IfOffered,
    /// Always; a server that doesn't offer it gets no message.
    Must,
}

/// What follows when TLS fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// A new connection to the same host, without TLS.
    Plaintext,
    /// The next host, and in the end another attempt.
    NextHost,
}

/// What TLS has to give with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Whether it is used.
    pub starttls: Starttls,
    /// What the server has to show.
    pub verification: Verification,
    /// What is looked at besides, for reports and metrics, without consequences.
    pub observed: Verification,
    /// Whether REQUIRETLS is sent.
    pub requiretls: Announce,
    /// What follows when it fails.
    pub on_failure: OnFailure,
    /// Whether the sender's wish set policies aside.
    pub is_relaxed: bool,
}

impl Rule {
    /// For a connection without TLS, after TLS failed where that is allowed.
    #[must_use]
    pub fn in_clear(self) -> Self {
        Self {
            starttls: Starttls::Never,
            verification: Verification::None,
            observed: Verification::None,
            on_failure: OnFailure::NextHost,
            ..self
        }
    }
}

/// The decision on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// How to connect, or why not to.
    pub rule: Result<Rule, Skip>,
    /// What is counted.
    pub counters: Vec<Counter>,
}

/// Decides on a host of a recipient's domain.
#[must_use]
pub fn rule(facts: &Facts) -> Ruling {
    let wish = Wish::of(facts.requirement, facts.kind);
    let mut counters = Vec::new();
    match facts.dane {
        DaneHost::Usable => counters.push(Counter::DaneRequired),
        DaneHost::Unusable => counters.push(Counter::DaneUnverified),
        DaneHost::Unknown => counters.push(Counter::TlsaFailed),
        DaneHost::No => {}
    }
    let rule = if wish == Wish::Relaxed {
        relaxed(facts, &mut counters)
    } else {
        strict(facts, wish, &mut counters)
    };
    Ruling { rule, counters }
}

/// The sender's wish, as it is for this kind of message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Relaxed,
    Unset,
    /// REQUIRETLS on a notification: as well as it goes.
    Preferred,
    Required,
}

impl Wish {
    fn of(requirement: Requirement, kind: Kind) -> Self {
        match (requirement, kind) {
            (Requirement::No, _) | (Requirement::Unset, Kind::TlsReport) => Self::Relaxed,
            (Requirement::Unset, _) => Self::Unset,
            (Requirement::Required, Kind::Notification) => Self::Preferred,
            (Requirement::Required, _) => Self::Required,
        }
    }
}

fn relaxed(facts: &Facts, counters: &mut Vec<Counter>) -> Result<Rule, Skip> {
    let ignored = [
        (facts.sts == StsHost::Unknown, Ignored::StsPolicy),
        (facts.sts == StsHost::Enforce(Listed::No), Ignored::StsMx),
        (facts.dane == DaneHost::Unknown, Ignored::BadTlsa),
    ];
    counters.extend(ignored.into_iter().filter(|(is, _)| *is).map(|(_, what)| Counter::Ignored(what)));
    let has_tls = facts.here == Here::Tls;
    Ok(Rule {
        starttls: if has_tls { Starttls::Opportunistic } else { Starttls::Never },
        verification: Verification::None,
        observed: Verification::of(has_tls && facts.dane == DaneHost::Usable, has_tls),
        requiretls: Announce::No,
        on_failure: if has_tls { OnFailure::Plaintext } else { OnFailure::NextHost },
        is_relaxed: true,
    })
}

fn strict(facts: &Facts, wish: Wish, counters: &mut Vec<Counter>) -> Result<Rule, Skip> {
    match (facts.sts, facts.dane) {
        (StsHost::Unknown, _) => return Err(Skip::PolicyUnknown),
        (StsHost::Enforce(Listed::No), _) => return Err(Skip::NotInPolicy),
        (_, DaneHost::Unknown) => return Err(Skip::TlsaUnknown),
        _ => {}
    }
    let has_dane = facts.dane == DaneHost::Usable;
    let is_enforced = facts.sts == StsHost::Enforce(Listed::Yes);
    if wish == Wish::Required && !has_dane && !is_enforced {
        counters.push(Counter::RequireTlsUnsupported(Unsupported::NoPolicy));
        return Err(Skip::NothingToVerify);
    }
    let is_mandatory = is_enforced || matches!(facts.dane, DaneHost::Usable | DaneHost::Unusable);
    if facts.here == Here::NoTls {
        return if is_mandatory { Err(Skip::NoTlsHere) } else { Ok(CLEAR) };
    }
    let may_fall_back = !is_mandatory && facts.kind != Kind::DmarcReport;
    Ok(Rule {
        starttls: if is_mandatory { Starttls::Mandatory } else { Starttls::Opportunistic },
        verification: Verification::of(has_dane, is_enforced),
        observed: Verification::of(has_dane, true),
        requiretls: match wish {
            Wish::Required => Announce::Must,
            Wish::Preferred => Announce::IfOffered,
            Wish::Unset | Wish::Relaxed => Announce::No,
        },
        on_failure: if may_fall_back { OnFailure::Plaintext } else { OnFailure::NextHost },
        is_relaxed: false,
    })
}

/// Without TLS here.
const CLEAR: Rule = Rule {
    starttls: Starttls::Never,
    verification: Verification::None,
    observed: Verification::None,
    requiretls: Announce::No,
    on_failure: OnFailure::NextHost,
    is_relaxed: false,
};

/// How TLS begins with a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Begins {
    /// By STARTTLS.
    Starttls,
    /// At once.
    AtOnce,
}

/// Decides on a relay, whose configuration counts whatever recipients publish.
#[must_use]
pub fn relay(tls: RelayTls, begins: Begins, requirement: Requirement, kind: Kind) -> Ruling {
    let wish = Wish::of(requirement, kind);
    if wish == Wish::Required && tls != RelayTls::Verified {
        let counters = vec![Counter::RequireTlsUnsupported(Unsupported::NoPolicy)];
        return Ruling { rule: Err(Skip::NothingToVerify), counters };
    }
    let rule = Rule {
        starttls: match (tls, begins) {
            (_, Begins::AtOnce) => Starttls::Implicit,
            (RelayTls::None, Begins::Starttls) => Starttls::Never,
            (_, Begins::Starttls) => Starttls::Mandatory,
        },
        verification: Verification::of(false, tls == RelayTls::Verified),
        observed: Verification::of(false, tls != RelayTls::None),
        requiretls: match (wish, tls) {
            (Wish::Required, _) => Announce::Must,
            (Wish::Preferred, RelayTls::Verified) => Announce::IfOffered,
            _ => Announce::No,
        },
        on_failure: OnFailure::NextHost,
        is_relaxed: false,
    };
    Ruling { rule: Ok(rule), counters: Vec::new() }
}
