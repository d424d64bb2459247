//! The index against a plain look at the same texts, at every stage of its life.
#![expect(clippy::unwrap_used, reason = "tests")]

use postrider_proto::imap::types::Flags;
use postrider_proto::mime::text::{Needle, fold, terms};

use super::*;
use crate::account::tests::World;
use crate::account::{Erase, Expunge};
use crate::engine::{Batch, Durability, Engine, Space};
use crate::ids::EmailId;
use crate::keys::table;

/// A random generator with a seed that failing tests name.
struct Random(u64);

impl Random {
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

const WORDS: [&str; 14] = [
    "alpha",
    "Beta",
    "alphabet",
    "a",
    "x1",
    "Grüße",
    "STRASSE",
    "ДЕЛЬТА",
    "日本語",
    "本日は晴天なり",
    "ภาษาไทย",
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "0123456789abcdefghijklmnopqrstuvwxyzabcdef",
    "zz",
];
const GAPS: [&str; 6] = [" ", " ", ", ", "-", "", "\r\n"];

fn text(random: &mut Random, words: usize) -> String {
    (0..random.below(words) + 1).map(|_| random.pick(&WORDS).to_owned() + random.pick(&GAPS)).collect()
}

/// What an email says: where BODY looks, and where only TEXT looks.
struct Mail {
    body: String,
    header: String,
}

/// A store with messages that stand for texts kept beside.
struct Mailbox {
    world: World,
    mails: Vec<(EmailId, Mail)>,
}

impl Mailbox {
    fn new() -> Self {
        Self { world: World::new(), mails: Vec::new() }
    }

    fn add(&mut self, random: &mut Random, count: usize) {
        let inbox = self.world.inbox();
        for _ in 0..count {
            let mail = Mail { body: text(random, 12), header: text(random, 4) };
            let uid = self.world.append(inbox, b"x", Flags::NONE, &[]);
            let row =
                self.world.store.reader().message(self.world.account.id(), inbox, uid).unwrap().unwrap();
            self.mails.push((row.email, mail));
        }
    }

    /// Removes some messages with their emails.
    fn remove(&mut self, random: &mut Random) {
        let inbox = self.world.inbox();
        let uids: Vec<_> =
            self.world.store.reader().uid_set(self.world.account.id(), inbox).unwrap().iter().collect();
        let gone: Vec<_> = uids.into_iter().filter(|_| random.below(5) == 0).collect();
        self.world.run(|tx| tx.expunge(inbox, Expunge::These(&gone))).unwrap();
        self.world.run(|tx| tx.erase(Erase::UpTo(postrider_proto::imap::types::ModSeq::MAX))).unwrap();
        let reader = self.world.store.reader();
        let account = self.world.account.id();
        self.mails.retain(|(email, _)| reader.email(account, *email).unwrap().is_some());
    }

    fn row(&mut self) -> TextRow {
        self.world.run(|tx| tx.open_text()).unwrap().0
    }

    /// Indexes the next emails, so many ids.
    fn build(&mut self, ids: u64) {
        let row = self.row();
        let next = self.world.account.head().unwrap().next_email;
        let end = EmailId(next.min(row.covered.0 + ids));
        let mut builder = Builder::new(row.covered);
        let due = self.mails.iter().filter(|(email, _)| *email >= row.covered && *email < end);
        for (email, mail) in due {
            builder.begin(*email);
            for (place, text) in [(Place::Body, &mail.body), (Place::Header, &mail.header)] {
                if terms(text, &mut |kind, term| builder.add(place, kind, term)).is_err() {
                    builder.unsure();
                }
            }
        }
        let emails = builder.emails();
        let account = self.world.account.id();
        let number = self.world.run(|tx| tx.begin_segment(row.covered, end)).unwrap().0;
        self.world.verify();
        let (rows, finished) = builder.finish(account, number);
        self.world.run(|tx| tx.write_segment(number, rows)).unwrap();
        self.world.verify();
        assert!(self.world.run(|tx| tx.finish_segment(number, emails, finished, &[])).unwrap().0);
        self.world.verify();
    }

