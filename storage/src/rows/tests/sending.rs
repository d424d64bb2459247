//! The bytes of what is to be sent, and of what is known for sending.

use postrider_proto::smtp::envelope::Notify;

use super::super::queue_v1::{QueueV1, RecipientV1, written};
use super::*;
use crate::directory::WebhookEvent;
use crate::ids::{AccountId, HookId, QueueId, RuleId};

fn result() -> AttemptResult {
    AttemptResult::new(0x51, 550, Some([5, 1, 0x0102]), "mx", "no")
}

/// Its 20 octets in a record, and what follows.
const RESULT: &str = "5100000000000000 2602 0500 0100 0201 0200 02 03";
const NO_RESULT: &str = "0000000000000000 0000 0000 0000 0000 0000 00 00";

fn queued() -> QueueRow {
    QueueRow {
        blob: BlobId(0x61),
        size: 0x62,
        prefix_octets: 0x63,
        created: 0x64,
        sender: 0x65,
        base: QueueId(0x66),
        domain: "d.e".into(),
        recipients: 0x67,
        waiting: 0x68,
        kind: Kind::TlsReport,
        require_tls: RequireTls::No,
        smtputf8: true,
        eight_bit: false,
        binary: false,
        long_lines: false,
        ret: Ret::Headers,
        envelope_id: (*b"id").into(),
        mail_from: (*b"a@b").into(),
        hold_until: -1,
        hold_for: true,
        attempts: 0x69,
        max_attempts: 0x6a,
        last_attempt: 0x6b,
        due: 0x6c,
        held: Held::Rule(RuleId(0x6d)),
        claimed: true,
        delay_reported: true,
        has_meta: true,
        transport: "t".into(),
        dialed: ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()].into(),
        last_error: Some(result()),
    }
}

#[test]
fn rows_of_the_queue_have_these_bytes() {
    let row = queued();
    let text = format!(
        "02 f2 02 02 03 02 02 03 65000000 67000000 68000000 63000000 69000000 6a000000 6d000000
        0200 0300 0100 0000 6100000000000000 6200000000000000 6600000000000000 6400000000000000
        ffffffffffffffff 6b00000000000000 6c00000000000000 {RESULT}
        00000000000000000000ffffc0000201 20010db8000000000000000000000001
        642e65 6964 614062 74 6d78 6e6f"
    );
    golden!(row, QueueRow, row.encode().unwrap(), &text, tail: 0);
    for (at, octet) in [(2, 3), (3, 3), (4, 4), (5, 3), (5, 0), (6, 9), (119, 0)] {
        let mut bad = row.encode().unwrap();
        bad[at] = octet;
        assert!(QueueRow::decode(&bad).is_err(), "octet {at} is {octet}");
    }
    let plain = QueueRow {
        held: Held::Operator,
        claimed: false,
        last_error: None,
        dialed: Box::default(),
        eight_bit: true,
        binary: true,
        long_lines: true,
        kind: Kind::Ordinary,
        require_tls: RequireTls::Unset,
        ..queued()
    };
    assert_eq!(plain.encode().unwrap()[1], 0xef);
    assert_eq!(QueueRow::decode(&plain.encode().unwrap()).unwrap(), plain);

    let recipient = RecipientRow {
        notify: Some(Notify { success: true, failure: false, delay: true }),
        address: (*b"c@d").into(),
        original: (*b"o").into(),
        result: Some(result()),
    };
    let text = format!("02 0b 0300 0100 {RESULT} 634064 6f 6d78 6e6f");
    golden!(recipient, RecipientRow, recipient.encode().unwrap(), &text, tail: 0);
    let fresh = RecipientRow { notify: None, result: None, ..recipient.clone() };
    golden!(fresh, RecipientRow, fresh.encode().unwrap(), &format!("02 00 0300 0100 {NO_RESULT} 634064 6f"), tail: 0);
    let never = RecipientRow { notify: Some(Notify::default()), ..recipient };
    assert_eq!(never.encode().unwrap()[1], 1);
    assert_eq!(RecipientRow::decode(&never.encode().unwrap()).unwrap(), never);
}

