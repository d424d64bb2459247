//! Writing a request (RFC 9112 §3, §5).

use super::Url;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method<'a> {
    /// What is there.
    Get,
    /// That this is taken.
    Post(&'a [u8]),
}

/// A request with these fields besides those that say where it goes, how long it is, and that nothing follows. None when
/// a field's name is no token, or its value has octets that no value has (RFC 9110 §5.5): it could be something else then.
#[must_use]
pub fn request(url: &Url, method: Method<'_>, fields: &[(&str, &str)]) -> Option<Vec<u8>> {
    let (word, body) = match method {
        Method::Get => ("GET", None),
        Method::Post(body) => ("POST", Some(body)),
    };
    let mut out = format!("{word} {} HTTP/1.1\r\nHost: {}\r\n", url.target(), url.authority());
    for (name, value) in fields {
        if !is_token(name) || !is_value(value) {
            return None;
        }
        out += &format!("{name}: {value}\r\n");
    }
    if let Some(body) = body {
        out += &format!("Content-Length: {}\r\n", body.len());
    }
    out += "Connection: close\r\n\r\n";
    Some([out.as_bytes(), body.unwrap_or_default()].concat())
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet))
}

/// Visible ASCII with blanks inside: `obs-text` is left out, since nobody says what it means.
fn is_value(value: &str) -> bool {
    let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    let octets = value.as_bytes();
    octets.iter().all(|octet| octet.is_ascii_graphic() || blank(octet))
        && !octets.first().is_some_and(blank)
        && !octets.last().is_some_and(blank)
}
