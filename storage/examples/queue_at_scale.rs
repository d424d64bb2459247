//! What the queue costs when it is long. `cargo run --release -p postrider-storage --example queue_at_scale --
//! DIRECTORY [ENTRIES] [DOMAINS]` fills an empty directory's store (a million entries to 100,000 domains by default);
//! called again, it opens it and prints times, and the memory of the process. The figures in `docs/storage.md` come
//! from it.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_storage::account::Content;
use postrider_storage::blobs::{self, BlobWriter, Sharing};
use postrider_storage::engine::fjall::{FjallEngine, Options};
use postrider_storage::engine::{Batch, Durability, Engine};
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::queue::{
    self, Bounds, Change, Changed, Chosen, Edit, Filter, HoldRules, NewQueued, NewRecipient, Order, Span,
    domain_hash, range_of,
};
use postrider_storage::rows::{Held, HoldRuleRow};
use postrider_storage::store::Store;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// When the first message was accepted, seconds since 1970: long enough ago for a message a second until now.
const START: i64 = 1_790_000_000;
/// Accounts that send.
const ACCOUNTS: u32 = 1000;
/// Octets of entries in one commit.
const BATCH_OCTETS: usize = 4 * 1024 * 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let directory = arguments.get(1).ok_or("the directory is missing")?;
    let number = |at: usize, default: u32| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (entries, domains) = (number(2, 1_000_000)?, number(3, 100_000)?);
    let directory = Path::new(directory);
    if std::fs::read_dir(directory)?.next().is_none() {
        return timed("filling", || fill(directory, entries, domains));
    }
    let store = timed("opening", || open(directory))?;
    println!("memory after opening: {}", memory()?);
    schedule(&store)?;
    println!("memory after that: {}", memory()?);
    lists(&store, entries, domains)?;
    attempts(&store)?;
    timed("counting all entries", || Ok(queue::count(&store.reader())?))?;
    hold(&store)?;
    println!("memory at the end: {}", memory()?);
    Ok(())
}

fn open(directory: &Path) -> Result<Store> {
    let engine: Arc<dyn Engine> = Arc::new(FjallEngine::open(Options::at(directory))?);
    Ok(Store::open(engine)?)
}

fn fill(directory: &Path, entries: u32, domains: u32) -> Result<()> {
    let store = open(directory)?;
    let mut writer = BlobWriter::new(store.new_blob(), u64::MAX);
    writer.push(&[b'x'; 10 * 1024])?;
    let blob = writer.finish(b"", Sharing::Several)?;
    store.engine().commit(blob.batch, Durability::Synced)?;
    let mut batch = Batch::new();
    for number in 0..entries {
        // Domains in an order that is not that of their hashes, nor that of their names.
        let domain = u64::from(number) * 7919 % u64::from(domains);
        let message = message(blob.content, number, domain);
        batch.append(queue::enqueue(|| store.new_queue_id(), message, &HoldRules::default())?.edit.batch);
        if batch.octets() >= BATCH_OCTETS {
            store.engine().commit(std::mem::take(&mut batch), Durability::Buffered)?;
        }
    }
    store.engine().commit(batch, Durability::Synced)?;
    for batch in blobs::recover_pending(&store.reader(), 1000)? {
        store.engine().commit(batch, Durability::Synced)?;
    }
    Ok(())
}

fn message(content: Content, number: u32, domain: u64) -> NewQueued {
    let recipient = NewRecipient::new(format!("recipient{number}@domain{domain}.example"));
    NewQueued {
        prefix: vec![b'p'; 1200],
        sender: AccountId::new(1 + number % ACCOUNTS),
        mail_from: format!("sender{}@from{}.example", number % ACCOUNTS, number % 50).into_bytes(),
        eight_bit: true,
        ..NewQueued::new(content, START + i64::from(number), vec![recipient])
    }
}

/// What a shard does before it delivers, and what it does then.
fn schedule(store: &Store) -> Result<()> {
    let first = timed("skip-scan: the first domain", || {
        Ok(queue::waiting(&store.reader(), 0..=u64::MAX).next().ok_or("nothing waits")??)
    })?;
    timed("due entries of a domain", || Ok(queue::due(&store.reader(), first, i64::MAX - 1, 100)?))?;
    let found = timed("skip-scan: all domains", || {
        let mut count = 0;
        for domain in queue::waiting(&store.reader(), 0..=u64::MAX) {
            domain?;
            count += 1;
        }
        Ok(count)
    })?;
    println!("  {found} domains");
    Ok(())
}

