//! Why a recipient didn't get a message, with a status and in words.

use super::{Answer, Broken, HostEnd, RecipientEnd, Signal, Stage, Status, Unable, Unreachable, judge};
use crate::destination::Unfound;
use crate::security::{Requirement, TlsEvent};
use crate::transport::Refusal;

/// Why a recipient didn't get the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status.
    pub status: Status,
    /// The host, where it is one's.
    pub host: Option<String>,
    /// What it was about.
    pub stage: Option<Stage>,
    /// What the host said, where it said something.
    pub answer: Option<Answer>,
    /// It in words.
    pub reason: String,
    /// Whether it came of an attempt: of asking DNS, or a host. Otherwise this server didn't even begin one.
    pub is_tried: bool,
}

impl Failure {
    /// Of our own finding.
    #[must_use]
    pub fn ours(status: Status, reason: impl Into<String>) -> Self {
        Self { status, host: None, stage: None, answer: None, reason: reason.into(), is_tried: true }
    }

    /// Of our own decision, before anybody was asked.
    #[must_use]
    pub fn untried(status: Status, reason: impl Into<String>) -> Self {
        Self { is_tried: false, ..Self::ours(status, reason) }
    }

    /// By a transport that is the reply which every attempt fails with.
    #[must_use]
    pub fn refused(refusal: &Refusal) -> Self {
        let answer = Answer::new(refusal.code(), None, refusal.message());
        let status = Status { subject: 7, detail: 0, ..answer.status() };
        Self::untried(status, format!("{} {}", refusal.code(), refusal.message()))
    }

    /// By a reply.
    #[must_use]
    pub fn replied(host: &str, stage: Stage, answer: &Answer, softens: bool) -> Self {
        Self {
            status: judge(stage, answer, softens),
            host: Some(host.to_owned()),
            stage: Some(stage),
            answer: Some(answer.clone()),
            reason: format!("{host} refused {}: {answer}", stage.words()),
            is_tried: true,
        }
    }

    fn broken(host: &str, stage: Stage, how: Broken) -> Self {
        let how = match how {
            Broken::Here => {
                let reason = format!("this server could not go on with {} to {host}", stage.words());
                return Self::ours(Status::temporary(3, 0), reason);
            }
            Broken::Closed => "closed the connection",
            Broken::TimedOut => "did not answer in time",
            Broken::Malformed => "answered with what is no reply",
        };
        let reason = format!("{host} {how} at {}", stage.words());
        Self { host: Some(host.to_owned()), ..Self::ours(Status::temporary(4, 2), reason) }
    }

    /// Of other messages to a host that asked to be left alone, or broke off, while one was handed over.
    #[must_use]
    pub fn wants_no_more(host: &str) -> Self {
        let reason = format!(
            "{host} ended the connections over which mail was handed to it, and is left alone for a while"
        );
        Self { host: Some(host.to_owned()), ..Self::ours(Status::temporary(4, 2), reason) }
    }

    /// Of what came of one recipient; none when it was delivered.
    #[must_use]
    pub fn of_recipient(host: &str, end: &RecipientEnd, softens: bool) -> Option<Self> {
        match end {
            RecipientEnd::Delivered { .. } => None,
            RecipientEnd::Refused { stage, answer } => Some(Self::replied(host, *stage, answer, softens)),
            RecipientEnd::Broken { stage, how } => Some(Self::broken(host, *stage, *how)),
            RecipientEnd::Later => {
                let reason = format!("{host} takes no more recipients on one connection");
                Some(Self { host: Some(host.to_owned()), ..Self::ours(Status::temporary(5, 3), reason) })
            }
        }
    }

    /// Of what came of a host, for all recipients; none after a transaction.
    #[must_use]
    pub fn of_host(host: &str, end: &HostEnd, requirement: Requirement, softens: bool) -> Option<Self> {
        let ours =
            |status, reason: String| Self { host: Some(host.to_owned()), ..Self::ours(status, reason) };
        Some(match end {
            HostEnd::Transaction(_) => return None,
            HostEnd::Refused { stage, answer } => Self::replied(host, *stage, answer, softens),
            HostEnd::Broken { stage, how } => Self::broken(host, *stage, *how),
            HostEnd::Unreachable(why) => {
                let words = match why {
                    Unreachable::Refused => "refused the connection",
                    Unreachable::TimedOut => "could not be connected to in time",
                    Unreachable::NoRoute => "cannot be reached from here",
                    Unreachable::Proxy => "could not be connected to through the proxy",
                    Unreachable::Known { .. } => "could not be reached a short while ago",
                };
                ours(Status::temporary(4, 1), format!("{host} {words}"))
            }
            HostEnd::Tls(TlsEvent::NoRequireTls) | HostEnd::Unable(Unable::RequireTls) => ours(
                Status::permanent(7, 30),
                format!("the message requires TLS all the way, and {host} does not offer REQUIRETLS"),
            ),
            HostEnd::Tls(event) => {
                let detail = if requirement == Requirement::Required { 10 } else { 5 };
                ours(Status::temporary(7, detail), format!("{host}: {}", tls_words(*event)))
            }
            HostEnd::Skipped(skip) => ours(skip.status(requirement), format!("{host}: {}", skip.sentence())),
            HostEnd::NoAddresses => {
                ours(Status::permanent(4, 4), format!("the mail host {host} has no addresses"))
            }
            HostEnd::LookupFailed => {
                ours(Status::temporary(4, 3), format!("the addresses of {host} cannot be looked up"))
            }
            HostEnd::Ourselves => ours(
                Status::permanent(4, 6),
                format!("{host} is this server, which does not have the domain"),
            ),
            HostEnd::Unable(unable) => unable_at(host, *unable),
        })
    }
}

fn unable_at(host: &str, unable: Unable) -> Failure {
    let (status, words) = match unable {
        Unable::TooLarge => (Status::permanent(3, 4), "takes no messages of this size"),
        // Another host, or the same host later, may have it.
        Unable::Utf8 => (Status::temporary(6, 7), "does not take internationalised addresses"),
        Unable::EightBit => (Status::permanent(6, 3), "takes no content with octets over 127"),
        Unable::RequireTls => (Status::permanent(7, 30), "does not offer REQUIRETLS"),
        Unable::Mechanism => (Status::permanent(7, 4), "has no mechanism of authentication that may be used"),
    };
    Failure { host: Some(host.to_owned()), ..Failure::ours(status, format!("{host} {words}")) }
}

fn tls_words(event: TlsEvent) -> &'static str {
    match event {
        TlsEvent::NotOffered => "TLS is not offered, and must be used",
        TlsEvent::Refused => "TLS was refused, and must be used",
        TlsEvent::Handshake => "the TLS handshake failed",
        TlsEvent::Certificate | TlsEvent::Observed => "the certificate could not be verified",
        TlsEvent::NoRequireTls => "REQUIRETLS is not offered",
    }
}

impl From<&Unfound> for Signal {
    fn from(unfound: &Unfound) -> Self {
        match unfound {
            Unfound::Failed { .. } => Self::Down,
            _ => Self::Neutral,
        }
    }
}

impl From<&Unfound> for Failure {
    fn from(unfound: &Unfound) -> Self {
        Self::ours(unfound.status(), unfound.to_string())
    }
}
