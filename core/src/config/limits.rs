//! The limits that an operator can change, with their defaults.
//!
//! `[limits]` sets them for every listener; `[listener.limits]` changes them for one. Each field
//! bounds one thing; the metric `postrider_limit_hits_total` says how often a bound was met.

use std::time::Duration;

/// A number for each of the three sizes of network that a peer belongs to: IPv4 /32, /26, /21 and
/// IPv6 /64, /48, /32.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Classes {
    /// One host: IPv4 /32, IPv6 /64.
    pub host: u32,
    /// A site: IPv4 /26, IPv6 /48.
    pub site: u32,
    /// A provider's range: IPv4 /21, IPv6 /32.
    pub range: u32,
}

impl Classes {
    /// Builds the three numbers, narrowest network first.
    pub const fn new(host: u32, site: u32, range: u32) -> Self {
        Self { host, site, range }
    }
}

/// All limits of one listener.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Who may connect, and how often.
    pub connections: ConnectionLimits,
    /// Guessing of passwords.
    pub authentication: AuthenticationLimits,
    /// SMTP and submission sessions.
    pub smtp: SmtpLimits,
    /// IMAP sessions.
    pub imap: ImapLimits,
}

/// Admission of connections.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionLimits {
    /// Connections open at once, for each class of network.
    pub open: Classes,
    /// New connections in a minute, for each class of network.
    pub per_minute: Classes,
    /// Connections open at once on the listener, from everywhere.
    pub total: u32,
    /// Time for a TLS handshake.
    pub tls_handshake: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            open: Classes::new(30, 90, 270),
            per_minute: Classes::new(300, 900, 2700),
            total: 20_000,
            tls_handshake: Duration::from_secs(60),
        }
    }
}

/// Failed authentications.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthenticationLimits {
    /// Failures in a minute, for each class of network.
    pub failures_per_minute: Classes,
    /// Failures in a day, for each class of network.
    pub failures_per_day: Classes,
    /// Failures on one connection after which it is slowed.
    pub slow_after: u32,
    /// Failures on one connection after which it is closed.
    pub failures_per_connection: u32,
}

impl Default for AuthenticationLimits {
    fn default() -> Self {
        Self {
            failures_per_minute: Classes::new(10, 30, 90),
            failures_per_day: Classes::new(50, 150, 450),
            slow_after: 3,
            failures_per_connection: 10,
        }
    }
}

/// SMTP and submission.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SmtpLimits {
    /// Octets of a message; announced with SIZE.
    pub message_octets: u64,
    /// Recipients of one message.
    pub recipients: u32,
    /// Octets of a command line, its CRLF included.
    pub line_octets: u32,
    /// Time for one read or write.
    pub idle: Duration,
    /// Time from DATA or the first BDAT to the end of the message.
    pub message: Duration,
    /// Time from the connection to its end.
    pub session: Duration,
    /// Time that the answer to a message waits for the disk, shorter than clients wait.
    pub store: Duration,
    /// Failed transactions without a good one, after which MAIL is refused.
    pub failed_transactions: u32,
    /// Bad commands after which the connection is closed.
    pub bad_commands: u32,
    /// `Received` fields in a message above which it is taken for a loop.
    pub received_fields: u32,
    /// Delay of the answer when no recipient of a message exists.
    pub unknown_recipients_delay: Duration,
    /// Delay before a message of a sender without history is accepted.
    pub first_time_sender_delay: Duration,
    /// Pause before each read of a slowed connection.
    pub slow_read: Duration,
    /// What one account takes from others' servers.
    pub deliveries: DeliveryLimits,
}

/// What one account takes from each class of network (product 1.12, step 1). It takes the message that reaches the
/// number of octets, and none after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeliveryLimits {
    /// Messages in a minute.
    pub messages_per_minute: Classes,
    /// Messages in a day.
    pub messages_per_day: Classes,
    /// Mebibytes of messages in a minute.
    pub mebibytes_per_minute: Classes,
    /// Mebibytes of messages in a day.
    pub mebibytes_per_day: Classes,
}

impl Default for DeliveryLimits {
    fn default() -> Self {
        Self {
            messages_per_minute: Classes::new(500, 1500, 4500),
            messages_per_day: Classes::new(10_000, 30_000, 90_000),
            mebibytes_per_minute: Classes::new(1000, 3000, 9000),
            mebibytes_per_day: Classes::new(3000, 9000, 27_000),
        }
    }
}

impl Default for SmtpLimits {
    fn default() -> Self {
        Self {
            message_octets: 100 << 20,
            recipients: 1000,
            line_octets: 2048,
            idle: Duration::from_secs(30),
            message: Duration::from_secs(30 * 60),
            session: Duration::from_secs(2 * 60 * 60),
            store: Duration::from_secs(5 * 60),
            failed_transactions: 10,
            bad_commands: 20,
            received_fields: 100,
            unknown_recipients_delay: Duration::from_secs(5),
            first_time_sender_delay: Duration::from_secs(15),
            slow_read: Duration::from_secs(1),
            deliveries: DeliveryLimits::default(),
        }
    }
}

/// IMAP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImapLimits {
    /// Octets of an appended message; announced with APPENDLIMIT.
    pub append_octets: u64,
    /// Octets of a command line without its literals.
    pub line_octets: u32,
    /// Octets of one literal that is not a message.
    pub literal_octets: u64,
    /// Octets of all literals of one command that are not messages.
    pub command_octets: u64,
    /// Literals in one command.
    pub literals: u32,
    /// Time without a command before authentication.
    pub unauthenticated_idle: Duration,
    /// Time without a command after authentication; RFC 9051 §5.4 wants 30 minutes or more.
    pub authenticated_idle: Duration,
    /// Time for one write of a chunk.
    pub write: Duration,
    /// Bad commands after which the connection is closed.
    pub bad_commands: u32,
    /// Messages that one command deals with; 0 is as many as there are (RFC 9738).
    pub messages_per_command: u32,
    /// Messages that one COPY saves; 0 is as many as there are (RFC 9738).
    pub saved_per_command: u32,
    /// How often a client is told how far its command is (RFC 9585).
    pub progress: Duration,
}

impl Default for ImapLimits {
    fn default() -> Self {
        Self {
            append_octets: 100 << 20,
            line_octets: 16 << 10,
            literal_octets: 100 << 10,
            command_octets: 1 << 20,
            literals: 1000,
            unauthenticated_idle: Duration::from_secs(30),
            authenticated_idle: Duration::from_secs(30 * 60),
            write: Duration::from_secs(30),
            bad_commands: 20,
            messages_per_command: 0,
            saved_per_command: 0,
            progress: Duration::from_secs(10),
        }
    }
}
