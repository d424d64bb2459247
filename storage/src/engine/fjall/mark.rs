//! The mark: a row of the engine's own in every batch, from which a repair can tell what had been synced.
//!
//! Between two syncs the operating system writes the journal's pages in any order. After power loss a batch
//! that was never synced may therefore be torn although a later one is whole. That looks the same as damage to
//! a batch that *was* synced, unless the later batch says how far syncs had come when it was written.

/// The key of the mark in the rows. It is shorter than every key of the schema.
pub(crate) const MARK_KEY: [u8; 3] = [0, 0, 0];

/// Octets of an encoded mark.
const MARK_OCTETS: usize = 26;

/// Written with every batch.
///
/// | octets | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 8 | nonce of the store, so that message content cannot imitate a batch |
/// | 8 | number of this batch, from 1 |
/// | 8 | number of the last batch that was known to be synced when this one was written |
/// | 1 | 1 when this batch is synced before it is acknowledged, else 0 |
///
/// Numbers are little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    pub nonce: u64,
    pub number: u64,
    pub synced: u64,
    pub syncs: bool,
}

impl Mark {
    pub(crate) fn encode(self) -> [u8; MARK_OCTETS] {
        let mut octets = [0; MARK_OCTETS];
        octets[0] = 1;
        octets[1..9].copy_from_slice(&self.nonce.to_le_bytes());
        octets[9..17].copy_from_slice(&self.number.to_le_bytes());
        octets[17..25].copy_from_slice(&self.synced.to_le_bytes());
        octets[25] = u8::from(self.syncs);
        octets
    }

    pub(crate) fn decode(octets: &[u8]) -> Option<Self> {
        let octets: &[u8; MARK_OCTETS] = octets.try_into().ok()?;
        let number = |at: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&octets[at..at + 8]);
            u64::from_le_bytes(field)
        };
        (octets[0] == 1 && octets[25] <= 1).then(|| Self {
            nonce: number(1),
            number: number(9),
            synced: number(17),
            syncs: octets[25] == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_octets_of_a_mark_stay_as_they_are() {
        let mark = Mark { nonce: 0x0102_0304_0506_0708, number: 9, synced: 8, syncs: true };
        let octets = mark.encode();
        assert_eq!(octets[..9], [1, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(octets[9..], [9, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(Mark::decode(&octets), Some(mark));
        assert_eq!(Mark::decode(&octets[..25]), None);
    }
}
