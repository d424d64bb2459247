//! Who sends with an address: its account, or members of an alias that allows it (product 2.3).

use postrider_proto::address::Address;

use super::lookup::{Directory, damaged, exact};
use super::rows::{self, AddressRow, Place};
use super::types::{AliasSettings, DomainState, Target};
use crate::engine::{EngineError, Space};
use crate::ids::AccountId;

/// Whose an address is for those who send with it, also in a domain that is disabled. Nobody is the postmaster by that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The domain is not ours.
    NotOurs,
    /// The domain is ours, and has no such address.
    Nobody,
    /// An account's, as one of its own or by its catch-all, with or without what follows a separator.
    Account(AccountId),
    /// An alias; [`Directory::senders`] says which accounts are its members.
    Alias {
        /// The alias.
        address: Address,
        /// What is set for it.
        settings: AliasSettings,
    },
    /// It answers with this SMTP code.
    Refused(u16),
}

/// Whether an account may use an address as its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SenderVerdict {
    /// It may.
    Allowed,
    /// It may not.
    Refused,
    /// The address is in a domain that sends nothing for now.
    DomainDisabled,
}

impl Directory<'_> {
    /// Says whose an address is that somebody sends with.
    pub fn owner(&self, address: &Address) -> Result<Owner, EngineError> {
        Ok(self.owner_and_state(address)?.map_or(Owner::NotOurs, |(owner, _)| owner))
    }

    /// Says whether `account` may send with `address` in MAIL FROM or From (product 2.3).
    pub fn may_send_as(&self, account: AccountId, address: &Address) -> Result<SenderVerdict, EngineError> {
        let Some((owner, state)) = self.owner_and_state(address)? else { return Ok(SenderVerdict::Refused) };
        let allowed = match owner {
            Owner::Account(owner) => owner == account,
            Owner::Alias { address, settings } => {
                settings.allow_msg_from && self.is_member(&address, account)?
            }
            Owner::NotOurs | Owner::Nobody | Owner::Refused(_) => false,
        };
        // Whether a domain is disabled is told to those alone who could send from it.
        Ok(match (allowed, state) {
            (false, _) => SenderVerdict::Refused,
            (true, DomainState::Disabled) => SenderVerdict::DomainDisabled,
            (true, DomainState::Enabled) => SenderVerdict::Allowed,
        })
    }

    /// The accounts that are members of an alias, as its canonical address names it: at most `count`, each once, in the order of
    /// their ids.
    pub fn senders(&self, alias: &Address, count: usize) -> Result<Vec<AccountId>, EngineError> {
        let prefix = rows::members(&place(alias));
        let mut accounts = Vec::new();
        for row in self.snapshot.prefix(Space::Rows, &prefix) {
            if accounts.len() == count {
                break;
            }
            let (key, _) = row?;
            let (account, _) =
                key.get(prefix.len()..).and_then(rows::account_and_place).ok_or_else(|| damaged(&key))?;
            // Addresses of one account lie side by side.
            if accounts.last() != Some(&account) {
                accounts.push(account);
            }
        }
        Ok(accounts)
    }

    /// None for an address of a domain that is not ours.
    fn owner_and_state(&self, address: &Address) -> Result<Option<(Owner, DomainState)>, EngineError> {
        let Some(settings) = self.domain(&address.domain)? else { return Ok(None) };
        let owner = match self.find(address, &settings)? {
            None => Owner::Nobody,
            Some((_, AddressRow { target: Target::Account { account, .. }, .. })) => Owner::Account(account),
            Some((_, AddressRow { target: Target::Refused(code), .. })) => Owner::Refused(code),
            // Of a localpart that folding made too long, there can be no address.
            Some((place, AddressRow { target: Target::Alias(settings), .. })) => {
                exact(&place).map_or(Owner::Nobody, |address| Owner::Alias { address, settings })
            }
        };
        Ok(Some((owner, settings.state)))
    }

    fn is_member(&self, alias: &Address, account: AccountId) -> Result<bool, EngineError> {
        let prefix = rows::members_of_account(&place(alias), account);
        Ok(self.snapshot.prefix(Space::Rows, &prefix).next().transpose()?.is_some())
    }
}

/// Where the rows of a canonical address are.
fn place(address: &Address) -> Place {
    Place { domain: address.domain.clone(), localpart: address.localpart.as_str().to_owned() }
}
