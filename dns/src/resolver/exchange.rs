//! One question to the upstreams: which one, how, how long, and what to do when it goes wrong.

use std::cell::Cell;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message};
use hickory_proto::rr::{Name, RecordType};

use super::errors;
use super::event::{Event, Watch};
use super::outside::{Outside, TransportError};
use super::query::{Manner, Query, is_truncated};
use super::upstream::{Quirk, Upstream, Upstreams, Way};
use crate::answer::{ExtendedError, SILENCE};
use crate::limits::{EXTENDED_ERRORS_MAX, OTHERS_ASKED_MAX, QUERIES_PER_LOOKUP_MAX, UPSTREAMS_MAX};

/// Response codes (RFC 1035 §4.1.1, RFC 6895 §2.3), as numbers, since 16 has two names.
mod rcode {
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const YXDOMAIN: u16 = 6;
    pub const NOTAUTH: u16 = 9;
    pub const BADVERS: u16 = 16;
}

/// A response that can be used.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub message: Message,
    /// Whether the upstream may be believed.
    pub trusted: bool,
    /// The upstream's place among all.
    pub from: usize,
}

/// No response that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// For operators: what happened with the last upstreams.
    pub reason: String,
    /// Extended errors of upstreams, and our own.
    pub errors: Vec<ExtendedError>,
    /// Whether an upstream that may be believed says that validation failed.
    pub bogus: bool,
    /// Whether it was the lookup's own doing (a limit), and not the upstreams'.
    pub limit: bool,
}

impl Trouble {
    pub fn limit(reason: String) -> Self {
        Self { reason, errors: Vec::new(), bogus: false, limit: true }
    }
}

/// What one lookup may still do.
#[derive(Debug)]
pub(crate) struct Allowance {
    pub deadline: Instant,
    queries: Cell<u32>,
    /// The only upstream that is asked at the moment, if not all are.
    only: Cell<Option<usize>>,
    /// Upstreams that gave something, a bit for each.
    heard: Cell<u16>,
}

impl Allowance {
    pub fn new(deadline: Instant) -> Self {
        Self { deadline, queries: Cell::new(0), only: Cell::new(None), heard: Cell::new(0) }
    }

    /// Asks this upstream alone, or all again.
    pub fn only(&self, index: Option<usize>) {
        self.only.set(index);
    }

    /// Whether one upstream alone is asked.
    pub fn is_of_one(&self) -> bool {
        self.only.get().is_some()
    }

    /// Takes note of who gave something.
    pub fn hear(&self, index: usize) {
        self.heard.set(self.heard.get() | bit(index));
    }

    /// The upstreams that gave something since this was last called.
    pub fn take_heard(&self) -> Heard {
        Heard(self.heard.take())
    }

    fn take(&self) -> Result<(), Failed> {
        if self.queries.get() >= QUERIES_PER_LOOKUP_MAX {
            return Err(Failed::Limit);
        }
        self.queries.set(self.queries.get() + 1);
        Ok(())
    }
}

/// Upstreams that gave something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard(u16);

impl Heard {
    pub fn has(self, index: usize) -> bool {
        self.0 & bit(index) != 0
    }
}

fn bit(index: usize) -> u16 {
    const _: () = assert!(UPSTREAMS_MAX <= u16::BITS as usize);
    1 << index
}

/// How often and how long upstreams are asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Rounds over all upstreams.
    pub rounds: u32,
    /// The longest wait for an answer in the first round; doubled with each.
    pub first: Duration,
}

/// The upstreams and the ways to them.
pub(crate) struct Exchange<O> {
    pub outside: O,
    pub upstreams: Upstreams,
    pub patience: Patience,
    pub checking_disabled: bool,
    pub watch: Watch,
}

/// Why one try gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failed {
    Transport(TransportError),
    Code(u16, Vec<ExtendedError>),
    Garbage,
    Referral,
    Limit,
}

/// What has gone wrong so far.
#[derive(Default)]
struct Record {
    reason: String,
    errors: Vec<ExtendedError>,
    bogus: bool,
    silent: bool,
}

