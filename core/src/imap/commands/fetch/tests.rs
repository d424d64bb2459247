//! FETCH rows against a store in memory; BINARY (RFC 3516) among them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use postrider_proto::imap::command::{Command, Utf8};
use postrider_proto::imap::types::{Flags, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::account::{Expunge, FlagChange, FlagOp};

use super::plan::Plan;
use super::rows::{Progress, Rows};
use super::world::{Mail, World, command};
use super::{Changes, HEADER_OCTETS_MAX, RUN_OCTETS};

const PREFIX: &[u8] = b"Return-Path: <a@b.example>\r\n";
const MIXED: &[u8] = b"Subject: Caf\xc3\xa9\r\nFrom: Ann <ann@example.org>\r\n\
MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
preamble\r\n--x\r\nContent-Type: text/plain\r\n\r\nplain text\r\n\
--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n\
AAECAwQFBgcICQ==\r\n\
--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nX-A: 1\r\n\r\ninner text\r\n\
--x\r\nContent-Transfer-Encoding: x-strange\r\n\r\nodd\r\n--x--\r\n";

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

fn plan(text: &str, condstore: bool) -> Plan {
    let Command::Fetch(fetch) = command(text) else { panic!("{text}") };
    let mut plan = Plan::new(fetch.items, Utf8::Off, condstore);
    plan.changed_since = fetch.changed_since.map(|since| since.modseq);
    plan
}

fn rows(world: &World, text: &str, view: UidSet, condstore: bool) -> Rows {
    let Command::Fetch(fetch) = command(text) else { panic!("{text}") };
    let postrider_proto::imap::sequence::MessageSet::Set(set) = &fetch.messages.set else { panic!() };
    let wanted = view.resolve_sequence(set).unwrap();
    Rows::new(Arc::new(plan(text, condstore)), world.place(), view, wanted, world.keywords())
}

/// Runs to the end, so many octets at a time; each run has a snapshot of its own.
fn finish(world: &World, rows: &mut Rows, octets: usize) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut out = Vec::new();
        let progress = rows.run(&world.store.reader(), &mut out, octets).unwrap();
        all.extend(out);
        // FLAGS would be told here.
        rows.take_awaited();
        if progress == Progress::Done {
            return all;
        }
    }
}

fn fetch(world: &World, text: &str) -> String {
    let whole = finish(world, &mut rows(world, text, world.view(), false), RUN_OCTETS);
    for octets in [1, 7, 100, 65_536] {
        let pieces = finish(world, &mut rows(world, text, world.view(), false), octets);
        assert!(pieces == whole, "{text} in pieces of {octets}");
    }
    String::from_utf8_lossy(&whole).into_owned()
}

fn mixed() -> World {
    let mut world = World::new();
    world.append(&Mail {
        prefix: PREFIX,
        message: MIXED,
        flags: Flags::SEEN,
        keywords: &["$Work"],
        received: 86_400,
    });
    world
}

#[test]
fn what_the_row_has_is_told_without_content() {
    let world = mixed();
    let size = PREFIX.len() + MIXED.len();
    assert_eq!(
        fetch(&world, "FETCH 1 FAST"),
        format!(
            "* 1 FETCH (UID 1 FLAGS (\\Seen $Work) INTERNALDATE \" 2-Jan-1970 00:00:00 +0000\" RFC822.SIZE {size})\r\n"
        )
    );
    assert_eq!(fetch(&world, "FETCH 1 UID"), "* 1 FETCH (UID 1)\r\n");
    let mut rows = rows(&world, "FETCH 1 FLAGS", world.view(), true);
    assert_eq!(finish(&world, &mut rows, 1), b"* 1 FETCH (UID 1 FLAGS (\\Seen $Work) MODSEQ (3))\r\n");
}

