//! Which sets a message has, and whether they can be a chain (RFC 8617 §5.2 steps 1 to 3).

use crate::dkim::header::{FieldNumber, Header};
use crate::dkim::limits::ARC_SETS_MAX;
use crate::dkim::signature::SignatureError;

use super::set::{ChainStatus, Instance, MessageSignature, Seal, results_instance};
use super::{MESSAGE_SIGNATURE, RESULTS, SEAL};

/// Why the sets of a message are no chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChainError {
    /// More than 50 sets.
    #[error("more than 50 sets")]
    TooMany,
    /// A field without a number that a set may have.
    #[error("an ARC field has no valid instance")]
    Instance,
    /// Two fields of one kind in a set.
    #[error("set {0} has a field twice")]
    Twice(u8),
    /// A set that has not all three fields, or is missing between others.
    #[error("set {0} is not complete")]
    Incomplete(u8),
    /// A seal that can't be read.
    #[error("seal {0}: {1}")]
    Seal(u8, SignatureError),
    /// The newest signature of the message can't be read.
    #[error("message signature {0}: {1}")]
    Signature(u8, SignatureError),
    /// A sealer found that the chain was broken.
    #[error("set {0} says that the chain failed")]
    Failed(u8),
    /// A status that can't be: `none` of a set that isn't the first, or `pass` of the first.
    #[error("set {0} has a status that it cannot have")]
    Status(u8),
}

/// One set.
#[derive(Clone, Debug)]
pub struct Set {
    /// Its number.
    pub instance: Instance,
    /// Its authentication results.
    pub results: FieldNumber,
    /// The field of its message signature.
    pub signature_field: FieldNumber,
    /// Its message signature. Of an old set it may be one that can't be read: that only ends how far back
    /// the message can be followed.
    pub signature: Result<MessageSignature, SignatureError>,
    /// The field of its seal.
    pub seal_field: FieldNumber,
    /// Its seal.
    pub seal: Seal,
}

/// Sets 1 to N without gaps, whose statuses are those of a chain that was valid so far.
#[derive(Clone, Debug)]
pub struct Chain {
    /// From the oldest to the newest; never empty.
    pub sets: Vec<Set>,
}

impl Chain {
    /// Sets of the chain.
    #[must_use]
    pub fn length(&self) -> usize {
        self.sets.len()
    }
}

/// The three kinds of fields.
const KINDS: [&str; 3] = [RESULTS, MESSAGE_SIGNATURE, SEAL];

/// Fields of one set that were found, by their kind.
type Found = [Option<FieldNumber>; KINDS.len()];

/// Collects the sets of a message. None where it has no ARC field.
pub fn collect(header: &Header) -> Option<Result<Chain, ChainError>> {
    let any = KINDS.iter().any(|name| header.named(name).len() > 0);
    any.then(|| chain(header))
}

/// What is known of the newest set, whether or not the sets are a chain: a sealer that adds one more needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Newest {
    /// The highest number that any field has.
    pub instance: Instance,
    /// Whether a seal of that number says that the chain failed, after which nothing is added (RFC 8617 §5.1).
    pub is_failed: bool,
}

/// Finds the newest set of a message. None where no field has a number that a set may have.
#[must_use]
pub fn newest(header: &Header) -> Option<Newest> {
    let instance = |name: &str, value: &[u8]| match name {
        RESULTS => results_instance(value).map(|(instance, _)| instance),
        _ => Instance::of_signature(value).ok(),
    };
    let values = |name: &'static str| header.named(name).map(|field| field.value);
    let instances =
        KINDS.into_iter().flat_map(|name| values(name).filter_map(move |value| instance(name, value)));
    let highest = instances.max()?;
    let is_failed = values(SEAL).any(|value| {
        instance(SEAL, value) == Some(highest) && Seal::claims(value) == Some(ChainStatus::Fail)
    });
    Some(Newest { instance: highest, is_failed })
}

