//! Sets of emails, a bit for each.

use crate::ids::EmailId;

/// Numbers below a bound.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub fn new(bound: u64) -> Self {
        // Bounded by `COVERED_MAX`.
        Self(vec![0; bound.div_ceil(64) as usize])
    }

    pub fn insert(&mut self, number: u64) {
        if let Some(word) = self.0.get_mut((number / 64) as usize) {
            *word |= 1 << (number % 64);
        }
    }

    pub fn contains(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub fn len(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    pub fn intersect(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    pub fn unite(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// Adds numbers whose bits stand in octets, the lowest first.
    pub fn insert_octets(&mut self, octets: &[u8]) {
        for (word, octets) in self.0.iter_mut().zip(octets.chunks(8)) {
            let mut whole = [0; 8];
            whole[..octets.len()].copy_from_slice(octets);
            *word |= u64::from_le_bytes(whole);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..).zip(&self.0).flat_map(|(at, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                if word == 0 {
                    return None;
                }
                let bit = word.trailing_zeros();
                word &= word - 1;
                Some(at * 64 + u64::from(bit))
            })
        })
    }
}

/// A set of emails of an account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EmailSet(Bits);

impl EmailSet {
    /// An empty set for ids below `bound`.
    pub(super) fn new(bound: EmailId) -> Self {
        Self(Bits::new(bound.0))
    }

    pub(super) fn insert(&mut self, email: EmailId) {
        self.0.insert(email.0);
    }

    /// Whether the email is in the set.
    pub fn contains(&self, email: EmailId) -> bool {
        self.0.contains(email.0)
    }

    /// How many emails are in the set.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether no email is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
