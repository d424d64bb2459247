//! DS and DNSKEY records in presentation form (RFC 1035 §5.1, RFC 4034 §2.2 and §5.3).

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use hickory_proto::dnssec::rdata::{DNSKEY, DS};
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKeyBuf};
use hickory_proto::rr::Name;

use super::TrustAnchors;
use crate::dnssec::keys::{Voucher, ZoneKey};

/// Octets of a file of anchors.
const FILE_OCTETS_MAX: usize = 1024 * 1024;
/// Records of a file of anchors.
const RECORDS_MAX: usize = 256;
/// Words of a record: a key may be cut into many.
const WORDS_MAX: usize = 256;

/// A file of anchors that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct AnchorError {
    /// The line that the record begins at, from 1; that of the end when something is missing in the whole.
    pub line: usize,
    /// What is wrong.
    pub fault: AnchorFault,
}

/// What is wrong with an anchor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorFault {
    /// No record at all.
    #[error("no DS or DNSKEY record is there, and without one nothing can be validated")]
    Empty,
    /// More than is read.
    #[error("more than {0}")]
    TooMuch(&'static str),
    /// A parenthesis without its other half.
    #[error("a parenthesis isn't closed, or wasn't opened")]
    Parenthesis,
    /// Not an absolute domain name.
    #[error("\"{0}\" is not a domain name")]
    Name(String),
    /// Another type.
    #[error("\"{0}\" where DS or DNSKEY was expected")]
    Type(String),
    /// A field that is missing or isn't what it must be.
    #[error("the {0} is missing or wrong")]
    Field(&'static str),
    /// A digest that doesn't have the octets of its type.
    #[error("the digest has {found} octets, and its type has {expected}")]
    DigestLength {
        /// Octets that are there.
        found: usize,
        /// Octets that must be there.
        expected: usize,
    },
    /// A key that may not sign zones, or was revoked, can't be trusted.
    #[error("a key with flags {0} can't be an anchor: it isn't a key of a zone, or is revoked")]
    Flags(u16),
}

pub(super) fn parse(text: &str) -> Result<TrustAnchors, AnchorError> {
    if text.len() > FILE_OCTETS_MAX {
        return Err(AnchorError { line: 1, fault: AnchorFault::TooMuch("1 MiB") });
    }
    let mut anchors = TrustAnchors::none();
    let mut lines = 0;
    let mut records = 0;
    let mut open = false;
    let mut words: Vec<&str> = Vec::new();
    let mut first = 1;
    for (at, line) in text.lines().enumerate() {
        lines = at + 1;
        let fail = |line, fault| Err(AnchorError { line, fault });
        if words.is_empty() {
            first = lines;
        }
        let line = line.split(';').next().unwrap_or_default();
        for word in split(line) {
            match (word, open) {
                ("(", false) => open = true,
                (")", true) => open = false,
                ("(" | ")", _) => return fail(lines, AnchorFault::Parenthesis),
                _ if words.len() == WORDS_MAX => {
                    return fail(first, AnchorFault::TooMuch("256 words in one record"));
                }
                _ => words.push(word),
            }
        }
        if !open && !words.is_empty() {
            records += 1;
            if records > RECORDS_MAX {
                return fail(first, AnchorFault::TooMuch("256 records"));
            }
            let (zone, voucher) = record(&words).map_err(|fault| AnchorError { line: first, fault })?;
            anchors.add(zone, voucher);
            words.clear();
        }
    }
    if open {
        return Err(AnchorError { line: first, fault: AnchorFault::Parenthesis });
    }
    if records == 0 {
        return Err(AnchorError { line: lines.max(1), fault: AnchorFault::Empty });
    }
    Ok(anchors)
}

/// Words between white space, parentheses being words of their own.
fn split(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace().flat_map(|word| word.split_inclusive(['(', ')'])).flat_map(|part| {
        match part.strip_suffix(['(', ')']) {
            Some(before) => [before, &part[before.len()..]],
            None => [part, ""],
        }
        .into_iter()
        .filter(|word| !word.is_empty())
    })
}

fn record(words: &[&str]) -> Result<(Name, Voucher), AnchorFault> {
    let (owner, rest) = words.split_first().ok_or(AnchorFault::Field("owner"))?;
    let mut zone = Name::from_ascii(owner).map_err(|_| AnchorFault::Name(shown(owner)))?;
    zone.set_fqdn(true);
    // TTL and class may be there, in either order.
    let skipped =
        rest.iter().take_while(|word| word.eq_ignore_ascii_case("IN") || word.parse::<u32>().is_ok()).count();
    let (kind, data) =
        rest.get(skipped.min(2)..).and_then(|rest| rest.split_first()).ok_or(AnchorFault::Field("type"))?;
    let voucher = if kind.eq_ignore_ascii_case("DS") {
        Voucher::Digest(digest(data)?)
    } else if kind.eq_ignore_ascii_case("DNSKEY") {
        Voucher::Key(key(data)?)
    } else {
        return Err(AnchorFault::Type(shown(kind)));
    };
    Ok((zone, voucher))
}

fn digest(data: &[&str]) -> Result<DS, AnchorFault> {
    let [tag, algorithm, kind, digest @ ..] = data else {
        return Err(AnchorFault::Field("data of the DS record"));
    };
    let tag = tag.parse().map_err(|_| AnchorFault::Field("key tag"))?;
    let algorithm = self::algorithm(algorithm)?;
    let kind = DigestType::from(kind.parse::<u8>().map_err(|_| AnchorFault::Field("digest type"))?);
    let digest =
        HEXLOWER_PERMISSIVE.decode(digest.concat().as_bytes()).map_err(|_| AnchorFault::Field("digest"))?;
    let expected = match kind {
        DigestType::SHA1 => 20,
        DigestType::SHA256 => 32,
        DigestType::SHA384 => 48,
        _ => digest.len().max(1),
    };
    if digest.len() != expected {
        return Err(AnchorFault::DigestLength { found: digest.len(), expected });
    }
    Ok(DS::new(tag, algorithm, kind, digest))
}

/// The data of a DNSKEY record that may be an anchor.
pub(super) fn key(data: &[&str]) -> Result<ZoneKey, AnchorFault> {
    let [flags, protocol, algorithm, key @ ..] = data else {
        return Err(AnchorFault::Field("data of the DNSKEY record"));
    };
    let flags: u16 = flags.parse().map_err(|_| AnchorFault::Field("flags field"))?;
    if *protocol != "3" {
        return Err(AnchorFault::Field("protocol (3)"));
    }
    let algorithm = self::algorithm(algorithm)?;
    let octets =
        BASE64.decode(key.concat().as_bytes()).map_err(|_| AnchorFault::Field("public key (base64)"))?;
    if octets.is_empty() {
        return Err(AnchorFault::Field("public key (base64)"));
    }
    let data = DNSKEY::with_flags(flags, PublicKeyBuf::new(octets, algorithm));
    if !data.zone_key() || data.revoke() {
        return Err(AnchorFault::Flags(flags));
    }
    ZoneKey::of(&data).ok_or(AnchorFault::Field("public key (base64)"))
}

/// A number, or one of the mnemonics of the registry.
fn algorithm(word: &str) -> Result<Algorithm, AnchorFault> {
    const MNEMONICS: [(&str, u8); 9] = [
        ("DSA", 3),
        ("RSASHA1", 5),
        ("DSA-NSEC3-SHA1", 6),
        ("RSASHA1-NSEC3-SHA1", 7),
        ("RSASHA256", 8),
        ("RSASHA512", 10),
        ("ECDSAP256SHA256", 13),
        ("ECDSAP384SHA384", 14),
        ("ED25519", 15),
    ];
    let known =
        MNEMONICS.iter().find(|(mnemonic, _)| mnemonic.eq_ignore_ascii_case(word)).map(|(_, number)| *number);
    let number = known.or_else(|| word.parse().ok()).ok_or(AnchorFault::Field("algorithm"))?;
    Ok(Algorithm::from_u8(number))
}

/// A word of the file, in so far as it can be shown in an error.
fn shown(word: &str) -> String {
    word.chars().take(64).map(|one| if one.is_control() { '?' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    const DIGEST: &str = "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D";

    fn fault(text: &str) -> (usize, AnchorFault) {
        let error = parse(text).unwrap_err();
        assert!(error.to_string().starts_with(&format!("line {}: ", error.line)));
        (error.line, error.fault)
    }

    #[test]
    fn records_are_read_as_tools_write_them() {
        let root = format!(
            "; the root\n.\t172800 IN DS 20326 8 2 ({}\n  {} ) ; KSK-2017\n",
            &DIGEST[..30],
            &DIGEST[30..]
        );
        let anchors = parse(&root).unwrap();
        assert_eq!(anchors.tags(&Name::root()).collect::<Vec<_>>(), [20326]);
        let same = parse(&format!(". IN 172800 DS 20326 RSASHA256 2 {}", DIGEST.to_lowercase())).unwrap();
        assert_eq!(same, anchors);

        // Ed25519 key of RFC 8080 §6.1.
        let key = "example.com. 3600 IN DNSKEY 257 3 15 (\n l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4= )";
        let anchors = parse(key).unwrap();
        let zone = Name::from_ascii("example.com.").unwrap();
        assert_eq!(anchors.tags(&zone).collect::<Vec<_>>(), [3613]);
        assert_eq!(anchors.zones().collect::<Vec<_>>(), [&zone]);
    }

    #[test]
    fn errors_say_the_line_and_what_is_wrong() {
        let good = format!(". DS 20326 8 2 {DIGEST}\n");
        assert_eq!(fault(""), (1, AnchorFault::Empty));
        assert_eq!(fault("; nothing\n\n"), (2, AnchorFault::Empty));
        assert_eq!(fault(&format!("{good}\n. TXT hello")), (3, AnchorFault::Type("TXT".into())));
        assert_eq!(fault(&format!("{good}. DS 20326 8 2 (\n{DIGEST}\n")), (2, AnchorFault::Parenthesis));
        assert_eq!(fault(". DS 20326 8 2 00 )"), (1, AnchorFault::Parenthesis));
        assert_eq!(fault(". DS 20326 8 2 00"), (1, AnchorFault::DigestLength { found: 1, expected: 32 }));
        assert_eq!(fault(". DS 20326 8 77"), (1, AnchorFault::DigestLength { found: 0, expected: 1 }));
        assert_eq!(fault(". DS 99999 8 2 00"), (1, AnchorFault::Field("key tag")));
        assert_eq!(fault(". DS 1 what 2 00"), (1, AnchorFault::Field("algorithm")));
        assert_eq!(fault(". DS 1 8 x 00"), (1, AnchorFault::Field("digest type")));
        assert_eq!(fault(". DS 1 8 2 zz"), (1, AnchorFault::Field("digest")));
        assert_eq!(fault(". DS 1 8"), (1, AnchorFault::Field("data of the DS record")));
        assert_eq!(fault("."), (1, AnchorFault::Field("type")));
        assert_eq!(fault("a..b DS 1 8 2 00"), (1, AnchorFault::Name("a..b".into())));
        assert_eq!(fault(". DNSKEY 256 4 8 AAAA"), (1, AnchorFault::Field("protocol (3)")));
        assert_eq!(fault(". DNSKEY 0 3 8 AAAA"), (1, AnchorFault::Flags(0)));
        assert_eq!(fault(". DNSKEY 385 3 8 AAAA"), (1, AnchorFault::Flags(385)));
        assert_eq!(fault(". DNSKEY 256 3 8 A"), (1, AnchorFault::Field("public key (base64)")));
        assert_eq!(fault(". DNSKEY 256 3 8"), (1, AnchorFault::Field("public key (base64)")));
    }

    #[test]
    fn a_file_has_bounds() {
        let line = |tag: usize| format!(". DS {tag} 8 2 {DIGEST}\n");
        let most: String = (0..RECORDS_MAX).map(line).collect();
        assert_eq!(parse(&most).unwrap().tags(&Name::root()).count(), RECORDS_MAX);
        assert_eq!(fault(&(most + &line(9999))), (RECORDS_MAX + 1, AnchorFault::TooMuch("256 records")));

        let words = |count: usize| format!(". DNSKEY 257 3 15 {}", "AAAA ".repeat(count - 5));
        assert!(parse(&words(WORDS_MAX)).is_ok());
        assert_eq!(fault(&words(WORDS_MAX + 1)), (1, AnchorFault::TooMuch("256 words in one record")));

        let padded = |octets: usize| line(1) + &" ".repeat(octets - line(1).len());
        assert!(parse(&padded(FILE_OCTETS_MAX)).is_ok());
        assert_eq!(fault(&padded(FILE_OCTETS_MAX + 1)), (1, AnchorFault::TooMuch("1 MiB")));
    }
}