#[test]
fn sections_are_octets_of_prefix_and_content() {
    let world = mixed();
    let whole = [PREFIX, MIXED].concat();
    let text = String::from_utf8(whole.clone()).unwrap();
    let check = |item: &str, name: &str, content: &str| {
        let expected = format!("* 1 FETCH (UID 1 {name} {{{}}}\r\n{content})\r\n", content.len());
        assert_eq!(fetch(&world, &format!("FETCH 1 {item}")), expected, "{item}");
    };
    let body_at = text.find("\r\n\r\n").unwrap() + 4;
    check("BODY.PEEK[]", "BODY[]", &text);
    check("BODY[]", "BODY[]", &text);
    check("RFC822", "RFC822", &text);
    check("BODY[HEADER]", "BODY[HEADER]", &text[..body_at]);
    check("RFC822.HEADER", "RFC822.HEADER", &text[..body_at]);
    check("BODY[TEXT]", "BODY[TEXT]", &text[body_at..]);
    check("BODY[1]", "BODY[1]", "plain text");
    check("BODY[1.MIME]", "BODY[1.MIME]", "Content-Type: text/plain\r\n\r\n");
    check("BODY[3.HEADER]", "BODY[3.HEADER]", "Subject: inner\r\nX-A: 1\r\n\r\n");
    check("BODY[3.TEXT]", "BODY[3.TEXT]", "inner text");
    check("BODY[3.1]", "BODY[3.1]", "inner text");
    check(
        "BODY[HEADER.FIELDS (From x-a)]",
        "BODY[HEADER.FIELDS (From x-a)]",
        "From: Ann <ann@example.org>\r\n\r\n",
    );
    check("BODY[3.HEADER.FIELDS.NOT (subject)]", "BODY[3.HEADER.FIELDS.NOT (subject)]", "X-A: 1\r\n\r\n");
    check("BODY[HEADER.FIELDS (X-None)]", "BODY[HEADER.FIELDS (X-None)]", "\r\n");
}

#[test]
fn partial_requests_are_cut_to_what_there_is() {
    let world = mixed();
    let check = |item: &str, expected: &str| {
        assert_eq!(fetch(&world, &format!("FETCH 1 {item}")), format!("* 1 FETCH (UID 1 {expected})\r\n"));
    };
    check("BODY.PEEK[1]<0.5>", "BODY[1]<0> {5}\r\nplain");
    check("BODY.PEEK[1]<6.100>", "BODY[1]<6> {4}\r\ntext");
    check("BODY.PEEK[1]<10.1>", "BODY[1]<10> {0}\r\n");
    check("BODY.PEEK[1]<99.1>", "BODY[1]<99> {0}\r\n");
    check("BODY.PEEK[]<0.12>", "BODY[]<0> {12}\r\nReturn-Path:");
    // Across the border between prefix and content.
    check("BODY.PEEK[]<26.9>", "BODY[]<26> {9}\r\n\r\nSubject");
    check("BODY.PEEK[HEADER.FIELDS (from)]<6.3>", "BODY[HEADER.FIELDS (from)]<6> {3}\r\nAnn");
    check("BODY.PEEK[9]", "BODY[9] NIL");
    check("BODY.PEEK[9]<1.1>", "BODY[9]<1> NIL");
    check("BODY.PEEK[1.HEADER]", "BODY[1.HEADER] NIL");
}

#[test]
fn binary_content_is_decoded_and_measured() {
    let world = mixed();
    let check = |item: &str, expected: &str| {
        assert_eq!(fetch(&world, &format!("FETCH 1 {item}")), format!("* 1 FETCH (UID 1 {expected})\r\n"));
    };
    check("BINARY.PEEK[2]", "BINARY[2] ~{10}\r\n\0\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\t");
    check("BINARY.PEEK[2]<3.4>", "BINARY[2]<3> ~{4}\r\n\u{3}\u{4}\u{5}\u{6}");
    check("BINARY.PEEK[2]<10.4>", "BINARY[2]<10> ~{0}\r\n");
    check("BINARY.SIZE[2]", "BINARY.SIZE[2] 10");
    check("BINARY.PEEK[1]<6.9>", "BINARY[1]<6> ~{4}\r\ntext");
    check("BINARY.SIZE[1]", "BINARY.SIZE[1] 10");
    check("BINARY.PEEK[7]", "BINARY[7] NIL");
}

#[test]
fn a_part_in_an_unknown_encoding_is_left_out_and_told() {
    let world = mixed();
    let mut rows = rows(&world, "FETCH 1 (BINARY.PEEK[4] BODY.PEEK[4])", world.view(), false);
    assert_eq!(finish(&world, &mut rows, 1), b"* 1 FETCH (UID 1 BODY[4] {3}\r\nodd)\r\n");
    assert!(rows.unknown_encoding);
}

