//! Records in presentation form, as conformance data has them.

use data_encoding::{BASE32_DNSSEC, BASE64, HEXLOWER_PERMISSIVE};
use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, NSEC3, RRSIG};
use hickory_proto::dnssec::{Algorithm, Nsec3HashAlgorithm, PublicKeyBuf};
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{Name, RData, Record, RecordType, SerialNumber};

/// An absolute name.
pub(super) fn name(text: &str) -> Name {
    let mut labels = vec![Vec::new()];
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'.' => labels.push(Vec::new()),
            b'\\' => {
                let digits = String::from_utf8(octets.by_ref().take(3).collect()).unwrap();
                labels.last_mut().unwrap().push(digits.parse().unwrap());
            }
            octet => labels.last_mut().unwrap().push(octet),
        }
    }
    labels.retain(|label| !label.is_empty());
    Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(super) fn kind(text: &str) -> Option<RecordType> {
    match text.strip_prefix("TYPE").and_then(|number| number.parse::<u16>().ok()) {
        Some(number) => Some(RecordType::from(number)),
        None => text.parse().ok(),
    }
}

/// One record on one line. TTL and class may be missing.
pub(super) fn record(line: &str) -> Record {
    let mut words = line.split_whitespace();
    let owner = name(words.next().unwrap());
    let mut ttl = 3600;
    let kind = loop {
        let word = words.next().unwrap_or_else(|| panic!("no type: {line}"));
        if let Ok(seconds) = word.parse() {
            ttl = seconds;
        } else if word != "IN" {
            break kind(word).unwrap_or_else(|| panic!("type {word}: {line}"));
        }
    };
    let words: Vec<_> = words.filter(|word| !matches!(*word, "(" | ")")).collect();
    Record::from_rdata(owner, ttl, data(kind, &words).unwrap_or_else(|| panic!("data: {line}")))
}

fn data(kind: RecordType, words: &[&str]) -> Option<RData> {
    let types = |words: &[&str]| words.iter().map(|word| self::kind(word)).collect::<Option<Vec<_>>>();
    let dnssec = match kind {
        RecordType::DNSKEY => {
            let [flags, "3", algorithm, key @ ..] = words else { return None };
            let key = BASE64.decode(key.concat().as_bytes()).ok()?;
            DNSSECRData::DNSKEY(DNSKEY::with_flags(
                flags.parse().ok()?,
                PublicKeyBuf::new(key, self::algorithm(algorithm)?),
            ))
        }
        RecordType::RRSIG => {
            let [covered, algorithm, labels, ttl, expires, begins, tag, signer, signature @ ..] = words
            else {
                return None;
            };
            // Some signatures of the data are cut; they aren't verified.
            let text = signature.concat();
            let whole = &text[..text.len() / 4 * 4];
            let octets = BASE64.decode(whole.as_bytes()).ok()?;
            let input = SigInput {
                type_covered: self::kind(covered)?,
                algorithm: self::algorithm(algorithm)?,
                num_labels: labels.parse().ok()?,
                original_ttl: ttl.parse().ok()?,
                sig_expiration: SerialNumber::new(time(expires)? as u32),
                sig_inception: SerialNumber::new(time(begins)? as u32),
                key_tag: tag.parse().ok()?,
                signer_name: name(signer),
            };
            DNSSECRData::RRSIG(RRSIG::from_sig(input, octets))
        }
        RecordType::NSEC => {
            let [next, kinds @ ..] = words else { return None };
            DNSSECRData::NSEC(NSEC::new(name(next), types(kinds)?))
        }
        RecordType::NSEC3 => {
            let ["1", flags, iterations, salt, next, kinds @ ..] = words else { return None };
            let salt =
                if *salt == "-" { Vec::new() } else { HEXLOWER_PERMISSIVE.decode(salt.as_bytes()).ok()? };
            let next = BASE32_DNSSEC.decode(next.as_bytes()).ok()?;
            let iterations = iterations.parse().ok()?;
            DNSSECRData::NSEC3(NSEC3::new(
                Nsec3HashAlgorithm::SHA1,
                *flags == "1",
                iterations,
                salt,
                next,
                types(kinds)?,
            ))
        }
        RecordType::DNAME => {
            let octets = name(words.first()?)
                .iter()
                .flat_map(|label| [&[label.len() as u8], label].concat())
                .chain([0])
                .collect();
            return Some(RData::Unknown { code: kind, rdata: NULL::with(octets) });
        }
        RecordType::DS => {
            let [tag, algorithm, rest @ ..] = words else { return None };
            let number = u8::from(self::algorithm(algorithm)?);
            return RData::try_from_str(kind, &format!("{tag} {number} {}", rest.join(" "))).ok();
        }
        RecordType::Unknown(_) => {
            let ["\\#", _, octets @ ..] = words else { return None };
            let octets = HEXLOWER_PERMISSIVE.decode(octets.concat().as_bytes()).ok()?;
            return Some(RData::Unknown { code: kind, rdata: NULL::with(octets) });
        }
        _ => return RData::try_from_str(kind, &words.join(" ")).ok(),
    };
    Some(RData::DNSSEC(dnssec))
}

fn algorithm(word: &str) -> Option<Algorithm> {
    Some(match word {
        "RSASHA1" => Algorithm::from_u8(5),
        "DSA" => Algorithm::from_u8(3),
        other => Algorithm::from_u8(other.parse().ok()?),
    })
}

/// Seconds since 1970 of `YYYYMMDDHHMMSS`.
pub(super) fn time(text: &str) -> Option<u64> {
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: u64 = lengths.iter().take(month as usize - 1).sum();
    Some((years + months + day - 1) * 86_400 + part(8..10)? * 3600 + part(10..12)? * 60 + part(12..14)?)
}
