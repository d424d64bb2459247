//! The bytes of every value. A change here is a change of the format: it needs a new version.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU32;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::rights::Rights;
use postrider_proto::imap::types::{Flags, Keyword, ModSeq, Uid, UidValidity};
use proptest::prelude::*;

use super::pack::{BLOCK_MESSAGES_MAX, Block, HAS_KEYWORDS, View};
use super::*;
use crate::directory::ReportKinds;
use crate::ids::{AccountId, BlobId, EmailId, KeywordId, ThreadId};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Pins the bytes, and that every shorter input and every other version is refused.
macro_rules! golden {
    ($row:expr, $type:ty, $encoded:expr, $text:expr, tail: $tail:expr) => {{
        let encoded: Vec<u8> = $encoded;
        let expected = hex($text);
        assert_eq!(encoded, expected, "{:02x?}", encoded);
        assert_eq!(<$type>::decode(&encoded).unwrap(), $row);
        for end in 0..encoded.len() - $tail {
            assert!(<$type>::decode(&encoded[..end]).is_err(), "cut at {end}");
        }
        let mut newer = encoded.clone();
        let (version, next) = (encoded[0], encoded[0] + 1);
        newer[0] = next;
        let refused = <$type>::decode(&newer);
        assert!(matches!(refused, Err(BadRow::Version { found, known, .. }) if (found, known) == (next, version)));
        if $tail == 0 {
            let longer = [&encoded[..], &[0]].concat();
            assert!(matches!(<$type>::decode(&longer), Err(BadRow::Length { .. })));
        }
    }};
}

fn modseq(number: u64) -> ModSeq {
    ModSeq::new(number).unwrap()
}

#[test]
fn rows_of_an_account_have_these_bytes() {
    let head = HeadRow {
        modseq: modseq(0x0102_0304_0506_0708),
        next_email: 0x11,
        next_thread: 0x12,
        next_mailbox: NonZeroU32::new(0x13).unwrap(),
        next_uid_validity: NonZeroU32::new(0x14).unwrap(),
        quota_used: 0x15,
        messages: 0x16,
        mailboxes: 0x18,
        keywords: 0x0217,
        annotations: 0x19,
        annotation_octets: 0x1a,
    };
    let text = "01 00 1702 13000000 14000000 18000000 0807060504030201 1100000000000000
        1200000000000000 1500000000000000 1600000000000000 19000000 1a000000";
    golden!(head, HeadRow, head.encode(), text, tail: 0);

    let mailbox = MailboxRow {
        name: MailboxName::new("A\u{e9}").unwrap(),
        special_use: SpecialUse::SENT.with(SpecialUse::ARCHIVE),
        uid_validity: UidValidity(NonZeroU32::new(0x21).unwrap()),
        uid_next: Uid::new(0x22).unwrap(),
        modseq: modseq(0x23),
        createseq: modseq(0x24),
        horizon: 0x25,
        exists: 0x26,
        unseen: 0x27,
        deleted: 0x28,
        purged: 0x2b,
        size: 0x29,
        deleted_size: 0x2c,
        tail: Uid::new(0x2a),
        keywords: [KeywordId(1), KeywordId(0x102)].into(),
    };
    let text = "01 09 0200 21000000 22000000 2a000000 26000000 27000000 28000000 2b000000
        2900000000000000 2c00000000000000 2300000000000000 2400000000000000 2500000000000000 0100 0201 41 c3a9";
    // The name ends the value, and any part of it that is UTF-8 is a name.
    golden!(mailbox, MailboxRow, mailbox.encode(), text, tail: 2);

    let annotation = MetadataRow { modseq: modseq(0x2d), value: b"a\0".as_slice().into() };
    let text = "01 00000000000000 2d00000000000000 61 00";
    // Any octets are a value.
    golden!(annotation, MetadataRow, annotation.encode(), text, tail: 3);

    let dropped = DropRow { modseq: modseq(9) };
    golden!(dropped, DropRow, dropped.encode(), "01 00000000000000 0900000000000000", tail: 0);
    let mut acl = AclRow::default();
    acl.set(Grantee::Account(AccountId::new(0x1234).unwrap()), Sign::Denies, Some(Rights::WRITE));
    acl.set(Grantee::Account(AccountId::new(0x1234).unwrap()), Sign::Grants, Some(Rights::ALL));
    acl.set(Grantee::Anyone, Sign::Grants, Some(Rights::LOOKUP.with(Rights::READ)));
    let text = "01 00 0300 00000000 0300 00 00 34120000 ff07 00 00 34120000 0800 01 00";
    golden!(acl, AclRow, acl.encode(), text, tail: 0);
    for bad in [
        "01 00 0000",
        "01 00 0100 00000000 0300 02 00",
        "01 00 0100 00000000 0008 00 00",
        "01 00 0200 00000000 0300 00 00 00000000 0300 00 00",
        "01 00 0200 01000000 0300 00 00 00000000 0300 00 00",
    ] {
        assert!(AclRow::decode(&hex(bad)).is_err(), "{bad}");
    }
    let keyword = Keyword::new("$Junk").unwrap();
    assert_eq!(encode_keyword(&keyword), b"\x01$Junk");
    assert_eq!(decode_keyword(b"\x01$Junk"), Ok(keyword));
    for bad in [&b""[..], b"\x02$Junk", b"\x01", b"\x01a b"] {
        assert!(decode_keyword(bad).is_err());
    }
    assert_eq!(MARK, [1]);
}

