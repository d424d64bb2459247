//! APPEND (RFC 9051 §6.3.12, RFC 4315 §3, RFC 7888, RFC 6855 §4, RFC 7889).
//!
//! The message streams into the store while it arrives. Whatever goes wrong, what the client sends
//! of the command is read to its end, so that its next command is understood.

use std::time::Instant;

use memchr::memchr;
use postrider_proto::imap::command::{
    Append, AppendMessage, BadCommand, Command, Context as Grammar, MessageForm, Tag, Tagged,
    parse_append_end,
};
use postrider_proto::imap::framing::{Frame, MessageOrder, Outcome, Refused, Synchronising};
use postrider_proto::imap::response::{Code, Status, write_bad_command, write_continuation, write_refused};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::account::NewMessage;
use postrider_storage::blobs::Sharing;
use postrider_storage::ids::MailboxId;

use crate::clock::unix_now;
use crate::imap::answers;
use crate::imap::connection::Connection;
use crate::imap::session::{Completion, CompletionCode, Ended};
use crate::imap::sync::{Expunges, OwnFlags};
use crate::intake::{self, Intake, IntakeError};
use crate::metrics;

/// An announced message.
pub(in crate::imap) struct Announced {
    /// The command up to the message.
    pub(in crate::imap) command: Result<Tagged, BadCommand>,
    pub(in crate::imap) octets: u64,
    pub(in crate::imap) synchronising: Synchronising,
    pub(in crate::imap) order: MessageOrder,
}

/// What came of reading a message.
enum Read {
    /// All of it is there.
    Whole(Box<Intake>),
    /// It can't be stored.
    Failed(Completion),
    /// The input was refused by the framer, which is answered already.
    Refused,
}

impl Connection {
    /// Deals with an announced message up to the end of its command.
    pub(in crate::imap) async fn append(&mut self, announced: Announced) -> Result<(), Ended> {
        let began = Instant::now();
        let (tag, command) = match announced.command {
            Ok(Tagged { tag, command: Command::Append(command) })
                if announced.order == MessageOrder::First =>
            {
                (tag, command)
            }
            Ok(Tagged { tag, .. }) => return self.refuse(&tag, &Completion::bad("unexpected message")),
            Err(bad) => {
                let outcome = self.framer.refuse_message();
                write_bad_command(&mut self.out.buffer, &bad);
                self.strike()?;
                return closes(outcome);
            }
        };
        let mailbox = match self.check_append(&command, announced.octets) {
            Ok(mailbox) => mailbox,
            Err(refusal) => return self.refuse(&tag, &refusal),
        };
        self.framer.accept_message();
        self.out.expect_message(announced.octets);
        if announced.synchronising == Synchronising::Waits {
            write_continuation(&mut self.out.buffer, "send it");
        }
        let completion = match Box::pin(self.read_message(&tag, command.message.form)).await? {
            Read::Refused => return Ok(()),
            Read::Failed(completion) => completion,
            Read::Whole(_) if announced.octets == 0 => Completion::no("there is no message"),
            Read::Whole(intake) => Box::pin(self.store_message(mailbox, command.message, *intake)).await,
        };
        if let Some(mut context) = self.context(&tag) {
            Box::pin(context.sync(Expunges::Now, OwnFlags::Tell)).await?;
        }
        let known = &self.shard.shared.metrics;
        let label = metrics::ImapCommand::Append;
        self.shard.recorder.observe_duration(known.imap_command.at([label as usize]), began.elapsed());
        self.count_completion(label, completion.status);
        self.answer(&tag, &completion);
        if completion.status == Status::Bad { self.strike() } else { Ok(()) }
    }

    /// Refuses an announced message and answers its command.
    fn refuse(&mut self, tag: &Tag, completion: &Completion) -> Result<(), Ended> {
        let outcome = self.framer.refuse_message();
        self.count_completion(metrics::ImapCommand::Append, completion.status);
        self.answer(tag, completion);
        closes(outcome)
    }

    /// Where the message goes, when it can be taken.
    fn check_append(&self, command: &Append, octets: u64) -> Result<MailboxId, Completion> {
        let Some(member) = &self.member else { return Err(Completion::no("not allowed in this state")) };
        let state = member.account.state();
        let found = command.mailbox.name.as_ref().ok().and_then(|name| state.mailbox_id(name));
        let Some(mailbox) = found else {
            return Err(match command.mailbox.name {
                Ok(_) => Completion::refused(Code::TryCreate, "no such mailbox"),
                Err(_) => answers::NO_SUCH_MAILBOX,
            });
        };
        if octets > self.service.limits().append_octets {
            self.count_limit(metrics::Limit::AppendOctets);
            return Err(Completion::refused(Code::TooBig, "the message is too large"));
        }
        if state.head().is_some_and(|head| !state.quota().admits(head, octets, 1)) {
            self.count_limit(metrics::Limit::Quota);
            return Err(Completion::refused(Code::OverQuota, "over quota"));
        }
        answers::admit(&self.shard)?;
        Ok(mailbox)
    }

