//! The writes of each change, one file an object.

pub(super) mod account;
pub(super) mod address;
pub(super) mod alias;
pub(super) mod dkim_key;
pub(super) mod domain;
pub(super) mod tls_key;

use postrider_proto::address::Domain;

use super::draft::Draft;
use super::plan::DirectoryError;
use super::route::Route;
use super::rows::{self, Place};
use super::types::{AddressPattern, DomainSettings, Limits};

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

/// Refuses what can't be sent in a reply of SMTP or IMAP, and what is longer than such a text may be.
fn check_printable(what: impl FnOnce() -> String, text: &str, limits: &Limits) -> Result<(), DirectoryError> {
    let is_printable = text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    if is_printable && (1..=limits.login_disabled_octets_max).contains(&text.len()) {
        return Ok(());
    }
    Err(DirectoryError::Value { what: what(), problem: "must be 1 to 256 printable ASCII characters" })
}

fn check_routes(
    what: impl FnOnce() -> String,
    routes: &[Route],
    limits: &Limits,
) -> Result<(), DirectoryError> {
    let sides = routes.iter().flat_map(|route| [&route.from_domains, &route.to_domains]);
    let problem = if routes.len() > limits.routes_max {
        "at most 100"
    } else if sides.map(Vec::len).any(|count| count > limits.routes_max) {
        "at most 100 domains of each kind in one of them"
    } else if rows::routes_octets(routes) > limits.settings_octets_max {
        "together they have more than 64 KiB"
    } else {
        return Ok(());
    };
    Err(DirectoryError::Value { what: what(), problem })
}
