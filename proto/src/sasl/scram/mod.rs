//! SCRAM (RFC 5802, RFC 7677): the messages, and the server's side.

pub(super) mod message;
pub(super) mod server;
