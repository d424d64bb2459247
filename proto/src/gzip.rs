//! gzip (RFC 1952), in which reports are sent: whole, in memory, and bounded.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress as inflate};

/// Members of one file.
const MEMBERS_MAX: usize = 100;
/// How hard to compress, of 10.
const LEVEL: u8 = 6;
/// Octets of output that are made room for at first.
const FIRST_OCTETS: usize = 64 * 1024;

// Bits of FLG (RFC 1952 §2.3.1).
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// Why input isn't read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GzipError {
    /// It isn't gzip, or it is cut off.
    #[error("not a whole gzip file")]
    Malformed,
    /// What came out isn't what went in.
    #[error("the checksum of the gzip file is wrong")]
    Checksum,
    /// More comes out than is allowed.
    #[error("the gzip file expands to more than is allowed")]
    TooLarge,
}

/// Whether octets begin as gzip does.
#[must_use]
pub fn is_gzip(octets: &[u8]) -> bool {
    octets.starts_with(&[0x1f, 0x8b])
}

/// Compresses, without name and time, so that the same gives the same.
#[must_use]
pub fn compress(octets: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    out.extend_from_slice(&compress_to_vec(octets, LEVEL));
    out.extend_from_slice(&crc32(octets).to_le_bytes());
    // Modulo 2^32 (RFC 1952 §2.3.1).
    out.extend_from_slice(&(octets.len() as u32).to_le_bytes());
    out
}

/// Expands to at most so many octets. What follows the last member is passed over.
pub fn decompress(octets: &[u8], octets_max: usize) -> Result<Vec<u8>, GzipError> {
    let mut out = Vec::new();
    let mut rest = octets;
    for _ in 0..MEMBERS_MAX {
        rest = member(rest, octets_max, &mut out)?;
        if !is_gzip(rest) {
            return Ok(out);
        }
    }
    Err(GzipError::TooLarge)
}

/// Expands a member behind what is in `out`; gives what follows it.
fn member<'a>(octets: &'a [u8], octets_max: usize, out: &mut Vec<u8>) -> Result<&'a [u8], GzipError> {
    let input = header(octets).ok_or(GzipError::Malformed)?;
    let start = out.len();
    let rest = expand(input, octets_max, out)?;
    let (trailer, rest) = rest.split_first_chunk::<8>().ok_or(GzipError::Malformed)?;
    let content = out.get(start..).unwrap_or_default();
    let expected = [crc32(content).to_le_bytes(), (content.len() as u32).to_le_bytes()].concat();
    if *trailer == *expected { Ok(rest) } else { Err(GzipError::Checksum) }
}

/// Expands compressed data (RFC 1951) behind what is in `out`, to at most `octets_max` in all; gives what follows it.
pub(crate) fn expand<'a>(
    mut input: &'a [u8],
    octets_max: usize,
    out: &mut Vec<u8>,
) -> Result<&'a [u8], GzipError> {
    let mut engine = Box::<DecompressorOxide>::default();
    let start = out.len();
    let mut at = start;
    out.resize(octets_max.min(start + FIRST_OCTETS), 0);
    loop {
        let room = out.get_mut(start..).unwrap_or_default();
        let (status, used, written) =
            inflate(&mut engine, input, room, at - start, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
        input = input.get(used..).unwrap_or_default();
        at += written;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput if out.len() < octets_max => {
                out.resize(octets_max.min(out.len().saturating_mul(2)), 0);
            }
            TINFLStatus::HasMoreOutput => return Err(GzipError::TooLarge),
            _ => return Err(GzipError::Malformed),
        }
    }
    out.truncate(at);
    Ok(input)
}

/// What follows the header of a member (RFC 1952 §2.3).
fn header(octets: &[u8]) -> Option<&[u8]> {
    let (fixed, mut rest) = octets.split_first_chunk::<10>()?;
    let flags = fixed[3];
    if !is_gzip(fixed) || fixed[2] != 8 || flags & RESERVED != 0 {
        return None;
    }
    if flags & EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            rest = rest.get(memchr::memchr(0, rest)? + 1..)?;
        }
    }
    if flags & HEADER_CRC != 0 { rest.get(2..) } else { Some(rest) }
}

/// The checksum of RFC 1952 §8, which files in zip archives have, too.
pub(crate) fn crc32(octets: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |crc: u32, octet: &u8| TABLE[((crc ^ u32::from(*octet)) & 0xff) as usize] ^ (crc >> 8);
    !octets.iter().fold(u32::MAX, step)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut number = 0;
    while number < 256 {
        let mut crc = number as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[number] = crc;
        number += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    /// `printf 'hello\n' | gzip -n`
    const HELLO: [u8; 26] = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xe7, 2, 0, 0x20, 0x30, 0x3a, 0x36,
        6, 0, 0, 0,
    ];

    #[test]
    fn what_was_compressed_comes_back() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(decompress(&HELLO, 6).unwrap(), b"hello\n");
        for content in [&b""[..], b"x", &b"some words ".repeat(100_000)] {
            let compressed = compress(content);
            assert!(is_gzip(&compressed));
            assert_eq!(decompress(&compressed, content.len()).unwrap(), content);
        }
        // Several members are one file, and what follows is none.
        let two = [&HELLO[..], &compress(b"again"), b"\0\0"].concat();
        assert_eq!(decompress(&two, 100).unwrap(), b"hello\nagain");
    }

    #[test]
    fn all_fields_of_a_header_are_read_over() {
        let mut full = vec![0x1f, 0x8b, 8, 1 | HEADER_CRC | EXTRA | NAME | COMMENT, 1, 2, 3, 4, 0, 3];
        full.extend_from_slice(b"\x03\0abcname\0comment\0\x01\x02");
        full.extend_from_slice(&HELLO[10..]);
        assert_eq!(decompress(&full, 100).unwrap(), b"hello\n");
        for end in 0..full.len() {
            assert_eq!(decompress(&full[..end], 100), Err(GzipError::Malformed), "{end}");
        }
    }

    #[test]
    fn nothing_expands_beyond_what_is_allowed() {
        assert_eq!(decompress(&HELLO, 5), Err(GzipError::TooLarge));
        let bomb = compress(&vec![0; 50 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(decompress(&bomb, 10 << 20), Err(GzipError::TooLarge));
        assert_eq!(decompress(&bomb, 0), Err(GzipError::TooLarge));
        // Neither does one of many members.
        assert_eq!(decompress(&HELLO.repeat(3), 17), Err(GzipError::TooLarge));
        assert!(decompress(&HELLO.repeat(MEMBERS_MAX), 10_000).is_ok());
        assert_eq!(decompress(&HELLO.repeat(MEMBERS_MAX + 1), 10_000), Err(GzipError::TooLarge));
    }

    #[test]
    fn every_damage_to_the_content_is_noticed() {
        let mut refused = 0;
        for at in 0..HELLO.len() {
            for bit in 0..8 {
                let mut damaged = HELLO;
                damaged[at] ^= 1 << bit;
                match decompress(&damaged, 1000) {
                    // The time, the system, and bits that fill an octet up say nothing of the content.
                    Ok(content) => assert_eq!(content, b"hello\n", "octet {at}, bit {bit}"),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 120, "{refused}");
    }
}
