//! What can be changed in the directory, as values that can be listed before they are applied.

use std::fmt;

use postrider_proto::address::{Address, Domain};
use postrider_proto::dkim::Selector;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::secrets::StoredSecrets;

use super::destination::Destination;
use super::types::{
    AccountName, AccountSettings, AddressPattern, AliasSettings, DkimSecret, DkimState, DomainSettings,
    Fingerprint,
};

/// What happens when an account is to be removed that holds mail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeldMail {
    /// Nothing is changed, and an error says so.
    Keep,
    /// The mail is erased with it.
    Erase,
}

/// One change. Objects are named as operators name them.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Adds a domain.
    AddDomain {
        /// Its name.
        domain: Domain,
        /// What is set for it.
        settings: DomainSettings,
    },
    /// Replaces what is set for a domain. Its addresses must be possible under the new settings.
    SetDomain {
        /// Its name.
        domain: Domain,
        /// What is set for it.
        settings: DomainSettings,
    },
    /// Removes a domain that has no addresses and no accounts.
    RemoveDomain(Domain),
    /// Gives a domain a key that signs its mail.
    AddDkimKey {
        /// The domain.
        domain: Domain,
        /// The key's name there.
        selector: Selector,
        /// The key.
        secret: DkimSecret,
        /// Whether it signs from now on.
        state: DkimState,
    },
    /// Says whether a key signs.
    SetDkimKey {
        /// The domain.
        domain: Domain,
        /// The key's name there.
        selector: Selector,
        /// Whether it signs from now on.
        state: DkimState,
    },
    /// Removes a key of a domain.
    RemoveDkimKey {
        /// The domain.
        domain: Domain,
        /// The key's name there.
        selector: Selector,
    },
    /// Adds an account, which gets a number that was never used.
    AddAccount {
        /// Its name.
        name: AccountName,
        /// What is set for it.
        settings: AccountSettings,
    },
    /// Replaces what is set for an account.
    SetAccount {
        /// Its name.
        name: AccountName,
        /// What is set for it.
        settings: AccountSettings,
    },
    /// Removes an account with its addresses and credentials, and leaves a to-do to erase its rows.
    RemoveAccount {
        /// Its name.
        name: AccountName,
        /// What happens when it holds mail.
        mail: HeldMail,
    },
    /// Replaces an account's credentials; none takes them away.
    SetSecrets {
        /// The account.
        account: AccountName,
        /// What was derived from the password.
        secrets: Option<StoredSecrets>,
    },
    /// Lets a public key log in to an account.
    AddTlsKey {
        /// The account.
        account: AccountName,
        /// The key.
        fingerprint: Fingerprint,
        /// What its owner calls it.
        name: String,
    },
    /// Takes a public key away from an account.
    RemoveTlsKey {
        /// The account.
        account: AccountName,
        /// The key.
        fingerprint: Fingerprint,
    },
    /// Gives an account an address or a catch-all.
    AddAddress {
        /// The address.
        address: AddressPattern,
        /// The account.
        account: AccountName,
        /// Where it wants the mail.
        mailbox: MailboxName,
    },
    /// Changes the mailbox of an account's address.
    SetAddress {
        /// The address.
        address: AddressPattern,
        /// Where its account wants the mail.
        mailbox: MailboxName,
    },
    /// Replaces what else is set for an account's address: rules, and whether mail must be authenticated.
    SetDestination {
        /// The address.
        address: AddressPattern,
        /// What is set for it.
        destination: Destination,
    },
    /// Adds an address that answers with an SMTP code: 421 (sent as 451), 451 or 550.
    AddRefusal {
        /// The address.
        address: AddressPattern,
        /// The code.
        code: u16,
    },
    /// Removes an account's address, or one that answers with a code.
    RemoveAddress(AddressPattern),
    /// Adds an alias.
    AddAlias {
        /// Its address.
        alias: Address,
        /// What is set for it.
        settings: AliasSettings,
        /// Addresses of accounts; at least one.
        members: Vec<Address>,
    },
    /// Replaces what is set for an alias.
    SetAlias {
        /// Its address.
        alias: Address,
        /// What is set for it.
        settings: AliasSettings,
    },
    /// Removes an alias.
    RemoveAlias(Address),
    /// Adds a member to an alias.
    AddMember {
        /// The alias.
        alias: Address,
        /// An address of an account.
        member: Address,
    },
    /// Takes a member out of an alias, which needs to have another one in the end.
    RemoveMember {
        /// The alias.
        alias: Address,
        /// The member.
        member: Address,
    },
    /// Says who gets the mail for `postmaster`.
    SetPostmaster(Option<(AccountName, MailboxName)>),
}

impl fmt::Display for Change {
    /// A line for the operator, with `+`, `~` or `-` in front.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddDomain { domain, .. } => write!(f, "+ domain {domain}"),
            Self::SetDomain { domain, .. } => write!(f, "~ domain {domain}"),
            Self::RemoveDomain(domain) => write!(f, "- domain {domain}"),
            Self::AddDkimKey { domain, selector, secret, state } => {
                let kind = secret.kind().word();
                write!(f, "+ DKIM key {selector} ({kind}) of domain {domain}, which {}", does(*state))
            }
            Self::SetDkimKey { domain, selector, state } => {
                write!(f, "~ DKIM key {selector} of domain {domain} {}", does(*state))
            }
            Self::RemoveDkimKey { domain, selector } => {
                write!(f, "- DKIM key {selector} of domain {domain}")
            }
            Self::AddAccount { name, .. } => write!(f, "+ account {name}"),
            Self::SetAccount { name, .. } => write!(f, "~ account {name}"),
            Self::RemoveAccount { name, .. } => write!(f, "- account {name}, with its addresses"),
            Self::SetSecrets { account, secrets: Some(_) } => write!(f, "~ password of account {account}"),
            Self::SetSecrets { account, secrets: None } => write!(f, "- password of account {account}"),
            Self::AddTlsKey { account, fingerprint, .. } => {
                write!(f, "+ TLS public key {fingerprint} of account {account}")
            }
            Self::RemoveTlsKey { account, fingerprint } => {
                write!(f, "- TLS public key {fingerprint} of account {account}")
            }
            Self::AddAddress { address, account, mailbox } => {
                write!(f, "+ address {address} to account {account}, mailbox {mailbox}")
            }
            Self::SetAddress { address, mailbox } => write!(f, "~ address {address} to mailbox {mailbox}"),
            Self::SetDestination { address, .. } => write!(f, "~ settings of address {address}"),
            Self::AddRefusal { address, code } => write!(f, "+ address {address}, answering {code}"),
            Self::RemoveAddress(address) => write!(f, "- address {address}"),
            Self::AddAlias { alias, members, .. } => {
                write!(f, "+ alias {alias} with {} members", members.len())
            }
            Self::SetAlias { alias, .. } => write!(f, "~ alias {alias}"),
            Self::RemoveAlias(alias) => write!(f, "- alias {alias}"),
            Self::AddMember { alias, member } => write!(f, "+ member {member} of alias {alias}"),
            Self::RemoveMember { alias, member } => write!(f, "- member {member} of alias {alias}"),
            Self::SetPostmaster(Some((account, mailbox))) => {
                write!(f, "~ postmaster to account {account}, mailbox {mailbox}")
            }
            Self::SetPostmaster(None) => f.write_str("- postmaster"),
        }
    }
}

const fn does(state: DkimState) -> &'static str {
    match state {
        DkimState::Signs => "signs",
        DkimState::Published => "is published only",
    }
}
