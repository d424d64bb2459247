//! Reports of other servers, from the message that brings them to what operators see.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_proto::address::Domain;
use postrider_proto::gzip;
use postrider_storage::directory::{AliasSettings, Change, Destination, DomainSettings, ReportKinds};
use postrider_storage::engine::{Batch, Durability, Engine, Space};
use postrider_storage::rows::{BlobRow, ReportTodoRow};
use serde_json::Value;

use super::verdicts::{signed_by, signer, with_key};
use super::world::{World, address};
use crate::clock::unix_now;
use crate::control::protocol::{Answer, FailureKind, ReportFilter, ReportKind, ReportSummary, Request};
use crate::metrics::ReceivedReport;
use crate::testing::{TestServer, wait_until};

const DMARC_ONLY: ReportKinds = ReportKinds { dmarc: true, tls: false };
const BOTH: ReportKinds = ReportKinds { dmarc: true, tls: true };

/// A report on DMARC about a domain, which ended just now.
fn dmarc(domain: &str, id: &str) -> String {
    let now = unix_now();
    dmarc_of(domain, id, now - 86_400, now)
}

/// The same of any time. Two messages are by a source that passes, three by another.
fn dmarc_of(domain: &str, id: &str, begin: i64, end: i64) -> String {
    format!(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>Strict Ltd</org_name>\
         <email>dmarc@strict.example</email><report_id>{id}</report_id><date_range><begin>{begin}</begin>\
         <end>{end}</end></date_range></report_metadata><policy_published><domain>{domain}</domain><p>reject</p>\
         </policy_published><record><row><source_ip>192.0.2.1</source_ip><count>2</count><policy_evaluated>\
         <disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers>\
         <header_from>{domain}</header_from></identifiers><auth_results><dkim><domain>{domain}</domain>\
         <selector>a</selector><result>pass</result></dkim><spf><domain>{domain}</domain><result>softfail</result></spf>\
         </auth_results></record><record><row><source_ip>192.0.2.66</source_ip><count>3</count><policy_evaluated>\
         <disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row><identifiers>\
         <header_from>{domain}</header_from></identifiers><auth_results><spf><domain>bad.example</domain>\
         <result>none</result></spf></auth_results></record></feedback>"
    )
}

/// A report on TLS about a domain and one of others.
fn tls(domain: &str, contact: &str) -> String {
    let end = jiff::Timestamp::from_second(unix_now()).unwrap();
    let start = end - jiff::SignedDuration::from_hours(24);
    format!(
        "{{\"organization-name\":\"Strict Ltd\",\"date-range\":{{\"start-datetime\":\"{start}\",\
         \"end-datetime\":\"{end}\"}},\"contact-info\":\"{contact}\",\"report-id\":\"tls-1\",\"policies\":[\
         {{\"policy\":{{\"policy-type\":\"sts\",\"policy-domain\":\"{domain}\"}},\"summary\":\
         {{\"total-successful-session-count\":10,\"total-failure-session-count\":4}},\"failure-details\":[\
         {{\"result-type\":\"certificate-expired\",\"receiving-mx-hostname\":\"mx.{domain}\",\
         \"failed-session-count\":4}}]}},\
         {{\"policy\":{{\"policy-type\":\"sts\",\"policy-domain\":\"else.example\"}},\"summary\":\
         {{\"total-successful-session-count\":7,\"total-failure-session-count\":0}}}}]}}"
    )
}

/// A message with a report attached.
fn message(from: &str, content_type: &str, file: &[u8]) -> String {
    let lines: String = STANDARD
        .encode(file)
        .as_bytes()
        .chunks(76)
        .map(|line| format!("{}\r\n", String::from_utf8_lossy(line)))
        .collect();
    format!(
        "From: <{from}>\r\nSubject: Report Domain: example.org\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nA report.\r\n--x\r\n\
         Content-Type: {content_type}\r\nContent-Transfer-Encoding: base64\r\n\r\n{lines}--x--\r\n"
    )
}

fn gz(from: &str, report: &str) -> String {
    message(from, "application/gzip", &gzip::compress(report.as_bytes()))
}

fn read_at(world: &World, name: &str, reports: ReportKinds) {
    let destination = Destination { reports, ..Destination::default() };
    let address = postrider_storage::directory::AddressPattern::Exact(address(name));
    world.change(&[Change::SetDestination { address, destination }]);
}

