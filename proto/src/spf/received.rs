//! The `Received-SPF` field (RFC 7208 §9.1).

use std::net::IpAddr;

use super::SpfResult;
use crate::field::{FieldWriter, dot_atom_or_quoted};
use crate::smtp::trace::Charset;

/// Whose name was checked (RFC 7208 §2.3, §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The domain of MAIL FROM.
    MailFrom,
    /// The name in HELO or EHLO; with an empty reverse-path there is no other.
    Helo,
}

impl Identity {
    /// The word for it in the field.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::MailFrom => "mailfrom",
            Self::Helo => "helo",
        }
    }
}

/// What the field says. All texts may come from the peer: they are quoted, and cut when long.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedSpf<'a> {
    /// What the check said.
    pub result: SpfResult,
    /// Whose name was checked.
    pub identity: Identity,
    /// The domain that was checked.
    pub domain: &'a str,
    /// The client.
    pub client_ip: IpAddr,
    /// The reverse-path; none when it was empty.
    pub envelope_from: Option<&'a str>,
    /// The name in HELO or EHLO.
    pub helo: &'a str,
    /// Why there is no result, for errors.
    pub problem: Option<&'a str>,
    /// The mechanism that matched.
    pub mechanism: Option<&'a str>,
    /// Our name.
    pub receiver: &'a str,
    /// Whether the message may have fields in UTF-8.
    pub charset: Charset,
}

impl ReceivedSpf<'_> {
    /// The field with its line breaks.
    #[must_use]
    pub fn field(&self) -> String {
        const NAME: &str = "Received-SPF";
        let mut writer = FieldWriter::at(NAME.len() + 1);
        writer.piece(self.result.word());
        writer.comment(&self.comment(), self.charset);
        let client_ip = self.client_ip.to_string();
        let mechanism = match self.result {
            // RFC 7208 §9.1: when no mechanism matched.
            SpfResult::Pass | SpfResult::Fail | SpfResult::Softfail | SpfResult::Neutral => {
                Some(self.mechanism.unwrap_or("default"))
            }
            SpfResult::None | SpfResult::Temperror | SpfResult::Permerror => self.mechanism,
        };
        let pairs = [
            ("client-ip", Some(client_ip.as_str())),
            ("envelope-from", self.envelope_from),
            ("helo", Some(self.helo)),
            ("problem", self.problem),
            ("mechanism", mechanism),
            ("receiver", Some(self.receiver)),
            ("identity", Some(self.identity.word())),
        ];
        let pairs = pairs.into_iter().filter_map(|(key, value)| Some((key, value?)));
        for (at, (key, value)) in pairs.enumerate() {
            if at > 0 {
                writer.glue(";");
            }
            writer.piece(&format!("{key}={}", dot_atom_or_quoted(value, self.charset)));
        }
        format!("{NAME}:{}\r\n", writer.finish())
    }

    fn comment(&self) -> String {
        let domain = if self.domain.is_empty() { "(none)" } else { self.domain };
        match (self.identity, self.envelope_from) {
            (Identity::Helo, None) => format!("domain {domain}, from ehlo because mailfrom is empty"),
            _ => format!("domain {domain}"),
        }
    }
}
