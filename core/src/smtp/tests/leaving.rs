//! Messages of our users that leave for other servers, and what their senders hear.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider_delivery::route::Route;
use postrider_delivery::transport::{Relay, RelayHost, RelayTls, Socks, Transport};
use postrider_proto::address::Domain;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_storage::account::{self, Quota};
use postrider_storage::directory::{self, AccountName};
use postrider_storage::engine::{Batch, Durability, Space};
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Change, Changed, Chosen, Scheduled};
use postrider_storage::rows::{Held, MtaStsRow, QueueRow};
use postrider_storage::{keys, mta_sts};

use super::other_server::{self, Record};
use super::world::World;
use crate::clock::unix_now;
use crate::control::protocol::{Answer, QueueChange, Request};
use crate::delivery::announce;
use crate::testing::{ClosedPort, wait_until};

const SCRIPT: &str = "
    $ORIGIN example.
    remote  MX 10 mx.remote
    mx.remote A 127.0.0.1
    null    MX 0 .
    broken  TXT x
    $SERVFAIL broken MX
    nowhere MX 10 mx.nowhere
    plain   A 127.0.0.1
    xn--rmote-bsa MX 10 mx.remote
";
const LATER: i64 = 2_000_000_000;
const MESSAGE: &str = "From: anna@example.org\r\nSubject: hello\r\n\r\nbody\r\n.dot\r\n..dots\r\nend";

fn start(extensions: &'static [&'static str]) -> (World, Record) {
    let (port, record) = other_server::start(extensions);
    (World::delivering(SCRIPT, port, |_| {}), record)
}

fn entries(world: &World) -> Vec<(QueueId, QueueRow)> {
    queue::entries(&world.shared.store.reader(), QueueId(0)).map(Result::unwrap).collect()
}

fn send(world: &World, to: &[&str]) {
    let reply = world.anna().mail("anna@example.org", to, MESSAGE);
    assert!(reply.starts_with("250"), "{reply}");
}

/// Waits until everything that waits had an attempt that is over.
fn wait_for_attempts(world: &World) {
    wait_until(|| entries(world).iter().all(|(_, row)| row.attempts > 0 && !row.claimed));
}

#[test]
fn a_message_arrives_as_it_was_sent_and_leaves_nothing_behind() {
    for extensions in [&[][..], &["PIPELINING", "8BITMIME", "SIZE 1000000", "DSN"]] {
        let (world, record) = start(extensions);
        let mut client = world.anna();
        client.expect("MAIL FROM:<anna@example.org> RET=HDRS ENVID=QQ314", "250");
        client.expect("RCPT TO:<b@remote.example> NOTIFY=SUCCESS", "250");
        client.expect("RCPT TO:<c@remote.example>", "250");
        assert!(client.data(MESSAGE).starts_with("250"));
        wait_until(|| entries(&world).is_empty());
        let messages = record.messages();
        let [seen] = &messages[..] else { panic!("{messages:?}") };
        assert!(seen.content.ends_with("\r\n\r\nbody\r\ndot\r\n.dots\r\nend\r\n"), "{}", seen.content);
        assert!(seen.content.starts_with("Authentication-Results: localhost; auth=pass"), "{}", seen.content);
        assert_eq!(seen.recipients.len(), 2, "one transaction");
        let has_dsn = extensions.contains(&"DSN");
        assert_eq!(seen.mail.contains("ENVID=QQ314"), has_dsn, "{}", seen.mail);
        assert_eq!(seen.recipients[0].contains("NOTIFY=SUCCESS"), has_dsn);
        // Without the extension, that it went on is reported here (RFC 3461 §5.2.2).
        wait_until(|| world.inbox("anna").len() == usize::from(!has_dsn));
        if let [report] = &world.inbox("anna")[..] {
            assert!(report.contains("\r\nAction: relayed\r\n"), "{report}");
            assert!(report.contains("\r\nFinal-Recipient: rfc822; b@remote.example\r\n"), "{report}");
            assert!(!report.contains("c@remote.example"), "only who asked: {report}");
            assert!(report.contains("\r\nOriginal-Envelope-Id: QQ314\r\n"), "{report}");
        }
        wait_until(|| world.shared.queue_counts.get().entries == 0);
    }
}

