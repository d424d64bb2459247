//! SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3).
//!
//! An identifier is an address, the name of an account, or `anyone`; with `-` before it, it is about
//! rights that are taken away. Stored is the account, told is its name.

use std::sync::Arc;

use postrider_proto::imap::command::{AclEntry, Identifier, MailboxArgument, RightsChange, SetAcl};
use postrider_proto::imap::response::{Code, write_acl, write_list_rights, write_my_rights};
use postrider_proto::imap::rights::Rights;
use postrider_proto::sasl::{self, Login};
use postrider_storage::directory::{AccountName, AddressPattern, Directory, LoginAnswer};
use postrider_storage::engine::EngineError;
use postrider_storage::ids::AccountId;
use postrider_storage::rows::{AclRow, Grantee, Sign};
use postrider_storage::store::StoreError;

use crate::imap::answers;
use crate::imap::places::{self, Deed, Place};
use crate::imap::session::{AccountContext, Completion, Ended};

const UNKNOWN: Completion = Completion::refused(Code::Cannot, "nobody has this name");
const ANYONE_OFF: Completion =
    Completion::refused(Code::Cannot, "mailboxes can't be shared with anyone on this server");

/// SETACL.
pub(in crate::imap) async fn set_acl(
    context: &mut AccountContext<'_>,
    command: SetAcl,
) -> Result<Completion, Ended> {
    let done = change(context, &command.mailbox, &command.identifier, Some(command.change)).await;
    Ok(done.err().unwrap_or(Completion::ok("rights are set")))
}

/// DELETEACL. An entry that isn't there is no error.
pub(in crate::imap) async fn delete_acl(
    context: &mut AccountContext<'_>,
    command: AclEntry,
) -> Result<Completion, Ended> {
    let done = change(context, &command.mailbox, &command.identifier, None).await;
    Ok(done.err().unwrap_or(Completion::ok("the entry is removed")))
}

/// Changes an entry, or removes it.
async fn change(
    context: &AccountContext<'_>,
    mailbox: &MailboxArgument,
    identifier: &Identifier,
    change: Option<RightsChange>,
) -> Result<(), Completion> {
    let asker = context.asker();
    let place = places::find(context.shard, asker, mailbox).await?;
    // Who may not administer the mailbox isn't told who exists.
    places::visit(context.shard, asker, &place, Deed::Administer).await?;
    let (who, sign) = grantee(context, identifier).await?;
    if who == Grantee::Anyone && sign == Sign::Grants && !asker.anyone && change.is_some() {
        return Err(ANYONE_OFF);
    }
    let (name, id) = (place.name, asker.id);
    places::at(context.shard, id, place.account, move |_, account| {
        Box::pin(async move {
            let found = places::enter(&account.state(), asker, &name, Deed::Administer)?;
            let changed = account.transact(None, None, move |tx| match change {
                Some(change) => tx.set_acl(found.mailbox, who, sign, |rights| change.apply(rights)),
                None => tx.delete_acl(found.mailbox, who, sign),
            });
            changed.await.map_err(|error| answers::write_failed(&error, id))
        })
    })
    .await
}

/// GETACL. The owner comes first; accounts that were removed are left out.
pub(in crate::imap) async fn get_acl(
    context: &mut AccountContext<'_>,
    mailbox: MailboxArgument,
) -> Result<Completion, Ended> {
    Ok(match listed(context, &mailbox).await {
        Ok((place, entries)) => {
            let entries = entries.iter().map(|(identifier, rights)| (identifier.as_str(), *rights));
            let utf8 = context.member.enabled.utf8;
            write_acl(&mut context.out.buffer, utf8, &place.told(&place.name), entries);
            Completion::ok("done")
        }
        Err(refused) => refused,
    })
}

type Entries = Vec<(String, Rights)>;

async fn listed(
    context: &AccountContext<'_>,
    mailbox: &MailboxArgument,
) -> Result<(Place, Entries), Completion> {
    let asker = context.asker();
    let place = places::find(context.shard, asker, mailbox).await?;
    let name = place.name.clone();
    let (owner, acl) = places::at(context.shard, asker.id, place.account, move |_, account| {
        Box::pin(async move {
            let state = account.state();
            let found = places::enter(&state, asker, &name, Deed::Administer)?;
            Ok((state.id(), state.acl(found.mailbox).map(Arc::clone).unwrap_or_default()))
        })
    })
    .await?;
    context.shard.shared.reads.calm().await;
    let reader = context.shard.shared.store.reader();
    let directory = Directory::new(reader.snapshot());
    let entries = entries(&directory, owner, &acl);
    Ok((place, entries.map_err(|error| answers::store_failed(&StoreError::Engine(error), asker.id))?))
}

