//! Bodies in canonical form, piece by piece (RFC 6376 §3.4.3, §3.4.4).

use super::Algorithm;

/// Brings a body into canonical form while it arrives. What comes out doesn't depend on how the body is cut
/// into pieces, and what is held back is a few numbers: line breaks and white space whose fate what follows
/// decides.
#[derive(Clone, Debug)]
pub struct BodyCanonicalizer {
    algorithm: Algorithm,
    /// Line breaks that were not written: they are none of the body if nothing but line breaks follows.
    breaks: u64,
    /// Relaxed only: white space after `breaks` that was not written.
    space: bool,
    /// A CR at the end of the last piece, after `space`.
    cr: bool,
    /// Whether anything was written.
    written: bool,
}

impl BodyCanonicalizer {
    /// One for a body that is about to begin.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, breaks: 0, space: false, cr: false, written: false }
    }

    /// Takes a piece of the body and gives away what it is in canonical form.
    pub fn push(&mut self, piece: &[u8], out: &mut impl FnMut(&[u8])) {
        let rest = self.resolve(piece, out);
        if rest.is_empty() {
            return;
        }
        // `rest` begins with an octet that is written as it is.
        self.release(out);
        self.written = true;
        let end = rest.len() - self.tail_length(rest);
        match self.algorithm {
            Algorithm::Simple => out(&rest[..end]),
            Algorithm::Relaxed => reduce(&rest[..end], out),
        }
        let left = self.resolve(&rest[end..], out);
        debug_assert!(left.is_empty(), "the tail is nothing but line breaks and white space");
    }

    /// Gives away the end of the body.
    pub fn finish(mut self, out: &mut impl FnMut(&[u8])) {
        if self.cr {
            self.release(out);
            out(b"\r");
            self.written = true;
        }
        if self.written || self.algorithm == Algorithm::Simple {
            out(b"\r\n");
        }
    }

    /// Takes line breaks and white space from the start of a piece, up to an octet that decides their fate.
    fn resolve<'a>(&mut self, piece: &'a [u8], out: &mut impl FnMut(&[u8])) -> &'a [u8] {
        let relaxed = self.algorithm == Algorithm::Relaxed;
        let mut rest = piece;
        while let Some(first) = rest.first() {
            match first {
                b'\n' if self.cr => {
                    self.cr = false;
                    self.space = false;
                    self.breaks += 1;
                }
                _ if self.cr => {
                    // It was a bare one, and that is no white space.
                    self.release(out);
                    self.written = true;
                    self.cr = false;
                    out(b"\r");
                    continue;
                }
                b'\r' => self.cr = true,
                b' ' | b'\t' if relaxed => self.space = true,
                _ => return rest,
            }
            rest = &rest[1..];
        }
        rest
    }

    /// Writes what was held back.
    fn release(&mut self, out: &mut impl FnMut(&[u8])) {
        const BREAKS: [u8; 128] = {
            let mut breaks = [b'\r'; 128];
            let mut at = 1;
            while at < breaks.len() {
                breaks[at] = b'\n';
                at += 2;
            }
            breaks
        };
        while self.breaks > 0 {
            let count = self.breaks.min(BREAKS.len() as u64 / 2);
            out(&BREAKS[..2 * count as usize]);
            self.breaks -= count;
        }
        if self.space {
            out(b" ");
            self.space = false;
        }
    }

    /// Octets at the end of a piece whose fate is open. The piece begins with one that isn't.
    fn tail_length(&self, piece: &[u8]) -> usize {
        let relaxed = self.algorithm == Algorithm::Relaxed;
        let mut end = piece.len();
        loop {
            end -= match &piece[..end] {
                [.., b'\r', b'\n'] => 2,
                [.., b' ' | b'\t'] if relaxed => 1,
                // A CR that stands before another CR, or before white space, is a bare one.
                [.., b'\r'] if end == piece.len() => 1,
                _ => return piece.len() - end,
            };
        }
    }
}

/// Octets that are looked at together.
const BLOCK: usize = 32;

/// Writes text that begins and ends with something else than white space and line breaks, with white space
/// reduced. Most white space is a single space between words, which stays: text is given away in the long
/// runs between places where something changes.
fn reduce(text: &[u8], out: &mut impl FnMut(&[u8])) {
    let mut start = 0;
    while let Some(at) = change(text, start) {
        if at > start {
            out(&text[start..at]);
        }
        let length = text[at..].iter().position(|byte| !is_white(*byte)).unwrap_or(text.len() - at);
        start = at + length;
        if !text[start..].starts_with(b"\r\n") {
            out(b" ");
        }
    }
    out(&text[start..]);
}

