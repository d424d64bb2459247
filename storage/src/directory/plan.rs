//! Turns changes into one batch of writes, or into an error that says what to do.
//!
//! Each change sees what those before it did. Nothing is written here: a plan that fails leaves no
//! trace, and one that succeeds is committed as one batch, if the directory did not change meanwhile.

use postrider_proto::address::{Address, Domain};
use postrider_proto::dkim::Selector;

use super::change::Change;
use super::destination::BadRule;
use super::draft::Draft;
use super::rows;
use super::types::{AccountName, AddressPattern, Fingerprint, Limits};
use super::write;
use crate::engine::{BATCH_OCTETS_MAX, Batch, EngineError, Snapshot};

/// Why changes cannot be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The store cannot be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is such a domain.
    #[error("domain {0} exists already")]
    DomainExists(Domain),
    /// There is no such domain.
    #[error("there is no domain {0}; add it first")]
    NoDomain(Domain),
    /// The domain has addresses or accounts.
    #[error("domain {domain} is still used, for example by {user}; remove what uses it first")]
    DomainInUse {
        /// The domain.
        domain: Domain,
        /// One that uses it.
        user: String,
    },
    /// There is such an account.
    #[error("account {0} exists already")]
    AccountExists(AccountName),
    /// There is no such account.
    #[error("there is no account {0}")]
    NoAccount(AccountName),
    /// The account has messages.
    #[error("account {0} holds mail; ask for its mail to be erased too, or keep the account")]
    AccountHoldsMail(AccountName),
    /// The account is the postmaster's.
    #[error("account {0} gets the mail for postmaster; name another one first")]
    AccountIsPostmaster(AccountName),
    /// The key logs in to an account already.
    #[error("TLS public key {fingerprint} belongs to account {account} already; remove it there first")]
    TlsKeyExists {
        /// The key.
        fingerprint: Fingerprint,
        /// Whose it is.
        account: AccountName,
    },
    /// The account has no such key.
    #[error("account {account} has no TLS public key {fingerprint}")]
    NoTlsKey {
        /// The account.
        account: AccountName,
        /// The key.
        fingerprint: Fingerprint,
    },
    /// The account has as many keys as it may have.
    #[error("account {account} has {keys_max} TLS public keys, which is the most; remove one first")]
    TooManyTlsKeys {
        /// The account.
        account: AccountName,
        /// How many are possible.
        keys_max: usize,
    },
    /// The domain has a key of that name.
    #[error(
        "domain {domain} has a DKIM key {selector} already; take another selector, so that the old record stays valid"
    )]
    DkimKeyExists {
        /// The domain.
        domain: Domain,
        /// The name.
        selector: Selector,
    },
    /// The domain has no such key.
    #[error("domain {domain} has no DKIM key {selector}")]
    NoDkimKey {
        /// The domain.
        domain: Domain,
        /// The name.
        selector: Selector,
    },
    /// The domain has as many keys as it may have.
    #[error("domain {domain} has {keys_max} DKIM keys, which is the most; remove one first")]
    TooManyDkimKeys {
        /// The domain.
        domain: Domain,
        /// How many are possible.
        keys_max: usize,
    },
    /// All account numbers were used.
    #[error("no more accounts can be added: all account numbers were used")]
    AccountsExhausted,
    /// Some address has the same canonical form.
    #[error("address {address} exists already, as {existing}")]
    AddressExists {
        /// What was to be added.
        address: AddressPattern,
        /// What is there.
        existing: AddressPattern,
    },
    /// There is no such address.
    #[error("there is no address {0}")]
    NoAddress(AddressPattern),
    /// The address is an alias, or answers with a code.
    #[error("address {0} does not belong to an account")]
    NotAnAccounts(AddressPattern),
    /// The localpart could never be looked up.
    #[error(
        "address {address} contains the separator {separator:?} of its domain; leave out the separator and what follows it"
    )]
    Separator {
        /// The address.
        address: AddressPattern,
        /// The separator.
        separator: String,
    },
    /// The address is a member of an alias.
    #[error("address {address} is a member of alias {alias}; remove it there first")]
    AddressIsMember {
        /// The address.
        address: AddressPattern,
        /// The alias.
        alias: String,
    },
    /// No code that makes sense.
    #[error("address {address} cannot answer {code}; possible are 421, 451 and 550")]
    RefusalCode {
        /// The address.
        address: AddressPattern,
        /// The code.
        code: u16,
    },
    /// There is no such alias.
    #[error("there is no alias {0}")]
    NoAlias(Address),
    /// Aliases lead to addresses of accounts here, not elsewhere.
    #[error("{member} cannot be a member of alias {alias}: members are addresses of accounts of this server")]
    MemberNotLocal {
        /// The alias.
        alias: Address,
        /// The would-be member.
        member: Address,
    },
    /// It is one already.
    #[error("{member} is a member of alias {alias} already")]
    MemberExists {
        /// The alias.
        alias: Address,
        /// The member.
        member: Address,
    },
    /// It is none.
    #[error("{member} is not a member of alias {alias}")]
    NoMember {
        /// The alias.
        alias: Address,
        /// Who is none.
        member: Address,
    },
    /// An alias needs members.
    #[error("alias {0} would have no members; add one, or remove the alias")]
    AliasEmpty(String),
    /// A value is out of its bounds.
    #[error("{what}: {problem}")]
    Value {
        /// Which value of which object.
        what: String,
        /// What is wrong, and what would do.
        problem: &'static str,
    },
    /// A rule that can't be.
    #[error("rule {number} of address {address}: {problem}")]
    Rule {
        /// The address.
        address: AddressPattern,
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        problem: BadRule,
    },
    /// More than fits one batch. A document that is applied has no such bound.
    #[error(
        "{changes} changes take {octets} octets, and one command changes {BATCH_OCTETS_MAX}; make them with \
         `directory apply`"
    )]
    TooMany {
        /// How many.
        changes: usize,
        /// What they take.
        octets: usize,
    },
}