fn start(script: &str) -> World {
    let world = World::with_script(script, |_| {});
    read_at(&world, "anna@example.org", BOTH);
    read_at(&world, "ben@example.org", DMARC_ONLY);
    world
}

fn outcomes(server: &TestServer, outcome: ReceivedReport) -> u64 {
    server.shared.registry.counter(server.shared.metrics.received.outcomes.at([outcome as usize]))
}

/// Sends a message, and waits until it was read, with this outcome.
fn send(world: &World, from: &str, to: &str, message: &str, outcome: ReceivedReport) {
    let before = outcomes(world, outcome);
    let reply = world.smtp().mail(from, &[to], message);
    assert!(reply.starts_with("250"), "{reply}");
    wait_until(|| outcomes(world, outcome) > before);
}

fn listed(server: &TestServer, filter: ReportFilter) -> Vec<Value> {
    let (rows, answer) = server.ok(&Request::ReportList { filter, cursor: None, limit: None });
    assert_eq!(answer, Answer::Page { next: None });
    rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of(domain: &str) -> ReportFilter {
    ReportFilter { domain: Some(domain.to_owned()), ..ReportFilter::default() }
}

fn summary(server: &TestServer, domain: &str) -> ReportSummary {
    let since = unix_now() - 86_400;
    let (_, answer) = server.ok(&Request::ReportSummary { domain: domain.to_owned(), since, until: None });
    let Answer::ReportSummary(summary) = answer else { panic!("{answer:?}") };
    *summary
}

/// One metric with its labels, as it is shown.
fn metric(world: &World, line: &str) -> u64 {
    let mut text = crate::metrics::Text::new();
    world.shared.registry.write(&mut text);
    let text = text.finish();
    let value = text.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {line} in {text}"))
}

#[test]
fn a_report_on_dmarc_is_read_stored_once_and_summed() {
    use ReceivedReport::{Duplicate, Stored, Unconfirmed};
    let world = start(super::verdicts::SCRIPT);
    let report = gz("dmarc@strict.example", &dmarc("example.org", "d-1"));
    send(&world, "dmarc@strict.example", "anna@example.org", &report, Stored);
    // The message is in its mailbox in any case.
    assert_eq!(world.inbox("anna").len(), 1);
    send(&world, "dmarc@strict.example", "anna@example.org", &report, Duplicate);
    // Of the same name, with nothing that confirms it: this must not take the place of a later one.
    let forged = gz("dmarc@lax.example", &dmarc("example.org", "d-2"));
    send(&world, "dmarc@lax.example", "anna@example.org", &forged, Unconfirmed);
    let rows = listed(&world, of("sub.example.org"));
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row["submitter"].as_str(), row["confirmed_by"].as_str(), row["failed"].as_u64()))
        .collect();
    assert_eq!(
        shown,
        [(Some("strict.example"), Some("dmarc"), Some(3)), (Some("lax.example"), None, Some(3))]
    );
    assert_eq!((rows[0]["total"].as_u64(), rows[0]["rejected"].as_u64()), (Some(5), Some(3)));
    let sums = summary(&world, "example.org");
    assert_eq!((sums.dmarc.reports, sums.dmarc.unconfirmed, sums.tls.reports), (1, 1, 0));
    assert_eq!((sums.dmarc.messages, sums.dmarc.failed, sums.dmarc.rejected), (5, 3, 3));
    let sources: Vec<_> = sums.dmarc.sources.iter().map(|one| (one.source.as_deref(), one.failed)).collect();
    assert_eq!(sources, [(Some("192.0.2.66"), 3), (Some("192.0.2.1"), 0)]);
    assert_eq!(sums.dmarc.sources[1].signatures, ["example.org pass"]);
    assert_eq!(sums.dmarc.sources[0].reporters, ["strict.example"]);
    // Only what is confirmed is counted.
    let policy =
        "postrider_dmarcdb_policy_evaluated_total{disposition=\"reject\",dkim=\"fail\",spf=\"fail\"}";
    assert_eq!(metric(&world, policy), 3);
    assert_eq!(metric(&world, "postrider_dmarcdb_dkim_result_total{result=\"pass\"}"), 2);
    assert_eq!(metric(&world, "postrider_dmarcdb_spf_result_total{result=\"softfail\"}"), 2);
    // With its entries, and as a document.
    let id = rows[0]["id"].as_str().unwrap().to_owned();
    let (entries, answer) = world.ok(&Request::ReportShow { id: id.clone() });
    assert!(matches!(answer, Answer::Report(row) if row.id == id && row.organization == "Strict Ltd"));
    let entry: Value = serde_json::from_str(entries.lines().next().unwrap()).unwrap();
    assert_eq!(entry["dmarc"]["signatures"][0], "example.org a pass");
    assert_eq!(entries.lines().count(), 2);
    let (document, _) = world.ok(&Request::ReportDump { id });
    assert!(document.contains("<source_ip>192.0.2.66</source_ip>"), "{document}");
    assert_eq!(world.fails(&Request::ReportShow { id: "7".into() }).0, FailureKind::NotFound);
    assert_eq!(world.fails(&Request::ReportDump { id: "x".into() }).0, FailureKind::Invalid);
    let filter = of("else.example");
    let (kind, said) = world.fails(&Request::ReportList { filter, cursor: None, limit: None });
    assert_eq!(kind, FailureKind::NotFound, "{said}");
    assert_eq!(world.counts().reports, 2);
}

