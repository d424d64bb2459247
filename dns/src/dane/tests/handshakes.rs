//! The verifier in real handshakes: who shows a certificate must have its key.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::suite::{cases, chain, folder, verification};
use crate::dane::{Mismatch, Verifier};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Shows any chain with any key, also when they don't belong together.
#[derive(Debug)]
struct Shown(Arc<rustls::sign::CertifiedKey>);

impl rustls::server::ResolvesServerCert for Shown {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn handshake(
    verifier: Verifier,
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'_>,
    version: &'static SupportedProtocolVersion,
) -> Result<(), Error> {
    let key = rustls::crypto::ring::sign::any_supported_type(key)?;
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shown(Arc::new(rustls::sign::CertifiedKey::new(chain, key)))));
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let name = ServerName::try_from("mx.example.com").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
        if !client.is_handshaking() {
            return Ok(());
        }
    }
    panic!("the handshake doesn't end");
}

fn key(name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(folder().unwrap().join("keys").join(name)).unwrap()
}

#[test]
fn handshakes_with_generated_chains_end_as_expected() {
    let Some((folder, cases)) = cases() else { return };
    for case in cases.iter().filter(|case| case["expect"] != "unusable") {
        let leaf = case["chain"][0].as_str().unwrap().replace(".pem", ".key");
        for version in [&TLS12, &TLS13] {
            let verifier = Verifier::new(verification(case), provider());
            let found = handshake(verifier, chain(&folder, case), &key(&leaf), version);
            assert_eq!(found.is_ok(), case["expect"] == "match", "{}: {found:?}", case["id"]);
            if let Err(error) = found {
                assert!(Verifier::mismatch(&error).is_some(), "{}: {error:?}", case["id"]);
            }
        }
    }
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let Some((folder, cases)) = cases() else { return };
    let case = cases.iter().find(|case| case["id"] == "ee-3-1-1").unwrap();
    for version in [&TLS12, &TLS13] {
        for other in ["self.key", "rsa.key"] {
            let verifier = Verifier::new(verification(case), provider());
            let found = handshake(verifier, chain(&folder, case), &key(other), version);
            assert!(found.is_err(), "{other}");
            assert!(Verifier::mismatch(&found.unwrap_err()).is_none());
        }
    }
}

#[test]
fn an_expired_certificate_of_version_1_does_in_a_handshake() {
    use hickory_proto::rr::rdata::TLSA;
    let certificate = CertificateDer::from_pem_slice(include_bytes!("version1.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("version1.key")).unwrap();
    let record = TLSA::new(3.into(), 0.into(), 0.into(), certificate.to_vec());
    let verification = || crate::dane::Verification {
        associations: crate::dane::Associations::of([&record]),
        names: Vec::new(),
    };
    for version in [&TLS12, &TLS13] {
        let verifier = Verifier::new(verification(), provider());
        assert_eq!(handshake(verifier, vec![certificate.clone()], &key, version), Ok(()));
    }
    let Some(folder) = folder() else { return };
    let other = CertificateDer::from_pem_file(folder.join("certs/ee.pem")).unwrap();
    let verifier = Verifier::new(verification(), provider());
    let error = handshake(verifier, vec![other], &self::key("ee.key"), &TLS13).unwrap_err();
    assert_eq!(Verifier::mismatch(&error), Some(&Mismatch::NoMatch));
}
