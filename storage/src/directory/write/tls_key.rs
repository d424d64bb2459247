//! Public keys of TLS that log in to accounts.

use super::super::draft::Draft;
use super::super::lookup::damaged;
use super::super::plan::DirectoryError;
use super::super::rows::{self, TlsKeyRow};
use super::super::types::{AccountName, Fingerprint, Limits};
use super::{account, check_text};
use crate::ids::AccountId;

pub(in super::super) fn add(
    draft: &mut Draft<'_>,
    name: &AccountName,
    fingerprint: &Fingerprint,
    key_name: &str,
    limits: &Limits,
    now: i64,
) -> Result<(), DirectoryError> {
    let id = account::find(draft, name)?.id;
    let what = || format!("the name of TLS public key {fingerprint}");
    check_text(what, key_name, limits.tls_key_name_octets_max)?;
    let key = rows::tls_key(fingerprint);
    if let Some(row) = draft.row(&key, TlsKeyRow::decode)? {
        let owner = draft.row(&rows::account(row.account), rows::decode_account)?;
        let owner = owner.ok_or_else(|| damaged(&rows::account(row.account)))?;
        return Err(DirectoryError::TlsKeyExists { fingerprint: *fingerprint, account: owner.name });
    }
    if draft.all(&rows::account_tls_keys(id))?.len() >= limits.tls_keys_max {
        let keys_max = limits.tls_keys_max;
        return Err(DirectoryError::TooManyTlsKeys { account: name.clone(), keys_max });
    }
    let row = TlsKeyRow { account: id, created: now, name: key_name.to_owned() };
    draft.put(key, row.encode());
    draft.put(rows::account_tls_key(id, fingerprint), rows::present());
    Ok(())
}

pub(in super::super) fn remove(
    draft: &mut Draft<'_>,
    name: &AccountName,
    fingerprint: &Fingerprint,
) -> Result<(), DirectoryError> {
    let id = account::find(draft, name)?.id;
    let key = rows::tls_key(fingerprint);
    if draft.row(&key, TlsKeyRow::decode)?.is_none_or(|row| row.account != id) {
        return Err(DirectoryError::NoTlsKey { account: name.clone(), fingerprint: *fingerprint });
    }
    draft.remove(key);
    draft.remove(rows::account_tls_key(id, fingerprint));
    Ok(())
}

/// Removes all keys of an account that goes.
pub(super) fn remove_all(draft: &mut Draft<'_>, id: AccountId) -> Result<(), DirectoryError> {
    let prefix = rows::account_tls_keys(id);
    for key in draft.all(&prefix)?.into_keys() {
        let fingerprint = key.get(prefix.len()..).and_then(rows::fingerprint).ok_or_else(|| damaged(&key))?;
        draft.remove(rows::tls_key(&fingerprint));
        draft.remove(key);
    }
    Ok(())
}
