//! SEARCH against a plain evaluation of the same keys on messages whose content is known.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use postrider_proto::imap::command::{Command, DateTest, SearchKey, SearchReturn, TextTarget};
use postrider_proto::imap::date::Date;
use postrider_proto::imap::objectid::ObjectId;
use postrider_proto::imap::sequence::{
    Counted, MessageSet, ResultRange, SequenceNumber, SequenceRange, SequenceSet,
};
use postrider_proto::imap::types::{Flags, Keyword, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::account::Expunge;
use postrider_storage::ids::AccountId;
use postrider_storage::rows::MessageRow;
use proptest::prelude::*;

use super::evaluate::{Wanted, wants};
use super::results::{Results, saved};
use super::scan::{Scan, Sorted, Want, sort};
use super::tree::{Names, Tree};
use crate::imap::commands::fetch::world::{Mail, World, command};

/// What a message says, apart from how it is encoded.
struct Known {
    subject: &'static str,
    from: &'static str,
    to: &'static str,
    extra: Option<&'static str>,
    sent: Option<i64>,
    /// Texts of its parts.
    texts: Vec<&'static str>,
    /// Subject of a message inside it.
    inner: Option<&'static str>,
    row: MessageRow,
}

struct Mailbox {
    world: World,
    view: UidSet,
    known: Vec<(Uid, Known)>,
}

const WORDS: [&str; 6] = ["alpha", "Beta", "Grüße", "ДЕЛЬТА", "a b", "zzz"];
const DAY: i64 = 86_400;
/// When searches are made.
const NOW: i64 = 6 * DAY;

/// A few hundred messages, made by a fixed rule.
fn mailbox() -> &'static Mailbox {
    static MAILBOX: OnceLock<Mailbox> = OnceLock::new();
    MAILBOX.get_or_init(|| {
        let mut world = World::new();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let known: Vec<_> = (0..300).map(|_| add(&mut world, &mut random)).collect();
        let inbox = world.inbox;
        let gone: Vec<Uid> = world.view().iter().filter(|uid| uid.get() % 11 == 0).collect();
        world.transact(|tx| tx.expunge(inbox, Expunge::These(&gone)));
        let view = world.view();
        let known = known.into_iter().filter(|(uid, _)| view.contains(*uid)).collect();
        Mailbox { world, view, known }
    })
}

fn add(world: &mut World, random: &mut impl FnMut(usize) -> usize) -> (Uid, Known) {
    use data_encoding_of_tests::base64;
    let subject = WORDS[random(6)];
    let from = ["ann@example.org", "Bob <bob@example.net>"][random(2)];
    let to = ["carol@example.org", "Dan Grün <dan@example.net>"][random(2)];
    let extra = [None, Some(WORDS[0]), Some("Marker")][random(3)];
    let sent = [None, Some(0), Some(1), Some(2)][random(4)];
    let mut message = format!("From: {from}\r\nTo: {to}\r\n");
    message += &if random(2) == 0 {
        format!("Subject: {subject}\r\n")
    } else {
        format!("Subject: =?utf-8?B?{}?=\r\n", base64(subject))
    };
    if let Some(extra) = extra {
        message += &format!("X-Extra:\r\n {extra}\r\n");
    }
    if let Some(day) = sent {
        message += &format!("Date: {} Jan 1970 23:30:00 -0800\r\n", day + 1);
    }
    let mut texts = Vec::new();
    let mut inner = None;
    let mut part = |random: &mut dyn FnMut(usize) -> usize| {
        let text = WORDS[random(6)];
        texts.push(text);
        match random(3) {
            0 => format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}"),
            1 => format!(
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
                base64(text)
            ),
            _ => {
                let quoted: String = text.bytes().map(|octet| format!("={octet:02X}")).collect();
                format!(
                    "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{quoted}"
                )
            }
        }
    };
    match random(4) {
        0 | 1 => message += &part(random),
        2 => {
            message += "Content-Type: multipart/mixed; boundary=q\r\n\r\n";
            message += &format!("--q\r\n{}\r\n--q\r\n{}\r\n--q--\r\n", part(random), part(random));
        }
        _ => {
            let subject = WORDS[random(6)];
            inner = Some(subject);
            message += "Content-Type: multipart/mixed; boundary=q\r\n\r\n";
            message += &format!(
                "--q\r\nContent-Type: message/rfc822\r\n\r\nSubject: {subject}\r\n{}\r\n--q--\r\n",
                part(random)
            );
        }
    }
    let flags = Flags::from_bits(u8::try_from(random(32)).unwrap());
    let keywords: &[&str] = [&["$One"][..], &["$One", "$Two"], &[], &[]][random(4)];
    let received = i64::try_from(random(5)).unwrap() * DAY + 3600;
    let prefix: &[u8] = [&b""[..], b"Received: by alpha.example\r\n"][random(2)];
    let uid = world.append(&Mail { prefix, message: message.as_bytes(), flags, keywords, received });
    let row = world.store.reader().message(world.account.id(), world.inbox, uid).unwrap().unwrap();
    (uid, Known { subject, from, to, extra, sent, texts, inner, row })
}

