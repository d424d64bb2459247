//! COPY and MOVE with their UID variants (RFC 9051 §6.4.7 and §6.4.8, RFC 4315, RFC 6851).
//!
//! More messages than one transaction takes are dealt with in several. A COPY that fails in a later one
//! takes back what it copied (RFC 9051 §6.4.7); MOVE is atomic for each message only (RFC 6851 §3.3), and
//! tells COPYUID for each transaction, before the removals.

use postrider_proto::imap::command::{CopyMove, MailboxArgument, MailboxFault};
use postrider_proto::imap::response::{Code, Condition};
use postrider_proto::imap::types::{Uid, UidValidity};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::account::{Copied, Expunge, MESSAGES_PER_TRANSACTION_MAX};
use postrider_storage::ids::MailboxId;

use crate::accounts::WriteError;
use crate::imap::answers::{NO_SUCH_MAILBOX, NO_SUCH_MESSAGE, READ_ONLY, admit, write_failed};
use crate::imap::session::{Completion, CompletionCode, Context, Ended};
use crate::imap::sync::{Expunges, OwnFlags};

const TRY_CREATE: Completion = Completion::refused(Code::TryCreate, "no such mailbox");
const SAME_MAILBOX: Completion = Completion::refused(Code::Cannot, "that is the selected mailbox");

/// The mailbox that messages go to.
#[derive(Clone, Copy)]
struct Target {
    mailbox: MailboxId,
    validity: UidValidity,
}

/// COPY and UID COPY.
pub async fn copy(context: &mut Context<'_>, command: CopyMove) -> Result<Completion, Ended> {
    let target = match target(context, &command.mailbox) {
        Ok(target) => target,
        Err(completion) => return Ok(completion),
    };
    if let Err(completion) = admit(context.shard) {
        return Ok(completion);
    }
    let Ok(uids) = context.selected.resolve(&command.messages) else { return Ok(NO_SUCH_MESSAGE) };
    // All or nothing (RFC 9738 §3.1).
    if let Some(limit) = context.limit.saved.filter(|limit| uids.len() > limit.get()) {
        let code = Code::MessageLimit(limit.get(), None);
        return Ok(Completion::refused(code, "too many messages, copy some of them"));
    }
    let uids: Vec<Uid> = uids.iter().collect();
    let mut copied = Copied::default();
    for some in uids.chunks(MESSAGES_PER_TRANSACTION_MAX) {
        let (from, to, some) = (context.selected.mailbox, target.mailbox, some.to_vec());
        let origin = Some(context.watcher.id());
        match context.account.transact(origin, None, move |tx| tx.copy(from, &some, to)).await {
            Ok(done) => copied.pairs.extend(done.pairs),
            Err(error) => {
                take_back(context, target, &copied).await;
                return Ok(failed(&error, context));
            }
        }
    }
    context.sync(Expunges::Now, OwnFlags::Tell).await?;
    let completion = if copied.pairs.len() < uids.len() {
        Completion::ok("COPY done, without messages that others removed")
    } else {
        Completion::ok("COPY done")
    };
    if copied.pairs.is_empty() {
        return Ok(completion);
    }
    let (from, to) = sets(&copied);
    Ok(completion.with(CompletionCode::CopyUid(target.validity, from, to)))
}

/// MOVE and UID MOVE.
pub async fn move_messages(context: &mut Context<'_>, command: CopyMove) -> Result<Completion, Ended> {
    if !context.selected.is_writable() {
        return Ok(READ_ONLY);
    }
    let target = match target(context, &command.mailbox) {
        Ok(target) => target,
        Err(completion) => return Ok(completion),
    };
    let Ok(uids) = context.selected.resolve(&command.messages) else { return Ok(NO_SUCH_MESSAGE) };
    let (uids, limit) = context.limit.cut(uids);
    let uids: Vec<Uid> = uids.iter().collect();
    let mut highest = None;
    for some in uids.chunks(MESSAGES_PER_TRANSACTION_MAX) {
        let (from, to, some) = (context.selected.mailbox, target.mailbox, some.to_vec());
        let origin = Some(context.watcher.id());
        let moved = context.account.transact(origin, None, move |tx| tx.move_messages(from, &some, to)).await;
        match moved {
            Ok(moved) if moved.pairs.is_empty() => {}
            Ok(moved) => {
                let (from, to) = sets(&moved);
                let code = Code::CopyUid(target.validity, &from, &to);
                context.out.untagged(Condition::Ok, Some(&code), "moved");
                // Before the removals are told: whatever comes later isn't covered.
                let state = context.account.state();
                highest = state.mailbox(context.selected.mailbox).map(|row| row.modseq);
            }
            Err(error) => {
                context.sync(Expunges::Own, OwnFlags::Tell).await?;
                return Ok(failed(&error, context));
            }
        }
        context.sync(Expunges::Own, OwnFlags::Tell).await?;
        context.out.flush_if_full().await?;
    }
    let completion = Completion::ok("MOVE done");
    // RFC 6851 §4.4.
    let completion = match highest.filter(|_| context.enabled.condstore) {
        Some(modseq) => {
            let modseq = modseq.min(context.selected.told());
            completion.with(CompletionCode::Plain(Code::HighestModSeq(modseq)))
        }
        None => completion,
    };
    Ok(completion.limited(limit, context.out))
}

/// Finds the mailbox that messages go to.
fn target(context: &Context<'_>, argument: &MailboxArgument) -> Result<Target, Completion> {
    let name = match &argument.name {
        Ok(name) => name,
        Err(MailboxFault::Encoding | MailboxFault::Name(_)) => return Err(NO_SUCH_MAILBOX),
    };
    let state = context.account.state();
    let mailbox = state.mailbox_id(name).ok_or(TRY_CREATE)?;
    if mailbox == context.selected.mailbox {
        return Err(SAME_MAILBOX);
    }
    let row = state.mailbox(mailbox).ok_or(TRY_CREATE)?;
    Ok(Target { mailbox, validity: row.uid_validity })
}

/// A mailbox that was deleted meanwhile may be created again by the client.
fn failed(error: &WriteError, context: &Context<'_>) -> Completion {
    use postrider_storage::store::Refusal;
    match error {
        WriteError::Refused(Refusal::NoSuchMailbox)
            if context.account.state().mailbox(context.selected.mailbox).is_some() =>
        {
            TRY_CREATE
        }
        error => write_failed(error, context.id),
    }
}

/// Removes what was copied before a COPY failed.
async fn take_back(context: &Context<'_>, target: Target, copied: &Copied) {
    let uids: Vec<Uid> = copied.pairs.iter().map(|(_, to)| *to).collect();
    for some in uids.chunks(MESSAGES_PER_TRANSACTION_MAX) {
        let some = some.to_vec();
        let taken = context
            .account
            .transact(Some(context.watcher.id()), None, move |tx| {
                tx.expunge(target.mailbox, Expunge::These(&some))
            })
            .await;
        if let Err(error) = taken {
            tracing::warn!(cid = %context.id, %error, "copies of a failed COPY stay");
            return;
        }
    }
}

/// Source and destination, both ascending, so that they correspond.
fn sets(copied: &Copied) -> (UidSet, UidSet) {
    let from = copied.pairs.iter().map(|(from, _)| *from).collect();
    (from, copied.pairs.iter().map(|(_, to)| *to).collect())
}
