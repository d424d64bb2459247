//! Asking DNS from the server: whoever answers, within a budget and a time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use postrider_dns::{Answer, Authenticity, Budget, Lookup, Name, Outcome, RecordType};

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

/// The questions that one message may cause, each with a time until which it counts.
pub struct Questions(Budget<Timely>);

impl Questions {
    /// At most `lookups_max` of them.
    pub fn new(resolver: Resolver, lookups_max: u32) -> Self {
        Self(Budget::new(Timely { resolver, until: Cell::new(None) }, lookups_max))
    }

    /// As many questions more to the same resolver.
    pub fn afresh(&self, lookups_max: u32) -> Self {
        Self::new(Rc::clone(&self.0.inner().resolver), lookups_max)
    }

    /// From now on, what isn't answered by then fails.
    pub fn limit_time(&self, until: Instant) {
        self.0.inner().until.set(Some(until));
    }

    /// Whether there were more than it may cause.
    pub fn is_exceeded(&self) -> bool {
        self.0.is_exceeded()
    }
}

impl Lookup for Questions {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        self.0.lookup(name, kind).await
    }
}

/// A resolver that is waited for until some time.
struct Timely {
    resolver: Resolver,
    until: Cell<Option<Instant>>,
}

impl Lookup for Timely {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        let answer = Rc::clone(&self.resolver).resolve(name.clone(), kind);
        let Some(until) = self.until.get() else { return answer.await };
        timeout_at(until, answer)
            .await
            .unwrap_or_else(|_| failed(name, kind, "no answer in the time for a check"))
    }
}

/// An answer that says nothing, for this reason.
pub fn failed(name: &Name, kind: RecordType, reason: &str) -> Answer {
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
