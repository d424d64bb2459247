//! The running server: what is opened, in which order, and how it ends.
//!
//! Start: the host is checked, all ports are taken, privileges are dropped, the store is opened and what a
//! crash left is settled; only then connections are let in, and the shards start. End: new connections are refused,
//! sessions finish what they do and say good-bye, what was committed stays, the store is closed.

mod local;
mod open;
mod privileges;
mod shards;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info};

pub use open::{Opened, open_store};

use crate::config::{Certificates as Configured, Config, Mode, Protocol, Switch};
use crate::log::{self, LogError};
use crate::resolver::ResolverError;
use crate::runtime::net::{BoundSocket, LISTEN_BACKLOG, reserve_tcp};
use crate::runtime::{PreflightError, Runtime, RuntimeError, RuntimeOptions, Shutdown, preflight};
use crate::tls::{Certificates, PemPair, ServiceOptions, Tickets, TlsConfigError, TlsService, self_signed};

/// How long sessions may take to finish when the server stops.
pub const STOP_GRACE: Duration = Duration::from_secs(3);

/// How long the start waits for a port that is in use.
const PORT_WAIT: Duration = Duration::from_secs(3);

/// Why the server doesn't run (any more).
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The host doesn't give what the server needs.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// Log lines can't be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store can't be used.
    #[error("the store in {}: {why}", dir.display())]
    Store {
        /// Where it is.
        dir: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A port can't be used.
    #[error("can't listen on {address} for listener {listener}: {source}{}", advice(source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The listener's name.
        listener: String,
        /// What the system said.
        source: io::Error,
    },
    /// Certificates can't be used.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// Names can't be resolved as configured.
    #[error("[dns]: {0}")]
    Resolver(#[from] ResolverError),
    /// The configured user can't be taken on.
    #[error("can't run as the configured user: {0}")]
    User(String),
    /// Something that the server needs of the system failed.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The local account could not be made.
    #[error("the account of the local instance can't be made: {0}")]
    Local(String),
    /// A shard could not start, or died.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ". Another program, or another postrider, uses this port",
        io::ErrorKind::PermissionDenied => {
            ". Ports below 1024 need root, or CAP_NET_BIND_SERVICE in the service's unit"
        }
        io::ErrorKind::AddrNotAvailable => ". No interface of this host has this address",
        _ => "",
    }
}

/// The failure of a call to the system.
fn system(doing: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |source| ServeError::System { doing, source }
}

/// A listener with its sockets, one for each shard.
struct BoundListener {
    number: usize,
    address: SocketAddr,
    sockets: Vec<BoundSocket>,
    tls: Option<TlsService>,
}

