//! One message: MAIL, RCPT, DATA or BDAT, and what is made of the replies.
//!
//! With PIPELINING as many commands as [`COMMANDS_IN_FLIGHT_MAX`] are on their way at once, so that no side
//! waits for the other to read (RFC 2920 §3.1); without it, one. With CHUNKING too, a message that fits into
//! one chunk is in the same flight as its envelope.

use std::collections::VecDeque;
use std::sync::Arc;

use super::content::{ContentWriter, Transfer};
use super::{
    Awaited, Broken, Chunk, Client, End, Extension, Failure, Finished, Outcome, PeerFault, Phase, Reply,
    Stage, Unsendable, commands,
};
use crate::smtp::envelope::{BodyType, Envelope};
use crate::smtp::reply::Class;
use crate::smtp::server::Channel;

/// Commands without a reply.
const COMMANDS_IN_FLIGHT_MAX: usize = 100;
/// Chunks without a reply.
const CHUNKS_IN_FLIGHT_MAX: usize = 4;
/// Octets of content that are gathered before they are sent, and so of a chunk. A piece of the driver's comes on
/// top.
const GATHERED_OCTETS: usize = 64 * 1024;

/// A message on its way.
#[derive(Debug)]
pub(super) struct Transaction {
    envelope: Envelope,
    /// How many of the recipients are in this transaction, from the first on.
    recipients_max: usize,
    /// What comes next.
    step: Step,
    mail: MailState,
    recipients: Vec<RecipientState>,
    transfer: Transfer,
    content: Content,
    /// What was gathered for the next chunk.
    chunk: Vec<u8>,
    /// The reply to DATA, if it was a refusal, or to the content.
    reply: Option<Refusable>,
}

#[derive(Debug)]
struct Refusable {
    stage: Stage,
    reply: Arc<Reply>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Reset,
    Mail,
    Recipient(usize),
    /// DATA, or the first chunk.
    Start,
    /// Nothing more is said before the content.
    Started,
}

#[derive(Debug)]
enum MailState {
    Open,
    Accepted,
    Refused(Arc<Reply>),
}

#[derive(Clone, Debug)]
enum RecipientState {
    /// No reply yet.
    Open,
    Accepted,
    Refused(Arc<Reply>),
    NextTransaction,
}

#[derive(Debug)]
enum Content {
    /// Not yet.
    Closed,
    /// The driver gives it.
    Open(ContentWriter),
    /// Its end is on its way.
    Ended,
    /// Nobody wants it any more.
    Dropped,
}

impl Transaction {
    fn is_any_accepted(&self) -> bool {
        !matches!(self.mail, MailState::Refused(_))
            && self.recipients.iter().any(|state| matches!(state, RecipientState::Accepted))
    }

    /// Whether nothing that may still come makes the message go out.
    fn is_hopeless(&self) -> bool {
        let is_open =
            |state: &RecipientState| matches!(state, RecipientState::Open | RecipientState::Accepted);
        matches!(self.mail, MailState::Refused(_))
            || !self.recipients.iter().take(self.recipients_max).any(is_open)
    }

    /// What became of each recipient. `rest` is for those that have no reply of their own.
    fn outcomes(self, rest: &dyn Fn() -> Outcome) -> Vec<Outcome> {
        let outcome = |state| match (state, &self.mail) {
            (_, MailState::Refused(reply)) => {
                Outcome::Refused { stage: Stage::Mail, reply: Arc::clone(reply) }
            }
            (RecipientState::Refused(reply), _) => Outcome::Refused { stage: Stage::Recipient, reply },
            (RecipientState::NextTransaction, _) => Outcome::NextTransaction,
            (RecipientState::Open | RecipientState::Accepted, _) => rest(),
        };
        self.recipients.into_iter().map(outcome).collect()
    }

