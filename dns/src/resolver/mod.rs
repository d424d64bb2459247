//! The resolver: asks recursive resolvers (*upstreams*), decides what can be believed, and remembers.
//!
//! One on each shard; nothing is shared and nothing is `Send`. What comes from outside ([`Transport`],
//! [`Clock`], [`Chance`]) is passed in.
//!
//! What always holds:
//! - A response is used only when it answers the query that was sent (id, question, case of letters), and of
//!   it only records of the names on the way from the question to its answer (RFC 5452).
//! - Queries, time and aliases of a lookup are bounded, whatever comes back ([`crate::limits`]).
//! - Bogus data is never given to anybody, and never remembered as anything but a failure. Before that, other
//!   upstreams are asked, at most [`crate::limits::OTHERS_ASKED_MAX`].
//! - The same question is asked once, however many wait for it.
//!
//! In mode [`Mode::Validate`] what can be believed is decided here ([`crate::dnssec`]): upstreams are asked with
//! the CD bit, and it doesn't matter whether they validate, but they must pass on signatures.

mod cache;
mod errors;
mod event;
mod exchange;
mod flight;
mod hop;
mod memory;
mod outside;
mod query;
mod read;
mod system;
mod upstream;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};

use crate::answer::{Answer, Authenticity, ExtendedError, Lookup, Outcome, Step};
use crate::dnssec::{self, Rollover, RolloverChange, TrustAnchors, Validator};
use crate::limits::{
    ALIASES_MAX, EXTENDED_ERRORS_MAX, FAILURE_KEPT, LOOKUPS_UNDER_WAY_MAX, TTL_MAX, UPSTREAMS_MAX,
};

use exchange::{Allowance, Exchange, Patience, Reply, Trouble};
use flight::Flight;
use hop::{Conclusion, Hop};
use memory::Memory;
use read::End;
use upstream::Upstreams;

pub use event::{Event, Source, Watch};
pub use outside::{Chance, Clock, Outside, Transport, TransportError};
pub use system::{SystemResolver, parse_resolv_conf};
pub use upstream::{PORT, PORT_TLS, Upstream, UpstreamError, Way};

/// How it is decided what can be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Here, by validation from the trust anchors down.
    #[default]
    Validate,
    /// By the AD bit of upstreams that are trusted. What others say is indeterminate.
    Trust,
}

/// What is configured of a resolver.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who is asked; at most [`UPSTREAMS_MAX`] of them.
    pub upstreams: Vec<Upstream>,
    /// How it is decided what can be believed.
    pub mode: Mode,
    /// Where validation begins.
    pub anchors: TrustAnchors,
    /// Rounds over all upstreams before a lookup fails.
    pub rounds: u32,
    /// The longest wait for one answer in the first round; it doubles with each.
    pub first_wait: Duration,
    /// The longest time for a lookup, everything included.
    pub total: Duration,
    /// Octets that may be remembered.
    pub cache_octets_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            upstreams: Vec::new(),
            mode: Mode::default(),
            anchors: TrustAnchors::built_in(),
            rounds: 3,
            first_wait: Duration::from_secs(3),
            total: Duration::from_secs(20),
            cache_octets_max: 4 << 20,
        }
    }
}

/// What is asked: a name and a type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub name: Name,
    pub kind: RecordType,
}

/// A response that validation waits for.
type Fetching = Flight<Result<Reply, Trouble>>;

struct Inner<O> {
    exchange: Exchange<O>,
    /// None in mode [`Mode::Trust`].
    validator: Option<Validator>,
    total: Duration,
    memory: RefCell<Memory>,
    flights: RefCell<HashMap<Key, Weak<Flight<Answer>>>>,
    /// What validation asks for at the moment.
    fetches: RefCell<HashMap<Key, Weak<Fetching>>>,
}

/// A resolver. Clones are the same one.
pub struct Resolver<O> {
    inner: Rc<Inner<O>>,
}

impl<O> Clone for Resolver<O> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

impl<O: Outside> Resolver<O> {
    /// A resolver that remembers nothing yet.
    pub fn new(mut options: Options, outside: O, watch: Watch) -> Self {
        options.upstreams.truncate(UPSTREAMS_MAX);
        let validates = options.mode == Mode::Validate;
        let validator = validates.then(|| Validator::new(options.anchors, dnssec::Limits::DEFAULT));
        let exchange = Exchange {
            outside,
            upstreams: Upstreams::new(options.upstreams),
            patience: Patience { rounds: options.rounds.max(1), first: options.first_wait },
            checking_disabled: validates,
            watch,
        };
        let memory = RefCell::new(Memory::new(options.cache_octets_max));
        let total = options.total;
        let (flights, fetches) = (RefCell::default(), RefCell::default());
        Self { inner: Rc::new(Inner { exchange, validator, total, memory, flights, fetches }) }
    }

