#![expect(clippy::unwrap_used, reason = "a test may panic")]

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params,
};
use proptest::prelude::*;

use super::*;

const SMALL: Limits = Limits { step_octets_max: 100, ratio_max: 64, free_octets: 1024 };

fn all(inflater: &mut Inflater, input: &[u8]) -> Result<Vec<u8>, BadInput> {
    let (mut out, mut scratch) = (Vec::new(), Scratch::default());
    inflater.push(input);
    while inflater.is_ready() {
        inflater.step(&mut scratch, |octets| out.extend_from_slice(octets))?;
    }
    Ok(out)
}

/// What another implementation sends: one engine for the whole stream.
struct Other(Box<CompressorOxide>);

impl Other {
    fn new(level: i32) -> Self {
        Self(Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(level, -15, 0))))
    }

    fn send(&mut self, plain: &[u8], flush: TDEFLFlush) -> Vec<u8> {
        let mut out = Vec::new();
        compress_to_output(&mut self.0, plain, flush, |packed| {
            out.extend_from_slice(packed);
            true
        });
        out
    }
}

/// Zlib's partial flush: behind what was said stands an empty block with fixed codes, ten bits that end
/// within an octet. Written by hand for "NOOP\r\n" twice: fixed codes, flush, fixed codes, flush.
fn partial_flushes() -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    for _ in 0..2 {
        // Not the last block, fixed codes: 0, then 01 with its lowest bit first.
        bits.extend([false, true, false]);
        for octet in *b"a NOOP\r\n" {
            // Codes of 8 bits from 00110000 on, highest bit first.
            bits.extend((0..8).rev().map(|bit| (octet + 0x30) >> bit & 1 == 1));
        }
        // End of block.
        bits.extend([false; 7]);
        // The empty block.
        bits.extend([false, true, false]);
        bits.extend([false; 7]);
    }
    let octet = |bits: &[bool]| bits.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at).sum();
    bits.chunks(8).map(octet).collect()
}

#[test]
fn what_is_flushed_can_be_read_at_once() {
    let (mut deflater, mut compressor) = (Deflater::default(), Compressor::default());
    let mut inflater = Inflater::new(Limits::IMAP);
    for number in 0..500 {
        let plain = format!("* {number} FETCH (UID {} FLAGS (\\Seen) MODSEQ (12))\r\n", number + 7);
        let mut packed = Vec::new();
        deflater.deflate(&mut compressor, plain.as_bytes(), &mut packed);
        assert!(packed.ends_with(&[0, 0, 0xff, 0xff]));
        assert!(number == 0 || packed.len() < plain.len(), "{number}: {}", packed.len());
        assert_eq!(all(&mut inflater, &packed).unwrap(), plain.as_bytes());
    }
}

#[test]
fn one_compressor_serves_streams_in_turn() {
    let mut compressor = Compressor::default();
    let mut streams: Vec<_> = (0..3).map(|_| (Deflater::default(), Inflater::new(Limits::IMAP))).collect();
    for round in 0..50 {
        for (number, (deflater, inflater)) in streams.iter_mut().enumerate() {
            let plain =
                format!("stream {number} round {round} says what the others don't\r\n").repeat(number + 1);
            let mut packed = Vec::new();
            deflater.deflate(&mut compressor, plain.as_bytes(), &mut packed);
            assert_eq!(all(inflater, &packed).unwrap(), plain.as_bytes());
        }
    }
}

#[test]
fn partial_flushes_are_read_without_waiting() {
    let input = partial_flushes();
    let mut inflater = Inflater::new(SMALL);
    // The first command ends within the eleventh octet: 3 + 64 + 7 bits, and 10 of the empty block.
    assert_eq!(all(&mut inflater, &input[..11]).unwrap(), b"a NOOP\r\n");
    assert_eq!(inflater.memory_octets(), 8, "between blocks no engine is held, only what was read");
    assert_eq!(all(&mut inflater, &input[11..]).unwrap(), b"a NOOP\r\n");
}

#[test]
fn what_waits_is_small() {
    let mut other = Other::new(6);
    let mut inflater = Inflater::new(Limits::IMAP);
    let packed = other.send(b"a1 SELECT Inbox\r\na2 IDLE\r\n", TDEFLFlush::Sync);
    all(&mut inflater, &packed).unwrap();
    assert_eq!(inflater.memory_octets(), 26);
    // Never more than the window and an engine, whatever comes.
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for piece in large.chunks(1000) {
        all(&mut inflater, &other.send(piece, TDEFLFlush::Sync)).unwrap();
        assert!(inflater.memory_octets() <= WINDOW_OCTETS, "{}", inflater.memory_octets());
    }
    let packed = other.send(&large, TDEFLFlush::Sync);
    all(&mut inflater, &packed[..packed.len() / 2]).unwrap();
    assert!(inflater.memory_octets() <= WINDOW_OCTETS + 16 * 1024, "{}", inflater.memory_octets());
}

