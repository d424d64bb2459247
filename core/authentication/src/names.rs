//! Names of DNS from texts of mail.

use std::fmt::Write as _;
use std::net::IpAddr;

use postrider_dns::{Answer, Name, RData, RecordType};
use postrider_proto::address::Domain;

/// The longest name as text, without a dot at its end.
const NAME_OCTETS_MAX: usize = 253;

/// An absolute name of labels that are there and no longer than 63 octets; none when the text is no such name. A
/// dot at the end is allowed. Any printable octet may stand in a label: what SPF's macros expand to need not be a
/// host name.
pub(crate) fn absolute(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() || text.len() > NAME_OCTETS_MAX {
        return None;
    }
    let mut name = Name::from_labels(text.split('.').map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// The absolute name of a domain.
pub(crate) fn of_domain(domain: &Domain) -> Option<Name> {
    absolute(domain.as_str())
}

/// `label.domain`, absolute; none when it is too long.
pub(crate) fn below(label: &str, domain: &str) -> Option<Name> {
    absolute(&format!("{label}.{domain}"))
}

/// The labels of an address, the last part first: `1.2.0.192`, or 32 digits.
pub(crate) fn reversed(address: IpAddr) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            let _ = write!(text, "{d}.{c}.{b}.{a}");
        }
        IpAddr::V6(address) => {
            for octet in address.octets().into_iter().rev() {
                let separator = if text.is_empty() { "" } else { "." };
                let _ = write!(text, "{separator}{:x}.{:x}", octet & 15, octet >> 4);
            }
        }
    }
    text
}

/// The name at which an address has its PTR records.
pub(crate) fn of_address(address: IpAddr) -> Option<Name> {
    below(&reversed(address), if address.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" })
}

/// An IPv4 address, also when it is mapped to IPv6 (RFC 4291 §2.5.5.2).
pub(crate) fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The type of a host's records that can hold such an address.
pub(crate) fn address_type(address: IpAddr) -> RecordType {
    if address.is_ipv4() { RecordType::A } else { RecordType::AAAA }
}

/// The address in a record.
pub(crate) fn address_of(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

/// The text of a TXT record, its strings joined.
pub(crate) fn text_of(data: &RData) -> Option<Vec<u8>> {
    match data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    }
}

/// A text with what isn't printable ASCII replaced.
pub(crate) fn printable(text: &[u8]) -> String {
    let shown =
        |octet: &u8| if octet.is_ascii_graphic() || *octet == b' ' { char::from(*octet) } else { '?' };
    text.iter().map(shown).collect()
}

/// A name as a host name in text, without a dot at its end; none when it has other characters than those of host
/// names and `_`.
pub(crate) fn host_name(name: &Name) -> Option<String> {
    let text = name.to_ascii();
    let text = text.strip_suffix('.').unwrap_or(&text);
    let is_host = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    (!text.is_empty() && text.bytes().all(is_host)).then(|| text.to_owned())
}

/// What failed, in words.
pub(crate) fn failure(answer: &Answer) -> String {
    let name = answer.name.to_ascii();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if answer.reason.is_empty() {
        format!("looking up {} of {name} failed", answer.kind)
    } else {
        format!("looking up {} of {name} failed: {}", answer.kind, answer.reason)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    #[test]
    fn names_are_those_that_dns_can_have() {
        let label = "a".repeat(63);
        assert_eq!(absolute("Mail.example.").unwrap(), absolute("mail.example").unwrap());
        assert!(absolute("mail.example").unwrap().is_fqdn());
        assert!(absolute(&format!("{label}.example")).is_some());
        for text in ["", ".", "a..b", ".a", "a.b..", &format!("{label}a.example")] {
            assert_eq!(absolute(text), None, "{text}");
        }
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert!(absolute(&longest).is_some());
        assert_eq!(absolute(&format!("{longest}a")), None);
        assert_eq!(host_name(&absolute("_x.a-b.example").unwrap()).unwrap(), "_x.a-b.example");
        assert_eq!(host_name(&absolute("a b.example").unwrap()), None);
        assert_eq!(host_name(&Name::root()), None);
    }

    #[test]
    fn addresses_have_names() {
        let name = |text: &str| of_address(text.parse().unwrap()).unwrap().to_ascii();
        assert_eq!(name("192.0.2.1"), "1.2.0.192.in-addr.arpa.");
        assert_eq!(
            name("2001:db8::cb01"),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
        );
        assert_eq!(unmapped("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
    }
}
