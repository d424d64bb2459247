//! A server for tests: shards, a store in memory and a control socket; and listeners for mail when asked for.
#![expect(clippy::unwrap_used, reason = "tests")]

mod waiting;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use postrider_dns::script::Script;
use postrider_proto::smtp::envelope::Hold;
use postrider_storage::blobs::Sharing;
use postrider_storage::committer::{self, Committer};
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::engine::{Durability, Engine};
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::queue::{self, HoldRules, NewQueued, NewRecipient};
use postrider_storage::rows::Ret;
use postrider_storage::store::Store;
use postrider_storage::{account, directory, verify};

use crate::accounts::Accounts;
use crate::admission::{self, Admission};
use crate::auth::Authenticator;
use crate::clock::unix_now;
use crate::commit;
use crate::config::{Config, Protocol, TlsMode, TlsVersion};
use crate::control::protocol::{Answer, Progress, Request};
use crate::control::{self, Client, ClientError, ControlOptions, Events, ExchangeLimits};
use crate::delivery::{Connector, Deliveries, ENDS_FILE, EndsFile};
use crate::imap;
use crate::intake::Intake;
use crate::log;
use crate::lookup::Resolver;
use crate::maintenance;
use crate::metrics::{Builder, Metrics};
use crate::operations::ServerOperations;
use crate::reads::Reads;
use crate::runtime::net::{
    AcceptStats, BoundSocket, Gate, LISTEN_BACKLOG, Listener, ServeOptions, Stream, WhenExhausted, bind_tcp,
};
use crate::runtime::{
    Pool, PoolLimits, Priority, Runtime, RuntimeOptions, ShardId, Shutdown, channel, oneshot, sleep, spawn,
};
use crate::shard::{Local, MAILBOX_MAX, Shard, Shared, Work};
use crate::smtp;
use crate::smtp::checks::evaluation::Hourly;
use crate::smtp::rates::DeliveryRates;
use crate::tls::{Certificates, ServiceOptions, TlsService, self_signed};

pub use waiting::{ClosedPort, PATIENCE, once, wait_until, within_one};

/// Octets of headers that a shard of a test keeps at once.
pub(crate) const HEADERS_OCTETS_MAX: usize = 1 << 20;

/// A running server.
pub struct TestServer {
    /// Files of the test.
    pub dir: tempfile::TempDir,
    /// What its shards share.
    pub shared: Arc<Shared>,
    runtime: Option<Runtime>,
    /// Begun when the test is done with it: until then its shards run, also when it was stopped.
    done: Shutdown,
    socket: PathBuf,
    addresses: Vec<(Protocol, SocketAddr)>,
}

/// Whether the queue is delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivers {
    Yes,
    No,
}

/// What came for a request.
#[derive(Default)]
pub struct Came {
    /// Streamed data.
    pub data: Vec<u8>,
    /// How far it was.
    pub progress: Vec<Progress>,
}

impl Events for Came {
    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) {
        self.progress.push(progress.clone());
    }
}

impl TestServer {
    /// Starts one with an empty store.
    pub fn start() -> Self {
        Self::on(Arc::new(MemoryEngine::new()))
    }

    /// Starts one with the store that `engine` holds.
    pub fn on(engine: Arc<dyn Engine>) -> Self {
        Self::build(engine, |_| {}, |_| false, None, Delivers::No)
    }

    /// Starts one that also listens for SMTP, submission and IMAP, each on a free port. The configuration is that
    /// of a local instance, changed by `change`.
    pub fn with(engine: Arc<dyn Engine>, change: impl FnOnce(&mut Config)) -> Self {
        Self::build(engine, change, |protocol| protocol != Protocol::Metrics, None, Delivers::No)
    }

    /// The same, where DNS is what a script says (see [`Script`]).
    pub fn with_script(engine: Arc<dyn Engine>, script: &str, change: impl FnOnce(&mut Config)) -> Self {
        let serves = |protocol| protocol != Protocol::Metrics;
        Self::build(engine, change, serves, Some(script.to_owned()), Delivers::No)
    }

    /// The same, and what waits in the queue is delivered.
    pub fn delivering(engine: Arc<dyn Engine>, script: &str, change: impl FnOnce(&mut Config)) -> Self {
        let serves = |protocol| protocol != Protocol::Metrics;
        Self::build(engine, change, serves, Some(script.to_owned()), Delivers::Yes)
    }

