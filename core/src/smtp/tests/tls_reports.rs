//! What deliveries tell of TLS, and the reports that come of it the day after.

use futures_lite::future::block_on;
use postrider_authentication::content::Reader;
use postrider_authentication::dkim::{Policy, PrivateKey, verify};
use postrider_proto::address::Domain;
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::key::Kind as KeyKind;
use postrider_proto::gzip;
use postrider_proto::mime::decode::{TransferEncoding, decode};
use postrider_proto::mime::scan::Scanner;
use postrider_proto::mime::{FieldName, Limits};
use postrider_storage::blobs::BlobReader;
use postrider_storage::directory::{Change, DkimSecret, DkimState, DomainSettings};
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::QueueId;
use postrider_storage::queue;
use postrider_storage::rows::{Kind, QueueRow, ReportSuppressionRow, RequireTls};
use postrider_storage::tls_results::{self, DAY_SECONDS, TlsResult, day_of};

use super::other_server::{self, Record};
use super::world::World;
use crate::clock::unix_now;
use crate::config::Config;
use crate::reporting::pace::Led;
use crate::reporting::tls::{flush_and_wait, round};
use crate::runtime::{ShardId, oneshot, spawn};
use crate::shard::Work;
use crate::testing::{script_of, wait_until, within_one};

const SCRIPT: &str = "
    $ORIGIN example.
    remote  MX 10 mx.remote
    mx.remote A 127.0.0.1
    other   MX 10 mx.remote
    quiet   MX 10 mx.quiet
    mx.quiet A 127.0.0.1
    _smtp._tls.remote TXT \"v=TLSRPTv1; rua=mailto:tls@reports.test,https://reports.test/\"
    _smtp._tls.mx.remote TXT \"v=TLSRPTv1; rua=mailto:tls@reports.test,mailto:host@reports.test\"
";
const MESSAGE: &str = "From: anna@example.org\r\nSubject: hello\r\n\r\nbody";

fn start(extensions: &'static [&'static str], change: impl FnOnce(&mut Config)) -> (World, Record) {
    let (port, record) = other_server::start(extensions);
    let world = World::delivering(SCRIPT, port, change);
    (world, record)
}

fn key() -> DkimSecret {
    let start = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    DkimSecret::new(KeyKind::Ed25519, [&start[..], &[7; 32]].concat().into())
}

/// Gives this host's domain a key.
fn add_key(world: &World) {
    let domain = Domain::parse("localhost").unwrap();
    let selector = Selector::parse("reports").unwrap();
    world.change(&[
        Change::AddDomain { domain: domain.clone(), settings: DomainSettings::default() },
        Change::AddDkimKey { domain, selector, secret: key(), state: DkimState::Signs },
    ]);
}

/// Sends a message and waits until it came, and its connection lies idle.
fn send(world: &World, record: &Record, to: &str) {
    let before = record.messages().len();
    let reply = world.anna().mail("anna@example.org", &[to], MESSAGE);
    assert!(reply.starts_with("250"), "{reply}");
    wait_until(|| record.messages().len() > before);
    wait_until(|| world.shared.queue_counts.get().entries == 0 && world.delivering_sessions() == 0);
}

/// Does something on each shard.
fn on_shards<F: Future<Output = ()> + 'static>(
    world: &World,
    shards: std::ops::Range<usize>,
    work: impl Fn(std::rc::Rc<crate::shard::Shard>) -> F + Send + Clone + 'static,
) {
    for shard in shards {
        let (tell, told) = oneshot::oneshot();
        let work = work.clone();
        let run: Work = Box::new(move |shard| {
            spawn("work of a test", async move {
                work(shard).await;
                let _ = tell.send(());
            });
        });
        assert!(world.shared.shards[ShardId(shard).0].send_blocking(run).is_ok());
        told.wait_blocking().unwrap();
    }
}

/// Writes what was recorded, and gives it.
fn recorded(world: &World) -> Vec<TlsResult> {
    on_shards(world, 0..2, |shard| async move { flush_and_wait(&shard).await });
    tls_results::after(&world.shared.store.reader(), None).map(Result::unwrap).collect()
}

