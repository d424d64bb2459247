//! DNS over TLS: who is believed to be an upstream (RFC 7858, RFC 8310).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postrider_dns::dane::Verifier;
use postrider_dns::resolver::{Upstream, Way};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

/// Where systems keep the certificates of public authorities.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How handshakes with upstreams are made. Empty when none of them speaks TLS.
#[derive(Default)]
pub struct Tls {
    named: Option<Arc<ClientConfig>>,
    unnamed: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("named", &self.named.is_some()).finish_non_exhaustive()
    }
}

impl Tls {
    /// What `upstreams` need. Authorities are those of `roots`, or the system's.
    pub(super) fn new(upstreams: &[Upstream], roots: Option<&Path>) -> Result<Self, String> {
        let wants = |wanted: bool| {
            let named =
                |upstream: &Upstream| matches!(&upstream.way, Way::Tls(name) if name.is_some() == wanted);
            upstreams.iter().any(named)
        };
        let provider = Arc::new(ring::default_provider());
        let mut tls = Self::default();
        if wants(true) {
            let roots = Arc::new(authorities(roots)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            let verifier = verifier.build().map_err(|error| error.to_string())?;
            tls.named = Some(config(&provider, verifier)?);
        }
        if wants(false) {
            // RFC 7858 §4.1. Answers over it are believed as little as those in the clear.
            tls.unnamed = Some(config(&provider, Arc::new(Verifier::of_anybody(Arc::clone(&provider))))?);
        }
        Ok(tls)
    }

    /// A connection that has still to shake hands.
    pub(super) fn connect(
        &self,
        peer: std::net::IpAddr,
        name: Option<&str>,
    ) -> Result<ClientConnection, String> {
        let (config, name) = match name {
            Some(name) => {
                let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
                (&self.named, name)
            }
            None => (&self.unnamed, ServerName::IpAddress(peer.into())),
        };
        let config = config.as_ref().ok_or("no upstream speaks TLS")?;
        ClientConnection::new(Arc::clone(config), name).map_err(|error| error.to_string())
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Arc<ClientConfig>, String> {
    let config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The certificates of authorities in a file in PEM form, or of the system. Those that can't be used are passed over.
pub fn authorities(file: Option<&Path>) -> Result<RootCertStore, String> {
    let file =
        match file {
            Some(file) => file.to_owned(),
            None => SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.exists()).ok_or(
                "this system has no certificates of authorities; a file with some must be named (tls_roots in [dns])",
            )?,
        };
    let unreadable = |error: &dyn fmt::Display| format!("can't read {}: {error}", file.display());
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&file).map_err(|error| unreadable(&error))? {
        // Systems have some that are of no use; the others are.
        let _ = store.add(certificate.map_err(|error| unreadable(&error))?);
    }
    if store.is_empty() {
        return Err(format!("there is no certificate of an authority in {}", file.display()));
    }
    Ok(store)
}
