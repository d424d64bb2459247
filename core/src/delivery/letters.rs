//! Reports on their way: each is stored in the batch that has what it tells of, so that whatever is cut off, it is there once
//! or the outcome isn't there either. To the sender's mailbox when it is one of ours, otherwise by the queue.

use std::rc::Rc;

use postrider_delivery::report::{Action, Addressee, Report};
use postrider_delivery::security::Requirement;
use postrider_proto::address::Address;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::Flags;
use postrider_proto::smtp::envelope::Return;
use postrider_storage::account::{Content, NewMessage};
use postrider_storage::blobs::Sharing;
use postrider_storage::directory::{Directory, Recipient as Asked, Resolution};
use postrider_storage::engine::{Batch, Durability, Incarnation};
use postrider_storage::ids::AccountId;
use postrider_storage::queue::{NewQueued, NewRecipient};
use postrider_storage::rows::{Kind, QueueRow, RequireTls, Ret};
use postrider_storage::store::{Refusal, StoreError};
use tracing::{error, info, warn};

use super::reports::{self, News};
use super::{attempt, enqueue_all, translate};
use crate::accounts::{LoadError, WriteError};
use crate::clock::unix_now;
use crate::commit;
use crate::intake::{self, Intake, IntakeError};
use crate::lock::Held;
use crate::runtime::yield_if_needed;
use crate::shard::{OpenError, Shard};
use crate::signing;

/// Octets that are stored before other tasks may run.
const PIECE_OCTETS: usize = 64 * 1024;

/// Why messages aren't stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unstored {
    /// The mailbox doesn't take them, now and later: it is full, or gone.
    #[error("{0}")]
    Refused(Refusal),
    /// It may work another time.
    #[error("{0}")]
    Failed(String),
}

/// Where reports go.
#[derive(Clone)]
enum Place {
    Mailbox(AccountId, MailboxName),
    Queue,
}

/// Who gets them.
struct To {
    place: Place,
    address: Address,
    /// The sender of the message; otherwise the postmaster.
    is_sender: bool,
}

/// One report, all but its last writes in the store.
struct Letter {
    action: Action,
    requires_tls: bool,
    eight_bit: bool,
    /// Signatures, where it leaves.
    prefix: Vec<u8>,
    message: intake::Message,
}

/// Reports that are ready to be stored. They are to be committed, or abandoned.
#[must_use]
pub(super) struct Letters {
    to: Option<To>,
    letters: Vec<Letter>,
}

/// Writes what is to be told of an entry. Nothing of it is told before [`Letters::commit`].
pub(super) async fn prepare(shard: &Rc<Shard>, news: &News<'_>) -> Result<Letters, String> {
    // Either the sender is told of all, or only the postmaster of anything.
    match news.wanted.first().map(|report| report.to) {
        Some(whom) => Letters::to(shard, news, whom, &news.wanted).await,
        None => Ok(Letters { to: None, letters: Vec::new() }),
    }
}

impl Letters {
    async fn to(
        shard: &Rc<Shard>,
        news: &News<'_>,
        whom: Addressee,
        wanted: &[Report],
    ) -> Result<Self, String> {
        let text = |error: StoreError| error.to_string();
        let to = addressee(shard, &news.tried.entry, whom).await.map_err(text)?;
        let mut prepared = Self { to, letters: Vec::new() };
        let Some(to) = &prepared.to else { return Ok(prepared) };
        for report in wanted {
            // The postmaster has no use for what went well, nor for a delay.
            if !to.is_sender && report.action != Action::Failed {
                continue;
            }
            match Letter::write(shard, news, report, to).await {
                Ok(letter) => prepared.letters.push(letter),
                Err(error) => {
                    prepared.abandon(shard);
                    return Err(error);
                }
            }
        }
        Ok(prepared)
    }

    /// Gives up what nobody is told.
    pub(super) fn abandon(self, shard: &Shard) {
        abandon(shard, self.letters.iter().map(|letter| letter.message.content));
    }

    /// Commits a batch with the reports on what it holds: all of that, or nothing.
    ///
    /// A sender whose mailbox is full is not told; of a message that failed the postmaster is. What nobody takes is logged,
    /// so that no outcome waits for ever.
    pub(super) async fn commit(self, shard: &Rc<Shard>, news: &News<'_>, batch: Batch) -> Result<(), String> {
        let entry = news.tried.id.0;
        let mut letters = self;
        loop {
            let failed = letters.letters.iter().any(|letter| letter.action == Action::Failed);
            let Some(to) = letters.to.take().filter(|_| !letters.letters.is_empty()) else {
                if news.wanted.iter().any(|report| report.action == Action::Failed) {
                    warn!(entry, "there is nobody to tell of a message that failed; set [postmaster]");
                }
                return commit_alone(shard, batch).await;
            };
            match letters.store(shard, news, &to, batch.clone()).await {
                Ok(()) => return Ok(()),
                Err(Unstored::Failed(error)) => return Err(error),
                Err(Unstored::Refused(why)) => {
                    error!(entry, to = %to.address, %why, "a report is not taken");
                    if !(failed && to.is_sender) {
                        return commit_alone(shard, batch).await;
                    }
                    letters = Self::to(shard, news, Addressee::Postmaster, &news.wanted).await?;
                }
            }
        }
    }

