//! A server with some accounts, and what is in their mailboxes.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use postrider_proto::address::{Address, Domain};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::Flags;
use postrider_proto::sasl::Mechanism;
use postrider_proto::sasl::secrets::{Derivation, SALT_OCTETS, StoredSecrets};
use postrider_storage::account::Content;
use postrider_storage::blobs::BlobReader;
use postrider_storage::directory::{
    self, AccountName, AccountSettings, AddressPattern, AliasSettings, Change, Destination, DomainSettings,
    MailRule,
};
use postrider_storage::engine::Durability;
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::ids::EmailId;
use postrider_storage::verify::{self, Counts};

use super::client::Client;
use crate::config::{Config, Mode, Protocol};
use crate::testing::TestServer;

/// The accounts, each with an address of its name; `anna` has the password `secret word`.
const ACCOUNTS: [&str; 4] = ["anna", "ben", "cleo", "small"];

pub(super) struct World {
    pub(super) engine: Arc<MemoryEngine>,
    server: TestServer,
}

impl Deref for World {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut TestServer {
        &mut self.server
    }
}

pub(super) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn pattern(text: &str) -> AddressPattern {
    AddressPattern::Exact(address(text))
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let engine = Arc::new(MemoryEngine::new());
        let server = TestServer::with(Arc::clone(&engine) as _, |config| Self::configure(config, change));
        let world = Self { engine, server };
        world.fill();
        world
    }

    /// The same, where DNS is what a script says.
    pub(super) fn with_script(script: &str, change: impl FnOnce(&mut Config)) -> Self {
        let engine = Arc::new(MemoryEngine::new());
        let server = TestServer::with_script(Arc::clone(&engine) as _, script, |config| {
            Self::configure(config, change)
        });
        let world = Self { engine, server };
        world.fill();
        world
    }

    /// The same, and what waits in the queue is delivered, to servers at a port of this host.
    pub(super) fn delivering(script: &str, port: u16, change: impl FnOnce(&mut Config)) -> Self {
        let engine = Arc::new(MemoryEngine::new());
        let server = TestServer::delivering(Arc::clone(&engine) as _, script, |config| {
            config.delivery = crate::config::Delivery::to_port(config.hostname.clone(), port);
            Self::configure(config, change);
        });
        let world = Self { engine, server };
        world.fill();
        world
    }

    /// The same store in a server that starts anew, where DNS is what another script says.
    pub(super) fn restarted(self, script: &str, meanwhile: impl FnOnce(&MemoryEngine)) -> Self {
        let engine = Arc::clone(&self.engine);
        drop(self);
        meanwhile(&engine);
        let server = TestServer::with_script(Arc::clone(&engine) as _, script, |config| {
            Self::configure(config, |_| {})
        });
        Self { engine, server }
    }

    /// The server stops, and another one has its store.
    pub(super) fn restarted_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self { engine, server } = self;
        drop(server);
        let server = TestServer::with(Arc::clone(&engine) as _, |config| Self::configure(config, change));
        Self { engine, server }
    }

    /// The same, where what waits is delivered.
    pub(super) fn again(self) -> Self {
        let Self { engine, server } = self;
        drop(server);
        let server =
            TestServer::delivering(Arc::clone(&engine) as _, "", |config| Self::configure(config, |_| {}));
        Self { engine, server }
    }

    fn configure(config: &mut Config, change: impl FnOnce(&mut Config)) {
        config.mode = Mode::Serve;
        for listener in &mut config.listeners {
            listener.limits.smtp.unknown_recipients_delay = std::time::Duration::from_millis(10);
        }
        change(config);
    }

    fn fill(&self) {
        let domain = Domain::parse("example.org").unwrap();
        let name = |text: &str| AccountName::new(text).unwrap();
        let mut changes =
            vec![Change::AddDomain { domain: domain.clone(), settings: DomainSettings::default() }];
        for account in ACCOUNTS {
            let quota = (account == "small").then_some(1000);
            let settings = AccountSettings { quota, ..AccountSettings::new(domain.clone()) };
            changes.push(Change::AddAccount { name: name(account), settings });
            changes.push(Change::AddAddress {
                address: pattern(&format!("{account}@example.org")),
                account: name(account),
                mailbox: MailboxName::inbox(),
            });
        }
        changes.push(Change::AddAddress {
            address: pattern("lists@example.org"),
            account: name("anna"),
            mailbox: MailboxName::new("Not there").unwrap(),
        });
        let alias = |alias: &str, post_public, members: &[&str]| Change::AddAlias {
            alias: address(alias),
            settings: AliasSettings { post_public, ..AliasSettings::default() },
            members: members.iter().map(|member| address(&format!("{member}@example.org"))).collect(),
        };
        changes.push(alias("team@example.org", false, &["anna", "ben", "cleo"]));
        changes.push(alias("open@example.org", true, &["ben", "small"]));
        let derivation =
            Derivation { iterations: 4096, salt_sha_256: [1; SALT_OCTETS], salt_sha_1: [2; SALT_OCTETS] };
        changes.push(Change::SetSecrets {
            account: name("anna"),
            secrets: Some(StoredSecrets::derive("secret word", &derivation)),
        });
        changes.push(Change::SetPostmaster(Some((name("anna"), MailboxName::inbox()))));
        self.change(&changes);
    }

    /// Changes the directory.
    pub(super) fn change(&self, changes: &[Change]) {
        let reader = self.shared.store.reader();
        let plan = directory::plan(reader.snapshot(), changes, &directory::Limits::DEFAULT, 1_700_000_000);
        self.shared.committer.commit_blocking(plan.unwrap(), Durability::Synced).unwrap();
    }

    /// Sets what else is set for an account's address of its name.
    pub(super) fn set(&self, account: &str, rules: Vec<MailRule>, auth_required: Option<&str>) {
        let address = pattern(&format!("{account}@example.org"));
        let destination =
            Destination { rules, auth_required: auth_required.map(str::to_owned), ..Destination::default() };
        self.change(&[Change::SetDestination { address, destination }]);
    }

    /// A client of port 25 that was greeted.
    pub(super) fn smtp(&self) -> Client {
        let mut client = Client::dial(self.address(Protocol::Smtp));
        assert!(client.reply().starts_with("220 "));
        client.expect("EHLO client.example", "250");
        client
    }

    /// The same with TLS.
    pub(super) fn smtp_tls(&self) -> Client {
        let mut client = self.smtp();
        client.expect("STARTTLS", "220");
        let mut client = client.tls();
        client.expect("EHLO client.example", "250");
        client
    }

    /// A client of submission with TLS, not logged in.
    pub(super) fn submission(&self) -> Client {
        let mut client = Client::dial(self.address(Protocol::Submissions)).tls();
        assert!(client.reply().starts_with("220 "));
        client.expect("EHLO client.example", "250");
        client
    }

    /// The same, logged in as Anna.
    pub(super) fn anna(&self) -> Client {
        let mut client = self.submission();
        let reply = client.log_in(Mechanism::ScramSha256, "anna@example.org", "secret word");
        assert!(reply.starts_with("235"), "{reply}");
        client
    }

    /// The messages in an account's inbox, as a reader gets them.
    pub(super) fn inbox(&self, account: &str) -> Vec<String> {
        self.mailbox(account, "Inbox").into_iter().map(|(_, text)| text).collect()
    }

    /// The same of a mailbox, with their flags.
    pub(super) fn mailbox(&self, account: &str, name: &str) -> Vec<(Flags, String)> {
        let account = self.account(account).unwrap();
        let reader = self.shared.store.reader();
        let name = MailboxName::new(name).unwrap();
        let mailbox = reader.mailboxes(account).map(Result::unwrap).find(|(_, row)| row.name == name);
        let Some((mailbox, _)) = mailbox else { return Vec::new() };
        let uids = reader.uid_set(account, mailbox).unwrap();
        let mut texts = Vec::new();
        for uid in uids.iter() {
            let row = reader.message(account, mailbox, uid).unwrap().unwrap();
            let email = reader.email(account, row.email).unwrap().unwrap();
            let mut text = email.prefix.to_vec();
            let blob = reader.blob(email.blob).unwrap().unwrap();
            let mut content = BlobReader::new(Content { blob: email.blob, size: blob.size }, 0..blob.size);
            while let Some(piece) = content.read(&reader).unwrap() {
                text.extend_from_slice(&piece);
            }
            assert_eq!(row.size, text.len() as u64);
            texts.push((row.flags, String::from_utf8(text).unwrap()));
        }
        texts
    }

    /// The newest message of an account.
    pub(super) fn newest(&self, account: &str) -> EmailId {
        let account = self.account(account).unwrap();
        let reader = self.shared.store.reader();
        let (inbox, _) =
            reader.mailboxes(account).map(Result::unwrap).find(|(_, row)| row.name.is_inbox()).unwrap();
        let last = reader.uid_set(account, inbox).unwrap().iter().last().unwrap();
        reader.message(account, inbox, last).unwrap().unwrap().email
    }

    /// Sessions with other servers that do something. Connections that lie idle are none.
    pub(super) fn delivering_sessions(&self) -> i64 {
        self.shared.registry.gauge(self.shared.metrics.queue.sessions)
    }

    /// What the store holds.
    pub(super) fn counts(&self) -> Counts {
        let reader = self.shared.store.reader();
        let report = verify::verify(reader, None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.violations);
        report.counts
    }
}
