//! What a document wants, as rows of WANTED: they are read in any order, however many there are.
//!
//! The rest of a key is `kind u8 ‖ name`. A text has its length in 16 bits before it, a value of another row
//! in 32; numbers are little-endian; every value starts with a version.
//!
//! | kind | name | value |
//! |---|---|---|
//! | 1 domain | domain | line u32, value of DOMAIN; in version 2 number of DKIM keys u8, of each line u32, selector, kind u8, state u8, PKCS#8 with its length |
//! | 2 account | account name | line u32, value of ACCOUNT, how it logs in u8 (0 unsaid, 1 not at all, 2 with what follows), `StoredSecrets`, number of addresses u32, of each line u32, address, mailbox, and in version 2 destination; number of public keys u32, of each line u32, fingerprint, name |
//! | 3 refusal | address as written | line u32, code u16 |
//! | 4 alias | address as written | line u32, bits u8 (1 post_public, 2 list_members, 4 allow_msg_from), number of members u32, members |
//! | 5 place | domain, 0, canonical localpart | what is there u8 (1 an account's, 2 a refusal, 3 an alias), account name, code, or the alias as written |
//! | 6 public key | fingerprint | account name, name of the key |
//! | 7 postmaster | - | line u32, account name, mailbox |

use postrider_proto::address::{Address, Domain};
use postrider_proto::dkim::Selector;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::secrets::StoredSecrets;

use super::super::destination::Destination;
use super::super::document::{
    AccountEntry, AddressEntry, AliasEntry, Credential, DkimEntry, DkimSource, DomainEntry, Line,
};
use super::super::rows::{self, BadRow, Place, Reader, VERSION, VERSION_WITH_SETTINGS, Writer};
use super::super::types::{Account, AccountName, AddressPattern, AliasSettings, DkimSecret, Fingerprint};
use crate::ids::AccountId;

pub(super) const DOMAIN: u8 = 1;
pub(super) const ACCOUNT: u8 = 2;
pub(super) const REFUSAL: u8 = 3;
pub(super) const ALIAS: u8 = 4;
pub(super) const PLACE: u8 = 5;
pub(super) const KEY: u8 = 6;
pub(super) const POSTMASTER: u8 = 7;

/// Stands where a row needs a number that nobody looks at.
const ANY_ACCOUNT: AccountId = AccountId(std::num::NonZeroU32::MIN);

/// Octets before the name in a key.
pub(in super::super) const PREFIX_OCTETS: usize = rows::PREFIX_OCTETS + 1;

/// The start of all keys of a kind.
pub(super) fn all(kind: u8) -> Vec<u8> {
    let mut key = rows::table(rows::WANTED);
    key.push(kind);
    key
}

/// The key of something by its name.
pub(super) fn key(kind: u8, name: &str) -> Vec<u8> {
    let mut key = all(kind);
    key.extend_from_slice(name.as_bytes());
    key
}

pub(super) fn place(place: &Place) -> Vec<u8> {
    let mut key = all(PLACE);
    key.extend_from_slice(rows::address(place).get(rows::PREFIX_OCTETS..).unwrap_or_default());
    key
}

pub(super) fn tls_key(fingerprint: &Fingerprint) -> Vec<u8> {
    let mut key = all(KEY);
    key.extend_from_slice(fingerprint.as_octets());
    key
}

/// The name that a key ends in.
pub(super) fn name(key: &[u8]) -> Option<&str> {
    str::from_utf8(key.get(PREFIX_OCTETS..)?).ok()
}

/// Begins a value.
fn value(line: Line) -> Writer {
    let mut out = Writer(vec![VERSION]);
    out.u32(line);
    out
}

/// All keys are known before: none is only named here.
pub(super) fn encode_domain(line: Line, entry: &DomainEntry) -> Vec<u8> {
    let version = if entry.dkim_keys.is_some() { VERSION_WITH_SETTINGS } else { VERSION };
    let mut out = Writer(vec![version]);
    out.u32(line);
    out.value(&rows::encode_domain(&entry.settings));
    if let Some(keys) = &entry.dkim_keys {
        let known = |key: &DkimEntry| match &key.source {
            DkimSource::Known(secret) => Some((key.line, key.selector.clone(), key.state, secret.clone())),
            DkimSource::Unsaid | DkimSource::Inline(_) | DkimSource::File(_) => None,
        };
        let keys: Vec<_> = keys.iter().filter_map(known).collect();
        // Bounded by `Limits::dkim_keys_max`.
        out.0.push(keys.len() as u8);
        for (line, selector, state, secret) in keys {
            out.u32(line);
            out.text(selector.as_str());
            out.dkim_secret(state, &secret, None);
        }
    }
    out.0
}

