//! What each shard runs: its listeners, the work that others send, and on the first shard the control
//! socket and metrics.

use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use postrider_proto::address::Domain;
use postrider_storage::account;
use postrider_storage::maintenance::Watchdog;
use tracing::{error, info, warn};

use super::{BoundListener, Opened, ServeError, system};
use crate::accounts::Accounts;
use crate::admission::{self, Admission};
use crate::auth::Authenticator;
use crate::config::{Classes, Config, Protocol};
use crate::control::{self, ControlOptions};
use crate::delivery::{self, Connector, Counts, Deliveries, EndsFile, Rules};
use crate::imap;
use crate::log::LogHandle;
use crate::lookup::Resolver;
use crate::maintenance;
use crate::metrics::{
    self, Builder, Metrics, Queue, Registry, Text, write_commits, write_process, write_shards, write_store,
};
use crate::operations::ServerOperations;
use crate::reads::Reads;
use crate::received_reports;
use crate::reporting;
use crate::resolver::{self, Plan};
use crate::runtime::channel::{self, Receiver};
use crate::runtime::net::{
    AcceptStats, BoundSocket, Gate, Listener as Accepting, ServeOptions, Stream, WhenExhausted,
    widen_file_table,
};
use crate::runtime::{AllStats, Pool, PoolLimits, Preflight, Priority, ShardId, Shutdown, sleep, spawn};
use crate::shard::{MAILBOX_MAX, Shard, Shared, Work};
use crate::smtp;
use crate::smtp::checks::evaluation::Hourly;
use crate::smtp::rates::DeliveryRates;
use crate::webhooks::{self, Webhooks};

/// How often the figures of the store and the runtime are taken over into metrics.
const FIGURES: Duration = Duration::from_secs(1);
/// How often a stop looks whether the last session has ended.
const STOP_LOOK: Duration = Duration::from_millis(10);
/// Jobs that may wait for a worker thread.
const JOBS_MAX: usize = 4096;

/// Set once the shards run; the shards read them for metrics.
static STATS: OnceLock<AllStats> = OnceLock::new();

/// Makes the figures of the runtime known to metrics.
pub(super) fn note_stats(stats: &AllStats) {
    // A second server in one process, as in tests, keeps the first one's figures.
    let _ = STATS.set(Arc::clone(stats));
}

/// What one shard starts with.
struct Part {
    listeners: Vec<(usize, BoundSocket, Option<crate::tls::TlsService>)>,
    work: Receiver<Work>,
    control: Option<BoundSocket>,
}

/// What all shards start with; each takes its own part.
#[derive(Clone)]
pub(super) struct Parts {
    shared: Arc<Shared>,
    resolver: Arc<Option<Plan>>,
    connector: Connector,
    webhook_connector: Connector,
    /// Attempts that an earlier process was cut off from, and whose messages may have arrived.
    cut_off: u64,
    ends: EndsFile,
    watchdog: Arc<Watchdog>,
    gate: Gate,
    accepts: Arc<Vec<Arc<AcceptStats>>>,
    parts: Arc<Mutex<Vec<Option<Part>>>>,
}

fn per_class(classes: Classes) -> admission::PerClass {
    [classes.host, classes.site, classes.range]
}

/// The limits of admission: those of the first listener that people or servers connect to, since an
/// address is counted over all listeners.
fn admission_limits(config: &Config) -> admission::Limits {
    let allowed = config.unlimited.clone();
    let listener = config.listeners.iter().find(|listener| listener.protocol != Protocol::Metrics);
    let Some(limits) = listener.map(|listener| &listener.limits) else {
        return admission::Limits { allowed, ..admission::Limits::default() };
    };
    admission::Limits {
        connections_per_minute: per_class(limits.connections.per_minute),
        connections_open: per_class(limits.connections.open),
        failures_per_minute: per_class(limits.authentication.failures_per_minute),
        failures_per_day: per_class(limits.authentication.failures_per_day),
        allowed,
    }
}