#[test]
fn recipients_of_one_message_fare_differently() {
    let (world, record) = start(&["PIPELINING", "8BITMIME"]);
    send(&world, &["nobody@remote.example", "later@remote.example", "b@remote.example"]);
    wait_until(|| !record.messages().is_empty() && world.inbox("anna").len() == 1);
    wait_for_attempts(&world);
    let queued = entries(&world);
    let [(id, row)] = &queued[..] else { panic!("{queued:?}") };
    assert_eq!((row.attempts, row.waiting, row.held), (1, 1, Held::No));
    assert!((440..=460).contains(&(row.due - row.last_attempt)), "{row:?}");
    let left = queue::recipients(&world.shared.store.reader(), *id).map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(&*left[0].1.address, b"later@remote.example");
    let result = left[0].1.result.as_ref().unwrap();
    assert_eq!((result.code, result.enhanced, result.text()), (451, Some([4, 2, 0]), "come back"));
    assert_eq!(result.host(), "mx.remote.example");

    let report = world.inbox("anna").pop().unwrap();
    for field in [
        "Return-Path: <>",
        "Auto-Submitted: auto-replied",
        "Reporting-MTA: dns; localhost",
        "Final-Recipient: rfc822; nobody@remote.example",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx.remote.example",
        "Diagnostic-Code: smtp; 550 5.1.1 there is nobody",
        "Subject: hello",
    ] {
        assert!(report.contains(&format!("{field}\r\n")) || field.starts_with("Return"), "{field}: {report}");
    }
    assert!(!report.contains("later@") && !report.contains("\r\nbody\r\n"), "{report}");

    // Nothing goes to an address that isn't there any more, and nobody is connected to for it.
    let before = record.connections();
    send(&world, &["nobody@remote.example"]);
    wait_until(|| world.inbox("anna").len() == 2);
    let report = world.inbox("anna").pop().unwrap();
    assert!(report.contains("suppression list") && report.contains("Status: 5.1.0 ("), "{report}");
    assert!(report.contains("550 5.1.1 there is nobody") || report.contains("there is nobody"), "{report}");
    assert!(!report.contains("The address does not exist"), "nobody said so now: {report}");
    assert!(!report.contains("It was tried") && !report.contains("Last-Attempt-Date"), "{report}");
    assert_eq!(record.connections(), before);
}

/// Many programs give SMTPUTF8 whenever it is offered (RFC 6531 §3.2 asks for it where it is needed).
#[test]
fn what_does_not_need_smtputf8_goes_to_servers_that_lack_it() {
    let (world, record) = start(&["PIPELINING", "8BITMIME"]);
    let mut client = world.anna();
    let mut given = |to: &[&str], content: &str| {
        client.expect("MAIL FROM:<anna@example.org> BODY=8BITMIME SMTPUTF8", "250");
        to.iter().for_each(|to| drop(client.expect(&format!("RCPT TO:<{to}>"), "250")));
        assert!(client.data(content).starts_with("250"));
    };
    let from = "From: anna@example.org\r\n";
    given(&["b@remote.example"], MESSAGE);
    given(&["b@r\u{e9}mote.example"], &format!("{from}\r\nd\u{e9}j\u{e0} vu"));
    given(&["b@remote.example", "\u{e9}@plain.example"], MESSAGE);
    wait_until(|| record.messages().len() == 3);
    for seen in record.messages() {
        assert!(!seen.mail.contains("SMTPUTF8"), "{}", seen.mail);
        assert_eq!(seen.recipients.len(), 1, "{:?}", seen.recipients);
        let header = seen.content.split("\r\n\r\n").next().unwrap();
        assert!(header.is_ascii() && header.contains("UTF8SMTP"), "{header}");
    }
    // What needs it waits for a server that has it.
    given(&["b@remote.example"], &format!("{from}Subject: d\u{e9}j\u{e0} vu\r\n\r\nbody"));
    wait_for_attempts(&world);
    let waiting = entries(&world);
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    assert!(waiting.iter().all(|(_, row)| row.smtputf8), "{waiting:?}");
    assert_eq!(record.messages().len(), 3);
}

#[test]
fn a_refusal_of_what_was_sent_suppresses_nobody() {
    let (world, record) = start(&["PIPELINING", "8BITMIME"]);
    for count in 1..=2 {
        send(&world, &["policy@remote.example"]);
        wait_until(|| world.inbox("anna").len() == count);
        let report = world.inbox("anna").pop().unwrap();
        assert!(report.contains("Status: 5.7.1\r\n"), "{report}");
        assert!(report.contains("550 5.7.1 not such a message"), "{report}");
    }
    assert_eq!(record.commands.lock().unwrap().iter().filter(|line| *line == "DATA").count(), 2);
}