    /// Reads a message, and the rest of its command.
    async fn read_message(&mut self, tag: &Tag, form: MessageForm) -> Result<Read, Ended> {
        let shared = &self.shard.shared;
        let octets_max = self.service.limits().append_octets;
        let mut intake = Some(Intake::new(&shared.store, &shared.committer, octets_max));
        let mut failed = None;
        loop {
            match self.framer.next_frame() {
                Some(Frame::MessageData(data)) => {
                    if form == MessageForm::Literal && failed.is_none() && memchr(0, data).is_some() {
                        failed = Some(Completion::bad("NUL needs a literal8"));
                        intake = None;
                    }
                    if let Some(taken) = &mut intake
                        && let Err(error) = taken.push(data).await
                    {
                        failed = Some(intake_failed(&error, self.peer.id));
                        intake = None;
                    }
                }
                Some(Frame::MessageEnd(rest)) => {
                    // Nothing in the rest depends on what is enabled.
                    let grammar = Grammar { utf8: Default::default(), limits: &self.service.authenticated };
                    if let Err(fault) = parse_append_end(rest, form, grammar) {
                        write_bad_command(
                            &mut self.out.buffer,
                            &BadCommand { tag: Some(tag.clone()), fault },
                        );
                        self.strike()?;
                        return Ok(Read::Refused);
                    }
                    return Ok(match (intake, failed) {
                        (Some(intake), None) => Read::Whole(Box::new(intake)),
                        (_, failed) => Read::Failed(failed.unwrap_or(Completion::no("not stored"))),
                    });
                }
                Some(Frame::Message(_)) => {
                    // RFC 3502 isn't announced.
                    return self
                        .refuse(tag, &Completion::bad("one message at a time"))
                        .map(|()| Read::Refused);
                }
                Some(Frame::Refused(refused)) => return self.refused_input(tag, refused),
                Some(_) => return Err(Ended::Bye(None, "the command broke off")),
                None => {
                    self.fill().await?;
                    // A client that sends has its time again.
                    self.rest();
                }
            }
        }
    }

    fn refused_input(&mut self, tag: &Tag, refused: Refused) -> Result<Read, Ended> {
        let refused = Refused { tag: Some(refused.tag.unwrap_or_else(|| tag.clone())), ..refused };
        write_refused(&mut self.out.buffer, &refused);
        closes(refused.outcome)?;
        Ok(Read::Refused)
    }

    /// Adds the message to the mailbox.
    async fn store_message(
        &mut self,
        mailbox: MailboxId,
        about: AppendMessage,
        intake: Intake,
    ) -> Completion {
        let (shard, id) = (&self.shard, self.peer.id);
        let Some(member) = &self.member else { return Completion::no("not logged in") };
        let message = match intake.finish(Sharing::One) {
            Ok(message) => message,
            Err(error) => return intake_failed(&error, id),
        };
        let (content, batch) = (message.content, message.batch);
        let new = NewMessage {
            content,
            prefix: Vec::new(),
            flags: about.flags.flags,
            keywords: about.flags.keywords,
            received: about.internal_date.unwrap_or_else(unix_now),
            thread: message.thread,
        };
        let appended = member.account.transact(Some(member.watcher.id()), message.incarnation, move |tx| {
            tx.attach(batch);
            let appended = tx.append(mailbox, new)?;
            Ok((appended.uid, tx.mailbox(mailbox)?.uid_validity))
        });
        match appended.await {
            Ok((uid, validity)) => {
                shard.recorder.observe(shard.shared.metrics.message_octets, content.size);
                let uids = UidSet::from_range(uid..=uid);
                Completion::ok("appended").with(CompletionCode::AppendUid(validity, uids))
            }
            Err(error) => {
                intake::abandon(&shard.shared.committer, content);
                answers::write_failed(&error, id)
            }
        }
    }
}

/// A refused message that is too much to throw away ends the connection.
fn closes(outcome: Outcome) -> Result<(), Ended> {
    match outcome {
        Outcome::Continues => Ok(()),
        Outcome::Closes => Err(Ended::Bye(Some(Code::TooBig), "the message is too large to be skipped")),
    }
}

fn intake_failed(error: &IntakeError, id: crate::log::ConnectionId) -> Completion {
    match error {
        IntakeError::Store(error) => answers::store_failed(error, id),
        IntakeError::Commit(error) => answers::write_failed(&error.clone().into(), id),
    }
}
