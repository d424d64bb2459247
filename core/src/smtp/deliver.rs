//! What becomes of a message that was received: into the mailboxes of local recipients, into the queue
//! for all others.
//!
//! The reply is given after everything is on the disk. The content is stored once, whatever the
//! number of recipients; each recipient gets its own trace fields in front of it.
//!
//! One reply stands for all recipients. While some of another server's message would have to wait, nothing is stored and
//! all of it comes again; the accounts that had no room are noted, so that they are refused at RCPT then and hold up
//! nobody ([`super::room`]). Who is refused for good among others is named in a report, if the sender is the real one.

use std::collections::HashSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use postrider_proto::address::{Address, ForwardPath};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::Flags;
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::body::ContentFacts;
use postrider_proto::smtp::envelope::Envelope;
use postrider_proto::smtp::reply::Class;
use postrider_proto::smtp::trace;
use postrider_storage::account::{Content, NewMessage, ThreadInfo, Tx};
use postrider_storage::blobs::Sharing;
use postrider_storage::committer::CommitError;
use postrider_storage::engine::{Batch, Durability, Incarnation};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::queue::IncomingReport;
use postrider_storage::rows::{QueueMeta, ReportTodoRow, SpecialUse};
use postrider_storage::store::{Refusal, StoreError};
use tracing::{error, info};

use super::checks::rules::{ByRule, Ruled};
use super::checks::{Fields, Reports};
use super::connection::Connection;
use super::first_time::{FirstTime, Waited};
use super::outcomes::{Outcome, Outcomes};
use super::policy;
use super::recipients::{Drop, Place};
use super::sending::{End, Sending};
use crate::accounts::{LoadError, WriteError};
use crate::commit;
use crate::config::DeliveryLimits;
use crate::delivery::incoming;
use crate::intake;
use crate::log::ConnectionId;
use crate::metrics;
use crate::received_reports;
use crate::runtime::{spawn, spawn_task};
use crate::shard::{OpenError, Shard};
use crate::webhooks::{self, Arrival, Stored};

