//! Keys and values of the directory's rows; the table is in the [module header](super).

mod dkim;
mod mail;
mod settings;

use postrider_proto::address::Domain;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::Mechanism;

use super::destination::Destination;
use super::mail::MailSettings;
use super::types::{
    Account, AccountName, AccountSettings, AliasSettings, DomainSettings, DomainState, Fingerprint,
    LocalpartCase, Postmaster, Target,
};
use crate::engine::Batch;
use crate::ids::AccountId;

pub(super) use dkim::{DkimKeyRow, dkim_key, dkim_keys, domain_and_selector};
pub(super) use settings::{destination_octets, routes_octets};

/// A row that is not what was ever written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the directory's row {} is damaged", .key.escape_ascii())]
pub struct BadRow {
    /// Its key.
    pub key: Vec<u8>,
}

pub(super) const STATE: u8 = 0x40;
pub(super) const DOMAIN: u8 = 0x41;
pub(super) const ACCOUNT: u8 = 0x42;
pub(super) const ACCOUNT_NAME: u8 = 0x43;
pub(super) const ADDRESS: u8 = 0x44;
pub(super) const ACCOUNT_ADDRESS: u8 = 0x45;
pub(super) const CREDENTIAL: u8 = 0x46;
pub(super) const MEMBER: u8 = 0x47;
pub(super) const MEMBER_OF: u8 = 0x48;
pub(super) const ACCOUNT_DOMAIN: u8 = 0x49;
pub(super) const REMOVED: u8 = 0x4a;
pub(super) const TLS_KEY: u8 = 0x4b;
pub(super) const ACCOUNT_TLS_KEY: u8 = 0x4c;
pub(super) const DKIM_KEY: u8 = 0x4d;
/// The tables above are what the directory says; those below belong to a large change that is under way.
pub(super) const LAST: u8 = DKIM_KEY;
pub(super) const PLAN: u8 = 0x5d;
pub(super) const STAGED: u8 = 0x5e;
pub(super) const WANTED: u8 = 0x5f;

/// The octets before the rest of a key: account 0 and the table.
pub(super) const PREFIX_OCTETS: usize = 5;
/// Of the values that hold no other.
pub(super) const VERSION: u8 = 1;
/// Of values of DOMAIN, ACCOUNT and ADDRESS with what is set since: routes, or a destination, at the end. Without it they
/// are written as before.
pub(super) const VERSION_WITH_SETTINGS: u8 = 2;
/// Of values of ADDRESS with the reports that are read there, behind all else of the destination.
const VERSION_WITH_REPORTS: u8 = 3;
/// Of values of ACCOUNT with what is set for its mail behind the routes.
const VERSION_WITH_MAIL: u8 = 3;

/// Whether what a key has is what the directory says, or decides whether it is what a large change left aside.
pub(crate) fn is_directory_key(key: &[u8]) -> bool {
    matches!(key, [0, 0, 0, 0, STATE..=LAST | PLAN, ..])
}

/// A domain and a canonical localpart, empty for the catch-all: what an address is looked up by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Place {
    pub(super) domain: Domain,
    pub(super) localpart: String,
}

impl Place {
    fn push(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(self.domain.as_str().as_bytes());
        key.push(0);
        key.extend_from_slice(self.localpart.as_bytes());
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.localpart, self.domain)
    }
}

/// The start of all keys of a table.
pub(super) fn table(table: u8) -> Vec<u8> {
    vec![0, 0, 0, 0, table]
}

fn named(number: u8, name: &str) -> Vec<u8> {
    let mut key = table(number);
    key.extend_from_slice(name.as_bytes());
    key
}

fn numbered(number: u8, account: AccountId) -> Vec<u8> {
    let mut key = table(number);
    key.extend_from_slice(&account.get().to_be_bytes());
    key
}

pub(super) fn state() -> Vec<u8> {
    table(STATE)
}

pub(super) fn domain(domain: &Domain) -> Vec<u8> {
    named(DOMAIN, domain.as_str())
}

pub(super) fn account(account: AccountId) -> Vec<u8> {
    numbered(ACCOUNT, account)
}

pub(super) fn account_name(name: &AccountName) -> Vec<u8> {
    named(ACCOUNT_NAME, name.as_str())
}

