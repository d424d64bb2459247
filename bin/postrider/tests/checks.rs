//! The commands that ask DNS, against a server on loopback that answers from a script.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Output};
use std::thread;

use hickory_proto::op::{Message, ResponseCode};
use postrider_dns::Outcome;
use postrider_dns::script::Script;
use serde_json::{Value, json};

const ZONES: &str = r#"
a.example.  TXT "v=spf1 ip4:192.0.2.0/24 a:b.example -all exp=why.a.example x=y"
why.a.example. TXT "%{i} is not ours"
b.example.  A   198.51.100.1
two.example. TXT "v=spf1 -all"
two.example. TXT "v=spf1 +all"
$SERVFAIL broken.example.
_dmarc.a.example. TXT "v=DMARC1; p=reject; sp=quarantine; pct=x"
www.a.example. A 192.0.2.1
1.2.0.192.in-addr.arpa. PTR mx.a.example.
mx.a.example. A 192.0.2.1
2.0.0.127.list.example. A 127.0.0.2
9.2.0.192.list.example. A 127.0.0.3
9.2.0.192.list.example. TXT "spam"
"#;

/// Starts the server; it lives as long as the test's process.
fn serve() -> SocketAddr {
    serve_zones(ZONES.to_owned())
}

/// The same with other zones.
fn serve_zones(zones: String) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let script = Script::parse(&zones).unwrap();
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
            let query = message.queries[0].clone();
            let answer = script.answer(query.name(), query.query_type());
            message.metadata.recursion_available = true;
            // The question has the bit, too: who asks wants to be told.
            message.metadata.authentic_data = false;
            message.metadata.response_code = match answer.outcome {
                Outcome::Found | Outcome::NoData => ResponseCode::NoError,
                Outcome::NoName => ResponseCode::NXDomain,
                Outcome::Failed => ResponseCode::ServFail,
            };
            message.answers = answer.records;
            socket.send_to(&message.to_vec().unwrap(), from).unwrap();
        }
    });
    address
}

fn run(words: &[&str], resolver: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(&words[..2]).args(["--resolver", resolver]).args(&words[2..]);
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).output().unwrap()
}

