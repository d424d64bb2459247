//! Whether a command is allowed now. Changes nothing: a refusal leaves the session as it was.

use super::super::command::{Chunk, Command, Mail, Rcpt, SaslOctets, Spelling};
use super::super::envelope::{BodyType, Hold, Recipient};
use super::super::{Envelope, Limits, Reply};
use super::{
    Certificate, Channel, ClearAuth, Dialect, Hello, Opening, RequireTls, Role, Session, State, TlsOffer,
};
use crate::address::{ForwardPath, HeloName, ReversePath};

/// A command that passed, with all that carrying it out needs.
pub(super) enum Step {
    Greet(Hello),
    StartTls,
    Authenticate {
        mechanism: Box<str>,
        initial_response: Option<SaslOctets>,
    },
    Begin(Box<Envelope>),
    AddRecipient(Recipient),
    Open(Opening),
    NextChunk(Chunk),
    /// Read over a chunk, then refuse it; the transaction is lost (RFC 3030 §2).
    RefuseChunk(Chunk, Reply),
    Reset,
    Idle(Reply),
    Quit,
    Close(Reply),
}

impl Session {
    pub(super) fn check(&self, command: Command) -> Result<Step, Reply> {
        match command {
            Command::Ehlo(name) => Ok(greet(Dialect::Esmtp, name)),
            Command::Helo(name) => Ok(greet(Dialect::Smtp, name)),
            Command::StartTls => self.check_start_tls(),
            Command::Auth { mechanism, initial_response } => self.check_auth(mechanism, initial_response),
            Command::Mail(mail) => self.check_mail(mail),
            Command::Rcpt(rcpt) => self.check_rcpt(rcpt),
            Command::Data => self.check_data(),
            Command::Bdat(chunk) => Ok(self.check_bdat(chunk)),
            Command::Rset => Ok(Step::Reset),
            Command::Vrfy | Command::Expn => Ok(Step::Idle(Reply::CANNOT_VERIFY)),
            Command::Help => Ok(Step::Idle(Reply::HELP)),
            Command::Noop => Ok(Step::Idle(Reply::DONE)),
            Command::Quit => Ok(Step::Quit),
        }
    }

    fn is_in_transaction(&self) -> bool {
        matches!(self.state, State::Transaction(_) | State::Chunked(_))
    }

    fn check_start_tls(&self) -> Result<Step, Reply> {
        if self.channel == Channel::Tls {
            return Err(Reply::TLS_ACTIVE);
        }
        if self.settings.tls == TlsOffer::Absent {
            return Err(Reply::NO_TLS_HERE);
        }
        if self.login.is_some() {
            return Err(Reply::AUTHENTICATED_ALREADY);
        }
        if self.hello.is_none() {
            return Err(Reply::HELO_FIRST);
        }
        Ok(Step::StartTls)
    }

    fn check_auth(&self, mechanism: Box<str>, initial_response: Option<SaslOctets>) -> Result<Step, Reply> {
        if self.settings.role == Role::Incoming || self.settings.mechanisms.is_empty() {
            return Err(Reply::NO_AUTH_HERE);
        }
        if self.hello.as_ref().is_none_or(|hello| hello.dialect == Dialect::Smtp) {
            return Err(Reply::HELO_FIRST);
        }
        if self.login.is_some() {
            return Err(Reply::AUTHENTICATED_ALREADY);
        }
        if self.is_in_transaction() {
            return Err(Reply::BAD_SEQUENCE);
        }
        if !self.may_authenticate() {
            return Err(Reply::AUTH_NEEDS_TLS);
        }
        if !self.offered_mechanisms().any(|offered| *offered == *mechanism) {
            return Err(Reply::UNKNOWN_MECHANISM);
        }
        Ok(Step::Authenticate { mechanism, initial_response })
    }

    pub(super) fn may_authenticate(&self) -> bool {
        self.channel == Channel::Tls
            || (self.settings.clear_auth == ClearAuth::Allowed && self.settings.tls != TlsOffer::Required)
    }

    /// Channel binding needs a channel, EXTERNAL a certificate.
    pub(super) fn offered_mechanisms(&self) -> impl Iterator<Item = &str> {
        let fits = |name: &&str| match *name {
            "EXTERNAL" => self.certificate == Certificate::Known,
            name => self.channel == Channel::Tls || !name.ends_with("-PLUS"),
        };
        self.settings.mechanisms.iter().map(|name| &**name).filter(fits)
    }

    fn check_login(&self) -> Result<(), Reply> {
        if self.settings.role == Role::Incoming {
            return Ok(());
        }
        if self.channel == Channel::Clear && self.settings.tls == TlsOffer::Required {
            return Err(Reply::TLS_REQUIRED);
        }
        if self.login.is_none() {
            return Err(Reply::AUTH_REQUIRED);
        }
        Ok(())
    }

