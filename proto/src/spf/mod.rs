//! Sender Policy Framework (RFC 7208): the record, its macros, and the `Received-SPF` field.
//!
//! What a record means for a client is `postrider-authentication`'s; here it is read and written.
//!
//! Always holds: a [`Record`] has no syntax error anywhere, as RFC 7208 §4.6 asks for before the first term is
//! looked at; nothing here recurses.

mod macros;
mod received;
mod record;
#[cfg(test)]
mod tests;

pub use macros::{DomainSpec, ExplainString, Letter, MacroError, NotAscii, Values};
pub use received::{Identity, ReceivedSpf};
pub use record::{Directive, DualPrefix, Mechanism, Modifier, Qualifier, Record, RecordError, TermError};

/// What a check says (RFC 7208 §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpfResult {
    /// There is no domain to check, or it publishes no record.
    None,
    /// The domain says nothing about the client.
    Neutral,
    /// The client may use the domain.
    Pass,
    /// The client may not use the domain.
    Fail,
    /// The client probably may not use the domain.
    Softfail,
    /// DNS failed; a later check may succeed.
    Temperror,
    /// What the domain publishes can't be interpreted.
    Permerror,
}

impl SpfResult {
    /// The word for it in fields, reports and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Softfail => "softfail",
            Self::Temperror => "temperror",
            Self::Permerror => "permerror",
        }
    }
}
