#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
use super::*;
use crate::smtp::envelope::{BodyType, Hold, Notify, Return};

fn code(line: &str) -> String {
    match Command::parse(line.as_bytes()) {
        Ok(command) => format!("{command:?}").split(['(', ' ']).next().unwrap().to_owned(),
        Err(error) => error.reply().to_wire()[..9].to_owned(),
    }
}

fn envelope(line: &str) -> Envelope {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Mail(mail)) => *mail.envelope,
        other => panic!("{line}: {other:?}"),
    }
}

fn recipient(line: &str) -> Recipient {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => rcpt.recipient,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn lines_are_commands_or_get_a_reply() {
    for (line, expected) in [
        ("ehlo x.example", "Ehlo"),
        ("EHLO  x", "Ehlo"),
        ("HELO [192.0.2.1]", "Helo"),
        ("EHLO", "501 5.5.4"),
        ("HELO a b", "501 5.5.4"),
        ("StartTLS ", "StartTls"),
        ("STARTTLS x", "501 5.5.4"),
        ("DATA\t", "Data"),
        ("DATA x", "501 5.5.4"),
        ("QUIT", "Quit"),
        ("QUITS", "500 5.5.1"),
        ("", "500 5.5.1"),
        (" NOOP", "500 5.5.1"),
        ("NOOP\u{7f}", "501 5.5.2"),
        ("NOOP \u{85}", "501 5.5.2"),
        ("VERYLONGVERB", "500 5.5.1"),
        ("\u{fc}", "500 5.5.1"),
        ("AUTH PLAIN", "Auth"),
        ("AUTH PLAIN =", "Auth"),
        ("AUTH PLAIN AGZyZWQ=", "Auth"),
        ("AUTH PLAIN AGZyZWQ", "501 5.5.2"),
        ("AUTH PLAIN *", "501 5.5.0"),
        ("AUTH", "501 5.5.2"),
        ("AUTH P(", "501 5.5.2"),
        ("AUTH ABCDEFGHIJKLMNOPQRST", "Auth"),
        ("AUTH ABCDEFGHIJKLMNOPQRSTU", "501 5.5.2"),
        ("BDAT 0", "Bdat"),
        ("BDAT 18446744073709551616 last", "Bdat"),
        ("BDAT", "501 5.5.4"),
        ("BDAT LAST", "501 5.5.4"),
        ("BDAT 1 LASTLY", "501 5.5.4"),
        ("BDAT +1", "501 5.5.4"),
        ("BDAT 100000000000000000000", "501 5.5.4"),
        ("BDAT 000000000000000000001", "501 5.5.4"),
        ("MAIL FROM:<a@b>", "Mail"),
        ("mail from: <a@b>", "Mail"),
        ("MAIL FROM:<>", "Mail"),
        ("MAIL FROM:<a@b>SIZE=1", "501 5.5.2"),
        ("MAIL FROM <a@b>", "501 5.5.2"),
        ("MAIL TO:<a@b>", "501 5.5.2"),
        ("MAIL FROM:a@b", "501 5.5.2"),
        ("MAIL FROM:<a@b", "501 5.5.2"),
        ("MAIL FROM:", "501 5.5.2"),
        ("MAIL", "501 5.5.2"),
        ("MAIL \u{fc}\u{fc}\u{fc}<a@b>", "501 5.5.2"),
        ("MAIL FROM:<a@xn--->", "501 5.1.7"),
        ("MAIL FROM:<a@[192.0.2.1]>", "550 5.7.0"),
        ("RCPT TO:<>", "501 5.1.3"),
        ("RCPT TO:<a@b> SIZE=1", "555 5.3.3"),
    ] {
        assert_eq!(code(line), expected, "{line:?}");
    }
    assert_eq!(Command::parse(b"NOOP \xff"), Err(CommandError::Garbage(Reply::NOT_UTF8)));
    let chunk = Chunk { octets: u64::MAX, last: true };
    assert_eq!(Command::parse(b"BDAT 99999999999999999999 LAST"), Ok(Command::Bdat(chunk)));
}

#[test]
fn parameters_of_mail() {
    let all = envelope(
        "MAIL FROM:<a@b>  size=5 Body=BinaryMime AUTH=a+40b SMTPUTF8 REQUIRETLS RET=full ENVID=x+20y HOLDFOR=7",
    );
    assert_eq!((all.declared_octets, all.body), (Some(5), BodyType::BinaryMime));
    assert!(all.smtputf8 && all.requiretls);
    assert_eq!((all.ret, all.envelope_id.as_deref()), (Some(Return::Full), Some("x y")));
    assert_eq!(all.hold, Some(Hold::For(7)));
    let until = envelope("MAIL FROM:<a@b> HOLDUNTIL=1970-01-02T00:00:00Z");
    assert_eq!(until.hold, Some(Hold::Until(86_400)));
    let within = envelope("MAIL FROM:<a@b> HOLDUNTIL=1970-01-02T00:00:00.001Z");
    assert_eq!(within.hold, Some(Hold::Until(86_401)));
    assert_eq!(envelope("MAIL FROM:<a@b> BODY=7BIT").body, BodyType::SevenBit);
    let longest = "SIZE=99999999999999999999";
    assert_eq!(envelope(&format!("MAIL FROM:<a@b> {longest}")).declared_octets, Some(u64::MAX));
    for (parameters, reply) in [
        ("SIZE=1 SIZE=2", "501 5.5.4"),
        ("SMTPUTF8 smtputf8", "501 5.5.4"),
        ("SIZE", "501 5.5.4"),
        ("SIZE=", "501 5.5.4"),
        ("SIZE=-1", "501 5.5.4"),
        ("SIZE=1x", "501 5.5.4"),
        ("SIZE=999999999999999999999", "501 5.5.4"),
        ("BODY=9BIT", "555 5.5.4"),
        ("SMTPUTF8=1", "501 5.5.4"),
        ("REQUIRETLS=yes", "501 5.5.4"),
        ("RET=BOTH", "501 5.5.4"),
        ("AUTH=a+4", "501 5.5.4"),
        ("AUTH=", "501 5.5.4"),
        ("ENVID=+00", "501 5.5.4"),
        ("ENVID=a+0D+0Ab", "501 5.5.4"),
        ("ENVID=+09", "501 5.5.4"),
        ("ENVID=a\tb", "501 5.5.4"),
        ("HOLDFOR=0", "501 5.5.4"),
        ("HOLDFOR=1234567890", "501 5.5.4"),
        ("HOLDFOR=1 HOLDUNTIL=2030-01-01T00:00:00Z", "501 5.5.4"),
        ("HOLDUNTIL=2030-01-01T00:00:00+01:00", "501 5.5.4"),
        ("HOLDUNTIL=2030-01-01", "501 5.5.4"),
        ("HOLDUNTIL=2030-13-01T00:00:00Z", "501 5.5.4"),
        ("NOTIFY=NEVER", "555 5.3.3"),
        ("XYZZY", "555 5.3.3"),
        ("XY_Z=1", "501 5.5.2"),
        ("=1", "501 5.5.2"),
        ("-A=1", "501 5.5.2"),
    ] {
        assert_eq!(code(&format!("MAIL FROM:<a@b> {parameters}")), reply, "{parameters}");
    }
    assert!(matches!(code(&format!("MAIL FROM:<a@b> ENVID={}", "x".repeat(100))).as_str(), "Mail"));
    assert_eq!(code(&format!("MAIL FROM:<a@b> ENVID={}", "x".repeat(101))), "501 5.5.4");
}

#[test]
fn parameters_of_rcpt() {
    let notify = |value: &str| recipient(&format!("RCPT TO:<a@b> NOTIFY={value}")).notify;
    assert_eq!(notify("never"), Some(Notify::default()));
    assert_eq!(notify("FAILURE,DELAY"), Some(Notify { success: false, failure: true, delay: true }));
    let original = |value: &str| recipient(&format!("RCPT TO:<a@b> ORCPT={value}")).original.unwrap();
    assert_eq!(&*original("RFC822;a+2Bb@c").address, "a+b@c");
    assert_eq!(&*original("RFC822;a").address_type, "rfc822");
    assert_eq!(&*original("utf-8;\u{fc}\\x{FC}@c").address, "\u{fc}\u{fc}@c");
    for parameters in [
        "NOTIFY=",
        "NOTIFY=NEVER,DELAY",
        "NOTIFY=x",
        "NOTIFY=SUCCESS,",
        "ORCPT=a@b",
        "ORCPT=rfc822;",
        "ORCPT=;a",
        "ORCPT=rfc822;+00",
        "ORCPT=rfc822;a+0Ab",
        "ORCPT=rfc822;\u{fc}",
        "ORCPT=utf-8;\\x{A}",
        "ORCPT=utf-8;\\x{zz}",
        "ORCPT=utf-8;\\x{D800}",
        "ORCPT=utf-8;\\",
        "ORCPT=utf-8;a+b",
        "ORCPT=rf c;x",
        "NOTIFY=DELAY NOTIFY=DELAY",
    ] {
        let reply = code(&format!("RCPT TO:<a@b> {parameters}"));
        assert!(reply.starts_with("501") || parameters.contains(' '), "{parameters}: {reply}");
        assert_ne!(reply, "Rcpt", "{parameters}");
    }
    assert_eq!(code(&format!("RCPT TO:<a@b> ORCPT=rfc822;{}", "x".repeat(493))), "Rcpt");
    assert_eq!(code(&format!("RCPT TO:<a@b> ORCPT=rfc822;{}", "x".repeat(494))), "501 5.5.4");
}

#[test]
fn an_authentication_prints_no_secret() {
    let command = Command::parse(b"AUTH PLAIN AGZyZWQAc2VjcmV0").unwrap();
    assert!(format!("{command:?}").contains("SaslOctets(secret)"));
}
