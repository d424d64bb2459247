//! Whether everything holds in the directory, found out by walking its tables in order.
//!
//! Two tables that lead to each other have the same pairs: the hashes of both add up to the same, and with a
//! key that nobody knows nothing else does. What is of accounts is in the order of their numbers, and is walked
//! side by side with them. So nothing is looked up but domains, which are remembered: with 300,000 accounts,
//! looking up each row that another one leads to takes several times as long. What is wrong isn't said here.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};

use postrider_proto::address::Domain;
use postrider_proto::sasl::secrets::StoredSecrets;

use super::super::lookup::{Directory, exact};
use super::super::rows::{self, AddressRow, DkimKeyRow, PREFIX_OCTETS, Place, StateRow, TlsKeyRow};
use super::super::types::{DomainSettings, Target};
use super::super::{apply, stage};
use super::is_canonical;
use crate::engine::{Bytes, EngineError, Rows, Snapshot, Space};
use crate::ids::AccountId;
use crate::keys;

/// Domains that are remembered.
const DOMAINS_MAX: usize = 4096;

/// Whether every rule holds. When it is in doubt, it says no.
pub(in super::super) fn holds(snapshot: &dyn Snapshot) -> Result<bool, EngineError> {
    let walk = |table| Cursor { rows: snapshot.prefix(Space::Rows, &rows::table(table)), at: None };
    let mut walker = Walker {
        snapshot,
        domains: HashMap::new(),
        keys: [RandomState::new(), RandomState::new()],
        sums: [0; PAIRS],
        counted: StateRow::default(),
        plan: stage::plan_state(snapshot).is_ok_and(|plan| plan.is_some()),
        alias: None,
    };
    for table in keys::table::DIRECTORY_FIRST..=keys::table::DIRECTORY_LAST {
        let (mut accounts, mut addresses) = (walk(rows::ACCOUNT), walk(rows::ACCOUNT_ADDRESS));
        for row in snapshot.prefix(Space::Rows, &rows::table(table)) {
            let (key, value) = row?;
            let is_right = match walker.row(table, &key, &value)? {
                Some(Owner::Nobody) => true,
                Some(Owner::Account(account)) => accounts.has(&rows::account(account))?,
                Some(Owner::NoAccount(account)) => !accounts.has(&rows::account(account))?,
                Some(Owner::Address(account, place)) => {
                    addresses.has(&rows::account_address(account, &place))?
                }
                None => false,
            };
            if !is_right {
                return Ok(false);
            }
        }
    }
    Ok(walker.sums == [0; PAIRS] && walker.state()?)
}

/// Rows of a table, which are asked for in ascending order.
struct Cursor<'a> {
    rows: Rows<'a>,
    at: Option<Bytes>,
}

impl Cursor<'_> {
    fn has(&mut self, key: &[u8]) -> Result<bool, EngineError> {
        while self.at.as_deref().is_none_or(|at| at < key) {
            let Some((at, _)) = self.rows.next().transpose()? else { return Ok(false) };
            self.at = Some(at);
        }
        Ok(self.at.as_deref() == Some(key))
    }
}

/// What has to be there, or not, for a row that is right by itself.
enum Owner {
    Nobody,
    Account(AccountId),
    NoAccount(AccountId),
    /// An address of an account.
    Address(AccountId, Place),
}

/// What two tables have in common.
#[derive(Clone, Copy)]
enum Pair {
    /// ACCOUNT and ACCOUNT_NAME.
    Name,
    /// ACCOUNT and ACCOUNT_DOMAIN.
    Domain,
    /// ADDRESS and ACCOUNT_ADDRESS.
    Address,
    /// TLS_KEY and ACCOUNT_TLS_KEY.
    Key,
    /// ADDRESS and MEMBER, each alias once.
    Alias,
    /// MEMBER and MEMBER_OF.
    Member,
}

const PAIRS: usize = Pair::Member as usize + 1;

struct Walker<'a> {
    snapshot: &'a dyn Snapshot,
    domains: HashMap<Domain, Option<DomainSettings>>,
    keys: [RandomState; 2],
    sums: [u128; PAIRS],
    counted: StateRow,
    plan: bool,
    /// The alias whose members are walked.
    alias: Option<Place>,
}

