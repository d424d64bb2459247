//! The passes that find what leads from the directory to the document, in an order in which every change is
//! possible: names first, since everything else leads to them; then what is in the way of removals; then
//! removals, settings of domains, and what is new.
//!
//! "Before" is the directory as it is, read from the engine's snapshot, in which nothing changes meanwhile.
//! What is wanted is read from the draft, which has the rows of WANTED, and changes are made on it.

mod add;
mod dkim;
mod remove;

use std::collections::BTreeSet;
use std::ops::Bound;

use postrider_proto::address::{Address, Domain};

use super::super::document::{AddressEntry, Line};
use super::super::draft::Draft;
use super::super::lookup::{Directory, corrupt, damaged};
use super::super::rows::{self, AddressRow, PREFIX_OCTETS, Place};
use super::super::types::{AccountName, AddressPattern, DomainSettings, Target};
use super::super::write::domain;
use super::wanted::{self, Lead};
use super::{Apply, ApplyError};
use crate::engine::{EngineError, Row, Snapshot, Space};
use crate::ids::AccountId;

/// Rows that a pass reads at a time.
const PAGE: usize = 64;
/// Octets of them, but for the first.
const PAGE_OCTETS: usize = 256 << 10;

/// What is being done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pass {
    Reading,
    /// Notes what every address and key is to lead to, and finds those that are given twice.
    CheckAccounts,
    CheckRefusals,
    CheckAliases,
    NewDomains,
    Accounts,
    Postmaster,
    RemoveKeys,
    RemoveAliases,
    RemoveAccounts,
    RemoveAddresses,
    SetDomains,
    /// Moves the addresses of a domain whose settings have changed.
    MoveAddresses(Domain, DomainSettings, Option<Vec<u8>>),
    /// DKIM keys of domains: those that go, those that come, and whether they sign.
    DkimKeys,
    AddToAccounts,
    AddRefusals,
    AddAliases,
    RemoveDomains,
    Done,
}

impl Pass {
    const fn next(&self) -> Self {
        match self {
            Self::Reading => Self::CheckAccounts,
            Self::CheckAccounts => Self::CheckRefusals,
            Self::CheckRefusals => Self::CheckAliases,
            Self::CheckAliases => Self::NewDomains,
            Self::NewDomains => Self::Accounts,
            Self::Accounts => Self::Postmaster,
            Self::Postmaster => Self::RemoveKeys,
            Self::RemoveKeys => Self::RemoveAliases,
            Self::RemoveAliases => Self::RemoveAccounts,
            Self::RemoveAccounts => Self::RemoveAddresses,
            Self::RemoveAddresses => Self::SetDomains,
            Self::SetDomains | Self::MoveAddresses(..) => Self::DkimKeys,
            Self::DkimKeys => Self::AddToAccounts,
            Self::AddToAccounts => Self::AddRefusals,
            Self::AddRefusals => Self::AddAliases,
            Self::AddAliases => Self::RemoveDomains,
            Self::RemoveDomains | Self::Done => Self::Done,
        }
    }

    /// Whose rows it goes over.
    const fn over(&self) -> Over {
        match self {
            Self::CheckAccounts | Self::Accounts | Self::AddToAccounts => Over::Wanted(wanted::ACCOUNT),
            Self::CheckRefusals | Self::AddRefusals => Over::Wanted(wanted::REFUSAL),
            Self::CheckAliases | Self::AddAliases => Over::Wanted(wanted::ALIAS),
            Self::NewDomains | Self::SetDomains | Self::DkimKeys => Over::Wanted(wanted::DOMAIN),
            Self::RemoveKeys => Over::Before(rows::TLS_KEY),
            Self::RemoveAliases | Self::RemoveAddresses => Over::Before(rows::ADDRESS),
            Self::RemoveAccounts => Over::Before(rows::ACCOUNT_NAME),
            Self::RemoveDomains => Over::Before(rows::DOMAIN),
            Self::Reading | Self::Postmaster | Self::MoveAddresses(..) | Self::Done => Over::Nothing,
        }
    }
}

#[derive(Clone, Copy)]
enum Over {
    Wanted(u8),
    Before(u8),
    Nothing,
}

