//! Whether mail of other servers is from whom it says: what is written into its header, and what is refused.

use std::time::{Duration, Instant};

use postrider_authentication::arc::{Sealer, seal};
use postrider_authentication::content::BodyHasher;
use postrider_authentication::dkim::{PrivateKey, Signer, SignerKey};
use postrider_proto::address::Domain;
use postrider_proto::arc::{ChainStatus, Instance};
use postrider_proto::dkim::Selector;
use postrider_storage::evaluations::all;
use postrider_storage::rows::{Disposition, EvaluationRow};

use super::world::World;
use crate::clock::unix_now;
use crate::config::Consequence;
use crate::metrics::{Finding, Limit, Method, Reason, Verdict};
use crate::testing::{once, wait_until};

pub(super) const SCRIPT: &str = "
    $SECURE .
    1.0.0.127.in-addr.arpa. PTR client.example.
    $ORIGIN example.
    client        A    127.0.0.1
    client        TXT  \"v=spf1 ip4:127.0.0.1 -all\"
    strict        MX   10 client
    strict        TXT  \"v=spf1 ip4:127.0.0.1 -all\"
    _dmarc.strict TXT  \"v=DMARC1; p=reject; rua=mailto:reports@strict.example\"
    bank          MX   10 client
    bank          TXT  \"v=spf1 -all\"
    _dmarc.bank   TXT  \"v=DMARC1; p=quarantine; rua=mailto:reports@bank.example\"
    quiet         MX   10 client
    quiet         TXT  \"v=spf1 -all\"
    _dmarc.quiet  TXT  \"v=DMARC1; p=reject\"
    lax           MX   10 client
    lax           TXT  \"v=spf1 ~all\"
    _dmarc.lax    TXT  \"v=DMARC1; p=none; rua=mailto:reports@lax.example\"
    shaky         MX   10 client
    _dmarc.shaky  TXT  \"v=DMARC1; p=reject\"
    $SERVFAIL     shaky TXT
    shaken        A    192.0.2.1
    $SERVFAIL     _dmarc.shaken
    2.0.0.127.bl  A    127.0.0.2
    1.0.0.127.bad A    127.0.0.2
    2.0.0.127.bad A    127.0.0.2
    bl2           A    192.0.2.1
    2.0.0.127.bl2 A    127.0.0.2
";

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// The fields of a message that was stored, unfolded.
fn unfolded(text: &str) -> String {
    text.replace("\r\n\t", " ").replace("\r\n ", " ")
}

/// The value of our own results.
fn results(text: &str) -> String {
    let text = unfolded(text);
    let field = text.lines().find_map(|line| line.strip_prefix("Authentication-Results: localhost;"));
    field.unwrap_or_else(|| panic!("no results in {text}")).to_owned()
}

fn evaluations(world: &World) -> Vec<EvaluationRow> {
    all(&world.shared.store.reader()).map(|row| row.unwrap().1).collect()
}

/// A key, and a script with its record.
pub(super) fn with_key(name: &str) -> (PrivateKey, String) {
    let key = PrivateKey::generate_ed25519().unwrap();
    let script = format!("{SCRIPT}\n s._domainkey.{name} TXT \"{}\"\n", key.record());
    (key, script)
}

/// The message with signatures in front of it.
pub(super) fn signed_by(signer: &Signer<PrivateKey>, message: &str) -> String {
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    let mut hasher = signer.body_hasher();
    hasher.push(format!("{}\r\n", body.trim_end()).as_bytes());
    let header = format!("{header}\r\n\r\n");
    let now = u64::try_from(unix_now()).unwrap();
    let fields = signer.sign(header.into_bytes(), &hasher.finish(), None, now).unwrap();
    format!("{fields}{message}")
}

/// Signs for a domain below `example`.
pub(super) fn signer(key: PrivateKey, name: &str) -> Signer<PrivateKey> {
    let selector = Selector::parse("s").unwrap();
    Signer::new(domain(&format!("{name}.example")), vec![SignerKey { selector, key }])
}

/// The same with one signature of such a domain.
pub(super) fn signed(key: PrivateKey, name: &str, message: &str) -> String {
    signed_by(&signer(key, name), message)
}

