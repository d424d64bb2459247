//! Which transport a message would take, and the kept policy that would count.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::sync::Arc;

use postrider_delivery::route::Route as ConfiguredRoute;
use postrider_delivery::transport::{
    Direct, Families, Refusal, Relay, RelayHost, RelayTls, Socks, Transport,
};
use postrider_proto::address::Domain;
use postrider_storage::engine::memory::MemoryEngine;

use super::mta_sts_tests::{keep, row};
use crate::clock::unix_now;
use crate::control::protocol::{
    Answer, DeliveryDetails, DeliveryRelay, DeliverySender, DeliveryTls, DeliveryTransport, FailureKind,
    Request, Route, RouteOwner, Secret,
};
use crate::testing::TestServer;

fn text(text: &str) -> String {
    text.to_owned()
}

/// With account anna of example.org, and routes of all levels.
fn start() -> TestServer {
    let relay = |tls, host| Relay { host, port: None, tls, auth: None };
    let name = |name| RelayHost::Name(Domain::parse(name).unwrap());
    let server = TestServer::with(Arc::new(MemoryEngine::new()), move |config| {
        let delivery = &mut config.delivery;
        let address = "192.0.2.9".parse().unwrap();
        let proxy: SocketAddr = "127.0.0.1:1080".parse().unwrap();
        let hostname = Domain::parse("out.example.org").unwrap();
        let socks = Socks { address: proxy, hostname, remote_addresses: Vec::new() };
        delivery.direct = Direct { families: Families::Four, ..Direct::DEFAULT };
        delivery.transports = [
            ("relay", Transport::Smtp(relay(RelayTls::Unverified, RelayHost::Address(address)))),
            ("send", Transport::Submission(relay(RelayTls::Verified, name("smtp.example.net")))),
            ("sends", Transport::Submissions(relay(RelayTls::Verified, name("smtp.example.net")))),
            ("proxy", Transport::Socks(socks)),
            ("closed", Transport::Fail(Refusal::new(554, "Closed.").unwrap())),
        ]
        .map(|(name, transport)| (name.into(), transport))
        .into();
        let route = |from: &[&str], to: &[&str], attempts, transport: &str| {
            ConfiguredRoute::parse(from, to, attempts, transport).unwrap()
        };
        delivery.routes = vec![
            route(&["."], &[], 0, "relay"),
            route(&[], &["late.example"], 3, "send"),
            route(&[], &["proxied.example"], 0, "proxy"),
            route(&[], &["closed.example"], 0, "closed"),
            route(&[], &["gone.example"], 0, "gone"),
        ];
    });
    server.ok(&Request::DomainAdd { domain: text("example.org"), disabled: false });
    server.ok(&Request::AccountAdd {
        account: text("anna"),
        address: text("anna@example.org"),
        password: Secret(text("a password")),
        quota: None,
    });
    let add = |of, to: &str, transport: &str| Request::RouteAdd {
        of,
        at: None,
        route: Route {
            from_domains: Vec::new(),
            to_domains: vec![text(to)],
            minimum_attempts: 0,
            transport: text(transport),
        },
    };
    server.ok(&add(RouteOwner::Account(text("anna")), ".big.example", "sends"));
    server.ok(&add(RouteOwner::Domain(text("example.org")), "other.example", "send"));
    server.ok(&add(RouteOwner::Domain(text("example.org")), "big.example", "send"));
    server
}

fn request(domain: &str, from: Option<&str>, attempt: u16) -> Request {
    Request::DeliveryExplain { domain: text(domain), from: from.map(text), account: None, attempt }
}

/// As the account `account`, if one is named.
fn of_account(domain: &str, from: &str, account: Option<&str>) -> Request {
    let account = account.map(text);
    Request::DeliveryExplain { domain: text(domain), from: Some(text(from)), account, attempt: 1 }
}

fn explain(server: &TestServer, domain: &str, from: Option<&str>, attempt: u16) -> DeliveryDetails {
    let (_, answer) = server.ok(&request(domain, from, attempt));
    let Answer::Delivery(details) = answer else { panic!("{answer:?}") };
    *details
}

