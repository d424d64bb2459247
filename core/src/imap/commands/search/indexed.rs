//! SEARCH TEXT and BODY with the text index against the same without it: generated mailboxes, at every
//! stage of the index.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_proto::imap::command::{SearchKey, TextTarget};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_proto::mime::terms::RUN_OCTETS_MAX;
use postrider_storage::account::{Erase, Expunge};
use postrider_storage::ids::{AccountId, EmailId, MailboxId};
use postrider_storage::keys::{self, table};
use postrider_storage::rows::{Segment, SpecialUse};
use postrider_storage::text::{Builder, Finder, Hits, Merge, Query, Step};

use super::scan::{Scan, Want};
use super::tree::{Names, Scope, Tree};
use crate::imap::commands::fetch::world::{Mail, World};
use crate::textindex::lookup;
use crate::textindex::texts::add_email;

/// A random generator with a seed that failing tests name.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const WORDS: [&str; 24] = [
    "alpha",
    "Alphabet",
    "beta",
    "BETA",
    "a",
    "I",
    "x1",
    "2024",
    "Grüße",
    "GRÜSSE",
    "straße",
    "İstanbul",
    "ДЕЛЬТА",
    "δέλτας",
    "ΔΈΛΤΑΣ",
    "日本語",
    "本日は晴天なり",
    "ภาษาไทย",
    "한국어",
    "e\u{301}t\u{e9}",
    "abcdefghijklmnopqrstuvwxyzabcdef",
    "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz",
    "nbsp\u{a0}here",
    "zz",
];
const GAPS: [&str; 9] = [" ", " ", " ", ", ", "-", "\r\n", "", "@", "</p><p>"];

fn text(random: &mut Random, words: usize) -> String {
    let count = 1 + random.below(words);
    (0..count).map(|_| random.pick(&WORDS).to_owned() + random.pick(&GAPS)).collect()
}

/// A header field of encoded words, or of bare text.
fn field(random: &mut Random, name: &str) -> String {
    let text = text(random, 5).replace("\r\n", " ");
    match random.below(3) {
        0 => format!("{name}: {text}\r\n"),
        1 => format!("{name}:\r\n =?utf-8?B?{}?=\r\n", STANDARD.encode(&text)),
        _ => {
            let quoted: String = text.bytes().map(|octet| format!("={octet:02X}")).collect();
            format!("{name}: =?utf-8?Q?{}?= tail\r\n", quoted.get(..60).unwrap_or(&quoted))
        }
    }
}

/// A part with its own header.
fn part(random: &mut Random, depth: usize) -> Vec<u8> {
    let plain = text(random, 30);
    let body = |header: &str, body: &[u8]| [header.as_bytes(), b"\r\n\r\n", body].concat();
    match random.below(if depth == 0 { 9 } else { 11 }) {
        0 | 1 => body("Content-Type: text/plain; charset=utf-8", plain.as_bytes()),
        2 => {
            let encoded = STANDARD.encode(&plain);
            let lines: Vec<&[u8]> = encoded.as_bytes().chunks(19).collect();
            body(
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64",
                &lines.join(&b"\r\n"[..]),
            )
        }
        3 => {
            let quoted: String = plain.bytes().map(|octet| format!("={octet:02x}=\r\n")).collect();
            body(
                "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable",
                quoted.as_bytes(),
            )
        }
        4 => body("Content-Type: text/html; charset=iso-8859-1", b"<b>Gr\xfc\xdfe</b> alpha\xa0beta"),
        5 => body("Content-Type: text/plain; charset=x-unknown", plain.as_bytes()),
        6 => body("Content-Type: text/plain; charset=utf-7", b"alpha +AOQ-beta zz"),
        // What is no text, and what can't be decoded, is not searched.
        7 => body("Content-Type: application/octet-stream\r\nX-Odd: alpha", plain.as_bytes()),
        8 => body("Content-Type: text/plain\r\nContent-Transfer-Encoding: x-strange", plain.as_bytes()),
        9 => {
            let inner = message(random, depth - 1);
            body("Content-Type: message/rfc822\r\nContent-Description: beta", &inner)
        }
        _ => {
            let mut parts = b"Content-Type: multipart/mixed; boundary=\"=_q".to_vec();
            let boundary = format!("=_q{depth}");
            parts.extend_from_slice(format!("{depth}\"\r\n\r\nalpha preamble\r\n").as_bytes());
            for _ in 0..=random.below(3) {
                parts.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
                parts.extend(part(random, depth - 1));
                parts.extend_from_slice(b"\r\n");
            }
            parts.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
            parts
        }
    }
}

