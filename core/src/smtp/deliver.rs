//! What becomes of a message that was received: into the mailboxes of local recipients, into the queue
//! for all others.
//!
//! The reply is given after everything is on the disk. The content is stored once, whatever the
//! number of recipients; each recipient gets its own trace fields in front of it.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use postrider_proto::address::{Address, ForwardPath};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::smtp::envelope::{BodyType, Envelope, Hold, Return};
use postrider_proto::smtp::reply::Class;
use postrider_proto::smtp::trace;
use postrider_proto::smtp::{Reply, envelope};
use postrider_storage::account::{Content, NewMessage, ThreadInfo};
use postrider_storage::blobs::Sharing;
use postrider_storage::committer::CommitError;
use postrider_storage::directory::{AliasSettings, Directory};
use postrider_storage::engine::{Batch, Durability, EngineError, Incarnation};
use postrider_storage::ids::AccountId;
use postrider_storage::queue::{self, HoldRules, NewQueued, NewRecipient};
use postrider_storage::rows::{Kind, RequireTls, Ret};
use postrider_storage::store::{Refusal, StoreError};
use tracing::{error, info};

use super::bounce::{self, Failed};
use super::connection::Connection;
use super::first_time::{FirstTime, Waited};
use super::policy;
use super::rehearsal::Wish;
use crate::accounts::{LoadError, WriteError};
use crate::commit;
use crate::config::DeliveryLimits;
use crate::delivery;
use crate::intake;
use crate::log::ConnectionId;
use crate::metrics;
use crate::runtime::spawn_task;
use crate::shard::{OpenError, Shard};

const NOT_A_MEMBER: Reply =
    Reply::new(Class::Permanent, 50, (7, 2), "this list takes messages of its members only");

/// Where an accepted recipient's mail goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Into a mailbox.
    Account {
        /// The account.
        account: AccountId,
        /// Its mailbox.
        mailbox: MailboxName,
        /// The recipient as it was given, for `Delivered-To`.
        delivered_to: Option<Address>,
    },
    /// To the members of an alias.
    Alias {
        /// The alias.
        address: Address,
        /// Who may write to it.
        settings: AliasSettings,
    },
    /// To another server, by the queue.
    Remote,
    /// To nobody: the sender learns it after the content.
    Unknown,
    /// An address of a local instance that asks for a reply.
    Rehearsal(Wish),
}

/// One mailbox that gets the message.
struct Drop {
    account: AccountId,
    mailbox: MailboxName,
    delivered_to: Option<Address>,
}

/// What one recipient came to.
type Outcome = Result<metrics::Delivery, Reply>;

/// A message on its way to its recipients.
pub(super) struct Delivery {
    pub(super) shard: Rc<Shard>,
    pub(super) id: ConnectionId,
    pub(super) sender: Option<AccountId>,
    pub(super) from: Option<Address>,
    /// `X-Postrider-Reason`; empty for mail that wasn't checked.
    pub(super) reason: String,
    /// From `Authentication-Results` down.
    pub(super) trace: String,
    pub(super) now: i64,
    pub(super) hostname: String,
    pub(super) content: Content,
    pub(super) thread: ThreadInfo,
    pub(super) incarnation: Option<Incarnation>,
    pub(super) first_time: Option<FirstTime>,
    /// Who it comes from, where that is counted.
    pub(super) counted: Option<Counted>,
    pub(super) envelope: Envelope,
}

/// Mail of which an account takes a limited amount.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    /// The client's address.
    pub(super) peer: IpAddr,
    /// How much.
    pub(super) limits: DeliveryLimits,
}

