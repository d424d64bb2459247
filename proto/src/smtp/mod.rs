//! SMTP (RFC 5321) and its extensions: replies, commands, message content, the sessions of server and client,
//! trace fields.
//!
//! Bytes and time in, actions out; nothing here has a socket or a clock.

pub mod body;
pub mod client;
pub mod command;
pub mod envelope;
pub mod limits;
pub mod reply;
pub mod server;
pub mod trace;
pub mod xtext;

pub use command::Command;
pub use envelope::Envelope;
pub use limits::Limits;
pub use reply::Reply;
