//! What is in a store, as a text: what earlier formats had, and in words that don't change with the rows.

use std::fmt::Write as _;

use postrider_proto::imap::types::Uid;
use postrider_storage::account::{Account, Content, Limits, TlsKnown, tls_known_list};
use postrider_storage::blobs::BlobReader;
use postrider_storage::directory::{Directory, Export};
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::keys::{self, table};
use postrider_storage::queue::{self, Bounds, RetiredFilter, suppression};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{AclRow, AttemptResult, SendersRow, StrikesRow, TextRow};
use postrider_storage::{evaluations, mta_sts};
use xxhash_rust::xxh3::xxh3_64;

/// All of it.
pub fn text(reader: &Reader) -> String {
    let mut out = String::new();
    directory(reader, &mut out);
    for account in reader.accounts_from(AccountId::new(1).unwrap()) {
        mail(reader, account.unwrap(), &mut out);
    }
    queued(reader, &mut out);
    about_sending(reader, &mut out);
    out
}

fn directory(reader: &Reader, out: &mut String) {
    let mut export = Export::default();
    while let Some(part) = export.part(reader.snapshot()).unwrap() {
        *out += &part;
    }
    let removed = Directory::new(reader.snapshot()).removed_accounts(100).unwrap();
    writeln!(out, "\nremoved accounts {removed:?}").unwrap();
}

fn mail(reader: &Reader, id: AccountId, out: &mut String) {
    let account = Account::load(reader, id, Limits::default()).unwrap();
    let head = reader.head(id).unwrap().unwrap();
    writeln!(
        out,
        "\naccount {id} modseq {} messages {} octets {}",
        head.modseq, head.messages, head.quota_used
    )
    .unwrap();
    for name in account.subscriptions() {
        writeln!(out, "subscribed {}", name.as_str()).unwrap();
    }
    for row in reader.metadata_in(&keys::of_table(id.get(), table::METADATA)) {
        let (place, path, row) = row.unwrap();
        writeln!(out, "annotation {place:?} {path} {:?}", text_of(&row.value)).unwrap();
    }
    for (mailbox, row) in reader.mailboxes(id).map(Result::unwrap) {
        let counted =
            (row.uid_validity, row.uid_next, row.modseq, row.exists, row.unseen, row.deleted, row.size);
        writeln!(out, "mailbox {} {:?} {counted:?}", row.name.as_str(), row.special_use).unwrap();
        if let Some(acl) = reader.get(&keys::acl(id, mailbox)).unwrap() {
            for entry in AclRow::decode(&acl).unwrap().entries() {
                writeln!(out, "  {:?} {:?} {}", entry.who, entry.sign, entry.rights).unwrap();
            }
        }
        for (uid, row) in reader.messages(id, mailbox, Uid::MIN..=Uid::MAX).map(Result::unwrap) {
            let email = reader.email(id, row.email).unwrap().unwrap();
            let words: Vec<_> =
                row.keywords.iter().map(|id| account.keyword(*id).unwrap().as_str()).collect();
            let content =
                content(reader, Content { blob: email.blob, size: email.size - email.prefix.len() as u64 });
            let hash = xxh3_64(&[&email.prefix[..], &content].concat());
            writeln!(
                out,
                "  {uid} {:?} {words:?} {} {} {} {hash:x}",
                row.flags, row.modseq, row.received, row.size
            )
            .unwrap();
        }
    }
    for TlsKnown { domain, row } in tls_known_list(reader, id, "", 100).unwrap() {
        let known = (row.starttls, row.requiretls, row.dnssec, row.dane, row.mta_sts);
        writeln!(out, "TLS known {domain} {} {known:?}", row.updated).unwrap();
    }
    let senders = reader.prefix(&keys::of_table(id.get(), table::SENDERS));
    let senders = senders.map(|row| SendersRow::decode(&row.unwrap().1).unwrap().entries().len());
    writeln!(out, "senders {}", senders.sum::<usize>()).unwrap();
    let text = reader.get(&keys::text(id)).unwrap().map(|row| TextRow::decode(&row).unwrap());
    writeln!(out, "text index {:?}", text.map(|text| (text.covered, text.segments.len()))).unwrap();
}

fn content(reader: &Reader, content: Content) -> Vec<u8> {
    let mut blob = BlobReader::new(content, 0..u64::MAX);
    let mut octets = Vec::new();
    while let Some(piece) = blob.read(reader).unwrap() {
        octets.extend_from_slice(&piece);
    }
    octets
}

