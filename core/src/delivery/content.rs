//! The content of a message on its way out, piece by piece: as the store has it, or made fit for a server that takes less.

use postrider_proto::mime::downgrade::Converter;
use postrider_storage::account::Content;
use postrider_storage::blobs::{BlobReader, Piece};
use postrider_storage::store::StoreError;

use crate::reads::Reads;

/// Where a content comes from.
pub enum Source {
    /// Header fields in front, and what is stored.
    Stored(Stored),
    /// The same, made fit.
    Converted {
        /// Signatures of what is sent; empty once they were given.
        signatures: Vec<u8>,
        /// What is made fit.
        stored: Stored,
        /// What makes it so; none at the end.
        converter: Option<Box<Converter>>,
    },
}

/// Header fields in front, and what is stored.
pub struct Stored {
    /// The fields; empty once they were given.
    prefix: Vec<u8>,
    /// The rest.
    content: BlobReader,
}

/// Some of a content.
pub enum Part {
    /// In memory.
    Memory(Vec<u8>),
    /// As the store has it.
    Stored(Piece),
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Memory(octets) => octets,
            Self::Stored(piece) => piece,
        }
    }
}

impl Source {
    /// A stored content with fields in front.
    pub fn stored(prefix: Vec<u8>, content: Content) -> Self {
        Self::Stored(Stored::new(prefix, content))
    }

    /// The next part; none at the end.
    pub async fn next(&mut self, reads: &Reads) -> Result<Option<Part>, StoreError> {
        match self {
            Self::Stored(stored) => stored.next(reads).await,
            Self::Converted { signatures, .. } if !signatures.is_empty() => {
                Ok(Some(Part::Memory(std::mem::take(signatures))))
            }
            Self::Converted { stored, converter, .. } => {
                let mut out = Vec::new();
                while let Some(under_way) = converter.as_mut() {
                    match stored.next(reads).await? {
                        Some(part) => under_way.push(part.as_ref(), &mut out),
                        None => {
                            if let Some(ended) = converter.take() {
                                ended.finish(&mut out);
                            }
                        }
                    }
                    if !out.is_empty() {
                        return Ok(Some(Part::Memory(out)));
                    }
                }
                Ok(None)
            }
        }
    }
}

impl Stored {
    /// A stored content with fields in front.
    pub fn new(prefix: Vec<u8>, content: Content) -> Self {
        Self { prefix, content: BlobReader::new(content, 0..u64::MAX) }
    }

    /// The next part; none at the end.
    pub async fn next(&mut self, reads: &Reads) -> Result<Option<Part>, StoreError> {
        if !self.prefix.is_empty() {
            return Ok(Some(Part::Memory(std::mem::take(&mut self.prefix))));
        }
        let mut place = self.content.clone();
        let (place, piece) = reads
            .run(move |reader| {
                let piece = place.read(reader)?;
                Ok((place, piece))
            })
            .await?;
        self.content = place;
        Ok(piece.map(Part::Stored))
    }
}
