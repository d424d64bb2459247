//! Names: what a lookup costs, and the validation of a chain of trust from the root over a top-level domain to a
//! domain. The answers were recorded from real servers (`dns/recorded`).

use std::collections::HashMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use futures_lite::future::block_on;
use postrider_dns::dnssec::TrustAnchors;
use postrider_dns::resolver::{Chance, Clock, Options, Resolver, Transport, TransportError, Upstream};
use postrider_dns::{Lookup as _, Name, Outcome, RecordType, parse_name};

use super::{Case, Run};

const ANCHOR: &str = include_str!("../../../dns/recorded/root.key");
const ANSWERS: &[u8] = include_bytes!("../../../dns/recorded/answers");
/// Octets of a message before its question.
const HEADER_OCTETS: usize = 12;

/// An upstream with the recorded answers, at the time when they were recorded.
struct Recorded {
    /// Answers without their first two octets, by the question as it is on the wire, in lower case.
    answers: HashMap<Vec<u8>, &'static [u8]>,
    wall: u64,
    now: Instant,
}

impl Recorded {
    fn new() -> Result<Self> {
        let mut answers = HashMap::new();
        let mut rest = ANSWERS;
        while let Some((length, more)) = rest.split_first_chunk() {
            let (answer, more) =
                more.split_at_checked(usize::from(u16::from_be_bytes(*length))).context("cut")?;
            answers.insert(question(answer).context("no question")?, &answer[2..]);
            rest = more;
        }
        let wall =
            ANCHOR.lines().next().and_then(|line| line.strip_prefix("; ")).context("no time")?.parse()?;
        Ok(Self { answers, wall, now: Instant::now() })
    }
}

/// The question of a message, in lower case.
fn question(message: &[u8]) -> Option<Vec<u8>> {
    let end = message.get(HEADER_OCTETS..)?.iter().position(|octet| *octet == 0)? + HEADER_OCTETS + 5;
    message.get(HEADER_OCTETS..end).map(<[u8]>::to_ascii_lowercase)
}

/// One of them for all resolvers of a case.
struct Shared(Rc<Recorded>);

impl Transport for Shared {
    async fn udp(
        &self,
        _: SocketAddr,
        query: &[u8],
        _: Instant,
        _: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, TransportError> {
        let asked = question(query).ok_or(TransportError::Closed)?;
        let answer = self.0.answers.get(&asked).ok_or(TransportError::Timeout)?;
        let mut octets = query[..2].to_vec();
        octets.extend_from_slice(answer);
        // The case of the question's letters comes back.
        octets[HEADER_OCTETS..HEADER_OCTETS + asked.len()]
            .copy_from_slice(&query[HEADER_OCTETS..HEADER_OCTETS + asked.len()]);
        Ok(octets)
    }

    async fn tcp(&self, _: SocketAddr, _: &[u8], _: Instant) -> Result<Vec<u8>, TransportError> {
        Err(TransportError::Closed)
    }

    async fn tls(
        &self,
        _: SocketAddr,
        _: Option<&str>,
        _: &[u8],
        _: Instant,
    ) -> Result<Vec<u8>, TransportError> {
        Err(TransportError::Closed)
    }
}

impl Clock for Shared {
    fn now(&self) -> Instant {
        self.0.now
    }

    fn wall(&self) -> u64 {
        self.0.wall
    }
}

impl Chance for Shared {
    fn fill(&self, octets: &mut [u8]) {
        octets.fill(0x5a);
    }
}

/// A resolver that knows nothing, and remembers answers up to a number of octets.
fn resolver(recorded: &Rc<Recorded>, cache_octets_max: usize) -> Result<Resolver<Shared>> {
    let anchors = TrustAnchors::parse(ANCHOR)?;
    let upstreams = vec![Upstream::parse("192.0.2.53")?];
    let options = Options { upstreams, anchors, cache_octets_max, ..Options::default() };
    Ok(Resolver::new(options, Shared(Rc::clone(recorded)), Rc::new(|_| ())))
}

/// Looks up what must be secure.
fn ask(resolver: &Resolver<Shared>, name: &Name, kind: RecordType, outcome: Outcome) -> Result<usize> {
    let answer = block_on(resolver.lookup(black_box(name), kind));
    ensure!(answer.authenticity.is_secure() && answer.outcome == outcome, "{answer:?}");
    Ok(1)
}

/// What a resolver knows before a lookup.
#[derive(Clone, Copy)]
enum Knows {
    Nothing,
    /// The keys of the zones.
    Keys,
    /// The answer.
    Answer,
}

fn case(case: &str, asked: &'static str, kind: RecordType, outcome: Outcome, knows: Knows) -> Case {
    Case::new(case, None, 1, move |_| {
        let name = parse_name(asked).map_err(|error| anyhow!("{asked}: {error}"))?;
        let recorded = Rc::new(Recorded::new()?);
        let run: Run<'_> = match knows {
            Knows::Nothing => Box::new(move || ask(&resolver(&recorded, 0)?, &name, kind, outcome)),
            Knows::Keys | Knows::Answer => {
                let octets =
                    if matches!(knows, Knows::Answer) { Options::default().cache_octets_max } else { 0 };
                let resolver = resolver(&recorded, octets)?;
                Box::new(move || ask(&resolver, &name, kind, outcome))
            }
        };
        Ok(run)
    })
}

/// Domains: `good.tld` is signed with P-256 and denies by NSEC; `hashed.tld` with RSA-2048, by NSEC3 without
/// iterations. The root is signed with RSA-2048, `tld` with P-256.
pub(super) fn cases() -> Vec<Case> {
    use Knows::{Answer, Keys, Nothing};
    use Outcome::{Found, NoName};
    use RecordType::A;
    vec![
        case("dns_lookup_remembered", "www.good.tld", A, Found, Answer),
        case("dns_lookup_cold_p256", "www.good.tld", A, Found, Nothing),
        case("dns_lookup_cold_rsa2048", "www.hashed.tld", A, Found, Nothing),
        case("dns_lookup_warm_p256", "www.good.tld", A, Found, Keys),
        case("dns_lookup_warm_rsa2048", "www.hashed.tld", A, Found, Keys),
        case("dns_no_name_warm_nsec_p256", "no.good.tld", A, NoName, Keys),
        case("dns_no_name_warm_nsec3_rsa2048", "no.hashed.tld", A, NoName, Keys),
    ]
}
