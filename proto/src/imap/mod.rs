//! IMAP4rev1 and IMAP4rev2 (RFC 3501, RFC 9051): values, framing, grammar, responses.

pub mod mailbox;
pub mod types;
