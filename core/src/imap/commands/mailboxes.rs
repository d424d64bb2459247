//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 9051 §6.3.4 to §6.3.8, RFC 6154 §3,
//! RFC 8474 §4.1).

use postrider_proto::imap::command::{Create, MailboxArgument, Rename, SpecialUse as Use};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::objectid::ObjectId;
use postrider_proto::imap::response::{Code, ListAttributes, ListRow, write_list};
use postrider_storage::account::{MESSAGES_PER_TRANSACTION_MAX, Tx};
use postrider_storage::ids::MailboxId;
use postrider_storage::rows::SpecialUse;
use postrider_storage::store::{Refusal, StoreError};
use tracing::debug;

use super::select::old_name;
use crate::accounts::{AccountHandle, WriteError};
use crate::imap::answers;
use crate::imap::places::{self, Deed};
use crate::imap::session::{AccountContext, Completion, CompletionCode, Ended};
use crate::runtime::spawn;

const BAD_NAME: Completion = Completion::refused(Code::Cannot, "no valid mailbox name");
const NOT_THERE: Completion = Completion::refused(Code::NoPerm, "you may make no mailbox there");
pub(super) const NOT_ONES_OWN: Completion =
    Completion::refused(Code::UseAttr, "only own mailboxes can have a special use");
const OTHER_ACCOUNT: Completion =
    Completion::refused(Code::Cannot, "a mailbox can't go to another user; move its messages");

impl AccountContext<'_> {
    pub(super) async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, WriteError> {
        self.member.account.transact(Some(self.member.watcher.id()), None, work).await
    }

    /// As [`Self::transact`], of as many messages as one transaction may touch.
    async fn transact_many<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, WriteError> {
        let origin = Some(self.member.watcher.id());
        self.member.account.transact_many(origin, None, MESSAGES_PER_TRANSACTION_MAX, work).await
    }

    pub(super) fn outcome(&self, outcome: Result<(), WriteError>, text: &'static str) -> Completion {
        match outcome {
            Ok(()) => Completion::ok(text),
            Err(error) => answers::write_failed(&error, self.id),
        }
    }
}

/// CREATE. What lies above is created, too, and all of it subscribed by its owner.
pub(in crate::imap) async fn create(
    context: &mut AccountContext<'_>,
    command: Create,
) -> Result<Completion, Ended> {
    let Ok(written) = &command.mailbox.name else { return Ok(BAD_NAME) };
    let (asker, id) = (context.asker(), context.id);
    let place = match places::find_name(context.shard, asker, written).await {
        Ok(place) => place,
        // Whether there is such a user isn't told.
        Err(_) => return Ok(NOT_THERE),
    };
    if place.is_of_others() && !command.uses.is_empty() {
        return Ok(NOT_ONES_OWN);
    }
    let special_use = command.uses.iter().fold(SpecialUse::NONE, |all, one| all.with(stored_use(*one)));
    let (wanted, origin) = (place.name.clone(), context.origin(place.account));
    let created = places::at(context.shard, id, place.account, move |_, account| {
        Box::pin(async move {
            places::permit_create(&account.state(), asker, &wanted)?;
            let created = account.transact(origin, None, move |tx| tx.create_mailbox(&wanted, special_use));
            created.await.map_err(|error| answers::write_failed(&error, id))
        })
    });
    let created = created.await;
    let name = place.told(&place.name);
    // RFC 9051 §6.3.4: the client learns under which name it was created.
    if created.is_ok() && context.member.enabled.rev2 {
        let old_name = old_name(&command.mailbox.written, &name);
        if old_name.is_some() {
            let row = ListRow {
                attributes: ListAttributes::NONE,
                name: &name,
                child_subscribed: false,
                child_special_use: false,
                old_name,
            };
            write_list(&mut context.out.buffer, context.member.enabled.utf8, &row);
        }
    }
    Ok(match created {
        Ok(mailbox) => {
            let id = ObjectId::mailbox(place.account.0, mailbox.0);
            Completion::ok("created").with(CompletionCode::Plain(Code::MailboxId(id)))
        }
        Err(refused) => refused,
    })
}

/// DELETE; refused for the inbox and for mailboxes that others lie below.
pub(in crate::imap) async fn delete(
    context: &mut AccountContext<'_>,
    mailbox: MailboxArgument,
) -> Result<Completion, Ended> {
    let (asker, id) = (context.asker(), context.id);
    let place = match places::find(context.shard, asker, &mailbox).await {
        Ok(place) => place,
        Err(refused) => return Ok(refused),
    };
    let origin = context.origin(place.account);
    let deleted = places::at(context.shard, id, place.account, move |_, account| {
        Box::pin(async move {
            let mailbox = places::enter(&account.state(), asker, &place.name, Deed::Delete)?.mailbox;
            let deleted = account.transact(origin, None, move |tx| tx.delete_mailbox(mailbox)).await;
            deleted.map_err(|error| answers::write_failed(&error, id))?;
            sweep(&account, mailbox);
            Ok(())
        })
    });
    Ok(deleted.await.err().unwrap_or(Completion::ok("deleted")))
}