#[test]
fn a_report_on_tls_is_confirmed_by_a_signature_alone() {
    use ReceivedReport::{OtherDomain, Stored, Unsigned, Unwanted};
    let (key, script) = with_key("strict");
    let signer = signer(key, "strict");
    // A key that is for such reports and for no other mail.
    let script = script.replace("s._domainkey.strict TXT \"", "s._domainkey.strict TXT \"s=tlsrpt; ");
    let script = script.replace("s=tlsrpt; v=DKIM1;", "v=DKIM1; s=tlsrpt;");
    let world = start(&script);
    let json = tls("example.org", "tls@strict.example");
    let plain = message("tls@strict.example", "application/tlsrpt+json", json.as_bytes());
    // SPF and DMARC pass, and that isn't enough: it is ignored (RFC 8460 §3).
    send(&world, "tls@strict.example", "anna@example.org", &plain, Unsigned);
    // Neither is a signature of somebody else.
    let claimed = tls("example.org", "tls@lax.example");
    let claimed = message("tls@strict.example", "application/tlsrpt+json", claimed.as_bytes());
    send(&world, "tls@strict.example", "anna@example.org", &signed_by(&signer, &claimed), Unsigned);
    assert_eq!(listed(&world, of("example.org")).len(), 0);
    let sums = summary(&world, "example.org").tls;
    assert_eq!((sums.reports, sums.unconfirmed, sums.successful, sums.failed), (0, 0, 0, 0));
    assert_eq!(metric(&world, "postrider_tlsrptdb_session_total{type=\"success\"}"), 0);
    let whole = signed_by(&signer, &plain);
    send(&world, "tls@strict.example", "anna@example.org", &whole, Stored);
    let kind = Some(ReportKind::Tls);
    let rows = listed(&world, ReportFilter { kind, ..of("example.org") });
    let confirmed: Vec<_> = rows.iter().map(|row| row["confirmed_by"].as_str()).collect();
    assert_eq!(confirmed, [Some("dkim")]);
    // What it says of others is left out.
    assert_eq!((rows[0]["total"].as_u64(), rows[0]["entries"].as_u64()), (Some(14), Some(1)));
    let sums = summary(&world, "example.org");
    assert_eq!((sums.tls.reports, sums.tls.unconfirmed), (1, 0));
    assert_eq!((sums.tls.successful, sums.tls.failed), (10, 4));
    let failure = &sums.tls.failures[0];
    assert_eq!((&*failure.reporter, &*failure.result), ("strict.example", "certificate-expired"));
    assert_eq!(metric(&world, "postrider_tlsrptdb_session_total{type=\"success\"}"), 10);
    assert_eq!(metric(&world, "postrider_tlsrptdb_session_total{type=\"certificate-expired\"}"), 4);
    // The address of Ben reads those on DMARC.
    send(&world, "tls@strict.example", "ben@example.org", &plain, Unwanted);
    let others =
        message("tls@strict.example", "application/json", tls("else.example", "a@b.example").as_bytes());
    send(&world, "tls@strict.example", "anna@example.org", &others, OtherDomain);
    assert_eq!((world.counts().reports, world.inbox("anna").len()), (1, 4));
}

