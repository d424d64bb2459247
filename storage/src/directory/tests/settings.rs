//! Rules of addresses, and routes of accounts and domains.

use super::*;

fn pattern_of(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

fn mailbox(text: &str) -> MailboxName {
    MailboxName::new(text).unwrap()
}

/// A rule in which everything is set that goes together.
fn full_rule() -> MailRule {
    MailRule {
        mail_from: Some(pattern_of("^bounces[+-]")),
        msg_from: Some(pattern_of(r"@bücher\.example$")),
        verified_domain: Some(domain("list.example")),
        headers: vec![HeaderPattern { name: pattern_of("^list-id$"), value: pattern_of(r"<news\.\S+>") }],
        mailbox: Some(mailbox("Lists/News")),
        is_forward: false,
        list_allow_domain: Some(domain("list.example")),
        accept_rejects_to: Some(mailbox("Junk")),
        comment: "the \"news\"".into(),
    }
}

fn forward() -> MailRule {
    MailRule {
        mail_from: Some(pattern_of("@old.example$")),
        verified_domain: Some(domain("old.example")),
        is_forward: true,
        ..MailRule::default()
    }
}

fn set(address: &str, rules: Vec<MailRule>, auth_required: Option<&str>) -> Change {
    let auth_required = auth_required.map(str::to_owned);
    let destination = Destination { rules, auth_required, ..Destination::default() };
    Change::SetDestination { address: pattern(address), destination }
}

fn route(to: &str, minimum_attempts: u32, transport: &str) -> Route {
    Route {
        from_domains: vec![RouteDomain::Empty, RouteDomain::parse("example.org").unwrap()],
        to_domains: vec![RouteDomain::parse(to).unwrap()],
        minimum_attempts,
        transport: TransportName::new(transport).unwrap(),
    }
}

fn with_routes(routes: Vec<Route>) -> [Change; 2] {
    let of_account =
        AccountSettings { routes: routes.clone(), ..AccountSettings::new(domain("example.org")) };
    [
        Change::SetAccount { name: name("fred"), settings: of_account },
        Change::SetDomain {
            domain: domain("example.org"),
            settings: DomainSettings { routes, ..separated("+") },
        },
    ]
}

fn settled(world: &World, to: &str) -> Destination {
    match world.resolve(to) {
        Resolution::Account { destination, .. } => destination,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_has_its_rules_in_their_order() {
    let world = World::usual();
    world.apply(&[set("fred@example.org", vec![full_rule(), forward()], Some("sign it"))]).unwrap();
    let there = settled(&world, "FRED+x@example.org");
    assert_eq!(there.rules, [full_rule(), forward()]);
    assert_eq!(there.auth_required.as_deref(), Some("sign it"));
    assert!(settled(&world, "second@example.org").is_empty());
    // As a member of an alias it has the same.
    let snapshot = world.0.snapshot();
    let directory = Directory::new(&*snapshot);
    let fred = world.account("fred");
    let found = directory.destination(&pattern("fred@example.org")).unwrap();
    assert_eq!(found, Some((fred, MailboxName::inbox(), there)));
    for nobodys in ["spam@example.org", "team@example.org", "nobody@example.org", "a@else.example"] {
        assert_eq!(directory.destination(&pattern(nobodys)).unwrap(), None, "{nobodys}");
    }
    // Another mailbox leaves them, and so does another spelling of the domain's settings.
    let lists = mailbox("Lists");
    world.apply(&[Change::SetAddress { address: pattern("fred@example.org"), mailbox: lists }]).unwrap();
    let sensitive = DomainSettings { case: LocalpartCase::Sensitive, ..separated("+") };
    world.apply(&[Change::SetDomain { domain: domain("example.org"), settings: sensitive }]).unwrap();
    assert_eq!(settled(&world, "Fred@example.org").rules.len(), 2);
    world.apply(&[set("Fred@example.org", vec![], None)]).unwrap();
    assert!(settled(&world, "Fred@example.org").is_empty());
}

#[test]
fn rules_that_cannot_be_are_refused() {
    let world = World::usual();
    let refused = |rules, text| world.refused(set("fred@example.org", rules, text));
    let idle = MailRule { mailbox: Some(mailbox("x")), ..MailRule::default() };
    let said = refused(vec![full_rule(), idle], None);
    assert!(said.starts_with("rule 2 of address fred@example.org: it has no condition"), "{said}");
    let most = Limits::DEFAULT.rules_max;
    world.try_plan(&[set("fred@example.org", vec![forward(); most], None)]).unwrap();
    assert!(refused(vec![forward(); most + 1], None).contains("at most 100"));
    let wordy = MailRule { comment: "x".repeat(1000), ..forward() };
    assert!(refused(vec![wordy; 70], None).contains("more than 64 KiB"));
    let longest = "a".repeat(256);
    world.try_plan(&[set("fred@example.org", vec![], Some(&longest))]).unwrap();
    for text in ["", "a\r\nb", "\u{e4}", &format!("{longest}a")] {
        assert!(refused(vec![], Some(text)).contains("1 to 256 printable ASCII characters"), "{text:?}");
    }
    for address in ["spam@example.org", "team@example.org"] {
        assert!(world.refused(set(address, vec![], None)).contains("does not belong to an account"));
    }
    assert!(world.refused(set("nobody@example.org", vec![], None)).contains("no address"));
}

/// Reports of these kinds are read at an address, besides what else is set there.
fn reads(address: &str, rules: Vec<MailRule>, reports: ReportKinds) -> Change {
    let destination = Destination { rules, reports, ..Destination::default() };
    Change::SetDestination { address: pattern(address), destination }
}

#[test]
fn an_address_says_which_reports_are_read_there() {
    let world = World::usual();
    let (dmarc, both) = (ReportKinds { dmarc: true, tls: false }, ReportKinds { dmarc: true, tls: true });
    let changes = [reads("fred@example.org", vec![], dmarc), reads("@other.example", vec![forward()], both)];
    world.apply(&changes).unwrap();
    assert_eq!(settled(&world, "fred+x@example.org").reports, dmarc);
    let there = settled(&world, "fred@example.org");
    assert!(there.decides_nothing() && !there.is_empty());
    // Documents have them, with rules and without.
    let text = world.text();
    assert!(text.contains("{ address = \"Fred@example.org\", reports = [\"dmarc\"] }"), "{text}");
    assert!(text.contains("reports = [\"dmarc\", \"tls\"], rules = ["), "{text}");
    assert_eq!(world.apply_text(&text).unwrap(), [""; 0]);
    let copy = World::new(&[]);
    copy.apply_text(&text).unwrap();
    assert_eq!(copy.text(), text);
    let lines = world.apply_text(&World::usual().text()).unwrap();
    assert_eq!(lines, ["~ settings of address Fred@example.org", "~ settings of address @other.example"]);
    assert_eq!(world.rows(), World::usual().rows());
    let faults = world.faults(&text.replace("[\"dmarc\"]", "[\"dmarc\", \"spam\"]"));
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].problem, "spam is no kind of reports; possible are dmarc, tls");
}

#[test]
fn golden_octets_of_addresses_that_read_reports() {
    let world = World::usual();
    let tls = ReportKinds { dmarc: false, tls: true };
    world
        .apply(&[reads("fred@example.org", vec![], tls), reads("@other.example", vec![forward()], tls)])
        .unwrap();
    let rows = world.rows();
    let found: Vec<_> = rows
        .iter()
        .filter(|(_, value)| value.first() == Some(&3))
        .map(|(key, value)| format!("{} = {}", key.escape_ascii(), value.escape_ascii()))
        .collect();
    assert_eq!(found.join("\n"), include_str!("golden_reports.txt").trim_end());
    // An unknown kind is damage, not nothing.
    for (key, value) in rows.iter().filter(|(_, value)| value.first() == Some(&3)) {
        let mut other = value.to_vec();
        *other.last_mut().unwrap() = 4;
        assert!(rows::AddressRow::decode(key, &other).is_err());
        assert!(rows::AddressRow::decode(key, value).is_ok());
    }
}

#[test]
fn routes_are_bounded() {
    let world = World::usual();
    let refused = |routes: Vec<Route>| {
        let changes = with_routes(routes);
        changes.map(|change| world.refused(change))
    };
    let most = Limits::DEFAULT.routes_max;
    let usual = route("x.example", 0, "relay");
    for change in with_routes(vec![usual.clone(); most]) {
        world.try_plan(&[change]).unwrap();
    }
    assert!(refused(vec![usual.clone(); most + 1]).iter().all(|said| said.contains("at most 100")));
    let wide = Route { to_domains: vec![RouteDomain::Empty; most + 1], ..usual.clone() };
    assert!(refused(vec![wide]).iter().all(|said| said.contains("at most 100 domains")));
    let long = RouteDomain::parse(&format!("{}example.org", "aaaaaaaaa.".repeat(20))).unwrap();
    let large = Route { from_domains: vec![long; most], ..usual };
    let said = refused(vec![large; 4]);
    assert!(said[0].contains("routes of account fred: together"), "{said:?}");
    assert!(said[1].contains("routes of domain example.org: together"), "{said:?}");
}

#[test]
fn documents_have_rules_and_routes() {
    let world = World::usual();
    world.apply(&[set("fred@example.org", vec![full_rule(), forward()], Some("say \"who\""))]).unwrap();
    world.apply(&[set("@other.example", vec![forward()], None)]).unwrap();
    world.apply(&with_routes(vec![route(".example.com", 3, "far"), route("x.example", 0, "near")])).unwrap();
    let text = world.text();
    assert_eq!(world.apply_text(&text).unwrap(), [""; 0]);
    let copy = World::new(&[]);
    let lines = copy.apply_text(&text).unwrap();
    assert!(lines.contains(&"~ settings of address Fred@example.org".to_owned()), "{lines:?}");
    assert_eq!(copy.text(), text);
    assert_eq!(settled(&copy, "fred@example.org").rules, [full_rule(), forward()]);
    // What a document doesn't say any more is gone, and an address that changes hands leaves its rules behind.
    let lines = world.apply_text(&World::usual().text()).unwrap();
    assert_eq!(
        lines,
        [
            "~ account fred",
            "~ domain example.org",
            "~ settings of address Fred@example.org",
            "~ settings of address @other.example",
        ]
    );
    assert_eq!(world.text(), World::usual().text());
}

#[test]
fn the_example_of_the_documentation_is_a_document() {
    let documentation = include_str!("../../../../docs/configuration.md");
    let (_, rest) = documentation.split_once("\n```toml\n[account.anna]").unwrap();
    let (example, _) = rest.split_once("```\n").unwrap();
    let text = format!("version = 1\n[domain.\"example.com\"]\n[account.anna]{example}");
    let world = World::new(&[]);
    world.apply_text(&text).unwrap();
    let there = settled(&world, "anna@example.com");
    assert_eq!((there.rules.len(), there.auth_required.as_deref()), (3, Some("sign your mail")));
}

#[test]
fn golden_text_of_rules_and_routes() {
    let world = World::usual();
    world.apply(&[set("fred@example.org", vec![full_rule(), forward()], Some("sign it"))]).unwrap();
    world.apply(&with_routes(vec![route(".example.com", 3, "far")])).unwrap();
    let golden = r#"[account."fred"]
domain = "example.org"
credentials = []
addresses = [
    { address = "Fred@example.org", auth_required = "sign it", rules = [
        { mail_from = "^bounces[+-]", msg_from = "@bücher\\.example$", verified_domain = "list.example", mailbox = "Lists/News", list_allow_domain = "list.example", accept_rejects_to = "Junk", comment = "the \"news\"", headers = [["^list-id$", "<news\\.\\S+>"]] },
        { mail_from = "@old.example$", verified_domain = "old.example", is_forward = true },
    ] },
    "second@example.org",
]
routes = [{ from_domains = [".", "example.org"], to_domains = [".example.com"], minimum_attempts = 3, transport = "far" }]
"#;
    let text = world.text();
    assert!(text.contains(golden), "{text}");
}

#[test]
fn faults_of_rules_and_routes_are_found_with_their_lines() {
    let text = r#"version = 1
[domain."x.example"]
routes = [
{ transport = "a b" },
{ to_domains = ["*"], minimum_attempts = -1 },
7,
]
[account.a]
domain = "x.example"
addresses = [{ address = "a@x.example", auth_required = 7, rules = [
{ mail_from = "(" },
{ mailbox = "Lists" },
{ msg_from = "a", headers = ["x"] },
{ msg_from = "a", colour = "red" },
{ verified_domain = "x.example", is_forward = true },
] }]
"#;
    let faults = World::usual().faults(text);
    let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [4, 5, 5, 5, 6, 10, 11, 12, 13, 14, 15], "{faults:?}");
    assert_eq!(faults[6].problem, "mail_from: no regular expression: unclosed group");
    // More than what is noted of a document has room for.
    let many = |key: &str, what: &str, count: usize| format!("{key} = [{}]", vec![what; count].join(","));
    let rules = many("rules", "{ msg_from = 'a' }", 300);
    let routes = many("routes", "{ transport = 'a' }", 300);
    let long = "x".repeat(70_000);
    let account = format!(
        "version = 1\n[domain.\"x.example\"]\n[account.a]\ndomain = \"x.example\"\n{routes}\n\
         addresses = [{{ address = \"a@x.example\", auth_required = '{long}', {rules} }}]\n"
    );
    let faults = World::usual().faults(&account);
    assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [5, 6, 6], "{faults:?}");
}

