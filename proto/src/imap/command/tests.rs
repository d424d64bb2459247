#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::num::{NonZeroU32, NonZeroU64};

use super::super::date::Date;
use super::super::mailbox::BadMailboxName;
use super::super::objectid::ObjectId;
use super::super::sequence::{Counted, Messages, ResultRange, SequenceNumber, SequenceRange, SequenceSet};
use super::super::types::{Flags, Keyword, UidValidity};
use super::*;

const LIMITS: Limits = Limits {
    tag_octets_max: 5,
    search_depth_max: 3,
    search_keys_max: 5,
    search_sources_max: 3,
    search_mailboxes_max: 2,
    cancelled_max: 2,
    sequence_set_elements_max: 3,
    fetch_items_max: 3,
    header_fields_max: 2,
    part_depth_max: 3,
    keywords_max: 2,
    list_patterns_max: 2,
    metadata_entries_max: 2,
    notify_groups_max: 2,
    notify_mailboxes_max: 3,
    append_messages_max: 2,
    catenate_parts_max: 3,
    urls_max: 2,
    id_pairs_max: 2,
    enable_names_max: 3,
    ..Limits::AUTHENTICATED
};

fn parse_as(input: &str, utf8: Utf8, limits: &Limits) -> Result<Tagged, BadCommand> {
    parse(format!("a {input}\r\n").as_bytes(), Context { utf8, limits })
}

fn command(input: &str) -> Command {
    let parsed = parse_as(input, Utf8::Off, &Limits::AUTHENTICATED);
    parsed.unwrap_or_else(|bad| panic!("{input}: {bad:?}")).command
}

fn fault(input: &str) -> Fault {
    parse_as(input, Utf8::Off, &Limits::AUTHENTICATED).expect_err(input).fault
}

/// `fits` parses under the small limits and `over` is refused by one.
fn at_the_limit(fits: &str, over: &str) {
    parse_as(fits, Utf8::Off, &LIMITS).unwrap_or_else(|bad| panic!("{fits}: {bad:?}"));
    let bad = parse_as(over, Utf8::Off, &LIMITS).expect_err(over);
    assert!(matches!(bad.fault, Fault::Limit(_) | Fault::TooBig(_)), "{over}: {bad:?}");
}

