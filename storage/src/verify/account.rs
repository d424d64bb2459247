//! Invariants of one account.

use std::collections::{BTreeMap, BTreeSet};

use super::{Report, mailbox};
use crate::account::metadata::octets_of;
use crate::ids::{AccountId, EmailId, MailboxId};
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{
    AclRow, DropRow, EmailRow, EraseRow, HeadRow, MailboxRow, OutgoingRow, RefsRow, SendersRow, SpecialUse,
    ThreadRow, TlsKnownRow, UrlKeyRow,
};
use crate::store::StoreError;

/// What is known of the account while its mailboxes are checked.
pub(super) struct Known {
    pub account: AccountId,
    pub head: HeadRow,
    /// One entry for each reference to an email.
    pub refs: Vec<EmailId>,
}

pub(super) fn check(reader: &Reader, account: AccountId, report: &mut Report) -> Result<(), StoreError> {
    let place = format!("account {account}");
    report.counts.accounts += 1;
    let Some(head) = report.read(reader.head(account), &place)? else { return Ok(()) };
    let Some(head) = head else {
        report.violation(place, "has rows but no HEAD");
        return Ok(());
    };
    let mut known = Known { account, head, refs: Vec::new() };
    if let Some(keywords) = report.read(reader.keywords(account), &place)? {
        report.check(keywords.len() == usize::from(head.keywords), &place, "HEAD miscounts the keywords");
        let different: std::collections::HashSet<_> = keywords.iter().collect();
        report.check(different.len() == keywords.len(), &place, "a keyword has two ids");
    }
    let mailboxes = mailboxes(reader, &known, report)?;
    let dropped = dropped(reader, account, report)?;
    for id in dropped.iter().filter(|id| mailboxes.contains_key(id)) {
        report.violation(format!("{place} mailbox {id}"), "exists and is listed as deleted");
    }
    for (id, row) in &mailboxes {
        mailbox::check(reader, &mut known, *id, row, report)?;
    }
    acls(reader, account, &mailboxes, report)?;
    for id in &dropped {
        mailbox::check_dropped(reader, &mut known, *id, report)?;
    }
    for table in [table::MESSAGE, table::CHANGE, table::PACK] {
        orphans(reader, account, table, report, |id| mailboxes.contains_key(&id) || dropped.contains(&id))?;
    }
    let (size, messages) = mailboxes
        .values()
        .fold((0, 0), |(size, messages), row| (size + row.size, messages + u64::from(row.exists)));
    let count = mailboxes.len() == head.mailboxes as usize;
    report.check(count, &place, "HEAD miscounts the mailboxes");
    report.check(head.quota_used == size, &place, "HEAD miscounts the octets used");
    report.check(head.messages == messages, &place, "HEAD miscounts the messages");
    annotations(reader, &known, |id| mailboxes.contains_key(&id), report)?;
    erasures(reader, &mut known, report)?;
    emails(reader, known, report)?;
    threads(reader, account, report)?;
    url_keys(reader, account, report, &mailboxes)?;
    senders(reader, account, report)?;
    outgoing(reader, account, report)?;
    tls_known(reader, account, report)?;
    crate::text::verify::check(reader, account, head.next_email, report)?;
    tables(reader, account, report)
}

fn mailboxes(
    reader: &Reader,
    known: &Known,
    report: &mut Report,
) -> Result<BTreeMap<MailboxId, MailboxRow>, StoreError> {
    let Known { account, head, .. } = known;
    let mut mailboxes = BTreeMap::new();
    let mut names = BTreeSet::new();
    let mut validities = BTreeSet::new();
    let mut used = SpecialUse::NONE;
    for mailbox in reader.mailboxes(*account) {
        let Some((id, row)) = report.read(mailbox, format!("account {account}"))? else { continue };
        let place = format!("account {account} mailbox {id}");
        report.counts.mailboxes += 1;
        report.check(names.insert(row.name.clone()), &place, "has the name of another");
        report.check(validities.insert(row.uid_validity), &place, "has the UIDVALIDITY of another");
        report.check(id.0 < head.next_mailbox, &place, "has an id that is not yet given out");
        report.check(
            row.uid_validity.0 < head.next_uid_validity,
            &place,
            "has a UIDVALIDITY that is not yet given out",
        );
        report.check(used.and(row.special_use).is_empty(), &place, "has a special use that another has");
        used = used.with(row.special_use);
        mailboxes.insert(id, row);
    }
    let place = format!("account {account}");
    report.check(names.iter().any(|name| name.is_inbox()), &place, "has no inbox");
    for parent in names.iter().filter_map(|name| name.parent()) {
        report.check(
            names.contains(&parent),
            &place,
            format_args!("has no mailbox {parent}, but one below it"),
        );
    }
    Ok(mailboxes)
}

