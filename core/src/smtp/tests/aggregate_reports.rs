//! Aggregate reports of DMARC: mail comes in, time goes by, and a report waits in the queue.

use std::cell::RefCell;

use postrider_proto::address::Domain;
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::key::Kind as KeyKind;
use postrider_proto::dmarc::Alignment;
use postrider_proto::dmarc::report::{
    AuthResult, Disposition, Outcome, OverrideType, PublishedPolicy, Reason, Record, Report, SpfResult,
    SpfScope,
};
use postrider_proto::gzip;
use postrider_proto::mime::decode::{TransferEncoding, decode};
use postrider_storage::account::Content;
use postrider_storage::blobs::BlobReader;
use postrider_storage::directory::{
    AddressPattern, Change, Destination, DkimSecret, DkimState, DomainSettings, ReportKinds,
};
use postrider_storage::engine::memory::{Crash, Fault};
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::evaluations::{self, Group};
use postrider_storage::ids::QueueId;
use postrider_storage::queue;
use postrider_storage::report_suppressions;
use postrider_storage::rows::{Kind, QueueRow, ReportSuppressionRow, RequireTls};

use super::other_server;
use super::world::{World, address};
use crate::reporting::dmarc::round;
use crate::reporting::pace::{Led, Pace};
use crate::testing::{wait_until, within_one};

const SCRIPT: &str = "
    $ORIGIN example.
    client        A    127.0.0.1
    strict        MX   10 client
    strict        TXT  \"v=spf1 ip4:127.0.0.1 -all\"
    _dmarc.strict TXT  \"v=DMARC1; p=reject; sp=none; pct=90; bad; ri=x; rua=mailto:reports@strict.example!1m\"
    bank          MX   10 client
    bank          TXT  \"v=spf1 -all\"
    _dmarc.bank   TXT  \"v=DMARC1; p=quarantine; rua=mailto:reports@bank.example\"
    lax           MX   10 client
    lax           TXT  \"v=spf1 ~all\"
    _dmarc.lax    TXT  \"v=DMARC1; p=none; ri=3600; rua=mailto:a@elsewhere.example,mailto:b@agrees.example\"
    lax.example._report._dmarc.agrees TXT \"v=DMARC1\"
";
const DAY: i64 = 86_400;

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// A server whose reports are signed.
fn start(script: &str) -> World {
    let world = World::with_script(script, |_| {});
    add_key(&world);
    world
}

fn add_key(world: &World) {
    // An Ed25519 key (RFC 8410 §7).
    let start = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let secret = DkimSecret::new(KeyKind::Ed25519, [&start[..], &[7; 32]].concat().into());
    world.change(&[
        Change::AddDomain { domain: domain("localhost"), settings: DomainSettings::default() },
        Change::AddDkimKey {
            domain: domain("localhost"),
            selector: Selector::parse("s").unwrap(),
            secret,
            state: DkimState::Signs,
        },
    ]);
}

fn send(world: &World, from: &str, to: &str) -> String {
    let text = format!("From: <{from}>\r\nSubject: x\r\n\r\nbody");
    let sender = if from.ends_with("bank.example") { "a@strict.example" } else { from };
    world.smtp().mail(sender, &[to], &text)
}

fn due(world: &World) -> Vec<Group> {
    evaluations::due(&world.shared.store.reader(), i64::MAX, None, 100).unwrap()
}

fn kept(world: &World) -> usize {
    evaluations::all(&world.shared.store.reader()).count()
}

/// Runs a round at a time; gives the time at its end.
fn run(world: &World, now: i64) -> i64 {
    let anna = world.account("anna").unwrap();
    world.at_home(anna, move |shard| {
        Box::pin(async move {
            let pace = Led::at(now);
            round(&shard, &pace).await.unwrap();
            pace.now()
        })
    })
}

fn entries(world: &World) -> Vec<(QueueId, QueueRow)> {
    queue::entries(&world.shared.store.reader(), QueueId(0)).map(Result::unwrap).collect()
}

fn text(world: &World, (id, row): &(QueueId, QueueRow)) -> String {
    let reader = world.shared.store.reader();
    let mut text = queue::prefix(&reader, *id).unwrap();
    let size = reader.blob(row.blob).unwrap().unwrap().size;
    let mut content = BlobReader::new(Content { blob: row.blob, size }, 0..size);
    while let Some(piece) = content.read(&reader).unwrap() {
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).unwrap()
}

