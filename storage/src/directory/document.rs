//! The whole directory as a text for people (TOML), read and written without loss.
//!
//! ```toml
//! version = 1
//! postmaster = { account = "fred", mailbox = "Inbox" }
//!
//! [domain."example.org"]
//! separators = ["+"]            # also: disabled, case_sensitive, description
//!
//! [account.fred]
//! domain = "example.org"        # also: full_name, quota, quota_messages, login_disabled, disabled_mechanisms
//! credentials = ["SCRAM-SHA-256$..."]   # or password = "...", or neither: stays as it is
//! addresses = ["fred@example.org", { address = "@example.org", mailbox = "Rest" }]
//! tls_public_keys = [{ fingerprint = "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ", name = "laptop" }]
//!
//! [refusal]
//! "spam@example.org" = 550
//!
//! [alias."team@example.org"]
//! members = ["fred@example.org"]        # also: post_public, list_members, allow_msg_from
//! ```

mod parse;
mod print;

use std::collections::BTreeMap;

use postrider_proto::address::{Address, Domain};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::Secret;
use postrider_proto::sasl::secrets::StoredSecrets;

use super::lookup::Directory;
use super::types::{
    AccountName, AccountSettings, AddressPattern, AliasSettings, DomainSettings, Fingerprint, Target,
};
use crate::engine::{EngineError, Snapshot};

/// The version of the text's form.
pub(super) const VERSION: i64 = 1;
/// Rows that are read at a time.
const PAGE: usize = 1024;

/// A whole directory.
#[derive(Clone, Default, Debug)]
pub struct Document {
    /// Who gets the mail for `postmaster`.
    pub postmaster: Option<(AccountName, MailboxName)>,
    /// The domains.
    pub domains: BTreeMap<Domain, DomainSettings>,
    /// The accounts.
    pub accounts: BTreeMap<AccountName, AccountEntry>,
    /// Addresses that answer with a code.
    pub refusals: BTreeMap<AddressPattern, u16>,
    /// The aliases.
    pub aliases: BTreeMap<Address, AliasEntry>,
}

/// An account in a document.
#[derive(Clone, Debug)]
pub struct AccountEntry {
    /// What is set for it.
    pub settings: AccountSettings,
    /// How it logs in.
    pub credential: Credential,
    /// Its addresses with their mailboxes.
    pub addresses: BTreeMap<AddressPattern, MailboxName>,
    /// The public keys of TLS that log in to it, with their names.
    pub tls_keys: BTreeMap<Fingerprint, String>,
}

/// How a document says that an account logs in.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nothing said: as it is, or, for a new account, not at all.
    Unsaid,
    /// Not at all.
    Nothing,
    /// With the password of these verifiers.
    Verifiers(Box<StoredSecrets>),
    /// With this password, in clear.
    Password(Secret<String>),
}

/// An alias in a document.
#[derive(Clone, Debug)]
pub struct AliasEntry {
    /// What is set for it.
    pub settings: AliasSettings,
    /// Its members, sorted.
    pub members: Vec<Address>,
}

/// One thing that is wrong in a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The line, from 1; 0 where none can be told.
    pub line: usize,
    /// What is wrong there, and what would do.
    pub problem: String,
}

/// Why a text is no directory: everything that is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DocumentError(pub Vec<Fault>);

impl std::fmt::Display for DocumentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}line {}: {}", fault.line, fault.problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for DocumentError {}

impl Document {
    /// Reads the directory of a snapshot.
    pub fn export(snapshot: &dyn Snapshot) -> Result<Self, EngineError> {
        let directory = Directory::new(snapshot);
        let mut document = Self::default();
        let mut after = None;
        loop {
            let page = directory.domains(after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            document.domains.extend(page);
        }
        let mut after = None;
        loop {
            let page = directory.accounts(after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for account in page {
                let credential = match directory.secrets(account.id)? {
                    Some(secrets) => Credential::Verifiers(Box::new(secrets)),
                    None => Credential::Nothing,
                };
                let keys = directory.tls_keys(account.id)?;
                let mut entry = AccountEntry {
                    settings: account.settings,
                    credential,
                    addresses: BTreeMap::new(),
                    tls_keys: keys.into_iter().map(|key| (key.fingerprint, key.name)).collect(),
                };
                for (address, target) in directory.addresses(account.id)? {
                    if let Target::Account { mailbox, .. } = target {
                        entry.addresses.insert(address, mailbox);
                    }
                }
                document.accounts.insert(account.name, entry);
            }
        }
        document.export_others(&directory)?;
        if let Some(postmaster) = directory.status()?.postmaster
            && let Some(account) = directory.account(postmaster.account)?
        {
            document.postmaster = Some((account.name, postmaster.mailbox));
        }
        Ok(document)
    }

    /// Reads aliases and refusals, which belong to no account.
    fn export_others(&mut self, directory: &Directory<'_>) -> Result<(), EngineError> {
        for domain in self.domains.keys() {
            let mut after: Option<String> = None;
            loop {
                let page = directory.domain_addresses(domain, after.as_deref(), PAGE)?;
                let Some((last, _, _)) = page.last() else { break };
                after = Some(last.clone());
                for (_, pattern, target) in page {
                    match (target, pattern) {
                        (Target::Refused(code), pattern) => {
                            self.refusals.insert(pattern, code);
                        }
                        (Target::Alias(settings), AddressPattern::Exact(alias)) => {
                            let members = directory.members(&alias)?;
                            let mut members: Vec<_> = members.into_iter().map(|(_, member)| member).collect();
                            members.sort();
                            self.aliases.insert(alias, AliasEntry { settings, members });
                        }
                        (Target::Alias(_), AddressPattern::CatchAll(_)) | (Target::Account { .. }, _) => {}
                    }
                }
            }
        }
        Ok(())
    }
}
