//! AUTH as a client (RFC 4954): which mechanism, and the exchange.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::capabilities::Capabilities;
use super::reply::Reply;
use crate::sasl::client::{Client as SaslClient, ClientBinding, ClientCredentials, ClientFailure};
use crate::sasl::{ChannelBinding, Mechanism, wire};
use crate::smtp::server::Channel;

/// Longest line of AUTH with an initial response, line break included (RFC 4954 §4 refers to RFC 5321
/// §4.5.3.1.4).
const COMMAND_OCTETS_MAX: usize = 512;
/// Challenges of one exchange. SCRAM has three when the client doesn't speak first.
const CHALLENGES_MAX: u32 = 6;

/// How to log in.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// Who.
    pub credentials: ClientCredentials,
    /// What is allowed. PLAIN only works under TLS even then, and EXTERNAL with a certificate of the client.
    pub mechanisms: Vec<Mechanism>,
    /// Fresh printable text without commas.
    pub nonce: String,
}

impl Authentication {
    /// The mechanisms that never show the password to the other side.
    pub const MECHANISMS: [Mechanism; 5] = [
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha1,
        Mechanism::CramMd5,
    ];

    /// The strongest mechanism that both sides have, with what it binds to.
    ///
    /// A SCRAM mechanism without -PLUS says `y` when we would have bound to the channel and the other side
    /// announced no -PLUS for it: a server that did was talked over by somebody in between, and will tell
    /// (RFC 5802 §6).
    pub(super) fn choose(
        &self,
        offered: &Capabilities,
        channel: Channel,
        binding: &ChannelBinding,
    ) -> Option<(Mechanism, ClientBinding)> {
        let possible = |mechanism: &Mechanism| match mechanism {
            // Who lists EXTERNAL has shown a certificate in the handshake.
            Mechanism::External => channel == Channel::Tls,
            _ if mechanism.sends_password() => channel == Channel::Tls,
            _ => !mechanism.binds_channel() || binding.is_possible(),
        };
        let both = self.mechanisms.iter().filter(|mechanism| offered.mechanisms.contains(mechanism));
        let mechanism = both.copied().filter(possible).max()?;
        let with_binding = match mechanism {
            Mechanism::ScramSha256 => Some(Mechanism::ScramSha256Plus),
            Mechanism::ScramSha1 => Some(Mechanism::ScramSha1Plus),
            _ => None,
        };
        let would_bind = |plus: Mechanism| {
            binding.is_possible() && self.mechanisms.contains(&plus) && !offered.mechanisms.contains(&plus)
        };
        let binding = match binding {
            ChannelBinding { exporter: Some(data), .. } if mechanism.binds_channel() => {
                ClientBinding::Exporter(data.clone())
            }
            ChannelBinding { unique: Some(data), .. } if mechanism.binds_channel() => {
                ClientBinding::Unique(data.clone())
            }
            _ if with_binding.is_some_and(would_bind) => ClientBinding::Unannounced,
            _ => ClientBinding::Incapable,
        };
        Some((mechanism, binding))
    }
}

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Exchange {
    client: SaslClient,
    /// What was too long for the command.
    first: Option<Vec<u8>>,
    challenges: u32,
}

impl Exchange {
    /// Begins; gives the command with its line end.
    pub(super) fn begin(
        authentication: &Authentication,
        mechanism: Mechanism,
        binding: ClientBinding,
    ) -> (Self, String) {
        let Authentication { credentials, nonce, .. } = authentication;
        let mut client = SaslClient::new(mechanism, credentials.clone(), binding, nonce);
        let first = client.initial_response();
        let mut command = format!("AUTH {mechanism}");
        let mut kept = None;
        if let Some(first) = first {
            let text = if first.is_empty() { "=".to_owned() } else { wire::encode(&first) };
            if command.len() + 1 + text.len() + 2 <= COMMAND_OCTETS_MAX {
                command = format!("{command} {text}");
            } else {
                kept = Some(first);
            }
        }
        (Self { client, first: kept, challenges: 0 }, command + "\r\n")
    }

    /// The line that answers a challenge, with its line end.
    pub(super) fn respond(&mut self, reply: &Reply) -> Result<String, ClientFailure> {
        self.challenges += 1;
        if self.challenges > CHALLENGES_MAX {
            return Err(ClientFailure::OutOfTurn);
        }
        let challenge = STANDARD.decode(reply.text().trim()).map_err(|_| ClientFailure::BadSyntax)?;
        let response = match self.first.take() {
            Some(first) if challenge.is_empty() => first,
            Some(_) => return Err(ClientFailure::BadSyntax),
            None => self.client.respond(&challenge)?,
        };
        Ok(wire::encode(&response) + "\r\n")
    }

    /// Whether success can be believed.
    pub(super) const fn is_proved(&self) -> bool {
        self.client.is_proved() && self.first.is_none()
    }
}