#[test]
fn what_dns_says_decides() {
    let (world, record) = start(&["PIPELINING"]);
    for (to, status, words) in [
        ("a@null.example", "5.1.10", "takes no mail"),
        ("a@missing.example", "5.1.2", "does not exist"),
        ("a@nowhere.example", "5.4.4", "has no addresses"),
    ] {
        let before = world.inbox("anna").len();
        send(&world, &[to]);
        wait_until(|| world.inbox("anna").len() == before + 1);
        let report = world.inbox("anna").pop().unwrap();
        assert!(report.contains(&format!("Status: {status} (")) && report.contains(words), "{to}: {report}");
    }
    assert_eq!(record.connections(), 0);
    send(&world, &["a@broken.example"]);
    wait_until(|| entries(&world).len() == 1);
    wait_for_attempts(&world);
    let (_, row) = entries(&world).pop().unwrap();
    assert!(row.due > row.last_attempt + 400 && row.last_error.is_some(), "{row:?}");
    // Without MX records the domain itself is the host.
    send(&world, &["a@plain.example"]);
    wait_until(|| record.messages().len() == 1);
}

#[test]
fn who_requires_tls_gets_it_or_hears_that_there_is_none() {
    let (world, record) = start(&["PIPELINING", "STARTTLS", "REQUIRETLS"]);
    let mut client = world.anna();
    client.expect("MAIL FROM:<anna@example.org> REQUIRETLS", "250");
    client.expect("RCPT TO:<b@remote.example>", "250");
    assert!(client.data(MESSAGE).starts_with("250"));
    wait_until(|| world.inbox("anna").len() == 1);
    let report = world.inbox("anna").pop().unwrap();
    assert!(report.contains("Status: 5.7.30 ("), "{report}");
    assert_eq!(record.connections(), 0, "no policy says how to verify that server");
    assert!(!record.said("MAIL"));
    // STARTTLS that is refused: another connection, in clear, as nothing promises TLS.
    send(&world, &["b@remote.example"]);
    wait_until(|| record.messages().len() == 1);
    assert!(record.said("STARTTLS"));
    assert_eq!(record.connections(), 2);
    // That it has STARTTLS is known from then on, although the message went without.
    let anna = world.account("anna").unwrap();
    let known = || account::tls_known(&world.shared.store.reader(), anna, "remote.example").unwrap();
    wait_until(|| known().is_some());
    assert!(known().unwrap().starttls);
}

#[test]
fn a_server_that_hangs_up_at_starttls_gets_its_mail_in_clear() {
    let (world, record) = start(&["PIPELINING", "STARTTLS", "X-CLOSES"]);
    send(&world, &["b@remote.example"]);
    wait_until(|| record.messages().len() == 1);
    assert_eq!(record.connections(), 2);
}

#[test]
fn one_connection_takes_many_messages() {
    let (world, record) = start(&["PIPELINING", "8BITMIME"]);
    for _ in 0..30 {
        world.enqueue("anna", MESSAGE, &["b@remote.example"], LATER);
    }
    // All are due at once: how many sessions there are is for the schedule to say, and not for the time between them.
    let change = QueueChange::Schedule { at: unix_now() };
    world.ok(&Request::QueueChange { filter: Box::default(), change });
    wait_until(|| record.messages().len() == 30);
    wait_until(|| entries(&world).is_empty());
    assert!(record.connections() <= 5, "{} connections", record.connections());
}

#[test]
fn a_server_that_takes_one_recipient_and_one_message_at_a_time_gets_all_of_them_at_once() {
    let (world, record) = start(&["PIPELINING", "8BITMIME", "LIMITS RCPTMAX=1 MAILMAX=1"]);
    send(&world, &["b@remote.example", "c@remote.example", "d@remote.example"]);
    wait_until(|| record.messages().len() == 3 && entries(&world).is_empty());
    assert_eq!(record.connections(), 3);
}

