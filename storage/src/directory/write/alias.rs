//! Aliases and their members.

use postrider_proto::address::Address;

use super::super::draft::Draft;
use super::super::lookup::damaged;
use super::super::plan::DirectoryError;
use super::super::rows::{self, AddressRow, Place};
use super::super::types::{AddressPattern, AliasSettings, Limits, Target};
use super::{address, place_of};
use crate::ids::AccountId;

pub(in super::super) fn add(
    draft: &mut Draft<'_>,
    alias: &Address,
    settings: AliasSettings,
    members: &[Address],
    limits: &Limits,
) -> Result<(), DirectoryError> {
    let place = address::insert(draft, &AddressPattern::Exact(alias.clone()), Target::Alias(settings))?;
    draft.thinned.insert(place.clone());
    check_count(alias, members.len(), limits)?;
    for member in members {
        insert_member(draft, alias, &place, member)?;
    }
    Ok(())
}

pub(in super::super) fn set(
    draft: &mut Draft<'_>,
    alias: &Address,
    settings: AliasSettings,
) -> Result<(), DirectoryError> {
    let (place, row) = find(draft, alias)?;
    draft.put(rows::address(&place), AddressRow { target: Target::Alias(settings), ..row }.encode());
    Ok(())
}

pub(in super::super) fn remove(draft: &mut Draft<'_>, alias: &Address) -> Result<(), DirectoryError> {
    let (place, _) = find(draft, alias)?;
    take_members(draft, &place, &place)?;
    draft.remove(rows::address(&place));
    draft.state.addresses -= 1;
    Ok(())
}

pub(in super::super) fn add_members(
    draft: &mut Draft<'_>,
    alias: &Address,
    members: &[&Address],
    limits: &Limits,
) -> Result<(), DirectoryError> {
    let (place, _) = find(draft, alias)?;
    let there = draft.rows(&rows::members(&place), None).take(limits.alias_members_max + 1).count();
    check_count(alias, there + members.len(), limits)?;
    for member in members {
        insert_member(draft, alias, &place, member)?;
    }
    Ok(())
}

pub(in super::super) fn remove_member(
    draft: &mut Draft<'_>,
    alias: &Address,
    member: &Address,
) -> Result<(), DirectoryError> {
    let (alias_place, _) = find(draft, alias)?;
    let none = || DirectoryError::NoMember { alias: alias.clone(), member: member.clone() };
    let (account, place) = account_of(draft, member)?.ok_or_else(none)?;
    let key = rows::member(&alias_place, account, &place);
    if !draft.contains(&key)? {
        return Err(none());
    }
    draft.remove(key);
    draft.remove(rows::member_of(account, &place, &alias_place));
    draft.thinned.insert(alias_place);
    Ok(())
}

/// A member's two rows.
pub(super) fn put_member(draft: &mut Draft<'_>, alias: &Place, account: AccountId, member: &Place) {
    draft.put(rows::member(alias, account, member), rows::present());
    draft.put(rows::member_of(account, member, alias), rows::present());
}

/// Removes all members of an alias, and gives them as members of `to`.
pub(super) fn take_members(
    draft: &mut Draft<'_>,
    from: &Place,
    to: &Place,
) -> Result<Vec<(Place, AccountId, Place)>, DirectoryError> {
    let prefix = rows::members(from);
    let mut taken = Vec::new();
    for key in draft.all(&prefix)?.into_keys() {
        let (account, member) =
            key.get(prefix.len()..).and_then(rows::account_and_place).ok_or_else(|| damaged(&key))?;
        draft.remove(rows::member_of(account, &member, from));
        draft.remove(key);
        taken.push((to.clone(), account, member));
    }
    Ok(taken)
}

/// Removes an address from all aliases, and gives its memberships as those of `to`.
pub(super) fn take_memberships(
    draft: &mut Draft<'_>,
    account: AccountId,
    from: &Place,
    to: &Place,
) -> Result<Vec<(Place, AccountId, Place)>, DirectoryError> {
    let prefix = rows::aliases_of(account, from);
    let mut taken = Vec::new();
    for key in draft.all(&prefix)?.into_keys() {
        let alias = key.get(prefix.len()..).and_then(rows::place).ok_or_else(|| damaged(&key))?;
        draft.remove(rows::member(&alias, account, from));
        draft.remove(key);
        taken.push((alias, account, to.clone()));
    }
    Ok(taken)
}

fn find(draft: &Draft<'_>, alias: &Address) -> Result<(Place, AddressRow), DirectoryError> {
    let place = place_of(draft, &AddressPattern::Exact(alias.clone()))?;
    match draft.address(&place)? {
        Some(row) if matches!(row.target, Target::Alias(_)) => Ok((place, row)),
        _ => Err(DirectoryError::NoAlias(alias.clone())),
    }
}

fn insert_member(
    draft: &mut Draft<'_>,
    alias: &Address,
    alias_place: &Place,
    member: &Address,
) -> Result<(), DirectoryError> {
    let not_local = || DirectoryError::MemberNotLocal { alias: alias.clone(), member: member.clone() };
    let (account, place) = account_of(draft, member)?.ok_or_else(not_local)?;
    let key = rows::member(alias_place, account, &place);
    if draft.contains(&key)? {
        return Err(DirectoryError::MemberExists { alias: alias.clone(), member: member.clone() });
    }
    put_member(draft, alias_place, account, &place);
    Ok(())
}

/// The account that has exactly this address, not by catch-all.
fn account_of(draft: &Draft<'_>, member: &Address) -> Result<Option<(AccountId, Place)>, DirectoryError> {
    let pattern = AddressPattern::Exact(member.clone());
    let place = match place_of(draft, &pattern) {
        Err(DirectoryError::NoDomain(_) | DirectoryError::Separator { .. }) => return Ok(None),
        place => place?,
    };
    Ok(match draft.address(&place)? {
        Some(AddressRow { target: Target::Account { account, .. }, .. }) => Some((account, place)),
        _ => None,
    })
}

fn check_count(alias: &Address, count: usize, limits: &Limits) -> Result<(), DirectoryError> {
    if count <= limits.alias_members_max {
        return Ok(());
    }
    Err(DirectoryError::Value { what: format!("members of alias {alias}"), problem: "too many" })
}
