//! Servers, time and chance of the resolver's tests.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::super::{Chance, Clock, Transport, TransportError};
use crate::answer::{Answer, Authenticity, Outcome};
use crate::limits::DATAGRAMS_WRONG_MAX;
use crate::script::Script;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    Udp,
    Tcp,
    Tls(Option<String>),
}

/// What a server does with a query.
pub enum Reaction {
    /// Octets come after a time. Over UDP each is a datagram.
    Send(Duration, Vec<Vec<u8>>),
    Silence,
    Fail(TransportError),
}

type Server = dyn Fn(&Via, &[u8]) -> Reaction;

pub struct World {
    began: Instant,
    passed: Cell<Duration>,
    script: RefCell<Script>,
    servers: RefCell<Vec<(IpAddr, Rc<Server>)>>,
    asked: RefCell<Vec<(Via, String)>>,
    cut_aliases: Cell<bool>,
    takes_turns: Cell<bool>,
    paused: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    stream_error: RefCell<Option<TransportError>>,
    state: Cell<u64>,
    negative_ttl: Cell<u32>,
}

impl World {
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            began: Instant::now(),
            passed: Cell::default(),
            script: RefCell::default(),
            servers: RefCell::default(),
            asked: RefCell::default(),
            cut_aliases: Cell::default(),
            takes_turns: Cell::default(),
            paused: Cell::default(),
            waker: RefCell::default(),
            stream_error: RefCell::default(),
            state: Cell::new(1),
            negative_ttl: Cell::new(900),
        })
    }

    /// What every server answers that has no ways of its own.
    pub fn serve(&self, zones: &str) {
        self.script.replace(Script::parse(zones).unwrap());
    }

    /// What the server at `address` does.
    pub fn server(&self, address: &str, server: impl Fn(&Via, &[u8]) -> Reaction + 'static) {
        let address: IpAddr = address.parse().unwrap();
        let mut servers = self.servers.borrow_mut();
        servers.retain(|(other, _)| *other != address);
        servers.push((address, Rc::new(server)));
    }

    pub fn asked(&self) -> Vec<(Via, String)> {
        self.asked.borrow().clone()
    }

    /// Responses end at an alias.
    pub fn cut_aliases(&self, cut: bool) {
        self.cut_aliases.set(cut);
    }

    pub fn set_negative_ttl(&self, ttl: u32) {
        self.negative_ttl.set(ttl);
    }

    /// Others may run while a query is under way.
    pub fn take_turns(&self) {
        self.takes_turns.set(true);
    }

    /// The next query waits until [`World::go_on`].
    pub fn pause_once(&self) {
        self.paused.set(true);
    }

    pub fn go_on(&self) {
        self.paused.set(false);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub fn break_stream(&self, error: TransportError) {
        self.stream_error.replace(Some(error));
    }

    pub fn pass(&self, time: Duration) {
        self.passed.set(self.passed.get() + time);
    }

    fn time(&self) -> Instant {
        self.began + self.passed.get()
    }

    pub fn passed(&self) -> Duration {
        self.passed.get()
    }

    /// The response of the script to a query.
    pub fn respond(&self, query: &[u8]) -> Vec<u8> {
        let query = Message::from_vec(query).unwrap();
        let asked = &query.queries[0];
        let answer = self.script.borrow().answer(&asked.name, asked.query_type);
        let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_available = true;
        message.queries = query.queries.clone();
        message.metadata.authentic_data = answer.authenticity == Authenticity::Secure;
        message.metadata.response_code = match answer.outcome {
            Outcome::Found | Outcome::NoData => ResponseCode::NoError,
            Outcome::NoName => ResponseCode::NXDomain,
            Outcome::Failed => ResponseCode::ServFail,
        };
        self.fill_in(&mut message, &answer, &asked.name);
        message.to_vec().unwrap()
    }

    fn fill_in(&self, message: &mut Message, answer: &Answer, name: &Name) {
        for step in &answer.aliases {
            let alias = RData::CNAME(CNAME(step.to.clone()));
            message.answers.push(Record::from_rdata(step.from.clone(), 300, alias));
            if self.cut_aliases.get() {
                message.metadata.response_code = ResponseCode::NoError;
                return;
            }
        }
        message.answers.extend(answer.records.iter().cloned());
        if matches!(answer.outcome, Outcome::NoData | Outcome::NoName) {
            let end = answer.aliases.last().map_or(name, |step| &step.to);
            let soa = SOA::new(end.clone(), end.clone(), 1, 2, 3, 4, self.negative_ttl.get());
            message.authorities.push(Record::from_rdata(end.base_name(), 3600, RData::SOA(soa)));
        }
    }

    fn react(&self, to: SocketAddr, via: Via, query: &[u8]) -> Reaction {
        let message = Message::from_vec(query).unwrap();
        let asked = &message.queries[0];
        let line = format!("{} {}", asked.name.to_lowercase(), asked.query_type);
        self.asked.borrow_mut().push((via.clone(), line));
        let server = self.servers.borrow().iter().find(|(address, _)| *address == to.ip()).cloned();
        match server {
            Some((_, server)) => server(&via, query),
            None => Reaction::Send(Duration::from_millis(10), vec![self.respond(query)]),
        }
    }

    async fn pause(&self) {
        if self.takes_turns.get() {
            futures_lite::future::yield_now().await;
        }
        poll_fn(|context| {
            if self.paused.get() {
                self.waker.replace(Some(context.waker().clone()));
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    fn wait_until(&self, deadline: Instant) -> TransportError {
        self.passed.set(self.passed.get().max(deadline.saturating_duration_since(self.began)));
        TransportError::Timeout
    }

    async fn stream(
        &self,
        to: SocketAddr,
        via: Via,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, TransportError> {
        let reaction = self.react(to, via, query);
        self.pause().await;
        if let Some(error) = self.stream_error.borrow().clone() {
            return Err(error);
        }
        match reaction {
            Reaction::Send(after, mut octets) if self.time() + after < deadline => {
                self.pass(after);
                if octets.is_empty() { Err(TransportError::Closed) } else { Ok(octets.remove(0)) }
            }
            Reaction::Fail(error) => Err(error),
            _ => Err(self.wait_until(deadline)),
        }
    }
}

impl Transport for Rc<World> {
    async fn udp(
        &self,
        to: SocketAddr,
        query: &[u8],
        deadline: Instant,
        is_answer: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, TransportError> {
        let reaction = self.react(to, Via::Udp, query);
        self.pause().await;
        match reaction {
            Reaction::Send(after, datagrams) if self.time() + after < deadline => {
                self.pass(after);
                let mut datagrams = VecDeque::from(datagrams);
                for _ in 0..DATAGRAMS_WRONG_MAX {
                    match datagrams.pop_front() {
                        Some(datagram) if is_answer(&datagram) => return Ok(datagram),
                        Some(_) => {}
                        None => return Err(self.wait_until(deadline)),
                    }
                }
                Err(TransportError::Flooded)
            }
            Reaction::Fail(error) => Err(error),
            _ => Err(self.wait_until(deadline)),
        }
    }

    async fn tcp(&self, to: SocketAddr, query: &[u8], deadline: Instant) -> Result<Vec<u8>, TransportError> {
        self.stream(to, Via::Tcp, query, deadline).await
    }

    async fn tls(
        &self,
        to: SocketAddr,
        name: Option<&str>,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, TransportError> {
        self.stream(to, Via::Tls(name.map(str::to_owned)), query, deadline).await
    }
}

impl Clock for Rc<World> {
    fn now(&self) -> Instant {
        self.time()
    }

    fn wall(&self) -> u64 {
        1_800_000_000 + self.passed.get().as_secs()
    }
}

impl Chance for Rc<World> {
    fn fill(&self, octets: &mut [u8]) {
        for octet in octets {
            let next = self.state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.state.set(next);
            *octet = next.to_be_bytes()[1];
        }
    }
}

/// A response without an answer.
pub fn code(query: &[u8], code: ResponseCode, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.response_code = code;
    message.queries = query.queries;
    change(&mut message);
    message.to_vec().unwrap()
}

/// The response of a server that has one address for every name, with changes to its octets.
pub fn address(query: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut octets = code(query, ResponseCode::NoError, |message| {
        let name = message.queries[0].name.clone();
        let address = RData::A("192.0.2.7".parse().unwrap());
        message.answers.push(Record::from_rdata(name, 300, address));
        message.metadata.recursion_available = true;
    });
    change(&mut octets);
    octets
}

pub fn at_once(octets: Vec<u8>) -> Reaction {
    Reaction::Send(Duration::from_millis(1), vec![octets])
}

pub const A: RecordType = RecordType::A;