#[test]
fn rows_of_messages_have_these_bytes() {
    let message = MessageRow {
        flags: Flags::SEEN.with(Flags::DRAFT),
        keywords: [KeywordId(3), KeywordId(4)].into(),
        modseq: modseq(0x31),
        createseq: modseq(0x30),
        email: EmailId(0x32),
        thread: ThreadId(0x33),
        size: 0x34,
        received: -2,
        saved: 0x35,
    };
    let text = "01 11 000000000000 3100000000000000 3000000000000000 3200000000000000 3300000000000000
        3400000000000000 feffffffffffffff 3500000000000000 0300 0400";
    let encoded = message.encode();
    assert_eq!(encoded, hex(text));
    assert_eq!(MessageRow::decode(&encoded), Ok(message));
    for end in (0..64).chain([65, 67]) {
        assert!(MessageRow::decode(&encoded[..end]).is_err(), "cut at {end}");
    }
    let mut unordered = encoded.clone();
    unordered[64] = 4;
    assert!(MessageRow::decode(&unordered).is_err(), "keywords ascend, each once");
    let mut zero = encoded;
    zero[8] = 0;
    assert_eq!(MessageRow::decode(&zero), Err(BadRow::Field { row: "MESSAGE", field: "modseq" }));

    let tombstone = TombstoneRow { createseq: modseq(5), removed: -1 };
    let text = "01 00000000000000 0500000000000000 ffffffffffffffff";
    golden!(tombstone, TombstoneRow, tombstone.encode(), text, tail: 0);

    let email = EmailRow {
        blob: BlobId(0x41),
        size: 0x42,
        thread: ThreadId(0x43),
        received: 0x44,
        message_id: 0x45,
        subject: 0x46,
        prefix: (*b"ab").into(),
    };
    let text = "01 00000000000000 4100000000000000 4200000000000000 4300000000000000 4400000000000000
        4500000000000000 4600000000000000 6162";
    golden!(email, EmailRow, email.encode(), text, tail: 2);

    let refs = RefsRow { refs: 2 };
    golden!(refs, RefsRow, refs.encode(), "01 000000 02000000", tail: 0);
    assert!(RefsRow::decode(&hex("01 000000 01000000")).is_err());
    let thread = ThreadRow { thread: ThreadId(7), subject: 8 };
    let text = "01 00000000000000 0700000000000000 0800000000000000";
    golden!(thread, ThreadRow, thread.encode(), text, tail: 0);
}

