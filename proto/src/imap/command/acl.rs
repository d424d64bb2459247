//! SETACL, DELETEACL, LISTRIGHTS (RFC 4314 §3); GETACL and MYRIGHTS have a mailbox only.

use unicode_normalization::UnicodeNormalization;

use super::super::rights::Rights;
use super::cursor::{Cursor, Parsed};
use super::{Fault, MailboxArgument};

/// Whom an entry of an access control list is about (RFC 4314 §2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identifier {
    /// As written, which LISTRIGHTS repeats.
    pub written: Box<str>,
    /// Written with `-` before the name: the entry takes rights away.
    pub negative: bool,
    /// The name in normal form C: of an account, an address, or `anyone`.
    pub name: Box<str>,
}

impl Identifier {
    /// The longest identifier, in octets.
    pub const OCTETS_MAX: usize = 1024;
    /// Everybody.
    pub const ANYONE: &'static str = "anyone";
}

/// How SETACL changes an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RightsChange {
    /// These and no others.
    Replace(Rights),
    /// These besides those that are.
    Add(Rights),
    /// No longer these.
    Remove(Rights),
}

impl RightsChange {
    /// What `rights` become.
    pub const fn apply(self, rights: Rights) -> Rights {
        match self {
            Self::Replace(new) => new,
            Self::Add(more) => rights.with(more),
            Self::Remove(less) => rights.without(less),
        }
    }
}

/// SETACL (RFC 4314 §3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetAcl {
    /// The mailbox.
    pub mailbox: MailboxArgument,
    /// Whose entry.
    pub identifier: Identifier,
    /// How it changes.
    pub change: RightsChange,
}

/// A mailbox and an identifier: DELETEACL (RFC 4314 §3.2) and LISTRIGHTS (§3.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclEntry {
    /// The mailbox.
    pub mailbox: MailboxArgument,
    /// Whose entry.
    pub identifier: Identifier,
}

impl SetAcl {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let AclEntry { mailbox, identifier } = AclEntry::parse(cursor)?;
        cursor.space()?;
        Ok(Self { mailbox, identifier, change: RightsChange::parse(cursor)? })
    }
}

impl AclEntry {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let mailbox = MailboxArgument::parse(cursor)?;
        cursor.space()?;
        Ok(Self { mailbox, identifier: Identifier::parse(cursor)? })
    }
}

impl Identifier {
    /// Takes `identifier`. It is prepared as login names are; what can't be is refused (RFC 4314 §3).
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let written = cursor.astring()?;
        if written.len() > Self::OCTETS_MAX {
            return Err(Fault::TooBig("identifier is too long"));
        }
        if written.chars().any(char::is_control) {
            return Err(Fault::Syntax("identifier has a control character"));
        }
        let (negative, bare) = match written.strip_prefix('-') {
            Some(bare) => (true, bare),
            None => (false, &*written),
        };
        if bare.is_empty() {
            return Err(Fault::Syntax("identifier is empty"));
        }
        let name: String = bare.nfc().collect();
        Ok(Self { written: (*written).into(), negative, name: name.into() })
    }
}

impl RightsChange {
    /// Takes `mod-rights`.
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        const UNKNOWN: Fault = Fault::Syntax("there is no such right");
        let text = cursor.astring()?;
        let (change, letters): (fn(Rights) -> Self, _) = match text.split_at_checked(1) {
            Some(("+", letters)) => (Self::Add, letters),
            Some(("-", letters)) => (Self::Remove, letters),
            _ => (Self::Replace, &*text),
        };
        Rights::parse(letters).map(change).ok_or(UNKNOWN)
    }
}
