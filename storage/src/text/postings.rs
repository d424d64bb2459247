//! Postings of one term: the emails that have it, as numbers in their segment.

use super::set::Bits;
use super::{put_number, take_number};
use crate::store::StoreError;

const DISTANCES: u8 = 0;
const BITS: u8 = 1;

const DAMAGED: StoreError = StoreError::Inconsistent("postings of a text index are malformed");

/// Appends numbers, which ascend, in the shorter of the two forms.
pub(super) fn encode(numbers: &[u32], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(DISTANCES);
    let mut next = 0;
    for number in numbers {
        put_number(out, u64::from(*number - next));
        // The last number of a segment is below `COVERED_MAX`.
        next = *number + 1;
    }
    let octets = next.div_ceil(8) as usize;
    if octets < out.len() - start - 1 {
        out.truncate(start);
        out.push(BITS);
        out.resize(start + 1 + octets, 0);
        for number in numbers {
            out[start + 1 + (*number / 8) as usize] |= 1 << (*number % 8);
        }
    }
}

/// Adds the numbers of encoded postings to a set.
pub(super) fn add_to(mut encoded: &[u8], set: &mut Bits) -> Result<(), StoreError> {
    match take_form(&mut encoded)? {
        BITS => set.insert_octets(encoded),
        _ => {
            let mut next = 0;
            while !encoded.is_empty() {
                let number = next + take_number(&mut encoded).ok_or(DAMAGED)?;
                set.insert(number);
                next = number + 1;
            }
        }
    }
    Ok(())
}

/// Appends the numbers of encoded postings, moved up by `offset`, as far as `keep` wants them.
pub(super) fn append_to(
    mut encoded: &[u8],
    offset: u32,
    keep: impl Fn(u32) -> bool,
    numbers: &mut Vec<u32>,
) -> Result<(), StoreError> {
    let mut add = |number: u64| {
        let number =
            u32::try_from(number).ok().and_then(|number| number.checked_add(offset)).ok_or(DAMAGED)?;
        if keep(number) {
            numbers.push(number);
        }
        Ok::<_, StoreError>(())
    };
    match take_form(&mut encoded)? {
        BITS => {
            for (at, octet) in (0_u64..).zip(encoded) {
                (0..8).filter(|bit| octet & (1 << bit) != 0).try_for_each(|bit| add(at * 8 + bit))?;
            }
        }
        _ => {
            let mut next = 0_u64;
            while !encoded.is_empty() {
                let number = next.saturating_add(take_number(&mut encoded).ok_or(DAMAGED)?);
                add(number)?;
                next = number.saturating_add(1);
            }
        }
    }
    Ok(())
}

fn take_form(encoded: &mut &[u8]) -> Result<u8, StoreError> {
    let (form, rest) = encoded.split_first().ok_or(DAMAGED)?;
    *encoded = rest;
    if matches!(*form, DISTANCES | BITS) { Ok(*form) } else { Err(DAMAGED) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn postings_have_these_bytes() {
        let encoded = |numbers: &[u32]| {
            let mut out = Vec::new();
            encode(numbers, &mut out);
            out
        };
        assert_eq!(encoded(&[3, 4, 300]), [0, 3, 0, 0xa7, 0x02]);
        assert_eq!(encoded(&[0]), [0, 0]);
        assert_eq!(encoded(&[0, 1, 2, 8]), [1, 0b111, 1]);
    }

    proptest! {
        #[test]
        fn numbers_come_back(numbers in proptest::collection::btree_set(0u32..3000, 0..1000), offset in 0u32..9) {
            let numbers: Vec<u32> = numbers.into_iter().collect();
            let mut encoded = Vec::new();
            encode(&numbers, &mut encoded);
            let mut found = Vec::new();
            prop_assert!(append_to(&encoded, offset, |_| true, &mut found).is_ok());
            let moved: Vec<u32> = numbers.iter().map(|number| number + offset).collect();
            prop_assert_eq!(found, moved);
            let mut set = Bits::new(3000);
            prop_assert!(add_to(&encoded, &mut set).is_ok());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), numbers.iter().map(|n| u64::from(*n)).collect::<Vec<_>>());
            prop_assert_eq!(set.len(), numbers.len() as u64);
        }

        #[test]
        fn malformed_postings_are_damage_or_some_numbers(encoded in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut found = Vec::new();
            let _ = append_to(&encoded, 5, |number| number < 100, &mut found);
            let _ = add_to(&encoded, &mut Bits::new(100));
        }
    }
}