#[test]
fn texts_of_the_queue_are_stored_up_to_their_bounds() {
    let address = |octets: usize| RecipientRow {
        notify: None,
        address: vec![b'a'; octets].into(),
        original: Box::default(),
        result: None,
    };
    let longest = RecipientRow::TEXT_OCTETS_MAX;
    assert!(address(longest).encode().is_some() && address(longest + 1).encode().is_none());
    let domain = |octets| QueueRow { domain: "x".repeat(octets).into(), ..queued() };
    assert!(domain(255).encode().is_some() && domain(256).encode().is_none());
    let dialed = |count| QueueRow { dialed: vec!["192.0.2.1".parse().unwrap(); count].into(), ..queued() };
    assert!(dialed(DIALED_MAX).encode().is_some() && dialed(DIALED_MAX + 1).encode().is_none());

    let long = AttemptResult::new(0, 0, None, &"é".repeat(200), &"é".repeat(1000));
    assert_eq!((long.host().len(), long.text().len()), (254, 1024));
    let row = RecipientRow { result: Some(long), ..address(1) };
    assert_eq!(RecipientRow::decode(&row.encode().unwrap()).unwrap(), row);
}

#[test]
fn the_last_addresses_dialed_are_remembered_once_each() {
    let address = |last: u8| std::net::IpAddr::from([192, 0, 2, last]);
    let mut row = QueueRow { dialed: Box::default(), ..queued() };
    (0..10).for_each(|last| row.note_dialed(address(last)));
    row.note_dialed(address(5));
    assert_eq!(*row.dialed, [2, 3, 4, 6, 7, 8, 9, 5].map(address));
}

#[test]
fn rows_of_suppression_holds_and_retirement_have_these_bytes() {
    let row = SuppressionRow { created: 0x11, automatic: true, address: "a@b".into(), reason: "no".into() };
    let text = "01 01 0300 0200 1100000000000000 614062 6e6f";
    golden!(row, SuppressionRow, row.encode().unwrap(), text, tail: 0);
    let reason = |octets: usize| SuppressionRow { reason: "x".repeat(octets).into(), ..row.clone() };
    let longest = SuppressionRow::TEXT_OCTETS_MAX;
    assert!(reason(longest).encode().is_some() && reason(longest + 1).encode().is_none());

    let row = StrikesRow { count: 2, last: -1 };
    golden!(row, StrikesRow, row.encode(), "01 000000 02000000 ffffffffffffffff", tail: 0);
    assert!(StrikesRow::decode(&hex("01 000000 00000000 0000000000000000")).is_err());

    let row = HoldRuleRow {
        account: AccountId::new(7),
        sender_domain: Some("".into()),
        recipient_domain: None,
        created: 0x11,
        comment: "c".into(),
    };
    golden!(row, HoldRuleRow, row.encode().unwrap(), "01 01 00 00 0100 0000 07000000 1100000000000000 63", tail: 0);
    let other =
        HoldRuleRow { account: None, recipient_domain: Some("a.b".into()), sender_domain: None, ..row };
    assert_eq!(HoldRuleRow::decode(&other.encode().unwrap()).unwrap(), other);
    let long = HoldRuleRow { recipient_domain: Some("x".repeat(256).into()), ..other };
    assert_eq!(long.encode(), None);

    let row = RetiredRow {
        retirement: Retirement::Failed,
        kind: Kind::Report,
        ended: 0x11,
        created: 0x12,
        base: QueueId(0x13),
        sender: 0x14,
        attempts: 0x15,
        mail_from: (*b"a@b").into(),
        address: (*b"c@d").into(),
        envelope_id: (*b"id").into(),
        result: Some(result()),
        meta: None,
        reports: Vec::new(),
    };
    let text = format!(
        "01 01 01 00 0300 0300 0200 0000 14000000 15000000 1300000000000000 1100000000000000
        1200000000000000 {RESULT} 614062 634064 6964 6d78 6e6f"
    );
    assert_eq!(row.encode().unwrap(), hex(&text));
    assert_eq!(RetiredRow::decode(&hex(&text)).unwrap(), row);
    for cut in 0..hex(&text).len() {
        assert!(RetiredRow::decode(&hex(&text)[..cut]).is_err(), "{cut}");
    }
    for (at, octet) in [(1, 3), (2, 4)] {
        let mut bad = row.encode().unwrap();
        bad[at] = octet;
        assert!(RetiredRow::decode(&bad).is_err());
    }
    // What was kept for programs and what was reported make it version 2.
    let reported = |action| ReportedResult { action, result: result() };
    let mut full = RetiredRow { meta: Some(meta()), ..row };
    full.note_report(reported(ReportedAction::Delayed));
    full.note_report(reported(ReportedAction::Failed));
    let text = format!(
        "02 01 01 00 0300 0300 0200 0000 14000000 15000000 1300000000000000 1100000000000000
        1200000000000000 {RESULT} 1400 02 00 614062 634064 6964 6d78 6e6f {META}
        01 00 {RESULT} 6d78 6e6f 00 00 {RESULT} 6d78 6e6f"
    );
    golden!(full, RetiredRow, full.encode().unwrap(), &text, tail: 0);
    for _ in 0..RetiredRow::REPORTS_MAX {
        full.note_report(reported(ReportedAction::Relayed));
    }
    assert_eq!(full.reports, vec![reported(ReportedAction::Relayed); RetiredRow::REPORTS_MAX]);
    assert_eq!(RetiredRow::decode(&full.encode().unwrap()).unwrap(), full);
    let mut bad = full.encode().unwrap();
    bad.truncate(bad.len() - 1);
    assert!(RetiredRow::decode(&bad).is_err());
}