#[test]
fn what_a_domain_confirms_is_accepted_and_its_header_says_how() {
    let world = World::with_script(SCRIPT, |_| {});
    let reply = world.smtp_tls().mail(
        "a@strict.example",
        &["anna@example.org"],
        "From: <a@strict.example>\r\nSubject: x\r\n\r\nbody",
    );
    assert!(reply.starts_with("250"), "{reply}");
    let text = world.inbox("anna").pop().unwrap();
    let names: Vec<&str> = text
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "X-Postrider-Reason",
        "Delivered-To",
        "Return-Path",
        "Authentication-Results",
        "Received-SPF",
        "Received",
        "From",
        "Subject",
    ];
    assert_eq!(
        names.iter().filter(|name| !name.starts_with('\t')).copied().collect::<Vec<_>>(),
        expected,
        "{text}"
    );
    assert!(text.starts_with("X-Postrider-Reason: no-bad-signals\r\n"), "{text}");
    let results = results(&text);
    let mut rest = &*results;
    for part in [
        "iprev=pass (with dnssec) policy.iprev=127.0.0.1",
        "dkim=none",
        "spf=pass (with dnssec) smtp.mailfrom=strict.example",
        "dmarc=pass (with dnssec) header.from=strict.example",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part} in its place in {results}"));
        rest = &rest[at..];
    }
    let text = unfolded(&text);
    assert!(text.contains("\nReceived-SPF: pass (domain strict.example) client-ip=127.0.0.1"), "{text}");
    assert!(text.contains("Received: from client.example ([127.0.0.1]) by localhost"), "{text}");
    wait_until(|| evaluations(&world).len() == 1);
    let row = evaluations(&world).pop().unwrap();
    assert_eq!((row.disposition, row.spf_aligned, row.dkim_aligned), (Disposition::None, true, false));
    assert_eq!((&*row.policy_domain, &*row.envelope_to), ("strict.example", "example.org"));
    assert_eq!(&*row.record, "v=DMARC1; p=reject; rua=mailto:reports@strict.example");
    let (registry, known) = (&world.shared.registry, &world.shared.metrics);
    let accepted = known.checks.decisions.at([Verdict::Accepted as usize, Reason::NoBadSignals as usize]);
    assert_eq!(registry.counter(accepted), 1);
    for method in [Method::Iprev, Method::Spf, Method::Dmarc] {
        assert_eq!(registry.counter(known.checks.findings.at([method as usize, Finding::Pass as usize])), 1);
    }
}

#[test]
fn a_forged_author_is_refused_as_its_domain_wants() {
    let world = World::with_script(SCRIPT, |_| {});
    let mut client = world.smtp();
    for (from, code) in [
        ("From: <boss@bank.example>\r\n", "550 5.7.26"),
        ("From: <boss@quiet.example>\r\n", "550 5.7.26"),
        // Below a domain, and in ways that some programs show.
        ("From: <boss@sub.bank.example>\r\n", "550 5.7.26"),
        ("From : <boss@bank.example>\r\n", "550 5.7.26"),
        ("From: <a@client.example>\r\nFrom: <boss@bank.example>\r\n", "550 5.7.26"),
        ("From: <a@client.example>, <boss@bank.example>\r\n", "550 5.7.26"),
        ("From: \"boss@bank.example\" <a@client.example>\r\n", "250"),
        ("From: <boss@lax.example>\r\n", "250"),
        ("", "250"),
    ] {
        let message = format!("{from}Subject: x\r\n\r\nbody");
        let reply = client.mail("a@client.example", &["anna@example.org", "ben@example.org"], &message);
        assert!(reply.starts_with(code), "{from}: {reply}");
    }
    assert_eq!(world.inbox("anna").len(), 3);
    assert_eq!(world.counts().queued, 0, "no reports to forged senders");
    wait_until(|| world.counts().blobs_to_collect == 0);
    assert_eq!(world.counts().blobs, 3);
    // Of the domains that want reports.
    wait_until(|| evaluations(&world).len() == 6);
    let rows = evaluations(&world);
    let refused = rows.iter().filter(|row| row.disposition == Disposition::Reject && row.optional).count();
    assert_eq!((refused, rows.iter().filter(|row| &*row.policy_domain == "quiet.example").count()), (5, 0));
}

