//! Rules and routes over the control socket.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::control::protocol::{FailureKind, MailRule, Request, Route, RouteOwner, Secret};
use crate::testing::TestServer;

fn text(text: &str) -> String {
    text.to_owned()
}

const ADDRESS: &str = "anna@example.org";

fn with_account() -> TestServer {
    let server = TestServer::start();
    server.ok(&Request::DomainAdd { domain: text("example.org"), disabled: false });
    server.ok(&Request::AccountAdd {
        account: text("anna"),
        address: text(ADDRESS),
        password: Secret(text("first password")),
        quota: None,
    });
    server
}

fn rule(mailbox: &str) -> MailRule {
    MailRule { msg_from: Some(text("@x")), mailbox: Some(text(mailbox)), ..MailRule::default() }
}

fn add(at: Option<u32>, rule: MailRule) -> Request {
    Request::AddressRuleAdd { address: text(ADDRESS), at, rule: Box::new(rule) }
}

/// One field of each row that a request lists.
fn listed(server: &TestServer, request: &Request, field: &str) -> Vec<String> {
    let (rows, _) = server.ok(request);
    let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let rows: Vec<_> = rows.lines().map(row).collect();
    for (number, row) in (1..).zip(&rows) {
        assert_eq!(row["number"], number);
    }
    rows.iter().map(|row| text(row[field].as_str().unwrap())).collect()
}

#[test]
fn rules_are_added_moved_and_removed_in_their_places() {
    let server = with_account();
    let mailboxes =
        || listed(&server, &Request::AddressRuleList { address: text("Anna@example.org") }, "mailbox");
    assert_eq!(mailboxes(), [""; 0]);
    for (at, mailbox) in [(None, "B"), (Some(1), "A"), (Some(3), "C")] {
        server.ok(&add(at, rule(mailbox)));
    }
    assert_eq!(mailboxes(), ["A", "B", "C"]);
    let to = |number, to| Request::AddressRuleMove { address: text(ADDRESS), number, to };
    server.ok(&to(1, 3));
    assert_eq!(mailboxes(), ["B", "C", "A"]);
    server.ok(&to(3, 2));
    assert_eq!(mailboxes(), ["B", "A", "C"]);
    let remove = |number| Request::AddressRuleRemove { address: text(ADDRESS), number };
    server.ok(&remove(2));
    assert_eq!(mailboxes(), ["B", "C"]);
    for (request, kind, said) in [
        (add(Some(4), rule("D")), FailureKind::NotFound, "from 1 to 3"),
        (add(Some(0), rule("D")), FailureKind::NotFound, "from 1 to 3"),
        (remove(3), FailureKind::NotFound, "from 1 to 2"),
        (to(1, 3), FailureKind::NotFound, "from 1 to 2"),
        (to(0, 1), FailureKind::NotFound, "from 1 to 2"),
        (add(None, MailRule::default()), FailureKind::Invalid, "rule 3 of address anna@example.org"),
        (
            add(None, MailRule { mail_from: Some(text("(")), ..MailRule::default() }),
            FailureKind::Invalid,
            "mail_from \"(\": no regular expression: unclosed group",
        ),
        (
            add(None, MailRule { headers: vec![(text("a"), text("["))], ..MailRule::default() }),
            FailureKind::Invalid,
            "unclosed character class",
        ),
        (
            add(None, MailRule { verified_domain: Some(text("a b")), ..MailRule::default() }),
            FailureKind::Invalid,
            "verified_domain",
        ),
        (
            Request::AddressRuleList { address: text("nobody@example.org") },
            FailureKind::NotFound,
            "no address nobody@example.org",
        ),
    ] {
        let (found, message) = server.fails(&request);
        assert!(found == kind && message.contains(said), "{request:?}: {message}");
    }
    assert_eq!(mailboxes(), ["B", "C"]);
    server.ok(&remove(1));
    server.ok(&remove(1));
    assert!(server.fails(&remove(1)).1.contains("there is no rule"));
}

