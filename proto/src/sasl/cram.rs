//! CRAM-MD5 (RFC 2195): the client answers a challenge with `name SP hex(HMAC-MD5(password, challenge))`.

use data_encoding::HEXLOWER_PERMISSIVE;
use subtle::ConstantTimeEq;

use super::exchange::{Context, FailureKind, SecretKind, Step};
use super::secrets::StoredSecrets;
use super::text::Login;
use super::{Limits, plain};

#[derive(Debug)]
pub(super) struct Cram {
    challenge: Vec<u8>,
    answer: Option<(Login, [u8; 16])>,
}

impl Cram {
    /// Makes the challenge, a message id of this server (RFC 2195 §2).
    pub(super) fn new(context: &Context) -> (Self, Vec<u8>) {
        let challenge = format!("<{}.{}@{}>", context.nonce.as_str(), context.unix_seconds, context.hostname)
            .into_bytes();
        (Self { challenge: challenge.clone(), answer: None }, challenge)
    }

    pub(super) fn respond(&mut self, message: &[u8], limits: &Limits) -> Result<Step, FailureKind> {
        if self.answer.is_some() {
            return Err(FailureKind::OutOfTurn);
        }
        // The name may hold spaces, the digest does not.
        let space = message.iter().rposition(|&octet| octet == b' ').ok_or(FailureKind::BadSyntax)?;
        let (name, rest) = message.split_at(space);
        let digest = HEXLOWER_PERMISSIVE.decode(rest.get(1..).unwrap_or_default());
        let digest = digest.ok().and_then(|octets| <[u8; 16]>::try_from(octets).ok());
        let digest = digest.ok_or(FailureKind::BadSyntax)?;
        let login = Login::new(name, limits).map_err(plain::login_failure)?;
        self.answer = Some((login.clone(), digest));
        Ok(Step::NeedSecrets { login, kind: SecretKind::CramMd5 })
    }

    pub(super) fn secrets(
        &mut self,
        stored: Option<&StoredSecrets>,
        dummy: &StoredSecrets,
    ) -> Result<Step, FailureKind> {
        let (login, digest) = self.answer.take().ok_or(FailureKind::OutOfTurn)?;
        let verifier = stored.and_then(|secrets| secrets.cram_md5.as_ref()).or(dummy.cram_md5.as_ref());
        let expected = verifier.ok_or(FailureKind::BadCredentials)?.respond(&self.challenge);
        if bool::from(expected.ct_eq(&digest)) {
            Ok(Step::Success { login })
        } else {
            Err(FailureKind::BadCredentials)
        }
    }
}
