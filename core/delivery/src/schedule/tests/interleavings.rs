//! Shards that do things in any order, and hear of each other late.

use proptest::prelude::*;

use super::shards::{postpone, shards};
use super::*;

const SHARDS: usize = 3;
const LIMITS: Settings = Settings {
    host_connections_max: 3,
    source_connections_max: 3,
    idle_max: 2,
    idle_wait: 2,
    sessions_max: 4,
    ..Settings::DEFAULT
};

#[derive(Clone, Debug)]
enum Event {
    Notify {
        domain: u64,
    },
    Connect {
        address: u8,
        source: u8,
    },
    End {
        signal: Signal,
        again: bool,
    },
    Next {
        shares: bool,
    },
    Adopt,
    /// Somebody removes what a domain has to send.
    Remove {
        domain: u64,
    },
    /// Others hear of what was told so far.
    Tell,
    Wait(i64),
}

fn event(signal: impl Strategy<Value = Signal>) -> impl Strategy<Value = (usize, Event)> {
    let event = prop_oneof![
        3 => (0..4_u64).prop_map(|domain| Event::Notify { domain }),
        3 => (0..2_u8, 0..3_u8).prop_map(|(address, source)| Event::Connect { address, source }),
        2 => (signal, any::<bool>()).prop_map(|(signal, again)| Event::End { signal, again }),
        2 => any::<bool>().prop_map(|shares| Event::Next { shares }),
        1 => Just(Event::Adopt),
        1 => (0..4_u64).prop_map(|domain| Event::Remove { domain }),
        2 => Just(Event::Tell),
        1 => (1..40_i64).prop_map(Event::Wait),
    ];
    (0..SHARDS, event)
}

/// Where a connection comes from; the first is the system's choice.
fn source(n: u8) -> Option<IpAddr> {
    (n > 0).then(|| address(200 + n))
}

/// A shard with what its driver knows.
struct Driven {
    schedule: Schedule,
    /// Sessions that do something and their domains, and those that lie idle.
    open: Vec<(SessionId, u64)>,
    idle: Vec<SessionId>,
}

impl Driven {
    fn poll(&mut self, now: i64) -> bool {
        let mut has_some = false;
        while let Some(command) = self.schedule.poll(now) {
            has_some = true;
            match command {
                Command::Start(turn) => {
                    self.schedule.claimed(turn.session, 1, None, now);
                    self.open.push((turn.session, turn.domain));
                }
                Command::Reuse(turn) => {
                    self.schedule.claimed(turn.session, 1, None, now);
                    self.idle.retain(|one| *one != turn.session);
                    self.open.push((turn.session, turn.domain));
                }
                Command::Close(session) => self.idle.retain(|one| *one != session),
            }
        }
        has_some
    }

    /// Whether it may go on.
    fn connect(&mut self, address_of: u8, source_of: u8, now: i64) -> bool {
        let session = self.open[0].0;
        let admission =
            self.schedule.connect(session, address(address_of), source(source_of), IfBusy::Leave, now);
        if let Admission::Busy { until } = admission {
            self.open.remove(0);
            postpone(&mut self.schedule, session, until, now);
        }
        !matches!(admission, Admission::Busy { .. })
    }

    fn run(&mut self, event: &Event, now: i64) {
        let first = self.open.first().copied();
        match (event, first) {
            (Event::Notify { domain }, _) => self.schedule.notify(due(*domain, now), now),
            (Event::Remove { domain }, _) => {
                let mark = self.schedule.mark(*domain);
                self.schedule.set(*domain, mark, None, now);
            }
            (Event::Connect { address, source }, Some(_)) => {
                self.connect(*address, *source, now);
            }
            (Event::End { signal, again }, Some((session, _))) => {
                self.open.remove(0);
                let _ = self.schedule.finished(session, ended(*signal, again.then_some(now)), now);
            }
            (Event::Next { shares }, Some((session, domain))) => {
                if *shares {
                    self.schedule.share(session);
                }
                self.open.remove(0);
                match self.schedule.next(session, Signal::Good, None, now) {
                    Next::Claim(_) => {
                        self.schedule.claimed(session, 1, None, now);
                        self.open.push((session, domain));
                    }
                    Next::Idle => self.idle.push(session),
                    Next::Close => {
                        let _ = self.schedule.finished(session, ended(Signal::Good, None), now);
                    }
                }
            }
            (Event::Adopt, Some((session, _))) => {
                if let Some(idle) = self.idle.first().copied()
                    && self.schedule.take_over(session, idle, now)
                {
                    self.idle.remove(0);
                }
            }
            _ => {}
        }
    }
}

struct Server {
    shards: [Driven; SHARDS],
    calls: Vec<Call>,
    now: i64,
}

impl Server {
    fn new() -> Self {
        let driven = |schedule| Driven { schedule, open: Vec::new(), idle: Vec::new() };
        Self { shards: shards(LIMITS).map(driven), calls: Vec::new(), now: 0 }
    }

