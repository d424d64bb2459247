//! The client's side: for the queue's submission client, and for tests to talk to servers with.
//!
//! A client never takes a SCRAM server's word: [`Client::is_proved`] says whether the server showed
//! that it knows the password too (RFC 5802 §3), and a success before that is none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use subtle::ConstantTimeEq;

use super::scram::message::escape_name;
use super::secrets::{ITERATIONS_MAX, ITERATIONS_MIN, ScramHash, ScramKeys, ScramVerifier};
use super::{Mechanism, Secret};

/// What a client binds to.
#[derive(Clone, Debug)]
pub enum ClientBinding {
    /// `n`: it cannot bind.
    Incapable,
    /// `y`: it can, and the server announced no -PLUS mechanism.
    Unannounced,
    /// `tls-exporter` with this data.
    Exporter(Secret<Vec<u8>>),
    /// `tls-unique` with this data.
    Unique(Secret<Vec<u8>>),
}

/// Who logs in.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The name, in normal form C.
    pub login: String,
    /// The password, prepared by [`text::prepare_password`](super::text::prepare_password).
    pub password: Secret<String>,
}

/// Why a client gives up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClientFailure {
    /// The server's message breaks the grammar.
    #[error("the server's message is malformed")]
    BadSyntax,
    /// The server's nonce does not begin with ours.
    #[error("the server's nonce does not continue ours")]
    Nonce,
    /// The iteration count is out of bounds: too weak, or a way to keep us busy.
    #[error("the server's iteration count is out of bounds")]
    Iterations,
    /// The server does not know the password.
    #[error("the server did not prove that it knows the password")]
    ServerSignature,
    /// A challenge when none was due.
    #[error("the server asks for more than the mechanism has")]
    OutOfTurn,
}

/// One attempt to log in, as the client.
#[derive(Debug)]
pub struct Client {
    mechanism: Mechanism,
    credentials: ClientCredentials,
    binding: ClientBinding,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The next challenge is the first.
    Begun {
        nonce: String,
    },
    LoginPassword,
    ScramFirst {
        bare: String,
        nonce: String,
    },
    ScramFinal {
        signature: Secret<Vec<u8>>,
    },
    Done,
    Failed,
}

impl Client {
    /// Begins; `nonce` is fresh printable text without commas. The binding matters to SCRAM only.
    pub fn new(
        mechanism: Mechanism,
        credentials: ClientCredentials,
        binding: ClientBinding,
        nonce: &str,
    ) -> Self {
        Self { mechanism, credentials, binding, state: State::Begun { nonce: nonce.to_owned() } }
    }

    /// The initial response, where the mechanism lets the client speak first.
    pub fn initial_response(&mut self) -> Option<Vec<u8>> {
        match self.mechanism {
            Mechanism::CramMd5 | Mechanism::Login => None,
            _ => self.first_message(),
        }
    }

