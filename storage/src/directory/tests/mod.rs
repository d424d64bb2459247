#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

mod applied;
mod crashes;
mod dkim;
mod documents;
mod keys;
mod lookups;
mod mail;
mod model;
mod pieces;
mod plans;
mod reference;
mod rules;
mod settings;

use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider_proto::address::{Address, Domain};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::Login;
use postrider_proto::sasl::secrets::StoredSecrets;

use super::verify::{quick, violations};
use super::*;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Bytes, Durability, Engine, EngineError, Rows, Snapshot, Space};
use crate::ids::AccountId;

/// Every rule holds, and both ways to find out say so.
fn assert_sound(snapshot: &dyn Snapshot) {
    assert_eq!(violations(snapshot).unwrap(), []);
    assert!(quick::holds(snapshot).unwrap());
}

/// A directory in memory.
struct World(MemoryEngine);

impl World {
    fn new(changes: &[Change]) -> Self {
        let world = Self(MemoryEngine::new());
        world.apply(changes).unwrap();
        world
    }

    /// Two domains, two accounts, a catch-all, a refusal and an alias.
    fn usual() -> Self {
        Self::new(&[
            Change::AddDomain { domain: domain("example.org"), settings: separated("+") },
            Change::AddDomain { domain: domain("other.example"), settings: DomainSettings::default() },
            add_account("fred", "example.org"),
            add_account("mary", "other.example"),
            add_address("Fred@example.org", "fred"),
            add_address("second@example.org", "fred"),
            add_address("mary@other.example", "mary"),
            add_address("@other.example", "mary"),
            Change::AddRefusal { address: pattern("spam@example.org"), code: 550 },
            add_alias("team@example.org", &["fred@example.org", "mary@other.example"]),
        ])
    }

    fn try_plan(&self, changes: &[Change]) -> Result<crate::engine::Batch, DirectoryError> {
        plan(&*self.0.snapshot(), changes, &Limits::DEFAULT, 1_790_000_000)
    }

    /// Applies, and checks every rule after.
    fn apply(&self, changes: &[Change]) -> Result<(), DirectoryError> {
        let batch = self.try_plan(changes)?;
        self.0.commit(batch, Durability::Buffered).unwrap();
        assert_sound(&*self.0.snapshot());
        Ok(())
    }

    /// The message of a plan that fails, which must not have changed anything.
    fn refused(&self, change: Change) -> String {
        self.try_plan(&[change]).unwrap_err().to_string()
    }

    fn account(&self, name: &str) -> AccountId {
        let snapshot = self.0.snapshot();
        let name = AccountName::new(name).unwrap();
        Directory::new(&*snapshot).account_by_name(&name).unwrap().unwrap().id
    }

    fn resolve(&self, to: &str) -> Resolution {
        let snapshot = self.0.snapshot();
        let hostnames = [domain("mx.example.org")];
        Directory::new(&*snapshot).resolve(Recipient::Address(&address(to)), &hostnames).unwrap()
    }

    fn login(&self, login: &str) -> LoginAnswer {
        let snapshot = self.0.snapshot();
        let login = Login::new(login.as_bytes(), &postrider_proto::sasl::Limits::DEFAULT).unwrap();
        Directory::new(&*snapshot).login(&login).unwrap()
    }

    fn may_send(&self, account: &str, from: &str) -> SenderVerdict {
        let id = self.account(account);
        let snapshot = self.0.snapshot();
        Directory::new(&*snapshot).may_send_as(id, &address(from)).unwrap()
    }

    /// The directory as text, as everybody reads it.
    fn text(&self) -> String {
        let snapshot = stage::reading(self.0.snapshot());
        let (mut export, mut text) = (Export::default(), String::new());
        while let Some(part) = export.part(&*snapshot).unwrap() {
            text.push_str(&part);
        }
        text
    }

    /// Applies a text, and checks every rule after each commit. Gives the lines of the changes.
    fn apply_text(&self, text: &str) -> Result<Vec<String>, ApplyError> {
        Applying::new(Mode::Make, PENDING_OCTETS_MAX).run(self, text)
    }

    /// The faults of a text.
    fn faults(&self, text: &str) -> Vec<Fault> {
        match self.apply_text(text).unwrap_err() {
            ApplyError::Document { faults, more: 0 } => faults,
            other => panic!("{other}"),
        }
    }

    fn check(&self) {
        assert_sound(&*stage::reading(self.0.snapshot()));
    }

    /// All rows of the directory itself, and of accounts.
    fn rows(&self) -> Vec<(Bytes, Bytes)> {
        self.0.snapshot().prefix(Space::Rows, &[]).map(Result::unwrap).collect()
    }

