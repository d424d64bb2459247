//! What servers answer, to a resolver: once as one that validates, once as one that believes its upstream.
//!
//! The resolver asks for one of the recorded questions (`dns/recorded`), and the input is what it gets: for each query
//! either octets of the input or, where these are none, the recorded answer. Id and question are always put right, so
//! that the rest is read.
#![no_main]

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;

use futures_lite::future::block_on;
use libfuzzer_sys::fuzz_target;
use postrider_dns::dane::usable;
use postrider_dns::dnssec::TrustAnchors;
use postrider_dns::limits::{ALIASES_MAX, EXTENDED_ERRORS_MAX, QUERIES_PER_LOOKUP_MAX};
use postrider_dns::resolver::{Chance, Clock, Mode, Options, Resolver, Transport, TransportError, Upstream};
use postrider_dns::{Answer, Authenticity, Lookup, Name, Outcome, RData, RecordType, present};

const ANCHOR: &str = include_str!("../../../dns/recorded/root.key");
const ANSWERS: &[u8] = include_bytes!("../../../dns/recorded/answers");
const HEADER: usize = 12;

/// A question on the wire in lower case, and an answer without its id and question.
struct Recorded {
    question: Vec<u8>,
    answer: Vec<u8>,
}

static RECORDED: LazyLock<Vec<Recorded>> = LazyLock::new(|| {
    let mut all = Vec::new();
    let mut rest = ANSWERS;
    while let Some((length, more)) = rest.split_first_chunk() {
        let (message, more) = more.split_at(usize::from(u16::from_be_bytes(*length)));
        let question = question(message).expect("a question").to_ascii_lowercase();
        let after = HEADER + question.len();
        all.push(Recorded { answer: [&message[2..HEADER], &message[after..]].concat(), question });
        rest = more;
    }
    all
});

/// When they were recorded, in seconds since 1970.
static WALL: LazyLock<u64> = LazyLock::new(|| {
    let time = ANCHOR.lines().next().and_then(|line| line.strip_prefix("; ")).expect("the time");
    time.parse().expect("seconds")
});

/// What the recorded answers say, each by a resolver that validates.
static TRUTH: LazyLock<Vec<Seen>> =
    LazyLock::new(|| (0..RECORDED.len()).map(|index| seen(&run(index, Mode::Validate, VecDeque::new()).0)).collect());

fn question(message: &[u8]) -> Option<&[u8]> {
    let end = message.get(HEADER..)?.iter().position(|octet| *octet == 0)? + HEADER + 5;
    message.get(HEADER..end)
}

/// An answer as far as it can be believed.
#[derive(Debug, PartialEq)]
struct Seen {
    authenticity: Authenticity,
    outcome: Outcome,
    end: String,
    data: BTreeSet<String>,
}

fn seen(answer: &Answer) -> Seen {
    let end = answer.aliases.last().map_or(&answer.name, |step| &step.to);
    Seen {
        authenticity: answer.authenticity,
        outcome: answer.outcome,
        end: end.to_lowercase().to_ascii(),
        data: answer.data().map(present).collect(),
    }
}

struct Outside {
    input: RefCell<VecDeque<Vec<u8>>>,
    queries: Rc<RefCell<u32>>,
    now: Instant,
}

impl Outside {
    /// The next answer of the input, or the recorded one.
    fn answer(&self, query: &[u8]) -> Vec<u8> {
        *self.queries.borrow_mut() += 1;
        let asked = question(query).expect("our own query");
        let given = self.input.borrow_mut().pop_front().filter(|octets| octets.len() >= HEADER - 2);
        let recorded = || {
            let lower = asked.to_ascii_lowercase();
            RECORDED.iter().find(|one| one.question == lower).map(|one| one.answer.clone())
        };
        // SERVFAIL, for what wasn't recorded.
        let answer = given.or_else(recorded).unwrap_or_else(|| vec![0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0]);
        let mut octets = query[..2].to_vec();
        octets.extend_from_slice(&answer[..HEADER - 2]);
        octets[2] |= 0x80;
        octets[4..6].copy_from_slice(&[0, 1]);
        octets.extend_from_slice(asked);
        octets.extend_from_slice(&answer[HEADER - 2..]);
        octets
    }
}

