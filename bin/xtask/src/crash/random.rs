//! Random numbers from a seed, so that a run can be repeated.

/// SplitMix64.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers that depend on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers that depend on the seed and on a place, such as a round and a client.
    pub fn at(seed: u64, place: &[u64]) -> Self {
        let mut random = Self(seed);
        for part in place {
            random = Self(random.next() ^ part.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        }
        random
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// An index below `limit`, which is not 0.
    pub fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap_or(0)
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_numbers_of_their_own() {
        assert_eq!(Random::at(7, &[1, 2]).next(), Random::at(7, &[1, 2]).next());
        assert_ne!(Random::at(7, &[1, 2]).next(), Random::at(7, &[2, 1]).next());
        assert_ne!(Random::at(7, &[1]).next(), Random::at(8, &[1]).next());
        assert!((0..1000).all(|_| (3..=5).contains(&Random::new(1).between(3, 5))));
    }
}