#[test]
fn one_connection_serves_several_domains_at_a_host() {
    let (port, record) = other_server::start(&["PIPELINING"]);
    let domains: Vec<String> = (0..16).map(|number| format!("d{number}.example")).collect();
    let records: String =
        domains.iter().map(|domain| format!("{domain}. MX 10 mx.remote.example.\n")).collect();
    let world = World::delivering(&format!("{SCRIPT}\n{records}"), port, |_| {});
    // Connections belong to shards.
    let shard = |domain: &str| queue::shard_of(queue::domain_hash(domain), world.shared.shards.len());
    let here: Vec<&String> = domains.iter().filter(|domain| shard(domain) == shard("d0.example")).collect();
    for (count, domain) in here.iter().enumerate() {
        send(&world, &[&format!("b@{domain}")]);
        wait_until(|| record.messages().len() == count + 1 && entries(&world).is_empty());
        wait_until(|| world.delivering_sessions() == 0);
    }
    // On a machine that stands still it lies idle for too long.
    assert!(here.len() > 1 && record.connections() < here.len(), "{} connections", record.connections());
}

/// Domains of several shards at one host, which takes one connection.
#[test]
fn shards_share_the_connections_that_a_host_takes() {
    let (port, record) = other_server::start(&["PIPELINING", "X-SLOW"]);
    let domains: Vec<String> = (0..12).map(|number| format!("d{number}.example")).collect();
    let records: String =
        domains.iter().map(|domain| format!("{domain}. MX 10 mx.remote.example.\n")).collect();
    let world = World::delivering(&format!("{SCRIPT}\n{records}"), port, |config| {
        config.delivery.host_sessions_max = 1;
    });
    let shard = |domain: &String| queue::shard_of(queue::domain_hash(domain), world.shared.shards.len());
    assert!(domains.iter().any(|domain| shard(domain) != shard(&domains[0])), "there are two of them");
    for domain in &domains {
        send(&world, &[&format!("b@{domain}")]);
    }
    wait_until(|| record.messages().len() == domains.len() && entries(&world).is_empty());
    assert_eq!(record.most_under_way(), 1);
}

/// Domains of several shards by a relay that takes one connection, in two rounds: in the second one the way is known before
/// anything is claimed.
#[test]
fn all_domains_have_their_turn_at_a_relay_that_takes_one_connection() {
    let (port, record) = other_server::start(&["PIPELINING", "X-SLOW"]);
    let world = World::delivering(SCRIPT, port, |config| {
        config.delivery.host_sessions_max = 1;
        let host = RelayHost::Address(Ipv4Addr::LOCALHOST.into());
        let relay = Relay { host, port: Some(port), tls: RelayTls::None, auth: None };
        config.delivery.transports.insert("relay".into(), Transport::Smtp(relay));
        config.delivery.routes = vec![Route::parse(&[], &[], 0, "relay").unwrap()];
    });
    for round in 1..=2 {
        for number in 0..6 {
            send(&world, &[&format!("b@d{number}.example")]);
            send(&world, &[&format!("c@d{number}.example")]);
        }
        wait_until(|| record.messages().len() == round * 12 && entries(&world).is_empty());
    }
    assert_eq!(record.most_under_way(), 1);
}

#[test]
fn a_sender_without_room_holds_nothing_up_and_the_postmaster_is_told() {
    let (world, _) = start(&["PIPELINING"]);
    send(&world, &["nobody@remote.example"]);
    wait_until(|| world.inbox("anna").len() == 1);
    let anna = world.account("anna").unwrap();
    world.change(&[directory::Change::SetPostmaster(Some((
        AccountName::new("ben").unwrap(),
        MailboxName::inbox(),
    )))]);
    world.at_home(anna, move |home| {
        Box::pin(async move {
            let handle = home.open_account(anna).await.unwrap();
            handle.set_quota(Quota { octets: Some(1), ..Quota::default() });
        })
    });
    send(&world, &["policy@remote.example"]);
    wait_until(|| world.inbox("ben").len() == 1);
    let report = world.inbox("ben").pop().unwrap();
    assert!(report.contains("Status: 5.7.1\r\n"), "{report}");
    assert!(
        report.contains("\r\nA message from anna@example.org could not be delivered to:\r\n"),
        "{report}"
    );
    assert!(report.contains("its sender was not told"), "{report}");
    assert!(report.contains("\r\nSubject: A message could not be delivered\r\n"), "{report}");
    wait_until(|| entries(&world).is_empty());
    assert_eq!(world.inbox("anna").len(), 1);
    // The postmaster isn't told of what is fine.
    let mut client = world.anna();
    client.expect("MAIL FROM:<anna@example.org>", "250");
    client.expect("RCPT TO:<b@remote.example> NOTIFY=SUCCESS", "250");
    assert!(client.data(MESSAGE).starts_with("250"));
    wait_until(|| entries(&world).is_empty());
    assert_eq!((world.inbox("anna").len(), world.inbox("ben").len()), (1, 1));
}

