//! What is done at the start: what an earlier run was cut off from, and what waits.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use postrider_delivery::schedule::Notice;
use postrider_storage::engine::{Durability, EngineError};
use postrider_storage::ids::QueueId;
use postrider_storage::queue;
use postrider_storage::store::{Store, StoreError};
use ring::rand::{SecureRandom, SystemRandom};
use tracing::{error, info, warn};

use super::ends::Noted;
use crate::clock::unix_now;
use crate::config::{Config, Protocol};
use crate::runtime::sleep;
use crate::shard::Shard;

/// Claims that one batch releases.
const CLAIMS_MAX: usize = 1000;
/// Domains that one step finds.
const DOMAINS_MAX: usize = 256;
/// The pause between two steps.
const PAUSE: Duration = Duration::from_millis(2);
/// The pause after a step that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Gives entries back whose attempts were cut off by the end of an earlier process, before anything is claimed. Says of how
/// many the message may have arrived nevertheless: those of which the end was sent, as that process noted; or all, when it
/// noted nothing of the kind (`sent` is none).
pub fn release_claims(store: &Store, sent: Option<&HashSet<Noted>>) -> Result<u64, StoreError> {
    let (mut count, mut from) = (0, QueueId(0));
    loop {
        let released = queue::release_claims(&store.reader(), from, CLAIMS_MAX)?;
        for (id, attempt) in released.entries {
            if sent.is_none_or(|sent| sent.contains(&(id, attempt))) {
                count += 1;
                info!(
                    entry = id.0,
                    attempt, "the message may have arrived before an attempt was cut off, and is sent again"
                );
            } else {
                info!(
                    entry = id.0,
                    attempt, "an attempt was cut off before the end of the message, and is made again"
                );
            }
        }
        if !released.edit.batch.is_empty() {
            store.engine().commit(released.edit.batch, Durability::Buffered).map_err(commit_failed)?;
        }
        for (id, error) in released.damaged {
            error!(
                entry = id.0,
                %error,
                "an entry of the queue whose attempt was cut off can't be read, and stays as it is: see postrider verifydata. postrider queue drop with its id removes it"
            );
        }
        let Some(next) = released.next else { return Ok(count) };
        from = next;
    }
}

fn commit_failed(error: EngineError) -> StoreError {
    StoreError::Engine(error)
}

/// The addresses at which this server takes mail of others.
pub(super) fn own_addresses(config: &Config) -> Vec<IpAddr> {
    let listeners = config.listeners.iter().filter(|listener| listener.protocol == Protocol::Smtp);
    let addresses = listeners.flat_map(|listener| &listener.addresses).map(std::net::SocketAddr::ip);
    addresses.filter(|address| !address.is_unspecified() && !address.is_loopback()).collect()
}

/// Tells the schedule of every domain of the shard for which something waits, a step at a time: the first ones are
/// delivered to while others are still being found.
pub(super) async fn find_waiting(shard: &Rc<Shard>) {
    let shared = &shard.shared;
    let range = queue::range_of(shard.id.0, shared.shards.len());
    let (mut from, end) = (*range.start(), *range.end());
    let mut found = 0_usize;
    while !shared.shutdown.is_stopping() {
        let step = shared
            .reads
            .run(move |reader| {
                queue::waiting(reader, from..=end).take(DOMAINS_MAX).collect::<Result<Vec<_>, _>>()
            })
            .await;
        let domains = match step {
            Ok(domains) => domains,
            Err(error) => {
                error!(%error, "the queue can't be read; it is tried again");
                sleep(PAUSE_AFTER_FAILURE).await;
                continue;
            }
        };
        let now = unix_now();
        for first in domains.iter().filter(|first| first.due < queue::UNDERWAY) {
            let notice = Notice { domain: first.domain, due: first.due, entry: None };
            shard.deliveries.schedule.borrow_mut().notify(notice, now);
        }
        shard.deliveries.changed.notify();
        found += domains.len();
        match domains.last().and_then(|last| last.domain.checked_add(1)) {
            Some(next) if domains.len() == DOMAINS_MAX && next <= end => from = next,
            _ => break,
        }
        sleep(PAUSE).await;
    }
    if found > 0 {
        info!(domains = found, "mail waits");
    }
    if let Some(problem) = shard.deliveries.connector.problem()
        && shard.id.0 == 0
    {
        warn!(%problem, "policies of MTA-STS and relays can't be used");
    }
}

