//! Upstreams: the recursive resolvers that are asked, and how they are doing.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::limits::{FAILURES_BEFORE_REST, QUIRK_KEPT, REST_MAX};

/// The port of DNS (RFC 1035 §4.2).
pub const PORT: u16 = 53;
/// The port of DNS over TLS (RFC 7858 §3.1).
pub const PORT_TLS: u16 = 853;

/// How an upstream is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// UDP, and TCP where UDP doesn't do.
    Plain,
    /// TLS (RFC 7858), with the name that its certificate must be for, if one is known.
    Tls(Option<String>),
}

/// A recursive resolver that may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is reached.
    pub way: Way,
    /// Whether what it says of authenticity may be believed (mode `trust`): it is known to validate, and
    /// nobody between can change what it says (RFC 4035 §4.9.3).
    pub trusted: bool,
}

/// An upstream that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no upstream: {what}. Write ADDRESS, ADDRESS:PORT, [IPV6]:PORT or tls://ADDRESS#NAME")]
pub struct UpstreamError {
    text: String,
    what: &'static str,
}

impl UpstreamError {
    /// What is wrong, as a part of a sentence.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }
}

impl Upstream {
    /// One that is asked over UDP and TCP. On this host it is trusted.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, way: Way::Plain, trusted: address.ip().is_loopback() }
    }

    /// Reads `ADDRESS[:PORT]` or `tls://ADDRESS[:PORT][#NAME]`. An IPv6 address with a port stands in
    /// brackets. One on a loopback address is trusted, others aren't.
    pub fn parse(text: &str) -> Result<Self, UpstreamError> {
        let error = |what| UpstreamError { text: text.chars().take(100).collect(), what };
        let Some(rest) = text.strip_prefix("tls://") else {
            return Ok(Self::plain(socket_address(text, PORT).map_err(error)?));
        };
        let (address, name) = match rest.split_once('#') {
            Some((address, name)) => {
                let domain = postrider_proto::address::Domain::parse(name)
                    .map_err(|_| error("what follows # is no domain name"))?;
                (address, Some(domain.as_str().to_owned()))
            }
            None => (rest, None),
        };
        let address = socket_address(address, PORT_TLS).map_err(error)?;
        Ok(Self { address, way: Way::Tls(name), trusted: address.ip().is_loopback() })
    }
}

fn socket_address(text: &str, port: u16) -> Result<SocketAddr, &'static str> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = match inner.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port),
        Err(_) => text.parse::<SocketAddr>().map_err(|_| "there is no address in it")?,
    };
    if address.port() == 0 { Err("nobody listens on port 0") } else { Ok(address) }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Plain => write!(f, "{}", self.address),
            Way::Tls(None) => write!(f, "tls://{}", self.address),
            Way::Tls(Some(name)) => write!(f, "tls://{}#{name}", self.address),
        }
    }
}

/// What an upstream was found not to do, until when that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// It refuses queries with an OPT record.
    NoEdns,
    /// It changes the case of letters in the question.
    ChangesCase,
}

#[derive(Clone, Copy, Debug, Default)]
struct Health {
    /// Smoothed time to an answer, and how much it varies (as in RFC 6298 §2).
    time: Option<(Duration, Duration)>,
    failures: u32,
    rests_until: Option<Instant>,
    no_edns_until: Option<Instant>,
    changes_case_until: Option<Instant>,
}

/// The upstreams with what was seen of them.
#[derive(Debug)]
pub(crate) struct Upstreams {
    list: Vec<(Upstream, Cell<Health>)>,
    /// Of the last order; kept so that none is made for each query.
    order: RefCell<Vec<usize>>,
}