impl Walker<'_> {
    /// Looks at one row; none when it is wrong.
    fn row(&mut self, table: u8, key: &[u8], value: &[u8]) -> Result<Option<Owner>, EngineError> {
        let rest = key.get(PREFIX_OCTETS..).unwrap_or_default();
        Ok(match table {
            rows::STATE => StateRow::decode(key, value).ok().map(|_| Owner::Nobody),
            rows::DOMAIN => {
                self.counted.domains += 1;
                rows::decode_domain(key, value).ok().map(|_| Owner::Nobody)
            }
            rows::ACCOUNT => self.account(key, value)?,
            rows::ACCOUNT_NAME => self.account_name(key, rest, value),
            rows::ADDRESS => self.address(key, rest, value)?,
            rows::ACCOUNT_ADDRESS => rows::account_and_place(rest).map(|(account, place)| {
                self.subtract(Pair::Address, (account.get(), &place));
                Owner::Account(account)
            }),
            rows::CREDENTIAL => {
                StoredSecrets::decode(value).ok().and(rows::account_id(rest)).map(Owner::Account)
            }
            rows::MEMBER => self.member(rest),
            rows::MEMBER_OF => self.member_of(rest),
            rows::ACCOUNT_DOMAIN => self.account_domain(rest),
            rows::REMOVED => rows::account_id(rest).map(|account| {
                self.number(account);
                Owner::NoAccount(account)
            }),
            rows::TLS_KEY => self.tls_key(key, rest, value),
            rows::ACCOUNT_TLS_KEY => self.account_tls_key(rest),
            rows::DKIM_KEY => self.dkim_key(key, rest, value)?,
            rows::PLAN => {
                let plan = stage::decode_plan(key, value).ok().filter(|_| rest.is_empty());
                plan.map(|_| Owner::Nobody)
            }
            rows::STAGED => {
                let staged = stage::unstaged_key(key).and(stage::decode_staged(key, value).ok());
                staged.filter(|_| self.plan).map(|_| Owner::Nobody)
            }
            rows::WANTED => (self.plan && apply::is_readable(key, value)).then_some(Owner::Nobody),
            _ => None,
        })
    }

    fn account(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Owner>, EngineError> {
        let Ok(account) = rows::decode_account(key, value) else { return Ok(None) };
        self.counted.accounts += 1;
        self.number(account.id);
        let domain = &account.settings.domain;
        self.add(Pair::Name, (account.id.get(), account.name.as_str()));
        self.add(Pair::Domain, (account.id.get(), domain.as_str()));
        Ok(self.domain(domain)?.map(|_| Owner::Nobody))
    }

    fn account_name(&mut self, key: &[u8], rest: &[u8], value: &[u8]) -> Option<Owner> {
        let (id, name) = (rows::decode_account_id(key, value).ok()?, str::from_utf8(rest).ok()?);
        self.subtract(Pair::Name, (id.get(), name));
        Some(Owner::Nobody)
    }

    fn address(&mut self, key: &[u8], rest: &[u8], value: &[u8]) -> Result<Option<Owner>, EngineError> {
        let (Ok(row), Some(place)) = (AddressRow::decode(key, value), rows::place(rest)) else {
            return Ok(None);
        };
        self.counted.addresses += 1;
        if !self.domain(&place.domain)?.is_some_and(|settings| is_canonical(settings, &place, &row.spelling))
        {
            return Ok(None);
        }
        let is_right = match row.target {
            // The address of the account is looked for when those are walked.
            Target::Account { account, .. } => {
                self.add(Pair::Address, (account.get(), &place));
                true
            }
            Target::Alias(_) => {
                self.add(Pair::Alias, &place);
                exact(&place).is_some()
            }
            Target::Refused(code) => matches!(code, 451 | 550),
        };
        Ok(is_right.then_some(Owner::Nobody))
    }

    fn member(&mut self, rest: &[u8]) -> Option<Owner> {
        let (alias, after) = rows::place_and_rest(rest)?;
        let (account, member) = rows::account_and_place(after)?;
        self.add(Pair::Member, (&alias, account.get(), &member));
        if self.alias.as_ref() != Some(&alias) {
            self.subtract(Pair::Alias, &alias);
            self.alias = Some(alias);
        }
        exact(&member).map(|_| Owner::Nobody)
    }

    fn member_of(&mut self, rest: &[u8]) -> Option<Owner> {
        let (account, after) = rest.split_at_checked(4)?;
        let (account, (member, after)) = (rows::account_id(account)?, rows::place_and_rest(after)?);
        self.subtract(Pair::Member, (&rows::place(after)?, account.get(), &member));
        Some(Owner::Address(account, member))
    }

    fn account_domain(&mut self, rest: &[u8]) -> Option<Owner> {
        let (name, id) = rows::until_zero(rest)?;
        let (id, name) = (rows::account_id(id)?, str::from_utf8(name).ok()?);
        self.subtract(Pair::Domain, (id.get(), name));
        Some(Owner::Nobody)
    }

    fn tls_key(&mut self, key: &[u8], rest: &[u8], value: &[u8]) -> Option<Owner> {
        let (row, fingerprint) = (TlsKeyRow::decode(key, value).ok()?, rows::fingerprint(rest)?);
        self.add(Pair::Key, (row.account.get(), fingerprint.as_octets()));
        Some(Owner::Nobody)
    }

    fn dkim_key(&mut self, key: &[u8], rest: &[u8], value: &[u8]) -> Result<Option<Owner>, EngineError> {
        let (Ok(_), Some((domain, _))) = (DkimKeyRow::decode(key, value), rows::domain_and_selector(rest))
        else {
            return Ok(None);
        };
        Ok(self.domain(&domain)?.map(|_| Owner::Nobody))
    }

    fn account_tls_key(&mut self, rest: &[u8]) -> Option<Owner> {
        let (account, rest) = rest.split_at_checked(4)?;
        let (account, fingerprint) = (rows::account_id(account)?, rows::fingerprint(rest)?);
        self.subtract(Pair::Key, (account.get(), fingerprint.as_octets()));
        Some(Owner::Account(account))
    }

    /// What only the whole can show.
    fn state(&self) -> Result<bool, EngineError> {
        let state = match Directory::new(self.snapshot).state() {
            Err(EngineError::Corrupt { .. }) => return Ok(false),
            state => state?,
        };
        let found = (self.counted.accounts, self.counted.domains, self.counted.addresses);
        let postmaster = state.postmaster.as_ref().map(|postmaster| rows::account(postmaster.account));
        Ok(found == (state.accounts, state.domains, state.addresses)
            // 0 is what comes after the last.
            && self.counted.next_account.wrapping_sub(1) <= state.next_account.wrapping_sub(1)
            && postmaster.map_or(Ok(true), |key| self.snapshot.contains(Space::Rows, &key))?)
    }

    /// Notes a number that is or was an account's.
    fn number(&mut self, account: AccountId) {
        self.counted.next_account = self.counted.next_account.max(account.get().wrapping_add(1));
    }

    /// What is set for a domain; none when it isn't there, or can't be read.
    fn domain(&mut self, domain: &Domain) -> Result<Option<&DomainSettings>, EngineError> {
        if !self.domains.contains_key(domain) {
            if self.domains.len() == DOMAINS_MAX {
                self.domains.clear();
            }
            let settings = match Directory::new(self.snapshot).domain(domain) {
                Err(EngineError::Corrupt { .. }) => None,
                settings => settings?,
            };
            self.domains.insert(domain.clone(), settings);
        }
        Ok(self.domains.get(domain).and_then(Option::as_ref))
    }

    fn add(&mut self, pair: Pair, of: impl Hash) {
        let hash = self.hash(of);
        let sum = &mut self.sums[pair as usize];
        *sum = sum.wrapping_add(hash);
    }

    fn subtract(&mut self, pair: Pair, of: impl Hash) {
        let hash = self.hash(of);
        let sum = &mut self.sums[pair as usize];
        *sum = sum.wrapping_sub(hash);
    }

    fn hash(&self, of: impl Hash) -> u128 {
        let [high, low] = self.keys.each_ref().map(|key| u128::from(key.hash_one(&of)));
        high << 64 | low
    }
}
