//! Trace fields that delivery puts before a message: `Received` (RFC 5321 §4.4, RFC 3848, RFC 6531 §4.3, RFC
//! 8314 §7.4), `Return-Path`, `Delivered-To`.
//!
//! Always holds: a field is folded to lines of at most 998 octets, ends in CR LF, and holds no other CR, LF or
//! NUL, whatever the names in it were: no peer's text can end a field or a comment early.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::server::{Channel, Dialect};
use crate::address::{Address, AddressLiteral, Domain, ForwardPath, HeloName, ReversePath};

/// Whether addresses may be shown in UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Charset {
    /// They may not.
    Ascii,
    /// The message came with SMTPUTF8.
    Utf8,
}

/// Who sent the message, as a `Received` field may say.
#[derive(Clone, Debug)]
pub enum From<'a> {
    /// Another server.
    Client {
        /// What it called itself.
        hello: &'a HeloName,
        /// Its verified reverse name.
        reverse_name: Option<&'a Domain>,
        /// Its address.
        address: IpAddr,
    },
    /// One of our users, whose place stays private.
    OurUser,
}

/// TLS as a `Received` field shows it.
#[derive(Clone, Copy, Debug)]
pub struct TlsFacts<'a> {
    /// `TLS1.3`
    pub version: &'a str,
    /// `TLS13_AES_128_GCM_SHA256`
    pub cipher_suite: &'a str,
}

/// What a `Received` field says.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// Who sent it.
    pub from: From<'a>,
    /// Our name.
    pub by: &'a Domain,
    /// Our address.
    pub local_address: Option<IpAddr>,
    /// EHLO or HELO.
    pub dialect: Dialect,
    /// Whether it may have UTF-8: where an address or the header of the message has it anyway.
    pub charset: Charset,
    /// Whether the client gave SMTPUTF8. Many do so for every message.
    pub smtputf8: bool,
    /// Encrypted or not, and how.
    pub tls: Option<TlsFacts<'a>>,
    /// Whether the client was authenticated.
    pub authenticated: Authenticated,
    /// Whether REQUIRETLS was given.
    pub requiretls: bool,
    /// By which the log is searched. Letters, digits, `-` and `_`.
    pub id: &'a str,
    /// Set when there is exactly one recipient.
    pub recipient: Option<&'a ForwardPath>,
    /// Seconds since 1970.
    pub unix_seconds: i64,
}

/// Whether the client said who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authenticated {
    /// It did.
    Yes,
    /// It did not.
    No,
}

impl Received<'_> {
    /// The keyword of the `with` clause (RFC 3848, RFC 6531 §4.3).
    pub fn protocol(&self) -> &'static str {
        let channel = if self.tls.is_some() { Channel::Tls } else { Channel::Clear };
        let charset = if self.smtputf8 { Charset::Utf8 } else { Charset::Ascii };
        match (charset, channel, self.authenticated) {
            (Charset::Utf8, Channel::Clear, Authenticated::No) => "UTF8SMTP",
            (Charset::Utf8, Channel::Tls, Authenticated::No) => "UTF8SMTPS",
            (Charset::Utf8, Channel::Clear, Authenticated::Yes) => "UTF8SMTPA",
            (Charset::Utf8, Channel::Tls, Authenticated::Yes) => "UTF8SMTPSA",
            // Extensions imply EHLO: there is no SMTPS in the registry.
            (Charset::Ascii, Channel::Clear, Authenticated::No) if self.dialect == Dialect::Smtp => "SMTP",
            (Charset::Ascii, Channel::Clear, Authenticated::No) => "ESMTP",
            (Charset::Ascii, Channel::Tls, Authenticated::No) => "ESMTPS",
            (Charset::Ascii, Channel::Clear, Authenticated::Yes) => "ESMTPA",
            (Charset::Ascii, Channel::Tls, Authenticated::Yes) => "ESMTPSA",
        }
    }

    /// The field with its line breaks.
    pub fn field(&self) -> String {
        let mut field = String::from("Received: from ");
        // Writing to a `String` cannot fail.
        let _ = match &self.from {
            From::Client { hello, reverse_name, address } => {
                field.push_str(&hello_name(hello, self.charset));
                let named = reverse_name.filter(|name| hello.domain() != Some(name));
                let literal = AddressLiteral(*address);
                match named {
                    Some(name) => write!(field, " ({} {literal})", domain_name(name, self.charset)),
                    None => write!(field, " ({literal})"),
                }
            }
            From::OurUser => write!(field, "{}", self.by),
        };
        let _ = write!(field, "\r\n\tby {}", self.by);
        if let Some(address) = self.local_address {
            let _ = write!(field, " ({})", AddressLiteral(address));
        }
        let requiretls = if self.requiretls { " (requiretls)" } else { "" };
        let _ = write!(field, " via tcp\r\n\twith {}{requiretls} id {}", self.protocol(), atom(self.id));
        if let Some(tls) = self.tls {
            let _ = write!(field, "\r\n\t({} {})", atom(tls.version), atom(tls.cipher_suite));
        }
        if let Some(recipient) = self.recipient {
            let _ = write!(field, "\r\n\tfor <{}>", path_text(recipient, self.charset));
        }
        let _ = write!(field, ";\r\n\t{}\r\n", date(self.unix_seconds));
        field
    }
}

/// `Return-Path: <sender>` (RFC 5321 §4.4).
pub fn return_path(path: &ReversePath) -> String {
    format!("Return-Path: {path}\r\n")
}

/// `Delivered-To: recipient` (RFC 9228).
pub fn delivered_to(address: &Address) -> String {
    format!("Delivered-To: {address}\r\n")
}

