//! IMAP4rev1 and IMAP4rev2 (RFC 3501, RFC 9051): values, framing, grammar, responses.

pub mod command;
pub mod date;
pub mod framing;
pub mod limits;
pub mod mailbox;
pub mod metadata;
pub mod objectid;
pub mod pattern;
pub mod response;
pub mod rights;
pub mod sequence;
pub mod thread;
pub mod types;
pub mod uidset;
pub mod url;
pub mod utf7;
