//! Policies of MTA-STS (RFC 8461): from the store, and fetched when the domain's record says that there is another.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use postrider_delivery::security::Sts;
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::Policy;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::mta_sts;
use postrider_storage::rows::MtaStsRow;
use tracing::{info, warn};

use super::sts_fetch::{Announced, Fetched, announced, fetch};
use crate::clock::unix_now;
use crate::commit;
use crate::lookup::{Questions, Resolver};
use crate::shard::Shard;

/// Seconds until a policy that couldn't be fetched is tried again (RFC 8461 §3.3 asks for some minutes).
const BACKOFF: i64 = 5 * 60;
/// Seconds after which it is noted again that a policy is used.
const USE_NOTED_EVERY: i64 = 24 * 60 * 60;
/// Questions to DNS for the record.
const QUESTIONS_MAX: u32 = 20;

/// Domains of which a shard remembers that their policy couldn't be fetched.
const FAILED_MAX: usize = 4096;

/// Until when policies are not fetched, while kept ones stand in: a host that hangs must not hold up each message.
#[derive(Default)]
pub(super) struct Failed(RefCell<HashMap<Domain, i64>>);

impl Failed {
    fn is_recent(&self, domain: &Domain, now: i64) -> bool {
        self.0.borrow().get(domain).is_some_and(|until| now < *until)
    }

    fn note(&self, domain: &Domain, now: i64) {
        let mut failed = self.0.borrow_mut();
        failed.retain(|_, until| now < *until);
        if failed.len() < FAILED_MAX {
            failed.insert(domain.clone(), now.saturating_add(BACKOFF));
        }
    }
}

/// What is kept of a domain, if it can still be used.
struct Kept {
    row: MtaStsRow,
    policy: Option<Policy>,
}

impl Kept {
    fn new(row: MtaStsRow, now: i64) -> Self {
        let valid = !row.backoff && now < row.valid_until;
        let policy = valid.then(|| Policy::parse(row.policy.as_bytes()).ok()).flatten();
        Self { row, policy }
    }
}

/// The policy for mail to a domain. A kept one that has not expired stands in when no other can be had (RFC 8461
/// §5.1).
pub(super) async fn policy(shard: &Rc<Shard>, resolver: &Resolver, domain: &Domain, port: u16) -> Sts {
    let now = unix_now();
    let kept = match read(shard, domain).await {
        Ok(kept) => kept.map(|row| Kept::new(row, now)),
        Err(error) => return Sts::Unknown(error),
    };
    let questions = Questions::new(Rc::clone(resolver), QUESTIONS_MAX);
    let fallback = |kept: Option<Kept>, otherwise: Sts| match kept.and_then(|kept| kept.policy) {
        Some(policy) => Sts::Policy(policy),
        None => otherwise,
    };
    let record = match announced(&questions, domain).await {
        Announced::Yes(record) => record,
        Announced::No(_) => return fallback(kept, Sts::None),
        Announced::Unknown(reason) => return fallback(kept, Sts::Unknown(reason)),
    };
    let id = record.id.to_string();
    match kept {
        Some(Kept { row, policy: Some(policy) }) if *row.record_id == *id => {
            if now >= row.used.saturating_add(USE_NOTED_EVERY) {
                write(shard, domain, &MtaStsRow { used: now, ..row }).await;
            }
            Sts::Policy(policy)
        }
        // It failed a short while ago.
        Some(kept) if kept.row.backoff && now < kept.row.valid_until => Sts::None,
        Some(Kept { policy: Some(policy), .. }) if shard.deliveries.sts_failed.is_recent(domain, now) => {
            Sts::Policy(policy)
        }
        kept => renew(shard, resolver, domain, port, id, kept).await,
    }
}

async fn renew(
    shard: &Rc<Shard>,
    resolver: &Resolver,
    domain: &Domain,
    port: u16,
    id: String,
    kept: Option<Kept>,
) -> Sts {
    let fetched = fetch(resolver, shard.deliveries.connector(), domain, port).await;
    let now = unix_now();
    let inserted = kept.as_ref().map_or(now, |kept| kept.row.inserted);
    match fetched {
        Ok(fetched) => {
            let mode = fetched.policy.mode.word();
            info!(%domain, mode, %id, "the policy of MTA-STS was fetched");
            let row = row_of(&fetched, id, now);
            write(shard, domain, &MtaStsRow { inserted, ..row }).await;
            Sts::Policy(fetched.policy)
        }
        Err(error) => {
            warn!(%domain, %error, kind = error.result_type(), "the policy of MTA-STS can't be fetched");
            if let Some(policy) = kept.and_then(|kept| kept.policy) {
                shard.deliveries.sts_failed.note(domain, now);
                return Sts::Policy(policy);
            }
            let row = MtaStsRow {
                inserted: now,
                valid_until: now.saturating_add(BACKOFF),
                updated: now,
                used: now,
                backoff: true,
                record_id: id.into(),
                policy: Box::default(),
            };
            write(shard, domain, &row).await;
            Sts::None
        }
    }
}

/// A policy as it is kept.
fn row_of(fetched: &Fetched, id: String, now: i64) -> MtaStsRow {
    MtaStsRow {
        inserted: now,
        valid_until: now.saturating_add(i64::from(fetched.policy.max_age)),
        updated: now,
        used: now,
        backoff: false,
        record_id: id.into(),
        policy: String::from_utf8_lossy(&fetched.text).into(),
    }
}

/// Fetches a policy anew that is kept, though nobody needs it now, and says whether it came. When it doesn't, the
/// kept one stays until it ends (RFC 8461 §3.3).
pub(crate) async fn refresh(shard: &Rc<Shard>, domain: &str) -> bool {
    let (Some(resolver), Ok(domain)) = (&shard.resolver, Domain::parse(domain)) else { return false };
    let questions = Questions::new(Rc::clone(resolver), QUESTIONS_MAX);
    let record = match announced(&questions, &domain).await {
        Announced::Yes(record) => record,
        Announced::No(_) | Announced::Unknown(_) => return false,
    };
    let port = shard.shared.config.delivery.policy_port;
    let fetched = match fetch(resolver, shard.deliveries.connector(), &domain, port).await {
        Ok(fetched) => fetched,
        Err(error) => {
            info!(%domain, %error, "the policy of MTA-STS can't be fetched anew");
            return false;
        }
    };
    // It may have been used, or removed, meanwhile.
    let Ok(Some(kept)) = read(shard, &domain).await else { return false };
    let row = row_of(&fetched, record.id.to_string(), unix_now());
    write(shard, &domain, &MtaStsRow { inserted: kept.inserted, used: kept.used, ..row }).await;
    true
}

async fn read(shard: &Shard, domain: &Domain) -> Result<Option<MtaStsRow>, String> {
    let name = domain.as_str().to_owned();
    let row = shard.shared.reads.run(move |reader| mta_sts::get(reader, &name)).await;
    row.map_err(|error| format!("the kept policy can't be read: {error}"))
}

/// Keeps a policy; when that fails, it is fetched again.
async fn write(shard: &Shard, domain: &Domain, row: &MtaStsRow) {
    let mut batch = Batch::new();
    let written = match mta_sts::put(&mut batch, domain.as_str(), row) {
        Ok(()) => commit::commit(&shard.shared.committer, batch, Durability::Synced)
            .await
            .map(drop)
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = written {
        warn!(%domain, %error, "a policy of MTA-STS can't be kept");
    }
}