fn message(random: &mut Random, depth: usize) -> Vec<u8> {
    let mut message = field(random, "Subject").into_bytes();
    for name in ["From", "X-Extra", "Received"] {
        if random.below(2) == 0 {
            message.extend(field(random, name).into_bytes());
        }
    }
    message.extend(part(random, depth));
    message
}

/// A run that is too long to be indexed, now and then.
fn odd(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => format!("Subject: long\r\n\r\n{}zz", "x".repeat(RUN_OCTETS_MAX + 1)).into_bytes(),
        1 => format!("Subject: {}\r\n\r\nalpha", "y".repeat(RUN_OCTETS_MAX + 1)).into_bytes(),
        2 => b"no header at all".to_vec(),
        _ => b"\r\n".to_vec(),
    }
}

/// A mailbox and another one, in an account with an index.
struct Indexed {
    world: World,
    other: MailboxId,
}

impl Indexed {
    fn new() -> Self {
        let mut world = World::new();
        let name = MailboxName::new("other").unwrap();
        let other = world.transact(move |tx| tx.create_mailbox(&name, SpecialUse::NONE));
        Self { world, other }
    }

    fn id(&self) -> AccountId {
        self.world.account.id()
    }

    fn uids(&self, mailbox: MailboxId) -> UidSet {
        self.world.store.reader().uid_set(self.id(), mailbox).unwrap()
    }

    fn add(&mut self, random: &mut Random) {
        let message = if random.below(12) == 0 { odd(random) } else { message(random, 3) };
        let prefix: &[u8] = [&b""[..], b"Received: by alpha.example\r\n"][random.below(2)];
        self.world.append(&Mail { prefix, message: &message, ..Mail::default() });
    }

    fn some(&self, random: &mut Random, mailbox: MailboxId) -> Vec<Uid> {
        self.uids(mailbox).iter().filter(|_| random.below(5) == 0).collect()
    }

    /// Moves, copies and removes some messages.
    fn shuffle(&mut self, random: &mut Random) {
        let (inbox, other) = (self.world.inbox, self.other);
        let (moved, copied) = (self.some(random, inbox), self.some(random, inbox));
        self.world.transact(|tx| tx.copy(inbox, &copied, other));
        self.world.transact(|tx| tx.move_messages(inbox, &moved, other));
        let gone = self.some(random, inbox);
        self.world.transact(|tx| tx.expunge(inbox, Expunge::These(&gone)));
        if random.below(2) == 0 {
            self.world.transact(|tx| tx.erase(Erase::UpTo(ModSeq::MAX)));
        }
    }

    /// Indexes emails as the job does.
    fn build(&mut self, ids: u64) {
        let row = self.world.transact(|tx| tx.open_text());
        let next = self.world.account.head().unwrap().next_email;
        let (first, end) = (row.covered, EmailId(next.min(row.covered.0 + ids)));
        let account = self.id();
        let mut builder = Builder::new(first);
        let reader = self.world.store.reader();
        for found in reader.prefix(&keys::of_table(account.get(), table::EMAIL)) {
            let [email] = keys::numbers(&found.unwrap().0, [8]).unwrap();
            if (first.0..end.0).contains(&email) {
                add_email(&reader, account, EmailId(email), &mut builder).unwrap();
            }
        }
        let emails = builder.emails();
        let number = self.world.transact(|tx| tx.begin_segment(first, end));
        let (rows, finished) = builder.finish(account, number);
        self.world.transact(|tx| tx.write_segment(number, rows));
        assert!(self.world.transact(|tx| tx.finish_segment(number, emails, finished, &[])));
    }

    fn merge(&mut self) {
        let row = self.world.transact(|tx| tx.open_text());
        let inputs: Vec<Segment> = row.live().copied().collect();
        let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else { return };
        let (first, end) = (first.first, last.end);
        let number = self.world.transact(|tx| tx.begin_segment(first, end));
        let mut merge = Merge::new(self.id(), &inputs, number);
        while merge.step(&self.world.store.reader()).unwrap() {}
        let (rows, finished, emails) = merge.finish();
        self.world.transact(|tx| tx.write_segment(number, rows));
        let replaces: Vec<u32> = inputs.iter().map(|segment| segment.number).collect();
        assert!(self.world.transact(|tx| tx.finish_segment(number, emails, finished, &replaces)));
    }

    fn hits(&self, tree: &Tree) -> Option<Vec<Option<Hits>>> {
        let queries = tree.terms.iter().map(|term| {
            let (runs, is_one_run) = term.needle.runs();
            let places = if term.scope == Scope::Body { lookup::BODY } else { lookup::TEXT };
            Query { runs, is_one_run, places }
        });
        let reader = self.world.store.reader();
        let mut finder = Finder::begin(&reader, self.id(), queries.collect()).unwrap()?;
        while finder.step(&reader).unwrap() == Step::More {}
        Some(finder.into_hits())
    }

