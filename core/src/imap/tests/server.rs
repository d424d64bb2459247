//! A server in this process: real shards and sockets, a store in memory.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_proto::address::{Address, Domain};
use postrider_proto::deflate::{self, Compressor, Deflater, Inflater, Scratch};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::client::{Client, ClientBinding, ClientCredentials};
use postrider_proto::sasl::secrets::{Derivation, SALT_OCTETS, StoredSecrets};
use postrider_proto::sasl::{Mechanism, Secret};
use postrider_storage::account::{self, Account, Initial, Quota};
use postrider_storage::committer::{self, Committer};
use postrider_storage::directory::{
    self, AccountName, AccountSettings, AddressPattern, Change, Directory, DomainSettings,
};
use postrider_storage::engine::{Durability, Engine};
use postrider_storage::ids::AccountId;
use postrider_storage::maintenance::Gate as DiskGate;
use postrider_storage::store::Store;
use postrider_storage::verify;

use super::probe::Probe;
use crate::accounts::Accounts;
use crate::admission::{self, Admission};
use crate::auth::Authenticator;
use crate::config::{Config, Files, Listener as Settings, Protocol, TlsMode, TlsVersion};
use crate::imap::{Service, serve};
use crate::log::{self, LogHandle};
use crate::metrics::{Builder, Metrics};
use crate::reads::Reads;
use crate::runtime::net::{
    AcceptStats, Gate, LISTEN_BACKLOG, Listener, ServeOptions, Stream, WhenExhausted, bind_tcp,
};
use crate::runtime::{
    Pool, PoolLimits, Priority, Runtime, RuntimeOptions, ShardId, Shutdown, channel, sleep, spawn,
};
use crate::shard::{MAILBOX_MAX, Shard, Shared};
use crate::testing::PATIENCE;
use crate::tls::{Certificates, ServiceOptions, TlsService, self_signed};

const NOW: i64 = 1_700_000_000;

/// The process has one log.
fn log_handle() -> LogHandle {
    static LOG: OnceLock<LogHandle> = OnceLock::new();
    LOG.get_or_init(|| log::start(log::Format::Text, log::Levels::default()).unwrap()).clone()
}

/// A running server with the account `user@localhost`.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) shared: Arc<Shared>,
    /// The account of `user@localhost`.
    pub(super) account: AccountId,
    runtime: Option<Runtime>,
    /// Begun when the test is done with it: until then its shards run, also when it was stopped.
    done: Shutdown,
    _dir: tempfile::TempDir,
}

/// How it is set up.
pub(super) struct Setup {
    pub(super) shards: usize,
    pub(super) tls: TlsMode,
    pub(super) change: fn(&mut Settings),
    /// What the configuration file says of the listener beside that, from inside its section on.
    pub(super) listener: &'static str,
    pub(super) engine: Arc<Probe>,
    /// `share_with_anyone`
    pub(super) anyone: bool,
    /// What the directory allows the account.
    pub(super) quota: Quota,
    /// Accounts of submission servers.
    pub(super) submission_servers: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            shards: 1,
            tls: TlsMode::Off,
            change: |_| {},
            listener: "",
            engine: Arc::default(),
            anyone: true,
            quota: Quota::default(),
            submission_servers: Vec::new(),
        }
    }
}

impl Setup {
    /// As a configuration file. It can't say everything: `tls`, `change` and `engine` are for servers in this process.
    pub(super) fn text(&self, hostname: &str, address: SocketAddr) -> String {
        format!(
            "hostname = \"{hostname}\"\ndata_dir = \"data\"\nshards = {}\nworker_threads = 2\n\
             [storage]\nmin_free_space = \"16 MiB\"\n\
             [accounts]\nshare_with_anyone = {}\nsubmission_servers = {:?}\n\
             [postmaster]\naccount = \"user\"\n\
             [passwords]\niterations = 4096\n\
             [admission]\nunlimited = [\"127.0.0.0/8\"]\n\
             [[listener]]\nname = \"imap\"\nprotocol = \"imap\"\ntls = \"off\"\naddresses = [\"{address}\"]\n{}\n",
            self.shards, self.anyone, self.submission_servers, self.listener
        )
    }

