//! What a resolver needs from time to time: its memory in metrics, and trust anchors that follow the root
//! (RFC 5011).
//!
//! One shard looks at the root's keys when it is due, and keeps what it knows of them in the data directory; all
//! others take over what it trusts. A file of anchors that the operator named is the operator's: it isn't followed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_dns::Name;
use postrider_dns::dnssec::{Rollover, RolloverChange, TrustAnchors};
use tracing::{info, warn};

use super::{Plan, ShardResolver};
use crate::clock::unix_now;
use crate::metrics::{DnsMetrics, Recorder};
use crate::runtime::{Shutdown, sleep};

/// How often metrics are brought up to date, and other shards look whether anchors changed.
const STEP: Duration = Duration::from_secs(1);
/// The file in the data directory.
const FILE: &str = "trust-anchors";

/// What all shards trust, and how often that changed.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<(u64, TrustAnchors)>);

impl Shared {
    pub(super) fn new(anchors: TrustAnchors) -> Self {
        Self(Mutex::new((0, anchors)))
    }

    fn get(&self) -> (u64, TrustAnchors) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn version(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn set(&self, anchors: TrustAnchors) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.1 != anchors {
            *shared = (shared.0 + 1, anchors);
        }
    }
}

/// Takes care of a resolver until the server stops. With a follower it also looks at the root's keys.
pub async fn upkeep(
    plan: Plan,
    resolver: ShardResolver,
    mut follower: Option<Follower>,
    recorder: Recorder,
    metrics: DnsMetrics,
    shutdown: Shutdown,
) {
    let mut version = 0;
    while !shutdown.is_stopping() {
        super::count_memory(&resolver, &recorder, &metrics);
        if let Some(follower) = &mut follower {
            follower.look(&resolver).await;
        }
        if plan.anchors.version() != version {
            let anchors;
            (version, anchors) = plan.anchors.get();
            resolver.set_anchors(anchors);
        }
        sleep(STEP).await;
    }
}

/// Follows the keys of the root.
pub struct Follower {
    rollover: Rollover,
    file: PathBuf,
    shared: Arc<Shared>,
}

impl Follower {
    /// Begins with what is kept in `directory`, or with the anchors of the plan. None when there is nothing to
    /// follow: nothing is validated here, the anchors are the operator's, or none is of the root.
    pub fn new(plan: &Plan, directory: &Path) -> Option<Self> {
        if !plan.follows {
            return None;
        }
        let file = directory.join(FILE);
        let kept = match super::read(&file) {
            Ok(text) => match Rollover::from_text(&text) {
                Ok(rollover) => Some(rollover),
                Err(error) => {
                    warn!(file = %file.display(), %error, "the kept trust anchors can't be read; those built in are used");
                    None
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warn!(file = %file.display(), %error, "the kept trust anchors can't be read; those built in are used");
                None
            }
        };
        let rollover = kept
            .filter(|rollover| rollover.zone().is_root())
            .or_else(|| Rollover::start(&Name::root(), &plan.options.anchors))?;
        let follower = Self { rollover, file, shared: Arc::clone(&plan.anchors) };
        follower.share();
        Some(follower)
    }

    /// Looks at the root's keys, if it is time.
    async fn look(&mut self, resolver: &ShardResolver) {
        let now = u64::try_from(unix_now()).unwrap_or(0);
        if now < self.rollover.due() {
            return;
        }
        match resolver.observe(&mut self.rollover).await {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => {
                changes.iter().for_each(log);
                self.share();
                if let Err(error) = self.keep() {
                    warn!(file = %self.file.display(), %error, "trust anchors can't be kept");
                }
            }
            Err(why) => warn!(%why, "the keys of the root can't be looked at"),
        }
    }

    fn share(&self) {
        let (_, mut anchors) = self.shared.get();
        self.rollover.apply(&mut anchors);
        self.shared.set(anchors);
    }

    /// Puts a whole new file in place: after a power failure either it or the old one is there. A key of the root
    /// changes every few years, so that the shard may wait for these syncs.
    fn keep(&self) -> io::Result<()> {
        let partial = self.file.with_extension("new");
        let mut file = File::create(&partial)?;
        file.write_all(self.rollover.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, &self.file)?;
        match self.file.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn log(change: &RolloverChange) {
    info!(key = change.tag, before = ?change.before, after = ?change.after, "a key of the root changed");
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;
    use crate::config::Dns;

    #[test]
    fn what_is_kept_is_begun_with_and_shared() {
        let dir = tempfile::tempdir().unwrap();
        let dns = Dns { upstreams: crate::config::DnsUpstreams::Listed(Vec::new()), ..Dns::default() };
        let plan = Plan::new(&dns).unwrap();
        let follower = Follower::new(&plan, dir.path()).unwrap();
        assert_eq!(plan.anchors.version(), 0, "the same as are built in");
        follower.keep().unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();

        // One of the two digests is gone from what is kept.
        let fewer: Vec<&str> = text.lines().filter(|line| !line.contains("20326")).collect();
        assert_eq!(fewer.len() + 1, text.lines().count());
        fs::write(dir.path().join(FILE), fewer.join("\n")).unwrap();
        let plan = Plan::new(&dns).unwrap();
        Follower::new(&plan, dir.path()).unwrap();
        assert_eq!(plan.anchors.version(), 1);
        assert_eq!(plan.anchors.get().1.tags(&Name::root()).collect::<Vec<_>>(), [38696]);

        // What can't be read is as good as nothing.
        fs::write(dir.path().join(FILE), "nonsense").unwrap();
        let plan = Plan::new(&dns).unwrap();
        Follower::new(&plan, dir.path()).unwrap();
        assert_eq!(plan.anchors.get().1.tags(&Name::root()).count(), 2);
    }

    #[test]
    fn the_operators_anchors_and_those_of_a_believed_resolver_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("root.key");
        fs::write(&file, format!(". DS 1 13 2 {}", "00".repeat(32))).unwrap();
        let upstreams = crate::config::DnsUpstreams::Listed(Vec::new());
        let own = Dns { trust_anchors: Some(file), upstreams: upstreams.clone(), ..Dns::default() };
        assert!(Follower::new(&Plan::new(&own).unwrap(), dir.path()).is_none());
        let mode = postrider_dns::resolver::Mode::Trust;
        let believing = Dns { mode, upstreams, ..Dns::default() };
        assert!(Follower::new(&Plan::new(&believing).unwrap(), dir.path()).is_none());
    }
}