/// A date-time of RFC 5322 §3.3, in UTC.
pub fn date(unix_seconds: i64) -> String {
    let timestamp = jiff::Timestamp::from_second(unix_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    timestamp.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

fn hello_name(hello: &HeloName, charset: Charset) -> String {
    match hello {
        HeloName::Domain(domain) => domain_name(domain, charset),
        HeloName::Literal(_) | HeloName::Other(_) => hello.to_string(),
    }
}

fn domain_name(domain: &Domain, charset: Charset) -> String {
    match charset {
        Charset::Utf8 if domain.is_international() => format!("{} ({domain})", domain.unicode()),
        _ => domain.to_string(),
    }
}

fn path_text(path: &ForwardPath, charset: Charset) -> String {
    match path.address() {
        Some(address) if charset == Charset::Utf8 => address.unicode(),
        _ => path.to_string(),
    }
}

/// Ours already, but a slip must not become a header injection.
fn atom(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.+".contains(*c)).take(100).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    const TLS: TlsFacts<'static> = TlsFacts { version: "TLS1.3", cipher_suite: "TLS13_AES_128_GCM_SHA256" };

    fn check(field: &str) {
        assert!(field.ends_with("\r\n"));
        for line in field.trim_end_matches("\r\n").split("\r\n") {
            assert!(line.len() <= 998);
            assert!(!line.contains(['\r', '\n', '\0']));
        }
        assert!(field.lines().skip(1).all(|line| line.starts_with('\t') && line.len() > 1), "{field}");
    }

    #[test]
    fn the_field_says_all() {
        let (by, reverse) =
            (Domain::parse("mx.us.example").unwrap(), Domain::parse("rev.them.example").unwrap());
        let hello = HeloName::parse("mx.them.example").unwrap();
        let recipient = ForwardPath::parse("<a@us.example>").unwrap();
        let mut received = Received {
            from: From::Client {
                hello: &hello,
                reverse_name: Some(&reverse),
                address: "2001:db8::1".parse().unwrap(),
            },
            by: &by,
            local_address: Some("192.0.2.1".parse().unwrap()),
            dialect: Dialect::Esmtp,
            charset: Charset::Ascii,
            smtputf8: false,
            tls: Some(TLS),
            authenticated: Authenticated::No,
            requiretls: true,
            id: "abc-_1",
            recipient: Some(&recipient),
            unix_seconds: 1_795_380_000,
        };
        check(&received.field());
        assert_eq!(
            received.field(),
            "Received: from mx.them.example (rev.them.example [IPv6:2001:db8::1])\r\n\
             \tby mx.us.example ([192.0.2.1]) via tcp\r\n\
             \twith ESMTPS (requiretls) id abc-_1\r\n\
             \t(TLS1.3 TLS13_AES_128_GCM_SHA256)\r\n\
             \tfor <a@us.example>;\r\n\
             \tSun, 22 Nov 2026 20:40:00 +0000\r\n"
        );
        received.from = From::OurUser;
        received.recipient = None;
        received.requiretls = false;
        received.authenticated = Authenticated::Yes;
        assert!(received.field().starts_with("Received: from mx.us.example\r\n\tby mx.us.example"));
        assert!(received.field().contains("with ESMTPSA id abc-_1\r\n"));
        assert!(!received.field().contains("for <"));
    }

    #[test]
    fn protocols_follow_the_registry() {
        let by = Domain::parse("us.example").unwrap();
        let mut received = Received {
            from: From::OurUser,
            by: &by,
            local_address: None,
            dialect: Dialect::Smtp,
            charset: Charset::Ascii,
            smtputf8: false,
            tls: None,
            authenticated: Authenticated::No,
            requiretls: false,
            id: "",
            recipient: None,
            unix_seconds: 0,
        };
        assert_eq!(received.protocol(), "SMTP");
        received.dialect = Dialect::Esmtp;
        assert_eq!(received.protocol(), "ESMTP");
        received.authenticated = Authenticated::Yes;
        assert_eq!(received.protocol(), "ESMTPA");
        received.smtputf8 = true;
        assert_eq!(received.protocol(), "UTF8SMTPA");
        received.tls = Some(TLS);
        assert_eq!(received.protocol(), "UTF8SMTPSA");
    }

    #[test]
    fn hostile_names_cannot_leave_their_field() {
        let by = Domain::parse("us.example").unwrap();
        for name in ["[x:a)b(c]", "[x:;\"<>]", "a%0d%0ab", "b\u{fc}cher.example"] {
            let Ok(hello) = HeloName::parse(name) else { continue };
            let recipient = ForwardPath::parse("<\"a\\\\> ;\\\"b\"@us.example>").unwrap();
            let received = Received {
                from: From::Client {
                    hello: &hello,
                    reverse_name: None,
                    address: "192.0.2.9".parse().unwrap(),
                },
                by: &by,
                local_address: None,
                dialect: Dialect::Esmtp,
                charset: Charset::Utf8,
                smtputf8: true,
                tls: Some(TlsFacts { version: "TLS\r\nX: y", cipher_suite: "(evil)" }),
                authenticated: Authenticated::No,
                requiretls: false,
                id: "id\r\nX-Evil: 1",
                recipient: Some(&recipient),
                unix_seconds: i64::MAX,
            };
            check(&received.field());
        }
        check(&return_path(&ReversePath::parse("<\"a\\>b\"@c.example>").unwrap()));
        assert_eq!(return_path(&ReversePath::Null), "Return-Path: <>\r\n");
        assert_eq!(delivered_to(&Address::parse("a@B").unwrap()), "Delivered-To: a@b\r\n");
    }

    #[test]
    fn dates_are_those_of_the_standard() {
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(date(4_102_444_799), "Thu, 31 Dec 2099 23:59:59 +0000");
    }
}
