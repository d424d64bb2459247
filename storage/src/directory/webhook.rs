//! Webhooks of accounts: where programs of the account's owner are told of its mail (product 3.13).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use postrider_proto::address::Domain;
pub use postrider_proto::http::Host as WebhookHost;
use postrider_proto::sasl::Secret;

/// Why a text is no URL of a webhook.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadWebhookUrl {
    /// Longer than [`WebhookUrl::OCTETS_MAX`], or with blanks, control characters, or what is not ASCII.
    #[error(
        "a URL of a webhook has at most 2048 octets of printable ASCII, without blanks; escape others with %, and write the host as DNS has it (xn--)"
    )]
    Character,
    /// Another scheme, or none.
    #[error("a URL of a webhook begins with https:// or http://")]
    Scheme,
    /// A name and a password in front of the host, which would be shown with it.
    #[error("a URL of a webhook has no user name; set `authorization` instead")]
    User,
    /// A part that is never sent.
    #[error("a URL of a webhook has no # and nothing behind it")]
    Fragment,
    /// No host, or none that can be.
    #[error("the host in the URL of a webhook is a domain or an address, IPv6 in brackets")]
    Host,
    /// A port that can't be.
    #[error("the port in the URL of a webhook is a number from 1 to 65535")]
    Port,
}

/// Where a webhook is called: an absolute URL of `https` or `http` (RFC 9110 §4.2) without a user name and a fragment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebhookUrl {
    text: Box<str>,
    is_secure: bool,
    host: WebhookHost,
    port: u16,
    /// Path and query in `text`; empty for `/`.
    target: Range<usize>,
}

impl WebhookUrl {
    /// The longest one.
    pub const OCTETS_MAX: usize = 2048;

