//! IMAP4rev1 and IMAP4rev2 sessions (RFC 3501, RFC 9051) on the shards.

pub mod answers;
pub mod commands;
pub mod content;
pub mod output;
pub mod selected;
pub mod session;
pub mod sync;
