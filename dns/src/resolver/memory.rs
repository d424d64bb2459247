//! What a resolver remembers, and for how long: answers (RFC 1035, RFC 2308), failures (RFC 9520), and
//! expired answers that may stand in (RFC 8767).

use std::time::{Duration, Instant};

use hickory_proto::rr::{RData, Record};

use super::cache::Cache;
use super::event::Source;
use super::{Key, errors};
use crate::answer::{Answer, Authenticity, ExtendedError, Outcome};
use crate::limits::{FAILURE_KEPT, FAILURE_KEPT_MAX, STALE_MAX, STALE_TTL, TTL_MAX};

#[derive(Debug)]
struct Kept {
    answer: Answer,
    since: Instant,
    until: Instant,
    /// Until when upstreams aren't asked again, because they failed and this stood in.
    again: Option<Instant>,
    /// How often in a row it failed.
    failures: u32,
}

impl Kept {
    /// Whether it may stand in when every upstream fails. An answer that is secure may not: its signatures
    /// hold for a time that its TTL is a part of. What doesn't exist may not either: whoever can silence the
    /// upstreams could otherwise make a policy or a key that is new be ignored.
    fn may_stand_in(&self, now: Instant) -> bool {
        let good = self.answer.outcome == Outcome::Found
            && matches!(self.answer.authenticity, Authenticity::Insecure | Authenticity::Indeterminate);
        good && now < self.until + STALE_MAX
    }
}

#[derive(Debug)]
pub(crate) struct Memory {
    cache: Cache<Key, Kept>,
}

impl Memory {
    pub fn new(octets_max: usize) -> Self {
        Self { cache: Cache::new(octets_max) }
    }

    pub fn octets(&self) -> usize {
        self.cache.octets()
    }

    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// What is remembered of `key`, its times shortened by how long that was.
    pub fn answer(&mut self, key: &Key, now: Instant) -> Option<(Answer, Source)> {
        let kept = self.cache.get(key)?;
        if now < kept.until {
            let mut answer = kept.answer.clone();
            let age = u32::try_from(now.saturating_duration_since(kept.since).as_secs()).unwrap_or(u32::MAX);
            answer.ttl = answer.ttl.saturating_sub(age);
            answer.records.iter_mut().for_each(|record| record.ttl = record.ttl.saturating_sub(age));
            if answer.outcome == Outcome::Failed {
                super::add_errors(&mut answer.errors, vec![ExtendedError::new(errors::CACHED_ERROR, "")]);
            }
            return Some((answer, Source::Cache));
        }
        let stands_in = kept.again.is_some_and(|again| now < again) && kept.may_stand_in(now);
        stands_in.then(|| (stale(&kept.answer), Source::Stale))
    }

    /// Remembers an answer. Returns how many others had to make room.
    pub fn keep(&mut self, key: &Key, answer: &Answer, now: Instant) -> usize {
        let lasts = Duration::from_secs(u64::from(answer.ttl.min(TTL_MAX)));
        if lasts.is_zero() {
            self.cache.remove(key);
            return 0;
        }
        let kept = Kept { answer: answer.clone(), since: now, until: now + lasts, again: None, failures: 0 };
        self.cache.insert(key.clone(), kept, weight(answer))
    }

    /// Remembers that a lookup failed, longer when it failed before. Gives what is answered instead: an
    /// expired answer when there is one that may stand in, or the failure.
    pub fn keep_failure(&mut self, key: &Key, failed: Answer, now: Instant) -> (Answer, usize) {
        let before = self.cache.get(key);
        let failures = before.map_or(0, |kept| kept.failures);
        let pause = (FAILURE_KEPT * (1 << failures.min(10))).min(FAILURE_KEPT_MAX);
        // Bogus means that upstreams answered: then nothing stands in.
        let silent = failed.authenticity != Authenticity::Bogus;
        let expired = before.filter(|kept| silent && kept.may_stand_in(now)).map(|kept| Kept {
            answer: kept.answer.clone(),
            since: kept.since,
            until: kept.until,
            again: Some(now + pause),
            failures: failures.saturating_add(1),
        });
        if let Some(kept) = expired {
            let answer = stale(&kept.answer);
            let octets = weight(&kept.answer);
            return (answer, self.cache.insert(key.clone(), kept, octets));
        }
        let kept = Kept {
            answer: failed.clone(),
            since: now,
            until: now + pause,
            again: None,
            failures: failures.saturating_add(1),
        };
        let octets = weight(&failed);
        let evicted = self.cache.insert(key.clone(), kept, octets);
        (failed, evicted)
    }
}

/// An expired answer as it is given out.
fn stale(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    answer.ttl = STALE_TTL;
    answer.records.iter_mut().for_each(|record| record.ttl = STALE_TTL);
    super::add_errors(&mut answer.errors, vec![ExtendedError::new(errors::STALE_ANSWER, "")]);
    answer
}

/// Octets that an answer takes, about.
fn weight(answer: &Answer) -> usize {
    /// What a name takes beside its place, when it is long.
    const NAME: usize = 64;
    let records: usize = answer.records.iter().map(|record| size_of::<Record>() + NAME + data(record)).sum();
    let steps = answer.aliases.len() * (size_of::<crate::answer::Step>() + 2 * NAME);
    let errors: usize = answer.errors.iter().map(|error| size_of::<ExtendedError>() + error.text.len()).sum();
    size_of::<Kept>() + NAME + records + steps + errors + answer.reason.len()
}

fn data(record: &Record) -> usize {
    /// A heap block's own overhead.
    const BLOCK: usize = 16;
    match &record.data {
        RData::A(_) | RData::AAAA(_) => 0,
        RData::TXT(text) => {
            text.txt_data.iter().map(|string| size_of::<Box<[u8]>>() + BLOCK + string.len()).sum()
        }
        RData::TLSA(tlsa) => BLOCK + tlsa.cert_data.len(),
        RData::CAA(caa) => 2 * BLOCK + caa.tag.len() + caa.value.len(),
        RData::Unknown { rdata, .. } => BLOCK + rdata.anything.len(),
        RData::SOA(_) => 128,
        // Keys and signatures: the largest there are in use.
        RData::DNSSEC(_) => 1024,
        _ => 64,
    }
}