mod data_encoding_of_tests {
    use base64::Engine;

    pub fn base64(text: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(text)
    }
}

/// Names of a search that has neither keywords nor saved results.
fn names(view: &UidSet) -> Names<'_> {
    static NONE: OnceLock<UidSet> = OnceLock::new();
    let account = AccountId::new(7).unwrap();
    Names { account, now: NOW, view, saved: NONE.get_or_init(UidSet::new), keyword: &|_| None }
}

fn is_in(text: &str, term: &str) -> bool {
    // Of the words here, the collation differs from this in nothing but that letters have their marks behind
    // them, so that one without is found in one with.
    let fold = |text: &str| text.to_uppercase().replace('Ü', "U\u{308}").replace("SS", "ß");
    fold(text).contains(&fold(term))
}

/// Tests one message in the plain way: from what is known of it, without any planning.
fn plain(mailbox: &Mailbox, uid: Uid, known: &Known, key: &SearchKey) -> bool {
    let compare = |test: DateTest, found: i64, day: Date| match test {
        DateTest::Before => found < day.days(),
        DateTest::On => found == day.days(),
        DateTest::Since => found >= day.days(),
    };
    match key {
        SearchKey::All => true,
        SearchKey::Nothing => false,
        SearchKey::And(keys) => keys.iter().all(|key| plain(mailbox, uid, known, key)),
        SearchKey::Or(keys) => plain(mailbox, uid, known, &keys.0) || plain(mailbox, uid, known, &keys.1),
        SearchKey::Not(key) => !plain(mailbox, uid, known, key),
        SearchKey::Flag(flags) => known.row.flags.contains(*flags),
        SearchKey::Keyword(keyword) => {
            let id = mailbox.world.account.keyword_id(keyword);
            id.is_some_and(|id| known.row.keywords.contains(&id))
        }
        SearchKey::Sequence(MessageSet::Set(set)) => {
            let number = mailbox.view.iter().position(|other| other == uid).unwrap() + 1;
            covers(set, u32::try_from(number).unwrap(), mailbox.view.len())
        }
        SearchKey::Uid(MessageSet::Set(set)) => covers(set, uid.get(), mailbox.view.last().unwrap().get()),
        SearchKey::Sequence(MessageSet::Saved) | SearchKey::Uid(MessageSet::Saved) => uid.get() < 20,
        SearchKey::Text(target, term) => in_target(known, target, term),
        SearchKey::InternalDate(test, day) => compare(*test, known.row.received.div_euclid(DAY), *day),
        SearchKey::SentDate(test, day) => known.sent.is_some_and(|sent| compare(*test, sent, *day)),
        SearchKey::SavedDate(test, day) => compare(*test, known.row.saved.div_euclid(DAY), *day),
        SearchKey::Older(seconds) => NOW - known.row.received >= seconds.get().into(),
        SearchKey::Younger(seconds) => NOW - known.row.received <= seconds.get().into(),
        SearchKey::EmailId(id) => {
            let own = ObjectId::email(mailbox.world.account.id().0, known.row.email.0);
            *id == Some(own)
        }
        SearchKey::ThreadId(id) => {
            let own = ObjectId::thread(mailbox.world.account.id().0, known.row.thread.0);
            *id == Some(own)
        }
        SearchKey::Larger(octets) => known.row.size > *octets,
        SearchKey::Smaller(octets) => known.row.size < *octets,
        SearchKey::ModSeq(modseq) => known.row.modseq.get() >= *modseq,
    }
}