/// The compressed report in a message.
fn report(text: &str) -> Report {
    let (_, part) = text.split_once("Content-Type: application/gzip\r\n").unwrap();
    let (_, body) = part.split_once("\r\n\r\n").unwrap();
    let (body, _) = body.split_once("\r\n--").unwrap();
    let octets = decode(TransferEncoding::Base64, body.as_bytes()).unwrap();
    Report::parse(&gzip::decompress(&octets, 1 << 20).unwrap()).unwrap()
}

/// What stands in the message with a report about `strict.example`.
fn file_name(report: &Report) -> String {
    let (_, unique) = report.report_id.split_once('.').unwrap().1.split_once('.').unwrap();
    format!("filename=\"localhost!strict.example!{}!{}!{unique}.xml.gz\"", report.begin, report.end)
}

fn only(world: &World) -> (QueueRow, String) {
    let mut entries = entries(world);
    assert_eq!(entries.len(), 1);
    let entry = entries.remove(0);
    let text = text(world, &entry).replace("\r\n\t", " ");
    (entry.1, text)
}

fn metrics(world: &World) -> (u64, u64) {
    let (registry, metrics) = (&world.shared.registry, &world.shared.metrics.reporting);
    (registry.counter(metrics.dmarc_queued), registry.counter(metrics.dmarc_errors))
}

#[test]
fn a_day_of_mail_is_reported_once() {
    within_one(DAY, a_day_of_mail);
}

