//! CREATE, RENAME, STATUS (RFC 9051 §6.3, RFC 6154, RFC 8438, RFC 7889, RFC 7162 §3.1.7,
//! RFC 8474 §4).

use super::cursor::{Cursor, Parsed};
use super::{Fault, MailboxArgument};

/// CREATE (RFC 9051 §6.3.4) with USE (RFC 6154 §3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Create {
    /// The mailbox.
    pub mailbox: MailboxArgument,
    /// Its special uses, each once.
    pub uses: Vec<SpecialUse>,
}

/// RENAME (RFC 9051 §6.3.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rename {
    /// The present name.
    pub from: MailboxArgument,
    /// The new name.
    pub to: MailboxArgument,
}

/// What a mailbox is for (RFC 6154 §2) and that can be given to one here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SpecialUse {
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// All, in the order in which they are written.
    pub const ALL: [Self; 5] = [Self::Archive, Self::Drafts, Self::Junk, Self::Sent, Self::Trash];

    /// The attribute as written.
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }
}

/// STATUS (RFC 9051 §6.3.11).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The mailbox.
    pub mailbox: MailboxArgument,
    /// What is asked; never empty.
    pub items: StatusItems,
}

/// One thing that STATUS tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusItem {
    /// Number of messages.
    Messages,
    /// Number of recent messages, always 0 (RFC 3501 §6.3.10).
    Recent,
    /// The next uid.
    UidNext,
    /// The uid validity.
    UidValidity,
    /// Number of messages without `\Seen`.
    Unseen,
    /// Number of messages with `\Deleted` (RFC 9051).
    Deleted,
    /// Octets of all messages (RFC 8438).
    Size,
    /// The highest modification sequence (RFC 7162 §3.1.7).
    HighestModSeq,
    /// The largest message that APPEND takes (RFC 7889).
    AppendLimit,
    /// Octets of the messages with `\Deleted` (RFC 9208 §4.1.4).
    DeletedStorage,
    /// The mailbox's identifier (RFC 8474).
    MailboxId,
}

impl StatusItem {
    /// All, in the order in which they are written.
    pub const ALL: [Self; 11] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Deleted,
        Self::Size,
        Self::HighestModSeq,
        Self::AppendLimit,
        Self::DeletedStorage,
        Self::MailboxId,
    ];

    /// The name as written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Deleted => "DELETED",
            Self::Size => "SIZE",
            Self::HighestModSeq => "HIGHESTMODSEQ",
            Self::AppendLimit => "APPENDLIMIT",
            Self::DeletedStorage => "DELETED-STORAGE",
            Self::MailboxId => "MAILBOXID",
        }
    }
}

/// A set of [`StatusItem`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatusItems(u32);

impl StatusItems {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// These and `item`.
    #[must_use]
    pub const fn with(self, item: StatusItem) -> Self {
        Self(self.0 | 1 << item as u32)
    }

    /// Whether `item` is asked.
    pub const fn contains(self, item: StatusItem) -> bool {
        self.0 & 1 << item as u32 != 0
    }

    /// Whether nothing is asked.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The items, in the order in which they are written.
    pub fn iter(self) -> impl Iterator<Item = StatusItem> {
        StatusItem::ALL.into_iter().filter(move |item| self.contains(*item))
    }
}

impl Create {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let mailbox = MailboxArgument::parse(cursor)?;
        let mut uses = Vec::new();
        if cursor.take(b' ') {
            cursor.open()?;
            cursor.list(|cursor| match cursor.label()?.as_str() {
                "USE" => {
                    cursor.space()?;
                    take_uses(cursor, &mut uses)
                }
                _ => Err(Fault::Syntax("unknown CREATE parameter")),
            })?;
        }
        Ok(Self { mailbox, uses })
    }
}

/// Takes `(use ...)`, perhaps empty (RFC 6154 §6).
fn take_uses(cursor: &mut Cursor<'_>, uses: &mut Vec<SpecialUse>) -> Parsed<()> {
    cursor.open()?;
    if cursor.take(b')') {
        return Ok(());
    }
    cursor.list(|cursor| {
        cursor.expect(b'\\', "\\ expected")?;
        let name = cursor.atom()?;
        let known = SpecialUse::ALL.into_iter().find(|u| u.attribute()[1..].eq_ignore_ascii_case(name));
        let known = known.ok_or(Fault::SpecialUse)?;
        if !uses.contains(&known) {
            uses.push(known);
        }
        Ok(())
    })
}

impl Rename {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let from = MailboxArgument::parse(cursor)?;
        cursor.space()?;
        Ok(Self { from, to: MailboxArgument::parse(cursor)? })
    }
}

impl Status {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let mailbox = MailboxArgument::parse(cursor)?;
        cursor.space()?;
        Ok(Self { mailbox, items: StatusItems::parse(cursor)? })
    }
}

impl StatusItems {
    /// Takes `(item ...)`.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut items = Self::NONE;
        cursor.open()?;
        cursor.list(|cursor| {
            let name = cursor.label()?;
            let item = StatusItem::ALL.into_iter().find(|item| item.name() == name.as_str());
            items = items.with(item.ok_or(Fault::Syntax("unknown STATUS item"))?);
            Ok(())
        })?;
        Ok(items)
    }
}