    /// Parses a URL.
    pub fn parse(text: &str) -> Result<Self, BadWebhookUrl> {
        if text.len() > Self::OCTETS_MAX || !text.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(BadWebhookUrl::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadWebhookUrl::Scheme)?;
        let is_secure = match scheme {
            scheme if scheme.eq_ignore_ascii_case("https") => true,
            scheme if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(BadWebhookUrl::Scheme),
        };
        if rest.contains('#') {
            return Err(BadWebhookUrl::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        // A query without a path has no place in a request line.
        if target.starts_with('?') {
            return Err(BadWebhookUrl::Host);
        }
        if authority.contains('@') {
            return Err(BadWebhookUrl::User);
        }
        let (host, port) = authority_of(authority)?;
        let port = match port {
            None => {
                if is_secure {
                    443
                } else {
                    80
                }
            }
            Some(port) => {
                let is_number = port.bytes().all(|octet| octet.is_ascii_digit());
                port.parse().ok().filter(|port| is_number && *port > 0).ok_or(BadWebhookUrl::Port)?
            }
        };
        let target = text.len() - target.len()..text.len();
        Ok(Self { text: text.into(), is_secure, host, port, target })
    }

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is called over TLS.
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The host.
    pub const fn host(&self) -> &WebhookHost {
        &self.host
    }

    /// The port, also when the URL has none.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as a request line has them: at least `/`.
    pub fn target(&self) -> &str {
        match self.text.get(self.target.clone()) {
            None | Some("") => "/",
            Some(target) => target,
        }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Host and port, if there is one.
fn authority_of(authority: &str) -> Result<(WebhookHost, Option<&str>), BadWebhookUrl> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(BadWebhookUrl::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| BadWebhookUrl::Host)?;
        let port = match port {
            "" => None,
            port => Some(port.strip_prefix(':').ok_or(BadWebhookUrl::Host)?),
        };
        return Ok((WebhookHost::Address(address.into()), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok((WebhookHost::Address(address), port));
    }
    // A name whose last label is a number would be taken for an address by others (RFC 3986 §3.2.2).
    let is_number = |label: &str| label.bytes().all(|octet| octet.is_ascii_digit());
    if host.rsplit('.').next().is_none_or(is_number) {
        return Err(BadWebhookUrl::Host);
    }
    Ok((WebhookHost::Domain(Domain::parse(host).map_err(|_| BadWebhookUrl::Host)?), port))
}

/// Why something can't be sent with calls of a webhook.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadWebhook {
    /// It could not stand in a header field, or is too long.
    #[error("authorization has 1 to 1024 octets of printable ASCII, and no blank at its ends")]
    Authorization,
    /// It is too short to keep anything secret, or too long.
    #[error("secret has 16 to 256 octets of printable ASCII")]
    Secret,
}

/// A webhook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    url: WebhookUrl,
    authorization: Option<Secret<Box<str>>>,
    secret: Option<Secret<Box<str>>>,
}

impl Webhook {
    /// The longest value of `Authorization`.
    pub const AUTHORIZATION_OCTETS_MAX: usize = 1024;
    /// The shortest key with which bodies are signed.
    pub const SECRET_OCTETS_MIN: usize = 16;
    /// The longest one.
    pub const SECRET_OCTETS_MAX: usize = 256;

    /// A webhook that is called at `url`, with the field `Authorization` if it is given, and bodies signed with `secret`.
    pub fn new(
        url: WebhookUrl,
        authorization: Option<&str>,
        secret: Option<&str>,
    ) -> Result<Self, BadWebhook> {
        let is_printable = |text: &str| text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
        let fits = |text: &str| {
            (1..=Self::AUTHORIZATION_OCTETS_MAX).contains(&text.len())
                && is_printable(text)
                && text.trim() == text
        };
        if !authorization.is_none_or(fits) {
            return Err(BadWebhook::Authorization);
        }
        let lengths = Self::SECRET_OCTETS_MIN..=Self::SECRET_OCTETS_MAX;
        if !secret.is_none_or(|secret| lengths.contains(&secret.len()) && is_printable(secret)) {
            return Err(BadWebhook::Secret);
        }
        let keep = |text: Option<&str>| text.map(|text| Secret::new(text.into()));
        Ok(Self { url, authorization: keep(authorization), secret: keep(secret) })
    }

    /// Where it is called.
    pub const fn url(&self) -> &WebhookUrl {
        &self.url
    }

    /// The value of `Authorization`, verbatim.
    pub const fn authorization(&self) -> Option<&Secret<Box<str>>> {
        self.authorization.as_ref()
    }

    /// The key of the signature.
    pub const fn secret(&self) -> Option<&Secret<Box<str>>> {
        self.secret.as_ref()
    }
}

/// What an account's programs are told of a message that it sent (product 10.6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WebhookEvent {
    /// A server took it.
    Delivered,
    /// It wasn't sent: the address is on the suppression list.
    Suppressed,
    /// It waits, and will be tried again.
    Delayed,
    /// It failed for good.
    Failed,
    /// A report says that it went on to a server that reports nothing.
    Relayed,
    /// A report says that it went to the members of a list.
    Expanded,
    /// An operator took it out of the queue.
    Canceled,
    /// A message came for it that is no report.
    Unrecognized,
}

impl WebhookEvent {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Suppressed,
        Self::Delayed,
        Self::Failed,
        Self::Relayed,
        Self::Expanded,
        Self::Canceled,
        Self::Unrecognized,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Suppressed => "suppressed",
            Self::Delayed => "delayed",
            Self::Failed => "failed",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
            Self::Canceled => "canceled",
            Self::Unrecognized => "unrecognized",
        }
    }

    /// The event of that name.
    pub fn parse(name: &str) -> Result<Self, BadWebhookEvent> {
        Self::ALL.into_iter().find(|event| event.name() == name).ok_or(BadWebhookEvent)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A text that names no event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "an event of a webhook is delivered, suppressed, delayed, failed, relayed, expanded, canceled or unrecognized"
)]
pub struct BadWebhookEvent;

/// Some events; never none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WebhookEvents(u8);

impl WebhookEvents {
    /// All of them.
    pub const ALL: Self = Self(u8::MAX);

    /// These, or all when there are none.
    pub fn of(events: impl IntoIterator<Item = WebhookEvent>) -> Self {
        let bits = events.into_iter().fold(0, |bits, event| bits | event.bit());
        if bits == 0 { Self::ALL } else { Self(bits) }
    }

    /// Whether it is one of them.
    pub const fn contains(self, event: WebhookEvent) -> bool {
        self.0 & event.bit() != 0
    }

    /// The events, in order.
    pub fn iter(self) -> impl Iterator<Item = WebhookEvent> {
        WebhookEvent::ALL.into_iter().filter(move |event| self.contains(*event))
    }

    /// The octet that is stored, never 0.
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// Reads it.
    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }
}

const _: () = assert!(WebhookEvent::ALL.len() == u8::BITS as usize);

