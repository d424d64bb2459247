//! SEARCH, SORT, THREAD and ESEARCH.

use super::*;

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
