//! SELECT and EXAMINE with CONDSTORE and QRESYNC (RFC 9051 §6.3.2, RFC 7162 §3.1.8 and §3.2.5).

use super::super::sequence::SequenceSet;
use super::super::types::UidValidity;
use super::MailboxArgument;

/// Whether a mailbox is opened for changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// SELECT
    ReadWrite,
    /// EXAMINE
    ReadOnly,
}

/// SELECT or EXAMINE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Select {
    /// The mailbox.
    pub mailbox: MailboxArgument,
    /// SELECT or EXAMINE.
    pub access: Access,
    /// The CONDSTORE parameter was given.
    pub condstore: bool,
    /// The QRESYNC parameter; a BAD by the executor unless it was enabled.
    pub qresync: Option<Qresync>,
}

/// What a client still knows of a mailbox (RFC 7162 §3.2.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Qresync {
    /// The last known uid validity.
    pub uid_validity: UidValidity,
    /// The last known modification sequence; 0 is taken though the grammar has none.
    pub modseq: u64,
    /// The uids that the client knows; all when absent. Without `*`.
    pub known_uids: Option<SequenceSet>,
    /// Some message numbers and their uids (RFC 7162 §3.2.5.2).
    pub matched: Option<Matched>,
}

/// Message numbers and the uids they had, element by element; both without `*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matched {
    /// Message numbers, ascending.
    pub sequence: SequenceSet,
    /// Their uids, ascending.
    pub uids: SequenceSet,
}