pub(super) fn address(place: &Place) -> Vec<u8> {
    let mut key = table(ADDRESS);
    place.push(&mut key);
    key
}

/// The start of the keys of all addresses of a domain.
pub(super) fn addresses(domain: &Domain) -> Vec<u8> {
    let mut key = named(ADDRESS, domain.as_str());
    key.push(0);
    key
}

pub(super) fn account_address(account: AccountId, place: &Place) -> Vec<u8> {
    let mut key = account_addresses(account);
    place.push(&mut key);
    key
}

pub(super) fn account_addresses(account: AccountId) -> Vec<u8> {
    numbered(ACCOUNT_ADDRESS, account)
}

pub(super) fn credential(account: AccountId) -> Vec<u8> {
    numbered(CREDENTIAL, account)
}

/// The start of the keys of all members of an alias.
pub(super) fn members(alias: &Place) -> Vec<u8> {
    let mut key = table(MEMBER);
    alias.push(&mut key);
    key.push(0);
    key
}

/// The start of the keys of those members that belong to `account`.
pub(super) fn members_of_account(alias: &Place, account: AccountId) -> Vec<u8> {
    let mut key = members(alias);
    key.extend_from_slice(&account.get().to_be_bytes());
    key
}

pub(super) fn member(alias: &Place, account: AccountId, member: &Place) -> Vec<u8> {
    let mut key = members_of_account(alias, account);
    member.push(&mut key);
    key
}

/// The start of the keys of all aliases that an address is a member of.
pub(super) fn aliases_of(account: AccountId, member: &Place) -> Vec<u8> {
    let mut key = numbered(MEMBER_OF, account);
    member.push(&mut key);
    key.push(0);
    key
}

pub(super) fn member_of(account: AccountId, member: &Place, alias: &Place) -> Vec<u8> {
    let mut key = aliases_of(account, member);
    alias.push(&mut key);
    key
}

pub(super) fn accounts_of_domain(domain: &Domain) -> Vec<u8> {
    let mut key = named(ACCOUNT_DOMAIN, domain.as_str());
    key.push(0);
    key
}

pub(super) fn account_domain(domain: &Domain, account: AccountId) -> Vec<u8> {
    let mut key = accounts_of_domain(domain);
    key.extend_from_slice(&account.get().to_be_bytes());
    key
}

/// The key of the to-do that says: the rows of this removed account are to be erased. Whoever erased
/// them removes it.
pub fn removed_account(account: AccountId) -> Vec<u8> {
    numbered(REMOVED, account)
}

pub(super) fn tls_key(fingerprint: &Fingerprint) -> Vec<u8> {
    let mut key = table(TLS_KEY);
    key.extend_from_slice(fingerprint.as_octets());
    key
}

/// The start of the keys of all public keys of an account.
pub(super) fn account_tls_keys(account: AccountId) -> Vec<u8> {
    numbered(ACCOUNT_TLS_KEY, account)
}

pub(super) fn account_tls_key(account: AccountId, fingerprint: &Fingerprint) -> Vec<u8> {
    let mut key = account_tls_keys(account);
    key.extend_from_slice(fingerprint.as_octets());
    key
}

/// Reads a fingerprint, to the end.
pub(super) fn fingerprint(rest: &[u8]) -> Option<Fingerprint> {
    rest.try_into().ok().map(Fingerprint::new)
}

/// A row of TLS_KEY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TlsKeyRow {
    pub(super) account: AccountId,
    pub(super) created: i64,
    pub(super) name: String,
}

impl TlsKeyRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![VERSION]);
        out.u32(self.account.get());
        out.0.extend_from_slice(&self.created.to_le_bytes());
        out.text(&self.name);
        out.0
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, BadRow> {
        Reader::read(key, value, |reader| {
            let account = AccountId::new(reader.u32()?)?;
            let created = i64::from_le_bytes(reader.array()?);
            Some(Self { account, created, name: reader.text()?.to_owned() })
        })
    }
}

/// The value of rows that only have to exist.
pub(super) fn present() -> Vec<u8> {
    vec![VERSION]
}

