//! All bounds of an SMTP session, in one place.

use std::time::Duration;

/// The bounds of one session. Defaults are for a server on the Internet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest command line, line break included.
    pub line_octets_max: usize,
    /// Longest line of an authentication exchange, line break included (RFC 4954 §4).
    pub auth_line_octets_max: usize,
    /// Largest message, as stored (line ends of two octets, dots removed).
    pub message_octets_max: u64,
    /// Content that is refused, a connection: messages that turn out too large or faulty, and chunks of
    /// refused BDAT commands. So much is read over to stay in step with the client; past it the
    /// connection is closed. More than `message_octets_max`, or all larger messages close it.
    pub discard_octets_max: u64,
    /// Most recipients of a message.
    pub recipients_max: usize,
    /// Most `Received` fields of a message.
    pub received_fields_max: u32,
    /// Commands that break the protocol, a connection. The next one closes it.
    pub strikes_max: u32,
    /// Refused recipients, a connection. The next one closes it.
    pub refused_recipients_max: u32,
    /// NOOP, RSET, HELP, VRFY, EXPN and repeated EHLO between two accepted messages. The next one closes
    /// the connection.
    pub idle_commands_max: u32,
    /// Failed transactions, counted from DATA or the first BDAT, on a connection without a good one. With
    /// more, MAIL closes the connection.
    pub failed_transactions_max: u32,
    /// Failed authentications after which each further one is delayed by a second more, and the
    /// connection is slowed.
    pub auth_failures_free: u32,
    /// Failed authentications, a connection. The one that reaches this number closes it.
    pub auth_failures_max: u32,
    /// A chunk under this size that is not the last of its message is a tiny one.
    pub tiny_chunk_octets: u64,
    /// Tiny chunks, a connection. The next one closes it.
    pub tiny_chunks_max: u32,
    /// Content waiting to be taken by the driver from which on no input is wanted. What one call of
    /// `receive` brings may come on top.
    pub content_buffer_octets: usize,
    /// Actions waiting to be polled from which on no further input is looked at.
    pub actions_max: usize,
    /// Longest wait for a whole command line.
    ///
    /// Deviation: RFC 5321 §4.5.3.2.7 says SHOULD be 5 minutes, which is what slow senders of a small
    /// server may be given; the default is what keeps thousands of idle connections away.
    pub command_idle: Duration,
    /// Longest wait for more content.
    pub content_idle: Duration,
    /// Longest time from DATA, or the first BDAT, to the end of the content.
    pub content_total: Duration,
    /// Farthest release of a held message (RFC 4865).
    pub hold_max: Duration,
}

impl Limits {
    /// The default values.
    pub const DEFAULT: Self = Self {
        line_octets_max: 2048,
        auth_line_octets_max: 12_288,
        message_octets_max: 100 << 20,
        discard_octets_max: 200 << 20,
        recipients_max: 1000,
        received_fields_max: 100,
        strikes_max: 20,
        refused_recipients_max: 100,
        idle_commands_max: 1000,
        failed_transactions_max: 10,
        auth_failures_free: 3,
        auth_failures_max: 10,
        tiny_chunk_octets: 512,
        tiny_chunks_max: 1000,
        content_buffer_octets: 64 << 10,
        actions_max: 64,
        command_idle: Duration::from_secs(30),
        content_idle: Duration::from_secs(30),
        content_total: Duration::from_secs(30 * 60),
        hold_max: Duration::from_secs(60 * 24 * 60 * 60),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const _: () = {
    let limits = Limits::DEFAULT;
    // RFC 5321 §4.5.3.1.4, .7 and .8; MAIL with all parameters (RFC 3461, 4865, 4954, 6531) stays below 2048.
    assert!(limits.line_octets_max >= 512 + 500 + 28 + 34 + 12 + 20);
    assert!(limits.auth_line_octets_max >= 12_288);
    assert!(limits.auth_line_octets_max >= limits.line_octets_max);
    assert!(limits.message_octets_max >= 64 << 10);
    assert!(limits.discard_octets_max > limits.message_octets_max);
    assert!(limits.recipients_max >= 100);
    // RFC 5321 §6.3: loop detection must not be set below 100.
    assert!(limits.received_fields_max >= 100);
    assert!(limits.auth_failures_free < limits.auth_failures_max);
    assert!(limits.content_idle.as_secs() < limits.content_total.as_secs());
    // A slice of content that arrives at once must fit what is left of a chunk of the store.
    assert!(limits.content_buffer_octets >= 4 << 10);
};
