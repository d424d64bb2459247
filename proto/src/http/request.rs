//! Writing a request (RFC 9112 §3, §5).

use super::Host;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// What is there.
    Get,
    /// That a body is taken, which has so many octets.
    Post {
        /// So many.
        octets: usize,
    },
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// The host.
    pub host: &'a Host,
    /// The port, unless it is the scheme's own.
    pub port: Option<u16>,
    /// Path and query, at least `/`.
    pub target: &'a str,
}

/// What stands in front of a request's body: these fields besides those that say where it goes, how long it is, and that nothing
/// follows. None when the target has others than visible ASCII, when a field's name is no token, or when its value has octets that
/// no value has (RFC 9110 §5.5): it could be something else then.
#[must_use]
pub fn request(resource: Resource<'_>, method: Method, fields: &[(&str, &str)]) -> Option<Vec<u8>> {
    let (word, length) = match method {
        Method::Get => ("GET", None),
        Method::Post { octets } => ("POST", Some(octets)),
    };
    let Resource { host, port, target } = resource;
    if !target.starts_with('/') || !target.bytes().all(|octet| octet.is_ascii_graphic()) {
        return None;
    }
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let mut out = format!("{word} {target} HTTP/1.1\r\nHost: {host}{port}\r\n");
    for (name, value) in fields {
        if !is_token(name) || !is_value(value) {
            return None;
        }
        out += &format!("{name}: {value}\r\n");
    }
    if let Some(length) = length {
        out += &format!("Content-Length: {length}\r\n");
    }
    out += "Connection: close\r\n\r\n";
    Some(out.into_bytes())
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
