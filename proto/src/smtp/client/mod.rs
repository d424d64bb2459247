//! One SMTP conversation as a client (RFC 5321), without sockets and clocks.
//!
//! The driver calls [`Client::next_action`] and does what the [`Action`] says, again and again:
//!
//! - `Send`: write all of it. When that fails, read what is there already and give it to [`Client::receive`] (it
//!   may be a refusal), then call [`Client::broken`].
//! - `Read`: read once, and call [`Client::receive`]; or [`Client::broken`] when there was an end, an error or no
//!   answer in time.
//! - `StartTls`: do the handshake, call [`Client::started_tls`], or [`Client::broken`] when it fails.
//! - `Content`: call [`Client::content`] with the next piece of the message, or [`Client::content_end`] after
//!   the last.
//! - `Ready`: call [`Client::begin`] with the next message, [`Client::reset`], or [`Client::quit`]. What comes
//!   while the connection lies idle is given to [`Client::receive`], too.
//! - `Done`: a message came to an end; its recipients' outcomes are here. It comes before the connection's end.
//! - `Close`: close the connection. Nothing follows.
//!
//! Extensions: 8BITMIME (RFC 6152), AUTH (RFC 4954), CHUNKING and BINARYMIME (RFC 3030), DSN (RFC 3461),
//! ENHANCEDSTATUSCODES (RFC 2034), LIMITS (RFC 9422), PIPELINING (RFC 2920), REQUIRETLS (RFC 8689), SIZE (RFC
//! 1870), SMTPUTF8 (RFC 6531), STARTTLS (RFC 3207).
//!
//! Always holds: each message that [`Client::begin`] took comes back in exactly one `Done`, with an outcome
//! for each recipient; a reply counts for the oldest command that was sent and has none, and what comes without
//! such a command ends the connection; memory is bounded by the limits of [`reply`], the number of recipients
//! and the size of a piece of content.

mod auth;
pub mod capabilities;
mod commands;
pub mod content;
pub mod outcome;
pub mod reply;
mod setup;
#[cfg(test)]
mod tests;
mod transaction;
mod wait;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

pub use auth::Authentication;
pub use capabilities::{Capabilities, Extension};
pub use commands::Unsendable;
pub use outcome::{Broken, End, Failure, Finished, Outcome, Stage};
pub use reply::{EnhancedCode, PeerFault, Reply, ReplyReader};
pub use wait::Wait;

use crate::address::HeloName;
use crate::sasl::ChannelBinding;
use crate::sasl::client::ClientFailure;
use crate::smtp::server::{Channel, Dialect};
use transaction::Transaction;

/// When to use STARTTLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartTls {
    /// Never.
    Never,
    /// When it is offered. Where it is refused nevertheless, the conversation goes on in clear.
    IfOffered,
    /// Always, whether it is offered or not; nothing is said in clear but EHLO.
    Required,
}

/// How a conversation is led.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What we call ourselves.
    pub name: HeloName,
    /// When to use STARTTLS. It isn't used on a connection that begins with TLS.
    pub starttls: StartTls,
    /// How to log in, if it is to be done.
    pub authentication: Option<Authentication>,
}

/// What the driver is to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Write all of this, each piece within the time that [`Wait::timeout`] gives.
    Send {
        /// What.
        octets: Vec<u8>,
        /// What is waited for.
        wait: Wait,
    },
    /// Read something.
    Read {
        /// What is waited for.
        wait: Wait,
    },
    /// Do the handshake. Octets that came before belong to nobody.
    StartTls,
    /// Give the next piece of the content of the message.
    Content,
    /// Say what to do next.
    Ready,
    /// A message came to an end.
    Done(Finished),
    /// Close the connection.
    Close(End),
}

/// Why nothing is encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlsState {
    /// It is encrypted.
    Active,
    /// STARTTLS was not tried, or not yet.
    NotTried,
    /// STARTTLS was refused so, and the conversation went on in clear.
    Refused(Arc<Reply>),
}

