//! URLs of the schemes `http` and `https` (RFC 9110 §4.2), as a request needs them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::Domain;

/// The longest URL.
pub const URL_OCTETS_MAX: usize = 1024;

/// Why a text is no URL that is used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`URL_OCTETS_MAX`].
    #[error("a URL has at most {URL_OCTETS_MAX} octets")]
    TooLong,
    /// Another scheme, or none.
    #[error("a URL begins with https:// or http://")]
    Scheme,
    /// A name or a password, which would be in every log.
    #[error("a URL must not have a user name or a password in it")]
    UserInfo,
    /// Neither a name nor an address.
    #[error("the URL names no host")]
    Host,
    /// No port.
    #[error("the URL's port is not a number from 1 to 65535")]
    Port,
    /// A character that has to be percent-encoded, or a percent sign without two digits behind it.
    #[error("the URL has a character that must be percent-encoded")]
    Character,
    /// A part behind `#`, which is for browsers.
    #[error("the URL has a part behind #")]
    Fragment,
}

/// Where a request goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// A name.
    Domain(Domain),
    /// An address.
    Address(IpAddr),
}

/// A URL: scheme and host in lower case, no port that is the scheme's own, at least `/` behind the host. The text is kept
/// in that form, so that equal ones are the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    text: Box<str>,
    host: Host,
    port: u16,
    is_secure: bool,
    /// Where the authority begins, and where it ends.
    authority: (usize, usize),
}

impl Url {
    /// Parses a URL. Names of hosts are A-labels.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_OCTETS_MAX {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        if target.contains('#') {
            return Err(UrlError::Fragment);
        }
        if !is_target(target) {
            return Err(UrlError::Character);
        }
        let (host, port) = split_port(authority)?;
        let host = parse_host(host)?;
        let usual = if is_secure { 443 } else { 80 };
        let port = port.unwrap_or(usual);
        let scheme = if is_secure { "https://" } else { "http://" };
        let shown_port = if port == usual { String::new() } else { format!(":{port}") };
        let authority = match &host {
            Host::Domain(domain) => format!("{domain}{shown_port}"),
            Host::Address(IpAddr::V4(address)) => format!("{address}{shown_port}"),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]{shown_port}"),
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        let text = format!("{scheme}{authority}{slash}{target}");
        // What was added may have made it longer.
        if text.len() > URL_OCTETS_MAX {
            return Err(UrlError::TooLong);
        }
        let authority = (scheme.len(), scheme.len() + authority.len());
        Ok(Self { text: text.into(), host, port, is_secure, authority })
    }

    /// The whole URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it is.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is one of `https`.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Host and port, as the field Host has them (RFC 9110 §7.2).
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.text[self.authority.0..self.authority.1]
    }

    /// Path and query, as a request line has them (RFC 9112 §3.2.1).
    #[must_use]
    pub fn target(&self) -> &str {
        &self.text[self.authority.1..]
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({})", self.text)
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), UrlError> {
    // The colons of an address are within brackets.
    let behind = match authority.find(']') {
        Some(at) => at + 1,
        None if authority.starts_with('[') => return Err(UrlError::Host),
        None => 0,
    };
    let Some(colon) = authority[behind..].find(':') else { return Ok((authority, None)) };
    let (host, port) = authority.split_at(behind + colon);
    let port = &port[1..];
    if port.is_empty() || port.len() > 5 || !port.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(UrlError::Port);
    }
    port.parse().ok().filter(|port| *port != 0).map(|port| (host, Some(port))).ok_or(UrlError::Port)
}

fn parse_host(host: &str) -> Result<Host, UrlError> {
    if let Some(inside) = host.strip_prefix('[') {
        let inside = inside.strip_suffix(']').ok_or(UrlError::Host)?;
        return inside
            .parse::<Ipv6Addr>()
            .map(|address| Host::Address(address.into()))
            .map_err(|_| UrlError::Host);
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    // Others read 127.1, 0x7f000001 and 2130706433 as an address: no name ends so.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number =
        last.starts_with("0x") || last.starts_with("0X") || last.bytes().all(|octet| octet.is_ascii_digit());
    if is_number || !host.is_ascii() {
        return Err(UrlError::Host);
    }
    Domain::parse(host).map(Host::Domain).map_err(|_| UrlError::Host)
}

/// `path-abempty [ "?" query ]` (RFC 3986 §3).
fn is_target(target: &str) -> bool {
    let octets = target.as_bytes();
    octets.iter().enumerate().all(|(at, octet)| match octet {
        b'%' => octets.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)),
        _ => octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(octet),
    })
}