fn in_target(known: &Known, target: &TextTarget, term: &str) -> bool {
    let body = || {
        known.texts.iter().any(|text| is_in(text, term))
            || known.inner.is_some_and(|inner| is_in(inner, term))
    };
    match target {
        TextTarget::Bcc | TextTarget::Cc => false,
        TextTarget::From => is_in(known.from, term),
        TextTarget::To => is_in(known.to, term),
        TextTarget::Subject => is_in(known.subject, term),
        TextTarget::Header(name) if name.eq_ignore_ascii_case("x-extra") => {
            known.extra.is_some_and(|extra| is_in(extra, term))
        }
        TextTarget::Header(name) if name.eq_ignore_ascii_case("subject") => is_in(known.subject, term),
        TextTarget::Header(_) => false,
        TextTarget::Body => body(),
        TextTarget::Text => {
            let fields = [known.from, known.to, known.subject, known.extra.unwrap_or("")];
            body() || fields.iter().any(|field| is_in(field, term)) || in_other_headers(known, term)
        }
    }
}

/// The prefix is the only other place where a generated term may be.
fn in_other_headers(known: &Known, term: &str) -> bool {
    let mailbox_has_prefix =
        known.row.size > 0 && HAS_PREFIX.with(|has| has.borrow().contains(&known.row.email.0));
    mailbox_has_prefix && is_in("Received: by alpha.example", term)
}

thread_local! {
    static HAS_PREFIX: std::cell::RefCell<std::collections::HashSet<u64>> = std::cell::RefCell::default();
}

fn learn_prefixes(mailbox: &Mailbox) {
    let reader = mailbox.world.store.reader();
    HAS_PREFIX.with(|has| {
        for (_, known) in &mailbox.known {
            let email = reader.email(mailbox.world.account.id(), known.row.email).unwrap().unwrap();
            if !email.prefix.is_empty() {
                has.borrow_mut().insert(known.row.email.0);
            }
        }
    });
}

fn covers(set: &SequenceSet, number: u32, last: u32) -> bool {
    let value = |number: SequenceNumber| match number {
        SequenceNumber::Number(number) => number.get(),
        SequenceNumber::Last => last,
    };
    set.ranges().iter().any(|range| {
        let (a, b) = (value(range.from), value(range.to));
        (a.min(b)..=a.max(b)).contains(&number)
    })
}

/// Finds what the search command would find.
fn planned(mailbox: &Mailbox, key: &SearchKey, returns: Option<SearchReturn>) -> UidSet {
    let saved = UidSet::from_range(Uid::MIN..=Uid::new(19).unwrap());
    let names = Names {
        account: mailbox.world.account.id(),
        now: NOW,
        view: &mailbox.view,
        saved: &saved,
        keyword: &|keyword| mailbox.world.account.keyword_id(keyword),
    };
    let tree = Arc::new(Tree::new(key, &names));
    let place = mailbox.world.place();
    let sorted = sort(&tree, &mailbox.world.store.reader(), place, &mailbox.view).unwrap();
    let mut found = sorted.sure.clone();
    for (want, open) in wants(Wanted::of(returns), &sorted) {
        let mut scan = Scan::new(Arc::clone(&tree), place, open, want);
        while !scan.is_finished() {
            scan.run(&mailbox.world.store).unwrap();
        }
        found = found.union(&scan.into_found().0);
    }
    match returns {
        Some(returns) => super::results::saved(returns, &Results::Set(&found)),
        None => found,
    }
}

fn number() -> impl Strategy<Value = SequenceNumber> {
    prop_oneof![
        5 => (1u32..320).prop_map(|n| SequenceNumber::Number(Uid::new(n).unwrap().0)),
        1 => Just(SequenceNumber::Last),
    ]
}

