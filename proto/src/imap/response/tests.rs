#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::super::command::{
    BadCommand, Command, Context, Extension, Fault, FetchItem, SpecialUse, StatusItem, Tag, Utf8, parse,
};
use super::super::framing::{Outcome, Refused};
use super::super::limits::Limits;
use super::super::metadata::EntryName;
use super::super::sequence::{Counted, Numbering, ResultRange};
use super::super::types::{Flags, Keyword, ModSeq, Uid, UidValidity};
use super::super::uidset::UidSet;
use super::*;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn command(text: &str, utf8: Utf8) -> (Tag, Command) {
    let context = Context { utf8, limits: &Limits::AUTHENTICATED };
    let parsed = parse(text.as_bytes(), context).unwrap_or_else(|bad| panic!("{text}: {bad:?}"));
    (parsed.tag, parsed.command)
}

fn tag() -> Tag {
    command("A1 NOOP\r\n", Utf8::Off).0
}

fn uids(runs: &[(u32, u32)]) -> UidSet {
    UidSet::from_runs(runs.iter().map(|(a, b)| Uid::new(*a).unwrap()..=Uid::new(*b).unwrap()))
}

#[test]
fn a_search_of_several_mailboxes_says_which_it_is_of() {
    let mailbox =
        |name, utf8| SearchedMailbox { name, utf8, validity: UidValidity(NonZeroU32::new(503).unwrap()) };
    let tag = tag();
    let found = uids(&[(3002, 3002), (3004, 3004)]);
    let result = Esearch {
        numbering: Numbering::Uid,
        min: None,
        max: None,
        count: None,
        modseq: None,
        all: Some(Numbers::Set(&found)),
        partial: None,
    };
    for (name, utf8, text) in [
        ("folder2/banana", Utf8::Off, "folder2/banana"),
        ("a b", Utf8::Off, "\"a b\""),
        ("ü", Utf8::Off, "&APw-"),
        ("ü", Utf8::Rev2, "\"ü\""),
    ] {
        let mut out = Vec::new();
        let correlator = Correlator { tag: &tag, mailbox: Some(mailbox(name, utf8)) };
        write_esearch(&mut out, correlator, &result);
        let expected = format!("* ESEARCH (TAG \"A1\" MAILBOX {text} UIDVALIDITY 503) UID ALL 3002,3004\r\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn codes_are_written_as_registered() {
    let validity = UidValidity(NonZeroU32::new(7).unwrap());
    let (from, to) = (uids(&[(1, 3), (5, 5)]), uids(&[(10, 13)]));
    let keywords = [Keyword::new("$Junk").unwrap()];
    for (code, text) in [
        (Code::Alert, "ALERT"),
        (Code::AppendUid(validity, &from), "APPENDUID 7 1:3,5"),
        (Code::CopyUid(validity, &from, &to), "COPYUID 7 1:3,5 10:13"),
        (Code::BadCharset, "BADCHARSET (US-ASCII UTF-8)"),
        (Code::Capability("IMAP4rev2 IDLE"), "CAPABILITY IMAP4rev2 IDLE"),
        (Code::HighestModSeq(ModSeq::MAX), "HIGHESTMODSEQ 9223372036854775807"),
        (Code::InProgress { tag: &tag(), done: 5, goal: Some(9) }, "INPROGRESS (\"A1\" 5 9)"),
        (Code::InProgress { tag: &tag(), done: 5, goal: None }, "INPROGRESS (\"A1\" 5 NIL)"),
        (Code::Modified(&from), "MODIFIED 1:3,5"),
        (
            Code::PermanentFlags(Flags::SEEN.with(Flags::DRAFT), &keywords, true),
            "PERMANENTFLAGS (\\Seen \\Draft $Junk \\*)",
        ),
        (Code::PermanentFlags(Flags::NONE, &[], false), "PERMANENTFLAGS ()"),
        (Code::PermanentFlags(Flags::NONE, &[], true), "PERMANENTFLAGS (\\*)"),
        (Code::UidNext(Uid::MAX), "UIDNEXT 4294967295"),
        (Code::UidValidity(validity), "UIDVALIDITY 7"),
        (Code::Unseen(12), "UNSEEN 12"),
        (Code::ReadWrite, "READ-WRITE"),
        (Code::UnknownCte, "UNKNOWN-CTE"),
        (Code::MessageLimit(1000, Uid::new(23)), "MESSAGELIMIT 1000 23"),
        (Code::MessageLimit(1000, None), "MESSAGELIMIT 1000"),
        (Code::CompressionActive, "COMPRESSIONACTIVE"),
        (Code::UidRequired, "UIDREQUIRED"),
        (Code::TooFew, "TOOFEW"),
        (Code::TooMany, "TOOMANY"),
    ] {
        assert_eq!(written(|out| code.write(out)), text);
    }
}

#[test]
fn status_responses() {
    let tag = tag();
    assert_eq!(
        written(|out| write_tagged(out, &tag, Status::Ok, Some(&Code::ReadOnly), "done")),
        "A1 OK [READ-ONLY] done\r\n"
    );
    assert_eq!(written(|out| write_untagged(out, Condition::Bye, None, "bye")), "* BYE bye\r\n");
    assert_eq!(written(|out| write_continuation_base64(out, b"\0x")), "+ AHg=\r\n");
    assert_eq!(written(|out| write_continuation_base64(out, b"")), "+ \r\n");
    assert_eq!(written(|out| write_enabled(out, &[Extension::Qresync])), "* ENABLED QRESYNC\r\n");
    assert_eq!(written(|out| write_enabled(out, &[])), "* ENABLED\r\n");
    assert_eq!(written(|out| write_id(out, &[])), "* ID NIL\r\n");
    assert_eq!(
        written(|out| write_id(out, &[("name", Some("x")), ("version", None)])),
        "* ID (\"name\" \"x\" \"version\" NIL)\r\n"
    );
}

#[test]
fn faults_are_answered() {
    let bad = |tag, fault| written(|out| write_bad_command(out, &BadCommand { tag, fault }));
    assert_eq!(bad(Some(tag()), Fault::Syntax("atom expected")), "A1 BAD atom expected\r\n");
    assert_eq!(bad(None, Fault::Syntax("tag expected")), "* BAD tag expected\r\n");
    assert_eq!(bad(Some(tag()), Fault::UnknownCommand), "A1 BAD unknown command\r\n");
    assert_eq!(
        bad(Some(tag()), Fault::Charset),
        "A1 NO [BADCHARSET (US-ASCII UTF-8)] charset is not supported\r\n"
    );
    assert!(bad(Some(tag()), Fault::SpecialUse).starts_with("A1 NO [USEATTR] "));
    assert!(bad(Some(tag()), Fault::Limit("too many")).starts_with("A1 NO [LIMIT] "));
    let refused = |outcome| {
        let refused = Refused { tag: Some(tag()), fault: Fault::TooBig("too big"), outcome };
        written(|out| write_refused(out, &refused))
    };
    assert_eq!(refused(Outcome::Continues), "A1 BAD [TOOBIG] too big\r\n");
    assert_eq!(refused(Outcome::Closes), "* BYE [TOOBIG] too big\r\n");
}

#[test]
fn strings_take_the_form_that_fits() {
    let string = |text: &[u8], utf8| {
        let mut out = Vec::new();
        write_string(&mut out, utf8, text);
        out
    };
    assert_eq!(string(b"a\"b\\c", Utf8::Off), b"\"a\\\"b\\\\c\"");
    assert_eq!(string(b"", Utf8::Off), b"\"\"");
    assert_eq!(string(b"a\r\nb", Utf8::Off), b"{4}\r\na\r\nb");
    assert_eq!(string("é".as_bytes(), Utf8::Off), "{2}\r\né".as_bytes());
    assert_eq!(string("é".as_bytes(), Utf8::Rev2), "\"é\"".as_bytes());
    assert_eq!(string(b"\xe9", Utf8::Rev2), b"{1}\r\n\xe9");
    assert_eq!(string(&[b'x'; 1001], Utf8::Off)[..7], *b"{1001}\r");
    assert_eq!(string(&[b'x'; 1000], Utf8::Off)[..2], *b"\"x");
    let astring = |text: &str| written(|out| write_astring(out, Utf8::Off, text.as_bytes()));
    assert_eq!((astring("a]b").as_str(), astring("a b").as_str()), ("a]b", "\"a b\""));
    assert_eq!((astring("nil").as_str(), astring("").as_str()), ("\"nil\"", "\"\""));
    assert_eq!(written(|out| write_nstring(out, Utf8::Off, None)), "NIL");
}

#[test]
fn mailboxes_are_told() {
    let special = ListAttributes::of_use(SpecialUse::Sent).with(ListAttributes::HAS_NO_CHILDREN);
    let mut row = ListRow {
        attributes: special,
        name: "Gesendet ü",
        child_subscribed: false,
        child_special_use: false,
        old_name: None,
    };
    let list = |row: &ListRow<'_>, utf8| written(|out| write_list(out, utf8, row));
    assert_eq!(list(&row, Utf8::Off), "* LIST (\\HasNoChildren \\Sent) \"/\" \"Gesendet &APw-\"\r\n");
    assert_eq!(list(&row, Utf8::Rev2), "* LIST (\\HasNoChildren \\Sent) \"/\" \"Gesendet ü\"\r\n");
    row.name = "a&b";
    row.attributes = ListAttributes::NON_EXISTENT;
    row.child_subscribed = true;
    row.old_name = Some("old");
    assert_eq!(
        list(&row, Utf8::Off),
        "* LIST (\\NonExistent) \"/\" a&-b (\"CHILDINFO\" (\"SUBSCRIBED\") \"OLDNAME\" (old))\r\n"
    );
    assert_eq!(
        written(|out| write_lsub(out, Utf8::Off, ListAttributes::NO_SELECT, "x")),
        "* LSUB (\\Noselect) \"/\" x\r\n"
    );
    let values =
        [(StatusItem::Messages, StatusValue::Number(3)), (StatusItem::AppendLimit, StatusValue::Nil)];
    assert_eq!(
        written(|out| write_status(out, Utf8::Off, "Inbox", values)),
        "* STATUS Inbox (MESSAGES 3 APPENDLIMIT NIL)\r\n"
    );
    assert_eq!(written(|out| write_exists(out, 3)), "* 3 EXISTS\r\n");
    assert_eq!(
        written(|out| write_flags(out, Flags::from_bits(0xff), &[Keyword::new("a").unwrap()])),
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft a)\r\n"
    );
}

#[test]
fn quotas_are_told() {
    let resource = |name, usage, limit| QuotaResource { name, usage, limit };
    let resources = [resource("STORAGE", 1, 2), resource("MESSAGE", 3, 4)];
    assert_eq!(written(|out| write_quota(out, "", resources)), "* QUOTA \"\" (STORAGE 1 2 MESSAGE 3 4)\r\n");
    assert_eq!(
        written(|out| write_quota_root(out, Utf8::Off, "Inbox", Some(""))),
        "* QUOTAROOT Inbox \"\"\r\n"
    );
    assert_eq!(written(|out| write_quota_root(out, Utf8::Off, "a b", None)), "* QUOTAROOT \"a b\"\r\n");
}

#[test]
fn annotations_are_told() {
    let entry = |name: &str| EntryName::new(name.as_bytes()).unwrap();
    let (comment, odd) = (entry("/private/comment"), entry("/shared/a (b"));
    let told = |values: &[(&EntryName, Option<&[u8]>)]| {
        written(|out| write_metadata(out, Utf8::Off, "a b", values.iter().copied()))
    };
    assert_eq!(told(&[(&comment, Some(b"x"))]), "* METADATA \"a b\" (/private/comment \"x\")\r\n");
    assert_eq!(
        told(&[(&comment, None), (&odd, Some(b"a\0")), (&odd, Some(b"\r\n"))]),
        "* METADATA \"a b\" (/private/comment NIL \"/shared/a (b\" ~{2}\r\na\0 \"/shared/a (b\" {2}\r\n\r\n)\r\n"
    );
    assert_eq!(
        written(|out| write_metadata_changes(out, Utf8::Off, "", [&comment, &odd])),
        "* METADATA \"\" /private/comment \"/shared/a (b\"\r\n"
    );
    let code = |code: Code<'_>| written(|out| code.write(out));
    assert_eq!(code(Code::MetadataLongEntries(7)), "METADATA LONGENTRIES 7");
    assert_eq!(code(Code::MetadataMaxSize(8)), "METADATA MAXSIZE 8");
    assert_eq!(code(Code::MetadataTooMany), "METADATA TOOMANY");
}

#[test]
fn searches_are_answered_in_both_forms() {
    let search = |set: &UidSet, modseq| written(|out| write_search(out, set, modseq));
    assert_eq!(search(&UidSet::new(), Some(ModSeq::MIN)), "* SEARCH\r\n");
    assert_eq!(search(&uids(&[(2, 3), (9, 9)]), ModSeq::new(7)), "* SEARCH 2 3 9 (MODSEQ 7)\r\n");
    assert_eq!(search(&uids(&[(1, 201)]), None).lines().count(), 1, "clients look at the first line only");

    let found = uids(&[(2, 3), (9, 9)]);
    let result = Esearch {
        numbering: Numbering::Uid,
        min: found.first(),
        max: found.last(),
        count: Some(3),
        modseq: ModSeq::new(7),
        all: Some(Numbers::Set(&found)),
        partial: None,
    };
    let esearch = |result: &Esearch<'_>| written(|out| write_esearch(out, &tag(), result));
    assert_eq!(esearch(&result), "* ESEARCH (TAG \"A1\") UID MIN 2 MAX 9 COUNT 3 MODSEQ 7 ALL 2:3,9\r\n");
    let none = UidSet::new();
    let nothing = Esearch {
        numbering: Numbering::Sequence,
        min: None,
        max: None,
        count: Some(0),
        modseq: None,
        all: Some(Numbers::Set(&none)),
        partial: None,
    };
    assert_eq!(esearch(&nothing), "* ESEARCH (TAG \"A1\") COUNT 0\r\n");
    let range = |from, to, counted| {
        let number = |number| NonZeroU32::new(number).unwrap();
        ResultRange { from: number(from), to: number(to), counted }
    };
    let partial =
        |range, numbers| Esearch { count: None, all: None, partial: Some((range, numbers)), ..nothing };
    assert_eq!(
        esearch(&partial(range(9, 3, Counted::FromFirst), Numbers::Set(&found))),
        "* ESEARCH (TAG \"A1\") PARTIAL (9:3 2:3,9)\r\n"
    );
    assert_eq!(
        esearch(&partial(range(1, 100, Counted::FromLast), Numbers::Sorted(&[]))),
        "* ESEARCH (TAG \"A1\") PARTIAL (-1:-100 NIL)\r\n"
    );
}

#[test]
fn sorted_numbers_are_written_in_their_order() {
    let numbers: Vec<Uid> =
        [7, 6, 5, 1, 2, 3, 9, 9, 10].into_iter().map(|number| Uid::new(number).unwrap()).collect();
    assert_eq!(
        written(|out| write_sort(out, &numbers, ModSeq::new(7))),
        "* SORT 7 6 5 1 2 3 9 9 10 (MODSEQ 7)\r\n"
    );
    assert_eq!(written(|out| write_sort(out, &[], ModSeq::new(7))), "* SORT\r\n");
    let pairs = [(1, Numbers::Sorted(&numbers)), (0, Numbers::Sorted(&numbers[..1]))];
    let added = written(|out| write_update(out, &tag(), Numbering::Uid, Update::Add, pairs.into_iter()));
    assert_eq!(added, "* ESEARCH (TAG \"A1\") UID ADDTO (1 7,6,5,1:3,9,9:10 0 7)\r\n");
    let set = uids(&[(4, 6)]);
    let removed = written(|out| {
        let pairs = std::iter::once((0, Numbers::Set(&set)));
        write_update(out, &tag(), Numbering::Sequence, Update::Remove, pairs);
    });
    assert_eq!(removed, "* ESEARCH (TAG \"A1\") REMOVEFROM (0 4:6)\r\n");
    let last = [Uid::MAX, Uid::MIN];
    assert_eq!(written(|out| write_sort(out, &last, None)), "* SORT 4294967295 1\r\n");
}

#[test]
fn vanished_is_split_into_lines() {
    let vanished = |set: &UidSet, earlier| written(|out| write_vanished(out, set, earlier));
    assert_eq!(vanished(&uids(&[(1, 5), (7, 7)]), false), "* VANISHED 1:5,7\r\n");
    assert_eq!(vanished(&uids(&[(7, 7)]), true), "* VANISHED (EARLIER) 7\r\n");
    assert_eq!(vanished(&UidSet::new(), true), "");
    let many: UidSet = (1..3000).filter_map(|n| Uid::new(n * 2)).collect();
    let text = vanished(&many, true);
    assert!(text.lines().count() > 1 && text.lines().all(|line| line.len() <= 4096 + 21));
    assert_eq!(written(|out| write_expunge(out, 3)), "* 3 EXPUNGE\r\n");
}

#[test]
fn fetch_rows_are_written_item_by_item() {
    let text = written(|out| {
        let mut row = FetchRow::begin(out, 12);
        row.uid(out, Uid::new(34).unwrap());
        row.flags(out, Flags::SEEN, ["$Junk"]);
        row.modseq(out, ModSeq::new(56).unwrap());
        row.internal_date(out, 760_686_745);
        row.rfc822_size(out, 78);
        row.envelope(out, b"(NIL)");
        row.body(out, b"(b)");
        row.body_structure(out, b"(s)");
        row.old_section(out, OldSection::Header, 2);
        out.extend_from_slice(b"hh");
        row.binary(out, &[NonZeroU32::MIN], Some(5), 1);
        out.push(0);
        row.binary_nil(out, &[], None);
        row.binary_size(out, &[NonZeroU32::MIN], 9);
        row.end(out);
    });
    assert_eq!(
        text,
        "* 12 FETCH (UID 34 FLAGS (\\Seen $Junk) MODSEQ (56) INTERNALDATE \" 8-Feb-1994 05:52:25 +0000\" \
         RFC822.SIZE 78 ENVELOPE (NIL) BODY (b) BODYSTRUCTURE (s) RFC822.HEADER {2}\r\nhh \
         BINARY[1]<5> ~{1}\r\n\0 BINARY[] NIL BINARY.SIZE[1] 9)\r\n"
    );
    let flags = |flags, keywords: &[&str]| {
        written(|out| {
            let mut row = FetchRow::begin(out, 1);
            row.flags(out, flags, keywords.iter().copied());
            row.end(out);
        })
    };
    assert_eq!(flags(Flags::NONE, &[]), "* 1 FETCH (FLAGS ())\r\n");
    assert_eq!(flags(Flags::NONE, &["a", "b"]), "* 1 FETCH (FLAGS (a b))\r\n");
    for bits in 0..32 {
        let set = Flags::from_bits(bits);
        let names: Vec<_> =
            Flags::ALL.iter().filter(|(flag, _)| set.contains(*flag)).map(|(_, name)| *name).collect();
        assert_eq!(flags(set, &[]), format!("* 1 FETCH (FLAGS ({}))\r\n", names.join(" ")));
    }
}

#[test]
fn sections_are_echoed_so_that_they_read_the_same() {
    for item in [
        "BODY[]",
        "BODY[1.2]",
        "BODY[HEADER]",
        "BODY[1.MIME]",
        "BODY[2.TEXT]",
        "BODY[HEADER.FIELDS (Date From)]",
        "BODY[3.HEADER.FIELDS.NOT (\"a(b\" NILS \"nil\")]",
    ] {
        let (_, Command::Fetch(fetch)) = command(&format!("a FETCH 1 {item}\r\n"), Utf8::Off) else {
            panic!()
        };
        let FetchItem::Section(_, section, _) = &fetch.items[0] else { panic!() };
        let text = written(|out| FetchRow::begin(out, 1).section(out, section, Some(3), 5));
        assert_eq!(text, format!("* 1 FETCH ({item}<3> {{5}}\r\n"));
        let text = written(|out| FetchRow::begin(out, 1).section_nil(out, section, None));
        assert_eq!(text, format!("* 1 FETCH ({item} NIL"));
    }
}

proptest! {
    #[test]
    fn numbers_are_written_in_decimal(number: u64) {
        prop_assert_eq!(written(|out| write_number(out, number)), number.to_string());
    }

    #[test]
    fn strings_and_mailboxes_are_read_back(text in "[^\u{0}]{0,20}") {
        for utf8 in [Utf8::Off, Utf8::Rev2] {
            let line = written(|out| {
                out.extend_from_slice(b"a LOGIN ");
                write_astring(out, utf8, text.as_bytes());
                out.push(b' ');
                write_string(out, utf8, text.as_bytes());
                out.extend_from_slice(b"\r\n");
            });
            let (_, Command::Login(login)) = command(&line, utf8) else { panic!() };
            prop_assert_eq!((&*login.user, &**login.password.expose()), (&*text, &*text));
            let line = written(|out| {
                out.extend_from_slice(b"a DELETE ");
                write_mailbox(out, utf8, &text);
                out.extend_from_slice(b"\r\n");
            });
            prop_assert!(utf8 != Utf8::Off || line.is_ascii());
            let (_, Command::Delete(mailbox)) = command(&line, utf8) else { panic!() };
            prop_assert_eq!(&*mailbox.written, &*text);
        }
    }
}

#[test]
fn rights_are_told_as_the_standard_has_them() {
    use super::super::rights::Rights;
    let rights = |letters| Rights::parse(letters).unwrap();
    let entries = [("fred", rights("lrswikda")), ("-J\u{fc}rgen", rights("w")), ("two words", Rights::NONE)];
    assert_eq!(
        written(|out| write_acl(out, Utf8::Accept, "Inbox/Drafts", entries)),
        "* ACL Inbox/Drafts fred lrswiktecda \"-J\u{fc}rgen\" w \"two words\" \"\"\r\n"
    );
    assert_eq!(
        written(|out| write_acl(out, Utf8::Off, "Entw\u{fc}rfe", [("\u{fc}", rights("l"))])),
        "* ACL Entw&APw-rfe {2}\r\n\u{fc} l\r\n"
    );
    assert_eq!(written(|out| write_acl(out, Utf8::Off, "x", [])), "* ACL x\r\n");
    assert_eq!(
        written(|out| write_list_rights(out, Utf8::Off, "x", "smith", Rights::NONE, Rights::ALL)),
        "* LISTRIGHTS x smith \"\" l r s w i p k x t e a c d\r\n"
    );
    let grantable = Rights::ALL.without(Rights::OF_OWNER);
    assert_eq!(
        written(|out| write_list_rights(out, Utf8::Off, "x", "me", Rights::OF_OWNER, grantable)),
        "* LISTRIGHTS x me la r s w i p k x t e c d\r\n"
    );
    assert_eq!(written(|out| write_my_rights(out, Utf8::Off, "x", rights("lr"))), "* MYRIGHTS x lr\r\n");
}