    fn build(
        engine: Arc<dyn Engine>,
        change: impl FnOnce(&mut Config),
        serves: impl Fn(Protocol) -> bool,
        script: Option<String>,
        delivers: Delivers,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::localserve(dir.path());
        // The least: tests run unoptimised.
        config.passwords.iterations = 4096;
        // The end of a test is that of its server, as if it had been killed.
        config.delivery.stop_time = Duration::ZERO;
        change(&mut config);
        let pair = self_signed(dir.path(), &["localhost"]).unwrap();
        let certificates = Certificates::load(&[pair]).unwrap();
        let socket = dir.path().join("ctl");
        let store = Arc::new(Store::open(Arc::clone(&engine)).unwrap());
        let committer = Arc::new(Committer::start(engine, committer::Limits::default(), |_| {}).unwrap());
        let limits = PoolLimits { threads: 2, queue_max: 4096 };
        let pool = Pool::start("test", limits, Priority::Lower).unwrap();
        let reads =
            Reads::new(Arc::clone(&store), Pool::start("test reader", limits, Priority::Usual).unwrap());
        let admission = Admission::new(admission::Limits {
            allowed: config.unlimited.clone(),
            ..admission::Limits::default()
        });
        let authenticator =
            Authenticator::new(Arc::clone(&store), pool.clone(), admission.clone(), [7; 32], 4096).unwrap();
        let mut builder = Builder::new();
        let names: Vec<String> = config.listeners.iter().map(|listener| listener.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let metrics = Metrics::register(&mut builder, if names.is_empty() { &["smtp"] } else { &names });
        let shards = 2;
        let (mail, addresses) = bind(&config, &certificates, serves, shards);
        let mail = Arc::new(Mutex::new(mail));
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..shards).map(|_| channel::bounded(MAILBOX_MAX)).unzip();
        let shutdown = Shutdown::new();
        let shared = Arc::new(Shared {
            deliveries: crate::delivery::UnderWay::default(),
            hosts: crate::delivery::known_hosts(&config),
            config: Arc::new(config),
            store,
            committer,
            pool,
            reads,
            admission,
            authenticator,
            queue_counts: crate::delivery::Counts::default(),
            hold_rules: crate::delivery::Rules::default(),
            gate: Arc::default(),
            metrics,
            registry: builder.build(shards + 1),
            log: log::for_tests(),
            shutdown: shutdown.clone(),
            shards: senders,
        });
        let control = Arc::new(Mutex::new(Some(control::bind(&socket).unwrap())));
        let receivers = Arc::new(Mutex::new(receivers.into_iter().map(Some).collect::<Vec<_>>()));
        let options = RuntimeOptions { pin: false, ..RuntimeOptions::new(shards) };
        let all = Arc::clone(&shared);
        let done = Shutdown::new();
        let is_done = done.clone();
        let runtime = Runtime::start(&options, shutdown, move |id| {
            let (shared, control, script) = (Arc::clone(&all), Arc::clone(&control), script.clone());
            let is_done = is_done.clone();
            let work = receivers.lock().unwrap()[id.0].take().unwrap();
            let mail = std::mem::take(&mut mail.lock().unwrap()[id.0]);
            async move {
                let shard = shard(id, shared, script.map(|text| Rc::new(script_of(&text)) as Resolver));
                spawn("work of other shards", Rc::clone(&shard).serve_others(work));
                start_work(&shard, delivers);
                for (number, socket, tls) in mail {
                    listen(&shard, number, socket, tls);
                }
                if id == ShardId(0) {
                    let options = ControlOptions {
                        limits: ExchangeLimits {
                            request: PATIENCE,
                            io: PATIENCE,
                            ..ExchangeLimits::default()
                        },
                        recorder: shard.shared.registry.recorder(0),
                        requests: shard.shared.metrics.control_requests,
                    };
                    let operations = ServerOperations::start(Rc::clone(&shard));
                    let socket = control.lock().unwrap().take().unwrap();
                    control::serve(socket, operations, options, shard.shared.shutdown.clone()).unwrap();
                }
                let deadline = shard.shared.shutdown.wait().await;
                crate::delivery::finish(&shard, Instant::now(), deadline).await;
                is_done.wait().await;
                // Answers of the last requests.
                sleep(Duration::from_millis(50)).await;
            }
        })
        .unwrap();
        Self { dir, shared, runtime: Some(runtime), done, socket, addresses }
    }

    /// Where a protocol is spoken.
    pub fn address(&self, protocol: Protocol) -> SocketAddr {
        self.addresses.iter().find(|(spoken, _)| *spoken == protocol).unwrap().1
    }

    /// Tasks that ended in a panic.
    pub fn panics(&self) -> u64 {
        let stats = self.runtime.as_ref().unwrap().stats();
        stats.iter().map(|shard| shard.snapshot().panics).sum()
    }