#[test]
fn hostile_messages_are_kept_and_give_no_report() {
    use ReceivedReport::{OtherDomain, Unreadable};
    let world = start(super::verdicts::SCRIPT);
    let bomb = gzip::compress(&vec![b' '; 40 << 20]);
    let entities = "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><feedback>&b;</feedback>";
    let deep = "<a>".repeat(50_000);
    let now = unix_now();
    let late = dmarc_of("example.org", "x", now - 86_400, now + 400_000);
    for (file, outcome) in [
        (&bomb[..], Unreadable),
        (&gzip::compress(entities.as_bytes()), Unreadable),
        (&gzip::compress(deep.as_bytes()), Unreadable),
        (b"\x1f\x8b", Unreadable),
        (b"PK\x03\x04 and so on", Unreadable),
        (b"no report", Unreadable),
        (&gzip::compress(late.as_bytes()), Unreadable),
        (&gzip::compress(dmarc("example.org", "").as_bytes()), Unreadable),
        (&gzip::compress(dmarc("org", "x").as_bytes()), OtherDomain),
        (&gzip::compress(dmarc("notexample.org", "x").as_bytes()), OtherDomain),
        (&gzip::compress(dmarc("", "x").as_bytes()), Unreadable),
    ] {
        let message = message("dmarc@strict.example", "application/octet-stream", file);
        send(&world, "dmarc@strict.example", "anna@example.org", &message, outcome);
    }
    assert_eq!((world.counts().reports, world.inbox("anna").len()), (0, 11));
    assert_eq!(world.panics(), 0);
    // Where no reports are read, nothing is looked at.
    let report = gz("dmarc@strict.example", &dmarc("example.org", "d-1"));
    let reply = world.smtp().mail("dmarc@strict.example", &["cleo@example.org"], &report);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(world.counts().reports, 0);
}

#[test]
fn reports_come_through_aliases_and_from_our_own_users() {
    use ReceivedReport::Stored;
    let world = start(super::verdicts::SCRIPT);
    world.change(&[
        Change::AddAlias {
            alias: address("reports@example.org"),
            settings: AliasSettings { post_public: true, ..AliasSettings::default() },
            members: vec![
                address("anna@example.org"),
                address("cleo@example.org"),
                address("ben@example.org"),
            ],
        },
        Change::AddDomain {
            domain: Domain::parse("second.example").unwrap(),
            settings: DomainSettings::default(),
        },
    ]);
    let report = gz("dmarc@strict.example", &dmarc("second.example", "d-1"));
    send(&world, "dmarc@strict.example", "reports@example.org", &report, Stored);
    for account in ["anna", "ben", "cleo"] {
        assert_eq!(world.inbox(account).len(), 1, "{account}");
    }
    // Two members read reports, and it is one.
    assert_eq!((listed(&world, of("second.example")).len(), listed(&world, of("example.org")).len()), (1, 0));
    let own = gz("anna@example.org", &dmarc("example.org", "d-2"));
    let reply = world.anna().mail("anna@example.org", &["ben@example.org"], &own);
    assert!(reply.starts_with("250"), "{reply}");
    wait_until(|| listed(&world, of("example.org")).len() == 1);
    assert_eq!(listed(&world, of("example.org"))[0]["confirmed_by"], "submission");
    assert_eq!(listed(&world, ReportFilter::default()).len(), 2);
}

