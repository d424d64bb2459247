//! What is remembered, bounded in octets.
//!
//! When there is no room, a hand goes around the entries as in the clock algorithm: one that was used since
//! the hand last passed stays, another goes. So an entry that is asked for once and never again makes room
//! for one that is used, and neither a hit nor an eviction moves anything.

use std::collections::HashMap;
use std::hash::Hash;

/// No entry may take more than this part of the room.
const SHARE: usize = 8;

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    value: V,
    weight: usize,
    used: bool,
}

/// Values by key.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    index: HashMap<K, usize>,
    slots: Vec<Option<Slot<K, V>>>,
    free: Vec<usize>,
    hand: usize,
    octets: usize,
    octets_max: usize,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    /// What an entry takes beside its value: its place, and its key twice.
    pub const OVERHEAD: usize = size_of::<Slot<K, V>>() + size_of::<(K, usize)>() + 32;

    pub fn new(octets_max: usize) -> Self {
        Self { index: HashMap::new(), slots: Vec::new(), free: Vec::new(), hand: 0, octets: 0, octets_max }
    }

    /// Octets that all entries take together, by the weights they were given.
    pub fn octets(&self) -> usize {
        self.octets
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn get(&mut self, key: &K) -> Option<&V> {
        let slot = self.slots.get_mut(*self.index.get(key)?)?.as_mut()?;
        slot.used = true;
        Some(&slot.value)
    }

    /// Puts a value that takes `octets` of its own. Returns how many others had to go.
    pub fn insert(&mut self, key: K, value: V, octets: usize) -> usize {
        self.remove(&key);
        let weight = octets.saturating_add(Self::OVERHEAD);
        if weight > self.octets_max / SHARE {
            return 0;
        }
        let mut evicted = 0;
        while self.octets + weight > self.octets_max {
            self.evict();
            evicted += 1;
        }
        let slot = Some(Slot { key: key.clone(), value, weight, used: false });
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.index.insert(key, place);
        self.octets += weight;
        evicted
    }

    pub fn remove(&mut self, key: &K) {
        if let Some(place) = self.index.remove(key) {
            self.vacate(place);
        }
    }

    fn vacate(&mut self, place: usize) -> Option<Slot<K, V>> {
        let slot = self.slots.get_mut(place)?.take()?;
        self.octets -= slot.weight;
        self.free.push(place);
        Some(slot)
    }

    /// Removes one entry; there is one. One turn of the hand clears every mark, so the second finds one.
    fn evict(&mut self) {
        for _ in 0..=2 * self.slots.len() {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.slots.len().max(1);
            match self.slots.get_mut(place) {
                Some(Some(slot)) if slot.used => slot.used = false,
                Some(Some(_)) => {
                    if let Some(slot) = self.vacate(place) {
                        self.index.remove(&slot.key);
                    }
                    return;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 100 * (Cache::<u32, u32>::OVERHEAD + 10);

    #[test]
    fn it_never_takes_more_than_its_room_and_one_entry_more_evicts_one() {
        let mut cache = Cache::new(ROOM);
        for key in 0..100_u32 {
            assert_eq!(cache.insert(key, key, 10), 0);
        }
        assert_eq!((cache.len(), cache.octets()), (100, ROOM));
        assert_eq!(cache.insert(100, 100, 10), 1);
        assert_eq!((cache.len(), cache.octets()), (100, ROOM));
        assert_eq!(cache.get(&0), None);
        assert_eq!(cache.get(&100), Some(&100));
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut cache = Cache::new(ROOM);
        for key in 0..10_000_u32 {
            cache.insert(key, key, 10);
            assert!(key < 7 || cache.get(&7).is_some(), "{key}");
        }
        assert_eq!(cache.get(&8), None);
    }

    #[test]
    fn a_value_too_large_is_not_kept_and_replaces_nothing_else() {
        let mut cache = Cache::new(ROOM);
        cache.insert(1, 1, 10);
        cache.insert(2, 2, 10);
        assert_eq!(cache.insert(1, 3, ROOM), 0);
        assert_eq!(cache.get(&1), None, "the old value is gone, too");
        assert_eq!(cache.get(&2), Some(&2));
    }

    #[test]
    fn replacing_and_removing_give_the_room_back() {
        let mut cache = Cache::new(ROOM);
        for round in 0..1000_u32 {
            cache.insert(round % 3, round, 10);
        }
        assert_eq!(cache.len(), 3);
        assert_eq!(cache.slots.len(), 3);
        for key in 0..3 {
            cache.remove(&key);
        }
        assert_eq!((cache.len(), cache.octets()), (0, 0));
    }
}