impl Delivery {
    pub(super) async fn run(self, targets: Vec<Target>, batch: Batch, sharing: Sharing) -> Reply {
        let committer = Arc::clone(&self.shard.shared.committer);
        let mut drops = Vec::new();
        let mut remote = Vec::new();
        let mut outcomes = Outcomes::default();
        // Who is named twice, or reached by two aliases, gets one message.
        let mut reached = HashSet::new();
        for (number, target) in targets.into_iter().enumerate() {
            match self.drops(target).await {
                Ok(Place::Mailboxes(found)) => drops.extend(found.into_iter().filter_map(|drop| {
                    let who = (drop.account, drop.delivered_to.as_ref().map(Address::to_string));
                    reached.insert(who).then_some((number, drop))
                })),
                Ok(Place::Queue) => remote.push(number),
                Err(reply) => outcomes.note(number, Err(reply)),
            }
        }
        // All wait for one another: a message that is cut off meanwhile has come to nobody, and comes again.
        if let Some(first_time) = &self.first_time
            && first_time.wait(&self.shard, self.id, drops.iter().map(|(_, drop)| drop.account)).await
                == Waited::Cut
        {
            intake::abandon(&committer, self.content);
            return Reply::SHUTTING_DOWN;
        }
        let (mut attached, mut incarnation) = (Some(batch), self.incarnation);
        if sharing == Sharing::Several
            && let Some(batch) = attached.take()
        {
            match self.write_content(batch).await {
                Ok(life) => incarnation = Some(life),
                Err(error) => {
                    intake::abandon(&committer, self.content);
                    return policy::commit_reply(&error, self.id);
                }
            }
        }
        let store = |(number, drop)| {
            let work = self.store(drop, attached.take(), incarnation);
            (number, spawn_task("store in a mailbox", work))
        };
        let tasks: Vec<_> = drops.into_iter().map(store).collect();
        if !remote.is_empty() {
            let outcome = self.queue(&remote, attached.take(), incarnation).await;
            remote.iter().for_each(|number| outcomes.note(*number, outcome.clone()));
        }
        for (number, task) in tasks {
            outcomes.note(number, task.await.unwrap_or(Err(Reply::LOCAL_ERROR)));
        }
        let stored = outcomes.0.values().any(Result::is_ok);
        match sharing {
            Sharing::Several if stored => intake::settle(&committer, self.content),
            Sharing::Several => intake::abandon(&committer, self.content),
            Sharing::One if !stored => intake::abandon(&committer, self.content),
            Sharing::One => {}
        }
        self.reply(outcomes).await
    }

    /// Writes the last batch of a content that several transactions refer to. Those are submitted, and so
    /// committed, later. Refused when the batches before it may be gone.
    async fn write_content(&self, batch: Batch) -> Result<Incarnation, CommitError> {
        let committer = &self.shard.shared.committer;
        let submitted = commit::submit(committer, batch, Durability::Buffered, self.incarnation).await?;
        Ok(submitted.done().await?.incarnation)
    }

    /// The mailboxes that a recipient's mail goes to.
    async fn drops(&self, target: Target) -> Result<Place, Reply> {
        match target {
            Target::Account { account, mailbox, delivered_to } => {
                Ok(Place::Mailboxes(vec![Drop { account, mailbox, delivered_to }]))
            }
            Target::Remote => Ok(Place::Queue),
            Target::Unknown => Err(Reply::NO_SUCH_USER),
            Target::Rehearsal(wish) => Err(Connection::fulfil(&self.shard, wish).await),
            Target::Alias { address, settings } => {
                self.shard.shared.reads.calm().await;
                match self.members(&address, settings) {
                    Ok(drops) => drops.map(Place::Mailboxes),
                    Err(error) => {
                        error!(cid = %self.id, %error, "the directory could not be read");
                        Err(Reply::LOCAL_ERROR)
                    }
                }
            }
        }
    }

