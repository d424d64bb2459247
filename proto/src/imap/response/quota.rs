//! QUOTA and QUOTAROOT (RFC 9208 §4.2).

use super::super::command::Utf8;
use super::{write_astring, write_mailbox, write_number};

/// What of a resource is used, and how much may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuotaResource {
    /// The resource's name, such as `STORAGE`.
    pub name: &'static str,
    /// What is used, in the resource's unit.
    pub usage: u64,
    /// What may be used.
    pub limit: u64,
}

/// Appends QUOTA.
pub fn write_quota(out: &mut Vec<u8>, root: &str, resources: impl IntoIterator<Item = QuotaResource>) {
    out.extend_from_slice(b"* QUOTA ");
    write_astring(out, Utf8::Off, root.as_bytes());
    out.extend_from_slice(b" (");
    for (index, resource) in resources.into_iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(resource.name.as_bytes());
        for number in [resource.usage, resource.limit] {
            out.push(b' ');
            write_number(out, number);
        }
    }
    out.extend_from_slice(b")\r\n");
}

/// Appends QUOTAROOT; a mailbox without limits has no root.
pub fn write_quota_root(out: &mut Vec<u8>, utf8: Utf8, mailbox: &str, root: Option<&str>) {
    out.extend_from_slice(b"* QUOTAROOT ");
    write_mailbox(out, utf8, mailbox);
    if let Some(root) = root {
        out.push(b' ');
        write_astring(out, Utf8::Off, root.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
