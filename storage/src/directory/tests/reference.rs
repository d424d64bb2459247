//! The same in memory: the whole directory as maps, and what leads from one to another. What is applied in
//! steps is compared with this.

use std::collections::{BTreeMap, BTreeSet};

use postrider_proto::address::Localpart;

use super::super::document::{Credential, Entry, Splitter, read};
use super::*;

/// A whole directory.
#[derive(Clone, Default)]
pub(super) struct Document {
    postmaster: Option<(AccountName, MailboxName)>,
    domains: BTreeMap<Domain, DomainSettings>,
    accounts: BTreeMap<AccountName, AccountEntry>,
    refusals: BTreeMap<AddressPattern, u16>,
    aliases: BTreeMap<Address, AliasEntry>,
}

#[derive(Clone)]
struct AccountEntry {
    settings: AccountSettings,
    /// None is "as it is".
    secrets: Option<Option<StoredSecrets>>,
    addresses: BTreeMap<AddressPattern, (MailboxName, Destination)>,
    tls_keys: BTreeMap<Fingerprint, String>,
}

#[derive(Clone)]
struct AliasEntry {
    settings: AliasSettings,
    members: Vec<Address>,
}

impl Document {
    /// Reads a text without faults or passwords.
    pub(super) fn parse(text: &str) -> Self {
        let (mut document, mut pieces) = (Self::default(), Vec::new());
        let mut splitter = Splitter::default();
        splitter.push(text.as_bytes(), &mut |piece| pieces.push(piece)).unwrap();
        splitter.finish(&mut |piece| pieces.push(piece));
        for piece in pieces {
            let (entries, faults) = read(&piece);
            assert_eq!(faults, []);
            for placed in entries {
                document.add(placed.entry);
            }
        }
        document
    }

    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Postmaster(account, mailbox) => self.postmaster = Some((account, mailbox)),
            Entry::Domain(domain, entry) => drop(self.domains.insert(domain, entry.settings)),
            Entry::Account(name, entry) => {
                let secrets = match entry.credential {
                    Credential::Unsaid => None,
                    Credential::Nothing => Some(None),
                    Credential::Verifiers(secrets) => Some(Some(*secrets)),
                    Credential::Password(_) => panic!("a password"),
                };
                let addresses = entry.addresses.into_iter();
                let addresses = addresses.map(|one| (one.address, (one.mailbox, one.destination)));
                let tls_keys = entry.tls_keys.into_iter().map(|(fingerprint, name, _)| (fingerprint, name));
                let entry = AccountEntry {
                    settings: entry.settings,
                    secrets,
                    addresses: addresses.collect(),
                    tls_keys: tls_keys.collect(),
                };
                self.accounts.insert(name, entry);
            }
            Entry::Refusal(address, code) => drop(self.refusals.insert(address, code)),
            Entry::Alias(alias, entry) => {
                let entry = AliasEntry { settings: entry.settings, members: entry.members };
                self.aliases.insert(alias, entry);
            }
        }
    }
}

/// The difference of two directories.
#[derive(Default)]
pub(super) struct Diff {
    /// What to change, in this order, as one transaction.
    pub(super) changes: Vec<Change>,
}

/// Finds what leads from `current` to `wanted`. `mail` says what happens to accounts that are not
/// wanted any more and hold mail.
pub(super) fn diff(current: &Document, wanted: &Document, mail: HeldMail) -> Diff {
    let as_written = wanted;
    let (current, wanted) = (&canonical(current), &canonical(wanted));
    let mut diff = Diff::default();
    let changes = &mut diff.changes;
    // Names first, since everything else leads to them; then what is in the way of removals.
    for (domain, settings) in &wanted.domains {
        if !current.domains.contains_key(domain) {
            changes.push(Change::AddDomain { domain: domain.clone(), settings: settings.clone() });
        }
    }
    for (name, entry) in &wanted.accounts {
        let (name, settings) = (name.clone(), entry.settings.clone());
        match current.accounts.get(&name) {
            None => changes.push(Change::AddAccount { name, settings }),
            Some(before) if before.settings != settings => {
                changes.push(Change::SetAccount { name, settings })
            }
            Some(_) => {}
        }
    }
    if current.postmaster != wanted.postmaster {
        changes.push(Change::SetPostmaster(wanted.postmaster.clone()));
    }
    let before = Targets::of(current);
    let after = Targets::of(wanted);
    remove_keys(changes, current, wanted);
    remove(changes, (current, &before), (wanted, &after), mail);
    for (domain, settings) in &wanted.domains {
        if current.domains.get(domain).is_some_and(|before| before != settings) {
            changes.push(Change::SetDomain { domain: domain.clone(), settings: settings.clone() });
        }
    }
    add(changes, (current, &before), (wanted, &after));
    add_keys(changes, current, wanted);
    for domain in current.domains.keys().filter(|domain| !wanted.domains.contains_key(*domain)) {
        changes.push(Change::RemoveDomain(domain.clone()));
    }
    respell(changes, as_written);
    credentials(&mut diff, current, wanted);
    diff
}

