//! Signatures of what leaves: by every key that signs, over what the other server gets, whatever happens on the way.

use futures_lite::future::block_on;
use postrider_authentication::content::Reader;
use postrider_authentication::dkim::{Policy, PrivateKey, pkcs8_of_pem, verify};
use postrider_proto::address::Domain;
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::key::Kind;
use postrider_storage::directory::{Change, DkimSecret, DkimState, DomainSettings};

use super::other_server::{self, Record};
use super::world::World;
use crate::clock::unix_now;
use crate::testing::{script_of, wait_until};

const RSA: &str = include_str!("../../../authentication/src/dkim/tests/rsa2048.pem");
const SCRIPT: &str = "
    $ORIGIN example.
    remote  MX 10 mx.remote
    mx.remote A 127.0.0.1
";
const MESSAGE: &str = "From: Anna <Anna+x@example.org>\r\nSubject: hello\r\n\r\nbody \r\n.dot\r\n\r\n";
/// Extensions of a server that takes all that is sent here.
const ALL: &[&str] = &["PIPELINING", "8BITMIME", "SIZE 100000000"];

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

fn rsa() -> DkimSecret {
    DkimSecret::new(Kind::Rsa, pkcs8_of_pem(RSA.as_bytes()).unwrap().into())
}

/// An Ed25519 key made of an octet (RFC 8410 §7).
fn ed25519(octet: u8) -> DkimSecret {
    let start = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    DkimSecret::new(Kind::Ed25519, [&start[..], &[octet; 32]].concat().into())
}

fn add(of: &str, called: &str, secret: DkimSecret, state: DkimState) -> Change {
    Change::AddDkimKey { domain: domain(of), selector: selector(called), secret, state }
}

fn start(extensions: &'static [&'static str]) -> (World, Record) {
    let (port, record) = other_server::start(extensions);
    let world = World::delivering(SCRIPT, port, |_| {});
    let settings = DomainSettings { separators: vec!["+".into()], ..DomainSettings::default() };
    world.change(&[
        Change::SetDomain { domain: domain("example.org"), settings },
        add("example.org", "rsa", rsa(), DkimState::Signs),
        add("example.org", "ed", ed25519(1), DkimState::Signs),
        add("example.org", "later", ed25519(2), DkimState::Published),
    ]);
    (world, record)
}

/// Results of the signatures of a message, as the other server finds them: each with its selector and `i=`.
fn results(message: &str) -> Vec<(String, &'static str, String)> {
    let mut script = String::new();
    for (called, secret) in [("rsa", rsa()), ("ed", ed25519(1)), ("later", ed25519(2))] {
        let record = PrivateKey::from_pkcs8(secret.expose()).unwrap().record();
        for of in ["example.org", "localhost"] {
            let strings: Vec<_> =
                record.as_bytes().chunks(200).map(|part| format!("\"{}\"", part.escape_ascii())).collect();
            script += &format!("{called}._domainkey.{of}. TXT {}\n", strings.join(" "));
        }
    }
    let mut reader = Reader::new();
    reader.push(message.as_bytes());
    let content = reader.finish().unwrap();
    let now = u64::try_from(unix_now()).unwrap();
    let found = block_on(verify(&content, &Policy::default(), now, &script_of(&script)));
    let told = |result: &postrider_authentication::dkim::SignatureResult| {
        let selector = result.selector.as_ref().unwrap().to_string();
        let identity = result.identity.as_ref().map(ToString::to_string);
        (selector, result.result.word(), identity.unwrap_or_default())
    };
    found.iter().map(told).collect()
}

fn both_pass(identity: &str) -> Vec<(String, &'static str, String)> {
    ["ed", "rsa"].map(|selector| (selector.to_owned(), "pass", identity.to_owned())).into()
}

fn only(record: &Record) -> String {
    wait_until(|| !record.messages().is_empty());
    let messages = record.messages();
    let [seen] = &messages[..] else { panic!("{messages:?}") };
    seen.content.clone()
}

fn failures(world: &World) -> u64 {
    world.shared.registry.counter(world.shared.metrics.queue.signing_failures)
}