#[test]
fn keys_of_urls_have_these_bytes_and_are_not_shown() {
    let key = UrlKeyRow { key: [0xab; UrlKeyRow::OCTETS] };
    golden!(key, UrlKeyRow, key.encode(), &format!("01 000000 {}", "ab".repeat(32)), tail: 0);
    assert_eq!(format!("{key:?}"), "UrlKeyRow(..)");
}

#[test]
fn senders_have_these_bytes_and_a_full_bucket_forgets_the_oldest() {
    let mut row = SendersRow::default();
    row.note(0x22, 9);
    row.note(0x11, 0x0807);
    golden!(row, SendersRow, row.encode(), "01 000000 1100000000000000 07080000 2200000000000000 09000000", tail: 12);
    for wrong in [
        "01 000000",
        "01 000000 1100000000000000 070800",
        "01 000000 1100000000000000 07080000 1100000000000000 09000000",
        "01 000000 2200000000000000 07080000 1100000000000000 09000000",
    ] {
        assert!(SendersRow::decode(&hex(wrong)).is_err(), "{wrong}");
    }
    let mut row = SendersRow::default();
    for hash in 0..SendersRow::SENDERS_MAX as u64 {
        row.note(hash, 100 - hash as u32);
    }
    row.note(7, 200);
    row.note(1000, 150);
    assert_eq!(row.entries().len(), SendersRow::SENDERS_MAX);
    assert_eq!((row.day(6), row.day(7), row.day(1000), row.day(0)), (None, Some(200), Some(150), Some(100)));
    row.forget_before(100);
    assert_eq!(row.entries(), [(0, 100), (7, 200), (1000, 150)]);
    let too_many =
        format!("01 000000 {}", (0..9).map(|n| format!("0{n}00000000000000 01000000")).collect::<String>());
    assert!(SendersRow::decode(&hex(&too_many)).is_err());
    assert_eq!((SendersRow::bucket(0), SendersRow::bucket(u64::MAX)), (0, SendersRow::BUCKETS - 1));
}

#[test]
fn what_an_account_sent_has_these_bytes() {
    let row = OutgoingRow { recipients: 0x0102, first_time: 3 };
    golden!(row, OutgoingRow, row.encode(), "01 000000 02010000 03000000", tail: 0);
}

#[test]
fn evaluations_have_these_bytes() {
    let row = EvaluationRow {
        optional: true,
        disposition: Disposition::Reject,
        dkim_aligned: false,
        spf_aligned: true,
        overrides: "o".into(),
        source: "192.0.2.1".parse().unwrap(),
        policy_domain: "pp".into(),
        record: "r".into(),
        header_from: "f".into(),
        envelope_from: "".into(),
        envelope_to: "t".into(),
        spf_domain: "s".into(),
        spf_result: "w".into(),
        dkim: "d".into(),
    };
    let text = "01 05 02 00 00000000000000000000ffffc0000201
        0100 0200 0100 0100 0000 0100 0100 0100 0100 6f 7070 72 66 74 73 77 64";
    golden!(row, EvaluationRow, row.encode().unwrap(), text, tail: 0);
    let with = |change: &dyn Fn(&mut EvaluationRow)| {
        let mut other = row.clone();
        change(&mut other);
        other
    };
    let other = with(&|row| row.source = "2001:db8::1".parse().unwrap());
    assert_eq!(EvaluationRow::decode(&other.encode().unwrap()).unwrap(), other);
    let longest = with(&|row| row.record = "x".repeat(EvaluationRow::TEXT_OCTETS_MAX).into());
    assert_eq!(EvaluationRow::decode(&longest.encode().unwrap()).unwrap(), longest);
    let longer = with(&|row| row.record = "x".repeat(EvaluationRow::TEXT_OCTETS_MAX + 1).into());
    assert_eq!(longer.encode(), None);
    let mut bad = row.encode().unwrap();
    bad[2] = 3;
    assert!(EvaluationRow::decode(&bad).is_err());
    let mut bad = row.encode().unwrap();
    *bad.last_mut().unwrap() = 0xff;
    assert!(EvaluationRow::decode(&bad).is_err());
}

