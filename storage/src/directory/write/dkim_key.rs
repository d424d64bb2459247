//! Keys that sign mail of domains.

use postrider_proto::address::Domain;
use postrider_proto::dkim::Selector;

use super::super::draft::Draft;
use super::super::plan::DirectoryError;
use super::super::rows::{self, DkimKeyRow};
use super::super::types::{DkimSecret, DkimState, Limits};
use super::settings_of;

/// Octets of a name of the DNS, written without a dot at its end (RFC 1035 §2.3.4).
const KEY_NAME_OCTETS_MAX: usize = 253;

pub(in super::super) fn add(
    draft: &mut Draft<'_>,
    (domain, selector): (&Domain, &Selector),
    secret: &DkimSecret,
    state: DkimState,
    limits: &Limits,
    now: i64,
) -> Result<(), DirectoryError> {
    settings_of(draft, domain)?;
    let bad = |problem| {
        Err(DirectoryError::Value { what: format!("DKIM key {selector} of domain {domain}"), problem })
    };
    if selector.key_name(domain).len() > KEY_NAME_OCTETS_MAX {
        return bad("the name of its record would be too long for the DNS; take a shorter selector");
    }
    if secret.expose().is_empty() || secret.expose().len() > limits.dkim_secret_octets_max {
        return bad("the key has 1 to 8192 octets");
    }
    let key = rows::dkim_key(domain, selector);
    if draft.contains(&key)? {
        return Err(DirectoryError::DkimKeyExists { domain: domain.clone(), selector: selector.clone() });
    }
    if draft.all(&rows::dkim_keys(domain))?.len() >= limits.dkim_keys_max {
        let keys_max = limits.dkim_keys_max;
        return Err(DirectoryError::TooManyDkimKeys { domain: domain.clone(), keys_max });
    }
    draft.put(key, DkimKeyRow { state, created: now, secret: secret.clone() }.encode());
    Ok(())
}

pub(in super::super) fn set(
    draft: &mut Draft<'_>,
    domain: &Domain,
    selector: &Selector,
    state: DkimState,
) -> Result<(), DirectoryError> {
    let row = find(draft, domain, selector)?;
    draft.put(rows::dkim_key(domain, selector), DkimKeyRow { state, ..row }.encode());
    Ok(())
}

pub(in super::super) fn remove(
    draft: &mut Draft<'_>,
    domain: &Domain,
    selector: &Selector,
) -> Result<(), DirectoryError> {
    find(draft, domain, selector)?;
    draft.remove(rows::dkim_key(domain, selector));
    Ok(())
}

/// Removes all keys of a domain that goes.
pub(super) fn remove_all(draft: &mut Draft<'_>, domain: &Domain) -> Result<(), DirectoryError> {
    for key in draft.all(&rows::dkim_keys(domain))?.into_keys() {
        draft.remove(key);
    }
    Ok(())
}

fn find(draft: &Draft<'_>, domain: &Domain, selector: &Selector) -> Result<DkimKeyRow, DirectoryError> {
    settings_of(draft, domain)?;
    let row = draft.row(&rows::dkim_key(domain, selector), DkimKeyRow::decode)?;
    row.ok_or_else(|| DirectoryError::NoDkimKey { domain: domain.clone(), selector: selector.clone() })
}
