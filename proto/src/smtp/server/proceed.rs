//! Carrying out commands that passed. Cannot fail.

use std::time::Duration;

use super::super::Reply;
use super::super::command::{Chunk, SaslOctets};
use super::super::envelope::Recipient;
use super::super::reply::Class;
use super::check::Step;
use super::{
    Action, Channel, Dialect, Hello, Opening, Pending, Question, RequireTls, Role, Session, State, TlsOffer,
};

impl Session {
    pub(super) fn proceed(&mut self, step: Step) {
        match step {
            Step::Greet(hello) => self.greet(hello),
            Step::StartTls => self.start_tls(),
            Step::Authenticate { mechanism, initial_response } => {
                self.authenticate(mechanism, initial_response);
            }
            Step::Begin(envelope) => {
                self.ask(Question::Sender(envelope.reverse_path.clone()), Pending::Sender(envelope));
            }
            Step::AddRecipient(recipient) => self.add_recipient(recipient),
            Step::Open(opening) => self.open(opening),
            Step::NextChunk(chunk) => self.next_chunk(chunk),
            Step::RefuseChunk(chunk, reply) => self.refuse_chunk(chunk, reply),
            Step::Reset => {
                if !self.idles_too_much() {
                    self.abandon_message();
                    self.send(Reply::DONE);
                }
            }
            Step::Idle(reply) => {
                if !self.idles_too_much() {
                    self.send(reply);
                }
            }
            Step::Quit => self.close(Reply::BYE),
            Step::Close(reply) => self.close(reply),
        }
    }

    fn greet(&mut self, hello: Hello) {
        if self.hello.is_some() && self.idles_too_much() {
            return;
        }
        let before = std::mem::replace(&mut self.state, State::Idle);
        self.ask(Question::Hello(hello.clone()), Pending::Hello(Box::new((hello, before))));
    }

    fn start_tls(&mut self) {
        self.abandon_message();
        self.send(Reply::READY_FOR_TLS);
        self.actions.push_back(Action::StartTls);
        self.state = State::StartingTls;
        self.forget_input();
    }

    fn authenticate(&mut self, mechanism: Box<str>, initial_response: Option<SaslOctets>) {
        let failures = self.counts.auth_failures;
        let free = self.limits().auth_failures_free;
        if failures > free {
            self.actions.push_back(Action::Pause(Duration::from_secs(u64::from(failures + 1 - free))));
        }
        self.ask(Question::AuthBegin { mechanism, initial_response }, Pending::Auth);
    }

    fn add_recipient(&mut self, recipient: Recipient) {
        if let State::Transaction(envelope) = std::mem::replace(&mut self.state, State::Idle) {
            let question = Question::Recipient(recipient.path.clone());
            self.ask(question, Pending::Recipient(Box::new((*envelope, recipient))));
        }
    }

    fn open(&mut self, opening: Opening) {
        if let State::Transaction(envelope) = std::mem::replace(&mut self.state, State::Idle) {
            self.ask(Question::Content, Pending::Content(envelope, opening));
        }
    }

    fn next_chunk(&mut self, chunk: Chunk) {
        if self.is_one_tiny_chunk_too_many(chunk) {
            return self.close(Reply::TOO_MANY_CHUNKS);
        }
        if let State::Chunked(message) = std::mem::replace(&mut self.state, State::Idle) {
            self.enter_chunk(message, chunk);
        }
    }

    fn refuse_chunk(&mut self, chunk: Chunk, reply: Reply) {
        self.abandon_message();
        if self.is_one_tiny_chunk_too_many(chunk) {
            return self.close(Reply::TOO_MANY_CHUNKS);
        }
        self.begin_discarding(chunk, reply);
    }

    pub(super) fn begin_discarding(&mut self, chunk: Chunk, reply: Reply) {
        self.content_deadline = self.now + self.limits().content_total;
        self.state = State::Discarding { left: chunk.octets, reply: Box::new(reply) };
    }

    pub(super) fn is_one_tiny_chunk_too_many(&mut self, chunk: Chunk) -> bool {
        if !chunk.last && chunk.octets < self.limits().tiny_chunk_octets {
            self.counts.tiny_chunks += 1;
        }
        self.counts.tiny_chunks > self.limits().tiny_chunks_max
    }

    /// The reply to an accepted greeting, in the order that clients know.
    pub(super) fn hello_reply(&self, dialect: Dialect) -> Reply {
        let mut text = self.settings.hostname.to_string();
        if dialect == Dialect::Smtp {
            return Reply::plain(Class::Positive, 50, "").with_text(text);
        }
        let mut add = |line: &str| {
            text.push('\n');
            text.push_str(line);
        };
        add("PIPELINING");
        add(&format!("SIZE {}", self.limits().message_octets_max));
        if self.channel == Channel::Clear && self.settings.tls != TlsOffer::Absent {
            add("STARTTLS");
        }
        if self.channel == Channel::Tls && self.settings.requiretls == RequireTls::Offered {
            add("REQUIRETLS");
        }
        if self.settings.role == Role::Submission {
            if self.may_authenticate() && !self.settings.mechanisms.is_empty() {
                let names: Vec<&str> = self.offered_mechanisms().collect();
                add(&format!("AUTH {}", names.join(" ")));
            }
            add(&self.future_release());
        }
        for line in ["ENHANCEDSTATUSCODES", "8BITMIME", "BINARYMIME", "CHUNKING", "DSN"] {
            add(line);
        }
        add(&format!("LIMITS RCPTMAX={}", self.limits().recipients_max));
        add("SMTPUTF8");
        Reply::plain(Class::Positive, 50, "").with_text(text)
    }

    /// `FUTURERELEASE max-seconds max-date` (RFC 4865 §2).
    fn future_release(&self) -> String {
        let seconds = self.limits().hold_max.as_secs();
        let latest = self.unix_seconds().saturating_add_unsigned(seconds);
        let latest = jiff::Timestamp::from_second(latest).unwrap_or(jiff::Timestamp::MAX);
        format!("FUTURERELEASE {seconds} {latest:.0}")
    }
}
