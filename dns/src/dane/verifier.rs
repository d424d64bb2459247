//! The decision within a handshake of `rustls`.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};

use super::certificate::{Certificate, Key};
use super::{Associations, Mismatch, Verification};

/// Takes a server's certificate only when the TLSA records are about it. That the server has its key is always
/// verified.
///
/// The name that the handshake asks for doesn't count: [`Verification::names`] do.
#[derive(Debug)]
pub struct Verifier {
    verification: Verification,
    provider: Arc<CryptoProvider>,
    /// Whether handshakes with a mismatch go on.
    shows: bool,
}

impl Verifier {
    /// A verifier for one destination.
    #[must_use]
    pub fn new(verification: Verification, provider: Arc<CryptoProvider>) -> Self {
        Self { verification, provider, shows: false }
    }

    /// One that takes every server that has the key of its certificate: the connection is then encrypted, and no more is
    /// known.
    #[must_use]
    pub fn of_anybody(provider: Arc<CryptoProvider>) -> Self {
        let nothing = Verification { associations: Associations::default(), names: Vec::new() };
        Self::new(nothing, provider).showing_mismatches()
    }

    /// Lets handshakes go on with a certificate that doesn't match, for who only wants to see it: nothing may be
    /// delivered over them.
    #[must_use]
    pub fn showing_mismatches(self) -> Self {
        Self { shows: true, ..self }
    }

    /// The error by which a handshake fails for a mismatch.
    #[must_use]
    pub fn refusal(mismatch: Mismatch) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(mismatch))))
    }

    /// The mismatch that made a handshake fail, if that was it.
    #[must_use]
    pub fn mismatch(error: &Error) -> Option<&Mismatch> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => other.downcast_ref(),
            _ => None,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match self.verification.decide(end_entity, intermediates, now, algorithms) {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(_) if self.shows => Ok(ServerCertVerified::assertion()),
            Err(mismatch) => Err(Self::refusal(mismatch)),
        }
    }

    /// With the bare key, since the library's own function refuses certificates that DANE-EE takes.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = key_of(cert)?;
        let key = Key::parse(key).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let mapping = self.provider.signature_verification_algorithms.mapping;
        let (_, algorithms) = mapping
            .iter()
            .find(|(scheme, _)| *scheme == dss.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let valid = algorithms
            .iter()
            .filter(|algorithm| *algorithm.public_key_alg_id() == *key.algorithm)
            .any(|algorithm| algorithm.verify_signature(key.bits, message, dss.signature()).is_ok());
        if valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key_of(cert)?);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn key_of<'a>(certificate: &'a CertificateDer<'_>) -> Result<&'a [u8], Error> {
    let read = Certificate::parse(certificate);
    read.map(|read| read.key).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}
