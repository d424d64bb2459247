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
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let script = Script::parse(ZONES).unwrap();
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
            let query = message.queries[0].clone();
            let answer = script.answer(query.name(), query.query_type());
            message.metadata.recursion_available = true;
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
