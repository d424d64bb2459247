//! STARTTLS, LOGIN and AUTHENTICATE (RFC 9051 §6.2, RFC 4959).

use std::time::Duration;

use postrider_proto::imap::command::{Authenticate, Login, Tag};
use postrider_proto::imap::response::{Code, write_continuation_base64};
use postrider_proto::sasl::wire::decode_response;
use postrider_proto::sasl::{self, FailureKind, Mechanism};
use tracing::{debug, info};

use crate::arrival::start_tls;
use crate::auth::{self, AuthError, Next, User};
use crate::clock::unix_now;
use crate::config::Switch;
use crate::imap::capability::{Channel, mechanisms};
use crate::imap::connection::{Connection, Flow};
use crate::imap::session::{Completion, Ended};
use crate::metrics;
use crate::runtime::sleep;

const ALREADY: Completion = Completion::bad("logged in already");
const PRIVACY_REQUIRED: Completion =
    Completion::refused(Code::PrivacyRequired, "passwords are taken over TLS only");

impl Connection {
    /// STARTTLS. What the client sent behind the command in the clear is dropped (RFC 9051 §6.2.1).
    pub(in crate::imap) async fn starttls(&mut self, tag: &Tag) -> Result<Flow, Ended> {
        if self.member.is_some() || self.channel() != Channel::Clear || self.service.tls.is_none() {
            return Ok(Flow::Done(Completion::bad("STARTTLS isn't possible here")));
        }
        self.answer(tag, &Completion::ok("begin TLS"));
        self.out.flush().await?;
        let dropped = self.framer.discard_unread();
        if dropped > 0 {
            info!(cid = %self.peer.id, octets = dropped, "input behind STARTTLS was dropped");
        }
        let plain = self.out.take_transport()?;
        let tls =
            start_tls(&self.shard, self.service.door(), self.peer.id, plain).await.ok_or(Ended::Gone)?;
        self.out.put_transport(tls);
        Ok(Flow::Answered)
    }

    /// LOGIN.
    pub(in crate::imap) async fn login(&mut self, command: Login) -> Result<Flow, Ended> {
        if self.member.is_some() {
            return Ok(Flow::Done(ALREADY));
        }
        if self.channel() == Channel::Clear {
            return Ok(Flow::Done(PRIVACY_REQUIRED));
        }
        self.pause().await?;
        let authenticator = self.shard.shared.authenticator.clone();
        let connection = self.auth_connection();
        let result = authenticator.password(connection, &command.user, command.password.expose()).await;
        self.logged_in(result, metrics::Mechanism::Login)
    }

    /// AUTHENTICATE.
    pub(in crate::imap) async fn authenticate(&mut self, command: Authenticate) -> Result<Flow, Ended> {
        if self.member.is_some() {
            return Ok(Flow::Done(ALREADY));
        }
        let Some(mechanism) = Mechanism::parse(command.mechanism.as_bytes()) else {
            return Ok(Flow::Done(Completion::no("unknown mechanism")));
        };
        let (channel, certificate) = (self.channel(), self.certificate());
        if !mechanisms(&self.service.listener, channel, certificate).any(|allowed| allowed == mechanism) {
            return Ok(Flow::Done(match channel {
                Channel::Clear => PRIVACY_REQUIRED,
                _ => Completion::no("the mechanism can't be used on this connection"),
            }));
        }
        self.pause().await?;
        let initial = command.initial.as_ref().map(|octets| octets.expose().as_slice());
        let result = self.exchange(mechanism, initial).await?;
        self.logged_in(result, metrics::mechanism(mechanism))
    }

    /// The steps of a SASL exchange.
    async fn exchange(
        &mut self,
        mechanism: Mechanism,
        initial: Option<&[u8]>,
    ) -> Result<Result<User, AuthError>, Ended> {
        let authenticator = self.shard.shared.authenticator.clone();
        let (mut conversation, mut next) =
            match authenticator.begin(self.auth_connection(), mechanism, initial).await {
                Ok(begun) => begun,
                Err(error) => return Ok(Err(error)),
            };
        loop {
            let challenge = match next {
                Next::Done(user) => return Ok(Ok(user)),
                Next::Challenge(challenge) => challenge,
            };
            write_continuation_base64(&mut self.out.buffer, &challenge);
            let line = self.line().await?;
            let response = match decode_response(&line, &sasl::Limits::DEFAULT) {
                Ok(response) => response,
                Err(kind) => return Ok(Err(kind.into())),
            };
            next = match conversation.respond(&response).await {
                Ok(next) => next,
                Err(error) => return Ok(Err(error)),
            };
        }
    }

