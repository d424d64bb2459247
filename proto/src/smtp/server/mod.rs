//! One SMTP server conversation (RFC 5321), without sockets, clocks or storage. Port 25 and submission (RFC
//! 6409) are the same session with another [`Role`].
//!
//! The driver calls `receive`, `answer`, `on_deadline`, `started_tls` or `shutdown`, and then drains `poll`
//! until it is empty; then it flushes the replies and calls `flushed`. Everything that needs the outside
//! world leaves as an [`Action`]. Message content gathers in [`Session::content`], which the driver takes
//! whenever it likes, at the latest when [`Question::Deliver`] comes.
//!
//! Always holds: each message whose [`Question::Content`] was answered with `Proceed` ends with exactly one
//! of [`Question::Deliver`] and [`Action::Discard`]; no envelope outlives the end of its content, whatever
//! the verdict; memory is bounded by [`Limits`] and the size of one `receive`.

mod answers;
mod check;
mod content;
mod input;
mod proceed;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::{ChunkReader, ContentFacts, DataReader, HeaderWatch};
use super::command::{Chunk, SaslOctets};
use super::envelope::Recipient;
use super::reply::Class;
use super::{Envelope, Limits, Reply};
use crate::address::{Domain, ForwardPath, HeloName, ReversePath};

/// What the session is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Mail from other servers, port 25.
    Incoming,
    /// Mail from our own users, ports 587 and 465.
    Submission,
}

/// Whether there is STARTTLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsOffer {
    /// No TLS is set up.
    Absent,
    /// Offered.
    Optional,
    /// Offered, and submission refuses MAIL and AUTH without it. (On port 25 it is the driver who refuses
    /// recipients: some, those of TLS reports, are always reachable.)
    Required,
}

/// Whether the connection is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// It is not.
    Clear,
    /// It is.
    Tls,
}

/// Whether passwords may travel in clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClearAuth {
    /// AUTH needs TLS (RFC 8314).
    Refused,
    /// AUTH is offered without TLS too.
    Allowed,
}

/// Whether REQUIRETLS is offered, under TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequireTls {
    /// It is.
    Offered,
    /// It is not.
    Disabled,
}

/// What all sessions of a listener share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name.
    pub hostname: Domain,
    /// What the listener is for.
    pub role: Role,
    /// The bounds.
    pub limits: Limits,
    /// STARTTLS.
    pub tls: TlsOffer,
    /// REQUIRETLS.
    pub requiretls: RequireTls,
    /// AUTH without TLS.
    pub clear_auth: ClearAuth,
    /// Names of the SASL mechanisms, in upper case, best first. Those that end in `-PLUS` are offered under
    /// TLS only.
    pub mechanisms: Vec<Box<str>>,
}

/// How the client greeted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// EHLO or HELO.
    pub dialect: Dialect,
    /// What it called itself.
    pub name: HeloName,
}

/// Which greeting, and so which protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// HELO
    Smtp,
    /// EHLO
    Esmtp,
}

/// What the driver is to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Append the reply to what is sent at the next flush.
    Send(Reply),
    /// Find out; the session is parked until [`Session::answer`]. Pipelined input stays buffered.
    Ask(Question),
    /// Throw away all that was taken of the current message's content.
    Discard,
    /// Flush, wait that long, then go on polling.
    Pause(Duration),
    /// Read and write at this pace from now on.
    SetPace(Pace),
    /// Flush, do the TLS handshake, call [`Session::started_tls`]. Octets that came before the handshake
    /// must not be given to the session.
    StartTls,
    /// Flush and close.
    Close,
}

/// How fast to read and write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// As fast as can be.
    Normal,
    /// An octet a second.
    Slow,
}

