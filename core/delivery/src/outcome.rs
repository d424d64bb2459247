//! What came of a host and of its replies, and what that means for each recipient (RFC 5321 §4.2, §4.5.4, §5.1;
//! RFC 3463).
//!
//! - [`HostEnd`] is what a driver reports of one host.
//! - [`judge`] decides on one reply, [`HostEnd::goes_on`] whether the next host is tried, [`HostEnd::signal`] what
//!   the schedule learns.
//! - [`Failure`] says why a recipient didn't get the message, [`Verdict`] what becomes of it.

mod failure;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::limits::TEXT_OCTETS_MAX;
use crate::security::{Skip, TlsEvent};

pub use failure::Failure;

/// Whether it makes sense to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// It does.
    Temporary,
    /// It doesn't.
    Permanent,
}

/// An enhanced status code of failures (RFC 3463).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// 4 or 5.
    pub class: Class,
    /// The second number.
    pub subject: u16,
    /// The third.
    pub detail: u16,
}

impl Status {
    /// A status that can be tried again.
    #[must_use]
    pub const fn temporary(subject: u16, detail: u16) -> Self {
        Self { class: Class::Temporary, subject, detail }
    }

    /// A status that can't.
    #[must_use]
    pub const fn permanent(subject: u16, detail: u16) -> Self {
        Self { class: Class::Permanent, subject, detail }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = if self.class == Class::Temporary { 4 } else { 5 };
        write!(f, "{class}.{}.{}", self.subject, self.detail)
    }
}

/// A reply of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its code.
    pub code: u16,
    /// Its enhanced code, where there is one.
    pub enhanced: Option<(u16, u16, u16)>,
    /// Its text: lines joined by line feeds, at most [`TEXT_OCTETS_MAX`] octets, no other control characters.
    text: String,
}

impl Answer {
    /// A reply. The text is cut, and control characters are replaced.
    #[must_use]
    pub fn new(code: u16, enhanced: Option<(u16, u16, u16)>, text: &str) -> Self {
        let mut kept = String::new();
        for c in text.chars() {
            let c = if c.is_control() && c != '\n' { '?' } else { c };
            if kept.len() + c.len_utf8() > TEXT_OCTETS_MAX {
                break;
            }
            kept.push(c);
        }
        Self { code, enhanced, text: kept }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its class by the first digit. What is neither 4yz nor 5yz where something was refused breaks the protocol,
    /// and counts as temporary.
    #[must_use]
    pub fn class(&self) -> Class {
        if self.code / 100 == 5 { Class::Permanent } else { Class::Temporary }
    }

    /// Its status: the enhanced code, when its class is that of the reply.
    #[must_use]
    pub fn status(&self) -> Status {
        let class = self.class();
        let digit = if class == Class::Permanent { 5 } else { 4 };
        match self.enhanced {
            Some((first, subject, detail)) if first == digit => Status { class, subject, detail },
            _ => Status { class, subject: 0, detail: 0 },
        }
    }
}

/// As in `Diagnostic-Code`: the codes and the text in one line.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((class, subject, detail)) = self.enhanced {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        let text = self.text.replace('\n', " ");
        if text.is_empty() { Ok(()) } else { write!(f, " {text}") }
    }
}

/// What a reply is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The connection: its greeting.
    Greeting,
    /// EHLO and HELO.
    Hello,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA or BDAT.
    Data,
    /// The end of the content.
    Content,
}

impl Stage {
    /// The words for it in explanations.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Greeting => "the connection",
            Self::Hello => "the greeting",
            Self::Auth => "the authentication",
            Self::Mail => "the sender",
            Self::Recipient => "the recipient",
            Self::Data | Self::Content => "the message",
        }
    }
}

/// Decides on a reply that refuses something.
///
/// - Too many recipients (552 at RCPT) is temporary (RFC 5321 §4.5.3.1.10).
/// - What goes wrong with our own name and password is ours to repair: temporary.
/// - `softens`: a refusal for policy (x.7.y) at the first attempt, of a host that has addresses of both families, is
///   temporary: it may be about the address that we came from, and the next attempt comes from the other family.
#[must_use]
pub fn judge(stage: Stage, answer: &Answer, softens: bool) -> Status {
    let status = answer.status();
    let is_temporary = match stage {
        Stage::Recipient if answer.code == 552 => true,
        Stage::Auth => true,
        _ => softens && status.subject == 7,
    };
    if is_temporary { Status { class: Class::Temporary, ..status } } else { status }
}

/// Why no connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// It was refused.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// There is no way there.
    NoRoute,
    /// The proxy didn't connect.
    Proxy,
    /// It was found to be unreachable a short while ago, and isn't tried before this time.
    Known {
        /// When it is tried again.
        until: i64,
    },
}

/// How a conversation broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// The connection ended.
    Closed,
    /// Nothing came in time.
    TimedOut,
    /// What came was no reply.
    Malformed,
    /// It was us, for a reason of our own.
    Here,
}

/// What a message needs and a host can't do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unable {
    /// It is larger than the host takes (SIZE).
    TooLarge,
    /// SMTPUTF8.
    Utf8,
    /// 8BITMIME or BINARYMIME, and it can't be converted.
    EightBit,
    /// REQUIRETLS.
    RequireTls,
    /// A mechanism to authenticate that both sides have.
    Mechanism,
}