fn entries(directory: &Directory<'_>, owner: AccountId, acl: &AclRow) -> Result<Entries, EngineError> {
    let me = Grantee::Account(owner);
    let own = acl.get(me, Sign::Grants).unwrap_or(Rights::ALL).with(Rights::OF_OWNER);
    let first = (me, Sign::Grants);
    let others = acl.entries().iter().map(|entry| ((entry.who, entry.sign), entry.rights));
    let all = [(first, own)].into_iter().chain(others.filter(|(who, _)| *who != first));
    let mut told = Entries::new();
    for ((who, sign), rights) in all {
        let name = match who {
            Grantee::Anyone => Some(Identifier::ANYONE.to_owned()),
            Grantee::Account(account) => name_of(directory, account)?,
        };
        let dash = if sign == Sign::Denies { "-" } else { "" };
        told.extend(name.map(|name| (format!("{dash}{name}"), rights)));
    }
    Ok(told)
}

/// LISTRIGHTS.
pub(in crate::imap) async fn list_rights(
    context: &mut AccountContext<'_>,
    command: AclEntry,
) -> Result<Completion, Ended> {
    let asker = context.asker();
    let told = async {
        let place = places::find(context.shard, asker, &command.mailbox).await?;
        let found = places::visit(context.shard, asker, &place, Deed::Administer).await?;
        let (who, _) = grantee(context, &command.identifier).await?;
        Ok((place, who == Grantee::Account(found.account)))
    };
    let (place, is_owner) = match told.await {
        Ok(told) => told,
        Err(refused) => return Ok(refused),
    };
    let always = match (is_owner, command.identifier.negative) {
        (true, false) => Rights::OF_OWNER,
        _ => Rights::NONE,
    };
    // What the owner always has can't be taken away either.
    let grantable = if is_owner { Rights::ALL.without(Rights::OF_OWNER) } else { Rights::ALL };
    let utf8 = context.member.enabled.utf8;
    let (name, identifier) = (place.told(&place.name), &command.identifier.written);
    write_list_rights(&mut context.out.buffer, utf8, &name, identifier, always, grantable);
    Ok(Completion::ok("done"))
}

/// MYRIGHTS.
pub(in crate::imap) async fn my_rights(
    context: &mut AccountContext<'_>,
    mailbox: MailboxArgument,
) -> Result<Completion, Ended> {
    let asker = context.asker();
    let found = async {
        let place = places::find(context.shard, asker, &mailbox).await?;
        let found = places::visit(context.shard, asker, &place, Deed::AskRights).await?;
        Ok((place.told(&place.name), found.rights))
    };
    Ok(match found.await {
        Ok((name, rights)) => {
            write_my_rights(&mut context.out.buffer, context.member.enabled.utf8, &name, rights);
            Completion::ok("done")
        }
        Err(refused) => refused,
    })
}

/// Whom an identifier means.
async fn grantee(
    context: &AccountContext<'_>,
    identifier: &Identifier,
) -> Result<(Grantee, Sign), Completion> {
    let sign = if identifier.negative { Sign::Denies } else { Sign::Grants };
    if &*identifier.name == Identifier::ANYONE {
        return Ok((Grantee::Anyone, sign));
    }
    context.shard.shared.reads.calm().await;
    let reader = context.shard.shared.store.reader();
    let account = account_of(&Directory::new(reader.snapshot()), &identifier.name)
        .map_err(|error| answers::store_failed(&StoreError::Engine(error), context.id))?;
    Ok((Grantee::Account(account.ok_or(UNKNOWN)?), sign))
}

/// The account that logs in by a name, or else has this name itself.
fn account_of(directory: &Directory<'_>, name: &str) -> Result<Option<AccountId>, EngineError> {
    if let Ok(login) = Login::new(name.as_bytes(), &sasl::Limits::DEFAULT)
        && let LoginAnswer::Account { account, .. } = directory.login(&login)?
    {
        return Ok(Some(account.id));
    }
    let Ok(name) = AccountName::new(name) else { return Ok(None) };
    Ok(directory.account_by_name(&name)?.map(|account| account.id))
}

/// The identifier of an account: its name, or an address where its name would mean somebody else.
fn name_of(directory: &Directory<'_>, account: AccountId) -> Result<Option<String>, EngineError> {
    let Some(known) = directory.account(account)? else { return Ok(None) };
    let name = known.name.as_str();
    let plain = name != Identifier::ANYONE && !name.starts_with('-');
    if plain && account_of(directory, name)? == Some(account) {
        return Ok(Some(name.to_owned()));
    }
    let addresses = directory.addresses(account)?.into_iter().map(|(address, _)| address);
    let exact = addresses.filter(|address| matches!(address, AddressPattern::Exact(_)));
    for address in exact.map(|address| address.to_string()) {
        if account_of(directory, &address)? == Some(account) {
            return Ok(Some(address));
        }
    }
    Ok(None)
}
