//! Message contents: written in chunks while they arrive, shared by all local recipients, read in
//! ranges, removed when nothing refers to them.
//!
//! The life of a content: [`BlobWriter`] gives out batches of chunks. The first of them carries a
//! BLOBPENDING row, which protects the content until the rows that refer to it are committed; then
//! [`settle`] takes it away, or [`abandon`] does when nobody took the message. A content of one chunk
//! for one recipient needs none of that: it is committed with that recipient's rows. When an account
//! drops its reference it leaves a BLOBGC row; [`collect`] looks at these, and removes what has no
//! reference left. The queue, where most contents live for a moment only, removes small ones that
//! nothing else refers to with their entry ([`let_go`]).
//!
//! What always holds: a BLOB row is written with or after all its chunks. References are added only in
//! the batch of the BLOB row, or while the BLOBPENDING row is there; so a content without either can
//! never gain one, and the collector needs no lock. Memory is one chunk for each writer and reader.

use std::ops::{Deref, Range};

use crate::account::Content;
use crate::engine::{Batch, Bytes, Space};
use crate::ids::BlobId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{BlobRow, MARK};
use crate::store::{Refusal, StoreError};

/// Octets of every chunk but the last, which may be shorter.
pub const CHUNK_OCTETS: usize = 64 * 1024;

/// The longest content. One batch removes any content, so this bounds that batch.
pub const BLOB_OCTETS_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// The longest structure record.
pub const STRUCTURE_OCTETS_MAX: usize = 1024 * 1024;

/// Who refers to a content that is being written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// One transaction, to which the last batch is attached ([`Tx::attach`](crate::account::Tx::attach),
    /// or appended to [`queue::enqueue`](crate::queue::enqueue)).
    One,
    /// Several transactions, after the last batch was committed. Then [`settle`].
    Several,
}

/// Turns a message that arrives in pieces into batches.
#[derive(Debug)]
pub struct BlobWriter {
    blob: BlobId,
    chunk: Vec<u8>,
    chunks: u32,
    size: u64,
    size_max: u64,
}

/// A content of which all batches are given out.
#[derive(Debug)]
#[must_use = "the last batch is still to be committed"]
pub struct FinishedBlob {
    /// What messages refer to.
    pub content: Content,
    /// The last batch.
    pub batch: Batch,
}

impl BlobWriter {
    /// Begins a content of at most `size_max` octets.
    pub fn new(blob: BlobId, size_max: u64) -> Self {
        Self { blob, chunk: Vec::new(), chunks: 0, size: 0, size_max: size_max.min(BLOB_OCTETS_MAX) }
    }

    /// The content's id.
    pub const fn blob(&self) -> BlobId {
        self.blob
    }

