//! What always holds in the directory: for `verifydata`, and for tests.
//!
//! Whether it does is found out by `verify/quick.rs`; only when it doesn't, each row is looked at for what is wrong.

pub(super) mod quick;

use postrider_proto::sasl::secrets::StoredSecrets;

use super::lookup::{Directory, exact};
use super::rows::{self, AddressRow, DkimKeyRow, PREFIX_OCTETS, Place, StateRow, TlsKeyRow};
use super::stage;
use super::types::{AddressPattern, DomainSettings, Target};
use crate::engine::{EngineError, Snapshot, Space};
use crate::ids::AccountId;
use crate::keys;

/// A rule of the directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// Every row can be read, and belongs to a known table.
    Readable,
    /// Names and ids of accounts lead to each other.
    AccountNamed,
    /// Account ids are below the next one, and those removed are gone.
    AccountIds,
    /// The domain of every account, address and DKIM key exists; accounts are listed with their domains.
    DomainExists,
    /// Addresses are stored under their canonical form, without separators.
    AddressCanonical,
    /// Addresses and accounts lead to each other.
    AddressOwned,
    /// Credentials, TLS public keys and the postmaster belong to accounts that exist; keys and accounts
    /// lead to each other.
    OwnerExists,
    /// Aliases and their members lead to each other, members are addresses of the account that is
    /// noted, and no alias is empty.
    AliasMembers,
    /// The counts are right.
    Counts,
    /// What is staged, and what a document wants, is there only while a plan is, and is of known form.
    Staged,
}

/// A rule that is broken.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// Where.
    pub subject: String,
}

/// Checks every row of the directory against every rule.
pub fn verify(snapshot: &dyn Snapshot) -> Result<Vec<Violation>, EngineError> {
    if quick::holds(snapshot)? { Ok(Vec::new()) } else { violations(snapshot) }
}

/// Looks up what each row leads to.
pub(super) fn violations(snapshot: &dyn Snapshot) -> Result<Vec<Violation>, EngineError> {
    let mut checker = Checker {
        snapshot,
        directory: Directory::new(snapshot),
        violations: Vec::new(),
        counted: StateRow::default(),
    };
    for table in keys::table::DIRECTORY_FIRST..=keys::table::DIRECTORY_LAST {
        for row in snapshot.prefix(Space::Rows, &rows::table(table)) {
            let (key, value) = row?;
            checker.row(table, &key, &value)?;
        }
    }
    checker.state()?;
    Ok(checker.violations)
}

struct Checker<'a> {
    snapshot: &'a dyn Snapshot,
    directory: Directory<'a>,
    violations: Vec<Violation>,
    counted: StateRow,
}