/// Makes what the shards share, and the part of each.
#[expect(clippy::too_many_arguments, reason = "called once, by the start of the server")]
pub(super) fn prepare(
    config: Arc<Config>,
    opened: Opened,
    bound: Vec<BoundListener>,
    control: BoundSocket,
    log: LogHandle,
    shutdown: &Shutdown,
    host: Preflight,
    shards: usize,
) -> Result<Parts, ServeError> {
    let Opened { store, committer, watchdog, secret, cut_off, ends } = opened;
    let limits = PoolLimits { threads: config.worker_threads.get(), queue_max: JOBS_MAX };
    let start = |name, priority| {
        Pool::start(name, limits, priority).map_err(system("can't start the worker threads"))
    };
    let pool = start("worker", Priority::Lower)?;
    let reads = Reads::new(Arc::clone(&store), start("reader", Priority::Usual)?);
    let admission = Admission::new(admission_limits(&config));
    let resolver = Arc::new(config.dns.as_ref().map(Plan::new).transpose()?);
    let iterations = config.passwords.iterations;
    let authenticator =
        Authenticator::new(Arc::clone(&store), pool.clone(), admission.clone(), secret, iterations)
            .map_err(|_| system("no randomness")(std::io::Error::other("the system gave none")))?;
    let mut builder = Builder::new();
    let names: Vec<&str> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
    let metrics = Metrics::register(&mut builder, &names);
    let registry = builder.build(shards + 1);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| channel::bounded(MAILBOX_MAX)).unzip();
    let mut parts: Vec<Part> =
        receivers.into_iter().map(|work| Part { listeners: Vec::new(), work, control: None }).collect();
    if let Some(first) = parts.first_mut() {
        first.control = Some(control);
    }
    for listener in bound {
        for (part, socket) in parts.iter_mut().zip(listener.sockets) {
            part.listeners.push((listener.number, socket, listener.tls.clone()));
        }
    }
    let wanted = config.listeners.iter().map(|l| l.limits.connections.total as usize).max().unwrap_or(0);
    let gate = Gate::below_file_limit(host.files_max, wanted);
    let files = host.files_max.map_or(gate.files(), |files_max| gate.files().min(files_max));
    if let Err(error) = widen_file_table(files) {
        warn!(files, %error, "the table of open files will grow while connections arrive");
    }
    let connector = Connector::new(config.delivery.tls_roots.as_deref());
    let webhook_connector = match config.webhooks.tls_roots == config.delivery.tls_roots {
        true => connector.clone(),
        false => Connector::new(config.webhooks.tls_roots.as_deref()),
    };
    let accepts = config.listeners.iter().map(|_| Arc::default()).collect();
    let shared = Shared {
        deliveries: delivery::UnderWay::default(),
        hosts: delivery::known_hosts(&config),
        store,
        committer,
        pool,
        reads,
        admission,
        authenticator,
        queue_counts: Counts::default(),
        hold_rules: Rules::default(),
        gate: Arc::clone(watchdog.gate()),
        metrics,
        registry,
        log,
        shutdown: shutdown.clone(),
        shards: senders,
        config,
    };
    Ok(Parts {
        shared: Arc::new(shared),
        resolver,
        connector,
        webhook_connector,
        cut_off,
        ends,
        watchdog: Arc::new(watchdog),
        gate,
        accepts: Arc::new(accepts),
        parts: Arc::new(Mutex::new(parts.into_iter().map(Some).collect())),
    })
}

