//! Modified UTF-7 of mailbox names (RFC 3501 §5.1.3).

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

/// Base64 with `,` for `/`, without padding.
static BASE64: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,");
    // The symbols are 64 different ASCII characters, which is all that can be wrong.
    specification.encoding().unwrap_or(data_encoding::BASE64_NOPAD)
});

/// Appends `name` in modified UTF-7.
pub fn encode(out: &mut Vec<u8>, name: &str) {
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let direct = rest.bytes().take_while(|octet| is_direct(*octet)).count();
        out.extend_from_slice(&rest.as_bytes()[..direct]);
        rest = &rest[direct..];
        if direct > 0 {
            continue;
        }
        if c == '&' {
            out.extend_from_slice(b"&-");
            rest = &rest[1..];
            continue;
        }
        let end = rest.find(|c: char| matches!(c, ' '..='~')).unwrap_or(rest.len());
        let units: Vec<u8> = rest[..end].encode_utf16().flat_map(u16::to_be_bytes).collect();
        out.push(b'&');
        out.extend_from_slice(BASE64.encode(&units).as_bytes());
        out.push(b'-');
        rest = &rest[end..];
    }
}

/// Decodes modified UTF-7. Only what [`encode`] writes is taken, so that no mailbox has two names:
/// no printable ASCII in base64, no base64 next to base64, no stray bits.
pub fn decode(text: &[u8]) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        if *first != b'&' {
            if !is_direct(*first) {
                return None;
            }
            name.push(char::from(*first));
            rest = after;
            continue;
        }
        let end = memchr::memchr(b'-', after)?;
        if end == 0 {
            name.push('&');
        } else {
            let octets = BASE64.decode(&after[..end]).ok()?;
            let (pairs, []) = octets.as_chunks::<2>() else { return None };
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            for c in char::decode_utf16(units) {
                name.push(c.ok()?);
            }
        }
        rest = &after[end + 1..];
    }
    let mut again = Vec::with_capacity(text.len());
    encode(&mut again, &name);
    (again == text).then_some(name)
}

/// Printable US-ASCII but `&` stands for itself.
fn is_direct(octet: u8) -> bool {
    matches!(octet, b' '..=b'~') && octet != b'&'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(name: &str) -> String {
        let mut out = Vec::new();
        encode(&mut out, name);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn names_of_the_standard_are_encoded_and_decoded() {
        for (name, text) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("a&b", "a&-b"),
            ("&", "&-"),
            ("&é", "&-&AOk-"),
            ("", ""),
            ("😀", "&2D3eAA-"),
            ("\u{7f}\n", "&AH8ACg-"),
        ] {
            assert_eq!(encoded(name), text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(name));
        }
    }

    #[test]
    fn second_spellings_are_refused() {
        for text in [
            "&",
            "a&",
            "&AOk",
            "&AGE-",
            "&AOk-&AOk-",
            "&AOl-",
            "&2D0-",
            "&AO-",
            "é",
            "&AOk=-",
            "a\n",
            "&/-",
            "&é-",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_name_survives(name in ".*") {
            prop_assert_eq!(decode(encoded(&name).as_bytes()), Some(name));
        }

        #[test]
        fn what_is_decoded_is_encoded_the_same(text in "[&A-D,0-]{0,12}") {
            if let Some(name) = decode(text.as_bytes()) {
                prop_assert_eq!(encoded(&name), text);
            }
        }
    }
}
