//! The server's side of an exchange (RFC 4422 §3): a state that takes the client's messages and
//! answers with what to do next.
//!
//! The driver decodes a line with [`wire`](super::wire), calls [`Exchange::start`] and then
//! [`Exchange::respond`], and does what the [`Step`] says. For [`Step::NeedSecrets`] it looks the
//! account up and calls [`Exchange::secrets`]; for [`Step::VerifyPassword`] it has a worker run
//! [`StoredSecrets::verify_password`] and calls [`Exchange::verified`]. After `Success` or
//! `Failure` the exchange is over.

use super::cram::Cram;
use super::login::LoginExchange;
use super::plain;
use super::scram::server::Scram;
use super::secrets::StoredSecrets;
use super::text::Login;
use super::{ChannelBinding, Limits, Mechanism, Secret};

/// Printable octets that the server draws anew for each exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerNonce(Box<str>);

impl ServerNonce {
    /// Makes a nonce of 18 random octets (24 characters, 144 bits).
    pub fn from_random(octets: &[u8; 18]) -> Self {
        Self(super::wire::encode(octets).into())
    }

    /// Takes a text as it is: printable ASCII without a comma (RFC 5802 §5.1), not empty.
    pub fn new(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',');
        (printable && !text.is_empty()).then(|| Self(text.into()))
    }

    /// The nonce as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether the server announced -PLUS mechanisms on this connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlusOffer {
    /// It did; a client that says it saw none was lied to (RFC 5802 §6).
    Offered,
    /// It did not.
    NotOffered,
}

/// What an exchange needs to know of its connection.
#[derive(Clone, Debug)]
pub struct Context {
    /// What the TLS connection gives to bind to.
    pub binding: ChannelBinding,
    /// Whether -PLUS mechanisms were announced.
    pub plus: PlusOffer,
    /// Fresh for this exchange.
    pub nonce: ServerNonce,
    /// The server's name, in a CRAM-MD5 challenge.
    pub hostname: String,
    /// Seconds since 1970, in a CRAM-MD5 challenge.
    pub unix_seconds: u64,
    /// What bounds the exchange.
    pub limits: Limits,
}

/// What the driver does next.
#[derive(Debug)]
pub enum Step {
    /// Send this, encoded in base64, and wait for an answer. A SCRAM server's last message goes
    /// this way too, since neither SMTP nor IMAP can carry data with success.
    Challenge(Vec<u8>),
    /// Look up the stored secrets of `login`, then call [`Exchange::secrets`].
    NeedSecrets {
        /// Who wants in.
        login: Login,
        /// What will be used of them.
        kind: SecretKind,
    },
    /// Check the password on a worker, then call [`Exchange::verified`].
    VerifyPassword {
        /// Who wants in.
        login: Login,
        /// The password, prepared by [`text::prepare_password`](super::text::prepare_password).
        password: Secret<String>,
    },
    /// Find out whom the client's certificate belongs to; the exchange is over. With a name, only when it
    /// is a name of that account (RFC 4422 §A.1).
    Certificate {
        /// Whom the client wants to act as; its own account without.
        authzid: Option<Login>,
    },
    /// The client is who it says.
    Success {
        /// Who it is.
        login: Login,
    },
    /// The exchange is over without success.
    Failure(FailureKind),
}

/// Which part of [`StoredSecrets`] an exchange uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretKind {
    /// `scram_sha_256`
    ScramSha256,
    /// `scram_sha_1`
    ScramSha1,
    /// `cram_md5`
    CramMd5,
}

/// Why an exchange failed. None tells whether the account exists.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum FailureKind {
    /// No such account, or the wrong password.
    #[error("wrong name or password")]
    BadCredentials,
    /// The message breaks the mechanism's grammar.
    #[error("malformed message")]
    BadSyntax,
    /// The line is no base64.
    #[error("invalid base64")]
    BadBase64,
    /// A message or a part of it is longer than [`Limits`] allows.
    #[error("message too long")]
    TooLong,
    /// The client gave up.
    #[error("aborted by the client")]
    Aborted,
    /// Channel binding differs, is missing, or was talked away: somebody may sit in between.
    #[error("channel binding does not match")]
    ChannelBinding,
    /// A mandatory extension that nobody has defined (RFC 5802 §5.1, `m=`).
    #[error("unsupported extension")]
    Unsupported,
    /// The client wants to act for another (RFC 4422 §2); that is not possible here.
    #[error("authorization identity differs from the login name")]
    AuthzidDiffers,
    /// The driver answered what was not asked: a defect of ours, and safe.
    #[error("out of turn")]
    OutOfTurn,
}