    /// The members of an alias that get the message (product 1.14).
    fn members(
        &self,
        alias: &Address,
        settings: AliasSettings,
    ) -> Result<Result<Vec<Drop>, Reply>, EngineError> {
        let reader = self.shard.shared.store.reader();
        let directory = Directory::new(reader.snapshot());
        let members = directory.members(alias)?;
        let from = self.from.as_ref();
        let is_member = members.iter().any(|(_, address)| Some(address) == from);
        let is_alias = settings.allow_msg_from && from == Some(alias);
        if !(settings.post_public || is_member || is_alias) {
            return Ok(Err(NOT_A_MEMBER));
        }
        let mut drops = Vec::new();
        for (account, address) in members {
            // The author has the message already; who is addressed directly gets it that way.
            let direct = self.envelope.recipients.iter().any(|r| r.path.address() == Some(&address));
            if Some(&address) == from || direct {
                continue;
            }
            drops.push(Drop { account, mailbox: MailboxName::inbox(), delivered_to: Some(address) });
        }
        Ok(Ok(drops))
    }

    fn prefix(&self, delivered_to: Option<&Address>) -> Vec<u8> {
        let mut prefix = self.reason.clone();
        prefix += &delivered_to.map(trace::delivered_to).unwrap_or_default();
        prefix += &trace::return_path(&self.envelope.reverse_path);
        prefix += &self.trace;
        prefix.into_bytes()
    }

    /// Stores the message in one mailbox, on the account's home shard.
    fn store(
        &self,
        drop: Drop,
        content_batch: Option<Batch>,
        incarnation: Option<Incarnation>,
    ) -> impl Future<Output = Outcome> + use<> {
        let Drop { account, mailbox, delivered_to } = drop;
        let message = NewMessage {
            content: self.content,
            prefix: self.prefix(delivered_to.as_ref()),
            flags: postrider_proto::imap::types::Flags::NONE,
            keywords: Vec::new(),
            received: self.now,
            thread: self.thread.clone(),
        };
        let (shard, id) = (Rc::clone(&self.shard), self.id);
        let sender = self.first_time.as_ref().and_then(|first_time| first_time.sender);
        let (counted, octets, now) = (self.counted, self.content.size, self.now);
        async move {
            let stored = shard
                .at_home(account, move |home| {
                    Box::pin(async move {
                        if let Some(Counted { peer, limits }) = counted
                            && !home.rates.take(account, peer, octets, &limits, now)
                        {
                            return Err(Reply::TOO_MUCH_MAIL);
                        }
                        let handle = match home.open_account(account).await {
                            Ok(handle) => handle,
                            Err(OpenError::Load(LoadError::Removed)) => return Err(Reply::NO_SUCH_USER),
                            Err(OpenError::Write(error)) => return Err(write_reply(&error, id)),
                            Err(error) => {
                                error!(cid = %id, %account, %error, "the account could not be loaded");
                                return Err(Reply::LOCAL_ERROR);
                            }
                        };
                        let appended = handle.transact(None, incarnation, move |tx| {
                            let inbox = MailboxName::inbox();
                            let mailbox = tx.mailbox_id(&mailbox).or_else(|| tx.mailbox_id(&inbox));
                            let mailbox = mailbox.ok_or(Refusal::NoSuchMailbox)?;
                            if let Some(batch) = content_batch {
                                tx.attach(batch);
                            }
                            if let Some(sender) = sender {
                                tx.note_sender(sender)?;
                            }
                            tx.append(mailbox, message)
                        });
                        match appended.await {
                            Ok(appended) => {
                                info!(cid = %id, %account, uid = %appended.uid, "delivered");
                                Ok(metrics::Delivery::Stored)
                            }
                            Err(error) => Err(write_reply(&error, id)),
                        }
                    })
                })
                .await;
            stored.unwrap_or(Err(Reply::SHUTTING_DOWN))
        }
    }

