//! Keys that sign mail of domains: made, listed, switched and removed, and read from documents and files.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use postrider_authentication::dkim::{PrivateKey, PrivateKeyError, pkcs8_of_pem};
use postrider_proto::address::Domain;
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::tags::base64;
use postrider_proto::dkim::write::zone_line;
use postrider_storage::directory::{
    Change, Directory, DirectoryError, DkimKey, DkimSecret, DkimState, KeyText,
};

use super::{ServerOperations, failure, internal};
use crate::clock::unix_now;
use crate::control::protocol::{Answer, DkimAlgorithm, DkimKeyRow, FailureKind, Request};
use crate::control::{Exchange, OperationError, Transport};

/// Octets of a file with a key in PEM; one of RSA with 8192 bits has 6.4 KiB.
const KEY_FILE_OCTETS_MAX: u64 = 64 << 10;

impl ServerOperations {
    /// Carries out a request that changes the keys of a domain.
    pub(super) async fn edit_dkim(&self, request: Request) -> Result<Answer, OperationError> {
        match request {
            Request::DomainDkimAdd { domain, selector, algorithm, key, publish_only } => {
                let domain = failure::domain(&domain)?;
                let selector = selector.as_deref().map(parse_selector).transpose()?;
                let state = if publish_only { DkimState::Published } else { DkimState::Signs };
                // Making a key takes a fifth of a second: nobody waits for the directory meanwhile.
                let made = self.on_pool(move |_| match key {
                    Some(pem) => secret_of(&pem.0).map_err(failure::invalid),
                    None => make(algorithm).map_err(internal),
                });
                return self.add_dkim_key(domain, selector, made.await?, state).await;
            }
            Request::DomainDkimSign { domain, selector, signs } => {
                let (domain, selector) = (failure::domain(&domain)?, parse_selector(&selector)?);
                let state = if signs { DkimState::Signs } else { DkimState::Published };
                self.change(move |_| Ok(vec![Change::SetDkimKey { domain, selector, state }])).await?;
            }
            Request::DomainDkimRemove { domain, selector } => {
                let (domain, selector) = (failure::domain(&domain)?, parse_selector(&selector)?);
                self.change(move |_| Ok(vec![Change::RemoveDkimKey { domain, selector }])).await?;
            }
            // Every other request is carried out elsewhere.
            other => return Err(internal(format!("request {} is not known here", other.name()))),
        }
        Ok(Answer::Done)
    }

    async fn add_dkim_key(
        &self,
        domain: Domain,
        selector: Option<Selector>,
        secret: DkimSecret,
        state: DkimState,
    ) -> Result<Answer, OperationError> {
        let chosen = Arc::new(OnceLock::new());
        let (name, of, choose) = (selector, domain.clone(), Arc::clone(&chosen));
        let added = self.change(move |directory| {
            let selector = match name {
                Some(selector) => selector,
                None => next_selector(&directory.dkim_keys(&of).map_err(internal)?, unix_now())?,
            };
            let selector = choose.get_or_init(|| selector).clone();
            Ok(vec![Change::AddDkimKey { domain: of, selector, secret, state }])
        });
        added.await?;
        let selector = chosen.get().cloned().ok_or_else(|| internal("a key was added without a name"))?;
        let row = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let key = Directory::new(reader.snapshot()).dkim_key(&domain, &selector).map_err(internal)?;
            let key = key.ok_or_else(|| {
                failure::directory(DirectoryError::NoDkimKey { domain: domain.clone(), selector })
            })?;
            Ok(row(&domain, &key))
        });
        Ok(Answer::DkimKey(row.await?))
    }

    pub(super) async fn list_dkim_keys<T: Transport>(
        &self,
        domain: &str,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let domain = failure::domain(domain)?;
        let rows = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let directory = Directory::new(reader.snapshot());
            if directory.domain(&domain).map_err(internal)?.is_none() {
                let message = format!("there is no domain {domain}");
                return Err(OperationError::new(FailureKind::NotFound, message));
            }
            let keys = directory.dkim_keys(&domain).map_err(internal)?;
            Ok(keys.iter().map(|key| row(&domain, key)).collect::<Vec<_>>())
        });
        for row in rows.await? {
            exchange.row(&row).await?;
        }
        Ok(Answer::Done)
    }
}

