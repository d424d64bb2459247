//! From the greeting to the first message: EHLO, STARTTLS, AUTH.

use std::sync::Arc;

use super::auth::Exchange;
use super::{
    Awaited, Capabilities, Client, End, Extension, Failure, PeerFault, Phase, Reply, StartTls, TlsState,
};
use crate::sasl::client::ClientFailure;
use crate::smtp::reply::Class;
use crate::smtp::server::{Channel, Dialect};

impl Client {
    /// Takes a reply to a command outside messages.
    pub(super) fn setup_reply(&mut self, awaited: Awaited, reply: Reply) {
        match (awaited, reply.class()) {
            (Awaited::Greeting, Class::Positive) => {
                self.greeting_name = greeting_name(reply.text());
                self.hello(Awaited::Ehlo);
            }
            (Awaited::Ehlo, Class::Positive) => {
                self.capabilities = Capabilities::parse(&reply);
                self.greeted();
            }
            (Awaited::Ehlo, Class::Permanent) if self.may_say_helo(&reply) => self.hello(Awaited::Helo),
            (Awaited::Helo, Class::Positive) => {
                self.capabilities = Capabilities::none(Dialect::Smtp);
                self.greeted();
            }
            (Awaited::StartTls, Class::Positive) if self.reader.is_empty() => self.phase = Phase::StartingTls,
            (Awaited::StartTls, Class::Positive) => self.fault(awaited, PeerFault::Injection),
            (Awaited::StartTls, Class::Transient | Class::Permanent)
                if self.settings.starttls != StartTls::Required =>
            {
                self.tls = TlsState::Refused(Arc::new(reply));
                self.authenticate();
            }
            (Awaited::Auth, Class::Positive) => self.authenticated(),
            (Awaited::Auth, Class::Intermediate) => self.challenge(&reply),
            (Awaited::Reset, Class::Positive) => {
                self.needs_reset = false;
                self.phase = Phase::Ready;
            }
            (Awaited::AuthAbort, _) => {
                let failure = self.auth_failure.take().unwrap_or(ClientFailure::OutOfTurn);
                self.end(End::Failed(Failure::Authentication(failure)));
            }
            (_, Class::Transient | Class::Permanent) => self.refused(awaited.stage(), Arc::new(reply)),
            (_, Class::Positive | Class::Intermediate) => self.fault(awaited, PeerFault::OutOfStep),
        }
    }

    /// Says EHLO or HELO.
    pub(super) fn hello(&mut self, awaited: Awaited) {
        let verb = if awaited == Awaited::Helo { "HELO" } else { "EHLO" };
        let line = format!("{verb} {}\r\n", self.settings.name);
        self.command(&line, awaited);
    }

    /// Whether this refusal of EHLO may come from a server that doesn't know it (RFC 5321 §3.2). After
    /// STARTTLS it does.
    fn may_say_helo(&self, reply: &Reply) -> bool {
        self.tls != TlsState::Active && (500..=504).contains(&reply.code())
    }

    fn greeted(&mut self) {
        let wanted = match self.settings.starttls {
            StartTls::Never => false,
            StartTls::IfOffered => self.capabilities.has(Extension::StartTls),
            StartTls::Required => true,
        };
        if self.channel == Channel::Clear && wanted {
            return self.command("STARTTLS\r\n", Awaited::StartTls);
        }
        self.authenticate();
    }

    fn authenticate(&mut self) {
        let Some(authentication) = &self.settings.authentication else {
            self.phase = Phase::Ready;
            return;
        };
        match authentication.choose(&self.capabilities, self.channel, &self.binding) {
            Some((mechanism, binding)) => {
                let (exchange, command) = Exchange::begin(authentication, mechanism, binding);
                self.phase = Phase::Setup(Some(Box::new(exchange)));
                self.command(&command, Awaited::Auth);
            }
            None => self.end(End::Failed(Failure::NoMechanism)),
        }
    }

    fn challenge(&mut self, reply: &Reply) {
        let Phase::Setup(Some(exchange)) = &mut self.phase else {
            return self.fault(Awaited::Auth, PeerFault::OutOfStep);
        };
        match exchange.respond(reply) {
            Ok(line) => self.command(&line, Awaited::Auth),
            Err(failure) => {
                self.auth_failure = Some(failure);
                self.command("*\r\n", Awaited::AuthAbort);
            }
        }
    }

    fn authenticated(&mut self) {
        let Phase::Setup(Some(exchange)) = &self.phase else {
            return self.fault(Awaited::Auth, PeerFault::OutOfStep);
        };
        if !exchange.is_proved() {
            let failure = Failure::Authentication(ClientFailure::ServerSignature);
            return self.end(End::Failed(failure));
        }
        self.phase = Phase::Ready;
    }
}

/// What a server calls itself: the first word of its greeting (RFC 5321 §4.2), cut.
fn greeting_name(text: &str) -> Box<str> {
    /// Octets of a domain (RFC 5321 §4.5.3.1.2).
    const OCTETS_MAX: usize = 255;
    let word = text.split_whitespace().next().unwrap_or_default();
    word.chars().filter(char::is_ascii_graphic).take(OCTETS_MAX).collect::<String>().into()
}
