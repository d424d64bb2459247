//! Asking DNS from the server: whoever answers, within a budget and a time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use postrider_dns::{Answer, Authenticity, Lookup, Name, Outcome, RecordType};

use crate::runtime::timeout_at;
use crate::shard::Local;

/// Who answers questions on a shard: the resolver, or a script in its place.
pub type Resolver = Rc<dyn Resolve>;

/// A [`Lookup`] of any kind behind a pointer.
pub trait Resolve {
    /// Looks up records of one type.
    fn resolve(self: Rc<Self>, name: Name, kind: RecordType) -> Local<Answer>;
}

impl<L: Lookup + 'static> Resolve for L {
    fn resolve(self: Rc<Self>, name: Name, kind: RecordType) -> Local<Answer> {
        Box::pin(async move { self.lookup(&name, kind).await })
    }
}

/// The questions that one message may cause.
pub struct Questions {
    resolver: Resolver,
    left: Cell<u32>,
    refused: Cell<u32>,
    until: Cell<Option<Instant>>,
}

impl Questions {
    /// At most `most` of them.
    pub const fn new(resolver: Resolver, most: u32) -> Self {
        Self { resolver, left: Cell::new(most), refused: Cell::new(0), until: Cell::new(None) }
    }

    /// From now on, what isn't answered by then fails.
    pub fn limit_time(&self, until: Instant) {
        self.until.set(Some(until));
    }

    /// Questions that were not asked, since there had been too many.
    pub fn refused(&self) -> u32 {
        self.refused.get()
    }
}

impl Lookup for Questions {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        let Some(left) = self.left.get().checked_sub(1) else {
            self.refused.set(self.refused.get().saturating_add(1));
            return failed(name, kind, "too many questions for one message");
        };
        self.left.set(left);
        let answer = Rc::clone(&self.resolver).resolve(name.clone(), kind);
        match self.until.get() {
            None => answer.await,
            Some(until) => match timeout_at(until, answer).await {
                Ok(answer) => answer,
                Err(_) => failed(name, kind, "no answer in the time for a check"),
            },
        }
    }
}

fn failed(name: &Name, kind: RecordType, reason: &str) -> Answer {
    Answer {
        name: name.clone(),
        kind,
        outcome: Outcome::Failed,
        records: Vec::new(),
        aliases: Vec::new(),
        authenticity: Authenticity::Indeterminate,
        reason: reason.to_owned(),
        errors: Vec::new(),
        ttl: 0,
    }
}