#[test]
fn structure_and_envelope_come_from_the_record() {
    let world = mixed();
    let text = fetch(&world, "FETCH 1 (ENVELOPE BODY BODYSTRUCTURE)");
    assert!(text.starts_with("* 1 FETCH (UID 1 ENVELOPE (NIL \"=?utf-8?"), "{text}");
    assert!(
        text.contains(" BODY ((\"text\" \"plain\"") || text.contains(" BODY ((\"TEXT\" \"PLAIN\""),
        "{text}"
    );
    assert!(text.contains(" BODYSTRUCTURE (("), "{text}");
}

#[test]
fn a_large_message_is_written_in_bounded_pieces() {
    let mut world = World::new();
    let body = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(8_000);
    let message = format!("Subject: large\r\n\r\n{body}");
    world.append(&Mail { message: message.as_bytes(), ..Mail::default() });
    let mut rows = rows(&world, "FETCH 1 BODY.PEEK[]", world.view(), false);
    let mut all = Vec::new();
    loop {
        let mut out = Vec::new();
        let progress = rows.run(&world.store.reader(), &mut out, 100_000).unwrap();
        assert!(out.len() <= 100_000 + 65_536 + 64, "{}", out.len());
        all.extend(out);
        if progress == Progress::Done {
            break;
        }
        assert!(rows.is_in_row() || rows.is_finished());
    }
    let expected = format!("* 1 FETCH (UID 1 BODY[] {{{}}}\r\n{message})\r\n", message.len());
    assert!(all == expected.as_bytes());
}

#[test]
fn fields_are_picked_of_a_bounded_header() {
    let mut world = World::new();
    let limit = usize::try_from(HEADER_OCTETS_MAX).unwrap();
    let last = "X-Last: 1\r\n";
    // One header ends at the limit, the other one octet behind it.
    for octets in [limit, limit + 1] {
        let filler = octets - last.len() - "X-Filler: ".len() - 2;
        let message = format!("X-Filler: {}\r\n{last}\r\n", "f".repeat(filler));
        world.append(&Mail { message: message.as_bytes(), ..Mail::default() });
    }
    let told = fetch(&world, "FETCH 1:2 BODY.PEEK[HEADER.FIELDS (X-Last)]");
    let rows: Vec<&str> = told.split("* ").filter(|row| !row.is_empty()).collect();
    assert!(rows[0].ends_with("{13}\r\nX-Last: 1\r\n\r\n)\r\n"), "{told}");
    assert!(rows[1].ends_with("{2}\r\n\r\n)\r\n"), "{told:?}");
}

#[test]
fn a_message_that_others_removed_is_told_from_what_is_left() {
    let mut world = World::new();
    for number in 1..=3 {
        let message = format!("Subject: m{number}\r\n\r\nx");
        world.append(&Mail { message: message.as_bytes(), ..Mail::default() });
    }
    let view = world.view();
    let inbox = world.inbox;
    let email = world.store.reader().message(world.account.id(), inbox, uid(2)).unwrap().unwrap().email;
    world.transact(|tx| tx.expunge(inbox, Expunge::These(&[uid(2)])));
    let mut rows = rows(&world, "FETCH 1:3 (FLAGS BODY.PEEK[TEXT])", view, false);
    let row = |n| format!("* {n} FETCH (UID {n} FLAGS () BODY[TEXT] {{1}}\r\nx)\r\n");
    assert_eq!(finish(&world, &mut rows, 100_000), (row(1) + &row(3)).as_bytes());
    assert_eq!(rows.take_missing(), [uid(2)]);
    assert!(rows.is_finished());
    rows.add_removed([(uid(2), email)]);
    assert!(!rows.is_finished());
    // Its flags are gone, its content isn't.
    assert_eq!(finish(&world, &mut rows, 100_000), b"* 2 FETCH (UID 2 BODY[TEXT] {1}\r\nx)\r\n");
}

