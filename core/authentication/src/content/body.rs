//! Hashes of a body: one pass a canonical form, however many lengths are asked for.

use postrider_proto::dkim::canonical::{Algorithm, BodyCanonicalizer};
use ring::digest::{Context, SHA256};

/// A hash that a signature is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Wanted {
    /// Canonicalisation of the body.
    pub algorithm: Algorithm,
    /// `l=`: octets of it that are hashed; all where there is none.
    pub length: Option<u64>,
}

/// SHA-256 of a body, or of its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyHash {
    /// The hash.
    pub digest: [u8; 32],
    /// Octets of the canonical body that were not hashed.
    pub rest: u64,
}

/// Hashes a body in both canonical forms, as far as they are asked for.
#[derive(Clone)]
pub struct BodyHasher {
    streams: [Option<(BodyCanonicalizer, Stream)>; 2],
}

/// All hashes that were asked for.
#[derive(Clone, Debug, Default)]
pub struct BodyHashes {
    hashes: Vec<(Wanted, BodyHash)>,
}

impl BodyHashes {
    /// A hash that was asked for. None where the body is shorter than the length.
    #[must_use]
    pub fn get(&self, wanted: Wanted) -> Option<BodyHash> {
        self.hashes.iter().find(|(other, _)| *other == wanted).map(|(_, hash)| *hash)
    }
}

impl BodyHasher {
    /// One for a body that is about to begin.
    pub fn new(wanted: impl IntoIterator<Item = Wanted>) -> Self {
        let mut wanted: Vec<Wanted> = wanted.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let stream = |algorithm: Algorithm| {
            let lengths = wanted.iter().filter(|wanted| wanted.algorithm == algorithm);
            let lengths: Vec<Option<u64>> = lengths.map(|wanted| wanted.length).collect();
            (!lengths.is_empty()).then(|| (BodyCanonicalizer::new(algorithm), Stream::new(&lengths)))
        };
        Self { streams: [stream(Algorithm::Simple), stream(Algorithm::Relaxed)] }
    }

    /// Takes a piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        for (canonicalizer, stream) in self.streams.iter_mut().flatten() {
            canonicalizer.push(piece, &mut |octets| stream.push(octets));
        }
    }

    /// The body is complete.
    #[must_use]
    pub fn finish(self) -> BodyHashes {
        let mut hashes = Vec::new();
        for ((canonicalizer, mut stream), algorithm) in self
            .streams
            .into_iter()
            .zip([Algorithm::Simple, Algorithm::Relaxed])
            .filter_map(|(stream, algorithm)| stream.map(|stream| (stream, algorithm)))
        {
            canonicalizer.finish(&mut |octets| stream.push(octets));
            for (length, hash) in stream.finish() {
                hashes.push((Wanted { algorithm, length }, hash));
            }
        }
        BodyHashes { hashes }
    }
}

/// A canonical body that is hashed up to several lengths.
#[derive(Clone)]
struct Stream {
    context: Context,
    octets: u64,
    /// Lengths that are still ahead, the next one last.
    ahead: Vec<u64>,
    reached: Vec<(u64, [u8; 32])>,
    /// Whether the hash of the whole body is asked for, too.
    whole: bool,
}

impl Stream {
    fn new(lengths: &[Option<u64>]) -> Self {
        let mut ahead: Vec<u64> = lengths.iter().copied().flatten().collect();
        ahead.sort_unstable_by(|one, other| other.cmp(one));
        let whole = lengths.contains(&None);
        let mut stream =
            Self { context: Context::new(&SHA256), octets: 0, ahead, reached: Vec::new(), whole };
        stream.push(b"");
        stream
    }

    fn push(&mut self, mut octets: &[u8]) {
        while let Some(next) = self.ahead.last().copied()
            && next - self.octets <= octets.len() as u64
        {
            let (before, after) = octets.split_at((next - self.octets) as usize);
            self.context.update(before);
            self.reached.push((next, digest(self.context.clone())));
            self.octets = next;
            self.ahead.pop();
            octets = after;
        }
        if self.whole || !self.ahead.is_empty() {
            self.context.update(octets);
        }
        self.octets += octets.len() as u64;
    }

    fn finish(self) -> impl Iterator<Item = (Option<u64>, BodyHash)> {
        let octets = self.octets;
        let whole = self.whole.then(|| (None, BodyHash { digest: digest(self.context), rest: 0 }));
        let parts = self.reached.into_iter();
        whole.into_iter().chain(
            parts.map(move |(length, digest)| (Some(length), BodyHash { digest, rest: octets - length })),
        )
    }
}

fn digest(context: Context) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(context.finish().as_ref());
    octets
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;
    use postrider_proto::dkim::tags::to_base64;

    fn wanted(algorithm: Algorithm, length: Option<u64>) -> Wanted {
        Wanted { algorithm, length }
    }

    #[test]
    fn empty_bodies_have_the_hashes_of_the_standard() {
        // RFC 6376 §3.4.3 and §3.4.4.
        let all = [wanted(Algorithm::Simple, None), wanted(Algorithm::Relaxed, None)];
        let hashes = BodyHasher::new(all).finish();
        let text = |wanted| to_base64(&hashes.get(wanted).unwrap().digest);
        assert_eq!(text(all[0]), "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
        assert_eq!(text(all[1]), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn lengths_are_hashed_beside_each_other_and_ones_beyond_the_end_are_not() {
        let body = b"0123456789\r\n";
        let lengths = [0, 1, 11, 12, 13, u64::MAX];
        for whole in [true, false] {
            let mut all: Vec<Wanted> =
                lengths.iter().map(|length| wanted(Algorithm::Simple, Some(*length))).collect();
            all.extend(whole.then_some(wanted(Algorithm::Simple, None)));
            all.extend(all.clone());
            for chunk in [1, 5, body.len()] {
                let mut hasher = BodyHasher::new(all.iter().copied());
                body.chunks(chunk).for_each(|piece| hasher.push(piece));
                let hashes = hasher.finish();
                let is = |octets: &[u8]| {
                    digest({
                        let mut context = Context::new(&SHA256);
                        context.update(octets);
                        context
                    })
                };
                for length in lengths {
                    let hash = hashes.get(wanted(Algorithm::Simple, Some(length)));
                    let expected = usize::try_from(length).ok().and_then(|length| body.get(..length));
                    assert_eq!(hash.map(|hash| hash.digest), expected.map(is), "{length}");
                    assert!(hash.is_none_or(|hash| hash.rest + length == 12));
                }
                let all_of_it = hashes.get(wanted(Algorithm::Simple, None));
                assert_eq!(all_of_it, whole.then(|| BodyHash { digest: is(body), rest: 0 }));
                assert_eq!(hashes.get(wanted(Algorithm::Relaxed, None)), None);
            }
        }
    }
}
