//! Writes a directory as text, some of it at a time; the same directory always gives the same text.

mod settings;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::ops::Bound;

use postrider_proto::address::Domain;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::secrets::StoredSecrets;

use super::VERSION;
use crate::directory::destination::Destination;
use crate::directory::lookup::{Directory, corrupt, damaged};
use crate::directory::route::Route;
use crate::directory::rows::{self, PREFIX_OCTETS};
use crate::directory::types::{
    Account, AddressPattern, AliasSettings, DkimKey, DomainSettings, DomainState, Fingerprint, LocalpartCase,
    Target,
};
use crate::engine::{EngineError, Snapshot, Space};

/// Text that is made at a time, unless one account or alias has more.
const PART_OCTETS: usize = 64 << 10;
/// Rows that are read at a time.
const PAGE: usize = 256;
/// Pages that are looked through for one part: most addresses are no aliases.
const PAGES_MAX: usize = 32;

/// A directory that is being written as text. What each part reads has to be of one directory: either one
/// snapshot, or several while nobody changes it.
#[derive(Debug, Default)]
pub struct Export {
    at: At,
    done: u64,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Head,
    /// Each behind the key of the last one that was written.
    Domains(Vec<u8>),
    Accounts(Vec<u8>),
    Refusals(Vec<u8>),
    /// As refusals, whose header was written.
    MoreRefusals(Vec<u8>),
    Aliases(Vec<u8>),
    End,
}

impl Export {
    /// Entries that were written so far.
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// The next part of the text, which may be empty; none at the end.
    pub fn part(&mut self, snapshot: &dyn Snapshot) -> Result<Option<String>, EngineError> {
        if matches!(self.at, At::End) {
            return Ok(None);
        }
        let mut text = String::new();
        for _ in 0..PAGES_MAX {
            self.page(snapshot, &mut text)?;
            if text.len() >= PART_OCTETS || matches!(self.at, At::End) {
                break;
            }
        }
        Ok(Some(text))
    }

    fn page(&mut self, snapshot: &dyn Snapshot, text: &mut String) -> Result<(), EngineError> {
        let directory = Directory::new(snapshot);
        // Writing to a `String` cannot fail.
        self.at = match std::mem::take(&mut self.at) {
            At::Head => {
                let _ = head(text, &directory)?;
                At::Domains(rows::table(rows::DOMAIN))
            }
            At::Domains(after) => each(snapshot, rows::DOMAIN, &after, |key, value| {
                self.done += 1;
                let name = key.get(PREFIX_OCTETS..).and_then(|name| str::from_utf8(name).ok());
                let domain = name.and_then(|name| Domain::parse(name).ok()).ok_or_else(|| damaged(key))?;
                let settings = rows::decode_domain(key, value).map_err(corrupt)?;
                let _ = write_domain(text, &domain, &settings, &directory.dkim_keys(&domain)?);
                Ok(text.len() < PART_OCTETS)
            })?
            .map_or_else(|| At::Accounts(rows::table(rows::ACCOUNT_NAME)), At::Domains),
            At::Accounts(after) => each(snapshot, rows::ACCOUNT_NAME, &after, |key, value| {
                self.done += 1;
                let id = rows::decode_account_id(key, value).map_err(corrupt)?;
                let account = directory.account(id)?.ok_or_else(|| damaged(key))?;
                let _ = write_account(text, &Owned::read(&directory, account)?);
                Ok(text.len() < PART_OCTETS)
            })?
            .map_or_else(|| At::Refusals(rows::table(rows::ADDRESS)), At::Accounts),
            at @ (At::Refusals(_) | At::MoreRefusals(_)) => {
                let (after, mut headed) = match at {
                    At::MoreRefusals(after) => (after, true),
                    At::Refusals(after) => (after, false),
                    _ => (Vec::new(), false),
                };
                let next = each(snapshot, rows::ADDRESS, &after, |key, value| {
                    if let Some((pattern, Target::Refused(code))) = others(key, value)? {
                        self.done += 1;
                        if !std::mem::replace(&mut headed, true) {
                            text.push_str("\n[refusal]\n");
                        }
                        let _ = writeln!(text, "{} = {code}", quoted(&pattern.to_string()));
                    }
                    Ok(text.len() < PART_OCTETS)
                })?;
                match next {
                    None => At::Aliases(rows::table(rows::ADDRESS)),
                    Some(after) if headed => At::MoreRefusals(after),
                    Some(after) => At::Refusals(after),
                }
            }
            At::Aliases(after) => each(snapshot, rows::ADDRESS, &after, |key, value| {
                if let Some((AddressPattern::Exact(alias), Target::Alias(settings))) = others(key, value)? {
                    self.done += 1;
                    let members = directory.members(&alias)?;
                    let members: Vec<_> = members.iter().map(|(_, member)| member.to_string()).collect();
                    let _ = write_alias(text, &alias.to_string(), settings, members);
                }
                Ok(text.len() < PART_OCTETS)
            })?
            .map_or(At::End, At::Aliases),
            At::End => At::End,
        };
        Ok(())
    }
}