pub(super) fn decode_domain(key: &[u8], value: &[u8]) -> Result<(Line, DomainEntry), BadRow> {
    Reader::read_newer(key, value, |reader, version| {
        let line = reader.u32()?;
        let settings = rows::decode_domain(key, reader.value()?).ok()?;
        let dkim_keys = if version == VERSION {
            None
        } else {
            let count = reader.u8()?;
            let keys: Option<Vec<DkimEntry>> = (0..count).map(|_| dkim_entry(reader)).collect();
            Some(keys?)
        };
        Some((line, DomainEntry { settings, dkim_keys }))
    })
}

fn dkim_entry(reader: &mut Reader<'_>) -> Option<DkimEntry> {
    let (line, selector) = (reader.u32()?, Selector::parse(reader.text()?)?);
    let (kind, state) = reader.dkim_kind()?;
    let source = DkimSource::Known(DkimSecret::new(kind, reader.value()?.into()));
    Some(DkimEntry { selector, state, source, line })
}

const UNSAID: u8 = 0;
const NOTHING: u8 = 1;
const VERIFIERS: u8 = 2;

/// A password in clear is derived before: none gets here.
pub(super) fn encode_account(line: Line, name: &AccountName, entry: &AccountEntry) -> Vec<u8> {
    let has_settings = entry.addresses.iter().any(|address| !address.destination.is_empty());
    let mut out = Writer(vec![if has_settings { VERSION_WITH_SETTINGS } else { VERSION }]);
    out.u32(line);
    // The number and the time are not looked at.
    let account =
        Account { id: ANY_ACCOUNT, name: name.clone(), created: 0, settings: entry.settings.clone() };
    out.value(&rows::encode_account(&account));
    match &entry.credential {
        Credential::Unsaid | Credential::Password(_) => out.0.push(UNSAID),
        Credential::Nothing => out.0.push(NOTHING),
        Credential::Verifiers(secrets) => {
            out.0.push(VERIFIERS);
            out.value(&secrets.encode());
        }
    }
    out.u32(entry.addresses.len() as u32);
    for AddressEntry { address, mailbox, destination, line } in &entry.addresses {
        out.u32(*line);
        out.text(&address.to_string());
        out.text(mailbox.as_str());
        if has_settings {
            out.destination_with_reports(destination);
        }
    }
    out.u32(entry.tls_keys.len() as u32);
    for (fingerprint, name, line) in &entry.tls_keys {
        out.u32(*line);
        out.0.extend_from_slice(fingerprint.as_octets());
        out.text(name);
    }
    out.0
}

pub(super) fn decode_account(key: &[u8], value: &[u8]) -> Result<(Line, AccountName, AccountEntry), BadRow> {
    Reader::read_newer(key, value, |reader, version| {
        let line = reader.u32()?;
        let account = rows::decode_account(&rows::account(ANY_ACCOUNT), reader.value()?).ok()?;
        let credential = match reader.u8()? {
            UNSAID => Credential::Unsaid,
            NOTHING => Credential::Nothing,
            VERIFIERS => Credential::Verifiers(Box::new(StoredSecrets::decode(reader.value()?).ok()?)),
            _ => return None,
        };
        let mut addresses = Vec::new();
        for _ in 0..reader.u32()? {
            let (line, address) = (reader.u32()?, AddressPattern::parse(reader.text()?).ok()?);
            let mailbox = MailboxName::new(reader.text()?).ok()?;
            let destination = match version {
                VERSION => Destination::default(),
                _ => reader.destination_with_reports()?,
            };
            addresses.push(AddressEntry { address, mailbox, destination, line });
        }
        let mut tls_keys = Vec::new();
        for _ in 0..reader.u32()? {
            let (line, fingerprint) = (reader.u32()?, Fingerprint::new(reader.array()?));
            tls_keys.push((fingerprint, reader.text()?.to_owned(), line));
        }
        Some((
            line,
            account.name,
            AccountEntry { settings: account.settings, credential, addresses, tls_keys },
        ))
    })
}

pub(super) fn encode_refusal(line: Line, code: u16) -> Vec<u8> {
    let mut out = value(line);
    out.0.extend_from_slice(&code.to_le_bytes());
    out.0
}

pub(super) fn decode_refusal(key: &[u8], value: &[u8]) -> Result<(Line, AddressPattern, u16), BadRow> {
    Reader::read(key, value, |reader| {
        let address = AddressPattern::parse(name(key)?).ok()?;
        Some((reader.u32()?, address, u16::from_le_bytes(reader.array()?)))
    })
}

