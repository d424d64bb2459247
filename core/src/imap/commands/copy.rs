//! COPY and MOVE with their UID variants (RFC 9051 §6.4.7 and §6.4.8, RFC 4315, RFC 6851).
//!
//! More messages than one transaction takes are dealt with in several. A COPY that fails in a later one
//! takes back what it copied (RFC 9051 §6.4.7); MOVE is atomic for each message only (RFC 6851 §3.3), and
//! tells COPYUID for each transaction, before the removals. Copies in another account are made there, see
//! [`abroad`].

use postrider_proto::imap::command::{CopyMove, MailboxArgument};
use postrider_proto::imap::response::{Code, Condition};
use postrider_proto::imap::types::{Uid, UidValidity};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::account::{Copied, FlagScope, MESSAGES_PER_TRANSACTION_MAX};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::store::Refusal;

use super::abroad;
use crate::accounts::WriteError;
use crate::imap::answers::{NO_SUCH_MAILBOX, NO_SUCH_MESSAGE, READ_ONLY, admit, write_failed};
use crate::imap::places::{self, Deed, permit};
use crate::imap::progress::Teller;
use crate::imap::session::{Completion, CompletionCode, Context, Ended};
use crate::imap::sync::{Expunges, OwnFlags};

const TRY_CREATE: Completion = Completion::refused(Code::TryCreate, "no such mailbox");
const SAME_MAILBOX: Completion = Completion::refused(Code::Cannot, "that is the selected mailbox");

/// The mailbox that messages go to.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) account: AccountId,
    pub(super) mailbox: MailboxId,
    pub(super) validity: UidValidity,
    /// The flags that messages may have there (RFC 4314 §4).
    pub(super) scope: FlagScope,
}

