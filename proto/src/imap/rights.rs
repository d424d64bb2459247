//! Rights of access control lists (RFC 4314 §2): a set, and how it is written and read.
//!
//! The obsolete rights `c` and `d` (§2.1.1) stand for `kx` and `te`: they are read as those, and written
//! beside any of them. Digits, which the standard leaves to servers, mean nothing here.

use std::fmt;

/// A set of rights, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rights(u16);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);
    /// `l`: the mailbox is seen.
    pub const LOOKUP: Self = Self(1);
    /// `r`: SELECT, STATUS.
    pub const READ: Self = Self(1 << 1);
    /// `s`: change `\Seen`.
    pub const SEEN: Self = Self(1 << 2);
    /// `w`: change flags other than `\Seen` and `\Deleted`.
    pub const WRITE: Self = Self(1 << 3);
    /// `i`: add messages.
    pub const INSERT: Self = Self(1 << 4);
    /// `p`: send mail to the mailbox; IMAP does nothing with it.
    pub const POST: Self = Self(1 << 5);
    /// `k`: make mailboxes below it.
    pub const CREATE: Self = Self(1 << 6);
    /// `x`: delete or rename the mailbox.
    pub const DELETE_MAILBOX: Self = Self(1 << 7);
    /// `t`: change `\Deleted`.
    pub const DELETE: Self = Self(1 << 8);
    /// `e`: remove messages.
    pub const EXPUNGE: Self = Self(1 << 9);
    /// `a`: see and change the access control list.
    pub const ADMINISTER: Self = Self(1 << 10);
    /// Every right.
    pub const ALL: Self = Self(0x7ff);
    /// What an owner always has: enough to see the mailbox, and to give the others back.
    pub const OF_OWNER: Self = Self(Self::LOOKUP.0 | Self::ADMINISTER.0);
    /// Of these one at least is needed to ask for the own rights (RFC 4314 §4, MYRIGHTS).
    pub const VISIBLE: Self = Self(
        Self::LOOKUP.0
            | Self::READ.0
            | Self::INSERT.0
            | Self::CREATE.0
            | Self::DELETE_MAILBOX.0
            | Self::ADMINISTER.0,
    );
    /// With none of these a selected mailbox is told to be read-only (RFC 4314 §5.2): flags are shared here.
    pub const CHANGING: Self =
        Self(Self::INSERT.0 | Self::EXPUNGE.0 | Self::SEEN.0 | Self::WRITE.0 | Self::DELETE.0);
    /// Each right with its letter, in the order in which they are written, `a` last.
    const LETTERS: [(Self, char); 11] = [
        (Self::LOOKUP, 'l'),
        (Self::READ, 'r'),
        (Self::SEEN, 's'),
        (Self::WRITE, 'w'),
        (Self::INSERT, 'i'),
        (Self::POST, 'p'),
        (Self::CREATE, 'k'),
        (Self::DELETE_MAILBOX, 'x'),
        (Self::DELETE, 't'),
        (Self::EXPUNGE, 'e'),
        (Self::ADMINISTER, 'a'),
    ];
    /// `c`
    const OLD_CREATE: Self = Self(Self::CREATE.0 | Self::DELETE_MAILBOX.0);
    /// `d`
    const OLD_DELETE: Self = Self(Self::DELETE.0 | Self::EXPUNGE.0);

    /// The rights of stored bits; none when one of them is no right.
    pub const fn from_bits(bits: u16) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// The bits as stored.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of `other` are here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is here.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is no right.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These except `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Reads letters in any order; none when one of them is no right. Upper case is none (RFC 4314 §2).
    pub fn parse(letters: &str) -> Option<Self> {
        letters.chars().try_fold(Self::NONE, |all, letter| {
            let right = match letter {
                'c' => Self::OLD_CREATE,
                'd' => Self::OLD_DELETE,
                letter => Self::LETTERS.iter().find(|(_, known)| *known == letter)?.0,
            };
            Some(all.with(right))
        })
    }

    /// The rights one by one.
    pub fn iter(self) -> impl Iterator<Item = Self> {
        Self::LETTERS.into_iter().map(|(right, _)| right).filter(move |right| self.contains(*right))
    }

    /// Each of these as LISTRIGHTS tells what can be granted: no right is tied to another, and those that
    /// stand for several stand alone (RFC 4314 §2.1.1).
    pub fn grantable(self) -> impl Iterator<Item = char> {
        let old = [(Self::OLD_CREATE, 'c'), (Self::OLD_DELETE, 'd')];
        Self::LETTERS
            .into_iter()
            .chain(old)
            .filter(move |(right, _)| self.intersects(*right))
            .map(|(_, letter)| letter)
    }
}

impl fmt::Display for Rights {
    /// As ACL and MYRIGHTS tell them, with `c` and `d` (RFC 4314 §2.1.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for (right, letter) in Self::LETTERS {
            if right == Self::ADMINISTER {
                if self.intersects(Self::OLD_CREATE) {
                    f.write_char('c')?;
                }
                if self.intersects(Self::OLD_DELETE) {
                    f.write_char('d')?;
                }
            }
            if self.contains(right) {
                f.write_char(letter)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_rights_stand_for_two_and_are_told_beside_either() {
        let told = |letters| Rights::parse(letters).map(|rights| rights.to_string());
        assert_eq!(told("lrswida").as_deref(), Some("lrswiteda"));
        assert_eq!(told("lrswikda").as_deref(), Some("lrswiktecda"));
        assert_eq!(told("c").as_deref(), Some("kxc"));
        assert_eq!(told("t").as_deref(), Some("td"));
        assert_eq!(told("x").as_deref(), Some("xc"));
        assert_eq!(told("").as_deref(), Some(""));
        assert_eq!(Rights::ALL.to_string(), "lrswipkxtecda");
        // What is told may come back.
        assert_eq!(Rights::parse("lrswipkxtecda"), Some(Rights::ALL));
        assert_eq!(Rights::parse("alrspwikxtel"), Some(Rights::ALL));
    }

    #[test]
    fn other_letters_are_no_rights() {
        for bad in ["q", "L", "lQ", "0", "l r", "l\u{e9}", "+l"] {
            assert_eq!(Rights::parse(bad), None, "{bad}");
        }
        assert_eq!(Rights::from_bits(0x7ff), Some(Rights::ALL));
        assert_eq!(Rights::from_bits(0x800), None);
    }

    #[test]
    fn what_can_be_granted_is_listed_once_each() {
        assert_eq!(Rights::ALL.grantable().collect::<String>(), "lrswipkxteacd");
        assert_eq!(Rights::ALL.without(Rights::OF_OWNER).grantable().collect::<String>(), "rswipkxtecd");
        assert_eq!(Rights::ALL.iter().count(), 11);
    }
}