    /// Octets so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Takes more of the message. A batch that comes back is to be committed as
    /// [`Durability::Buffered`](crate::engine::Durability), before any later one. When the message
    /// becomes too large it is refused; then [`Self::abort`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Batch>, StoreError> {
        self.size += bytes.len() as u64;
        if self.size > self.size_max {
            return Err(Refusal::MessageTooLarge.into());
        }
        let mut batch = Batch::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.chunk.len() == CHUNK_OCTETS {
                if self.chunks == 0 {
                    batch.insert(Space::Rows, keys::blob_pending(self.blob), MARK);
                }
                self.put_chunk(&mut batch);
            }
            let (now, later) = rest.split_at(rest.len().min(CHUNK_OCTETS - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            rest = later;
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Ends the content, with the record of its structure.
    pub fn finish(mut self, structure: &[u8], sharing: Sharing) -> Result<FinishedBlob, StoreError> {
        if structure.len() > STRUCTURE_OCTETS_MAX {
            return Err(Refusal::StructureTooLarge.into());
        }
        let mut batch = Batch::new();
        match (sharing, self.chunks) {
            (Sharing::Several, 0) => batch.insert(Space::Rows, keys::blob_pending(self.blob), MARK),
            (Sharing::One, 1..) => batch.remove(Space::Rows, keys::blob_pending(self.blob)),
            (Sharing::Several, 1..) | (Sharing::One, 0) => {}
        }
        if !self.chunk.is_empty() {
            self.put_chunk(&mut batch);
        }
        let row = BlobRow { size: self.size, chunks: self.chunks, structure: structure.into() };
        batch.insert(Space::Rows, keys::blob(self.blob), row.encode());
        Ok(FinishedBlob { content: Content { blob: self.blob, size: self.size }, batch })
    }

    /// Gives the message up. A batch that comes back lets its chunks be collected.
    pub fn abort(self) -> Option<Batch> {
        (self.chunks > 0).then(|| abandon(self.blob))
    }

    fn put_chunk(&mut self, batch: &mut Batch) {
        let chunk = std::mem::take(&mut self.chunk);
        batch.insert(Space::Blobs, keys::chunk(self.blob, self.chunks), chunk);
        self.chunks += 1;
    }
}

/// The batch that ends the protection of a content, after all who took it committed their references.
pub fn settle(blob: BlobId) -> Batch {
    let mut batch = Batch::new();
    batch.remove(Space::Rows, keys::blob_pending(blob));
    batch
}

/// Whose to-do row it is when a content is given up that nobody took.
const NOBODY: u64 = u64::MAX;

/// The batch that gives up a content that nobody took; also right when somebody did.
pub fn abandon(blob: BlobId) -> Batch {
    let mut batch = settle(blob);
    batch.insert(Space::Rows, keys::blob_gc(blob, SYSTEM, NOBODY), MARK);
    batch
}

/// What an earlier run left of contents whose references were still being written: batches, each of at
/// most `blobs_max` contents. Commit them at start, before any message comes in, and then [`collect`].
pub fn recover_pending(reader: &Reader, blobs_max: usize) -> Result<Vec<Batch>, StoreError> {
    let mut batches = Vec::new();
    let mut batch = Batch::new();
    for (count, row) in (1..).zip(reader.prefix(&keys::of_table(SYSTEM, table::BLOBPENDING))) {
        let [blob] = keys::numbers(&row?.0, [8])?;
        // The collector looks for references; here it is enough that it looks.
        batch.append(abandon(BlobId(blob)));
        if count % blobs_max.max(1) == 0 {
            batches.push(std::mem::take(&mut batch));
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    Ok(batches)
}

/// The most chunks that [`let_go`] removes at once: a batch may be about many contents.
const CHUNKS_AT_ONCE_MAX: u32 = 16;

/// Ends the use of a content that `reader` still shows, as part of `batch`. When it was the last one, the content goes
/// with it: what is removed so soon that it is still in the engine's memory never gets into a blob file. Larger contents,
/// and those that others use, are left to the collector. Nobody else may end or share that use meanwhile.
///
/// Uses that ended are passed over one by one until a compaction: not for a content that had many.
pub(crate) fn let_go(
    reader: &Reader,
    batch: &mut Batch,
    blob: BlobId,
    (owner, user): (u32, u64),
) -> Result<(), StoreError> {
    let used = keys::blob_ref(blob, owner, user);
    let mut uses = reader.prefix(&keys::blob_refs(blob));
    let is_last = match (uses.next().transpose()?, uses.next()) {
        // It can gain none any more: whoever adds one has one already, or the content is pending.
        (Some((only, _)), None) => *only == *used && reader.get(&keys::blob_pending(blob))?.is_none(),
        _ => false,
    };
    batch.remove(Space::Rows, used);
    let row = if is_last { reader.blob(blob)? } else { None };
    match row.filter(|row| row.chunks <= CHUNKS_AT_ONCE_MAX) {
        Some(row) => remove_chunks(batch, blob, row.chunks),
        None => batch.insert(Space::Rows, keys::blob_gc(blob, owner, user), MARK),
    }
    Ok(())
}

/// One step of removing unused contents.
#[derive(Debug, Default)]
#[must_use = "the batch is to be committed"]
pub struct Collected {
    /// The writes; they need not be synced.
    pub batch: Batch,
    /// Contents that are removed.
    pub blobs: usize,
    /// Chunks that are removed.
    pub chunks: usize,
    /// Octets of the contents, as far as they are known: of those that were never finished, about.
    pub octets: u64,
    /// Where to go on; none when all to-do rows were looked at.
    pub next: Option<BlobId>,
}

/// Removes contents that nothing refers to, of those that are listed to be looked at from `from` on.
/// Looks at one at least, and at no more once `chunks_max` chunks are removed.
pub fn collect(reader: &Reader, from: BlobId, chunks_max: usize) -> Result<Collected, StoreError> {
    let mut collected = Collected::default();
    let prefix = keys::of_table(SYSTEM, table::BLOBGC);
    // A reference that still exists costs as much to look at as a chunk to remove.
    let mut cost = 0;
    // The last one looked at, and whether it is pending.
    let mut last = None;
    for row in reader.from(&keys::blob_gcs(from), &prefix) {
        let (key, _) = row?;
        let (_, _, rest) = keys::split(&key)?;
        let blob = rest.first_chunk::<8>().ok_or(StoreError::Inconsistent("a to-do row names no content"))?;
        let blob = BlobId(u64::from_be_bytes(*blob));
        let is_pending = match last {
            Some((known, is_pending)) if known == blob => is_pending,
            _ => {
                if cost >= chunks_max {
                    collected.next = Some(blob);
                    break;
                }
                cost += 1;
                let is_pending = reader.get(&keys::blob_pending(blob))?.is_some();
                if !is_pending && reader.prefix(&keys::blob_refs(blob)).next().transpose()?.is_none() {
                    cost += remove(reader, blob, &mut collected)?;
                }
                is_pending
            }
        };
        last = Some((blob, is_pending));
        // Only what was seen: another use may end just now, and leave a row of its own.
        if !is_pending {
            collected.batch.remove(Space::Rows, key);
        }
    }
    Ok(collected)
}

/// Removes a content; how many chunks.
fn remove(reader: &Reader, blob: BlobId, collected: &mut Collected) -> Result<usize, StoreError> {
    let (chunks, octets) = extent(reader, blob)?;
    remove_chunks(&mut collected.batch, blob, chunks);
    collected.blobs += 1;
    collected.chunks += chunks as usize;
    collected.octets += octets;
    Ok(chunks as usize)
}

fn remove_chunks(batch: &mut Batch, blob: BlobId, chunks: u32) {
    for chunk in 0..chunks {
        batch.remove(Space::Blobs, keys::chunk(blob, chunk));
    }
    batch.remove(Space::Rows, keys::blob(blob));
}

/// How many chunks to remove, and their octets. A content that was never finished has no row that says it.
fn extent(reader: &Reader, blob: BlobId) -> Result<(u32, u64), StoreError> {
    if let Some(row) = reader.blob(blob)? {
        return Ok((row.chunks, row.size));
    }
    let chunks = match reader.last(Space::Blobs, &keys::chunks(blob))? {
        Some((key, _)) => keys::chunk_parts(&key)?.1.saturating_add(1),
        None => 0,
    };
    Ok((chunks, u64::from(chunks) * CHUNK_OCTETS as u64))
}

/// A place in a content, to read from there on. It holds no snapshot: each read may use another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobReader {
    blob: BlobId,
    next: u64,
    end: u64,
}

/// A piece of a content: at most [`CHUNK_OCTETS`].
#[derive(Clone, Debug)]
pub struct Piece {
    chunk: Bytes,
    range: Range<usize>,
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.chunk.get(self.range.clone()).unwrap_or_default()
    }
}

impl BlobReader {
    /// Reads the octets `range` of a content; what lies behind its end is left out.
    pub fn new(content: Content, range: Range<u64>) -> Self {
        let end = range.end.min(content.size);
        Self { blob: content.blob, next: range.start.min(end), end }
    }

    /// Octets that are left to read.
    pub const fn left(&self) -> u64 {
        self.end - self.next
    }

    /// The next octets; none at the end.
    pub fn read(&mut self, reader: &Reader) -> Result<Option<Piece>, StoreError> {
        if self.next >= self.end {
            return Ok(None);
        }
        const CHUNK: u64 = CHUNK_OCTETS as u64;
        let missing = StoreError::Inconsistent("a message's content is missing, or short");
        let number = u32::try_from(self.next / CHUNK).map_err(|_| missing.clone())?;
        let chunk = reader.snapshot().get(Space::Blobs, &keys::chunk(self.blob, number))?;
        let chunk = chunk.ok_or_else(|| missing.clone())?;
        let start = (self.next % CHUNK) as usize;
        let octets = (self.end - self.next).min(CHUNK - start as u64);
        let range = start..start + octets as usize;
        if range.end > chunk.len() {
            return Err(missing);
        }
        self.next += octets;
        Ok(Some(Piece { chunk, range }))
    }
}

#[cfg(test)]
mod tests;
