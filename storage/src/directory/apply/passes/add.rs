//! What is new in the document, or set otherwise.

use std::collections::BTreeSet;

use postrider_proto::address::Address;

use super::super::super::change::Change;
use super::super::super::destination::Destination;
use super::super::super::document::{AddressEntry, Credential};
use super::super::super::draft::Draft;
use super::super::super::lookup::{Directory, corrupt, damaged, exact};
use super::super::super::rows::{self, TlsKeyRow};
use super::super::super::types::{AddressPattern, Target};
use super::super::super::write::{alias, domain};
use super::super::wanted;
use super::super::{Apply, ApplyError, Mode};
use super::{Pass, domain_row, leaves, members_before, target_before};
use crate::engine::{Snapshot, Space};

impl Apply {
    pub(super) fn new_domain(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        let (domain, line, settings) = domain_row(key, value)?;
        if Directory::new(snapshot).domain(&domain)?.is_some() {
            return Ok(());
        }
        self.change(draft, line, &Change::AddDomain { domain, settings })
    }

    pub(super) fn account(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        self.done += 1;
        let (line, name, entry) = wanted::decode_account(key, value).map_err(corrupt)?;
        let settings = entry.settings;
        match Directory::new(snapshot).account_by_name(&name)? {
            Some(before) if before.settings == settings => Ok(()),
            Some(_) => self.change(draft, line, &Change::SetAccount { name, settings }),
            None => {
                let id = draft.state.next_account;
                self.change(draft, line, &Change::AddAccount { name, settings })?;
                if self.options.mode == Mode::Make {
                    self.first_rows(draft, id);
                }
                Ok(())
            }
        }
    }

    fn first_rows(&self, draft: &mut Draft<'_>, account: u32) {
        for write in self.options.first_rows.writes() {
            let mut key = account.to_be_bytes().to_vec();
            key.extend_from_slice(write.key.get(key.len()..).unwrap_or_default());
            match &write.value {
                Some(value) => draft.put(key, value.to_vec()),
                None => draft.remove(key),
            }
        }
    }

    pub(super) fn postmaster(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
    ) -> Result<(), ApplyError> {
        let directory = Directory::new(snapshot);
        let before = match directory.status()?.postmaster {
            Some(postmaster) => {
                let key = rows::account(postmaster.account);
                let account = directory.account(postmaster.account)?.ok_or_else(|| damaged(&key))?;
                Some((account.name, postmaster.mailbox))
            }
            None => None,
        };
        let wanted = draft.row(&wanted::all(wanted::POSTMASTER), wanted::decode_postmaster)?;
        let (line, wanted) = wanted.map_or((0, None), |(line, wanted)| (line, Some(wanted)));
        if before == wanted { Ok(()) } else { self.change(draft, line, &Change::SetPostmaster(wanted)) }
    }

    pub(super) fn set_domain(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        let (domain, line, settings) = domain_row(key, value)?;
        if Directory::new(snapshot).domain(&domain)?.is_none_or(|before| before == settings) {
            return Ok(());
        }
        let set = domain::set_settings(draft, &domain, &settings, &self.options.limits);
        let addresses = set.map_err(|error| ApplyError::Refused { line, error })?;
        self.list(&Change::SetDomain { domain: domain.clone(), settings: settings.clone() });
        if addresses == domain::Addresses::Move {
            self.pass = Pass::MoveAddresses(domain, settings, None);
        }
        Ok(())
    }

    pub(super) fn add_to_account(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        self.done += 1;
        let directory = Directory::new(snapshot);
        let (line, name, entry) = wanted::decode_account(key, value).map_err(corrupt)?;
        let before = directory.account_by_name(&name)?.map(|account| account.id);
        for AddressEntry { address, mailbox, destination, line } in entry.addresses {
            let place = self.place(draft, &address)?;
            let target = target_before(snapshot, &place)?;
            let (there, rules) = match target {
                Some(Target::Account { account, mailbox, destination }) if Some(account) == before => {
                    (Some(mailbox), destination)
                }
                _ => (None, Destination::default()),
            };
            if there.as_ref() != Some(&mailbox) {
                let address = address.clone();
                let change = match there {
                    Some(_) => Change::SetAddress { address, mailbox },
                    None => Change::AddAddress { address, account: name.clone(), mailbox },
                };
                self.change(draft, line, &change)?;
            }
            if rules != destination {
                self.change(draft, line, &Change::SetDestination { address, destination })?;
            }
        }
        for (fingerprint, key_name, line) in entry.tls_keys {
            let key = rows::tls_key(&fingerprint);
            let row = snapshot.get(Space::Rows, &key)?;
            let row = row.map(|row| TlsKeyRow::decode(&key, &row)).transpose().map_err(corrupt)?;
            if row.is_none_or(|row| Some(row.account) != before || row.name != key_name) {
                let change = Change::AddTlsKey { account: name.clone(), fingerprint, name: key_name };
                self.change(draft, line, &change)?;
            }
        }
        let known = match before {
            Some(id) => directory.secrets(id)?,
            None => None,
        };
        let secrets = match entry.credential {
            Credential::Verifiers(secrets) if known.as_ref() != Some(&*secrets) => Some(*secrets),
            Credential::Nothing if known.is_some() => None,
            _ => return Ok(()),
        };
        self.change(draft, line, &Change::SetSecrets { account: name, secrets })
    }

    pub(super) fn add_refusal(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        let (line, address, code) = wanted::decode_refusal(key, value).map_err(corrupt)?;
        let place = self.place(draft, &address)?;
        if target_before(snapshot, &place)? == Some(Target::Refused(code)) {
            return Ok(());
        }
        self.change(draft, line, &Change::AddRefusal { address, code })
    }

    pub(super) fn add_alias(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        let (line, alias, entry) = wanted::decode_alias(key, value).map_err(corrupt)?;
        let settings = entry.settings;
        let place = self.place(draft, &AddressPattern::Exact(alias.clone()))?;
        let members = self.places(draft, entry.members)?;
        let Some(Target::Alias(before)) = target_before(snapshot, &place)? else {
            let members: Option<Vec<_>> = members.iter().map(exact).collect();
            let members = members.ok_or_else(|| damaged(key))?;
            return self.change(draft, line, &Change::AddAlias { alias, settings, members });
        };
        if before != settings {
            self.change(draft, line, &Change::SetAlias { alias: alias.clone(), settings })?;
        }
        let there: BTreeSet<_> = members_before(snapshot, &place)?.into_iter().collect();
        let mut new: Vec<Address> = Vec::new();
        for member in members {
            if !there.contains(&member) || leaves(draft, snapshot, &member)? {
                new.push(exact(&member).ok_or_else(|| damaged(key))?);
            }
        }
        let references: Vec<_> = new.iter().collect();
        alias::add_members(draft, &alias, &references, &self.options.limits)
            .map_err(|error| ApplyError::Refused { line, error })?;
        for member in new {
            self.list(&Change::AddMember { alias: alias.clone(), member });
        }
        Ok(())
    }
}
