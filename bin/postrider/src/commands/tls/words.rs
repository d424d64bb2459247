//! Decisions in words.

use postrider_delivery::destination::{Destination, Via, Why, text_of};
use postrider_delivery::security::{
    Announce, DaneHost, Lacks, Listed, OnFailure, Rule, Starttls, StsHost, Verification,
};
use postrider_delivery::sts::Source;

pub fn via(via: Via) -> &'static str {
    match via {
        Via::Exchangers => "mx",
        Via::Implicit => "domain",
        Via::Literal => "address",
        Via::Relay => "relay",
    }
}

/// Where a policy is known from.
pub fn source(source: Source) -> &'static str {
    match source {
        Source::Domain => "domain",
        Source::Kept => "kept",
        Source::StandsIn => "kept-stands-in",
    }
}

pub fn why(why: Why) -> &'static str {
    match why {
        Why::NoHostName => "its name isn't that of a host",
        Why::Ourselves => "it is this server",
        Why::BehindOurselves => "it isn't preferred to this server",
        Why::Surplus => "there are too many, or it comes a second time",
    }
}

/// The hosts, and whether they can be believed.
pub fn destination(found: &Destination) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &found.aliases {
        lines.push(format!(
            "Alias: {} is {} ({})",
            text_of(&step.from),
            text_of(&step.to),
            step.authenticity.word()
        ));
    }
    let hosts: Vec<String> =
        found.hosts.iter().map(|host| format!("{} {}", host.preference, text_of(&host.host))).collect();
    lines.push(match found.via {
        Via::Exchangers => format!("MX: {}", hosts.join(", ")),
        Via::Implicit => "There are no MX records: the domain itself is the host.".to_owned(),
        Via::Literal => "The address itself is the host.".to_owned(),
        Via::Relay => "A relay is the host.".to_owned(),
    });
    if matches!(found.via, Via::Exchangers | Via::Implicit) {
        let reason = if found.reason.is_empty() { String::new() } else { format!(": {}", found.reason) };
        lines.push(format!("DNSSEC: {}{reason}", found.chain.word()));
    }
    for ignored in &found.ignored {
        lines.push(format!("Not tried: {}, since {}", ignored.host, why(ignored.why)));
    }
    lines
}

pub fn dane(dane: DaneHost) -> &'static str {
    match dane {
        DaneHost::No => "no",
        DaneHost::Usable => "usable",
        DaneHost::Unusable => "unusable",
        DaneHost::Unknown => "unknown",
    }
}

pub fn dane_line(host: DaneHost, reason: &str) -> String {
    match host {
        DaneHost::No => format!("doesn't apply: {reason}"),
        DaneHost::Usable => reason.to_owned(),
        DaneHost::Unusable => {
            format!("{reason}, of which none can be used: TLS is promised, whatever the certificate")
        }
        DaneHost::Unknown => format!("can't be known: {reason}"),
    }
}

pub fn sts(host: StsHost) -> &'static str {
    match host {
        StsHost::None => "none",
        StsHost::Testing(Listed::Yes) => "testing",
        StsHost::Testing(Listed::No) => "testing-not-listed",
        StsHost::Enforce(Listed::Yes) => "enforce",
        StsHost::Enforce(Listed::No) => "enforce-not-listed",
        StsHost::Unknown => "unknown",
    }
}

pub fn sts_line(host: StsHost) -> &'static str {
    match host {
        StsHost::None => "no policy applies",
        StsHost::Testing(Listed::Yes) => "the policy has it, and is being tested: nothing is enforced",
        StsHost::Testing(Listed::No) => {
            "the policy doesn't have it, and is being tested: nothing is enforced"
        }
        StsHost::Enforce(Listed::Yes) => "the policy has it, and is enforced",
        StsHost::Enforce(Listed::No) => "the policy doesn't have it, and is enforced",
        StsHost::Unknown => "it can't be known whether there is a policy",
    }
}

pub fn starttls(starttls: Starttls) -> &'static str {
    match starttls {
        Starttls::Never => "never",
        Starttls::Opportunistic => "opportunistic",
        Starttls::Mandatory => "mandatory",
        Starttls::Implicit => "implicit",
    }
}

pub fn verification(verification: Verification) -> &'static str {
    match verification {
        Verification::None => "any",
        Verification::Pkix => "pkix",
        Verification::Dane => "dane",
        Verification::Both => "dane-and-pkix",
    }
}

pub fn announce(announce: Announce) -> &'static str {
    match announce {
        Announce::No => "no",
        Announce::IfOffered => "if-offered",
        Announce::Must => "must",
    }
}

pub fn on_failure(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::Plaintext => "plaintext",
        OnFailure::NextHost => "next-host",
    }
}

/// What TLS has to give.
pub fn rule(rule: &Rule) -> String {
    let tls = match rule.starttls {
        Starttls::Never => return "without TLS".to_owned(),
        Starttls::Opportunistic => "TLS is used when it is offered",
        Starttls::Mandatory => "TLS is needed, and asked for even when it isn't offered",
        Starttls::Implicit => "TLS from the start",
    };
    let certificate = match rule.verification {
        Verification::None => "any certificate will do",
        Verification::Pkix => "the certificate must be one of a public authority for the host",
        Verification::Dane => "the certificate must be one that the TLSA records are about",
        Verification::Both => {
            "the certificate must be one that the TLSA records are about, and of a public authority for the host"
        }
    };
    let requiretls = match rule.requiretls {
        Announce::No => "",
        Announce::IfOffered => "; REQUIRETLS is sent when it is offered",
        Announce::Must => "; REQUIRETLS must be offered, and is sent",
    };
    let failure = match rule.on_failure {
        OnFailure::Plaintext => "when TLS fails, a new connection goes without",
        OnFailure::NextHost => "when TLS fails, the next host is tried",
    };
    let relaxed = if rule.is_relaxed { " (policies are set aside, as the sender wishes)" } else { "" };
    format!("{tls}; {certificate}{requiretls}; {failure}{relaxed}")
}

pub fn lacks(lacks: Lacks) -> &'static str {
    match lacks {
        Lacks::Tls => "there is no TLS",
        Lacks::Verification => "the certificate isn't what it must be",
        Lacks::RequireTls => "REQUIRETLS isn't offered",
    }
}
