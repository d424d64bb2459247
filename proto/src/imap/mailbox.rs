//! Mailbox names (RFC 9051 §5.1): UTF-8 in Net-Unicode form, hierarchy separator `/`.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// Why a text is no mailbox name here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadMailboxName {
    /// Nothing, or nothing between two separators or at an end.
    #[error("mailbox name has an empty part")]
    EmptyPart,
    /// A part `.` or `..`: exports would leave their directory.
    #[error("mailbox name has a part . or ..")]
    DotPart,
    /// Starts with `#`, which RFC 9051 §5.1.2 keeps for namespaces.
    #[error("mailbox name starts with #")]
    Namespace,
    /// A control character or a line or paragraph separator (RFC 9051 §5.1).
    #[error("mailbox name has a control character")]
    Control,
    /// Longer than [`MailboxName::OCTETS_MAX`].
    #[error("mailbox name is too long")]
    TooLong,
    /// More than [`MailboxName::DEPTH_MAX`] parts.
    #[error("mailbox name has too many parts")]
    TooDeep,
}

/// The name of a mailbox: not empty, parts separated by `/`, in normal form C, with `Inbox` spelled
/// so in whatever case it came (RFC 9051 §5.1; also as the parent of others).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MailboxName(Box<str>);

impl MailboxName {
    /// The longest name, in octets of UTF-8.
    pub const OCTETS_MAX: usize = 512;
    /// The most parts.
    pub const DEPTH_MAX: usize = 20;
    /// The hierarchy separator.
    pub const SEPARATOR: char = '/';
    /// Where mailboxes of other users are: below this, the owner's account and then its name there
    /// (RFC 2342). No mailbox of an account has such a name.
    pub const OTHER_USERS: &'static str = "Other Users";
    /// The name that every account has.
    pub const INBOX: &'static str = "Inbox";

    /// Parses and normalises `text`.
    pub fn new(text: &str) -> Result<Self, BadMailboxName> {
        if text.len() > Self::OCTETS_MAX {
            return Err(BadMailboxName::TooLong);
        }
        let mut name: String = text.nfc().collect();
        if name.len() > Self::OCTETS_MAX {
            return Err(BadMailboxName::TooLong);
        }
        if name.starts_with('#') {
            return Err(BadMailboxName::Namespace);
        }
        if name.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return Err(BadMailboxName::Control);
        }
        if name.split(Self::SEPARATOR).any(str::is_empty) {
            return Err(BadMailboxName::EmptyPart);
        }
        if name.split(Self::SEPARATOR).any(|part| part == "." || part == "..") {
            return Err(BadMailboxName::DotPart);
        }
        if name.split(Self::SEPARATOR).count() > Self::DEPTH_MAX {
            return Err(BadMailboxName::TooDeep);
        }
        let first = name.split(Self::SEPARATOR).next().map_or(0, str::len);
        if name.get(..first).is_some_and(|part| part.eq_ignore_ascii_case(Self::INBOX)) {
            name.replace_range(..first, Self::INBOX);
        }
        Ok(Self(name.into()))
    }

    /// The mailbox that every account has.
    pub fn inbox() -> Self {
        Self(Self::INBOX.into())
    }

    /// Whether this is the inbox itself.
    pub fn is_inbox(&self) -> bool {
        &*self.0 == Self::INBOX
    }

    /// Whether this is a name of another user's mailbox, or one above such.
    pub fn is_of_others(&self) -> bool {
        self.0.split(Self::SEPARATOR).next() == Some(Self::OTHER_USERS)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The mailbox one level up; none at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once(Self::SEPARATOR).map(|(parent, _)| Self(parent.into()))
    }

    /// Whether this lies below `other`, at any depth.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with(Self::SEPARATOR))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_has_one_spelling_also_as_parent() {
        assert!(MailboxName::new("iNbOX").is_ok_and(|name| name.is_inbox()));
        assert_eq!(MailboxName::new("INBOX/x").map(|n| n.to_string()), Ok("Inbox/x".into()));
        assert_eq!(MailboxName::new("Inboxes").map(|n| n.to_string()), Ok("Inboxes".into()));
    }

    #[test]
    fn names_that_would_hurt_are_refused() {
        for (text, why) in [
            ("", BadMailboxName::EmptyPart),
            ("/a", BadMailboxName::EmptyPart),
            ("a//b", BadMailboxName::EmptyPart),
            ("a/", BadMailboxName::EmptyPart),
            ("a/../b", BadMailboxName::DotPart),
            ("#news", BadMailboxName::Namespace),
            ("a\u{7f}", BadMailboxName::Control),
            ("a\u{2028}", BadMailboxName::Control),
        ] {
            assert_eq!(MailboxName::new(text), Err(why), "{text:?}");
        }
        assert!(MailboxName::new(&"a".repeat(MailboxName::OCTETS_MAX)).is_ok());
        assert!(MailboxName::new(&"a".repeat(MailboxName::OCTETS_MAX + 1)).is_err());
        assert!(MailboxName::new(&vec!["a"; MailboxName::DEPTH_MAX].join("/")).is_ok());
        assert!(MailboxName::new(&vec!["a"; MailboxName::DEPTH_MAX + 1].join("/")).is_err());
    }

    #[test]
    fn the_first_part_says_that_a_mailbox_is_of_others() {
        for (text, is) in [
            ("Other Users", true),
            ("Other Users/x/y", true),
            ("Other Usersx", false),
            ("x/Other Users", false),
        ] {
            assert_eq!(MailboxName::new(text).map(|name| name.is_of_others()), Ok(is), "{text}");
        }
    }

    #[test]
    fn below_means_a_whole_part() {
        let (a, ab, b) = ("a", "a/b", "ab");
        let name = |text| MailboxName::new(text).unwrap_or_else(|_| MailboxName::inbox());
        assert!(name(ab).is_below(&name(a)));
        assert!(!name(b).is_below(&name(a)));
        assert!(!name(a).is_below(&name(a)));
        assert_eq!(name(ab).parent(), Some(name(a)));
    }
}