    /// What became of a message whose connection ended.
    pub(super) fn cut_off(self, awaited: &VecDeque<Awaited>, sent: usize, end: &End) -> Finished {
        let is_end = |awaited: &Awaited| matches!(awaited, Awaited::End | Awaited::Chunk(Chunk::Last));
        let last_refusal = self.recipients.iter().rev().find_map(|state| match state {
            RecipientState::Refused(reply) => Some(Arc::clone(reply)),
            _ => None,
        });
        // A 421 in the place of the last reply says that the message was not taken.
        let was_told = matches!(end, End::Failed(Failure::Refused { .. }));
        let uncertain = !was_told
            && !self.is_hopeless()
            && matches!(self.content, Content::Ended)
            && awaited.iter().take(sent).any(is_end);
        let any_accepted = self.is_any_accepted();
        let before_content = matches!(self.content, Content::Closed);
        let decided = self.reply.as_ref().map(|Refusable { stage, reply }| (*stage, Arc::clone(reply)));
        let rest = move || match (&decided, end) {
            (Some((stage, reply)), _) if reply.class() >= Class::Transient => {
                Outcome::Refused { stage: *stage, reply: Arc::clone(reply) }
            }
            (_, End::Failed(Failure::Refused { stage, reply })) => {
                Outcome::Refused { stage: *stage, reply: Arc::clone(reply) }
            }
            (_, End::Failed(Failure::Broken { stage, reason })) => match &last_refusal {
                // Who refuses and closes at once means everybody.
                Some(reply) if !any_accepted && before_content => {
                    Outcome::Refused { stage: Stage::Recipient, reply: Arc::clone(reply) }
                }
                said => Outcome::Broken { stage: *stage, reason: *reason, said: said.clone() },
            },
            (_, End::Quit | End::Failed(Failure::NoMechanism | Failure::Authentication(_))) => {
                Outcome::Broken { stage: Stage::Idle, reason: Broken::Local, said: None }
            }
        };
        let outcomes = self.outcomes(&rest);
        let uncertain = uncertain && outcomes.iter().any(|outcome| matches!(outcome, Outcome::Broken { .. }));
        Finished { outcomes, uncertain }
    }
}

impl Client {
    /// Begins a message. Of the envelope `declared_octets` is the size of the content, `body` what it holds
    /// (7-bit content must be said to be so), and `smtputf8` whether its header or addresses need SMTPUTF8. An
    /// error means that nothing was sent: the connection is as it was, and the message may be changed and
    /// begun again.
    pub fn begin(&mut self, envelope: Envelope) -> Result<(), Unsendable> {
        if !matches!(self.phase, Phase::Ready) || self.finished.is_some() {
            return Err(Unsendable::NotReady);
        }
        if self.capabilities.mails_max.is_some_and(|most| self.mails >= most) {
            return Err(Unsendable::UsedUp);
        }
        let has = |extension| self.capabilities.has(extension);
        if envelope.requiretls && !(self.channel == Channel::Tls && has(Extension::RequireTls)) {
            return Err(Unsendable::RequireTls);
        }
        commands::check(&envelope, &self.capabilities)?;
        let recipients_max = self.capabilities.recipients_max.map_or(usize::MAX, |most| most as usize);
        let recipients_max = recipients_max.min(envelope.recipients.len());
        let fits = envelope.declared_octets.is_some_and(|octets| octets < GATHERED_OCTETS as u64)
            && recipients_max + 3 <= COMMANDS_IN_FLIGHT_MAX;
        let transfer = match envelope.body {
            BodyType::BinaryMime => Transfer::Binary,
            _ if fits && has(Extension::Chunking) && has(Extension::Pipelining) => Transfer::Chunks,
            _ => Transfer::Data,
        };
        let mut recipients = vec![RecipientState::Open; recipients_max];
        recipients.resize(envelope.recipients.len(), RecipientState::NextTransaction);
        let step = if self.needs_reset { Step::Reset } else { Step::Mail };
        self.mails += 1;
        self.needs_reset = true;
        self.phase = Phase::Sending(Box::new(Transaction {
            envelope,
            recipients_max,
            step,
            mail: MailState::Open,
            recipients,
            transfer,
            content: Content::Closed,
            chunk: Vec::new(),
            reply: None,
        }));
        self.proceed();
        Ok(())
    }

    /// Takes the next piece of the content.
    pub fn content(&mut self, piece: &[u8]) {
        let Phase::Sending(transaction) = &mut self.phase else { return };
        let Content::Open(writer) = &mut transaction.content else { return };
        if transaction.transfer == Transfer::Data {
            writer.push(piece, &mut self.output);
            return;
        }
        writer.push(piece, &mut transaction.chunk);
        if transaction.chunk.len() >= GATHERED_OCTETS {
            self.send_chunk(Chunk::More);
        }
    }

