//! Invariants of the queue, and of what is kept for sending.

use super::Report;
use crate::ids::{QueueId, RuleId};
use crate::keys::{self, SYSTEM, table};
use crate::queue::suppression::{STRIKES_MAX, base_address};
use crate::queue::{self, decode_prefix, domain_hash, domain_of, next_rule, place};
use crate::reader::Reader;
use crate::rows::decode_marked_text;
use crate::rows::{
    FromIdRow, HoldRuleRow, MtaStsRow, QueueRow, RecipientRow, RetiredRow, StrikesRow, SuppressionRow,
};
use crate::store::StoreError;

pub(super) fn check(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(SYSTEM, table::QUEUE)) {
        let (key, value) = row?;
        let Some([id]) = report.read(keys::numbers(&key, [8]), "QUEUE")? else { continue };
        report.counts.queued += 1;
        let place = format!("queued message {id}");
        if let Some(row) = report.read(QueueRow::decode(&value), &place)? {
            entry(reader, QueueId(id), &row, &place, report)?;
        }
    }
    recipients(reader, report)?;
    indices(reader, report)?;
    if reader.prefix(&keys::of_table(SYSTEM, table::QUEUEDUE_V1)).next().transpose()?.is_some() {
        report.violation("queue", "has rows of the schedule of format 1");
    }
    hold_rules(reader, report)?;
    known(reader, report)
}

/// An entry has all its rows, and they say what it says.
fn entry(
    reader: &Reader,
    id: QueueId,
    row: &QueueRow,
    place: &str,
    report: &mut Report,
) -> Result<(), StoreError> {
    let has = |key: keys::Key| -> Result<bool, StoreError> { Ok(reader.get(&key)?.is_some()) };
    let referred = has(keys::blob_ref(row.blob, SYSTEM, id.0))?;
    report.check(referred, place, "is not listed as user of its content");
    if let Some(blob) = report.read(reader.blob(row.blob), place)?.flatten() {
        let right = row.size.checked_sub(u64::from(row.prefix_octets)) == Some(blob.size);
        report.check(right, place, "has not the size of its prefix and content");
    }
    let prefix = reader.get(&keys::queue_prefix(id))?;
    report.check(prefix.is_some(), place, "has no prefix");
    let prefix = prefix.map(|value| decode_prefix(&value).map(<[u8]>::len)).transpose();
    if let Some(octets) = report.read(prefix, place)?.flatten() {
        report.check(octets == row.prefix_octets as usize, place, "has a prefix of another length");
    }
    report.check(has(self::place(id, row))?, place, "is not in the schedule where it is due");
    report.check(has(keys::queue_owner(row.sender, id))?, place, "is not listed for its account");
    let claimed = has(keys::queue_claimed(id))?;
    report.check(claimed == row.claimed, place, "is listed as claimed, and isn't, or the reverse");
    let meta = report.read(queue::meta(reader, id), place)?.flatten();
    report.check(
        meta.is_some() == row.has_meta,
        place,
        "has no row for programs, or one that it doesn't know of",
    );
    if let Some(meta) = meta.filter(|meta| !meta.from_id.is_empty()) {
        report.check(row.recipients == 1, place, "has an id and several recipients");
        let found = reader.get(&keys::from_id(row.sender, &meta.from_id))?;
        let found = found.map(|value| FromIdRow::decode(&value)).transpose();
        let found = report.read(found, place)?.flatten();
        report.check(found == Some(FromIdRow::Queued { id }), place, "is not found by its id");
    }
    report.check(row.base <= id, place, "is older than the first of its submission");
    let mut waiting = 0;
    for recipient in reader.prefix(&keys::queue_recipients(id)) {
        let (key, value) = recipient?;
        let Some([_, number]) = report.read(keys::numbers(&key, [8, 4]), place)? else { continue };
        waiting += 1;
        report.check(number < u64::from(row.recipients), place, "has a recipient that it never had");
        let Some(recipient) = report.read(RecipientRow::decode(&value), place)? else { continue };
        let domain = String::from_utf8_lossy(domain_of(&recipient.address)).to_ascii_lowercase();
        let right = domain_hash(&domain) == domain_hash(&row.domain);
        report.check(right, place, format_args!("has recipient {number} of another domain"));
    }
    report.check(waiting > 0, place, "has no recipients left");
    report.check(waiting == u64::from(row.waiting), place, "miscounts its recipients");
    Ok(())
}

/// Every recipient is of an entry. Recipients of one follow each other.
fn recipients(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    let mut last = None;
    for row in reader.prefix(&keys::of_table(SYSTEM, table::QUEUERCPT)) {
        let Some([id, number]) = report.read(keys::numbers(&row?.0, [8, 4]), "QUEUERCPT")? else { continue };
        if last.replace(id) != Some(id) {
            let known = reader.get(&keys::queue(QueueId(id)))?.is_some();
            report.check(known, format_args!("queued message {id} recipient {number}"), "has no message");
        }
    }
    Ok(())
}

