//! Choosing, loading, replacing and making certificates.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// The certificate a client gets that asks for `name`.
fn certificate_for(identity: &Identity, options: ServiceOptions, name: &'static str) -> Option<Vec<u8>> {
    let server = serve(identity.service(options), echo);
    let mut config = identity.client(TLS13);
    config.dangerous().set_certificate_verifier(Arc::new(AnyCertificate));
    let client = dial(&server, &Arc::new(config), name).ok()?;
    Some(client.conn.peer_certificates()?[0].to_vec())
}

fn der(pair: &PemPair) -> Option<Vec<u8>> {
    Some(CertificateDer::from_pem_file(&pair.chain).unwrap().to_vec())
}

#[test]
fn the_name_asked_for_selects_the_certificate() {
    let identity = Identity::new();
    assert_eq!(certificate_for(&identity, ServiceOptions::IMAP, "localhost"), der(&identity.pairs[0]));
    assert_eq!(certificate_for(&identity, ServiceOptions::IMAP, "mail.example"), der(&identity.pairs[1]));
    // No name is sent for an address.
    assert_eq!(certificate_for(&identity, ServiceOptions::IMAP, "127.0.0.1"), der(&identity.pairs[0]));
}

#[test]
fn an_unknown_name_gets_the_default_on_port_25_and_an_alert_elsewhere() {
    let identity = Identity::new();
    assert_eq!(certificate_for(&identity, ServiceOptions::SMTP, "other.example"), der(&identity.pairs[0]));
    assert_eq!(certificate_for(&identity, ServiceOptions::SUBMISSION, "other.example"), None);
    assert_eq!(certificate_for(&identity, ServiceOptions::IMAP, "other.example"), None);
}

#[test]
fn certificates_can_be_replaced_while_services_run() {
    let (identity, other) = (Identity::new(), Identity::new());
    let server = serve(identity.service(ServiceOptions::IMAP), echo);
    let config = Arc::new(other.client(TLS13));
    assert!(dial(&server, &config, "localhost").is_err());
    assert!(identity.certificates.replace(&[]).is_err());
    identity.certificates.replace(&other.pairs).unwrap();
    ping(&mut dial(&server, &config, "localhost").unwrap());
}

#[test]
fn bad_files_are_named() {
    let identity = Identity::new();
    let [first, second] = &identity.pairs[..] else { unreachable!() };
    let mixed = PemPair { chain: first.chain.clone(), key: second.key.clone() };
    let error = Certificates::load(&[mixed]).unwrap_err().to_string();
    assert!(error.contains("selfsigned.key.pem") && error.contains("cannot be used"), "{error}");
    let swapped = PemPair { chain: first.key.clone(), key: first.key.clone() };
    assert!(matches!(Certificates::load(&[swapped]), Err(TlsConfigError::NoCertificate { .. })));
    let missing = PemPair { chain: "/nowhere/chain.pem".into(), key: first.key.clone() };
    let error = Certificates::load(&[missing]).unwrap_err().to_string();
    assert!(error.contains("/nowhere/chain.pem"), "{error}");
    let no_key = PemPair { chain: first.chain.clone(), key: first.chain.clone() };
    assert!(matches!(Certificates::load(&[no_key]), Err(TlsConfigError::File { .. })));
    assert!(matches!(Certificates::load(&[]), Err(TlsConfigError::Empty)));
}

#[test]
fn a_self_signed_certificate_is_kept_until_a_name_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tls");
    let first = self_signed(&path, &["localhost"]).unwrap();
    let before = der(&first);
    assert_eq!(std::fs::metadata(&first.key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(der(&self_signed(&path, &["localhost"]).unwrap()), before);
    let wider = self_signed(&path, &["localhost", "127.0.0.1", "::1"]).unwrap();
    assert_ne!(der(&wider), before);
    let kept = der(&wider);
    assert_eq!(der(&self_signed(&path, &["127.0.0.1", "localhost"]).unwrap()), kept);
    std::fs::write(&wider.chain, "nonsense").unwrap();
    assert!(self_signed(&path, &["localhost"]).is_err(), "a file that was tampered with is not replaced");
}

/// A client that trusts everybody.
#[derive(Debug)]
struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
