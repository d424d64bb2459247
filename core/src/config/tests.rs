#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::time::Duration;

use postrider_proto::imap::mailbox::MailboxName;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/postrider.toml"), Files::Ignore)
}

/// The problems of a text, each as `line:column what | advice`.
fn problems(text: &str) -> Vec<String> {
    let error = parse(text).unwrap_err();
    let place = |problem: &Problem| {
        problem.line.map_or_else(|| "-".to_owned(), |line| format!("{line}:{}", problem.column))
    };
    error
        .problems
        .iter()
        .map(|problem| format!("{} {} | {}", place(problem), problem.what, problem.advice))
        .collect()
}

/// A text that is right, with `more` at its end.
fn with(more: &str) -> String {
    format!(
        "hostname = \"mail.example.com\"\ndata_dir = \"data\"\n[tls]\nself_signed = true\n\
         [[listener]]\nname = \"mx\"\nprotocol = \"smtp\"\n{more}"
    )
}

#[test]
fn the_example_is_right_and_says_what_it_means() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.hostname.as_str(), "mail.example.com");
    assert_eq!(config.control_socket, Path::new("/var/lib/postrider/ctl"));
    assert_eq!(config.postmaster.unwrap().account, "admin");
    let listeners: Vec<_> = config.listeners.iter().map(|l| (l.name.as_str(), l.protocol, l.tls)).collect();
    let expected = [
        ("mx", Protocol::Smtp, TlsMode::Optional),
        ("submissions", Protocol::Submissions, TlsMode::Implicit),
        ("submission", Protocol::Submission, TlsMode::Required),
        ("imaps", Protocol::Imaps, TlsMode::Implicit),
        ("imap", Protocol::Imap, TlsMode::Required),
        ("metrics", Protocol::Metrics, TlsMode::Off),
    ];
    assert_eq!(listeners, expected);
    assert_eq!(config.listeners[0].addresses, ["0.0.0.0:25".parse().unwrap(), "[::]:25".parse().unwrap()]);
    assert_eq!(
        config.listeners[5].addresses,
        ["127.0.0.1:8010".parse().unwrap(), "[::1]:8010".parse().unwrap()]
    );
}

#[test]
fn the_defaults_that_the_example_shows_are_the_defaults() {
    // Examples of values, rather than defaults.
    let not_default = [
        "# user = ",
        "# shards = ",
        "# smtp = ",
        "# hostname = ",
        "# message_size = \"50 MiB\"",
        "# unlimited = ",
        "# blocklists = [\"",
        "# disabled_capabilities = ",
        "# upstreams = ",
        "# trust_anchors = ",
        "# networks = ",
        "# tls_roots = ",
        "# local_addresses = ",
    ];
    let mut shown = String::new();
    let mut uncommented = 0;
    for line in EXAMPLE.lines() {
        let key_value = line.strip_prefix("# ").filter(|line| {
            line.split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        });
        match key_value {
            Some(key_value) if !not_default.iter().any(|start| line.starts_with(start)) => {
                uncommented += 1;
                writeln!(shown, "{key_value}").unwrap();
            }
            _ => writeln!(shown, "{line}").unwrap(),
        }
    }
    assert!(uncommented > 50, "{uncommented} keys");
    assert_eq!(parse(&shown).unwrap(), parse(EXAMPLE).unwrap());
}

#[test]
fn the_example_has_every_key_that_can_be_written() {
    // The advice for an unknown key lists all keys of its table.
    for table in [
        "",
        "[log]",
        "[[listener]]",
        "[tls]",
        "[[tls.certificate]]",
        "[storage]",
        "[search]",
        "[dns]",
        "[delivery]",
        "[[transport]]",
        "[[route]]",
        "[reports]",
        "[webhooks]",
        "[accounts]",
        "[accounts.mailboxes]",
        "[postmaster]",
        "[passwords]",
        "[admission]",
        "[checks]",
        "[limits]",
        "[limits.smtp]",
        "[limits.imap]",
    ] {
        let found = problems(&format!("{table}\nxxxxxxxxxxxx = 1"));
        let advice = found.iter().find_map(|problem| problem.split_once("The keys here are ")).unwrap().1;
        for key in advice.split(", ") {
            let written = EXAMPLE.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ']);
                line.starts_with(&format!("{key} = "))
                    || line.trim_matches(['[', ']']).rsplit('.').next() == Some(key)
            });
            assert!(written, "{key} of {table} is not in the example");
        }
    }
}

