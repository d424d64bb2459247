//! What is explained with what a server says: kept policies, routes and transports.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use anyhow::bail;
use postrider_core::control::protocol::{
    DeliveryDetails, DeliveryFailure, DeliveryRelay, DeliveryRoute, DeliverySender, DeliveryTls,
    DeliveryTransport, MtaStsRow, Route,
};
use postrider_delivery::sts::Source;
use postrider_proto::address::Address;
use postrider_proto::mta_sts::Policy;

use super::tests::{ZONE, arguments, script, serve_tls};
use super::*;
use crate::commands::authority::Authority;

const DIRECT: DeliveryTransport = DeliveryTransport::Direct { ipv4: true, ipv6: true };
const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mx.remote.example\nmax_age: 86400\n";
const OTHER: &str = "version: STSv1\nmode: testing\nmx: other.example\nmax_age: 86400\n";

fn told(transport: DeliveryTransport) -> DeliveryDetails {
    DeliveryDetails {
        kept: None,
        sender: DeliverySender::Anybody,
        account: None,
        route: None,
        left_out: 0,
        transport: Some(transport),
        failure: None,
        tls_roots: None,
        own_names: Vec::new(),
        own_addresses: Vec::new(),
    }
}

fn kept() -> MtaStsRow {
    MtaStsRow {
        domain: "remote.example".to_owned(),
        id: "1".to_owned(),
        mode: Some("enforce".to_owned()),
        max_age: Some(86400),
        mx: vec!["mx.remote.example".to_owned()],
        policy: Some(POLICY.to_owned()),
        fetched: Some(1_780_000_000),
        valid_until: Some(1_780_086_400),
        valid: true,
        used: 1_780_000_000,
        failed: None,
        waits_until: None,
    }
}

fn expired() -> MtaStsRow {
    MtaStsRow { valid: false, ..kept() }
}

fn with(kept: MtaStsRow) -> Told {
    Ok(Box::new(DeliveryDetails { kept: Some(kept), ..told(DIRECT) }))
}

fn known(
    zone: &str,
    told: &Told,
    fetch: impl FnOnce() -> Result<Policy>,
) -> (String, Option<Source>, String) {
    let Target::Domain(domain) = Target::parse("remote.example").unwrap() else { panic!("an address") };
    let known = policy::find(&script(zone), &domain, told, fetch);
    let mode = match &known.sts {
        Sts::None => "none".to_owned(),
        Sts::Unknown(_) => "unknown".to_owned(),
        Sts::Policy(policy) => policy.mode.word().to_owned(),
    };
    (mode, known.source, known.words)
}

fn record(id: &str) -> String {
    format!("$ORIGIN example.\n_mta-sts.remote TXT \"v=STSv1; id={id};\"")
}

const GONE: &str = "$ORIGIN example.\nremote A 192.0.2.1";
const FAILING: &str = "$ORIGIN example.\n$SERVFAIL _mta-sts.remote TXT";

#[test]
fn a_kept_policy_counts_as_for_the_server() {
    let valid = || with(kept());
    let never = || -> Result<Policy> { panic!("nothing is to be fetched") };
    let (mode, source, words) = known(&record("1"), &valid(), never);
    assert_eq!((mode.as_str(), source), ("enforce", Some(Source::Kept)));
    let expected =
        "policy 1 in mode enforce, for 86400 s, with mx.remote.example, which the server keeps, until ";
    assert!(words.starts_with(expected), "{words}");
    assert!(words.ends_with("; the domain announces the same, so it isn't fetched"), "{words}");
    for (zone, why) in [(GONE, "its record is gone"), (FAILING, "its record can't be looked up: ")] {
        let (mode, source, words) = known(zone, &valid(), never);
        assert_eq!((mode.as_str(), source), ("enforce", Some(Source::StandsIn)), "{words}");
        assert!(
            words.starts_with(why) && words.contains("; in its place stands policy 1 in mode"),
            "{words}"
        );
    }
    // Another id is fetched; when that fails, or failed lately, the kept one stands in.
    let (mode, source, words) = known(&record("2"), &valid(), || Ok(Policy::parse(OTHER.as_bytes())?));
    assert_eq!((mode.as_str(), source), ("testing", Some(Source::Domain)));
    assert_eq!(words, "policy 2 in mode testing, for 86400 s, with other.example");
    let (mode, source, words) = known(&record("2"), &valid(), || bail!("it hangs"));
    assert_eq!((mode.as_str(), source), ("enforce", Some(Source::StandsIn)));
    let expected = "policy 2 is announced and can't be fetched (it hangs); in its place stands policy 1 ";
    assert!(words.starts_with(expected), "{words}");
    let waits = with(MtaStsRow { waits_until: Some(1_780_000_300), failed: Some(1_780_000_000), ..kept() });
    let (mode, _, words) = known(&record("2"), &waits, never);
    assert!(mode == "enforce" && words.contains("could not fetch it lately, and doesn't try again before"));
}