fn dropped(
    reader: &Reader,
    account: AccountId,
    report: &mut Report,
) -> Result<BTreeSet<MailboxId>, StoreError> {
    let mut dropped = BTreeSet::new();
    for row in reader.prefix(&keys::drops(account)) {
        let (key, value) = row?;
        let numbers = report.read(keys::numbers(&key, [4, 4]), "DROP")?;
        report.read(DropRow::decode(&value), format_args!("account {account} DROP"))?;
        dropped.extend(numbers.and_then(|[_, id]| MailboxId::new(u32::try_from(id).ok()?)));
    }
    Ok(dropped)
}

/// Rows of a mailbox that is neither there nor deleted: one seek for each mailbox.
fn orphans(
    reader: &Reader,
    account: AccountId,
    table: u8,
    report: &mut Report,
    known: impl Fn(MailboxId) -> bool,
) -> Result<(), StoreError> {
    let prefix = keys::of_table(account.get(), table);
    let mut from = prefix.clone();
    while let Some((key, _)) = reader.from(&from, &prefix).next().transpose()? {
        let (_, _, rest) = keys::split(&key)?;
        let number = rest.first_chunk::<4>().map_or(0, |number| u32::from_be_bytes(*number));
        if !MailboxId::new(number).is_some_and(&known) {
            report.violation(
                format!("account {account} mailbox {number}"),
                format_args!("doesn't exist but has rows in table {table:#04x}"),
            );
        }
        let Some(next) = number.checked_add(1) else { break };
        from.truncate(prefix.len());
        from.extend_from_slice(&next.to_be_bytes());
    }
    Ok(())
}

/// Lists belong to mailboxes, and the index knows of everybody to whom they share them.
fn acls(
    reader: &Reader,
    account: AccountId,
    mailboxes: &BTreeMap<MailboxId, MailboxRow>,
    report: &mut Report,
) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(account.get(), table::ACL)) {
        let (key, value) = row?;
        let Some([number]) = report.read(keys::numbers(&key, [4]), "ACL")? else { continue };
        let place = format!("account {account} mailbox {number}");
        let mailbox = u32::try_from(number).ok().and_then(MailboxId::new);
        let Some(mailbox) = mailbox.filter(|mailbox| mailboxes.contains_key(mailbox)) else {
            report.violation(place, "doesn't exist but has an access control list");
            continue;
        };
        let Some(acl) = report.read(AclRow::decode(&value), &place)? else { continue };
        for who in acl.shared_with(account) {
            let listed = reader.get(&keys::shared(who, account, mailbox))?.is_some();
            report.check(listed, &place, format_args!("is shared to {who:?}, who can't find it"));
        }
    }
    Ok(())
}

fn annotations(
    reader: &Reader,
    known: &Known,
    exists: impl Fn(MailboxId) -> bool,
    report: &mut Report,
) -> Result<(), StoreError> {
    let Known { account, head, .. } = known;
    let place = format!("account {account}");
    let (mut entries, mut octets) = (0, 0);
    for row in reader.metadata_in(&keys::of_table(account.get(), table::METADATA)) {
        let Some((of, path, row)) = report.read(row, &place)? else { continue };
        entries += 1;
        octets += octets_of(&path, &row.value);
        let place = format!("{place} annotation {path}");
        report.check(of.mailbox.is_none_or(&exists), &place, "is of a mailbox that doesn't exist");
        report.check(row.modseq <= head.modseq, &place, "has a modseq of the future");
        let named = path.len() > 1 && path.starts_with('/') && !path.ends_with('/') && path.is_ascii();
        report.check(named, &place, "has no valid name");
    }
    report.check(head.annotations == entries, &place, "HEAD miscounts the annotations");
    report.check(head.annotation_octets == octets, &place, "HEAD miscounts the octets of annotations");
    Ok(())
}

fn erasures(reader: &Reader, known: &mut Known, report: &mut Report) -> Result<(), StoreError> {
    let place = format!("account {}", known.account);
    for row in reader.prefix(&keys::erases(known.account)) {
        let (key, value) = row?;
        let Some([_, modseq, email]) = report.read(keys::numbers(&key, [4, 8, 8]), &place)? else { continue };
        report.counts.erasures += 1;
        report.check(modseq <= known.head.modseq.get(), &place, "ERASE has a modseq of the future");
        if let Some(row) = report.read(EraseRow::decode(&value), &place)? {
            known.refs.extend((0..row.refs).map(|_| EmailId(email)));
        }
    }
    Ok(())
}

