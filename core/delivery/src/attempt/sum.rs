//! What the ends of all hosts come to.

use super::Tried;
use crate::outcome::{Class, Failure, HostEnd, Signal, Status};

/// What is said of recipients of which no host said anything: as long as one host may still take the message, it is
/// tried again; a reply says more than its absence. When all hosts are of no use for good, so is the message, and
/// what REQUIRETLS lacks comes first (RFC 8689 §4.2.1).
pub(super) fn overall(failures: &[Failure]) -> Failure {
    let temporary = |failure: &&Failure| failure.status.class == Class::Temporary;
    let replied = failures.iter().filter(temporary).rfind(|failure| failure.answer.is_some());
    let lacks = |failure: &&Failure| failure.status == Status::permanent(7, 30);
    let chosen = replied
        .or_else(|| failures.iter().rfind(temporary))
        .or_else(|| failures.iter().rfind(lacks))
        .or_else(|| failures.last());
    chosen
        .cloned()
        .unwrap_or_else(|| Failure::ours(Status::temporary(4, 0), "no host was left to try in this attempt"))
}

/// The most hopeful that came of the hosts: one that takes mail is enough.
pub(super) fn signal(tried: &[Tried]) -> Signal {
    let of = |tried: &Tried| match tried.end {
        HostEnd::Unreachable(_) | HostEnd::LookupFailed => Signal::Down,
        ref end => end.signal(),
    };
    tried.iter().map(of).max().unwrap_or(Signal::Neutral)
}