/// Later versions read what this one wrote: these octets must not change. Rows without settings are those of
/// `golden.txt`.
#[test]
fn golden_octets_of_rules_and_routes() {
    let world = World::usual();
    world.apply(&[set("fred@example.org", vec![full_rule(), forward()], Some("sign it"))]).unwrap();
    world.apply(&with_routes(vec![route(".example.com", 3, "far")])).unwrap();
    let rows = world.rows();
    let found: Vec<_> = rows
        .iter()
        .filter(|(_, value)| value.first() == Some(&2))
        .map(|(key, value)| format!("{} = {}", key.escape_ascii(), value.escape_ascii()))
        .collect();
    assert_eq!(found.join("\n"), include_str!("golden_settings.txt").trim_end());
}

#[test]
fn damaged_settings_are_found() {
    let world = World::usual();
    world.apply(&[set("fred@example.org", vec![full_rule()], None)]).unwrap();
    world.apply(&with_routes(vec![route("x.example", 0, "relay")])).unwrap();
    let rows = world.rows();
    let with_settings: Vec<_> = rows.iter().filter(|(_, value)| value.first() == Some(&2)).collect();
    assert_eq!(with_settings.len(), 3);
    for (key, value) in with_settings {
        for cut in 1..value.len() {
            let mut batch = crate::engine::Batch::new();
            batch.insert(Space::Rows, key.to_vec(), value[..cut].to_vec());
            let engine = MemoryEngine::new();
            let mut all = crate::engine::Batch::new();
            rows.iter().for_each(|(key, value)| all.insert(Space::Rows, key.to_vec(), value.to_vec()));
            engine.commit(all, Durability::Buffered).unwrap();
            engine.commit(batch, Durability::Buffered).unwrap();
            let found = verify(&*engine.snapshot()).unwrap();
            assert!(
                found.iter().any(|violation| violation.rule == Rule::Readable),
                "cut at {cut}: {found:?}"
            );
        }
    }
}
