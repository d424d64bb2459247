//! Names: from text, from addresses, and what else the library's type leaves to its users.

use std::net::IpAddr;

use hickory_proto::rr::{Name, RData, RecordType};
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The longest text that is looked at: four octets of text for each octet of a name.
const TEXT_OCTETS_MAX: usize = 1020;

/// Text that is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("an empty name; the root is written .")]
    Empty,
    /// Two dots in a row, or one at the beginning.
    #[error("a label is empty")]
    EmptyLabel,
    /// Labels have at most 63 octets, a name 255 (RFC 1035 §2.3.4).
    #[error("it is too long: labels have at most 63 octets, names 255")]
    TooLong,
    /// A backslash isn't followed by a character or by three digits up to 255 (RFC 1035 §5.1).
    #[error("a backslash is followed by neither a character nor three digits up to 255")]
    Escape,
    /// Not a name of IDNA 2008 in UTS #46's reading.
    #[error("a label is neither one of a host nor a valid internationalised one")]
    International,
    /// A space or a control character.
    #[error("there are spaces or control characters in it")]
    Space,
}

/// Reads a name that a person wrote, as an absolute one, with or without a dot at its end.
///
/// Internationalised labels become A-labels (IDNA 2008; UTS #46, not transitional), and A-labels are checked.
/// Other labels may hold whatever DNS allows (`_25._tcp`), with the escapes of RFC 1035 §5.1.
pub fn parse_name(text: &str) -> Result<Name, NameError> {
    match text {
        "" => return Err(NameError::Empty),
        "." => return Ok(Name::root()),
        _ if text.len() > TEXT_OCTETS_MAX => return Err(NameError::TooLong),
        _ => {}
    }
    let is_a_label = |label: &str| label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    let international = !text.is_ascii() || text.split('.').any(is_a_label);
    if !international {
        return from_escaped(text);
    }
    let ascii = Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast, DnsLength::Ignore)
        .map_err(|_| NameError::International)?;
    // What is mapped could become anything; beside letters, digits and hyphens, only what services use.
    if !ascii.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.*".contains(&octet)) {
        return Err(NameError::International);
    }
    from_escaped(&ascii)
}

fn from_escaped(text: &str) -> Result<Name, NameError> {
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'.' => {
                labels.push(Vec::new());
                continue;
            }
            b'\\' => unescape(&mut octets).ok_or(NameError::Escape)?,
            0..=b' ' | 0x7f => return Err(NameError::Space),
            other => other,
        };
        if let Some(label) = labels.last_mut() {
            label.push(octet);
        }
    }
    if labels.last().is_some_and(Vec::is_empty) {
        labels.pop();
    }
    if labels.is_empty() || labels.iter().any(Vec::is_empty) {
        return Err(NameError::EmptyLabel);
    }
    let mut name = Name::from_labels(labels.iter().map(Vec::as_slice)).map_err(|_| NameError::TooLong)?;
    name.set_fqdn(true);
    Ok(name)
}

/// The octet that the characters after a backslash mean (RFC 1035 §5.1).
pub(crate) fn unescape(octets: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = octets.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        value = value * 10 + u32::from(octets.next().filter(u8::is_ascii_digit)? - b'0');
    }
    u8::try_from(value).ok()
}

/// The name of an address in the reverse tree (RFC 1035 §3.5, RFC 3596 §2.5).
#[must_use]
pub fn reverse_name(address: IpAddr) -> Name {
    let mut labels: Vec<String> = match address {
        IpAddr::V4(address) => address.octets().iter().rev().map(u8::to_string).collect(),
        IpAddr::V6(address) => {
            let nibbles = |octet: u8| [octet & 15, octet >> 4];
            address.octets().into_iter().rev().flat_map(nibbles).map(|nibble| format!("{nibble:x}")).collect()
        }
    };
    labels.push(if address.is_ipv4() { "in-addr".into() } else { "ip6".into() });
    labels.push("arpa".into());
    let mut name = Name::from_labels(labels.iter().map(String::as_bytes)).unwrap_or_else(|_| Name::root());
    name.set_fqdn(true);
    name
}

