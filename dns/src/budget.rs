//! A bound on what one message may make us ask (threats C10 to C12).

use std::cell::Cell;

use hickory_proto::rr::{Name, RecordType};

use crate::answer::{Answer, Authenticity, Lookup, Outcome};

/// A [`Lookup`] that answers a number of questions, and fails all after them without asking.
///
/// What is answered from memory counts, too: the bound is to be the same whoever else asked before.
#[derive(Debug)]
pub struct Budget<L> {
    lookup: L,
    lookups_max: u32,
    used: Cell<u32>,
    refused: Cell<u32>,
}

impl<L> Budget<L> {
    /// Passes on at most `lookups_max` questions.
    pub fn new(lookup: L, lookups_max: u32) -> Self {
        Self { lookup, lookups_max, used: Cell::new(0), refused: Cell::new(0) }
    }

    /// Whom the questions are passed on to.
    #[must_use]
    pub fn inner(&self) -> &L {
        &self.lookup
    }

    /// Questions that were passed on.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.used.get()
    }

    /// Whether a question was refused.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.refused.get() > 0
    }
}

impl<L: Lookup> Lookup for Budget<L> {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        if self.used.get() >= self.lookups_max {
            self.refused.set(self.refused.get().saturating_add(1));
            return Answer {
                name: name.clone(),
                kind,
                outcome: Outcome::Failed,
                records: Vec::new(),
                aliases: Vec::new(),
                authenticity: Authenticity::Indeterminate,
                reason: format!("this message already made us look up {} names", self.lookups_max),
                errors: Vec::new(),
                ttl: 0,
            };
        }
        self.used.set(self.used.get() + 1);
        self.lookup.lookup(name, kind).await
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use futures_lite::future::block_on;

    use super::*;
    use crate::script::Script;

    #[test]
    fn the_last_question_within_is_asked_and_the_next_is_not() {
        let script = Script::parse("a. A 192.0.2.1").unwrap();
        let budget = Budget::new(&script, 3);
        let name = Name::from_ascii("a.").unwrap();
        for used in 1..=3 {
            assert_eq!(block_on(budget.lookup(&name, RecordType::A)).outcome, Outcome::Found);
            assert_eq!((budget.used(), budget.is_exceeded()), (used, false));
        }
        let answer = block_on(budget.lookup(&name, RecordType::A));
        assert_eq!((answer.outcome, answer.authenticity), (Outcome::Failed, Authenticity::Indeterminate));
        assert!(budget.is_exceeded());
        assert_eq!((budget.used(), script.lookups()), (3, 3));
    }
}
