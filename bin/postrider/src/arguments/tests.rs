#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn parse(line: &str) -> Result<Top, Early> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Top::parse(&words)
}

fn help(line: &str) -> String {
    match parse(&format!("{line} --help")) {
        Err(Early::Help(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

const COMMANDS: [&str; 148] = [
    "",
    "serve",
    "localserve",
    "stop",
    "status",
    "account",
    "account add",
    "account list",
    "account show",
    "account rm",
    "account set-password",
    "account quota",
    "account quota-messages",
    "account disable",
    "account enable",
    "account tlspubkey",
    "account tlspubkey add",
    "account tlspubkey rm",
    "account tlspubkey list",
    "account routes",
    "account routes list",
    "account routes add",
    "account routes rm",
    "account routes move",
    "account settings",
    "account settings show",
    "account settings set",
    "account settings webhook",
    "address",
    "address add",
    "address rm",
    "address list",
    "address rules",
    "address rules list",
    "address rules add",
    "address rules rm",
    "address rules move",
    "address require-authentication",
    "address reports",
    "domain",
    "domain add",
    "domain rm",
    "domain list",
    "domain enable",
    "domain disable",
    "domain dkim",
    "domain dkim add",
    "domain dkim rm",
    "domain dkim list",
    "domain dkim sign",
    "domain dkim records",
    "domain routes",
    "domain routes list",
    "domain routes add",
    "domain routes rm",
    "domain routes move",
    "alias",
    "alias add",
    "alias rm",
    "alias list",
    "alias add-member",
    "alias rm-member",
    "directory",
    "directory export",
    "directory apply",
    "loglevels",
    "import",
    "export",
    "index",
    "index status",
    "index rebuild",
    "reports",
    "reports summary",
    "reports list",
    "reports show",
    "reports dump",
    "reports results",
    "reports suppress",
    "reports suppress list",
    "reports suppress add",
    "reports suppress rm",
    "sendmail",
    "queue",
    "queue list",
    "queue show",
    "queue dump",
    "queue hold",
    "queue release",
    "queue schedule",
    "queue transport",
    "queue requiretls",
    "queue fail",
    "queue drop",
    "queue hold-rules",
    "queue hold-rules list",
    "queue hold-rules add",
    "queue hold-rules rm",
    "queue suppressions",
    "queue suppressions list",
    "queue suppressions lookup",
    "queue suppressions add",
    "queue suppressions rm",
    "queue retired",
    "webhook",
    "webhook list",
    "webhook show",
    "webhook retry",
    "webhook cancel",
    "webhook retired",
    "webhook test",
    "dns",
    "dns lookup",
    "dnssec",
    "dnssec explain",
    "dane",
    "dane lookup",
    "dane dial",
    "dkim",
    "dkim lookup",
    "dkim verify",
    "dkim sign",
    "dkim txt",
    "dkim gen",
    "arc",
    "arc verify",
    "spf",
    "spf check",
    "spf lookup",
    "spf parse",
    "dmarc",
    "dmarc lookup",
    "dmarc verify",
    "iprev",
    "iprev check",
    "dnsbl",
    "dnsbl check",
    "mtasts",
    "mtasts lookup",
    "mtasts cached",
    "mtasts forget",
    "tls",
    "tls explain",
    "config",
    "config example",
    "config test",
    "verifydata",
    "repair",
    "version",
];

#[test]
fn the_help_of_every_command_has_an_example() {
    for command in COMMANDS {
        let text = help(command);
        let (_, examples) = text.split_once("Examples:").unwrap_or_else(|| panic!("{command}: {text}"));
        assert!(examples.contains(format!("postrider {command}").trim_end()), "{command}: {text}");
    }
}

#[test]
fn every_command_that_help_lists_is_tested() {
    for command in COMMANDS {
        let text = help(command);
        let Some((_, rest)) = text.split_once("\nCommands:\n") else { continue };
        for line in
            rest.lines().take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "))
        {
            let name = line.split_whitespace().next().unwrap();
            let full = format!("{command} {name}");
            assert!(COMMANDS.contains(&full.trim_start()), "{full} is not in the list of this test");
        }
    }
}

#[test]
fn no_command_is_the_help() {
    assert!(matches!(parse(""), Err(Early::Help(text)) if text.contains("localserve")));
    assert!(matches!(parse("-h"), Err(Early::Help(_))));
    assert_eq!(parse("help account add"), Err(Early::Help(help("account add"))));
}

#[test]
fn the_version_has_its_usual_switches() {
    for line in ["version", "--version", "-V"] {
        assert_eq!(parse(line).unwrap().command, Command::Version(Version {}));
    }
}

#[test]
fn arguments_are_parsed() {
    let top = parse("--socket /run/ctl import mbox anna Old/2020 /tmp/x").unwrap();
    assert_eq!(top.socket.as_deref(), Some("/run/ctl"));
    let expected = Import {
        format: postrider_core::control::protocol::Format::Mbox,
        account: "anna".to_owned(),
        mailbox: "Old/2020".to_owned(),
        path: "/tmp/x".to_owned(),
    };
    assert_eq!(top.command, Command::Import(expected));
    for (line, file) in [("-", None), ("", None), ("x.txt", Some("x.txt".to_owned()))] {
        let top = parse(&format!("directory apply --dry-run {line}")).unwrap();
        let expected = DirectoryCommand::Apply(DirectoryApply { dry_run: true, file });
        assert_eq!(top.command, Command::Directory(Directory { command: expected }));
    }
    let top = parse("serve --config x.toml").unwrap();
    assert_eq!(top.command, Command::Serve(Serve { config: Some("x.toml".to_owned()) }));
}

#[test]
fn rules_and_routes_are_parsed() {
    let line = "address rules add --at 2 --header list-id=<x>=y --header a=b --verified-domain x.example \
                --list-allow x.example a@example.org";
    let Command::Address(Address { command: AddressCommand::Rules(AddressRules { command }) }) =
        parse(line).unwrap().command
    else {
        panic!("{line}");
    };
    let expected = RuleAdd {
        at: Some(2),
        mail_from: None,
        msg_from: None,
        verified_domain: Some("x.example".to_owned()),
        header: vec![("list-id".to_owned(), "<x>=y".to_owned()), ("a".to_owned(), "b".to_owned())],
        mailbox: None,
        forward: false,
        list_allow: Some("x.example".to_owned()),
        accept_rejects_to: None,
        comment: String::new(),
        address: "a@example.org".to_owned(),
    };
    assert_eq!(command, RuleCommand::Add(expected));
    let top =
        parse("domain routes add --to .example.com --to . --minimum-attempts 3 example.org relay").unwrap();
    let Command::Domain(Domain { command: DomainCommand::Routes(DomainRoutes { command }) }) = top.command
    else {
        panic!("{top:?}");
    };
    let expected = RouteAdd {
        at: None,
        from: vec![],
        to: vec![".example.com".to_owned(), ".".to_owned()],
        minimum_attempts: 3,
        owner: "example.org".to_owned(),
        transport: "relay".to_owned(),
    };
    assert_eq!(command, RouteCommand::Add(expected));
}

#[test]
fn what_is_explained_and_listed_of_policies_is_parsed() {
    let Command::Tls(Tls { command: TlsCommand::Explain(arguments) }) =
        parse("tls explain --from anna@example.org --attempt 4 example.com").unwrap().command
    else {
        panic!("another command");
    };
    let from = arguments.from.as_ref().map(ToString::to_string);
    assert_eq!((from.as_deref(), arguments.attempt), (Some("anna@example.org"), 4));
    let Command::Tls(Tls { command: TlsCommand::Explain(arguments) }) =
        parse("tls explain example.com").unwrap().command
    else {
        panic!("another command");
    };
    assert_eq!((arguments.from, arguments.attempt), (None, 1));
    for (line, domain, limit) in
        [("", None, 1000), ("Example.org", Some("example.org"), 1000), ("--limit 5", None, 5)]
    {
        let Command::MtaSts(MtaSts { command: MtaStsCommand::Cached(arguments) }) =
            parse(&format!("mtasts cached {line}")).unwrap().command
        else {
            panic!("another command");
        };
        let parsed = arguments.domain.as_ref().map(|domain| domain.as_str());
        assert_eq!((parsed, arguments.limit, arguments.json), (domain, limit, false), "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_said() {
    for (line, said) in [
        ("frobnicate", "frobnicate"),
        ("account add anna", "address"),
        ("import tar a b c", "there is no format \"tar\"; write maildir or mbox"),
        ("serve --conf x", "--conf"),
        ("repair", "dir"),
        ("address rules add --header list-id a@example.org", "NAME=VALUE"),
        ("account routes rm anna first", "first"),
        ("queue requiretls --set maybe --all", "write yes, no or default"),
        ("queue schedule --all", "--at"),
        ("tls explain ex..ample", "domain"),
        ("tls explain --attempt 0 example.org", "\"0\" is no attempt. Write a number from 1"),
        ("tls explain --attempt 70000 example.org", "from 1 to 65535"),
        // As the server would say it.
        ("tls explain --from anna example.org", "\"anna\" is no address: address has no domain"),
        ("tls explain --from anna@a..b example.org", "\"anna@a..b\" is no address: "),
        ("tls explain --from <> --account A/B example.org", "\"A/B\" is no account name: "),
        ("mtasts forget", "domain"),
        ("mtasts cached ex..ample", "domain"),
    ] {
        match parse(line) {
            Err(Early::Usage(text)) => {
                assert!(text.contains(said) && text.contains("--help"), "{line}: {text}")
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}
