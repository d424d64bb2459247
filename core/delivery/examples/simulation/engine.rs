//! The server's side with everything but sockets and disk: a queue in memory, a clock that jumps to the next event,
//! and the decisions and the schedule as they are. What must hold is asserted wherever it could be broken.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;

use futures_lite::future::block_on;
use postrider_delivery::attempt::{Attempt, Conclusion, Dial, Plan, Step};
use postrider_delivery::backoff::Backoff;
use postrider_delivery::destination::{Destination, Own, Target, Unfound, find};
use postrider_delivery::limits::{ENTRIES_MAX, ROWS_READ_MAX};
use postrider_delivery::order::Dialed;
use postrider_delivery::outcome::{Failure, HostEnd, Signal, Unreachable, Verdict};
use postrider_delivery::report::{self, About, Addressee, Event as Reported};
use postrider_delivery::schedule::{
    Admission, Afterwards, Command, Ended, Next, Notice, Schedule, SessionId, Settings, Turn, pick,
};
use postrider_delivery::security::{Channel, Counter, Here, Kind, Requirement};
use postrider_delivery::transport::Families;

use crate::world::{self, DAY, Dns, Sort, Visit, meet};

/// What is run.
#[derive(Clone, Copy)]
pub struct Options {
    pub messages: u32,
    pub domains: u32,
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub recipients: u64,
    pub delivered: u64,
    pub failed: BTreeMap<String, u64>,
    pub attempts: u64,
    pub shared: u64,
    pub postponed: u64,
    pub connections: u64,
    pub reused: u64,
    pub reports: BTreeMap<&'static str, u64>,
    pub to_postmaster: u64,
    pub counters: BTreeMap<String, u64>,
    /// By how much an attempt was later than planned, at most, in seconds.
    pub latest: i64,
    /// When the last recipient was settled.
    pub ended: i64,
    pub sessions_max: usize,
    pub schedule_octets_max: usize,
}

/// Messages that are submitted in a second: more than the schedule's sessions deliver.
const RATE: i64 = 500;
/// No attempt is later than this: pauses, and the wait for one's turn when all is submitted at once.
const LATE_MAX: i64 = 4 * 3600;
const SETTINGS: Settings = Settings { sessions_max: 400, ..Settings::DEFAULT };
static OWN: [IpAddr; 1] = [world::OWN];

struct Entry {
    domain: u32,
    due: i64,
    account: u32,
    attempts: u16,
    recipients: u8,
    delivered: u8,
    failed: u8,
    kind: Kind,
    requirement: Requirement,
    is_claimed: bool,
    was_told_of_delay: bool,
    is_postponed: bool,
    grey: Option<(i64, IpAddr)>,
    dialed: Option<Box<Dialed>>,
}

impl Entry {
    fn backoff(&self) -> Backoff {
        if self.kind.is_service_report() { Backoff::REPORTS } else { Backoff::MESSAGES }
    }

    fn pending(&self) -> Vec<usize> {
        (0..usize::from(self.recipients)).filter(|n| (self.delivered | self.failed) >> n & 1 == 0).collect()
    }
}

/// A session and the entries that it claimed.
struct Work {
    domain: u32,
    entries: VecDeque<u32>,
    destination: Option<Result<Destination, Unfound>>,
    current: Option<Under>,
    open: Option<(IpAddr, Channel)>,
    signal: Signal,
    failure: Option<Failure>,
}

/// An attempt under way.
struct Under {
    entry: u32,
    attempt: Attempt<'static>,
    /// The places of its recipients in the entry.
    pending: Vec<usize>,
    dial: Option<Box<Dial>>,
    addresses: VecDeque<IpAddr>,
    tried: Vec<IpAddr>,
    /// What the connection that is under way comes to.
    end: Option<(HostEnd, Option<Channel>)>,
    has_dialed: bool,
}