#[test]
fn the_reference_shows_the_example() {
    let reference = include_str!("../../../docs/configuration.md");
    assert!(
        reference.contains(EXAMPLE),
        "docs/configuration.md has another example than core/src/config/example.toml"
    );
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let text = "hostnmae = \"x\"\ndata_dir = 5\nshards = 0\n[[listener]]\nname = \"mx\"\nprotocol = \"smpt\"\n\
                [limits]\nconnections_open = [90, 30, 270]\n";
    let expected = [
        "- \"hostname\" is missing | Write the full name of this host at the top, such as hostname = \
         \"mail.example.com\"",
        "- \"data_dir\" is missing | Write the directory that mail is kept in, such as data_dir = \
         \"/var/lib/postrider\"",
        "1:1 unknown key \"hostnmae\" | Did you mean \"hostname\"?",
        "2:12 the value of \"data_dir\" can't be used | Write a text in quotes",
        "3:10 the value of \"shards\" can't be used | Write a whole number from 1 to 1024",
        "6:12 \"protocol\" can't be \"smpt\" | ",
        "8:20 the value of \"limits.connections_open\" can't be used | Write three numbers",
    ];
    let found = problems(text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        let found = found.replace("listener.protocol", "protocol");
        assert!(found.starts_with(expected), "{found:?} for {expected:?}");
    }
}

