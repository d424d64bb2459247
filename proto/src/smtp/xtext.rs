//! xtext (RFC 3461 §4): how parameters carry characters that a command line cannot.
//!
//! Always holds: decoding gives printable ASCII or nothing. Whatever is decoded ends up in delivery
//! reports as a header field, so `+0D+0A` and `+00` are refused here, once.

/// Decodes xtext; none when it is not xtext, or stands for anything but printable ASCII.
pub fn decode(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let value = match byte {
            b'+' => 16 * hex_digit(bytes.next()?)? + hex_digit(bytes.next()?)?,
            b'=' => return None,
            b'!'..=b'~' => byte,
            _ => return None,
        };
        if !matches!(value, b' '..=b'~') {
            return None;
        }
        decoded.push(char::from(value));
    }
    Some(decoded)
}

/// Encodes printable ASCII; other characters are encoded octet by octet.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' => encoded.push_str(&format!("+{byte:02X}")),
            b'!'..=b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("+{byte:02X}")),
        }
    }
    encoded
}

/// `utf-8-addr-xtext` or `utf-8-addr-unitext` (RFC 6533 §3): plain UTF-8, with `\x{HEX}` for others.
pub(crate) fn decode_utf8_address(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let character = if c == '\\' {
            let (hex, after) = rest.strip_prefix("\\x{")?.split_once('}')?;
            let upper = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
            if !(2..=6).contains(&hex.len()) || !hex.bytes().all(upper) {
                return None;
            }
            rest = after;
            char::from_u32(u32::from_str_radix(hex, 16).ok()?)?
        } else {
            rest = &rest[c.len_utf8()..];
            if matches!(c, '+' | '=') {
                return None;
            }
            c
        };
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            return None;
        }
        decoded.push(character);
    }
    Some(decoded)
}

/// The form of seven bits of an address of the type `utf-8` (RFC 6533 §3, utf-8-addr-xtext).
pub(crate) fn encode_utf8_address(address: &str) -> String {
    let mut text = String::with_capacity(address.len());
    for c in address.chars() {
        match c {
            '+' | '=' | '\\' => text.push_str(&format!("\\x{{{:02X}}}", u32::from(c))),
            '!'..='~' => text.push(c),
            _ => text.push_str(&format!("\\x{{{:02X}}}", u32::from(c))),
        }
    }
    text
}

/// Upper case only (RFC 3461 §4, hexchar).
fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_ascii_comes_back() {
        let all: String = (' '..='~').collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        assert_eq!(encode("a+b=c d"), "a+2Bb+3Dc+20d");
        assert_eq!(decode(""), Some(String::new()));
    }

    #[test]
    fn addresses_of_the_type_utf_8_come_back() {
        for address in ["b@us.example", "b\u{fc}+=\\ x@us.example", "\u{1f600}"] {
            let encoded = encode_utf8_address(address);
            assert!(encoded.bytes().all(|octet| octet.is_ascii_graphic()), "{encoded}");
            assert_eq!(decode_utf8_address(&encoded).as_deref(), Some(address));
        }
    }

    #[test]
    fn hostile_xtext_is_refused() {
        for text in [
            "+00", "a+00b", "+09", "+0D+0A", "+7F", "+80", "+FF", "\0", "\t", " ", "a b", "a=b", "+", "+4",
            "+4g", "+2b", "++", "+ 1", "\u{e9}", "+\u{e9}",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
