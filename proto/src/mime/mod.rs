//! The shape of a message: MIME parts, envelope and body structure (RFC 5322, RFC 2045-2049).
//!
//! A message is scanned once, while it arrives ([`scan::Scanner`]); what was found is stored beside
//! it as a small record ([`record`]), from which IMAP's ENVELOPE, BODY and BODYSTRUCTURE are written
//! and sections are resolved ([`imap`]) without reading the message again. Nothing here fails on
//! hostile input: beyond a limit the description becomes coarser, never wrong in its offsets.

pub mod address;
pub mod collation;
pub mod compose;
pub mod decode;
pub mod downgrade;
pub mod header;
pub mod imap;
mod limits;
pub mod parameter;
pub mod preview;
pub mod record;
pub mod scan;
mod structure;
pub mod subject;
pub mod terms;
pub mod text;
pub mod words;

#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use structure::{Field, FieldName, Kind, Part, Structure};