    /// What `listener` says.
    fn apply(&self, listener: &mut Settings) {
        let text = self.text("mail.example.com", "127.0.0.1:143".parse().unwrap());
        let config = Config::parse(&text, Path::new("/postrider.toml"), Files::Ignore).unwrap();
        let said = config.listeners.into_iter().next().unwrap();
        listener.limits.imap = said.limits.imap;
        listener.disabled_capabilities = said.disabled_capabilities;
    }
}

impl Server {
    pub(super) fn start(setup: &Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::localserve(dir.path());
        config.accounts.submission_servers.clone_from(&setup.submission_servers);
        config.share_with_anyone = setup.anyone;
        let config = Arc::new(config);
        let mut listener = config.listeners.iter().find(|l| l.protocol == Protocol::Imap).unwrap().clone();
        listener.tls = setup.tls;
        setup.apply(&mut listener);
        (setup.change)(&mut listener);
        let tls = (setup.tls != TlsMode::Off).then(|| {
            let pair = self_signed(dir.path(), &["localhost"]).unwrap();
            TlsService::new(&Certificates::load(&[pair]).unwrap(), ServiceOptions::IMAP, TlsVersion::Tls12)
                .unwrap()
        });
        let engine: Arc<dyn Engine> = Arc::clone(&setup.engine) as _;
        let store = Arc::new(Store::open(Arc::clone(&engine)).unwrap());
        let committer = Arc::new(Committer::start(engine, committer::Limits::default(), |_| {}).unwrap());
        let account = make_account(&store, &committer, setup.quota);
        let limits = PoolLimits { threads: 2, queue_max: 256 };
        let pool = Pool::start("worker", limits, Priority::Lower).unwrap();
        let reads = Reads::new(Arc::clone(&store), Pool::start("reader", limits, Priority::Usual).unwrap());
        let admission = Admission::new(admission::Limits {
            allowed: config.unlimited.clone(),
            ..admission::Limits::default()
        });
        let authenticator =
            Authenticator::new(Arc::clone(&store), pool.clone(), admission.clone(), [7; 32], 4096).unwrap();
        let mut builder = Builder::new();
        let metrics = Metrics::register(&mut builder, &["imap"]);
        let registry = builder.build(setup.shards + 1);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..setup.shards).map(|_| channel::bounded(MAILBOX_MAX)).unzip();
        let shutdown = Shutdown::new();
        let shared = Arc::new(Shared {
            deliveries: crate::delivery::UnderWay::default(),
            hosts: crate::delivery::known_hosts(&config),
            config,
            store,
            committer,
            pool,
            reads,
            admission,
            authenticator,
            queue_counts: crate::delivery::Counts::default(),
            hold_rules: crate::delivery::Rules::default(),
            gate: Arc::new(DiskGate::default()),
            metrics,
            registry,
            log: log_handle(),
            shutdown: shutdown.clone(),
            shards: senders,
        });
        let service = Arc::new(Service::new(0, &listener, tls));
        let sockets = bind_tcp("127.0.0.1:0".parse().unwrap(), setup.shards, LISTEN_BACKLOG).unwrap();
        let address = sockets[0].local_address().unwrap().unwrap();
        let parts: Vec<_> = sockets.into_iter().zip(receivers).map(Some).collect();
        let parts = Arc::new(Mutex::new(parts));
        let options = RuntimeOptions { pin: false, ..RuntimeOptions::new(setup.shards) };
        let (all, stop, done) = (Arc::clone(&shared), shutdown.clone(), Shutdown::new());
        let ends = done.clone();
        let runtime = Runtime::start(&options, shutdown, move |id| {
            let (socket, work) = parts.lock().unwrap()[id.0].take().unwrap();
            let (shared, service, stop) = (Arc::clone(&all), Arc::clone(&service), stop.clone());
            let ends = ends.clone();
            async move {
                let shard = shard(id, shared);
                spawn("work", Rc::clone(&shard).serve_others(work));
                let options = ServeOptions {
                    label: "imap",
                    gate: Gate::new(1000),
                    busy: b"* BYE\r\n",
                    exhausted: WhenExhausted::Close,
                    stats: Arc::new(AcceptStats::default()),
                };
                Listener::new(socket).unwrap().serve(options, stop.clone(), move |stream: Stream| {
                    serve(Rc::clone(&shard), Arc::clone(&service), stream)
                });
                ends.wait().await;
                sleep(Duration::from_millis(300)).await;
            }
        })
        .unwrap();
        Self { address, shared, account, runtime: Some(runtime), done, _dir: dir }
    }

    pub(super) fn connect(&self) -> Peer {
        Peer::connect(self.address, PATIENCE)
    }

    /// A client that has logged in.
    pub(super) fn log_in(&self) -> Peer {
        self.log_in_as("user")
    }

    /// A client that has logged in to an account.
    pub(super) fn log_in_as(&self, name: &str) -> Peer {
        login(self.connect(), name)
    }

    /// The messages that the store shows. It is checked, too.
    pub(super) fn messages(&self) -> u64 {
        let report = verify::verify(self.shared.store.reader(), None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.violations);
        report.counts.messages
    }

    /// Adds another account, with the address of its name at localhost and the same password.
    pub(super) fn add_account(&self, name: &str) -> AccountId {
        self.add_account_with(name, Quota::default())
    }

    /// As `add_account`, with limits.
    pub(super) fn add_account_with(&self, name: &str, quota: Quota) -> AccountId {
        add_account(&self.shared.store, &self.shared.committer, name, quota)
    }

    /// Changes the directory.
    pub(super) fn change(&self, changes: &[Change]) {
        let reader = self.shared.store.reader();
        let batch = directory::plan(reader.snapshot(), changes, &directory::Limits::DEFAULT, NOW).unwrap();
        self.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    }

    /// The file of its certificate.
    pub(super) fn certificate(&self) -> std::path::PathBuf {
        self._dir.path().join("selfsigned.pem")
    }

    /// Connections that are open. Of one whose client is gone, what it was sent is done before it is none.
    pub(super) fn connections(&self) -> i64 {
        let open = self.shared.metrics.connections_open.at([Protocol::Imap as usize]);
        self.shared.registry.gauge(open)
    }

    /// Asks the server to stop, in so much time.
    pub(super) fn stop(&self, time: Duration) {
        self.shared.shutdown.begin(time);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.shutdown.begin(Duration::ZERO);
        self.done.begin(Duration::ZERO);
        self.runtime.take().unwrap().join().unwrap();
    }
}

