//! APPEND and REPLACE (RFC 9051 §6.3.12, RFC 3502, RFC 4469, RFC 8508, RFC 4315 §3, RFC 6855 §4, RFC 7889).
//!
//! Messages stream into the store while they arrive, and are added by one transaction at the end: all
//! of them, or none (RFC 3502 §4.1). Whatever goes wrong, what the client sends of the command is read to
//! its end, so that its next command is understood.
//!
//! REPLACE removes in the same transaction. Where the replacement goes to another account, it is added first, and
//! taken back when the message turns out to be gone; only the end of the process in between leaves both.

mod gather;

use std::time::Instant;

use memchr::memchr;
use postrider_proto::imap::command::{
    Append, AppendNext, AppendPieces, AppendStep, BadCommand, Command, Context as Grammar, Fault,
    MailboxArgument, MessageForm, Tag, Tagged,
};
use postrider_proto::imap::framing::{Frame, MessageOrder, Outcome, Refused, Synchronising};
use postrider_proto::imap::response::{
    Code, Condition, Status, write_bad_command, write_continuation, write_refused,
};
use postrider_proto::imap::sequence::{Messages, Numbering};
use postrider_proto::imap::types::{ModSeq, Uid, UidValidity};
use postrider_proto::imap::uidset::UidSet;
use postrider_proto::imap::url::URL_OCTETS_MAX;
use postrider_storage::account::{Expunge, FlagScope, Quota, Tx};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::rows::HeadRow;
use postrider_storage::store::Refusal;

use super::abroad;
use crate::accounts::WatcherId;
use crate::imap::answers;
use crate::imap::connection::{Connection, Flow};
use crate::imap::places::{self, Deed, Found, permit};
use crate::imap::session::{Completion, CompletionCode, Ended, MessageLimit};
use crate::imap::sync::{Expunges, OwnFlags};
use crate::intake::IntakeError;
use crate::log::ConnectionId;
use crate::metrics;
use gather::Gathered;

const NOT_HERE: Completion = Completion::no("not allowed in this state");
const TRY_CREATE: Completion = Completion::refused(Code::TryCreate, "no such mailbox");
const TOO_LARGE: Completion = Completion::refused(Code::TooBig, "the message is too large");

/// An announced message.
pub(in crate::imap) struct Announced {
    /// The command up to the message.
    pub(in crate::imap) command: Result<Tagged, BadCommand>,
    pub(in crate::imap) literal: Literal,
    pub(in crate::imap) order: MessageOrder,
}

/// A literal that was announced.
#[derive(Clone, Copy)]
pub(in crate::imap) struct Literal {
    pub(in crate::imap) octets: u64,
    pub(in crate::imap) synchronising: Synchronising,
}

/// Where the messages go.
struct Target {
    found: Found,
    /// What its account holds and may hold; the transaction looks again.
    head: Option<HeadRow>,
    quota: Quota,
    /// The session, as that account knows it.
    origin: Option<WatcherId>,
}

/// A message that REPLACE removes.
#[derive(Clone, Copy)]
struct Replaced {
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
}

impl Replaced {
    /// Whether the replacement comes into the same account: it is one change then.
    fn is_within(&self, account: AccountId) -> bool {
        self.account == account
    }
}

/// What follows a literal that was read.
enum After {
    /// More of the command, perhaps with another literal.
    Pieces(Result<AppendPieces, Fault>, Option<Literal>),
    /// The input was refused by the framer, which is answered already.
    Refused,
}

/// What was stored.
struct Stored {
    uids: UidSet,
    validity: UidValidity,
    /// The last change of the mailbox from which REPLACE removed a message.
    replaced_at: Option<ModSeq>,
}