fn json_of(words: &[&str], resolver: &str) -> Value {
    let output = run(&[words, &["--json"]].concat(), resolver);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn spf_is_checked_and_looked_up() {
    let resolver = serve().to_string();
    let check = |ip: &str, mail_from: &str| {
        json_of(&["spf", "check", "--ip", ip, "--helo", "mx.a.example", "--mail-from", mail_from], &resolver)
    };
    let passed = check("192.0.2.7", "user@a.example");
    let members =
        |value: &Value, names: &[&str]| names.iter().map(|name| value[*name].clone()).collect::<Value>();
    let shown = ["result", "mechanism", "identity", "domain", "explanation", "authentic", "lookups"];
    let expected = json!(["pass", "ip4:192.0.2.0/24", "mailfrom", "a.example", null, false, 0]);
    assert_eq!(members(&passed, &shown), expected);
    let failed = check("203.0.113.1", "user@a.example");
    let expected = json!(["fail", "-all", "mailfrom", "a.example", "203.0.113.1 is not ours", false, 1]);
    assert_eq!(members(&failed, &shown), expected);
    assert_eq!(failed["status"], "insecure");
    assert_eq!(check("192.0.2.7", "user@two.example")["result"], "permerror");
    assert_eq!(check("192.0.2.7", "user@broken.example")["result"], "temperror");
    assert_eq!(check("192.0.2.7", "")["identity"], "helo");
    let record = json_of(&["spf", "lookup", "a.example"], &resolver);
    assert_eq!(
        record["directives"][1],
        json!({"result": "pass", "mechanism": "a:b.example", "asks_dns": true})
    );
    assert_eq!(
        members(&record, &["redirect", "exp", "unknown_modifiers"]),
        json!([null, "why.a.example", ["x=y"]])
    );
    let two = json_of(&["spf", "lookup", "two.example"], &resolver);
    assert_eq!((two["records"].as_array().unwrap().len(), &two["record"]), (2, &Value::Null));
    assert_eq!(run(&["spf", "lookup", "broken.example", "--json"], &resolver).status.code(), Some(1));
}

#[test]
fn policies_names_and_lists_are_looked_up() {
    let resolver = serve().to_string();
    let policy = json_of(&["dmarc", "lookup", "www.a.example"], &resolver);
    assert_eq!(policy["policy"], "quarantine");
    assert_eq!(
        (&policy["record_domain"], &policy["source"]),
        (&json!("a.example"), &json!("organizational"))
    );
    assert_eq!(policy["faults"], json!(["tag \"pct\": not a value of this tag"]));
    assert_eq!(json_of(&["dmarc", "lookup", "b.example"], &resolver)["policy"], Value::Null);
    assert_eq!(run(&["dmarc", "lookup", "not a domain"], &resolver).status.code(), Some(1));
    let name = json_of(&["iprev", "check", "192.0.2.1"], &resolver);
    assert_eq!((&name["result"], &name["name"]), (&json!("pass"), &json!("mx.a.example")));
    assert_eq!(json_of(&["iprev", "check", "192.0.2.2"], &resolver)["result"], "permerror");
    let listed = json_of(&["dnsbl", "check", "list.example", "192.0.2.9"], &resolver);
    let expected = json!(["listed", ["127.0.0.3"], "spam", true]);
    assert_eq!(json!([listed["result"], listed["codes"], listed["reason"], listed["healthy"]]), expected);
    let other = json_of(&["dnsbl", "check", "b.example", "192.0.2.9"], &resolver);
    assert_eq!(json!([other["result"], other["healthy"]]), json!(["notlisted", false]));
}

#[test]
fn results_are_lines_for_people_and_records_are_read_without_dns() {
    let resolver = serve().to_string();
    let output = run(&["iprev", "check", "192.0.2.1"], &resolver);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("result: pass\n") && text.contains("names: mx.a.example\n"), "{text}");
    assert!(output.stderr.is_empty());
    let parse = |record: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
        command.args(["spf", "parse", "--json", record]).output().unwrap()
    };
    let parsed: Value = serde_json::from_slice(&parse("v=spf1 MX -all").stdout).unwrap();
    assert_eq!(json!([parsed["valid"], parsed["record"]]), json!([true, "v=spf1 mx -all"]));
    let broken: Value = serde_json::from_slice(&parse("v=spf1 mxx").stdout).unwrap();
    assert_eq!(broken["valid"], false);
    assert!(broken["problem"].as_str().unwrap().contains("mxx"));
    assert_eq!(parse("v=spf2").status.code(), Some(1));
}