    /// A path below the directory of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sends a request.
    pub fn call(&self, request: &Request) -> (Came, Result<Answer, ClientError>) {
        self.call_with(request, None)
    }

    /// Sends a request with data.
    pub fn call_with(&self, request: &Request, input: Option<&str>) -> (Came, Result<Answer, ClientError>) {
        let mut came = Came::default();
        let mut input = input.map(str::as_bytes);
        let input = input.as_mut().map(|input| input as &mut dyn std::io::Read);
        let answer = Client::connect(&self.socket).unwrap().call(request, input, &mut came);
        (came, answer)
    }

    /// Sends a request that must succeed; gives its data and answer.
    pub fn ok(&self, request: &Request) -> (String, Answer) {
        let (came, answer) = self.call(request);
        (String::from_utf8(came.data).unwrap(), answer.unwrap())
    }

    /// Sends a request, whatever comes of it.
    pub fn try_to(&self, request: &Request) {
        drop(self.call(request));
    }

    /// Sends a request that must fail; gives the kind and the message.
    pub fn fails(&self, request: &Request) -> (control::protocol::FailureKind, String) {
        match self.call(request).1 {
            Err(ClientError::Failed(failure)) => (failure.kind, failure.message),
            other => panic!("{other:?}"),
        }
    }

    /// Runs a future on an account's home shard.
    pub fn at_home<T: Send + 'static>(
        &self,
        account: AccountId,
        work: impl FnOnce(Rc<Shard>) -> Local<T> + Send + 'static,
    ) -> T {
        let home = crate::accounts::home_of(account, self.shared.shards.len());
        let (tell, told) = oneshot::oneshot();
        let run: Work = Box::new(move |shard| {
            let work = work(shard);
            spawn("work of a test", async move { drop(tell.send(work.await)) });
        });
        assert!(self.shared.shards[home.0].send_blocking(run).is_ok());
        told.wait_blocking().unwrap()
    }

    /// Puts a message of an account with an address of its name at `example.org` into the queue, and gives its entries.
    /// Nobody is told of them.
    pub fn enqueue(&self, account: &str, message: &'static str, to: &[&str], due: i64) -> Vec<QueueId> {
        let sender = self.account(account).unwrap();
        let mail_from = format!("{account}@example.org");
        let recipients = to.iter().map(|address| NewRecipient::new(*address)).collect();
        self.at_home(sender, move |shard| {
            Box::pin(async move {
                let shared = Arc::clone(&shard.shared);
                let mut intake = Intake::new(&shared.store, &shared.committer, 1 << 20);
                intake.push(message.as_bytes()).await.unwrap();
                let message = intake.finish(Sharing::One).unwrap();
                let queued = NewQueued {
                    prefix: b"Received: by here\r\n".to_vec(),
                    sender: Some(sender),
                    mail_from: mail_from.into_bytes(),
                    ret: Ret::Full,
                    envelope_id: b"an id".to_vec(),
                    hold_until: Some(Hold::Until(due)),
                    ..NewQueued::new(message.content, unix_now(), recipients)
                };
                let rules = HoldRules::load(&shared.store.reader()).unwrap();
                let enqueued = queue::enqueue(|| shared.store.new_queue_id(), queued, &rules).unwrap();
                let mut batch = enqueued.edit.batch;
                batch.append(message.batch);
                let submitted =
                    commit::submit(&shared.committer, batch, Durability::Synced, message.incarnation).await;
                submitted.unwrap().done().await.unwrap();
                shared.queue_counts.add(enqueued.edit.delta);
                enqueued.entries.iter().map(|entry| entry.id).collect()
            })
        })
    }

    /// The number of an account.
    pub fn account(&self, name: &str) -> Option<AccountId> {
        let reader = self.shared.store.reader();
        let name = directory::AccountName::new(name).unwrap();
        directory::Directory::new(reader.snapshot()).account_by_name(&name).unwrap().map(|account| account.id)
    }

    /// Checks every invariant of the store.
    pub fn verify(&self) {
        let reader = self.shared.store.reader();
        let violations = directory::verify(reader.snapshot()).unwrap();
        let report = verify::verify(reader, None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.violations);
        assert!(violations.is_empty(), "{violations:?}");
    }

    /// Where the control socket is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown().begin(Duration::ZERO);
            self.done.begin(Duration::ZERO);
            let ended = runtime.join();
            if !thread::panicking() {
                ended.unwrap();
                self.verify();
            }
        }
    }
}