fn meta() -> QueueMeta {
    QueueMeta {
        from_id: "f".into(),
        message_id: "m@x".into(),
        subject: "s".into(),
        extra: vec![("k".into(), "vw".into())],
    }
}

const META: &str = "01 01 0100 0300 0100 66 6d4078 73 0100 6b 0200 7677";

#[test]
fn rows_of_ids_and_for_programs_have_these_bytes() {
    let row = meta();
    golden!(row, QueueMeta, row.encode().unwrap(), META, tail: 0);
    let many = |count: usize, octets: usize| QueueMeta {
        extra: (0..count).map(|_| ("k".into(), "v".repeat(octets).into())).collect(),
        ..meta()
    };
    for (count, octets, fits) in [
        (QueueMeta::EXTRA_MAX, 1, true),
        (QueueMeta::EXTRA_MAX + 1, 1, false),
        (1, QueueMeta::EXTRA_OCTETS_MAX - 1, true),
        (1, QueueMeta::EXTRA_OCTETS_MAX, false),
    ] {
        let row = many(count, octets);
        assert_eq!(row.encode().is_some(), fits, "{count} {octets}");
        if let Some(bytes) = row.encode() {
            assert_eq!(QueueMeta::decode(&bytes).unwrap(), row);
        }
    }
    let long = QueueMeta { subject: "x".repeat(QueueMeta::TEXT_OCTETS_MAX + 1).into(), ..meta() };
    assert_eq!(long.encode(), None);
    let row = FromIdRow::Queued { id: QueueId(0x66) };
    golden!(row, FromIdRow, row.encode(), "01 00 0000 00000000 6600000000000000 0000000000000000", tail: 0);
    let row = FromIdRow::Retired { id: QueueId(0x66), number: 7, until: -1 };
    golden!(row, FromIdRow, row.encode(), "01 01 0000 07000000 6600000000000000 ffffffffffffffff", tail: 0);
    let mut bad = row.encode();
    bad[1] = 2;
    assert!(FromIdRow::decode(&bad).is_err());
}

#[test]
fn rows_of_transport_security_have_these_bytes() {
    let row = TlsKnownRow {
        updated: 0x11,
        starttls: true,
        requiretls: false,
        dnssec: false,
        dane: true,
        mta_sts: MtaStsSeen::Enforce,
    };
    golden!(row, TlsKnownRow, row.encode(), "01 09 03 0000000000 1100000000000000", tail: 0);
    for seen in [MtaStsSeen::Absent, MtaStsSeen::None, MtaStsSeen::Testing] {
        let other = TlsKnownRow { mta_sts: seen, requiretls: true, dnssec: true, ..row };
        assert_eq!(TlsKnownRow::decode(&other.encode()), Ok(other));
    }
    assert!(TlsKnownRow::decode(&hex("01 09 04 0000000000 1100000000000000")).is_err());

    let row = MtaStsRow {
        inserted: 0x11,
        valid_until: 0x12,
        updated: 0x13,
        used: 0x14,
        backoff: true,
        record_id: "id".into(),
        policy: "p".into(),
    };
    let text =
        "01 01 02 00 01000000 1100000000000000 1200000000000000 1300000000000000 1400000000000000 6964 70";
    golden!(row, MtaStsRow, row.encode().unwrap(), text, tail: 0);
    let policy = |octets| MtaStsRow { policy: "x".repeat(octets).into(), ..row.clone() };
    let longest = MtaStsRow::POLICY_OCTETS_MAX;
    assert!(policy(longest).encode().is_some() && policy(longest + 1).encode().is_none());
}