/// A message on its way to its recipients.
pub(super) struct Delivery {
    pub(super) shard: Rc<Shard>,
    pub(super) id: ConnectionId,
    pub(super) sender: Option<AccountId>,
    /// What is set for what that account sends.
    pub(super) sending: Option<Sending>,
    /// `Authentication-Results` and `Received-SPF`.
    pub(super) results: Fields,
    /// What stands below them.
    pub(super) trace: String,
    /// Signatures, in front of all when it leaves for other servers.
    pub(super) signatures: String,
    /// What programs are told of it, where they are.
    pub(super) meta: Option<QueueMeta>,
    /// Its id, of one of our own users.
    pub(super) message_id: String,
    /// Whether the sender may be told of recipients that didn't get the message.
    pub(super) reports: Reports,
    pub(super) now: i64,
    pub(super) hostname: String,
    pub(super) content: Content,
    pub(super) thread: ThreadInfo,
    pub(super) incarnation: Option<Incarnation>,
    pub(super) first_time: Option<FirstTime>,
    /// What programs of its recipients are told besides the message.
    pub(super) arrival: Arrival,
    /// What is noted of the report that may be in it, with each delivery to an address where reports are read.
    pub(super) reported: Option<ReportTodoRow>,
    /// Who it comes from, where that is counted.
    pub(super) counted: Option<Counted>,
    pub(super) envelope: Envelope,
    /// What is known of the content.
    pub(super) facts: ContentFacts,
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
    pub(super) async fn run(self, places: Vec<Place>, batch: Batch, sharing: Sharing) -> Reply {
        let committer = Arc::clone(&self.shard.shared.committer);
        let Sorted { mut drops, remote, mut outcomes } = self.sort(places).await;
        let mut reserved = Vec::new();
        if self.comes_again() {
            // Only what has company needs it: where there is nobody else, nothing is lost when storing fails.
            if drops.len() + outcomes.by_number.len() > 1 {
                (drops, reserved) = self.reserve(drops, &mut outcomes).await;
            }
            if let Some(reply) = outcomes.deferral(drops.is_empty()) {
                self.give_back(reserved);
                intake::abandon(&committer, self.content);
                self.count(self.envelope.recipients.len(), metrics::Delivery::Deferred);
                return reply;
            }
        }
        if drops.is_empty() && remote.is_empty() {
            intake::abandon(&committer, self.content);
            return self.reply(outcomes).await;
        }
        let mut allowed = match self.allow(&remote).await {
            Ok(allowed) => allowed,
            // Nobody gets it: who sends too much isn't served in part.
            Err(reply) => {
                intake::abandon(&committer, self.content);
                let outcome = match reply.class() {
                    Class::Permanent => metrics::Delivery::Refused,
                    _ => metrics::Delivery::Deferred,
                };
                self.count(self.envelope.recipients.len(), outcome);
                return reply;
            }
        };
        // All wait for one another: a message that is cut off meanwhile has come to nobody, and comes again.
        if let Some(first_time) = &self.first_time
            && first_time.wait(&self.shard, self.id, drops.iter().map(|(_, drop)| drop.account)).await
                == Waited::Cut
        {
            self.give_back(reserved);
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
                    self.give_back(reserved);
                    self.settle(allowed, End::Refused).await;
                    intake::abandon(&committer, self.content);
                    return policy::commit_reply(&error, self.id);
                }
            }
        }
        // What was reserved is counted already.
        let counted = self.counted.filter(|_| reserved.is_empty());
        let store = |(number, drop)| {
            let work = self.store(number, drop, attached.take(), incarnation, counted);
            (number, spawn_task("store in a mailbox", work))
        };
        let tasks: Vec<_> = drops.into_iter().map(store).collect();
        if !remote.is_empty() {
            let outcome = self.queue(&remote, (attached.take(), incarnation), allowed.take()).await;
            remote.iter().for_each(|number| outcomes.note(*number, outcome.clone()));
        }
        for (number, task) in tasks {
            outcomes.note(number, task.await.unwrap_or(Err(Reply::LOCAL_ERROR)));
        }
        let stored = outcomes.by_number.values().any(Result::is_ok);
        match sharing {
            Sharing::Several if stored => intake::settle(&committer, self.content),
            Sharing::Several => intake::abandon(&committer, self.content),
            Sharing::One if !stored => intake::abandon(&committer, self.content),
            Sharing::One => {}
        }
        self.reply(outcomes).await
    }

    /// Whether the client keeps the message and sends it again, when it is told so: other servers do. Our own users have
    /// a program that shows an error, so they get a report instead.
    const fn comes_again(&self) -> bool {
        self.sender.is_none()
    }

    /// Takes the places of all recipients apart.
    async fn sort(&self, places: Vec<Place>) -> Sorted {
        let mut sorted = Sorted::default();
        // Who is named twice, or reached by two aliases, gets one message.
        let mut reached = HashSet::new();
        for (number, place) in places.into_iter().enumerate() {
            match place {
                Place::Mailboxes(found) => sorted.drops.extend(found.into_iter().filter_map(|drop| {
                    let who = (drop.account, drop.delivered_to.as_ref().map(Address::to_string));
                    reached.insert(who).then_some((number, drop))
                })),
                Place::Queue => sorted.remote.push(number),
                Place::Refused(reply) => {
                    sorted.outcomes.note(number, Err(reply));
                    sorted.outcomes.settled.insert(number);
                }
                Place::Waits(reply) => sorted.outcomes.note(number, Err(reply)),
                Place::Rehearsal(wish) => {
                    let reply = Connection::fulfil(&self.shard, wish).await;
                    sorted.outcomes.note(number, Err(reply));
                }
            }
        }
        sorted
    }

    fn count(&self, recipients: usize, outcome: metrics::Delivery) {
        let counter = self.shard.shared.metrics.deliveries.at([outcome as usize]);
        self.shard.recorder.add(counter, u64::try_from(recipients).unwrap_or(u64::MAX));
    }

    /// Writes the last batch of a content that several transactions refer to. Those are submitted, and so
    /// committed, later. Refused when the batches before it may be gone.
    async fn write_content(&self, batch: Batch) -> Result<Incarnation, CommitError> {
        let committer = &self.shard.shared.committer;
        let submitted = commit::submit(committer, batch, Durability::Buffered, self.incarnation).await?;
        Ok(submitted.done().await?.incarnation)
    }

    pub(super) fn prefix(&self, drop: &Drop) -> Vec<u8> {
        let mut prefix = match drop.reason {
            metrics::Reason::Unchecked => String::new(),
            reason => format!("X-Postrider-Reason: {}\r\n", reason.name()),
        };
        prefix += &drop.delivered_to.as_ref().map(trace::delivered_to).unwrap_or_default();
        prefix += &trace::return_path(&self.envelope.reverse_path);
        prefix += self.results.get(&drop.dmarc_override).map_or("", String::as_str);
        prefix += &self.trace;
        prefix.into_bytes()
    }

    /// Stores the message in one mailbox, on the account's home shard.
    fn store(
        &self,
        number: usize,
        drop: Drop,
        content_batch: Option<Batch>,
        incarnation: Option<Incarnation>,
        counted: Option<Counted>,
    ) -> impl Future<Output = Outcome> + use<> {
        let prefix = self.prefix(&drop);
        let note = self.reported.as_ref().filter(|_| !drop.reads().is_empty()).map(|todo| {
            let mut note = Batch::new();
            received_reports::note(&mut note, self.content.blob, todo);
            note
        });
        let is_reported = note.is_some();
        let Drop { account, ruled, is_reject, from_id, .. } = drop;
        let Ruled { mailbox, accept_rejects_to, by_rule, .. } = ruled;
        let (mailbox, is_ensured, flags) = match accept_rejects_to.filter(|_| is_reject) {
            Some(rejects) => (rejects, true, Flags::SEEN),
            None => (mailbox, by_rule == ByRule::Yes, Flags::NONE),
        };
        let message = NewMessage {
            content: self.content,
            prefix,
            flags,
            keywords: Vec::new(),
            received: self.now,
            thread: self.thread.clone(),
        };
        let (shard, id) = (Rc::clone(&self.shard), self.id);
        let sender = self.first_time.as_ref().and_then(|first_time| first_time.sender);
        let (octets, now) = (self.content.size, self.now);
        let arrival = self.arrival.clone();
        let recipient = match self.envelope.recipients.get(number).map(|recipient| &recipient.path) {
            Some(ForwardPath::Address(address)) => address.to_string(),
            _ => "postmaster".to_owned(),
        };
        async move {
            let stored = shard
                .at_home(account, move |home| {
                    Box::pin(async move {
                        if let Some(Counted { peer, limits }) = counted
                            && !home.rates.take(account, peer, octets, &limits, now)
                        {
                            return Err(Reply::TOO_MUCH_MAIL);
                        }
                        let opened = home.open_account(account).await;
                        let handle = opened.map_err(|error| open_reply(&error, account, id))?;
                        let hooks = webhooks::of(&home, account).await;
                        let hooks = hooks.map_err(|error| policy::store_reply(&error, id))?;
                        // What is kept although it was refused is told to nobody.
                        // Nor what may be a report on a message that was sent: the program hears of that as such.
                        let told = (hooks.incoming.is_some() && !is_reject && from_id.is_none())
                            .then(|| (hooks, Arc::clone(&home.shared.store)));
                        let appended = handle.transact(None, incarnation, move |tx| {
                            let mailbox = mailbox_of(tx, &mailbox, is_ensured)?;
                            content_batch.into_iter().chain(note).for_each(|batch| tx.attach(batch));
                            if let Some(sender) = sender {
                                tx.note_sender(sender)?;
                            }
                            let appended = tx.append(mailbox, message)?;
                            // What would have been refused is kept to be looked at by people.
                            let report = from_id.filter(|_| !is_reject).map(|id| {
                                tx.note_incoming_report(appended.email, &id);
                                IncomingReport { account, email: appended.email, id }
                            });
                            let Some((hooks, store)) = told else { return Ok((appended, None, report)) };
                            let name = tx.mailbox(mailbox)?.name.clone();
                            let stored = Stored {
                                recipient: &recipient,
                                mailbox: name.as_str(),
                                email: appended.email,
                            };
                            let mut batch = Batch::new();
                            let call = arrival.add(&store, account, &hooks, stored, &mut batch);
                            tx.attach(batch);
                            Ok((appended, call, report))
                        });
                        match appended.await {
                            Ok((appended, call, report)) => {
                                webhooks::announce(&home, call).await;
                                info!(cid = %id, %account, uid = %appended.uid, "delivered");
                                if is_reported {
                                    received_reports::tell(&home);
                                }
                                if let Some(report) = report {
                                    spawn("look at a message for an id", async move {
                                        incoming::look_at(&home, report).await;
                                    });
                                }
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

    /// What the client is told (product 1.11): success when anybody got the message; those who did not and never will are
    /// then named in a report to the sender, if that is surely who sent it.
    async fn reply(&self, outcomes: Outcomes) -> Reply {
        let mut failed: Vec<(usize, Reply)> = Vec::new();
        let (mut stored, mut delivered) = (0, Vec::new());
        let deferral = outcomes.deferral(!outcomes.by_number.values().any(Result::is_ok));
        for (number, outcome) in outcomes.by_number {
            let label = match &outcome {
                Ok(how) => *how,
                Err(reply) if reply.class() == Class::Permanent => metrics::Delivery::Refused,
                Err(_) => metrics::Delivery::Deferred,
            };
            self.count(1, label);
            match outcome {
                Ok(how) => {
                    stored += 1;
                    if how == metrics::Delivery::Stored {
                        delivered.push(number);
                    }
                }
                Err(reply) => failed.push((number, reply)),
            }
        }
        if let Some(reply) = deferral.filter(|_| self.comes_again()) {
            // What could be known before was asked before. Some get the message twice now, but nobody loses it, and nobody
            // hears of a failure that is none.
            return reply;
        }
        if stored > 0 && self.reports == Reports::ToNobody {
            // Deviation: RFC 5321 §6.1 wants a report, which would go to whoever's address somebody wrote there. §6.2 permits
            // that there is none, and calls it dangerous: so recipients that may refuse are kept apart at RCPT, and this
            // is left for accounts that were removed meanwhile. RFC 3461 §5.2.3 wants one of a delivery, for which the same
            // holds.
            for (_, reply) in &failed {
                info!(cid = %self.id, code = reply.code(), "refused for a recipient, without a report: nothing confirms the sender");
            }
            return Reply::DELIVERED;
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
            if let Err(reply) = self.confirm(&delivered).await {
                // The message doesn't come twice for that.
                error!(cid = %self.id, code = reply.code(), "a report on a delivery could not be queued");
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
}

/// Recipients, by where their mail goes.
#[derive(Default)]
struct Sorted {
    /// Mailboxes, each with the recipient's place in the envelope.
    drops: Vec<(usize, Drop)>,
    /// Those whose mail the queue gets.
    remote: Vec<usize>,
    /// What is known already.
    outcomes: Outcomes,
}

/// The mailbox that a message goes to: the inbox, when it is missing and isn't made.
fn mailbox_of(tx: &mut Tx<'_, '_>, name: &MailboxName, is_ensured: bool) -> Result<MailboxId, StoreError> {
    if let Some(mailbox) = tx.mailbox_id(name) {
        return Ok(mailbox);
    }
    if is_ensured {
        match tx.create_mailbox(name, SpecialUse::NONE) {
            // Such as when there are as many as may be.
            Err(StoreError::Refused(_)) => {}
            made => return made,
        }
    }
    tx.mailbox_id(&MailboxName::inbox()).ok_or_else(|| Refusal::NoSuchMailbox.into())
}

pub(super) fn open_reply(error: &OpenError, account: AccountId, id: ConnectionId) -> Reply {
    match error {
        OpenError::Load(LoadError::Removed) => Reply::NO_SUCH_USER,
        OpenError::Write(error) => write_reply(error, id),
        OpenError::Load(error) => {
            error!(cid = %id, %account, %error, "the account could not be loaded");
            Reply::LOCAL_ERROR
        }
    }
}

fn write_reply(error: &WriteError, id: ConnectionId) -> Reply {
    match error {
        WriteError::Refused(refusal) => policy::store_reply(&StoreError::Refused(*refusal), id),
        WriteError::Store(error) => policy::store_reply(error, id),
        WriteError::Commit(error) => policy::commit_reply(error, id),
        WriteError::Busy | WriteError::Reopened => Reply::LOCAL_ERROR,
    }
}
