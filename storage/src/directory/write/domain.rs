//! Domains.

use std::collections::BTreeMap;

use postrider_proto::address::Domain;

use super::super::draft::Draft;
use super::super::lookup::damaged;
use super::super::plan::DirectoryError;
use super::super::rows::{self, AddressRow, Place};
use super::super::types::{AddressPattern, DomainSettings, Limits, Target};
use super::{canonical_place, check_text, settings_of};

pub(in super::super) fn add(
    draft: &mut Draft<'_>,
    domain: &Domain,
    settings: &DomainSettings,
    limits: &Limits,
) -> Result<(), DirectoryError> {
    let key = rows::domain(domain);
    if draft.row(&key, rows::decode_domain)?.is_some() {
        return Err(DirectoryError::DomainExists(domain.clone()));
    }
    check(domain, settings, limits)?;
    draft.put(key, rows::encode_domain(settings));
    draft.state.domains += 1;
    Ok(())
}

pub(in super::super) fn set(
    draft: &mut Draft<'_>,
    domain: &Domain,
    settings: &DomainSettings,
    limits: &Limits,
) -> Result<(), DirectoryError> {
    let before = settings_of(draft, domain)?;
    check(domain, settings, limits)?;
    draft.put(rows::domain(domain), rows::encode_domain(settings));
    if (before.case, &before.separators) == (settings.case, &settings.separators) {
        return Ok(());
    }
    recanonicalise(draft, domain, settings)
}

pub(in super::super) fn remove(draft: &mut Draft<'_>, domain: &Domain) -> Result<(), DirectoryError> {
    settings_of(draft, domain)?;
    let in_use = |user| Err(DirectoryError::DomainInUse { domain: domain.clone(), user });
    if let Some(key) = draft.first(&rows::addresses(domain))? {
        let place = key.get(rows::PREFIX_OCTETS..).and_then(rows::place).ok_or_else(|| damaged(&key))?;
        return in_use(format!("address {place}"));
    }
    let prefix = rows::accounts_of_domain(domain);
    if let Some(key) = draft.first(&prefix)? {
        let id = key.get(prefix.len()..).and_then(rows::account_id).ok_or_else(|| damaged(&key))?;
        let account = draft.row(&rows::account(id), rows::decode_account)?;
        return in_use(account.map_or_else(|| id.to_string(), |account| format!("account {}", account.name)));
    }
    draft.remove(rows::domain(domain));
    draft.state.domains -= 1;
    Ok(())
}

/// Moves the addresses of a domain to where the new settings look for them.
fn recanonicalise(
    draft: &mut Draft<'_>,
    domain: &Domain,
    settings: &DomainSettings,
) -> Result<(), DirectoryError> {
    let prefix = rows::addresses(domain);
    let mut moved: Vec<(Place, Place, AddressRow)> = Vec::new();
    let mut taken = BTreeMap::new();
    for (key, value) in draft.all(&prefix)? {
        let row = AddressRow::decode(&key, &value).map_err(super::super::lookup::corrupt)?;
        let from = key.get(rows::PREFIX_OCTETS..).and_then(rows::place).ok_or_else(|| damaged(&key))?;
        let pattern = AddressPattern::of(domain, &row.spelling).map_err(|_| damaged(&key))?;
        let to = canonical_place(settings, &pattern)?;
        if let Some(existing) = taken.insert(to.clone(), pattern.clone()) {
            return Err(DirectoryError::AddressExists { address: pattern, existing });
        }
        if from != to {
            moved.push((from, to, row));
        }
    }
    let mut members = Vec::new();
    for (from, to, row) in &moved {
        draft.remove(rows::address(from));
        match &row.target {
            Target::Account { account, .. } => {
                draft.remove(rows::account_address(*account, from));
                members.extend(super::alias::take_memberships(draft, *account, from, to)?);
            }
            Target::Alias(_) => members.extend(super::alias::take_members(draft, from, to)?),
            Target::Refused(_) => {}
        }
    }
    for (_, to, row) in &moved {
        draft.put(rows::address(to), row.encode());
        if let Target::Account { account, .. } = row.target {
            draft.put(rows::account_address(account, to), rows::present());
        }
    }
    // Both the alias and its member may have moved.
    let moves: BTreeMap<_, _> = moved.iter().map(|(from, to, _)| (from, to)).collect();
    let new_place = |place: Place| moves.get(&place).map_or(place, |to| (*to).clone());
    for (alias, account, member) in members {
        super::alias::put_member(draft, &new_place(alias), account, &new_place(member));
    }
    Ok(())
}

fn check(domain: &Domain, settings: &DomainSettings, limits: &Limits) -> Result<(), DirectoryError> {
    let bad =
        |problem| Err(DirectoryError::Value { what: format!("separators of domain {domain}"), problem });
    check_text(|| format!("description of domain {domain}"), &settings.description, limits.text_octets_max)?;
    if settings.separators.len() > limits.separators_max {
        return bad("too many");
    }
    for (at, separator) in settings.separators.iter().enumerate() {
        if separator.is_empty() || separator.len() > limits.separator_octets_max {
            return bad("each has 1 to 16 octets");
        }
        if separator.chars().any(|c| c.is_control() || c == '@' || c.is_alphanumeric()) {
            return bad("no letters, digits, control characters or @");
        }
        if settings.separators.iter().take(at).any(|other| other == separator) {
            return bad("the same one twice");
        }
    }
    Ok(())
}