fn emails(reader: &Reader, known: Known, report: &mut Report) -> Result<(), StoreError> {
    let Known { account, head, mut refs } = known;
    refs.sort_unstable();
    let mut refs = refs.into_iter().peekable();
    for row in reader.prefix(&keys::of_table(account.get(), table::EMAIL)) {
        let (key, value) = row?;
        let Some([id]) = report.read(keys::numbers(&key, [8]), "EMAIL")? else { continue };
        let id = EmailId(id);
        report.counts.emails += 1;
        while let Some(missing) = refs.next_if(|email| *email < id) {
            report.violation(format!("account {account} email {}", missing.0), "is referred to but missing");
        }
        let mut counted = 0;
        while refs.next_if(|email| *email == id).is_some() {
            counted += 1;
        }
        let place = format!("account {account} email {}", id.0);
        if let Some(stored) = report.read(reader.email_refs(account, id), &place)? {
            report.check(
                counted == stored,
                &place,
                format_args!("has {counted} references, but {stored} are noted"),
            );
        }
        report.check(id.0 < head.next_email, &place, "has an id that is not yet given out");
        if let Some(row) = report.read(EmailRow::decode(&value), &place)? {
            check_email(reader, account, id, &row, &head, report)?;
        }
    }
    for missing in refs {
        report.violation(format!("account {account} email {}", missing.0), "is referred to but missing");
    }
    for row in reader.prefix(&keys::of_table(account.get(), table::EMAILREFS)) {
        let (key, value) = row?;
        report.read(RefsRow::decode(&value), format_args!("account {account} EMAILREFS"))?;
        if let Some([id]) = report.read(keys::numbers(&key, [8]), "EMAILREFS")? {
            let exists = reader.get(&keys::email(account, EmailId(id)))?.is_some();
            report.check(exists, format!("account {account} email {id}"), "has references but no row");
        }
    }
    Ok(())
}

fn check_email(
    reader: &Reader,
    account: AccountId,
    id: EmailId,
    row: &EmailRow,
    head: &HeadRow,
    report: &mut Report,
) -> Result<(), StoreError> {
    let place = format!("account {account} email {}", id.0);
    report.check(row.thread.0 < head.next_thread, &place, "has a thread id that is not yet given out");
    let referred = reader.get(&keys::blob_ref(row.blob, account.get(), id.0))?.is_some();
    report.check(referred, &place, "is not listed as user of its content");
    match report.read(reader.blob(row.blob), &place)? {
        Some(Some(blob)) => {
            let size = blob.size + row.prefix.len() as u64;
            report.check(row.size == size, &place, "has not the size of its prefix and content");
        }
        Some(None) => report.violation(&place, "has no content"),
        None => {}
    }
    let by_id = keys::thread_message(account, row.message_id, id);
    let by_subject = keys::thread_subject(account, row.subject, row.received, id);
    for (key, hash) in [(by_id, row.message_id), (by_subject, row.subject)] {
        let Some(found) = reader.get(&key)? else {
            report.check(hash == 0, &place, "can't be found for its conversation");
            continue;
        };
        if let Some(found) = report.read(ThreadRow::decode(&found), &place)? {
            let same = found == ThreadRow { thread: row.thread, subject: row.subject };
            report.check(same, &place, "is in another conversation than its THREAD row says");
        }
    }
    Ok(())
}

/// Every row that finds an email finds one that is so.
fn threads(reader: &Reader, account: AccountId, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(account.get(), table::THREADMSG)) {
        let (key, _) = row?;
        let Some([hash, id]) = report.read(keys::numbers(&key, [8, 8]), "THREADMSG")? else { continue };
        let place = format!("account {account} email {id}");
        let email = report.read(reader.email(account, EmailId(id)), &place)?.flatten();
        let right = email.is_some_and(|email| email.message_id == hash);
        report.check(right, place, "is missing or has not the Message-ID of its THREADMSG row");
    }
    for row in reader.prefix(&keys::of_table(account.get(), table::THREADSUBJECT)) {
        let (key, _) = row?;
        let Some([hash, time, id]) = report.read(keys::numbers(&key, [8, 8, 8]), "THREADSUBJECT")? else {
            continue;
        };
        let place = format!("account {account} email {id}");
        let email = report.read(reader.email(account, EmailId(id)), &place)?.flatten();
        let right = email.is_some_and(|email| email.subject == hash && email.received == keys::to_time(time));
        report.check(right, place, "is missing or has not the subject of its THREADSUBJECT row");
    }
    Ok(())
}

/// Keys of URLs belong to mailboxes.
fn url_keys(
    reader: &Reader,
    account: AccountId,
    report: &mut Report,
    mailboxes: &BTreeMap<MailboxId, MailboxRow>,
) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(account.get(), table::URLKEY)) {
        let (key, value) = row?;
        let place = format!("account {account} URLKEY");
        report.read(UrlKeyRow::decode(&value), &place)?;
        let Some([id]) = report.read(keys::numbers(&key, [4]), &place)? else { continue };
        let known = u32::try_from(id).ok().and_then(MailboxId::new);
        let known = known.is_some_and(|id| mailboxes.contains_key(&id));
        report.check(known, &place, format_args!("belongs to no mailbox: {id}"));
    }
    Ok(())
}

