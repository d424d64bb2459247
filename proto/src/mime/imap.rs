//! IMAP's view of a message, written from its stored record (RFC 9051 §6.4.5 and §7.5.2).
//!
//! Everything is appended to a buffer and everything is 7-bit unless the client said that it takes
//! UTF-8. What a client sees as the message is `prefix` + scanned message: the prefix is whole
//! header lines that were put before it at delivery. Offsets that leave this module count from the
//! start of the prefix.

mod body;
mod envelope;
mod section;
mod string;

pub use body::{body, body_of_part, body_structure};
pub use envelope::envelope;
pub use section::{PartBody, SectionText, binary, filter_fields, part_at, section};
pub use string::{ClientText, nstring, string, text};
