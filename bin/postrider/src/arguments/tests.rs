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

const COMMANDS: [&str; 78] = [
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
    "address",
    "address add",
    "address rm",
    "address list",
    "domain",
    "domain add",
    "domain rm",
    "domain list",
    "domain enable",
    "domain disable",
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
fn what_makes_no_sense_is_said() {
    for (line, said) in [
        ("frobnicate", "frobnicate"),
        ("account add anna", "address"),
        ("import tar a b c", "there is no format \"tar\"; write maildir or mbox"),
        ("serve --conf x", "--conf"),
        ("repair", "dir"),
    ] {
        match parse(line) {
            Err(Early::Usage(text)) => {
                assert!(text.contains(said) && text.contains("--help"), "{line}: {text}")
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}