#[test]
fn the_route_is_the_one_that_an_attempt_takes() {
    let server = start();
    let anna = Some("anna@example.org");
    for (domain, from, attempt, expected) in [
        ("x.big.example", anna, 1, "account 1 sends"),
        ("big.example", anna, 1, "account 1 sends"),
        // Only the sender's domain is ours.
        ("big.example", Some("nobody@example.org"), 1, "domain 2 send"),
        ("big.example", Some("anna@example.com"), 1, "direct"),
        ("late.example", anna, 3, "direct"),
        ("late.example", anna, 4, "global 2 send"),
        ("proxied.example", None, 1, "global 3 proxy"),
        ("other.test", Some(""), 1, "global 1 relay"),
        ("other.test", Some("<>"), 1, "global 1 relay"),
        ("other.test", None, 1, "direct"),
        ("[192.0.2.1]", None, 1, "direct"),
    ] {
        let details = explain(&server, domain, from, attempt);
        let route = details.route.map_or_else(
            || text("direct"),
            |chosen| format!("{} {} {}", chosen.level, chosen.number, chosen.route.transport),
        );
        assert_eq!(route, expected, "{domain} {from:?} {attempt}");
        assert_eq!(details.left_out, u32::from(from.is_none()), "{domain}");
    }
    let details = explain(&server, "x.big.example", Some("ANNA@example.org"), 1);
    assert_eq!(details.account.as_deref(), Some("anna"));
    assert_eq!(details.route.unwrap().route.to_domains, [".big.example"]);
}

/// Adds account bo of example.org, whose mail has other ways, and three aliases: `team` lets both send with it, `solo` anna
/// with two addresses, `closed` nobody.
fn with_aliases() -> TestServer {
    let server = start();
    server.ok(&Request::AccountAdd {
        account: text("bo"),
        address: text("bo@example.org"),
        password: Secret(text("a password")),
        quota: None,
    });
    server.ok(&Request::AddressAdd { address: text("anna2@example.org"), account: text("anna") });
    let route = Route {
        from_domains: Vec::new(),
        to_domains: vec![text("big.example")],
        minimum_attempts: 0,
        transport: text("relay"),
    };
    server.ok(&Request::RouteAdd { of: RouteOwner::Account(text("bo")), at: None, route });
    for (alias, members) in [
        ("team@example.org", ["anna@example.org", "bo@example.org"]),
        ("solo@example.org", ["anna@example.org", "anna2@example.org"]),
        ("closed@example.org", ["anna@example.org", "bo@example.org"]),
    ] {
        server.ok(&Request::AliasAdd { alias: text(alias), members: members.map(text).to_vec() });
    }
    let (exported, _) = server.ok(&Request::DirectoryExport);
    let mut document = exported.clone();
    for alias in ["team", "solo"] {
        let head = format!("[alias.\"{alias}@example.org\"]\n");
        document = document.replace(&head, &format!("{head}allow_msg_from = true\n"));
    }
    assert_ne!(document, exported);
    let apply = Request::DirectoryApply { dry_run: false, files: None };
    server.call_with(&apply, Some(&document)).1.unwrap();
    server
}

