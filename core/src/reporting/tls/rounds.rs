//! The daily round: who gets a report on the days that are over.
//!
//! Always holds: results leave in the batch that queues their report, or for which no report was due; what can't be
//! found out or written now stays for the next round, until it is too old.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;
use std::time::Duration;

use postrider_proto::address::{Address, Domain};
use postrider_proto::tlsrpt::{PolicyReport, add};
use postrider_storage::account::hash;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::reader::Reader;
use postrider_storage::rows::TlsResultRow;
use postrider_storage::store::StoreError;
use postrider_storage::tls_results::{self, DAY_SECONDS, DAYS_KEPT, Order, TlsResult, TlsResultId, day_of};
use tracing::{info, warn};

use super::lookup;
use super::report::{About, draft, write};
use crate::clock::unix_now;
use crate::commit;
use crate::metrics::Upkeep;
use crate::reporting::addresses;
use crate::reporting::outgoing::{self, Unsent};
use crate::reporting::pace::{Pace, Real, interval};
use crate::shard::Shard;

/// Seconds after midnight from which reports are sent, and for how long the first may wait.
const FIRST: i64 = 4 * 60;
const FIRST_SPREAD: i64 = 2 * 60;
/// Seconds after which a round that failed begins again.
const RETRY: i64 = 10 * 60;
/// The time over which reports are spread (RFC 8460 §4.1).
const SPREAD: Duration = Duration::from_secs(4 * 3600);
/// The pause between two steps that send nothing.
const STEP_PAUSE: Duration = Duration::from_millis(5);
/// Rows that one step looks at.
const ROWS_MAX: usize = 1000;
/// Rows of one domain that one report sums; those of a host are of all domains whose mail it takes. More of them are
/// in another report.
const DOMAIN_ROWS_MAX: usize = 20_000;

