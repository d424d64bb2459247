//! The writes of each change, one file an object.

pub(super) mod account;
pub(super) mod address;
pub(super) mod alias;
pub(super) mod domain;
pub(super) mod tls_key;

use postrider_proto::address::Domain;

use super::draft::Draft;
use super::plan::DirectoryError;
use super::rows::{self, Place};
use super::types::{AddressPattern, DomainSettings};

/// A domain that must exist.
fn settings_of(draft: &Draft<'_>, domain: &Domain) -> Result<DomainSettings, DirectoryError> {
    let settings = draft.row(&rows::domain(domain), rows::decode_domain)?;
    settings.ok_or_else(|| DirectoryError::NoDomain(domain.clone()))
}

/// Where an address that is to be configured is looked up.
fn place_of(draft: &Draft<'_>, address: &AddressPattern) -> Result<Place, DirectoryError> {
    let settings = settings_of(draft, address.domain())?;
    canonical_place(&settings, address)
}

fn canonical_place(settings: &DomainSettings, address: &AddressPattern) -> Result<Place, DirectoryError> {
    if let Some(separator) = settings.separator_in(address.localpart()) {
        let separator = separator.to_owned();
        return Err(DirectoryError::Separator { address: address.clone(), separator });
    }
    Ok(Place { domain: address.domain().clone(), localpart: settings.fold(address.localpart()) })
}

/// Refuses control characters and more than `octets_max` octets.
fn check_text(what: impl FnOnce() -> String, text: &str, octets_max: usize) -> Result<(), DirectoryError> {
    let problem = if text.len() > octets_max {
        "too long"
    } else if text.chars().any(char::is_control) {
        "must not hold control characters"
    } else {
        return Ok(());
    };
    Err(DirectoryError::Value { what: what(), problem })
}