    /// Puts the message into the queue for these recipients.
    async fn queue(
        &self,
        recipients: &[usize],
        content_batch: Option<Batch>,
        incarnation: Option<Incarnation>,
    ) -> Outcome {
        let envelope = &self.envelope;
        let mut known = HashSet::new();
        let recipients: Vec<NewRecipient> = recipients
            .iter()
            .filter_map(|number| envelope.recipients.get(*number))
            .filter_map(new_recipient)
            .filter(|recipient| known.insert(recipient.address.clone()))
            .collect();
        let queued = NewQueued {
            content: self.content,
            prefix: self.trace.clone().into_bytes(),
            created: self.now,
            sender: self.sender,
            mail_from: envelope.reverse_path.address().map(Address::to_string).unwrap_or_default().into(),
            kind: Kind::Ordinary,
            require_tls: wish(envelope),
            smtputf8: envelope.smtputf8,
            eight_bit: envelope.body == BodyType::EightBitMime,
            binary: envelope.body == BodyType::BinaryMime,
            ret: match envelope.ret {
                None => Ret::Unspecified,
                Some(Return::Full) => Ret::Full,
                Some(Return::Headers) => Ret::Headers,
            },
            envelope_id: envelope.envelope_id.as_deref().unwrap_or_default().into(),
            hold_until: envelope.hold.map(|hold| match hold {
                Hold::For(seconds) => self.now.saturating_add(i64::from(seconds)),
                Hold::Until(time) => time,
            }),
            max_attempts: 0,
            recipients,
        };
        self.enqueue(queued, content_batch, incarnation).await
    }

    async fn enqueue(
        &self,
        queued: NewQueued,
        content_batch: Option<Batch>,
        incarnation: Option<Incarnation>,
    ) -> Outcome {
        let shared = &self.shard.shared;
        let account = queued.sender.map_or(0, AccountId::get);
        shared.reads.calm().await;
        let rules = HoldRules::load(&shared.store.reader());
        let enqueued = rules.and_then(|rules| queue::enqueue(|| shared.store.new_queue_id(), queued, &rules));
        let enqueued = enqueued.map_err(|error| policy::store_reply(&error, self.id))?;
        let (mut batch, delta) = (enqueued.edit.batch, enqueued.edit.delta);
        if let Some(content) = content_batch {
            batch.append(content);
        }
        let submitted = commit::submit(&shared.committer, batch, Durability::Synced, incarnation).await;
        let done = match submitted {
            Ok(submitted) => submitted.done().await,
            Err(error) => Err(error),
        };
        done.map_err(|error| policy::commit_reply(&error, self.id))?;
        shared.queue_counts.add(delta);
        delivery::announce(&self.shard, enqueued.entries, account).await;
        Ok(metrics::Delivery::Queued)
    }

    /// What the client is told (product 1.11): success when anybody got the message; those who did not
    /// are then named in a report to the sender.
    async fn reply(&self, outcomes: Outcomes) -> Reply {
        let metrics = &self.shard.shared.metrics;
        let mut failed: Vec<(usize, Reply)> = Vec::new();
        let mut stored = 0;
        for (number, outcome) in outcomes.0 {
            let label = match &outcome {
                Ok(how) => *how,
                Err(reply) if reply.class() == Class::Permanent => metrics::Delivery::Refused,
                Err(_) => metrics::Delivery::Deferred,
            };
            self.shard.recorder.increment(metrics.deliveries.at([label as usize]));
            match outcome {
                Ok(_) => stored += 1,
                Err(reply) => failed.push((number, reply)),
            }
        }
        if stored > 0 {
            if !failed.is_empty()
                && let Err(reply) = self.report(&failed).await
            {
                // Nobody would ever learn of the recipients that failed. The client tries again: some get
                // the message twice, but no failure is lost.
                error!(cid = %self.id, code = reply.code(), "a report on failed recipients could not be queued");
                return reply;
            }
            return Reply::DELIVERED;
        }
        let Some((_, first)) = failed.first() else {
            // An alias whose only member is the author: nobody was to get it.
            return Reply::DELIVERED;
        };
        if failed.iter().all(|(_, reply)| reply.code() == first.code()) {
            return first.clone();
        }
        let permanent = failed.iter().any(|(_, reply)| reply.class() == Class::Permanent);
        let (class, basic) = if permanent { (Class::Permanent, 54) } else { (Class::Transient, 51) };
        let lines: Vec<String> = failed.iter().map(|(_, r)| format!("{} {}", r.code(), r.text())).collect();
        Reply::new(class, basic, (3, 0), "").with_text(lines.join("\n") + "\nmultiple errors")
    }