    fn auth_connection(&mut self) -> auth::Connection {
        let transport = self.out.transport().ok();
        let (exporter, certificate) = transport
            .map(|transport| (transport.channel_binding(), transport.client_certificate()))
            .unwrap_or_default();
        auth::Connection {
            peer: self.peer.address,
            exporter,
            certificate,
            hostname: self.service.listener.hostname.to_string(),
            now: u64::try_from(unix_now()).unwrap_or(0),
        }
    }

    /// Whom the client's certificate lets in without a word (RFC 9051 §7.1.4), where the listener has that.
    pub(in crate::imap) fn preauthenticated(&mut self) -> Option<User> {
        if self.service.listener.preauth == Switch::Off {
            return None;
        }
        let connection = self.auth_connection();
        connection.certificate?;
        let user = self.shard.shared.authenticator.external(&connection, None);
        // A stranger may still log in with a password.
        match self.logged_in(Ok(user.ok()?), metrics::Mechanism::External) {
            Ok(Flow::LoggedIn(user)) => Some(*user),
            _ => None,
        }
    }

    /// Who has failed some times waits, longer each time.
    async fn pause(&mut self) -> Result<(), Ended> {
        let free = self.service.listener.limits.authentication.slow_after;
        if self.login_failures >= free {
            self.out.flush().await?;
            sleep(Duration::from_secs(u64::from(self.login_failures + 1 - free))).await;
        }
        Ok(())
    }

    fn logged_in(
        &mut self,
        result: Result<User, AuthError>,
        mechanism: metrics::Mechanism,
    ) -> Result<Flow, Ended> {
        let (flow, outcome) = match result {
            Ok(user) => {
                info!(
                    cid = %self.peer.id, peer = %self.peer.address, account = %user.name,
                    mechanism = mechanism.name(), "authenticated"
                );
                (Flow::LoggedIn(Box::new(user)), metrics::Authentication::Ok)
            }
            Err(error) => {
                info!(
                    cid = %self.peer.id, remote = %self.peer.address, mechanism = mechanism.name(), %error,
                    "{}", error.log_line()
                );
                let (completion, outcome) = refusal(&error);
                (Flow::Done(completion), outcome)
            }
        };
        let known = &self.shard.shared.metrics;
        let labels = [self.service.protocol as usize, mechanism as usize, outcome as usize];
        self.shard.recorder.increment(known.authentications.at(labels));
        if counts(outcome) {
            self.login_failures += 1;
        }
        if self.login_failures >= self.service.listener.limits.authentication.failures_per_connection
            && matches!(flow, Flow::Done(_))
        {
            self.count_limit(metrics::Limit::ConnectionAuthenticationFailures);
            debug!(cid = %self.peer.id, "too many failed logins");
            return Err(Ended::Bye(Some(Code::AuthenticationFailed), "too many failed logins"));
        }
        Ok(flow)
    }
}

/// Whether an outcome is the client's fault.
const fn counts(outcome: metrics::Authentication) -> bool {
    use metrics::Authentication as Outcome;
    matches!(outcome, Outcome::BadCredentials | Outcome::BadChannelBinding | Outcome::BadProtocol)
}

/// The answer to a failed login (product 4.2; RFC 5530 §3).
fn refusal(error: &AuthError) -> (Completion, metrics::Authentication) {
    use metrics::Authentication as Outcome;
    const FAILED: Completion = Completion::refused(Code::AuthenticationFailed, "authentication failed");
    match error {
        AuthError::Failed(kind) => match kind {
            FailureKind::BadCredentials | FailureKind::AuthzidDiffers => (FAILED, Outcome::BadCredentials),
            FailureKind::ChannelBinding => (FAILED, Outcome::BadChannelBinding),
            FailureKind::Aborted => (Completion::bad("given up"), Outcome::Aborted),
            FailureKind::BadBase64 => (Completion::bad("malformed base64"), Outcome::BadProtocol),
            FailureKind::BadSyntax | FailureKind::TooLong | FailureKind::Unsupported => {
                (Completion::bad("malformed message"), Outcome::BadProtocol)
            }
            FailureKind::OutOfTurn => {
                (Completion::refused(Code::ServerBug, "the exchange went wrong"), Outcome::Error)
            }
        },
        AuthError::Disabled(message) => {
            let text: String =
                message.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
            let text = if text.is_empty() { "logins are disabled".to_owned() } else { text };
            let answer = Completion::refused(Code::AuthorizationFailed, "");
            (Completion { text: text.into(), ..answer }, Outcome::LoginDisabled)
        }
        AuthError::Limited => (
            Completion::refused(Code::Unavailable, "too many failed logins from your network"),
            Outcome::BadCredentials,
        ),
        AuthError::Busy(_) | AuthError::Store(_) => {
            (Completion::refused(Code::Unavailable, "try again later"), Outcome::Error)
        }
    }
}