/// Works out the writes for `changes`; `now` is in seconds since 1970. The caller commits them before
/// another plan is made on an older snapshot.
pub fn plan(
    snapshot: &dyn Snapshot,
    changes: &[Change],
    limits: &Limits,
    now: i64,
) -> Result<Batch, DirectoryError> {
    let mut draft = Draft::new(snapshot)?;
    for change in changes {
        apply(&mut draft, change, limits, now)?;
    }
    for alias in std::mem::take(&mut draft.thinned) {
        if draft.first(&rows::members(&alias))?.is_none() && draft.address(&alias)?.is_some() {
            return Err(DirectoryError::AliasEmpty(alias.to_string()));
        }
    }
    let batch = draft.into_batch()?;
    match batch.check() {
        Ok(()) => Ok(batch),
        Err(EngineError::Bounds { .. }) => {
            Err(DirectoryError::TooMany { changes: changes.len(), octets: batch.octets() })
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn apply(
    draft: &mut Draft<'_>,
    change: &Change,
    limits: &Limits,
    now: i64,
) -> Result<(), DirectoryError> {
    match change {
        Change::AddDomain { domain, settings } => write::domain::add(draft, domain, settings, limits),
        Change::SetDomain { domain, settings } => write::domain::set(draft, domain, settings, limits),
        Change::RemoveDomain(domain) => write::domain::remove(draft, domain),
        Change::AddDkimKey { domain, selector, secret, state } => {
            write::dkim_key::add(draft, (domain, selector), secret, *state, limits, now)
        }
        Change::SetDkimKey { domain, selector, state } => {
            write::dkim_key::set(draft, domain, selector, *state)
        }
        Change::RemoveDkimKey { domain, selector } => write::dkim_key::remove(draft, domain, selector),
        Change::AddAccount { name, settings } => write::account::add(draft, name, settings, limits, now),
        Change::SetAccount { name, settings } => write::account::set(draft, name, settings, limits),
        Change::RemoveAccount { name, mail } => write::account::remove(draft, name, *mail),
        Change::SetSecrets { account, secrets } => {
            write::account::set_secrets(draft, account, secrets.as_ref())
        }
        Change::AddTlsKey { account, fingerprint, name } => {
            write::tls_key::add(draft, account, fingerprint, name, limits, now)
        }
        Change::RemoveTlsKey { account, fingerprint } => write::tls_key::remove(draft, account, fingerprint),
        Change::AddAddress { address, account, mailbox } => {
            write::address::add(draft, address, account, mailbox)
        }
        Change::SetAddress { address, mailbox } => write::address::set(draft, address, mailbox),
        Change::SetDestination { address, destination } => {
            write::address::set_destination(draft, address, destination, limits)
        }
        Change::AddRefusal { address, code } => write::address::add_refusal(draft, address, *code),
        Change::RemoveAddress(address) => write::address::remove(draft, address),
        Change::AddAlias { alias, settings, members } => {
            write::alias::add(draft, alias, *settings, members, limits)
        }
        Change::SetAlias { alias, settings } => write::alias::set(draft, alias, *settings),
        Change::RemoveAlias(alias) => write::alias::remove(draft, alias),
        Change::AddMember { alias, member } => write::alias::add_members(draft, alias, &[member], limits),
        Change::RemoveMember { alias, member } => write::alias::remove_member(draft, alias, member),
        Change::SetPostmaster(postmaster) => write::account::set_postmaster(draft, postmaster.as_ref()),
    }
}