impl Connection {
    /// Deals with a command whose first message was announced, up to its end.
    pub(in crate::imap) async fn append(&mut self, announced: Announced) -> Result<(), Ended> {
        let began = Instant::now();
        let (tag, command) = match announced.command {
            Ok(Tagged { tag, command: Command::Append(command) })
                if announced.order == MessageOrder::First =>
            {
                (tag, command)
            }
            Ok(Tagged { tag, .. }) => {
                let outcome = self.framer.refuse_message();
                self.answer(&tag, &Completion::bad("unexpected message"));
                self.strike()?;
                return closes(outcome);
            }
            Err(bad) => {
                let outcome = self.framer.refuse_message();
                write_bad_command(&mut self.out.buffer, &bad);
                self.strike()?;
                return closes(outcome);
            }
        };
        let label = match command.replaces {
            None => metrics::ImapCommand::Append,
            Some(_) => metrics::ImapCommand::Replace,
        };
        let completion = Box::pin(self.run_append(&tag, command, Some(announced.literal))).await?;
        let Some(completion) = completion else { return Ok(()) };
        let known = &self.shard.shared.metrics;
        self.shard.recorder.observe_duration(known.imap_command.at([label as usize]), began.elapsed());
        self.count_completion(label, completion.status);
        self.answer(&tag, &completion);
        if completion.status == Status::Bad { self.strike() } else { Ok(()) }
    }

    /// Deals with a command without literals: all of its messages are made of URLs.
    pub(in crate::imap) async fn append_urls(&mut self, tag: &Tag, command: Append) -> Result<Flow, Ended> {
        let completion = Box::pin(self.run_append(tag, command, None)).await?;
        Ok(completion.map_or(Flow::Answered, Flow::Done))
    }

    /// Reads and stores the messages; none when the command is answered already.
    async fn run_append(
        &mut self,
        tag: &Tag,
        command: Append,
        literal: Option<Literal>,
    ) -> Result<Option<Completion>, Ended> {
        let Append { mailbox, replaces, mut pieces } = command;
        let mut offered = literal;
        self.check_rights().await?;
        let begun = self.begin_append(&mailbox, replaces.as_ref()).await;
        let (target, replaced) = match begun {
            Ok(begun) => begun,
            Err(completion) => return self.give_up(offered, tag, completion),
        };
        let shared = &self.shard.shared;
        let octets_max = self.service.limits().append_octets;
        let mut gathered = Gathered::new(&shared.store, &shared.committer, octets_max, self.peer.id);
        loop {
            for step in std::mem::take(&mut pieces.steps) {
                if let Err(completion) = self.take_step(&target, &mut gathered, step).await {
                    return self.give_up(offered, tag, completion);
                }
            }
            let Some(literal) = offered.take() else { break };
            if let Err(completion) = self.admit_literal(&target, &gathered, pieces.next, literal, replaced) {
                return self.give_up(Some(literal), tag, completion);
            }
            self.framer.accept_message();
            self.out.expect_message(literal.octets);
            if literal.synchronising == Synchronising::Waits {
                write_continuation(&mut self.out.buffer, "send it");
            }
            let (read, next) = match Box::pin(self.read_literal(&mut gathered, tag, &pieces)).await? {
                After::Refused => return Ok(None),
                After::Pieces(read, next) => (read, next),
            };
            offered = next;
            pieces = match read {
                Ok(pieces) => pieces,
                Err(fault) => return self.give_up_bad(offered, tag, fault).map(|()| None),
            };
            if let Some(completion) = gathered.take_failure() {
                return self.give_up(offered, tag, completion);
            }
            if let Some(url) = gathered.take_url() {
                pieces.steps.insert(0, AppendStep::Url(url));
            }
        }
        let stored = self.store_messages(target, replaced, gathered).await;
        self.conclude(tag, replaced, stored).await.map(Some)
    }

