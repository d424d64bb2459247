//! Addresses to which mail of an account isn't sent, because it failed there or because somebody said so.

use super::cursor::Cursor;
use crate::account::hash;
use crate::engine::{Batch, Space};
use crate::ids::AccountId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{StrikesRow, SuppressionRow};
use crate::store::{Refusal, StoreError};

/// How many failures in a row suppress an address.
pub const STRIKES_MAX: u32 = 3;

/// What all variants of an address that lead to one mailbox have in common, by the usual rules: the local part up
/// to the first `+` and then the first `-`, without dots, in lower case. A local part of which nothing would be
/// left stays as it is.
pub fn base_address(address: &str) -> String {
    let (localpart, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let cut = |text: &str, at: char| text.split(at).next().unwrap_or_default().to_owned();
    let base = cut(&cut(localpart, '+'), '-').replace('.', "");
    let base = if base.is_empty() { localpart } else { &base };
    format!("{}@{}", base.to_lowercase(), domain.to_lowercase())
}

/// What an attempt says of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It takes mail.
    Delivered,
    /// Nothing: the refusal was not of the address.
    Nothing,
    /// It failed for good, which may be for this message only.
    Strike,
    /// It takes no mail.
    Suppress,
}

/// A failure, or a success, of delivery to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure<'a> {
    /// The address as it was given.
    pub address: &'a str,
    /// When, in seconds since 1970.
    pub time: i64,
    /// Why.
    pub reason: &'a str,
}

/// Adds to a batch what a verdict means for the account's later mail: failures are counted for each account and
/// exact address, and a delivery begins anew. Gives the base address when it is suppressed now and wasn't. For an account
/// that was removed meanwhile, the verdict is to be [`Verdict::Nothing`].
pub fn note(
    reader: &Reader,
    batch: &mut Batch,
    account: AccountId,
    verdict: Verdict,
    failure: Failure<'_>,
) -> Result<Option<String>, StoreError> {
    if verdict == Verdict::Nothing {
        return Ok(None);
    }
    let key = keys::strikes(account, hash(failure.address.as_bytes()));
    let known = reader.get(&key)?.map(|row| StrikesRow::decode(&row)).transpose()?;
    let count = known.map_or(0, |row| row.count);
    let suppress = match verdict {
        Verdict::Strike if count + 1 < STRIKES_MAX => {
            batch.insert(Space::Rows, key, StrikesRow { count: count + 1, last: failure.time }.encode());
            return Ok(None);
        }
        Verdict::Strike | Verdict::Suppress => true,
        Verdict::Delivered | Verdict::Nothing => false,
    };
    if known.is_some() {
        batch.remove(Space::Rows, key);
    }
    let base = base_address(failure.address);
    // No outcome of a delivery is lost for an address that is too long for the list.
    if !suppress || !fits(failure.address, &base) || lookup_base(reader, account, &base)?.is_some() {
        return Ok(None);
    }
    put(batch, account, &base, failure, true)?;
    Ok(Some(base))
}

/// Adds to a batch that an account doesn't send to an address any more; one that is there is replaced.
pub fn add(batch: &mut Batch, account: AccountId, failure: Failure<'_>) -> Result<(), StoreError> {
    put(batch, account, &base_address(failure.address), failure, false)
}

/// Adds to a batch that an account sends to an address again, and that nothing is counted of it. False when it
/// wasn't suppressed.
pub fn remove(
    reader: &Reader,
    batch: &mut Batch,
    account: AccountId,
    address: &str,
) -> Result<bool, StoreError> {
    let base = base_address(address);
    let Some(row) = lookup_base(reader, account, &base)? else { return Ok(false) };
    batch.remove(Space::Rows, keys::suppression(account, &base));
    for address in [address, &row.address] {
        batch.remove(Space::Rows, keys::strikes(account, hash(address.as_bytes())));
    }
    Ok(true)
}

/// Whether, and why, an account doesn't send to an address.
pub fn lookup(
    reader: &Reader,
    account: AccountId,
    address: &str,
) -> Result<Option<SuppressionRow>, StoreError> {
    lookup_base(reader, account, &base_address(address))
}

/// A suppressed address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suppressed {
    /// The account that doesn't send there.
    pub account: AccountId,
    /// What variants of the address have in common.
    pub base: String,
    /// Since when, and why.
    pub row: SuppressionRow,
}

/// Suppressed addresses of one account, or of all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuppressedPage {
    /// By account and base address.
    pub addresses: Vec<Suppressed>,
    /// Where to go on; none at the end.
    pub next: Option<Cursor>,
}

/// Lists suppressed addresses, at most `count_max`.
pub fn list(
    reader: &Reader,
    account: Option<AccountId>,
    cursor: Option<&Cursor>,
    count_max: usize,
) -> Result<SuppressedPage, StoreError> {
    let prefix = account.map_or(keys::of_table(SYSTEM, table::SUPPRESSION), keys::suppressions);
    let from = Cursor::after(cursor, &prefix)?;
    let mut addresses = Vec::new();
    let mut last = None;
    for row in reader.from(&from, &prefix) {
        let (key, value) = row?;
        if addresses.len() == count_max {
            return Ok(SuppressedPage { addresses, next: last.map(Cursor::at) });
        }
        let (account, base) = keys::suppression_parts(&key)?;
        addresses.push(Suppressed { account, base: base.to_owned(), row: SuppressionRow::decode(&value)? });
        last = Some(key);
    }
    Ok(SuppressedPage { addresses, next: None })
}

/// The batch that forgets failures that were counted last before `time` (seconds since 1970), and where to go on.
/// Looks at `rows_max` rows.
pub fn purge_strikes(
    reader: &Reader,
    time: i64,
    cursor: Option<&Cursor>,
    rows_max: usize,
) -> Result<(Batch, Option<Cursor>), StoreError> {
    let prefix = keys::of_table(SYSTEM, table::STRIKES);
    let from = Cursor::after(cursor, &prefix)?;
    let mut batch = Batch::new();
    let mut last = None;
    for (looked, row) in reader.from(&from, &prefix).enumerate() {
        let (key, value) = row?;
        if looked == rows_max {
            return Ok((batch, last.map(Cursor::at)));
        }
        if StrikesRow::decode(&value)?.last < time {
            batch.remove(Space::Rows, key.clone());
        }
        last = Some(key);
    }
    Ok((batch, None))
}

fn lookup_base(
    reader: &Reader,
    account: AccountId,
    base: &str,
) -> Result<Option<SuppressionRow>, StoreError> {
    let row = reader.get(&keys::suppression(account, base))?;
    row.map(|row| Ok(SuppressionRow::decode(&row)?)).transpose()
}

fn fits(address: &str, base: &str) -> bool {
    address.len().max(base.len()) <= SuppressionRow::TEXT_OCTETS_MAX
}

fn put(
    batch: &mut Batch,
    account: AccountId,
    base: &str,
    failure: Failure<'_>,
    automatic: bool,
) -> Result<(), StoreError> {
    if !fits(failure.address, base) {
        return Err(Refusal::EnvelopeTooLong.into());
    }
    let reason = &failure.reason[..failure.reason.floor_char_boundary(SuppressionRow::TEXT_OCTETS_MAX)];
    let row = SuppressionRow {
        created: failure.time,
        automatic,
        address: failure.address.into(),
        reason: reason.into(),
    };
    let value = row.encode().ok_or(Refusal::EnvelopeTooLong)?;
    batch.insert(Space::Rows, keys::suppression(account, base), value);
    Ok(())
}