#[test]
fn streams_refer_back_over_the_whole_window() {
    let block: Vec<u8> = (0..16_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let mut other = Other::new(9);
    let mut inflater = Inflater::new(Limits::IMAP);
    for _ in 0..6 {
        let packed = other.send(&block, TDEFLFlush::Sync);
        assert_eq!(all(&mut inflater, &packed).unwrap(), block);
    }
}

#[test]
fn a_mark_within_data_ends_nothing() {
    let mut other = Other::new(0);
    let mut inflater = Inflater::new(Limits::IMAP);
    let plain = [&[0, 0, 0xff, 0xff][..], b"a", &[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]].concat().repeat(100);
    let packed = other.send(&plain, TDEFLFlush::Sync);
    let mut out = Vec::new();
    for octet in packed {
        out.extend(all(&mut inflater, &[octet]).unwrap());
    }
    assert_eq!(out, plain);
}

#[test]
fn what_follows_the_end_of_a_flush_stays_until_it_is_asked_for() {
    for finish in [TDEFLFlush::Sync, TDEFLFlush::Finish] {
        let mut other = Other::new(6);
        let mut input = other.send(b"a UNAUTHENTICATE\r\n", finish);
        input.extend_from_slice(b"b LOGIN in clear\r\n");
        let (mut inflater, mut scratch, mut out) = (Inflater::new(SMALL), Scratch::default(), Vec::new());
        inflater.push(&input);
        while out.len() < 18 {
            inflater.step(&mut scratch, |octets| out.extend_from_slice(octets)).unwrap();
        }
        assert_eq!(out, b"a UNAUTHENTICATE\r\n");
        assert_eq!(inflater.into_rest(), b"b LOGIN in clear\r\n");
    }
}

#[test]
fn nothing_may_follow_the_last_block() {
    let mut inflater = Inflater::new(SMALL);
    let mut input = Other::new(6).send(b"a NOOP\r\n", TDEFLFlush::Finish);
    assert_eq!(all(&mut inflater, &input).unwrap(), b"a NOOP\r\n");
    input = Other::new(6).send(b"b NOOP\r\n", TDEFLFlush::Sync);
    assert_eq!(all(&mut inflater, &input), Err(BadInput::Ended));
}

#[test]
fn what_is_no_stream_is_refused() {
    for bad in [&b"a NOOP\r\n"[..], &[0x07], &[0xff; 8], &[0x00, 1, 0, 1, 0]] {
        assert_eq!(all(&mut Inflater::new(SMALL), bad), Err(BadInput::Malformed), "{bad:?}");
    }
    // A reference before the begin: fixed codes, length 3, distance 1, with nothing in front.
    assert_eq!(all(&mut Inflater::new(SMALL), &[0x02, 0x02, 0, 0, 0]), Err(BadInput::Malformed));
    // After an error nothing comes any more.
    let mut inflater = Inflater::new(SMALL);
    assert!(all(&mut inflater, b"\x07").is_err());
    assert!(all(&mut inflater, b"\0").is_err());
}

#[test]
fn bombs_are_refused_at_their_credit() {
    // Row D10. 1,000,000 octets from about a thousand.
    let packed = Other::new(9).send(&vec![b'a'; 1_000_000], TDEFLFlush::Sync);
    let limits = |free_octets, ratio_max| Limits { free_octets, ratio_max, ..SMALL };
    let run = |limits| all(&mut Inflater::new(limits), &packed).map(|out| out.len());
    assert_eq!(run(limits(1_000_000, 0)), Ok(1_000_000), "at the limit");
    assert_eq!(run(limits(999_999, 0)), Err(BadInput::Bomb), "one past it");
    assert_eq!(run(limits(SMALL.free_octets, 1100)), Ok(1_000_000));
    assert_eq!(run(SMALL), Err(BadInput::Bomb));
    // An announced message may be as large as it was said to be.
    let mut inflater = Inflater::new(limits(0, 0));
    inflater.allow(1_000_000);
    assert_eq!(all(&mut inflater, &packed).map(|out| out.len()), Ok(1_000_000));
}

#[test]
fn a_step_yields_no_more_than_its_limit() {
    let mut inflater = Inflater::new(Limits { free_octets: 10_000_000, ..SMALL });
    inflater.push(&Other::new(9).send(&[b'a'; 10_000], TDEFLFlush::Sync));
    let (mut scratch, mut steps, mut total) = (Scratch::default(), 0, 0);
    while inflater.is_ready() {
        let count = inflater.step(&mut scratch, |_| {}).unwrap();
        assert!(count <= SMALL.step_octets_max);
        steps += 1;
        total += count;
    }
    assert!(total == 10_000 && steps >= 100, "{total} in {steps}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_comes_out_does_not_depend_on_how_the_input_is_cut(
        pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..400), 1usize..40), 1..12),
        level in 0i32..10,
        cut in 1usize..50,
    ) {
        let mut other = Other::new(level);
        let mut inflater = Inflater::new(Limits { free_octets: u64::MAX, ..SMALL });
        let (mut plain, mut packed, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for (piece, times) in &pieces {
            plain.extend(piece.repeat(*times));
            packed.extend(other.send(&piece.repeat(*times), TDEFLFlush::Sync));
        }
        for some in packed.chunks(cut) {
            out.extend(all(&mut inflater, some).unwrap());
        }
        prop_assert_eq!(out, plain);
    }

    #[test]
    fn whatever_is_written_is_read(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20_000), 1..6)) {
        let (mut deflater, mut compressor) = (Deflater::default(), Compressor::default());
        let mut inflater = Inflater::new(Limits { free_octets: u64::MAX, ..Limits::IMAP });
        for piece in pieces {
            let mut packed = Vec::new();
            deflater.deflate(&mut compressor, &piece, &mut packed);
            prop_assert_eq!(all(&mut inflater, &packed).unwrap(), piece);
            prop_assert!(deflater.memory_octets() <= 2 * 4096);
        }
    }

    #[test]
    fn no_input_is_a_surprise(input in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = all(&mut Inflater::new(SMALL), &input);
    }
}
