//! Commands of a session: how lines are read at all, logins, what is enabled.

use super::*;

#[test]
fn a_fault_keeps_the_tag_when_there_is_one() {
    let bad = |input: &str| {
        let context = Context { utf8: Utf8::Off, limits: &LIMITS };
        let bad = parse(input.as_bytes(), context).unwrap_err();
        (bad.tag.map(|tag| tag.as_str().to_owned()), bad.fault)
    };
    assert_eq!(bad("a FOO\r\n"), (Some("a".into()), Fault::UnknownCommand));
    assert_eq!(bad("abcde\r\n").0.as_deref(), Some("abcde"));
    assert_eq!(bad("abcdef NOOP\r\n"), (None, Fault::Syntax("tag is too long")));
    for untagged in ["\r\n", " NOOP\r\n", "a+b NOOP\r\n", "\"a\" NOOP\r\n", "\u{e9} NOOP\r\n", "* NOOP\r\n"] {
        assert_eq!(bad(untagged).0.filter(|tag| tag != "a"), None, "{untagged}");
    }
    assert_eq!(bad("a NOOP\n").1, Fault::Syntax("a line ends with CRLF"));
    assert_eq!(bad("a NOOP \r\n").1, Fault::Syntax("end of command expected"));
    assert_eq!(bad("a  NOOP\r\n").1, Fault::Syntax("name expected"));
    assert_eq!(bad("a UID NOOP\r\n").1, Fault::UnknownCommand);
}

#[test]
fn strings_have_three_forms() {
    let login = |input: &str| match command(&format!("login {input}")) {
        Command::Login(login) => (login.user.into_string(), login.password.expose().to_string()),
        other => panic!("{other:?}"),
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(login("fred ]x"), pair("fred", "]x"));
    assert_eq!(login(r#""a \"b\\" """#), pair("a \"b\\", ""));
    assert_eq!(login("{3}\r\na\r\n {2+}\r\n\"x"), pair("a\r\n", "\"x"));
    assert_eq!(login("\"\u{e9}\" {2}\r\n\u{e9}"), pair("\u{e9}", "\u{e9}"));
    for bad in [
        "a",
        "a b c",
        "a \"b",
        "a \"\\n\"",
        "a (b",
        "{1}\r\n\0 b",
        "{9}\r\na b",
        "\u{e9} b",
        "a \"x\"y",
        "{1} a",
    ] {
        assert!(matches!(fault(&format!("login {bad}")), Fault::Syntax(_)), "{bad}");
    }
    assert_eq!(format!("{:?}", command("login u secretive")).find("secretive"), None);
    assert_eq!(format!("{:?}", command("authenticate plain c2VjcmV0")).find("115"), None);
}

#[test]
fn sessions_begin() {
    let Command::Authenticate(a) = command("AUTHENTICATE scram-sha-256 =") else { panic!() };
    assert_eq!((&*a.mechanism, a.initial.unwrap().expose()), ("SCRAM-SHA-256", &vec![]));
    let Command::Authenticate(a) = command("AUTHENTICATE PLAIN AGEAYg==") else { panic!() };
    assert_eq!(a.initial.unwrap().expose(), b"\0a\0b");
    assert_eq!(fault("AUTHENTICATE PLAIN AGEAYg"), Fault::Syntax("base64 is malformed"));
    let Command::Enable(e) = command("enable utf8=accept X-FOO qresync condstore QRESYNC imap4rev2") else {
        panic!()
    };
    use Extension::{Condstore, Imap4Rev2, Qresync, Utf8Accept};
    assert_eq!(e.extensions, [Utf8Accept, Qresync, Condstore, Imap4Rev2]);
    let Command::Id(id) = command("ID (\"name\" \"x\" \"version\" NIL)") else { panic!() };
    assert_eq!(id.fields, [("name".into(), Some("x".into())), ("version".into(), None)]);
    assert!(matches!(command("ID nil"), Command::Id(id) if id.fields.is_empty()));
    at_the_limit("ENABLE A B C", "ENABLE A B C D");
    at_the_limit(r#"ID ("a" "b" "c" "d")"#, r#"ID ("a" "b" "c" "d" "e" "f")"#);
}

#[test]
fn mailbox_names_are_read_in_the_encoding_that_was_enabled() {
    let name = |input, utf8| mailbox_named(input, utf8).name.map(|name| name.to_string());
    assert_eq!(name("inbox", Utf8::Off), Ok("Inbox".into()));
    assert_eq!(name("&AOk-/x", Utf8::Off), Ok("é/x".into()));
    assert_eq!(name("&AOk-", Utf8::Rev2), Ok("&AOk-".into()));
    assert_eq!(name("\"é\"", Utf8::Accept), Ok("é".into()));
    assert_eq!(name("\"é\"", Utf8::Off), Err(MailboxFault::Encoding));
    assert_eq!(name("a&b", Utf8::Off), Err(MailboxFault::Encoding));
    assert_eq!(name("a//b", Utf8::Off), Err(MailboxFault::Name(BadMailboxName::EmptyPart)));
    assert_eq!(name("\"\"", Utf8::Off), Err(MailboxFault::Name(BadMailboxName::EmptyPart)));
    // RFC 9051 §6.3.4: a separator at the end only announces names below.
    assert_eq!(name("a/", Utf8::Off), Ok("a".into()));
    assert_eq!(mailbox_named("a/", Utf8::Off).written.as_ref(), "a/");
    assert_eq!(name("a//", Utf8::Off), Err(MailboxFault::Name(BadMailboxName::EmptyPart)));
}

#[test]
fn compression_and_batches_are_asked_for() {
    assert!(matches!(command("compress deflate"), Command::Compress));
    assert_eq!(fault("COMPRESS GZIP"), Fault::Syntax("unknown compression"));
    assert_eq!(fault("COMPRESS"), Fault::Syntax("space expected"));
    assert_eq!(fault("COMPRESS DEFLATE x"), Fault::Syntax("end of command expected"));
    assert!(matches!(command("unauthenticate"), Command::Unauthenticate));
    let batches = |input: &str| match command(input) {
        Command::UidBatches(batches) => batches,
        other => panic!("{other:?}"),
    };
    assert_eq!(batches("UIDBATCHES 2000"), UidBatches { size: nz(2000), batches: None });
    assert_eq!(batches("UIDBATCHES 4294967295 10:2").batches, Some(nz(10)..=nz(2)));
    for bad in ["UIDBATCHES", "UIDBATCHES 0", "UIDBATCHES 5 1", "UIDBATCHES 5 1:*", "UIDBATCHES 4294967296"] {
        assert!(matches!(fault(bad), Fault::Syntax(_)), "{bad}");
    }
}
