//! Domains.

use postrider_proto::address::Domain;

use super::super::draft::Draft;
use super::super::lookup::{corrupt, damaged};
use super::super::plan::DirectoryError;
use super::super::rows::{self, AddressRow, Place};
use super::super::types::{AddressPattern, DomainSettings, Limits, Target};
use super::{canonical_place, check_routes, check_text, dkim_key, settings_of};

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
    let mut after = None;
    if set_settings(draft, domain, settings, limits)? == Addresses::Move {
        loop {
            after = move_some(draft, domain, settings, after.as_deref())?;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Whether other settings let addresses be looked up elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Addresses {
    /// They stay where they are.
    Stay,
    /// [`move_some`] has to be called for them.
    Move,
}

/// The first half of [`set`]: the settings alone.
pub(in super::super) fn set_settings(
    draft: &mut Draft<'_>,
    domain: &Domain,
    settings: &DomainSettings,
    limits: &Limits,
) -> Result<Addresses, DirectoryError> {
    let before = settings_of(draft, domain)?;
    check(domain, settings, limits)?;
    draft.put(rows::domain(domain), rows::encode_domain(settings));
    let same = (before.case, &before.separators) == (settings.case, &settings.separators);
    Ok(if same { Addresses::Stay } else { Addresses::Move })
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
    dkim_key::remove_all(draft, domain)?;
    draft.remove(rows::domain(domain));
    draft.state.domains -= 1;
    Ok(())
}

/// Moves some addresses of a domain to where its new settings look for them: those behind the key `after`.
/// Gives the key of the last, if there are more.
///
/// An address that has moved stays where it is when it is met again. Under the settings from before no two
/// have one place, so whoever is at the new place of another is there to stay, and the two are one.
pub(in super::super) fn move_some(
    draft: &mut Draft<'_>,
    domain: &Domain,
    settings: &DomainSettings,
    after: Option<&[u8]>,
) -> Result<Option<Vec<u8>>, DirectoryError> {
    let page = draft.rows(&rows::addresses(domain), after).take(MOVED_MAX).collect::<Result<Vec<_>, _>>()?;
    for (key, value) in &page {
        let row = AddressRow::decode(key, value).map_err(corrupt)?;
        let from = key.get(rows::PREFIX_OCTETS..).and_then(rows::place).ok_or_else(|| damaged(key))?;
        let pattern = AddressPattern::of(domain, &row.spelling).map_err(|_| damaged(key))?;
        let to = canonical_place(settings, &pattern)?;
        if from == to {
            continue;
        }
        if let Some(there) = draft.address(&to)? {
            let existing = AddressPattern::of(domain, &there.spelling).map_err(|_| damaged(key))?;
            return Err(DirectoryError::AddressExists { address: pattern, existing });
        }
        move_one(draft, &from, &to, &row)?;
    }
    Ok(page.last().filter(|_| page.len() == MOVED_MAX).map(|(key, _)| key.to_vec()))
}

/// Addresses that [`move_some`] looks at.
const MOVED_MAX: usize = 256;

fn move_one(draft: &mut Draft<'_>, from: &Place, to: &Place, row: &AddressRow) -> Result<(), DirectoryError> {
    let members = match &row.target {
        Target::Account { account, .. } => {
            draft.remove(rows::account_address(*account, from));
            draft.put(rows::account_address(*account, to), rows::present());
            super::alias::take_memberships(draft, *account, from, to)?
        }
        Target::Alias(_) => super::alias::take_members(draft, from, to)?,
        Target::Refused(_) => Vec::new(),
    };
    draft.remove(rows::address(from));
    draft.put(rows::address(to), row.encode());
    for (alias, account, member) in members {
        super::alias::put_member(draft, &alias, account, &member);
    }
    Ok(())
}

fn check(domain: &Domain, settings: &DomainSettings, limits: &Limits) -> Result<(), DirectoryError> {
    let bad =
        |problem| Err(DirectoryError::Value { what: format!("separators of domain {domain}"), problem });
    check_text(|| format!("description of domain {domain}"), &settings.description, limits.text_octets_max)?;
    check_routes(|| format!("routes of domain {domain}"), &settings.routes, limits)?;
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