/// Calls `each` for a page of rows of a table behind `after`, until it says no; the key to go on behind, if
/// there may be more.
fn each(
    snapshot: &dyn Snapshot,
    table: u8,
    after: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, EngineError>,
) -> Result<Option<Vec<u8>>, EngineError> {
    let end = rows::table(table + 1);
    for (at, row) in snapshot.range(Space::Rows, Bound::Excluded(after), Bound::Excluded(&end)).enumerate() {
        let (key, value) = row?;
        if !each(&key, &value)? || at + 1 == PAGE {
            return Ok(Some(key.to_vec()));
        }
    }
    Ok(None)
}

/// An address that is no account's, as it was written.
fn others(key: &[u8], value: &[u8]) -> Result<Option<(AddressPattern, Target)>, EngineError> {
    let row = rows::AddressRow::decode(key, value).map_err(corrupt)?;
    if matches!(row.target, Target::Account { .. }) {
        return Ok(None);
    }
    let place = key.get(PREFIX_OCTETS..).and_then(rows::place).ok_or_else(|| damaged(key))?;
    let pattern = AddressPattern::of(&place.domain, &row.spelling).map_err(|_| damaged(key))?;
    Ok(Some((pattern, row.target)))
}

/// An account with all that is its.
struct Owned {
    account: Account,
    secrets: Option<StoredSecrets>,
    addresses: BTreeMap<AddressPattern, (MailboxName, Destination)>,
    tls_keys: Vec<(Fingerprint, String)>,
}

impl Owned {
    fn read(directory: &Directory<'_>, account: Account) -> Result<Self, EngineError> {
        let addresses = directory.addresses(account.id)?.into_iter();
        let tls_keys = directory.tls_keys(account.id)?.into_iter();
        Ok(Self {
            secrets: directory.secrets(account.id)?,
            addresses: addresses
                .filter_map(|(address, target)| match target {
                    Target::Account { mailbox, destination, .. } => Some((address, (mailbox, destination))),
                    Target::Refused(_) | Target::Alias(_) => None,
                })
                .collect(),
            tls_keys: tls_keys.map(|key| (key.fingerprint, key.name)).collect(),
            account,
        })
    }
}

fn head(f: &mut String, directory: &Directory<'_>) -> Result<fmt::Result, EngineError> {
    let postmaster = directory.status()?.postmaster;
    let account = postmaster.as_ref().map(|postmaster| directory.account(postmaster.account)).transpose()?;
    let written = writeln!(f, "version = {VERSION}");
    let (Some(postmaster), Some(Some(account))) = (postmaster, account) else { return Ok(written) };
    let (account, mailbox) = (quoted(account.name.as_str()), quoted(postmaster.mailbox.as_str()));
    Ok(writeln!(f, "postmaster = {{ account = {account}, mailbox = {mailbox} }}"))
}