    /// Where the messages go, and what they replace, when that is possible.
    async fn begin_append(
        &self,
        mailbox: &MailboxArgument,
        replaces: Option<&Messages>,
    ) -> Result<(Target, Option<Replaced>), Completion> {
        let Some(member) = &self.member else { return Err(NOT_HERE) };
        let mut replaced = None;
        if let Some(messages) = replaces {
            if member.enabled.uid_only && messages.numbering == Numbering::Sequence {
                return Err(answers::UID_REQUIRED);
            }
            let selected = member.selected.as_ref().ok_or(NOT_HERE)?;
            if !selected.is_writable() {
                return Err(answers::READ_ONLY);
            }
            // RFC 8508 §4.1: as for STORE of `\Deleted` and EXPUNGE.
            permit(selected.rights, Deed::MoveAway)?;
            let uids = selected.resolve(messages).map_err(|_| answers::NO_SUCH_MESSAGE)?;
            let uid = uids.first().ok_or(answers::MESSAGE_GONE)?;
            replaced = Some(Replaced { account: member.account.id(), mailbox: selected.mailbox, uid });
        }
        let asker = member.asker;
        let missing = |refused: Completion| match mailbox.name {
            Ok(_) if refused.text == answers::NO_SUCH_MAILBOX.text => TRY_CREATE,
            _ => refused,
        };
        let place = places::find(&self.shard, asker, mailbox).await.map_err(missing)?;
        let here = place.account == member.account.id();
        let target = places::at(&self.shard, asker.id, place.account, move |_, account| {
            Box::pin(async move {
                let state = account.state();
                let found = places::enter(&state, asker, &place.name, Deed::Insert)?;
                Ok(Target { found, head: state.head().copied(), quota: state.quota(), origin: None })
            })
        });
        let mut target = target.await.map_err(missing)?;
        target.origin = here.then(|| member.watcher.id());
        answers::admit(&self.shard)?;
        Ok((target, replaced))
    }

    /// Whether a literal may come.
    fn admit_literal(
        &self,
        target: &Target,
        gathered: &Gathered,
        next: AppendNext,
        literal: Literal,
        replaced: Option<Replaced>,
    ) -> Result<(), Completion> {
        match next {
            AppendNext::Content(_) => self.admit_octets(target, gathered, literal.octets, replaced),
            AppendNext::Url if literal.octets > URL_OCTETS_MAX as u64 => {
                Err(Completion::refused(Code::TooBig, "the URL is too long"))
            }
            AppendNext::Url => Ok(()),
            AppendNext::End => Err(Completion::bad("unexpected literal")),
        }
    }

    /// Whether so many octets more may be added to the present message.
    fn admit_octets(
        &self,
        target: &Target,
        gathered: &Gathered,
        octets: u64,
        replaced: Option<Replaced>,
    ) -> Result<(), Completion> {
        if !gathered.has_room(octets) {
            self.count_limit(metrics::Limit::AppendOctets);
            return Err(TOO_LARGE);
        }
        let (wanted, messages) = (gathered.octets().saturating_add(octets), gathered.messages());
        let is_over = target.head.is_some_and(|head| !target.quota.admits(&head, wanted, messages));
        // With REPLACE only the difference counts (RFC 8508 §3.4), which the transaction knows; but not where
        // another account gets the replacement.
        if is_over && !replaced.is_some_and(|replaced| replaced.is_within(target.found.account)) {
            self.count_limit(metrics::Limit::Quota);
            return Err(Completion::refused(Code::OverQuota, "over quota"));
        }
        Ok(())
    }

    async fn take_step(
        &mut self,
        target: &Target,
        gathered: &mut Gathered,
        step: AppendStep,
    ) -> Result<(), Completion> {
        match step {
            AppendStep::Message(about) => {
                // RFC 9738 §3.2.
                let limit = MessageLimit::of(&self.service.listener).saved;
                match limit.filter(|limit| gathered.messages() >= u64::from(limit.get())) {
                    Some(limit) => {
                        let code = Code::MessageLimit(limit.get(), None);
                        Err(Completion::refused(code, "too many messages"))
                    }
                    None => gathered.begin(about).await,
                }
            }
            AppendStep::Url(url) => self.add_url(target, gathered, &url).await,
        }
    }

    /// Adds what a URL names to the present message, as FETCH would give it (RFC 4469 §3).
    async fn add_url(
        &mut self,
        target: &Target,
        gathered: &mut Gathered,
        url: &str,
    ) -> Result<(), Completion> {
        let mut part = self.open_url(url).await?;
        self.admit_octets(target, gathered, part.octets(), None)?;
        while let Some(piece) = self.read_part(&mut part, url).await? {
            gathered.push(&piece).await?;
        }
        Ok(())
    }