/// Octets that nobody can know before, as text of letters and digits.
pub(crate) fn nonce() -> String {
    let mut octets = [0; 18];
    // Without randomness TLS fails before this is asked for.
    let _ = SystemRandom::new().fill(&mut octets);
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use postrider_storage::account::Content;
    use postrider_storage::engine::Engine;
    use postrider_storage::engine::memory::MemoryEngine;
    use postrider_storage::engine::{Batch, Space};
    use postrider_storage::ids::BlobId;
    use postrider_storage::keys;
    use postrider_storage::queue::{Attempt, HoldRules, NewQueued, NewRecipient};

    use super::*;

    /// An entry whose first attempt is under way.
    fn under_way(store: &Store, engine: &MemoryEngine, recipient: &str) -> QueueId {
        let queued =
            NewQueued::new(Content { blob: BlobId(1), size: 1 }, 1, vec![NewRecipient::new(recipient)]);
        let rules = HoldRules::load(&store.reader()).unwrap();
        let enqueued = queue::enqueue(|| store.new_queue_id(), queued, &rules).unwrap();
        engine.commit(enqueued.edit.batch, Durability::Synced).unwrap();
        let id = enqueued.entries[0].id;
        let claimed = queue::claim(&store.reader(), id, Attempt { now: 2, next: 3 }).unwrap().unwrap();
        engine.commit(claimed.edit.batch, Durability::Buffered).unwrap();
        id
    }

    #[test]
    fn what_may_have_arrived_is_what_was_noted_or_all_when_nothing_was() {
        for (noted, expected) in [(None, 2), (Some(0), 0), (Some(1), 1), (Some(2), 2)] {
            let engine = Arc::new(MemoryEngine::new());
            let store = Store::open(Arc::clone(&engine) as Arc<dyn Engine>).unwrap();
            let ids = ["r@one.example", "r@two.example"].map(|to| under_way(&store, &engine, to));
            let sent = noted.map(|count| ids[..count].iter().map(|id| (*id, 1)).collect());
            assert_eq!(release_claims(&store, sent.as_ref()).unwrap(), expected, "{noted:?}");
            assert_eq!(release_claims(&store, None).unwrap(), 0, "once");
            // Of another attempt than the one that was cut off, nothing is to be said.
            let id = under_way(&store, &engine, "r@three.example");
            assert_eq!(release_claims(&store, Some(&[(id, 2)].into())).unwrap(), 0);
        }
    }

    #[test]
    fn a_claimed_entry_that_is_damaged_keeps_neither_the_others_nor_the_start() {
        let engine = Arc::new(MemoryEngine::new());
        let store = Store::open(Arc::clone(&engine) as Arc<dyn Engine>).unwrap();
        let ids =
            ["r@one.example", "r@two.example", "r@three.example"].map(|to| under_way(&store, &engine, to));
        let mut batch = Batch::new();
        batch.insert(Space::Rows, keys::queue(ids[1]), b"?".to_vec());
        engine.commit(batch, Durability::Synced).unwrap();
        assert_eq!(release_claims(&store, None).unwrap(), 2);
        for id in [ids[0], ids[2]] {
            assert!(!queue::entry(&store.reader(), id).unwrap().unwrap().claimed);
        }
        // It is looked at again, and still in nobody's way.
        assert_eq!(release_claims(&store, None).unwrap(), 0);
    }
}
