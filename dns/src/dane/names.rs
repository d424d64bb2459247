//! Whether a certificate is for a name (RFC 7672 §3.2.3, RFC 6125 §6.4).

use hickory_proto::rr::Name;

/// Whether a name in a certificate is for a host. A wildcard stands for exactly one label, and is all of the
/// first.
pub(crate) fn is_for(presented: &[u8], host: &Name) -> bool {
    let presented = presented.strip_suffix(b".").unwrap_or(presented);
    let mut labels = presented.split(|octet| *octet == b'.');
    let mut wanted = host.iter();
    // A wildcard of all names below the root would be for every host of a top-level domain.
    if host.iter().count() < 2 && presented.starts_with(b"*") {
        return false;
    }
    let (Some(first), Some(host_first)) = (labels.next(), wanted.next()) else { return false };
    let first_is_for = first == b"*" || first.eq_ignore_ascii_case(host_first);
    first_is_for
        && loop {
            match (labels.next(), wanted.next()) {
                (None, None) => break true,
                (Some(label), Some(host)) if label.eq_ignore_ascii_case(host) => {}
                _ => break false,
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_wildcards_are_for_hosts() {
        let is = |presented: &str, host: &str| {
            Name::from_ascii(host).is_ok_and(|host| is_for(presented.as_bytes(), &host))
        };
        for (presented, host) in [
            ("mx.example.com", "mx.example.com."),
            ("MX.Example.com", "mx.example.COM."),
            ("mx.example.com.", "mx.example.com."),
            ("*.example.com", "mx.example.com."),
            ("*.com", "example.com."),
        ] {
            assert!(is(presented, host), "{presented} {host}");
        }
        for (presented, host) in [
            ("example.com", "mx.example.com."),
            ("mx.example.com", "example.com."),
            ("*.example.com", "example.com."),
            ("*.example.com", "a.mx.example.com."),
            ("m*.example.com", "mx.example.com."),
            ("*x.example.com", "mx.example.com."),
            ("mx.*.com", "mx.example.com."),
            ("*", "com."),
            ("", "mx.example.com."),
            ("", "."),
            ("mx.example.com\0.evil.example", "mx.example.com."),
            ("mx.example.co", "mx.example.com."),
        ] {
            assert!(!is(presented, host), "{presented} {host}");
        }
    }
}
