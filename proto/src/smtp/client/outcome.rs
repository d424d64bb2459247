//! What became of a message, and why a connection ended.

use std::sync::Arc;

use super::reply::{PeerFault, Reply};
use crate::sasl::client::ClientFailure;
use crate::smtp::reply::Class;

/// Where in a conversation something happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// The greeting.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS, the handshake and a server that is gone right behind it included.
    StartTls,
    /// AUTH.
    Auth,
    /// Between two messages.
    Idle,
    /// MAIL
    Mail,
    /// RCPT
    Recipient,
    /// DATA
    Data,
    /// The content, its end included.
    Content,
    /// QUIT
    Quit,
}

/// Why a connection stopped, seen from the driver.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Broken {
    /// The other side closed it.
    #[error("the other server closed the connection")]
    Closed,
    /// The other side was silent, or took nothing, for too long.
    #[error("the other server did not answer in time")]
    TimedOut,
    /// Reading or writing failed.
    #[error("the connection broke")]
    Io,
    /// It was us: a shutdown, or content that can't be read.
    #[error("the connection was given up on this side")]
    Local,
    /// The other side doesn't keep to the protocol.
    #[error("the other server does not keep to SMTP: {0}")]
    Fault(PeerFault),
}

/// What became of one recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The other side took the message for it, and has the duty to deliver or report from now on.
    Delivered(Arc<Reply>),
    /// The other side refused, for now or for good: see [`Outcome::is_permanent`]. With 421 it ended the
    /// connection.
    Refused {
        /// The command that was refused.
        stage: Stage,
        /// What was said.
        reply: Arc<Reply>,
    },
    /// It doesn't fit into this transaction (RFC 5321 §4.5.3.1.10, RFC 9422 RCPTMAX). Another one is to
    /// follow, on the same connection if it still lives; each takes one recipient out of the way at least.
    NextTransaction,
    /// The connection ended before anything was certain.
    Broken {
        /// Where.
        stage: Stage,
        /// How.
        reason: Broken,
        /// The last refusal of another recipient, which may tell why.
        said: Option<Arc<Reply>>,
    },
}

impl Outcome {
    /// Whether trying again is useless. 552 to RCPT says that there are too many recipients, or a full mailbox:
    /// both pass (RFC 5321 §4.5.3.1.10).
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Refused { stage: Stage::Recipient, reply } if reply.code() == 552 => false,
            Self::Refused { reply, .. } => reply.class() == Class::Permanent,
            Self::Delivered(_) | Self::NextTransaction | Self::Broken { .. } => false,
        }
    }
}

/// What became of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// For each recipient of the envelope, in its order.
    pub outcomes: Vec<Outcome>,
    /// The end of the content was sent, and no reply to it was read: those whose outcome is
    /// [`Outcome::Broken`] may have the message (RFC 1047), and get it twice when it is sent again.
    pub uncertain: bool,
}

/// Why a conversation came to nothing, or to no more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The other side refused to talk to us, to start TLS, or to let us in.
    #[error("{reply}")]
    Refused {
        /// What was refused.
        stage: Stage,
        /// What was said.
        reply: Arc<Reply>,
    },
    /// The connection stopped.
    #[error("{reason}")]
    Broken {
        /// Where.
        stage: Stage,
        /// How.
        reason: Broken,
    },
    /// No mechanism is both allowed here and offered there.
    #[error("the other server offers no authentication mechanism that is allowed here")]
    NoMechanism,
    /// The server's side of the exchange is wrong: perhaps it isn't the server that it pretends to be.
    #[error("authentication failed: {0}")]
    Authentication(#[from] ClientFailure),
}

impl Failure {
    /// Whether the other side said, or it is clear, that trying again is useless.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Refused { reply, .. } => reply.class() == Class::Permanent,
            Self::NoMechanism => true,
            Self::Broken { .. } | Self::Authentication(_) => false,
        }
    }
}

/// How a conversation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// By QUIT.
    Quit,
    /// Otherwise.
    Failed(Failure),
}