/// Who wrote, and who was written to, is in the bucket of its hash.
fn senders(reader: &Reader, account: AccountId, report: &mut Report) -> Result<(), StoreError> {
    for (number, name) in [(table::SENDERS, "SENDERS"), (table::RECIPIENTS, "RECIPIENTS")] {
        for row in reader.prefix(&keys::of_table(account.get(), number)) {
            let (key, value) = row?;
            let place = format!("account {account} {name}");
            let Some([bucket]) = report.read(keys::numbers(&key, [2]), &place)? else { continue };
            let Some(row) = report.read(SendersRow::decode(&value), &place)? else { continue };
            let right = row.entries().iter().all(|(hash, _)| u64::from(SendersRow::bucket(*hash)) == bucket);
            report.check(right, &place, format_args!("{bucket} holds one of another bucket"));
        }
    }
    Ok(())
}

/// What an account sent is readable, and has no more first-time recipients than recipients.
fn outgoing(reader: &Reader, account: AccountId, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(account.get(), table::OUTGOING)) {
        let (key, value) = row?;
        let place = format!("account {account} OUTGOING");
        if report.read(keys::outgoing_parts(&key), &place)?.is_none() {
            continue;
        }
        let Some(row) = report.read(OutgoingRow::decode(&value), &place)? else { continue };
        report.check(
            row.first_time <= row.recipients,
            &place,
            "has more first-time recipients than recipients",
        );
    }
    Ok(())
}

/// What is known of domains is readable, and found by its age.
fn tls_known(reader: &Reader, account: AccountId, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(account.get(), table::TLSKNOWN)) {
        let (key, value) = row?;
        let place = format!("account {account} TLSKNOWN");
        let Some(domain) = report.read(keys::domain_of(&key), &place)? else { continue };
        report.check(!domain.is_empty(), &place, "is of no domain");
        let place = format!("{place} {domain}");
        let Some(row) = report.read(TlsKnownRow::decode(&value), &place)? else { continue };
        let age = keys::tls_age(account, row.period(), domain);
        report.check(reader.get(&age)?.is_some(), &place, "is not in TLSAGE");
    }
    for row in reader.prefix(&keys::of_table(account.get(), table::TLSAGE)) {
        let (key, _) = row?;
        let place = format!("account {account} TLSAGE");
        let Some((period, domain)) = report.read(keys::tls_age_parts(&key), &place)? else { continue };
        // One that can't be read was told of above.
        let known = reader.get(&keys::tls_known(account, domain))?;
        let fits =
            known.is_some_and(|row| TlsKnownRow::decode(&row).map_or(true, |row| row.period() == period));
        report.check(fits, format_args!("{place} {period} {domain}"), "is not the age of a row of TLSKNOWN");
    }
    Ok(())
}

/// No rows in tables that no account has: one seek for each table.
fn tables(reader: &Reader, account: AccountId, report: &mut Report) -> Result<(), StoreError> {
    const TABLES: &[u8] = &[
        table::HEAD,
        table::KEYWORD,
        table::MAILBOX,
        table::SUBSCRIPTION,
        table::ACL,
        table::METADATA,
        table::URLKEY,
        table::MESSAGE,
        table::CHANGE,
        table::PACK,
        table::EMAIL,
        table::EMAILREFS,
        table::THREADMSG,
        table::THREADSUBJECT,
        table::SENDERS,
        table::RECIPIENTS,
        table::OUTGOING,
        table::TLSKNOWN,
        table::TLSAGE,
        table::TEXT,
        table::TERMS,
        table::POSTINGS,
    ];
    unknown_tables(reader, account.get(), report, |table| TABLES.contains(&table))
}

pub(super) fn unknown_tables(
    reader: &Reader,
    owner: u32,
    report: &mut Report,
    known: impl Fn(u8) -> bool,
) -> Result<(), StoreError> {
    let mut next = Some(0_u8);
    while let Some(from) = next {
        let from = keys::of_table(owner, from);
        let Some((key, _)) = reader.from(&from, &keys::owner(owner)).next().transpose()? else { break };
        let (_, table, _) = keys::split(&key)?;
        let place = if owner == SYSTEM { "system".to_owned() } else { format!("account {owner}") };
        report.check(known(table), place, format_args!("has rows in the unknown table {table:#04x}"));
        next = table.checked_add(1);
    }
    Ok(())
}