#[test]
fn results_of_tls_have_these_bytes() {
    use postrider_proto::tlsrpt::{Failure, PolicyReport, PolicyType, ResultType};

    let failure = Failure {
        sending_mta_ip: Some("192.0.2.1".parse().unwrap()),
        receiving_mx_hostname: Some("h".into()),
        sessions: 3,
        reason_code: Some("r".into()),
        ..Failure::new(ResultType::Other("x".into()))
    };
    let policy = PolicyReport {
        policy_type: PolicyType::Sts,
        policy_strings: vec!["l".into()],
        policy_domain: "".into(),
        mx_hosts: vec!["m".into(), "".into()],
        successful_sessions: 4,
        failed_sessions: 5,
        failures: vec![failure],
    };
    let row = TlsResultRow { is_reason: true, told: vec!["a@b".into()], policies: vec![policy] };
    let text = "01 01 01 01 0300 614062
        01 00 0100 0200 0100 0400000000000000 0500000000000000 0100 6c 0100 6d 0000
        0300000000000000 01 00 00000000000000000000ffffc0000201 00000000000000000000000000000000
        0100 78 0100 68 0000 0100 72";
    golden!(row, TlsResultRow, row.encode().unwrap(), text, tail: 0);
    assert!(row.has_failures());
    let mut bad = row.encode().unwrap();
    bad[9] = 3;
    assert!(TlsResultRow::decode(&bad).is_err());
    let none = TlsResultRow::default();
    assert_eq!(TlsResultRow::decode(&none.encode().unwrap()).unwrap(), none);
    assert!(!none.has_failures());
    let long = TlsResultRow { told: vec!["x".repeat(1 << 16).into()], ..none };
    assert_eq!(long.encode(), None);
}

#[test]
fn addresses_that_get_no_reports_have_these_bytes() {
    let row = ReportSuppressionRow { created: 1, until: -2, comment: "why".into() };
    let text = "01 00 0300 0100000000000000 feffffffffffffff 77 68 79";
    golden!(row, ReportSuppressionRow, row.encode().unwrap(), text, tail: 0);
}

#[test]
fn reports_have_these_bytes() {
    let row = ReportRow {
        kind: ReportKind::Tls,
        proof: ReportProof::Dmarc,
        received: 0x11,
        begin: -1,
        end: 0x13,
        total: 0x14,
        failed: 0x15,
        quarantined: 0x16,
        rejected: 0x17,
        entries: 0x18,
        left_out: 0x19,
        text_octets: 0x1a,
        digest: [0x1b; 16],
        organization: "o".into(),
        submitter: "ss".into(),
        report_id: "".into(),
        policy_domain: "p".into(),
    };
    let text = "01 02 03 00 1100000000000000 ffffffffffffffff 1300000000000000 1400000000000000 1500000000000000 \
                1600000000000000 1700000000000000 18000000 19000000 1a000000 1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b \
                0100 0200 0000 0100 6f 7373 70";
    golden!(row, ReportRow, row.encode().unwrap(), text, tail: 0);
    let long = |octets| ReportRow { organization: "x".repeat(octets).into(), ..row.clone() };
    assert!(long(ReportRow::TEXT_OCTETS_MAX).encode().is_some());
    assert!(long(ReportRow::TEXT_OCTETS_MAX + 1).encode().is_none());
    for (at, wrong) in [(1, 0), (1, 3), (2, 5)] {
        let mut bad = row.encode().unwrap();
        bad[at] = wrong;
        assert!(ReportRow::decode(&bad).is_err());
    }
    let row = ReportTodoRow {
        kinds: ReportKinds { dmarc: true, tls: true },
        received: 0x11,
        dmarc: false,
        submitted: true,
        from: "f".into(),
        spf: "".into(),
        signers: "a b".into(),
        tls_signers: "t".into(),
    };
    let text = "01 03 02 00 0100 0000 0300 0100 1100000000000000 66 612062 74";
    golden!(row, ReportTodoRow, row.encode().unwrap(), text, tail: 0);
    let mut bad = row.encode().unwrap();
    bad[1] = 4;
    assert!(ReportTodoRow::decode(&bad).is_err());
}

