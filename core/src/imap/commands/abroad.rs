//! Copies in the account of another user, made at its home shard.
//!
//! A content is stored once for all accounts: the copy refers to it as the message does. The message's own
//! reference stays while this command runs, also when another session removes it, for the session holds
//! what it has selected; so the content can't be collected before the copy's reference is there.

use std::rc::Rc;
use std::time::Duration;

use postrider_proto::imap::types::Uid;
use postrider_storage::account::{
    Copied, Expunge, Expunged, MESSAGES_PER_TRANSACTION_MAX, NewMessage, Source, ThreadInfo,
};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::reader::Reader;
use postrider_storage::store::StoreError;

use super::copy::Target;
use crate::accounts::{AccountHandle, WatcherId, WriteError};
use crate::imap::answers::{store_failed, write_failed};
use crate::imap::places;
use crate::imap::session::{Completion, Context};
use crate::log::ConnectionId;
use crate::runtime::sleep;
use crate::shard::Shard;

/// Messages that are copied at a time: their rows are read here, and written there, within a millisecond.
const MESSAGES_MAX: usize = 64;
/// How often, and after which pause, a removal is tried again that finds too many changes waiting.
const BUSY_TRIES: u32 = 100;
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Octets of their own header fields at a time; one message has fewer.
const PREFIX_OCTETS_MAX: usize = 128 * 1024;

/// A message as another account gets it.
struct Lent {
    uid: Uid,
    message: NewMessage,
    source: Source,
}

/// Copies the first messages, those that are still there; gives the rest.
pub(super) async fn copy<'a>(
    context: &Context<'_>,
    target: Target,
    uids: &'a [Uid],
) -> (Result<Copied, Completion>, &'a [Uid]) {
    context.account.reads().calm().await;
    let mut lent = Vec::new();
    let mut prefixes = 0;
    let mut taken = 0;
    let read = (|| -> Result<(), StoreError> {
        let reader = context.account.reader();
        for uid in uids.iter().take(MESSAGES_MAX) {
            if prefixes > PREFIX_OCTETS_MAX {
                break;
            }
            taken += 1;
            if let Some(one) = lend(context, target, &reader, *uid)? {
                prefixes += one.message.prefix.len();
                lent.push(one);
            }
        }
        Ok(())
    })();
    let rest = &uids[taken..];
    if let Err(error) = read {
        return (Err(store_failed(&error, context.id)), rest);
    }
    let id = context.id;
    let copied = places::at(context.shard, id, target.account, move |_, account| {
        Box::pin(async move {
            let copied = account.transact_many(None, None, lent.len(), move |tx| {
                let mut copied = Copied::default();
                for Lent { uid, message, source } in lent {
                    let appended = tx.append_copy(target.mailbox, message, source)?;
                    copied.pairs.extend(appended.map(|appended| (uid, appended.uid)));
                }
                Ok(copied)
            });
            copied.await.map_err(|error| write_failed(&error, id))
        })
    });
    (copied.await, rest)
}

/// Removes messages here that are in another account now. It goes on asking while too many changes wait: who gives
/// up then would have to take back what somebody may have moved on already.
pub(super) async fn remove(
    account: &Rc<AccountHandle>,
    origin: Option<WatcherId>,
    mailbox: MailboxId,
    uids: &[Uid],
) -> Result<Expunged, WriteError> {
    let mut tries = BUSY_TRIES;
    loop {
        let gone = uids.to_vec();
        let removed = account
            .transact_many(origin, None, gone.len(), move |tx| tx.expunge(mailbox, Expunge::These(&gone)));
        match removed.await {
            Err(WriteError::Busy) if tries > 0 => {
                tries -= 1;
                sleep(BUSY_PAUSE).await;
            }
            removed => return removed,
        }
    }
}

/// Whether it is known that a removal wasn't done. Of a commit that failed it isn't: rather two of a message than
/// none.
pub(super) const fn is_undone(error: &WriteError) -> bool {
    matches!(error, WriteError::Refused(_) | WriteError::Store(_) | WriteError::Busy)
}

/// Removes messages that a command added which failed.
pub(super) async fn take_back(
    shard: &Rc<Shard>,
    id: ConnectionId,
    (account, mailbox): (AccountId, MailboxId),
    uids: &[Uid],
) {
    for some in uids.chunks(MESSAGES_PER_TRANSACTION_MAX) {
        let some = some.to_vec();
        let taken = places::at(shard, id, account, move |_, account| {
            Box::pin(async move {
                let taken = account.transact_many(None, None, some.len(), move |tx| {
                    tx.expunge(mailbox, Expunge::These(&some))
                });
                taken.await.map_err(|error| write_failed(&error, id))
            })
        });
        if taken.await.is_err() {
            tracing::warn!(cid = %id, "what a command added that failed stays");
            return;
        }
    }
}

/// Reads a message; none when it was removed.
fn lend(
    context: &Context<'_>,
    target: Target,
    reader: &Reader,
    uid: Uid,
) -> Result<Option<Lent>, StoreError> {
    let account = context.account.id();
    let Some(row) = reader.message(account, context.selected.mailbox, uid)? else { return Ok(None) };
    let email = reader.email(account, row.email)?;
    let email = email.ok_or(StoreError::Inconsistent("a message has no email"))?;
    let state = context.account.state();
    let keywords = row.keywords.iter().filter_map(|id| state.keyword(*id)).cloned();
    let message = NewMessage {
        content: email.content(),
        prefix: email.prefix.to_vec(),
        flags: target.scope.cut(row.flags),
        keywords: if target.scope.keywords { keywords.collect() } else { Vec::new() },
        received: row.received,
        // What it refers to isn't kept; its Message-ID and subject find it for those that refer to it.
        thread: ThreadInfo { message_id: email.message_id, subject: email.subject, ..ThreadInfo::default() },
    };
    Ok(Some(Lent { uid, message, source: Source { account, email: row.email } }))
}
