//! Adding imported messages to an account: all of them in one transaction. When that is refused, one by
//! one, so that only what can't be added is left out.

use std::rc::Rc;
use std::sync::Arc;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_storage::account::{NewMessage, Tx};
use postrider_storage::ids::AccountId;
use postrider_storage::rows::SpecialUse;
use postrider_storage::store::{Refusal, StoreError};

use super::flags::Marks;
use crate::accounts::{AccountHandle, LoadError, WriteError};
use crate::control::OperationError;
use crate::control::protocol::{Failure, FailureKind};
use crate::intake::{Message, abandon};
use crate::shard::Shard;

/// A message that came in.
pub(super) struct Ready {
    pub(super) message: Message,
    pub(super) marks: Marks,
    pub(super) received: i64,
    /// What it is called in reports.
    pub(super) name: String,
}

/// Messages for a mailbox.
pub(super) struct Deposit {
    pub(super) account: AccountId,
    pub(super) mailbox: MailboxName,
    pub(super) messages: Vec<Ready>,
}

/// What became of them.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) messages: u64,
    pub(super) octets: u64,
    pub(super) skipped: Vec<String>,
    /// Why no more can be added.
    pub(super) ended: Option<Failure>,
}

impl Outcome {
    fn added(&mut self, ready: &Ready) {
        self.messages += 1;
        self.octets += ready.message.content.size;
    }
}

/// Adds messages to an account, on its home shard.
pub(super) async fn deposit(shard: &Rc<Shard>, deposit: Deposit) -> Result<Outcome, OperationError> {
    let account = deposit.account;
    let done = shard.at_home(account, move |home| Box::pin(async move { at_home(&home, deposit).await }));
    done.await.map_err(|_| OperationError::new(FailureKind::Unavailable, "the server stops"))
}

async fn at_home(home: &Rc<Shard>, deposit: Deposit) -> Outcome {
    let Deposit { account, mailbox, messages } = deposit;
    let mut outcome = Outcome::default();
    let handle = match home.accounts.get(account).await {
        Ok(handle) => handle,
        Err(LoadError::Removed) => {
            outcome.ended = Some(Failure::new(FailureKind::NotFound, "the account was removed"));
            give_up(home, &messages);
            return outcome;
        }
        Err(error) => {
            tracing::error!(%account, %error, "the account can't be loaded for an import");
            outcome.ended = Some(Failure::new(FailureKind::Internal, error.to_string()));
            give_up(home, &messages);
            return outcome;
        }
    };
    let messages = Arc::new(messages);
    match add(&handle, &mailbox, &messages, 0..messages.len()).await {
        Ok(()) => messages.iter().for_each(|ready| outcome.added(ready)),
        Err(WriteError::Refused(_)) if messages.len() > 1 => {
            one_by_one(home, &handle, &mailbox, &messages, &mut outcome).await;
        }
        Err(error) => refused(home, &messages, 0, error, &mut outcome),
    }
    outcome
}

async fn one_by_one(
    home: &Rc<Shard>,
    handle: &Rc<AccountHandle>,
    mailbox: &MailboxName,
    messages: &Arc<Vec<Ready>>,
    outcome: &mut Outcome,
) {
    for (at, ready) in messages.iter().enumerate() {
        if outcome.ended.is_some() {
            give_up(home, messages.get(at..).unwrap_or_default());
            return;
        }
        match add(handle, mailbox, messages, at..at + 1).await {
            Ok(()) => outcome.added(ready),
            Err(error) => refused(home, messages, at, error, outcome),
        }
    }
}

/// Notes that a message was not added, or why none can be.
fn refused(home: &Rc<Shard>, messages: &[Ready], at: usize, error: WriteError, outcome: &mut Outcome) {
    let failure = |kind, message: String| Some(Failure::new(kind, message));
    match error {
        WriteError::Refused(Refusal::OverQuota) => {
            outcome.ended = failure(FailureKind::Invalid, "the account's quota is used up".to_owned());
        }
        WriteError::Refused(refusal @ (Refusal::TooManyMailboxes | Refusal::NoSuchAccount)) => {
            outcome.ended = failure(FailureKind::Invalid, refusal.to_string());
        }
        WriteError::Refused(refusal) => {
            if let Some(ready) = messages.get(at) {
                outcome.skipped.push(format!("{}: {refusal}", ready.name));
                give_up(home, std::slice::from_ref(ready));
            }
            return;
        }
        WriteError::Store(error) => {
            tracing::error!(%error, "an import can't go on");
            outcome.ended = failure(FailureKind::Internal, error.to_string());
        }
        error @ (WriteError::Commit(_) | WriteError::Busy | WriteError::Reopened) => {
            outcome.ended = failure(FailureKind::Unavailable, error.to_string());
            // After a failed commit nobody knows: the next start looks who refers to what.
            return;
        }
    }
    // In one transaction none of them was added, and one by one the others are given up by the caller.
    give_up(home, messages.get(at..at + 1).unwrap_or_default());
}

/// Lets the contents of messages that nobody took be collected.
fn give_up(home: &Rc<Shard>, messages: &[Ready]) {
    // Contents without one were to be written with their message.
    for ready in messages.iter().filter(|ready| ready.message.incarnation.is_some()) {
        abandon(&home.shared.committer, ready.message.content);
    }
}

/// Adds some of the messages in one transaction.
async fn add(
    handle: &Rc<AccountHandle>,
    mailbox: &MailboxName,
    messages: &Arc<Vec<Ready>>,
    which: std::ops::Range<usize>,
) -> Result<(), WriteError> {
    let some = messages.get(which.clone()).unwrap_or_default();
    let mut incarnations = some.iter().filter_map(|ready| ready.message.incarnation);
    let incarnation = incarnations.next();
    if incarnations.any(|other| Some(other) != incarnation) {
        // The store was reopened between two of them.
        return Err(WriteError::Reopened);
    }
    let (mailbox, messages) = (mailbox.clone(), Arc::clone(messages));
    handle
        .transact_many(None, incarnation, which.len(), move |tx| {
            let mailbox = match tx.mailbox_id(&mailbox) {
                Some(mailbox) => mailbox,
                None => tx.create_mailbox(&mailbox, SpecialUse::NONE)?,
            };
            for ready in messages.get(which).unwrap_or_default() {
                append(tx, mailbox, ready)?;
            }
            Ok(())
        })
        .await
}

fn append(
    tx: &mut Tx<'_, '_>,
    mailbox: postrider_storage::ids::MailboxId,
    ready: &Ready,
) -> Result<(), StoreError> {
    let Ready { message, marks, received, .. } = ready;
    tx.attach(message.batch.clone());
    let new = NewMessage {
        content: message.content,
        prefix: Vec::new(),
        flags: marks.flags,
        keywords: marks.keywords.clone(),
        received: *received,
        thread: message.thread.clone(),
    };
    tx.append(mailbox, new).map(drop)
}