/// `remote.example mx.remote.example 1+2` for each.
fn shown(results: &[TlsResult]) -> Vec<String> {
    let sum = |(id, row): &TlsResult| {
        let good: u64 = row.policies.iter().map(|policy| policy.successful_sessions).sum();
        let bad: u64 = row.policies.iter().map(|policy| policy.failed_sessions).sum();
        format!("{} {} {good}+{bad}", id.recipient, id.policy_domain)
    };
    results.iter().map(sum).collect()
}

/// Has a round begin in the middle of a day.
fn round_of(world: &World, day: u32) {
    let now = i64::from(day) * DAY_SECONDS + DAY_SECONDS / 2;
    on_shards(world, 0..1, move |shard| async move {
        round(&shard, &Led::at(now)).await.unwrap();
    });
}

/// What waits in the queue, with its whole message.
fn queued(world: &World) -> Vec<(QueueRow, Vec<String>, Vec<u8>)> {
    let reader = world.shared.store.reader();
    let entries = queue::entries(&reader, QueueId(0)).map(Result::unwrap);
    entries
        .map(|(id, row)| {
            let recipients = queue::recipients(&reader, id).map(Result::unwrap);
            let to = recipients.map(|(_, row)| String::from_utf8(row.address.to_vec()).unwrap()).collect();
            let mut message = queue::prefix(&reader, id).unwrap();
            let content = queue::content(&row);
            let mut content = BlobReader::new(content, 0..content.size);
            while let Some(piece) = content.read(&reader).unwrap() {
                message.extend_from_slice(&piece);
            }
            (row, to, message)
        })
        .collect()
}

/// The JSON of the report that a message brings.
fn json_of(message: &[u8]) -> String {
    let mut scanner = Scanner::new(Limits::DEFAULT);
    scanner.push(message);
    let structure = scanner.finish();
    let [_, text, file] = &structure.parts[..] else { panic!("{:?}", structure.parts) };
    assert!(text.field(FieldName::ContentType).unwrap().trim_ascii().starts_with(b"text/plain;"));
    assert_eq!(file.field(FieldName::ContentType).unwrap().trim_ascii(), b"application/tlsrpt+gzip");
    let encoding = TransferEncoding::parse(file.field(FieldName::ContentTransferEncoding).unwrap());
    let octets = decode(encoding, &message[file.body_start as usize..file.end as usize]).unwrap();
    String::from_utf8(gzip::decompress(&octets, 1 << 20).unwrap()).unwrap()
}

/// Whether the signature of a message is right, and what it signs.
fn signature(message: &[u8]) -> (&'static str, String) {
    let record = PrivateKey::from_pkcs8(key().expose()).unwrap().record();
    let script = script_of(&format!("reports._domainkey.localhost. TXT \"{}\"", record.escape_default()));
    let mut reader = Reader::new();
    reader.push(message);
    let content = reader.finish().unwrap();
    let now = u64::try_from(unix_now()).unwrap();
    let found = block_on(verify(&content, &Policy::default(), now, &script));
    let [result] = &found[..] else { panic!("{found:?}") };
    (result.result.word(), result.domain.as_ref().unwrap().to_string())
}

/// A TLS 1.3 client is done with the handshake when the server looks at what the client sent last.
#[test]
fn a_server_that_leaves_right_behind_the_handshake_gets_its_mail_in_clear_and_is_told() {
    for (extensions, reason) in [
        (&["STARTTLS", "X-LEAVES"], "the connection ended right behind the TLS handshake"),
        (&["STARTTLS", "X-ASKS"], "tls-remote-alert-116-CertificateRequired"),
    ] {
        let (world, record) = start(extensions, |_| {});
        send(&world, &record, "b@remote.example");
        assert_eq!(record.connections(), 2);
        let fallback = world.shared.metrics.queue.plaintext_fallback;
        assert_eq!(world.shared.registry.counter(fallback), 1);
        let results = recorded(&world);
        let expected = ["remote.example remote.example 0+1", "remote.example mx.remote.example 0+1"];
        assert_eq!(shown(&results), expected);
        let failures = &results[0].1.policies[0].failures;
        assert_eq!((failures.len(), failures[0].result_type.name()), (1, "validation-failure"));
        assert_eq!(failures[0].reason_code.as_deref(), Some(reason));
    }
}