fn set() -> impl Strategy<Value = MessageSet> {
    let range = (number(), number()).prop_map(|(from, to)| SequenceRange { from, to });
    prop_oneof![
        8 => proptest::collection::vec(range, 1..4)
            .prop_map(|ranges| MessageSet::Set(SequenceSet::new(ranges).unwrap())),
        1 => Just(MessageSet::Saved),
    ]
}

fn term() -> impl Strategy<Value = Box<str>> {
    prop_oneof![
        Just("alpha"),
        Just("BETA"),
        Just("gru"),
        Just("GRÜß"),
        Just("дельт"),
        Just("A B"),
        Just("example.net"),
        Just("bob"),
        Just("zz"),
        Just("marker"),
        Just("nowhere"),
    ]
    .prop_map(Into::into)
}

/// Ages at which messages are, and one second more and less.
fn seconds() -> impl Strategy<Value = NonZeroU32> {
    (1i64..7, -1i64..2)
        .prop_map(|(days, more)| NonZeroU32::new(u32::try_from(days * DAY - 3600 + more).unwrap()).unwrap())
}

/// Identifiers of this account and of another one.
fn object(make: fn(NonZeroU32, u64) -> ObjectId) -> impl Strategy<Value = Option<ObjectId>> {
    let account = prop_oneof![9 => Just(7), 1 => Just(8)];
    proptest::option::weighted(
        0.9,
        (account, 0u64..310).prop_map(move |(account, id)| make(NonZeroU32::new(account).unwrap(), id)),
    )
}

fn leaf() -> impl Strategy<Value = SearchKey> {
    let target = prop_oneof![
        Just(TextTarget::Body),
        Just(TextTarget::Cc),
        Just(TextTarget::From),
        Just(TextTarget::To),
        Just(TextTarget::Subject),
        Just(TextTarget::Header("X-Extra".into())),
        Just(TextTarget::Header("SUBJECT".into())),
        Just(TextTarget::Header("X-None".into())),
    ];
    let test = || prop_oneof![Just(DateTest::Before), Just(DateTest::On), Just(DateTest::Since)];
    let day = || (0i64..6).prop_map(|day| Date::of_unix(day * DAY));
    prop_oneof![
        1 => Just(SearchKey::All),
        1 => Just(SearchKey::Nothing),
        4 => (1u8..32).prop_map(|bits| SearchKey::Flag(Flags::from_bits(bits))),
        2 => prop_oneof![Just("$one"), Just("$TWO"), Just("$none")]
            .prop_map(|keyword| SearchKey::Keyword(Keyword::new(keyword).unwrap())),
        2 => set().prop_map(SearchKey::Sequence),
        2 => set().prop_map(SearchKey::Uid),
        4 => (target, term()).prop_map(|(target, term)| SearchKey::Text(target, term)),
        // Terms that are in no name or value of a MIME header.
        1 => prop_oneof![Just("alpha"), Just("дельт"), Just("bob"), Just("nowhere")]
            .prop_map(|term| SearchKey::Text(TextTarget::Text, term.into())),
        1 => (test(), day()).prop_map(|(test, day)| SearchKey::InternalDate(test, day)),
        1 => (test(), day()).prop_map(|(test, day)| SearchKey::SentDate(test, day)),
        1 => (test(), (-1i64..2)).prop_map(|(test, day)| SearchKey::SavedDate(test, Date::of_unix(day * DAY))),
        1 => seconds().prop_map(SearchKey::Older),
        1 => seconds().prop_map(SearchKey::Younger),
        1 => object(ObjectId::email).prop_map(SearchKey::EmailId),
        1 => object(ObjectId::thread).prop_map(SearchKey::ThreadId),
        1 => (100u64..500).prop_map(SearchKey::Larger),
        1 => (100u64..500).prop_map(SearchKey::Smaller),
        1 => (0u64..350).prop_map(SearchKey::ModSeq),
    ]
}

