//! One name asked for, what comes read and judged, and asked for again elsewhere when it is bogus.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};

use super::exchange::{Allowance, Reply, Trouble};
use super::flight::Flight;
use super::outside::Outside;
use super::read::{self, End, Reading};
use super::{Inner, Key};
use crate::answer::{Authenticity, ExtendedError, Step};
use crate::dnssec::{self, Attempt, Denied, Fetch, FetchError};

impl<O: Outside> Inner<O> {
    /// Asks for one name. What is bogus is asked of other upstreams, too, a bounded number of them, and stands when
    /// none gives better.
    pub(super) async fn hop(
        self: &Rc<Self>,
        name: &Name,
        kind: RecordType,
        allowed: &Rc<Allowance>,
        told: Option<&RefCell<Vec<String>>>,
    ) -> Result<Hop, Trouble> {
        allowed.take_heard();
        let first = self.look(name, kind, allowed, told, Attempt::FIRST).await?;
        let heard = allowed.take_heard();
        if !first.verdict.elsewhere {
            return Ok(first);
        }
        let mut attempt = Attempt::FIRST;
        for other in self.exchange.others(heard) {
            attempt = attempt.next();
            if let Some(told) = told {
                let upstream = self.exchange.upstreams.get(other);
                told.borrow_mut().push(format!("Once more, by {upstream} alone:"));
            }
            allowed.only(Some(other));
            let hop = self.look(name, kind, allowed, told, attempt).await;
            allowed.only(None);
            if let Ok(hop) = hop
                && !matches!(hop.verdict.end, Conclusion::Unusable)
            {
                self.exchange.blame_all_but(other, heard);
                return Ok(hop);
            }
        }
        Ok(first)
    }

    /// Asks for one name, reads what comes and judges it.
    async fn look(
        self: &Rc<Self>,
        name: &Name,
        kind: RecordType,
        allowed: &Rc<Allowance>,
        told: Option<&RefCell<Vec<String>>>,
        attempt: Attempt,
    ) -> Result<Hop, Trouble> {
        let reply = self.exchange.ask(name, kind, allowed).await?;
        let reading = match read::read(&reply.message, name, kind) {
            Ok(reading) => reading,
            Err(why) => {
                let why = format!("the answer for {name}: {why}");
                let reading = Reading { aliases: Vec::new(), end: End::NoData, ttl: 0 };
                let verdict = Verdict::unusable(Authenticity::Indeterminate, why);
                return Ok(Hop { reply, reading, verdict });
            }
        };
        let Some(validator) = &self.validator else {
            let verdict = by_the_upstream(&reply, &reading);
            return Ok(Hop { reply, reading, verdict });
        };
        let fetcher = Fetcher { inner: self, allowed };
        let now = self.exchange.outside.wall();
        let judged = validator.validate_as(attempt, &fetcher, now, name, kind, &reply.message).await;
        if let Some(told) = told {
            told.borrow_mut().extend(dnssec::explain(&judged));
        }
        let verdict = Verdict::of(judged, &reading);
        Ok(Hop { reply, reading, verdict })
    }

    /// Asks for what validation needs, together with those who need the same at the moment.
    async fn fetch(
        self: &Rc<Self>,
        name: &Name,
        kind: RecordType,
        allowed: &Rc<Allowance>,
    ) -> Result<Reply, Trouble> {
        let key = Key { name: name.clone(), kind };
        let under_way = self.fetches.borrow().get(&key).and_then(Weak::upgrade);
        match under_way {
            _ if allowed.is_of_one() => {}
            Some(flight) => {
                if let Some(Ok(reply)) = flight.join().await {
                    allowed.hear(reply.from);
                    return Ok(reply);
                }
                // It failed within what another lookup may do.
            }
            None => {
                let leave = LeaveFetch { inner: Rc::clone(self), key: key.clone() };
                let allowed = Rc::clone(allowed);
                let flight = Flight::new(Box::pin(async move {
                    let LeaveFetch { inner, key } = &leave;
                    inner.exchange.ask(&key.name, key.kind, &allowed).await
                }));
                self.fetches.borrow_mut().insert(key, Rc::downgrade(&flight));
                let lost = || Trouble::limit("a fetch ended by a fault of the server".into());
                return flight.join().await.unwrap_or_else(|| Err(lost()));
            }
        }
        self.exchange.ask(name, kind, allowed).await
    }
}

/// Takes a fetch out of the list of those under way, when it ends or when nobody waits for it any more.
struct LeaveFetch<O> {
    inner: Rc<Inner<O>>,
    key: Key,
}

