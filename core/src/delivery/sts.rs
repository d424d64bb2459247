//! Policies of MTA-STS (RFC 8461): from the store, and fetched when the domain's record says that there is another.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use postrider_delivery::security::Sts;
use postrider_delivery::sts::{Announced, Found, Kept, Source, announced, fetched, known};
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::Policy;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::mta_sts;
use postrider_storage::rows::MtaStsRow;
use tracing::{info, warn};

use super::sts_fetch::{Fetched, fetch};
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

/// What a shard remembers of policies besides what the store keeps.
#[derive(Default)]
pub(super) struct Remembered {
    /// Until when policies are not fetched, while kept ones stand in: a host that hangs must not hold up each message.
    failed: RefCell<HashMap<Domain, i64>>,
    /// How often operators began or ended to have a policy forgotten: what was read or fetched before isn't written.
    forgotten: Cell<u64>,
    /// The domain whose policy is just being removed.
    forgetting: RefCell<Option<Domain>>,
}

impl Remembered {
    /// Until when the policy of a domain isn't fetched, since that failed a short while ago.
    pub(super) fn failed_until(&self, domain: &Domain, now: i64) -> Option<i64> {
        let until = self.failed.borrow().get(domain).copied();
        until.filter(|until| is_within_back_off(*until, now))
    }

    pub(super) fn note(&self, domain: &Domain, now: i64) {
        let mut failed = self.failed.borrow_mut();
        failed.retain(|_, until| is_within_back_off(*until, now));
        if failed.len() < FAILED_MAX {
            failed.insert(domain.clone(), now.saturating_add(BACKOFF));
        }
    }

    /// Takes that an operator has the policy of a domain forgotten: until [`Self::forgot`] nothing is written of it. One at a
    /// time is.
    pub(super) fn forget(&self, domain: &Domain) {
        self.failed.borrow_mut().remove(domain);
        self.forgetting.replace(Some(domain.clone()));
        self.forgotten.set(self.forgotten.get().wrapping_add(1));
    }

    /// It is removed: who reads it from now on finds none.
    pub(super) fn forgot(&self) {
        self.forgetting.take();
        self.forgotten.set(self.forgotten.get().wrapping_add(1));
    }

    /// Whether what was found out of a domain since a moment may be written.
    fn may_write(&self, domain: &Domain, since: u64) -> bool {
        self.forgotten.get() == since && !self.forgets(domain)
    }

    /// Whether the policy of a domain is just being removed.
    pub(super) fn forgets(&self, domain: &Domain) -> bool {
        self.forgetting.borrow().as_ref() == Some(domain)
    }
}

/// Whether a pause that ends then is under way. A clock that was set back doesn't prolong it: a domain would be without its
/// policy for as long.
fn is_within_back_off(until: i64, now: i64) -> bool {
    (1..=BACKOFF).contains(&until.saturating_sub(now))
}

/// What the store keeps of a domain, and what follows from it now.
pub(crate) struct Judged {
    /// As decisions know it.
    pub(crate) kept: Kept,
    /// When fetching failed last, as far as that is known.
    pub(crate) failed: Option<i64>,
    /// Until when it isn't tried again.
    pub(crate) waits_until: Option<i64>,
}

impl Judged {
    /// Judges a row, and until when the shard that delivers to the domain doesn't fetch its policy.
    pub(crate) fn new(row: &MtaStsRow, failed_until: Option<i64>, now: i64) -> Self {
        let is_valid = !row.backoff && now < row.valid_until;
        let policy = is_valid.then(|| Policy::parse(row.policy.as_bytes()).ok()).flatten();
        // What stands in is remembered by the shard, what doesn't by the row.
        let until = if row.backoff {
            Some(row.valid_until).filter(|until| is_within_back_off(*until, now))
        } else {
            failed_until.filter(|_| policy.is_some())
        };
        Self {
            failed: if row.backoff { Some(row.updated) } else { until.map(|until| until - BACKOFF) },
            waits_until: until,
            kept: Kept { id: row.record_id.clone(), policy, is_backing_off: until.is_some() },
        }
    }
}

/// The policy for mail to a domain. A kept one that has not expired stands in when no other can be had (RFC 8461
/// §5.1).
pub(super) async fn policy(shard: &Rc<Shard>, resolver: &Resolver, domain: &Domain, port: u16) -> Found {
    let now = unix_now();
    let remembered = &shard.deliveries.sts_remembered;
    let forgotten = remembered.forgotten.get();
    let row = match read(shard, domain).await {
        Ok(row) => row,
        // That is our own.
        Err(error) => return Sts::Unknown(error).into(),
    };
    let judge = |row: &MtaStsRow| Judged::new(row, remembered.failed_until(domain, now), now).kept;
    let questions = Questions::new(Rc::clone(resolver), QUESTIONS_MAX);
    let announced = announced(&questions, domain).await;
    let kept = row.as_ref().map(judge);
    let Some(found) = known(&announced, kept.as_ref()) else {
        // Only what is announced is fetched.
        let id = match &announced {
            Announced::Yes(record) => record.id.to_string(),
            Announced::No(_) | Announced::Unknown(_) => String::new(),
        };
        return renew(shard, resolver, (domain, port), id, row.zip(kept), forgotten).await;
    };
    if let (Source::Kept, Some(row)) = (found.source, row)
        && now >= row.used.saturating_add(USE_NOTED_EVERY)
    {
        write_unless_forgotten(shard, domain, &MtaStsRow { used: now, ..row }, forgotten).await;
    }
    found
}