    /// Reads the literal that `pieces` ended with, and what follows it.
    async fn read_literal(
        &mut self,
        gathered: &mut Gathered,
        tag: &Tag,
        pieces: &AppendPieces,
    ) -> Result<After, Ended> {
        // Nothing behind the mailbox depends on what is enabled.
        let limits = std::sync::Arc::clone(&self.service.authenticated);
        let grammar = Grammar { utf8: Default::default(), limits: &limits };
        loop {
            match self.framer.next_frame() {
                Some(Frame::MessageData(data)) => match pieces.next {
                    AppendNext::Url => gathered.push_url(data),
                    AppendNext::Content(MessageForm::Literal) if memchr(0, data).is_some() => {
                        gathered.fail(Completion::bad("NUL needs a literal8"));
                    }
                    _ => {
                        if let Err(completion) = gathered.push(data).await {
                            gathered.fail(completion);
                        }
                    }
                },
                Some(Frame::MessageEnd(rest)) => {
                    return Ok(After::Pieces(pieces.go_on(rest, grammar), None));
                }
                Some(Frame::Message(further)) => {
                    let literal = Literal { octets: further.octets, synchronising: further.synchronising };
                    return Ok(After::Pieces(pieces.go_on(further.head, grammar), Some(literal)));
                }
                Some(Frame::Refused(refused)) => return self.refused_input(tag, refused),
                Some(_) => return Err(Ended::Bye(None, "the command broke off")),
                None => {
                    self.fill_to_finish().await?;
                    // A client that sends has its time again.
                    self.rest();
                }
            }
        }
    }

    fn refused_input(&mut self, tag: &Tag, refused: Refused) -> Result<After, Ended> {
        let refused = Refused { tag: Some(refused.tag.unwrap_or_else(|| tag.clone())), ..refused };
        write_refused(&mut self.out.buffer, &refused);
        closes(refused.outcome)?;
        Ok(After::Refused)
    }

    /// Ends the command, with the literal that is on offer refused.
    fn give_up(
        &mut self,
        offered: Option<Literal>,
        tag: &Tag,
        completion: Completion,
    ) -> Result<Option<Completion>, Ended> {
        let outcome = if offered.is_some() { self.framer.refuse_message() } else { Outcome::Continues };
        if outcome == Outcome::Closes {
            self.answer(tag, &completion);
        }
        closes(outcome)?;
        Ok(Some(completion))
    }

    /// Ends a command that isn't understood any further.
    fn give_up_bad(&mut self, offered: Option<Literal>, tag: &Tag, fault: Fault) -> Result<(), Ended> {
        let outcome = if offered.is_some() { self.framer.refuse_message() } else { Outcome::Continues };
        write_bad_command(&mut self.out.buffer, &BadCommand { tag: Some(tag.clone()), fault });
        if !matches!(fault, Fault::Limit(_)) {
            self.strike()?;
        }
        closes(outcome)
    }

    /// Adds the messages to the mailbox, and removes the one that they replace.
    async fn store_messages(
        &mut self,
        target: Target,
        replaced: Option<Replaced>,
        gathered: Gathered,
    ) -> Result<Stored, Completion> {
        let ready = gathered.finish()?;
        let (contents, incarnation) = (ready.contents(), ready.incarnation);
        let (id, origin) = (self.peer.id, target.origin);
        let Found { account, mailbox: target, rights, .. } = target.found;
        let scope = FlagScope::of(rights);
        let messages = ready.messages.len();
        let (within, abroad) = match replaced {
            Some(replaced) if replaced.is_within(account) => (Some(replaced), None),
            replaced => (None, replaced),
        };
        let work = move |tx: &mut Tx<'_, '_>| {
            tx.attach(ready.batch);
            if let Some(Replaced { mailbox, uid, .. }) = within {
                let removed = tx.expunge(mailbox, Expunge::These(&[uid]))?;
                if removed.removed.is_empty() {
                    return Err(Refusal::NoSuchMessage.into());
                }
            }
            let mut uids = UidSet::new();
            for mut message in ready.messages {
                // Those that the user may not set are left out (RFC 4314 §4).
                message.flags = scope.cut(message.flags);
                if !scope.keywords {
                    message.keywords.clear();
                }
                uids.push(tx.append(target, message)?.uid);
            }
            let replaced_at = match within {
                Some(replaced) => Some(tx.mailbox(replaced.mailbox)?.modseq),
                None => None,
            };
            Ok(Stored { uids, validity: tx.mailbox(target)?.uid_validity, replaced_at })
        };
        let stored = places::at(&self.shard, id, account, move |_, account| {
            Box::pin(async move {
                let stored = account.transact_many(origin, incarnation, messages, work).await;
                stored.map_err(|error| answers::write_failed(&error, id))
            })
        });
        match stored.await {
            Ok(stored) => {
                for content in contents {
                    let octets = self.shard.shared.metrics.message_octets;
                    self.shard.recorder.observe(octets, content.size);
                }
                match abroad {
                    Some(replaced) => self.remove_replaced(replaced, (account, target), stored).await,
                    None => Ok(stored),
                }
            }
            Err(refused) => {
                gather::abandon(&self.shard.shared.committer, &contents);
                Err(refused)
            }
        }
    }