#[test]
fn only_what_changed_since_is_told() {
    let mut world = World::new();
    for _ in 0..200 {
        world.append(&Mail::default());
    }
    let view = world.view();
    let inbox = world.inbox;
    let since = world.account.head().unwrap().modseq.get();
    let change = FlagChange { op: FlagOp::Add, flags: Flags::FLAGGED, keywords: Vec::new() };
    world.transact(|tx| tx.store_flags(inbox, &[uid(5), uid(150)], &change, None));
    world.transact(|tx| tx.expunge(inbox, Expunge::These(&[uid(7), uid(8)])));
    let text = format!("FETCH 1:* FLAGS (CHANGEDSINCE {since})");
    let told = finish(&world, &mut rows(&world, &text, view.clone(), true), 1);
    let told = String::from_utf8(told).unwrap();
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("UID 5 FLAGS (\\Flagged)") && told.contains("UID 150 "), "{told}");

    let changes = |since: u64, view: &UidSet| {
        let (account, mailbox) = world.place();
        let asked = Some(UidSet::from_range(uid(1)..=uid(200)));
        let changes = Changes { account, mailbox, since, wanted: view.clone(), asked, view: view.clone() };
        let (wanted, vanished) = changes.read(&world.store.reader()).unwrap();
        (wanted.to_string(), vanished.to_string())
    };
    // What the client still has in its view is told by EXPUNGE or VANISHED, not as earlier.
    assert_eq!(changes(since, &view), ("5,150".into(), String::new()));
    assert_eq!(changes(since, &world.view()), ("5,150".into(), "7:8".into()));
    assert_eq!(changes(since + 2, &world.view()), (String::new(), String::new()));
    assert_eq!(changes(0, &world.view()).1, "7:8");
}

#[test]
fn messages_are_marked_as_seen_in_bounded_groups() {
    let mut world = World::new();
    for number in 0..10 {
        let flags = if number % 2 == 0 { Flags::SEEN } else { Flags::NONE };
        world.append(&Mail { flags, message: b"Subject: x\r\n\r\n", ..Mail::default() });
    }
    let reader = world.store.reader();
    let mut rows = rows(&world, "FETCH 1:* BODY[]", world.view(), false);
    assert_eq!(rows.next_unseen(&reader, 4, u64::MAX).unwrap(), [uid(2), uid(4)]);
    rows.set_newly_seen([uid(2), uid(4)].into_iter().collect());
    let told = String::from_utf8(finish(&world, &mut rows, 100_000)).unwrap();
    assert_eq!(told.matches("FETCH").count(), 4);
    assert_eq!(told.matches("FLAGS").count(), 2, "only what changed is told");
    // Two messages of 14 octets reach 28 octets.
    assert_eq!(rows.next_unseen(&reader, 4, 28).unwrap(), [uid(6)]);
    finish(&world, &mut rows, 100_000);
    assert_eq!(rows.next_unseen(&reader, 400, u64::MAX).unwrap(), [uid(8), uid(10)]);
    finish(&world, &mut rows, 100_000);
    assert!(rows.is_finished());
}

#[test]
fn flags_from_blocks_are_those_of_rows() {
    let mut world = World::new();
    for number in 0_u8..200 {
        let flags = Flags::from_bits(number & 0b1_1111);
        let keywords: &[&str] = if number % 37 == 5 || number > 190 { &["$Work"] } else { &[] };
        world.append(&Mail { flags, keywords, ..Mail::default() });
    }
    let inbox = world.inbox;
    let view = world.view();
    let gone: Vec<Uid> = (1..=200).filter(|number| number % 11 == 0).map(uid).collect();
    world.transact(|tx| tx.expunge(inbox, Expunge::These(&gone)));
    let packed =
        String::from_utf8(finish(&world, &mut rows(&world, "FETCH 1:* (FLAGS)", view.clone(), false), 500));
    // With MODSEQ every row is read.
    let read =
        String::from_utf8(finish(&world, &mut rows(&world, "FETCH 1:* (FLAGS MODSEQ)", view, false), 500));
    let (packed, read) = (packed.unwrap(), read.unwrap());
    assert_eq!(packed.lines().count(), 200 - gone.len());
    for (one, other) in packed.lines().zip(read.lines()) {
        let (state, modseq) = other.split_once(" MODSEQ (").unwrap();
        assert!(modseq.ends_with("))"), "{other}");
        assert_eq!(one, format!("{state})"));
    }
    assert_eq!(packed.lines().count(), read.lines().count());
    assert!(packed.contains("FLAGS ($Work)") || packed.contains("$Work)"), "{packed}");
}