/// What came of one recipient in a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientEnd {
    /// The host has taken the message.
    Delivered {
        /// Its reply to the end of the content.
        answer: Answer,
        /// Whether it was given the recipient's wishes for reports (RFC 3461).
        has_dsn: bool,
    },
    /// It was refused.
    Refused {
        /// What was.
        stage: Stage,
        /// The reply.
        answer: Answer,
    },
    /// The conversation broke off.
    Broken {
        /// During what.
        stage: Stage,
        /// How.
        how: Broken,
    },
    /// It had no place in the transactions that the host takes on one connection (RFC 9422): another connection follows.
    Later,
}

/// What came of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEnd {
    /// There was a transaction: what came of each recipient that was still to be delivered to, in their order.
    Transaction(Vec<RecipientEnd>),
    /// No address could be connected to.
    Unreachable(Unreachable),
    /// TLS failed where it must not.
    Tls(TlsEvent),
    /// The host refused, before any recipient.
    Refused {
        /// What.
        stage: Stage,
        /// The reply.
        answer: Answer,
    },
    /// The conversation broke off before any recipient.
    Broken {
        /// During what.
        stage: Stage,
        /// How.
        how: Broken,
    },
    /// The host can't do what the message needs.
    Unable(Unable),
    /// It wasn't connected to, for its TLS.
    Skipped(Skip),
    /// It has no addresses.
    NoAddresses,
    /// Its addresses can't be looked up.
    LookupFailed,
    /// It is this server.
    Ourselves,
}

/// What the schedule learns of a host or a domain, the least hopeful first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// It can't be reached.
    Down,
    /// It answers, and that says nothing of how busy it is.
    Neutral,
    /// It wants less: 421, 4yz before a recipient, or it broke off.
    Slower,
    /// It takes mail.
    Good,
}

impl HostEnd {
    /// Whether the next host is tried for the recipients that are still to be delivered to. `softens` as for
    /// [`judge`].
    #[must_use]
    pub fn goes_on(&self, softens: bool) -> bool {
        match self {
            Self::Refused { stage, answer } => judge(*stage, answer, softens).class == Class::Temporary,
            // What went wrong here would do so with the next host.
            Self::Broken { how: Broken::Here, .. } => false,
            Self::Unable(Unable::TooLarge | Unable::Mechanism) | Self::Ourselves => false,
            _ => true,
        }
    }

    /// What the schedule learns. A failure at TLS is none of the connection: the host answers.
    #[must_use]
    pub fn signal(&self) -> Signal {
        match self {
            Self::Transaction(ends) => {
                if ends.iter().any(|end| matches!(end, RecipientEnd::Delivered { .. })) {
                    return Signal::Good;
                }
                let slows = |end: &RecipientEnd| match end {
                    RecipientEnd::Refused { answer, .. } => answer.code == 421,
                    RecipientEnd::Broken { how, .. } => *how != Broken::Here,
                    RecipientEnd::Delivered { .. } | RecipientEnd::Later => false,
                };
                if ends.iter().any(slows) { Signal::Slower } else { Signal::Neutral }
            }
            Self::Unreachable(Unreachable::Known { .. }) => Signal::Neutral,
            Self::Unreachable(_) => Signal::Down,
            Self::Refused { answer, .. } if answer.class() == Class::Temporary => Signal::Slower,
            Self::Broken { how, .. } if *how != Broken::Here => Signal::Slower,
            _ => Signal::Neutral,
        }
    }

    /// Whether the host ended the conversation (421, or without a word) before it answered anything of the message but that.
    #[must_use]
    pub fn is_before_any_word(&self) -> bool {
        let Self::Transaction(ends) = self else { return false };
        !ends.is_empty()
            && ends.iter().all(|end| match end {
                RecipientEnd::Refused { stage, answer } => {
                    matches!(stage, Stage::Greeting | Stage::Mail | Stage::Recipient) && answer.code == 421
                }
                RecipientEnd::Broken { stage, how } => {
                    matches!(stage, Stage::Greeting | Stage::Mail | Stage::Recipient)
                        && *how == Broken::Closed
                }
                RecipientEnd::Delivered { .. } | RecipientEnd::Later => false,
            })
    }

    /// Whether the host lacks what REQUIRETLS needs.
    #[must_use]
    pub fn lacks_requiretls(&self) -> bool {
        match self {
            Self::Skipped(skip) => skip.lacks_requiretls(),
            Self::Tls(TlsEvent::NoRequireTls) | Self::Unable(Unable::RequireTls) => true,
            _ => false,
        }
    }
}

/// What becomes of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It got the message.
    Delivered {
        /// The host that took it.
        host: String,
        /// What the host said.
        answer: Answer,
        /// Whether the host was given the recipient's wishes for reports.
        has_dsn: bool,
    },
    /// It waits for the next attempt.
    Retry(Failure),
    /// It doesn't get the message.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether attempts are used up; otherwise it was refused for good.
        is_expired: bool,
    },
}

impl Verdict {
    /// What a failure means, after this many attempts of so many.
    ///
    /// When attempts are used up, the status keeps its numbers and becomes permanent; one that says nothing becomes
    /// "delivery time expired" (5.4.7).
    #[must_use]
    pub fn of(failure: Failure, made: u16, attempts_max: u16) -> Self {
        if failure.status.class == Class::Permanent {
            return Self::Failed { failure, is_expired: false };
        }
        if made < attempts_max {
            return Self::Retry(failure);
        }
        let status = match failure.status {
            Status { subject: 0, .. } => Status::permanent(4, 7),
            status => Status { class: Class::Permanent, ..status },
        };
        Self::Failed { failure: Failure { status, ..failure }, is_expired: true }
    }
}
