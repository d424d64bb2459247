//! What the engine writes and how fast it commits: figures for a person to read.
//!
//! `cargo run --release -p postrider-storage --example engine_figures -- DIRECTORY [write|commit|collect]`: octets written for
//! each of a body, by compression; commits of several submitters at the same time; and how the space of deleted contents comes
//! back. DIRECTORY is on the disk to measure; what is made there is removed again.
#![expect(clippy::unwrap_used, reason = "an example that prints figures")]

use postrider_storage::committer::{Committer, Limits};
use postrider_storage::engine::fjall::{Compression, FjallEngine, Options};
use postrider_storage::engine::{Batch, Durability, Engine, Space};
use postrider_storage::maintenance::{CollectLimits, Collector};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What this process wrote to disks so far.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

fn quiet(engine: &FjallEngine) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let stats = engine.stats();
        if (stats.outstanding_flushes == 0 && stats.compactions_running == 0) || Instant::now() > deadline {
            return;
        }
    }
}

/// English-like text as mail has it, or base64-like octets.
fn body(random: &mut Random, text: bool, length: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "the ",
        "message ",
        "you ",
        "sent ",
        "yesterday ",
        "has ",
        "not ",
        "arrived ",
        "please ",
        "look ",
        "into ",
        "folder ",
        "of ",
        "Monday's ",
        "meeting\r\n",
        "regards ",
    ];
    const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut body = Vec::new();
    while body.len() < length {
        if text {
            body.extend(WORDS[random.below(16) as usize].as_bytes());
            body.extend(random.below(100).to_string().as_bytes());
        } else {
            body.push(BASE64[random.below(64) as usize]);
        }
    }
    body.truncate(length);
    body
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let what = arguments.next();
    let is_wanted = |name: &str| what.as_deref().is_none_or(|what| what == name);
    if is_wanted("write") {
        write_amplification(&directory);
    }
    if is_wanted("commit") {
        group_commit(&directory);
    }
    if is_wanted("collect") {
        collect(&directory, 100_000);
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// What one message writes: its content, and two rows.
fn message(number: u64, content: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.insert(Space::Blobs, number.to_be_bytes(), content);
    batch.insert(Space::Rows, row_key(1, number), number.to_le_bytes());
    batch.insert(Space::Rows, row_key(2, number), (content.len() as u64).to_le_bytes());
    batch
}

fn row_key(table: u8, number: u64) -> Vec<u8> {
    let mut key = vec![0, 0, 0, 1, table];
    key.extend(number.to_be_bytes());
    key
}

fn write_amplification(directory: &Path) {
    const MESSAGES: u64 = 20_000;
    for text in [true, false] {
        for (journal, blobs) in [
            (Compression::None, Compression::None),
            (Compression::Lz4, Compression::None),
            (Compression::Lz4, Compression::Lz4),
        ] {
            let dir = tempfile::tempdir_in(directory).unwrap();
            let options =
                Options { journal_compression: journal, blob_compression: blobs, ..Options::at(dir.path()) };
            let engine = FjallEngine::open(options).unwrap();
            let mut random = Random(1);
            let bodies: Vec<Vec<u8>> = (0..64).map(|_| body(&mut random, text, 10_240)).collect();
            let (before, started) = (written(), Instant::now());
            let mut group = Batch::new();
            for number in 0..MESSAGES {
                group.append(message(number, &bodies[(number % 64) as usize]));
                for table in 3..7 {
                    group.insert(Space::Rows, row_key(table, number), [7; 60]);
                }
                if number % 16 == 15 {
                    engine.commit(std::mem::take(&mut group), Durability::Synced).unwrap();
                }
            }
            let seconds = started.elapsed().as_secs_f64();
            quiet(&engine);
            let content = (MESSAGES * 10_240) as f64;
            let ratio = (written() - before) as f64 / content;
            let disk = (engine.stats().rows_octets + engine.stats().blobs_octets) as f64 / content;
            println!(
                "text {text:5} journal {journal:?} blobs {blobs:?}: written {ratio:.2}x, tables {disk:.2}x, {:.0} messages/s",
                MESSAGES as f64 / seconds
            );
        }
    }
}

fn group_commit(directory: &Path) {
    for submitters in [1, 4, 16, 64] {
        let dir = tempfile::tempdir_in(directory).unwrap();
        let engine = Arc::new(FjallEngine::open(Options::at(dir.path())).unwrap());
        let committer = Committer::start(engine, Limits::default(), |_| {}).unwrap();
        let number = AtomicU64::new(0);
        let latencies = std::sync::Mutex::new(Vec::new());
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..submitters {
                scope.spawn(|| {
                    let content = body(&mut Random(9), true, 10_240);
                    while started.elapsed() < Duration::from_secs(4) {
                        let at = Instant::now();
                        let batch = message(number.fetch_add(1, Ordering::Relaxed), &content);
                        committer.commit_blocking(batch, Durability::Synced).unwrap();
                        latencies.lock().unwrap().push(at.elapsed());
                    }
                });
            }
        });
        let seconds = started.elapsed().as_secs_f64();
        let mut latencies = latencies.into_inner().unwrap();
        latencies.sort();
        let at =
            |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        let metrics = committer.metrics();
        let groups = metrics.groups.load(Ordering::Relaxed) as f64;
        println!(
            "{submitters:3} submitters: {:.0} messages/s, {:.1} a group, commit mean {:.2} ms, latency p50 {:.2} p99 {:.2} max {:.1} ms",
            latencies.len() as f64 / seconds,
            latencies.len() as f64 / groups,
            metrics.latency_sum.load(Ordering::Relaxed) as f64 / groups / 1000.0,
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}

fn collect(directory: &Path, messages: u64) {
    let dir = tempfile::tempdir_in(directory).unwrap();
    let engine = FjallEngine::open(Options::at(dir.path())).unwrap();
    let mut random = Random(1);
    let body = body(&mut random, false, 10_240);
    for first in (0..messages).step_by(32) {
        let mut group = Batch::new();
        for number in first..first + 32 {
            group.append(message(number, &body));
        }
        engine.commit(group, Durability::Synced).unwrap();
    }
    quiet(&engine);
    let show = |what: &str| {
        let stats = engine.stats();
        let mib = |octets: u64| octets as f64 / 1048576.0;
        println!(
            "{what}: blobs {:.0} MiB in {} files, garbage known {:.0} MiB, journals {:.0} MiB in {}",
            mib(stats.blobs_octets),
            stats.blob_files,
            mib(stats.blob_garbage_octets),
            mib(stats.journal_octets),
            stats.journal_count
        );
    };
    show("stored");
    let deleted = |number: u64| Random(number).below(2) == 0;
    let mut group = Batch::new();
    for number in (0..messages).filter(|&number| deleted(number)) {
        group.remove(Space::Blobs, number.to_be_bytes());
        if group.len() == 200 {
            engine.commit(std::mem::take(&mut group), Durability::Synced).unwrap();
        }
    }
    engine.commit(group, Durability::Synced).unwrap();
    quiet(&engine);
    show("half deleted, in random order");
    let collector = Collector::new(CollectLimits::default());
    let done = AtomicBool::new(false);
    let before = written();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut worst = Duration::ZERO;
            let mut random = Random(3);
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                let number = random.below(messages);
                let at = Instant::now();
                let found = engine.snapshot().get(Space::Blobs, &number.to_be_bytes()).unwrap();
                worst = worst.max(at.elapsed());
                assert_eq!(found.is_none(), deleted(number));
                reads += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            (reads, worst)
        });
        let writer = scope.spawn(|| {
            let mut worst = Duration::ZERO;
            let mut number = messages;
            while !done.load(Ordering::Relaxed) {
                let at = Instant::now();
                engine.commit(message(number, &body), Durability::Synced).unwrap();
                worst = worst.max(at.elapsed());
                number += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            worst
        });
        let collected = collector.run(&engine, |progress| println!("{progress:?}")).unwrap().unwrap();
        done.store(true, Ordering::Relaxed);
        println!("{collected:?}, {} MiB written", (written() - before) >> 20);
        let ((reads, worst), commit) = (reader.join().unwrap(), writer.join().unwrap());
        println!("meanwhile {reads} reads, the slowest {worst:?}; the slowest commit {commit:?}");
    });
    quiet(&engine);
    show("collected");
}
