//! ACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3.6 to §3.8).

use super::super::command::Utf8;
use super::super::rights::Rights;
use super::{write_astring, write_mailbox};

/// Appends ACL: the entries of a mailbox, each an identifier with its rights.
pub fn write_acl<'a>(
    out: &mut Vec<u8>,
    utf8: Utf8,
    mailbox: &str,
    entries: impl IntoIterator<Item = (&'a str, Rights)>,
) {
    out.extend_from_slice(b"* ACL ");
    write_mailbox(out, utf8, mailbox);
    for (identifier, rights) in entries {
        out.push(b' ');
        write_astring(out, utf8, identifier.as_bytes());
        out.push(b' ');
        write_rights(out, rights);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends LISTRIGHTS: what `identifier` always has, and what it can be granted.
pub fn write_list_rights(
    out: &mut Vec<u8>,
    utf8: Utf8,
    mailbox: &str,
    identifier: &str,
    always: Rights,
    grantable: Rights,
) {
    out.extend_from_slice(b"* LISTRIGHTS ");
    write_mailbox(out, utf8, mailbox);
    out.push(b' ');
    write_astring(out, utf8, identifier.as_bytes());
    out.push(b' ');
    write_rights(out, always);
    for letter in grantable.grantable() {
        out.push(b' ');
        // A right is an ASCII letter.
        out.push(letter as u8);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends MYRIGHTS.
pub fn write_my_rights(out: &mut Vec<u8>, utf8: Utf8, mailbox: &str, rights: Rights) {
    out.extend_from_slice(b"* MYRIGHTS ");
    write_mailbox(out, utf8, mailbox);
    out.push(b' ');
    write_rights(out, rights);
    out.extend_from_slice(b"\r\n");
}

fn write_rights(out: &mut Vec<u8>, rights: Rights) {
    write_astring(out, Utf8::Off, rights.to_string().as_bytes());
}
