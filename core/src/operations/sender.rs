//! Who would send a message of which operators ask: whose routes count for it.

use postrider_proto::address::{Address, Domain};
use postrider_storage::directory::{Account, AccountName, Directory, Owner, SenderVerdict};
use postrider_storage::ids::AccountId;

use super::{edit, failure, internal};
use crate::control::OperationError;
use crate::control::protocol::DeliverySender;

/// Whose message it would be.
pub(super) struct Sender {
    from: From,
    account: Option<AccountName>,
}

enum From {
    /// Nobody is named.
    Anybody,
    /// A report has none.
    Null,
    /// This one.
    Address(Address),
}

/// What the directory says of a sender.
pub(super) struct Found {
    pub(super) kind: DeliverySender,
    /// The account whose routes count.
    pub(super) account: Option<Account>,
    /// One of several that may send, whose routes may differ.
    pub(super) one_of: Option<AccountId>,
}

impl Sender {
    /// Takes an address, or the empty one, and the account that sends with it.
    pub(super) fn parse(from: Option<&str>, account: Option<&str>) -> Result<Self, OperationError> {
        let from = match from {
            None if account.is_some() => {
                let message = "an account is named, and no sender. Name one too (--from): routes may be for certain senders";
                return Err(failure::invalid(message));
            }
            None => From::Anybody,
            Some("" | "<>") => From::Null,
            Some(text) => From::Address(failure::address(text)?),
        };
        Ok(Self { from, account: account.map(failure::account).transpose()? })
    }

    pub(super) fn domain(&self) -> Option<Domain> {
        match &self.from {
            From::Address(address) => Some(address.domain.clone()),
            From::Anybody | From::Null => None,
        }
    }

    /// Whether nobody is named, so that routes for certain senders don't count.
    pub(super) fn is_anybody(&self) -> bool {
        matches!(self.from, From::Anybody)
    }

    /// Finds out who may send with the address, and the account whose routes count: that one which is named, or else the only
    /// one that may. Also in a domain that is disabled.
    pub(super) fn find(&self, directory: &Directory<'_>) -> Result<Found, OperationError> {
        let named = self.account.as_ref().map(|name| edit::find(directory, name)).transpose()?;
        let From::Address(address) = &self.from else {
            let kind = if self.is_anybody() { DeliverySender::Anybody } else { DeliverySender::Null };
            return Ok(Found { kind, account: named, one_of: None });
        };
        if let Some(account) = &named
            && directory.may_send_as(account.id, address).map_err(internal)? == SenderVerdict::Refused
        {
            return Err(failure::invalid(format!(
                "the account {0} may not send with {address}. Leave out --account to hear who may; `postrider address list {0}` \
                 lists the addresses of {0}",
                account.name
            )));
        }
        let (kind, those) = match directory.owner(address).map_err(internal)? {
            Owner::NotOurs => (DeliverySender::NotOurs, Vec::new()),
            Owner::Nobody => (DeliverySender::Unknown, Vec::new()),
            Owner::Refused(code) => (DeliverySender::Refused { code }, Vec::new()),
            Owner::Account(account) => (DeliverySender::Account, vec![account]),
            Owner::Alias { settings, .. } if !settings.allow_msg_from => {
                (DeliverySender::ClosedAlias, Vec::new())
            }
            Owner::Alias { address, .. } => {
                let most = DeliverySender::ACCOUNTS_MAX;
                let mut those = directory.senders(&address, most + 1).map_err(internal)?;
                let more = those.len() > most;
                those.truncate(most);
                let names = those.iter().map(|account| Ok(the(directory, *account)?.name.to_string()));
                let accounts = names.collect::<Result<_, OperationError>>()?;
                (DeliverySender::Alias { accounts, more }, those)
            }
        };
        let account = match (named, &*those) {
            (None, [only]) => Some(the(directory, *only)?),
            (named, _) => named,
        };
        let one_of = if account.is_none() { those.first().copied() } else { None };
        Ok(Found { kind, account, one_of })
    }
}

/// An account that others name.
fn the(directory: &Directory<'_>, account: AccountId) -> Result<Account, OperationError> {
    let found = directory.account(account).map_err(internal)?;
    found.ok_or_else(|| internal(format!("the directory names account {account:?} and doesn't have it")))
}
