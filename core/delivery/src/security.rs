//! What TLS has to give before a message is handed to a host: the table of `docs/transport-security.md`.
//!
//! [`rule`] decides on a host before it is connected to, [`Rule::after`] on what happens there, and
//! [`Rule::allows`] once more on the connection as it is, just before the message is handed over. RFC 3207,
//! RFC 7672 §2.2, RFC 8461 §5, RFC 8689 §4.2, RFC 8460 §3.
//!
//! Always holds: no state of DNS, of a policy or of a host makes a rule weaker than the same state without a
//! failure; only the sender's own wish does (`TLS-Required: No`).

#[cfg(test)]
mod tests;

use postrider_dns::dane::Applies;
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::{Mode, Policy};

use crate::outcome::{Class, Status};
use crate::transport::RelayTls;

/// What the sender wants of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Requirement {
    /// Nothing: what the recipient's domain publishes decides.
    #[default]
    Unset,
    /// REQUIRETLS (RFC 8689 §2).
    Required,
    /// `TLS-Required: No` (RFC 8689 §3): delivery comes before policies.
    No,
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// One with a sender.
    #[default]
    Message,
    /// One with the null sender: a report about another message, which must not be lost for the lack of
    /// REQUIRETLS (RFC 8689 §5).
    Notification,
    /// A report about DMARC. It isn't worth sending in clear when TLS fails.
    DmarcReport,
    /// A report about TLS, which must arrive although TLS fails (RFC 8460 §3).
    TlsReport,
}

impl Kind {
    /// Whether the server made it as a service to others, so that nobody waits for it.
    #[must_use]
    pub fn is_service_report(self) -> bool {
        matches!(self, Self::DmarcReport | Self::TlsReport)
    }
}

/// What is known of the MTA-STS policy of a recipient's domain: always the domain of the address, never where its
/// aliases lead (RFC 8461 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sts {
    /// There is none, or it can't be fetched and none is cached.
    None,
    /// DNS failed, and none is cached: it can't be known whether there is one. The reason.
    Unknown(String),
    /// This one, fetched or cached, not expired.
    Policy(Policy),
}

/// What the policy says of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StsHost {
    /// There is none, or its mode is "none".
    None,
    /// Mode "testing": what is wrong is reported only.
    Testing(Listed),
    /// Mode "enforce".
    Enforce(Listed),
    /// It can't be known whether there is one.
    Unknown,
}

/// Whether a policy has a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listed {
    /// It does.
    Yes,
    /// It doesn't.
    No,
}

impl Sts {
    /// What the policy says of a host. A name that isn't one of mail, as those with `_`, is in no policy.
    #[must_use]
    pub fn of_host(&self, host: &str) -> StsHost {
        let policy = match self {
            Self::None => return StsHost::None,
            Self::Unknown(_) => return StsHost::Unknown,
            Self::Policy(policy) => policy,
        };
        let has = Domain::parse(host)
            .is_ok_and(|host| policy.patterns.iter().any(|pattern| pattern.matches(&host)));
        let listed = if has { Listed::Yes } else { Listed::No };
        match policy.mode {
            Mode::Enforce => StsHost::Enforce(listed),
            Mode::Testing => StsHost::Testing(listed),
            Mode::None => StsHost::None,
        }
    }
}

/// What DANE says of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DaneHost {
    /// It doesn't apply.
    No,
    /// There are records that can be used.
    Usable,
    /// There are records, and none can be used: TLS is still promised (RFC 7672 §2.2).
    Unusable,
    /// It can't be known.
    Unknown,
}

impl From<&Applies> for DaneHost {
    fn from(applies: &Applies) -> Self {
        match applies {
            Applies::No(_) => Self::No,
            Applies::Records { verification, .. } if verification.associations.is_empty() => Self::Unusable,
            Applies::Records { .. } => Self::Usable,
            Applies::Unknown(_) | Applies::NoAddresses(_) => Self::Unknown,
        }
    }
}

/// Whether we can do TLS at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Here {
    /// We can.
    #[default]
    Tls,
    /// It isn't available or switched off.
    NoTls,
}

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

/// Why a host gets no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The policy doesn't have it (RFC 8461 §4.1).
    NotInPolicy,
    /// It can't be known whether there is a policy.
    PolicyUnknown,
    /// Its TLSA records can't be looked up (RFC 7672 §2.1.2).
    TlsaUnknown,
    /// REQUIRETLS, and nothing says how to verify it.
    NothingToVerify,
    /// TLS is promised or required, and we can't do it.
    NoTlsHere,
}

impl Skip {
    /// The enhanced status code.
    #[must_use]
    pub fn status(self, requirement: Requirement) -> Status {
        let (class, detail) = match self {
            Self::NothingToVerify => (Class::Permanent, 30),
            Self::NoTlsHere if requirement == Requirement::Required => (Class::Temporary, 10),
            _ => (Class::Temporary, 5),
        };
        Status { class, subject: 7, detail }
    }

    /// It in words.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotInPolicy => "the MTA-STS policy of the domain does not allow this host",
            Self::PolicyUnknown => "whether the domain has an MTA-STS policy cannot be looked up",
            Self::TlsaUnknown => "the TLSA records of the host cannot be looked up",
            Self::NothingToVerify => {
                "the message requires TLS, and the host has neither DANE nor an enforced MTA-STS policy"
            }
            Self::NoTlsHere => "TLS is needed with this host, and this server has none for outgoing mail",
        }
    }

    /// Whether it is the lack of what REQUIRETLS needs.
    #[must_use]
    pub fn lacks_requiretls(self) -> bool {
        self == Self::NothingToVerify
    }
}