/// A command whose reply is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaited {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    /// `*` was said.
    AuthAbort,
    Reset,
    Mail,
    /// RCPT for the recipient of this number.
    Recipient(usize),
    Data,
    Chunk(Chunk),
    /// The dot after the content.
    End,
    /// The dot after no content at all.
    EmptyEnd,
    Quit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chunk {
    More,
    Last,
}

impl Awaited {
    const fn wait(self) -> Wait {
        match self {
            Self::Greeting => Wait::Greeting,
            Self::Ehlo | Self::Helo | Self::StartTls | Self::Auth | Self::AuthAbort | Self::Reset => {
                Wait::Command
            }
            Self::Mail => Wait::Mail,
            Self::Recipient(_) => Wait::Recipient,
            Self::Data => Wait::DataStart,
            Self::Chunk(_) | Self::End | Self::EmptyEnd => Wait::ContentEnd,
            Self::Quit => Wait::Quit,
        }
    }

    const fn stage(self) -> Stage {
        match self {
            Self::Greeting => Stage::Greeting,
            Self::Ehlo | Self::Helo => Stage::Hello,
            Self::StartTls => Stage::StartTls,
            Self::Auth | Self::AuthAbort => Stage::Auth,
            Self::Reset => Stage::Idle,
            Self::Mail => Stage::Mail,
            Self::Recipient(_) => Stage::Recipient,
            Self::Data => Stage::Data,
            Self::Chunk(_) | Self::End | Self::EmptyEnd => Stage::Content,
            Self::Quit => Stage::Quit,
        }
    }
}

#[derive(Debug)]
enum Phase {
    /// Before the first message; the exchange while there is one.
    Setup(Option<Box<auth::Exchange>>),
    StartingTls,
    Ready,
    Sending(Box<Transaction>),
    Quitting,
    Over(End),
}

/// A conversation.
pub struct Client {
    settings: Settings,
    channel: Channel,
    binding: ChannelBinding,
    tls: TlsState,
    capabilities: Capabilities,
    reader: ReplyReader,
    /// What is to be sent, and an empty buffer for what comes after it.
    output: Vec<u8>,
    spare: Vec<u8>,
    awaited: VecDeque<Awaited>,
    /// How many of them, from the oldest on, were handed out to be sent.
    sent: usize,
    phase: Phase,
    finished: Option<Finished>,
    /// Whether the other side may be within a transaction.
    needs_reset: bool,
    mails: u32,
    /// Nothing was heard since the handshake that STARTTLS asked for.
    is_behind_handshake: bool,
    /// Why `*` was said.
    auth_failure: Option<ClientFailure>,
    greeting_name: Box<str>,
}

