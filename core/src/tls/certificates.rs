//! Certificates from PEM files, and self-signed ones for a server on its own machine.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::verify_server_name;
use rustls::crypto::ring::default_provider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::error::TlsConfigError;

/// Paths of a certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemPair {
    /// The certificate of the server first, then those that issued it.
    pub chain: PathBuf,
    /// PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
}

/// The certificates of the server, shared by its services. They can be replaced while it runs.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<RwLock<Arc<[Arc<CertifiedKey>]>>>);

impl Certificates {
    /// Loads certificates; the first one is the default.
    pub fn load(pairs: &[PemPair]) -> Result<Self, TlsConfigError> {
        Ok(Self(Arc::new(RwLock::new(load_all(pairs)?))))
    }

    /// Loads other certificates into place; new connections of all services get them. On an error
    /// the old ones stay.
    pub fn replace(&self, pairs: &[PemPair]) -> Result<(), TlsConfigError> {
        let loaded = load_all(pairs)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// The certificate used when none fits.
    pub(super) fn default_key(&self) -> Option<Arc<CertifiedKey>> {
        self.current().first().cloned()
    }

    /// The first certificate valid for `name`.
    pub(super) fn for_name(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = ServerName::try_from(name).ok()?;
        self.current().iter().find(|key| is_valid_for(key, &name)).cloned()
    }

    fn current(&self) -> Arc<[Arc<CertifiedKey>]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_valid_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    key.end_entity_cert()
        .and_then(ParsedCertificate::try_from)
        .and_then(|parsed| verify_server_name(&parsed, name))
        .is_ok()
}

fn load_all(pairs: &[PemPair]) -> Result<Arc<[Arc<CertifiedKey>]>, TlsConfigError> {
    if pairs.is_empty() {
        return Err(TlsConfigError::Empty);
    }
    pairs.iter().map(|pair| load_pair(pair).map(Arc::new)).collect()
}

fn load_pair(pair: &PemPair) -> Result<CertifiedKey, TlsConfigError> {
    let unreadable = |path: &Path, reason: String| TlsConfigError::File { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(&pair.chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&pair.chain, error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsConfigError::NoCertificate { path: pair.chain.clone() });
    }
    let key =
        PrivateKeyDer::from_pem_file(&pair.key).map_err(|error| unreadable(&pair.key, error.to_string()))?;
    // Checks that the key is the one of the certificate.
    CertifiedKey::from_der(chain, key, &default_provider()).map_err(|source| TlsConfigError::Mismatch {
        chain: pair.chain.clone(),
        key: pair.key.clone(),
        source,
    })
}

/// Returns a self-signed certificate for `names` in `directory`, made on first use (ECDSA P-256)
/// and kept, so that clients which were told to trust it need not be told again.
///
/// A new one is made when the files are missing or do not cover all names; files that are there
/// but cannot be read are an error.
pub fn self_signed(directory: &Path, names: &[&str]) -> Result<PemPair, TlsConfigError> {
    let pair = PemPair { chain: directory.join("selfsigned.pem"), key: directory.join("selfsigned.key.pem") };
    if pair.chain.exists() && pair.key.exists() {
        let kept = load_pair(&pair)?;
        let covers = |name: &&str| ServerName::try_from(*name).is_ok_and(|name| is_valid_for(&kept, &name));
        if names.iter().all(covers) {
            return Ok(pair);
        }
    }
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = rcgen::CertificateParams::new(names.clone())?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, names.first().map_or("postrider", String::as_str));
    let certificate = parameters.self_signed(&key)?;
    write_file(&pair.key, 0o600, &key.serialize_pem())?;
    write_file(&pair.chain, 0o644, &certificate.pem())?;
    Ok(pair)
}

/// Writes under another name first, so a crash leaves no half file.
fn write_file(path: &Path, mode: u32, text: &str) -> Result<(), TlsConfigError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| TlsConfigError::Write { path: path.to_owned(), source })
}
