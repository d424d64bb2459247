use postrider_proto::sasl::Mechanism;

use super::*;

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
    let text = world.text();
    assert_eq!(world.apply_text(&text).unwrap(), [""; 0]);
    // Onto an empty store, it makes the same directory.
    let copy = World::new(&[]);
    copy.apply_text(&text).unwrap();
    assert_eq!(copy.text(), text);
    // And back to nothing.
    copy.apply_text("version = 1\n").unwrap();
    assert_eq!(copy.text(), "version = 1\n");
}

#[test]
fn golden_text() {
    let world = World::usual();
    let golden = r#"version = 1

[domain."example.org"]
separators = ["+"]
dkim = []

[domain."other.example"]
dkim = []

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
    assert_eq!(world.text(), golden);
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
    let world = World::usual();
    let faults = world.faults(text);
    let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [1, 2, 3, 5, 6, 7, 8, 8, 8, 9, 10, 10, 12, 14, 15, 17], "{faults:?}");
    assert!(faults.iter().all(|fault| !fault.problem.contains("\"short\"")), "passwords are not repeated");
    assert_eq!(world.faults("version = 1\n[account\n")[0].line, 2);
    assert_eq!(world.faults("[domain.\"example.org\"]")[0].problem, "version = 1 is missing");
    assert_eq!(world.faults("version = 1\n[version]\n[domain]\nversion = 1\n").len(), 2);
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
    let shown = world.apply_text(wanted).unwrap();
    assert_eq!(shown[0], "+ domain third.example");
    assert!(shown.contains(&"- account fred, with its addresses".to_owned()), "{shown:#?}");
    assert!(shown.contains(&"- domain example.org".to_owned()));
    assert_eq!(world.apply_text(wanted).unwrap(), [""; 0]);
    assert_eq!(world.resolve("mary@other.example"), Resolution::Refused(451));
}

#[test]
fn an_address_that_changes_hands_keeps_its_place_in_aliases() {
    let world = World::usual();
    let wanted = world.text().replace("    \"Fred@example.org\",\n", "");
    let wanted =
        wanted.replace("    \"@other.example\",", "    \"@other.example\",\n    \"fred@example.org\",");
    world.apply_text(&wanted).unwrap();
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
        let faults = World::usual().faults(&format!("{head}{rest}"));
        let problem = faults[0].problem.to_lowercase();
        assert!(problem.contains("x@example.org is given twice") && faults.len() == 1, "{faults:?}");
    }
}

#[test]
fn passwords_are_derived_unless_they_are_the_present_ones() {
    let world = World::usual();
    let text = |credential: &str| {
        let rest = "domain = \"d.example\"";
        format!("version = 1\n[domain.\"d.example\"]\n[account.mary]\n{credential}\n{rest}\n")
    };
    let sets = |credential: &str| {
        let lines = world.apply_text(&text(credential)).unwrap();
        lines.iter().any(|line| line.contains("password of account mary"))
    };
    let known = || {
        let snapshot = world.0.snapshot();
        Directory::new(&*snapshot).secrets(world.account("mary")).unwrap()
    };
    assert!(sets("password = \"correct horse\""));
    assert_eq!(known(), Some(secrets("correct horse")));
    assert!(!sets("") && known().is_some(), "nothing said, nothing changed");
    assert!(sets("credentials = []"));
    assert_eq!(known(), None);
    let derived = StoredSecrets::derive(
        "correct horse",
        &postrider_proto::sasl::secrets::Derivation {
            iterations: 4096,
            salt_sha_256: [1; 16],
            salt_sha_1: [2; 16],
        },
    );
    assert!(sets(&format!("credentials = {:?}", derived.to_texts())));
    assert!(!sets(&format!("credentials = {:?}", derived.to_texts())));
    assert!(!sets("password = \"correct horse\""), "it is the present one");
    assert_eq!(known(), Some(derived));
    let faults = world.faults(&text("password = \"8 octets\""));
    assert_eq!(faults[0].line, 3);
    assert!(faults[0].problem.ends_with("password of account mary: too short"), "{faults:?}");
}

#[test]
fn what_is_refused_is_told_with_its_line() {
    let world = World::usual();
    let refused = |text: &str| world.apply_text(text).unwrap_err().to_string();
    let head = "version = 1\n[domain.\"d.example\"]\nseparators = [\"+\"]\n";
    assert_eq!(
        refused(&format!("{head}[account.a]\ndomain = \"e.example\"\n")),
        "line 4: there is no domain e.example; add it first"
    );
    let addresses =
        "[account.a]\ndomain = \"d.example\"\naddresses = [\n\"a@d.example\",\n\"b+c@d.example\"\n]\n";
    let separator = refused(&format!("{head}{addresses}"));
    assert!(separator.starts_with("line 8: address b+c@d.example contains the separator"), "{separator}");
    let alias = "[alias.\"l@d.example\"]\nmembers = [\"x@d.example\"]\n";
    assert!(refused(&format!("{head}{alias}")).starts_with("line 4: x@d.example cannot be a member"));
    assert_eq!(world.text(), World::usual().text(), "nothing is changed");
}