/// The target of a DNAME (RFC 6672 §2.1), which the library gives as octets only; none for other records and
/// for data that is no uncompressed name.
///
/// RFC 6672 §2.5: the target must not be compressed, so octets are enough.
#[must_use]
pub(crate) fn dname_target(data: &RData) -> Option<Name> {
    let RData::Unknown { code: RecordType::DNAME, rdata } = data else { return None };
    let mut rest = rdata.anything.as_slice();
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        match usize::from(*length) {
            0 if after.is_empty() => break,
            length @ 1..=63 => {
                let (label, after) = after.split_at_checked(length)?;
                labels.push(label);
                rest = after;
            }
            _ => return None,
        }
    }
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// `name`, which lies below `end`, with `other` in the place of `end` (RFC 6672 §2.2). None when it doesn't
/// lie below, or when the result is too long.
#[must_use]
pub(crate) fn replace_end(name: &Name, end: &Name, other: &Name) -> Option<Name> {
    if name == end || !end.zone_of(name) {
        return None;
    }
    let kept = usize::from(wire_labels(name)).checked_sub(usize::from(wire_labels(end)))?;
    let mut made = Name::from_labels(name.iter().take(kept).chain(other.iter())).ok()?;
    made.set_fqdn(true);
    Some(made)
}

/// Labels without the root, a wildcard's asterisk included (the library's own count leaves it out).
#[must_use]
pub(crate) fn wire_labels(name: &Name) -> u8 {
    u8::try_from(name.iter().count()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, NameError> {
        parse_name(text).map(|name| {
            assert!(name.is_fqdn());
            name.to_ascii()
        })
    }

    #[test]
    fn what_people_write_becomes_an_absolute_name() {
        for (text, name) in [
            ("example.org", "example.org."),
            ("example.org.", "example.org."),
            ("Example.ORG", "Example.ORG."),
            (".", "."),
            ("_25._tcp.mx.example", "_25._tcp.mx.example."),
            ("bücher.example", "xn--bcher-kva.example."),
            ("BÜCHER.example.", "xn--bcher-kva.example."),
            ("_dmarc.straße.example", "_dmarc.xn--strae-oqa.example."),
            ("XN--bcher-kva.example", "xn--bcher-kva.example."),
            ("bücher。example", "xn--bcher-kva.example."),
            ("0/25.2.0.192.in-addr.arpa", r"0\/25.2.0.192.in-addr.arpa."),
            ("*.example", "*.example."),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(name), "{text}");
        }
        let escaped = parse_name(r"a\.b\032c\\.example").map(|name| name.iter().next().map(<[u8]>::to_vec));
        assert_eq!(escaped, Ok(Some(b"a.b c\\".to_vec())));
    }

    #[test]
    fn what_is_no_name_is_refused_with_why() {
        let label = "a".repeat(64);
        let long = "a.".repeat(128);
        for (text, error) in [
            ("", NameError::Empty),
            (".a", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            ("..", NameError::EmptyLabel),
            (label.as_str(), NameError::TooLong),
            (long.as_str(), NameError::TooLong),
            (r"a\", NameError::Escape),
            (r"a\25", NameError::Escape),
            (r"a\256", NameError::Escape),
            ("a b", NameError::Space),
            ("a\r\nb", NameError::Space),
            ("xn--.example", NameError::International),
            ("xn--a.example", NameError::International),
            ("ü b.example", NameError::International),
            ("ü\u{a0}b.example", NameError::International),
            ("\u{202e}ü.example", NameError::International),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
        assert_eq!(parse(&"ü".repeat(TEXT_OCTETS_MAX)), Err(NameError::TooLong));
        assert!(parse(&"a".repeat(63)).is_ok());
        assert!(parse(&"a.".repeat(127)).is_ok());
    }

    #[test]
    fn addresses_have_names() {
        let name = |text: &str| text.parse().map(|address| reverse_name(address).to_ascii());
        assert_eq!(name("192.0.2.10").as_deref(), Ok("10.2.0.192.in-addr.arpa."));
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.";
        assert_eq!(name("2001:db8::1").as_deref(), Ok(six));
    }
}