/// The number of a listener, its socket, and its TLS.
type Bound = (usize, BoundSocket, Option<TlsService>);

/// Binds free ports for the listeners of protocols: for each shard, and where they are.
fn bind(
    config: &Config,
    certificates: &Certificates,
    serves: impl Fn(Protocol) -> bool,
    shards: usize,
) -> (Vec<Vec<Bound>>, Vec<(Protocol, SocketAddr)>) {
    let mut mail: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for (number, listener) in config.listeners.iter().enumerate() {
        if !serves(listener.protocol) {
            continue;
        }
        let sockets = bind_tcp("127.0.0.1:0".parse().unwrap(), shards, LISTEN_BACKLOG).unwrap();
        addresses.push((listener.protocol, sockets[0].local_address().unwrap().unwrap()));
        let options = match listener.protocol {
            Protocol::Imap | Protocol::Imaps => ServiceOptions::IMAP,
            _ => ServiceOptions::SMTP,
        };
        let tls = (listener.tls != TlsMode::Off)
            .then(|| TlsService::new(certificates, options, TlsVersion::Tls12).unwrap());
        for (shard, socket) in mail.iter_mut().zip(sockets) {
            shard.push((number, socket, tls.clone()));
        }
    }
    (mail, addresses)
}

/// Starts what a shard does besides serving.
fn start_work(shard: &Rc<Shard>, delivers: Delivers) {
    maintenance::start(shard);
    crate::received_reports::start(shard);
    if delivers == Delivers::Yes {
        crate::delivery::start(shard);
        crate::webhooks::start(shard);
        crate::reporting::start(shard);
    }
}

fn listen(shard: &Rc<Shard>, number: usize, socket: BoundSocket, tls: Option<TlsService>) {
    let config = &shard.shared.config;
    let listener = &config.listeners[number];
    let (accepting, served) = (Listener::new(socket).unwrap(), Rc::clone(shard));
    let shutdown = shard.shared.shutdown.clone();
    let options = ServeOptions {
        label: "session",
        gate: Gate::new(1000),
        busy: b"421 busy\r\n",
        exhausted: WhenExhausted::Close,
        stats: Arc::new(AcceptStats::default()),
    };
    if matches!(listener.protocol, Protocol::Imap | Protocol::Imaps) {
        let service = Arc::new(imap::Service::new(number, listener, tls));
        return accepting.serve(options, shutdown, move |stream: Stream| {
            imap::serve(Rc::clone(&served), Arc::clone(&service), stream)
        });
    }
    let name = config.hostname.domain().clone();
    let service = smtp::Service::new(number, listener, tls, name.clone(), vec![name], config.mode);
    let service = Rc::new(service);
    accepting.serve(options, shutdown, move |stream: Stream| {
        smtp::serve(Rc::clone(&served), Rc::clone(&service), stream)
    });
}

fn shard(id: ShardId, shared: Arc<Shared>, resolver: Option<Resolver>) -> Rc<Shard> {
    Rc::new(Shard {
        id,
        accounts: Accounts::new(
            Arc::clone(&shared.store),
            Arc::clone(&shared.committer),
            shared.pool.clone(),
            shared.reads.clone(),
            account::Limits::default(),
        ),
        recorder: shared.registry.recorder(id.0),
        resolver,
        rates: DeliveryRates::default(),
        allowances: smtp::allowance::Allowances::default(),
        strangers: smtp::Waits::default(),
        headers: smtp::checks::Headers::new(HEADERS_OCTETS_MAX),
        deliveries: Deliveries::new(
            &shared.config,
            Connector::new(shared.config.delivery.tls_roots.as_deref()),
            ends_file(),
            Arc::clone(&shared.hosts),
            (id, shared.shards.len()),
        ),
        webhooks: crate::webhooks::Webhooks::new(
            &shared.config.webhooks,
            Connector::new(shared.config.webhooks.tls_roots.as_deref()),
            id,
            shared.shards.len(),
        ),
        directory: std::cell::RefCell::default(),
        signing_keys: crate::signing::Keys::default(),
        evaluations: Hourly::default(),
        tls_results: crate::reporting::tls::Pending::default(),
        report_bell: crate::received_reports::Bell::default(),
        shared,
    })
}

/// A script whose lines may be indented.
pub fn script_of(text: &str) -> Script {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    Script::parse(&lines.join("\n")).unwrap()
}

/// A file for [`Deliveries`] that goes with the test.
pub(crate) fn ends_file() -> EndsFile {
    let dir = tempfile::tempdir().unwrap();
    EndsFile::create(&dir.path().join(ENDS_FILE)).unwrap()
}