#[test]
fn rows_of_the_queue_of_format_1_are_read() {
    let queued = QueueV1 {
        blob: BlobId(0x61),
        size: 0x62,
        created: 0x63,
        sender: 0x64,
        recipients: 0x65,
        require_tls: true,
        smtputf8: false,
        eight_bit: true,
        binary: false,
        ret: Ret::Headers,
        envelope_id: (*b"id").into(),
        mail_from: (*b"a@b").into(),
        prefix: (*b"p").into(),
    };
    let text = "01 05 02 00 64000000 65000000 0200 0300 6100000000000000 6200000000000000
        6300000000000000 6964 614062 70";
    golden!(queued, QueueV1, written::queue(&queued), text, tail: 1);
    let recipient = RecipientV1 {
        due: 0x71,
        hold_until: -1,
        domain: 0x72,
        attempts: 0x73,
        notify: Some(Notify { success: true, failure: true, delay: false }),
        address: (*b"c@d").into(),
        original: (*b"o").into(),
    };
    let text = "01 07 0300 73000000 7100000000000000 ffffffffffffffff 7200000000000000 634064 6f";
    golden!(recipient, RecipientV1, written::recipient(&recipient), text, tail: 1);
    assert_eq!(written::due(0x0102), hex("01 0201000000000000"));
}

#[test]
fn rows_of_webhooks_have_these_bytes() {
    let hook = HookRow {
        account: AccountId::new(0x61).unwrap(),
        subject: HookSubject::Outgoing { event: WebhookEvent::Delayed, base: QueueId(0x62), recipient: 0x63 },
        created: 0x64,
        due: -1,
        attempts: 0x65,
        url: "u".into(),
        payload: b"{}".as_slice().into(),
        results: vec![HookResult::new(0x66, 0x67, 500, "e", "r"), HookResult::new(0x68, 0x69, 0, "", "")],
    };
    let rest = "0100 0000 61000000 65000000 02000000 00000000";
    let tail = "6400000000000000 ffffffffffffffff 75 7b7d
        6600000000000000 67000000 f401 0100 0100 65 72 6800000000000000 69000000 0000 0000 0000";
    let text = format!("01 02 02 00 {rest} 6200000000000000 6300000000000000 {tail}");
    golden!(hook, HookRow, hook.encode().unwrap(), &text, tail: 0);
    let came = HookRow { subject: HookSubject::Incoming { email: EmailId(0x6a) }, ..hook.clone() };
    let came_text = format!("01 80 02 00 {rest} 6a00000000000000 0000000000000000 {tail}");
    golden!(came, HookRow, came.encode().unwrap(), &came_text, tail: 0);
    for (end, octets) in [
        (HookEnd::Delivered, "00 000000000000 0000000000000000"),
        (HookEnd::Failed, "01 000000000000 0000000000000000"),
        (HookEnd::Superseded(HookId(0x6b)), "02 000000000000 6b00000000000000"),
        (HookEnd::Canceled, "03 000000000000 0000000000000000"),
        (HookEnd::Unwanted, "04 000000000000 0000000000000000"),
        (HookEnd::Expired, "05 000000000000 0000000000000000"),
    ] {
        let row = RetiredHookRow { end, ended: 0x6c, hook: hook.clone() };
        let retired = format!("01 {octets} 6c00000000000000 {text}");
        golden!(row, RetiredHookRow, row.encode().unwrap(), &retired, tail: 0);
    }
    for (at, octet) in [(1, 8), (1, 129), (2, 17), (8, 0)] {
        let mut bad = hook.encode().unwrap();
        bad[at] = octet;
        assert!(HookRow::decode(&bad).is_err(), "octet {at} is {octet}");
    }
}