/// One of our own users has no room for a message of another.
#[test]
fn our_own_users_hear_of_each_other() {
    let script = format!("{SCRIPT}    example.org. MX 10 localhost.\n    localhost. A 127.0.0.1\n");
    let (port, record) = other_server::start(&["PIPELINING"]);
    let world = World::delivering(&script, port, |_| {});
    let long = format!("{MESSAGE}{}", "0123456789\r\n".repeat(200));
    let reply = world.anna().mail("anna@example.org", &["small@example.org", "ben@example.org"], &long);
    assert!(reply.starts_with("250"), "{reply}");
    wait_until(|| world.inbox("anna").len() == 1);
    let report = world.inbox("anna").pop().unwrap();
    assert!(report.contains("\r\nFinal-Recipient: rfc822; small@example.org\r\n"), "{report}");
    assert!(report.contains("Your message could not be delivered to:"), "{report}");
    assert!(entries(&world).is_empty() && record.connections() == 0);
    assert_eq!(world.inbox("ben").len(), 1);
}

/// RFC 4865: to whomever it goes.
#[test]
fn what_is_to_be_held_is_held_for_our_own_users_too() {
    let script = format!("{SCRIPT}    example.org. MX 10 localhost.\n    localhost. A 127.0.0.1\n");
    let (port, record) = other_server::start(&["PIPELINING"]);
    let world = World::delivering(&script, port, |_| {});
    let mut client = world.anna();
    client.expect("MAIL FROM:<anna@example.org> HOLDFOR=1", "250");
    client.expect("RCPT TO:<ben@example.org>", "250");
    client.expect("RCPT TO:<nobody@remote.example>", "250");
    assert!(client.data(MESSAGE).starts_with("250"));
    assert!(world.inbox("ben").is_empty());
    // Then it comes to this server, as what others send would: its MX record leads to one.
    wait_until(|| record.messages().len() == 1);
    assert!(record.messages()[0].recipients[0].contains("<ben@example.org>"));
    wait_until(|| world.inbox("anna").len() == 1);
    let report = world.inbox("anna").pop().unwrap();
    assert!(report.contains("\r\nFuture-Release-Request: for;1\r\n"), "{report}");
}

/// A row of the store that can't be read: what came of the delivery is written once somebody has set it right.
#[test]
fn an_outcome_that_the_store_refuses_waits_and_holds_up_nobody() {
    let (world, record) = start(&["PIPELINING"]);
    let anna = world.account("anna").unwrap();
    let damaged = keys::strikes(anna, account::hash(b"b@remote.example"));
    let (mut batch, mut repair) = (Batch::new(), Batch::new());
    batch.insert(Space::Rows, damaged.clone(), b"?".to_vec());
    repair.remove(Space::Rows, damaged);
    world.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    let unwritten = || world.shared.registry.gauge(world.shared.metrics.queue.unwritten);
    send(&world, &["b@remote.example"]);
    wait_until(|| record.messages().len() == 1 && unwritten() == 1);
    let id = entries(&world)[0].0.0.to_string();
    let show = |id| match world.ok(&Request::QueueShow { id }).1 {
        Answer::QueueEntry(details) => details.unwritten,
        answer => panic!("{answer:?}"),
    };
    // Operators are told why.
    assert!(show(id).is_some_and(|why| why.contains("the store is damaged")));
    send(&world, &["c@remote.example"]);
    wait_until(|| record.messages().len() == 2 && entries(&world).len() == 1);
    world.shared.committer.commit_blocking(repair, Durability::Synced).unwrap();
    wait_until(|| entries(&world).is_empty() && unwritten() == 0);
    assert_eq!(record.messages().len(), 2);
}

