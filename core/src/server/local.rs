//! The account of a local instance.

use std::num::NonZeroU32;

use postrider_proto::address::{Address, Domain};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::secrets::{Derivation, SALT_OCTETS, StoredSecrets};
use postrider_storage::account::{Account, Initial, Limits};
use postrider_storage::directory::{
    self, AccountName, AccountSettings, AddressPattern, Change, Directory, DomainSettings,
};
use postrider_storage::engine::Durability;
use ring::rand::{SecureRandom, SystemRandom};

use super::{Opened, ServeError};
use crate::clock::unix_now;
use crate::config::{self, Config};

/// Makes the account `user@localhost` with its well-known password, unless it is there.
pub fn make_account(config: &Config, opened: &Opened) -> Result<(), ServeError> {
    make(config, opened).map_err(|error| ServeError::Local(error.to_string()))
}

fn make(config: &Config, opened: &Opened) -> Result<(), Box<dyn std::error::Error>> {
    let name = AccountName::new(config::ACCOUNT)?;
    let reader = opened.store.reader();
    if Directory::new(reader.snapshot()).account_by_name(&name)?.is_some() {
        return Ok(());
    }
    let domain = Domain::parse(config.hostname.as_str())?;
    let (mut salt_sha_256, mut salt_sha_1) = ([0; SALT_OCTETS], [0; SALT_OCTETS]);
    let random = SystemRandom::new();
    random
        .fill(&mut salt_sha_256)
        .and_then(|()| random.fill(&mut salt_sha_1))
        .map_err(|_| "no randomness")?;
    let derivation = Derivation { iterations: config.passwords.iterations, salt_sha_256, salt_sha_1 };
    let changes = [
        Change::AddDomain { domain: domain.clone(), settings: DomainSettings::default() },
        Change::AddAccount { name: name.clone(), settings: AccountSettings::new(domain.clone()) },
        Change::AddAddress {
            address: AddressPattern::Exact(Address::parse(config::ADDRESS)?),
            account: name.clone(),
            mailbox: MailboxName::inbox(),
        },
        Change::AddAddress {
            address: AddressPattern::CatchAll(domain),
            account: name.clone(),
            mailbox: MailboxName::inbox(),
        },
        Change::SetSecrets {
            account: name.clone(),
            secrets: Some(StoredSecrets::derive(config::PASSWORD, &derivation)),
        },
        Change::SetPostmaster(Some((name.clone(), MailboxName::inbox()))),
    ];
    let now = unix_now();
    let mut batch = directory::plan(reader.snapshot(), &changes, &directory::Limits::DEFAULT, now)?;
    let added = directory::added_accounts(&batch)?;
    let id = *added.first().ok_or("the plan has no account")?;
    let account = Account::load(&reader, id, Limits::default())?;
    let mut rows = account.begin(&reader);
    let validity = u32::try_from(now).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let ((), _) = rows.transact(now, |tx| tx.create_account(&Initial::usual(validity)))?;
    let (rows, _) = rows.finish();
    // One commit: there is never an account without its inbox.
    batch.append(rows);
    opened.committer.commit_blocking(batch, Durability::Synced)?;
    Ok(())
}