    /// Removes the message of which the replacement is in another account by now, or takes that back when the
    /// message is gone: nothing was replaced then.
    async fn remove_replaced(
        &self,
        Replaced { mailbox, uid, .. }: Replaced,
        place: (AccountId, MailboxId),
        stored: Stored,
    ) -> Result<Stored, Completion> {
        let Some(member) = &self.member else { return Err(NOT_HERE) };
        let origin = Some(member.watcher.id());
        let removed = abroad::remove(&member.account, origin, mailbox, &[uid]).await;
        let refused = match removed {
            Ok(removed) if !removed.removed.is_empty() => {
                // Read before the removal is told: whatever comes later isn't covered.
                let state = member.account.state();
                return Ok(Stored { replaced_at: state.mailbox(mailbox).map(|row| row.modseq), ..stored });
            }
            Ok(_) => answers::MESSAGE_GONE,
            Err(error) if abroad::is_undone(&error) => answers::write_failed(&error, self.peer.id),
            Err(error) => return Err(answers::write_failed(&error, self.peer.id)),
        };
        let uids: Vec<Uid> = stored.uids.iter().collect();
        abroad::take_back(&self.shard, self.peer.id, place, &uids).await;
        Err(refused)
    }

    /// Tells what changed, and gives the answer.
    async fn conclude(
        &mut self,
        tag: &Tag,
        replaced: Option<Replaced>,
        stored: Result<Stored, Completion>,
    ) -> Result<Completion, Ended> {
        let mut expunges = Expunges::Now;
        let mut highest = None;
        let completion = match stored {
            Err(completion) => completion,
            Ok(Stored { uids, validity, .. }) if replaced.is_none() => {
                Completion::ok("appended").with(CompletionCode::AppendUid(validity, uids))
            }
            Ok(Stored { uids, validity, replaced_at }) => {
                // Before the removal is told, so that the client knows what came instead (RFC 8508 §4.3).
                let code = Code::AppendUid(validity, &uids);
                self.out.untagged(Condition::Ok, Some(&code), "the replacement");
                expunges = Expunges::AfterNew;
                let condstore = self.member.as_ref().is_some_and(|member| member.enabled.condstore);
                highest = replaced_at.filter(|_| condstore);
                Completion::ok("replaced")
            }
        };
        if let Some(mut context) = self.context(tag) {
            Box::pin(context.sync(expunges, OwnFlags::Tell)).await?;
            // RFC 8508 §4.5, RFC 7162 §3.2.7; not more than what the client was told of.
            highest = highest.map(|highest| highest.min(context.selected.told()));
        }
        Ok(match highest {
            Some(modseq) => completion.with(CompletionCode::Plain(Code::HighestModSeq(modseq))),
            None => completion,
        })
    }
}

/// A refused message that is too much to throw away ends the connection.
fn closes(outcome: Outcome) -> Result<(), Ended> {
    match outcome {
        Outcome::Continues => Ok(()),
        Outcome::Closes => Err(Ended::Bye(Some(Code::TooBig), "the message is too large to be skipped")),
    }
}

fn intake_failed(error: &IntakeError, id: ConnectionId) -> Completion {
    match error {
        IntakeError::Store(error) => answers::store_failed(error, id),
        IntakeError::Commit(error) => answers::write_failed(&error.clone().into(), id),
    }
}
