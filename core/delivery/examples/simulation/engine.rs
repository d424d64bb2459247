//! The server's side with everything but sockets and disk: a queue in memory, a clock that jumps to the next event,
//! and the decisions and the schedule as they are. What must hold is asserted wherever it could be broken.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use postrider_delivery::backoff::Backoff;
use postrider_delivery::limits::{ENTRIES_MAX, ROWS_READ_MAX};
use postrider_delivery::order::Dialed;
use postrider_delivery::outcome::{Failure, Signal, Verdict};
use postrider_delivery::report::{self, About, Addressee, Event as Reported};
use postrider_delivery::schedule::{
    Afterwards, Call, Command, Ended, Hosts, Next, Notice, Schedule, SessionId, Settings, Turn, pick,
};
use postrider_delivery::security::{Kind, Requirement};

use crate::attempts::Work;
use crate::world::{self, DAY, Dns, Sort};

/// What is run.
#[derive(Clone, Copy)]
pub struct Options {
    pub messages: u32,
    pub domains: u32,
    pub seed: u64,
    pub shards: usize,
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
    /// Connections to one host, at most.
    pub to_one_max: u32,
    /// Connections from one address, at most.
    pub from_one_max: u32,
    /// What shards told each other.
    pub calls: u64,
    pub schedule_octets_max: usize,
}

/// Messages that are submitted in a second: more than the schedule's sessions deliver.
const RATE: i64 = 500;
/// No attempt is later than this: pauses, and the wait for one's turn when all is submitted at once.
const LATE_MAX: i64 = 4 * 3600;
pub const SETTINGS: Settings =
    Settings { sessions_max: 400, source_connections_max: FROM_ONE_MAX as usize, ..Settings::DEFAULT };
pub const FROM_ONE_MAX: u32 = 300;

/// A session, and its shard.
pub type Key = (usize, SessionId);
pub static OWN: [IpAddr; 1] = [world::OWN];

pub struct Entry {
    pub domain: u32,
    pub due: i64,
    pub account: u32,
    pub attempts: u16,
    pub recipients: u8,
    pub delivered: u8,
    pub failed: u8,
    pub kind: Kind,
    pub requirement: Requirement,
    pub is_claimed: bool,
    pub was_told_of_delay: bool,
    pub is_postponed: bool,
    pub grey: Option<(i64, IpAddr)>,
    pub dialed: Option<Box<Dialed>>,
}

impl Entry {
    pub fn backoff(&self) -> Backoff {
        if self.kind.is_service_report() { Backoff::REPORTS } else { Backoff::MESSAGES }
    }

    pub fn pending(&self) -> Vec<usize> {
        (0..usize::from(self.recipients)).filter(|n| (self.delivered | self.failed) >> n & 1 == 0).collect()
    }
}

pub struct Engine {
    pub options: Options,
    pub now: i64,
    pub dns: Dns,
    /// Those of the shards.
    pub schedules: Vec<Schedule>,
    /// What shards haven't heard yet.
    pub calls: VecDeque<Call>,
    pub entries: Vec<Entry>,
    /// The rows of each domain.
    pub rows: Vec<BTreeSet<(i64, u32)>>,
    pub held: Vec<u32>,
    pub work: BTreeMap<Key, Work>,
    pub events: BinaryHeap<Reverse<(i64, u64, Key)>>,
    pub event_count: u64,
    pub connections: HashMap<IpAddr, u32>,
    /// By where they come from.
    pub from: HashMap<IpAddr, u32>,
    pub of_domain: HashMap<u32, u32>,
    pub chance: u64,
    pub summary: Summary,
}