fn shard(id: ShardId, shared: Arc<Shared>) -> Rc<Shard> {
    let accounts = Accounts::new(
        Arc::clone(&shared.store),
        Arc::clone(&shared.committer),
        shared.pool.clone(),
        shared.reads.clone(),
        account::Limits::default(),
    );
    let recorder = shared.registry.recorder(id.0);
    Rc::new(Shard {
        id,
        accounts,
        recorder,
        resolver: None,
        rates: crate::smtp::rates::DeliveryRates::default(),
        allowances: crate::smtp::allowance::Allowances::default(),
        strangers: crate::smtp::Waits::default(),
        headers: crate::smtp::checks::Headers::new(crate::smtp::checks::Headers::OCTETS_MAX),
        directory: std::cell::RefCell::default(),
        signing_keys: crate::signing::Keys::default(),
        evaluations: crate::smtp::checks::evaluation::Hourly::default(),
        webhooks: crate::webhooks::Webhooks::new(
            &shared.config.webhooks,
            crate::delivery::Connector::new(None),
            id,
            shared.shards.len(),
        ),
        tls_results: crate::reporting::tls::Pending::default(),
        report_bell: crate::received_reports::Bell::default(),
        deliveries: crate::delivery::Deliveries::new(
            &shared.config,
            crate::delivery::Connector::new(None),
            crate::testing::ends_file(),
            Arc::clone(&shared.hosts),
            (ShardId(0), 1),
        ),
        shared,
    })
}