/// Without what is sent: it may hold passwords and mail.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("channel", &self.channel)
            .field("awaited", &self.awaited)
            .field("sent", &self.sent)
            .field("mails", &self.mails)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Begins a conversation by waiting for the greeting, on a connection in clear, or with the binding of one
    /// that has TLS already (RFC 8314 §3.3).
    #[must_use]
    pub fn new(settings: Settings, tls: Option<ChannelBinding>) -> Self {
        let channel = if tls.is_some() { Channel::Tls } else { Channel::Clear };
        Self {
            settings,
            channel,
            tls: if tls.is_some() { TlsState::Active } else { TlsState::NotTried },
            binding: tls.unwrap_or_default(),
            capabilities: Capabilities::none(Dialect::Smtp),
            reader: ReplyReader::new(),
            output: Vec::new(),
            spare: Vec::new(),
            awaited: VecDeque::from([Awaited::Greeting]),
            sent: 1,
            phase: Phase::Setup(None),
            finished: None,
            needs_reset: false,
            mails: 0,
            is_behind_handshake: false,
            auth_failure: None,
            greeting_name: Box::default(),
        }
    }

    /// What the other side called itself in its greeting; empty before, and when it didn't.
    #[must_use]
    pub const fn greeting_name(&self) -> &str {
        &self.greeting_name
    }

    /// Whether what comes next is an answer to AUTH. To take it may be long work: SCRAM puts the password through as many
    /// rounds as the other side says.
    #[must_use]
    pub fn is_authenticating(&self) -> bool {
        matches!(self.awaited.front(), Some(Awaited::Auth))
    }

    /// Takes the conversation away, for work elsewhere. What is left in its place is one that was given up.
    #[must_use]
    pub fn take_away(&mut self) -> Self {
        let settings =
            Settings { name: self.settings.name.clone(), starttls: StartTls::Never, authentication: None };
        let mut given_up = Self::new(settings, None);
        given_up.broken(Broken::Local);
        std::mem::replace(self, given_up)
    }

    /// What the other side announced last.
    #[must_use]
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether the conversation is encrypted, and why not.
    #[must_use]
    pub const fn tls(&self) -> &TlsState {
        &self.tls
    }

    /// Messages that were begun on this connection.
    #[must_use]
    pub const fn mails(&self) -> u32 {
        self.mails
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Action {
        if !self.output.is_empty() && self.is_output_whole() {
            self.sent = self.awaited.len();
            let wait = if self.is_sending_content() { Wait::Content } else { self.wait() };
            let spare = std::mem::take(&mut self.spare);
            return Action::Send { octets: std::mem::replace(&mut self.output, spare), wait };
        }
        if let Some(finished) = self.finished.take() {
            return Action::Done(finished);
        }
        match &self.phase {
            Phase::Over(end) => Action::Close(end.clone()),
            Phase::StartingTls => Action::StartTls,
            Phase::Ready => Action::Ready,
            Phase::Sending(transaction) if self.wants_content(transaction) => Action::Content,
            Phase::Sending(_) | Phase::Setup(_) | Phase::Quitting => Action::Read { wait: self.wait() },
        }
    }

    /// Gives back the buffer of a `Send`, to be filled again.
    pub fn reuse(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() > self.spare.capacity() {
            self.spare = buffer;
        }
    }

    /// Takes what the other side sent.
    pub fn receive(&mut self, octets: &[u8]) {
        if matches!(self.phase, Phase::Over(_)) {
            return;
        }
        if matches!(self.phase, Phase::StartingTls) {
            return self.broken(Broken::Fault(PeerFault::Injection));
        }
        self.is_behind_handshake &= octets.is_empty();
        self.reader.push(octets);
        while !matches!(self.phase, Phase::Over(_) | Phase::StartingTls) {
            match self.reader.next_reply() {
                Ok(Some(reply)) => self.take(reply),
                Ok(None) => return,
                Err(fault) => return self.broken(Broken::Fault(fault)),
            }
        }
    }

    /// Says that the connection can't be used any more.
    pub fn broken(&mut self, reason: Broken) {
        // With TLS 1.3 the client is done before the server has looked at what it sent last (RFC 8446 §4.4): who doesn't
        // like that goes away behind the handshake.
        let is_of_handshake = self.is_behind_handshake && matches!(reason, Broken::Closed | Broken::Io);
        let stage = if is_of_handshake { Stage::StartTls } else { self.stage() };
        // Who closes after QUIT does what was asked for, and nothing depends on what else is said.
        if matches!(self.phase, Phase::Quitting) {
            return self.end(End::Quit);
        }
        self.end(End::Failed(Failure::Broken { stage, reason }));
    }

    /// Goes on after the handshake, as if the connection had just begun: what was said before is forgotten
    /// (RFC 3207 §4.2).
    pub fn started_tls(&mut self, binding: ChannelBinding) {
        if !matches!(self.phase, Phase::StartingTls) {
            return;
        }
        self.channel = Channel::Tls;
        self.tls = TlsState::Active;
        self.binding = binding;
        self.reader = ReplyReader::new();
        self.capabilities = Capabilities::none(Dialect::Smtp);
        self.phase = Phase::Setup(None);
        self.is_behind_handshake = true;
        self.hello(Awaited::Ehlo);
    }

    /// Says RSET, to find out whether a connection that lay idle still lives.
    pub fn reset(&mut self) {
        if matches!(self.phase, Phase::Ready) {
            self.phase = Phase::Setup(None);
            self.command("RSET\r\n", Awaited::Reset);
        }
    }

    /// Says QUIT. Within a message, the connection is broken off instead.
    pub fn quit(&mut self) {
        match self.phase {
            Phase::Ready => {
                self.phase = Phase::Quitting;
                self.command("QUIT\r\n", Awaited::Quit);
            }
            Phase::Over(_) | Phase::Quitting => {}
            _ => self.broken(Broken::Local),
        }
    }

    /// Queues a command.
    fn command(&mut self, line: &str, awaited: Awaited) {
        self.output.extend_from_slice(line.as_bytes());
        self.awaited.push_back(awaited);
    }

    fn wait(&self) -> Wait {
        self.awaited.front().map_or(Wait::Command, |awaited| awaited.wait())
    }

    fn stage(&self) -> Stage {
        match (&self.phase, self.awaited.front()) {
            (Phase::StartingTls, _) => Stage::StartTls,
            // A reset before a message belongs to it.
            (Phase::Sending(_), Some(Awaited::Reset)) => Stage::Mail,
            (_, Some(awaited)) => awaited.stage(),
            (Phase::Sending(_), None) => Stage::Content,
            _ => Stage::Idle,
        }
    }

    /// Takes a reply to the oldest command.
    fn take(&mut self, reply: Reply) {
        if self.sent == 0 {
            return self.unsolicited(reply);
        }
        let stage = self.stage();
        let Some(awaited) = self.awaited.pop_front() else { return };
        self.sent -= 1;
        let is_hello = awaited == Awaited::Ehlo && !reply.is_closing();
        let reply = if is_hello || awaited == Awaited::Auth { reply } else { reply.kept() };
        if reply.is_closing() && awaited != Awaited::Quit {
            return self.refused(stage, Arc::new(reply));
        }
        match awaited {
            Awaited::Reset if matches!(self.phase, Phase::Sending(_)) => {
                self.transaction_reply(awaited, reply)
            }
            Awaited::Greeting
            | Awaited::Ehlo
            | Awaited::Helo
            | Awaited::StartTls
            | Awaited::Auth
            | Awaited::AuthAbort
            | Awaited::Reset => self.setup_reply(awaited, reply),
            Awaited::Quit => self.end(End::Quit),
            _ => self.transaction_reply(awaited, reply),
        }
    }

    /// Takes a reply that nobody asked for: a server that shuts down says so (RFC 5321 §3.8), and some refuse
    /// content before its end. Anything else would be taken for the reply to a later command.
    fn unsolicited(&mut self, reply: Reply) {
        let is_early =
            matches!(self.phase, Phase::Sending(_)) && self.awaited.is_empty() && reply.code() >= 400;
        if reply.is_closing() || is_early {
            let stage = self.stage();
            return self.refused(stage, Arc::new(reply.kept()));
        }
        self.broken(Broken::Fault(PeerFault::Unsolicited));
    }

    /// Ends the conversation for a reply to `awaited` that can't be.
    fn fault(&mut self, awaited: Awaited, fault: PeerFault) {
        self.awaited.push_front(awaited);
        self.sent += 1;
        self.broken(Broken::Fault(fault));
    }

    /// Ends the conversation with a refusal.
    fn refused(&mut self, stage: Stage, reply: Arc<Reply>) {
        self.end(End::Failed(Failure::Refused { stage, reply }));
    }

    /// Ends the conversation. Where the connection still works, the other side is told.
    fn end(&mut self, end: End) {
        let says_quit = match (&self.phase, &end) {
            (Phase::Setup(_), End::Failed(Failure::Refused { reply, .. })) => !reply.is_closing(),
            (Phase::Setup(_), End::Failed(Failure::NoMechanism | Failure::Authentication(_))) => true,
            _ => false,
        };
        match std::mem::replace(&mut self.phase, Phase::Over(end.clone())) {
            Phase::Over(before) => {
                self.phase = Phase::Over(before);
                return;
            }
            Phase::Sending(transaction) => {
                self.finished = Some(transaction.cut_off(&self.awaited, self.sent, &end))
            }
            _ => {}
        }
        self.awaited.clear();
        self.sent = 0;
        self.reader = ReplyReader::new();
        self.output.clear();
        if says_quit {
            self.output.extend_from_slice(b"QUIT\r\n");
        }
    }
}