#[test]
fn an_expired_policy_counts_for_nothing_and_that_is_said() {
    let told = with(expired());
    let (mode, source, words) = known(GONE, &told, || bail!("no"));
    assert_eq!((mode.as_str(), source), ("none", Some(Source::Domain)));
    assert!(words.starts_with("there is no record (policy 1, which the server keeps, expired "), "{words}");
    let (mode, _, _) = known(FAILING, &told, || bail!("no"));
    assert_eq!(mode, "unknown");
    // The same id is no reason not to fetch it.
    let (mode, ..) = known(&record("1"), &told, || Ok(Policy::parse(OTHER.as_bytes())?));
    assert_eq!(mode, "testing");
    let (mode, _, words) = known(&record("1"), &told, || bail!("it hangs"));
    assert!(mode == "none" && words.contains("the server keeps none that is valid, and goes on without"));
    let (_, _, words) = known(&record("1"), &Err("nobody listens".to_owned()), || bail!("it hangs"));
    assert!(words.ends_with("(it hangs); a server that keeps none goes on without"), "{words}");
    // One that could not be fetched the last time.
    let failed = MtaStsRow { policy: None, mode: None, valid_until: None, waits_until: Some(9), ..expired() };
    let (mode, _, words) = known(&record("1"), &with(failed), || panic!("it isn't tried again"));
    assert!(mode == "none" && words.contains("could not fetch it lately"), "{words}");
}

