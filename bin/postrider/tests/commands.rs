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

/// The program under another name, with a home directory of its own.
fn run_as(name: &str, arguments: &[&str], home: &std::path::Path, input: &str) -> Output {
    let program = home.join(name);
    if !program.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_postrider"), &program).unwrap();
    }
    let mut command = Command::new(&program);
    command.args(arguments).env("HOME", home).env_remove("POSTRIDER_SENDMAIL_CONFIG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
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
    for command in
        [&["stop"][..], &["account", "list"], &["directory", "export"], &["loglevels"], &["queue", "list"]]
    {
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
fn nothing_is_done_to_the_whole_queue_by_mistake() {
    for (command, said) in [
        (&["queue", "drop"][..], "write --all"),
        (&["queue", "fail", "--reason", "x"], "write --all"),
        (&["queue", "hold", "--all", "--from", "a@"], "--all is for all entries"),
        (&["queue", "hold-rules", "add", "--comment", "x"], "--all"),
        (&["queue", "hold", "--held", "--not-held"], "nothing is held and not held"),
        (&["queue", "schedule", "--at", "soon", "--all"], "is no time"),
    ] {
        let failed = run(&[&["--socket", "/nonexistent/ctl"], command].concat(), "");
        assert_eq!(failed.status.code(), Some(1), "{command:?}");
        assert!(text(&failed.stderr).contains(said), "{command:?}: {}", text(&failed.stderr));
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

/// A DNS server that gives a record with these octets for every name of each type, nothing for other types, and says
/// that all is authentic.
fn dns_server(records: Vec<(u16, Vec<u8>)>) -> std::net::SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let end = 12 + buffer[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
            let found = records.iter().find(|(kind, _)| buffer[end - 4..end - 2] == kind.to_be_bytes());
            let mut response = buffer[..end].to_vec();
            response[2] |= 0x80;
            response[3] = 0xa0;
            response[6..12].copy_from_slice(&[0, u8::from(found.is_some()), 0, 0, 0, 0]);
            if let Some((kind, data)) = found {
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
    let resolver = dns_server(vec![(15, b"\x00\x0a\x02mx\xc0\x0c".to_vec())]).to_string();
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
    let tlsa = [&[1, 1, 1][..], &[7; 32]].concat();
    let resolver = dns_server(vec![(52, tlsa)]).to_string();
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
    // It takes datagrams of one peer alone, so the system refuses those of others. Closed, its port could be another's soon.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect("127.0.0.1:9").unwrap();
    let closed = socket.local_addr().unwrap().to_string();
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

/// A mail server with STARTTLS that shows a certificate of its own; its TLSA record in octets, and its port.
fn mail_server() -> (Vec<u8>, u16) {
    use std::io::{BufRead as _, BufReader};
    use std::sync::Arc;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let tlsa = [&[3, 0, 0][..], certificate.der()].concat();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
    let (config, listener) = (Arc::new(config), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut reader = BufReader::with_capacity(1, stream.try_clone().unwrap());
            for reply in ["220 mx.example\r\n", "250-mx.example\r\n250 STARTTLS\r\n", "220 go\r\n"] {
                stream.write_all(reply.as_bytes()).unwrap();
                if reply.ends_with("go\r\n") {
                    break;
                }
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
            }
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut secured = rustls::StreamOwned::new(session, stream);
            let _ = std::io::Read::read_to_end(&mut secured, &mut Vec::new());
        }
    });
    (tlsa, port)
}

#[test]
fn a_host_is_dialled_and_its_certificate_is_judged() {
    let (tlsa, port) = mail_server();
    let port = port.to_string();
    let address = vec![127, 0, 0, 1];
    // The record has to fit the server of this test, which writes one octet of length.
    let digest = |octets: &[u8]| {
        let looked = ring::digest::digest(&ring::digest::SHA256, octets);
        [&[3, 0, 1][..], looked.as_ref()].concat()
    };
    for (record, result) in [(digest(&tlsa[3..]), "authenticated"), (digest(b"another"), "mismatch")] {
        let resolver = dns_server(vec![(1, address.clone()), (52, record)]).to_string();
        let dialled =
            run(&["dane", "dial", "--resolver", &resolver, "--port", &port, "--json", "mx.example"], "");
        assert_eq!(dialled.status.code(), Some(0), "{}", text(&dialled.stderr));
        let json: serde_json::Value = serde_json::from_slice(&dialled.stdout).unwrap();
        assert_eq!((&json["result"], &json["tls_version"]), (&result.into(), &"TLSv1_3".into()), "{json}");
        assert_eq!(json["certificates"], 1);
    }
    let resolver = dns_server(vec![(1, address)]).to_string();
    let dialled = run(&["dane", "dial", "--resolver", &resolver, "--port", &port, "mx.example"], "");
    assert_eq!(dialled.status.code(), Some(1));
    assert!(text(&dialled.stderr).contains("there are no TLSA records"), "{}", text(&dialled.stderr));
}

#[test]
fn a_message_is_kept_when_the_configuration_of_sendmail_makes_no_sense() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("sendmail.toml");
    std::fs::write(&config, "hots = \"x\"\n").unwrap();
    let words =
        ["--config", config.to_str().unwrap(), "-i", "-f", "anna@x.example", "--", "bob@x.example, root"];
    let failed = run_as("sendmail", &words, home.path(), "Subject: x\nBcc: d@x.example\n\n.\nbody\n");
    assert_eq!(failed.status.code(), Some(78));
    let said = text(&failed.stderr);
    assert!(said.contains("sendmail.toml:1: there is no key \"hots\". It is kept in "), "{said}");
    let mut kept = home.path().join("postrider-sendmail.failures").read_dir().unwrap();
    let file = kept.next().unwrap().unwrap().path();
    assert!(said.contains(file.to_str().unwrap()) && kept.next().is_none(), "{said}");
    let kept = std::fs::read_to_string(file).unwrap();
    assert!(kept.contains("\r\nPostrider-Failed-Sender: anna@x.example\r\n"), "{kept}");
    assert!(kept.contains("\r\nPostrider-Failed-Recipient: bob@x.example, root\r\n"), "{kept}");
    assert!(kept.ends_with("\r\nSubject: x\r\nBcc: d@x.example\r\n\r\n.\r\nbody\r\n"), "{kept}");
}

#[test]
fn sendmail_has_its_usual_other_names() {
    let home = tempfile::tempdir().unwrap();
    let queue = run_as("mailq", &[], home.path(), "");
    assert_eq!((queue.status.code(), queue.stderr.is_empty()), (Some(0), true));
    assert!(text(&queue.stdout).starts_with("Mail queue is empty"), "{}", text(&queue.stdout));
    let aliases = run_as("newaliases", &[], home.path(), "");
    assert_eq!((aliases.status.code(), aliases.stdout.len(), aliases.stderr.len()), (Some(0), 0, 0));
}
