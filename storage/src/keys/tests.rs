//! The bytes of every key. A change here is a change of the format.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::evaluations::{EvaluationId, Group};
use crate::ids::{HookId, QueueId, ReportId, RuleId};
use crate::tls_results::{Order, TlsResultId};

fn hex(key: &[u8]) -> String {
    key.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn account() -> AccountId {
    AccountId::new(0x0102_0304).unwrap()
}

fn mailbox_id() -> MailboxId {
    MailboxId::new(0x0a0b).unwrap()
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

fn modseq(number: u64) -> ModSeq {
    ModSeq::new(number).unwrap()
}

#[test]
fn keys_of_an_account_have_these_bytes() {
    let name = MailboxName::new("inbox/x").unwrap();
    let (a, m) = (account(), mailbox_id());
    for (key, expected) in [
        (head(a), "0102030401"),
        (keyword(a, KeywordId(0x1122)), "01020304021122"),
        (mailbox(a, m), "010203040300000a0b"),
        (subscription(a, &name), "0102030404496e626f782f78"),
        (acl(a, m), "010203040600000a0b"),
        (
            metadata(a, MetadataPlace { mailbox: Some(m), user: Some(a) }, "/x"),
            "010203040500000a0b010203042f78",
        ),
        (metadata(a, MetadataPlace { mailbox: None, user: None }, "/x"), "010203040500000000000000002f78"),
        (metadata_of(a, Some(m)), "010203040500000a0b"),
        (url_key(a, m), "010203040700000a0b"),
        (message(a, m, uid(0x11)), "010203041000000a0b00000011"),
        (messages(a, m), "010203041000000a0b"),
        (change(a, m, Which::Live, modseq(0x22), uid(0x11)), "010203041100000a0b00000000000000002200000011"),
        (
            change(a, m, Which::Tombstones, modseq(0x22), uid(0x11)),
            "010203041100000a0b01000000000000002200000011",
        ),
        (changes(a, m, Which::Tombstones), "010203041100000a0b01"),
        (changes_all(a, m), "010203041100000a0b"),
        (changes_after(a, m, Which::Live, modseq(0x22)), "010203041100000a0b000000000000000023"),
        (pack(a, m, uid(0x11)), "010203041200000a0b00000011"),
        (senders(a, 0x0abc), "01020304200abc"),
        (recipients(a, 0x0abc), "01020304230abc"),
        (outgoing(a, 5, QueueId(0x66)), "010203042280000000000000050000000000000066"),
        (tls_known(a, "a.b"), "0102030421612e62"),
        (tls_age(a, 0x77, "a.b"), "010203042400000077612e62"),
        (text(a), "0102030430"),
        (terms(a, 0x77, b"\x01ab"), "010203043100000077016162"),
        (postings(a, 0x77, 0x88), "01020304320000007700000088"),
        (of_segment(a, table::POSTINGS, 0x77), "010203043200000077"),
        (email(a, EmailId(0x33)), "01020304130000000000000033"),
        (email_refs(a, EmailId(0x33)), "01020304160000000000000033"),
        (thread_message(a, 0x44, EmailId(0x33)), "010203041400000000000000440000000000000033"),
        (
            thread_subject(a, 0x44, 5, EmailId(0x33)),
            "0102030415000000000000004480000000000000050000000000000033",
        ),
    ] {
        assert_eq!(hex(&key), expected);
    }
}

fn group() -> Group {
    Group { due: 1, domain: "a.b".into() }
}

#[test]
fn keys_of_the_system_have_these_bytes() {
    let (a, m, b, q) = (account(), mailbox_id(), BlobId(0x55), QueueId(0x66));
    for (key, expected) in [
        (format(), "0000000001"),
        (blob(b), "00000000100000000000000055"),
        (blob_ref(b, a.get(), 0x33), "00000000110000000000000055010203040000000000000033"),
        (blob_gc(b, 7, 9), "00000000120000000000000055000000070000000000000009"),
        (blob_gcs(b), "00000000120000000000000055"),
        (blob_pending(b), "00000000130000000000000055"),
        (erase(a, modseq(0x22), EmailId(0x33)), "00000000180102030400000000000000220000000000000033"),
        (dropped(a, m), "00000000190102030400000a0b"),
        (shared(Grantee::Anyone, a, m), "000000001a000000000102030400000a0b"),
        (shared(Grantee::Account(AccountId::new(0x77).unwrap()), a, m), "000000001a000000770102030400000a0b"),
        (shared_with(Grantee::Account(a)), "000000001a01020304"),
        (queue(q), "00000000200000000000000066"),
        (queue_recipient(q, 7), "0000000021000000000000006600000007"),
        (queue_prefix(q), "00000000260000000000000066"),
        (queue_due(0x0102, -1, q), "000000002300000000000001027fffffffffffffff0000000000000066"),
        (queue_domain(0x0102), "00000000230000000000000102"),
        (queue_due_v1(-1, q, 7), "00000000227fffffffffffffff000000000000006600000007"),
        (queue_owner(a.get(), q), "0000000024010203040000000000000066"),
        (queue_owned(SYSTEM), "000000002400000000"),
        (queue_claimed(q), "00000000250000000000000066"),
        (hold_rule(RuleId(0x0102)), "000000002900000102"),
        (retired(-1, q, 7), "000000002a7fffffffffffffff000000000000006600000007"),
        (suppression(a, "x@y"), "000000002b01020304784079"),
        (suppressions(a), "000000002b01020304"),
        (strikes(a, 0x33), "000000002c010203040000000000000033"),
        (strikes_of(a), "000000002c01020304"),
        (mta_sts("a.b"), "000000002d612e62"),
        (
            tls_result(&TlsResultId {
                day: 0x0102,
                order: Order::ByRecipient,
                recipient: "a.b".into(),
                policy_domain: "c".into(),
                is_host: true,
            }),
            "000000002e0000010200612e62000163",
        ),
        (
            tls_result(&TlsResultId {
                day: 0x0102,
                order: Order::ByPolicy,
                recipient: "a.b".into(),
                policy_domain: "c".into(),
                is_host: true,
            }),
            "000000002e0000010201630001612e62",
        ),
        (tls_results_of(0x0102, Order::ByPolicy, "c"), "000000002e00000102016300"),
        (tls_results_in(0x0102, Order::ByPolicy), "000000002e0000010201"),
        (tls_results_from(0x0102), "000000002e00000102"),
        (report_suppression("a@b"), "000000002f614062"),
        (hook(HookId(0x67)), "00000000300000000000000067"),
        (hook_due(0x0102, -1, HookId(0x67)), "000000003100000000000001027fffffffffffffff0000000000000067"),
        (hook_url(0x0102), "00000000310000000000000102"),
        (hook_about(q, 0x33, HookId(0x67)), "0000000032000000000000006600000000000000330000000000000067"),
        (hooks_about(q, 0x33), "000000003200000000000000660000000000000033"),
        (hook_retired(-1, HookId(0x67)), "00000000337fffffffffffffff0000000000000067"),
        (from_id(a.get(), "x_-"), "000000003401020304785f2d"),
        (queue_meta(q), "00000000350000000000000066"),
        (incoming_report(a, EmailId(0x33)), "0000000036010203040000000000000033"),
        (
            evaluation(&group(), EvaluationId { time: -1, blob: b, recipient: 7 }),
            "00000000278000000000000001612e62007fffffffffffffff000000000000005500000007",
        ),
        (
            evaluation_v1(EvaluationId { time: -1, blob: b, recipient: 7 }),
            "00000000287fffffffffffffff000000000000005500000007",
        ),
        (evaluations(&group()), "00000000278000000000000001612e6200"),
        (report("a.b", ReportId(0x44)), "0000000038612e62000000000000000044"),
        (reports_of("a.b"), "0000000038612e6200"),
        (report_known(&[0x22; 16]), "000000003922222222222222222222222222222222"),
        (report_todo(b), "000000003a0000000000000055"),
        (report_text(ReportId(0x44)), "000000003b0000000000000044"),
        (chunk(b, 8), "000000000000005500000008"),
        (chunks(b), "0000000000000055"),
    ] {
        assert_eq!(hex(&key), expected);
    }
}

#[test]
fn the_order_of_keys_is_the_order_of_numbers_and_times() {
    let due = |time| queue_due(7, time, QueueId(1));
    assert!([i64::MIN, -5, -1, 0, 1, 255, 256, i64::MAX].map(due).is_sorted());
    let change = |number| change(account(), mailbox_id(), Which::Live, modseq(number), uid(1));
    assert!([1, 255, 256, 1 << 40].map(change).is_sorted());
    assert!(changes_after(account(), mailbox_id(), Which::Live, modseq(255)) <= change(256));
    assert!(changes_after(account(), mailbox_id(), Which::Live, modseq(255)) > change(255));
    assert!(head(account()) < owner(account().get() + 1));
}

#[test]
fn keys_are_read_as_they_were_written_and_others_are_refused() {
    let key = message(account(), mailbox_id(), uid(9));
    assert_eq!(mailbox_and_uid(&key), Ok((mailbox_id(), uid(9))));
    let key = change(account(), mailbox_id(), Which::Tombstones, modseq(3), uid(9));
    assert_eq!(change_parts(&key), Ok((mailbox_id(), Which::Tombstones, modseq(3), uid(9))));
    assert!(mailbox_and_uid(&key).is_err());
    for end in 0..key.len() {
        assert!(change_parts(&key[..end]).is_err());
    }
    let mut kind = key;
    kind[9] = 2;
    assert!(change_parts(&kind).is_err());
    let key = queue_due_v1(-7, QueueId(5), 6);
    let [due, id, recipient] = numbers(&key, [8, 8, 4]).unwrap();
    assert_eq!((to_time(due), id, recipient), (-7, 5, 6));
    assert!(numbers(&key, [8, 8]).is_err() && numbers(&key, [8, 8, 8]).is_err());
    assert_eq!(queue_due_parts(&queue_due(u64::MAX, -7, QueueId(5))), Ok((u64::MAX, -7, QueueId(5))));
    assert!(queue_due_parts(&key).is_err());
    assert_eq!(retired_parts(&retired(-7, QueueId(5), 6)), Ok((-7, QueueId(5), 6)));
    assert!(retired_parts(&queue(QueueId(5))).is_err());
    assert_eq!(hook_retired_parts(&hook_retired(-7, HookId(5))), Ok((-7, HookId(5))));
    assert!(hook_retired_parts(&hook(HookId(5))).is_err());
    assert_eq!(suppression_parts(&suppression(account(), "x@y")), Ok((account(), "x@y")));
    for bad in [
        &[0, 0, 0, 0, 0x2b, 0, 0][..],
        &[0, 0, 0, 0, 0x2b, 0, 0, 0, 0, 1],
        &[0, 0, 0, 0, 0x2b, 0, 0, 0, 1, 255],
    ] {
        assert!(suppression_parts(bad).is_err(), "{bad:02x?}");
    }
    assert_eq!(domain_of(&tls_known(account(), "a.b")), Ok("a.b"));
    assert!(domain_of(&[0, 0, 0, 0, 0x2d, 0xff]).is_err());
    assert_eq!(tls_age_parts(&tls_age(account(), 7, "a.b")), Ok((7, "a.b")));
    for bad in [&[0, 0, 0, 1, 0x24, 0, 0, 0][..], &[0, 0, 0, 1, 0x24, 0, 0, 0, 7, 0xff]] {
        assert!(tls_age_parts(bad).is_err(), "{bad:02x?}");
    }
    let id = EvaluationId { time: -3, blob: BlobId(5), recipient: 6 };
    let key = evaluation(&group(), id);
    assert_eq!(evaluation_parts(&key), Ok((group(), id)));
    for end in 5..key.len() {
        assert_ne!(evaluation_parts(&key[..end]), Ok((group(), id)));
    }
    assert!(evaluation_parts(&[&key[..20], &[0], &key[20..]].concat()).is_err());
    let old = evaluation_v1(id);
    assert_eq!(evaluation_v1_parts(&old), Ok(id));
    assert!(evaluation_v1_parts(&old[..24]).is_err());
    assert_eq!(chunk_parts(&chunk(BlobId(4), 3)), Ok((BlobId(4), 3)));
    assert!(chunk_parts(&[0; 11]).is_err());
    for order in [Order::ByRecipient, Order::ByPolicy] {
        let (recipient, policy_domain) = ("a.b".into(), "c".into());
        let id = TlsResultId { day: 7, order, recipient, policy_domain, is_host: true };
        let key = tls_result(&id);
        assert_eq!(tls_result_id(&key), Ok(id));
        assert!((0..key.len()).all(|end| end > 13 || tls_result_id(&key[..end]).is_err()));
    }
    for bad in
        [&b"\0\0\0\x07\x02a\0\0b"[..], b"\0\0\0\x07\0a\0\x02b", b"\0\0\0\x07\0\0\0b", b"\0\0\0\x07\0a\0\0"]
    {
        let key = [&[0, 0, 0, 0, 0x2e], bad].concat();
        assert!(tls_result_id(&key).is_err(), "{key:02x?}");
    }
}

#[test]
fn the_key_after_a_prefix_carries() {
    assert_eq!(after(&[1, 0xff]), Some(vec![2]));
    assert_eq!(after(&[0xff]), None);
}

#[test]
fn annotations_are_found_by_their_key_again() {
    let place = MetadataPlace { mailbox: Some(mailbox_id()), user: Some(account()) };
    for place in [place, MetadataPlace { user: None, ..place }, MetadataPlace { mailbox: None, ..place }] {
        let key = metadata(account(), place, "/comment");
        assert_eq!(metadata_parts(&key).unwrap(), (place, "/comment"));
        assert!(key.starts_with(&metadata_at(account(), place)));
    }
    assert!(metadata_parts(&metadata_of(account(), None)).is_err());
    let mut key = metadata(account(), place, "");
    key.push(0xff);
    assert!(metadata_parts(&key).is_err());
}