impl Apply {
    /// Goes on with some rows of the present pass.
    pub(super) fn page(&mut self, draft: &mut Draft<'_>, snapshot: &dyn Snapshot) -> Result<(), ApplyError> {
        match self.pass.clone() {
            Pass::Reading => return self.piece(draft, snapshot),
            Pass::Postmaster => {
                self.postmaster(draft, snapshot)?;
                self.next_pass(Pass::RemoveKeys);
                return Ok(());
            }
            Pass::MoveAddresses(name, settings, after) => {
                let moved = domain::move_some(draft, &name, &settings, after.as_deref());
                let more = moved.map_err(|error| ApplyError::Refused { line: 0, error })?;
                // The domain's row is where the pass over domains goes on.
                self.pass = match more {
                    Some(after) => Pass::MoveAddresses(name, settings, Some(after)),
                    None => Pass::SetDomains,
                };
                return Ok(());
            }
            _ => {}
        }
        let page = match self.pass.over() {
            Over::Wanted(kind) => page(draft.rows(&wanted::all(kind), self.after.as_deref()))?,
            Over::Before(table) => {
                let (first, end) = (rows::table(table), rows::table(table + 1));
                let after = self.after.as_deref().unwrap_or(&first);
                page(snapshot.range(Space::Rows, Bound::Excluded(after), Bound::Excluded(&end)))?
            }
            Over::Nothing => Vec::new(),
        };
        let pass = self.pass.clone();
        for (key, value) in &page {
            self.after = Some(key.to_vec());
            self.row(draft, snapshot, key, value)?;
            // What one row began goes on by itself.
            if self.pass != pass {
                return Ok(());
            }
        }
        if page.is_empty() {
            if self.pass == Pass::CheckAliases {
                self.refuse_faults()?;
            }
            self.next_pass(pass.next());
        }
        Ok(())
    }

    fn row(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        match self.pass {
            Pass::CheckAccounts => self.check_account(draft, key, value),
            Pass::CheckRefusals => {
                let (line, address, code) = wanted::decode_refusal(key, value).map_err(corrupt)?;
                self.check_place(draft, line, &address, &Lead::Refused(code))
            }
            Pass::CheckAliases => {
                let (line, alias, _) = wanted::decode_alias(key, value).map_err(corrupt)?;
                let lead = Lead::Alias(alias.to_string());
                self.check_place(draft, line, &AddressPattern::Exact(alias), &lead)
            }
            Pass::NewDomains => self.new_domain(draft, snapshot, key, value),
            Pass::Accounts => self.account(draft, snapshot, key, value),
            Pass::RemoveKeys => self.remove_key(draft, snapshot, key, value),
            Pass::RemoveAliases => self.remove_alias(draft, snapshot, key, value),
            Pass::RemoveAccounts => self.remove_account(draft, key),
            Pass::RemoveAddresses => self.remove_address(draft, snapshot, key, value),
            Pass::SetDomains => self.set_domain(draft, snapshot, key, value),
            Pass::DkimKeys => self.set_dkim_keys(draft, snapshot, key, value),
            Pass::AddToAccounts => self.add_to_account(draft, snapshot, key, value),
            Pass::AddRefusals => self.add_refusal(draft, snapshot, key, value),
            Pass::AddAliases => self.add_alias(draft, snapshot, key, value),
            Pass::RemoveDomains => self.remove_domain(draft, key),
            // They go over no rows.
            Pass::Reading | Pass::Postmaster | Pass::MoveAddresses(..) | Pass::Done => Ok(()),
        }
    }

    fn check_account(&mut self, draft: &mut Draft<'_>, key: &[u8], value: &[u8]) -> Result<(), ApplyError> {
        self.done += 1;
        let (_, name, entry) = wanted::decode_account(key, value).map_err(corrupt)?;
        for AddressEntry { address, line, .. } in &entry.addresses {
            self.check_place(draft, *line, address, &Lead::Account(name.clone()))?;
        }
        for (fingerprint, key_name, line) in &entry.tls_keys {
            let key = wanted::tls_key(fingerprint);
            if draft.contains(&key)? {
                self.fault(*line as usize, format!("{fingerprint} is given twice"));
            } else {
                draft.put(key, wanted::encode_tls_key(&name, key_name));
            }
        }
        Ok(())
    }

    /// Complains of addresses that are given more than once, in whatever spelling and place.
    fn check_place(
        &mut self,
        draft: &mut Draft<'_>,
        line: Line,
        address: &AddressPattern,
        lead: &Lead,
    ) -> Result<(), ApplyError> {
        let place = self.place(draft, address)?;
        let key = wanted::place(&place);
        if draft.contains(&key)? {
            self.fault(line as usize, format!("{address} is given twice"));
        } else {
            draft.put(key, wanted::encode_lead(lead));
        }
        Ok(())
    }