fn chain(header: &Header) -> Result<Chain, ChainError> {
    if KINDS.iter().any(|name| header.named(name).len() > usize::from(ARC_SETS_MAX)) {
        return Err(ChainError::TooMany);
    }
    let mut found = [Found::default(); ARC_SETS_MAX as usize];
    let mut highest = 0;
    for (kind, name) in KINDS.into_iter().enumerate() {
        for number in header.numbers(name) {
            let value = header.get(number).value;
            let instance = match name {
                RESULTS => results_instance(value).map(|(instance, _)| instance),
                _ => Instance::of_signature(value).ok(),
            };
            let instance = instance.ok_or(ChainError::Instance)?.number();
            highest = highest.max(instance);
            if found[usize::from(instance) - 1][kind].replace(number).is_some() {
                return Err(ChainError::Twice(instance));
            }
        }
    }
    let mut sets = Vec::with_capacity(usize::from(highest));
    for (found, number) in found.iter().zip(1..=highest) {
        sets.push(set(header, found, number)?);
    }
    check_statuses(&sets)?;
    Ok(Chain { sets })
}

fn set(header: &Header, found: &Found, number: u8) -> Result<Set, ChainError> {
    let ([Some(results), Some(signature_field), Some(seal_field)], Some(instance)) =
        (*found, Instance::new(number))
    else {
        return Err(ChainError::Incomplete(number));
    };
    let seal = Seal::parse(header.get(seal_field).value).map_err(|error| ChainError::Seal(number, error))?;
    let signature = MessageSignature::parse(header.get(signature_field).value);
    Ok(Set { instance, results, signature_field, signature, seal_field, seal })
}