#[test]
fn what_is_not_toml_is_told_with_its_place() {
    let found = problems("hostname = \"a\"\ndata_dir = = 3\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("2:"), "{found:?}");
    // The library panics at these.
    let found = problems("=={b==ab,=1..\n.");
    assert!(found[0].starts_with("1:1 this is not TOML: this can't be read"), "{found:?}");
}

#[test]
fn an_error_is_shown_with_file_line_and_column() {
    let error = parse(&with("prot = 3\n")).unwrap_err();
    let expected = "/etc/postrider.toml:8:1: unknown key \"listener.prot\". Did you mean \"port\"?";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn listeners_that_want_the_same_port_are_refused() {
    let second = |address: &str| {
        with(&format!("[[listener]]\nname = \"b\"\nprotocol = \"imap\"\naddresses = [\"{address}\"]\n"))
    };
    let found = problems(&second("192.0.2.1:25"));
    assert_eq!(
        found,
        ["11:14 192.0.2.1:25 is already used by listener \"mx\" | Give one of them another address or port"]
    );
    parse(&second("192.0.2.1:26")).unwrap();
}

#[test]
fn names_of_listeners_are_valid_and_differ() {
    let found = problems(&with("[[listener]]\nname = \"mx\"\nprotocol = \"imap\"\n"));
    assert!(found[0].starts_with("9:8 there are two listeners named \"mx\""), "{found:?}");
    let found = problems(&with("[[listener]]\nname = \"a b\"\nprotocol = \"imap\"\n"));
    assert!(found[0].starts_with("9:8 \"a b\" can't name a listener"), "{found:?}");
    let found = problems(&with("[[listener]]\nname = \"b\"\n"));
    assert!(found[0].starts_with("8:1 listener \"b\" has no protocol"), "{found:?}");
}

#[test]
fn a_protocol_that_is_always_encrypted_takes_no_tls_setting() {
    let found = problems(&with("[[listener]]\nname = \"b\"\nprotocol = \"imaps\"\ntls = \"off\"\n"));
    assert!(found[0].starts_with("11:7 \"imaps\" is always encrypted"), "{found:?}");
}

#[test]
fn what_is_of_imap_alone_is_refused_elsewhere() {
    let imap = "[[listener]]\nname = \"i\"\nprotocol = \"imap\"\n";
    let imaps = "[[listener]]\nname = \"s\"\nprotocol = \"imaps\"\n";
    let smtp = "[[listener]]\nname = \"x\"\nprotocol = \"submissions\"\n";
    let config =
        parse(&with(&format!("{imaps}preauth = true\ndisabled_capabilities = [\"imap4rev2\"]\n"))).unwrap();
    let listener = config.listeners.iter().find(|listener| listener.name == "s").unwrap();
    assert_eq!(
        (listener.preauth, &listener.disabled_capabilities[..]),
        (Switch::On, &["IMAP4REV2".to_owned()][..])
    );
    for bad in [
        format!("{imap}preauth = true\n"),
        format!("{smtp}preauth = true\n"),
        format!("{smtp}disabled_capabilities = [\"IDLE\"]\n"),
        format!("{imap}disabled_capabilities = [\"ID LE\"]\n"),
        format!("{imap}disabled_capabilities = [\"\"]\n"),
    ] {
        assert_eq!(problems(&with(&bad)).len(), 1, "{bad}");
    }
}

#[test]
fn tls_needs_a_certificate() {
    let without = with("").replace("self_signed = true", "");
    assert!(problems(&without)[0].contains("there is no certificate"));
    parse(&format!("{without}tls = \"off\"\n")).unwrap();
    let both = with("[[tls.certificate]]\ncert_file = \"a\"\nkey_file = \"b\"\n");
    assert!(problems(&both)[0].contains("as well as \"self_signed\""));
    let half = without + "[[tls.certificate]]\ncert_file = \"a\"\n";
    assert!(problems(&half)[0].contains("a certificate or its key is missing"), "{:?}", problems(&half));
}

#[test]
fn files_that_are_named_must_be_readable() {
    let dir = tempfile::tempdir().unwrap();
    let cert = dir.path().join("cert.pem");
    std::fs::write(&cert, "x").unwrap();
    let file = dir.path().join("postrider.toml");
    let text = with("[[tls.certificate]]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n");
    std::fs::write(&file, text.replace("self_signed = true", "")).unwrap();
    let error = Config::load(&file).unwrap_err().to_string();
    assert!(error.contains(":10:12: can't read ") && error.contains("key.pem: No such file"), "{error}");
    std::fs::write(dir.path().join("key.pem"), "x").unwrap();
    let config = Config::load(&file).unwrap();
    assert_eq!(config.data_dir, dir.path().join("data"));
    let Certificates::Files(files) = config.tls.certificates else { panic!("certificates are files") };
    assert_eq!(files, [CertificateFiles { cert_file: cert, key_file: dir.path().join("key.pem") }]);
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let error = Config::load(Path::new("/nonexistent/postrider.toml")).unwrap_err().to_string();
    assert!(
        error.starts_with("/nonexistent/postrider.toml: can't read the configuration: No such file"),
        "{error}"
    );
    assert!(error.contains("postrider config example"), "{error}");
}

#[test]
fn a_file_at_the_limit_of_length_is_read_and_one_past_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("postrider.toml");
    let max = usize::try_from(FILE_OCTETS_MAX).unwrap();
    let padded = |length: usize| format!("{}#{}", with(""), "x".repeat(length - with("").len() - 1));
    std::fs::write(&file, padded(max)).unwrap();
    Config::load(&file).unwrap();
    std::fs::write(&file, padded(max + 1)).unwrap();
    assert!(Config::load(&file).unwrap_err().to_string().contains("longer than 1048576 bytes"));
}

#[test]
fn names_of_hosts_are_checked() {
    for valid in ["mail.example.com", "MX-1.example.com", "xn--bcher-kva.example", "localhost"] {
        assert_eq!(resolve::parse_host_name(valid).unwrap().as_str(), valid.to_ascii_lowercase());
    }
    assert_eq!(resolve::parse_host_name("Bücher.example").unwrap().as_str(), "xn--bcher-kva.example");
    let long = format!("{}.com", "a".repeat(64));
    for wrong in ["", ".", "a..b", "-a.com", "a-.com", "a_b.com", "192.0.2.1", "mail.example.com.", &long] {
        assert_eq!(resolve::parse_host_name(wrong), None, "{wrong}");
    }
    let found = problems(&with("").replace("mail.example.com", "mail"));
    assert!(found[0].starts_with("1:12 \"mail\" is not the full name of a host"), "{found:?}");
}

#[test]
fn limits_of_a_listener_begin_with_those_of_all() {
    let text = with(
        "[listener.limits.smtp]\nrecipients = 200\n[limits.smtp]\nrecipients = 100\nidle_time = \"1m\"\n",
    );
    let config = parse(&text).unwrap();
    let smtp = &config.listeners[0].limits.smtp;
    assert_eq!((smtp.recipients, smtp.idle), (200, Duration::from_secs(60)));
    assert_eq!(smtp.message_octets, 104_857_600);
}

#[test]
fn limits_are_taken_at_their_bounds_and_not_past_them() {
    let limit = |table: &str, value: &str| parse(&with(&format!("[limits{table}]\n{value}\n")));
    for (table, valid, invalid) in [
        (".smtp", "recipients = 100", "recipients = 99"),
        (".smtp", "line_length = 512", "line_length = 511"),
        (".smtp", "message_size = \"4 GiB\"", "message_size = 4294967297"),
        (".imap", "authenticated_idle_time = \"30m\"", "authenticated_idle_time = \"1799s\""),
        (".imap", "literal_size = \"1 MiB\"", "literal_size = 1048577"),
        ("", "connections_open = [1, 1, 1]", "connections_open = [0, 1, 1]"),
    ] {
        assert!(limit(table, valid).is_ok(), "{valid}");
        // The relation of literals to commands matters to listeners for IMAP.
        let imap = "[[listener]]\nname = \"i\"\nprotocol = \"imap\"\n";
        assert!(parse(&with(&format!("{imap}[limits{table}]\n{invalid}\n"))).is_err(), "{invalid}");
    }
}

#[test]
fn the_journal_has_room_for_the_memtables() {
    let storage =
        |journal: u32| with(&format!("[storage]\njournal = \"{journal} MiB\"\nrows_memtable = \"32 MiB\"\n"));
    parse(&storage(80)).unwrap();
    let found = problems(&storage(79));
    assert!(found[0].starts_with("9:11 storage: \"journal\" is less than twice"), "{found:?}");
}

#[test]
fn mailboxes_of_new_accounts_are_those_that_are_named() {
    let config = parse(&with(
        "[accounts]\nquota = \"1 GiB\"\n[accounts.mailboxes]\nsent = \"Gesendet\"\nregular = [\"Todo\"]\n",
    ));
    let accounts = config.unwrap().accounts;
    assert_eq!(accounts.quota_octets, Some(1 << 30));
    let names: Vec<_> = accounts.mailboxes.iter().map(|m| (m.name.as_str(), m.special_use)).collect();
    assert_eq!(names, [("Gesendet", Some(SpecialUse::Sent)), ("Todo", None)]);
    for wrong in ["regular = [\"a\", \"a\"]", "sent = \"inbox\"", "regular = [\"a//b\"]"] {
        assert_eq!(problems(&with(&format!("[accounts.mailboxes]\n{wrong}\n"))).len(), 1, "{wrong}");
    }
}

#[test]
fn default_mailboxes_are_all_valid() {
    let names: Vec<_> =
        AccountDefaults::default().mailboxes.into_iter().map(|mailbox| mailbox.name).collect();
    assert_eq!(
        names,
        ["Sent", "Archive", "Trash", "Drafts", "Junk"].map(|name| MailboxName::new(name).unwrap())
    );
}

#[test]
fn levels_of_modules_are_read() {
    let config =
        parse(&with("[log]\nlevel = \"warn\"\nformat = \"json\"\n[log.modules]\nsmtp = \"debug\"\n"))
            .unwrap();
    let modules: Vec<_> = config.log.levels.modules().collect();
    assert_eq!(modules, [("smtp", crate::log::Level::Debug)]);
    let found = problems(&with("[log.modules]\nsmpt = \"debug\"\nimap = \"loud\"\n"));
    assert!(
        found[0].starts_with("9:1 there is no module \"smpt\"")
            && found[0].ends_with("Did you mean \"smtp\"?")
    );
    assert!(found[1].starts_with("10:8 there is no log level \"loud\""), "{found:?}");
}

#[test]
fn users_are_names_or_numbers() {
    let user = |text: &str| parse(&format!("user = \"{text}\"\n{}", with("")));
    assert_eq!(user("mail").unwrap().user, Some(RunAs::Name("mail".to_owned())));
    assert_eq!(user("8:12").unwrap().user, Some(RunAs::Ids { uid: 8, gid: 12 }));
    assert!(user("8:x").is_err() && user("").is_err());
}

#[test]
fn checks_are_those_of_all_listeners_with_the_changes_of_one() {
    let config = parse(&with(
        "[listener.checks]\nblocklists = [\"BL.example\"]\nspf_fail = \"defer\"\n\
         [checks]\ndmarc = \"accept\"\nblocklists = [\"other.example\"]\nhelo_name = false\n",
    ))
    .unwrap();
    let checks = &config.listeners[0].checks;
    assert_eq!((checks.dmarc, checks.spf_fail), (Consequence::Accept, Consequence::Defer));
    assert_eq!((checks.helo_name, checks.sender_domain), (Switch::Off, Switch::On));
    assert_eq!(checks.blocklists.iter().map(ToString::to_string).collect::<Vec<_>>(), ["bl.example"]);
    let found = problems(&with("[checks]\nblocklists = [\"a b\"]\ndmarc = \"refuse\"\ntime = \"3h\"\n"));
    assert_eq!(found.len(), 3, "{found:?}");
    let found = problems(&with("[[listener]]\nname = \"s\"\nprotocol = \"submission\"\n[listener.checks]\n"));
    assert_eq!(found.len(), 1, "{found:?}");
}

/// The delay of first-time senders was documented as 15 seconds elsewhere, and was none.
#[test]
fn the_documented_delay_of_first_time_senders_is_the_one_that_is_used() {
    let line = EXAMPLE.lines().find_map(|line| line.strip_prefix("# first_time_sender_delay = ")).unwrap();
    let documented = parse_duration(line.trim_matches('"')).unwrap();
    assert_eq!(documented, Duration::from_secs(15));
    assert_eq!(parse(&with("")).unwrap().listeners[0].limits.smtp.first_time_sender_delay, documented);
}

#[test]
fn networks_are_prefixes() {
    let contains = |network: &str, ip: &str| Network::parse(network).unwrap().contains(ip.parse().unwrap());
    assert!(contains("192.0.2.0/24", "192.0.2.255") && !contains("192.0.2.0/24", "192.0.3.0"));
    assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.6"));
    assert!(contains("2001:db8::/32", "2001:db8:ffff::1") && !contains("2001:db8::/32", "2001:db9::"));
    assert!(contains("0.0.0.0/0", "1.2.3.4") && !contains("0.0.0.0/0", "::1"));
    assert!(contains("192.0.2.0/24", "::ffff:192.0.2.1"), "an IPv4 peer on an IPv6 socket");
    for wrong in ["192.0.2.1/24", "192.0.2.0/33", "x", "2001:db8::/129", ""] {
        assert_eq!(Network::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn localserve_listens_on_loopback_only() {
    let config = Config::localserve(Path::new("/tmp/x"));
    assert_eq!(config.control_socket, Path::new("/tmp/x/data/ctl"));
    let mut ports = Vec::new();
    for listener in &config.listeners {
        assert!(listener.addresses.iter().all(|address| address.ip().is_loopback()));
        assert_eq!(listener.addresses.len(), 2);
        ports.push(listener.addresses[0].port());
        assert_eq!(listener.limits.smtp.first_time_sender_delay, Duration::ZERO);
    }
    assert_eq!(ports, [1025, 1587, 1465, 1143, 1993, 1081]);
    assert!(config.unlimited.iter().any(|network| network.contains("::1".parse().unwrap())));
    assert_eq!(config.mode, Mode::Local);
}

#[test]
fn resolvers_are_read_and_checked() {
    let dns = |text: &str| parse(&with(&format!("[dns]\n{text}"))).unwrap().dns.unwrap();
    let default = dns("");
    assert_eq!(default, Dns::default());
    assert_eq!(default.upstreams, DnsUpstreams::System("/etc/resolv.conf".into()));
    let listed = dns(
        "upstreams = [\"192.0.2.1:5353\", \"tls://192.0.2.2#dns.example\"]\ntrusted = [\"192.0.2.0/24\"]",
    );
    let DnsUpstreams::Listed(list) = &listed.upstreams else { panic!("{listed:?}") };
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    assert_eq!(list, ["192.0.2.1:5353", "tls://192.0.2.2:853#dns.example"]);
    assert_eq!(dns("resolv_conf = \"r\"").upstreams, DnsUpstreams::System("/etc/r".into()));

    let wrong = |text: &str| problems(&with(&format!("[dns]\n{text}"))).join("\n");
    assert!(wrong("upstreams = [\"dns.example\"]").contains("\"dns.example\" is not an upstream"));
    assert!(wrong("upstreams = []").contains("\"upstreams\" is empty"));
    assert!(wrong("upstreams = [\"::1\"]\nresolv_conf = \"r\"").contains("as well as"));
    assert!(wrong("trusted = [\"x\"]").contains("is not a network"));
    assert!(wrong("mode = \"hope\"").contains("can't be \"hope\""));
    let many = vec!["\"192.0.2.1\""; 17].join(", ");
    assert!(wrong(&format!("upstreams = [{many}]")).contains("over 16 upstreams"));
    let most = vec!["\"192.0.2.1\""; 16].join(", ");
    assert!(parse(&with(&format!("[dns]\nupstreams = [{most}]"))).is_ok());
}

const TRANSPORTS: &str = "
[[transport]]
name = \"relay\"
kind = \"submissions\"
host = \"smtp.example.net\"
username = \"me\"
password = \"secret\"
[[transport]]
name = \"proxy\"
kind = \"socks\"
address = \"127.0.0.1:1080\"
hostname = \"out.example.com\"
[[transport]]
name = \"closed\"
kind = \"fail\"
code = 451
message = \"not today\"
[[route]]
from = [\".\"]
to = [\".example.org\", \"example.net\"]
minimum_attempts = 3
transport = \"relay\"
";

#[test]
fn transports_and_routes_are_read() {
    use postrider_delivery::transport::{RelayTls, Transport};
    let config = parse(&with(TRANSPORTS)).unwrap();
    let delivery = &config.delivery;
    assert_eq!(
        delivery.transports.keys().map(|name| &**name).collect::<Vec<_>>(),
        ["closed", "proxy", "relay"]
    );
    let Some(Transport::Submissions(relay)) = delivery.transports.get("relay") else {
        panic!("{delivery:?}")
    };
    assert_eq!((relay.port, relay.tls), (None, RelayTls::Verified));
    assert_eq!(&**relay.auth.as_ref().unwrap().password.expose(), "secret");
    assert!(!format!("{delivery:?}").contains("\"secret"), "passwords are not shown");
    let Some(Transport::Fail(refusal)) = delivery.transports.get("closed") else { panic!("{delivery:?}") };
    assert_eq!((refusal.code(), refusal.message()), (451, "not today"));
    let [route] = &delivery.routes[..] else { panic!("{delivery:?}") };
    assert_eq!((route.from_domains.len(), route.to_domains.len(), route.minimum_attempts), (1, 2, 3));
}

#[test]
fn wrong_transports_and_routes_are_told() {
    for (text, expected) in [
        ("[[transport]]\nkind = \"direct\"", "a transport has no name"),
        ("[[transport]]\nname = \"x\"", "has no kind"),
        ("[[transport]]\nname = \"x\"\nkind = \"smpt\"", "can't be"),
        ("[[transport]]\nname = \"x\"\nkind = \"smtp\"", "has no host"),
        (
            "[[transport]]\nname = \"x\"\nkind = \"smtp\"\nhost = \"a.example\"\ncode = 550",
            "code means nothing",
        ),
        (
            "[[transport]]\nname = \"x\"\nkind = \"smtp\"\nhost = \"a.example\"\nusername = \"u\"",
            "no password",
        ),
        (
            "[[transport]]\nname = \"x\"\nkind = \"smtp\"\nhost = \"a.example\"\npassword = \"p\"",
            "no username",
        ),
        (
            "[[transport]]\nname = \"x\"\nkind = \"smtp\"\nhost = \"a.example\"\nusername = \"u\"\npassword = \"p\"\n\
             mechanisms = [\"EXTERNAL\"]",
            "no mechanism that is used with relays",
        ),
        (
            "[[transport]]\nname = \"x\"\nkind = \"smtp\"\nhost = \"a.example\"\nusername = \"u\"\npassword = \"p\"\n\
             mechanisms = [\"PLAIN\"]\ntls = \"unverified\"",
            "PLAIN is for servers",
        ),
        (
            "[[transport]]\nname = \"x\"\nkind = \"smtp\"\nhost = \"a.example\"\nmechanisms = [\"PLAIN\"]",
            "a mechanism and no username",
        ),
        ("[[transport]]\nname = \"x\"\nkind = \"fail\"\ncode = 599", "400 to 459"),
        (
            "[[transport]]\nname = \"x\"\nkind = \"submissions\"\nhost = \"a.example\"\ntls = \"off\"",
            "TLS from the start",
        ),
        (
            "[[transport]]\nname = \"x\"\nkind = \"socks\"\naddress = \"localhost\"\nhostname = \"a.example\"",
            "not an address",
        ),
        ("[[transport]]\nname = \"x\"\nkind = \"fail\"\nmessage = \"\"", "printable"),
        (
            "[[transport]]\nname = \"x\"\nkind = \"direct\"\nipv4 = false\nipv6 = false",
            "nothing can be connected to",
        ),
        ("[[route]]\nto = [\"example.org\"]", "has no transport"),
        ("[[route]]\ntransport = \"relay\"", "there is no transport"),
        ("[delivery]\nfirst_retry = \"1h\"\nlongest_retry = \"1m\"", "the longest no shorter"),
        ("[delivery]\nlocal_addresses = [\"192.0.2.1\", \"192.0.2.2\"]", "two local addresses"),
    ] {
        let found = problems(&with(text));
        assert!(found.iter().any(|problem| problem.contains(expected)), "{text}: {found:?}");
    }
}

#[test]
fn connections_from_an_address_are_as_many_as_all_unless_said() {
    for (text, expected) in [
        ("", (200, 200)),
        ("connections = 7", (7, 7)),
        ("connections = 7\nconnections_from_an_address = 3", (7, 3)),
    ] {
        let delivery = parse(&with(&format!("[delivery]\n{text}"))).unwrap().delivery;
        assert_eq!((delivery.sessions_max, delivery.source_sessions_max), expected, "{text}");
    }
}

#[test]
fn the_time_of_a_stop_is_taken_at_its_bounds_and_not_past_them() {
    let delivery = |text: &str| parse(&with(&format!("[delivery]\nstop_time = {text}\n")));
    for (text, milliseconds) in
        [("\"0s\"", 0), ("\"1ms\"", 1), ("\"25s\"", 25_000), ("\"1m\"", 60_000), ("\"60s\"", 60_000)]
    {
        let stop_time = delivery(text).unwrap().delivery.stop_time;
        assert_eq!(stop_time.as_millis(), milliseconds, "{text}");
    }
    assert_eq!(parse(&with("")).unwrap().delivery.stop_time.as_secs(), 25, "as documented");
    for text in ["\"60001ms\"", "\"61s\"", "\"1h\"", "\"-1s\"", "\"\"", "25"] {
        let found = problems(&with(&format!("[delivery]\nstop_time = {text}\n")));
        let expected = "Write a time from 0s to 1m";
        assert!(
            matches!(&found[..], [one] if one.contains("stop_time") && one.contains(expected)),
            "{text}: {found:?}"
        );
    }
}