/// The directory's own row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StateRow {
    pub(super) next_account: u32,
    pub(super) accounts: u32,
    pub(super) domains: u32,
    /// Aliases among them.
    pub(super) addresses: u32,
    pub(super) postmaster: Option<Postmaster>,
}

impl Default for StateRow {
    fn default() -> Self {
        Self { next_account: 1, accounts: 0, domains: 0, addresses: 0, postmaster: None }
    }
}

impl StateRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![VERSION]);
        for number in [self.next_account, self.accounts, self.domains, self.addresses] {
            out.u32(number);
        }
        out.u32(self.postmaster.as_ref().map_or(0, |postmaster| postmaster.account.get()));
        out.text(self.postmaster.as_ref().map_or("", |postmaster| postmaster.mailbox.as_str()));
        out.0
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, BadRow> {
        Reader::read(key, value, |reader| {
            let next_account = reader.u32()?;
            let (accounts, domains, addresses) = (reader.u32()?, reader.u32()?, reader.u32()?);
            let (account, mailbox) = (reader.u32()?, reader.text()?);
            let postmaster = match AccountId::new(account) {
                Some(account) => Some(Postmaster { account, mailbox: MailboxName::new(mailbox).ok()? }),
                None => None,
            };
            Some(Self { next_account, accounts, domains, addresses, postmaster })
        })
    }
}

const DOMAIN_DISABLED: u8 = 1;
const CASE_SENSITIVE: u8 = 2;

pub(super) fn encode_domain(settings: &DomainSettings) -> Vec<u8> {
    let mut bits = 0;
    if settings.state == DomainState::Disabled {
        bits |= DOMAIN_DISABLED;
    }
    if settings.case == LocalpartCase::Sensitive {
        bits |= CASE_SENSITIVE;
    }
    let mut out = Writer(vec![version(!settings.routes.is_empty()), bits]);
    out.text(&settings.description);
    // Bounded by `Limits::separators_max`.
    out.0.push(settings.separators.len() as u8);
    for separator in &settings.separators {
        out.text(separator);
    }
    if !settings.routes.is_empty() {
        out.routes(&settings.routes);
    }
    out.0
}

const fn version(has_settings: bool) -> u8 {
    if has_settings { VERSION_WITH_SETTINGS } else { VERSION }
}

pub(super) fn decode_domain(key: &[u8], value: &[u8]) -> Result<DomainSettings, BadRow> {
    Reader::read_newer(key, value, |reader, version| {
        let bits = reader.u8()?;
        let description = reader.text()?.to_owned();
        let count = reader.u8()?;
        let separators: Option<Vec<_>> = (0..count).map(|_| reader.text().map(str::to_owned)).collect();
        let state = if bits & DOMAIN_DISABLED == 0 { DomainState::Enabled } else { DomainState::Disabled };
        let case =
            if bits & CASE_SENSITIVE == 0 { LocalpartCase::Insensitive } else { LocalpartCase::Sensitive };
        let routes = if version == VERSION { Vec::new() } else { reader.routes()? };
        Some(DomainSettings { state, case, separators: separators?, description, routes })
    })
}

const HAS_QUOTA: u8 = 1;
const LOGIN_DISABLED: u8 = 2;
const HAS_QUOTA_MESSAGES: u8 = 4;

pub(super) fn encode_account(account: &Account) -> Vec<u8> {
    let settings = &account.settings;
    let mut bits = 0;
    if settings.quota.is_some() {
        bits |= HAS_QUOTA;
    }
    if settings.login_disabled.is_some() {
        bits |= LOGIN_DISABLED;
    }
    if settings.quota_messages.is_some() {
        bits |= HAS_QUOTA_MESSAGES;
    }
    let version = match settings.mail.is_empty() {
        true => version(!settings.routes.is_empty()),
        false => VERSION_WITH_MAIL,
    };
    let mut out = Writer(vec![version, bits]);
    out.0.extend_from_slice(&account.created.to_le_bytes());
    out.0.extend_from_slice(&settings.quota.unwrap_or(0).to_le_bytes());
    out.0.extend_from_slice(&settings.quota_messages.unwrap_or(0).to_le_bytes());
    out.text(account.name.as_str());
    out.text(settings.domain.as_str());
    out.text(&settings.full_name);
    out.text(settings.login_disabled.as_deref().unwrap_or(""));
    let names: Vec<_> = settings.disabled_mechanisms.iter().map(|mechanism| mechanism.name()).collect();
    out.text(&names.join(" "));
    if version != VERSION {
        out.routes(&settings.routes);
    }
    if version == VERSION_WITH_MAIL {
        out.mail(&settings.mail);
    }
    out.0
}