#[test]
fn a_signature_confirms_what_spf_cannot_and_a_change_breaks_it() {
    let (key, script) = with_key("bank");
    let message = "From: <boss@bank.example>\r\nSubject: x\r\n\r\nbody";
    let text = signed(key, "bank", message);
    let world = World::with_script(&script, |_| {});
    let mut client = world.smtp();
    let reply = client.mail("a@client.example", &["anna@example.org"], &text);
    assert!(reply.starts_with("250"), "{reply}");
    let stored = world.inbox("anna").pop().unwrap();
    let results = results(&stored);
    assert!(
        results.contains("dkim=pass (")
            && results.contains("with dnssec) header.d=bank.example header.s=s header.a=ed25519-sha256"),
        "{results}"
    );
    assert!(results.contains("dmarc=pass (with dnssec) header.from=bank.example"), "{results}");
    for changed in [text.replace("\r\n\r\nbody", "\r\n\r\nbad"), text.replace("Subject: x", "Subject: y")] {
        let reply = client.mail("a@client.example", &["anna@example.org"], &changed);
        assert!(reply.starts_with("550 5.7.26"), "{reply}");
    }
    // A large body is hashed as it passes by.
    assert_eq!(world.inbox("anna").len(), 1);
}

#[test]
fn signatures_see_the_message_as_it_came() {
    let (key, script) = with_key("bank");
    let message =
        "Authentication-Results: localhost; dmarc=pass\r\nFrom: <boss@bank.example>\r\nSubject: x\r\n\r\n"
            .to_owned()
            + &"0123456789abcdef\r\n".repeat(20_000);
    let selector = Selector::parse("s").unwrap();
    let mut signer = Signer::new(domain("bank.example"), vec![SignerKey { selector, key }]);
    signer.fields.push("Authentication-Results".to_owned());
    let world = World::with_script(&script, |_| {});
    let text = signed_by(&signer, &message);
    let reply = world.smtp().mail("a@client.example", &["anna@example.org"], text.trim_end());
    assert!(reply.starts_with("250"), "{reply}");
    let stored = world.inbox("anna").pop().unwrap();
    assert!(results(&stored).contains("dkim=pass"), "{}", &stored[..2000]);
    assert_eq!(
        stored.matches("Authentication-Results: localhost").count(),
        1,
        "and the forged field is gone"
    );
}

#[test]
fn dns_that_fails_loses_no_mail() {
    let world = World::with_script(SCRIPT, |_| {});
    let mut client = world.smtp();
    let mut send = |sender: &str, author: &str| {
        let message = format!("From: <{author}>\r\nSubject: x\r\n\r\nbody");
        client.mail(sender, &["anna@example.org"], &message)
    };
    for (sender, author, result) in [
        ("a@shaky.example", "a@lax.example", "spf=temperror"),
        ("a@client.example", "a@shaken.example", "dmarc=temperror"),
    ] {
        let reply = send(sender, author);
        assert!(reply.starts_with("250"), "{reply}");
        let results = results(&world.inbox("anna").pop().unwrap());
        assert!(results.contains(result), "{results}");
    }
    // What would be refused without an answer comes again when there is one.
    let reply = send("a@shaky.example", "a@shaky.example");
    assert!(reply.starts_with("451 4.7.26"), "{reply}");
}