impl<O> Drop for LeaveFetch<O> {
    fn drop(&mut self) {
        self.inner.fetches.borrow_mut().remove(&self.key);
    }
}

/// What an upstream gave for one name.
pub(super) struct Hop {
    pub(super) reply: Reply,
    pub(super) reading: Reading,
    pub(super) verdict: Verdict,
}

/// Gets what validation needs, within what the lookup may still do.
struct Fetcher<'r, O> {
    inner: &'r Rc<Inner<O>>,
    allowed: &'r Rc<Allowance>,
}

impl<O: Outside> Fetch for Fetcher<'_, O> {
    async fn fetch(&self, name: &Name, kind: RecordType) -> Result<Message, FetchError> {
        let asked = self.inner.fetch(name, kind, self.allowed).await;
        asked.map(|reply| reply.message).map_err(|trouble| FetchError { why: trouble.reason })
    }
}

/// How a response is judged.
pub(super) struct Verdict {
    pub(super) authenticity: Authenticity,
    pub(super) reason: String,
    pub(super) error: Option<ExtendedError>,
    pub(super) aliases: Vec<Step>,
    pub(super) end: Conclusion,
    /// Seconds for which what is secure may be kept.
    pub(super) ttl_max: u32,
    /// Whether another upstream may give something better.
    pub(super) elsewhere: bool,
}

impl Verdict {
    /// Nothing that may be used, for a reason that may be the upstream's.
    fn unusable(authenticity: Authenticity, reason: String) -> Self {
        Self {
            authenticity,
            reason,
            error: None,
            aliases: Vec::new(),
            end: Conclusion::Unusable,
            ttl_max: u32::MAX,
            elsewhere: true,
        }
    }

    /// What was found by validation. It must be about what was read: whoever puts together a response that the two
    /// take different ways through could otherwise have data believed that nobody judged.
    pub(super) fn of(judged: dnssec::Verdict, reading: &Reading) -> Self {
        let read = reading.aliases.iter().map(|(from, to)| (from, to));
        let same = judged.aliases.iter().map(|step| (&step.from, &step.to)).eq(read);
        if judged.is_usable() && !same {
            let why = "the aliases of the answer can be read in two ways".to_owned();
            return Self::unusable(Authenticity::Bogus, why);
        }
        Self {
            authenticity: judged.authenticity,
            reason: judged.sentence(),
            error: judged.extended_error(),
            elsewhere: judged.authenticity == Authenticity::Bogus && !judged.settled,
            aliases: judged.aliases,
            end: match judged.end {
                dnssec::End::Found => Conclusion::Found,
                dnssec::End::Denied(Denied::Name) => Conclusion::NoName,
                dnssec::End::Denied(Denied::Type) => Conclusion::NoData,
                dnssec::End::Alias(target) => Conclusion::Alias(target),
                dnssec::End::Failed => Conclusion::Unusable,
            },
            ttl_max: judged.ttl_max,
        }
    }
}

/// What is at the end of a response's aliases.
pub(super) enum Conclusion {
    Found,
    NoData,
    NoName,
    /// This name has to be asked for.
    Alias(Name),
    /// Nothing that may be used.
    Unusable,
}

/// What an upstream says of its answer's authenticity, where it may be believed (RFC 4035 §4.9.3).
fn by_the_upstream(reply: &Reply, reading: &Reading) -> Verdict {
    let (authenticity, reason) = match (reply.trusted, reply.message.metadata.authentic_data) {
        (false, _) => (Authenticity::Indeterminate, "the upstream isn't trusted to validate"),
        (true, true) => (Authenticity::Secure, ""),
        (true, false) => (Authenticity::Insecure, "the upstream doesn't say that it is authentic"),
    };
    let step = |(from, to): &(Name, Name)| Step { from: from.clone(), to: to.clone(), authenticity };
    let end = match (&reading.end, reading.aliases.last()) {
        (End::Found(_), _) => Conclusion::Found,
        (End::NoData, _) => Conclusion::NoData,
        (End::NoName, _) => Conclusion::NoName,
        (End::Alias, Some((_, target))) => Conclusion::Alias(target.clone()),
        (End::Alias, None) => Conclusion::Unusable,
    };
    let aliases = reading.aliases.iter().map(step).collect();
    let (reason, ttl_max) = (reason.into(), u32::MAX);
    Verdict { authenticity, reason, error: None, aliases, end, ttl_max, elsewhere: false }
}
