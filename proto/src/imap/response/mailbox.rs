//! What is told of mailboxes: LIST, LSUB, STATUS, NAMESPACE, FLAGS, EXISTS (RFC 9051 §7.3, §7.4).

use super::super::command::{SpecialUse, StatusItem, Utf8};
use super::super::mailbox::MailboxName;
use super::super::objectid::ObjectId;
use super::super::types::{Flags, Keyword};
use super::fetch::write_flag_list;
use super::{write_mailbox, write_number};

/// Attributes of a LIST or LSUB response, one bit each (RFC 9051 §7.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ListAttributes(u16);

impl ListAttributes {
    /// None.
    pub const NONE: Self = Self(0);
    /// `\NonExistent`; implies `\Noselect`
    pub const NON_EXISTENT: Self = Self(1);
    /// `\Noselect`
    pub const NO_SELECT: Self = Self(1 << 1);
    /// `\HasChildren` (RFC 3348)
    pub const HAS_CHILDREN: Self = Self(1 << 2);
    /// `\HasNoChildren`
    pub const HAS_NO_CHILDREN: Self = Self(1 << 3);
    /// `\Subscribed`
    pub const SUBSCRIBED: Self = Self(1 << 4);
    /// `\Noinferiors`
    pub const NO_INFERIORS: Self = Self(1 << 5);
    /// `\NoAccess`: of a mailbox that may be seen and not followed (RFC 5465 §6)
    pub const NO_ACCESS: Self = Self(1 << 6);
    /// Every attribute that isn't a special use, as written.
    const NAMES: [&'static str; 7] = [
        "\\NonExistent",
        "\\Noselect",
        "\\HasChildren",
        "\\HasNoChildren",
        "\\Subscribed",
        "\\Noinferiors",
        "\\NoAccess",
    ];
    const USE_SHIFT: u16 = 8;

    /// The attribute of a special use.
    pub const fn of_use(special_use: SpecialUse) -> Self {
        Self(1 << (Self::USE_SHIFT + special_use as u16))
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        let plain = Self::NAMES.into_iter().enumerate();
        let plain = plain.filter(move |(bit, _)| self.0 & 1 << bit != 0).map(|(_, name)| name);
        let uses = SpecialUse::ALL.into_iter().filter(move |special| self.contains(Self::of_use(*special)));
        plain.chain(uses.map(SpecialUse::attribute))
    }
}

/// One mailbox of a LIST answer.
#[derive(Clone, Copy, Debug)]
pub struct ListRow<'a> {
    /// Its attributes.
    pub attributes: ListAttributes,
    /// Its name.
    pub name: &'a str,
    /// CHILDINFO ("SUBSCRIBED"): a subscribed mailbox below matches, and this doesn't itself (RFC 5258 §4).
    pub child_subscribed: bool,
    /// CHILDINFO ("SPECIAL-USE"), likewise.
    pub child_special_use: bool,
    /// OLDNAME: the name before a rename or normalisation (RFC 9051 §6.3.9.7).
    pub old_name: Option<&'a str>,
}

/// Appends LIST.
pub fn write_list(out: &mut Vec<u8>, utf8: Utf8, row: &ListRow<'_>) {
    write_name_row(out, utf8, b"* LIST (", row.attributes, row.name);
    let mut first = true;
    let mut open = |out: &mut Vec<u8>| {
        out.extend_from_slice(if first { b" (" } else { b" " });
        first = false;
    };
    if row.child_subscribed || row.child_special_use {
        open(out);
        out.extend_from_slice(match (row.child_subscribed, row.child_special_use) {
            (true, true) => b"\"CHILDINFO\" (\"SUBSCRIBED\" \"SPECIAL-USE\")",
            (true, false) => b"\"CHILDINFO\" (\"SUBSCRIBED\")".as_slice(),
            _ => b"\"CHILDINFO\" (\"SPECIAL-USE\")",
        });
    }
    if let Some(old) = row.old_name {
        open(out);
        out.extend_from_slice(b"\"OLDNAME\" (");
        write_mailbox(out, utf8, old);
        out.push(b')');
    }
    out.extend_from_slice(if first { b"\r\n" } else { b")\r\n" });
}

/// Appends LSUB (RFC 3501 §7.2.3).
pub fn write_lsub(out: &mut Vec<u8>, utf8: Utf8, attributes: ListAttributes, name: &str) {
    write_name_row(out, utf8, b"* LSUB (", attributes, name);
    out.extend_from_slice(b"\r\n");
}

/// Appends the answer to `LIST "" ""`.
pub fn write_list_separator(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* LIST (\\Noselect) \"/\" \"\"\r\n");
}

fn write_name_row(out: &mut Vec<u8>, utf8: Utf8, start: &[u8], attributes: ListAttributes, name: &str) {
    out.extend_from_slice(start);
    for (index, attribute) in attributes.names().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(attribute.as_bytes());
    }
    out.extend_from_slice(b") \"/\" ");
    write_mailbox(out, utf8, name);
}

/// The value of a STATUS item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusValue {
    /// A number.
    Number(u64),
    /// MAILBOXID (RFC 8474 §4.3).
    Id(ObjectId),
    /// NIL: an APPENDLIMIT that the mailbox doesn't have (RFC 7889 §3).
    Nil,
}

/// Appends STATUS.
pub fn write_status(
    out: &mut Vec<u8>,
    utf8: Utf8,
    mailbox: &str,
    values: impl IntoIterator<Item = (StatusItem, StatusValue)>,
) {
    out.extend_from_slice(b"* STATUS ");
    write_mailbox(out, utf8, mailbox);
    out.extend_from_slice(b" (");
    for (index, (item, value)) in values.into_iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(item.name().as_bytes());
        out.push(b' ');
        match value {
            StatusValue::Number(number) => write_number(out, number),
            StatusValue::Id(id) => {
                out.push(b'(');
                id.write(out);
                out.push(b')');
            }
            StatusValue::Nil => out.extend_from_slice(b"NIL"),
        }
    }
    out.extend_from_slice(b")\r\n");
}

/// Appends NAMESPACE: one personal namespace without prefix, and where there are any one for mailboxes of
/// other users (RFC 9051 §7.3.3).
pub fn write_namespace(out: &mut Vec<u8>, others: bool) {
    out.extend_from_slice(b"* NAMESPACE ((\"\" \"/\")) ");
    if others {
        out.extend_from_slice(b"((\"");
        out.extend_from_slice(MailboxName::OTHER_USERS.as_bytes());
        out.extend_from_slice(b"/\" \"/\")) NIL\r\n");
    } else {
        out.extend_from_slice(b"NIL NIL\r\n");
    }
}

/// Appends FLAGS: the flags that messages of the mailbox can have.
pub fn write_flags(out: &mut Vec<u8>, flags: Flags, keywords: &[Keyword]) {
    out.extend_from_slice(b"* FLAGS ");
    write_flag_list(out, flags, keywords.iter().map(Keyword::as_str));
    out.extend_from_slice(b"\r\n");
}

/// Appends EXISTS.
pub fn write_exists(out: &mut Vec<u8>, messages: u32) {
    out.extend_from_slice(b"* ");
    write_number(out, u64::from(messages));
    out.extend_from_slice(b" EXISTS\r\n");
}

/// Appends `0 RECENT`, which IMAP4rev1 demands (RFC 3501 §7.3.2).
pub fn write_recent(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* 0 RECENT\r\n");
}