#[test]
fn the_list_of_addresses_says_what_is_set() {
    let server = with_account();
    let require = |text: Option<&str>| Request::AddressRequireAuthentication {
        address: ADDRESS.to_owned(),
        text: text.map(str::to_owned),
    };
    server.ok(&add(None, rule("A")));
    server.ok(&require(Some("sign it")));
    for account in [None, Some(text("anna"))] {
        let (rows, _) = server.ok(&Request::AddressList { account });
        assert_eq!(
            rows,
            "{\"address\":\"anna@example.org\",\"account\":\"anna\",\"mailbox\":\"Inbox\",\"rules\":1,\
             \"auth_required\":\"sign it\",\"reports\":[]}\n"
        );
    }
    server.ok(&require(None));
    let (rows, _) = server.ok(&Request::AddressList { account: None });
    assert!(rows.contains("\"rules\":1,\"auth_required\":null"), "{rows}");
    assert_eq!(server.fails(&require(Some(""))).0, FailureKind::Invalid);
    let reports = |kinds: &[&str]| Request::AddressReports {
        address: ADDRESS.to_owned(),
        kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
    };
    for (kinds, shown) in
        [(&["tls", "dmarc"][..], "[\"dmarc\",\"tls\"]"), (&["tls"], "[\"tls\"]"), (&[], "[]")]
    {
        server.ok(&reports(kinds));
        let (rows, _) = server.ok(&Request::AddressList { account: None });
        assert!(rows.contains(&format!("\"rules\":1,\"auth_required\":null,\"reports\":{shown}")), "{rows}");
    }
    assert!(server.fails(&reports(&["dmarc", "spf"])).1.contains("spf is no kind of reports"));
}

#[test]
fn routes_of_accounts_and_domains_are_apart() {
    let server = with_account();
    let (account, domain) = (RouteOwner::Account(text("anna")), RouteOwner::Domain(text("example.org")));
    let route = |to: &str, transport: &str| Route {
        from_domains: vec![],
        to_domains: vec![text(to)],
        minimum_attempts: 2,
        transport: text(transport),
    };
    let add = |of: &RouteOwner, at, route| Request::RouteAdd { of: of.clone(), at, route };
    server.ok(&add(&account, None, route(".", "b")));
    server.ok(&add(&account, Some(1), route(".example.com", "a")));
    server.ok(&add(&domain, None, route("x.example", "d")));
    let list = |of: &RouteOwner| listed(&server, &Request::RouteList { of: of.clone() }, "transport");
    assert_eq!((list(&account), list(&domain)), (vec![text("a"), text("b")], vec![text("d")]));
    let (rows, _) = server.ok(&Request::RouteList { of: domain.clone() });
    assert_eq!(
        rows,
        "{\"number\":1,\"from_domains\":[],\"to_domains\":[\"x.example\"],\"minimum_attempts\":2,\
         \"transport\":\"d\"}\n"
    );
    server.ok(&Request::RouteMove { of: account.clone(), number: 2, to: 1 });
    assert_eq!(list(&account), ["b", "a"]);
    server.ok(&Request::RouteRemove { of: account.clone(), number: 1 });
    assert_eq!((list(&account), list(&domain)), (vec![text("a")], vec![text("d")]));
    let nobody = RouteOwner::Domain(text("example.com"));
    for (request, kind) in [
        (add(&account, None, route("*", "a")), FailureKind::Invalid),
        (add(&account, None, route("x.example", "a b")), FailureKind::Invalid),
        (Request::RouteList { of: nobody.clone() }, FailureKind::NotFound),
        (add(&nobody, None, route(".", "a")), FailureKind::NotFound),
        (Request::RouteRemove { of: domain, number: 2 }, FailureKind::NotFound),
    ] {
        assert_eq!(server.fails(&request).0, kind, "{request:?}");
    }
}