fn nz(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn set(ranges: &[(u32, u32)]) -> SequenceSet {
    let number = |n: u32| NonZeroU32::new(n).map_or(SequenceNumber::Last, SequenceNumber::Number);
    let ranges = ranges.iter().map(|(from, to)| SequenceRange { from: number(*from), to: number(*to) });
    SequenceSet::new(ranges.collect()).unwrap()
}

fn mailbox_named(input: &str, utf8: Utf8) -> MailboxArgument {
    match parse_as(&format!("DELETE {input}"), utf8, &LIMITS).unwrap().command {
        Command::Delete(mailbox) => mailbox,
        other => panic!("{other:?}"),
    }
}

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
fn select_takes_what_a_client_knows() {
    let select = |input: &str| match command(input) {
        Command::Select(select) => select,
        other => panic!("{other:?}"),
    };
    let plain = select("EXAMINE x");
    assert_eq!((plain.access, plain.condstore, plain.qresync), (Access::ReadOnly, false, None));
    assert!(select("SELECT x (CONDSTORE)").condstore);
    let qresync = |input: &str| select(&format!("SELECT x (QRESYNC ({input}))")).qresync.unwrap();
    let uid_validity = UidValidity(nz(67));
    let mut known = Qresync { uid_validity, modseq: 20, known_uids: None, matched: None };
    assert_eq!(qresync("67 20"), known);
    known.known_uids = Some(set(&[(1, 5), (7, 7)]));
    assert_eq!(qresync("67 20 1:5,7"), known);
    known.matched = Some(Matched { sequence: set(&[(1, 1)]), uids: set(&[(2, 2)]) });
    assert_eq!(qresync("67 20 1:5,7 (1 2)"), known);
    known.known_uids = None;
    assert_eq!(qresync("67 20 (1 2)"), known);
    for bad in ["0 1", "1", "1 2 *", "1 2 3 4", "1 2 (3)", "1 2 (3 4", "1 9223372036854775808", "1 2 $"] {
        assert!(matches!(fault(&format!("SELECT x (QRESYNC ({bad}))")), Fault::Syntax(_)), "{bad}");
    }
    assert!(matches!(fault("SELECT x (CONDSTORE CONDSTORE)"), Fault::Syntax(_)));
    assert!(matches!(fault("SELECT x ()"), Fault::Syntax(_)));
}

#[test]
fn mailboxes_are_made_and_asked_about() {
    let Command::Create(create) = command("CREATE x (USE (\\sent \\Drafts \\Sent))") else { panic!() };
    assert_eq!(create.uses, [SpecialUse::Sent, SpecialUse::Drafts]);
    assert_eq!(fault("CREATE x (USE (\\All))"), Fault::SpecialUse);
    let Command::Status(status) = command("STATUS x (SIZE messages HighestModSeq)") else { panic!() };
    let names: Vec<_> = status.items.iter().map(StatusItem::name).collect();
    assert_eq!(names, ["MESSAGES", "SIZE", "HIGHESTMODSEQ"]);
    assert!(matches!(fault("STATUS x ()"), Fault::Syntax(_)));
    let Command::Rename(rename) = command("RENAME a b/") else { panic!() };
    assert_eq!((&*rename.from.written, &*rename.to.written), ("a", "b/"));
}

#[test]
fn list_has_a_plain_and_an_extended_form() {
    let list = |input: &str| match command(input) {
        Command::List(list) => list,
        other => panic!("{other:?}"),
    };
    let texts = |list: &List| list.patterns.iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>();
    assert!(list("LIST \"\" \"\"").asks_separator);
    assert!(!list("LIST () \"\" \"\"").asks_separator);
    assert_eq!(texts(&list("LIST a/ %")), ["a/%"]);
    assert_eq!(texts(&list("LIST \"\" Entw&APw-r%]")), ["Entwür%]"]);
    // No name can be meant by what can't be decoded.
    assert_eq!(texts(&list("LIST \"\" *&")), [""]);
    let full = list(
        "LIST (SUBSCRIBED REMOTE RECURSIVEMATCH SPECIAL-USE) \"\" (% \"a b\") RETURN (CHILDREN STATUS (MESSAGES) SUBSCRIBED SPECIAL-USE)",
    );
    assert_eq!(texts(&full), ["%", "a b"]);
    let all = ListSelect { subscribed: true, remote: true, recursive_match: true, special_use: true };
    assert_eq!(full.select, all);
    let status = StatusItems::NONE.with(StatusItem::Messages);
    let metadata = Vec::new();
    assert_eq!(
        full.returns,
        ListReturn {
            subscribed: true,
            children: true,
            special_use: true,
            my_rights: false,
            status,
            metadata
        }
    );
    assert!(matches!(fault("LIST (RECURSIVEMATCH) \"\" %"), Fault::Syntax(_)));
    assert!(matches!(fault("LIST (REMOTE RECURSIVEMATCH) \"\" %"), Fault::Syntax(_)));
    list("LIST () \"\" % RETURN ()");
    at_the_limit("LIST \"\" (a b)", "LIST \"\" (a b c)");
    assert!(matches!(command("LSUB \"\" *"), Command::Lsub(lsub) if lsub.pattern.as_str() == "*"));
}

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

#[test]
fn sequence_sets_are_read_as_written() {
    let messages = |input: &str| match command(input) {
        Command::Copy(copy) => copy.messages,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        messages("UID COPY 5:2,*,3:* x"),
        Messages { numbering: Numbering::Uid, set: MessageSet::Set(set(&[(5, 2), (0, 0), (3, 0)])) }
    );
    assert_eq!(messages("COPY $ x").set, MessageSet::Saved);
    for bad in ["0", "1,", ",1", "1:", ":1", "1::2", "4294967296", "1,$", "", "-1"] {
        assert!(matches!(fault(&format!("COPY {bad} x")), Fault::Syntax(_)), "{bad}");
    }
    at_the_limit("COPY 1,2,3:4 x", "COPY 1,2,3,4 x");
    assert!(matches!(command("UID EXPUNGE 1:*"), Command::Expunge(Some(_))));
    assert!(matches!(command("EXPUNGE"), Command::Expunge(None)));
}

#[test]
fn store_adds_removes_and_replaces() {
    let store = |input: &str| match command(input) {
        Command::Store(store) => store,
        other => panic!("{other:?}"),
    };
    let first = store("STORE 1 +FLAGS.SILENT (\\Deleted $x $X)");
    assert_eq!((first.change, first.loudness), (FlagChange::Add, Loudness::Silent));
    assert_eq!((first.flags.flags, first.flags.keywords.len()), (Flags::DELETED, 1));
    let second = store("UID STORE 1 (UNCHANGEDSINCE 0) -flags \\Seen b");
    assert_eq!(second.unchanged_since, Some(0));
    assert_eq!((second.change, second.loudness), (FlagChange::Remove, Loudness::Loud));
    assert_eq!(store("STORE 1 FLAGS ()").change, FlagChange::Replace);
    assert!(matches!(fault("STORE 1 FLAGS (\\Recent)"), Fault::Syntax(_)));
    assert!(matches!(fault("STORE 1 FLAGS (a]b)"), Fault::Syntax(_)));
    assert!(matches!(fault("STORE 1 FLAGS"), Fault::Syntax(_)));
}

fn search(input: &str) -> Search {
    match command(input) {
        Command::Search(search) => search,
        other => panic!("{other:?}"),
    }
}

#[test]
fn search_keys_become_a_tree() {
    let key = |input: &str| search(&format!("SEARCH {input}")).key;
    let not = |key| SearchKey::Not(Box::new(key));
    let text = |target, text: &str| SearchKey::Text(target, text.into());
    assert_eq!(key("all"), SearchKey::All);
    assert_eq!(key("((ALL))"), SearchKey::All);
    assert_eq!(key("UNSEEN"), not(SearchKey::Flag(Flags::SEEN)));
    assert_eq!(key("NEW"), SearchKey::Nothing);
    assert_eq!(
        key("FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\""),
        SearchKey::And(vec![
            SearchKey::Flag(Flags::FLAGGED),
            SearchKey::InternalDate(DateTest::Since, Date::new(1994, 2, 1).unwrap()),
            not(text(TextTarget::From, "Smith")),
        ])
    );
    assert_eq!(
        key("OR (TO a) HEADER x-y \"\""),
        SearchKey::Or(Box::new((text(TextTarget::To, "a"), text(TextTarget::Header("x-y".into()), ""))))
    );
    assert_eq!(key("2,4:7"), SearchKey::Sequence(MessageSet::Set(set(&[(2, 2), (4, 7)]))));
    assert_eq!(key("UID $"), SearchKey::Uid(MessageSet::Saved));
    assert_eq!(key("MODSEQ \"/flags/\\\\draft\" all 620162338"), SearchKey::ModSeq(620_162_338));
    assert_eq!(key("MODSEQ 7"), SearchKey::ModSeq(7));
    assert_eq!(
        key("SENTON \"01-Jan-2000\""),
        SearchKey::SentDate(DateTest::On, Date::new(2000, 1, 1).unwrap())
    );
    let seconds = |seconds| NonZeroU32::new(seconds).unwrap();
    assert_eq!(key("OLDER 4294967295"), SearchKey::Older(seconds(u32::MAX)));
    assert_eq!(key("younger 1"), SearchKey::Younger(seconds(1)));
    let day = Date::new(2014, 12, 28).unwrap();
    assert_eq!(key("SAVEDBEFORE 28-Dec-2014"), SearchKey::SavedDate(DateTest::Before, day));
    assert_eq!(key("SAVEDON 28-Dec-2014"), SearchKey::SavedDate(DateTest::On, day));
    assert_eq!(key("SAVEDSINCE \"28-Dec-2014\""), SearchKey::SavedDate(DateTest::Since, day));
    assert_eq!(key("SAVEDATESUPPORTED"), SearchKey::All);
    assert_eq!(key("EMAILID M7-1"), SearchKey::EmailId(Some(ObjectId::email(seconds(7), 1))));
    assert_eq!(key("THREADID T7-1"), SearchKey::ThreadId(Some(ObjectId::thread(seconds(7), 1))));
    let longest = "x".repeat(255);
    assert_eq!(key(&format!("THREADID {longest}")), SearchKey::ThreadId(None));
    assert!(matches!(fault(&format!("SEARCH THREADID {longest}x")), Fault::Syntax(_)));
    assert_eq!(key("CHARSET utf-8 BODY {2}\r\n\u{e9}"), text(TextTarget::Body, "\u{e9}"));
    for bad in [
        "",
        "FOO",
        "FROM",
        "(ALL",
        "ALL)",
        "NOT",
        "OR ALL",
        "SINCE 31-Feb-2000",
        "ALL  ALL",
        "()",
        "OLDER 0",
        "YOUNGER 4294967296",
        "SAVEDON 31-Feb-2000",
        "EMAILID \"M1-1\"",
        "BODY {1}\r\n\u{0}",
    ] {
        assert!(matches!(fault(&format!("SEARCH {bad}")), Fault::Syntax(_)), "{bad}");
    }
}

#[test]
fn search_says_how_to_answer() {
    assert_eq!(search("SEARCH ALL").returns, None);
    let all = SearchReturn { all: true, ..SearchReturn::default() };
    assert_eq!(search("UID SEARCH RETURN () ALL").returns, Some(all));
    let some = SearchReturn { min: true, count: true, save: true, ..SearchReturn::default() };
    assert_eq!(search("SEARCH return (save Min COUNT) CHARSET UTF-8 ALL").returns, Some(some));
    let partial = search("SEARCH RETURN (PARTIAL -1:-100 UPDATE CONTEXT COUNT) ALL").returns.unwrap();
    assert!(partial.update && partial.context && partial.count && !partial.all);
    assert_eq!(partial.partial, Some(range(1, 100, Counted::FromLast)));
    let partial = search("SEARCH RETURN (partial 9:3) ALL").returns.unwrap();
    assert_eq!(partial.partial, Some(range(9, 3, Counted::FromFirst)));
    for bad in [
        "ALL PARTIAL 1:2",
        "PARTIAL 1:2 ALL",
        "PARTIAL 1:2 PARTIAL 3:4",
        "PARTIAL 0:1",
        "PARTIAL 1",
        "PARTIAL -1:2",
        "PARTIAL 1:-2",
        "PARTIAL 1:*",
        "PARTIAL -0:-1",
        "PARTIAL",
        "PARTIAL 1:4294967296",
    ] {
        assert!(matches!(fault(&format!("SEARCH RETURN ({bad}) ALL")), Fault::Syntax(_)), "{bad}");
    }
    assert_eq!(fault("SEARCH CHARSET KOI8-R ALL"), Fault::Charset);
    let accept = parse_as("SEARCH CHARSET UTF-8 ALL", Utf8::Accept, &LIMITS).unwrap_err();
    assert_eq!(accept.fault, Fault::Syntax("no CHARSET after UTF8=ACCEPT"));
}

fn range(from: u32, to: u32, counted: Counted) -> ResultRange {
    let number = |number| NonZeroU32::new(number).unwrap();
    ResultRange { from: number(from), to: number(to), counted }
}

#[test]
fn places_among_results_are_counted_from_either_end() {
    use Counted::{FromFirst, FromLast};
    for (partial, count, places) in [
        (range(1, 1, FromFirst), 5, 0..1),
        (range(4, 2, FromFirst), 5, 1..4),
        (range(4, 9, FromFirst), 5, 3..5),
        (range(6, 9, FromFirst), 5, 5..5),
        (range(1, u32::MAX, FromFirst), 0, 0..0),
        (range(1, 1, FromLast), 5, 4..5),
        (range(2, 4, FromLast), 5, 1..4),
        (range(9, 4, FromLast), 5, 0..2),
        (range(6, 9, FromLast), 5, 0..0),
        (range(1, u32::MAX, FromLast), 5, 0..5),
    ] {
        assert_eq!(partial.places(count), places, "{partial:?} of {count}");
    }
}

#[test]
fn sort_says_by_what() {
    let sort = |input: &str| match command(input) {
        Command::Sort(sort) => sort,
        other => panic!("{other:?}"),
    };
    let by = |key, direction| SortCriterion { key, direction };
    let plain = sort("SORT (SUBJECT reverse Date) UTF-8 SINCE 1-Feb-1994");
    assert_eq!(
        plain.criteria,
        [by(SortKey::Subject, Direction::Ascending), by(SortKey::Date, Direction::Descending)]
    );
    assert_eq!((plain.numbering, plain.returns), (Numbering::Sequence, None));
    let extended = sort("UID SORT RETURN (MIN) (DISPLAYFROM FROM REVERSE FROM) \"us-ascii\" UNSEEN 1:3");
    assert_eq!(extended.criteria.len(), 2, "the same key again decides nothing");
    assert!(extended.numbering == Numbering::Uid && extended.returns.unwrap().min);
    assert_eq!(fault("SORT (DATE) KOI8-R ALL"), Fault::Charset);
    for bad in [
        "SORT () UTF-8 ALL",
        "SORT (DATE) UTF-8",
        "SORT (DATE) ALL",
        "SORT DATE UTF-8 ALL",
        "SORT (REVERSE) UTF-8 ALL",
        "SORT (REVERSE REVERSE DATE) UTF-8 ALL",
        "SORT (SENDER) UTF-8 ALL",
        "SORT (DATE)  UTF-8 ALL",
        "SORT RETURN (DATE) UTF-8 ALL",
    ] {
        assert!(matches!(fault(bad), Fault::Syntax(_) | Fault::Charset), "{bad}");
    }
    let accept = parse_as("SORT (DATE) UTF-8 ALL", Utf8::Accept, &LIMITS);
    assert!(accept.is_ok(), "the charset is no choice of SORT's (RFC 6855 §3 forbids that of SEARCH)");
}

#[test]
fn thread_says_how() {
    for (name, algorithm) in [
        ("ORDEREDSUBJECT", ThreadAlgorithm::OrderedSubject),
        ("references", ThreadAlgorithm::References),
        ("Refs", ThreadAlgorithm::Refs),
    ] {
        match command(&format!("UID THREAD {name} US-ASCII TEXT x")) {
            Command::Thread(thread) => {
                assert_eq!((thread.algorithm, thread.numbering), (algorithm, Numbering::Uid));
            }
            other => panic!("{other:?}"),
        }
    }
    for bad in ["THREAD JWZ UTF-8 ALL", "THREAD REFS ALL", "THREAD REFS UTF-8", "THREAD (REFS) UTF-8 ALL"] {
        assert!(matches!(fault(bad), Fault::Syntax(_) | Fault::Charset), "{bad}");
    }
}

#[test]
fn updates_are_cancelled_by_tag() {
    match command("CANCELUPDATE \"B01\" \"x y\"") {
        Command::CancelUpdate(cancel) => assert_eq!(cancel.tags, ["B01".into(), "x y".into()]),
        other => panic!("{other:?}"),
    }
    assert_eq!(fault("CANCELUPDATE"), Fault::Syntax("space expected"));
    assert_eq!(fault("CANCELUPDATE B01"), Fault::Syntax("string expected"));
    at_the_limit("CANCELUPDATE \"1\" \"2\"", "CANCELUPDATE \"1\" \"2\" \"3\"");
}

#[test]
fn esearch_names_its_mailboxes() {
    let esearch = |input: &str| match command(input) {
        Command::Esearch(esearch) => esearch,
        other => panic!("{other:?}"),
    };
    let plain = esearch("ESEARCH RETURN (MIN) SEEN");
    assert_eq!(plain.sources, [Source::Selected]);
    assert_eq!(plain.search, search("UID SEARCH RETURN (MIN) SEEN"));
    let all = esearch("UID ESEARCH in (selected Personal INBOXES) SEEN");
    assert_eq!(all.sources, [Source::Selected, Source::Personal, Source::Inboxes]);
    assert_eq!(all.search, search("UID SEARCH RETURN () SEEN"));
    let names = |mailboxes: &[MailboxArgument]| -> Vec<String> {
        mailboxes.iter().map(|mailbox| mailbox.name.as_ref().unwrap().to_string()).collect()
    };
    let named = esearch("ESEARCH IN (subtree (a \"b c\") subscribed) SEEN");
    let [Source::Subtree(mailboxes), Source::Subscribed] = &named.sources[..] else { panic!("{named:?}") };
    assert_eq!(names(mailboxes), ["a", "b c"]);
    let named = esearch("ESEARCH IN (subtree-one inbox mailboxes x) SEEN");
    let [Source::SubtreeOne(one), Source::Mailboxes(these)] = &named.sources[..] else { panic!("{named:?}") };
    assert_eq!((names(one), names(these)), (vec!["Inbox".to_owned()], vec!["x".to_owned()]));
    // SAVE is of the selected mailbox alone.
    assert!(esearch("ESEARCH IN (selected) RETURN (SAVE) SEEN").search.returns.unwrap().save);
    for bad in [
        "IN (personal) RETURN (SAVE) SEEN",
        "IN () SEEN",
        "IN (selected-delayed) SEEN",
        "IN (personal (scope x)) SEEN",
        "IN ((scope x)) SEEN",
        "IN (mailboxes ()) SEEN",
        "IN (mailboxes) SEEN",
        "IN personal SEEN",
        "IN (personal)",
        "IN (personal)SEEN",
        "",
    ] {
        assert!(matches!(fault(&format!("ESEARCH {bad}")), Fault::Syntax(_)), "{bad}");
    }
    at_the_limit(
        "ESEARCH IN (personal personal personal) 1",
        "ESEARCH IN (personal personal personal personal) 1",
    );
    at_the_limit("ESEARCH IN (mailboxes (a b)) 1", "ESEARCH IN (mailboxes (a b c)) 1");
    at_the_limit("ESEARCH IN (mailboxes a subtree b) 1", "ESEARCH IN (mailboxes (a b) subtree c) 1");
}

#[test]
fn searches_are_bounded_in_depth_and_size() {
    at_the_limit("SEARCH (((ALL)))", "SEARCH ((((ALL))))");
    at_the_limit("SEARCH NOT NOT NOT ALL", "SEARCH NOT NOT NOT NOT ALL");
    at_the_limit("SEARCH OR ALL OR ALL ALL", "SEARCH OR ALL OR ALL OR ALL ALL");
    at_the_limit("SEARCH 1 2 3 4 5", "SEARCH 1 2 3 4 5 6");
    // What the threat list asks for: a million of them, were the line that long.
    for hostile in ["(", "NOT ", "OR ", "OR ALL "] {
        let bad = fault(&format!("SEARCH {}", hostile.repeat(1_000_000)));
        assert!(matches!(bad, Fault::Limit(_)), "{bad:?}");
    }
    let bad = fault(&format!("COPY {}1 x", "1,".repeat(10_000)));
    assert!(matches!(bad, Fault::TooBig(_)), "{bad:?}");
}

#[test]
fn fetch_items_are_read() {
    let fetch = |input: &str| match command(input) {
        Command::Fetch(fetch) => fetch,
        other => panic!("{other:?}"),
    };
    use FetchItem as I;
    assert_eq!(fetch("FETCH 1 fast").items, [I::Flags, I::InternalDate, I::Rfc822Size]);
    assert_eq!(fetch("FETCH 1 FULL").items.len(), 5);
    assert_eq!(fetch("FETCH 1 (UID FLAGS uid)").items, [I::Uid, I::Flags]);
    let partial = Some(Partial { offset: 0, length: NonZeroU64::new(20).unwrap() });
    let section = |part: &[u32], text| Section { part: part.iter().map(|n| nz(*n)).collect(), text };
    assert_eq!(
        fetch("FETCH 1 (BODY[] BODY.PEEK[1.2.HEADER.FIELDS (Date \"From\")]<0.20> BODY[3.MIME] RFC822.TEXT)")
            .items,
        [
            I::Section(Peek::MarksSeen, section(&[], None), None),
            I::Section(
                Peek::Peeks,
                section(&[1, 2], Some(SectionText::HeaderFields(vec!["Date".into(), "From".into()]))),
                partial
            ),
            I::Section(Peek::MarksSeen, section(&[3], Some(SectionText::Mime)), None),
            I::Rfc822Text,
        ]
    );
    assert_eq!(
        fetch("FETCH 1 (BINARY.PEEK[1]<0.20> BINARY.SIZE[2] BINARY[])").items,
        [
            I::Binary(Peek::Peeks, [nz(1)].into(), partial),
            I::BinarySize([nz(2)].into()),
            I::Binary(Peek::MarksSeen, [].into(), None)
        ]
    );
    let since = fetch("UID FETCH 1 FLAGS (CHANGEDSINCE 12345 VANISHED)").changed_since.unwrap();
    assert_eq!(since, ChangedSince { modseq: 12345, vanished: Vanished::Told });
    let both = fetch("UID FETCH 1:9 FLAGS (PARTIAL -1:-30 CHANGEDSINCE 98305)");
    assert_eq!(both.partial, Some(range(1, 30, Counted::FromLast)));
    assert_eq!(both.changed_since.unwrap().modseq, 98305);
    assert_eq!(fetch("UID FETCH 1:9 FLAGS (PARTIAL 1:3)").changed_since, None);
    assert_eq!(fault("FETCH 1:9 FLAGS (PARTIAL 1:3)"), Fault::Syntax("PARTIAL needs UID FETCH"));
    for bad in ["PARTIAL 1:3 PARTIAL 1:3", "PARTIAL", "PARTIAL 1:3 VANISHED", ""] {
        assert!(matches!(fault(&format!("UID FETCH 1 FLAGS ({bad})")), Fault::Syntax(_)), "{bad}");
    }
    for bad in [
        "FOO",
        "BODY[",
        "BODY[FOO]",
        "BODY[1.]",
        "BODY[0]",
        "BODY[MIME]",
        "BODY[HEADER.FIELDS ()]",
        "BODY[]<0.0>",
        "BODY[]<1>",
        "(FLAGS",
        "()",
        "(FAST)",
        "FLAGS (VANISHED)",
        "BINARY[TEXT]",
        "RFC822[]",
        "BODY.PEEK",
        "BODY[HEADER.FIELDS (\"a b\")]",
        "FLAGS UID",
    ] {
        assert!(matches!(fault(&format!("FETCH 1 {bad}")), Fault::Syntax(_)), "{bad}");
    }
    at_the_limit("FETCH 1 (UID FLAGS BODY UID)", "FETCH 1 (UID FLAGS BODY MODSEQ)");
    at_the_limit("FETCH 1 BODY[1.2.3]", "FETCH 1 BODY[1.2.3.4]");
    at_the_limit("FETCH 1 BODY[HEADER.FIELDS (a b)]", "FETCH 1 BODY[HEADER.FIELDS (a b c)]");
}

fn notify(input: &str) -> NotifySet {
    match command(&format!("NOTIFY SET {input}")) {
        Command::Notify(Notify::Set(set)) => set,
        other => panic!("{other:?}"),
    }
}

#[test]
fn notify_names_mailboxes_and_events() {
    assert!(matches!(command("notify none"), Command::Notify(Notify::None)));
    let both = Events::MESSAGE_NEW.with(Events::MESSAGE_EXPUNGE);
    let set = notify(
        "STATUS (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (From)]) messageexpunge flagchange)) \
         (subtree (Lists a/b) (MessageExpunge MessageNew)) (mailboxes misc (MailboxName)) \
         (personal (SubscriptionChange ServerMetadataChange MailboxMetadataChange)) (inboxes NONE)",
    );
    assert!(set.status);
    let selected = set.selected.unwrap();
    assert_eq!((selected.delayed, selected.events, selected.fetch.len()), (false, Events::MESSAGES, 2));
    assert_eq!(set.groups.len(), 4);
    let MailboxFilter::Subtree(names) = &set.groups[0].filter else { panic!() };
    assert_eq!((names.len(), set.groups[0].events), (2, both));
    assert!(matches!(&set.groups[1].filter, MailboxFilter::Mailboxes(names) if names.len() == 1));
    assert_eq!(set.groups[1].events, Events::MAILBOX_NAME);
    assert_eq!(set.groups[3].events, Events::NONE);
    let set = notify("(selected-delayed (MessageNew MessageExpunge))");
    assert!(!set.status && set.selected.unwrap().delayed && set.groups.is_empty());
}

#[test]
fn notify_that_makes_no_sense_is_refused() {
    for bad in [
        "NOTIFY",
        "NOTIFY SET",
        "NOTIFY SET STATUS",
        "NOTIFY SOME",
        "NOTIFY SET (personal)",
        "NOTIFY SET (personal ())",
        "NOTIFY SET (personal MessageNew)",
        "NOTIFY SET (nobody (MailboxName))",
        "NOTIFY SET (personal (MessageNew))",
        "NOTIFY SET (personal (MessageExpunge))",
        "NOTIFY SET (personal (FlagChange MailboxName))",
        "NOTIFY SET (personal (MessageNew FlagChange))",
        "NOTIFY SET (personal (MessageNew (UID) MessageExpunge))",
        "NOTIFY SET (selected (MailboxName))",
        "NOTIFY SET (selected NONE) (selected-delayed NONE)",
        "NOTIFY SET (subtree (MessageNew MessageExpunge))",
        "NOTIFY NONE NONE",
    ] {
        assert!(matches!(fault(bad), Fault::Syntax(_)), "{bad}");
    }
    for unknown in ["(AnnotationChange)", "(MessageNew AnnotationChange)", "(MailboxName Future)"] {
        assert_eq!(fault(&format!("NOTIFY SET (personal {unknown})")), Fault::Event, "{unknown}");
    }
    at_the_limit(
        "NOTIFY SET (personal NONE) (personal NONE)",
        "NOTIFY SET (personal NONE) (personal NONE) (personal NONE)",
    );
    at_the_limit(
        "NOTIFY SET (subtree (a b) NONE) (mailboxes c NONE)",
        "NOTIFY SET (subtree (a b) NONE) (mailboxes (c d) NONE)",
    );
}

#[test]
fn annotations_are_limited() {
    at_the_limit("GETMETADATA a (/shared/a /shared/b)", "GETMETADATA a (/shared/a /shared/b /shared/c)");
    at_the_limit(
        "SETMETADATA a (/shared/a NIL /shared/b NIL)",
        "SETMETADATA a (/shared/a NIL /shared/b NIL /shared/c NIL)",
    );
    at_the_limit(
        "LIST \"\" a RETURN (METADATA (/shared/a /shared/b))",
        "LIST \"\" a RETURN (METADATA (/shared/a /shared/b /shared/c))",
    );
    let Command::SetMetadata(set) = command("SETMETADATA \"\" (/SHARED/A ~{3+}\r\na\0b)") else { panic!() };
    assert_eq!(set.mailbox, None);
    assert_eq!(set.values[0].1.as_deref(), Some(b"a\0b".as_slice()));
    assert_eq!(fault("SETMETADATA a (/shared/a {1+}\r\n\0)"), Fault::Syntax("NUL in a literal"));
    assert_eq!(fault("SETMETADATA a (/shared/a ~\"x\")"), Fault::Syntax("literal expected"));
}

#[test]
fn rights_of_mailboxes_are_asked_for_and_changed() {
    use super::super::rights::Rights;
    let set = |input: &str| match command(&format!("SETACL x {input}")) {
        Command::SetAcl(set) => (set.identifier, set.change),
        other => panic!("{other:?}"),
    };
    let rights = |letters| Rights::parse(letters).unwrap();
    let (identifier, change) = set("fred lrswida");
    assert_eq!((identifier.negative, &*identifier.name), (false, "fred"));
    assert_eq!(change, RightsChange::Replace(rights("lrswitea")));
    let (identifier, change) = set("\"-J\u{75}\u{308}rgen\" +cd");
    assert_eq!((identifier.negative, &*identifier.name), (true, "J\u{fc}rgen"));
    assert_eq!(&*identifier.written, "-J\u{75}\u{308}rgen");
    assert_eq!(change, RightsChange::Add(rights("kxte")));
    assert_eq!(set("fred -l").1, RightsChange::Remove(rights("l")));
    assert_eq!(set("fred \"\"").1, RightsChange::Replace(Rights::NONE));
    assert_eq!(set("fred +").1, RightsChange::Add(Rights::NONE));
    for bad in ["fred lrQ", "fred lrq", "fred", "- l", "\"\" l", "fred l l", "fred +-l", "\"a\u{7f}\" l"] {
        assert!(matches!(fault(&format!("SETACL x {bad}")), Fault::Syntax(_)), "{bad}");
    }
    at_the_limit(
        &format!("DELETEACL x {}", "a".repeat(Identifier::OCTETS_MAX)),
        &format!("DELETEACL x {}", "a".repeat(Identifier::OCTETS_MAX + 1)),
    );
    assert!(matches!(command("DELETEACL x -fred"), Command::DeleteAcl(e) if e.identifier.negative));
    assert!(matches!(command("GETACL x"), Command::GetAcl(_)));
    assert!(matches!(command("LISTRIGHTS x anyone"), Command::ListRights(_)));
    assert!(matches!(command("MYRIGHTS x"), Command::MyRights(_)));
    assert!(matches!(command("LIST \"\" % RETURN (MYRIGHTS)"), Command::List(l) if l.returns.my_rights));
    assert!(matches!(command("LIST \"\" % RETURN (CHILDREN)"), Command::List(l) if !l.returns.my_rights));
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

#[test]
fn message_numbers_are_found_wherever_they_are() {
    for with in [
        "FETCH 1 UID",
        "FETCH $ UID",
        "STORE 1 FLAGS ()",
        "COPY * x",
        "MOVE 1:2 x",
        "SEARCH ALL",
        "SEARCH UID 1",
        "UID SEARCH 1",
        "UID SEARCH NOT (SEEN OR DELETED (1:3))",
        "SELECT x (QRESYNC (1 2 3:4 (1 3)))",
    ] {
        assert!(command(with).needs_message_numbers(), "{with}");
    }
    for without in [
        "UID FETCH 1 UID",
        "UID FETCH $ UID",
        "UID STORE 1 FLAGS ()",
        "UID COPY * x",
        "UID MOVE 1:2 x",
        "UID SEARCH UID 1 $",
        "UID SEARCH UIDAFTER 3 NOT (OR SEEN UID 1:*)",
        "UID EXPUNGE 1",
        "EXPUNGE",
        "CLOSE",
        "SELECT x (QRESYNC (1 2 3:4))",
    ] {
        assert!(!command(without).needs_message_numbers(), "{without}");
    }
}

#[test]
fn uids_beyond_one_are_searched() {
    let ranges = |input: &str| match command(input) {
        Command::Search(Search { key: SearchKey::Uid(MessageSet::Set(set)), .. }) => set,
        other => panic!("{other:?}"),
    };
    assert_eq!(ranges("UID SEARCH UIDAFTER 7"), set(&[(8, u32::MAX)]));
    assert_eq!(ranges("UID SEARCH UIDBEFORE 7"), set(&[(1, 6)]));
    for nothing in ["UID SEARCH UIDAFTER 4294967295", "UID SEARCH UIDBEFORE 1"] {
        let Command::Search(search) = command(nothing) else { panic!() };
        assert_eq!(search.key, SearchKey::Nothing, "{nothing}");
    }
    for bad in ["UIDAFTER", "UIDAFTER 0", "UIDAFTER 1:2", "UIDBEFORE *", "UIDBEFORE $"] {
        assert!(matches!(fault(&format!("UID SEARCH {bad}")), Fault::Syntax(_)), "{bad}");
    }
}
