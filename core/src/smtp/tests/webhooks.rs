//! Programs of users that are told of messages by webhooks.

use std::sync::Arc;

use postrider_storage::directory::{
    AccountName, Change, Directory, OutgoingWebhook, Webhook, WebhookEvent, WebhookEvents, WebhookUrl,
};
use postrider_storage::ids::{HookId, QueueId};
use postrider_storage::queue::{self, Bounds};
use postrider_storage::rows::{HookEnd, HookRow, RetiredHookRow};
use postrider_storage::webhooks::{self, HookFilter};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::other_server;
use super::web_server::{self, Seen, response};
use super::world::World;
use crate::clock::unix_now;
use crate::control::protocol::{Answer, Request, WebhookChange, WebhookFilter};
use crate::http::Reach;
use crate::metrics::{Called, GivenUp};
use crate::testing::wait_until;
use crate::tls::self_signed;
use crate::webhooks::LIFE;

const SCRIPT: &str = "
    $ORIGIN example.
    remote  MX 10 mx.remote
    mx.remote A 127.0.0.1
    hooks   A 127.0.0.1
    mixed   A 127.0.0.1
";
const MESSAGE: &str =
    "From: anna@example.org\r\nMessage-ID: <m1@example.org>\r\nSubject: =?utf-8?q?h=C3=A9llo?=\r\n\r\nbody";
const SECRET: &str = "0123456789abcdef";

fn hook(url: &str) -> Webhook {
    Webhook::new(WebhookUrl::parse(url).unwrap(), Some("Bearer token"), Some(SECRET)).unwrap()
}

/// Sets the webhooks of an account.
fn set(world: &World, account: &str, outgoing: Option<&str>, incoming: Option<&str>) {
    let name = AccountName::new(account).unwrap();
    let reader = world.shared.store.reader();
    let found = Directory::new(reader.snapshot()).account_by_name(&name).unwrap();
    let mut settings = found.unwrap().settings;
    settings.mail.outgoing_webhook =
        outgoing.map(|url| OutgoingWebhook { hook: hook(url), events: WebhookEvents::ALL });
    settings.mail.incoming_webhook = incoming.map(hook);
    settings.mail.keep_retired_webhooks = Some(3600);
    world.change(&[Change::SetAccount { name, settings }]);
}

fn waiting(world: &World) -> Vec<(HookId, HookRow)> {
    let page = webhooks::list(&world.shared.store.reader(), &HookFilter::default(), None, Bounds::default());
    page.unwrap().hooks.into_iter().map(|hook| (hook.id, hook.row)).collect()
}

fn ended(world: &World) -> Vec<(HookId, RetiredHookRow)> {
    let page =
        webhooks::retired(&world.shared.store.reader(), &HookFilter::default(), None, Bounds::default());
    let mut all: Vec<_> = page.unwrap().hooks.into_iter().map(|(_, id, row)| (id, row)).collect();
    all.sort_by_key(|(id, _)| *id);
    all
}

fn send(world: &World, to: &str) {
    let reply = world.anna().mail("anna@example.org", &[to], MESSAGE);
    assert!(reply.starts_with("250"), "{reply}");
}

fn delivering() -> World {
    let (port, _) = other_server::start(&["PIPELINING"]);
    World::delivering(SCRIPT, port, |_| {})
}

fn events(seen: &Seen) -> Vec<String> {
    seen.all().iter().map(|asked| asked.json()["Event"].as_str().unwrap().to_owned()).collect()
}

