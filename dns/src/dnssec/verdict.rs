//! What a validation finds.

use hickory_proto::rr::Name;

use super::limits::Spent;
use super::reason::Reason;
use super::trace::{Denied, Link};
use crate::answer::{Authenticity, ExtendedError, Step};

/// What a response is worth.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The least of all steps and of the end.
    pub authenticity: Authenticity,
    /// The aliases that were followed in the response, each judged on its own. Those after a step that must not be
    /// used are missing.
    pub aliases: Vec<Step>,
    /// Where the aliases lead.
    pub end: End,
    /// Whether the end alone can be believed.
    pub end_authenticity: Authenticity,
    /// Why it isn't secure: of the least secure step, the first.
    pub reason: Option<Reason>,
    /// Seconds for which what is secure in the response may be kept (RFC 4035 §5.3.3); `u32::MAX` when nothing is.
    pub ttl_max: u32,
    /// Whether asking another upstream would be of no use: a limit was hit, or others were asked a short while ago and
    /// the chain of trust is broken by what they say, too.
    pub settled: bool,
    /// How it was found, step by step.
    pub trace: Vec<Link>,
    /// What it cost.
    pub spent: Spent,
}

/// Where the aliases of a response lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// To records of the type, in the answer section at the last name.
    Found,
    /// To a name that doesn't exist or has none of the type. Where the end is secure this is what was proven,
    /// otherwise what the response code says.
    Denied(Denied),
    /// To this name, of which the response says nothing: it is to be asked for.
    Alias(Name),
    /// To nothing that may be used.
    Failed,
}

impl Verdict {
    /// Whether what the response says may be used, be it secure or not.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.end != End::Failed
    }

    /// The sentence for operators; empty when all is secure.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.reason.as_ref().map(Reason::to_string).unwrap_or_default()
    }

    /// The extended error for it, if there is one.
    #[must_use]
    pub fn extended_error(&self) -> Option<ExtendedError> {
        self.reason.as_ref().and_then(Reason::extended_error)
    }
}