    /// Stores them together with a batch, and waits for the disk.
    async fn store(
        &mut self,
        shard: &Rc<Shard>,
        news: &News<'_>,
        to: &To,
        batch: Batch,
    ) -> Result<(), Unstored> {
        let letters = std::mem::take(&mut self.letters);
        let contents: Vec<Content> = letters.iter().map(|letter| letter.message.content).collect();
        let actions: Vec<Action> = letters.iter().map(|letter| letter.action).collect();
        let stored = match &to.place {
            Place::Mailbox(account, mailbox) => {
                let mail = letters.into_iter().map(|letter| Mail {
                    message: letter.message,
                    is_needed: letter.action == Action::Failed,
                });
                into_mailbox(shard, *account, mailbox.clone(), mail.collect(), batch).await
            }
            Place::Queue => {
                let queued: Vec<_> =
                    letters.into_iter().map(|letter| queued_as(news, letter, &to.address)).collect();
                let all = vec![true; queued.len()];
                enqueue_all(shard, queued, batch).await.map(|()| all).map_err(Unstored::Failed)
            }
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                abandon(shard, contents);
                return Err(error);
            }
        };
        let left = contents.into_iter().zip(&stored).filter(|(_, is_stored)| !**is_stored);
        abandon(shard, left.map(|(content, _)| content));
        for (action, is_stored) in actions.iter().zip(stored) {
            let (entry, action, to) = (news.tried.id.0, action.word(), &to.address);
            if is_stored {
                info!(entry, action, %to, "a report is written");
            } else {
                error!(entry, action, %to, "there is no room for a report");
            }
        }
        Ok(())
    }
}

impl Letter {
    async fn write(shard: &Rc<Shard>, news: &News<'_>, report: &Report, to: &To) -> Result<Self, String> {
        let _one = if report.returns == Return::Full { Some(composing(shard).await?) } else { None };
        let text = reports::compose(shard, news, report, &to.address, to.is_sender).await;
        let text = text.map_err(|error| error.to_string())?;
        let shared = &shard.shared;
        let message = taken(shard, &text).await.map_err(|error| error.to_string())?;
        let prefix = match to.place {
            Place::Mailbox(..) => Vec::new(),
            Place::Queue => signing::sign_ours(shard, shared.config.hostname.domain(), &text).await,
        };
        let eight_bit = !text.is_ascii();
        Ok(Self { action: report.action, requires_tls: report.requires_tls, eight_bit, prefix, message })
    }
}

/// Waits until no other report is made on this shard that brings a whole message back: they are in memory.
pub(crate) async fn composing(shard: &Shard) -> Result<Held<'_>, &'static str> {
    shard.deliveries.composing.take().await
}

/// Stores a text as a content that one user takes.
pub(crate) async fn taken(shard: &Shard, text: &[u8]) -> Result<intake::Message, IntakeError> {
    let mut taken = Intake::new(&shard.shared.store, &shard.shared.committer, u64::MAX);
    for piece in text.chunks(PIECE_OCTETS) {
        taken.push(piece).await?;
        yield_if_needed().await;
    }
    taken.finish(Sharing::One)
}

fn abandon(shard: &Shard, contents: impl IntoIterator<Item = Content>) {
    for content in contents {
        intake::abandon(&shard.shared.committer, content);
    }
}

async fn commit_alone(shard: &Shard, batch: Batch) -> Result<(), String> {
    let done = commit::commit(&shard.shared.committer, batch, Durability::Synced).await;
    done.map(drop).map_err(|error| error.to_string())
}

async fn addressee(shard: &Rc<Shard>, entry: &QueueRow, whom: Addressee) -> Result<Option<To>, StoreError> {
    let shared = &shard.shared;
    let account = AccountId::new(entry.sender);
    let from = Address::parse(&attempt::text(&entry.mail_from)).ok();
    let hostname = shared.config.hostname.domain().clone();
    let found = shared.reads.run(move |reader| {
        let directory = Directory::new(reader.snapshot());
        if let (Addressee::Sender, Some(address)) = (whom, from) {
            let place = match account {
                None => Some(Place::Queue),
                Some(account) => {
                    directory.account(account)?.map(|_| Place::Mailbox(account, MailboxName::inbox()))
                }
            };
            if let Some(place) = place {
                return Ok(Some(To { place, address, is_sender: true }));
            }
        }
        let Ok(address) = Address::parse(&format!("postmaster@{hostname}")) else { return Ok(None) };
        Ok(match directory.resolve(Asked::Postmaster, &[hostname])? {
            Resolution::Account { account, mailbox, .. } => {
                Some(To { place: Place::Mailbox(account, mailbox), address, is_sender: false })
            }
            _ => None,
        })
    });
    found.await
}