fn check_statuses(sets: &[Set]) -> Result<(), ChainError> {
    for set in sets.iter().rev() {
        let expected = if set.instance == Instance::FIRST { ChainStatus::None } else { ChainStatus::Pass };
        if set.seal.status == ChainStatus::Fail {
            return Err(ChainError::Failed(set.instance.number()));
        }
        if set.seal.status != expected {
            return Err(ChainError::Status(set.instance.number()));
        }
    }
    match sets.last() {
        Some(Set { instance, signature: Err(error), .. }) => {
            Err(ChainError::Signature(instance.number(), *error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn results(instance: impl std::fmt::Display) -> String {
        format!("ARC-Authentication-Results: i={instance}; a.b; spf=pass\r\n")
    }

    fn signature(instance: impl std::fmt::Display) -> String {
        format!("ARC-Message-Signature: i={instance}; a=rsa-sha256; d=a.b; s=c; h=from; bh=AA==; b=AA==\r\n")
    }

    fn seal(instance: impl std::fmt::Display, status: &str) -> String {
        format!("ARC-Seal: i={instance}; a=rsa-sha256; d=a.b; s=c; cv={status}; b=AA==\r\n")
    }

    fn whole(instance: u8) -> String {
        let status = if instance == 1 { "none" } else { "pass" };
        format!("{}{}{}", seal(instance, status), signature(instance), results(instance))
    }

    fn collected(text: &str) -> Option<Result<usize, ChainError>> {
        let header = Header::parse(text.as_bytes().to_vec()).unwrap();
        collect(&header).map(|chain| chain.map(|chain| chain.length()))
    }

    #[test]
    fn sets_are_a_chain_in_whatever_order_they_stand() {
        assert_eq!(collected("From: a\r\n"), None);
        assert_eq!(collected(&whole(1)), Some(Ok(1)));
        assert_eq!(collected(&format!("{}{}{}", whole(2), whole(3), whole(1))), Some(Ok(3)));
        let all: String = (1..=50).map(whole).collect();
        assert_eq!(collected(&all), Some(Ok(50)));
    }

    #[test]
    fn what_is_no_chain_is_told_why() {
        use ChainError::{Failed, Incomplete, Status, TooMany, Twice};
        let all: String = (1..=50).map(whole).collect();
        for (text, error) in [
            (format!("{all}{}", results(1)), TooMany),
            (format!("{all}{}", seal(51, "pass")), TooMany),
            (format!("{}{}", whole(1), seal(51, "pass")), ChainError::Instance),
            (format!("{}{}", whole(1), results(0)), ChainError::Instance),
            (format!("{}{}", whole(1), "ARC-Seal: a=b\r\n"), ChainError::Instance),
            (format!("{}{}", whole(1), signature(1)), Twice(1)),
            (format!("{}{}", whole(1), whole(3)), Incomplete(2)),
            (whole(2), Incomplete(1)),
            (results(1), Incomplete(1)),
            (format!("{}{}", results(1), signature(1)), Incomplete(1)),
            (format!("{}{}{}", results(1), signature(1), seal(1, "pass")), Status(1)),
            (format!("{}{}{}", results(1), signature(1), seal(1, "fail")), Failed(1)),
            (format!("{}{}{}{}", whole(1), results(2), signature(2), seal(2, "none")), Status(2)),
            (format!("{}{}{}{}", whole(1), results(2), signature(2), seal(2, "fail")), Failed(2)),
            (
                format!("{}{}ARC-Seal: i=1; cv=none; a=x\r\n", results(1), signature(1)),
                ChainError::Seal(1, SignatureError::Algorithm),
            ),
        ] {
            assert_eq!(collected(&text), Some(Err(error)), "{text}");
        }
    }

    #[test]
    fn the_newest_set_is_known_of_what_is_no_chain_as_well() {
        let found = |text: &str| {
            let newest = newest(&Header::parse(text.as_bytes().to_vec()).unwrap());
            newest.map(|newest| (newest.instance.number(), newest.is_failed))
        };
        assert_eq!(found("From: a\r\n"), None);
        assert_eq!(found("ARC-Seal: i=51; cv=fail\r\nARC-Seal: x\r\n"), None);
        assert_eq!(found(&format!("{}{}", whole(1), whole(2))), Some((2, false)));
        assert_eq!(found(&format!("{}{}", whole(1), results(7))), Some((7, false)));
        assert_eq!(found(&format!("{}{}", seal(3, "FAIL"), whole(1))), Some((3, true)));
        // Whatever else is wrong with it, and not of an older one.
        assert_eq!(found("ARC-Seal: i=2; cv=fail; h=from\r\n"), Some((2, true)));
        assert_eq!(found(&format!("{}{}", seal(3, "fail"), signature(4))), Some((4, false)));
        assert_eq!(found(&results(50)), Some((50, false)));
    }

    #[test]
    fn only_the_newest_message_signature_has_to_be_readable() {
        let bad = "ARC-Message-Signature: i=1; a=x\r\n";
        let first = format!("{}{}{bad}", results(1), seal(1, "none"));
        assert_eq!(collected(&first), Some(Err(ChainError::Signature(1, SignatureError::Algorithm))));
        assert_eq!(collected(&format!("{first}{}", whole(2))), Some(Ok(2)));
    }

    #[test]
    fn fuzz_sets_that_are_mangled_are_a_chain_or_an_error() {
        let text: String = (1..=3).map(whole).collect();
        let mut state = 0x0123_4567_89ab_cdefu64;
        let mut below = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % bound as u64) as usize
        };
        let (mut chains, mut errors) = (0, 0);
        for _ in 0..10_000 {
            let mut octets = text.clone().into_bytes();
            for _ in 0..=below(3) {
                let at = below(octets.len());
                match below(4) {
                    0 => octets[at] = below(256) as u8,
                    1 => octets[at] = b"0123456789;=i\r\n"[below(15)],
                    2 => octets.truncate(octets.len() - below(40)),
                    _ => octets.insert(at, b"i=;( \\"[below(6)]),
                }
                if octets.len() < 100 {
                    break;
                }
            }
            match collect(&Header::parse(octets).unwrap()) {
                Some(Ok(chain)) => {
                    chains += 1;
                    let numbers: Vec<u8> = chain.sets.iter().map(|set| set.instance.number()).collect();
                    assert_eq!(numbers, (1..=numbers.len() as u8).collect::<Vec<u8>>());
                }
                Some(Err(_)) => errors += 1,
                None => {}
            }
        }
        assert!(chains > 100 && errors > 100, "{chains} chains, {errors} errors");
    }
}