    /// Where an address is to be looked up, as the document's domains say. In a domain that it doesn't have,
    /// as it is written: adding it will say what is missing.
    fn place(&mut self, draft: &Draft<'_>, address: &AddressPattern) -> Result<Place, EngineError> {
        let domain = address.domain();
        if self.domain.as_ref().is_none_or(|(known, _)| known != domain) {
            let row = draft.row(&wanted::key(wanted::DOMAIN, domain.as_str()), wanted::decode_domain)?;
            self.domain = Some((domain.clone(), row.map(|(_, entry)| entry.settings)));
        }
        let settings = self.domain.as_ref().and_then(|(_, settings)| settings.as_ref());
        let localpart = address.localpart();
        let localpart = settings.map_or_else(|| localpart.to_owned(), |settings| settings.fold(localpart));
        Ok(Place { domain: domain.clone(), localpart })
    }

    /// Where the members of an alias are to be looked up.
    fn places(&mut self, draft: &Draft<'_>, members: Vec<Address>) -> Result<BTreeSet<Place>, EngineError> {
        members.into_iter().map(|member| self.place(draft, &AddressPattern::Exact(member))).collect()
    }
}

/// Some rows, at least one if there is one.
fn page(rows: impl Iterator<Item = Result<Row, EngineError>>) -> Result<Vec<Row>, EngineError> {
    let (mut page, mut octets) = (Vec::new(), 0);
    for row in rows {
        let (key, value) = row?;
        octets += key.len() + value.len();
        page.push((key, value));
        if page.len() == PAGE || octets >= PAGE_OCTETS {
            break;
        }
    }
    Ok(page)
}

fn domain_row(key: &[u8], value: &[u8]) -> Result<(Domain, Line, DomainSettings), EngineError> {
    let (line, entry) = wanted::decode_domain(key, value).map_err(corrupt)?;
    let domain = wanted::name(key).and_then(|name| Domain::parse(name).ok());
    Ok((domain.ok_or_else(|| damaged(key))?, line, entry.settings))
}

fn address_row(key: &[u8], value: &[u8]) -> Result<(Place, AddressRow), EngineError> {
    let place = key.get(PREFIX_OCTETS..).and_then(rows::place).ok_or_else(|| damaged(key))?;
    Ok((place, AddressRow::decode(key, value).map_err(corrupt)?))
}

fn name_of(snapshot: &dyn Snapshot, account: AccountId) -> Result<AccountName, EngineError> {
    let found = Directory::new(snapshot).account(account)?;
    Ok(found.ok_or_else(|| damaged(&rows::account(account)))?.name)
}

fn is_wanted(draft: &Draft<'_>, account: &AccountName) -> Result<bool, EngineError> {
    draft.contains(&wanted::key(wanted::ACCOUNT, account.as_str()))
}

fn target_before(snapshot: &dyn Snapshot, place: &Place) -> Result<Option<Target>, EngineError> {
    let key = rows::address(place);
    let row = snapshot.get(Space::Rows, &key)?;
    let row = row.map(|row| AddressRow::decode(&key, &row)).transpose().map_err(corrupt)?;
    Ok(row.map(|row| row.target))
}

fn lead_after(draft: &Draft<'_>, place: &Place) -> Result<Option<Lead>, EngineError> {
    draft.row(&wanted::place(place), wanted::decode_lead)
}

/// The members of an alias, as they are looked up.
fn members_before(snapshot: &dyn Snapshot, alias: &Place) -> Result<Vec<Place>, EngineError> {
    let prefix = rows::members(alias);
    let members = snapshot.prefix(Space::Rows, &prefix).map(|row| {
        let (key, _) = row?;
        let member = key.get(prefix.len()..).and_then(rows::account_and_place);
        Ok(member.ok_or_else(|| damaged(&key))?.1)
    });
    members.collect()
}

/// Whether a member has to leave an alias, be it only until its address has moved.
fn leaves(draft: &Draft<'_>, snapshot: &dyn Snapshot, member: &Place) -> Result<bool, EngineError> {
    let before = match target_before(snapshot, member)? {
        Some(Target::Account { account, .. }) => Some(name_of(snapshot, account)?),
        _ => None,
    };
    let after = match lead_after(draft, member)? {
        Some(Lead::Account(name)) => Some(name),
        _ => None,
    };
    Ok(before != after)
}