impl Transport for Outside {
    async fn udp(
        &self,
        _: SocketAddr,
        query: &[u8],
        _: Instant,
        is_answer: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, TransportError> {
        let answer = self.answer(query);
        if is_answer(&answer) { Ok(answer) } else { Err(TransportError::Flooded) }
    }

    async fn tcp(&self, _: SocketAddr, query: &[u8], _: Instant) -> Result<Vec<u8>, TransportError> {
        Ok(self.answer(query))
    }

    async fn tls(
        &self,
        _: SocketAddr,
        _: Option<&str>,
        query: &[u8],
        _: Instant,
    ) -> Result<Vec<u8>, TransportError> {
        Ok(self.answer(query))
    }
}

impl Clock for Outside {
    fn now(&self) -> Instant {
        self.now
    }

    fn wall(&self) -> u64 {
        *WALL
    }
}

impl Chance for Outside {
    fn fill(&self, octets: &mut [u8]) {
        octets.fill(0x5a);
    }
}

/// Asks a recorded question twice, with what the input answers. Gives the first answer, and the number of queries.
fn run(index: usize, mode: Mode, input: VecDeque<Vec<u8>>) -> (Answer, u32) {
    let (name, kind) = asked(&RECORDED[index].question);
    // On loopback, so that it is believed where it may be.
    let upstreams = ["127.0.0.1", "127.0.0.2"].map(|text| Upstream::parse(text).expect("an address"));
    let anchors = TrustAnchors::parse(ANCHOR).expect("an anchor");
    let options = Options { upstreams: upstreams.to_vec(), mode, anchors, ..Options::default() };
    let queries = Rc::new(RefCell::new(0));
    let outside = Outside { input: RefCell::new(input), queries: Rc::clone(&queries), now: Instant::now() };
    let resolver = Resolver::new(options, outside, Rc::new(|_| ()));
    let answer = block_on(resolver.lookup(&name, kind));
    let used = *queries.borrow();
    let again = block_on(resolver.lookup(&name, kind));
    if answer.ttl > 0 && answer.outcome != Outcome::Failed {
        assert_eq!(seen(&again), seen(&answer), "what is remembered is something else");
    }
    let (explained, _) = block_on(resolver.explain(&name, kind));
    check(&explained, kind);
    check(&answer, kind);
    (answer, used)
}

fn asked(question: &[u8]) -> (Name, RecordType) {
    let (labels, kind) = question.split_at(question.len() - 4);
    let mut names: Vec<&[u8]> = Vec::new();
    let mut rest = labels;
    while let Some((length @ 1.., more)) = rest.split_first() {
        let (label, more) = more.split_at(usize::from(*length));
        names.push(label);
        rest = more;
    }
    let name = Name::from_labels(names).expect("a name");
    (name, RecordType::from(u16::from_be_bytes([kind[0], kind[1]])))
}

/// What holds for any answer.
fn check(answer: &Answer, kind: RecordType) {
    assert_eq!(answer.outcome == Outcome::Found, !answer.records.is_empty(), "{answer:?}");
    assert!(answer.authenticity != Authenticity::Bogus || answer.outcome == Outcome::Failed, "{answer:?}");
    assert!(answer.outcome != Outcome::Failed || !answer.authenticity.is_secure(), "{answer:?}");
    assert!(answer.aliases.len() <= ALIASES_MAX && answer.errors.len() <= EXTENDED_ERRORS_MAX);
    let end = answer.aliases.last().map_or(&answer.name, |step| &step.to);
    for record in &answer.records {
        assert!(record.record_type() == kind && record.name == *end, "{answer:?}");
        if let RData::TLSA(association) = &record.data {
            let _ = usable(association);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((first, mut rest)) = input.split_first() else { return };
    let index = usize::from(*first) % RECORDED.len();
    let mut answers = VecDeque::new();
    while let Some((length, more)) = rest.split_first_chunk() {
        let (answer, more) = more.split_at(usize::from(u16::from_be_bytes(*length)).min(more.len()));
        answers.push_back(answer.to_vec());
        rest = more;
    }
    let (_, queries) = run(index, Mode::Trust, answers.clone());
    assert!(queries <= QUERIES_PER_LOOKUP_MAX);
    let (answer, queries) = run(index, Mode::Validate, answers);
    assert!(queries <= QUERIES_PER_LOOKUP_MAX);
    let truth = &TRUTH[index];
    if answer.authenticity.is_secure() {
        assert_eq!(seen(&answer), *truth, "other data is secure");
    }
    // Nothing makes what is signed insecure.
    assert!(answer.authenticity != Authenticity::Insecure || truth.authenticity == Authenticity::Insecure, "{answer:?}");
});
