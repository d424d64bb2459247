//! How long a client waits for what (RFC 5321 §4.5.3.2).

use std::time::Duration;

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wait {
    /// The greeting.
    Greeting,
    /// The reply to a command that has no time of its own in the standard: EHLO, STARTTLS, AUTH, RSET.
    Command,
    /// The reply to MAIL.
    Mail,
    /// The reply to RCPT.
    Recipient,
    /// The reply to DATA.
    DataStart,
    /// That the other side takes a piece of content.
    Content,
    /// The reply to the whole content, or to a chunk of it.
    ContentEnd,
    /// The reply to QUIT.
    Quit,
}

impl Wait {
    /// The time that the standard gives at least.
    ///
    /// Deviation: RFC 5321 §4.1.1.10 lets the client wait for the reply to QUIT; nothing depends on it, so
    /// it gets five seconds.
    #[must_use]
    pub const fn timeout(self) -> Duration {
        let seconds = match self {
            Self::Greeting | Self::Command | Self::Mail | Self::Recipient => 300,
            Self::DataStart => 120,
            Self::Content => 180,
            Self::ContentEnd => 600,
            Self::Quit => 5,
        };
        Duration::from_secs(seconds)
    }
}
