//! Commands about mailboxes: which there are, their annotations, who may do what.

use super::*;

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
    use crate::imap::rights::Rights;
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