#[test]
fn what_failed_is_reported_the_day_after_once_also_after_a_restart() {
    let (world, record) = start(&["PIPELINING", "STARTTLS"], |_| {});
    add_key(&world);
    send(&world, &record, "b@remote.example");
    let expected = ["remote.example remote.example 0+1", "remote.example mx.remote.example 0+1"];
    let results = recorded(&world);
    assert_eq!(shown(&results), expected);
    // Nothing is reported before the day is over.
    let day = results[0].0.day;
    round_of(&world, day);
    assert!(queued(&world).is_empty());

    let world = world.restarted(SCRIPT, |_| {});
    round_of(&world, day + 1);
    let all = queued(&world);
    let [(row, to, message), (host_row, host_to, host_message)] = &all[..] else { panic!("{all:?}") };
    assert_eq!((row.kind, row.require_tls, row.max_attempts), (Kind::TlsReport, RequireTls::No, 5));
    assert_eq!(&*row.mail_from, b"postmaster@localhost");
    assert_eq!(to, &["tls@reports.test"]);
    let text = String::from_utf8(message.clone()).unwrap();
    let json = json_of(message);
    let id = json.split("\"report-id\":\"").nth(1).unwrap().split('"').next().unwrap();
    let begin = i64::from(day) * DAY_SECONDS;
    for field in [
        "From: <postmaster@localhost>",
        "To: <tls@reports.test>",
        "TLS-Report-Domain: remote.example",
        "TLS-Report-Submitter: localhost",
        "TLS-Required: No",
    ] {
        assert!(text.contains(&format!("\r\n{field}\r\n")), "{field}: {text}");
    }
    let unfolded = text.replace("\r\n\t", " ");
    let subject =
        format!("Subject: Report Domain: remote.example Submitter: localhost Report-ID: <{id}>\r\n");
    assert!(unfolded.contains(&subject), "{text}");
    let end = begin + DAY_SECONDS - 1;
    let unique = id.split(['.', '@']).nth(1).unwrap();
    let name = format!("filename=\"localhost!remote.example!{begin}!{end}!{unique}.json.gz\"");
    assert!(unfolded.contains(&name), "{text}");
    assert!(unfolded.contains("Content-Type: multipart/report; report-type=\"tlsrpt\"; boundary="), "{text}");
    let date = jiff::Timestamp::from_second(begin).unwrap().strftime("%Y-%m-%d").to_string();
    let failure = r#"{"result-type":"starttls-not-supported","sending-mta-ip":"127.0.0.1","receiving-mx-hostname":"mx.remote.example","receiving-mx-helo":"other.example","receiving-ip":"127.0.0.1","failed-session-count":1}"#;
    let policy = |domain: &str| {
        format!(
            r#"{{"policy":{{"policy-type":"no-policy-found","policy-domain":"{domain}"}},"summary":{{"total-successful-session-count":0,"total-failure-session-count":1}},"failure-details":[{failure}]}}"#
        )
    };
    let expected = |id: &str, policies: &[&str]| {
        let policies: Vec<String> = policies.iter().map(|domain| policy(domain)).collect();
        format!(
            r#"{{"organization-name":"localhost","date-range":{{"start-datetime":"{date}T00:00:00Z","end-datetime":"{date}T23:59:59Z"}},"contact-info":"postmaster@localhost","report-id":"{id}","policies":[{}]}}"#,
            policies.join(",")
        )
    };
    assert_eq!(json, expected(id, &["remote.example", "mx.remote.example"]));
    assert_eq!(signature(message), ("pass", "localhost".to_owned()));
    // Reports on whom they are about can't be changed.
    let other = text.replacen("TLS-Report-Domain: remote", "TLS-Report-Domain: another", 1);
    assert_eq!(signature(other.as_bytes()).0, "fail");

    // The host's domain hears of it at the address that doesn't know yet.
    assert_eq!((host_row.kind, host_to), (Kind::TlsReport, &vec!["host@reports.test".to_owned()]));
    let json = json_of(host_message);
    let id = json.split("\"report-id\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(json, expected(id, &["mx.remote.example"]));

    // All is done.
    for days in [1, 1, 2] {
        round_of(&world, day + days);
        assert_eq!(queued(&world).len(), 2);
    }
    assert_eq!(recorded(&world), []);
    assert_eq!(world.shared.registry.counter(world.shared.metrics.reporting.tls_queued), 2);
    assert_eq!(world.shared.registry.counter(world.shared.metrics.reporting.tls_errors), 0);
}

#[test]
fn messages_over_one_connection_are_one_session_and_reports_on_tls_none() {
    within_one(DAY_SECONDS, messages_over_one_connection);
}

fn messages_over_one_connection() {
    let (world, record) = start(&["PIPELINING"], |_| {});
    send(&world, &record, "b@remote.example");
    send(&world, &record, "c@remote.example");
    assert_eq!(record.connections(), 1);
    // Summed with what is written already.
    recorded(&world);
    send(&world, &record, "b@other.example");
    let of_host =
        |results: &[TlsResult]| shown(results).into_iter().filter(|text| text.contains(" mx.")).collect();
    let found: Vec<String> = of_host(&recorded(&world));
    assert_eq!(found, ["other.example mx.remote.example 0+1", "remote.example mx.remote.example 0+1"]);

    // The report that comes of it is delivered, and nothing is recorded of that.
    add_key(&world);
    let before = record.messages().len();
    on_shards(&world, 0..1, |shard| async move {
        use crate::reporting::outgoing::{Draft, send};
        let to = [postrider_proto::address::Address::parse("tls@quiet.example").unwrap()];
        for kind in [Kind::TlsReport, Kind::DmarcReport] {
            let draft = Draft {
                kind,
                to: &to,
                subject: "report".to_owned(),
                message_id: "1@localhost".to_owned(),
                fields: Vec::new(),
                report_type: None,
                text: "text".to_owned(),
                file: None,
                require_tls: RequireTls::No,
                now: unix_now(),
            };
            send(&shard, draft, Batch::new()).await.unwrap();
        }
    });
    wait_until(|| record.messages().len() == before + 2);
    wait_until(|| world.shared.queue_counts.get().entries == 0);
    let quiet = recorded(&world).into_iter().filter(|(id, _)| &*id.recipient == "quiet.example");
    // The one on DMARC failed to have TLS, and is recorded when its connection was its own.
    for (_, row) in quiet {
        assert_eq!(row.policies[0].failed_sessions, 1);
        assert!(row.is_reason);
    }
    let seen = record.messages().pop().unwrap();
    assert!(seen.mail.starts_with("MAIL FROM:<postmaster@localhost>"), "{}", seen.mail);
}

#[test]
fn who_has_no_keys_or_no_wish_sends_nothing() {
    let (world, record) = start(&["PIPELINING"], |_| {});
    send(&world, &record, "b@remote.example");
    send(&world, &record, "b@quiet.example");
    let before = recorded(&world);
    assert_eq!(before.len(), 4);
    let next = before[3].0.day + 1;
    // Without keys nothing is sent, and nothing lost.
    round_of(&world, next);
    assert!(queued(&world).is_empty());
    assert_eq!(recorded(&world), before);
    add_key(&world);
    let row = ReportSuppressionRow { created: 0, until: i64::MAX, comment: "".into() };
    let mut batch = Batch::new();
    for address in ["tls@reports.test", "host@reports.test"] {
        postrider_storage::report_suppressions::add(&mut batch, address, &row).unwrap();
    }
    world.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    // Neither to addresses that are suppressed, nor to a domain without a record.
    round_of(&world, next);
    assert!(queued(&world).is_empty());
    assert_eq!(recorded(&world), []);
}

#[test]
fn results_that_are_too_old_are_forgotten_and_nothing_is_recorded_when_that_is_off() {
    let (world, record) = start(&["PIPELINING"], |_| {});
    let before = day_of(unix_now());
    send(&world, &record, "b@remote.example");
    let day = recorded(&world)[0].0.day;
    assert!((before..=day_of(unix_now())).contains(&day), "{day}");
    round_of(&world, day + 2);
    assert_eq!(recorded(&world).len(), 2);
    round_of(&world, day + 3);
    assert_eq!(recorded(&world), []);

    let (world, record) = start(&["PIPELINING"], |_| {});
    send(&world, &record, "b@remote.example");
    assert_eq!(recorded(&world).len(), 2);
    let world = world.restarted_with(|config| config.reports.tls = false);
    assert_eq!(recorded(&world).len(), 2);
    on_shards(&world, 0..2, |shard| async move { crate::reporting::start(&shard) });
    wait_until(|| tls_results::after(&world.shared.store.reader(), None).next().is_none());

    let (world, record) = start(&["PIPELINING"], |config| config.reports.tls = false);
    send(&world, &record, "b@remote.example");
    assert_eq!(recorded(&world), []);
}
