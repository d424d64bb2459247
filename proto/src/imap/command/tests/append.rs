//! APPEND, CATENATE and REPLACE, and the URLs that they and others take.

use super::*;

fn append(input: &str) -> Append {
    match command(input) {
        Command::Append(append) => append,
        other => panic!("{other:?}"),
    }
}

/// The only step: a message begins.
fn begins(pieces: &AppendPieces) -> &AppendMessage {
    match &pieces.steps[..] {
        [AppendStep::Message(message)] => message,
        other => panic!("{other:?}"),
    }
}

fn url(text: &str) -> AppendStep {
    AppendStep::Url(text.into())
}

#[test]
fn append_is_read_up_to_its_message() {
    let pieces = append("APPEND x (\\Seen $Junk) \" 7-Feb-1994 21:52:25 -0800\" {310}").pieces;
    let message = begins(&pieces);
    assert_eq!(message.flags.flags, Flags::SEEN);
    assert_eq!(message.flags.keywords, [Keyword::new("$Junk").unwrap()]);
    assert_eq!(message.internal_date, Some(760_686_745));
    assert_eq!(pieces.next, AppendNext::Content(MessageForm::Literal));
    let next = |input| append(input).pieces.next;
    assert_eq!(next("APPEND {1}\r\nx {310+}"), AppendNext::Content(MessageForm::Literal));
    assert_eq!(next("APPEND x () ~{310+}"), AppendNext::Content(MessageForm::Literal8));
    assert_eq!(next("APPEND x UTF8 (~{310}"), AppendNext::Content(MessageForm::Utf8));
    for bad in [
        "x",
        "x {1",
        "x UTF8 ({310}",
        "x (\\Recent) {1}",
        "x \"7-Feb-1994\" {1}",
        "x {1} ",
        "x  {1}",
        "x (a {1}",
    ] {
        assert!(matches!(fault(&format!("APPEND {bad}")), Fault::Syntax(_)), "{bad}");
    }
    at_the_limit("APPEND x (a b A) {1}", "APPEND x (a b c) {1}");
    let long = |n| format!("APPEND x ({}) {{1}}", "k".repeat(n));
    at_the_limit(&long(Keyword::OCTETS_MAX), &long(Keyword::OCTETS_MAX + 1));
}

#[test]
fn append_goes_on_after_each_literal() {
    let context = Context { utf8: Utf8::Off, limits: &LIMITS };
    let after = |pieces: &AppendPieces, rest: &str| pieces.go_on(format!("{rest}\r\n").as_bytes(), context);
    for (head, ends, doesnt) in [("{1}", "", ")"), ("~{1}", "", ")"), ("UTF8 (~{1}", ")", "")] {
        let pieces = append(&format!("APPEND x {head}")).pieces;
        let end = after(&pieces, ends).unwrap();
        assert_eq!((end.steps.len(), end.next), (0, AppendNext::End), "{head}");
        assert!(after(&pieces, doesnt).is_err(), "{head}");
        let further = after(&pieces, &format!("{ends} (\\Draft) {{1}}")).unwrap();
        assert_eq!(begins(&further).flags.flags, Flags::DRAFT);
        assert_eq!(further.next, AppendNext::Content(MessageForm::Literal));
        assert!(
            after(&pieces, &format!("{ends} ")).is_err() && after(&pieces, &format!("{ends}{{1}}")).is_err()
        );
    }
    // A mix of both forms (RFC 3502, RFC 4469).
    let pieces = append("APPEND x {1}").pieces;
    let pieces = after(&pieces, " CATENATE (URL a TEXT {2}").unwrap();
    assert_eq!(pieces.steps[1..], [url("a")]);
    let pieces = after(&pieces, ") CATENATE (URL b) \" 7-Feb-1994 21:52:25 -0800\" {3}").unwrap();
    assert!(
        matches!(&pieces.steps[..], [AppendStep::Message(_), AppendStep::Url(_), AppendStep::Message(last)]
        if last.internal_date.is_some())
    );
}