fn make_account(store: &Arc<Store>, committer: &Committer, quota: Quota) -> AccountId {
    let domain = Domain::parse("localhost").unwrap();
    let change = Change::AddDomain { domain, settings: DomainSettings::default() };
    let reader = store.reader();
    let batch = directory::plan(reader.snapshot(), &[change], &directory::Limits::DEFAULT, NOW).unwrap();
    committer.commit_blocking(batch, Durability::Synced).unwrap();
    add_account(store, committer, "user", quota)
}

fn add_account(store: &Arc<Store>, committer: &Committer, name: &str, quota: Quota) -> AccountId {
    let Quota { octets, messages } = quota;
    let address = Address::parse(&format!("{name}@localhost")).unwrap();
    let name = AccountName::new(name).unwrap();
    let domain = Domain::parse("localhost").unwrap();
    let derivation =
        Derivation { iterations: 4096, salt_sha_256: [1; SALT_OCTETS], salt_sha_1: [2; SALT_OCTETS] };
    let changes = [
        Change::AddAccount {
            name: name.clone(),
            settings: AccountSettings {
                quota: octets,
                quota_messages: messages,
                ..AccountSettings::new(domain)
            },
        },
        Change::AddAddress {
            address: AddressPattern::Exact(address),
            account: name.clone(),
            mailbox: MailboxName::inbox(),
        },
        Change::SetSecrets {
            account: name.clone(),
            secrets: Some(StoredSecrets::derive("localserve", &derivation)),
        },
    ];
    let reader = store.reader();
    let batch = directory::plan(reader.snapshot(), &changes, &directory::Limits::DEFAULT, NOW).unwrap();
    committer.commit_blocking(batch, Durability::Synced).unwrap();
    let reader = store.reader();
    let id = Directory::new(reader.snapshot()).account_by_name(&name).unwrap().unwrap().id;
    let account = Account::load(&reader, id, account::Limits::default()).unwrap();
    let mut batch = account.begin(&reader);
    let initial = Initial::usual(NonZeroU32::new(1000).unwrap());
    let ((), _) = batch.transact(NOW, |tx| tx.create_account(&initial)).unwrap();
    committer.commit_blocking(batch.finish().0, Durability::Synced).unwrap();
    id
}

/// Logs in to an account.
pub(super) fn login(mut peer: Peer, name: &str) -> Peer {
    assert!(peer.line().starts_with("* OK [CAPABILITY "));
    peer.authenticate(&format!("{name}@localhost"), "localserve");
    let answer = peer.line();
    assert!(answer.starts_with("login OK [CAPABILITY "), "{answer}");
    peer
}

/// What a client reads from, and writes to.
struct Wire {
    stream: TcpStream,
    packing: Option<Box<Packing>>,
}

struct Packing {
    deflater: Deflater,
    compressor: Compressor,
    inflater: Inflater,
    scratch: Scratch,
    text: VecDeque<u8>,
}

impl Read for Wire {
    fn read(&mut self, octets: &mut [u8]) -> std::io::Result<usize> {
        let Some(packing) = &mut self.packing else { return self.stream.read(octets) };
        while packing.text.is_empty() {
            let mut packed = [0; 4096];
            let count = self.stream.read(&mut packed)?;
            if count == 0 {
                return Ok(0);
            }
            packing.inflater.push(&packed[..count]);
            while packing.inflater.is_ready() {
                let text = &mut packing.text;
                packing.inflater.step(&mut packing.scratch, |octets| text.extend(octets)).unwrap();
            }
        }
        packing.text.read(octets)
    }
}