#[test]
fn rows_of_the_system_have_these_bytes() {
    let format = FormatRow { format: 2, converting: 1 };
    golden!(format, FormatRow, format.encode(), "01 01 0000 02000000", tail: 0);
    let blob = BlobRow { size: 0x51, chunks: 0x52, structure: (*b"s").into() };
    golden!(blob, BlobRow, blob.encode(), "01 000000 52000000 5100000000000000 73", tail: 1);
    let erase = EraseRow { refs: 1 };
    golden!(erase, EraseRow, erase.encode(), "01 000000 01000000", tail: 0);
    assert!(EraseRow::decode(&hex("01 000000 00000000")).is_err());
}

fn block(base: u32, messages: &[(u32, u8)]) -> Block {
    let mut block = Block::new(Uid::new(base).unwrap());
    for (uid, octet) in messages {
        assert!(block.push(Uid::new(*uid).unwrap(), *octet));
    }
    block
}

#[test]
fn blocks_have_these_bytes() {
    let seen = Flags::SEEN.bits();
    let deleted = Flags::DELETED.bits();
    let sparse = block(5, &[(5, seen), (6, deleted), (7, seen | HAS_KEYWORDS), (300, 0), (302, seen)]);
    // Runs: 5-7, then 292 further on 300, then 1 further on 302.
    let text = "01 00 0500 0200 0100 00 03 a402 01 01 01 01 08 81 00 01";
    assert_eq!(sparse.encode(), hex(text));
    assert_eq!(Block::decode(sparse.base(), &sparse.encode()), Ok(sparse));
    let last = block(1, &[(u32::MAX, 0)]);
    assert_eq!(Block::decode(last.base(), &last.encode()), Ok(last));
}

#[test]
fn a_block_takes_messages_to_its_limit_and_only_behind() {
    let mut full = block(10, &[]);
    assert!(!full.push(Uid::new(9).unwrap(), 0), "below its base");
    for uid in 0..BLOCK_MESSAGES_MAX as u32 {
        assert!(!full.is_full());
        assert!(full.push(Uid::new(10 + uid).unwrap(), 0));
        assert!(!full.push(Uid::new(10 + uid).unwrap(), 0), "twice");
    }
    assert!(full.is_full() && !full.push(Uid::MAX, 0));
    assert_eq!(full.encode().len(), 8 + 3 + BLOCK_MESSAGES_MAX);
}

#[test]
fn damaged_blocks_are_refused() {
    let good = block(5, &[(5, 1), (6, 8), (9, 0)]).encode();
    let base = Uid::new(5).unwrap();
    for at in 0..good.len() {
        assert!(Block::decode(base, &good[..at]).is_err(), "cut at {at}");
    }
    for (at, octet) in [(0, 2), (2, 0), (2, 4), (4, 9), (6, 9), (9, 0), (9, 9), (11, 0x80)] {
        let mut bad = good.clone();
        bad[at] = octet;
        assert!(Block::decode(base, &bad).is_err(), "octet {at} is {octet}");
    }
    assert!(Block::decode(Uid::MAX, &good).is_err(), "uids beyond the last");
    assert!(Block::decode(base, &hex("01 00 0000 0000 0000")).is_err(), "no block is empty");
}