#[test]
fn catenate_is_read_part_by_part() {
    let context = Context { utf8: Utf8::Off, limits: &Limits::AUTHENTICATED };
    let whole = append("APPEND x (\\Seen) CATENATE (URL \"/a b\" URL /c)").pieces;
    assert_eq!((&whole.steps[1..], whole.next), (&[url("/a b"), url("/c")][..], AppendNext::End));
    let pieces = append("append x catenate (url /a text {4}").pieces;
    assert_eq!(
        (&pieces.steps[1..], pieces.next),
        (&[url("/a")][..], AppendNext::Content(MessageForm::Literal))
    );
    let pieces = pieces.go_on(b" TEXT ~{4+}\r\n", context).unwrap();
    assert_eq!((pieces.steps.len(), pieces.next), (0, AppendNext::Content(MessageForm::Literal8)));
    let pieces = pieces.go_on(b" URL {4}\r\n", context).unwrap();
    assert_eq!((pieces.steps.len(), pieces.next), (0, AppendNext::Url));
    let pieces = pieces.go_on(b")\r\n", context).unwrap();
    assert_eq!((pieces.steps.len(), pieces.next), (0, AppendNext::End));
    let pieces = append("APPEND x CATENATE (UTF8 (~{4}").pieces;
    assert_eq!(pieces.next, AppendNext::Content(MessageForm::Utf8));
    let pieces = pieces.go_on(b") URL /b)\r\n", context).unwrap();
    assert_eq!((&pieces.steps[..], pieces.next), (&[url("/b")][..], AppendNext::End));
    for bad in [
        "()",
        "(URL)",
        "(TEXT a)",
        "(URL a",
        "(URL a )",
        "(URL a)x",
        "( URL a)",
        "(BLOB {1}",
        "({1}",
        "(TEXT UTF8 (~{1}",
        "(UTF8 ({1}",
    ] {
        assert!(matches!(fault(&format!("APPEND x CATENATE {bad}")), Fault::Syntax(_)), "{bad}");
    }
    for bad in [&b"\r\n"[..], b" \r\n", b")) \r\n", b"URL a)\r\n", b"){1}\r\n"] {
        let pieces = append("APPEND x CATENATE (TEXT {4}").pieces;
        assert!(pieces.go_on(bad, context).is_err(), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn messages_and_parts_of_append_are_counted() {
    at_the_limit("APPEND x CATENATE (URL a URL b URL c)", "APPEND x CATENATE (URL a URL b URL c URL d)");
    at_the_limit(
        "APPEND x CATENATE (URL a) CATENATE (URL b)",
        "APPEND x CATENATE (URL a) CATENATE (URL b) {1}",
    );
    // Also across literals; a new message counts its parts anew.
    let context = Context { utf8: Utf8::Off, limits: &LIMITS };
    let parsed = parse_as("APPEND x CATENATE (URL a URL b TEXT {1}", Utf8::Off, &LIMITS).unwrap();
    let Command::Append(Append { pieces, .. }) = parsed.command else { panic!() };
    assert_eq!(pieces.go_on(b" TEXT {1}\r\n", context), Err(Fault::Limit("too many parts")));
    let pieces = pieces.go_on(b") CATENATE (URL a URL b URL c)\r\n", context).unwrap();
    assert_eq!(pieces.next, AppendNext::End);
    let pieces = append("APPEND x {1}").pieces;
    assert!(pieces.go_on(b" {1}\r\n", context).is_ok());
}

#[test]
fn replace_names_one_message() {
    let replace = append("UID REPLACE 7 Drafts (\\Draft) {1}");
    assert_eq!(
        replace.replaces,
        Some(Messages { numbering: Numbering::Uid, set: MessageSet::Set(set(&[(7, 7)])) })
    );
    assert_eq!(append("REPLACE * x CATENATE (URL a)").replaces.unwrap().numbering, Numbering::Sequence);
    assert_eq!(append("APPEND x {1}").replaces, None);
    for bad in ["1:2 x {1}", "1,2 x {1}", "$ x {1}", "0 x {1}", "x {1}", "1 {1}", "1 x"] {
        assert!(matches!(fault(&format!("REPLACE {bad}")), Fault::Syntax(_)), "{bad}");
    }
    // RFC 8508 §4.7: no second message.
    let context = Context { utf8: Utf8::Off, limits: &LIMITS };
    let pieces = append("REPLACE 1 x {1}").pieces;
    assert_eq!(pieces.go_on(b" {1}\r\n", context), Err(Fault::Limit("too many messages")));
    assert_eq!(fault("UID APPEND x {1}"), Fault::UnknownCommand);
}

#[test]
fn urls_are_taken_in_three_commands() {
    let Command::GenUrlAuth(generate) = command("GENURLAUTH \"imap://a\" INTERNAL x internal") else {
        panic!()
    };
    assert_eq!(generate.urls, [("imap://a".into(), "INTERNAL".into()), ("x".into(), "INTERNAL".into())]);
    let reset = |input: &str| match command(input) {
        Command::ResetKey(reset) => (reset.mailbox.map(|mailbox| mailbox.written), reset.mechanisms.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(reset("RESETKEY"), (None, 0));
    assert_eq!(reset("RESETKEY x"), (Some("x".into()), 0));
    assert_eq!(reset("RESETKEY x internal X-1"), (Some("x".into()), 2));
    let Command::UrlFetch(fetch) = command("URLFETCH a (b) (c BINARY BODYPARTSTRUCTURE) (d body)") else {
        panic!()
    };
    let parameters = |content, structure| Some(UrlFetchParameters { content, structure });
    assert_eq!(
        fetch.urls.iter().map(|url| url.extended).collect::<Vec<_>>(),
        [
            None,
            parameters(None, false),
            parameters(Some(Decoded::Yes), true),
            parameters(Some(Decoded::No), false)
        ]
    );
    for bad in [
        "GENURLAUTH",
        "GENURLAUTH a",
        "GENURLAUTH a \"b\"",
        "RESETKEY ",
        "URLFETCH",
        "URLFETCH ()",
        "URLFETCH (a BODY BINARY)",
        "URLFETCH (a X)",
    ] {
        assert!(matches!(fault(bad), Fault::Syntax(_)), "{bad}");
    }
    at_the_limit("URLFETCH a b", "URLFETCH a b c");
    at_the_limit("GENURLAUTH a X b X", "GENURLAUTH a X b X c X");
    at_the_limit("RESETKEY x a b", "RESETKEY x a b c");
}