pub(super) fn decode_account(key: &[u8], value: &[u8]) -> Result<Account, BadRow> {
    let id = key.get(PREFIX_OCTETS..).and_then(account_id).ok_or_else(|| BadRow { key: key.to_vec() })?;
    Reader::read_up_to(VERSION_WITH_MAIL, key, value, |reader, version| {
        let bits = reader.u8()?;
        let created = i64::from_le_bytes(reader.array()?);
        let quota = u64::from_le_bytes(reader.array()?);
        let quota_messages = u64::from_le_bytes(reader.array()?);
        let name = AccountName::new(reader.text()?).ok()?;
        let domain = Domain::parse(reader.text()?).ok()?;
        let full_name = reader.text()?.to_owned();
        let message = reader.text()?.to_owned();
        let mechanisms: Option<Vec<_>> =
            reader.text()?.split_whitespace().map(|name| Mechanism::parse(name.as_bytes())).collect();
        let routes = if version == VERSION { Vec::new() } else { reader.routes()? };
        let mail = if version == VERSION_WITH_MAIL { reader.mail()? } else { MailSettings::NONE };
        let settings = AccountSettings {
            domain,
            full_name,
            quota: (bits & HAS_QUOTA != 0).then_some(quota),
            quota_messages: (bits & HAS_QUOTA_MESSAGES != 0).then_some(quota_messages),
            login_disabled: (bits & LOGIN_DISABLED != 0).then_some(message),
            disabled_mechanisms: mechanisms?,
            routes,
            mail,
        };
        Some(Account { id, name, created, settings })
    })
}

pub(super) fn encode_account_id(account: AccountId) -> Vec<u8> {
    let mut out = Writer(vec![VERSION]);
    out.u32(account.get());
    out.0
}

/// The accounts that a planned batch adds, which have no rows of their own yet.
pub fn added_accounts(batch: &Batch) -> Result<Vec<AccountId>, BadRow> {
    let prefix = table(ACCOUNT_NAME);
    let names = batch.writes().iter().filter(|write| write.key.starts_with(&prefix));
    // A name is written once, when its account is added.
    names.filter_map(|write| Some(decode_account_id(&write.key, write.value.as_ref()?))).collect()
}

pub(super) fn decode_account_id(key: &[u8], value: &[u8]) -> Result<AccountId, BadRow> {
    Reader::read(key, value, |reader| AccountId::new(reader.u32()?))
}

/// A row of ADDRESS: where mail goes, and how the localpart was written when it was added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AddressRow {
    pub(super) target: Target,
    pub(super) spelling: String,
}

const TO_ACCOUNT: u8 = 1;
const TO_REFUSED: u8 = 2;
const TO_ALIAS: u8 = 3;