impl Checker<'_> {
    fn row(&mut self, table: u8, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        let rest = key.get(PREFIX_OCTETS..).unwrap_or_default();
        let checked = match table {
            rows::STATE => StateRow::decode(key, value).ok().map(|_| ()),
            rows::DOMAIN => {
                self.counted.domains += 1;
                rows::decode_domain(key, value).ok().map(|_| ())
            }
            rows::ACCOUNT => self.account(key, value)?,
            rows::ACCOUNT_NAME => self.account_name(key, rest, value)?,
            rows::ADDRESS => self.address(key, rest, value)?,
            rows::ACCOUNT_ADDRESS => self.account_address(rest)?,
            rows::CREDENTIAL => self.credential(rest, value)?,
            rows::MEMBER => self.member(rest)?,
            rows::MEMBER_OF => self.member_of(rest)?,
            rows::ACCOUNT_DOMAIN => self.account_domain(rest)?,
            rows::REMOVED => self.removed(rest)?,
            rows::TLS_KEY => self.tls_key(key, rest, value)?,
            rows::ACCOUNT_TLS_KEY => self.account_tls_key(rest)?,
            rows::DKIM_KEY => self.dkim_key(key, rest, value)?,
            rows::PLAN => stage::decode_plan(key, value).ok().filter(|_| rest.is_empty()).map(|_| ()),
            rows::STAGED => self.staged(key, value)?,
            rows::WANTED => self.wanted(key, value)?,
            _ => None,
        };
        self.expect(checked.is_some(), Rule::Readable, || key.escape_ascii().to_string());
        Ok(())
    }

    fn account(&mut self, key: &[u8], value: &[u8]) -> Result<Option<()>, EngineError> {
        let Ok(account) = rows::decode_account(key, value) else { return Ok(None) };
        self.counted.accounts += 1;
        self.counted.next_account = self.counted.next_account.max(account.id.get().wrapping_add(1));
        let named = self.snapshot.get(Space::Rows, &rows::account_name(&account.name))?;
        let leads_back = named.as_deref() == Some(&rows::encode_account_id(account.id));
        self.expect(leads_back, Rule::AccountNamed, || account.name.to_string());
        let domain = &account.settings.domain;
        let listed = self.snapshot.contains(Space::Rows, &rows::account_domain(domain, account.id))?
            && self.snapshot.contains(Space::Rows, &rows::domain(domain))?;
        self.expect(listed, Rule::DomainExists, || account.name.to_string());
        Ok(Some(()))
    }

    fn account_name(&mut self, key: &[u8], rest: &[u8], value: &[u8]) -> Result<Option<()>, EngineError> {
        let (Ok(id), Ok(name)) = (rows::decode_account_id(key, value), str::from_utf8(rest)) else {
            return Ok(None);
        };
        let account = self.readable(|directory| directory.account(id))?;
        let leads_back = account.is_some_and(|account| account.name.as_str() == name);
        self.expect(leads_back, Rule::AccountNamed, || name.to_owned());
        Ok(Some(()))
    }

    fn address(&mut self, key: &[u8], rest: &[u8], value: &[u8]) -> Result<Option<()>, EngineError> {
        let (Ok(row), Some(place)) = (AddressRow::decode(key, value), rows::place(rest)) else {
            return Ok(None);
        };
        self.counted.addresses += 1;
        let settings = self.readable(|directory| directory.domain(&place.domain))?;
        self.expect(settings.is_some(), Rule::DomainExists, || place.to_string());
        let canonical = settings.is_none_or(|settings| is_canonical(&settings, &place, &row.spelling));
        self.expect(canonical, Rule::AddressCanonical, || place.to_string());
        match row.target {
            Target::Account { account, .. } => {
                let owned = self.snapshot.contains(Space::Rows, &rows::account_address(account, &place))?
                    && self.snapshot.contains(Space::Rows, &rows::account(account))?;
                self.expect(owned, Rule::AddressOwned, || place.to_string());
            }
            Target::Alias(_) => {
                let members = self.snapshot.prefix(Space::Rows, &rows::members(&place)).next();
                let filled = members.transpose()?.is_some() && exact(&place).is_some();
                self.expect(filled, Rule::AliasMembers, || place.to_string());
            }
            Target::Refused(code) => {
                self.expect(matches!(code, 451 | 550), Rule::Readable, || place.to_string());
            }
        }
        Ok(Some(()))
    }

    fn account_address(&mut self, rest: &[u8]) -> Result<Option<()>, EngineError> {
        let Some((account, place)) = rows::account_and_place(rest) else { return Ok(None) };
        let owned = self.owner(&place)? == Some(account);
        self.expect(owned, Rule::AddressOwned, || place.to_string());
        Ok(Some(()))
    }

    fn credential(&mut self, rest: &[u8], value: &[u8]) -> Result<Option<()>, EngineError> {
        let Some(account) = rows::account_id(rest) else { return Ok(None) };
        let exists = self.snapshot.contains(Space::Rows, &rows::account(account))?;
        self.expect(exists, Rule::OwnerExists, || format!("credentials of account number {account}"));
        Ok(StoredSecrets::decode(value).ok().map(|_| ()))
    }

    fn tls_key(&mut self, key: &[u8], rest: &[u8], value: &[u8]) -> Result<Option<()>, EngineError> {
        let (Ok(row), Some(fingerprint)) = (TlsKeyRow::decode(key, value), rows::fingerprint(rest)) else {
            return Ok(None);
        };
        let owned = self.snapshot.contains(Space::Rows, &rows::account_tls_key(row.account, &fingerprint))?
            && self.snapshot.contains(Space::Rows, &rows::account(row.account))?;
        self.expect(owned, Rule::OwnerExists, || format!("TLS public key {fingerprint}"));
        Ok(Some(()))
    }

    fn account_tls_key(&mut self, rest: &[u8]) -> Result<Option<()>, EngineError> {
        let Some((account, rest)) = rest.split_at_checked(4) else { return Ok(None) };
        let (Some(account), Some(fingerprint)) = (rows::account_id(account), rows::fingerprint(rest)) else {
            return Ok(None);
        };
        let key = rows::tls_key(&fingerprint);
        let row = self.snapshot.get(Space::Rows, &key)?;
        let row = row.and_then(|value| TlsKeyRow::decode(&key, &value).ok());
        let leads_back = row.is_some_and(|row| row.account == account);
        self.expect(leads_back, Rule::OwnerExists, || format!("TLS public key {fingerprint}"));
        Ok(Some(()))
    }

    fn dkim_key(&mut self, key: &[u8], rest: &[u8], value: &[u8]) -> Result<Option<()>, EngineError> {
        let (Ok(_), Some((domain, selector))) =
            (DkimKeyRow::decode(key, value), rows::domain_and_selector(rest))
        else {
            return Ok(None);
        };
        let settings = self.readable(|directory| directory.domain(&domain))?;
        self.expect(settings.is_some(), Rule::DomainExists, || selector.key_name(&domain));
        Ok(Some(()))
    }

    fn member(&mut self, rest: &[u8]) -> Result<Option<()>, EngineError> {
        let Some((alias, after)) = rows::place_and_rest(rest) else { return Ok(None) };
        let Some((account, member)) = rows::account_and_place(after) else { return Ok(None) };
        let whole = self.is_alias(&alias)?
            && self.owner(&member)? == Some(account)
            && exact(&member).is_some()
            && self.snapshot.contains(Space::Rows, &rows::member_of(account, &member, &alias))?;
        self.expect(whole, Rule::AliasMembers, || format!("{member} of {alias}"));
        Ok(Some(()))
    }

    fn member_of(&mut self, rest: &[u8]) -> Result<Option<()>, EngineError> {
        let Some((account, after)) = rest.split_at_checked(4) else { return Ok(None) };
        let (Some(account), Some((member, after))) = (rows::account_id(account), rows::place_and_rest(after))
        else {
            return Ok(None);
        };
        let Some(alias) = rows::place(after) else { return Ok(None) };
        let whole = self.snapshot.contains(Space::Rows, &rows::member(&alias, account, &member))?;
        self.expect(whole, Rule::AliasMembers, || format!("{member} of {alias}"));
        Ok(Some(()))
    }

    fn account_domain(&mut self, rest: &[u8]) -> Result<Option<()>, EngineError> {
        let Some((name, id)) = rows::until_zero(rest) else { return Ok(None) };
        let (Some(id), Ok(name)) = (rows::account_id(id), str::from_utf8(name)) else { return Ok(None) };
        let account = self.readable(|directory| directory.account(id))?;
        let leads_back = account.is_some_and(|account| account.settings.domain.as_str() == name);
        self.expect(leads_back, Rule::DomainExists, || format!("account number {id} of {name}"));
        Ok(Some(()))
    }

    fn removed(&mut self, rest: &[u8]) -> Result<Option<()>, EngineError> {
        let Some(account) = rows::account_id(rest) else { return Ok(None) };
        self.counted.next_account = self.counted.next_account.max(account.get().wrapping_add(1));
        let gone = !self.snapshot.contains(Space::Rows, &rows::account(account))?;
        self.expect(gone, Rule::AccountIds, || format!("removed account number {account}"));
        Ok(Some(()))
    }

    fn staged(&mut self, key: &[u8], value: &[u8]) -> Result<Option<()>, EngineError> {
        self.of_a_plan(key)?;
        Ok(stage::unstaged_key(key).and(stage::decode_staged(key, value).ok()).map(|_| ()))
    }

    fn wanted(&mut self, key: &[u8], value: &[u8]) -> Result<Option<()>, EngineError> {
        self.of_a_plan(key)?;
        Ok(super::apply::is_readable(key, value).then_some(()))
    }

    fn of_a_plan(&mut self, key: &[u8]) -> Result<(), EngineError> {
        let plan = self.snapshot.contains(Space::Rows, &stage::plan_key())?;
        self.expect(plan, Rule::Staged, || key.escape_ascii().to_string());
        Ok(())
    }

    /// What only the whole can show.
    fn state(&mut self) -> Result<(), EngineError> {
        let Some(state) = self.readable(|directory| directory.state().map(Some))? else { return Ok(()) };
        let found = (self.counted.accounts, self.counted.domains, self.counted.addresses);
        let stored = (state.accounts, state.domains, state.addresses);
        self.expect(found == stored, Rule::Counts, || {
            format!("accounts, domains, addresses: found {found:?}, stored {stored:?}")
        });
        // 0 is what comes after the last.
        let (highest, next) = (self.counted.next_account.wrapping_sub(1), state.next_account.wrapping_sub(1));
        self.expect(highest <= next, Rule::AccountIds, || {
            format!("next account number {}", state.next_account)
        });
        if let Some(postmaster) = state.postmaster {
            let exists = self.snapshot.contains(Space::Rows, &rows::account(postmaster.account))?;
            self.expect(exists, Rule::OwnerExists, || "postmaster".to_owned());
        }
        Ok(())
    }

    fn owner(&self, place: &Place) -> Result<Option<AccountId>, EngineError> {
        let key = rows::address(place);
        let row = self.snapshot.get(Space::Rows, &key)?;
        Ok(match row.and_then(|value| AddressRow::decode(&key, &value).ok()) {
            Some(AddressRow { target: Target::Account { account, .. }, .. }) => Some(account),
            _ => None,
        })
    }

    fn is_alias(&self, place: &Place) -> Result<bool, EngineError> {
        let key = rows::address(place);
        let row = self.snapshot.get(Space::Rows, &key)?;
        let row = row.and_then(|value| AddressRow::decode(&key, &value).ok());
        Ok(row.is_some_and(|row| matches!(row.target, Target::Alias(_))))
    }

    /// What a damaged row holds is nothing here; the row itself is reported where it stands.
    fn readable<T>(
        &self,
        read: impl FnOnce(&Directory<'_>) -> Result<Option<T>, EngineError>,
    ) -> Result<Option<T>, EngineError> {
        match read(&self.directory) {
            Err(EngineError::Corrupt { .. }) => Ok(None),
            other => other,
        }
    }

    fn expect(&mut self, holds: bool, rule: Rule, subject: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(Violation { rule, subject: subject() });
        }
    }
}

fn is_canonical(settings: &DomainSettings, place: &Place, spelling: &str) -> bool {
    settings.fold(spelling) == place.localpart
        && settings.separator_in(spelling).is_none()
        && AddressPattern::of(&place.domain, spelling).is_ok()
}