#[test]
fn without_a_server_one_line_says_what_was_not_looked_at() {
    let server = Server { socket: Some("/nowhere/ctl".to_owned()), ..Server::default() };
    let told = route::ask(&server, &arguments(25, QueueWish::Default)).unwrap();
    let explained = explain(&script(ZONE), &arguments(25, QueueWish::Default), told).unwrap();
    let lines = explained.lines();
    assert!(
        lines[1].starts_with("Kept policies and routes were not looked at, without a server: "),
        "{lines:?}"
    );
    assert!(lines[1].contains("/nowhere/ctl") && lines[2].starts_with("MX: "), "{lines:?}");
    let json = explained.json();
    assert_eq!((json["server"].as_str(), &json["route"]), (Some("not-asked"), &Value::Null));
    assert!(json["server_reason"].as_str().unwrap().contains("/nowhere/ctl"), "{json}");
    assert_eq!((&json["transport"], &json["mta_sts"]["kept"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_kept_policy_reaches_the_hosts() {
    let zone = format!("{ZONE}\n$SERVFAIL _mta-sts.remote TXT");
    let arguments = arguments(25, QueueWish::Default);
    let json = explain(&script(&zone), &arguments, with(kept())).unwrap().json();
    let (host, sts) = (&json["hosts"][0], &json["mta_sts"]);
    assert_eq!((host["tls"].as_str(), host["certificate"].as_str()), (Some("mandatory"), Some("pkix")));
    assert_eq!((sts["source"].as_str(), sts["mode"].as_str()), (Some("kept-stands-in"), Some("enforce")));
    assert_eq!((&sts["kept"]["id"], &sts["kept"]["valid"]), (&json!("1"), &json!(true)));
    // Without it nobody knows whether there is a policy.
    let json = explain(&script(&zone), &arguments, Ok(Box::new(told(DIRECT)))).unwrap().json();
    assert_eq!((&json["mta_sts"]["mode"], &json["mta_sts"]["kept"]), (&json!("unknown"), &Value::Null));
    assert_eq!(json["hosts"], json!([]));
}

#[test]
fn hosts_that_are_the_server_itself_are_left_out() {
    let own = DeliveryDetails { own_names: vec!["mx.remote.example.".to_owned()], ..told(DIRECT) };
    let explained = explain(&script(ZONE), &arguments(25, QueueWish::Default), Ok(Box::new(own))).unwrap();
    let lines = explained.lines().join("\n");
    assert!(lines.contains("would come back to this server (5.4.6)"), "{lines}");
}

fn at(transport: DeliveryTransport, wish: QueueWish) -> (Value, String) {
    let route = DeliveryRoute {
        level: "account".to_owned(),
        number: 2,
        route: Route {
            from_domains: Vec::new(),
            to_domains: vec![".remote.example".to_owned()],
            minimum_attempts: 3,
            transport: "out".to_owned(),
        },
    };
    let details = DeliveryDetails { account: Some("anna".to_owned()), route: Some(route), ..told(transport) };
    let zone = format!("{ZONE}\nsmtp A 192.0.2.5\n$SERVFAIL _mta-sts.remote TXT");
    let explained = explain(&script(&zone), &arguments(25, wish), Ok(Box::new(details))).unwrap();
    (explained.json(), explained.lines().join("\n"))
}

fn relay(tls: DeliveryTls) -> DeliveryRelay {
    DeliveryRelay { host: "smtp.example".to_owned(), port: 587, tls }
}

#[test]
fn a_relay_counts_as_it_is_configured() {
    let (json, lines) = at(DeliveryTransport::Submission(relay(DeliveryTls::Verified)), QueueWish::Default);
    let expected = "Account: anna\nRoute: number 2 of the account (from anybody, to .remote.example, from attempt 4 on), by \
                    transport out\nTransport: submission server smtp.example, port 587, TLS by STARTTLS, with a certificate for its \
                    name, as configured: what the domain publishes doesn't count";
    assert!(lines.contains(expected), "{lines}");
    let host = &json["hosts"][0];
    assert_eq!((json["via"].as_str(), host["host"].as_str()), (Some("relay"), Some("smtp.example")));
    assert_eq!((host["tls"].as_str(), host["certificate"].as_str()), (Some("mandatory"), Some("pkix")));
    assert_eq!((&json["route"]["level"], &json["route"]["number"]), (&json!("account"), &json!(2)));
    assert_eq!((&json["transport"]["kind"], &json["transport"]["port"]), (&json!("submission"), &json!(587)));
    assert_eq!((&json["mta_sts"]["mode"], &json["mta_sts"]["source"]), (&json!("none"), &Value::Null));

    let (json, lines) = at(DeliveryTransport::Submissions(relay(DeliveryTls::Unverified)), QueueWish::No);
    assert_eq!(json["hosts"][0]["tls"], "implicit", "the wish doesn't count");
    assert!(lines.contains("TLS from the start, with any certificate"), "{lines}");
    let (json, lines) = at(DeliveryTransport::Smtp(relay(DeliveryTls::None)), QueueWish::Default);
    assert_eq!(json["hosts"][0]["tls"], "never");
    assert!(!lines.contains("once more"), "{lines}");
    assert!(lines.contains("Transport: relay smtp.example, port 587, without TLS"), "{lines}");
    // REQUIRETLS goes to a relay that is verified, and to no other.
    let (json, _) = at(DeliveryTransport::Smtp(relay(DeliveryTls::Unverified)), QueueWish::Yes);
    assert!(json["hosts"][0]["reason"].as_str().unwrap().contains("requires TLS"), "{json}");
    let (json, _) = at(DeliveryTransport::Smtp(relay(DeliveryTls::Verified)), QueueWish::Yes);
    assert_eq!(json["hosts"][0]["requiretls"], "must");
}

/// What a relay with a certificate of an authority of its own comes to, for a server with such a `tls_roots`, and with such a
/// `--ca-file`.
fn at_private_relay(
    tls_roots: Option<&Path>,
    ca_file: Option<&Path>,
    of_relay: &Authority,
) -> (Value, Vec<String>) {
    let relay = serve_tls(of_relay);
    let to =
        DeliveryRelay { host: "mx.remote.example".to_owned(), port: relay.port, tls: DeliveryTls::Verified };
    let details = DeliveryDetails {
        tls_roots: tls_roots.map(|file| file.to_str().unwrap().to_owned()),
        ..told(DeliveryTransport::Submission(to))
    };
    let asked =
        TlsExplain { dial: true, ca_file: ca_file.map(Path::to_owned), ..arguments(25, QueueWish::Default) };
    let explained = explain(&script(ZONE), &asked, Ok(Box::new(details))).unwrap();
    relay.said.join().unwrap();
    (explained.json(), explained.lines())
}

#[test]
fn relays_are_verified_by_the_authorities_that_deliveries_use() {
    let (ours, other) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, authority: &Authority| {
        let path = directory.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path
    };
    let (right, wrong) = (file("ours.pem", &ours), file("other.pem", &other));
    let pkix = |tls_roots: Option<&Path>, ca_file: Option<&Path>| {
        let (json, _) = at_private_relay(tls_roots, ca_file, &ours);
        let dial = json["hosts"][0]["dial"].clone();
        (dial["pkix"].as_str().unwrap().to_owned(), dial["would_send"].clone())
    };
    let yes = ("yes".to_owned(), json!(true));
    assert_eq!(pkix(Some(&right), None), yes);
    let (said, would_send) = pkix(Some(&wrong), None);
    assert!(said.contains("invalid peer certificate") && would_send == json!(false), "{said} {would_send}");
    // One that is named counts, whatever is configured.
    assert_eq!(pkix(Some(&wrong), Some(&right)), yes);
    assert_ne!(pkix(Some(&right), Some(&wrong)), yes);

    let (json, lines) = at_private_relay(Some(&right), None, &ours);
    let path = right.to_str().unwrap();
    assert_eq!(json["authorities"], path);
    assert!(
        lines.contains(&format!("Authorities for deliveries: those in {path} (tls_roots in [delivery])")),
        "{lines:?}"
    );
    let gone = directory.path().join("gone.pem");
    let (json, _) = at_private_relay(Some(&gone), None, &ours);
    let said = json["hosts"][0]["dial"]["pkix"].as_str().unwrap();
    assert!(said.contains("gone.pem") && said.contains("or name a copy with --ca-file"), "{said}");
}

#[test]
fn of_a_sender_that_is_no_single_account_it_is_said_what_is_left_out() {
    let said = |sender: DeliverySender, account: Option<&str>| {
        let asked = arguments(25, QueueWish::Default);
        let from = TlsSender::Address(Address::parse("Team@example.org").unwrap());
        let asked = TlsExplain { from: Some(from), ..asked };
        let details = DeliveryDetails { sender, account: account.map(str::to_owned), ..told(DIRECT) };
        let explained = explain(&script(ZONE), &asked, Ok(Box::new(details))).unwrap();
        (explained.json(), explained.lines()[1].clone())
    };
    let alias = |more| DeliverySender::Alias { accounts: vec!["anna".to_owned(), "bo".to_owned()], more };
    let (json, line) = said(alias(false), None);
    let expected = "Sender: Team@example.org is an alias that these accounts may send with: anna, bo. Their routes may differ, so \
                    routes of accounts are left out: choose an account with --account";
    assert_eq!(line, expected);
    assert_eq!((&json["sender"], &json["sender_accounts"]), (&json!("alias"), &json!(["anna", "bo"])));
    assert_eq!(format!("Sender: {}", json["sender_reason"].as_str().unwrap()), line);
    assert!(said(alias(true), None).1.contains(": anna, bo, and others. "));
    // One was chosen.
    let (json, line) = said(alias(false), Some("bo"));
    assert_eq!((&json["sender_reason"], line.as_str()), (&Value::Null, "Account: bo"));
    for (sender, word, parts) in [
        (
            DeliverySender::ClosedAlias,
            "closed-alias",
            ["is an alias that nobody may send with", "allow_msg_from"],
        ),
        (
            DeliverySender::Refused { code: 550 },
            "refused",
            ["refuses its mail (550)", "postrider address list"],
        ),
        (DeliverySender::Unknown, "unknown", ["nobody here has the address Team@example.org", "address add"]),
        (
            DeliverySender::NotOurs,
            "not-ours",
            ["example.org is no domain of this server", "postrider domain add"],
        ),
    ] {
        let (json, line) = said(sender, None);
        assert!(line.starts_with("Sender: ") && parts.iter().all(|part| line.contains(part)), "{line}");
        assert_eq!((&json["sender"], &json["sender_accounts"]), (&json!(word), &Value::Null));
    }
    for (sender, word) in [(DeliverySender::Account, "account"), (DeliverySender::Null, "empty")] {
        let (json, line) = said(sender, Some("anna"));
        assert_eq!((&json["sender"], line.as_str()), (&json!(word), "Account: anna"));
    }
}

#[test]
fn an_account_alone_is_refused_before_anybody_is_asked() {
    let account = postrider_storage::directory::AccountName::new("anna").ok();
    let arguments = TlsExplain { account, ..arguments(25, QueueWish::Default) };
    let server = Server { socket: Some("/nowhere/ctl".to_owned()), ..Server::default() };
    let error = tls(&server, TlsCommand::Explain(arguments)).unwrap_err().to_string();
    assert!(error.contains("--account is for a sender. Name one with --from"), "{error}");
}

#[test]
fn other_transports_are_said_in_words() {
    let zone = |details: DeliveryDetails| {
        let arguments = arguments(25, QueueWish::Default);
        let explained = explain(&script(ZONE), &arguments, Ok(Box::new(details))).unwrap();
        (explained.json(), explained.lines().join("\n"))
    };
    let (json, lines) = zone(told(DeliveryTransport::Socks { proxy: "127.0.0.1:1080".to_owned() }));
    assert!(
        lines.contains("through the SOCKS5 proxy 127.0.0.1:1080; TLS is that of direct delivery"),
        "{lines}"
    );
    assert_eq!(json["hosts"][0]["tls"], "opportunistic");
    let (_, lines) = zone(DeliveryDetails { left_out: 2, ..told(DIRECT) });
    let expected = "Route: none matches, so that delivery is direct\n  2 routes are left out, since for certain senders only: name \
                    one with --from\nMX: ";
    assert!(lines.contains(expected), "{lines}");
    let (_, lines) = zone(told(DeliveryTransport::Direct { ipv4: false, ipv6: true }));
    assert!(lines.contains("Transport: to hosts of the domain, by IPv6 alone"), "{lines}");

    let closed = DeliveryTransport::Fail { code: 554, message: "Closed.".to_owned() };
    let failure = DeliveryFailure { status: "5.7.0".to_owned(), reason: "554 Closed.".to_owned() };
    let (json, lines) = zone(DeliveryDetails { failure: Some(failure), ..told(closed) });
    assert!(
        lines.contains("Transport: every attempt fails with 554 Closed.; nobody is connected to"),
        "{lines}"
    );
    assert!(lines.ends_with("It is not delivered: 554 Closed. (5.7.0)"), "{lines}");
    assert_eq!((json["result"].as_str(), json["status"].as_str()), (Some("undeliverable"), Some("5.7.0")));
    assert_eq!((&json["hosts"], &json["mx"]), (&json!([]), &json!([])));
}
