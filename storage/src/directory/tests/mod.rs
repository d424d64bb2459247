#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

mod documents;
mod keys;
mod lookups;
mod model;
mod plans;
mod rules;

use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider_proto::address::{Address, Domain};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::Login;
use postrider_proto::sasl::secrets::StoredSecrets;

use super::*;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Bytes, Durability, Engine, EngineError, Rows, Snapshot, Space};
use crate::ids::AccountId;

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
        assert_eq!(verify(&*self.0.snapshot()).unwrap(), []);
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

    fn export(&self) -> Document {
        Document::export(&*self.0.snapshot()).unwrap()
    }
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
    Resolution::Account { account, mailbox: MailboxName::inbox(), address: address(to) }
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