/// What an address leads to, by its spelling.
#[derive(PartialEq)]
enum Lead<'a> {
    Account(&'a AccountName),
    Refused(u16),
}

struct Targets<'a>(BTreeMap<&'a AddressPattern, Lead<'a>>);

impl<'a> Targets<'a> {
    fn of(document: &'a Document) -> Self {
        let owned = |(name, entry): (&'a AccountName, &'a AccountEntry)| {
            entry.addresses.keys().map(move |address| (address, Lead::Account(name)))
        };
        let mut targets: BTreeMap<_, _> = document.accounts.iter().flat_map(owned).collect();
        targets.extend(document.refusals.iter().map(|(address, code)| (address, Lead::Refused(*code))));
        Self(targets)
    }
}

type Side<'a> = (&'a Document, &'a Targets<'a>);

/// Whether a member has to leave an alias, be it only until its address has moved.
fn leaves(before: &Targets<'_>, after: &Targets<'_>, member: &Address) -> bool {
    let member = AddressPattern::Exact(member.clone());
    before.0.get(&member) != after.0.get(&member)
}

fn remove(changes: &mut Vec<Change>, (current, before): Side<'_>, (wanted, after): Side<'_>, mail: HeldMail) {
    for (alias, entry) in &current.aliases {
        let Some(kept) = wanted.aliases.get(alias) else {
            changes.push(Change::RemoveAlias(alias.clone()));
            continue;
        };
        for member in &entry.members {
            if !kept.members.contains(member) || leaves(before, after, member) {
                changes.push(Change::RemoveMember { alias: alias.clone(), member: member.clone() });
            }
        }
    }
    let gone: BTreeSet<_> =
        current.accounts.keys().filter(|name| !wanted.accounts.contains_key(*name)).collect();
    for name in &gone {
        changes.push(Change::RemoveAccount { name: (*name).clone(), mail });
    }
    for (address, lead) in &before.0 {
        // The addresses of a removed account go with it.
        let goes_anyway = matches!(lead, Lead::Account(name) if gone.contains(name));
        if !goes_anyway && after.0.get(address) != Some(lead) {
            changes.push(Change::RemoveAddress((*address).clone()));
        }
    }
}

/// Keys that go, or get another name, or another account; those of removed accounts go with them.
fn remove_keys(changes: &mut Vec<Change>, current: &Document, wanted: &Document) {
    for (account, before) in &current.accounts {
        let Some(after) = wanted.accounts.get(account) else { continue };
        for (fingerprint, name) in &before.tls_keys {
            if after.tls_keys.get(fingerprint) != Some(name) {
                changes.push(Change::RemoveTlsKey { account: account.clone(), fingerprint: *fingerprint });
            }
        }
    }
}

fn add_keys(changes: &mut Vec<Change>, current: &Document, wanted: &Document) {
    for (account, after) in &wanted.accounts {
        let before = current.accounts.get(account);
        for (fingerprint, name) in &after.tls_keys {
            if before.and_then(|before| before.tls_keys.get(fingerprint)) != Some(name) {
                let (account, name) = (account.clone(), name.clone());
                changes.push(Change::AddTlsKey { account, fingerprint: *fingerprint, name });
            }
        }
    }
}

