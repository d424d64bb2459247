//! The resolver of a shard: `postrider-dns` over sockets of the runtime, as `[dns]` configures it.
//!
//! [`Blocking`] is the same over plain sockets, for the command line.

mod blocking;
mod counting;
mod sockets;
mod tls;
mod upkeep;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postrider_dns::dnssec::TrustAnchors;
use postrider_dns::resolver::{Mode, Options, Resolver, Watch, parse_resolv_conf};

use crate::config::{Dns, DnsUpstreams};

pub use blocking::Blocking;
pub use counting::{count, count_memory};
pub use sockets::Sockets;
pub use tls::{Tls, authorities};
pub use upkeep::{Follower, upkeep};

/// The resolver of a shard. Clones are the same one.
pub type ShardResolver = Resolver<Sockets>;

/// Octets of a `resolv.conf` or of a file of trust anchors that are read.
const FILE_OCTETS_MAX: u64 = 1 << 20;

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// A file that the configuration names can't be read.
    #[error("can't read {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file of trust anchors can't be used.
    #[error("{}: {why}", path.display())]
    Anchors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The certificates that DNS over TLS is verified by can't be had.
    #[error("{0}")]
    Tls(String),
}

/// What the resolvers of all shards are made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who is asked, and how.
    pub options: Options,
    tls: Arc<Tls>,
    /// What is trusted now, on all shards.
    anchors: Arc<upkeep::Shared>,
    /// Whether the anchors follow the root's keys.
    follows: bool,
}

impl Plan {
    /// Reads the files that `dns` names.
    pub fn new(dns: &Dns) -> Result<Self, ResolverError> {
        let mut options =
            Options { mode: dns.mode, cache_octets_max: dns.cache_octets, ..Options::default() };
        if let Some(path) = &dns.trust_anchors {
            let text = read(path).map_err(|error| ResolverError::File { path: path.clone(), error })?;
            options.anchors = TrustAnchors::parse(&text)
                .map_err(|error| ResolverError::Anchors { path: path.clone(), why: error.to_string() })?;
        }
        match &dns.upstreams {
            DnsUpstreams::Listed(list) => options.upstreams.clone_from(list),
            DnsUpstreams::System(path) => {
                let text = match read(path) {
                    Ok(text) => text,
                    // Without the file the C library asks this host.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                    Err(error) => return Err(ResolverError::File { path: path.clone(), error }),
                };
                let system = parse_resolv_conf(&text);
                options.upstreams = system.upstreams;
                options.first_wait = system.timeout.unwrap_or(options.first_wait);
                options.rounds = system.attempts.unwrap_or(options.rounds);
            }
        }
        for upstream in &mut options.upstreams {
            upstream.trusted |= dns.trusted.iter().any(|network| network.contains(upstream.address.ip()));
        }
        let tls = Tls::new(&options.upstreams, dns.tls_roots.as_deref()).map_err(ResolverError::Tls)?;
        let anchors = Arc::new(upkeep::Shared::new(options.anchors.clone()));
        let follows = dns.mode == Mode::Validate && dns.trust_anchors.is_none();
        Ok(Self { options, tls: Arc::new(tls), anchors, follows })
    }

    /// A resolver for the current shard.
    pub fn start(&self, watch: Watch) -> ShardResolver {
        Resolver::new(self.options.clone(), Sockets::new(Arc::clone(&self.tls)), watch)
    }

    /// A resolver over plain sockets, for a thread without the runtime.
    pub fn start_blocking(&self, watch: Watch) -> Resolver<Blocking> {
        Resolver::new(self.options.clone(), Blocking::new(Arc::clone(&self.tls)), watch)
    }
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_OCTETS_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;

/// A resolver that knows nothing, for an instance that has none.
#[must_use]
pub fn unanswered() -> crate::lookup::Resolver {
    std::rc::Rc::new(Unanswered)
}

/// Fails every lookup.
struct Unanswered;

impl postrider_dns::Lookup for Unanswered {
    async fn lookup(
        &self,
        name: &postrider_dns::Name,
        kind: postrider_dns::RecordType,
    ) -> postrider_dns::Answer {
        crate::lookup::failed(name, kind, "this server has no resolver")
    }
}