    /// Says that the content is complete.
    pub fn content_end(&mut self) {
        let Phase::Sending(transaction) = &mut self.phase else { return };
        if !matches!(transaction.content, Content::Open(_)) {
            return;
        }
        let Content::Open(writer) = std::mem::replace(&mut transaction.content, Content::Ended) else {
            return;
        };
        if transaction.transfer == Transfer::Data {
            writer.end(&mut self.output);
            self.awaited.push_back(Awaited::End);
            return;
        }
        writer.end(&mut transaction.chunk);
        self.send_chunk(Chunk::Last);
    }

    fn send_chunk(&mut self, kind: Chunk) {
        let Phase::Sending(transaction) = &mut self.phase else { return };
        let last = if kind == Chunk::Last { " LAST" } else { "" };
        let command = format!("BDAT {}{last}\r\n", transaction.chunk.len());
        self.output.extend_from_slice(command.as_bytes());
        self.output.append(&mut transaction.chunk);
        self.awaited.push_back(Awaited::Chunk(kind));
    }

    /// Whether the driver is to give content now.
    pub(super) fn wants_content(&self, transaction: &Transaction) -> bool {
        let chunks = if self.capabilities.has(Extension::Pipelining) { CHUNKS_IN_FLIGHT_MAX } else { 1 };
        let in_flight = self.awaited.iter().filter(|awaited| matches!(awaited, Awaited::Chunk(_))).count();
        matches!(transaction.content, Content::Open(_)) && in_flight < chunks
    }

    /// Whether what is to be sent is worth it already.
    pub(super) fn is_output_whole(&self) -> bool {
        let Phase::Sending(transaction) = &self.phase else { return true };
        match transaction.content {
            Content::Open(_) if transaction.transfer == Transfer::Data => {
                self.output.len() >= GATHERED_OCTETS
            }
            // The envelope waits for the first chunk.
            Content::Open(_) => self.awaited.iter().any(|awaited| matches!(awaited, Awaited::Chunk(_))),
            _ => true,
        }
    }

    /// Whether what is sent is content.
    pub(super) fn is_sending_content(&self) -> bool {
        matches!(&self.phase, Phase::Sending(transaction)
            if matches!(transaction.content, Content::Open(_) | Content::Ended))
    }

    /// Says all that can be said before the next reply, and ends the message when there is nothing to wait for.
    fn proceed(&mut self) {
        let is_pipelining = self.capabilities.has(Extension::Pipelining);
        let most = if is_pipelining { COMMANDS_IN_FLIGHT_MAX } else { 1 };
        let mut lines = String::new();
        loop {
            let Phase::Sending(transaction) = &mut self.phase else { return };
            if transaction.is_hopeless() && matches!(transaction.step, Step::Recipient(_) | Step::Start) {
                transaction.step = Step::Started;
            }
            if self.awaited.len() >= most {
                break;
            }
            let (awaited, next) = match transaction.step {
                Step::Reset => {
                    lines += "RSET\r\n";
                    (Awaited::Reset, Step::Mail)
                }
                Step::Mail => {
                    lines += &commands::mail(&transaction.envelope, &self.capabilities);
                    (Awaited::Mail, Step::Recipient(0))
                }
                Step::Recipient(at) if at < transaction.recipients_max => {
                    if matches!(transaction.recipients[at], RecipientState::Open) {
                        lines += &commands::rcpt(&transaction.envelope.recipients[at], &self.capabilities);
                        transaction.step = Step::Recipient(at + 1);
                        self.awaited.push_back(Awaited::Recipient(at));
                    } else {
                        transaction.step = Step::Recipient(at + 1);
                    }
                    continue;
                }
                Step::Recipient(_) => {
                    transaction.step = Step::Start;
                    continue;
                }
                Step::Start if transaction.transfer == Transfer::Data => {
                    lines += "DATA\r\n";
                    (Awaited::Data, Step::Started)
                }
                // Without PIPELINING nothing is awaited here.
                Step::Start if transaction.transfer == Transfer::Chunks || self.awaited.is_empty() => {
                    transaction.content = Content::Open(ContentWriter::new(transaction.transfer));
                    transaction.step = Step::Started;
                    break;
                }
                Step::Start | Step::Started => break,
            };
            transaction.step = next;
            self.awaited.push_back(awaited);
        }
        self.output.extend_from_slice(lines.as_bytes());
        let Phase::Sending(transaction) = &self.phase else { return };
        if self.awaited.is_empty() && !matches!(transaction.content, Content::Open(_)) {
            self.finish();
        }
    }