#[test]
fn whoever_may_send_with_an_alias_is_told_and_may_be_chosen() {
    let server = with_aliases();
    let explain = |from: &str, account: Option<&str>| {
        let (_, answer) = server.ok(&of_account("big.example", from, account));
        let Answer::Delivery(details) = answer else { panic!("{answer:?}") };
        let route = details.route.map(|chosen| format!("{} {}", chosen.level, chosen.route.transport));
        (details.sender, details.account, route.unwrap())
    };
    let both = DeliverySender::Alias { accounts: vec![text("anna"), text("bo")], more: false };
    // Their routes differ, so none of these count; those of the domain do.
    for from in ["team@example.org", "TEAM@Example.org"] {
        assert_eq!(explain(from, None), (both.clone(), None, text("domain send")), "{from}");
    }
    let anna = Some(text("anna"));
    assert_eq!(
        explain("team@example.org", Some("anna")),
        (both.clone(), anna.clone(), text("account sends"))
    );
    assert_eq!(explain("team@example.org", Some("bo")), (both, Some(text("bo")), text("account relay")));
    // One account may, with two addresses.
    let only = DeliverySender::Alias { accounts: vec![text("anna")], more: false };
    assert_eq!(explain("solo@example.org", None), (only, anna.clone(), text("account sends")));
    assert_eq!(explain("closed@example.org", None), (DeliverySender::ClosedAlias, None, text("domain send")));
    let own = (DeliverySender::Account, anna.clone(), text("account sends"));
    assert_eq!(
        (explain("anna@example.org", None), explain("anna2@example.org", Some("anna"))),
        (own.clone(), own)
    );
    // A message without a sender is an account's all the same.
    assert_eq!(explain("<>", Some("anna")), (DeliverySender::Null, anna, text("account sends")));

    for (from, account, expected, said) in [
        ("anna@example.org", "bo", FailureKind::Invalid, "the account bo may not send with anna@example.org"),
        ("closed@example.org", "bo", FailureKind::Invalid, "may not send with closed@example.org"),
        ("team@example.com", "bo", FailureKind::Invalid, "may not send with team@example.com"),
        ("team@example.org", "carla", FailureKind::NotFound, "there is no account carla"),
        ("team@example.org", "a/b", FailureKind::Invalid, "\"a/b\" is no account name"),
    ] {
        let (kind, message) = server.fails(&of_account("big.example", from, Some(account)));
        assert!(kind == expected && message.contains(said), "{from} {account}: {kind:?} {message}");
    }
    let alone = Request::DeliveryExplain {
        domain: text("a.example"),
        from: None,
        account: Some(text("bo")),
        attempt: 1,
    };
    let (kind, message) = server.fails(&alone);
    assert!(kind == FailureKind::Invalid && message.contains("Name one too (--from)"), "{message}");

    server.ok(&Request::DomainDisable { domain: text("example.org") });
    let stopped = |from: &str| {
        let (_, answer) = server.ok(&of_account("big.example", from, None));
        let Answer::Delivery(details) = answer else { panic!("{answer:?}") };
        details.failure.map(|failure| failure.status)
    };
    assert_eq!(stopped("team@example.org").as_deref(), Some("4.7.1"), "whoever sends with it");
    assert_eq!(stopped("closed@example.org"), None, "nobody does");
}

#[test]
fn at_most_twenty_accounts_of_an_alias_are_named() {
    let server = start();
    let name = |number: usize| format!("u{number:02}");
    let address = |number: usize| format!("{}@example.org", name(number));
    for (count, more) in [(DeliverySender::ACCOUNTS_MAX, false), (DeliverySender::ACCOUNTS_MAX + 1, true)] {
        let accounts: String = (0..count)
            .map(|number| {
                format!(
                    "[account.{}]\ndomain = \"example.org\"\naddresses = [\"{}\"]\n",
                    name(number),
                    address(number)
                )
            })
            .collect();
        let members: Vec<_> = (0..count).map(address).collect();
        let document = format!(
            "version = 1\n[domain.\"example.org\"]\n{accounts}[alias.\"all@example.org\"]\nmembers = {members:?}\nallow_msg_from = \
             true\n"
        );
        let apply = Request::DirectoryApply { dry_run: false, files: None };
        server.call_with(&apply, Some(&document)).1.unwrap();
        let expected = (0..DeliverySender::ACCOUNTS_MAX).map(name).collect();
        assert_eq!(
            explain(&server, "a.example", Some("all@example.org"), 1).sender,
            DeliverySender::Alias { accounts: expected, more }
        );
    }
}

#[test]
fn of_an_address_that_nobody_sends_with_that_is_told() {
    let server = start();
    let sender = |from| explain(&server, "big.example", from, 1).sender;
    assert_eq!(sender(Some("nobody@example.org")), DeliverySender::Unknown);
    assert_eq!(sender(Some("postmaster@example.org")), DeliverySender::Unknown, "who gets that mail doesn't");
    assert_eq!(sender(Some("anna@example.com")), DeliverySender::NotOurs);
    assert_eq!((sender(None), sender(Some(""))), (DeliverySender::Anybody, DeliverySender::Null));
    server.ok(&Request::AddressAdd { address: text("@example.org"), account: text("anna") });
    let details = explain(&server, "big.example", Some("nobody@example.org"), 1);
    assert_eq!((details.sender, details.account), (DeliverySender::Account, Some(text("anna"))));
    assert_eq!(details.route.unwrap().level, "account");
}