fn keys() -> impl Strategy<Value = SearchKey> {
    leaf().prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(SearchKey::And),
            (inner.clone(), inner.clone()).prop_map(|pair| SearchKey::Or(Box::new(pair))),
            inner.prop_map(|key| SearchKey::Not(Box::new(key))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_planned_search_finds_what_a_plain_one_does(key in keys()) {
        let mailbox = mailbox();
        learn_prefixes(mailbox);
        let all = mailbox.known.iter().filter(|(uid, known)| plain(mailbox, *uid, known, &key));
        let all: UidSet = all.map(|(uid, _)| *uid).collect();
        prop_assert_eq!(&planned(mailbox, &key, None), &all);
        for (min, max) in [(true, false), (false, true), (true, true)] {
            let returns = SearchReturn { min, max, ..SearchReturn::default() };
            prop_assert_eq!(planned(mailbox, &key, Some(returns)), saved(returns, &Results::Set(&all)));
        }
        for (from, to, counted) in [(40, 20, Counted::FromFirst), (1, 3, Counted::FromLast)] {
            let [from, to] = [from, to].map(|number| NonZeroU32::new(number).unwrap());
            let returns = SearchReturn {
                partial: Some(ResultRange { from, to, counted }),
                max: from.get() > 1,
                ..SearchReturn::default()
            };
            let expected = saved(returns, &Results::Set(&all));
            prop_assert_eq!(planned(mailbox, &key, Some(returns)), expected, "{:?}", returns);
        }
    }
}

#[test]
fn sets_alone_are_decided_without_reading() {
    let Command::Search(search) = command("SEARCH OR 1:3 (UID 1:20 NOT 5)") else { panic!() };
    let view = UidSet::from_range(Uid::MIN..=Uid::new(10).unwrap());
    let names = names(&view);
    let tree = Tree::new(&search.key, &names);
    assert_eq!(tree.test.set(&view).unwrap().to_string(), "1:4,6:10");
}

#[test]
fn an_unknown_keyword_needs_no_reading_either() {
    let Command::Search(search) = command("SEARCH BODY x KEYWORD $never") else { panic!() };
    let view = UidSet::from_range(Uid::MIN..=Uid::new(10).unwrap());
    let names = names(&view);
    assert!(Tree::new(&search.key, &names).test.set(&view).unwrap().is_empty());
}

#[test]
fn flags_decide_from_packed_blocks() {
    let mailbox = mailbox();
    let Command::Search(search) = command("SEARCH UNSEEN NOT DELETED") else { panic!() };
    let names = names(&mailbox.view);
    let tree = Tree::new(&search.key, &names);
    let reader = mailbox.world.store.reader();
    let Sorted { sure, open } = sort(&tree, &reader, mailbox.world.place(), &mailbox.view).unwrap();
    assert!(open.is_empty() && !sure.is_empty());
}

#[test]
fn a_field_too_long_for_the_record_is_found_in_the_header() {
    let mut world = World::new();
    let far = format!("To: {}\r\n far@away.example\r\nSubject: x\r\n\r\n", "a@b.example,\r\n ".repeat(6_000));
    world.append(&Mail { message: far.as_bytes(), ..Mail::default() });
    let mailbox = Mailbox { view: world.view(), world, known: Vec::new() };
    let search = |text| {
        let Command::Search(search) = command(text) else { panic!() };
        planned(&mailbox, &search.key, None).to_string()
    };
    assert_eq!(search("SEARCH TO far@away"), "1");
    assert_eq!(search("SEARCH TO near@home"), "");
    assert_eq!(search("SEARCH HEADER To \"\" HEADER Cc x"), "");
    assert_eq!(search("SEARCH HEADER To \"\" NOT HEADER Cc \"\""), "1");
}

#[test]
fn only_the_first_found_is_looked_for_when_only_the_ends_are_asked() {
    let mailbox = mailbox();
    let Command::Search(search) = command("SEARCH RETURN (MIN) BODY a") else { panic!() };
    let names = names(&mailbox.view);
    let tree = Arc::new(Tree::new(&search.key, &names));
    let mut scan = Scan::new(tree, mailbox.world.place(), mailbox.view.clone(), Want::First(1));
    while !scan.is_finished() {
        scan.run(&mailbox.world.store).unwrap();
    }
    assert_eq!(scan.into_found().0.len(), 1);
}
