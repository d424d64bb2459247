//! METADATA (RFC 5464 §4.4).

use std::io::Write;

use super::super::command::Utf8;
use super::super::metadata::EntryName;
use super::string::write_literal_header;
use super::{write_astring, write_mailbox, write_string};

/// Appends METADATA with values; none is NIL. The mailbox is empty for the server. There must be a value.
pub fn write_metadata<'a>(
    out: &mut Vec<u8>,
    utf8: Utf8,
    mailbox: &str,
    values: impl IntoIterator<Item = (&'a EntryName, Option<&'a [u8]>)>,
) {
    begin(out, utf8, mailbox);
    for (index, (entry, value)) in values.into_iter().enumerate() {
        out.push(if index == 0 { b'(' } else { b' ' });
        write_entry(out, entry);
        out.push(b' ');
        match value {
            None => out.extend_from_slice(b"NIL"),
            // Only a literal8 carries NUL.
            Some(value) if value.contains(&0) => {
                out.push(b'~');
                write_literal_header(out, value.len() as u64);
                out.extend_from_slice(value);
            }
            Some(value) => write_string(out, utf8, value),
        }
    }
    out.extend_from_slice(b")\r\n");
}

/// Appends METADATA that only says which annotations changed. There must be one.
pub fn write_metadata_changes<'a>(
    out: &mut Vec<u8>,
    utf8: Utf8,
    mailbox: &str,
    entries: impl IntoIterator<Item = &'a EntryName>,
) {
    begin(out, utf8, mailbox);
    for (index, entry) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        write_entry(out, entry);
    }
    out.extend_from_slice(b"\r\n");
}

fn begin(out: &mut Vec<u8>, utf8: Utf8, mailbox: &str) {
    out.extend_from_slice(b"* METADATA ");
    write_mailbox(out, utf8, mailbox);
    out.push(b' ');
}

fn write_entry(out: &mut Vec<u8>, entry: &EntryName) {
    let mut name = [0; EntryName::OCTETS_MAX];
    let mut rest = &mut name[..];
    // A name is never longer.
    let _ = write!(rest, "{entry}");
    let left = rest.len();
    write_astring(out, Utf8::Off, &name[..EntryName::OCTETS_MAX - left]);
}