#[test]
fn every_key_signs_what_the_other_server_gets() {
    let (world, record) = start(ALL);
    let reply = world.anna().mail("anna@example.org", &["b@remote.example"], MESSAGE);
    assert!(reply.starts_with("250"), "{reply}");
    let message = only(&record);
    assert!(message.starts_with("DKIM-Signature: "), "in front of all: {message}");
    assert_eq!(results(&message), both_pass("anna@example.org"));
    // What was added is signed, too.
    for field in ["Date", "Message-ID", "Subject"] {
        let (start, _) = message.split_once(&format!("\r\n{field}: ")).unwrap();
        let other = message.replacen(&format!("\r\n{field}: "), &format!("\r\n{field}: x"), 1);
        assert!(results(&other).iter().all(|(_, result, _)| *result == "fail"), "{field} after {start}");
    }
    assert_eq!(failures(&world), 0);
    // A key that is switched counts from the next message on.
    let state = |called, state| Change::SetDkimKey {
        domain: domain("example.org"),
        selector: selector(called),
        state,
    };
    world.change(&[state("rsa", DkimState::Published), state("later", DkimState::Signs)]);
    world.change(&[
        Change::RemoveDkimKey { domain: domain("example.org"), selector: selector("ed") },
        add("example.org", "ed", ed25519(3), DkimState::Signs),
    ]);
    world.anna().mail("anna@example.org", &["b@remote.example"], MESSAGE);
    wait_until(|| record.messages().len() == 2);
    let found = results(&record.messages()[1].content);
    let told: Vec<_> = found.iter().map(|(selector, result, _)| (selector.as_str(), *result)).collect();
    assert_eq!(told, [("ed", "fail"), ("later", "pass")], "the record of the new key isn't in the script");
}

#[test]
fn what_is_sent_is_signed_after_it_was_made_fit() {
    let (world, record) = start(&["PIPELINING"]);
    let long = "M\u{e4}use = \u{fc}ber\u{fc}ll.   \r\n".repeat(20_000);
    let content = format!(
        "From: anna@example.org\r\nSubject: x\r\nDKIM-Signature: v=1; a=rsa-sha256; d=old.example; s=x; h=from; bh=; b=\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{long}"
    );
    let mut client = world.anna();
    client.expect("MAIL FROM:<anna@example.org> BODY=8BITMIME", "250");
    client.expect("RCPT TO:<b@remote.example>", "250");
    assert!(client.data(&content).starts_with("250"));
    let message = only(&record);
    assert!(message.is_ascii());
    assert!(message.contains("\r\nContent-Transfer-Encoding: quoted-printable\r\n"), "{}", &message[..3000]);
    let found = results(&message);
    assert_eq!(found[..2], both_pass("anna@example.org"), "ours were made anew");
    assert_eq!(found.len(), 3, "somebody else's signature stays, whether it holds or not");
    assert!(!record.messages()[0].mail.contains("BODY="));
}

/// RFC 5321 §4.5.3.1.6: servers need not take lines of over 998 octets.
#[test]
fn long_lines_are_made_short_and_signed_after_that() {
    let (world, record) = start(ALL);
    let html = format!("<p>{}=</p>\r\n<p>short</p>\r\n", "word ".repeat(1200));
    let part = format!("Content-Type: text/html; charset=us-ascii\r\n\r\n{html}");
    let given = |kind: &str| {
        let content = format!(
            "From: anna@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/{kind}\r\n\r\n\
             --b\r\n{part}\r\n--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b--\r\n"
        );
        let mut client = world.anna();
        assert!(client.mail("anna@example.org", &["b@remote.example"], &content).starts_with("250"));
    };
    given("alternative; boundary=b");
    let message = only(&record);
    assert!(message.lines().all(|line| line.len() <= 998), "{message}");
    assert_eq!(message.matches("Content-Transfer-Encoding: quoted-printable\r\n").count(), 1, "{message}");
    assert_eq!(results(&message), both_pass("anna@example.org"));
    let encoded = message.split("quoted-printable\r\n\r\n").nth(1).unwrap();
    let encoded = encoded.split("\r\n--b\r\n").next().unwrap();
    assert_eq!(encoded.replace("=\r\n", "").replace("=3D", "="), html);
    // What its author signed may not be touched, and goes as it came.
    given("signed; boundary=b; protocol=\"application/x\"");
    wait_until(|| record.messages().len() == 2);
    let message = &record.messages()[1].content;
    assert!(message.contains(&part), "{message}");
    assert_eq!(results(message), both_pass("anna@example.org"));
}

/// Sends binary content by BDAT to a server with these extensions, and gives what came there.
fn binary(extensions: &'static [&'static str], body: &str) -> (String, String) {
    let (world, record) = start(extensions);
    let content = format!(
        "From: anna@example.org\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
         Content-Transfer-Encoding: binary\r\n\r\n{body}"
    );
    let mut client = world.anna();
    client.expect("MAIL FROM:<anna@example.org> BODY=BINARYMIME", "250");
    client.expect("RCPT TO:<b@remote.example>", "250");
    client.send(format!("BDAT {} LAST\r\n{content}", content.len()).as_bytes());
    assert!(client.reply().starts_with("250"));
    let message = only(&record);
    (message, record.messages()[0].mail.clone())
}