pub(super) fn encode_alias(line: Line, entry: &AliasEntry) -> Vec<u8> {
    let mut out = value(line);
    let settings = &entry.settings;
    let bits = [settings.post_public, settings.list_members, settings.allow_msg_from];
    out.0.push(bits.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at).sum());
    out.u32(entry.members.len() as u32);
    for member in &entry.members {
        out.text(&member.to_string());
    }
    out.0
}

pub(super) fn decode_alias(key: &[u8], value: &[u8]) -> Result<(Line, Address, AliasEntry), BadRow> {
    Reader::read(key, value, |reader| {
        let alias = Address::parse(name(key)?).ok()?;
        let (line, bits) = (reader.u32()?, reader.u8()?);
        let settings = AliasSettings {
            post_public: bits & 1 != 0,
            list_members: bits & 2 != 0,
            allow_msg_from: bits & 4 != 0,
        };
        let mut members = Vec::new();
        for _ in 0..reader.u32()? {
            members.push(Address::parse(reader.text()?).ok()?);
        }
        Some((line, alias, AliasEntry { settings, members }))
    })
}

/// What mail to an address leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Lead {
    Account(AccountName),
    Refused(u16),
    /// An alias, as it is written.
    Alias(String),
}

const TO_ACCOUNT: u8 = 1;
const TO_REFUSED: u8 = 2;
const TO_ALIAS: u8 = 3;

pub(super) fn encode_lead(lead: &Lead) -> Vec<u8> {
    let mut out = Writer(vec![VERSION]);
    match lead {
        Lead::Account(name) => {
            out.0.push(TO_ACCOUNT);
            out.text(name.as_str());
        }
        Lead::Refused(code) => {
            out.0.push(TO_REFUSED);
            out.0.extend_from_slice(&code.to_le_bytes());
        }
        Lead::Alias(written) => {
            out.0.push(TO_ALIAS);
            out.text(written);
        }
    }
    out.0
}

pub(super) fn decode_lead(key: &[u8], value: &[u8]) -> Result<Lead, BadRow> {
    Reader::read(key, value, |reader| match reader.u8()? {
        TO_ACCOUNT => Some(Lead::Account(AccountName::new(reader.text()?).ok()?)),
        TO_REFUSED => Some(Lead::Refused(u16::from_le_bytes(reader.array()?))),
        TO_ALIAS => Some(Lead::Alias(reader.text()?.to_owned())),
        _ => None,
    })
}

pub(super) fn encode_tls_key(account: &AccountName, name: &str) -> Vec<u8> {
    let mut out = Writer(vec![VERSION]);
    out.text(account.as_str());
    out.text(name);
    out.0
}

pub(super) fn decode_tls_key(key: &[u8], value: &[u8]) -> Result<(AccountName, String), BadRow> {
    Reader::read(key, value, |reader| {
        Some((AccountName::new(reader.text()?).ok()?, reader.text()?.to_owned()))
    })
}

pub(super) fn encode_postmaster(line: Line, account: &AccountName, mailbox: &MailboxName) -> Vec<u8> {
    let mut out = value(line);
    out.text(account.as_str());
    out.text(mailbox.as_str());
    out.0
}

pub(super) fn decode_postmaster(
    key: &[u8],
    value: &[u8],
) -> Result<(Line, (AccountName, MailboxName)), BadRow> {
    Reader::read(key, value, |reader| {
        let line = reader.u32()?;
        Some((line, (AccountName::new(reader.text()?).ok()?, MailboxName::new(reader.text()?).ok()?)))
    })
}

/// Whether a row is one that is ever written here.
pub(in super::super) fn is_readable(key: &[u8], value: &[u8]) -> bool {
    let rest = key.get(PREFIX_OCTETS..).unwrap_or_default();
    match key.get(PREFIX_OCTETS - 1) {
        Some(&DOMAIN) => {
            name(key).is_some_and(|name| Domain::parse(name).is_ok()) && decode_domain(key, value).is_ok()
        }
        Some(&ACCOUNT) => decode_account(key, value).is_ok(),
        Some(&REFUSAL) => decode_refusal(key, value).is_ok(),
        Some(&ALIAS) => decode_alias(key, value).is_ok(),
        Some(&PLACE) => rows::place(rest).is_some() && decode_lead(key, value).is_ok(),
        Some(&KEY) => rows::fingerprint(rest).is_some() && decode_tls_key(key, value).is_ok(),
        Some(&POSTMASTER) => rest.is_empty() && decode_postmaster(key, value).is_ok(),
        _ => false,
    }
}
