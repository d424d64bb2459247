//! What a lookup gives: records, or why there are none, and whether that can be believed.

use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Whether data is what the owner of its zone published (RFC 4033 §5).
///
/// The order is that of belief: the least of several is what a decision that rests on all of them may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authenticity {
    /// There should be a chain of trust, and it is broken. The data must not be used.
    Bogus,
    /// It could not be found out whether there is a chain of trust: nothing answered that could say so, or no
    /// trust anchor covers the name.
    Indeterminate,
    /// It is proven that there is no chain of trust to the name.
    Insecure,
    /// A chain of trust leads from an anchor to the data, or to the proof that there is none.
    Secure,
}

impl Authenticity {
    /// What a decision may claim that rests on data of `self` and of `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.min(other)
    }

    /// Whether a chain of trust leads to the data.
    #[must_use]
    pub fn is_secure(self) -> bool {
        self == Self::Secure
    }

    /// The word for it in results, logs and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Secure => "secure",
            Self::Insecure => "insecure",
            Self::Bogus => "bogus",
            Self::Indeterminate => "indeterminate",
        }
    }
}

/// The text of the extended error that says that no upstream answered.
pub(crate) const SILENCE: &str = "no upstream answered";

/// What came of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// There are records of the type.
    Found,
    /// The name exists, and has no records of the type.
    NoData,
    /// The name doesn't exist (NXDOMAIN, RFC 8020).
    NoName,
    /// No usable answer: servers failed, were silent or refused, or the answer is bogus, or a budget was used
    /// up. May be asked again later.
    Failed,
}

/// An extended DNS error (RFC 8914 §2) of an upstream or of our own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExtendedError {
    /// INFO-CODE of the registry "Extended DNS Error Codes".
    pub code: u16,
    /// EXTRA-TEXT, at most 256 octets of it, control characters replaced.
    pub text: String,
}

/// One alias that an answer went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The owner of the CNAME (or the name that a DNAME made one for).
    pub from: Name,
    /// Its target.
    pub to: Name,
    /// Whether this step alone can be believed.
    pub authenticity: Authenticity,
}

/// The answer to one question, aliases followed.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The name that was asked for, absolute.
    pub name: Name,
    /// The type that was asked for.
    pub kind: RecordType,
    /// What came of it.
    pub outcome: Outcome,
    /// Records of the type at the end of the aliases; empty unless `outcome` is [`Outcome::Found`].
    pub records: Vec<Record>,
    /// The aliases, in their order.
    pub aliases: Vec<Step>,
    /// Whether the answer can be believed: the least of every step and of the data, or of the proof that
    /// there is none.
    pub authenticity: Authenticity,
    /// Why it isn't [`Authenticity::Secure`], or why the lookup failed: a sentence for operators. Empty when
    /// there is nothing to say.
    pub reason: String,
    /// Extended errors that came with the answer, and those that we found.
    pub errors: Vec<ExtendedError>,
    /// Seconds for which the answer may be kept.
    pub ttl: u32,
}

impl Answer {
    /// The response code that says the same (RFC 1035 §4.1.1): what a resolver would answer.
    #[must_use]
    pub fn response_code(&self) -> &'static str {
        match self.outcome {
            Outcome::Found | Outcome::NoData => "NOERROR",
            Outcome::NoName => "NXDOMAIN",
            Outcome::Failed => "SERVFAIL",
        }
    }

    /// Whether nobody answered at all, so that nothing was learnt.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        let silence = |error: &ExtendedError| error.text == SILENCE;
        self.outcome == Outcome::Failed && self.errors.iter().any(silence)
    }

    /// The data of the records.
    pub fn data(&self) -> impl Iterator<Item = &RData> {
        self.records.iter().map(|record| &record.data)
    }
}

/// Who answers questions: the resolver, or a script in its place.
///
/// Futures stay on their shard, so they need not be `Send`.
pub trait Lookup {
    /// Looks up records of one type. Never fails as such: [`Outcome::Failed`] is an answer, too.
    fn lookup(&self, name: &Name, kind: RecordType) -> impl Future<Output = Answer>;
}

impl<L: Lookup> Lookup for &L {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        (**self).lookup(name, kind).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_claims_no_more_than_what_it_rests_on() {
        use Authenticity::{Bogus, Indeterminate, Insecure, Secure};
        for (one, other, both) in [
            (Secure, Secure, Secure),
            (Secure, Insecure, Insecure),
            (Insecure, Indeterminate, Indeterminate),
            (Indeterminate, Bogus, Bogus),
            (Secure, Bogus, Bogus),
        ] {
            assert_eq!(one.and(other), both);
            assert_eq!(other.and(one), both);
        }
    }
}