impl<O: Outside> Exchange<O> {
    /// Asks until an upstream gives a response that can be used.
    pub async fn ask(&self, name: &Name, kind: RecordType, allowed: &Allowance) -> Result<Reply, Trouble> {
        let mut order = self.upstreams.order(self.outside.now());
        let only = allowed.only.get();
        order.retain(|index| only.is_none_or(|only| only == *index));
        // One alone is asked when there is an answer already, which is bogus: that isn't worth a long wait.
        let rounds = if only.is_some() { 1 } else { self.patience.rounds };
        if order.is_empty() {
            return Err(Trouble::limit("there is no upstream to ask".into()));
        }
        let mut done = vec![false; order.len()];
        let mut record = Record { silent: true, ..Record::default() };
        'rounds: for round in 0..rounds {
            for (position, &index) in order.iter().enumerate() {
                if done[position] {
                    continue;
                }
                if self.outside.now() >= allowed.deadline {
                    break 'rounds;
                }
                match self.attempt(index, round, name, kind, allowed).await {
                    Ok(reply) => {
                        allowed.hear(index);
                        return Ok(reply);
                    }
                    Err(Failed::Limit) => {
                        (self.watch)(Event::Limit("queries_per_lookup"));
                        let what = format!("over {QUERIES_PER_LOOKUP_MAX} queries for one lookup");
                        return Err(Trouble::limit(what));
                    }
                    Err(failed) => {
                        done[position] = matches!(failed, Failed::Code(..) | Failed::Referral);
                        self.failed(index, failed, &mut record);
                    }
                }
            }
        }
        Err(record.into_trouble())
    }

    /// Upstreams that may know better than those that were heard, one at a time: the others, and where several
    /// were heard, each of these alone.
    pub fn others(&self, heard: Heard) -> Vec<usize> {
        let mut order = self.upstreams.order(self.outside.now());
        order.sort_by_key(|index| heard.has(*index));
        order.retain(|index| !heard.has(*index) || heard.0.count_ones() > 1);
        order.truncate(OTHERS_ASKED_MAX);
        order
    }

    /// Takes note that what was heard is bogus, and that one upstream alone gives what isn't.
    pub fn blame_all_but(&self, good: usize, heard: Heard) {
        for index in (0..self.upstreams.len()).filter(|index| *index != good && heard.has(*index)) {
            (self.watch)(Event::Upstream(self.upstreams.get(index), "bogus"));
            self.upstreams.failed(index, self.outside.now());
        }
    }

    fn failed(&self, index: usize, failed: Failed, record: &mut Record) {
        let upstream = self.upstreams.get(index);
        (self.watch)(Event::Upstream(upstream, failed.word()));
        // SERVFAIL says something of the question; all else something of the upstream.
        if !matches!(failed, Failed::Code(rcode::SERVFAIL, _)) {
            self.upstreams.failed(index, self.outside.now());
        }
        record.silent &= matches!(failed, Failed::Transport(_));
        record.reason = format!("{upstream}: {}", failed.sentence());
        if let Failed::Code(code, errors) = failed {
            record.bogus |=
                code == rcode::SERVFAIL && upstream.trusted && errors.iter().any(ExtendedError::is_of_dnssec);
            let room = EXTENDED_ERRORS_MAX.saturating_sub(record.errors.len());
            record.errors.extend(errors.into_iter().take(room));
        }
    }

    /// Asks one upstream once, and again where it can't EDNS or where a datagram doesn't do.
    async fn attempt(
        &self,
        index: usize,
        round: u32,
        name: &Name,
        kind: RecordType,
        allowed: &Allowance,
    ) -> Result<Reply, Failed> {
        let upstream = self.upstreams.get(index);
        let began = self.outside.now();
        let patience = self.upstreams.patience(index, self.patience.first) * (1 << round.min(4));
        let deadline = (began + patience).min(allowed.deadline);
        let mut edns = !self.upstreams.has(index, Quirk::NoEdns, began);
        // Where nothing came over UDP, the last round tries what a filter of UDP lets through.
        let stream = round > 0 && round + 1 == self.patience.rounds;
        loop {
            let manner = Manner {
                edns,
                checking_disabled: self.checking_disabled,
                mixed_case: !self.upstreams.has(index, Quirk::ChangesCase, began),
            };
            let octets = self.send(index, name, kind, manner, stream, deadline, allowed).await?;
            let mut message = Message::from_vec(&octets).map_err(|_| Failed::Garbage)?;
            lower_owners(&mut message);
            let code = full_code(&message);
            // RFC 6891 §7: FORMERR without OPT is how a server says that it doesn't know EDNS.
            let refused_edns = match code {
                rcode::BADVERS | rcode::NOTIMP => true,
                rcode::FORMERR => message.edns.is_none(),
                _ => false,
            };
            if edns && refused_edns {
                edns = false;
                continue;
            }
            if !matches!(code, rcode::NOERROR | rcode::NXDOMAIN | rcode::YXDOMAIN) {
                return Err(Failed::Code(code, errors::of(message.edns.as_ref())));
            }
            if is_referral(&message) {
                return Err(Failed::Referral);
            }
            let now = self.outside.now();
            // Without EDNS there are no signatures, so what a forged FORMERR can do to a validator ends here.
            let lasts = !self.checking_disabled;
            if lasts && !edns && !self.upstreams.has(index, Quirk::NoEdns, now) {
                self.upstreams.note(index, Quirk::NoEdns, now);
            }
            self.upstreams.answered(index, now.saturating_duration_since(began));
            return Ok(Reply { message, trusted: upstream.trusted, from: index });
        }
    }

    /// One query, over TCP after UDP where the response was cut or looks forged.
    #[expect(clippy::too_many_arguments, reason = "all of them are one query")]
    async fn send(
        &self,
        index: usize,
        name: &Name,
        kind: RecordType,
        manner: Manner,
        stream: bool,
        deadline: Instant,
        allowed: &Allowance,
    ) -> Result<Vec<u8>, Failed> {
        let upstream = self.upstreams.get(index);
        let query = self.query(name, kind, manner);
        let mut suspicious = false;
        if upstream.way == Way::Plain && !stream {
            allowed.take()?;
            (self.watch)(Event::Query(upstream));
            let is_answer = |response: &[u8]| query.is_answered_by(response);
            match self.outside.udp(upstream.address, query.octets(), deadline, &is_answer).await {
                Ok(octets) if !query.is_answered_by(&octets) => return Err(Failed::Garbage),
                Ok(octets) if is_truncated(&octets) => {}
                Ok(octets) if manner.mixed_case && !query.has_case_of(&octets) => suspicious = true,
                Ok(octets) => return Ok(octets),
                // Somebody sends what was not asked for: over TCP that is much harder.
                Err(TransportError::Flooded) => (self.watch)(Event::Limit("datagrams_wrong")),
                Err(error) => return Err(Failed::Transport(error)),
            }
        }
        allowed.take()?;
        (self.watch)(Event::Query(upstream));
        let query = self.query(name, kind, manner);
        let octets = match &upstream.way {
            Way::Plain => self.outside.tcp(upstream.address, query.octets(), deadline).await,
            Way::Tls(name) => {
                self.outside.tls(upstream.address, name.as_deref(), query.octets(), deadline).await
            }
        };
        let octets = octets.map_err(Failed::Transport)?;
        if !query.is_answered_by(&octets) || is_truncated(&octets) {
            return Err(Failed::Garbage);
        }
        // Over TCP nobody but the upstream answers, so it is the upstream that changes the case.
        if suspicious && !query.has_case_of(&octets) {
            self.upstreams.note(index, Quirk::ChangesCase, self.outside.now());
        }
        Ok(octets)
    }

    fn query(&self, name: &Name, kind: RecordType, manner: Manner) -> Query {
        let mut pool = [0_u8; 64];
        let mut left: usize = 0;
        Query::new(name, kind, manner, &mut || {
            if left == 0 {
                self.outside.fill(&mut pool);
                left = pool.len();
            }
            left -= 1;
            pool[left]
        })
    }
}

