//! Sessions and their attempts: what the server's tasks do with sockets.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::IpAddr;

use futures_lite::future::block_on;
use postrider_delivery::attempt::{Attempt, Conclusion, Dial, Plan, Step};
use postrider_delivery::destination::{Destination, Own, Target, Unfound, find};
use postrider_delivery::outcome::{Failure, HostEnd, Signal, Unreachable};
use postrider_delivery::schedule::{Admission, IfBusy};
use postrider_delivery::security::{Channel, Counter, Here};
use postrider_delivery::transport::Families;

use crate::engine::{Engine, FROM_ONE_MAX, Key, OWN, SETTINGS, mix};
use crate::servers::{Visit, meet};
use crate::world;

/// A session and the entries that it claimed.
pub struct Work {
    pub domain: u32,
    pub entries: VecDeque<u32>,
    pub destination: Option<Result<Destination, Unfound>>,
    pub current: Option<Under>,
    pub open: Option<(IpAddr, Channel)>,
    pub signal: Signal,
    pub failure: Option<Failure>,
}

/// An attempt under way.
pub struct Under {
    pub entry: u32,
    pub attempt: Attempt<'static>,
    /// The places of its recipients in the entry.
    pub pending: Vec<usize>,
    pub dial: Option<Box<Dial>>,
    pub addresses: VecDeque<IpAddr>,
    pub tried: Vec<IpAddr>,
    /// What the connection that is under way comes to.
    pub end: Option<(HostEnd, Option<Channel>)>,
    pub has_dialed: bool,
}

enum Connecting {
    Waits,
    Ended(HostEnd),
    Postponed(i64),
}

impl Engine {
    /// Begins with the next claimed entry, or ends the session's turn.
    pub fn next_entry(&mut self, session: Key) {
        loop {
            let work = self.work.get_mut(&session).expect("a session");
            let Some(id) = work.entries.pop_front() else { return self.turn_ended(session) };
            let entry = &self.entries[id as usize];
            if work.destination.is_none() {
                let target = Target::parse(&format!("d{}.test", work.domain)).expect("a domain");
                let own = Own { names: &[], addresses: &OWN };
                work.destination = Some(block_on(find(&self.dns, &target, own)));
            }
            let pending = entry.pending();
            let destination = match work.destination.as_ref().expect("just found") {
                Ok(destination) => destination.clone(),
                Err(unfound) => {
                    work.signal = Signal::from(unfound);
                    let failure = Failure::from(unfound);
                    work.failure = Some(failure.clone());
                    self.fail_all(id, &failure);
                    continue;
                }
            };
            let plan = Plan {
                kind: entry.kind,
                requirement: entry.requirement,
                attempts_before: entry.attempts - 1,
                recipients: pending.len(),
                sts: world::sts(work.domain, self.now),
                dialed: entry.dialed.as_deref().cloned().unwrap_or_default(),
                families: Families::Both,
                port: 25,
                here: Here::Tls,
                relay: None,
                own: Own { names: &[], addresses: &OWN },
            };
            let mut state = self.chance;
            let attempt = Attempt::new(plan, destination, &mut || {
                state = mix(state);
                state
            });
            self.chance = state;
            work.current = Some(Under {
                entry: id,
                attempt,
                pending,
                dial: None,
                addresses: VecDeque::new(),
                tried: Vec::new(),
                end: None,
                has_dialed: false,
            });
            if self.step(session) {
                return;
            }
        }
    }

    /// Goes on with the attempt of a session until it waits (true) or is concluded.
    fn step(&mut self, session: Key) -> bool {
        loop {
            let work = self.work.get_mut(&session).expect("a session");
            let under = work.current.as_mut().expect("an attempt");
            if under.dial.is_none() {
                match block_on(under.attempt.next(&self.dns)) {
                    Step::Done => {
                        self.conclude(session);
                        return false;
                    }
                    Step::Dial(dial) => {
                        under.addresses = dial.addresses.iter().copied().collect();
                        under.tried.clear();
                        under.dial = Some(dial);
                    }
                }
            }
            match self.connect(session) {
                Connecting::Waits => return true,
                Connecting::Ended(end) => self.host_ended(session, end),
                Connecting::Postponed(until) => {
                    self.postpone(session, until);
                    return true;
                }
            }
        }
    }

