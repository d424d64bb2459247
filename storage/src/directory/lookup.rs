//! Reading the directory: whose address this is, who may log in, who may send as whom.
//!
//! All of these are point reads, at most four for a recipient; lists are pages of a range.

use std::ops::Bound;

use postrider_proto::address::{Address, Domain, Localpart};
use postrider_proto::dkim::Selector;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::Login;
use postrider_proto::sasl::secrets::StoredSecrets;

use super::destination::Destination;
use super::rows::{self, AddressRow, BadRow, DkimKeyRow, Place, StateRow, TlsKeyRow};
use super::types::{
    Account, AccountName, AddressPattern, AliasSettings, DkimKey, DomainSettings, DomainState, Fingerprint,
    Postmaster, Target, TlsKey, is_postmaster,
};
use crate::engine::{EngineError, Snapshot, Space};
use crate::ids::AccountId;

/// The directory as of one snapshot.
#[derive(Clone, Copy)]
pub struct Directory<'a> {
    pub(super) snapshot: &'a dyn Snapshot,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug)]
pub enum Recipient<'a> {
    /// `<postmaster>` without a domain (RFC 5321 §4.5.1).
    Postmaster,
    /// An address.
    Address(&'a Address),
}

/// What a recipient turned out to be (product 8.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// The domain is not ours.
    NotLocal,
    /// The domain is ours and takes no mail for now.
    DomainDisabled,
    /// The domain is ours, and has no such address.
    Unknown,
    /// An account's.
    Account {
        /// The account.
        account: AccountId,
        /// Where it wants the mail.
        mailbox: MailboxName,
        /// The address without what a separator cut off.
        address: Address,
        /// What else is set for it.
        destination: Destination,
    },
    /// An alias; [`Directory::members`] says for whom.
    Alias {
        /// The alias.
        address: Address,
        /// What is set for it.
        settings: AliasSettings,
    },
    /// An address that answers with this SMTP code.
    Refused(u16),
}

/// Who wants to log in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoginAnswer {
    /// An account.
    Account {
        /// The account.
        account: Box<Account>,
        /// Its credentials, if it has any.
        secrets: Option<Box<StoredSecrets>>,
        /// For what its credentials lack; see `Unknown`.
        dummy_login: String,
    },
    /// Nobody.
    Unknown {
        /// What to derive the dummy's secrets from: the same for all spellings that would have been
        /// the same account.
        dummy_login: String,
    },
}

/// Counts and the postmaster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryStatus {
    /// Accounts.
    pub accounts: u32,
    /// Domains.
    pub domains: u32,
    /// Addresses, aliases among them.
    pub addresses: u32,
    /// Who gets the mail for `postmaster`.
    pub postmaster: Option<Postmaster>,
}

impl<'a> Directory<'a> {
    /// The directory that `snapshot` shows.
    pub const fn new(snapshot: &'a dyn Snapshot) -> Self {
        Self { snapshot }
    }

    /// Counts and the postmaster.
    pub fn status(&self) -> Result<DirectoryStatus, EngineError> {
        let StateRow { accounts, domains, addresses, postmaster, .. } = self.state()?;
        Ok(DirectoryStatus { accounts, domains, addresses, postmaster })
    }

    /// Finds out whose a recipient is (product 8.5). `hostnames` are the server's own, whose
    /// `postmaster` is the server's.
    pub fn resolve(&self, recipient: Recipient<'_>, hostnames: &[Domain]) -> Result<Resolution, EngineError> {
        let Recipient::Address(address) = recipient else {
            let Some(hostname) = hostnames.first() else { return Ok(Resolution::Unknown) };
            return Ok(self.postmaster(hostname)?.unwrap_or(Resolution::Unknown));
        };
        let for_postmaster = is_postmaster(address.localpart.as_str());
        if for_postmaster
            && hostnames.contains(&address.domain)
            && let Some(resolution) = self.postmaster(&address.domain)?
        {
            return Ok(resolution);
        }
        let Some(settings) = self.domain(&address.domain)? else { return Ok(Resolution::NotLocal) };
        if settings.state == DomainState::Disabled {
            return Ok(Resolution::DomainDisabled);
        }
        if let Some((place, row)) = self.find(address, &settings)? {
            return Ok(resolution(&place, row));
        }
        let fallback = if for_postmaster { self.postmaster(&address.domain)? } else { None };
        Ok(fallback.unwrap_or(Resolution::Unknown))
    }