/// The first page of each list; `rows` are those looked at. One that finds little goes on to the end.
fn lists(store: &Store, entries: u32, domains: u32) -> Result<()> {
    let middle = START + i64::from(entries / 2);
    let text = |text: &str| Some(text.to_owned());
    let recipient = format!("recipient{}@", entries - 2);
    let filters = [
        ("everything", Filter::default()),
        ("ids", Filter { ids: Some(some_ids(store)?), ..Filter::default() }),
        ("account", Filter { account: Some(7), ..Filter::default() }),
        ("recipient domain", Filter { recipient_domain: text("domain77.example"), ..Filter::default() }),
        (
            "account and recipient domain",
            Filter { account: Some(7), recipient_domain: text("domain77.example"), ..Filter::default() },
        ),
        ("sender domain", Filter { sender_domain: text("from7.example"), ..Filter::default() }),
        ("part of the sender", Filter { from: text("sender77@"), ..Filter::default() }),
        ("part of a recipient, near the end", Filter { to: Some(recipient), ..Filter::default() }),
        ("submitted", Filter { submitted: span(middle), ..Filter::default() }),
        ("next attempt", Filter { next_attempt: span(middle), ..Filter::default() }),
        ("held", Filter { held: Some(true), ..Filter::default() }),
        ("transport", Filter { transport: text("relay"), ..Filter::default() }),
        ("a shard of eight", Filter { domains: range_of(3, 8), ..Filter::default() }),
    ];
    println!(
        "lists over {entries} entries to {domains} domains: first call, and all until a page is full or the end"
    );
    for (name, filter) in filters {
        let began = Instant::now();
        let bounds = Bounds::default();
        let mut page = queue::list(&store.reader(), &filter, Order::Ascending, None, bounds)?;
        let first = began.elapsed();
        let (mut rows, mut found) = (page.rows, page.entries.len());
        while let Some(next) = page.next.take().filter(|_| found < bounds.entries_max) {
            page = queue::list(&store.reader(), &filter, Order::Ascending, Some(&next), bounds)?;
            (rows, found) = (rows + page.rows, found + page.entries.len());
        }
        println!("  {name}: {first:.2?}, {:.2?}, {rows} rows, {found} entries", began.elapsed());
    }
    Ok(())
}

fn span(from: i64) -> Span {
    Span { from: Some(from), before: Some(from + 1000) }
}

fn some_ids(store: &Store) -> Result<Vec<QueueId>> {
    let reader = store.reader();
    let ids = queue::waiting(&reader, 0..=u64::MAX).take(100).map(|found| Ok(found?.id));
    ids.collect()
}

/// Building the edits of 10,000 attempts, and their size.
fn attempts(store: &Store) -> Result<()> {
    const ATTEMPTS: u32 = 10_000;
    let reader = store.reader();
    let ids: Vec<_> = queue::waiting(&reader, 0..=u64::MAX).take(ATTEMPTS as usize).collect();
    let mut octets = 0;
    let began = Instant::now();
    for entry in &ids {
        let times = queue::Attempt { now: START, next: START + 450 };
        let id = entry.as_ref().map_err(|error| error.to_string())?.id;
        octets += queue::claim(&reader, id, times)?.map_or(0, |claimed| claimed.edit.batch.octets());
    }
    let each = began.elapsed() / ATTEMPTS;
    println!("a claim: {each:.2?}, {} octets", octets / ATTEMPTS as usize);
    Ok(())
}

/// A rule that holds everything, as two shards would apply it.
fn hold(store: &Store) -> Result<()> {
    let rule = HoldRuleRow::default();
    let (id, batch) = queue::add_hold_rule(&store.reader(), &rule)?;
    store.engine().commit(batch, Durability::Synced)?;
    let filter = Filter::of_rule(&rule, 0..=u64::MAX);
    let mut slowest = Duration::ZERO;
    let held = timed("holding everything", || {
        let (mut held, mut cursor) = (0, None);
        loop {
            let began = Instant::now();
            let reader = store.reader();
            let bounds = Bounds { entries_max: 1000, ..Bounds::default() };
            let page = queue::list(&reader, &filter, Order::Ascending, cursor.as_ref(), bounds)?;
            let mut edit = Edit::default();
            for listed in &page.entries {
                let change = Change::Hold(Held::Rule(id));
                let changed =
                    queue::change(&reader, listed.id, Chosen::All, &change, || store.new_queue_id())?;
                if let Changed::Done(done) = changed {
                    edit.append(done.edit);
                    held += 1;
                }
            }
            slowest = slowest.max(began.elapsed());
            store.engine().commit(edit.batch, Durability::Buffered)?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(held);
            }
        }
    })?;
    println!("  {held} entries, the slowest page of 1,000 was built in {slowest:.2?}");
    let first = domain_hash("domain77.example");
    timed("first entry of a domain afterwards", || {
        Ok(queue::first(&store.reader(), queue::Scheduled::start(first))?)
    })?;
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let done = work()?;
    println!("{what}: {:.2?}", began.elapsed());
    Ok(done)
}

/// The resident memory of this process.
fn memory() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().to_owned())
}