/// What is counted (`product` names in `docs/metrics.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// A host has TLSA records that can be used.
    DaneRequired,
    /// A host has TLSA records, and none can be used.
    DaneUnverified,
    /// The TLSA records of a host can't be looked up.
    TlsaFailed,
    /// `TLS-Required: No` set something aside.
    Ignored(Ignored),
    /// REQUIRETLS met a host that lacks something.
    RequireTlsUnsupported(Unsupported),
    /// TLS failed, and a connection in clear follows.
    PlaintextFallback,
}

/// What `TLS-Required: No` set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// A policy that can't be looked up.
    StsPolicy,
    /// A host that isn't in the policy.
    StsMx,
    /// TLS that failed, or a certificate that isn't right.
    BadTls,
    /// TLSA records that can't be looked up.
    BadTlsa,
}

impl Ignored {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::StsPolicy, Self::StsMx, Self::BadTls, Self::BadTlsa];

    /// The label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::StsPolicy => "mtastspolicy",
            Self::StsMx => "mtastsmx",
            Self::BadTls => "badtls",
            Self::BadTlsa => "badtlsa",
        }
    }
}

/// What a host lacks for REQUIRETLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsupported {
    /// A way to verify it.
    NoPolicy,
    /// REQUIRETLS among its extensions.
    NoRequireTls,
}

impl Unsupported {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::NoPolicy, Self::NoRequireTls];

    /// The label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoPolicy => "nopolicy",
            Self::NoRequireTls => "norequiretls",
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

/// What happened to TLS at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsEvent {
    /// STARTTLS isn't among the extensions.
    NotOffered,
    /// STARTTLS was refused.
    Refused,
    /// The handshake failed, for another reason than the certificate.
    Handshake,
    /// The certificate isn't what `verification` wants.
    Certificate,
    /// The certificate isn't what `observed` looks at; TLS is there.
    Observed,
    /// After TLS, REQUIRETLS isn't among the extensions.
    NoRequireTls,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterTls {
    /// The conversation goes on as it is.
    Continue,
    /// STARTTLS is sent all the same.
    SendAnyway,
    /// A new connection to the same address, with [`Rule::in_clear`].
    Plaintext,
    /// Nothing is handed to this host.
    NextHost,
}

impl Rule {
    /// Decides what follows, and what is counted.
    #[must_use]
    pub fn after(&self, event: TlsEvent) -> (AfterTls, Vec<Counter>) {
        let bad = self.is_relaxed.then_some(Counter::Ignored(Ignored::BadTls));
        match event {
            TlsEvent::NotOffered => match self.starttls {
                Starttls::Mandatory => (AfterTls::SendAnyway, Vec::new()),
                // Policies that promise TLS were set aside only where there are some.
                _ => (AfterTls::Continue, Vec::new()),
            },
            TlsEvent::Refused | TlsEvent::Handshake | TlsEvent::Certificate => match self.on_failure {
                OnFailure::Plaintext => {
                    (AfterTls::Plaintext, bad.into_iter().chain([Counter::PlaintextFallback]).collect())
                }
                OnFailure::NextHost => (AfterTls::NextHost, Vec::new()),
            },
            TlsEvent::Observed => (AfterTls::Continue, bad.into_iter().collect()),
            TlsEvent::NoRequireTls if self.requiretls == Announce::Must => {
                let counter = Counter::RequireTlsUnsupported(Unsupported::NoRequireTls);
                (AfterTls::NextHost, vec![counter])
            }
            TlsEvent::NoRequireTls => (AfterTls::Continue, Vec::new()),
        }
    }

    /// Whether a message with this rule may be handed over on a connection: also on one that was opened for another
    /// message. `requiretls` of the result is whether to send the parameter.
    pub fn allows(&self, channel: &Channel) -> Result<Hand, Lacks> {
        let Channel { is_encrypted, is_fallback, pkix, dane, offers_requiretls } = *channel;
        let needs_tls = matches!(self.starttls, Starttls::Mandatory | Starttls::Implicit)
            || self.verification != Verification::None
            || self.requiretls == Announce::Must;
        let may_fall_back = self.starttls == Starttls::Never || self.on_failure == OnFailure::Plaintext;
        if needs_tls && !is_encrypted || is_fallback && !may_fall_back {
            return Err(Lacks::Tls);
        }
        if self.verification.has_dane() && !dane || self.verification.has_pkix() && !pkix {
            return Err(Lacks::Verification);
        }
        let may_announce = is_encrypted && offers_requiretls;
        match self.requiretls {
            Announce::Must if !may_announce => Err(Lacks::RequireTls),
            // RFC 8689 §2: only in a session that meets its needs.
            Announce::IfOffered => Ok(Hand { requiretls: may_announce && (pkix || dane) }),
            Announce::Must => Ok(Hand { requiretls: true }),
            Announce::No => Ok(Hand { requiretls: false }),
        }
    }
}

/// A connection as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Channel {
    /// TLS is there.
    pub is_encrypted: bool,
    /// It isn't, because TLS failed: not everything that may go to a host without TLS may go to one whose TLS fails.
    pub is_fallback: bool,
    /// The certificate is one of a public authority for the host's name.
    pub pkix: bool,
    /// The certificate is one of the TLSA records.
    pub dane: bool,
    /// REQUIRETLS is among the extensions that the server named under TLS.
    pub offers_requiretls: bool,
}

/// How a message is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hand {
    /// Whether with REQUIRETLS.
    pub requiretls: bool,
}

/// What a connection lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lacks {
    /// TLS.
    Tls,
    /// A certificate that was verified as the rule wants.
    Verification,
    /// REQUIRETLS.
    RequireTls,
}