/// The response code with its upper bits of the OPT record (RFC 6891 §6.1.3).
fn full_code(message: &Message) -> u16 {
    let high = message.edns.as_ref().map_or(0, Edns::rcode_high);
    u16::from(high) << 4 | u16::from(message.metadata.response_code.low())
}

/// Lowers the names of records. Servers repeat the letters of the question, whose case is random, and what is said of
/// a record would show that.
fn lower_owners(message: &mut Message) {
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        if record.name.iter().flatten().any(u8::is_ascii_uppercase) {
            record.name = record.name.to_lowercase();
        }
    }
}

/// Whether the server only says who else could know, instead of resolving.
fn is_referral(message: &Message) -> bool {
    let has = |kind| message.authorities.iter().any(|record| record.record_type() == kind);
    full_code(message) == rcode::NOERROR
        && message.answers.is_empty()
        && !message.metadata.recursion_available
        && !message.metadata.authoritative
        && has(RecordType::NS)
        && !has(RecordType::SOA)
}

impl Failed {
    /// For figures.
    fn word(&self) -> &'static str {
        match self {
            Self::Transport(TransportError::Timeout) => "timeout",
            Self::Transport(TransportError::Tls(_)) => "tls",
            Self::Transport(_) => "network",
            Self::Code(rcode::SERVFAIL, _) => "servfail",
            Self::Code(rcode::REFUSED, _) => "refused",
            Self::Code(..) => "code",
            Self::Garbage => "garbage",
            Self::Referral => "referral",
            Self::Limit => "limit",
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Transport(error) => error.to_string(),
            Self::Code(code, errors) => match errors.first() {
                Some(error) if !error.text.is_empty() => {
                    format!("{} ({}: {})", code_word(*code), error.code, error.text)
                }
                Some(error) => format!("{} ({})", code_word(*code), error.code),
                None => code_word(*code),
            },
            Self::Garbage => "what it sent is no response".into(),
            Self::Referral => "it refers to other servers, and doesn't resolve".into(),
            Self::Limit => "a limit".into(),
        }
    }
}

/// The mnemonic of a response code.
fn code_word(code: u16) -> String {
    match code {
        rcode::SERVFAIL => "SERVFAIL".into(),
        rcode::REFUSED => "REFUSED".into(),
        rcode::FORMERR => "FORMERR".into(),
        rcode::NOTIMP => "NOTIMP".into(),
        rcode::NOTAUTH => "NOTAUTH".into(),
        other => format!("response code {other}"),
    }
}

impl Record {
    fn into_trouble(mut self) -> Trouble {
        if self.reason.is_empty() {
            self.reason = "there was no time left to ask".into();
        }
        if self.silent {
            self.errors.push(ExtendedError::new(errors::NETWORK_ERROR, SILENCE));
        }
        Trouble { reason: self.reason, errors: self.errors, bogus: self.bogus, limit: false }
    }
}

/// Of an upstream, for figures.
impl Upstream {
    /// The way it is reached, as a word.
    #[must_use]
    pub fn way_word(&self) -> &'static str {
        match self.way {
            Way::Plain => "plain",
            Way::Tls(_) => "tls",
        }
    }
}