    /// Looks up what isn't remembered or asked for already, and says how it was judged, in words: for people
    /// who want to know why. In mode [`Mode::Trust`] there is nothing to say.
    pub async fn explain(&self, name: &Name, kind: RecordType) -> (Answer, Vec<String>) {
        let mut name = name.clone();
        name.set_fqdn(true);
        let allowed = Rc::new(Allowance::new(self.inner.exchange.outside.now() + self.inner.total));
        let told = RefCell::default();
        let walked = self.inner.walk(&Key { name, kind }, &allowed, Some(&told)).await;
        let answer = walked.unwrap_or_else(|stopped| stopped.answer);
        (answer, told.into_inner())
    }

    /// Looks at the keys of a zone whose anchors follow it (RFC 5011), and gives what changed. The reason why it
    /// didn't work is a sentence.
    pub async fn observe(&self, rollover: &mut Rollover) -> Result<Vec<RolloverChange>, String> {
        let exchange = &self.inner.exchange;
        let allowed = Allowance::new(exchange.outside.now() + self.inner.total);
        let zone = rollover.zone().clone();
        let asked = exchange.ask(&zone, RecordType::DNSKEY, &allowed).await;
        // Without an answer the time of the next look has to be set, too.
        let response = asked.as_ref().map_or_else(|_| Message::query(), |reply| reply.message.clone());
        let observed = rollover.observe(&response, exchange.outside.wall());
        match (asked, observed) {
            (Err(trouble), _) => Err(trouble.reason),
            (_, Err(reason)) => Err(reason.to_string()),
            (_, Ok(observation)) => Ok(observation.changes),
        }
    }

    /// Begins validation at other anchors from now on. What is remembered stays; it ends with its times.
    pub fn set_anchors(&self, anchors: TrustAnchors) {
        if let Some(validator) = &self.inner.validator {
            validator.set_anchors(anchors);
        }
    }

    /// Octets and entries that are remembered.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize) {
        let memory = self.inner.memory.borrow();
        (memory.octets(), memory.len())
    }
}

impl<O: Outside> Lookup for Resolver<O> {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        let mut name = name.clone();
        name.set_fqdn(true);
        let inner = &self.inner;
        let key = Key { name, kind };
        let (mut answer, source) = match inner.remembered(&key) {
            Some(remembered) => remembered,
            None => match inner.flight(&key) {
                Ok((flight, source)) => {
                    let answer = flight.join().await;
                    (
                        answer.unwrap_or_else(|| blank(&key, "the lookup ended by a fault of the server")),
                        source,
                    )
                }
                Err(answer) => (answer, Source::Upstream),
            },
        };
        // Two that ask for one name in different case share the answer, not the spelling.
        answer.name = key.name;
        (inner.exchange.watch)(Event::Lookup(&answer, source));
        answer
    }
}

/// Takes a lookup out of the list of those under way, when it ends or when nobody waits for it any more.
struct Leave<O> {
    inner: Rc<Inner<O>>,
    key: Key,
}

impl<O> Drop for Leave<O> {
    fn drop(&mut self) {
        self.inner.flights.borrow_mut().remove(&self.key);
    }
}

impl<O: Outside> Inner<O> {
    fn remembered(&self, key: &Key) -> Option<(Answer, Source)> {
        self.memory.borrow_mut().answer(key, self.exchange.outside.now())
    }

    /// The lookup of `key` that is under way, or a new one.
    #[expect(clippy::result_large_err, reason = "the answer is what the caller gives on")]
    fn flight(self: &Rc<Self>, key: &Key) -> Result<(Rc<Flight<Answer>>, Source), Answer> {
        let mut flights = self.flights.borrow_mut();
        if let Some(flight) = flights.get(key).and_then(Weak::upgrade) {
            return Ok((flight, Source::Shared));
        }
        if flights.len() >= LOOKUPS_UNDER_WAY_MAX {
            (self.exchange.watch)(Event::Limit("lookups_under_way"));
            return Err(blank(key, "too many lookups are under way"));
        }
        let leave = Leave { inner: Rc::clone(self), key: key.clone() };
        let flight = Flight::new(Box::pin(async move {
            let answer = leave.inner.resolve(&leave.key).await;
            drop(leave);
            answer
        }));
        flights.insert(key.clone(), Rc::downgrade(&flight));
        Ok((flight, Source::Upstream))
    }

