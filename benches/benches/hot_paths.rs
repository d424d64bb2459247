//! What happens for every message that comes in, and for every row that goes out.
#![expect(clippy::unwrap_used, reason = "benchmarks")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use postrider_proto::imap::command::{Context, Utf8, parse};
use postrider_proto::imap::limits::Limits as ImapLimits;
use postrider_proto::imap::response::FetchRow;
use postrider_proto::imap::types::{Flags, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_proto::mime::scan::Scanner;
use postrider_proto::mime::{self, record};
use postrider_proto::smtp::body::DataReader;
use postrider_storage::account::{Account, Content, Initial, Limits, NewMessage, ThreadInfo};
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::ids::{AccountId, BlobId};
use postrider_storage::store::Store;

fn main() {
    divan::main();
}

/// A message of 10 KiB as it is on the wire, without its end.
fn message() -> Vec<u8> {
    let mut text = b"From: Sender <sender@example.org>\r\nTo: <user@localhost>\r\nSubject: a message\r\n\
        Message-ID: <1@example.org>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=part\r\n\r\n--part\r\nContent-Type: text/plain\r\n\r\n"
        .to_vec();
    while text.len() < 10 * 1024 {
        text.extend_from_slice(b"A line of text as mail has many, and none of them begins with a dot.\r\n");
    }
    text.extend_from_slice(b"--part--\r\n");
    text
}

#[divan::bench]
fn read_data(bencher: Bencher<'_, '_>) {
    let mut input = message();
    input.extend_from_slice(b".\r\n");
    let mut out = Vec::with_capacity(input.len());
    bencher.counter(BytesCount::new(input.len())).bench_local(|| {
        out.clear();
        black_box(DataReader::new().push(black_box(&input), &mut out));
    });
}

#[divan::bench]
fn scan_structure(bencher: Bencher<'_, '_>) {
    let input = message();
    bencher.counter(BytesCount::new(input.len())).bench_local(|| {
        let mut scanner = Scanner::new(mime::Limits::DEFAULT);
        scanner.push(black_box(&input));
        let mut out = Vec::with_capacity(512);
        record::encode(&scanner.finish(), &mut out);
        out
    });
}

#[divan::bench(args = [
    "a FETCH 1:* (UID FLAGS)\r\n",
    "a UID STORE 1:1000 +FLAGS.SILENT (\\Seen)\r\n",
    "a SELECT Inbox (QRESYNC (1000000001 900000 1:100000))\r\n",
    "a SEARCH UNSEEN SINCE 1-Nov-2026 FROM \"someone\"\r\n",
])]
fn parse_command(bencher: Bencher<'_, '_>, line: &str) {
    let context = Context { utf8: Utf8::Off, limits: &ImapLimits::AUTHENTICATED };
    bencher.bench_local(|| parse(black_box(line.as_bytes()), context).unwrap());
}

#[divan::bench]
fn write_fetch_flags_of_10_000(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(1 << 20);
    bencher.counter(ItemsCount::new(10_000_usize)).bench_local(|| {
        out.clear();
        for number in 1..=10_000 {
            let mut row = FetchRow::begin(&mut out, number);
            row.uid(&mut out, Uid::new(number).unwrap());
            row.flags(&mut out, Flags::SEEN, std::iter::empty());
            row.end(&mut out);
        }
        black_box(out.len())
    });
}

#[divan::bench(args = [1, 100_000])]
fn sequence_number_of_a_uid(bencher: Bencher<'_, '_>, runs: u32) {
    let view: UidSet = (0..runs).map(|run| Uid::new(run * 3 + 1).unwrap()).collect();
    let uid = Uid::new(runs / 2 * 3 + 1).unwrap();
    bencher.bench_local(|| black_box(&view).sequence_of(black_box(uid)));
}

/// One delivery's rows, on an engine that costs nothing: what the schema itself costs.
#[divan::bench(args = [0, 20_000])]
fn append_a_message(bencher: Bencher<'_, '_>, present: u64) {
    let engine = Arc::new(MemoryEngine::new());
    let store = Store::open(engine.clone()).unwrap();
    let id = AccountId::new(1).unwrap();
    let mut account = Account::load(&store.reader(), id, Limits::default()).unwrap();
    let new = |number: u64| NewMessage {
        content: Content { blob: BlobId(number), size: 10_240 },
        prefix: b"Return-Path: <sender@example.org>\r\n".to_vec(),
        flags: Flags::NONE,
        keywords: Vec::new(),
        received: 1_700_000_000,
        thread: ThreadInfo::default(),
    };
    let mut fill = |from: u64, count: u64| {
        let reader = store.reader();
        let mut batch = account.begin(&reader);
        for number in from..from + count {
            let appended = batch.transact(1_700_000_000, |tx| {
                if number == 0 {
                    tx.create_account(&Initial::usual(NonZeroU32::MIN))?;
                }
                let inbox = tx.mailbox_id(&postrider_proto::imap::mailbox::MailboxName::inbox()).unwrap();
                tx.append(inbox, new(number + 1))
            });
            let _ = appended.unwrap();
        }
        let (batch, pending) = batch.finish();
        postrider_storage::engine::Engine::commit(
            &*engine,
            batch,
            postrider_storage::engine::Durability::Synced,
        )
        .unwrap();
        account.install(pending);
    };
    for from in (0..present.max(1)).step_by(500) {
        fill(from, (present.max(1) - from).min(500));
    }
    let mut next = present.max(1);
    bencher.bench_local(|| {
        fill(next, 1);
        next += 1;
    });
}
