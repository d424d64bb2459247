//! Accounts, their credentials, and the postmaster.

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::secrets::StoredSecrets;

use super::super::change::HeldMail;
use super::super::draft::Draft;
use super::super::lookup::damaged;
use super::super::mail::MailSettings;
use super::super::plan::DirectoryError;
use super::super::rows;
use super::super::types::{Account, AccountName, AccountSettings, AddressPattern, Limits, Postmaster};
use super::{address, check_printable, check_routes, check_text, settings_of, tls_key};
use crate::engine::Space;
use crate::ids::AccountId;
use crate::keys;

/// An account that must exist.
pub(super) fn find(draft: &Draft<'_>, name: &AccountName) -> Result<Account, DirectoryError> {
    let id = draft.row(&rows::account_name(name), rows::decode_account_id)?;
    let id = id.ok_or_else(|| DirectoryError::NoAccount(name.clone()))?;
    let account = draft.row(&rows::account(id), rows::decode_account)?;
    Ok(account.ok_or_else(|| damaged(&rows::account(id)))?)
}

pub(in super::super) fn add(
    draft: &mut Draft<'_>,
    name: &AccountName,
    settings: &AccountSettings,
    limits: &Limits,
    now: i64,
) -> Result<(), DirectoryError> {
    let key = rows::account_name(name);
    if draft.row(&key, rows::decode_account_id)?.is_some() {
        return Err(DirectoryError::AccountExists(name.clone()));
    }
    check(draft, name, settings, limits)?;
    let id = AccountId::new(draft.state.next_account).ok_or(DirectoryError::AccountsExhausted)?;
    // After the last number comes 0, which is none.
    draft.state.next_account = draft.state.next_account.wrapping_add(1);
    draft.state.accounts += 1;
    let account = Account { id, name: name.clone(), created: now, settings: settings.clone() };
    draft.put(key, rows::encode_account_id(id));
    draft.put(rows::account(id), rows::encode_account(&account));
    draft.put(rows::account_domain(&settings.domain, id), rows::present());
    Ok(())
}

pub(in super::super) fn set(
    draft: &mut Draft<'_>,
    name: &AccountName,
    settings: &AccountSettings,
    limits: &Limits,
) -> Result<(), DirectoryError> {
    let mut account = find(draft, name)?;
    check(draft, name, settings, limits)?;
    draft.remove(rows::account_domain(&account.settings.domain, account.id));
    draft.put(rows::account_domain(&settings.domain, account.id), rows::present());
    account.settings = settings.clone();
    draft.put(rows::account(account.id), rows::encode_account(&account));
    Ok(())
}

pub(in super::super) fn remove(
    draft: &mut Draft<'_>,
    name: &AccountName,
    mail: HeldMail,
) -> Result<(), DirectoryError> {
    let account = find(draft, name)?;
    if draft.state.postmaster.as_ref().is_some_and(|postmaster| postmaster.account == account.id) {
        return Err(DirectoryError::AccountIsPostmaster(name.clone()));
    }
    if mail == HeldMail::Keep && holds_mail(draft, account.id)? {
        return Err(DirectoryError::AccountHoldsMail(name.clone()));
    }
    let prefix = rows::account_addresses(account.id);
    for key in draft.all(&prefix)?.into_keys() {
        let place = key.get(prefix.len()..).and_then(rows::place).ok_or_else(|| damaged(&key))?;
        let pattern = AddressPattern::of(&place.domain, &place.localpart).map_err(|_| damaged(&key))?;
        address::remove(draft, &pattern)?;
    }
    tls_key::remove_all(draft, account.id)?;
    draft.remove(rows::account_name(name));
    draft.remove(rows::account(account.id));
    draft.remove(rows::credential(account.id));
    draft.remove(rows::account_domain(&account.settings.domain, account.id));
    draft.put(rows::removed_account(account.id), rows::present());
    draft.state.accounts -= 1;
    Ok(())
}

pub(in super::super) fn set_secrets(
    draft: &mut Draft<'_>,
    name: &AccountName,
    secrets: Option<&StoredSecrets>,
) -> Result<(), DirectoryError> {
    let key = rows::credential(find(draft, name)?.id);
    match secrets {
        Some(secrets) => draft.put(key, secrets.encode()),
        None => draft.remove(key),
    }
    Ok(())
}

pub(in super::super) fn set_postmaster(
    draft: &mut Draft<'_>,
    postmaster: Option<&(AccountName, MailboxName)>,
) -> Result<(), DirectoryError> {
    draft.state.postmaster = match postmaster {
        Some((name, mailbox)) => {
            Some(Postmaster { account: find(draft, name)?.id, mailbox: mailbox.clone() })
        }
        None => None,
    };
    Ok(())
}

fn holds_mail(draft: &Draft<'_>, account: AccountId) -> Result<bool, DirectoryError> {
    let prefix = keys::of_table(account.get(), keys::table::MESSAGE);
    Ok(draft.base().prefix(Space::Rows, &prefix).next().transpose()?.is_some())
}

fn check(
    draft: &Draft<'_>,
    name: &AccountName,
    settings: &AccountSettings,
    limits: &Limits,
) -> Result<(), DirectoryError> {
    settings_of(draft, &settings.domain)?;
    check_text(|| format!("full name of account {name}"), &settings.full_name, limits.text_octets_max)?;
    let mechanisms = &settings.disabled_mechanisms;
    if !mechanisms.is_sorted_by(|first, second| first < second) {
        let what = format!("disabled mechanisms of account {name}");
        return Err(DirectoryError::Value { what, problem: "must be in order, each once" });
    }
    check_routes(|| format!("routes of account {name}"), &settings.routes, limits)?;
    check_mail(name, &settings.mail)?;
    let Some(message) = &settings.login_disabled else { return Ok(()) };
    // It is sent in replies of SMTP and IMAP.
    check_printable(|| format!("login disabled message of account {name}"), message, limits)
}

fn check_mail(name: &AccountName, mail: &MailSettings) -> Result<(), DirectoryError> {
    let bad =
        |what, problem| Err(DirectoryError::Value { what: format!("{what} of account {name}"), problem });
    if mail.from_id_logins.len() > MailSettings::FROM_ID_LOGINS_MAX {
        return bad("login addresses with ids", "at most 100");
    }
    if !mail.from_id_logins.is_sorted_by(|first, second| first < second) {
        return bad("login addresses with ids", "must be in order, each once");
    }
    for (what, seconds) in [
        ("time for which messages are known", mail.keep_retired_messages),
        ("time for which calls of webhooks are known", mail.keep_retired_webhooks),
    ] {
        if seconds.is_some_and(|seconds| seconds > MailSettings::KEEP_SECONDS_MAX) {
            return bad(what, "at most ten years");
        }
    }
    Ok(())
}
