//! Domains and the keys that sign their mail.

use serde::{Deserialize, Serialize};

/// Which kind of DKIM key is made.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DkimAlgorithm {
    /// Every verifier knows it.
    #[default]
    Rsa2048,
    /// Short, and not known to all (RFC 8463).
    Ed25519,
}

/// A domain in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DomainRow {
    /// The domain.
    pub domain: String,
    /// Whether mail for it is refused for now.
    pub disabled: bool,
}

/// A key that signs mail of a domain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DkimKeyRow {
    /// The key's name in its domain.
    pub selector: String,
    /// `rsa` or `ed25519`.
    pub algorithm: String,
    /// Whether it signs.
    pub signs: bool,
    /// When it was added, in seconds since 1970.
    pub created: i64,
    /// The name of its record in the DNS, without a dot at its end.
    pub name: String,
    /// The text of the record; none when the stored key can't be read.
    pub record: Option<String>,
    /// The record as a line of a zone.
    pub zone: Option<String>,
}