/// A fact that the session needs. In brackets the answers that fit, besides [`Answer::Refuse`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// May this client greet so? [`Answer::Proceed`]
    Hello(Hello),
    /// An exchange begins, replacing an earlier one. [`Answer::AuthChallenge`],
    /// [`Answer::AuthSucceeded`], [`Answer::AuthFailed`]
    AuthBegin {
        /// One of [`Settings::mechanisms`].
        mechanism: Box<str>,
        /// What came with the command.
        initial_response: Option<SaslOctets>,
    },
    /// The client's response. Answers as for `AuthBegin`.
    AuthRespond(SaslOctets),
    /// May this sender send? [`Session::envelope`] has the parameters. [`Answer::Proceed`]
    Sender(ReversePath),
    /// Is mail for this recipient accepted? [`Session::envelope`] has the sender and those before.
    /// [`Answer::Recipient`]
    Recipient(ForwardPath),
    /// Content is about to come: is there a place for it? [`Session::envelope`] has all that is known.
    /// [`Answer::Proceed`]
    Content,
    /// The content is complete, and good as far as the session can tell: what became of it?
    /// [`Answer::Delivered`]
    Deliver {
        /// Whose it is.
        envelope: Box<Envelope>,
        /// What passed.
        facts: ContentFacts,
    },
}

/// The answer to a question. One that does not fit the question counts as a local error (451).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Yes.
    Proceed,
    /// No, and this is why. A reply 421 also closes the connection.
    Refuse(Reply),
    /// Yes; the token goes into the envelope.
    Recipient(u32),
    /// The reply for a delivered message.
    Delivered(Reply),
    /// Send this challenge.
    AuthChallenge(Vec<u8>),
    /// The client is who it claims to be.
    AuthSucceeded {
        /// Its login name.
        login: Box<str>,
    },
    /// The client failed, which counts.
    AuthFailed(Reply),
}

/// Whether a client presented a certificate that belongs to somebody here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Certificate {
    /// None, or one of a stranger.
    Unknown,
    /// It did.
    Known,
}

/// A conversation.
pub struct Session {
    settings: Arc<Settings>,
    state: State,
    channel: Channel,
    certificate: Certificate,
    hello: Option<Box<Hello>>,
    login: Option<Box<str>>,
    counts: Counts,
    /// Octets not consumed yet, from `input_start` on.
    input: Vec<u8>,
    input_start: usize,
    content: Vec<u8>,
    actions: VecDeque<Action>,
    shutdown: Shutdown,
    flush: Flush,
    /// When the session began, and what a calendar said then (seconds since 1970).
    began: (Instant, i64),
    now: Instant,
    idle_deadline: Instant,
    content_deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shutdown {
    No,
    /// When the question that is open is answered.
    Soon,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flush {
    Done,
    Awaited,
}

/// What the connection has used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    lines: u32,
    strikes: u32,
    refused_recipients: u32,
    idle_commands: u32,
    failed_transactions: u32,
    good_transactions: u32,
    auth_failures: u32,
    tiny_chunks: u32,
    discarded_octets: u64,
}

#[derive(Debug)]
enum State {
    /// No transaction.
    Idle,
    /// MAIL was accepted.
    Transaction(Box<Envelope>),
    /// Between two chunks.
    Chunked(Box<Message>),
    /// A challenge was sent.
    AuthResponse,
    /// Parked.
    Asking(Pending),
    /// After 354.
    Data(Box<Message>),
    /// Within a chunk.
    Chunk {
        message: Box<Message>,
        left: u64,
        last: bool,
    },
    /// Within a chunk that is refused, with `reply` at its end.
    Discarding {
        left: u64,
        reply: Box<Reply>,
    },
    /// Waiting for the handshake.
    StartingTls,
    Closed,
}

#[derive(Debug)]
enum Pending {
    /// The state to stay in when refused (RFC 5321 §4.1.4).
    Hello(Box<(Hello, State)>),
    Auth,
    Sender(Box<Envelope>),
    Recipient(Box<(Envelope, Recipient)>),
    Content(Box<Envelope>, Opening),
    Deliver,
}

/// How content comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opening {
    Data,
    Chunk(Chunk),
}

