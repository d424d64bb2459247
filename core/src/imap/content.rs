//! Message content as IMAP shows it: the account's own header fields, then the stored content; and the
//! way in which commands read it.
//!
//! What always holds: content is read in pieces of at most 64 KiB, on worker threads, with a new
//! snapshot for each job. So neither a large message nor a slow client costs memory or keeps disk space
//! from being freed.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_proto::mime::record::StructureRef;
use postrider_storage::account::Content;
use postrider_storage::blobs::BlobReader;
use postrider_storage::ids::{AccountId, EmailId};
use postrider_storage::reader::{Blobs, Emails, Reader};
use postrider_storage::store::{Store, StoreError};

use crate::runtime::{Pool, PoolError, sleep};

/// How often work waits for a place in the queue of the worker threads, and how long each time.
const PLACE_TRIES_MAX: u32 = 250;
const PLACE_WAIT: Duration = Duration::from_millis(20);

/// Looks messages up whose emails and contents mostly follow each other, as those of a mailbox do.
pub struct Loader<'a> {
    emails: Emails<'a>,
    blobs: Blobs<'a>,
}

impl<'a> Loader<'a> {
    /// Of the messages of an account.
    pub fn new(reader: &'a Reader, account: AccountId) -> Self {
        Self { emails: reader.emails(account), blobs: reader.blobs() }
    }

    /// Looks a message up; none when it was erased.
    pub fn load(&mut self, email: EmailId) -> Result<Option<MessageContent>, StoreError> {
        let Some(email) = self.emails.get(email)? else { return Ok(None) };
        let content = email.content();
        let blob = self.blobs.get(content.blob)?;
        let blob = blob.ok_or(StoreError::Inconsistent("a message has no content"))?;
        Ok(Some(MessageContent { prefix: email.prefix.into(), content, structure: blob.structure }))
    }
}

/// Where a message's octets are, and its structure. Holds none of the octets but the prefix.
#[derive(Clone, Debug)]
pub struct MessageContent {
    prefix: Arc<[u8]>,
    content: Content,
    structure: Box<[u8]>,
}

impl MessageContent {
    /// Looks a message up; none when it was erased. For many of them see [`Loader`].
    pub fn load(reader: &Reader, account: AccountId, email: EmailId) -> Result<Option<Self>, StoreError> {
        Loader::new(reader, account).load(email)
    }

    /// The stored structure.
    pub fn structure(&self) -> Result<StructureRef<'_>, StoreError> {
        StructureRef::decode(&self.structure)
            .map_err(|_| StoreError::Inconsistent("a message's structure record is malformed"))
    }

    /// Octets in front of the stored content, from which the structure counts.
    pub fn prefix_octets(&self) -> u64 {
        self.prefix.len() as u64
    }

    /// Octets of the whole message.
    pub fn octets(&self) -> u64 {
        self.prefix_octets() + self.content.size
    }

    /// Reads a range of the message; what lies behind its end is left out.
    pub fn range(&self, range: Range<u64>) -> ContentReader {
        let prefix_octets = self.prefix_octets();
        // What is cut to the prefix's length fits `usize`.
        let in_prefix = |at: u64| at.min(prefix_octets) as usize;
        let behind = |at: u64| at.saturating_sub(prefix_octets);
        ContentReader {
            prefix: Arc::clone(&self.prefix),
            next: in_prefix(range.start),
            end: in_prefix(range.end),
            blob: BlobReader::new(self.content, behind(range.start)..behind(range.end)),
        }
    }

    /// The octets of a range, but no more than `octets_max`.
    pub fn read(&self, reader: &Reader, range: Range<u64>, octets_max: u64) -> Result<Vec<u8>, StoreError> {
        let end = range.end.min(range.start.saturating_add(octets_max));
        let mut source = self.range(range.start..end);
        let mut octets = Vec::with_capacity(usize::try_from(source.left()).unwrap_or(0));
        while source.read(reader, |piece| octets.extend_from_slice(piece))? {}
        Ok(octets)
    }
}

/// A place in a message. Each read may use another snapshot.
#[derive(Clone, Debug)]
pub struct ContentReader {
    prefix: Arc<[u8]>,
    next: usize,
    end: usize,
    blob: BlobReader,
}

impl ContentReader {
    /// Octets that are left to read.
    pub fn left(&self) -> u64 {
        self.end.saturating_sub(self.next) as u64 + self.blob.left()
    }

    /// Gives the next octets, at most 64 KiB, to `each`; false at the end.
    pub fn read(&mut self, reader: &Reader, each: impl FnOnce(&[u8])) -> Result<bool, StoreError> {
        if self.next < self.end {
            each(&self.prefix[self.next..self.end]);
            self.next = self.end;
            return Ok(true);
        }
        let piece = self.blob.read(reader)?;
        Ok(piece.map(|piece| each(&piece)).is_some())
    }
}

/// Runs `work` with `state` on a worker thread and gives both back. Waits while the queue of the
/// workers is full; an error means that it stayed full for seconds, or that the work panicked.
pub async fn on_worker<S, T>(
    pool: &Pool,
    store: &Arc<Store>,
    state: S,
    work: fn(&mut S, &Store) -> T,
) -> Result<(S, T), PoolError>
where
    S: Send + 'static,
    T: Send + 'static,
{
    // A refused job is dropped by the pool; the state must not be.
    let shared = Arc::new(Mutex::new(Some(state)));
    let mut tries = 0;
    loop {
        let (state, store) = (Arc::clone(&shared), Arc::clone(store));
        let job = move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            let value = work(&mut state, &store);
            Some((state, value))
        };
        match pool.run(job).await {
            Ok(done) => return done.ok_or(PoolError::Panicked),
            Err(PoolError::Full) if tries < PLACE_TRIES_MAX => {
                tries += 1;
                sleep(PLACE_WAIT).await;
            }
            Err(error) => return Err(error),
        }
    }
}
