//! The content of a message on its way out: from the store, piece by piece, or from memory when it had to be changed.

use postrider_storage::account::Content;
use postrider_storage::blobs::{BlobReader, Piece};
use postrider_storage::store::StoreError;

use crate::reads::Reads;

/// Where a content comes from.
pub enum Source {
    /// Header fields in front, and what is stored.
    Stored {
        /// The fields; empty once they were given.
        prefix: Vec<u8>,
        /// The rest.
        content: BlobReader,
    },
    /// All of it, until it was given.
    Memory(Option<Vec<u8>>),
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
        Self::Stored { prefix, content: BlobReader::new(content, 0..u64::MAX) }
    }

    /// The next part; none at the end.
    pub async fn next(&mut self, reads: &Reads) -> Result<Option<Part>, StoreError> {
        match self {
            Self::Memory(octets) => Ok(octets.take().map(Part::Memory)),
            Self::Stored { prefix, .. } if !prefix.is_empty() => {
                Ok(Some(Part::Memory(std::mem::take(prefix))))
            }
            Self::Stored { content, .. } => {
                let mut place = content.clone();
                let (place, piece) = reads
                    .run(move |reader| {
                        let piece = place.read(reader)?;
                        Ok((place, piece))
                    })
                    .await?;
                *content = place;
                Ok(piece.map(Part::Stored))
            }
        }
    }
}
