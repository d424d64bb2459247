//! SELECT and EXAMINE with CONDSTORE and QRESYNC (RFC 9051 §6.3.2, RFC 7162 §3.1.8 and §3.2.5).

use super::super::sequence::SequenceSet;
use super::super::types::UidValidity;
use super::cursor::{Cursor, Parsed};
use super::{Fault, MailboxArgument};

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

impl Select {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>, access: Access) -> Parsed<Self> {
        cursor.space()?;
        let mailbox = MailboxArgument::parse(cursor)?;
        let mut select = Self { mailbox, access, condstore: false, qresync: None };
        if cursor.take(b' ') {
            cursor.open()?;
            cursor.list(|cursor| select.parameter(cursor))?;
        }
        Ok(select)
    }

    fn parameter(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        match cursor.label()?.as_str() {
            "CONDSTORE" if !self.condstore => self.condstore = true,
            "QRESYNC" if self.qresync.is_none() => self.qresync = Some(Qresync::parse(cursor)?),
            "CONDSTORE" | "QRESYNC" => return Err(Fault::Syntax("parameter given twice")),
            _ => return Err(Fault::Syntax("unknown SELECT parameter")),
        }
        Ok(())
    }
}

impl Qresync {
    /// Takes ` (uidvalidity modseq [known-uids] [(numbers uids)])`.
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        cursor.open()?;
        let uid_validity = UidValidity(cursor.nz_number()?);
        cursor.space()?;
        let modseq = cursor.number64()?;
        let mut qresync = Self { uid_validity, modseq, known_uids: None, matched: None };
        if cursor.peek() == Some(b' ') {
            cursor.space()?;
            if cursor.peek() != Some(b'(') {
                qresync.known_uids = Some(known_set(cursor)?);
                if cursor.take(b')') {
                    return Ok(qresync);
                }
                cursor.space()?;
            }
            cursor.open()?;
            let sequence = known_set(cursor)?;
            cursor.space()?;
            let uids = known_set(cursor)?;
            cursor.close()?;
            qresync.matched = Some(Matched { sequence, uids });
        }
        cursor.close()?;
        Ok(qresync)
    }
}

/// Takes a set without `*` (RFC 7162 §7, `known-uids`).
fn known_set(cursor: &mut Cursor<'_>) -> Parsed<SequenceSet> {
    let set = cursor.sequence_set()?;
    if set.has_last() { Err(Fault::Syntax("* isn't allowed here")) } else { Ok(set) }
}