fn add(changes: &mut Vec<Change>, (current, before): Side<'_>, (wanted, after): Side<'_>) {
    for (name, entry) in &wanted.accounts {
        for (address, (mailbox, destination)) in &entry.addresses {
            let (account, mailbox) = (name.clone(), mailbox.clone());
            let there = current.accounts.get(name).and_then(|entry| entry.addresses.get(address));
            let there = there.filter(|_| before.0.get(address) == Some(&Lead::Account(name)));
            match there {
                None => changes.push(Change::AddAddress { address: address.clone(), account, mailbox }),
                Some((known, _)) if *known != mailbox => {
                    changes.push(Change::SetAddress { address: address.clone(), mailbox });
                }
                Some(_) => {}
            }
            if there.map_or(&Destination::default(), |(_, known)| known) != destination {
                let (address, destination) = (address.clone(), destination.clone());
                changes.push(Change::SetDestination { address, destination });
            }
        }
    }
    for (address, code) in &wanted.refusals {
        if before.0.get(address) != Some(&Lead::Refused(*code)) {
            changes.push(Change::AddRefusal { address: address.clone(), code: *code });
        }
    }
    for (alias, entry) in &wanted.aliases {
        let (alias, settings) = (alias.clone(), entry.settings);
        let Some(known) = current.aliases.get(&alias) else {
            changes.push(Change::AddAlias { alias, settings, members: entry.members.clone() });
            continue;
        };
        if known.settings != settings {
            changes.push(Change::SetAlias { alias: alias.clone(), settings });
        }
        for member in &entry.members {
            if !known.members.contains(member) || leaves(before, after, member) {
                changes.push(Change::AddMember { alias: alias.clone(), member: member.clone() });
            }
        }
    }
}

fn credentials(diff: &mut Diff, current: &Document, wanted: &Document) {
    for (account, entry) in &wanted.accounts {
        let known = current.accounts.get(account).and_then(|entry| entry.secrets.clone().flatten());
        if let Some(secrets) = entry.secrets.clone().filter(|secrets| *secrets != known) {
            diff.changes.push(Change::SetSecrets { account: account.clone(), secrets });
        }
    }
}

/// The same directory with every address spelt as it is looked up, so that two documents agree on what
/// is the same address.
fn canonical(document: &Document) -> Document {
    let fold = |address: &Address| fold(document, address);
    let fold_pattern = |pattern: &AddressPattern| fold_pattern(document, pattern);
    let mut folded = document.clone();
    for entry in folded.accounts.values_mut() {
        entry.addresses = rename(std::mem::take(&mut entry.addresses), fold_pattern);
    }
    folded.refusals = rename(folded.refusals, fold_pattern);
    folded.aliases = rename(folded.aliases, fold);
    for entry in folded.aliases.values_mut() {
        for member in &mut entry.members {
            *member = fold(member).unwrap_or_else(|| member.clone());
        }
        entry.members.sort();
        entry.members.dedup();
    }
    folded
}

/// Renames keys; in a document that was parsed, no two become one.
fn rename<K: Ord, V>(map: BTreeMap<K, V>, to: impl Fn(&K) -> Option<K>) -> BTreeMap<K, V> {
    map.into_iter().map(|(key, value)| (to(&key).unwrap_or(key), value)).collect()
}

/// Spells what is added as the document does.
fn respell(changes: &mut [Change], document: &Document) {
    let exact = |address: &Address| AddressPattern::Exact(address.clone());
    let patterns = document.accounts.values().flat_map(|entry| entry.addresses.keys().cloned());
    let patterns = patterns.chain(document.refusals.keys().cloned());
    let patterns = patterns.chain(document.aliases.keys().map(exact));
    let spellings: BTreeMap<_, _> =
        patterns.filter_map(|pattern| Some((fold_pattern(document, &pattern)?, pattern))).collect();
    for change in changes {
        match change {
            Change::AddAddress { address, .. }
            | Change::SetDestination { address, .. }
            | Change::AddRefusal { address, .. } => {
                if let Some(spelling) = spellings.get(address) {
                    address.clone_from(spelling);
                }
            }
            Change::AddAlias { alias, .. } => {
                if let Some(AddressPattern::Exact(spelling)) = spellings.get(&exact(alias)) {
                    alias.clone_from(spelling);
                }
            }
            _ => {}
        }
    }
}

/// An address as it is looked up; none where the document has no such domain.
fn fold_pattern(document: &Document, pattern: &AddressPattern) -> Option<AddressPattern> {
    match pattern {
        AddressPattern::Exact(address) => fold(document, address).map(AddressPattern::Exact),
        AddressPattern::CatchAll(_) => None,
    }
}

fn fold(document: &Document, address: &Address) -> Option<Address> {
    let settings = document.domains.get(&address.domain)?;
    let localpart = Localpart::from_decoded(&settings.fold(address.localpart.as_str())).ok()?;
    Some(Address { localpart, domain: address.domain.clone() })
}