#[test]
fn a_key_that_cannot_be_had_is_no_way_around_dmarc() {
    let script = format!("{SCRIPT}\n $SERVFAIL old._domainkey.bank\n $SERVFAIL old._domainkey.lax\n");
    let world = World::with_script(&script, |_| {});
    let mut client = world.smtp();
    for (name, code) in [("bank", "451 4.7.26"), ("lax", "250")] {
        let (domain, selector) = (domain(&format!("{name}.example")), Selector::parse("old").unwrap());
        let key = PrivateKey::generate_ed25519().unwrap();
        let message = format!("From: <boss@{name}.example>\r\nSubject: x\r\n\r\nbody");
        let text = signed_by(&Signer::new(domain, vec![SignerKey { selector, key }]), &message);
        let reply = client.mail("a@client.example", &["anna@example.org"], &text);
        assert!(reply.starts_with(code), "{name}: {reply}");
    }
    let known = &world.shared.metrics.checks;
    let deferred = known.decisions.at([Verdict::Deferred as usize, Reason::DmarcUnknown as usize]);
    assert_eq!(world.shared.registry.counter(deferred), 1);
    assert!(results(&world.inbox("anna").pop().unwrap()).contains("dmarc=temperror"));
    wait_until(|| world.counts().blobs_to_collect == 0);
}

#[test]
fn a_message_that_used_up_its_questions_is_no_way_around_dmarc() {
    let keys = (0..10).map(|number| SignerKey {
        selector: Selector::parse(&format!("s{number}")).unwrap(),
        key: PrivateKey::generate_ed25519().unwrap(),
    });
    let signer = Signer::new(domain("lax.example"), keys.collect());
    let text = signed_by(&signer, "From: <boss@bank.example>\r\nSubject: x\r\n\r\nbody");
    let world = World::with_script(SCRIPT, |config| {
        config.listeners.iter_mut().for_each(|listener| listener.checks.questions = 4);
    });
    let reply = world.smtp().mail("a@client.example", &["anna@example.org"], &text);
    assert!(reply.starts_with("550 5.7.26"), "{reply}");
    assert_eq!(world.shared.registry.counter(world.shared.metrics.limit(Limit::Questions)), 1);
}

#[test]
fn without_a_sender_the_name_of_the_client_is_checked() {
    // Row C4.
    let world = World::with_script(SCRIPT, |_| {});
    let mut client = world.smtp();
    let reply = client.mail("", &["anna@example.org"], "From: <a@client.example>\r\nSubject: x\r\n\r\nbody");
    assert!(reply.starts_with("250"), "{reply}");
    let text = world.inbox("anna").pop().unwrap();
    assert!(results(&text).contains("spf=pass (with dnssec) smtp.helo=client.example"), "{text}");
    assert!(
        unfolded(&text)
            .contains("Received-SPF: pass (domain client.example, from ehlo because mailfrom is empty)"),
        "{text}"
    );
    client.expect("EHLO bank.example", "250");
    let reply = client.mail("", &["anna@example.org"], "From: <a@bank.example>\r\nSubject: x\r\n\r\nbody");
    assert!(reply.starts_with("550 5.7.26"), "{reply}");
}

#[test]
fn several_recipients_need_a_sender_who_is_real() {
    let world = World::with_script(SCRIPT, |_| {});
    let mut client = world.smtp();
    for (sender, code) in [
        ("a@strict.example", "250"),
        ("a@bank.example", "452 4.5.3"),
        ("a@lax.example", "452 4.5.3"),
        ("a@shaky.example", "452 4.5.3"),
    ] {
        client.expect(&format!("MAIL FROM:<{sender}>"), "250");
        client.expect("RCPT TO:<anna@example.org>", "250");
        for to in ["ben@example.org", "cleo@example.org"] {
            let reply = client.ask(&format!("RCPT TO:<{to}>"));
            assert!(reply.starts_with(code), "{sender}: {reply}");
        }
        client.expect("RSET", "250");
    }
    // Of a transaction nothing is left to the next one.
    client.expect("MAIL FROM:<a@strict.example>", "250");
    client.expect("RCPT TO:<anna@example.org>", "250");
    client.expect("RCPT TO:<ben@example.org>", "250");
    let off = World::with_script(SCRIPT, |config| {
        let off = crate::config::Switch::Off;
        config.listeners.iter_mut().for_each(|listener| listener.checks.several_recipients_need_spf = off);
    });
    let reply =
        off.smtp().mail("a@lax.example", &["anna@example.org", "ben@example.org"], "Subject: x\r\n\r\nx");
    assert!(reply.starts_with("250"), "{reply}");
}