/// A report as it waits for the server of the sender.
fn queued_as(news: &News<'_>, letter: Letter, to: &Address) -> (NewQueued, intake::Message) {
    let entry = &news.tried.entry;
    let queued = NewQueued {
        content: letter.message.content,
        prefix: letter.prefix,
        created: unix_now(),
        sender: None,
        mail_from: Vec::new(),
        kind: Kind::Report,
        require_tls: match (letter.requires_tls, translate::requirement(entry)) {
            (true, _) => RequireTls::Required,
            (false, Requirement::No) => RequireTls::No,
            (false, _) => RequireTls::Unset,
        },
        smtputf8: entry.smtputf8,
        eight_bit: letter.eight_bit,
        binary: false,
        // Those of the message, where it comes back.
        long_lines: entry.long_lines,
        ret: Ret::Unspecified,
        envelope_id: Vec::new(),
        hold_until: None,
        max_attempts: 0,
        meta: None,
        recipients: vec![NewRecipient {
            address: to.to_string().into(),
            notify: None,
            original: Vec::new(),
            from_id: None,
        }],
    };
    (queued, letter.message)
}

/// A message of the server for one of its mailboxes.
pub(crate) struct Mail {
    pub(crate) message: intake::Message,
    /// Without it, nothing is stored; the others are left out when there is no room for them.
    pub(crate) is_needed: bool,
}

/// Stores messages in a mailbox, or in the inbox when it is missing, and `also` in the same batch: all of it, or nothing. Says
/// of each message whether it is stored.
pub(crate) async fn into_mailbox(
    shard: &Rc<Shard>,
    account: AccountId,
    mailbox: MailboxName,
    mail: Vec<Mail>,
    also: Batch,
) -> Result<Vec<bool>, Unstored> {
    let Ok(incarnation) = incarnation(mail.iter().map(|mail| &mail.message)) else {
        return Err(Unstored::Failed(REOPENED.to_owned()));
    };
    let count = mail.len();
    let received = unix_now();
    let appended = shard.at_home(account, move |home| {
        Box::pin(async move {
            let handle = match home.open_account(account).await {
                Ok(handle) => handle,
                Err(OpenError::Load(LoadError::Removed)) => {
                    return Err(Unstored::Refused(Refusal::NoSuchAccount));
                }
                Err(error) => return Err(Unstored::Failed(error.to_string())),
            };
            let appended = handle.transact_with(None, incarnation, count, also, move |tx| {
                let inbox = MailboxName::inbox();
                let mailbox = tx.mailbox_id(&mailbox).or_else(|| tx.mailbox_id(&inbox));
                let mailbox = mailbox.ok_or(Refusal::NoSuchMailbox)?;
                let mut stored = Vec::with_capacity(mail.len());
                for Mail { message, is_needed } in mail {
                    let intake::Message { content, batch, thread, .. } = message;
                    let new = NewMessage {
                        content,
                        prefix: Vec::new(),
                        flags: Flags::NONE,
                        keywords: Vec::new(),
                        received,
                        thread,
                    };
                    let is_stored = match tx.append(mailbox, new) {
                        Ok(_) => true,
                        // Found out before anything is changed.
                        Err(StoreError::Refused(Refusal::OverQuota)) if !is_needed => false,
                        Err(error) => return Err(error),
                    };
                    if is_stored {
                        tx.attach(batch);
                    }
                    stored.push(is_stored);
                }
                Ok(stored)
            });
            match appended.await {
                Ok(stored) => Ok(stored),
                Err(WriteError::Refused(refusal)) => Err(Unstored::Refused(refusal)),
                Err(error) => Err(Unstored::Failed(error.to_string())),
            }
        })
    });
    appended.await.unwrap_or_else(|_| Err(Unstored::Failed("the server stops".to_owned())))
}

/// Why nothing is stored that was written in several lives of the store.
pub(super) const REOPENED: &str = "the store was reopened meanwhile";

/// The life of the store in which messages were written, if it matters; an error when there were several.
pub(super) fn incarnation<'a>(
    messages: impl Iterator<Item = &'a intake::Message>,
) -> Result<Option<Incarnation>, ()> {
    let mut lives = messages.filter_map(|message| message.incarnation);
    let first = lives.next();
    if lives.all(|life| Some(life) == first) { Ok(first) } else { Err(()) }
}
