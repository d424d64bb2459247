//! What the document doesn't have, and what is in the way of what it has.

use postrider_proto::address::Domain;

use super::super::super::change::{Change, HeldMail};
use super::super::super::draft::Draft;
use super::super::super::lookup::{corrupt, damaged, exact};
use super::super::super::rows::{self, PREFIX_OCTETS, TlsKeyRow};
use super::super::super::types::{AccountName, AddressPattern, Target};
use super::super::wanted::{self, Lead};
use super::super::{Apply, ApplyError};
use super::{address_row, is_wanted, lead_after, leaves, members_before, name_of};
use crate::engine::Snapshot;

impl Apply {
    /// Keys that go, or get another name, or another account; those of removed accounts go with them.
    pub(super) fn remove_key(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        let row = TlsKeyRow::decode(key, value).map_err(corrupt)?;
        let fingerprint = key.get(PREFIX_OCTETS..).and_then(rows::fingerprint).ok_or_else(|| damaged(key))?;
        let account = name_of(snapshot, row.account)?;
        if !is_wanted(draft, &account)? {
            return Ok(());
        }
        let wanted = draft.row(&wanted::tls_key(&fingerprint), wanted::decode_tls_key)?;
        if wanted.is_some_and(|wanted| wanted == (account.clone(), row.name)) {
            return Ok(());
        }
        self.change(draft, 0, &Change::RemoveTlsKey { account, fingerprint })
    }

    pub(super) fn remove_alias(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        let (place, row) = address_row(key, value)?;
        if !matches!(row.target, Target::Alias(_)) {
            return Ok(());
        }
        let alias = exact(&place).ok_or_else(|| damaged(key))?;
        let Some(Lead::Alias(written)) = lead_after(draft, &place)? else {
            return self.change(draft, 0, &Change::RemoveAlias(alias));
        };
        let entry = draft.row(&wanted::key(wanted::ALIAS, &written), wanted::decode_alias)?;
        let (line, _, entry) = entry.ok_or_else(|| damaged(key))?;
        let members = self.places(draft, entry.members)?;
        for member in members_before(snapshot, &place)? {
            if !members.contains(&member) || leaves(draft, snapshot, &member)? {
                let member = exact(&member).ok_or_else(|| damaged(key))?;
                self.change(draft, line, &Change::RemoveMember { alias: alias.clone(), member })?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_account(&mut self, draft: &mut Draft<'_>, key: &[u8]) -> Result<(), ApplyError> {
        self.done += 1;
        let name = key.get(PREFIX_OCTETS..).and_then(|name| str::from_utf8(name).ok());
        let name = name.and_then(|name| AccountName::new(name).ok()).ok_or_else(|| damaged(key))?;
        if is_wanted(draft, &name)? {
            return Ok(());
        }
        self.change(draft, 0, &Change::RemoveAccount { name, mail: HeldMail::Keep })
    }

    pub(super) fn remove_address(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        self.done += 1;
        let (place, row) = address_row(key, value)?;
        let before = match row.target {
            Target::Alias(_) => return Ok(()),
            Target::Refused(code) => Lead::Refused(code),
            Target::Account { account, .. } => {
                let name = name_of(snapshot, account)?;
                if !is_wanted(draft, &name)? {
                    // The addresses of a removed account go with it.
                    return Ok(());
                }
                Lead::Account(name)
            }
        };
        if lead_after(draft, &place)? == Some(before) {
            return Ok(());
        }
        let address = AddressPattern::of(&place.domain, &place.localpart).map_err(|_| damaged(key))?;
        self.change(draft, 0, &Change::RemoveAddress(address))
    }

    pub(super) fn remove_domain(&mut self, draft: &mut Draft<'_>, key: &[u8]) -> Result<(), ApplyError> {
        let name = key.get(PREFIX_OCTETS..).and_then(|name| str::from_utf8(name).ok());
        let domain = name.and_then(|name| Domain::parse(name).ok()).ok_or_else(|| damaged(key))?;
        if draft.contains(&wanted::key(wanted::DOMAIN, domain.as_str()))? {
            return Ok(());
        }
        self.change(draft, 0, &Change::RemoveDomain(domain))
    }
}