/// What came out of checking a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The password is the account's.
    Matches,
    /// It is not, or there is no account.
    Differs,
}

/// One attempt to log in.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waits for the message of PLAIN.
    Plain,
    Login(LoginExchange),
    /// The password is being checked.
    Verifying(Login),
    Cram(Cram),
    Scram(Box<Scram>),
    /// Waits for the message of EXTERNAL.
    External,
    Over,
}

impl Exchange {
    /// Begins. `initial_response` is what came with the command, decoded.
    pub fn start(mechanism: Mechanism, context: &Context, initial_response: Option<&[u8]>) -> (Self, Step) {
        let mut exchange = Self { mechanism, limits: context.limits, state: State::Over };
        let challenge = match mechanism {
            Mechanism::Plain => {
                exchange.state = State::Plain;
                Vec::new()
            }
            Mechanism::Login => {
                exchange.state = State::Login(LoginExchange::new());
                LoginExchange::USERNAME.to_vec()
            }
            Mechanism::CramMd5 => {
                let (cram, challenge) = Cram::new(context);
                exchange.state = State::Cram(cram);
                // RFC 2195 §2: the server speaks first, so there can be no initial response.
                if initial_response.is_some() {
                    let step = exchange.fail(FailureKind::BadSyntax);
                    return (exchange, step);
                }
                challenge
            }
            Mechanism::External => {
                exchange.state = State::External;
                Vec::new()
            }
            Mechanism::ScramSha1
            | Mechanism::ScramSha1Plus
            | Mechanism::ScramSha256
            | Mechanism::ScramSha256Plus => {
                exchange.state = State::Scram(Box::new(Scram::new(mechanism, context)));
                Vec::new()
            }
        };
        let step = match initial_response {
            Some(response) => exchange.respond(response),
            None => Step::Challenge(challenge),
        };
        (exchange, step)
    }

    /// The mechanism in use.
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the client's answer to a challenge, decoded.
    pub fn respond(&mut self, message: &[u8]) -> Step {
        if message.len() > self.limits.message_octets_max {
            return self.fail(FailureKind::TooLong);
        }
        let result = match &mut self.state {
            State::Plain => plain::parse(message, &self.limits)
                .map(|(login, password)| Step::VerifyPassword { login, password }),
            State::Login(exchange) => exchange.respond(message, &self.limits),
            State::Cram(cram) => cram.respond(message, &self.limits),
            State::Scram(scram) => scram.respond(message, &self.limits),
            State::External if message.is_empty() => Ok(Step::Certificate { authzid: None }),
            State::External => Login::new(message, &self.limits)
                .map(|authzid| Step::Certificate { authzid: Some(authzid) })
                .map_err(plain::login_failure),
            State::Verifying(_) | State::Over => Err(FailureKind::OutOfTurn),
        };
        self.settle(result)
    }

    /// Takes what the account has stored, none where there is no such account or it has no
    /// password, and the dummy for this login name, which stands in for what is missing.
    pub fn secrets(&mut self, stored: Option<&StoredSecrets>, dummy: &StoredSecrets) -> Step {
        let result = match &mut self.state {
            State::Cram(cram) => cram.secrets(stored, dummy),
            State::Scram(scram) => scram.secrets(stored, dummy),
            State::Plain | State::Login(_) | State::External | State::Verifying(_) | State::Over => {
                Err(FailureKind::OutOfTurn)
            }
        };
        self.settle(result)
    }

    /// Takes the result of checking the password.
    pub fn verified(&mut self, verdict: Verdict) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), verdict) {
            (State::Verifying(login), Verdict::Matches) => Step::Success { login },
            (State::Verifying(_), Verdict::Differs) => Step::Failure(FailureKind::BadCredentials),
            _ => Step::Failure(FailureKind::OutOfTurn),
        }
    }

    fn settle(&mut self, result: Result<Step, FailureKind>) -> Step {
        match result {
            Ok(step) => {
                match &step {
                    Step::VerifyPassword { login, .. } => self.state = State::Verifying(login.clone()),
                    Step::Success { .. } | Step::Certificate { .. } | Step::Failure(_) => {
                        self.state = State::Over;
                    }
                    Step::Challenge(_) | Step::NeedSecrets { .. } => {}
                }
                step
            }
            Err(kind) => self.fail(kind),
        }
    }

    fn fail(&mut self, kind: FailureKind) -> Step {
        self.state = State::Over;
        Step::Failure(kind)
    }
}