impl AddressRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let settings = match &self.target {
            Target::Account { destination, .. } if !destination.is_empty() => Some(destination),
            _ => None,
        };
        let mut out = Writer(vec![match settings {
            Some(destination) if !destination.reports.is_empty() => VERSION_WITH_REPORTS,
            settings => version(settings.is_some()),
        }]);
        match &self.target {
            Target::Account { account, mailbox, .. } => {
                out.0.push(TO_ACCOUNT);
                out.u32(account.get());
                out.text(mailbox.as_str());
            }
            Target::Refused(code) => {
                out.0.push(TO_REFUSED);
                out.0.extend_from_slice(&code.to_le_bytes());
            }
            Target::Alias(alias) => {
                out.0.push(TO_ALIAS);
                let bits = [alias.post_public, alias.list_members, alias.allow_msg_from];
                out.0.push(bits.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at).sum());
            }
        }
        out.text(&self.spelling);
        match settings {
            Some(destination) if destination.reports.is_empty() => out.destination(destination),
            Some(destination) => out.destination_with_reports(destination),
            None => {}
        }
        out.0
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, BadRow> {
        Reader::read_up_to(VERSION_WITH_REPORTS, key, value, |reader, version| {
            let mut target = match reader.u8()? {
                TO_ACCOUNT => Target::Account {
                    account: AccountId::new(reader.u32()?)?,
                    mailbox: MailboxName::new(reader.text()?).ok()?,
                    destination: Destination::default(),
                },
                TO_REFUSED => Target::Refused(u16::from_le_bytes(reader.array()?)),
                TO_ALIAS => {
                    let bits = reader.u8()?;
                    Target::Alias(AliasSettings {
                        post_public: bits & 1 != 0,
                        list_members: bits & 2 != 0,
                        allow_msg_from: bits & 4 != 0,
                    })
                }
                _ => return None,
            };
            let spelling = reader.text()?.to_owned();
            if version != VERSION {
                let Target::Account { destination, .. } = &mut target else { return None };
                *destination = match version {
                    VERSION_WITH_SETTINGS => reader.destination()?,
                    _ => reader.destination_with_reports()?,
                };
            }
            Some(Self { target, spelling })
        })
    }
}

/// Reads `domain, 0, localpart`, to the end.
pub(super) fn place(rest: &[u8]) -> Option<Place> {
    let (domain, localpart) = until_zero(rest)?;
    let domain = Domain::parse(str::from_utf8(domain).ok()?).ok()?;
    Some(Place { domain, localpart: str::from_utf8(localpart).ok()?.to_owned() })
}

/// Reads `account id, domain, 0, localpart`, to the end.
pub(super) fn account_and_place(rest: &[u8]) -> Option<(AccountId, Place)> {
    let (account, rest) = rest.split_at_checked(4)?;
    Some((account_id(account)?, place(rest)?))
}

/// Reads a place, an octet 0, and what follows.
pub(super) fn place_and_rest(rest: &[u8]) -> Option<(Place, &[u8])> {
    let (domain, after) = until_zero(rest)?;
    let (localpart, after) = until_zero(after)?;
    let end = domain.len() + 1 + localpart.len();
    Some((place(rest.get(..end)?)?, after))
}

/// Reads an account's number, to the end.
pub(super) fn account_id(rest: &[u8]) -> Option<AccountId> {
    AccountId::new(u32::from_be_bytes(rest.try_into().ok()?))
}

/// Splits at the first octet 0, which belongs to neither side.
pub(super) fn until_zero(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(0, octets)?;
    Some((octets.get(..at)?, octets.get(at + 1..)?))
}

pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Every text that gets here is bounded below 64 KiB by `Limits` or its type.
    pub(super) fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u16).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A value of another kind, with its length in 32 bits before it.
    pub(super) fn value(&mut self, value: &[u8]) {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
    }
}

pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a whole value whose version is ours.
    pub(super) fn read<T>(
        key: &[u8],
        value: &'a [u8],
        work: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, BadRow> {
        Self::read_newer(key, value, |reader, version| if version == VERSION { work(reader) } else { None })
    }

    /// The same of a value that has two versions; `work` is given which one it is.
    pub(super) fn read_newer<T>(
        key: &[u8],
        value: &'a [u8],
        work: impl FnOnce(&mut Self, u8) -> Option<T>,
    ) -> Result<T, BadRow> {
        Self::read_up_to(VERSION_WITH_SETTINGS, key, value, work)
    }

    /// The same of a value that has all versions up to `newest`.
    pub(super) fn read_up_to<T>(
        newest: u8,
        key: &[u8],
        value: &'a [u8],
        work: impl FnOnce(&mut Self, u8) -> Option<T>,
    ) -> Result<T, BadRow> {
        let mut reader = Self(value);
        let row = match reader.u8() {
            Some(version) if (VERSION..=newest).contains(&version) => {
                work(&mut reader, version).filter(|_| reader.0.is_empty())
            }
            _ => None,
        };
        row.ok_or_else(|| BadRow { key: key.to_vec() })
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (octets, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*octets)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[octet]| octet)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_le_bytes(self.array()?);
        let (octets, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        str::from_utf8(octets).ok()
    }

    pub(super) fn value(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (octets, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(octets)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
