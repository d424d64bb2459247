//! DMARC: the policy record and the author's domain (RFC 7489 and its successor, RFC 9989).
//!
//! Sections of the successor are those of draft-ietf-dmarc-dmarcbis-41, its last draft. What a record means for a
//! message is `postrider-authentication`'s.

mod author;
mod record;
pub mod report;
#[cfg(test)]
mod tests;

pub use author::{Author, AuthorProblem};
pub use record::{
    Alignment, FailureOptions, Fault, Policy, PublicSuffixFlag, Record, ReportUri, Standing, TagError,
};

/// What an evaluation says (RFC 8601 §2.7.1 as DMARC's registrations have it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DmarcResult {
    /// No record applies.
    None,
    /// An authenticated identifier is aligned with the author's domain.
    Pass,
    /// A record applies, and no authenticated identifier is aligned.
    Fail,
    /// DNS failed; a later attempt may succeed.
    Temperror,
    /// The message or the record can't be evaluated.
    Permerror,
}

impl DmarcResult {
    /// The word for it in fields, reports and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Temperror => "temperror",
            Self::Permerror => "permerror",
        }
    }
}
