//! The server's side of SCRAM (RFC 5802 §5), for both hashes, with and without channel binding.

use std::mem;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::message::{BindingFlag, ClientFinal, ClientFirst};
use crate::sasl::exchange::{Context, FailureKind, PlusOffer, SecretKind, Step};
use crate::sasl::secrets::{ScramHash, ScramVerifier, StoredSecrets};
use crate::sasl::text::Login;
use crate::sasl::{ChannelBinding, Limits, Mechanism, Secret, plain};

#[derive(Debug)]
pub(in crate::sasl) struct Scram {
    mechanism: Mechanism,
    binding: ChannelBinding,
    plus: PlusOffer,
    server_nonce: Box<str>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waits for `client-first-message`.
    Begun,
    /// Waits for the account's secrets.
    Asked(First),
    /// `server-first-message` is out.
    Challenged {
        first: First,
        server_first: String,
        verifier: Verifier,
    },
    /// `server-final-message` is out; the client may still doubt the server and abort.
    Proved(Login),
    Over,
}

/// What stays of the first message.
#[derive(Debug)]
struct First {
    login: Login,
    bare: String,
    /// Client's and server's nonce in one.
    nonce: String,
    /// What `c=` must hold: the header, and the data of the channel.
    expected_binding: Secret<Vec<u8>>,
}

#[derive(Debug)]
enum Verifier {
    Sha1(ScramVerifier<20>),
    Sha256(ScramVerifier<32>),
}

impl Scram {
    pub(in crate::sasl) fn new(mechanism: Mechanism, context: &Context) -> Self {
        Self {
            mechanism,
            binding: context.binding.clone(),
            plus: context.plus,
            server_nonce: context.nonce.as_str().into(),
            state: State::Begun,
        }
    }

    pub(in crate::sasl) fn respond(&mut self, message: &[u8], limits: &Limits) -> Result<Step, FailureKind> {
        match mem::replace(&mut self.state, State::Over) {
            State::Begun => self.first(message, limits),
            State::Challenged { first, server_first, verifier } => {
                self.prove(message, first, &server_first, &verifier)
            }
            State::Proved(login) if message.is_empty() => Ok(Step::Success { login }),
            State::Proved(_) => Err(FailureKind::BadSyntax),
            State::Asked(_) | State::Over => Err(FailureKind::OutOfTurn),
        }
    }

    fn first(&mut self, message: &[u8], limits: &Limits) -> Result<Step, FailureKind> {
        let first = ClientFirst::parse(message)?;
        if first.nonce.len() > limits.nonce_octets_max {
            return Err(FailureKind::TooLong);
        }
        let login = Login::new(first.username.as_bytes(), limits).map_err(plain::login_failure)?;
        plain::check_authzid(first.authzid.as_bytes(), &login, limits)?;
        let mut expected_binding = first.gs2_header.as_bytes().to_vec();
        expected_binding.extend_from_slice(self.channel_data(first.flag)?);
        self.state = State::Asked(First {
            login: login.clone(),
            bare: first.bare.to_owned(),
            nonce: format!("{}{}", first.nonce, self.server_nonce),
            expected_binding: Secret::new(expected_binding),
        });
        let kind = match self.mechanism {
            Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => SecretKind::ScramSha1,
            _ => SecretKind::ScramSha256,
        };
        Ok(Step::NeedSecrets { login, kind })
    }

    /// RFC 5802 §6: which data the client must have bound to, if any.
    fn channel_data(&self, flag: BindingFlag<'_>) -> Result<&[u8], FailureKind> {
        let data = match (flag, self.mechanism.binds_channel()) {
            (BindingFlag::Used("tls-exporter"), true) => self.binding.exporter.as_ref(),
            (BindingFlag::Used("tls-unique"), true) => self.binding.unique.as_ref(),
            (BindingFlag::Incapable, false) => return Ok(&[]),
            // The client would have used -PLUS, had it seen ours: somebody cut it out.
            (BindingFlag::Unannounced, false) if self.plus == PlusOffer::NotOffered => return Ok(&[]),
            _ => None,
        };
        data.map(|data| data.expose().as_slice()).ok_or(FailureKind::ChannelBinding)
    }

    pub(in crate::sasl) fn secrets(
        &mut self,
        stored: Option<&StoredSecrets>,
        dummy: &StoredSecrets,
    ) -> Result<Step, FailureKind> {
        let State::Asked(first) = mem::replace(&mut self.state, State::Over) else {
            return Err(FailureKind::OutOfTurn);
        };
        let sha1 = |secrets: &StoredSecrets| secrets.scram_sha_1.clone();
        let verifier = match self.mechanism {
            Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => {
                let verifier = stored.and_then(sha1).or_else(|| sha1(dummy));
                Verifier::Sha1(verifier.ok_or(FailureKind::BadCredentials)?)
            }
            _ => Verifier::Sha256(stored.unwrap_or(dummy).scram_sha_256.clone()),
        };
        let (salt, iterations) = match &verifier {
            Verifier::Sha1(verifier) => (verifier.salt(), verifier.iterations()),
            Verifier::Sha256(verifier) => (verifier.salt(), verifier.iterations()),
        };
        let server_first = format!("r={},s={},i={iterations}", first.nonce, STANDARD.encode(salt));
        let challenge = server_first.clone().into_bytes();
        self.state = State::Challenged { first, server_first, verifier };
        Ok(Step::Challenge(challenge))
    }

    fn prove(
        &mut self,
        message: &[u8],
        first: First,
        server_first: &str,
        verifier: &Verifier,
    ) -> Result<Step, FailureKind> {
        let last = ClientFinal::parse(message)?;
        if last.nonce != first.nonce {
            return Err(FailureKind::BadSyntax);
        }
        if !bool::from(last.binding.ct_eq(first.expected_binding.expose())) {
            return Err(FailureKind::ChannelBinding);
        }
        let signed = format!("{},{server_first},{}", first.bare, last.without_proof);
        let signature = match verifier {
            Verifier::Sha1(verifier) => check_proof(verifier, &last.proof, signed.as_bytes()),
            Verifier::Sha256(verifier) => check_proof(verifier, &last.proof, signed.as_bytes()),
        }?;
        self.state = State::Proved(first.login);
        Ok(Step::Challenge(format!("v={signature}").into_bytes()))
    }
}

/// Checks `ClientProof` (RFC 5802 §3) and gives `ServerSignature` in base64.
fn check_proof<const N: usize>(
    verifier: &ScramVerifier<N>,
    proof: &[u8],
    signed: &[u8],
) -> Result<String, FailureKind>
where
    ScramVerifier<N>: ScramHash<N>,
{
    let proof: &[u8; N] = proof.try_into().map_err(|_| FailureKind::BadSyntax)?;
    let mut client_key = ScramVerifier::<N>::sign(verifier.stored_key(), signed);
    for (octet, mask) in client_key.iter_mut().zip(proof) {
        *octet ^= mask;
    }
    // Worked out before the comparison, so that right and wrong proofs cost the same.
    let signature = ScramVerifier::<N>::sign(verifier.server_key(), signed);
    if bool::from(ScramVerifier::<N>::hash(&client_key).ct_eq(verifier.stored_key())) {
        Ok(STANDARD.encode(signature))
    } else {
        Err(FailureKind::BadCredentials)
    }
}