    /// Brings a plan to its end.
    fn settle(&self) -> Result<Option<PlanState>, EngineError> {
        let mut settling = Settling::default();
        loop {
            let (batch, last) = match settling.step(&*self.0.snapshot())? {
                Settled::Nothing => return Ok(None),
                Settled::Step { batch, .. } => (batch, None),
                Settled::Last { batch, state } => (batch, Some(state)),
            };
            let durability = if last.is_some() { Durability::Synced } else { Durability::Buffered };
            self.0.commit(batch, durability)?;
            self.check();
            if last.is_some() {
                return Ok(last);
            }
        }
    }
}

/// How a text is applied.
struct Applying {
    mode: Mode,
    pending_octets_max: usize,
    chunk_octets: usize,
}

impl Applying {
    const fn new(mode: Mode, pending_octets_max: usize) -> Self {
        Self { mode, pending_octets_max, chunk_octets: 1 << 16 }
    }

    fn begin(&self) -> Apply {
        Apply::new(Options {
            mode: self.mode,
            limits: Limits::DEFAULT,
            now: 1_790_000_000,
            first_rows: first_rows(),
            derive: Box::new(|password| {
                if password.len() < 9 { Err("too short".to_owned()) } else { Ok(secrets(password)) }
            }),
            read_key: Box::new(dkim::read_key),
            pending_octets_max: self.pending_octets_max,
        })
    }

    fn run(&self, world: &World, text: &str) -> Result<Vec<String>, ApplyError> {
        let mut apply = self.begin();
        let outcome = self.steps(world, text, &mut apply);
        if apply.is_staged() {
            world.settle()?;
        }
        world.check();
        assert_eq!(plan_state(&*world.0.snapshot()).unwrap(), None);
        outcome
    }

    fn steps(&self, world: &World, text: &str, apply: &mut Apply) -> Result<Vec<String>, ApplyError> {
        let mut chunks = text.as_bytes().chunks(self.chunk_octets);
        let mut lines = String::new();
        while !apply.is_done() {
            if apply.wants_text() {
                apply.text(chunks.next());
            }
            let step = apply.step(&*world.0.snapshot())?;
            lines.push_str(&step.lines);
            if !step.batch.is_empty() {
                world.0.commit(step.batch, Durability::Buffered)?;
                world.check();
            }
        }
        match apply.finish(&*world.0.snapshot())? {
            Finish::Nothing => {}
            Finish::Whole(batch) | Finish::Seal(batch) => {
                batch.check()?;
                world.0.commit(batch, Durability::Synced)?;
            }
        }
        world.check();
        assert_eq!(apply.changes(), lines.lines().count() as u64);
        Ok(lines.lines().map(str::to_owned).collect())
    }
}

/// Rows like those of a new account, as if it had number 9.
fn first_rows() -> crate::engine::Batch {
    let mut batch = crate::engine::Batch::new();
    batch.insert(Space::Rows, [0, 0, 0, 9, 1], *b"head");
    batch.insert(Space::Rows, [0, 0, 0, 9, 3, 0, 0, 0, 1], *b"inbox");
    batch
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn pattern(text: &str) -> AddressPattern {
    AddressPattern::parse(text).unwrap()
}

fn name(text: &str) -> AccountName {
    AccountName::new(text).unwrap()
}

fn separated(separator: &str) -> DomainSettings {
    DomainSettings { separators: vec![separator.to_owned()], ..DomainSettings::default() }
}

fn add_account(text: &str, of: &str) -> Change {
    Change::AddAccount { name: name(text), settings: AccountSettings::new(domain(of)) }
}

fn add_address(text: &str, account: &str) -> Change {
    Change::AddAddress { address: pattern(text), account: name(account), mailbox: MailboxName::inbox() }
}

fn add_alias(text: &str, members: &[&str]) -> Change {
    let members = members.iter().map(|member| address(member)).collect();
    Change::AddAlias { alias: address(text), settings: AliasSettings::default(), members }
}

fn delivered(account: AccountId, to: &str) -> Resolution {
    let destination = Destination::default();
    Resolution::Account { account, mailbox: MailboxName::inbox(), address: address(to), destination }
}

fn secrets(seed: &str) -> StoredSecrets {
    StoredSecrets::dummy(b"test", seed, 4096)
}

/// Counts the reads of a snapshot.
struct Counting {
    inner: Box<dyn Snapshot>,
    gets: AtomicUsize,
    ranges: AtomicUsize,
}

impl Counting {
    fn new(inner: Box<dyn Snapshot>) -> Self {
        Self { inner, gets: AtomicUsize::new(0), ranges: AtomicUsize::new(0) }
    }

    /// Point reads and ranges of `work`.
    fn of<T>(&self, work: impl FnOnce(&Directory<'_>) -> T) -> (T, usize, usize) {
        self.gets.store(0, Ordering::Relaxed);
        self.ranges.store(0, Ordering::Relaxed);
        let result = work(&Directory::new(self));
        (result, self.gets.load(Ordering::Relaxed), self.ranges.load(Ordering::Relaxed))
    }
}

impl Snapshot for Counting {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.inner.get(space, key)
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        self.ranges.fetch_add(1, Ordering::Relaxed);
        self.inner.range(space, from, to)
    }
}