    /// Finds the account that `login` names: by an address of its own or its catch-all, with or
    /// without what follows a separator; never by an alias. Disabled domains still log in.
    pub fn login(&self, login: &Login) -> Result<LoginAnswer, EngineError> {
        let folded = || login.as_str().to_lowercase();
        let Ok(address) = Address::parse(login.as_str()) else {
            return Ok(LoginAnswer::Unknown { dummy_login: folded() });
        };
        let Some(settings) = self.domain(&address.domain)? else {
            return Ok(LoginAnswer::Unknown { dummy_login: folded() });
        };
        let canonical = settings.canonical(address.localpart.as_str());
        let dummy_login = format!("{canonical}@{}", address.domain);
        let Some((_, AddressRow { target: Target::Account { account, .. }, .. })) =
            self.find(&address, &settings)?
        else {
            return Ok(LoginAnswer::Unknown { dummy_login });
        };
        let secrets = self.secrets(account)?.map(Box::new);
        let account = self.account(account)?.ok_or_else(|| damaged(&rows::account(account)))?;
        Ok(LoginAnswer::Account { account: Box::new(account), secrets, dummy_login })
    }

    /// A domain's settings.
    pub fn domain(&self, domain: &Domain) -> Result<Option<DomainSettings>, EngineError> {
        let key = rows::domain(domain);
        self.row(&key, rows::decode_domain)
    }

    /// An account.
    pub fn account(&self, account: AccountId) -> Result<Option<Account>, EngineError> {
        self.row(&rows::account(account), rows::decode_account)
    }

    /// The account of that name.
    pub fn account_by_name(&self, name: &AccountName) -> Result<Option<Account>, EngineError> {
        match self.row(&rows::account_name(name), rows::decode_account_id)? {
            Some(account) => self.account(account),
            None => Ok(None),
        }
    }

    /// An account's credentials.
    pub fn secrets(&self, account: AccountId) -> Result<Option<StoredSecrets>, EngineError> {
        self.row(&rows::credential(account), |key, value| {
            StoredSecrets::decode(value).map_err(|_| BadRow { key: key.to_vec() })
        })
    }

    /// The account that a public key of TLS logs in to.
    pub fn account_of_tls_key(&self, fingerprint: &Fingerprint) -> Result<Option<Account>, EngineError> {
        match self.row(&rows::tls_key(fingerprint), TlsKeyRow::decode)? {
            Some(row) => {
                Ok(Some(self.account(row.account)?.ok_or_else(|| damaged(&rows::account(row.account)))?))
            }
            None => Ok(None),
        }
    }

    /// All public keys of TLS of an account, in the order of their fingerprints.
    pub fn tls_keys(&self, account: AccountId) -> Result<Vec<TlsKey>, EngineError> {
        let prefix = rows::account_tls_keys(account);
        let mut keys = Vec::new();
        for row in self.snapshot.prefix(Space::Rows, &prefix) {
            let (key, _) = row?;
            let fingerprint =
                key.get(prefix.len()..).and_then(rows::fingerprint).ok_or_else(|| damaged(&key))?;
            let row = self.row(&rows::tls_key(&fingerprint), TlsKeyRow::decode)?;
            let row = row.ok_or_else(|| damaged(&key))?;
            keys.push(TlsKey { fingerprint, name: row.name, created: row.created });
        }
        Ok(keys)
    }

    /// Whether any account has a public key of TLS.
    pub fn has_tls_keys(&self) -> Result<bool, EngineError> {
        let first = self.snapshot.prefix(Space::Rows, &rows::table(rows::TLS_KEY)).next();
        Ok(first.transpose()?.is_some())
    }

    /// All DKIM keys of a domain, in the order of their selectors.
    pub fn dkim_keys(&self, domain: &Domain) -> Result<Vec<DkimKey>, EngineError> {
        let mut keys = Vec::new();
        for row in self.snapshot.prefix(Space::Rows, &rows::dkim_keys(domain)) {
            let (key, value) = row?;
            let name = key.get(rows::PREFIX_OCTETS..).and_then(rows::domain_and_selector);
            let (_, selector) = name.ok_or_else(|| damaged(&key))?;
            keys.push(DkimKeyRow::decode(&key, &value).map_err(corrupt)?.into_key(selector));
        }
        Ok(keys)
    }

    /// A DKIM key of a domain.
    pub fn dkim_key(&self, domain: &Domain, selector: &Selector) -> Result<Option<DkimKey>, EngineError> {
        let row = self.row(&rows::dkim_key(domain, selector), DkimKeyRow::decode)?;
        Ok(row.map(|row| row.into_key(selector.clone())))
    }