fn parse_selector(text: &str) -> Result<Selector, OperationError> {
    Selector::parse(text).ok_or_else(|| failure::invalid(format!("{text:?} is no selector")))
}

/// The year and the first letter that no key of the domain has: `2026a`, then `2026b`.
fn next_selector(keys: &[DkimKey], now: i64) -> Result<Selector, OperationError> {
    let time = Timestamp::from_second(now).map_err(internal)?;
    let year = time.to_zoned(TimeZone::UTC).year();
    let names = (b'a'..=b'z').filter_map(|letter| Selector::parse(&format!("{year}{}", char::from(letter))));
    let free = |name: &Selector| keys.iter().all(|key| key.selector != *name);
    let mut free = names.filter(free);
    free.next().ok_or_else(|| failure::invalid("no name is left for this year; choose a selector"))
}

fn row(domain: &Domain, key: &DkimKey) -> DkimKeyRow {
    let record = PrivateKey::from_pkcs8(key.secret.expose()).ok().map(|key| key.record());
    DkimKeyRow {
        selector: key.selector.to_string(),
        algorithm: key.secret.kind().word().to_owned(),
        signs: key.state == DkimState::Signs,
        created: key.created,
        name: key.selector.key_name(domain),
        zone: record.as_ref().map(|record| zone_line(&key.selector, domain, record)),
        record,
    }
}

fn make(algorithm: DkimAlgorithm) -> Result<DkimSecret, String> {
    let key = match algorithm {
        DkimAlgorithm::Rsa2048 => PrivateKey::generate_rsa(),
        DkimAlgorithm::Ed25519 => PrivateKey::generate_ed25519(),
    };
    let pem = key.map_err(|error| error.to_string())?.to_pem();
    secret_of(&pem.ok_or("a key that was made can't be kept")?)
}

/// A key from PEM, or from base64 of PKCS#8.
fn secret_of(text: &str) -> Result<DkimSecret, String> {
    let pkcs8 = match text.contains("-----BEGIN") {
        true => pkcs8_of_pem(text.as_bytes()),
        false => base64(text).filter(|octets| !octets.is_empty()).ok_or(PrivateKeyError::Pem),
    };
    let pkcs8 = pkcs8.map_err(|error| error.to_string())?;
    let kind = PrivateKey::from_pkcs8(&pkcs8).map_err(|error| error.to_string())?.kind();
    Ok(DkimSecret::new(kind, pkcs8.into()))
}

/// A key that a document gives. A file's place is told from `files`, the directory of the document.
pub(super) fn read_key(text: KeyText<'_>, files: Option<&Path>) -> Result<DkimSecret, String> {
    let name = match text {
        KeyText::Inline(text) => return secret_of(text),
        KeyText::File(name) => name,
    };
    let path = match files {
        Some(directory) => directory.join(name),
        None if Path::new(name).is_absolute() => PathBuf::from(name),
        None => return Err("key_file needs an absolute path: the document is in no directory".to_owned()),
    };
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    // Whatever else there is may keep its reader waiting.
    if !std::fs::metadata(&path).map_err(told)?.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    let mut text = String::new();
    let file = std::fs::File::open(&path).map_err(told)?;
    let octets = file.take(KEY_FILE_OCTETS_MAX + 1).read_to_string(&mut text).map_err(told)?;
    if octets as u64 > KEY_FILE_OCTETS_MAX {
        return Err(format!("{} is larger than a key", path.display()));
    }
    secret_of(&text).map_err(|error| format!("{}: {error}", path.display()))
}