proptest! {
    #[test]
    fn blocks_come_back_as_they_were(
        base in 1_u32..,
        gaps in proptest::collection::vec((0_u32..2000, any::<u8>()), 1..BLOCK_MESSAGES_MAX),
        gone in any::<u64>(),
    ) {
        let mut block = Block::new(Uid::new(base).unwrap());
        let mut next = Some(base);
        for (gap, octet) in gaps {
            let gap = if gap < 1500 { 0 } else { gap };
            let Some(uid) = next.and_then(|next| next.checked_add(gap)) else { break };
            prop_assert!(block.push(Uid::new(uid).unwrap(), octet & 0x9f));
            next = uid.checked_add(1);
        }
        let stored = block.encode();
        prop_assert_eq!(&Block::decode(block.base(), &stored).unwrap(), &block);
        let view = View::parse(block.base(), &stored).unwrap();
        prop_assert_eq!(view.counts(), block.counts());
        let count: u32 = view.runs().map(|run| run.unwrap().1).sum();
        prop_assert_eq!(count as usize, block.len());

        let keep = |uid: Uid| gone >> (uid.get() % 64) & 1 == 1;
        let expected: Vec<_> = block.iter().filter(|(uid, _)| keep(*uid)).collect();
        block.remove_all(|uid| !keep(uid));
        prop_assert_eq!(block.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_bytes_make_decoding_panic(base in 1_u32.., bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        let _ = Block::decode(Uid::new(base).unwrap(), &bytes);
        let _ = MessageRow::decode(&bytes);
        let _ = MailboxRow::decode(&bytes);
        let _ = SuppressionRow::decode(&bytes);
        let _ = StrikesRow::decode(&bytes);
        let _ = HoldRuleRow::decode(&bytes);
        let _ = HookRow::decode(&bytes);
        let _ = RetiredHookRow::decode(&bytes);
        let _ = RetiredRow::decode(&bytes);
        let _ = TlsKnownRow::decode(&bytes);
        let _ = MtaStsRow::decode(&bytes);
        let _ = queue_v1::QueueV1::decode(&bytes);
        let _ = queue_v1::RecipientV1::decode(&bytes);
        if let Some(version) = bytes.first_mut() {
            *version = 2;
        }
        let _ = QueueRow::decode(&bytes);
        let _ = RecipientRow::decode(&bytes);
    }
}

#[test]
fn the_row_of_a_text_index_has_these_bytes() {
    let segment = |number, state| Segment {
        number,
        state,
        first: EmailId(0x21),
        end: EmailId(0x22),
        emails: 0x23,
        terms: 0x24,
        dictionary_octets: 0x25,
        postings_octets: 0x26,
    };
    let row = TextRow {
        text_version: 0x11,
        covered: EmailId(0x0102_0304_0506_0708),
        next_segment: 0x12,
        segments: vec![segment(0x31, SegmentState::Live), segment(0x32, SegmentState::Building)],
    };
    let of_segments = "21 00000000000000 22 00000000000000 23 000000 00000000 24 00000000000000
        25 00000000000000 26 00000000000000";
    let text = format!(
        "01 00 0200 11000000 0807060504030201 12000000 00000000
        31000000 00 000000 {of_segments} 32000000 01 000000 {of_segments}"
    );
    golden!(row, TextRow, row.encode(), &text, tail: 0);
    let mut dropped = row.encode();
    dropped[24 + 4] = 2;
    assert_eq!(TextRow::decode(&dropped).unwrap().segments[0].state, SegmentState::Dropped);
    dropped[24 + 4] = 3;
    assert!(matches!(TextRow::decode(&dropped), Err(BadRow::Field { field: "state of a segment", .. })));
    let mut reversed = row.encode();
    reversed[24 + 8] = 0x23;
    assert!(matches!(TextRow::decode(&reversed), Err(BadRow::Field { field: "range of a segment", .. })));
}

mod sending;
