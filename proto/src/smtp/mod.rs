//! SMTP (RFC 5321) and its extensions, from the server's side: replies, commands, message content, the
//! session, trace fields.
//!
//! Bytes and time in, actions out; nothing here has a socket or a clock.

pub mod body;
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