#[test]
fn what_fails_is_accepted_deferred_or_refused_as_configured() {
    let message = |from: &str| format!("From: <{from}>\r\nSubject: x\r\n\r\nbody");
    for (dmarc, spf, forged, failing) in [
        (Consequence::Accept, Consequence::Accept, "250", "250"),
        (Consequence::Defer, Consequence::Defer, "451 4.7.26", "451 4.7.23"),
        (Consequence::Reject, Consequence::Reject, "550 5.7.26", "550 5.7.23"),
    ] {
        let world = World::with_script(SCRIPT, |config| {
            for listener in &mut config.listeners {
                (listener.checks.dmarc, listener.checks.spf_fail) = (dmarc, spf);
            }
        });
        let mut client = world.smtp();
        let reply = client.mail("a@client.example", &["anna@example.org"], &message("a@bank.example"));
        assert!(reply.starts_with(forged), "{reply}");
        let reply = client.mail("a@lax.example", &["anna@example.org"], &message("a@lax.example"));
        assert!(reply.starts_with(failing), "{reply}");
        if dmarc == Consequence::Accept {
            assert!(results(&world.inbox("anna")[0]).contains("dmarc=fail"));
            wait_until(|| evaluations(&world).len() == 2);
            assert_eq!(&*evaluations(&world)[0].overrides, "local_policy");
        }
    }
}