#[test]
fn binary_content_is_signed_over_what_is_sent() {
    let body = "a\nb\r\u{0}\u{1}\r\n.\r\nc";
    // A server that takes it gets it octet for octet.
    let (message, mail) = binary(&["PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME"], body);
    assert!(message.ends_with(&format!("\r\n\r\n{body}")), "{message:?}");
    assert!(mail.contains("BODY=BINARYMIME"), "{mail}");
    assert_eq!(results(&message), both_pass("anna@example.org"));
    // Another one gets lines.
    let (message, mail) = binary(ALL, body);
    assert!(message.contains("\r\nContent-Transfer-Encoding: base64\r\n"), "{message}");
    assert!(message.contains("YQpiDQABDQouDQpj"), "{message}");
    assert!(!mail.contains("BINARYMIME"), "{mail}");
    assert_eq!(results(&message), both_pass("anna@example.org"));
}

#[test]
fn what_cannot_be_made_fit_comes_back() {
    let (world, record) = start(&["PIPELINING"]);
    let content = "From: anna@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b; \
                   protocol=\"application/pgp-signature\"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
                   Content-Transfer-Encoding: 8bit\r\n\r\n\u{e4}\r\n--b\r\nContent-Type: application/pgp-signature\r\n\
                   \r\nx\r\n--b--\r\n";
    let mut client = world.anna();
    client.expect("MAIL FROM:<anna@example.org> BODY=8BITMIME", "250");
    client.expect("RCPT TO:<b@remote.example>", "250");
    assert!(client.data(content).starts_with("250"));
    wait_until(|| world.inbox("anna").len() == 1);
    let report = world.inbox("anna").pop().unwrap();
    assert!(report.contains("Status: 5.6.3"), "{report}");
    assert!(record.messages().is_empty());
}

#[test]
fn a_message_that_cannot_be_signed_leaves_all_the_same_and_is_counted() {
    let (world, record) = start(ALL);
    let fields = "X-A: b\r\n".repeat(2_100);
    let reply = world.anna().mail("anna@example.org", &["b@remote.example"], &format!("{fields}{MESSAGE}"));
    assert!(reply.starts_with("250"), "{reply}");
    assert!(!only(&record).contains("DKIM-Signature:"));
    assert_eq!(failures(&world), 1);
    // A key that can't be read doesn't keep the others from signing.
    let broken = DkimSecret::new(Kind::Ed25519, b"broken".as_slice().into());
    world.change(&[add("example.org", "broken", broken, DkimState::Signs)]);
    world.anna().mail("anna@example.org", &["b@remote.example"], MESSAGE);
    wait_until(|| record.messages().len() == 2);
    assert_eq!(results(&record.messages()[1].content), both_pass("anna@example.org"));
    assert_eq!(failures(&world), 2);
}

#[test]
fn a_domain_without_keys_signs_nothing() {
    let (port, record) = other_server::start(ALL);
    let world = World::delivering(SCRIPT, port, |_| {});
    world.change(&[add("example.org", "later", ed25519(2), DkimState::Published)]);
    world.anna().mail("anna@example.org", &["b@remote.example"], MESSAGE.replace("Anna+x", "anna").as_str());
    assert!(only(&record).starts_with("Authentication-Results: "));
    assert_eq!(failures(&world), 0);
}

#[test]
fn a_report_to_another_server_is_signed_by_the_domain_of_the_hostname() {
    let (port, record) = other_server::start(ALL);
    let script = format!("{SCRIPT}\nremote TXT \"v=spf1 ip4:127.0.0.1 -all\"\n");
    let world = World::delivering(&script, port, |_| {});
    world.change(&[
        Change::AddDomain { domain: domain("localhost"), settings: DomainSettings::default() },
        add("localhost", "ed", ed25519(1), DkimState::Signs),
        add("localhost", "rsa", rsa(), DkimState::Signs),
        Change::AddDkimKey {
            domain: domain("example.org"),
            selector: selector("ed"),
            secret: ed25519(2),
            state: DkimState::Signs,
        },
    ]);
    world.set("ben", Vec::new(), Some("sign your mail"));
    let mut client = world.smtp();
    let content = "From: <x@other.example>\r\nSubject: a\r\n\r\nb";
    let reply = client.mail("x@remote.example", &["anna@example.org", "ben@example.org"], content);
    assert!(reply.starts_with("250"), "{reply}");
    let report = only(&record);
    assert!(report.contains("Final-Recipient: rfc822; ben@example.org\r\n"), "{report}");
    assert_eq!(
        results(&report).iter().map(|(_, result, _)| *result).collect::<Vec<_>>(),
        ["pass", "pass"],
        "{report}"
    );
    assert!(report.contains("d=localhost;"), "{report}");
}