/// Removes the rows of a deleted mailbox, bit by bit. What isn't done now is done after the next start.
fn sweep(account: &std::rc::Rc<AccountHandle>, mailbox: MailboxId) {
    let account = std::rc::Rc::clone(account);
    spawn("sweep a deleted mailbox", async move {
        loop {
            match account
                .transact_many(None, None, MESSAGES_PER_TRANSACTION_MAX, move |tx| tx.sweep(mailbox))
                .await
            {
                Ok(swept) if swept.more => {}
                Ok(_) => return,
                Err(error) => {
                    return debug!(account = %account.id(), %error, "a deleted mailbox is swept later");
                }
            }
        }
    });
}

/// RENAME. The inbox stays: its messages move (RFC 9051 §6.3.6).
pub(in crate::imap) async fn rename(
    context: &mut AccountContext<'_>,
    command: Rename,
) -> Result<Completion, Ended> {
    let (asker, id) = (context.asker(), context.id);
    let from = match places::find(context.shard, asker, &command.from).await {
        Ok(from) => from,
        Err(refused) => return Ok(refused),
    };
    let Ok(to) = &command.to.name else { return Ok(BAD_NAME) };
    let Ok(to) = places::find_name(context.shard, asker, to).await else { return Ok(NOT_THERE) };
    if from.account == asker.user && from.name.is_inbox() && to.account == from.account {
        if let Err(refused) = places::permit_create(&context.member.account.state(), asker, &to.name) {
            return Ok(refused);
        }
        let outcome = rename_inbox(context, to.name).await;
        return Ok(context.outcome(outcome, "renamed"));
    }
    let origin = context.origin(from.account);
    let renamed = places::at(context.shard, id, from.account, move |_, account| {
        Box::pin(async move {
            let found = places::enter(&account.state(), asker, &from.name, Deed::Delete)?;
            if to.account != found.account {
                return Err(OTHER_ACCOUNT);
            }
            places::permit_create(&account.state(), asker, &to.name)?;
            let renamed = account.transact(origin, None, move |tx| tx.rename_mailbox(&from.name, &to.name));
            renamed.await.map_err(|error| answers::write_failed(&error, id))
        })
    });
    Ok(renamed.await.err().unwrap_or(Completion::ok("renamed")))
}

async fn rename_inbox(context: &AccountContext<'_>, to: MailboxName) -> Result<(), WriteError> {
    let _turn = context.member.account.departures().share().await;
    let mut moved = context.transact_many(move |tx| tx.rename_inbox(&to)).await?;
    while let Some(rest) = moved.rest {
        let target = moved.mailbox;
        moved = context
            .transact_many(move |tx| {
                let inbox = tx.mailbox_id(&MailboxName::inbox()).ok_or(Refusal::NoSuchMailbox)?;
                tx.move_range(inbox, rest, target)
            })
            .await?;
    }
    Ok(())
}

/// SUBSCRIBE; the mailbox need not exist (RFC 9051 §6.3.7).
pub(in crate::imap) async fn subscribe(
    context: &mut AccountContext<'_>,
    mailbox: MailboxArgument,
) -> Result<Completion, Ended> {
    let Ok(name) = mailbox.name else { return Ok(BAD_NAME) };
    let outcome = context.transact(move |tx| tx.subscribe(&name)).await;
    Ok(context.outcome(outcome, "subscribed"))
}

/// UNSUBSCRIBE.
pub(in crate::imap) async fn unsubscribe(
    context: &mut AccountContext<'_>,
    mailbox: MailboxArgument,
) -> Result<Completion, Ended> {
    let Ok(name) = mailbox.name else { return Ok(BAD_NAME) };
    let outcome = context.transact(move |tx| tx.unsubscribe(&name)).await;
    Ok(context.outcome(outcome, "unsubscribed"))
}

pub(super) const fn stored_use(special_use: Use) -> SpecialUse {
    match special_use {
        Use::Archive => SpecialUse::ARCHIVE,
        Use::Drafts => SpecialUse::DRAFTS,
        Use::Junk => SpecialUse::JUNK,
        Use::Sent => SpecialUse::SENT,
        Use::Trash => SpecialUse::TRASH,
    }
}
