//! Values that many commands have: tags, mailbox arguments, flag lists, secrets.

use std::fmt;

use super::super::mailbox::{BadMailboxName, MailboxName};
use super::super::types::{Flags, Keyword};

/// The tag of a command: ASTRING-CHARs except `+` (RFC 9051 §9), so it can be echoed as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag(pub(super) Box<str>);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a mailbox argument names no mailbox. Answer: `NO [CANNOT]` for CREATE and RENAME, else
/// `NO [NONEXISTENT]`; never BAD, since the command itself is well-formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MailboxFault {
    /// Neither valid modified UTF-7 nor, where the client enabled it, UTF-8.
    #[error("mailbox name has a wrong encoding")]
    Encoding,
    /// Decoded, but no valid name.
    #[error(transparent)]
    Name(#[from] BadMailboxName),
}

/// A mailbox name as an argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailboxArgument {
    /// As written, decoded to UTF-8 (lossy where it wasn't valid). Differs from the name when that
    /// was normalised (RFC 9051 §6.3.9.7, OLDNAME). A trailing separator is kept here.
    pub written: Box<str>,
    /// The mailbox meant. One trailing separator is ignored (RFC 9051 §6.3.4).
    pub name: Result<MailboxName, MailboxFault>,
}

/// Flags and keywords that a client sends; keywords are unique.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FlagList {
    /// System flags.
    pub flags: Flags,
    /// Keywords in the order of their first mention.
    pub keywords: Vec<Keyword>,
}

/// A value that no log may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