/// Why a round or a domain of it was given up for now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pool(#[from] crate::runtime::PoolError),
    #[error(transparent)]
    Commit(#[from] postrider_storage::committer::CommitError),
    #[error("DNS doesn't say whether reports are wanted: {0}")]
    Dns(String),
    #[error(transparent)]
    Unsent(#[from] Unsent),
    #[error("the server stops")]
    Stops,
}

/// When the round after a time begins. `chance` is any number.
fn next_round(now: i64, chance: u64) -> i64 {
    let midnight = (now.div_euclid(DAY_SECONDS) + 1) * DAY_SECONDS;
    midnight + FIRST + drawn(chance)
}

/// When a round that was due at a time still is. Where the clock was set back by days, that would be never.
fn still_due(due: i64, now: i64, chance: u64) -> i64 {
    due.min(next_round(now, chance))
}

fn drawn(chance: u64) -> i64 {
    i64::try_from(chance % FIRST_SPREAD.unsigned_abs()).unwrap_or(0)
}

/// Sends reports, as long as the server runs: of days that are over some minutes after the start, and then each day
/// after midnight.
pub(super) async fn run(shard: &Rc<Shard>) {
    let pace = Real(shard);
    let now = unix_now();
    let chance = hash(shard.shared.config.hostname.as_str().as_bytes()) ^ now.unsigned_abs();
    // Before its own time a day may still be written.
    let early = now.rem_euclid(DAY_SECONDS) < FIRST + FIRST_SPREAD;
    let mut due = if early { next_round(now - DAY_SECONDS, chance) } else { now + FIRST + drawn(chance) };
    loop {
        // In pieces, since clocks are set, too.
        while pace.now() < due {
            due = still_due(due, pace.now(), chance);
            let wait = due.saturating_sub(pace.now()).clamp(1, 600);
            if !pace.pause(Duration::from_secs(wait.unsigned_abs())).await {
                return;
            }
        }
        match round(shard, &pace).await {
            Ok(()) => {}
            Err(Trouble::Stops) => return,
            Err(error) => {
                warn!(%error, "reports on TLS are sent later");
                shard.recorder.increment(shard.shared.metrics.reporting.tls_errors);
                due = pace.now() + RETRY;
                continue;
            }
        }
        let now = pace.now();
        due = next_round(now, chance ^ now.unsigned_abs());
    }
}

/// Looks after all days that are over.
pub(crate) async fn round(shard: &Rc<Shard>, pace: &impl Pace) -> Result<(), Trouble> {
    let today = day_of(pace.now());
    forget(shard, pace, today.saturating_sub(DAYS_KEPT)).await?;
    let mut day = 0;
    while let Some(first) = read(shard, move |reader| tls_results::first_day(reader, day)).await? {
        if first >= today {
            break;
        }
        if !outgoing::can_sign(shard).await {
            return Ok(());
        }
        of_day(shard, pace, first).await?;
        day = first + 1;
    }
    Ok(())
}

/// Removes all.
pub(super) async fn forget_all(shard: &Rc<Shard>) {
    match forget(shard, &Real(shard), u32::MAX).await {
        Ok(()) | Err(Trouble::Stops) => {}
        Err(error) => warn!(%error, "results of TLS stay until the next start"),
    }
}

/// Removes what is too old.
async fn forget(shard: &Rc<Shard>, pace: &impl Pace, before: u32) -> Result<(), Trouble> {
    loop {
        let (batch, removed) =
            read(shard, move |reader| tls_results::remove_before(reader, before, ROWS_MAX)).await?;
        commit(shard, batch).await?;
        let counter = shard.shared.metrics.upkeep.removed.at([Upkeep::TlsResults as usize]);
        shard.recorder.add(counter, removed as u64);
        if removed < ROWS_MAX {
            return Ok(());
        }
        pause(pace, STEP_PAUSE).await?;
    }
}

/// Looks after one day: recipient domains first, then hosts.
async fn of_day(shard: &Rc<Shard>, pace: &impl Pace, day: u32) -> Result<(), Trouble> {
    let always = shard.shared.config.reports.tls_when_all_succeed;
    let pause_after_report = interval(SPREAD, candidates(shard, pace, day, always).await?);
    for order in [Order::ByRecipient, Order::ByPolicy] {
        let mut after: Option<Box<str>> = None;
        loop {
            let from = after.clone();
            let next = move |reader: &Reader| tls_results::next_domain(reader, day, order, from.as_deref());
            let Some(domain) = read(shard, next).await? else { break };
            let wait = match of_domain(shard, pace.now(), day, order, &domain).await {
                Ok(0) => STEP_PAUSE,
                Ok(_) => pause_after_report,
                Err(error) => {
                    warn!(%domain, %error, "a report on TLS is tried again in the next round");
                    shard.recorder.increment(shard.shared.metrics.reporting.tls_errors);
                    STEP_PAUSE
                }
            };
            pause(pace, wait).await?;
            after = Some(domain);
        }
    }
    Ok(())
}

/// How many domains may get a report of a day.
async fn candidates(shard: &Rc<Shard>, pace: &impl Pace, day: u32, always: bool) -> Result<usize, Trouble> {
    let mut domains = HashSet::new();
    let mut from: Option<TlsResultId> = None;
    loop {
        let after = from.take();
        let step = move |reader: &Reader| {
            let (mut found, mut last) = (Vec::new(), None);
            let rows = tls_results::after(reader, after.as_ref()).take(ROWS_MAX);
            for row in rows {
                let (id, row) = row?;
                if id.day > day {
                    return Ok((found, None));
                }
                if id.day == day && is_reason(&row, always) {
                    found.extend([&id.recipient, &id.policy_domain].map(|domain| hash(domain.as_bytes())));
                }
                last = Some(id);
            }
            Ok((found, last))
        };
        let (found, last) = read(shard, step).await?;
        domains.extend(found);
        if last.is_none() {
            return Ok(domains.len());
        }
        from = last;
        pause(pace, STEP_PAUSE).await?;
    }
}

/// Whether results are worth a report.
fn is_reason(row: &TlsResultRow, always: bool) -> bool {
    row.is_reason && (always || row.has_failures())
}

/// Looks after a domain; gives how many reports were queued.
async fn of_domain(
    shard: &Rc<Shard>,
    now: i64,
    day: u32,
    order: Order,
    domain: &str,
) -> Result<usize, Trouble> {
    let always = shard.shared.config.reports.tls_when_all_succeed;
    let name = domain.to_owned();
    let has_reason = move |reader: &Reader| {
        for row in tls_results::of(reader, day, order, &name).take(DOMAIN_ROWS_MAX) {
            if is_reason(&row?.1, always) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let to = match (read(shard, has_reason).await?, Domain::parse(domain)) {
        (true, Ok(domain)) => {
            let all = lookup::mailboxes(shard, &domain).await.map_err(Trouble::Dns)?;
            addresses::wanted(shard, all, now).await?
        }
        _ => Vec::new(),
    };
    let name = domain.to_owned();
    let sums = read(shard, {
        let to: Vec<Box<str>> = to.iter().map(|address| address.to_string().into()).collect();
        move |reader| sum_up(reader, (day, order, &name), &to, always)
    });
    let Summed { reports, done } = sums.await?;
    let (Some(contact), Ok(domain)) = (outgoing::sender(shard), Domain::parse(domain)) else {
        commit(shard, done).await?;
        return Ok(0);
    };
    if reports.is_empty() {
        commit(shard, done).await?;
        return Ok(0);
    }
    let count = reports.len();
    let mut done = Some(done);
    for (number, (places, policies)) in reports.into_iter().enumerate() {
        let to: Vec<Address> = places.iter().filter_map(|place| to.get(*place).cloned()).collect();
        let submitter = shard.shared.config.hostname.domain();
        let about = About { day, domain: &domain, submitter, contact: &contact, to: &to };
        let written = write(&about, policies);
        let texts: Vec<Box<str>> = to.iter().map(|address| address.to_string().into()).collect();
        // With the last of them all is done; until then, who has had one is noted with it.
        let also = match done.take_if(|_| number + 1 == count) {
            Some(done) => done,
            None => {
                let (name, texts) = (domain.to_string(), texts.clone());
                read(shard, move |reader| tell(reader, (day, order, &name), &texts)).await?
            }
        };
        outgoing::send(shard, draft(&about, &written, now), also).await?;
        info!(%domain, to = texts.join(" "), day, "a report on TLS is queued");
        shard.recorder.increment(shard.shared.metrics.reporting.tls_queued);
    }
    Ok(count)
}

/// What is reported of a domain.
struct Summed {
    /// For addresses, by their places: what they are told. Addresses that are told the same get one report.
    reports: Vec<(Vec<usize>, Vec<PolicyReport>)>,
    /// What takes the results away when that is done, and puts those of hosts into the order of hosts.
    done: Batch,
}

fn sum_up(
    reader: &Reader,
    (day, order, domain): (u32, Order, &str),
    to: &[Box<str>],
    always: bool,
) -> Result<Summed, StoreError> {
    let mut done = Batch::new();
    let mut sums: Vec<(bool, Vec<PolicyReport>)> = vec![(false, Vec::new()); to.len()];
    let mut hosts: Vec<TlsResult> = Vec::new();
    for row in tls_results::of(reader, day, order, domain).take(DOMAIN_ROWS_MAX) {
        let (id, row) = row?;
        for (address, (has_reason, sum)) in to.iter().zip(&mut sums) {
            if row.told.contains(address) {
                continue;
            }
            *has_reason |= is_reason(&row, always);
            for policy in &row.policies {
                add_to(sum, policy.clone());
            }
        }
        tls_results::remove(&mut done, &id);
        if order == Order::ByRecipient && id.is_host {
            hosts.push((TlsResultId { order: Order::ByPolicy, ..id }, row));
        }
    }
    let mut reports: Vec<(Vec<usize>, Vec<PolicyReport>)> = Vec::new();
    let mut told = BTreeSet::new();
    for (place, (has_reason, sum)) in sums.into_iter().enumerate() {
        if !has_reason {
            continue;
        }
        told.insert(place);
        match reports.iter_mut().find(|(_, known)| *known == sum) {
            Some((places, _)) => places.push(place),
            None => reports.push((vec![place], sum)),
        }
    }
    for (id, row) in hosts {
        let told = told.iter().filter_map(|place| to.get(*place).cloned()).collect();
        tls_results::put(&mut done, &id, &TlsResultRow { told, ..row });
    }
    Ok(Summed { reports, done })
}

/// The batch that notes that addresses have had the results of a domain.
fn tell(
    reader: &Reader,
    (day, order, domain): (u32, Order, &str),
    to: &[Box<str>],
) -> Result<Batch, StoreError> {
    let mut batch = Batch::new();
    for row in tls_results::of(reader, day, order, domain).take(DOMAIN_ROWS_MAX) {
        let (id, mut row) = row?;
        row.told.extend(to.iter().cloned());
        row.told.sort();
        row.told.dedup();
        tls_results::put(&mut batch, &id, &row);
    }
    Ok(batch)
}

/// Sums the policies of each policy domain, which has its own bounds.
fn add_to(sum: &mut Vec<PolicyReport>, policy: PolicyReport) {
    let of_same = |known: &PolicyReport| known.policy_domain == policy.policy_domain;
    let mut same: Vec<PolicyReport> = sum.extract_if(.., |known| of_same(known)).collect();
    add(&mut same, policy);
    sum.append(&mut same);
}

async fn pause(pace: &impl Pace, time: Duration) -> Result<(), Trouble> {
    if pace.pause(time).await { Ok(()) } else { Err(Trouble::Stops) }
}

/// Reads on the worker pool.
async fn read<T: Send + 'static>(
    shard: &Shard,
    work: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Trouble> {
    let store = std::sync::Arc::clone(&shard.shared.store);
    Ok(shard.shared.pool.run(move || work(&store.reader())).await??)
}

/// What is lost of this is done again.
async fn commit(shard: &Shard, batch: Batch) -> Result<(), Trouble> {
    if !batch.is_empty() {
        commit::commit(&shard.shared.committer, batch, Durability::Buffered).await?;
    }
    Ok(())
}
