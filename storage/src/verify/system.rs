//! Invariants of what belongs to no account: format, contents, to-do lists.

use super::account::unknown_tables;
use super::{Counts, Report, queue, reports, webhooks};
use crate::blobs::CHUNK_OCTETS;
use crate::directory::removed_account;
use crate::engine::Space;
use crate::ids::{AccountId, BlobId, EmailId, QueueId};
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{AclRow, BlobRow, EvaluationRow, FormatRow, ReportSuppressionRow, TlsResultRow};
use crate::store::{FORMAT, StoreError};
use crate::tls_results::Order;

/// How many chunks are read between two calls of `progress`.
const PROGRESS_CHUNKS: u64 = 1024;

pub(super) fn check(
    reader: &Reader,
    report: &mut Report,
    progress: &mut dyn FnMut(&Counts),
) -> Result<(), StoreError> {
    match reader.get(&keys::format())? {
        Some(row) => {
            let row = report.read(FormatRow::decode(&row), "FORMAT")?;
            report.check(row.is_none_or(|row| row.format <= FORMAT), "FORMAT", "is of a newer program");
            report.check(row.is_none_or(|row| row.converting == 0), "FORMAT", "is being converted");
        }
        None => report.violation("FORMAT", "is missing"),
    }
    chunks(reader, report, progress)?;
    blobs(reader, report)?;
    references(reader, report)?;
    to_dos(reader, report)?;
    queue::check(reader, report)?;
    webhooks::check(reader, report)?;
    shared(reader, report)?;
    evaluations(reader, report)?;
    tls_results(reader, report)?;
    report_suppressions(reader, report)?;
    reports::check(reader, report)?;
    const TABLES: [u8; 33] = [
        table::FORMAT,
        table::BLOB,
        table::BLOBREF,
        table::BLOBGC,
        table::BLOBPENDING,
        table::ERASE,
        table::DROP,
        table::SHARED,
        table::QUEUE,
        table::QUEUERCPT,
        table::QUEUEDUE,
        table::QUEUEOWNER,
        table::CLAIMED,
        table::QUEUEPREFIX,
        table::EVALUATION,
        table::HOLDRULE,
        table::RETIRED,
        table::SUPPRESSION,
        table::STRIKES,
        table::MTASTS,
        table::TLSRESULT,
        table::REPORT,
        table::REPORTKNOWN,
        table::REPORTTODO,
        table::REPORTTEXT,
        table::REPORTSUPPRESS,
        table::HOOK,
        table::HOOKDUE,
        table::HOOKABOUT,
        table::HOOKRETIRED,
        table::FROMID,
        table::QUEUEMETA,
        table::INCOMINGREPORT,
    ];
    unknown_tables(reader, SYSTEM, report, |table| {
        TABLES.contains(&table) || (table::DIRECTORY_FIRST..=table::DIRECTORY_LAST).contains(&table)
    })
}

/// Evaluations are readable, and in the place of their report.
fn evaluations(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(SYSTEM, table::EVALUATION)) {
        let (key, value) = row?;
        let Some((group, id)) = report.read(keys::evaluation_parts(&key), "EVALUATION")? else { continue };
        report.counts.evaluations += 1;
        let name = format_args!("evaluation {} {}", id.time, id.blob.0).to_string();
        let Some(row) = report.read(EvaluationRow::decode(&value), &name)? else { continue };
        report.check(row.policy_domain == group.domain, &name, "is in the place of another domain's");
    }
    Ok(())
}

/// Results of TLS are readable. Those of a recipient domain itself are in the first order alone, and nobody was told of
/// what is still there.
fn tls_results(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(SYSTEM, table::TLSRESULT)) {
        let (key, value) = row?;
        let Some(id) = report.read(keys::tls_result_id(&key), "TLSRESULT")? else { continue };
        report.counts.tls_results += 1;
        let place = format!("TLS results of {} for {} on day {}", id.policy_domain, id.recipient, id.day);
        report.check(id.is_host || id.order == Order::ByRecipient, &place, "are in the order of hosts");
        report.check(id.is_host || id.policy_domain == id.recipient, &place, "are of two domains");
        let Some(row) = report.read(TlsResultRow::decode(&value), &place)? else { continue };
        report.check(
            row.told.is_empty() || id.order == Order::ByPolicy,
            &place,
            "were told before they were",
        );
    }
    Ok(())
}

/// Addresses that get no reports are readable, and in lower case.
fn report_suppressions(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(SYSTEM, table::REPORTSUPPRESS)) {
        let (key, value) = row?;
        let address = keys::report_suppression_address(&key);
        let Some(address) = report.read(address, "REPORTSUPPRESS")? else { continue };
        let place = format!("address {address} that gets no reports");
        report.check(address == address.to_lowercase(), &place, "is not in lower case");
        report.read(ReportSuppressionRow::decode(&value), &place)?;
    }
    Ok(())
}

/// What the index says is shared is shared.
fn shared(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(SYSTEM, table::SHARED)) {
        let (key, _) = row?;
        let Some((who, owner, mailbox)) = report.read(keys::shared_parts(&key), "SHARED")? else { continue };
        if reader.get(&removed_account(owner))?.is_some() {
            // Its rows go in pieces.
            continue;
        }
        let place = format!("account {owner} mailbox {mailbox}");
        let acl = reader.get(&keys::acl(owner, mailbox))?;
        let acl = acl.map_or(Ok(AclRow::default()), |row| AclRow::decode(&row));
        if let Some(acl) = report.read(acl, &place)? {
            let shared = acl.shared_with(owner).any(|other| other == who);
            report.check(shared, place, format_args!("is listed as shared to {who:?}, and isn't"));
        }
    }
    Ok(())
}