pub struct Engine {
    options: Options,
    now: i64,
    dns: Dns,
    schedule: Schedule,
    entries: Vec<Entry>,
    /// The rows of each domain.
    rows: Vec<BTreeSet<(i64, u32)>>,
    held: Vec<u32>,
    work: BTreeMap<SessionId, Work>,
    events: BinaryHeap<Reverse<(i64, u64, SessionId)>>,
    event_count: u64,
    connections: HashMap<IpAddr, u32>,
    of_domain: HashMap<u32, u32>,
    chance: u64,
    summary: Summary,
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn hash(domain: u32) -> u64 {
    mix(u64::from(domain))
}

impl Engine {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            now: 0,
            dns: Dns { now: 0.into() },
            schedule: Schedule::new(SETTINGS),
            entries: Vec::new(),
            rows: vec![BTreeSet::new(); options.domains as usize],
            held: Vec::new(),
            work: BTreeMap::new(),
            events: BinaryHeap::new(),
            event_count: 0,
            connections: HashMap::new(),
            of_domain: HashMap::new(),
            chance: options.seed,
            summary: Summary::default(),
        }
    }

    pub fn run(mut self) -> Summary {
        let mut by_hash: HashMap<u64, u32> = HashMap::new();
        by_hash.extend((0..self.options.domains).map(|domain| (hash(domain), domain)));
        loop {
            while let Some(command) = self.schedule.poll(self.now) {
                self.obey(command, &by_hash);
            }
            self.check();
            let submits = (self.entries.len() < self.options.messages as usize)
                .then(|| self.entries.len() as i64 / RATE);
            let releases = (!self.held.is_empty()).then_some(DAY);
            let event = self.events.peek().map(|Reverse((at, _, _))| *at);
            let next = [submits, releases, event, self.schedule.next_wake()].into_iter().flatten().min();
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            assert!(self.now <= 14 * DAY, "two weeks are over, and {} domains wait", self.schedule.domains());
            self.dns.now.set(self.now);
            if submits == Some(next) {
                self.submit();
            } else if releases == Some(next) {
                self.release();
            } else if event == Some(next)
                && let Some(Reverse((_, _, session))) = self.events.pop()
            {
                self.go_on(session);
            }
        }
        self.settle()
    }

    /// Everything that must hold in the end.
    fn settle(mut self) -> Summary {
        assert!(self.work.is_empty() && self.rows.iter().all(BTreeSet::is_empty), "nothing is left");
        assert_eq!((self.schedule.domains(), self.schedule.sessions()), (0, (0, 0)));
        for entry in &self.entries {
            let all = (1_u8 << entry.recipients) - 1;
            assert_eq!((entry.delivered | entry.failed, entry.delivered & entry.failed), (all, 0));
        }
        self.summary.ended = self.now;
        let failed: u64 = self.summary.failed.values().sum();
        assert_eq!(self.summary.delivered + failed, self.summary.recipients);
        self.summary
    }

    /// Limits, always.
    fn check(&mut self) {
        let (active, idle) = self.schedule.sessions();
        assert!(active <= SETTINGS.sessions_max && idle <= SETTINGS.idle_max);
        assert_eq!(active + idle, self.work.len());
        self.summary.sessions_max = self.summary.sessions_max.max(active);
        if self.event_count.is_multiple_of(1024) {
            self.summary.schedule_octets_max = self.summary.schedule_octets_max.max(self.schedule.octets());
        }
    }

    fn submit(&mut self) {
        let id = self.entries.len() as u32;
        let draw = mix(self.options.seed ^ u64::from(id));
        let domain = (draw % u64::from(self.options.domains)) as u32;
        let kind = match draw >> 20 & 63 {
            0 => Kind::Notification,
            1 => Kind::DmarcReport,
            2 => Kind::TlsReport,
            _ => Kind::Message,
        };
        let requirement = match draw >> 32 & 15 {
            0 => Requirement::Required,
            1 => Requirement::No,
            _ => Requirement::Unset,
        };
        let recipients = 1 + (draw >> 40 & 3).min(2) as u8;
        let is_held = draw >> 44 & 1023 == 0;
        self.summary.recipients += u64::from(recipients);
        self.entries.push(Entry {
            domain,
            due: if is_held { i64::MAX } else { self.now },
            account: (draw >> 50 & 511) as u32,
            attempts: 0,
            recipients,
            delivered: 0,
            failed: 0,
            kind,
            requirement,
            is_claimed: false,
            was_told_of_delay: false,
            is_postponed: false,
            grey: None,
            dialed: None,
        });
        let entry = &self.entries[id as usize];
        self.rows[domain as usize].insert((entry.due, id));
        let notice =
            Notice { domain: hash(domain), due: entry.due, entry: Some((u64::from(id), entry.account)) };
        if is_held {
            self.held.push(id);
        }
        self.schedule.notify(notice, self.now);
    }

    /// An operator releases what is held.
    fn release(&mut self) {
        for id in std::mem::take(&mut self.held) {
            self.move_row(id, Some(self.now));
            let domain = self.entries[id as usize].domain;
            let first_due = self.first_due(domain);
            self.schedule.set(hash(domain), first_due, self.now);
        }
    }

    fn move_row(&mut self, id: u32, due: Option<i64>) {
        let entry = &mut self.entries[id as usize];
        let rows = &mut self.rows[entry.domain as usize];
        assert!(rows.remove(&(entry.due, id)), "the row is there");
        if let Some(due) = due {
            entry.due = due;
            rows.insert((due, id));
        }
    }

    fn first_due(&self, domain: u32) -> Option<i64> {
        self.rows[domain as usize].first().map(|(due, _)| *due)
    }

    fn obey(&mut self, command: Command, by_hash: &HashMap<u64, u32>) {
        match command {
            Command::Start(turn) => {
                let domain = by_hash[&turn.domain];
                let work = Work {
                    domain,
                    entries: VecDeque::new(),
                    destination: None,
                    current: None,
                    open: None,
                    signal: Signal::Neutral,
                    failure: None,
                };
                self.work.insert(turn.session, work);
                let running = self.of_domain.entry(domain).or_default();
                *running += 1;
                assert!(*running <= u32::from(SETTINGS.domain_sessions_max) + SETTINGS.idle_max as u32);
                self.claim(&turn);
            }
            Command::Reuse(turn) => self.claim(&turn),
            Command::Close(session) => {
                let work = self.work.remove(&session).expect("an idle session");
                self.left(work);
            }
        }
    }

    fn left(&mut self, work: Work) {
        if let Some((address, _)) = work.open {
            self.hang_up(address);
        }
        *self.of_domain.entry(work.domain).or_default() -= 1;
    }

    fn hang_up(&mut self, address: IpAddr) {
        *self.connections.entry(address).or_default() -= 1;
    }

    fn claim(&mut self, turn: &Turn) {
        let now = self.now;
        let work = self.work.get_mut(&turn.session).expect("a session");
        assert!(work.entries.is_empty() && work.current.is_none());
        let (domain, rows) = (work.domain, &self.rows[work.domain as usize]);
        let mut ids: Vec<u32> = Vec::new();
        for id in turn.first.iter().map(|id| *id as u32) {
            if rows.contains(&(self.entries[id as usize].due, id)) && self.entries[id as usize].due <= now {
                ids.push(id);
            }
        }
        let due: Vec<u32> = rows
            .range(..=(now, u32::MAX))
            .take(ROWS_READ_MAX)
            .map(|(_, id)| *id)
            .filter(|id| !ids.contains(id))
            .collect();
        let accounts: Vec<u32> = due.iter().map(|id| self.entries[*id as usize].account).collect();
        ids.extend(pick(&accounts, turn.entries_max - ids.len()).into_iter().map(|place| due[place]));
        assert!(ids.len() <= ENTRIES_MAX);
        for id in &ids {
            self.count_attempt(*id);
        }
        let work = self.work.get_mut(&turn.session).expect("a session");
        work.entries.extend(&ids);
        let first_due = self.first_due(domain);
        self.schedule.claimed(turn.session, ids.len(), first_due, now);
        self.next_entry(turn.session);
    }

    /// Attempts are in the order and at the times that are documented.
    fn count_attempt(&mut self, id: u32) {
        let (now, chance) = (self.now, self.options.seed ^ u64::from(id));
        let entry = &mut self.entries[id as usize];
        assert!(
            entry.due <= now && !entry.is_claimed,
            "nothing is tried before it is due, or twice at a time"
        );
        if !entry.is_postponed {
            self.summary.latest = self.summary.latest.max(now - entry.due);
            assert!(now - entry.due <= LATE_MAX, "{} s late", now - entry.due);
        }
        entry.is_postponed = false;
        entry.attempts += 1;
        assert!(entry.attempts <= entry.backoff().attempts_max);
        entry.is_claimed = true;
        self.summary.attempts += 1;
        let due = entry.backoff().due_when_cut_off(entry.attempts, now, chance);
        let (nominal, wait) = (i64::from(entry.backoff().nominal(entry.attempts)), due - now);
        assert!((nominal * 445 / 450..=nominal * 455 / 450).contains(&wait));
        self.move_row(id, Some(due));
    }

    /// Begins with the next claimed entry, or ends the session's turn.
    fn next_entry(&mut self, session: SessionId) {
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
    fn step(&mut self, session: SessionId) -> bool {
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

    fn connect(&mut self, session: SessionId) -> Connecting {
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.as_mut().expect("an attempt");
        let dial = under.dial.as_ref().expect("a host");
        let is_usable = |(address, channel): &(IpAddr, Channel)| {
            dial.addresses.contains(address) && dial.rule.allows(channel).is_ok()
        };
        if let Some((address, channel)) = work.open.filter(is_usable) {
            self.summary.reused += 1;
            return self.visit(session, address, Some(channel));
        }
        if let Some((address, _)) = work.open.take() {
            self.schedule.disconnected(session, Signal::Neutral, self.now);
            self.hang_up(address);
        }
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.as_mut().expect("an attempt");
        let Some(address) = under.addresses.pop_front() else {
            return Connecting::Ended(HostEnd::Unreachable(Unreachable::TimedOut));
        };
        match self.schedule.connect(session, address, None, self.now) {
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
        self.summary.connections += 1;
        self.visit(session, address, None)
    }

    fn visit(&mut self, session: SessionId, address: IpAddr, open: Option<Channel>) -> Connecting {
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
    fn go_on(&mut self, session: SessionId) {
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.as_mut().expect("an attempt");
        let (end, channel) = under.end.take().expect("an end");
        let address = *under.tried.last().expect("an address");
        work.open = channel.map(|channel| (address, channel));
        if channel.is_none() {
            self.schedule.disconnected(session, end.signal(), self.now);
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

    fn host_ended(&mut self, session: SessionId, end: HostEnd) {
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.as_mut().expect("an attempt");
        under.attempt.ended(end, &under.tried);
        under.dial = None;
    }

    fn conclude(&mut self, session: SessionId) {
        let work = self.work.get_mut(&session).expect("a session");
        let under = work.current.take().expect("an attempt");
        let entry = &self.entries[under.entry as usize];
        let Conclusion { verdicts, dialed, counters, signal, shared, .. } =
            under.attempt.conclude(entry.attempts, entry.backoff().attempts_max);
        work.signal = signal;
        work.failure = shared;
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

    fn fail_all(&mut self, id: u32, failure: &Failure) {
        let entry = &self.entries[id as usize];
        let verdict = Verdict::of(failure.clone(), entry.attempts, entry.backoff().attempts_max);
        let pending = entry.pending();
        let verdicts = vec![verdict; pending.len()];
        self.take_verdicts(id, pending, verdicts);
    }

    /// Writes an outcome.
    fn take_verdicts(&mut self, id: u32, pending: Vec<usize>, verdicts: Vec<Verdict>) {
        assert_eq!(pending.len(), verdicts.len());
        let sort = Sort::of(self.entries[id as usize].domain);
        let entry = &mut self.entries[id as usize];
        let mut told = Vec::new();
        for (recipient, verdict) in pending.into_iter().zip(verdicts) {
            let expected = sort.expected(entry.kind, entry.requirement, recipient);
            let bit = 1_u8 << recipient;
            assert_eq!((entry.delivered | entry.failed) & bit, 0, "each recipient is settled once");
            match verdict {
                Verdict::Delivered { has_dsn, .. } => {
                    assert_eq!(expected, None, "{sort:?} {:?} {:?} took it", entry.kind, entry.requirement);
                    entry.delivered |= bit;
                    self.summary.delivered += 1;
                    told.push((if has_dsn { Reported::HandedOn } else { Reported::Relayed }, None));
                }
                Verdict::Failed { failure, .. } => {
                    let status = failure.status.to_string();
                    assert_eq!(expected, Some(status.as_str()), "{sort:?} {:?} {failure:?}", entry.kind);
                    entry.failed |= bit;
                    *self.summary.failed.entry(status).or_default() += 1;
                    told.push((Reported::Failed, None));
                }
                Verdict::Retry(_) if entry.backoff().tells_of_delay(entry.attempts) => {
                    told.push((Reported::Delayed, None));
                }
                Verdict::Retry(_) => {}
            }
        }
        entry.is_claimed = false;
        let about = About {
            has_null_sender: entry.kind == Kind::Notification,
            kind: entry.kind,
            requirement: entry.requirement,
            ret: None,
            fits: true,
        };
        for report in report::decide(&about, &told) {
            if report.action == report::Action::Delayed {
                assert!(!std::mem::replace(&mut entry.was_told_of_delay, true), "delays are told of once");
            }
            self.summary.to_postmaster += u64::from(report.to == Addressee::Postmaster);
            *self.summary.reports.entry(report.action.word()).or_default() += 1;
        }
        if entry.pending().is_empty() {
            self.move_row(id, None);
        }
    }

    /// The host is busy: claims are undone, and due times are as they were or sooner.
    fn postpone(&mut self, session: SessionId, until: i64) {
        let work = self.work.remove(&session).expect("a session");
        let under = work.current.as_ref().expect("an attempt");
        for id in std::iter::once(under.entry).chain(work.entries.iter().copied()) {
            let entry = &mut self.entries[id as usize];
            entry.attempts -= 1;
            entry.is_claimed = false;
            entry.is_postponed = true;
            self.summary.attempts -= 1;
            self.summary.postponed += 1;
            self.move_row(id, Some(self.now));
        }
        self.end(session, work, Ended { signal: Signal::Neutral, postponed: Some(until), first_due: None });
    }

    fn turn_ended(&mut self, session: SessionId) {
        let work = self.work.get_mut(&session).expect("a session");
        // What is known of the domain is looked up anew in its next turn.
        work.destination = None;
        let (domain, signal, is_open) = (work.domain, work.signal, work.open.is_some());
        let first_due = self.first_due(domain);
        if is_open {
            match self.schedule.next(session, signal, first_due, self.now) {
                Next::Claim(turn) => return self.claim(&turn),
                Next::Idle => return,
                Next::Close => {}
            }
        }
        let work = self.work.remove(&session).expect("a session");
        self.end(session, work, Ended { signal, postponed: None, first_due: None });
    }

    fn end(&mut self, session: SessionId, work: Work, ended: Ended) {
        let ended = Ended { first_due: self.first_due(work.domain), ..ended };
        let (domain, failure) = (work.domain, work.failure.clone());
        self.left(work);
        if self.schedule.finished(session, ended, self.now) == Afterwards::Share {
            let failure = failure.expect("what failed has a failure");
            self.share(domain, &failure);
        }
    }

    /// Counts an attempt for all that is due.
    fn share(&mut self, domain: u32, failure: &Failure) {
        let due: Vec<u32> =
            self.rows[domain as usize].range(..=(self.now, u32::MAX)).map(|(_, id)| *id).collect();
        for id in due {
            self.summary.shared += 1;
            self.count_attempt(id);
            self.fail_all(id, failure);
        }
        let first_due = self.first_due(domain);
        self.schedule.set(hash(domain), first_due, self.now);
    }
}

enum Connecting {
    Waits,
    Ended(HostEnd),
    Postponed(i64),
}
