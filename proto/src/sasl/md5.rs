//! MD5 (RFC 1321) from a chaining state, which the `md-5` crate cannot store: CRAM-MD5 verifiers are
//! the states after the first block of the inner and the outer hash of HMAC-MD5 (RFC 2195 §3), so
//! that the password itself needs not be kept. For nothing else; tests compare with the crate.

/// A chaining value, as its 16 octets in MD5's order.
pub(super) type State = [u8; 16];

/// The octets of a block.
pub(super) const BLOCK: usize = 64;

const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The state after exactly one block.
pub(super) fn after_block(block: &[u8; BLOCK]) -> State {
    to_octets(compress(INITIAL, block))
}

/// Finishes a hash whose first block left `state` with the octets of `rest`.
pub(super) fn finish(state: &State, rest: &[u8]) -> State {
    let mut chain = from_octets(state);
    let bits = ((BLOCK + rest.len()) as u64).wrapping_mul(8);
    let mut tail = rest.to_vec();
    tail.push(0x80);
    while tail.len() % BLOCK != BLOCK - 8 {
        tail.push(0);
    }
    tail.extend_from_slice(&bits.to_le_bytes());
    for block in tail.as_chunks::<BLOCK>().0 {
        chain = compress(chain, block);
    }
    to_octets(chain)
}

fn compress(chain: [u32; 4], block: &[u8; BLOCK]) -> [u32; 4] {
    let mut words = [0; 16];
    for (word, octets) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*octets);
    }
    let [mut a, mut b, mut c, mut d] = chain;
    for step in 0..64 {
        let (mixed, word) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
            2 => (b ^ c ^ d, (3 * step + 5) % 16),
            _ => (c ^ (b | !d), (7 * step) % 16),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(SINES[step]).wrapping_add(words[word]);
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
    }
    [chain[0].wrapping_add(a), chain[1].wrapping_add(b), chain[2].wrapping_add(c), chain[3].wrapping_add(d)]
}

fn to_octets(chain: [u32; 4]) -> State {
    let mut octets = [0; 16];
    for (part, word) in octets.chunks_exact_mut(4).zip(chain) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    octets
}

fn from_octets(state: &State) -> [u32; 4] {
    let mut chain = [0; 4];
    for (word, octets) in chain.iter_mut().zip(state.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*octets);
    }
    chain
}

/// The integer part of 2^32 * |sin(i)|, i from 1 (RFC 1321 §3.4).
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

#[cfg(test)]
mod tests {
    use ::md5::{Digest, Md5};

    use super::*;

    #[test]
    fn agrees_with_the_crate_at_every_length() {
        let data: Vec<u8> = (0..400_u32).map(|n| (n * 7 + 3) as u8).collect();
        let first: [u8; BLOCK] = data[..BLOCK].try_into().expect("a block");
        for end in BLOCK..data.len() {
            let expected: [u8; 16] = Md5::digest(&data[..end]).into();
            assert_eq!(finish(&after_block(&first), &data[BLOCK..end]), expected, "{end} octets");
        }
    }
}