    fn search(&self, key: &SearchKey, mailbox: MailboxId, with_index: bool) -> UidSet {
        let view = self.uids(mailbox);
        let saved = UidSet::new();
        let names = Names { account: self.id(), now: 0, view: &view, saved: &saved, keyword: &|_| None };
        let tree = Tree::new(key, &names);
        if let Some(found) = tree.test.set(&view) {
            return found;
        }
        if with_index && let Some(hits) = self.hits(&tree) {
            assert!(tree.hits.set(hits.into()).is_ok());
        }
        let mut scan = Scan::new(Arc::new(tree), (self.id(), mailbox), view, Want::Every);
        while !scan.is_finished() {
            scan.run(&self.world.store).unwrap();
        }
        scan.into_found().0
    }
}

fn needle(random: &mut Random) -> String {
    const ODD: [&str; 12] = [
        "",
        "@",
        "-",
        " ",
        "a",
        "I",
        "\r\n",
        "</p>",
        "alpha beta",
        "content-type",
        "\u{301}",
        "xxxxxxxxxxxx",
    ];
    if random.below(5) == 0 {
        return random.pick(&ODD).to_owned();
    }
    let source = text(random, 3);
    let characters: Vec<char> = source.chars().collect();
    let start = random.below(characters.len());
    let longest = [2, 5, 12, 70][random.below(4)];
    characters[start..].iter().take(1 + random.below(longest)).collect()
}

fn key(random: &mut Random) -> SearchKey {
    let target = if random.below(2) == 0 { TextTarget::Body } else { TextTarget::Text };
    let text = SearchKey::Text(target, needle(random).into());
    match random.below(6) {
        0 => SearchKey::Not(Box::new(text)),
        1 => SearchKey::Or(Box::new((text, SearchKey::Text(TextTarget::Body, needle(random).into())))),
        2 => SearchKey::And(vec![text, SearchKey::Text(TextTarget::Text, needle(random).into())]),
        _ => text,
    }
}

#[test]
fn answers_with_the_index_are_those_of_a_plain_scan() {
    let (mut found, mut searches) = (0, 0);
    for seed in 1..=12 {
        let random = &mut Random::new(seed);
        let mut indexed = Indexed::new();
        (0..10).for_each(|_| indexed.add(random));
        for stage in 0..6 {
            for _ in 0..12 {
                let key = key(random);
                for mailbox in [indexed.world.inbox, indexed.other] {
                    let plain = indexed.search(&key, mailbox, false);
                    let with_index = indexed.search(&key, mailbox, true);
                    assert_eq!(with_index, plain, "seed {seed} stage {stage}: {key:?}");
                    found += plain.len();
                    searches += 1;
                }
            }
            match stage {
                // Partial, complete, with newer mail, shuffled, merged.
                0 => indexed.build(5),
                1 => indexed.build(u64::MAX / 2),
                2 => (0..4).for_each(|_| indexed.add(random)),
                3 => indexed.shuffle(random),
                _ => {
                    indexed.build(u64::MAX / 2);
                    indexed.merge();
                }
            }
        }
    }
    assert!(found > searches, "{found} found by {searches} searches");
}

#[test]
fn what_the_index_is_sure_of_is_not_read() {
    let mut indexed = Indexed::new();
    for text in ["alpha beta", "gamma"] {
        let message = format!("Subject: x\r\n\r\n{text}");
        indexed.world.append(&Mail { message: message.as_bytes(), ..Mail::default() });
    }
    indexed.build(100);
    let key = |text: &str| SearchKey::Text(TextTarget::Body, text.into());
    let view = indexed.uids(indexed.world.inbox);
    let saved = UidSet::new();
    let names = Names { account: indexed.id(), now: 0, view: &view, saved: &saved, keyword: &|_| None };
    for (text, told) in
        [("lph", [Some(true), Some(false)]), ("alpha b", [None, Some(false)]), ("zz", [Some(false); 2])]
    {
        let tree = Tree::new(&key(text), &names);
        let hits = indexed.hits(&tree).unwrap();
        let reader = indexed.world.store.reader();
        let answers: Vec<_> = view
            .iter()
            .map(|uid| {
                let row = reader.message(indexed.id(), indexed.world.inbox, uid).unwrap().unwrap();
                hits[0].as_ref().unwrap().decide(row.email)
            })
            .collect();
        assert_eq!(answers, told, "{text}");
    }
}