    /// At most `count` accounts in the order of their ids, beginning after `after`.
    pub fn accounts(&self, after: Option<AccountId>, count: usize) -> Result<Vec<Account>, EngineError> {
        let start = match after {
            Some(account) => rows::account(account),
            None => rows::table(rows::ACCOUNT),
        };
        self.page(&start, &rows::table(rows::ACCOUNT + 1), count, rows::decode_account)
    }

    /// At most `count` domains in order, beginning after `after`.
    pub fn domains(
        &self,
        after: Option<&Domain>,
        count: usize,
    ) -> Result<Vec<(Domain, DomainSettings)>, EngineError> {
        let start = match after {
            Some(domain) => rows::domain(domain),
            None => rows::table(rows::DOMAIN),
        };
        self.page(&start, &rows::table(rows::DOMAIN + 1), count, |key, value| {
            let name = key.get(rows::PREFIX_OCTETS..).and_then(|name| str::from_utf8(name).ok());
            let domain = name.and_then(|name| Domain::parse(name).ok());
            let domain = domain.ok_or_else(|| BadRow { key: key.to_vec() })?;
            Ok((domain, rows::decode_domain(key, value)?))
        })
    }

    /// All addresses of an account, as written when they were added, with their targets.
    pub fn addresses(&self, account: AccountId) -> Result<Vec<(AddressPattern, Target)>, EngineError> {
        let mut found = Vec::new();
        for row in self.snapshot.prefix(Space::Rows, &rows::account_addresses(account)) {
            let (key, _) = row?;
            let (_, place) = key
                .get(rows::PREFIX_OCTETS..)
                .and_then(rows::account_and_place)
                .ok_or_else(|| damaged(&key))?;
            let address_key = rows::address(&place);
            let row = self.row(&address_key, AddressRow::decode)?.ok_or_else(|| damaged(&address_key))?;
            let pattern = AddressPattern::of(&place.domain, &row.spelling);
            found.push((pattern.map_err(|_| damaged(&address_key))?, row.target));
        }
        Ok(found)
    }