pub fn mix(value: u64) -> u64 {
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
        let hosts = Arc::new(Hosts::new(SETTINGS));
        let of_shard = |shard| Schedule::of_shard(SETTINGS, Arc::clone(&hosts), shard);
        Self {
            options,
            now: 0,
            dns: Dns { now: 0.into() },
            schedules: (0..options.shards).map(of_shard).collect(),
            calls: VecDeque::new(),
            entries: Vec::new(),
            rows: vec![BTreeSet::new(); options.domains as usize],
            held: Vec::new(),
            work: BTreeMap::new(),
            events: BinaryHeap::new(),
            event_count: 0,
            connections: HashMap::new(),
            from: HashMap::new(),
            of_domain: HashMap::new(),
            chance: options.seed,
            summary: Summary::default(),
        }
    }

    pub fn run(mut self) -> Summary {
        let mut by_hash: HashMap<u64, u32> = HashMap::new();
        by_hash.extend((0..self.options.domains).map(|domain| (hash(domain), domain)));
        loop {
            self.poll(&by_hash);
            self.check();
            let submits = (self.entries.len() < self.options.messages as usize)
                .then_some(self.entries.len() as i64 / RATE);
            let releases = (!self.held.is_empty()).then_some(DAY / 4);
            let event = self.events.peek().map(|Reverse((at, _, _))| *at);
            let wake = self.schedules.iter().filter_map(Schedule::next_wake).min();
            let next = [submits, releases, event, wake].into_iter().flatten().min();
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            assert!(self.now <= 14 * DAY, "two weeks are over, and {} domains wait", self.domains());
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

    /// Has all shards do what is to be done now. They hear of each other after they have done something, one at a time.
    fn poll(&mut self, by_hash: &HashMap<u64, u32>) {
        loop {
            for shard in 0..self.schedules.len() {
                while let Some(command) = self.schedules[shard].poll(self.now) {
                    self.obey(shard, command, by_hash);
                    self.check();
                }
                self.calls.extend(std::iter::from_fn(|| self.schedules[shard].next_call()));
            }
            let Some(call) = self.calls.pop_front() else { return };
            self.summary.calls += 1;
            self.schedules[call.shard].called(&call, self.now);
        }
    }

    fn shard_of(&self, domain: u32) -> usize {
        (mix(hash(domain)) % self.schedules.len() as u64) as usize
    }

    fn schedule(&mut self, domain: u32) -> &mut Schedule {
        let shard = self.shard_of(domain);
        &mut self.schedules[shard]
    }

    fn domains(&self) -> usize {
        self.schedules.iter().map(Schedule::domains).sum()
    }

    /// Everything that must hold in the end.
    fn settle(mut self) -> Summary {
        assert!(self.work.is_empty() && self.rows.iter().all(BTreeSet::is_empty), "nothing is left");
        for schedule in &self.schedules {
            assert_eq!((schedule.domains(), schedule.sessions()), (0, (0, 0)));
        }
        assert!(self.connections.values().chain(self.from.values()).all(|open| *open == 0));
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
        let mut sessions = 0;
        for schedule in &self.schedules {
            let (active, idle) = schedule.sessions();
            assert!(idle <= SETTINGS.idle_max);
            sessions += active + idle;
        }
        assert!(sessions <= SETTINGS.sessions_max, "sessions are bounded, of all shards together");
        assert_eq!(sessions, self.work.len());
        self.summary.sessions_max = self.summary.sessions_max.max(sessions);
        if self.event_count.is_multiple_of(1024) {
            let octets = self.schedules.iter().map(Schedule::octets).sum();
            self.summary.schedule_octets_max = self.summary.schedule_octets_max.max(octets);
        }
    }

    fn submit(&mut self) {
        let id = self.entries.len() as u32;
        let draw = mix(mix(self.options.seed) ^ u64::from(id));
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
        let now = self.now;
        self.schedule(domain).notify(notice, now);
    }

    /// An operator releases what is held.
    fn release(&mut self) {
        for id in std::mem::take(&mut self.held) {
            self.move_row(id, Some(self.now));
            self.set(self.entries[id as usize].domain);
        }
    }

    fn set(&mut self, domain: u32) {
        let (first_due, now) = (self.first_due(domain), self.now);
        let schedule = self.schedule(domain);
        let mark = schedule.mark(hash(domain));
        schedule.set(hash(domain), mark, first_due, now);
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

    fn obey(&mut self, shard: usize, command: Command, by_hash: &HashMap<u64, u32>) {
        match command {
            Command::Start(turn) => {
                let domain = by_hash[&turn.domain];
                assert_eq!(shard, self.shard_of(domain));
                let work = Work {
                    domain,
                    entries: VecDeque::new(),
                    destination: None,
                    current: None,
                    open: None,
                    signal: Signal::Neutral,
                    failure: None,
                };
                self.work.insert((shard, turn.session), work);
                let running = self.of_domain.entry(domain).or_default();
                *running += 1;
                assert!(*running <= u32::from(SETTINGS.domain_sessions_max) + SETTINGS.idle_max as u32);
                self.claim(shard, &turn);
            }
            Command::Reuse(turn) => self.claim(shard, &turn),
            Command::Close(session) => {
                let work = self.work.remove(&(shard, session)).expect("an idle session");
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

    pub fn hang_up(&mut self, address: IpAddr) {
        if let Some(source) = world::source(address) {
            *self.from.entry(source).or_default() -= 1;
        }
        *self.connections.entry(address).or_default() -= 1;
    }

    fn claim(&mut self, shard: usize, turn: &Turn) {
        let (now, session) = (self.now, (shard, turn.session));
        let work = self.work.get_mut(&session).expect("a session");
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
        let work = self.work.get_mut(&session).expect("a session");
        work.entries.extend(&ids);
        let first_due = self.first_due(domain);
        self.schedules[shard].claimed(turn.session, ids.len(), first_due, now);
        self.next_entry(session);
    }

    /// Attempts are in the order and at the times that are documented.
    fn count_attempt(&mut self, id: u32) {
        let (now, chance) = (self.now, mix(mix(self.options.seed) ^ u64::from(id)));
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

    pub fn fail_all(&mut self, id: u32, failure: &Failure) {
        let entry = &self.entries[id as usize];
        let verdict = Verdict::of(failure.clone(), entry.attempts, entry.backoff().attempts_max);
        let pending = entry.pending();
        let verdicts = vec![verdict; pending.len()];
        self.take_verdicts(id, pending, verdicts);
    }

    /// Writes an outcome.
    pub fn take_verdicts(&mut self, id: u32, pending: Vec<usize>, verdicts: Vec<Verdict>) {
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
    pub fn postpone(&mut self, session: Key, until: i64) {
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

    pub fn turn_ended(&mut self, session: Key) {
        let work = self.work.get_mut(&session).expect("a session");
        // What is known of the domain is looked up anew in its next turn.
        work.destination = None;
        let (domain, signal, is_open) = (work.domain, work.signal, work.open.is_some());
        let first_due = self.first_due(domain);
        if is_open {
            match self.schedules[session.0].next(session.1, signal, first_due, self.now) {
                Next::Claim(turn) => return self.claim(session.0, &turn),
                Next::Idle => return,
                Next::Close => {}
            }
        }
        let work = self.work.remove(&session).expect("a session");
        self.end(session, work, Ended { signal, postponed: None, first_due: None });
    }

    fn end(&mut self, session: Key, work: Work, ended: Ended) {
        let ended = Ended { first_due: self.first_due(work.domain), ..ended };
        let (domain, failure) = (work.domain, work.failure.clone());
        self.left(work);
        if self.schedules[session.0].finished(session.1, ended, self.now) == Afterwards::Share {
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
        self.set(domain);
    }
}