    /// Looks up what isn't remembered, and remembers it.
    async fn resolve(self: &Rc<Self>, key: &Key) -> Answer {
        let allowed = Rc::new(Allowance::new(self.exchange.outside.now() + self.total));
        let walked = self.walk(key, &allowed, None).await;
        let now = self.exchange.outside.now();
        let mut memory = self.memory.borrow_mut();
        let (answer, evicted) = match walked {
            Ok(answer) => {
                let evicted = memory.keep(key, &answer, now);
                (answer, evicted)
            }
            Err(Stopped { answer, limit: true }) => (answer, 0),
            Err(Stopped { answer, limit: false }) => memory.keep_failure(key, answer, now),
        };
        drop(memory);
        if evicted > 0 {
            (self.exchange.watch)(Event::Evicted(evicted));
        }
        answer
    }

    /// Asks for the name, and for what its aliases lead to where a response stops there. `told` gets how it was
    /// judged.
    async fn walk(
        self: &Rc<Self>,
        key: &Key,
        allowed: &Rc<Allowance>,
        told: Option<&RefCell<Vec<String>>>,
    ) -> Result<Answer, Stopped> {
        let mut answer = blank(key, "");
        answer.authenticity = Authenticity::Secure;
        answer.ttl = TTL_MAX;
        let mut here = key.name.clone();
        loop {
            let Hop { reply, reading, verdict } = match self.hop(&here, key.kind, allowed, told).await {
                Ok(hop) => hop,
                Err(trouble) => return Err(Stopped::by(answer, trouble)),
            };
            answer.authenticity = answer.authenticity.and(verdict.authenticity);
            add_errors(&mut answer.errors, errors::of(reply.message.edns.as_ref()));
            add_errors(&mut answer.errors, verdict.error.into_iter().collect());
            if answer.reason.is_empty() {
                answer.reason = verdict.reason;
            }
            answer.ttl = answer.ttl.min(reading.ttl).min(verdict.ttl_max);
            for step in verdict.aliases {
                if step.to == key.name || answer.aliases.iter().any(|known| known.to == step.to) {
                    return Err(Stopped::at(answer, format!("aliases of {} form a loop", key.name)));
                }
                if answer.aliases.len() == ALIASES_MAX {
                    (self.exchange.watch)(Event::Limit("aliases"));
                    return Err(Stopped::at(answer, format!("over {ALIASES_MAX} aliases")));
                }
                let (from, to) = (step.from.to_lowercase(), step.to.to_lowercase());
                answer.aliases.push(Step { from, to, ..step });
            }
            answer.outcome = match (verdict.end, reading.end) {
                (Conclusion::Found, End::Found(records)) => {
                    answer.records = records;
                    Outcome::Found
                }
                (Conclusion::NoData, _) => Outcome::NoData,
                (Conclusion::NoName, _) => Outcome::NoName,
                (Conclusion::Alias(target), _) => {
                    here = target.to_lowercase();
                    continue;
                }
                (Conclusion::Unusable | Conclusion::Found, _) => {
                    let reason = std::mem::take(&mut answer.reason);
                    return Err(Stopped::at(answer, reason));
                }
            };
            return Ok(answer);
        }
    }
}

/// A lookup that gave nothing.
struct Stopped {
    answer: Answer,
    /// Whether it was its own doing, which the next lookup shouldn't suffer for.
    limit: bool,
}

impl Stopped {
    fn at(mut answer: Answer, reason: String) -> Self {
        answer.outcome = Outcome::Failed;
        answer.records.clear();
        // What failed can't be secure: there is nothing that is.
        answer.authenticity = answer.authenticity.and(Authenticity::Indeterminate);
        answer.reason = reason;
        answer.ttl = u32::try_from(FAILURE_KEPT.as_secs()).unwrap_or(0);
        Self { answer, limit: false }
    }

    fn by(mut answer: Answer, trouble: Trouble) -> Self {
        if trouble.bogus {
            answer.authenticity = Authenticity::Bogus;
        }
        add_errors(&mut answer.errors, trouble.errors);
        Self { limit: trouble.limit, ..Self::at(answer, trouble.reason) }
    }
}

/// A failed answer.
fn blank(key: &Key, reason: &str) -> Answer {
    Answer {
        name: key.name.clone(),
        kind: key.kind,
        outcome: Outcome::Failed,
        records: Vec::new(),
        aliases: Vec::new(),
        authenticity: Authenticity::Indeterminate,
        reason: reason.to_owned(),
        errors: Vec::new(),
        ttl: 0,
    }
}

fn add_errors(errors: &mut Vec<ExtendedError>, more: Vec<ExtendedError>) {
    for error in more {
        if errors.len() < EXTENDED_ERRORS_MAX && !errors.contains(&error) {
            errors.push(error);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