async fn renew(
    shard: &Rc<Shard>,
    resolver: &Resolver,
    (domain, port): (&Domain, u16),
    id: String,
    kept: Option<(MtaStsRow, Kept)>,
    forgotten: u64,
) -> Found {
    let fetch = fetch(resolver, shard.deliveries.connector(), domain, port).await;
    let now = unix_now();
    let (row, kept) = kept.unzip();
    match fetch {
        Ok(fetch) => {
            let mode = fetch.policy.mode.word();
            info!(%domain, mode, %id, "the policy of MTA-STS was fetched");
            let inserted = row.map_or(now, |row| row.inserted);
            let row = MtaStsRow { inserted, ..row_of(&fetch, id, now) };
            write_unless_forgotten(shard, domain, &row, forgotten).await;
            fetched(Ok(fetch.policy), kept.as_ref())
        }
        Err(error) => {
            warn!(%domain, %error, kind = error.result_type(), "the policy of MTA-STS can't be fetched");
            let found = fetched(Err((error.result_type(), &error.to_string())), kept.as_ref());
            if found.source == Source::StandsIn {
                shard.deliveries.sts_remembered.note(domain, now);
                return found;
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
            write_unless_forgotten(shard, domain, &row, forgotten).await;
            found
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
    let forgotten = shard.deliveries.sts_remembered.forgotten.get();
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
    let row = MtaStsRow { inserted: kept.inserted, used: kept.used, ..row };
    write_unless_forgotten(shard, &domain, &row, forgotten).await;
    true
}

async fn read(shard: &Shard, domain: &Domain) -> Result<Option<MtaStsRow>, String> {
    let name = domain.as_str().to_owned();
    let row = shard.shared.reads.run(move |reader| mta_sts::get(reader, &name)).await;
    row.map_err(|error| format!("the kept policy can't be read: {error}"))
}

/// Keeps what was found out of a domain, unless operators had something forgotten since then: also while this waits for the
/// committer, as the removal may come before it there. When it can't be kept, it is fetched again.
async fn write_unless_forgotten(shard: &Shard, domain: &Domain, row: &MtaStsRow, since: u64) {
    let may_write = || shard.deliveries.sts_remembered.may_write(domain, since);
    let mut batch = Batch::new();
    let written = match mta_sts::put(&mut batch, domain.as_str(), row) {
        Ok(()) => commit::commit_if(&shard.shared.committer, batch, Durability::Synced, may_write)
            .await
            .map(drop)
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = written {
        warn!(%domain, %error, "a policy of MTA-STS can't be kept");
    }
}

/// Keeps a policy as one that was just read or fetched is.
#[cfg(test)]
pub(crate) async fn keep(shard: &Shard, domain: &Domain, row: &MtaStsRow) {
    let since = shard.deliveries.sts_remembered.forgotten.get();
    write_unless_forgotten(shard, domain, row, since).await;
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
            Judged::new(&row, None, NOW).kept
        };
        for (failed, expected) in
            [(NOW, true), (NOW - BACKOFF + 1, true), (NOW - BACKOFF, false), (NOW + YEAR, false)]
        {
            assert_eq!(kept(failed).is_backing_off, expected, "{}", failed - NOW);
            let noted = Remembered::default();
            let domain = Domain::parse("example.com").unwrap();
            noted.note(&domain, failed);
            assert_eq!(noted.failed_until(&domain, NOW).is_some(), expected, "{}", failed - NOW);
        }
    }

    #[test]
    fn what_was_found_out_before_a_policy_was_forgotten_is_not_written() {
        let remembered = Remembered::default();
        let [domain, other] = ["a.example", "b.example"].map(|name| Domain::parse(name).unwrap());
        let before = remembered.forgotten.get();
        assert!(remembered.may_write(&domain, before));
        remembered.forget(&domain);
        let meanwhile = remembered.forgotten.get();
        assert!(!remembered.may_write(&domain, before) && !remembered.may_write(&domain, meanwhile));
        assert!(remembered.may_write(&other, meanwhile));
        remembered.forgot();
        assert!(!remembered.may_write(&domain, meanwhile), "it may have read what was removed after that");
        assert!(remembered.may_write(&domain, remembered.forgotten.get()));
    }
}
