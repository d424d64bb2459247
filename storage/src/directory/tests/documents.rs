use postrider_proto::sasl::Mechanism;

use super::*;

fn changes(current: &Document, wanted: &str) -> Vec<Change> {
    diff(current, &Document::parse(wanted).unwrap(), HeldMail::Keep).changes
}

#[test]
fn export_print_and_parse_agree() {
    let world = World::usual();
    let mut settings = AccountSettings::new(domain("example.org"));
    settings.full_name = "Fred \"the\\mail\" Fjörd".into();
    settings.quota = Some(5_000_000_000);
    settings.quota_messages = Some(70_000);
    settings.login_disabled = Some("ask the postmaster".into());
    settings.disabled_mechanisms = vec![Mechanism::Plain, Mechanism::CramMd5];
    let lists = MailboxName::new("Lists").unwrap();
    world
        .apply(&[
            Change::SetAccount { name: name("fred"), settings },
            Change::SetSecrets { account: name("fred"), secrets: Some(secrets("f")) },
            Change::SetAddress { address: pattern("second@example.org"), mailbox: lists.clone() },
            Change::SetPostmaster(Some((name("mary"), lists))),
        ])
        .unwrap();
    let exported = world.export();
    let text = exported.to_string();
    let parsed = Document::parse(&text).unwrap();
    assert_eq!(parsed.to_string(), text);
    let difference = diff(&exported, &parsed, HeldMail::Keep);
    assert_eq!(difference.changes, []);
    assert!(difference.passwords.is_empty());
    // Onto an empty store, it makes the same directory.
    let copy = World::new(&changes(&Document::default(), &text));
    assert_eq!(copy.export().to_string(), text);
    // And back to nothing.
    copy.apply(&diff(&copy.export(), &Document::default(), HeldMail::Keep).changes).unwrap();
    assert_eq!(copy.export().to_string(), "version = 1\n");
}

#[test]
fn golden_text() {
    let world = World::usual();
    let golden = r#"version = 1

[domain."example.org"]
separators = ["+"]

[domain."other.example"]

[account."fred"]
domain = "example.org"
credentials = []
addresses = [
    "Fred@example.org",
    "second@example.org",
]

[account."mary"]
domain = "other.example"
credentials = []
addresses = [
    "@other.example",
    "mary@other.example",
]

[refusal]
"spam@example.org" = 550

[alias."team@example.org"]
members = [
    "fred@example.org",
    "mary@other.example",
]
"#;
    assert_eq!(world.export().to_string(), golden);
}

#[test]
fn faults_are_all_found_with_their_lines() {
    let text = r#"version = 2
mood = "good"
[domain."exa mple"]
[domain."example.org"]
disabled = "yes"
separators = "+"
[account.fred]
addresses = ["fred@", 7, { mailbox = "x" }, "a@example.org", "a@example.org"]
quota = -1
password = "short"
credentials = ["SCRAM-SHA-256$1:2$3:4"]
disabled_mechanisms = ["ROT13"]
[refusal]
"b@example.org" = 250
[alias."team@example.org"]
members = []
[domain."EXAMPLE.org"]
"#;
    let error = Document::parse(text).unwrap_err();
    let lines: Vec<_> = error.0.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [1, 2, 3, 5, 6, 7, 8, 8, 8, 8, 9, 10, 10, 12, 14, 15, 17], "{error}");
    assert!(!error.to_string().contains("\"short\""), "passwords are not repeated");
    let error = Document::parse("version = 1\n[account\n").unwrap_err();
    assert_eq!(error.0[0].line, 2, "{error}");
}

#[test]
fn differences_come_in_an_order_that_works() {
    let world = World::usual();
    let wanted = r#"
version = 1
postmaster = { account = "new" }
[domain."third.example"]
case_sensitive = true
[domain."other.example"]
description = "changed"
[account.new]
domain = "third.example"
addresses = ["fred@other.example", "Fred@third.example", { address = "@other.example", mailbox = "Rest" }]
[account.mary]
domain = "third.example"
addresses = ["fred@third.example"]
[refusal]
"mary@other.example" = 421
[alias."team@other.example"]
members = ["fred@third.example", "Fred@third.example"]
"#;
    let listed = changes(&world.export(), wanted);
    world.apply(&listed).unwrap();
    let shown: Vec<_> = listed.iter().map(ToString::to_string).collect();
    assert_eq!(shown[0], "+ domain third.example");
    assert!(shown.contains(&"- account fred, with its addresses".to_owned()), "{shown:#?}");
    assert!(shown.contains(&"- domain example.org".to_owned()));
    assert_eq!(changes(&world.export(), wanted), []);
    assert_eq!(world.resolve("mary@other.example"), Resolution::Refused(451));
}

#[test]
fn an_address_that_changes_hands_keeps_its_place_in_aliases() {
    let world = World::usual();
    let wanted = world.export().to_string();
    let wanted = wanted.replace("    \"Fred@example.org\",\n", "");
    let wanted =
        wanted.replace("    \"@other.example\",", "    \"@other.example\",\n    \"fred@example.org\",");
    world.apply(&changes(&world.export(), &wanted)).unwrap();
    let snapshot = world.0.snapshot();
    let members = Directory::new(&*snapshot).members(&address("team@example.org")).unwrap();
    let mary = world.account("mary");
    assert_eq!(members, [(mary, address("fred@example.org")), (mary, address("mary@other.example"))]);
}

#[test]
fn the_same_address_in_two_places_is_refused() {
    let head = "version = 1\n[domain.\"example.org\"]\n";
    for rest in [
        "[account.a]\ndomain = \"example.org\"\naddresses = [\"x@example.org\", \"X@example.org\"]\n",
        "[account.a]\ndomain = \"example.org\"\naddresses = [\"x@example.org\"]\n\
         [account.b]\ndomain = \"example.org\"\naddresses = [\"X@example.org\"]\n",
        "[account.a]\ndomain = \"example.org\"\naddresses = [\"x@example.org\"]\n\
         [refusal]\n\"x@example.org\" = 550\n",
    ] {
        let error = Document::parse(&format!("{head}{rest}")).unwrap_err().to_string();
        assert!(error.to_lowercase().contains("x@example.org is given twice"), "{error}");
    }
}

#[test]
fn passwords_are_given_out_to_be_derived() {
    let world = World::usual();
    world.apply(&[Change::SetSecrets { account: name("mary"), secrets: Some(secrets("m")) }]).unwrap();
    let text = |credential: &str| {
        format!("version = 1\n[domain.\"d.example\"]\n[account.mary]\ndomain = \"d.example\"\n{credential}\n")
    };
    let of = |credential: &str| {
        diff(&world.export(), &Document::parse(&text(credential)).unwrap(), HeldMail::Keep)
    };
    let given = of("password = \"correct horse\"");
    assert_eq!(given.passwords[0].password.expose(), "correct horse");
    assert_eq!(given.passwords[0].current.as_deref(), Some(&secrets("m")));
    let sets = |diff: &Diff| diff.changes.iter().any(|change| matches!(change, Change::SetSecrets { .. }));
    assert!(!sets(&given) && !sets(&of("")), "nothing said, nothing changed");
    assert!(sets(&of("credentials = []")));
    assert!(!sets(&of(&format!("credentials = {:?}", secrets("m").to_texts()))));
    assert!(sets(&of(&format!("credentials = {:?}", secrets("n").to_texts()))));
}