#[test]
fn what_cannot_be_read_now_waits_and_holds_up_nobody() {
    use ReceivedReport::Stored;
    let world = World::with_script(super::verdicts::SCRIPT, |_| {});
    let second = Domain::parse("second.example").unwrap();
    world.change(&[Change::AddDomain { domain: second.clone(), settings: DomainSettings::default() }]);
    for about in ["second.example", "example.org"] {
        let report = gz("dmarc@strict.example", &dmarc(about, "d-1"));
        let reply = world.smtp().mail("dmarc@strict.example", &["anna@example.org"], &report);
        assert!(reply.starts_with("250"), "{reply}");
    }
    let account = world.account("anna").unwrap();
    let engine = Arc::clone(&world.engine);
    let todo = todo();
    let mut batch = Batch::new();
    let (key, whole) = {
        let reader = world.shared.store.reader();
        let mut emails = reader.emails(account);
        for number in [1, 2] {
            let blob = emails.get(postrider_storage::ids::EmailId(number)).unwrap().unwrap().blob;
            postrider_storage::reports::add_todo(&mut batch, blob, &todo).unwrap();
        }
        // The row of the domain in the directory.
        let mut rows = reader.prefix(&[0, 0, 0, 0]).map(|row| row.unwrap());
        rows.find(|(key, _)| {
            key.len() == 5 + second.as_str().len() && key.ends_with(second.as_str().as_bytes())
        })
        .unwrap()
    };
    // Whether the first is about a domain of ours can't be said.
    batch.insert(Space::Rows, key.clone(), b"?".to_vec());
    drop(world);
    engine.commit(batch, Durability::Synced).unwrap();
    let server = TestServer::on(Arc::clone(&engine) as _);
    wait_until(|| outcomes(&server, Stored) == 1);
    let next = || {
        let reader = server.shared.store.reader();
        postrider_storage::reports::todo(&reader, postrider_storage::ids::BlobId(0)).unwrap()
    };
    assert_eq!(next().map(|(_, row)| row), Some(Some(todo)));
    let mut batch = Batch::new();
    batch.insert(Space::Rows, key, whole.to_vec());
    engine.commit(batch, Durability::Synced).unwrap();
    assert_eq!(listed(&server, of("example.org")).len(), 1);
    drop(server);
    // By this one, unless the other one had its pause over before it stopped.
    let server = TestServer::on(engine as _);
    wait_until(|| listed(&server, of("second.example")).len() == 1);
}

fn todo() -> ReportTodoRow {
    ReportTodoRow {
        kinds: BOTH,
        received: unix_now(),
        dmarc: true,
        submitted: false,
        from: "strict.example".into(),
        spf: "".into(),
        signers: "".into(),
        tls_signers: "".into(),
    }
}

#[test]
fn what_a_crash_left_unread_is_read_at_the_next_start() {
    use ReceivedReport::{Gone, Stored, Unreadable};
    // Delivered where reports aren't read, so that nothing is done yet.
    let world = World::with_script(super::verdicts::SCRIPT, |_| {});
    let report = gz("dmarc@strict.example", &dmarc("example.org", "d-1"));
    let reply = world.smtp().mail("dmarc@strict.example", &["anna@example.org"], &report);
    assert!(reply.starts_with("250"), "{reply}");
    let account = world.account("anna").unwrap();
    let blob = {
        let reader = world.shared.store.reader();
        reader.emails(account).get(postrider_storage::ids::EmailId(1)).unwrap().unwrap().blob
    };
    let engine = Arc::clone(&world.engine);
    drop(world);
    let todo = todo();
    let mut batch = Batch::new();
    postrider_storage::reports::add_todo(&mut batch, blob, &todo).unwrap();
    let gone = postrider_storage::ids::BlobId(blob.0 + 1);
    postrider_storage::reports::add_todo(&mut batch, gone, &todo).unwrap();
    // One that is damaged, and read first, holds up none.
    let damaged = postrider_storage::ids::BlobId(blob.0 - 1);
    postrider_storage::reports::add_todo(&mut batch, damaged, &todo).unwrap();
    let row = BlobRow { size: 9, chunks: 1, structure: b"no record"[..].into() };
    batch.insert(Space::Rows, postrider_storage::keys::blob(damaged), row.encode());
    engine.commit(batch, Durability::Synced).unwrap();
    let server = TestServer::on(Arc::clone(&engine) as _);
    let read = |outcome| outcomes(&server, outcome) == 1;
    wait_until(|| read(Stored) && read(Gone) && read(Unreadable));
    // The end of the test looks for damage.
    let mut batch = Batch::new();
    batch.remove(Space::Rows, postrider_storage::keys::blob(damaged));
    engine.commit(batch, Durability::Synced).unwrap();
    assert_eq!(listed(&server, of("example.org")).len(), 1);
    let reader = server.shared.store.reader();
    assert_eq!(postrider_storage::reports::todo(&reader, postrider_storage::ids::BlobId(0)).unwrap(), None);
}
