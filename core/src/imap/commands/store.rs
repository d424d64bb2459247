//! STORE and UID STORE (RFC 9051 §6.4.6, UNCHANGEDSINCE: RFC 7162 §3.1.3).
//!
//! What changed is told by the session's sync, in the order of the changes, and so are messages that the
//! command leaves as they are but has to answer for: rows are never older than what was told before.
//!
//! A message has one modification sequence for all of its flags. Whether the flags that a conditional STORE
//! names are among those that others changed is found out from the account's log (RFC 7162 §3.1.12).

use std::collections::{BTreeMap, HashSet};

use postrider_proto::imap::command::{FlagChange as Wanted, Loudness, Store};
use postrider_proto::imap::response::Code;
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::types::{ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::account::{
    Change, FlagChange, FlagOp, FlagScope, MESSAGES_PER_TRANSACTION_MAX, Tx, Unchanged,
};
use postrider_storage::ids::{KeywordId, MailboxId};
use postrider_storage::store::StoreError;

use crate::accounts::{Since, WriteError};
use crate::imap::answers::{NO_SUCH_MESSAGE, READ_ONLY, write_failed};
use crate::imap::session::{Completion, CompletionCode, Context, Ended};
use crate::imap::sync::{Cause, Expunges, OwnFlags};

const NO_RIGHT: Completion = Completion::refused(Code::NoPerm, "you may not change these flags");

/// What one transaction did.
#[derive(Debug, Default)]
struct Done {
    /// Messages whose flags were already so.
    unchanged: Vec<Uid>,
    modified: Vec<Uid>,
    missing: Vec<Uid>,
}

/// Does it.
pub async fn store(context: &mut Context<'_>, command: Store) -> Result<Completion, Ended> {
    if !context.selected.is_writable() {
        return Ok(READ_ONLY);
    }
    // Who may change some of the flags changes those (RFC 4314 §4).
    if !context.selected.scope().allows_some(&change(&command)) {
        return Ok(NO_RIGHT);
    }
    let Ok(uids) = context.selected.resolve(&command.messages) else { return Ok(NO_SUCH_MESSAGE) };
    let (uids, limit) = context.limit.cut(uids);
    if command.unchanged_since.is_some() {
        context.enable_condstore();
    }
    let expunges = match command.messages.numbering {
        Numbering::Uid => Expunges::Now,
        Numbering::Sequence => Expunges::Later,
    };
    let own = match command.loudness {
        Loudness::Loud => OwnFlags::Tell,
        Loudness::Silent => OwnFlags::Silent,
    };
    let mut outcome = Outcome::default();
    let uids: Vec<Uid> = uids.iter().collect();
    for some in uids.chunks(MESSAGES_PER_TRANSACTION_MAX) {
        let asked = match transact(context, &command, some).await {
            Ok(done) => {
                let asked = asked(&command, &done);
                outcome.modified.extend(done.modified);
                outcome.missing |= !done.missing.is_empty();
                asked
            }
            Err(error) => {
                outcome.failed = Some(write_failed(&error, context.id));
                break;
            }
        };
        // After each transaction, while the account still remembers whose changes these are.
        context.sync_with(expunges, own, asked).await?;
        context.out.flush_if_full().await?;
    }
    let completion = outcome.completion(command.messages.numbering, &context.selected.view);
    Ok(completion.limited(limit, context.out))
}

async fn transact(context: &Context<'_>, command: &Store, uids: &[Uid]) -> Result<Done, WriteError> {
    let (change, scope) = (change(command), context.selected.scope());
    let unchanged = command.unchanged_since.map(|since| unchanged(context, since, &change));
    let (mailbox, uids) = (context.selected.mailbox, uids.to_vec());
    context
        .account
        .transact_many(Some(context.watcher.id()), None, uids.len(), move |tx| {
            apply(tx, mailbox, &uids, &change, unchanged.as_ref(), scope)
        })
        .await
}

/// Which messages the command leaves alone: those of which a flag that it names was set or removed since.
/// What the log has forgotten counts as such a change, and 0 stands before all of them.
fn unchanged(context: &Context<'_>, since: u64, change: &FlagChange) -> Unchanged {
    let mut unchanged = Unchanged::since(since);
    // A replacement names all flags.
    let Some(since) = ModSeq::new(since).filter(|_| change.op != FlagOp::Replace) else { return unchanged };
    let Since::Changes(changes) = context.account.log().since(since) else { return unchanged };
    let state = context.account.state();
    let keywords: Vec<KeywordId> =
        change.keywords.iter().filter_map(|keyword| state.keyword_id(keyword)).collect();
    // None when it concerns the command.
    let mut last = BTreeMap::<Uid, Option<ModSeq>>::new();
    for published in &changes {
        match &published.change {
            Change::Flags { mailbox, uid, modseq, touched, .. } if *mailbox == context.selected.mailbox => {
                let entry = last.entry(*uid).or_insert(Some(*modseq));
                *entry = entry.and(Some(*modseq)).filter(|_| !touched.concerns(change.flags, &keywords));
            }
            Change::Added { mailbox, uid, .. } if *mailbox == context.selected.mailbox => {
                last.insert(*uid, None);
            }
            _ => {}
        }
    }
    unchanged.but_for = last.into_iter().filter_map(|(uid, modseq)| Some((uid, modseq?))).collect();
    unchanged
}

fn change(command: &Store) -> FlagChange {
    FlagChange {
        op: match command.change {
            Wanted::Replace => FlagOp::Replace,
            Wanted::Add => FlagOp::Add,
            Wanted::Remove => FlagOp::Remove,
        },
        flags: command.flags.flags,
        keywords: command.flags.keywords.clone(),
    }
}

/// Changes flags, and tells apart what changed from what was already so.
fn apply(
    tx: &mut Tx<'_, '_>,
    mailbox: MailboxId,
    uids: &[Uid],
    change: &FlagChange,
    unchanged: Option<&Unchanged>,
    scope: FlagScope,
) -> Result<Done, StoreError> {
    let before = tx.head()?.modseq;
    let done = tx.store_flags_within(mailbox, uids, change, unchanged, scope)?;
    let unchanged = done.updated.into_iter().filter(|updated| updated.modseq <= before);
    let unchanged = unchanged.map(|updated| updated.uid).collect();
    Ok(Done { unchanged, modified: done.modified, missing: done.missing })
}

/// Messages that didn't change and are to be answered for. STORE is answered for each message (RFC 9051
/// §6.4.6), and with UNCHANGEDSINCE in any case (RFC 7162 §3.1.3). Of those that failed it the client learns
/// how they are now, so that it need not ask.
fn asked(command: &Store, done: &Done) -> Vec<(Uid, Cause)> {
    let loud = command.loudness == Loudness::Loud;
    let unchanged = done.unchanged.iter().filter(|_| loud || command.unchanged_since.is_some());
    let mut asked: Vec<_> = unchanged.map(|uid| (*uid, Cause::Own)).collect();
    asked.extend(done.modified.iter().map(|uid| (*uid, Cause::Other)));
    asked.sort_unstable_by_key(|(uid, _)| *uid);
    asked
}

/// What all transactions of a command did.
#[derive(Debug, Default)]
struct Outcome {
    modified: HashSet<Uid>,
    missing: bool,
    failed: Option<Completion>,
}

impl Outcome {
    fn completion(self, numbering: Numbering, view: &UidSet) -> Completion {
        if let Some(failed) = self.failed {
            return failed;
        }
        if !self.modified.is_empty() {
            let uids: UidSet = self.modified.into_iter().collect();
            let numbers = match numbering {
                Numbering::Uid => uids,
                Numbering::Sequence => view.sequence_numbers(&uids),
            };
            return Completion::ok("some messages were changed by others")
                .with(CompletionCode::Modified(numbers));
        }
        if self.missing {
            return Completion::ok("some messages were removed by others")
                .with(CompletionCode::Plain(Code::ExpungeIssued));
        }
        Completion::ok("STORE done")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use postrider_proto::imap::response::Status;

    use super::*;

    fn uids(numbers: &[u32]) -> UidSet {
        numbers.iter().map(|number| Uid::new(*number).unwrap()).collect()
    }

    fn outcome(modified: &[u32], missing: bool) -> Outcome {
        Outcome { modified: uids(modified).iter().collect(), missing, failed: None }
    }

    #[test]
    fn failed_messages_come_back_as_modified_in_the_numbers_of_the_command() {
        let view = uids(&[3, 5, 8, 9]);
        let text = |numbering| {
            let completion = outcome(&[5, 8], true).completion(numbering, &view);
            assert_eq!(completion.status, Status::Ok);
            match completion.code {
                CompletionCode::Modified(numbers) => numbers.to_string(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(text(Numbering::Uid), "5,8");
        assert_eq!(text(Numbering::Sequence), "2:3");
    }

    #[test]
    fn messages_that_are_gone_are_told_of() {
        let completion = outcome(&[], true).completion(Numbering::Sequence, &uids(&[1]));
        assert!(matches!(completion.code, CompletionCode::Plain(Code::ExpungeIssued)));
        let completion = outcome(&[], false).completion(Numbering::Sequence, &uids(&[1]));
        assert!(matches!(completion.code, CompletionCode::None));
    }
}