/// Runs a shard to its end.
pub(super) async fn run(parts: Parts, id: ShardId) {
    let part =
        parts.parts.lock().unwrap_or_else(PoisonError::into_inner).get_mut(id.0).and_then(Option::take);
    let Some(part) = part else { return };
    let shared = Arc::clone(&parts.shared);
    let shutdown = shared.shutdown.clone();
    let recorder = shared.registry.recorder(id.0);
    let resolver = parts.resolver.as_ref().as_ref().map(|plan| {
        let resolver = plan.start(resolver::count(recorder.clone(), shared.metrics.dns));
        let follower =
            (id == ShardId(0)).then(|| resolver::Follower::new(plan, &shared.config.data_dir)).flatten();
        let (metrics, stop) = (shared.metrics.dns, shutdown.clone());
        let upkeep =
            resolver::upkeep(plan.clone(), resolver.clone(), follower, recorder.clone(), metrics, stop);
        spawn("upkeep of the resolver", upkeep);
        resolver
    });
    let shard = Rc::new(Shard {
        id,
        accounts: Accounts::new(
            Arc::clone(&shared.store),
            Arc::clone(&shared.committer),
            shared.pool.clone(),
            shared.reads.clone(),
            account::Limits::default(),
        ),
        recorder,
        resolver: resolver.map(|resolver| Rc::new(resolver) as Resolver),
        rates: DeliveryRates::default(),
        allowances: smtp::allowance::Allowances::default(),
        strangers: smtp::Waits::default(),
        headers: smtp::checks::Headers::new(smtp::checks::Headers::OCTETS_MAX),
        directory: std::cell::RefCell::default(),
        signing_keys: crate::signing::Keys::default(),
        evaluations: Hourly::default(),
        webhooks: Webhooks::new(
            &shared.config.webhooks,
            parts.webhook_connector.clone(),
            id,
            shared.shards.len(),
        ),
        tls_results: reporting::tls::Pending::default(),
        report_bell: received_reports::Bell::default(),
        deliveries: Deliveries::new(
            &shared.config,
            parts.connector.clone(),
            parts.ends.clone(),
            Arc::clone(&shared.hosts),
            (id, shared.shards.len()),
        ),
        shared,
    });
    spawn("work of other shards", Rc::clone(&shard).serve_others(part.work));
    for (number, socket, tls) in part.listeners {
        if let Err(error) = listen(&parts, &shard, number, socket, tls) {
            error!(listener = number, %error, "a listener can't be served");
        }
    }
    let commands = part.control.and_then(|socket| first_shard(&parts, &shard, socket));
    maintenance::start(&shard);
    delivery::start(&shard);
    reporting::start(&shard);
    webhooks::start(&shard);
    received_reports::start(&shard);
    let deadline = shutdown.wait().await;
    let began = Instant::now();
    let under_way = || parts.gate.open() > 0 || commands.as_ref().is_some_and(|gate| gate.open() > 0);
    while under_way() && Instant::now() < deadline {
        sleep(STOP_LOOK).await;
    }
    if id == ShardId(0) {
        match parts.gate.open() {
            0 => info!("all sessions have ended"),
            open => warn!(open, "sessions are cut off"),
        }
    }
    delivery::finish(&shard, began, deadline).await;
    // What other shards still want of this one is answered until all are done.
    sleep(STOP_LOOK * 10).await;
}

/// Starts to accept connections for a listener.
fn listen(
    parts: &Parts,
    shard: &Rc<Shard>,
    number: usize,
    socket: BoundSocket,
    tls: Option<crate::tls::TlsService>,
) -> std::io::Result<()> {
    let config = &shard.shared.config;
    let Some(listener) = config.listeners.get(number) else { return Ok(()) };
    let shutdown = shard.shared.shutdown.clone();
    if listener.protocol == Protocol::Metrics {
        let scraped = Rc::clone(shard);
        let scrape: metrics::http::Scrape = Rc::new(move |text| write_metrics(&scraped.shared, text));
        let (reads, limits) = (shard.shared.reads.clone(), metrics::http::HttpLimits::default());
        return metrics::http::serve(socket, scrape, reads, limits, shutdown);
    }
    let options = |label, busy| ServeOptions {
        label,
        gate: parts.gate.clone(),
        busy,
        exhausted: WhenExhausted::Close,
        stats: parts.accepts.get(number).map(Arc::clone).unwrap_or_default(),
    };
    let accepting = Accepting::new(socket)?;
    match listener.protocol {
        Protocol::Imap | Protocol::Imaps => {
            let service = Arc::new(imap::Service::new(number, listener, tls));
            let shard = Rc::clone(shard);
            let options = options("imap", b"* BYE [UNAVAILABLE] too many connections\r\n");
            accepting.serve(options, shutdown, move |stream: Stream| {
                imap::serve(Rc::clone(&shard), Arc::clone(&service), stream)
            });
        }
        Protocol::Smtp | Protocol::Submission | Protocol::Submissions | Protocol::Metrics => {
            let hostname = listener.hostname.domain().clone();
            let service = smtp::Service::new(number, listener, tls, hostname, names_of(config), config.mode);
            let (service, shard) = (Rc::new(service), Rc::clone(shard));
            let options = options("smtp", b"421 4.7.0 too many connections, try again later\r\n");
            accepting.serve(options, shutdown, move |stream: Stream| {
                smtp::serve(Rc::clone(&shard), Rc::clone(&service), stream)
            });
        }
    }
    Ok(())
}