/// Runs a server until it is told to stop.
pub fn serve(config: Config) -> Result<(), ServeError> {
    let begun = Instant::now();
    let shards = config.shards.map_or_else(cores, usize::from);
    let host = preflight()?;
    let log = log::start(config.log.format, config.log.levels.clone())?;
    std::fs::create_dir_all(&config.data_dir).map_err(system("can't make the data directory"))?;
    let bound = bind(&config, shards)?;
    if let Some(user) = &config.user {
        // What root made so far, and in earlier runs. From here on all is the user's by itself.
        privileges::give(user, &config.data_dir).map_err(ServeError::User)?;
        privileges::become_user(user).map_err(ServeError::User)?;
    }
    let opened = open_store(&config)?;
    if config.mode == Mode::Local {
        local::make_account(&config, &opened)?;
    }
    let control =
        crate::control::bind(&config.control_socket).map_err(system("can't make the control socket"))?;
    listen(&config, &bound)?;
    let shutdown = Shutdown::new();
    stop_on_signals(&shutdown).map_err(system("can't listen to signals"))?;
    let control_socket = config.control_socket.clone();
    let parts =
        shards::prepare(Arc::new(config), opened, bound, control, log.clone(), &shutdown, host, shards)?;
    let options = RuntimeOptions::new(shards);
    let runtime = Runtime::start(&options, shutdown, move |shard| {
        let parts = parts.clone();
        async move { shards::run(parts, shard).await }
    })?;
    shards::note_stats(runtime.stats());
    info!(shards, milliseconds = begun.elapsed().as_millis(), "serving");
    let ended = runtime.join();
    // It may be gone already; nobody can use it any more.
    let _ = std::fs::remove_file(&control_socket);
    match &ended {
        Ok(()) => info!("stopped"),
        Err(error) => error!(%error, "stopped"),
    }
    log.flush();
    Ok(ended?)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Takes every port, so that privileges can be dropped before the store is opened. Nobody can connect yet:
/// the store may be another server's.
fn bind(config: &Config, shards: usize) -> Result<Vec<BoundListener>, ServeError> {
    let certificates = certificates(config)?;
    let mut bound = Vec::new();
    for (number, listener) in config.listeners.iter().enumerate() {
        let defaults = match listener.protocol {
            Protocol::Smtp => ServiceOptions::SMTP,
            Protocol::Submission | Protocol::Submissions => ServiceOptions::SUBMISSION,
            Protocol::Imap | Protocol::Imaps | Protocol::Metrics => ServiceOptions::IMAP,
        };
        let tickets = match listener.session_tickets {
            Switch::On => Tickets::On,
            Switch::Off => Tickets::Off,
        };
        let tls = match (&certificates, listener.tls) {
            (Some(certificates), mode) if mode != crate::config::TlsMode::Off => Some(TlsService::new(
                certificates,
                ServiceOptions { tickets, ..defaults },
                config.tls.min_version,
            )?),
            _ => None,
        };
        for address in &listener.addresses {
            // The one who reads metrics comes rarely: one socket will do.
            let sockets = if listener.protocol == Protocol::Metrics { 1 } else { shards };
            let sockets = bind_soon(*address, sockets)
                .map_err(|source| cannot_bind(config, number, *address, source))?;
            bound.push(BoundListener { number, address: *address, sockets, tls: tls.clone() });
        }
    }
    Ok(bound)
}

/// Lets connections in.
fn listen(config: &Config, bound: &[BoundListener]) -> Result<(), ServeError> {
    for BoundListener { number, address, sockets, .. } in bound {
        for socket in sockets {
            socket.listen(LISTEN_BACKLOG).map_err(|source| cannot_bind(config, *number, *address, source))?;
        }
    }
    Ok(())
}

fn cannot_bind(config: &Config, number: usize, address: SocketAddr, source: io::Error) -> ServeError {
    let listener = config.listeners.get(number).map(|listener| listener.name.clone()).unwrap_or_default();
    ServeError::Bind { address, listener, source }
}

/// Binds an address, and waits a little for one that is in use: the ports of a server that was killed
/// are free only when the kernel has ended its requests.
fn bind_soon(address: SocketAddr, sockets: usize) -> io::Result<Vec<BoundSocket>> {
    let begun = Instant::now();
    loop {
        match reserve_tcp(address, sockets) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < PORT_WAIT => {
                std::thread::sleep(Duration::from_millis(50));
            }
            outcome => return outcome,
        }
    }
}

fn certificates(config: &Config) -> Result<Option<Certificates>, ServeError> {
    let pairs = match &config.tls.certificates {
        Configured::Files(files) if files.is_empty() => return Ok(None),
        Configured::Files(files) => files
            .iter()
            .map(|files| PemPair { chain: files.cert_file.clone(), key: files.key_file.clone() })
            .collect(),
        Configured::SelfSigned => {
            let mut names: Vec<&str> = config.listeners.iter().map(|l| l.hostname.as_str()).collect();
            names.push(config.hostname.as_str());
            names.sort_unstable();
            names.dedup();
            vec![self_signed(&config.data_dir, &names)?]
        }
    };
    Ok(Some(Certificates::load(&pairs)?))
}

/// SIGTERM and SIGINT stop the server; a second one ends it at once.
fn stop_on_signals(shutdown: &Shutdown) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let shutdown = shutdown.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if shutdown.is_stopping() {
                std::process::exit(128 + signal);
            }
            info!(signal, "stopping");
            shutdown.begin(STOP_GRACE);
        }
    })?;
    Ok(())
}
