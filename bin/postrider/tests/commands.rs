//! The program as it is started: exit codes, and what goes to which stream.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that has no use for its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_is_a_result_and_wrong_usage_is_none() {
    let help = run(&["account", "--help"], "");
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("set-password") && help.stderr.is_empty());
    let wrong = run(&["acount"], "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty() && text(&wrong.stderr).contains("acount"));
}

#[test]
fn the_example_of_the_configuration_passes_once_its_files_are_there() {
    let example = run(&["config", "example"], "");
    assert_eq!(example.status.code(), Some(0));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("postrider.toml");
    std::fs::write(&file, &example.stdout).unwrap();
    let tested = run(&["config", "test", file.to_str().unwrap()], "");
    assert_eq!(tested.status.code(), Some(1));
    let said = text(&tested.stderr);
    assert!(said.starts_with(&format!("postrider: {}:", file.display())), "{said}");
    assert!(said.contains("can't read /etc/postrider/mail.example.com.crt"), "{said}");
    let own = text(&example.stdout).replace("/etc/postrider/", "");
    std::fs::write(&file, own).unwrap();
    for name in ["mail.example.com.crt", "mail.example.com.key"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let tested = run(&["config", "test", file.to_str().unwrap()], "");
    assert_eq!(tested.status.code(), Some(0), "{}", text(&tested.stderr));
    assert!(
        text(&tested.stdout).contains("imaps (imaps) on 0.0.0.0:993 and [::]:993"),
        "{}",
        text(&tested.stdout)
    );
}

#[test]
fn a_server_that_does_not_run_is_a_failure_in_plain_words() {
    for command in [&["stop"][..], &["account", "list"], &["directory", "export"], &["loglevels"]] {
        let failed = run(&[&["--socket", "/nonexistent/ctl"], command].concat(), "");
        assert_eq!(failed.status.code(), Some(1), "{command:?}");
        let said = text(&failed.stderr);
        let expected =
            "postrider: no server listens on the control socket /nonexistent/ctl: No such file or directory";
        assert!(said.starts_with(expected), "{command:?}: {said}");
        assert!(!said.contains('\x1b'), "colours where no terminal is: {said}");
    }
}

#[test]
fn an_argument_that_is_not_text_is_wrong_usage() {
    use std::os::unix::ffi::OsStrExt as _;
    let word = std::ffi::OsStr::from_bytes(b"\xff");
    let failed = Command::new(env!("CARGO_BIN_EXE_postrider")).arg(word).output().unwrap();
    assert_eq!(failed.status.code(), Some(2));
    assert!(text(&failed.stderr).contains("is not UTF-8"));
}

/// A DNS server that gives the octets of `answer` (type, then RDATA) for every name of that type, nothing for other
/// types, and whether it says that they are authentic.
fn dns_server(kind: u16, data: &'static [u8], authentic: bool) -> std::net::SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let end = 12 + buffer[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
            let found = buffer[end - 4..end - 2] == kind.to_be_bytes();
            let mut response = buffer[..end].to_vec();
            response[2] |= 0x80;
            response[3] = if authentic { 0xa0 } else { 0x80 };
            response[6..12].copy_from_slice(&[0, u8::from(found), 0, 0, 0, 0]);
            if found {
                response.extend([0xc0, 12]);
                response.extend(kind.to_be_bytes());
                response.extend([0, 1, 0, 0, 1, 44, 0, u8::try_from(data.len()).unwrap()]);
                response.extend(data);
            }
            socket.send_to(&response, peer).unwrap();
        }
    });
    address
}

#[test]
fn dns_is_asked_and_shown_as_text_and_as_json() {
    let resolver = dns_server(15, b"\x00\x0a\x02mx\xc0\x0c", true).to_string();
    let arguments = ["dns", "lookup", "--resolver", &resolver, "--json", "MX", "bücher.example"];
    let looked = run(&arguments, "");
    assert_eq!(looked.status.code(), Some(0), "{}", text(&looked.stderr));
    let json: serde_json::Value = serde_json::from_slice(&looked.stdout).unwrap();
    assert_eq!(json["name"], "xn--bcher-kva.example.");
    assert_eq!((&json["rcode"], &json["status"]), (&"NOERROR".into(), &"secure".into()));
    assert_eq!(json["records"][0]["data"], "10 mx.xn--bcher-kva.example.");
    assert_eq!(json["extended_errors"], serde_json::json!([]));

    let looked = run(&["dns", "lookup", "--resolver", &resolver, "mx", "example"], "");
    assert_eq!(text(&looked.stdout), "example.\t300\tMX\t10 mx.example.\nStatus: secure\n");
    let looked = run(&["dns", "lookup", "--resolver", &resolver, "TXT", "example"], "");
    assert!(text(&looked.stdout).starts_with("example. has no TXT records. "), "{}", text(&looked.stdout));

    // Validated, the same answer is worth nothing: it has no signatures.
    let validated =
        ["dns", "lookup", "--resolver", &resolver, "--mode", "validate", "--json", "MX", "example"];
    let looked = run(&validated, "");
    assert_eq!(looked.status.code(), Some(0), "{}", text(&looked.stderr));
    let json: serde_json::Value = serde_json::from_slice(&looked.stdout).unwrap();
    assert_eq!((&json["outcome"], &json["records"]), (&"failed".into(), &serde_json::json!([])));
    let explained = run(&["dnssec", "explain", "--resolver", &resolver, "example", "MX"], "");
    assert_eq!(explained.status.code(), Some(0));
    assert!(text(&explained.stdout).contains("Outcome: "), "{}", text(&explained.stdout));
}

#[test]
fn records_of_dane_are_shown_with_their_use() {
    let tlsa = b"\x01\x01\x01\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f";
    let resolver = dns_server(52, tlsa, true).to_string();
    let looked = run(&["dane", "lookup", "--resolver", &resolver, "--json", "mx.example"], "");
    assert_eq!(looked.status.code(), Some(0), "{}", text(&looked.stderr));
    let json: serde_json::Value = serde_json::from_slice(&looked.stdout).unwrap();
    assert_eq!((&json["applies"], &json["name"]), (&"no-addresses".into(), &"_25._tcp.mx.example.".into()));
    let record = &json["records"][0];
    assert_eq!((&record["usage"], &record["usable"]), (&1.into(), &false.into()));
    assert!(record["why"].as_str().unwrap().contains("public authorities"), "{record}");
    let shown = run(&["dane", "lookup", "--resolver", &resolver, "mx.example"], "");
    assert!(text(&shown.stdout).contains("PKIX-EE(1) SPKI(1) SHA2-256(1)"), "{}", text(&shown.stdout));
}

#[test]
fn where_nobody_answers_the_command_fails_and_wrong_calls_are_told() {
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let failed = run(&["dns", "lookup", "--resolver", &closed, "--json", "A", "example"], "");
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed.stderr));
    let json: serde_json::Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(json["rcode"], "SERVFAIL");
    for wrong in [
        ["dns", "lookup", "NIX", "example"],
        ["dns", "lookup", "ANY", "example"],
        ["dns", "lookup", "A", "a..b"],
        ["dns", "lookup", "--resolver", "nowhere"],
        ["dns", "lookup", "--mode", "hope"],
    ] {
        assert_eq!(run(&wrong, "").status.code(), Some(2), "{wrong:?}");
    }
}