/// Each row of an index is where an entry says.
fn indices(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    let tables = [table::QUEUEDUE, table::QUEUEOWNER, table::CLAIMED, table::QUEUEPREFIX, table::QUEUEMETA];
    for number in tables {
        for row in reader.prefix(&keys::of_table(SYSTEM, number)) {
            let (key, _) = row?;
            let Some(id) = report.read(keys::last_number(&key), "queue")? else { continue };
            let id = QueueId(id);
            let at = format!("queued message {} in table {number:#04x}", id.0);
            let Some(row) = report.read(queue::entry(reader, id), &at)?.flatten() else {
                report.violation(at, "is listed, and doesn't exist");
                continue;
            };
            let right = match number {
                table::QUEUEDUE => place(id, &row),
                table::QUEUEOWNER => keys::queue_owner(row.sender, id),
                table::CLAIMED => keys::queue_claimed(id),
                table::QUEUEMETA => keys::queue_meta(id),
                _ => keys::queue_prefix(id),
            };
            report.check(key[..] == right[..], at, "is listed otherwise than its row says");
        }
    }
    Ok(())
}

fn hold_rules(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    let Some(next) = report.read(next_rule(reader), "HOLDRULE")? else { return Ok(()) };
    for row in reader.from(&keys::hold_rule(RuleId(1)), &keys::of_table(SYSTEM, table::HOLDRULE)) {
        let (key, value) = row?;
        let Some([id]) = report.read(keys::numbers(&key, [4]), "HOLDRULE")? else { continue };
        let place = format!("hold rule {id}");
        report.check(id < u64::from(next.0), &place, "has an id that is not yet given out");
        report.read(HoldRuleRow::decode(&value), &place)?;
    }
    Ok(())
}

/// What is kept beside the queue is readable, and in its place.
fn known(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(SYSTEM, table::RETIRED)) {
        let (key, value) = row?;
        let Some((until, id, number)) = report.read(keys::retired_parts(&key), "RETIRED")? else { continue };
        let place = format!("RETIRED {} recipient {number}", id.0);
        let Some(row) = report.read(RetiredRow::decode(&value), &place)? else { continue };
        if let Some(meta) = row.meta.filter(|meta| !meta.from_id.is_empty()) {
            let found = reader.get(&keys::from_id(row.sender, &meta.from_id))?;
            let right = FromIdRow::Retired { id, number, until }.encode();
            report.check(found.is_some_and(|found| found[..] == right[..]), &place, "is not found by its id");
        }
    }
    from_ids(reader, report)?;
    for row in reader.prefix(&keys::of_table(SYSTEM, table::SUPPRESSION)) {
        let (key, value) = row?;
        let Some((account, base)) = report.read(keys::suppression_parts(&key), "SUPPRESSION")? else {
            continue;
        };
        let place = format!("account {account} suppressed address {base}");
        let Some(row) = report.read(SuppressionRow::decode(&value), &place)? else { continue };
        report.check(base_address(&row.address) == base, place, "is not the base of its address");
    }
    for row in reader.prefix(&keys::of_table(SYSTEM, table::STRIKES)) {
        let (key, value) = row?;
        let Some([account, hash]) = report.read(keys::numbers(&key, [4, 8]), "STRIKES")? else { continue };
        let place = format!("account {account} strikes of {hash:016x}");
        let Some(row) = report.read(StrikesRow::decode(&value), &place)? else { continue };
        report.check(row.count < STRIKES_MAX, place, "are so many that the address is suppressed");
    }
    for row in reader.prefix(&keys::of_table(SYSTEM, table::MTASTS)) {
        let (key, value) = row?;
        let Some(domain) = report.read(keys::domain_of(&key), "MTASTS")? else { continue };
        report.read(MtaStsRow::decode(&value), format_args!("policy of {domain}"))?;
    }
    Ok(())
}

/// Each id leads to a message that has it. Messages that are still to be looked at are readable.
fn from_ids(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(SYSTEM, table::FROMID)) {
        let (key, value) = row?;
        let Some((account, id)) = report.read(keys::from_id_parts(&key), "FROMID")? else { continue };
        let place = format!("account {account} id {id}");
        let meta = match report.read(FromIdRow::decode(&value), &place)? {
            None => continue,
            Some(FromIdRow::Queued { id }) => {
                let entry = report.read(queue::entry(reader, id), &place)?.flatten();
                let is_its = entry.is_some_and(|entry| entry.sender == account);
                report.read(queue::meta(reader, id), &place)?.flatten().filter(|_| is_its)
            }
            Some(FromIdRow::Retired { id, number, until }) => {
                let value = reader.get(&keys::retired(until, id, number))?;
                let row = value.map(|value| RetiredRow::decode(&value)).transpose();
                let row = report.read(row, &place)?.flatten();
                row.filter(|row| row.sender == account).and_then(|row| row.meta)
            }
        };
        let right = meta.is_some_and(|meta| &*meta.from_id == id);
        report.check(right, &place, "leads to no message that has it");
    }
    for row in reader.prefix(&keys::of_table(SYSTEM, table::INCOMINGREPORT)) {
        let (key, value) = row?;
        report.read(keys::numbers::<2>(&key, [4, 8]), "INCOMINGREPORT")?;
        report.read(decode_marked_text(&value, "INCOMINGREPORT"), "INCOMINGREPORT")?;
    }
    Ok(())
}
