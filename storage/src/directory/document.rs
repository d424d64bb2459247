//! The whole directory as a text for people (TOML), read and written without loss, one entry after another.
//!
//! ```toml
//! version = 1
//! postmaster = { account = "fred", mailbox = "Inbox" }
//!
//! [domain."example.org"]
//! separators = ["+"]            # also: dkim, disabled, case_sensitive, description, routes
//!
//! [account.fred]
//! domain = "example.org"        # also: full_name, quota, quota_messages, login_disabled, disabled_mechanisms, routes, and below
//! credentials = ["SCRAM-SHA-256$..."]   # or password = "...", or neither: stays as it is
//! addresses = ["fred@example.org", { address = "@example.org", mailbox = "Rest" }]   # also: rules, auth_required, reports
//! routes = [{ to_domains = [".example.net"], minimum_attempts = 3, transport = "smarthost" }]   # also: from_domains
//! tls_public_keys = [{ fingerprint = "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ", name = "laptop" }]
//!
//! [refusal]
//! "spam@example.org" = 550
//!
//! [alias."team@example.org"]
//! members = ["fred@example.org"]        # also: post_public, list_members, allow_msg_from
//! ```
//!
//! DKIM keys of a domain: `dkim = [{ selector = "2026a", key = "MC4CAQAwBQYDK2Vw..." }]`, the key as PKCS#8 in base64 or
//! PEM; or `key_file = "dkim/2026a.pem"`, a file with PEM, whose place is told from the document's; or neither, where the
//! key stays as it is. `publish_only = true` for one that doesn't sign. Where nothing is said of `dkim` all keys stay.
//!
//! For mail of an account: `recipients_per_day = 1000`, `first_time_recipients_per_day = 200`, `from_id_logins =
//! ["fred@example.org"]`, `keep_retired_messages = 604800` (seconds), `keep_retired_webhooks`, `outgoing_webhook = { url =
//! "https://hooks.example/mail", authorization = "Bearer ...", secret = "...", events = ["failed"] }`, and
//! `incoming_webhook`, which has no events.
//!
//! A rule of an address: `{ verified_domain = "list.example", mailbox = "Lists" }`, and also mail_from, msg_from,
//! `headers = [["list-id", "<news\\.list\\.example>"]]`, is_forward, list_allow_domain, accept_rejects_to, comment.

mod parse;
mod print;
mod split;

use postrider_proto::address::{Address, Domain};
use postrider_proto::dkim::Selector;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::Secret;
use postrider_proto::sasl::secrets::StoredSecrets;

use super::destination::Destination;
use super::types::{
    AccountName, AccountSettings, AddressPattern, AliasSettings, DkimSecret, DkimState, DomainSettings,
    Fingerprint,
};

pub(super) use parse::read;
pub use print::Export;
#[cfg(test)]
pub(super) use split::PIECE_OCTETS_MAX;
pub(super) use split::{Piece, Splitter};

/// The version of the text's form.
pub(super) const VERSION: i64 = 1;

/// A line of a text, from 1; 0 where none can be told.
pub(super) type Line = u32;

/// An entry, and the line of its name.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) line: Line,
    pub(super) entry: Entry,
}

/// One thing that a document says.
#[derive(Debug)]
pub(super) enum Entry {
    /// Who gets the mail for `postmaster`.
    Postmaster(AccountName, MailboxName),
    Domain(Domain, DomainEntry),
    Account(AccountName, Box<AccountEntry>),
    /// An address that answers with a code, 451 or 550.
    Refusal(AddressPattern, u16),
    Alias(Address, AliasEntry),
}

/// A domain in a document.
#[derive(Debug)]
pub(super) struct DomainEntry {
    pub(super) settings: DomainSettings,
    /// Its DKIM keys; none where nothing is said of them, so that they stay.
    pub(super) dkim_keys: Option<Vec<DkimEntry>>,
}

/// A DKIM key in a document.
#[derive(Debug)]
pub(super) struct DkimEntry {
    pub(super) selector: Selector,
    pub(super) state: DkimState,
    pub(super) source: DkimSource,
    pub(super) line: Line,
}

/// How a document gives a key.
#[derive(Debug)]
pub(super) enum DkimSource {
    /// It doesn't: the key stays.
    Unsaid,
    /// PEM, or base64 of PKCS#8.
    Inline(Secret<String>),
    /// A file with PEM.
    File(String),
    /// As it is stored: what all the others are made before anything is noted.
    Known(DkimSecret),
}

/// Where a key is read from; see [`ReadKey`](super::ReadKey).
#[derive(Clone, Copy)]
pub enum KeyText<'a> {
    /// From this text: PEM, or base64 of PKCS#8.
    Inline(&'a str),
    /// From the file of this name, as the document has it.
    File(&'a str),
}

/// An account in a document.
#[derive(Debug)]
pub(super) struct AccountEntry {
    pub(super) settings: AccountSettings,
    pub(super) credential: Credential,
    /// Its addresses, in whatever order.
    pub(super) addresses: Vec<AddressEntry>,
    /// The public keys of TLS that log in to it, with their names.
    pub(super) tls_keys: Vec<(Fingerprint, String, Line)>,
}

/// An address of an account in a document.
#[derive(Debug)]
pub(super) struct AddressEntry {
    pub(super) address: AddressPattern,
    pub(super) mailbox: MailboxName,
    pub(super) destination: Destination,
    pub(super) line: Line,
}

/// How a document says that an account logs in.
#[derive(Debug)]
pub(super) enum Credential {
    /// Nothing said: as it is, or, for a new account, not at all.
    Unsaid,
    /// Not at all.
    Nothing,
    /// With the password of these verifiers.
    Verifiers(Box<StoredSecrets>),
    /// With this password, in clear.
    Password(Secret<String>),
}

/// An alias in a document.
#[derive(Debug)]
pub(super) struct AliasEntry {
    pub(super) settings: AliasSettings,
    /// Its members, sorted.
    pub(super) members: Vec<Address>,
}

/// One thing that is wrong in a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The line, from 1; 0 where none can be told.
    pub line: usize,
    /// What is wrong there, and what would do.
    pub problem: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.problem),
            line => write!(f, "line {line}: {}", self.problem),
        }
    }
}
