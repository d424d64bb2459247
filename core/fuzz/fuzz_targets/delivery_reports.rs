//! Messages, some of which are reports on delivery: what is read of one can be written, and is read so again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_proto::address::Address;
use postrider_proto::dsn::{Letter, Returned, compose, read};

fuzz_target!(|message: &[u8]| {
    let Some(found) = read(message) else { return };
    let to = Address::parse("a@us.example").expect("an address");
    let letter = Letter {
        to: &to,
        sender: None,
        now: 1_780_000_000,
        unique: "u1",
        about: None,
        subject: Some("x"),
        returned: Returned::Nothing,
    };
    let composed = compose(&found.report, &letter);
    let written = composed.before + &composed.after;
    assert!(!written.replace("\r\n", "").contains(['\r', '\n']), "a bare line end");
    assert!(written.lines().all(|line| line.len() <= 998), "a long line");
    assert!(found.report.utf8 || written.is_ascii(), "eight bits");
    let again = read(written.as_bytes()).expect("a report");
    assert_eq!(again.report.recipients.len(), found.report.recipients.len());
    for (one, other) in again.report.recipients.iter().zip(&found.report.recipients) {
        assert_eq!((one.action, one.status), (other.action, other.status));
    }
});
