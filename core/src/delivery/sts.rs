//! Policies of MTA-STS (RFC 8461): from the store, and fetched when the domain's record says that there is another.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use postrider_delivery::security::Sts;
use postrider_delivery::tls_results::Fault;
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::Policy;
use postrider_proto::tlsrpt::ResultType;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::mta_sts;
use postrider_storage::rows::MtaStsRow;
use tracing::{info, warn};

use super::sts_fetch::{Announced, Fetched, NoRecord, announced, fetch};
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

/// Types of failure in reports (RFC 8460 §4.3.2.2), and the reason of one that isn't tried again yet.
const FETCH_ERROR: &str = "sts-policy-fetch-error";
const POLICY_INVALID: &str = "sts-policy-invalid";
const BACKING_OFF: &str = "back-off";

/// Domains of which a shard remembers that their policy couldn't be fetched.
const FAILED_MAX: usize = 4096;

/// Until when policies are not fetched, while kept ones stand in: a host that hangs must not hold up each message.
#[derive(Default)]
pub(super) struct Failed(RefCell<HashMap<Domain, i64>>);

impl Failed {
    fn is_recent(&self, domain: &Domain, now: i64) -> bool {
        self.0.borrow().get(domain).is_some_and(|until| is_within_back_off(*until, now))
    }

    fn note(&self, domain: &Domain, now: i64) {
        let mut failed = self.0.borrow_mut();
        failed.retain(|_, until| is_within_back_off(*until, now));
        if failed.len() < FAILED_MAX {
            failed.insert(domain.clone(), now.saturating_add(BACKOFF));
        }
    }
}

/// Whether a pause that ends then is under way. A clock that was set back doesn't prolong it: a domain would be without its
/// policy for as long.
fn is_within_back_off(until: i64, now: i64) -> bool {
    (1..=BACKOFF).contains(&until.saturating_sub(now))
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

    /// Whether it failed a short while ago.
    fn is_backing_off(&self, now: i64) -> bool {
        self.row.backoff && is_within_back_off(self.row.valid_until, now)
    }
}

/// A policy, and what went wrong with finding it, for reports.
pub(super) struct Found {
    pub(super) sts: Sts,
    pub(super) fault: Option<Fault>,
}

impl From<Sts> for Found {
    fn from(sts: Sts) -> Self {
        Self { sts, fault: None }
    }
}

/// With a fault, beside which a kept policy may stand in.
fn faulty(kept: Option<Policy>, otherwise: Sts, result_type: &str, reason: &str) -> Found {
    let (sts, suffix) = match kept {
        Some(policy) => (Sts::Policy(policy), "+fallback-to-cached-policy"),
        None => (otherwise, ""),
    };
    let fault = Fault::new(ResultType::parse(result_type), Some(&format!("{reason}{suffix}")));
    Found { sts, fault: Some(fault) }
}

/// The policy for mail to a domain. A kept one that has not expired stands in when no other can be had (RFC 8461
/// §5.1).
pub(super) async fn policy(shard: &Rc<Shard>, resolver: &Resolver, domain: &Domain, port: u16) -> Found {
    let now = unix_now();
    let kept = match read(shard, domain).await {
        Ok(kept) => kept.map(|row| Kept::new(row, now)),
        // That is our own.
        Err(error) => return Sts::Unknown(error).into(),
    };
    let questions = Questions::new(Rc::clone(resolver), QUESTIONS_MAX);
    let policy = |kept: Option<Kept>| kept.and_then(|kept| kept.policy);
    let record = match announced(&questions, domain).await {
        Announced::Yes(record) => record,
        Announced::No(NoRecord::Absent) => return policy(kept).map_or(Sts::None, Sts::Policy).into(),
        Announced::No(error) => {
            return faulty(policy(kept), Sts::None, POLICY_INVALID, &format!("the record: {error}"));
        }
        Announced::Unknown(reason) => {
            let told = format!("the record: {reason}");
            return faulty(policy(kept), Sts::Unknown(reason), FETCH_ERROR, &told);
        }
    };
    let id = record.id.to_string();
    match kept {
        Some(Kept { row, policy: Some(policy) }) if *row.record_id == *id => {
            if now >= row.used.saturating_add(USE_NOTED_EVERY) {
                write(shard, domain, &MtaStsRow { used: now, ..row }).await;
            }
            Sts::Policy(policy).into()
        }
        Some(kept) if kept.is_backing_off(now) => faulty(None, Sts::None, FETCH_ERROR, BACKING_OFF),
        Some(Kept { policy: Some(policy), .. }) if shard.deliveries.sts_failed.is_recent(domain, now) => {
            faulty(Some(policy), Sts::None, FETCH_ERROR, BACKING_OFF)
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
) -> Found {
    let fetched = fetch(resolver, shard.deliveries.connector(), domain, port).await;
    let now = unix_now();
    let inserted = kept.as_ref().map_or(now, |kept| kept.row.inserted);
    match fetched {
        Ok(fetched) => {
            let mode = fetched.policy.mode.word();
            info!(%domain, mode, %id, "the policy of MTA-STS was fetched");
            let row = row_of(&fetched, id, now);
            write(shard, domain, &MtaStsRow { inserted, ..row }).await;
            Sts::Policy(fetched.policy).into()
        }
        Err(error) => {
            warn!(%domain, %error, kind = error.result_type(), "the policy of MTA-STS can't be fetched");
            if let Some(policy) = kept.and_then(|kept| kept.policy) {
                shard.deliveries.sts_failed.note(domain, now);
                return faulty(Some(policy), Sts::None, error.result_type(), &error.to_string());
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
            faulty(None, Sts::None, error.result_type(), &error.to_string())
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// A clock that ran ahead must not leave a domain without its policy once it is right again.
    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_the_pause_after_a_failure() {
        const NOW: i64 = 1_780_000_000;
        const YEAR: i64 = 365 * 24 * 60 * 60;
        let kept = |failed: i64| {
            let row = MtaStsRow {
                inserted: failed,
                valid_until: failed + BACKOFF,
                updated: failed,
                used: failed,
                backoff: true,
                record_id: "1".into(),
                policy: Box::default(),
            };
            Kept::new(row, NOW)
        };
        for (failed, expected) in
            [(NOW, true), (NOW - BACKOFF + 1, true), (NOW - BACKOFF, false), (NOW + YEAR, false)]
        {
            assert_eq!(kept(failed).is_backing_off(NOW), expected, "{}", failed - NOW);
            let noted = Failed::default();
            let domain = Domain::parse("example.com").unwrap();
            noted.note(&domain, failed);
            assert_eq!(noted.is_recent(&domain, NOW), expected, "{}", failed - NOW);
        }
    }
}