impl Upstreams {
    pub fn new(list: Vec<Upstream>) -> Self {
        let list: Vec<_> = list.into_iter().map(|upstream| (upstream, Cell::default())).collect();
        Self { order: RefCell::new(Vec::with_capacity(list.len())), list }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn get(&self, index: usize) -> &Upstream {
        &self.list[index].0
    }

    /// Which to ask, in this order: those that rest come last; else the faster first. One that was never
    /// asked counts as fast, so each is tried once.
    pub fn order(&self, now: Instant) -> Vec<usize> {
        let mut order = self.order.borrow_mut();
        order.clear();
        order.extend(0..self.list.len());
        order.sort_by_key(|&index| {
            let health = self.list[index].1.get();
            let rests = health.rests_until.filter(|until| *until > now);
            (rests, health.time.map_or(Duration::ZERO, |(smoothed, _)| smoothed))
        });
        order.clone()
    }

    /// How long to wait for it: what it usually takes and some, between a second and `most`.
    pub fn patience(&self, index: usize, most: Duration) -> Duration {
        match self.list[index].1.get().time {
            Some((smoothed, varies)) => {
                let usual = smoothed * 2 + varies * 4 + Duration::from_millis(500);
                usual.clamp(Duration::from_secs(1).min(most), most)
            }
            None => most,
        }
    }

    /// It answered, after `took`.
    pub fn answered(&self, index: usize, took: Duration) {
        let health = &self.list[index].1;
        let mut now = health.get();
        now.time = Some(match now.time {
            None => (took, took / 2),
            Some((smoothed, varies)) => {
                (smoothed - smoothed / 8 + took / 8, varies - varies / 4 + smoothed.abs_diff(took) / 4)
            }
        });
        now.failures = 0;
        now.rests_until = None;
        health.set(now);
        // Those that weren't asked become faster in our eyes, so that each is tried again some day.
        for (other, (_, health)) in self.list.iter().enumerate() {
            let mut seen = health.get();
            if let Some((smoothed, _)) = &mut seen.time
                && other != index
            {
                *smoothed -= *smoothed / 64;
                health.set(seen);
            }
        }
    }

    /// It was silent, unreachable, or refused.
    pub fn failed(&self, index: usize, now: Instant) {
        let health = &self.list[index].1;
        let mut seen = health.get();
        seen.failures = seen.failures.saturating_add(1);
        if seen.failures >= FAILURES_BEFORE_REST {
            let seconds = 1_u64 << seen.failures.min(6);
            seen.rests_until = Some(now + Duration::from_secs(seconds).min(REST_MAX));
        }
        health.set(seen);
    }

    /// Remembers what it doesn't do.
    pub fn note(&self, index: usize, quirk: Quirk, now: Instant) {
        let health = &self.list[index].1;
        let mut seen = health.get();
        match quirk {
            Quirk::NoEdns => seen.no_edns_until = Some(now + QUIRK_KEPT),
            Quirk::ChangesCase => seen.changes_case_until = Some(now + QUIRK_KEPT),
        }
        health.set(seen);
    }

    pub fn has(&self, index: usize, quirk: Quirk, now: Instant) -> bool {
        let health = self.list[index].1.get();
        let until = match quirk {
            Quirk::NoEdns => health.no_edns_until,
            Quirk::ChangesCase => health.changes_case_until,
        };
        until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    #[test]
    fn upstreams_are_read_and_written() {
        for (text, written, trusted) in [
            ("192.0.2.1", "192.0.2.1:53", false),
            ("127.0.0.1:5353", "127.0.0.1:5353", true),
            ("::1", "[::1]:53", true),
            ("[2001:db8::1]", "[2001:db8::1]:53", false),
            ("[2001:db8::1]:54", "[2001:db8::1]:54", false),
            ("tls://192.0.2.1#dns.example", "tls://192.0.2.1:853#dns.example", false),
            ("tls://192.0.2.1:8853", "tls://192.0.2.1:8853", false),
            ("tls://[2001:db8::1]:854#DNS.Example", "tls://[2001:db8::1]:854#dns.example", false),
        ] {
            let upstream = Upstream::parse(text).unwrap();
            assert_eq!((upstream.to_string().as_str(), upstream.trusted), (written, trusted));
            assert_eq!(Upstream::parse(written).unwrap(), upstream);
        }
        for text in [
            "",
            "dns.example",
            "1.2.3",
            "1.2.3.4:0",
            "1.2.3.4:99999",
            "tls://1.2.3.4#",
            "tls://1.2.3.4#a b",
            "#x",
        ] {
            assert!(Upstream::parse(text).is_err(), "{text}");
        }
    }

    fn three() -> (Upstreams, Instant) {
        let list = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|text| Upstream::parse(text).unwrap());
        (Upstreams::new(list.to_vec()), Instant::now())
    }

    #[test]
    fn the_faster_is_asked_first_and_all_are_tried() {
        let (upstreams, now) = three();
        assert_eq!(upstreams.order(now), [0, 1, 2]);
        upstreams.answered(0, Duration::from_millis(50));
        assert_eq!(upstreams.order(now), [1, 2, 0]);
        upstreams.answered(1, Duration::from_millis(20));
        upstreams.answered(2, Duration::from_millis(30));
        assert_eq!(upstreams.order(now), [1, 2, 0]);
        // What isn't asked comes nearer, until it is asked again.
        for _ in 0..200 {
            upstreams.answered(upstreams.order(now)[0], Duration::from_millis(25));
        }
        let times: Vec<_> = upstreams.list.iter().map(|(_, health)| health.get().time.unwrap().0).collect();
        assert!(times.iter().all(|time| *time < Duration::from_millis(30)), "{times:?}");
    }

    #[test]
    fn one_that_fails_rests_longer_and_longer_and_comes_back() {
        let (upstreams, now) = three();
        for _ in 1..FAILURES_BEFORE_REST {
            upstreams.failed(0, now);
        }
        assert_eq!(upstreams.order(now), [0, 1, 2]);
        upstreams.failed(0, now);
        assert_eq!(upstreams.order(now), [1, 2, 0]);
        assert_eq!(upstreams.order(now + Duration::from_secs(5)), [0, 1, 2]);
        for _ in 0..40 {
            upstreams.failed(0, now);
        }
        assert_eq!(upstreams.order(now + Duration::from_secs(5)), [1, 2, 0]);
        assert_eq!(upstreams.order(now + REST_MAX), [0, 1, 2]);
        upstreams.answered(0, Duration::ZERO);
        assert_eq!(upstreams.order(now), [0, 1, 2]);
    }

    #[test]
    fn patience_follows_what_was_seen() {
        let (upstreams, _) = three();
        let most = Duration::from_secs(5);
        assert_eq!(upstreams.patience(0, most), most);
        upstreams.answered(0, Duration::from_millis(10));
        assert_eq!(upstreams.patience(0, most), Duration::from_secs(1));
        upstreams.answered(1, Duration::from_secs(1));
        assert!(upstreams.patience(1, most) > Duration::from_secs(3));
        upstreams.answered(2, Duration::from_secs(100));
        assert_eq!(upstreams.patience(2, most), most);
        assert_eq!(upstreams.patience(0, Duration::from_millis(100)), Duration::from_millis(100));
    }

    #[test]
    fn quirks_are_forgotten() {
        let (upstreams, now) = three();
        upstreams.note(1, Quirk::NoEdns, now);
        assert!(upstreams.has(1, Quirk::NoEdns, now) && !upstreams.has(1, Quirk::ChangesCase, now));
        assert!(!upstreams.has(0, Quirk::NoEdns, now));
        assert!(!upstreams.has(1, Quirk::NoEdns, now + QUIRK_KEPT));
    }
}