fn write_domain(f: &mut String, domain: &Domain, settings: &DomainSettings, keys: &[DkimKey]) -> fmt::Result {
    writeln!(f, "\n[domain.{}]", quoted(domain.as_str()))?;
    flag(f, "disabled", settings.state == DomainState::Disabled)?;
    flag(f, "case_sensitive", settings.case == LocalpartCase::Sensitive)?;
    list(f, "separators", &settings.separators)?;
    text(f, "description", &settings.description)?;
    match keys {
        [] => writeln!(f, "dkim = []")?,
        keys => items(f, "dkim", &keys.iter().map(settings::dkim_key).collect::<Vec<_>>())?,
    }
    routes(f, &settings.routes)
}

fn routes(f: &mut String, routes: &[Route]) -> fmt::Result {
    items(f, "routes", &routes.iter().map(settings::route).collect::<Vec<_>>())
}

fn write_alias(
    f: &mut String,
    alias: &str,
    settings: AliasSettings,
    mut members: Vec<String>,
) -> fmt::Result {
    members.sort();
    writeln!(f, "\n[alias.{}]", quoted(alias))?;
    flag(f, "post_public", settings.post_public)?;
    flag(f, "list_members", settings.list_members)?;
    flag(f, "allow_msg_from", settings.allow_msg_from)?;
    list(f, "members", &members)
}

fn write_account(f: &mut String, entry: &Owned) -> fmt::Result {
    let settings = &entry.account.settings;
    writeln!(f, "\n[account.{}]", quoted(entry.account.name.as_str()))?;
    writeln!(f, "domain = {}", quoted(settings.domain.as_str()))?;
    text(f, "full_name", &settings.full_name)?;
    if let Some(quota) = settings.quota {
        writeln!(f, "quota = {quota}")?;
    }
    if let Some(messages) = settings.quota_messages {
        writeln!(f, "quota_messages = {messages}")?;
    }
    text(f, "login_disabled", settings.login_disabled.as_deref().unwrap_or(""))?;
    let mechanisms: Vec<_> = settings.disabled_mechanisms.iter().map(ToString::to_string).collect();
    list(f, "disabled_mechanisms", &mechanisms)?;
    match &entry.secrets {
        None => writeln!(f, "credentials = []")?,
        Some(secrets) => list(f, "credentials", &secrets.to_texts())?,
    }
    let addresses: Vec<_> = entry
        .addresses
        .iter()
        .map(|(address, (mailbox, destination))| {
            let address = quoted(&address.to_string());
            let mut rest = String::new();
            if !mailbox.is_inbox() {
                rest += &format!(", mailbox = {}", quoted(mailbox.as_str()));
            }
            rest += &settings::destination(destination);
            if rest.is_empty() { address } else { format!("{{ address = {address}{rest} }}") }
        })
        .collect();
    items(f, "addresses", &addresses)?;
    let keys: Vec<_> = entry
        .tls_keys
        .iter()
        .map(|(fingerprint, name)| match name.as_str() {
            "" => quoted(&fingerprint.to_string()),
            name => {
                let fingerprint = quoted(&fingerprint.to_string());
                format!("{{ fingerprint = {fingerprint}, name = {} }}", quoted(name))
            }
        })
        .collect();
    items(f, "tls_public_keys", &keys)?;
    routes(f, &settings.routes)?;
    f.push_str(&settings::mail(&settings.mail));
    Ok(())
}

fn flag(f: &mut String, key: &str, value: bool) -> fmt::Result {
    if value { writeln!(f, "{key} = true") } else { Ok(()) }
}

fn text(f: &mut String, key: &str, value: &str) -> fmt::Result {
    if value.is_empty() { Ok(()) } else { writeln!(f, "{key} = {}", quoted(value)) }
}

fn list(f: &mut String, key: &str, values: &[String]) -> fmt::Result {
    let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
    items(f, key, &values)
}

/// One line for one item, else a line each.
fn items(f: &mut String, key: &str, values: &[String]) -> fmt::Result {
    match values {
        [] => Ok(()),
        [value] => writeln!(f, "{key} = [{value}]"),
        values => {
            writeln!(f, "{key} = [")?;
            for value in values {
                writeln!(f, "    {value},")?;
            }
            writeln!(f, "]")
        }
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