    /// Whether anybody does something.
    fn poll(&mut self) -> bool {
        let mut has_some = false;
        for one in &mut self.shards {
            has_some |= one.poll(self.now);
            self.calls.extend(std::iter::from_fn(|| one.schedule.next_call()));
        }
        self.check();
        has_some
    }

    fn tell(&mut self) {
        for call in std::mem::take(&mut self.calls) {
            self.shards[call.shard].schedule.called(&call, self.now);
        }
    }

    fn step(&mut self, shard: usize, event: &Event) {
        match event {
            Event::Wait(seconds) => self.now += seconds,
            Event::Tell => self.tell(),
            // A domain is of one shard.
            Event::Notify { domain } => {
                let event = Event::Notify { domain: domain * SHARDS as u64 + shard as u64 };
                self.shards[shard].run(&event, self.now);
            }
            Event::Remove { domain } => {
                let event = Event::Remove { domain: domain * SHARDS as u64 + shard as u64 };
                self.shards[shard].run(&event, self.now);
            }
            _ => self.shards[shard].run(event, self.now),
        }
        self.poll();
    }

    fn taken(&self, scope: Scope) -> usize {
        self.shards[0].schedule.hosts.taken(scope)
    }

    fn check(&self) {
        let open = self.shards.iter().map(|one| one.open.len() + one.idle.len()).sum::<usize>();
        assert_eq!(open, self.taken(Scope::Server));
        assert!(open <= LIMITS.sessions_max);
        for n in 0..2 {
            assert!(self.taken(Scope::Host(address(n))) <= usize::from(LIMITS.host_connections_max));
            let from = source(n + 1).map_or(0, |source| self.taken(Scope::Source(source)));
            assert!(from <= LIMITS.source_connections_max);
        }
    }

    fn has_nothing_left(&self) {
        for one in &self.shards {
            assert_eq!((one.schedule.domains(), one.schedule.sessions()), (0, (0, 0)));
            assert!(one.open.is_empty() && one.idle.is_empty());
            assert_eq!(one.schedule.next_wake(), None);
        }
        assert_eq!(self.taken(Scope::Server), 0);
        for n in 0..2 {
            assert_eq!(self.taken(Scope::Host(address(n))), 0);
            assert_eq!(source(n + 1).map_or(0, |source| self.taken(Scope::Source(source))), 0);
        }
    }
}

proptest! {
    /// Whatever happens on whichever shard, however late they hear of each other: limits hold, and when everything has ended
    /// no place is taken.
    #[test]
    fn whatever_happens_on_shards_limits_hold(
        events in prop::collection::vec(
            event(prop_oneof![Just(Signal::Good), Just(Signal::Neutral), Just(Signal::Slower), Just(Signal::Down)]),
            0..300,
        )
    ) {
        let mut server = Server::new();
        for (shard, event) in events {
            server.step(shard, &event);
        }
        for _ in 0..1000 {
            for shard in 0..SHARDS {
                for _ in 0..server.shards[shard].open.len() {
                    server.step(shard, &Event::End { signal: Signal::Good, again: false });
                }
                server.step(shard, &Event::Tell);
            }
            let wake = server.shards.iter().filter_map(|one| one.schedule.next_wake()).min();
            server.now = server.now.max(wake.unwrap_or(server.now));
        }
        server.has_nothing_left();
    }

    /// Whoever waits is woken: all get what they want while none takes longer than a moment, and nobody needs to look again
    /// after a while.
    #[test]
    fn whatever_happens_on_shards_who_waits_is_woken(
        events in prop::collection::vec(event(prop_oneof![Just(Signal::Good), Just(Signal::Neutral)]), 0..200)
    ) {
        let mut server = Server::new();
        for (shard, event) in events {
            server.step(shard, &event);
        }
        let began = server.now;
        loop {
            server.tell();
            let mut has_some = server.poll();
            for shard in 0..SHARDS {
                while let Some((session, domain)) = server.shards[shard].open.first().copied() {
                    has_some = true;
                    let to = u8::try_from(domain % 2).unwrap();
                    if server.shards[shard].connect(to, u8::try_from(domain % 3).unwrap(), server.now) {
                        server.shards[shard].open.remove(0);
                        let end = ended(Signal::Neutral, None);
                        let _ = server.shards[shard].schedule.finished(session, end, server.now);
                    }
                    server.poll();
                }
            }
            if has_some || !server.calls.is_empty() {
                continue;
            }
            if server.shards.iter().all(|one| one.schedule.domains() == 0) {
                break;
            }
            server.now += 1;
            // Connections lie idle for two seconds. Kept places are so for ten.
            prop_assert!(server.now <= began + 5, "somebody waits");
        }
        server.has_nothing_left();
    }
}
