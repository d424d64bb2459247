//! Responses to clients (RFC 9051 §7 and the extensions named at each writer).
//!
//! Everything appends to a `Vec<u8>`; no text is built in between. What a client that enabled
//! nothing gets is 7-bit (names in modified UTF-7, texts in ASCII, other octets in literals only).

mod acl;
mod code;
mod fetch;
mod mailbox;
mod metadata;
mod quota;
mod search;
mod status;
mod string;
#[cfg(test)]
mod tests;
mod urlauth;

pub use acl::{write_acl, write_list_rights, write_my_rights};
pub use code::Code;
pub use fetch::{FetchRow, OldSection};
pub use mailbox::{
    ListAttributes, ListRow, StatusValue, write_exists, write_flags, write_list, write_list_separator,
    write_lsub, write_namespace, write_recent, write_status,
};
pub use metadata::{write_metadata, write_metadata_changes};
pub use quota::{QuotaResource, write_quota, write_quota_root};
pub use search::{
    Correlator, Esearch, Numbers, SearchedMailbox, Update, write_esearch, write_expunge, write_search,
    write_sort, write_uid_batches, write_update, write_vanished,
};
pub use status::{
    Condition, Status, write_bad_command, write_capability, write_continuation, write_continuation_base64,
    write_enabled, write_id, write_refused, write_tagged, write_untagged,
};
pub use string::{write_astring, write_mailbox, write_nstring, write_quoted, write_string};
pub use urlauth::{UrlFetchRow, write_genurlauth};

/// Appends a number in decimal.
pub fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