fn is_white(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Where the next white space begins that is more than one space, or no space, or at the end of a line.
fn change(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(block) = text[at..].first_chunk::<{ BLOCK + 1 }>() {
        if may_change(block)
            && let Some(place) = block.windows(2).position(|pair| changes(pair[0], pair[1]))
        {
            return Some(at + place);
        }
        at += BLOCK;
    }
    text[at..].windows(2).position(|pair| changes(pair[0], pair[1])).map(|place| at + place)
}

/// Whether white space begins at the first octet that is written otherwise than it stands there. A space
/// before a bare CR is among them; writing it as one space changes nothing.
fn changes(first: u8, second: u8) -> bool {
    first == b'\t' || (first == b' ' && (is_white(second) || second == b'\r'))
}

/// [`changes`] for all octets of a block at once, in a form without branches.
fn may_change(block: &[u8; BLOCK + 1]) -> bool {
    let mut found = 0u8;
    for at in 0..BLOCK {
        let (first, second) = (block[at], block[at + 1]);
        let ends = u8::from(second == b' ') | u8::from(second == b'\t') | u8::from(second == b'\r');
        found |= u8::from(first == b'\t') | (u8::from(first == b' ') & ends);
    }
    found != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(pieces: &[&[u8]], algorithm: Algorithm) -> Vec<u8> {
        let mut body = Vec::new();
        let mut canonicalizer = BodyCanonicalizer::new(algorithm);
        for piece in pieces {
            canonicalizer.push(piece, &mut |octets| body.extend_from_slice(octets));
        }
        canonicalizer.finish(&mut |octets| body.extend_from_slice(octets));
        body
    }

    /// The rules of the standard on a whole body, one after the other, as they are written there.
    fn naive(body: &[u8], algorithm: Algorithm) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut line = Vec::new();
        for byte in body {
            line.push(*byte);
            if line.ends_with(b"\r\n") {
                line.truncate(line.len() - 2);
                lines.push(std::mem::take(&mut line));
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        if algorithm == Algorithm::Relaxed {
            for line in &mut lines {
                let mut reduced: Vec<u8> = Vec::new();
                for byte in line.iter() {
                    match byte {
                        b' ' | b'\t' if reduced.last() == Some(&b' ') => {}
                        b' ' | b'\t' => reduced.push(b' '),
                        byte => reduced.push(*byte),
                    }
                }
                if reduced.last() == Some(&b' ') {
                    reduced.pop();
                }
                *line = reduced;
            }
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        if lines.is_empty() && algorithm == Algorithm::Simple {
            lines.push(Vec::new());
        }
        lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect()
    }

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 6376 §3.4.5, and the empty bodies of §3.4.3 and §3.4.4.
        let body = b" C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(canonical(&[body], Algorithm::Relaxed), b" C\r\nD E\r\n");
        assert_eq!(canonical(&[body], Algorithm::Simple), b" C \r\nD \t E\r\n");
        for empty in [&b""[..], b"\r\n", b"\r\n\r\n\r\n"] {
            assert_eq!(canonical(&[empty], Algorithm::Simple), b"\r\n");
            assert_eq!(canonical(&[empty], Algorithm::Relaxed), b"");
        }
    }

    #[test]
    fn white_space_and_line_breaks_at_every_place() {
        for (body, relaxed) in [
            (&b"a"[..], &b"a\r\n"[..]),
            (b" ", b""),
            (b" \t\r\n \r\n", b""),
            (b" a", b" a\r\n"),
            (b"\r\n a \r\n", b"\r\n a\r\n"),
            (b"a\tb", b"a b\r\n"),
            (b"a  b   c\t\td \r\n e", b"a b c d\r\n e\r\n"),
            (b"a\rb", b"a\rb\r\n"),
            (b"a \r b", b"a \r b\r\n"),
            (b"a\r", b"a\r\r\n"),
            (b"a \r\r\n", b"a \r\r\n"),
            (b"a\nb \nc", b"a\nb \nc\r\n"),
        ] {
            assert_eq!(canonical(&[body], Algorithm::Relaxed), relaxed, "{body:?}");
            assert_eq!(naive(body, Algorithm::Relaxed), relaxed, "{body:?}");
        }
    }

    #[test]
    fn a_million_empty_lines_are_kept_as_a_number() {
        let breaks = b"\r\n".repeat(1_000_000);
        let mut length = 0u64;
        let mut canonicalizer = BodyCanonicalizer::new(Algorithm::Simple);
        canonicalizer.push(&breaks, &mut |octets| length += octets.len() as u64);
        assert_eq!(length, 0);
        canonicalizer.push(b"a", &mut |octets| length += octets.len() as u64);
        canonicalizer.finish(&mut |octets| length += octets.len() as u64);
        assert_eq!(length, 2_000_003);
    }

    /// A small generator, so that a failing seed fails again (xorshift, Marsaglia 2003).
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }
    }

    #[test]
    fn fuzz_what_comes_out_is_that_of_the_whole_body_wherever_it_is_cut() {
        const ALPHABETS: [&[u8]; 3] = [b" \t\r\na", b"abcdefghij \r\n", b"word word  word\tword\r\n\r\n"];
        for seed in 1..=4_000u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let alphabet = ALPHABETS[random.below(ALPHABETS.len())];
            let length = random.below(200);
            let body: Vec<u8> = (0..length).map(|_| alphabet[random.below(alphabet.len())]).collect();
            let mut pieces: Vec<&[u8]> = Vec::new();
            let mut rest = body.as_slice();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.below(rest.len().min(70)) + 1);
                pieces.push(piece);
                rest = after;
            }
            for algorithm in [Algorithm::Simple, Algorithm::Relaxed] {
                let whole = naive(&body, algorithm);
                assert_eq!(canonical(&[&body], algorithm), whole, "seed {seed}, {body:?}");
                assert_eq!(canonical(&pieces, algorithm), whole, "seed {seed}, {pieces:?}");
            }
        }
    }
}