#[test]
fn a_policy_host_that_fails_is_not_asked_again_for_each_message() {
    let (port, record) = other_server::start(&["PIPELINING"]);
    // It takes connections and hangs up.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let policy_port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        listener.incoming().for_each(|stream| {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        });
    });
    let script =
        format!("{SCRIPT}    _mta-sts.remote TXT \"v=STSv1; id=2\"\n    mta-sts.remote A 127.0.0.1\n");
    let world = World::delivering(&script, port, |config| config.delivery.policy_port = policy_port);
    let (mut batch, now) = (Batch::new(), unix_now());
    let row = MtaStsRow {
        inserted: now,
        valid_until: now + 1000,
        updated: now,
        used: now,
        backoff: false,
        record_id: "1".into(),
        policy: "version: STSv1\nmode: testing\nmx: mx.remote.example\nmax_age: 1000\n".into(),
    };
    mta_sts::put(&mut batch, "remote.example", &row).unwrap();
    world.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    for count in 1..=3 {
        send(&world, &["b@remote.example"]);
        wait_until(|| record.messages().len() == count);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the kept policy stood in");
}

/// A backlog that goes by a relay that is down, and messages to the same domain that go directly.
#[test]
fn a_relay_that_is_down_says_nothing_of_what_goes_another_way() {
    let (port, record) = other_server::start(&["PIPELINING"]);
    let closed = ClosedPort::of(Ipv4Addr::new(127, 0, 0, 2));
    let world = World::delivering(SCRIPT, port, |config| {
        let host = RelayHost::Address(Ipv4Addr::new(127, 0, 0, 2).into());
        let relay = Relay { host, port: Some(closed.address().port()), tls: RelayTls::None, auth: None };
        config.delivery.transports.insert("dead".into(), Transport::Smtp(relay));
    });
    let mut client = world.anna();
    for _ in 0..45 {
        client.expect("MAIL FROM:<anna@example.org> HOLDFOR=3600", "250");
        client.expect("RCPT TO:<b@remote.example>", "250");
        assert!(client.data(MESSAGE).starts_with("250"));
    }
    let (direct, dead) = {
        let mut ids: Vec<QueueId> = entries(&world).into_iter().map(|(id, _)| id).collect();
        (ids.split_off(41), ids)
    };
    let mut due = Vec::new();
    for (place, id) in dead.iter().chain(&direct).enumerate() {
        let at = Change::Due(unix_now() - 100 + i64::try_from(place).unwrap());
        due = change(&world, *id, &at).into_iter().chain(due).collect();
    }
    dead.iter().for_each(|id| drop(change(&world, *id, &Change::Transport("dead".into()))));
    let anna = world.account("anna").unwrap();
    world.at_home(anna, move |home| Box::pin(async move { announce(&home, due, anna.get()).await }));
    let row = |id: QueueId| queue::entry(&world.shared.store.reader(), id).unwrap();
    wait_until(|| dead.iter().all(|id| row(*id).is_some_and(|row| row.attempts == 1 && !row.claimed)));
    // They were not tried, and nothing is said of them; or they have arrived.
    for id in direct {
        assert!(row(id).is_none_or(|row| row.attempts == 0 && row.last_error.is_none()), "{:?}", row(id));
    }
    assert!(record.messages().len() <= 4 && world.inbox("anna").is_empty());
}

/// A proxy that is down, and messages to the same host that go without it.
#[test]
fn a_proxy_that_is_down_says_nothing_of_a_host() {
    let (port, record) = other_server::start(&["PIPELINING"]);
    let closed = ClosedPort::of(Ipv4Addr::LOCALHOST);
    let script = format!("{SCRIPT}    behind  MX 10 mx.remote\n");
    let world = World::delivering(&script, port, |config| {
        let hostname = Domain::parse("us.example").unwrap();
        let proxy = Socks { address: closed.address(), hostname, remote_addresses: Vec::new() };
        config.delivery.transports.insert("proxy".into(), Transport::Socks(proxy));
        config.delivery.routes = vec![Route::parse(&[], &["behind.example"], 0, "proxy").unwrap()];
    });
    send(&world, &["b@behind.example"]);
    wait_for_attempts(&world);
    assert_eq!(record.connections(), 0);
    send(&world, &["b@remote.example"]);
    wait_until(|| record.messages().len() == 1);
}

fn change(world: &World, id: QueueId, change: &Change) -> Vec<Scheduled> {
    let store = &world.shared.store;
    let changed = queue::change(&store.reader(), id, Chosen::All, change, || store.new_queue_id()).unwrap();
    let Changed::Done(done) = changed else { panic!("{changed:?}") };
    world.shared.committer.commit_blocking(done.edit.batch, Durability::Synced).unwrap();
    done.entries
}
