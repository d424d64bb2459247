//! Addresses of accounts, catch-alls, and addresses that answer with a code.

use postrider_proto::imap::mailbox::MailboxName;

use super::super::destination::Destination;
use super::super::draft::Draft;
use super::super::lookup::damaged;
use super::super::plan::DirectoryError;
use super::super::rows::{self, AddressRow, Place};
use super::super::types::{AccountName, AddressPattern, Limits, Target};
use super::{account, check_printable, place_of};

pub(in super::super) fn add(
    draft: &mut Draft<'_>,
    address: &AddressPattern,
    name: &AccountName,
    mailbox: &MailboxName,
) -> Result<(), DirectoryError> {
    let account = account::find(draft, name)?.id;
    let target = Target::Account { account, mailbox: mailbox.clone(), destination: Destination::default() };
    let place = insert(draft, address, target)?;
    draft.put(rows::account_address(account, &place), rows::present());
    Ok(())
}

pub(in super::super) fn set(
    draft: &mut Draft<'_>,
    address: &AddressPattern,
    mailbox: &MailboxName,
) -> Result<(), DirectoryError> {
    let (place, mut row) = existing(draft, address)?;
    let Target::Account { mailbox: current, .. } = &mut row.target else {
        return Err(DirectoryError::NotAnAccounts(address.clone()));
    };
    *current = mailbox.clone();
    draft.put(rows::address(&place), row.encode());
    Ok(())
}

pub(in super::super) fn set_destination(
    draft: &mut Draft<'_>,
    address: &AddressPattern,
    wanted: &Destination,
    limits: &Limits,
) -> Result<(), DirectoryError> {
    check(address, wanted, limits)?;
    let (place, mut row) = existing(draft, address)?;
    let Target::Account { destination, .. } = &mut row.target else {
        return Err(DirectoryError::NotAnAccounts(address.clone()));
    };
    destination.clone_from(wanted);
    draft.put(rows::address(&place), row.encode());
    Ok(())
}

fn check(address: &AddressPattern, destination: &Destination, limits: &Limits) -> Result<(), DirectoryError> {
    let bad = |problem| Err(DirectoryError::Value { what: format!("rules of address {address}"), problem });
    if destination.rules.len() > limits.rules_max {
        return bad("at most 100");
    }
    for (number, rule) in (1..).zip(&destination.rules) {
        let checked = rule.check(limits.text_octets_max);
        checked.map_err(|problem| DirectoryError::Rule { address: address.clone(), number, problem })?;
    }
    if rows::destination_octets(destination) > limits.settings_octets_max {
        return bad("together they have more than 64 KiB");
    }
    let Some(text) = &destination.auth_required else { return Ok(()) };
    // It is sent in replies of SMTP.
    check_printable(|| format!("text for unauthenticated mail to {address}"), text, limits)
}

pub(in super::super) fn add_refusal(
    draft: &mut Draft<'_>,
    address: &AddressPattern,
    code: u16,
) -> Result<(), DirectoryError> {
    // 421 would mean that the connection closes (RFC 5321 §3.8), so it is sent as 451.
    let code = match code {
        421 | 451 => 451,
        550 => 550,
        _ => return Err(DirectoryError::RefusalCode { address: address.clone(), code }),
    };
    insert(draft, address, Target::Refused(code)).map(|_| ())
}

pub(in super::super) fn remove(
    draft: &mut Draft<'_>,
    address: &AddressPattern,
) -> Result<(), DirectoryError> {
    let (place, row) = existing(draft, address)?;
    match row.target {
        Target::Account { account, .. } => {
            let prefix = rows::aliases_of(account, &place);
            if let Some(key) = draft.first(&prefix)? {
                let alias = key.get(prefix.len()..).and_then(rows::place).ok_or_else(|| damaged(&key))?;
                let alias = alias.to_string();
                return Err(DirectoryError::AddressIsMember { address: address.clone(), alias });
            }
            draft.remove(rows::account_address(account, &place));
        }
        Target::Refused(_) => {}
        Target::Alias(_) => return Err(DirectoryError::NotAnAccounts(address.clone())),
    }
    draft.remove(rows::address(&place));
    draft.state.addresses -= 1;
    Ok(())
}

/// Adds a row that must not exist, in no spelling.
pub(super) fn insert(
    draft: &mut Draft<'_>,
    address: &AddressPattern,
    target: Target,
) -> Result<Place, DirectoryError> {
    let place = place_of(draft, address)?;
    let key = rows::address(&place);
    if let Some(row) = draft.address(&place)? {
        let existing = AddressPattern::of(&place.domain, &row.spelling).map_err(|_| damaged(&key))?;
        return Err(DirectoryError::AddressExists { address: address.clone(), existing });
    }
    draft.put(key, AddressRow { target, spelling: address.localpart().to_owned() }.encode());
    draft.state.addresses += 1;
    Ok(place)
}

/// The row of an address that must exist, in any spelling.
pub(super) fn existing(
    draft: &Draft<'_>,
    address: &AddressPattern,
) -> Result<(Place, AddressRow), DirectoryError> {
    let place = place_of(draft, address)?;
    let row = draft.address(&place)?.ok_or_else(|| DirectoryError::NoAddress(address.clone()))?;
    Ok((place, row))
}