    /// Whether everything was said that this mechanism says, and a SCRAM server proved itself.
    pub const fn is_proved(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Answers a challenge, both decoded.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, ClientFailure> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Begun { nonce } => {
                self.state = State::Begun { nonce };
                match self.mechanism {
                    Mechanism::Login => {
                        self.state = State::LoginPassword;
                        Ok(self.credentials.login.clone().into_bytes())
                    }
                    Mechanism::CramMd5 => {
                        self.state = State::Done;
                        self.cram(challenge)
                    }
                    _ => self.first_message().ok_or(ClientFailure::OutOfTurn),
                }
            }
            State::LoginPassword => {
                self.state = State::Done;
                Ok(self.credentials.password.expose().clone().into_bytes())
            }
            State::ScramFirst { bare, nonce } => match self.mechanism {
                Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => {
                    self.scram_final::<20>(challenge, &bare, &nonce)
                }
                _ => self.scram_final::<32>(challenge, &bare, &nonce),
            },
            State::ScramFinal { signature } => {
                let given = challenge.strip_prefix(b"v=").and_then(|text| STANDARD.decode(text).ok());
                let given = given.ok_or(ClientFailure::ServerSignature)?;
                if bool::from(given.ct_eq(signature.expose())) {
                    self.state = State::Done;
                    Ok(Vec::new())
                } else {
                    Err(ClientFailure::ServerSignature)
                }
            }
            State::Done | State::Failed => Err(ClientFailure::OutOfTurn),
        }
    }

    fn first_message(&mut self) -> Option<Vec<u8>> {
        let State::Begun { nonce } = &self.state else { return None };
        let ClientCredentials { login, password } = &self.credentials;
        if self.mechanism == Mechanism::External {
            // As whom the certificate says (RFC 4422 §A).
            self.state = State::Done;
            return Some(Vec::new());
        }
        if self.mechanism == Mechanism::Plain {
            let message = format!("\0{login}\0{}", password.expose()).into_bytes();
            self.state = State::Done;
            return Some(message);
        }
        let bare = format!("n={},r={nonce}", escape_name(login));
        let message = format!("{}{bare}", self.gs2_header()).into_bytes();
        self.state = State::ScramFirst { bare, nonce: nonce.clone() };
        Some(message)
    }

    const fn gs2_header(&self) -> &'static str {
        match self.binding {
            ClientBinding::Incapable => "n,,",
            ClientBinding::Unannounced => "y,,",
            ClientBinding::Exporter(_) => "p=tls-exporter,,",
            ClientBinding::Unique(_) => "p=tls-unique,,",
        }
    }

    fn cram(&self, challenge: &[u8]) -> Result<Vec<u8>, ClientFailure> {
        let key = self.credentials.password.expose().as_bytes();
        let mut mac = Hmac::<md5::Md5>::new_from_slice(key).map_err(|_| ClientFailure::BadSyntax)?;
        mac.update(challenge);
        let digest = HEXLOWER.encode(&mac.finalize().into_bytes());
        Ok(format!("{} {digest}", self.credentials.login).into_bytes())
    }

    fn scram_final<const N: usize>(
        &mut self,
        server_first: &[u8],
        bare: &str,
        our_nonce: &str,
    ) -> Result<Vec<u8>, ClientFailure>
    where
        ScramVerifier<N>: ScramHash<N>,
    {
        let server_first = str::from_utf8(server_first).map_err(|_| ClientFailure::BadSyntax)?;
        let mut parts = server_first.split(',');
        let mut next =
            |name| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(ClientFailure::BadSyntax);
        let (nonce, salt, iterations) = (next("r=")?, next("s=")?, next("i=")?);
        if !nonce.starts_with(our_nonce) || nonce.len() == our_nonce.len() {
            return Err(ClientFailure::Nonce);
        }
        let salt = STANDARD.decode(salt).map_err(|_| ClientFailure::BadSyntax)?;
        let iterations: u32 = iterations.parse().map_err(|_| ClientFailure::BadSyntax)?;
        if salt.is_empty() {
            return Err(ClientFailure::BadSyntax);
        }
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(ClientFailure::Iterations);
        }
        let ScramKeys { mut client_key, stored_key, server_key } =
            ScramVerifier::<N>::keys(self.credentials.password.expose(), &salt, iterations);
        let mut binding = self.gs2_header().as_bytes().to_vec();
        if let ClientBinding::Exporter(data) | ClientBinding::Unique(data) = &self.binding {
            binding.extend_from_slice(data.expose());
        }
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(binding));
        let signed = format!("{bare},{server_first},{without_proof}");
        let mask = ScramVerifier::<N>::sign(&stored_key, signed.as_bytes());
        for (octet, mask) in client_key.iter_mut().zip(mask) {
            *octet ^= mask;
        }
        let signature = ScramVerifier::<N>::sign(&server_key, signed.as_bytes());
        self.state = State::ScramFinal { signature: Secret::new(signature.to_vec()) };
        Ok(format!("{without_proof},p={}", STANDARD.encode(client_key)).into_bytes())
    }
}