    fn check_mail(&self, mail: Mail) -> Result<Step, Reply> {
        if self.hello.is_none() {
            return Err(Reply::HELO_FIRST);
        }
        self.check_login()?;
        if self.is_in_transaction() {
            return Err(Reply::NESTED_MAIL);
        }
        let limits = self.limits();
        if self.counts.good_transactions == 0
            && self.counts.failed_transactions > limits.failed_transactions_max
        {
            return Ok(Step::Close(Reply::TOO_MANY_FAILURES));
        }
        let envelope = &mail.envelope;
        if mail.spelling == Spelling::Utf8 && !envelope.smtputf8 {
            return Err(Reply::SENDER_NEEDS_UTF8);
        }
        if envelope.requiretls {
            self.check_requiretls()?;
        }
        if let Some(hold) = envelope.hold {
            self.check_hold(hold)?;
        }
        check_size(envelope.declared_octets.unwrap_or(0), limits)?;
        Ok(Step::Begin(mail.envelope))
    }

    fn check_requiretls(&self) -> Result<(), Reply> {
        if self.channel == Channel::Clear {
            return Err(Reply::REQUIRETLS_NEEDS_TLS);
        }
        if self.settings.requiretls == RequireTls::Disabled {
            return Err(Reply::UNKNOWN_PARAMETER);
        }
        Ok(())
    }

    fn check_hold(&self, hold: Hold) -> Result<(), Reply> {
        if self.settings.role == Role::Incoming {
            return Err(Reply::UNKNOWN_PARAMETER);
        }
        let most = self.limits().hold_max.as_secs();
        let fits = match hold {
            Hold::For(seconds) => u64::from(seconds) <= most,
            Hold::Until(time) => {
                let now = self.unix_seconds();
                time > now && time <= now.saturating_add_unsigned(most)
            }
        };
        if fits { Ok(()) } else { Err(Reply::HOLD_OUT_OF_RANGE) }
    }

    fn check_rcpt(&self, rcpt: Rcpt) -> Result<Step, Reply> {
        if self.hello.is_none() {
            return Err(Reply::HELO_FIRST);
        }
        self.check_login()?;
        let envelope = match &self.state {
            State::Transaction(envelope) => envelope,
            State::Chunked(_) => return Err(Reply::BDAT_ONLY),
            _ => return Err(Reply::MAIL_FIRST),
        };
        if rcpt.spelling == Spelling::Utf8 && !envelope.smtputf8 {
            return Err(Reply::RECIPIENT_NEEDS_UTF8);
        }
        if let ForwardPath::Literal(_) = rcpt.recipient.path {
            return Err(Reply::LITERAL_RECIPIENT);
        }
        // RFC 5321 §4.5.3.1.10: beyond the limit answer 452, keep what was accepted.
        if envelope.recipients.len() >= self.limits().recipients_max {
            return Err(Reply::TOO_MANY_RECIPIENTS);
        }
        if envelope.reverse_path == ReversePath::Null && !envelope.recipients.is_empty() {
            return Err(Reply::ONE_RECIPIENT_FOR_NULL);
        }
        Ok(Step::AddRecipient(rcpt.recipient))
    }

    /// Whether content may begin.
    fn check_recipients(&self) -> Result<&Envelope, Reply> {
        if self.hello.is_none() {
            return Err(Reply::HELO_FIRST);
        }
        self.check_login()?;
        match &self.state {
            State::Transaction(envelope) if envelope.recipients.is_empty() => Err(Reply::RCPT_FIRST),
            State::Transaction(envelope) => Ok(envelope),
            State::Chunked(_) => Err(Reply::BDAT_ONLY),
            _ => Err(Reply::MAIL_FIRST),
        }
    }

    fn check_data(&self) -> Result<Step, Reply> {
        // RFC 3030 §3: BINARYMIME cannot travel by DATA.
        if self.check_recipients()?.body == BodyType::BinaryMime {
            return Err(Reply::BDAT_ONLY);
        }
        Ok(Step::Open(Opening::Data))
    }

    /// The chunk comes, whatever the answer.
    fn check_bdat(&self, chunk: Chunk) -> Step {
        let limits = self.limits();
        let (step, before) = match &self.state {
            State::Chunked(message) => (Ok(Step::NextChunk(chunk)), message.watch.facts().octets),
            _ => (self.check_recipients().map(|_| Step::Open(Opening::Chunk(chunk))), 0),
        };
        let refusal = match step {
            Err(refusal) => refusal,
            Ok(step) => match check_size(before.saturating_add(chunk.octets), limits) {
                Ok(()) => return step,
                Err(refusal) => refusal,
            },
        };
        if chunk.octets > limits.discard_octets_max.saturating_sub(self.counts.discarded_octets) {
            return Step::Close(refusal);
        }
        Step::RefuseChunk(chunk, refusal)
    }
}

fn greet(dialect: Dialect, name: HeloName) -> Step {
    Step::Greet(Hello { dialect, name })
}

/// The second code says that the limit is one that an administrator made smaller than usual.
fn check_size(octets: u64, limits: &Limits) -> Result<(), Reply> {
    if octets <= limits.message_octets_max {
        return Ok(());
    }
    if octets < Limits::DEFAULT.message_octets_max {
        return Err(Reply::MESSAGE_OVER_LIMIT);
    }
    Err(Reply::MESSAGE_TOO_BIG)
}