fn a_day_of_mail() {
    let world = start(SCRIPT);
    assert!(send(&world, "a@strict.example", "anna@example.org").starts_with("250"));
    assert!(send(&world, "b@strict.example", "ben@example.org").starts_with("250"));
    let reply = world.smtp().mail(
        "a@strict.example",
        &["anna@example.org"],
        "From: <a@sub.strict.example>\r\n\r\nbody",
    );
    assert!(reply.starts_with("250"), "{reply}");
    wait_until(|| kept(&world) == 3);
    let groups = due(&world);
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((&*group.domain, group.due % DAY), ("strict.example", 0));

    // The day isn't over.
    run(&world, group.due - 1);
    assert_eq!((entries(&world).len(), kept(&world)), (0, 3));
    run(&world, group.due + 60);
    assert_eq!(kept(&world), 0);
    let (row, message) = only(&world);
    assert_eq!(
        (row.kind, row.max_attempts, row.sender, row.require_tls),
        (Kind::DmarcReport, 5, 0, RequireTls::Unset)
    );
    assert_eq!(&*row.mail_from, b"postmaster@localhost");
    assert_eq!(metrics(&world), (1, 0));
    let found = report(&message);
    let record = |header_from: &str, envelope_from: &str, count| Record {
        source: Some("127.0.0.1".parse().unwrap()),
        count,
        disposition: Disposition::None,
        dkim: Outcome::Fail,
        spf: Outcome::Pass,
        reasons: Vec::new(),
        header_from: header_from.into(),
        envelope_from: Some(envelope_from.into()),
        envelope_to: Some("example.org".into()),
        dkim_results: Vec::new(),
        spf_results: vec![SpfResult {
            domain: envelope_from.into(),
            scope: Some(SpfScope::Mfrom),
            result: AuthResult::Pass,
            human_result: None,
        }],
    };
    let expected = Report {
        organization_name: "localhost".into(),
        email: "postmaster@localhost".into(),
        extra_contact_info: None,
        report_id: found.report_id.clone(),
        begin: group.due - DAY,
        end: group.due - 1,
        errors: vec!["tag \"bad\": not name=value; tag \"ri\": not a value of this tag".into()],
        generator: None,
        policy: PublishedPolicy {
            domain: "strict.example".into(),
            policy: Some(Disposition::Reject),
            subdomain_policy: Some(Disposition::None),
            nonexistent_policy: None,
            dkim_alignment: Some(Alignment::Relaxed),
            spf_alignment: Some(Alignment::Relaxed),
            percent: Some(90),
            failure_options: Some("0".into()),
            testing: None,
            discovery_method: None,
        },
        records: vec![
            record("strict.example", "strict.example", 2),
            record("sub.strict.example", "strict.example", 1),
        ],
    };
    assert_eq!(found, expected);
    for part in [
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=localhost;",
        "From: <postmaster@localhost>",
        "To: <reports@strict.example>",
        &format!(
            "Subject: Report Domain: strict.example Submitter: localhost Report-ID: <{}>",
            found.report_id
        ),
        &file_name(&found),
        "Content-Type: multipart/mixed;",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert!(!message.contains("TLS-Required"), "{message}");

    // Neither in the next round, nor when the server starts again, is anything of it sent again.
    run(&world, group.due + 3660);
    let world = world.restarted(SCRIPT, |_| {});
    run(&world, group.due + 7260);
    assert_eq!(entries(&world).len(), 1);
}

#[test]
fn what_comes_late_is_in_a_report_of_another_name() {
    within_one(DAY, what_comes_late);
}

fn what_comes_late() {
    let world = start(SCRIPT);
    let late = |number: usize| {
        assert!(send(&world, "a@strict.example", "anna@example.org").starts_with("250"));
        wait_until(|| kept(&world) == 1);
        let due = due(&world)[0].due;
        // Two rounds of the same day: the clock went back, or the disk was slow.
        run(&world, due + number as i64 * 3600);
        let entries = entries(&world);
        let text = text(&world, &entries[number]).replace("\r\n\t", " ");
        let found = report(&text);
        assert!(text.contains(&file_name(&found)), "{text}");
        found
    };
    let (first, second) = (late(0), late(1));
    assert_eq!((first.begin, first.end), (second.begin, second.end));
    assert_ne!(first.report_id, second.report_id);
    assert_ne!(file_name(&first), file_name(&second));
}

#[test]
fn what_is_no_reason_for_a_report_is_in_none_of_its_own() {
    within_one(DAY, what_is_no_reason);
}

fn what_is_no_reason() {
    let world = start(SCRIPT);
    let reads = Destination { reports: ReportKinds { dmarc: true, tls: false }, ..Destination::default() };
    world.change(&[Change::SetDestination {
        address: AddressPattern::Exact(address("ben@example.org")),
        destination: reads,
    }]);
    // Who forges mail isn't told that it was seen, and a report isn't answered by a report.
    assert!(send(&world, "boss@bank.example", "anna@example.org").starts_with("550"));
    assert!(send(&world, "a@strict.example", "ben@example.org").starts_with("250"));
    // Neither where an operator didn't say that reports come there.
    let report =
        "From: <a@strict.example>\r\nSubject: Report Domain: example.org\r\n\tSubmitter: x\r\n\r\nbody";
    let reply = world.smtp().mail("a@strict.example", &["anna@example.org"], report);
    assert!(reply.starts_with("250"), "{reply}");
    wait_until(|| kept(&world) == 3);
    let groups = due(&world);
    assert_eq!(groups.len(), 2);
    run(&world, groups[0].due + 60);
    assert_eq!((entries(&world).len(), kept(&world)), (0, 0));

    // Whose mail isn't confirmed can't have it unreported by such a subject.
    let forged = "From: <a@lax.example>\r\nSubject: Report Domain: x\r\n\r\nbody";
    assert!(world.smtp().mail("a@lax.example", &["anna@example.org"], forged).starts_with("250"));
    wait_until(|| kept(&world) == 1);
    run(&world, due(&world)[0].due);
    assert_eq!((entries(&world).len(), kept(&world)), (1, 0));

    // With one that is a reason, they are in its report.
    assert!(send(&world, "boss@bank.example", "anna@example.org").starts_with("550"));
    assert!(send(&world, "a@strict.example", "ben@example.org").starts_with("250"));
    assert!(send(&world, "a@strict.example", "anna@example.org").starts_with("250"));
    wait_until(|| kept(&world) == 3);
    run(&world, due(&world)[0].due + 60);
    let messages = entries(&world);
    assert_eq!(messages.len(), 2);
    let report = self::report(&text(&world, &messages[1]));
    assert_eq!((&*report.policy.domain, report.records[0].count), ("strict.example", 2));
    assert_eq!(kept(&world), 0);
}

#[test]
fn reports_go_to_those_who_agree_at_the_times_that_the_record_names() {
    let world = start(SCRIPT);
    assert!(send(&world, "a@lax.example", "anna@example.org").starts_with("250"));
    wait_until(|| kept(&world) == 1);
    let group = due(&world).remove(0);
    assert_eq!(group.due % 3600, 0);
    run(&world, group.due);
    let (_, message) = only(&world);
    assert!(message.contains("To: <b@agrees.example>\r\n") && !message.contains("elsewhere"), "{message}");
    let report = report(&message);
    assert_eq!((report.begin, report.end), (group.due - 3600, group.due - 1));
    let record = &report.records[0];
    assert_eq!((&record.spf, &record.spf_results[0].result), (&Outcome::Fail, &AuthResult::Softfail));
    assert_eq!(record.reasons, [] as [Reason; 0]);
}

#[test]
fn what_cannot_be_sent_now_waits() {
    let world = World::with_script(SCRIPT, |_| {});
    assert!(send(&world, "a@strict.example", "anna@example.org").starts_with("250"));
    wait_until(|| kept(&world) == 1);
    let due = due(&world)[0].due;
    // Nothing signs.
    run(&world, due + 60);
    assert_eq!((entries(&world).len(), kept(&world)), (0, 1));
    add_key(&world);
    // DNS says nothing.
    let (zone, record) = SCRIPT.split_once("_dmarc.strict").unwrap();
    let (_, rest) = record.split_once('\n').unwrap();
    let silent = format!("{zone}\n$SERVFAIL _dmarc.strict\n{rest}");
    let world = world.restarted(&silent, |_| {});
    run(&world, due + 3660);
    assert_eq!((entries(&world).len(), kept(&world)), (0, 1));
    let world = world.restarted(SCRIPT, |_| {});
    run(&world, due + 7260);
    assert_eq!((entries(&world).len(), kept(&world)), (1, 0));
    assert!(report(&only(&world).1).end < due);
}

#[test]
fn a_crash_while_a_report_is_queued_neither_loses_nor_repeats_it() {
    for fault in [Fault::Full, Fault::Write, Fault::Sync] {
        for crash in [Crash::LoseUnsynced, Crash::KeepUnsynced(1)] {
            let world = World::with_script(SCRIPT, |_| {});
            assert!(send(&world, "a@strict.example", "anna@example.org").starts_with("250"));
            wait_until(|| kept(&world) == 1);
            // Syncs the evaluation, too.
            add_key(&world);
            let due = due(&world)[0].due;
            world.engine.fail_commit(1, fault);
            run(&world, due + 60);
            assert_eq!(metrics(&world), (0, 1), "{fault:?}");
            let world = world.restarted(SCRIPT, |engine| engine.crash(crash));
            assert_eq!(entries(&world).len() + kept(&world), 1, "{fault:?} {crash:?}");
            run(&world, due + 3660);
            assert_eq!((entries(&world).len(), kept(&world)), (1, 0), "{fault:?} {crash:?}");
        }
    }
}

#[test]
fn a_report_leaves_and_one_that_cannot_tells_nobody() {
    for (address, arrives) in [("reports", true), ("nobody", false)] {
        let (port, record) = other_server::start(&["PIPELINING"]);
        let script = SCRIPT.replace("reports@strict", &format!("{address}@strict"));
        let world = World::delivering(&script, port, |_| {});
        add_key(&world);
        assert!(send(&world, "a@strict.example", "anna@example.org").starts_with("250"));
        wait_until(|| kept(&world) == 1);
        run(&world, due(&world)[0].due + 60);
        wait_until(|| entries(&world).is_empty());
        let messages = record.messages();
        assert_eq!(messages.len(), usize::from(arrives));
        if let [seen] = &messages[..] {
            assert!(seen.mail.starts_with("MAIL FROM:<postmaster@localhost>"), "{}", seen.mail);
            assert_eq!(report(&seen.content).records[0].count, 1);
        }
        let failures = world.shared.metrics.queue.dmarc_report_failures;
        wait_until(|| world.shared.registry.counter(failures) == u64::from(!arrives));
        // Anna is the postmaster, too.
        assert_eq!(world.inbox("anna").len(), 1);
    }
}

#[test]
fn what_nobody_wants_any_more_is_forgotten() {
    let forgotten = |change: fn(&World), script: &str, after: i64| {
        let world = start(SCRIPT);
        assert!(send(&world, "a@strict.example", "anna@example.org").starts_with("250"));
        wait_until(|| kept(&world) == 1);
        let due = due(&world)[0].due;
        change(&world);
        let world = world.restarted(script, |_| {});
        run(&world, due + after);
        assert_eq!(entries(&world).len(), 0);
        assert_eq!(metrics(&world), (0, 0));
        kept(&world)
    };
    let plain: fn(&World) = |_| {};
    let without = SCRIPT.replace("; rua=mailto:reports@strict.example!1m", "");
    assert_eq!(forgotten(plain, &without, 60), 0, "no address");
    let elsewhere = SCRIPT.replace("reports@strict.example", "reports@elsewhere.example");
    assert_eq!(forgotten(plain, &elsewhere, 60), 0, "an address that doesn't agree");
    let suppressed = |world: &World| {
        let mut batch = Batch::new();
        let row = ReportSuppressionRow { created: 0, until: i64::MAX, comment: "".into() };
        report_suppressions::add(&mut batch, "reports@strict.example", &row).unwrap();
        world.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    };
    assert_eq!(forgotten(suppressed, SCRIPT, 60), 0, "an address that gets none");
    assert_eq!(forgotten(plain, SCRIPT, 2 * DAY), 0, "too old");
    assert_eq!(
        forgotten(plain, SCRIPT, 2 * DAY + 1),
        1,
        "too old, and not looked at: housekeeping removes it"
    );
}

#[test]
fn a_report_that_is_too_large_is_announced() {
    let small = SCRIPT.replace("!1m", "!500");
    let world = start(&small);
    assert!(send(&world, "a@strict.example", "anna@example.org").starts_with("250"));
    wait_until(|| kept(&world) == 1);
    run(&world, due(&world)[0].due + 60);
    assert_eq!((kept(&world), metrics(&world)), (0, (0, 1)));
    let (row, message) = only(&world);
    assert_eq!(row.kind, Kind::DmarcReport);
    for field in [
        "Report-Domain: strict.example\r\n",
        "Submitter: localhost\r\n",
        "Submitting-URI: mailto:reports@strict.example\r\n",
        "Report-Date: ",
        "Report-ID: ",
    ] {
        assert!(message.contains(field), "{field} in {message}");
    }
    let size = message.split_once("Report-Size: ").unwrap().1.split_once("\r\n").unwrap().0;
    assert!((501..5000).contains(&size.parse::<u32>().unwrap()), "{size}");
    assert!(!message.contains("application/gzip"), "{message}");
}

#[test]
fn the_reports_of_a_round_are_spread() {
    within_one(DAY, reports_of_a_round);
}

fn reports_of_a_round() {
    let mut script = SCRIPT.to_owned();
    let names: Vec<String> = (0..12).map(|number| format!("d{number}")).collect();
    for name in &names {
        script += &format!("{name} MX 10 client\n{name} TXT \"v=spf1 ip4:127.0.0.1 -all\"\n");
        script += &format!("_dmarc.{name} TXT \"v=DMARC1; p=none; rua=mailto:r@{name}.example\"\n");
    }
    let world = start(&script);
    let client = RefCell::new(world.smtp());
    for name in &names {
        let from = format!("a@{name}.example");
        let text = format!("From: <{from}>\r\n\r\nbody");
        assert!(client.borrow_mut().mail(&from, &["anna@example.org"], &text).starts_with("250"));
    }
    wait_until(|| kept(&world) == 12);
    let begin = due(&world)[0].due + 60;
    let end = run(&world, begin);
    assert_eq!((entries(&world).len(), end - begin), (12, 11 * 225));
}

#[test]
fn a_policy_that_is_only_tested_is_a_reason() {
    let tested = SCRIPT.replace("p=quarantine;", "p=quarantine; t=y;");
    let world = start(&tested);
    assert!(send(&world, "boss@bank.example", "anna@example.org").starts_with("250"));
    wait_until(|| kept(&world) == 1);
    run(&world, due(&world)[0].due + 60);
    let report = report(&only(&world).1);
    assert_eq!(report.policy.testing, Some(true));
    let kinds: Vec<_> = report.records[0].reasons.iter().map(|reason| reason.kind.clone()).collect();
    assert_eq!(kinds, [OverrideType::PolicyTestMode]);
}