/// Runs a command that asks nobody, with input.
fn run_alone(words: &[&str], input: &[u8]) -> Output {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn keys_are_made_and_messages_are_signed_and_verified() {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let mut zone = String::from("$TTL 60\n");
    for (kind, selector) in [("ed25519", "ed"), ("rsa", "rs")] {
        let made = run_alone(&["dkim", "gen", kind], b"");
        assert_eq!(made.status.code(), Some(0), "{made:?}");
        std::fs::write(file(kind), &made.stdout).unwrap();
        let told = ["dkim", "txt", "--selector", selector, "--domain", "a.example", &file(kind)];
        let line = run_alone(&told, b"").stdout;
        zone.push_str(&String::from_utf8(line).unwrap().replace(['(', ')', '\n'], " "));
        zone.push('\n');
    }
    let resolver = serve_zones(zone).to_string();
    let (first, second) = (format!("ed={}", file("ed25519")), format!("rs={}", file("rsa")));
    let signing =
        ["dkim", "sign", "--domain", "a.example", "--key", &first, "--key", &second, "--lifetime", "600"];
    let signed = run_alone(&signing, b"From: joe@a.example\nSubject: x\n\nHi.\n").stdout;
    std::fs::write(file("message"), &signed).unwrap();

    let results = json_of(&["dkim", "verify", &file("message")], &resolver);
    let members = |value: &Value| {
        let names =
            ["result", "reason", "domain", "selector", "algorithm", "key_bits", "authentic", "status"];
        names.iter().map(|name| value[*name].clone()).collect::<Value>()
    };
    let expected = json!(["pass", null, "a.example", "ed", "ed25519-sha256", 256, false, "insecure"]);
    assert_eq!(members(&results[0]), expected);
    let expected = json!(["pass", null, "a.example", "rs", "rsa-sha256", 2048, false, "insecure"]);
    assert_eq!(members(&results[1]), expected);
    assert_eq!(results.as_array().unwrap().len(), 2);
    let later = run(&["dkim", "verify", "--time", "9999999999", &file("message")], &resolver);
    assert_eq!(String::from_utf8_lossy(&later.stdout).matches("permerror").count(), 2, "{later:?}");

    let looked = json_of(&["dkim", "lookup", "ed", "a.example"], &resolver);
    assert_eq!(
        (&looked["name"], &looked["records"][0]["usable"]),
        (&json!("ed._domainkey.a.example"), &json!(true))
    );
    let looked = json_of(&["dkim", "lookup", "nobody", "a.example"], &resolver);
    assert_eq!((&looked["reason"], &looked["records"]), (&json!("there is no key"), &json!([])));

    let arc = json_of(&["arc", "verify", &file("message")], &resolver);
    assert_eq!((&arc["result"], &arc["sealers"]), (&json!("none"), &json!([])));
    for wrong in [
        &["dkim", "sign", "--domain", "a b", "--key", "x=y"][..],
        &["dkim", "sign", "--domain", "a.example", "--key", "file"],
        &["dkim", "sign", "--domain", "a.example", "--canonicalization", "strict"],
        &["dkim", "gen", "dsa"],
        &["arc", "verify", "--trusted", "a b"],
    ] {
        assert_eq!(run_alone(wrong, b"").status.code(), Some(2), "{wrong:?}");
    }
    let none = run_alone(&["dkim", "txt", "--selector", "s", "--domain", "a.example", &file("message")], b"");
    assert_eq!(none.status.code(), Some(1));
}

#[test]
fn messages_are_evaluated_as_a_server_would() {
    let resolver = serve().to_string();
    let files = tempfile::tempdir().unwrap();
    let verify = |from: &str, ip: &str| {
        let file = files.path().join("message");
        std::fs::write(&file, format!("{from}\nSubject: x\n\nHi.\n")).unwrap();
        let words =
            ["dmarc", "verify", "--ip", ip, "--helo", "mx.a.example", "--mail-from", "user@a.example"];
        json_of(&[&words[..], &[file.to_str().unwrap()]].concat(), &resolver)
    };
    let shown = |value: &Value| {
        let names = ["result", "domain", "policy", "applied", "aligned_spf", "aligned_dkim", "authentic"];
        names.iter().map(|name| value[*name].clone()).collect::<Value>()
    };
    let passed = verify("From: user@a.example", "192.0.2.7");
    assert_eq!(shown(&passed), json!(["pass", "a.example", "reject", "none", true, false, false]));
    let failed = verify("From: user@www.a.example", "203.0.113.1");
    let expected = json!(["fail", "www.a.example", "quarantine", "quarantine", false, false, false]);
    assert_eq!(shown(&failed), expected);
    let twice = verify("From: user@a.example\nFrom: user@b.example", "192.0.2.7");
    assert_eq!(shown(&twice), json!(["fail", "a.example", "reject", "reject", false, false, false]));
    let none = verify("To: user@a.example", "192.0.2.7");
    assert_eq!(shown(&none), json!(["permerror", null, null, "none", false, false, false]));
}