/// COPY and UID COPY.
pub async fn copy(context: &mut Context<'_>, command: CopyMove) -> Result<Completion, Ended> {
    let target = match target(context, &command.mailbox).await {
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
    let mut teller = teller(context, &uids);
    let mut rest = &uids[..];
    while !rest.is_empty() {
        let done;
        (done, rest) = copy_some(context, target, rest).await;
        match done {
            Ok(done) => {
                // A mailbox has fewer messages than there are uids.
                let messages = done.pairs.len() as u32;
                copied.pairs.extend(done.pairs);
                if let Err(ended) = teller.done(messages, context.out, context.tag).await {
                    take_back(context, target, &copied).await;
                    return Err(ended);
                }
            }
            Err(refused) => {
                take_back(context, target, &copied).await;
                return Ok(refused);
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
    if let Err(refused) = permit(context.selected.rights, Deed::MoveAway) {
        return Ok(refused);
    }
    let target = match target(context, &command.mailbox).await {
        Ok(target) => target,
        Err(completion) => return Ok(completion),
    };
    let Ok(uids) = context.selected.resolve(&command.messages) else { return Ok(NO_SUCH_MESSAGE) };
    let (uids, limit) = context.limit.cut(uids);
    let uids: Vec<Uid> = uids.iter().collect();
    let mut teller = teller(context, &uids);
    let mut rest = &uids[..];
    let mut highest = None;
    while !rest.is_empty() {
        let before = rest;
        let moved;
        (moved, rest) = move_some(context, target, rest).await;
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
            Err(refused) => {
                context.sync(Expunges::Own, OwnFlags::Tell).await?;
                return Ok(refused);
            }
        }
        context.sync(Expunges::Own, OwnFlags::Tell).await?;
        teller.done(length(before) - length(rest), context.out, context.tag).await?;
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

fn teller(context: &Context<'_>, uids: &[Uid]) -> Teller {
    Teller::new(context.limit.progress, length(uids))
}

/// A mailbox has fewer messages than there are uids.
fn length(uids: &[Uid]) -> u32 {
    u32::try_from(uids.len()).unwrap_or(u32::MAX)
}

/// Finds the mailbox that messages go to.
async fn target(context: &Context<'_>, argument: &MailboxArgument) -> Result<Target, Completion> {
    if argument.name.is_err() {
        return Err(NO_SUCH_MAILBOX);
    }
    let missing =
        |refused: Completion| if refused.text == NO_SUCH_MAILBOX.text { TRY_CREATE } else { refused };
    let place = places::find(context.shard, context.asker, argument).await.map_err(missing)?;
    let found = if place.account == context.account.id() {
        places::enter(&context.account.state(), context.asker, &place.name, Deed::Insert)
    } else {
        places::visit(context.shard, context.asker, &place, Deed::Insert).await
    };
    let found = found.map_err(missing)?;
    if (found.account, found.mailbox) == (context.account.id(), context.selected.mailbox) {
        return Err(SAME_MAILBOX);
    }
    let scope = FlagScope::of(found.rights);
    Ok(Target { account: found.account, mailbox: found.mailbox, validity: found.row.uid_validity, scope })
}

/// Copies the first messages, as many as one transaction takes; gives the rest.
async fn copy_some<'a>(
    context: &Context<'_>,
    target: Target,
    uids: &'a [Uid],
) -> (Result<Copied, Completion>, &'a [Uid]) {
    if target.account != context.account.id() {
        return abroad::copy(context, target, uids).await;
    }
    let (some, rest) = uids.split_at(uids.len().min(MESSAGES_PER_TRANSACTION_MAX));
    let (from, some, origin) = (context.selected.mailbox, some.to_vec(), Some(context.watcher.id()));
    let copied = context
        .account
        .transact_many(origin, None, some.len(), move |tx| {
            tx.copy_within(from, &some, target.mailbox, target.scope)
        })
        .await;
    (copied.map_err(|error| failed(&error, context)), rest)
}

/// Moves the first messages, as many as one transaction takes; gives the rest.
async fn move_some<'a>(
    context: &Context<'_>,
    target: Target,
    uids: &'a [Uid],
) -> (Result<Copied, Completion>, &'a [Uid]) {
    if target.account != context.account.id() {
        return move_abroad(context, target, uids).await;
    }
    let (from, origin) = (context.selected.mailbox, Some(context.watcher.id()));
    let (some, rest) = uids.split_at(uids.len().min(MESSAGES_PER_TRANSACTION_MAX));
    let some = some.to_vec();
    let _turn = context.account.departures().share().await;
    let moved = context
        .account
        .transact_many(origin, None, some.len(), move |tx| {
            tx.move_within(from, &some, target.mailbox, target.scope)
        })
        .await;
    (moved.map_err(|error| failed(&error, context)), rest)
}

/// Moves the first messages to another account: they are copied, and then removed here, so that each is always in
/// one of both mailboxes (RFC 6851 §3.3). What is removed here without being moved gets no copy there.
///
/// Others may see the copies before the messages are removed, and take them elsewhere. Still there is never one more of
/// a message than before: meanwhile it can't be moved on from here, so if it isn't removed by this move, it was
/// removed for good. Only a commit of which it isn't known whether it was done, or the end of the process in
/// between, leaves a message in both mailboxes.
async fn move_abroad<'a>(
    context: &Context<'_>,
    target: Target,
    uids: &'a [Uid],
) -> (Result<Copied, Completion>, &'a [Uid]) {
    let _turn = context.account.departures().take().await;
    let (copied, rest) = abroad::copy(context, target, uids).await;
    let Ok(copied) = copied else { return (copied, rest) };
    let (from, origin) = (context.selected.mailbox, Some(context.watcher.id()));
    let gone: Vec<Uid> = copied.pairs.iter().map(|(from, _)| *from).collect();
    match abroad::remove(context.account, origin, from, &gone).await {
        Ok(expunged) => {
            let is_moved = |(uid, _): &(Uid, Uid)| expunged.removed.binary_search(uid).is_ok();
            let (moved, others): (Vec<_>, Vec<_>) = copied.pairs.into_iter().partition(is_moved);
            // Others removed them after they were copied.
            take_back(context, target, &Copied { pairs: others }).await;
            (Ok(Copied { pairs: moved }), rest)
        }
        Err(error) => {
            if abroad::is_undone(&error) {
                take_back(context, target, &copied).await;
            }
            (Err(failed(&error, context)), rest)
        }
    }
}

/// A mailbox that was deleted meanwhile may be created again by the client.
fn failed(error: &WriteError, context: &Context<'_>) -> Completion {
    match error {
        WriteError::Refused(Refusal::NoSuchMailbox)
            if context.account.state().mailbox(context.selected.mailbox).is_some() =>
        {
            TRY_CREATE
        }
        error => write_failed(error, context.id),
    }
}

/// Removes what was copied before the command failed, or before others removed what it is a copy of.
async fn take_back(context: &Context<'_>, target: Target, copied: &Copied) {
    let uids: Vec<Uid> = copied.pairs.iter().map(|(_, to)| *to).collect();
    abroad::take_back(context.shard, context.id, (target.account, target.mailbox), &uids).await;
}

/// Source and destination, both ascending, so that they correspond.
fn sets(copied: &Copied) -> (UidSet, UidSet) {
    let from = copied.pairs.iter().map(|(from, _)| *from).collect();
    (from, copied.pairs.iter().map(|(_, to)| *to).collect())
}