    /// Merges live segments.
    fn merge(&mut self, inputs: &[Segment]) {
        let account = self.world.account.id();
        let (first, end) = (inputs[0].first, inputs[inputs.len() - 1].end);
        let number = self.world.run(|tx| tx.begin_segment(first, end)).unwrap().0;
        let mut merge = Merge::new(account, inputs, number);
        loop {
            let more = merge.step(&self.world.store.reader()).unwrap();
            let rows = merge.take();
            self.world.run(|tx| tx.write_segment(number, rows)).unwrap();
            if !more {
                break;
            }
        }
        let (rows, finished, emails) = merge.finish();
        self.world.run(|tx| tx.write_segment(number, rows)).unwrap();
        let replaces: Vec<u32> = inputs.iter().map(|segment| segment.number).collect();
        assert!(self.world.run(|tx| tx.finish_segment(number, emails, finished, &replaces)).unwrap().0);
        self.world.verify();
    }

    fn drop_all(&mut self) {
        while let Some(number) = self.row().dropped() {
            while self.world.run(|tx| tx.drop_segment(number)).unwrap().0 {
                self.world.verify();
            }
            self.world.verify();
        }
    }

    fn find(&self, needles: &[(String, &'static [Place])]) -> Vec<Option<Hits>> {
        let queries = needles.iter().map(|(needle, places)| {
            let (runs, is_one_run) = Needle::new(needle).runs();
            Query { runs, is_one_run, places }
        });
        let reader = self.world.store.reader();
        let mut finder = Finder::begin(&reader, self.world.account.id(), queries.collect()).unwrap().unwrap();
        loop {
            match finder.step(&reader).unwrap() {
                Step::More => {}
                Step::Done => return finder.into_hits(),
                Step::Changed => panic!("nothing changes meanwhile"),
            }
        }
    }

    /// Looks for needles with the index and without it. Gives how many answers the index gave.
    fn compare(&self, random: &mut Random, seed: u64) -> usize {
        const PLACES: [&[Place]; 2] = [&[Place::Body], &[Place::Body, Place::Header]];
        let mut needles = Vec::new();
        for _ in 0..24 {
            let source = match random.below(3) {
                0 => text(random, 2),
                _ if self.mails.is_empty() => continue,
                _ => {
                    let (_, mail) = &self.mails[random.below(self.mails.len())];
                    fold(if random.below(4) == 0 { &mail.header } else { &mail.body })
                }
            };
            let characters: Vec<char> = source.chars().collect();
            if characters.is_empty() {
                continue;
            }
            let start = random.below(characters.len());
            let longest = [2, 6, 50][random.below(3)];
            let length = 1 + random.below(longest);
            let needle = characters[start..].iter().take(length).collect();
            needles.push((needle, PLACES[random.below(2)]));
        }
        let mut told = 0;
        for ((needle, places), hits) in needles.iter().zip(self.find(&needles)) {
            let Some(hits) = hits else {
                assert!(Needle::new(needle).runs().0.is_empty(), "{needle:?} can be looked up");
                continue;
            };
            for (email, mail) in &self.mails {
                let is_in = |text: &str| fold(text).contains(&fold(needle));
                let truth = is_in(&mail.body) || places.len() > 1 && is_in(&mail.header);
                if let Some(answer) = hits.decide(*email) {
                    assert_eq!(answer, truth, "seed {seed}: {needle:?} in {:?} {:?}", mail.body, mail.header);
                    told += 1;
                }
            }
        }
        told
    }
}

#[test]
fn the_index_never_contradicts_the_texts() {
    let mut told = 0;
    for seed in 1..=40 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut mailbox = Mailbox::new();
        mailbox.row();
        for _ in 0..12 {
            match random.below(6) {
                0 | 1 => {
                    let count = random.below(12);
                    mailbox.add(&mut random, count);
                }
                2 => mailbox.remove(&mut random),
                3 => mailbox.build(1 + random.below(15) as u64),
                4 => {
                    let live: Vec<Segment> = mailbox.row().live().copied().collect();
                    if live.len() > 1 {
                        let start = random.below(live.len() - 1);
                        mailbox.merge(&live[start..]);
                    }
                }
                _ => mailbox.drop_all(),
            }
            told += mailbox.compare(&mut random, seed);
        }
        mailbox.drop_all();
        assert!(mailbox.row().segments.iter().all(|segment| segment.state == SegmentState::Live));
    }
    assert!(told > 10_000, "the index answers: {told}");
}

#[test]
fn an_index_that_is_emptied_is_built_anew() {
    let mut random = Random(5);
    let mut mailbox = Mailbox::new();
    mailbox.add(&mut random, 20);
    mailbox.build(12);
    mailbox.build(100);
    assert_eq!(mailbox.row().live().count(), 2);
    mailbox.world.run(|tx| tx.reset_text()).unwrap();
    mailbox.world.verify();
    assert_eq!(mailbox.row().covered, EmailId(0));
    assert_eq!(mailbox.compare(&mut random, 5), 0);
    mailbox.drop_all();
    let account = mailbox.world.account.id();
    for table in [table::TERMS, table::POSTINGS] {
        let rows = mailbox.world.store.reader();
        assert_eq!(rows.prefix(&crate::keys::of_table(account.get(), table)).count(), 0);
    }
    mailbox.build(100);
    assert!(mailbox.compare(&mut random, 5) > 0);
}

#[test]
fn an_index_made_in_another_way_is_not_used_and_emptied() {
    let mut random = Random(6);
    let mut mailbox = Mailbox::new();
    mailbox.add(&mut random, 5);
    mailbox.build(100);
    let account = mailbox.world.account.id();
    let row = TextRow { text_version: TEXT_VERSION + 1, ..mailbox.row() };
    let mut batch = Batch::new();
    batch.insert(Space::Rows, crate::keys::text(account), row.encode());
    mailbox.world.engine.commit(batch, Durability::Synced).unwrap();
    let reader = mailbox.world.store.reader();
    assert!(Finder::begin(&reader, account, Vec::new()).unwrap().is_none());
    let row = mailbox.row();
    assert_eq!((row.text_version, row.covered), (TEXT_VERSION, EmailId(0)));
}

#[test]
fn work_that_was_broken_off_is_dropped() {
    let mut random = Random(7);
    let mut mailbox = Mailbox::new();
    mailbox.add(&mut random, 5);
    mailbox.row();
    let number = mailbox.world.run(|tx| tx.begin_segment(EmailId(0), EmailId(3))).unwrap().0;
    let rows = vec![(crate::keys::postings(mailbox.world.account.id(), number, 0), vec![1, 2])];
    mailbox.world.run(|tx| tx.write_segment(number, rows)).unwrap();
    mailbox.world.verify();
    assert_eq!(mailbox.row().dropped(), Some(number));
    // What a late writer still has is refused, and its end changes nothing.
    assert!(mailbox.world.run(|tx| tx.write_segment(number, Vec::new())).is_err());
    assert!(!mailbox.world.run(|tx| tx.finish_segment(number, 1, Finished::default(), &[])).unwrap().0);
    mailbox.drop_all();
    mailbox.build(100);
    assert_eq!(mailbox.row().live().count(), 1);
}

#[test]
fn a_lookup_notices_that_segments_were_merged() {
    let mut random = Random(8);
    let mut mailbox = Mailbox::new();
    mailbox.add(&mut random, 9);
    mailbox.build(4);
    mailbox.build(100);
    let (runs, is_one_run) = Needle::new("a").runs();
    let queries = vec![Query { runs, is_one_run, places: &[Place::Body] }];
    let account = mailbox.world.account.id();
    let mut finder = Finder::begin(&mailbox.world.store.reader(), account, queries).unwrap().unwrap();
    assert_eq!(finder.step(&mailbox.world.store.reader()).unwrap(), Step::More);
    let live: Vec<Segment> = mailbox.row().live().copied().collect();
    mailbox.merge(&live);
    assert_eq!(finder.step(&mailbox.world.store.reader()).unwrap(), Step::Changed);
}

#[test]
fn small_segments_are_merged_when_there_are_eight() {
    let segment = |number: u32, emails| Segment {
        number,
        state: SegmentState::Live,
        first: EmailId(number.into()),
        end: EmailId(u64::from(number) + 1),
        emails,
        terms: 0,
        dictionary_octets: 0,
        postings_octets: 0,
    };
    let due = |emails: &[u32]| {
        let segments = (1..).zip(emails).map(|(number, emails)| segment(number, *emails)).collect();
        let row = TextRow { segments, ..TextRow::empty() };
        row.due_merge().map(|due| due.len())
    };
    assert_eq!(due(&[]), None);
    assert_eq!(due(&[1; 7]), None);
    assert_eq!(due(&[1; 8]), Some(8));
    assert_eq!(due(&[100_000, 1, 1, 1, 1, 1, 1, 1]), None);
    assert_eq!(due(&[100_000, 1, 1, 1, 1, 1, 1, 1, 255]), Some(8));
    // Seven of a level and one of a lower one, then eight and one.
    assert_eq!(due(&[300, 300, 300, 300, 300, 300, 300, 1]), None);
    assert_eq!(due(&[100_000, 300, 300, 300, 300, 300, 300, 300, 300, 1]), Some(9));
    assert_eq!((level(0), level(255), level(256), level(2047), level(2048)), (0, 0, 1, 1, 2));
    // However much mail there is, levels are few.
    assert!(level(u32::MAX) <= 8);
}

#[test]
fn emails_with_too_many_terms_are_always_looked_at() {
    let mut builder = Builder::new(EmailId(1));
    for (email, terms) in [(1, EMAIL_TERMS_MAX), (2, EMAIL_TERMS_MAX + 1)] {
        builder.begin(EmailId(email));
        (0..terms).for_each(|term| builder.add(Place::Body, TermKind::Word, &term.to_string()));
        assert_eq!(builder.is_unsure(), email == 2);
    }
    assert!(builder.octets() > BUILD_OCTETS_MAX / 8);
}

#[test]
fn blocks_and_chunks_have_these_bytes() {
    let mut builder = Builder::new(EmailId(4));
    builder.begin(EmailId(4));
    builder.add(Place::Body, TermKind::Word, "ab");
    builder.add(Place::Header, TermKind::Pair, "x");
    builder.begin(EmailId(6));
    builder.add(Place::Body, TermKind::Word, "ab");
    builder.add(Place::Body, TermKind::Word, "abc");
    builder.unsure();
    let account = crate::ids::AccountId::new(7).unwrap();
    let (rows, finished) = builder.finish(account, 9);
    let block: &[u8] = &[
        // Version, entries, start.
        1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
        // "ab" in emails 0 and 2.
        0, 3, 1, b'a', b'b', 2, //
        3, 1, b'c', 2, //
        0, 2, 0x12, b'x', 2, //
        0, 1, 255, 2,
    ];
    assert_eq!(rows[0].0, crate::keys::terms(account, 9, &[1, b'a', b'b']));
    assert_eq!(rows[0].1, block);
    assert_eq!(rows[1].0, crate::keys::postings(account, 9, 0));
    assert_eq!(rows[1].1, [1, 1, 0b101, 0, 2, 0, 0, 0, 2]);
    let octets = block.len() as u64;
    assert_eq!(finished, Finished { terms: 4, dictionary_octets: octets, postings_octets: 8 });
}

#[test]
fn a_segment_of_many_blocks_and_chunks_is_read_back() {
    let mut mailbox = Mailbox::new();
    let mut random = Random(11);
    for _ in 0..40 {
        let inbox = mailbox.world.inbox();
        let words: String = (0..2000).map(|_| format!("{:x} ", random.below(1 << 20))).collect();
        let uid = mailbox.world.append(inbox, b"x", Flags::NONE, &[]);
        let account = mailbox.world.account.id();
        let row = mailbox.world.store.reader().message(account, inbox, uid).unwrap().unwrap();
        mailbox.mails.push((row.email, Mail { body: words, header: String::new() }));
    }
    mailbox.build(100);
    let segment = *mailbox.row().live().next().unwrap();
    assert!(segment.dictionary_octets > 4 * BLOCK_OCTETS as u64, "{segment:?}");
    assert!(segment.postings_octets > 2 * CHUNK_OCTETS as u64, "{segment:?}");
    assert!(mailbox.compare(&mut random, 11) > 100);
}