/// Whether the collector, now or after recovery, will look at a content.
fn to_collect(reader: &Reader, blob: BlobId) -> Result<bool, StoreError> {
    let listed = reader.prefix(&keys::blob_gcs(blob)).next().transpose()?.is_some();
    Ok(listed || reader.get(&keys::blob_pending(blob))?.is_some())
}

/// What the chunks of one content add up to.
struct Summed {
    blob: BlobId,
    chunks: u32,
    octets: u64,
}

fn chunks(reader: &Reader, report: &mut Report, progress: &mut dyn FnMut(&Counts)) -> Result<(), StoreError> {
    let mut summed: Option<Summed> = None;
    for row in reader.snapshot().prefix(Space::Blobs, &[]) {
        let (key, value) = row?;
        let Some((blob, number)) = report.read(keys::chunk_parts(&key), "blobs")? else { continue };
        report.counts.chunks += 1;
        report.counts.octets += value.len() as u64;
        if report.counts.chunks.is_multiple_of(PROGRESS_CHUNKS) {
            progress(&report.counts);
        }
        if let Some(done) = summed.take_if(|sum| sum.blob != blob) {
            sum_up(reader, &done, report)?;
        }
        let sum = summed.get_or_insert(Summed { blob, chunks: 0, octets: 0 });
        let place = format!("blob {}", blob.0);
        report.check(number == sum.chunks, &place, format_args!("lacks a chunk before {number}"));
        report.check(
            sum.octets == u64::from(sum.chunks) * CHUNK_OCTETS as u64,
            &place,
            format_args!("has a short chunk before {number}"),
        );
        report.check(!value.is_empty() && value.len() <= CHUNK_OCTETS, &place, "has a chunk of wrong size");
        sum.chunks += 1;
        sum.octets += value.len() as u64;
    }
    summed.map_or(Ok(()), |sum| sum_up(reader, &sum, report))
}

fn sum_up(reader: &Reader, sum: &Summed, report: &mut Report) -> Result<(), StoreError> {
    let place = format!("blob {}", sum.blob.0);
    match report.read(reader.blob(sum.blob), &place)? {
        Some(Some(row)) => report.check(
            (row.chunks, row.size) == (sum.chunks, sum.octets),
            &place,
            format_args!(
                "should have {} chunks and {} octets, but has {} and {}",
                row.chunks, row.size, sum.chunks, sum.octets
            ),
        ),
        Some(None) => {
            let known = to_collect(reader, sum.blob)?;
            report.check(known, &place, "has chunks, but no BLOB row, and nothing will collect it");
        }
        None => {}
    }
    Ok(())
}

fn blobs(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(SYSTEM, table::BLOB)) {
        let (key, value) = row?;
        let Some([id]) = report.read(keys::numbers(&key, [8]), "BLOB")? else { continue };
        let blob = BlobId(id);
        let place = format!("blob {id}");
        report.counts.blobs += 1;
        if let Some(row) = report.read(BlobRow::decode(&value), &place)? {
            let chunks = row.size.div_ceil(CHUNK_OCTETS as u64);
            report.check(u64::from(row.chunks) == chunks, &place, "has not the chunks that its size needs");
            let last = row.chunks.checked_sub(1).map(|last| keys::chunk(blob, last));
            let complete = match last {
                Some(last) => reader.snapshot().contains(Space::Blobs, &last)?,
                None => true,
            };
            report.check(complete, &place, "lacks its last chunk");
        }
        let used = reader.prefix(&keys::blob_refs(blob)).next().transpose()?.is_some();
        let known = used || to_collect(reader, blob)?;
        report.check(known, &place, "is used by nothing, and nothing will collect it");
    }
    for row in reader.prefix(&keys::of_table(SYSTEM, table::BLOBGC)) {
        let (key, _) = row?;
        // Earlier versions listed a content once, without its use; the collector takes both.
        if keys::numbers(&key, [8]).is_err() {
            report.read(keys::numbers(&key, [8, 4, 8]), "blob to collect")?;
        }
        report.counts.blobs_to_collect += 1;
    }
    for row in reader.prefix(&keys::of_table(SYSTEM, table::BLOBPENDING)) {
        report.read(keys::numbers(&row?.0, [8]), "blob to collect")?;
        report.counts.blobs_to_collect += 1;
    }
    Ok(())
}

fn references(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(SYSTEM, table::BLOBREF)) {
        let (key, _) = row?;
        let Some([blob, owner, user]) = report.read(keys::numbers(&key, [8, 4, 8]), "BLOBREF")? else {
            continue;
        };
        let place = format!("blob {blob} reference of {owner}/{user}");
        report.check(reader.get(&keys::blob(BlobId(blob)))?.is_some(), &place, "is to no content");
        let used = match u32::try_from(owner).ok().and_then(AccountId::new) {
            Some(account) => report
                .read(reader.email(account, EmailId(user)), &place)?
                .flatten()
                .is_some_and(|email| email.blob == BlobId(blob)),
            None => report
                .read(crate::queue::entry(reader, QueueId(user)), &place)?
                .flatten()
                .is_some_and(|entry| entry.blob == BlobId(blob)),
        };
        report.check(used, &place, "is of nobody that uses it");
    }
    Ok(())
}

fn to_dos(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for number in [table::ERASE, table::DROP] {
        for account in reader.accounts_in(number) {
            let Some(account) = report.read(account, "to-do list")? else { continue };
            let exists = report.read(reader.head(account), "to-do list")?.flatten().is_some();
            let removed = reader.get(&removed_account(account))?.is_some();
            report.check(
                exists || removed,
                format!("account {account}"),
                format_args!("is in the to-do table {number:#04x}, but has no rows"),
            );
        }
    }
    Ok(())
}