/// A webhook that is told of messages the account sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutgoingWebhook {
    /// How it is called.
    pub hook: Webhook,
    /// Of what.
    pub events: WebhookEvents,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, is_secure, host, port, target) in [
            ("https://hooks.example", true, "hooks.example", 443, "/"),
            ("HTTP://Hooks.Example/", false, "hooks.example", 80, "/"),
            ("https://localhost:8443/a/b?c=d&e=%20", true, "localhost", 8443, "/a/b?c=d&e=%20"),
            ("http://127.0.0.1:1/x", false, "127.0.0.1", 1, "/x"),
            ("https://[2001:db8::1]/x", true, "[2001:db8::1]", 443, "/x"),
            ("https://[::1]:65535", true, "[::1]", 65535, "/"),
        ] {
            let url = WebhookUrl::parse(text).unwrap();
            let found = (url.is_secure(), url.host().to_string(), url.port(), url.target());
            assert_eq!(found, (is_secure, host.to_owned(), port, target), "{text}");
            assert_eq!(url.as_str(), text);
        }
    }

    #[test]
    fn what_is_no_url_of_a_webhook_is_refused() {
        let long = |octets: usize| format!("https://a.example/{}", "x".repeat(octets - 18));
        assert!(WebhookUrl::parse(&long(WebhookUrl::OCTETS_MAX)).is_ok());
        for (text, expected) in [
            (&*long(WebhookUrl::OCTETS_MAX + 1), BadWebhookUrl::Character),
            ("https://a.example/ b", BadWebhookUrl::Character),
            ("https://a.example/\r\nHost: b", BadWebhookUrl::Character),
            ("https://b\u{fc}cher.example/", BadWebhookUrl::Character),
            ("", BadWebhookUrl::Scheme),
            ("ftp://a.example/", BadWebhookUrl::Scheme),
            ("//a.example/", BadWebhookUrl::Scheme),
            ("https://anna:secret@a.example/", BadWebhookUrl::User),
            ("https://a.example/#x", BadWebhookUrl::Fragment),
            ("https:///x", BadWebhookUrl::Host),
            ("https://a..example/x", BadWebhookUrl::Host),
            ("https://a.example?x", BadWebhookUrl::Host),
            ("https://1.2.3/x", BadWebhookUrl::Host),
            ("https://0x7f.1/x", BadWebhookUrl::Host),
            ("https://[::1/x", BadWebhookUrl::Host),
            ("https://[::1]x/", BadWebhookUrl::Host),
            ("https://::1/", BadWebhookUrl::Host),
            ("https://a.example:/x", BadWebhookUrl::Port),
            ("https://a.example:0/x", BadWebhookUrl::Port),
            ("https://a.example:+80/x", BadWebhookUrl::Port),
            ("https://a.example:65536/x", BadWebhookUrl::Port),
        ] {
            assert_eq!(WebhookUrl::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn what_is_sent_with_a_call_is_bounded_and_not_shown() {
        let url = || WebhookUrl::parse("https://a.example/").unwrap();
        let [longest, shortest] = [256, 16].map(|octets| "s".repeat(octets));
        for secret in [&*longest, &*shortest] {
            let hook = Webhook::new(url(), Some("Bearer topsecret"), Some(secret)).unwrap();
            let shown = format!("{hook:?}");
            assert!(!shown.contains("topsecret") && !shown.contains(secret), "{shown}");
        }
        for secret in [&*format!("{longest}s"), &shortest[1..], "0123456789abcde\u{7f}"] {
            assert_eq!(Webhook::new(url(), None, Some(secret)), Err(BadWebhook::Secret));
        }
        for authorization in ["", " x", "x ", "a\r\nb", "\u{e4}", &"x".repeat(1025)] {
            assert_eq!(Webhook::new(url(), Some(authorization), None), Err(BadWebhook::Authorization));
        }
    }

    #[test]
    fn no_events_are_all() {
        for event in WebhookEvent::ALL {
            assert_eq!(WebhookEvent::parse(event.name()), Ok(event));
            assert_eq!(WebhookEvents::of([event]).iter().collect::<Vec<_>>(), [event]);
            assert!(WebhookEvents::ALL.contains(event));
        }
        assert_eq!(WebhookEvents::of([]), WebhookEvents::ALL);
        assert_eq!(WebhookEvents::of(WebhookEvent::ALL), WebhookEvents::ALL);
        assert_eq!(WebhookEvent::parse("Failed"), Err(BadWebhookEvent));
        assert_eq!(WebhookEvents::from_bits(0), None);
    }
}