    fn connect(&mut self, session: Key) -> Connecting {
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.as_mut().expect("an attempt");
        let dial = under.dial.as_ref().expect("a host");
        let is_usable = |(address, channel): &(IpAddr, Channel)| dial.may_use(address, channel);
        if let Some((address, channel)) = work.open.filter(is_usable) {
            self.summary.reused += 1;
            return self.visit(session, address, Some(channel));
        }
        if let Some((address, _)) = work.open.take() {
            self.schedules[session.0].disconnected(session.1, Signal::Neutral, self.now);
            self.hang_up(address);
        }
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.as_mut().expect("an attempt");
        let Some(address) = under.addresses.pop_front() else {
            return Connecting::Ended(HostEnd::Unreachable(Unreachable::TimedOut));
        };
        let source = world::source(address);
        let if_busy = if under.has_dialed { IfBusy::GoOn } else { IfBusy::Leave };
        let admission = self.schedules[session.0].connect(session.1, address, source, if_busy, self.now);
        match admission {
            Admission::Go => {}
            Admission::Down { until } if under.addresses.is_empty() => {
                return Connecting::Ended(HostEnd::Unreachable(Unreachable::Known { until }));
            }
            Admission::Down { .. } => return self.connect(session),
            Admission::Busy { until } if under.has_dialed => {
                return Connecting::Ended(HostEnd::Unreachable(Unreachable::Known { until }));
            }
            Admission::Busy { until } => return Connecting::Postponed(until),
        }
        let open = self.connections.entry(address).or_default();
        *open += 1;
        assert!(*open <= u32::from(SETTINGS.host_connections_max), "connections to a host are bounded");
        self.summary.to_one_max = self.summary.to_one_max.max(*open);
        if let Some(source) = source {
            let from = self.from.entry(source).or_default();
            *from += 1;
            self.summary.from_one_max = self.summary.from_one_max.max(*from);
            assert!(*from <= FROM_ONE_MAX, "connections from an address are bounded");
        }
        self.summary.connections += 1;
        self.visit(session, address, None)
    }

    fn visit(&mut self, session: Key, address: IpAddr, open: Option<Channel>) -> Connecting {
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.as_mut().expect("an attempt");
        let entry = &mut self.entries[under.entry as usize];
        let mut dial = under.dial.clone().expect("a host");
        // Servers know recipients by what they are in the entry.
        dial.recipients = dial.recipients.iter().map(|place| under.pending[*place]).collect();
        let meeting = meet(Visit {
            dial: &dial,
            address,
            now: self.now,
            connections: self.connections.get(&address).copied().unwrap_or(0),
            open,
            made: entry.attempts,
            grey: &mut entry.grey,
        });
        under.has_dialed = true;
        under.tried.push(address);
        under.end = Some((meeting.end, meeting.channel));
        if open.is_none() {
            work.open = Some((address, Channel::default()));
        }
        self.event_count += 1;
        self.events.push(Reverse((self.now + meeting.seconds, self.event_count, session)));
        Connecting::Waits
    }

    /// A connection has come to its end, or to the end of a transaction.
    pub fn go_on(&mut self, session: Key) {
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.as_mut().expect("an attempt");
        let (end, channel) = under.end.take().expect("an end");
        let address = *under.tried.last().expect("an address");
        work.open = channel.map(|channel| (address, channel));
        if channel.is_none() {
            self.schedules[session.0].disconnected(session.1, end.signal(), self.now);
            self.hang_up(address);
        }
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.as_mut().expect("an attempt");
        let is_unreachable = matches!(end, HostEnd::Unreachable(_));
        if !is_unreachable || under.addresses.is_empty() {
            self.host_ended(session, end);
        }
        if !self.step(session) {
            self.next_entry(session);
        }
    }

    fn host_ended(&mut self, session: Key, end: HostEnd) {
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.as_mut().expect("an attempt");
        under.attempt.ended(end, &under.tried);
        under.dial = None;
    }

    fn conclude(&mut self, session: Key) {
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.take().expect("an attempt");
        let entry = &self.entries[under.entry as usize];
        let Conclusion { verdicts, dialed, counters, signal, shared, .. } =
            under.attempt.conclude(entry.attempts, entry.backoff().attempts_max);
        work.signal = signal;
        work.failure = shared;
        if signal == Signal::Good && !work.entries.is_empty() && work.open.is_some() {
            self.schedules[session.0].delivered(session.1, self.now);
        }
        for counter in counters {
            let name = match counter {
                Counter::Ignored(what) => format!("ignored {}", what.word()),
                Counter::RequireTlsUnsupported(what) => format!("unsupported {}", what.word()),
                other => format!("{other:?}"),
            };
            *self.summary.counters.entry(name).or_default() += 1;
        }
        if !dialed.hosts.is_empty() {
            self.entries[under.entry as usize].dialed = Some(Box::new(dialed));
        }
        self.take_verdicts(under.entry, under.pending, verdicts);
    }
}