/// What a receiver does to verify a call.
fn verify(asked: &web_server::Asked) -> bool {
    let signature = asked.field("X-Postrider-Webhook-Signature").unwrap();
    let (time, signature) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let id = asked.field("X-Postrider-Webhook-ID").unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let octets: Vec<u8> = (0..signature.len() / 2)
        .map(|at| u8::from_str_radix(&signature[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let message = format!("{time}.{id}.{}", asked.body);
    (unix_now() - time.parse::<i64>().unwrap()).abs() < 300
        && ring::hmac::verify(&key, message.as_bytes(), &octets).is_ok()
}

#[test]
fn a_sender_is_told_what_became_of_a_message() {
    let (port, seen) = web_server::start(|_| response("200 OK"));
    let world = delivering();
    set(&world, "anna", Some(&format!("http://hooks.example:{port}/a?b")), None);
    send(&world, "b@remote.example");
    wait_until(|| seen.count() == 1 && waiting(&world).is_empty());
    let asked = &seen.all()[0];
    assert_eq!(asked.head[0], "POST /a?b HTTP/1.1");
    assert_eq!(asked.field("Host"), Some(&*format!("hooks.example:{port}")));
    assert_eq!(asked.field("Authorization"), Some("Bearer token"));
    assert_eq!(asked.field("Content-Type"), Some("application/json; charset=utf-8"));
    assert_eq!(asked.field("X-Postrider-Webhook-Attempt"), Some("1"));
    assert!(asked.field("User-Agent").unwrap().ends_with(" (webhook)"));
    assert!(verify(asked), "{asked:?}");
    let told = asked.json();
    for (member, value) in [
        ("Version", json!(0)),
        ("Event", json!("delivered")),
        ("DSN", json!(false)),
        ("Suppressing", json!(false)),
        ("Recipient", json!("b@remote.example")),
        ("MessageID", json!("m1@example.org")),
        ("Subject", json!("h\u{e9}llo")),
        ("SMTPCode", json!(250)),
        ("Error", json!("")),
    ] {
        assert_eq!(told[member], value, "{member}");
    }
    let [(id, retired)] = &ended(&world)[..] else { panic!("{:?}", ended(&world)) };
    assert_eq!(asked.field("X-Postrider-Webhook-ID"), Some(&*id.0.to_string()));
    assert_eq!((retired.end, retired.hook.attempts), (HookEnd::Delivered, 1));
    let result = retired.hook.results.last().unwrap();
    assert_eq!((result.status, result.error(), result.response()), (200, "", "body"));

    // Refused for good, and from then on suppressed.
    send(&world, "nobody@remote.example");
    wait_until(|| seen.count() == 2);
    let told = seen.all()[1].json();
    assert_eq!((&told["Event"], &told["Suppressing"]), (&json!("failed"), &json!(true)));
    assert_eq!((&told["SMTPCode"], &told["SMTPEnhancedCode"]), (&json!(550), &json!("5.1.1")));
    assert!(told["Error"].as_str().unwrap().contains("there is nobody"), "{told}");
    send(&world, "nobody@remote.example");
    wait_until(|| seen.count() == 3);
    assert_eq!(events(&seen)[2], "suppressed");

    // What an operator drops is canceled.
    send(&world, "later@remote.example");
    wait_until(|| seen.count() == 4 && waiting(&world).is_empty());
    let filter = crate::control::protocol::QueueFilter::default();
    let change = crate::control::protocol::QueueChange::Drop;
    wait_until(|| {
        let entries: Vec<_> =
            queue::entries(&world.shared.store.reader(), QueueId(0)).map(Result::unwrap).collect();
        entries.iter().all(|(_, row)| !row.claimed)
    });
    world.ok(&Request::QueueChange { filter: Box::new(filter), change });
    wait_until(|| seen.count() == 5);
    assert_eq!(events(&seen)[3..], ["delayed", "canceled"]);
    world.verify();
    assert_eq!(world.panics(), 0);
}

#[test]
fn only_wanted_events_are_told_and_nobody_else_pays() {
    let (port, seen) = web_server::start(|_| response("200 OK"));
    let world = delivering();
    send(&world, "b@remote.example");
    wait_until(|| world.shared.queue_counts.get().entries == 0);
    let name = AccountName::new("anna").unwrap();
    let reader = world.shared.store.reader();
    let mut settings = Directory::new(reader.snapshot()).account_by_name(&name).unwrap().unwrap().settings;
    let hook = hook(&format!("http://127.0.0.1:{port}/"));
    let events = WebhookEvents::of([WebhookEvent::Failed]);
    settings.mail.outgoing_webhook = Some(OutgoingWebhook { hook, events });
    world.change(&[Change::SetAccount { name, settings }]);
    send(&world, "c@remote.example");
    wait_until(|| world.shared.queue_counts.get().entries == 0);
    send(&world, "nobody@remote.example");
    wait_until(|| seen.count() == 1);
    assert_eq!(seen.all()[0].json()["Recipient"], "nobody@remote.example");
    wait_until(|| waiting(&world).is_empty());
    assert_eq!((seen.count(), ended(&world).len()), (1, 0), "and nothing is kept unless it is wanted");
}

#[test]
fn what_is_not_taken_is_tried_again() {
    let (elsewhere, redirected) = web_server::start(|_| response("200 OK"));
    let redirect =
        format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let long = format!("HTTP/1.1 500 Oops\r\n\r\n{}", "y".repeat(1_000_000));
    for (answer, status, words, label) in [
        (response("500 Oops"), 500, "", Called::ServerError),
        (response("204 No Content"), 204, "", Called::Other2xx),
        (redirect, 302, "", Called::Redirect),
        (String::new(), 0, "not complete", Called::Error),
        ("220 smtp.example ESMTP\r\n".to_owned(), 0, "does not speak HTTP", Called::Error),
        (huge, 0, "too large", Called::Error),
        (long, 500, "", Called::ServerError),
    ] {
        let (port, seen) = web_server::start(move |_| answer.clone());
        let world = delivering();
        set(&world, "anna", Some(&format!("http://127.0.0.1:{port}/")), None);
        let before = unix_now();
        send(&world, "b@remote.example");
        wait_until(|| waiting(&world).first().is_some_and(|(_, row)| row.attempts == 1));
        let [(_, row)] = &waiting(&world)[..] else { panic!() };
        assert!((before + 59..=unix_now() + 61).contains(&row.due), "{row:?}");
        let result = row.results.last().unwrap();
        assert_eq!(result.status, status, "{result:?}");
        assert!(result.error().contains(words) && result.response().len() <= 512, "{result:?}");
        assert_eq!(seen.count(), 1);
        let counted =
            world.shared.registry.counter(world.shared.metrics.webhooks.results.at([label as usize]));
        assert_eq!(counted, 1, "{label:?}");
        world.verify();
    }
    assert_eq!(redirected.count(), 0);
}

#[test]
fn addresses_inside_are_not_called_unless_that_is_configured() {
    for (url, reach, called) in [
        ("http://hooks.example:PORT/", Reach::Public, false),
        ("http://127.0.0.1:PORT/", Reach::Public, false),
        (
            "http://127.0.0.1:PORT/",
            Reach::PublicAnd(vec![crate::config::Network::parse("127.0.0.0/8").unwrap()]),
            true,
        ),
    ] {
        let (port, seen) = web_server::start(|_| response("200 OK"));
        let (other, _) = other_server::start(&["PIPELINING"]);
        let world = World::delivering(SCRIPT, other, |config| config.webhooks.reach = reach);
        set(&world, "anna", Some(&url.replace("PORT", &port.to_string())), None);
        send(&world, "b@remote.example");
        if called {
            wait_until(|| seen.count() == 1);
            continue;
        }
        wait_until(|| waiting(&world).first().is_some_and(|(_, row)| row.attempts == 1));
        let row = &waiting(&world)[0].1;
        assert!(row.results[0].error().contains("127.0.0.1 is not a public one"), "{row:?}");
        assert_eq!(seen.count(), 0);
    }
}

#[test]
fn a_certificate_has_to_be_of_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let pair = self_signed(directory.path(), &["hooks.example"]).unwrap();
    let tls = || {
        let chain: Vec<_> = CertificateDer::pem_file_iter(&pair.chain).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.unwrap())
    };
    for (host, trusted, taken) in
        [("hooks.example", true, true), ("hooks.example", false, false), ("mixed.example", true, false)]
    {
        let (port, seen) = web_server::start_tls(tls(), |_| response("200 OK"));
        let (other, _) = other_server::start(&["PIPELINING"]);
        let roots = trusted.then(|| pair.chain.clone());
        let world = World::delivering(SCRIPT, other, |config| config.webhooks.tls_roots = roots);
        set(&world, "anna", Some(&format!("https://{host}:{port}/")), None);
        send(&world, "b@remote.example");
        if taken {
            wait_until(|| seen.count() == 1 && waiting(&world).is_empty());
            assert!(verify(&seen.all()[0]));
            continue;
        }
        wait_until(|| waiting(&world).first().is_some_and(|(_, row)| row.attempts == 1));
        assert_eq!(seen.count(), 0, "nothing is sent before the certificate is verified");
        let row = &waiting(&world)[0].1;
        assert!(row.results[0].error().contains("TLS"), "{row:?}");
    }
}

#[test]
fn an_event_and_its_call_are_written_together() {
    let (other, _) = other_server::start(&["PIPELINING"]);
    // Nothing is called, so that the calls stay.
    let world = World::delivering(SCRIPT, other, |config| config.webhooks.reach = Reach::Public);
    set(&world, "anna", Some("http://127.0.0.1:9/"), None);
    let total = 30;
    for number in 0..total {
        send(&world, &format!("r{number}@remote.example"));
    }
    let mut looked = 0;
    loop {
        // One snapshot: what a crash at this moment would leave.
        let reader = world.shared.store.reader();
        let entries = queue::entries(&reader, QueueId(0)).map(Result::unwrap).count();
        let page = webhooks::list(&reader, &HookFilter::default(), None, Bounds::default()).unwrap();
        assert_eq!(entries + page.hooks.len(), total, "after {looked} looks");
        looked += 1;
        if entries == 0 {
            break;
        }
    }
    world.verify();
}

#[test]
fn a_later_event_takes_the_place_of_one_that_waits() {
    let (port, seen) = web_server::start(|number| response(if number == 0 { "503 Later" } else { "200 OK" }));
    let world = delivering();
    set(&world, "anna", Some(&format!("http://127.0.0.1:{port}/")), None);
    send(&world, "later@remote.example");
    wait_until(|| waiting(&world).first().is_some_and(|(_, row)| row.attempts == 1));
    let first = waiting(&world)[0].0;
    let (filter, at) = (crate::control::protocol::QueueFilter::default(), unix_now());
    let change = crate::control::protocol::QueueChange::Schedule { at };
    world.ok(&Request::QueueChange { filter: Box::new(filter), change });
    wait_until(|| seen.count() == 2 && waiting(&world).is_empty());
    let ended = ended(&world);
    let [(old, superseded), (new, delivered)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!((*old, superseded.end), (first, HookEnd::Superseded(*new)));
    assert_eq!(delivered.end, HookEnd::Delivered);
    world.verify();
}

#[test]
fn what_waits_is_called_after_a_restart_and_a_webhook_that_is_gone_is_not() {
    let (port, seen) = web_server::start(|_| response("200 OK"));
    // This one makes no calls.
    let world = World::new();
    set(&world, "ben", None, Some(&format!("http://127.0.0.1:{port}/in")));
    set(&world, "cleo", None, Some(&format!("http://127.0.0.1:{port}/gone")));
    set(&world, "anna", None, Some("http://127.0.0.1:9/moved"));
    let mut client = world.smtp();
    for to in ["ben", "cleo", "anna", "small"] {
        let reply = client.mail("x@other.example", &[&format!("{to}@example.org")], "Subject: a\r\n\r\nb");
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert_eq!(waiting(&world).len(), 3, "one for each account with a webhook");
    set(&world, "cleo", None, None);
    set(&world, "anna", None, Some(&format!("http://127.0.0.1:{port}/new")));
    let world = world.again();
    wait_until(|| seen.count() == 2 && waiting(&world).is_empty());
    let mut lines: Vec<_> = seen.all().iter().map(|asked| asked.head[0].clone()).collect();
    lines.sort();
    assert_eq!(lines, ["POST /in HTTP/1.1", "POST /new HTTP/1.1"]);
    let unwanted = ended(&world).iter().filter(|(_, row)| row.end == HookEnd::Unwanted).count();
    assert_eq!(unwanted, 1);
    world.verify();
}

#[test]
fn a_program_is_told_of_a_message_that_came() {
    let (port, seen) = web_server::start(|_| response("200 OK"));
    let world = World::new();
    set(&world, "ben", None, Some(&format!("http://127.0.0.1:{port}/")));
    let message = "From: =?utf-8?q?B=C3=A9?= <b@other.example>, c@other.example\r\nTo: undisclosed: ;\r\n\
        Cc: Team <team@example.org>\r\nSubject: two\r\n parts\r\nMessage-ID: <m2@other.example>\r\n\
        In-Reply-To: <m1@other.example>\r\nReferences: <m0@other.example> <m1@other.example>\r\n\
        Date: Thu, 26 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\
        Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        caf=E9\r\n--x\r\nContent-Type: text/html\r\n\r\n<b>hi</b>\r\n--x\r\n\
        Content-Type: text/plain; name=a.txt\r\nContent-Disposition: attachment;\r\n filename*=utf-8''%C3%A4.txt\r\n\
        Content-Transfer-Encoding: base64\r\nContent-ID: <part@other.example>\r\n\r\naGVsbG8=\r\n--x--\r\n";
    let reply = world.smtp().mail("b@other.example", &["ben@example.org"], message);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(waiting(&world).len(), 1);
    let world = world.again();
    wait_until(|| seen.count() == 1 && waiting(&world).is_empty());
    let asked = &seen.all()[0];
    assert!(verify(asked));
    let told = asked.json();
    for (member, value) in [
        (
            "From",
            json!([{"Name": "B\u{e9}", "Address": "b@other.example"}, {"Name": "", "Address": "c@other.example"}]),
        ),
        ("To", json!([])),
        ("CC", json!([{"Name": "Team", "Address": "team@example.org"}])),
        ("Subject", json!("two parts")),
        ("MessageID", json!("m2@other.example")),
        ("InReplyTo", json!("m1@other.example")),
        ("References", json!(["m0@other.example", "m1@other.example"])),
        ("Date", json!("2026-11-26T09:00:00Z")),
        ("Text", json!("caf\u{e9}")),
        ("HTML", json!("<b>hi</b>")),
    ] {
        assert_eq!(told[member], value, "{member}");
    }
    let parts = &told["Structure"]["Parts"];
    assert_eq!(told["Structure"]["ContentType"], "multipart/mixed");
    assert_eq!(parts[0]["ContentTypeParams"], json!({"charset": "iso-8859-1"}));
    let attached = json!({
        "ContentType": "text/plain", "ContentTypeParams": {"name": "a.txt"}, "ContentID": "part@other.example",
        "ContentDisposition": "attachment", "Filename": "\u{e4}.txt", "DecodedSize": 6, "Parts": [],
    });
    assert_eq!(parts[2], attached);
    let meta = &told["Meta"];
    for (member, value) in [
        ("MailFrom", json!("b@other.example")),
        ("RcptTo", json!("ben@example.org")),
        ("RemoteIP", json!("127.0.0.1")),
        ("MailboxName", json!("Inbox")),
        ("MailFromValidated", json!(false)),
        ("DKIMVerifiedDomains", json!([])),
        ("Automated", json!(false)),
        ("Removed", json!(false)),
    ] {
        assert_eq!(meta[member], value, "{member}");
    }
}

#[test]
fn automated_mail_is_marked_and_removed_mail_is_told_of_without_it() {
    let (port, seen) = web_server::start(|_| response("200 OK"));
    let world = World::new();
    set(&world, "ben", None, Some(&format!("http://127.0.0.1:{port}/")));
    let mut client = world.smtp();
    let rows = [
        ("x@other.example", "Subject: a", false),
        ("", "Subject: a", true),
        ("x@other.example", "List-Id: <l.example>", true),
        ("x@other.example", "Precedence: bulk", true),
        ("x@other.example", "Auto-Submitted: auto-replied (x)", true),
        ("x@other.example", "Auto-Submitted: No", false),
        ("x@other.example", "MIME-Version: 1.0\r\nContent-Type: multipart/report; boundary=x", true),
    ];
    for (from, header, _) in rows {
        let reply = client.mail(from, &["ben@example.org"], &format!("{header}\r\n\r\nb"));
        assert!(reply.starts_with("250"), "{reply}");
    }
    // The call of a message that isn't there any more.
    let (id, row) = waiting(&world).pop().unwrap();
    let gone = HookRow {
        subject: postrider_storage::rows::HookSubject::Incoming {
            email: postrider_storage::ids::EmailId(999),
        },
        ..row
    };
    let mut batch = postrider_storage::engine::Batch::new();
    webhooks::add(&mut batch, HookId(id.0 + 1), &gone).unwrap();
    world.shared.committer.commit_blocking(batch, postrider_storage::engine::Durability::Synced).unwrap();
    let world = world.again();
    wait_until(|| seen.count() == rows.len() + 1 && waiting(&world).is_empty());
    let told: Vec<Value> = seen.all().iter().map(web_server::Asked::json).collect();
    let automated: Vec<_> = told.iter().map(|told| told["Meta"]["Automated"] == true).collect();
    assert_eq!(automated[..rows.len()], rows.map(|(_, _, automated)| automated));
    let last = told.last().unwrap();
    assert_eq!((&last["Meta"]["Removed"], &last["Structure"]), (&json!(true), &Value::Null));
    assert_eq!(last["Meta"]["MailFrom"], "x@other.example");
}

#[test]
fn a_call_that_can_not_be_made_holds_up_no_other() {
    let (port, seen) = web_server::start(|_| response("200 OK"));
    let world = World::new();
    set(&world, "ben", None, Some(&format!("http://127.0.0.1:{port}/")));
    let reply = world.smtp().mail("x@other.example", &["ben@example.org"], "Subject: a\r\n\r\nb");
    assert!(reply.starts_with("250"), "{reply}");
    let (id, row) = waiting(&world).pop().unwrap();
    // What is kept of it is damaged, and it is the first in the schedule.
    let damaged = HookRow { payload: b"{".as_slice().into(), due: row.due - 10, ..row };
    let mut batch = postrider_storage::engine::Batch::new();
    webhooks::add(&mut batch, HookId(id.0 + 1), &damaged).unwrap();
    world.shared.committer.commit_blocking(batch, postrider_storage::engine::Durability::Synced).unwrap();
    let world = world.again();
    wait_until(|| seen.count() == 1 && waiting(&world).len() == 1);
    let (left, row) = waiting(&world).pop().unwrap();
    // It has failed, and is tried again later, as any other.
    assert_eq!((left, row.attempts), (HookId(id.0 + 1), 1));
    assert!(row.due > row.results[0].time && row.results[0].error().contains("can't read"), "{row:?}");
    assert_eq!(seen.all()[0].field("X-Postrider-Webhook-ID"), Some(&*id.0.to_string()));
}

#[test]
fn a_call_that_waited_for_too_long_is_given_up() {
    let (port, seen) = web_server::start(|_| response("503 Later"));
    let world = World::new();
    set(&world, "ben", None, Some(&format!("http://127.0.0.1:{port}/")));
    let reply = world.smtp().mail("x@other.example", &["ben@example.org"], "Subject: a\r\n\r\nb");
    assert!(reply.starts_with("250"), "{reply}");
    let (young, row) = waiting(&world).pop().unwrap();
    // One whose turn comes too late, and one whose next attempt would come too late: its eleventh has failed.
    let (never, last) = (HookId(young.0 + 1), HookId(young.0 + 2));
    let mut batch = postrider_storage::engine::Batch::new();
    let now = unix_now();
    for (id, created, attempts) in [(never, now - LIFE, 0), (last, now - LIFE + 3600, 10)] {
        webhooks::add(&mut batch, id, &HookRow { created, attempts, ..row.clone() }).unwrap();
    }
    world.shared.committer.commit_blocking(batch, postrider_storage::engine::Durability::Synced).unwrap();
    let world = world.again();
    wait_until(|| seen.count() == 2 && waiting(&world).len() == 1 && waiting(&world)[0].1.attempts == 1);
    assert_eq!(waiting(&world)[0].0, young);
    let ended = ended(&world);
    let [(first, unmade), (second, made)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!((*first, unmade.end, unmade.hook.attempts), (never, HookEnd::Expired, 0));
    assert_eq!((*second, made.end, made.hook.attempts), (last, HookEnd::Expired, 11));
    assert_eq!(made.hook.results.last().map(|result| result.status), Some(503), "it says why");
    let given_up = world.shared.metrics.webhooks.given_up.at([GivenUp::Age as usize]);
    wait_until(|| world.shared.registry.counter(given_up) == 2);
    let filter = Box::new(WebhookFilter::default());
    let (rows, _) = world.ok(&Request::WebhookRetired { filter, cursor: None, limit: None });
    assert_eq!(rows.matches("\"expired\"").count(), 2, "{rows}");
    world.verify();
}

#[test]
fn operators_see_calls_make_them_anew_and_cancel_them() {
    let (port, seen) = web_server::start(|number| response(if number < 2 { "503 Later" } else { "200 OK" }));
    let world = delivering();
    let url = format!("http://127.0.0.1:{port}/");
    set(&world, "anna", Some(&url), None);
    send(&world, "b@remote.example");
    send(&world, "c@remote.example");
    wait_until(|| waiting(&world).iter().filter(|(_, row)| row.attempts == 1).count() == 2);
    let filter = |change: fn(&mut WebhookFilter)| {
        let mut filter = WebhookFilter { account: Some("anna".to_owned()), ..WebhookFilter::default() };
        change(&mut filter);
        Box::new(filter)
    };
    let list = |filter| world.ok(&Request::WebhookList { filter, cursor: None, limit: None });
    let (rows, answer) = list(filter(|_| {}));
    assert_eq!(answer, Answer::Page { next: None });
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["account"], &rows[0]["event"], &rows[0]["url"]),
        (&json!("anna"), &json!("delivered"), &json!(url))
    );
    assert_eq!((&rows[0]["attempts"], &rows[0]["last"]["status"]), (&json!(1), &json!(503)));
    assert_eq!(list(filter(|filter| filter.event = Some("failed".to_owned()))).0, "");
    let retired = |filter| world.ok(&Request::WebhookRetired { filter, cursor: None, limit: None }).0;
    assert_eq!(retired(filter(|_| {})), "");
    let id = rows[0]["id"].as_str().unwrap().to_owned();
    let Answer::Webhook(shown) = world.ok(&Request::WebhookShow { id: id.clone() }).1 else { panic!() };
    assert_eq!((shown.results.len(), &shown.payload["Event"]), (1, &json!("delivered")));
    for text in [format!("{shown:?}"), rows[0].to_string()] {
        assert!(!text.contains(SECRET) && !text.contains("Bearer"), "{text}");
    }
    let one = |id: &str| Box::new(WebhookFilter { ids: vec![id.to_owned()], ..WebhookFilter::default() });
    let change = |filter, change| world.call(&Request::WebhookChange { filter, change }).1;
    let canceled = change(one(&id), WebhookChange::Cancel).unwrap();
    assert_eq!(canceled, Answer::WebhooksChanged { calls: 1, busy: 0 });
    assert!(change(one(&id), WebhookChange::Cancel).is_err());
    let retried = change(filter(|_| {}), WebhookChange::Retry).unwrap();
    assert_eq!(retried, Answer::WebhooksChanged { calls: 1, busy: 0 });
    wait_until(|| seen.count() == 3 && waiting(&world).is_empty());
    assert_eq!(seen.all()[2].field("X-Postrider-Webhook-Attempt"), Some("2"));
    let rows = retired(one(&id));
    assert!(rows.lines().count() == 1 && rows.contains("canceled"), "{rows}");
    let rows = retired(filter(|_| {}));
    let mut outcomes: Vec<String> = rows
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["outcome"].as_str().unwrap().to_owned())
        .collect();
    outcomes.sort();
    assert_eq!(outcomes, ["canceled", "delivered"]);
    let test = |incoming| world.call(&Request::WebhookTest { account: "anna".to_owned(), incoming }).1;
    let Answer::WebhookTested(result) = test(false).unwrap() else { panic!() };
    assert_eq!((result.status, result.error.as_str()), (Some(200), ""));
    assert!(verify(&seen.all()[3]));
    assert!(test(true).is_err());
    world.verify();
}
