//! EXPUNGE, UID EXPUNGE and CLOSE (RFC 9051 §6.4.2, §6.4.3 and §6.4.9, RFC 7162 §3.2.7).

use postrider_proto::imap::response::Code;
use postrider_proto::imap::sequence::{MessageSet, Messages, Numbering};
use postrider_proto::imap::types::Uid;
use postrider_storage::account::{Expunge, MESSAGES_PER_TRANSACTION_MAX};

use crate::accounts::WriteError;
use crate::imap::answers::{NO_SUCH_MESSAGE, READ_ONLY, write_failed};
use crate::imap::places::{Deed, permit};
use crate::imap::session::{Completion, CompletionCode, Context, Ended};
use crate::imap::sync::{Expunges, OwnFlags};

/// EXPUNGE; with uids UID EXPUNGE.
pub async fn expunge(context: &mut Context<'_>, uids: Option<MessageSet>) -> Result<Completion, Ended> {
    if !context.selected.is_writable() {
        return Ok(READ_ONLY);
    }
    if let Err(refused) = permit(context.selected.rights, Deed::Expunge) {
        return Ok(refused);
    }
    let mut limit = None;
    let removed = match uids {
        None => remove_deleted(context).await,
        Some(set) => {
            let messages = Messages { numbering: Numbering::Uid, set };
            let Ok(uids) = context.selected.resolve(&messages) else { return Ok(NO_SUCH_MESSAGE) };
            let (uids, cut) = context.limit.cut(uids);
            limit = cut;
            remove_among(context, &uids.iter().collect::<Vec<_>>()).await
        }
    };
    // Before the removals are told: whatever comes later isn't covered.
    let modseq = context.account.state().mailbox(context.selected.mailbox).map(|row| row.modseq);
    context.sync(Expunges::Own, OwnFlags::Tell).await?;
    let completion = Completion::ok("EXPUNGE done");
    let completion = match (removed, modseq) {
        (Err(error), _) => write_failed(&error, context.id),
        (Ok(removed), Some(modseq)) if removed && (context.enabled.condstore || context.enabled.qresync) => {
            completion.with(CompletionCode::Plain(Code::HighestModSeq(modseq.min(context.selected.told()))))
        }
        _ => completion,
    };
    Ok(completion.limited(limit, context.out))
}

/// What CLOSE does before the mailbox is deselected: removes without telling, unless read-only.
pub async fn close(context: &mut Context<'_>) -> Result<Completion, Ended> {
    // Without the right to remove, nothing is (RFC 4314 §4).
    if !context.selected.is_writable() || permit(context.selected.rights, Deed::Expunge).is_err() {
        return Ok(Completion::ok("CLOSE done"));
    }
    Ok(match remove_deleted(context).await {
        Ok(_) => Completion::ok("CLOSE done"),
        Err(error) => write_failed(&error, context.id),
    })
}

/// Removes all messages with `\Deleted`; whether there were any.
async fn remove_deleted(context: &Context<'_>) -> Result<bool, WriteError> {
    let mailbox = context.selected.mailbox;
    let mut any = false;
    loop {
        let deleted = context.account.state().mailbox(mailbox).map_or(0, |row| row.deleted as usize);
        let expunge = context.account.transact_many(
            Some(context.watcher.id()),
            None,
            deleted.min(MESSAGES_PER_TRANSACTION_MAX),
            move |tx| tx.expunge(mailbox, Expunge::Deleted),
        );
        let done = expunge.await?;
        any |= !done.removed.is_empty();
        // Without the second condition a wrong counter would make this endless.
        if !done.more || done.removed.is_empty() {
            return Ok(any);
        }
    }
}

/// Removes those of `uids` that have `\Deleted`; whether there were any.
async fn remove_among(context: &Context<'_>, uids: &[Uid]) -> Result<bool, WriteError> {
    let mailbox = context.selected.mailbox;
    let mut any = false;
    for some in uids.chunks(MESSAGES_PER_TRANSACTION_MAX) {
        let some = some.to_vec();
        let done = context
            .account
            .transact_many(Some(context.watcher.id()), None, some.len(), move |tx| {
                tx.expunge(mailbox, Expunge::DeletedAmong(&some))
            })
            .await?;
        any |= !done.removed.is_empty();
    }
    Ok(any)
}