fn queued(reader: &Reader, out: &mut String) {
    writeln!(out, "\nqueue").unwrap();
    for (id, row) in queue::entries(reader, QueueId(0)).map(Result::unwrap) {
        let times = (row.created, row.last_attempt, row.hold_until, row.due);
        let what = (row.kind, row.require_tls, row.smtputf8, row.eight_bit, row.binary, row.ret, row.held);
        let octets = [queue::prefix(reader, id).unwrap(), content(reader, queue::content(&row))].concat();
        writeln!(
            out,
            "entry {} of {} sender {} <{}> to {:?} {what:?} ENVID {:?} attempts {} of {} times {times:?} claimed {} by {:?} \
             dialed {:?} {} {:x}",
            id.0,
            row.base.0,
            row.sender,
            text_of(&row.mail_from),
            row.domain,
            text_of(&row.envelope_id),
            row.attempts,
            row.max_attempts,
            row.claimed,
            row.transport,
            row.dialed,
            row.size,
            xxh3_64(&octets),
        )
        .unwrap();
        result(row.last_error.as_ref(), out);
        for (number, row) in queue::recipients(reader, id).map(Result::unwrap) {
            let (address, original) = (text_of(&row.address), text_of(&row.original));
            writeln!(out, "  {number} <{address}> ORCPT {original:?} NOTIFY {:?}", row.notify).unwrap();
            result(row.result.as_ref(), out);
        }
    }
    for (id, row) in queue::hold_rules(reader).unwrap() {
        let about = (row.account, row.sender_domain, row.recipient_domain);
        writeln!(out, "hold rule {} {about:?} {} {:?}", id.0, row.created, row.comment).unwrap();
    }
    let bounds = Bounds { entries_max: 10_000, rows_max: 10_000 };
    for gone in queue::retired(reader, &RetiredFilter::default(), None, bounds).unwrap().recipients {
        let row = gone.row;
        let times = (gone.until, row.created, row.ended);
        writeln!(
            out,
            "retired {} {} of {} sender {} <{}> <{}> {:?} {:?} ENVID {:?} attempts {} {times:?}",
            gone.id.0,
            gone.number,
            row.base.0,
            row.sender,
            text_of(&row.mail_from),
            text_of(&row.address),
            row.retirement,
            row.kind,
            text_of(&row.envelope_id),
            row.attempts,
        )
        .unwrap();
        result(row.result.as_ref(), out);
    }
}

fn result(result: Option<&AttemptResult>, out: &mut String) {
    if let Some(result) = result {
        let AttemptResult { time, code, enhanced, .. } = result;
        writeln!(out, "    {time} {code} {enhanced:?} {:?} {:?}", result.host(), result.text()).unwrap();
    }
}

fn about_sending(reader: &Reader, out: &mut String) {
    for one in suppression::list(reader, None, None, 1000).unwrap().addresses {
        let (account, base, row) = (one.account, one.base, one.row);
        writeln!(
            out,
            "suppressed {account} {base} {} {} {:?} {:?}",
            row.created, row.automatic, row.address, row.reason
        )
        .unwrap();
    }
    for row in reader.prefix(&keys::of_table(keys::SYSTEM, table::STRIKES)) {
        let StrikesRow { count, last } = StrikesRow::decode(&row.unwrap().1).unwrap();
        writeln!(out, "strikes {count} {last}").unwrap();
    }
    for (domain, row) in mta_sts::from(reader, "").map(Result::unwrap) {
        let times = (row.inserted, row.valid_until, row.updated, row.used, row.backoff);
        writeln!(out, "MTA-STS {domain} {:?} {times:?} {:?}", row.record_id, row.policy).unwrap();
    }
    for row in evaluations::all(reader) {
        let (id, row) = row.unwrap();
        let when = (id.time, evaluations::interval(id.time, &row).end);
        writeln!(
            out,
            "evaluation {when:?} {} {} {:?} {:?} {:?} <{}> <{}> {} {} {:?}",
            row.policy_domain,
            row.source,
            row.record,
            row.disposition,
            (row.optional, row.dkim_aligned, row.spf_aligned),
            row.envelope_from,
            row.envelope_to,
            row.spf_domain,
            row.spf_result,
            row.dkim,
        )
        .unwrap();
    }
}

fn text_of(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
