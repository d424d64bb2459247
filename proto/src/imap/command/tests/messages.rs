//! Commands about messages: sets, STORE, FETCH.

use super::*;

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
