//! LIST and LSUB (RFC 9051 §6.3.9, RFC 3501 §6.3.9, RFC 5258, RFC 5819, RFC 6154 §2).

use super::super::pattern::Pattern;
use super::StatusItems;

/// LIST, in its plain or its extended form (RFC 5258).
#[derive(Clone, Debug)]
pub struct List {
    /// What to match, the reference put before each. Empty text in the plain form asks for the
    /// hierarchy separator: see [`List::asks_separator`].
    pub patterns: Vec<Pattern>,
    /// Which mailboxes.
    pub select: ListSelect,
    /// What to tell of them.
    pub returns: ListReturn,
    /// `LIST reference ""`: answer only `LIST (\Noselect) "/" ""` (RFC 9051 §6.3.9).
    pub asks_separator: bool,
}

/// Selection options (RFC 5258 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListSelect {
    /// SUBSCRIBED: the subscribed names, also those that don't exist.
    pub subscribed: bool,
    /// REMOTE: no effect here.
    pub remote: bool,
    /// RECURSIVEMATCH: also parents of matches; with SUBSCRIBED or SPECIAL-USE only.
    pub recursive_match: bool,
    /// SPECIAL-USE: mailboxes with a special use (RFC 6154 §2).
    pub special_use: bool,
}

/// Return options (RFC 5258 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListReturn {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// CHILDREN
    pub children: bool,
    /// SPECIAL-USE
    pub special_use: bool,
    /// STATUS (RFC 5819); empty when not asked.
    pub status: StatusItems,
}

/// LSUB (RFC 3501 §6.3.9).
#[derive(Clone, Debug)]
pub struct Lsub {
    /// What to match, the reference put before it.
    pub pattern: Pattern,
}
