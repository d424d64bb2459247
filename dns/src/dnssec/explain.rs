//! A chain of trust in words, a line for each thing that was looked at.

use std::fmt::Write as _;

use hickory_proto::rr::RecordType;

use super::time;
use super::trace::{Denied, DigestSeen, KeySeen, Link, ProofSeen, Says, SignatureSeen};
use super::verdict::{End, Verdict};

/// How a verdict came about, for people: one step after the other, details indented by two spaces, the outcome
/// last. Lines have no line ends.
#[must_use]
pub fn explain(verdict: &Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    for link in &verdict.trace {
        describe(link, &mut lines);
    }
    for step in &verdict.aliases {
        lines.push(format!("{} is an alias of {}: {}.", step.from, step.to, step.authenticity.word()));
    }
    let end = match &verdict.end {
        End::Found => "there are records".to_owned(),
        End::Denied(Denied::Name) => "the name doesn't exist".to_owned(),
        End::Denied(Denied::Type) => "the name has no such records".to_owned(),
        End::Alias(name) => format!("the response ends at the alias {name}, which is to be asked for"),
        End::Failed => "nothing that may be used".to_owned(),
    };
    let reason = verdict.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    lines.push(format!("Outcome: {end}, {}{reason}.", verdict.authenticity.word()));
    lines
}

fn describe(link: &Link, lines: &mut Vec<String>) {
    match link {
        Link::Anchor { zone, vouchers } => {
            lines.push(format!("The chain of trust starts at {zone}, by trust anchors:"));
            lines.extend(vouchers.iter().map(digest));
        }
        Link::Delegation { zone, parent, digests, signature } => {
            lines.push(format!("{zone} is a signed zone: {parent} has its DS records, {}:", by(signature)));
            lines.extend(digests.iter().map(digest));
        }
        Link::Keys { zone, keys, signature } => {
            lines.push(format!("The DNSKEY records of {zone} are its own, {}:", by(signature)));
            lines.extend(keys.iter().map(key));
        }
        Link::Inside { name, zone, proof } => {
            lines.push(format!("{name} is a name in {zone}, and no zone of its own."));
            lines.extend(proof.iter().map(part));
        }
        Link::Unsigned { name, reason, proof } => {
            lines.push(format!("The chain of trust ends at {name}: {reason}."));
            lines.extend(proof.iter().map(part));
        }
        Link::Data { name, kind, count, signature, wildcard } => {
            let records = if *count == 1 { "record" } else { "records" };
            let mut line = format!("The answer has {count} {kind} {records} of {name}, {}", by(signature));
            if let Some(wildcard) = wildcard {
                let _ = write!(line, "; made of the wildcard {wildcard}");
            }
            lines.push(line + ".");
        }
        Link::Rewritten { name, target } => {
            lines.push(format!("By that DNAME, {name} is an alias of {target}."));
        }
        Link::Denial { name, kind, denied, zone, proof } => {
            lines.push(match (denied, kind) {
                (Denied::Type, Some(kind)) => format!("{zone} proves that {name} has no {kind} records:"),
                _ => format!("{zone} proves that {name} doesn't exist:"),
            });
            lines.extend(proof.iter().map(part));
        }
        Link::Failed { name, kind, reason } => lines.push(format!("{kind} of {name}: {reason}.")),
    }
}

fn by(signature: &SignatureSeen) -> String {
    let SignatureSeen { signer, tag, algorithm, inception, expiration } = signature;
    let (from, until) = (time::words(*inception), time::words(*expiration));
    format!("signed by key {tag} ({}) of {signer} from {from} until {until}", algorithm_word(*algorithm))
}

fn digest(seen: &DigestSeen) -> String {
    let what = match seen.digest {
        None => "the key itself".to_owned(),
        Some(1) => "its SHA-1 digest".to_owned(),
        Some(2) => "its SHA-256 digest".to_owned(),
        Some(4) => "its SHA-384 digest".to_owned(),
        Some(other) => format!("its digest of type {other}"),
    };
    let unsupported = if seen.supported { "" } else { ", not supported" };
    format!("  key {} ({}), by {what}{unsupported}", seen.tag, algorithm_word(seen.algorithm))
}

fn key(seen: &KeySeen) -> String {
    let mut line = format!("  key {} ({})", seen.tag, algorithm_word(seen.algorithm));
    for (is, word) in [
        (seen.entry_point, ", signs keys"),
        (!seen.zone_key, ", not marked as a key of a zone"),
        (seen.revoked, ", revoked"),
        (!seen.supported, ", not supported"),
    ] {
        if is {
            line.push_str(word);
        }
    }
    line
}

fn part(seen: &ProofSeen) -> String {
    let opt_out = if seen.opt_out { " (Opt-Out)" } else { "" };
    let says = match (&seen.says, seen.kind) {
        (Says::Matches(name), RecordType::NSEC3) => format!("is the hash of {name}, and lists its types"),
        (Says::Matches(_), _) => "lists the types of its name".to_owned(),
        (Says::Covers(name), RecordType::NSEC3) => format!("spans the hash of {name}"),
        (Says::Covers(name), _) => format!("spans {name}"),
    };
    format!("  {} of {}{opt_out} {says}, {}", seen.kind, seen.owner, by(&seen.signature))
}

/// The mnemonic of an algorithm in the registry "DNS Security Algorithm Numbers".
fn algorithm_word(number: u8) -> String {
    let word = match number {
        1 => "RSAMD5",
        3 => "DSA",
        5 => "RSASHA1",
        6 => "DSA-NSEC3-SHA1",
        7 => "RSASHA1-NSEC3-SHA1",
        8 => "RSASHA256",
        10 => "RSASHA512",
        12 => "ECC-GOST",
        13 => "ECDSAP256SHA256",
        14 => "ECDSAP384SHA384",
        15 => "ED25519",
        16 => "ED448",
        other => return format!("algorithm {other}"),
    };
    word.to_owned()
}