    /// Takes a reply within a message.
    pub(super) fn transaction_reply(&mut self, awaited: Awaited, reply: Reply) {
        let Phase::Sending(transaction) = &mut self.phase else { return };
        let class = reply.class();
        let fits = match awaited {
            Awaited::Data => class != Class::Positive,
            Awaited::EmptyEnd => true,
            // What came of a message that is begun within another one, nobody could tell.
            Awaited::Reset => class == Class::Positive,
            _ => class != Class::Intermediate,
        };
        if !fits {
            return self.fault(awaited, PeerFault::OutOfStep);
        }
        let is_refusal = class >= Class::Transient;
        let reply = Arc::new(reply);
        match awaited {
            Awaited::Mail if is_refusal => transaction.mail = MailState::Refused(reply),
            Awaited::Mail => transaction.mail = MailState::Accepted,
            Awaited::Recipient(at) => transaction.recipient_reply(at, reply),
            Awaited::Data if is_refusal => {
                transaction.reply = Some(Refusable { stage: Stage::Data, reply });
            }
            Awaited::Data if transaction.is_any_accepted() => {
                transaction.content = Content::Open(ContentWriter::new(Transfer::Data));
            }
            // Nobody is there to get it, but the other side waits for content (RFC 2920 §3.1).
            Awaited::Data => self.command(".\r\n", Awaited::EmptyEnd),
            Awaited::Chunk(Chunk::More) if !is_refusal => {}
            Awaited::Chunk(_) | Awaited::End if transaction.reply.is_none() => {
                if is_refusal {
                    transaction.content = Content::Dropped;
                }
                transaction.reply = Some(Refusable { stage: Stage::Content, reply });
            }
            // Only a chunk after one that was refused gets here, or what has no consequences.
            _ => {}
        }
        self.proceed();
    }

    /// Ends a message on a connection that goes on.
    fn finish(&mut self) {
        let Phase::Sending(transaction) = std::mem::replace(&mut self.phase, Phase::Ready) else { return };
        let reply = transaction.reply.as_ref().map(|Refusable { stage, reply }| (*stage, Arc::clone(reply)));
        // After the end of DATA there is no transaction any more, whatever came of it; after a chunk that was
        // refused, there may be.
        self.needs_reset = match &reply {
            Some((Stage::Content, reply)) => {
                transaction.transfer != Transfer::Data && reply.class() != Class::Positive
            }
            _ => true,
        };
        let rest = || match &reply {
            Some((_, reply)) if reply.class() == Class::Positive => Outcome::Delivered(Arc::clone(reply)),
            Some((stage, reply)) => Outcome::Refused { stage: *stage, reply: Arc::clone(reply) },
            // All others have a reply of their own.
            None => Outcome::Broken { stage: Stage::Mail, reason: Broken::Local, said: None },
        };
        self.finished = Some(Finished { outcomes: transaction.outcomes(&rest), uncertain: false });
    }
}

impl Transaction {
    fn recipient_reply(&mut self, at: usize, reply: Arc<Reply>) {
        let is_refusal = reply.class() >= Class::Transient;
        let state = if !is_refusal {
            RecipientState::Accepted
        } else if self.is_any_accepted() && is_too_many(&reply) {
            RecipientState::NextTransaction
        } else {
            RecipientState::Refused(reply)
        };
        if matches!(state, RecipientState::NextTransaction) {
            // More are of no use to ask for; those that were asked for have their replies to come.
            if let Step::Recipient(next) = self.step {
                self.recipients[next..].fill(RecipientState::NextTransaction);
                self.step = Step::Start;
            }
        }
        self.recipients[at] = state;
    }
}

/// Whether a refusal of RCPT says that there are too many (RFC 5321 §4.5.3.1.10): by its enhanced code, or by
/// its code when that is all there is.
fn is_too_many(reply: &Reply) -> bool {
    let says_so = reply.enhanced().is_none_or(|code| matches!((code.subject, code.detail), (5, 3) | (0, 0)));
    matches!(reply.code(), 452 | 552) && says_so
}