    /// Queues a report to the sender about recipients that did not get the message.
    async fn report(&self, failed: &[(usize, Reply)]) -> Result<(), Reply> {
        let Some(sender) = self.envelope.reverse_path.address() else { return Ok(()) };
        let failed: Vec<Failed<'_>> = failed
            .iter()
            .filter_map(|(number, reply)| {
                Some(Failed { recipient: self.envelope.recipients.get(*number)?, reply })
            })
            .filter(|failed| failed.recipient.notify.is_none_or(|notify| notify.failure))
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        let report = bounce::report(&self.hostname, sender, &self.envelope, &failed, self.now);
        let shared = &self.shard.shared;
        let mut taken = intake::Intake::new(&shared.store, &shared.committer, u64::MAX);
        let failed = |error| policy::intake_reply(&error, self.id);
        taken.push(report.as_bytes()).await.map_err(failed)?;
        let message = taken.finish(Sharing::One).map_err(failed)?;
        let queued = NewQueued {
            content: message.content,
            prefix: Vec::new(),
            created: self.now,
            sender: None,
            mail_from: Vec::new(),
            kind: Kind::Report,
            require_tls: wish(&self.envelope),
            smtputf8: self.envelope.smtputf8,
            eight_bit: true,
            binary: false,
            ret: Ret::Unspecified,
            envelope_id: Vec::new(),
            hold_until: None,
            max_attempts: 0,
            recipients: vec![NewRecipient {
                address: sender.to_string().into(),
                notify: None,
                original: Vec::new(),
            }],
        };
        let queued = self.enqueue(queued, Some(message.batch), message.incarnation).await;
        if queued.is_err() {
            intake::abandon(&shared.committer, message.content);
        }
        queued.map(drop)
    }
}

/// What the recipients came to, by their place in the envelope.
#[derive(Default)]
struct Outcomes(BTreeMap<usize, Outcome>);

impl Outcomes {
    /// An alias got the message when any of its members did (product 1.14).
    fn note(&mut self, number: usize, outcome: Outcome) {
        let known = self.0.entry(number).or_insert_with(|| outcome.clone());
        if known.is_err() && outcome.is_ok() {
            *known = outcome;
        }
    }
}

/// Where a recipient's mail goes.
enum Place {
    Mailboxes(Vec<Drop>),
    Queue,
}

fn new_recipient(recipient: &envelope::Recipient) -> Option<NewRecipient> {
    let ForwardPath::Address(address) = &recipient.path else { return None };
    let original = recipient.original.as_ref().map(|o| format!("{};{}", o.address_type, o.address));
    Some(NewRecipient {
        address: address.to_string().into(),
        notify: recipient.notify,
        original: original.unwrap_or_default().into(),
    })
}

/// What the client asked of transport security (RFC 8689 §4.2.1).
const fn wish(envelope: &Envelope) -> RequireTls {
    if envelope.requiretls { RequireTls::Required } else { RequireTls::Unset }
}

fn write_reply(error: &WriteError, id: ConnectionId) -> Reply {
    match error {
        WriteError::Refused(refusal) => policy::store_reply(&StoreError::Refused(*refusal), id),
        WriteError::Store(error) => policy::store_reply(error, id),
        WriteError::Commit(error) => policy::commit_reply(error, id),
        WriteError::Busy | WriteError::Reopened => Reply::LOCAL_ERROR,
    }
}