#[test]
fn the_transport_is_told_with_what_tls_has_to_give_there() {
    let server = start();
    let transport = |domain, from| explain(&server, domain, from, 1).transport.unwrap();
    assert_eq!(transport("other.test", None), DeliveryTransport::Direct { ipv4: true, ipv6: false });
    assert_eq!(
        transport("proxied.example", None),
        DeliveryTransport::Socks { proxy: text("127.0.0.1:1080") }
    );
    let relay = |host, port, tls| DeliveryRelay { host: text(host), port, tls };
    let anna = Some("anna@example.org");
    let expected = DeliveryTransport::Submissions(relay("smtp.example.net", 465, DeliveryTls::Verified));
    assert_eq!(transport("big.example", anna), expected);
    let expected = DeliveryTransport::Submission(relay("smtp.example.net", 587, DeliveryTls::Verified));
    assert_eq!(transport("other.example", anna), expected);
    let expected = DeliveryTransport::Smtp(relay("192.0.2.9", 25, DeliveryTls::Unverified));
    assert_eq!(transport("other.test", Some("")), expected);
}

#[test]
fn what_fails_in_any_case_is_told_as_the_attempt_would() {
    let server = start();
    let failure = |domain, from| {
        let failure = explain(&server, domain, from, 1).failure;
        failure.map(|failure| format!("{} {}", failure.status, failure.reason))
    };
    assert_eq!(failure("closed.example", None).as_deref(), Some("5.7.0 554 Closed."));
    let gone = "4.3.5 there is no transport \"gone\" in the configuration";
    assert_eq!(failure("gone.example", None).as_deref(), Some(gone));
    assert_eq!(explain(&server, "gone.example", None, 1).transport, None);
    assert_eq!(failure("other.test", Some("anna@example.org")), None);
    server.ok(&Request::DomainDisable { domain: text("example.org") });
    let disabled = failure("other.test", Some("anna@example.org"));
    assert_eq!(disabled.as_deref(), Some("4.7.1 the sender's domain is disabled"));
}

#[test]
fn the_kept_policy_comes_along_and_our_own_hosts() {
    let (server, now) = (start(), unix_now());
    keep(&server, &[("kept.example", row(now + 500)), ("expired.example", row(now - 1))]);
    let kept = |domain| explain(&server, domain, None, 1).kept;
    assert!(kept("KEPT.example").unwrap().valid);
    assert!(!kept("expired.example").unwrap().valid);
    assert_eq!(kept("none.example"), None);
    assert_eq!(kept("[192.0.2.1]"), None);
    // Mail for a domain of ours may come to us.
    assert!(!explain(&server, "other.test", None, 1).own_names.is_empty());
    assert!(explain(&server, "example.org", None, 1).own_names.is_empty());
}

#[test]
fn the_authorities_of_deliveries_are_told() {
    assert_eq!(explain(&start(), "a.example", None, 1).tls_roots, None);
    for (configured, here) in [("/etc/roots.pem", false), ("roots.pem", true)] {
        let server = TestServer::with(Arc::new(MemoryEngine::new()), |config| {
            config.delivery.tls_roots = Some(configured.into());
        });
        let told = explain(&server, "a.example", None, 1).tls_roots.unwrap();
        let directory = std::env::current_dir().unwrap();
        let expected = if here { directory.join(configured) } else { configured.into() };
        assert_eq!(told, expected.to_str().unwrap());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let server = start();
    for (domain, from, attempt, said) in [
        ("a..b", None, 1, "\"a..b\" is no domain of recipients"),
        ("a.example", Some("anna"), 1, "\"anna\" is no address: address has no domain"),
        ("a.example", None, 0, "no attempt 0"),
    ] {
        let (kind, message) = server.fails(&request(domain, from, attempt));
        assert!(kind == FailureKind::Invalid && message.contains(said), "{message}");
    }
}