/// The names of this host: `postmaster` at each of them is the server's.
fn names_of(config: &Config) -> Vec<Domain> {
    let mut names = vec![config.hostname.domain().clone()];
    names.extend(config.listeners.iter().map(|listener| listener.hostname.domain().clone()));
    names.sort();
    names.dedup();
    names
}

/// What only the first shard does. Returns the gate of the control socket.
fn first_shard(parts: &Parts, shard: &Rc<Shard>, socket: BoundSocket) -> Option<Gate> {
    let shared = &shard.shared;
    let options = ControlOptions {
        limits: control::ExchangeLimits::default(),
        recorder: shared.registry.recorder(shard.id.0),
        requests: shared.metrics.control_requests,
    };
    let operations = ServerOperations::start(Rc::clone(shard));
    let commands = control::serve(socket, operations, options, shared.shutdown.clone())
        .inspect_err(|error| error!(%error, "the control socket can't be served"));
    shard.recorder.add(shared.metrics.queue.possible_duplicates, parts.cut_off);
    shard.recorder.set(shared.metrics.shards, i64::try_from(shared.shards.len()).unwrap_or(i64::MAX));
    // The watchdog lives as long as the shard does.
    let (watched, counted) = (Arc::clone(&parts.watchdog), Rc::clone(shard));
    spawn("figures", async move {
        loop {
            sleep(FIGURES).await;
            take_figures(&counted);
            if counted.shared.shutdown.is_stopping() {
                break;
            }
        }
        drop(watched);
    });
    commands.ok()
}

/// Takes lengths of queues into metrics.
fn take_figures(shard: &Shard) {
    let (shared, known) = (&shard.shared, &shard.shared.metrics);
    let set = |queue: Queue, length: u64| {
        shard
            .recorder
            .set(known.queue_length.at([queue as usize]), i64::try_from(length).unwrap_or(i64::MAX));
    };
    let waiting: usize = shared.shards.iter().map(channel::Sender::len).sum();
    set(Queue::Shard, waiting as u64);
    set(Queue::Worker, shared.pool.stats().queued as u64);
    let queued = shared.queue_counts.get();
    shard.recorder.set(known.queue.entries, queued.entries);
    shard.recorder.set(known.queue.recipients, queued.recipients);
    shard.recorder.set(known.queue.held, queued.held);
    set(Queue::Commit, shared.committer.metrics().queue_members.load(std::sync::atomic::Ordering::Relaxed));
}

/// Everything that `/metrics` shows.
fn write_metrics(shared: &Shared, text: &mut Text) {
    let registry: &Registry = &shared.registry;
    registry.write(text);
    let lines = shared.log.counts();
    for (level, count) in [("error", lines.error), ("warn", lines.warn), ("info", lines.info)] {
        let name = format!("postrider_logging_level_{level}_total");
        text.counter(&name, "Log lines of this level.", count);
    }
    text.counter("postrider_logging_lost_total", "Log lines that were dropped.", lines.lost);
    write_commits(text, shared.committer.metrics());
    write_store(text, &shared.committer.engine().stats());
    if let Some(stats) = STATS.get() {
        let shards: Vec<_> = stats.iter().map(|shard| shard.snapshot()).collect();
        write_shards(text, &shards);
    }
    write_process(text);
}