    /// At most `count` addresses of a domain in the order of their canonical localparts, beginning
    /// after the canonical localpart `after`: that, how it was written, and where it leads.
    pub fn domain_addresses(
        &self,
        domain: &Domain,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<(String, AddressPattern, Target)>, EngineError> {
        let prefix = rows::addresses(domain);
        let mut found = Vec::new();
        let start = match after {
            Some(localpart) => {
                let place = Place { domain: domain.clone(), localpart: localpart.to_owned() };
                Bound::Excluded(rows::address(&place))
            }
            None => Bound::Included(prefix.clone()),
        };
        // The octet 0 that ends the prefix makes 1 the first octet beyond it.
        let mut end = prefix.clone();
        end.pop();
        end.push(1);
        let range = self.snapshot.range(
            Space::Rows,
            start.as_ref().map(Vec::as_slice),
            Bound::Excluded(end.as_slice()),
        );
        for row in range.take(count) {
            let (key, value) = row?;
            let row = AddressRow::decode(&key, &value).map_err(corrupt)?;
            let localpart = key.get(prefix.len()..).and_then(|part| str::from_utf8(part).ok());
            let localpart = localpart.ok_or_else(|| damaged(&key))?.to_owned();
            let pattern = AddressPattern::of(domain, &row.spelling).map_err(|_| damaged(&key))?;
            found.push((localpart, pattern, row.target));
        }
        Ok(found)
    }

    /// The members of an alias, as its canonical address names it: each address with its account.
    pub fn members(&self, alias: &Address) -> Result<Vec<(AccountId, Address)>, EngineError> {
        self.some_members(alias, usize::MAX)
    }

    /// At most `count` of them.
    pub fn some_members(
        &self,
        alias: &Address,
        count: usize,
    ) -> Result<Vec<(AccountId, Address)>, EngineError> {
        let Some(settings) = self.domain(&alias.domain)? else { return Ok(Vec::new()) };
        let place =
            Place { domain: alias.domain.clone(), localpart: settings.fold(alias.localpart.as_str()) };
        let prefix = rows::members(&place);
        let mut members = Vec::new();
        for row in self.snapshot.prefix(Space::Rows, &prefix).take(count) {
            let (key, _) = row?;
            let (account, member) =
                key.get(prefix.len()..).and_then(rows::account_and_place).ok_or_else(|| damaged(&key))?;
            members.push((account, exact(&member).ok_or_else(|| damaged(&key))?));
        }
        Ok(members)
    }

    /// Where mail to an address goes that is set for an account, such as a member of an alias as [`Self::members`] gives it;
    /// none when it is no account's.
    pub fn destination(
        &self,
        address: &AddressPattern,
    ) -> Result<Option<(AccountId, MailboxName, Destination)>, EngineError> {
        let Some(settings) = self.domain(address.domain())? else { return Ok(None) };
        let localpart = settings.fold(address.localpart());
        let key = rows::address(&Place { domain: address.domain().clone(), localpart });
        Ok(match self.row(&key, AddressRow::decode)?.map(|row| row.target) {
            Some(Target::Account { account, mailbox, destination }) => Some((account, mailbox, destination)),
            Some(Target::Refused(_) | Target::Alias(_)) | None => None,
        })
    }

    /// The accounts that were removed and whose own rows are still to be erased.
    pub fn removed_accounts(&self, count: usize) -> Result<Vec<AccountId>, EngineError> {
        let (start, end) = (rows::table(rows::REMOVED), rows::table(rows::REMOVED + 1));
        self.page(&start, &end, count, |key, _| {
            let account = key.get(rows::PREFIX_OCTETS..).and_then(rows::account_id);
            account.ok_or_else(|| BadRow { key: key.to_vec() })
        })
    }

    pub(super) fn state(&self) -> Result<StateRow, EngineError> {
        Ok(self.row(&rows::state(), StateRow::decode)?.unwrap_or_default())
    }

    /// The row of an address, or else of its domain's catch-all, with the canonical place.
    pub(super) fn find(
        &self,
        address: &Address,
        settings: &DomainSettings,
    ) -> Result<Option<(Place, AddressRow)>, EngineError> {
        let canonical = settings.canonical(address.localpart.as_str());
        let place = Place { domain: address.domain.clone(), localpart: canonical };
        if let Some(row) = self.row(&rows::address(&place), AddressRow::decode)? {
            return Ok(Some((place, row)));
        }
        // Mail for the postmaster must reach one (RFC 5321 §4.5.1), so the catch-all comes first, as
        // for any other, and the server's postmaster after it.
        let all = Place { domain: place.domain.clone(), localpart: String::new() };
        Ok(self.row(&rows::address(&all), AddressRow::decode)?.map(|row| (place, row)))
    }

    fn postmaster(&self, domain: &Domain) -> Result<Option<Resolution>, EngineError> {
        let Some(Postmaster { account, mailbox }) = self.state()?.postmaster else { return Ok(None) };
        let localpart = Localpart::from_decoded("postmaster").map_err(|_| damaged(&rows::state()))?;
        let address = Address { localpart, domain: domain.clone() };
        Ok(Some(Resolution::Account { account, mailbox, address, destination: Destination::default() }))
    }

    fn row<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8], &[u8]) -> Result<T, BadRow>,
    ) -> Result<Option<T>, EngineError> {
        let value = self.snapshot.get(Space::Rows, key)?;
        value.map(|value| decode(key, &value)).transpose().map_err(corrupt)
    }

    /// Rows after `after` and before `end`.
    fn page<T>(
        &self,
        after: &[u8],
        end: &[u8],
        count: usize,
        decode: impl Fn(&[u8], &[u8]) -> Result<T, BadRow>,
    ) -> Result<Vec<T>, EngineError> {
        let range = self.snapshot.range(Space::Rows, Bound::Excluded(after), Bound::Excluded(end));
        range
            .take(count)
            .map(|row| row.and_then(|(key, value)| decode(&key, &value).map_err(corrupt)))
            .collect()
    }
}

/// The address of a place that is no catch-all.
pub(super) fn exact(place: &Place) -> Option<Address> {
    let localpart = Localpart::from_decoded(&place.localpart).ok()?;
    (!place.localpart.is_empty()).then(|| Address { localpart, domain: place.domain.clone() })
}

pub(super) fn corrupt(row: BadRow) -> EngineError {
    EngineError::Corrupt { what: row.to_string() }
}

pub(super) fn damaged(key: &[u8]) -> EngineError {
    corrupt(BadRow { key: key.to_vec() })
}

fn resolution(place: &Place, row: AddressRow) -> Resolution {
    // Of a localpart that folding made too long, there can be no address.
    let Some(address) = exact(place) else { return Resolution::Unknown };
    match row.target {
        Target::Account { account, mailbox, destination } => {
            Resolution::Account { account, mailbox, address, destination }
        }
        Target::Alias(settings) => Resolution::Alias { address, settings },
        Target::Refused(code) => Resolution::Refused(code),
    }
}