/// A message whose content is on its way.
#[derive(Debug)]
struct Message {
    envelope: Box<Envelope>,
    reader: Reader,
    watch: HeaderWatch,
    /// Octets on the wire.
    read_octets: u64,
    fate: Fate,
}

/// What is known of a message before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Nothing speaks against it yet.
    Open,
    /// It will be refused, and the driver has discarded it. For what, only the end can tell: of several
    /// faults always the same one is named, however the input is cut.
    Refused,
}

#[derive(Debug)]
enum Reader {
    Data(DataReader),
    Chunk(ChunkReader),
}

/// Without input and content: they may hold passwords and mail.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state)
            .field("channel", &self.channel)
            .field("hello", &self.hello)
            .field("login", &self.login)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Begins a conversation with the greeting. `unix_seconds` is the calendar's time of `now`.
    pub fn new(settings: Arc<Settings>, channel: Channel, now: Instant, unix_seconds: i64) -> Self {
        let greeting = format!("{} ESMTP postrider", settings.hostname);
        let greeting = Reply::plain(Class::Positive, 20, "").with_text(greeting);
        let idle_deadline = now + settings.limits.command_idle;
        Self {
            settings,
            state: State::Idle,
            channel,
            certificate: Certificate::Unknown,
            hello: None,
            login: None,
            counts: Counts::default(),
            input: Vec::new(),
            input_start: 0,
            content: Vec::new(),
            actions: VecDeque::from([Action::Send(greeting)]),
            shutdown: Shutdown::No,
            flush: Flush::Done,
            began: (now, unix_seconds),
            now,
            idle_deadline,
            content_deadline: now,
        }
    }

    /// Takes octets from the client. All are taken; what can't be looked at yet is kept.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        self.now = now;
        if matches!(self.state, State::Closed) {
            return;
        }
        if self.input.is_empty() && self.actions.is_empty() {
            let used = self.consume(bytes);
            self.input.extend_from_slice(&bytes[used..]);
        } else {
            self.input.extend_from_slice(bytes);
            self.resume();
        }
        self.forget_if_closed();
    }

    /// The next action; none when all is done that can be done now. Content that waits to be taken then belongs before
    /// the action.
    pub fn poll(&mut self) -> Option<Action> {
        if self.actions.is_empty() && !self.input.is_empty() {
            self.resume();
            self.forget_if_closed();
        }
        let action = self.actions.pop_front();
        if let Some(Action::Send(_)) = action {
            self.flush = Flush::Awaited;
        }
        action
    }

    /// Says that all replies are on their way: the client's time to react starts now.
    pub fn flushed(&mut self, now: Instant) {
        if self.flush == Flush::Awaited {
            self.flush = Flush::Done;
            self.now = now;
            self.idle_deadline = now + self.idle_time();
        }
    }

    /// False while parked, closed, or when content waits to be taken: the driver stops reading, so the peer
    /// feels back-pressure.
    pub fn wants_input(&self) -> bool {
        match self.state {
            State::Idle | State::Transaction(_) | State::Chunked(_) | State::AuthResponse => true,
            State::Data(_) | State::Chunk { .. } => !self.is_content_full(),
            State::Discarding { .. } => true,
            State::Asking(_) | State::StartingTls | State::Closed => false,
        }
    }

    /// When to call [`Session::on_deadline`]; none while the peer is not the one we wait for.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.wants_input() {
            return None;
        }
        match self.state {
            State::Chunked(_) | State::Data(_) | State::Chunk { .. } | State::Discarding { .. } => {
                Some(self.idle_deadline.min(self.content_deadline))
            }
            _ => Some(self.idle_deadline),
        }
    }

    /// Ends the conversation when its deadline has passed.
    pub fn on_deadline(&mut self, now: Instant) {
        self.now = now;
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.close(Reply::TIMEOUT);
        }
    }

    /// Says 421 and closes, after the answer to an open question if there is one.
    pub fn shutdown(&mut self) {
        match self.state {
            State::Closed => {}
            State::Asking(_) => self.shutdown = Shutdown::Soon,
            _ => self.close(Reply::SHUTTING_DOWN),
        }
    }

    /// Goes on after the handshake, as if the client had just connected: all that it said before is
    /// forgotten (RFC 3207 §4.2), but not what it did wrong.
    pub fn started_tls(&mut self, now: Instant) {
        if !matches!(self.state, State::StartingTls) {
            return;
        }
        self.now = now;
        self.channel = Channel::Tls;
        self.state = State::Idle;
        self.hello = None;
        self.login = None;
        self.forget_input();
        self.idle_deadline = now + self.settings.limits.command_idle;
    }

    /// Says whether the client's certificate belongs to somebody: only then EXTERNAL is offered.
    pub fn set_certificate(&mut self, certificate: Certificate) {
        self.certificate = certificate;
    }

    /// The content that waits to be taken.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Takes the waiting content, and leaves `empty` to gather the next in.
    pub fn take_content(&mut self, mut empty: Vec<u8>, now: Instant) -> Vec<u8> {
        self.now = now;
        if self.is_content_full() {
            self.idle_deadline = now + self.settings.limits.content_idle;
        }
        empty.clear();
        std::mem::replace(&mut self.content, empty)
    }

    /// The envelope being built or filled; none outside transactions.
    pub fn envelope(&self) -> Option<&Envelope> {
        match &self.state {
            State::Transaction(envelope) => Some(envelope),
            State::Asking(Pending::Sender(envelope) | Pending::Content(envelope, _)) => Some(envelope),
            State::Asking(Pending::Recipient(pending)) => Some(&pending.0),
            State::Chunked(message) | State::Data(message) | State::Chunk { message, .. } => {
                Some(&message.envelope)
            }
            _ => None,
        }
    }

    /// How the client greeted, since TLS began.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_deref()
    }

    /// Who the client is.
    pub fn login(&self) -> Option<&str> {
        self.login.as_deref()
    }

    /// Whether the connection is encrypted.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether [`Action::Close`] was given.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    fn is_content_full(&self) -> bool {
        self.content.len() >= self.settings.limits.content_buffer_octets
    }

    fn idle_time(&self) -> Duration {
        match self.state {
            State::Data(_) | State::Chunk { .. } | State::Discarding { .. } => self.limits().content_idle,
            _ => self.limits().command_idle,
        }
    }

    /// The calendar's time, in seconds since 1970.
    fn unix_seconds(&self) -> i64 {
        let passed = self.now.saturating_duration_since(self.began.0).as_secs();
        self.began.1.saturating_add_unsigned(passed)
    }

    fn send(&mut self, reply: Reply) {
        self.actions.push_back(Action::Send(reply));
    }

    fn ask(&mut self, question: Question, pending: Pending) {
        self.actions.push_back(Action::Ask(question));
        self.state = State::Asking(pending);
    }

    /// Refuses what the client should not have said. Too many of these end the conversation.
    fn strike(&mut self, reply: Reply) {
        self.counts.strikes += 1;
        if self.counts.strikes > self.limits().strikes_max {
            return self.close(Reply::TOO_MANY_ERRORS);
        }
        self.send(reply);
    }

    fn close(&mut self, reply: Reply) {
        self.abandon_message();
        self.send(reply);
        self.actions.push_back(Action::Close);
        self.state = State::Closed;
    }

    /// Leaves the transaction, telling the driver when it holds content of it.
    fn abandon_message(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Idle);
        if let State::Data(message) | State::Chunked(message) | State::Chunk { message, .. } = state
            && message.fate == Fate::Open
        {
            self.actions.push_back(Action::Discard);
        }
        self.content = Vec::new();
    }

    fn forget_input(&mut self) {
        self.input = Vec::new();
        self.input_start = 0;
    }

    fn forget_if_closed(&mut self) {
        if matches!(self.state, State::Closed) {
            self.forget_input();
        }
    }
}