#[test]
fn a_blocklist_that_is_not_in_order_costs_no_mail() {
    let listed = format!("{SCRIPT}\n 1.0.0.127.bl2 A 127.0.0.4\n");
    let message = "From: <a@client.example>\r\nSubject: x\r\n\r\nbody";
    // A list must not have 127.0.0.1 (RFC 5782 section 5), which is the client here: such a list isn't believed.
    let world = World::with_script(&listed, |config| {
        for listener in &mut config.listeners {
            listener.checks.blocklists =
                ["bad.example", "bl.example", "gone.example", "bl2.example"].map(domain).into();
        }
    });
    let mut client = world.smtp();
    for _ in 0..2 {
        let reply = client.mail("a@client.example", &["anna@example.org"], message);
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert_eq!(world.inbox("anna").len(), 2);
    let known = &world.shared.metrics;
    let counter = |finding: Finding| {
        world
            .shared
            .registry
            .counter(known.checks.findings.at([Method::Blocklist as usize, finding as usize]))
    };
    assert_eq!((counter(Finding::Pass), counter(Finding::Fail), counter(Finding::Temperror)), (2, 0, 6));
}

#[test]
fn a_header_that_is_too_large_is_no_way_around_dmarc() {
    let world = World::with_script(SCRIPT, |_| {});
    let mut client = world.smtp();
    let filler = "X-Filler: 0123456789012345678901234567890123456789\r\n".repeat(6000);
    for (from, code) in [("a@bank.example", "550 5.7.26"), ("a@lax.example", "250")] {
        for message in [
            format!("{filler}From: <{from}>\r\nSubject: x\r\n\r\nbody"),
            format!("From: <{from}>\r\nSubject: x\r\n{filler}\r\nbody"),
        ] {
            let reply = client.mail("a@client.example", &["anna@example.org"], &message);
            assert!(reply.starts_with(code), "{reply}");
        }
    }
    // Of several From fields, only one is known of such a header; another one may be the one that is shown.
    for message in [
        format!("From: <a@lax.example>\r\n{filler}From: <a@bank.example>\r\nSubject: x\r\n\r\nbody"),
        format!("{filler}Subject: x\r\n\r\nbody"),
    ] {
        let reply = client.mail("a@client.example", &["anna@example.org"], &message);
        assert!(reply.starts_with("554 5.6.0"), "{reply}");
    }
    let text = world.inbox("anna").pop().unwrap();
    let results = results(&text[..4000]);
    assert!(results.contains("dkim=") && results.contains("header is too large"), "{results}");
    let limit = world.shared.metrics.limit(Limit::HeaderOctets);
    assert_eq!(world.shared.registry.counter(limit), 6);
}

#[test]
fn headers_without_room_come_again() {
    // Messages whose headers don't end.
    let world = World::with_script(SCRIPT, |_| {});
    let filler = "X-Filler: 0123456789012345678901234567890123456789\r\n".repeat(4900);
    let mut waiting = Vec::new();
    let limit = world.shared.metrics.limit(Limit::HeadersOctets);
    // More than the shards of a test have room for, few as they are.
    for _ in 0..4 * crate::testing::HEADERS_OCTETS_MAX / filler.len() + 4 {
        let mut client = world.smtp();
        client.expect("MAIL FROM:<a@client.example>", "250");
        client.expect("RCPT TO:<anna@example.org>", "250");
        client.expect("DATA", "354");
        client.send(filler.as_bytes());
        waiting.push(client);
    }
    wait_until(|| world.shared.registry.counter(limit) > 0);
    let mut replies: Vec<String> = Vec::new();
    for mut client in waiting {
        client.send(b"\r\nbody\r\n.\r\n");
        replies.push(client.reply());
    }
    let full = replies.iter().filter(|reply| reply.starts_with("452 4.3.1")).count();
    assert!(full > 0 && full < replies.len(), "{full} of {}", replies.len());
    // What was held is given back.
    let reply =
        world.smtp().mail("a@client.example", &["anna@example.org"], "From: <a@client.example>\r\n\r\nbody");
    assert!(reply.starts_with("250"), "{reply}");
}

#[test]
fn no_message_asks_more_of_dns_than_is_said() {
    // Row C11: ten signatures whose keys are all to be asked for.
    let keys = (0..10).map(|number| SignerKey {
        selector: Selector::parse(&format!("s{number}")).unwrap(),
        key: PrivateKey::generate_ed25519().unwrap(),
    });
    let signer = Signer::new(domain("lax.example"), keys.collect());
    let message = "From: <a@lax.example>\r\nSubject: x\r\n\r\nbody";
    let text = signed_by(&signer, message);
    for (questions, exceeded) in [(8, 1), (200, 0)] {
        let world = World::with_script(SCRIPT, |config| {
            config.listeners.iter_mut().for_each(|listener| listener.checks.questions = questions);
        });
        let reply = world.smtp().mail("a@client.example", &["anna@example.org"], &text);
        assert!(reply.starts_with("250"), "{reply}");
        let counted = world.shared.registry.counter(world.shared.metrics.limit(Limit::Questions));
        let results = results(&world.inbox("anna").pop().unwrap());
        assert_eq!(counted, exceeded, "{results}");
        assert_eq!(results.contains("dkim=temperror"), exceeded > 0, "{results}");
    }
}

#[test]
fn a_trusted_sealers_word_counts_when_dmarc_fails() {
    let (key, script) = with_key("list");
    let message = "From: <boss@bank.example>\r\nSubject: [list] x\r\n\r\nbody and a footer";
    let sealer = Sealer {
        domain: domain("list.example"),
        selector: Selector::parse("s").unwrap(),
        key,
        fields: ["From", "Subject"].map(str::to_owned).into(),
    };
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    let seal_as = |results: &str| {
        let mut hasher: BodyHasher = sealer.body_hasher();
        hasher.push(format!("{body}\r\n").as_bytes());
        let header = format!("{header}\r\n\r\n").into_bytes();
        let now = u64::try_from(unix_now()).unwrap();
        let field = |instance: Instance| {
            format!("ARC-Authentication-Results: i={}; {results}\r\n", instance.number())
        };
        let fields = seal(&sealer, header, &hasher.finish(), (ChainStatus::None, field), now).unwrap();
        format!("{fields}{message}")
    };
    let good = seal_as("list.example; dmarc=pass header.from=bank.example");
    let bad = seal_as("list.example; dmarc=fail header.from=bank.example");
    let other = seal_as("list.example; dmarc=pass header.from=other.example");
    let trusting = World::with_script(&script, |config| {
        config
            .listeners
            .iter_mut()
            .for_each(|listener| listener.checks.trusted_sealers = vec![domain("list.example")]);
    });
    let mut client = trusting.smtp();
    let reply = client.mail("a@client.example", &["anna@example.org"], &good);
    assert!(reply.starts_with("250"), "{reply}");
    let results = results(&trusting.inbox("anna").pop().unwrap());
    assert!(results.contains("arc=pass") && results.contains("override local_policy"), "{results}");
    assert!(results.contains("dmarc=fail"), "{results}");
    wait_until(|| evaluations(&trusting).len() == 1);
    assert_eq!(&*evaluations(&trusting)[0].overrides, "local_policy");
    // No author named, and a From that the sealer didn't sign.
    let silent = seal_as("list.example; dmarc=pass");
    let added = format!("From: <boss@bank.example>\r\n{good}");
    let retitled = format!("Subject: urgent\r\n{good}");
    for text in [&bad, &other, &silent, &added, &retitled] {
        let reply = client.mail("a@client.example", &["anna@example.org"], text);
        assert!(reply.starts_with("550 5.7.26"), "{reply}");
    }
    let reply = client.mail("a@client.example", &["anna@example.org"], &good.replace("footer", "addition"));
    assert!(reply.starts_with("550 5.7.26"), "{reply}");
    let distrusting = World::with_script(&script, |_| {});
    let reply = distrusting.smtp().mail("a@client.example", &["anna@example.org"], &good);
    assert!(reply.starts_with("550 5.7.26"), "{reply}");
}

#[test]
fn without_dns_the_header_says_that_nothing_was_checked() {
    let world = World::new();
    let reply =
        world.smtp().mail("a@client.example", &["anna@example.org"], "From: <a@bank.example>\r\n\r\nx");
    assert!(reply.starts_with("250"), "{reply}");
    let text = world.inbox("anna").pop().unwrap();
    assert_eq!(results(&text), " none");
    assert!(!text.contains("Received-SPF") && !text.contains("X-Postrider-Reason"), "{text}");
}

#[test]
fn a_listener_for_own_relays_checks_nothing() {
    let world = World::with_script(SCRIPT, |config| {
        config.listeners.iter_mut().for_each(|listener| listener.checks.enabled = crate::config::Switch::Off);
    });
    let mut client = world.smtp();
    client.expect("HELO gone.example", "250");
    let to = ["anna@example.org", "ben@example.org"];
    let reply = client.mail("a@gone.example", &to, "From: <a@bank.example>\r\n\r\nx");
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(results(&world.inbox("anna").pop().unwrap()), " none");
}

#[test]
fn mail_of_our_own_users_says_who_sent_it() {
    let world = World::with_script(SCRIPT, |_| {});
    let reply =
        world.anna().mail("anna@example.org", &["ben@example.org"], "From: <anna@example.org>\r\n\r\nbody");
    assert!(reply.starts_with("250"), "{reply}");
    let text = world.inbox("ben").pop().unwrap();
    let results = results(&text);
    assert!(
        results.starts_with(" auth=pass smtp.mailfrom=") && results.contains("anna@example.org"),
        "{results}"
    );
}

#[test]
fn a_forgery_is_not_known_by_the_mail_of_whom_it_names() {
    let delay = Duration::from_millis(1500);
    let world = World::with_script(SCRIPT, |config| {
        config.listeners.iter_mut().for_each(|listener| listener.limits.smtp.first_time_sender_delay = delay);
    });
    let mut client = world.smtp();
    let mut timed = |sender: &str, number: usize| {
        let begun = Instant::now();
        let message = format!("From: <a{number}@client.example>\r\n\r\nbody");
        let reply = client.mail(sender, &["anna@example.org"], &message);
        assert!(reply.starts_with("250"), "{reply}");
        begun.elapsed()
    };
    // What is known may be late as well, on a busy machine.
    let is_known = once(|number| {
        assert!(timed("a@client.example", number) >= delay);
        timed("a@client.example", number) < delay
    });
    assert!(is_known);
    // SPF of another domain confirms nothing about the author; without a policy it isn't refused, but it waits.
    let is_known = once(|number| {
        if number > 0 {
            timed("a@client.example", number);
        }
        assert!(timed("x@lax.example", number) >= delay);
        timed("x@lax.example", number) < delay
    });
    assert!(is_known);
}