/// The client's end of a connection.
pub(super) struct Peer {
    reader: BufReader<Wire>,
    /// How long it waits for what has to come.
    patience: Duration,
}

impl Peer {
    pub(super) fn connect(address: SocketAddr, patience: Duration) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        Self { reader: BufReader::with_capacity(256, Wire { stream, packing: None }), patience }
    }

    pub(super) fn send(&mut self, octets: &[u8]) {
        let Wire { stream, packing } = self.reader.get_mut();
        match packing {
            None => stream.write_all(octets).unwrap(),
            Some(packing) => {
                let mut packed = Vec::new();
                packing.deflater.deflate(&mut packing.compressor, octets, &mut packed);
                stream.write_all(&packed).unwrap();
            }
        }
    }

    /// From now on both sides compress (RFC 4978).
    pub(super) fn compress(&mut self) {
        assert!(self.reader.buffer().is_empty(), "nothing came behind the answer");
        self.reader.get_mut().packing = Some(Box::new(Packing {
            deflater: Deflater::default(),
            compressor: Compressor::default(),
            inflater: Inflater::new(deflate::Limits { free_octets: u64::MAX, ..deflate::Limits::IMAP }),
            scratch: Scratch::default(),
            text: VecDeque::new(),
        }));
    }

    /// Another handle that sends.
    pub(super) fn writer(&self) -> TcpStream {
        self.reader.get_ref().stream.try_clone().unwrap()
    }

    /// The next octets, of a literal.
    pub(super) fn octets(&mut self, count: usize) -> String {
        let mut octets = vec![0; count];
        self.reader.read_exact(&mut octets).unwrap();
        String::from_utf8(octets).unwrap()
    }

    /// The next line without its CRLF; `EOF` at the end.
    pub(super) fn line(&mut self) -> String {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(0) => return "EOF".to_owned(),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return "EOF".to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return format!("NOTHING after {:?}", String::from_utf8_lossy(&line));
            }
            Err(error) => panic!("{error}"),
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("line ends with CRLF: {line:?}")).to_owned()
    }

    /// Whether nothing comes for a moment.
    pub(super) fn is_silent(&mut self) -> bool {
        let stream = &self.reader.get_ref().stream;
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let silent = self.reader.buffer().is_empty() && {
            let mut octet = [0];
            let peeked = self.reader.get_ref().stream.peek(&mut octet);
            peeked.is_err()
        };
        self.reader.get_ref().stream.set_read_timeout(Some(self.patience)).unwrap();
        silent
    }

    /// What comes next, as it comes; empty at the end.
    pub(super) fn some(&mut self) -> Vec<u8> {
        let some = self.reader.fill_buf().unwrap().to_vec();
        self.reader.consume(some.len());
        some
    }

    /// What comes, up to the first `end`.
    pub(super) fn octets_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        while !all.ends_with(end) {
            let mut octet = [0];
            self.reader.read_exact(&mut octet).unwrap();
            all.push(octet[0]);
        }
        all
    }

    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.reader.read_to_end(&mut rest);
        rest
    }

    /// Sends CRAM-MD5, which needs no TLS; the answer comes next.
    pub(super) fn authenticate(&mut self, login: &str, password: &str) {
        let credentials =
            ClientCredentials { login: login.to_owned(), password: Secret::new(password.to_owned()) };
        let mut client = Client::new(Mechanism::CramMd5, credentials, ClientBinding::Incapable, "nonce");
        self.send(b"login AUTHENTICATE CRAM-MD5\r\n");
        let challenge = self.line();
        let challenge = STANDARD.decode(challenge.strip_prefix("+ ").unwrap()).unwrap();
        let response = STANDARD.encode(client.respond(&challenge).unwrap());
        self.send(format!("{response}\r\n").as_bytes());
    }
}
