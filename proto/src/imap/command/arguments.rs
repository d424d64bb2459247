//! Values that many commands have: tags, mailbox arguments, flag lists, secrets.

use super::super::mailbox::{BadMailboxName, MailboxName};
use super::super::types::{Flags, Keyword};
use super::super::utf7;
use super::cursor::{Cursor, Parsed, is_astring_octet};
use super::{Fault, Utf8};

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

impl Tag {
    /// What stands in the tag's place while no command runs.
    pub fn untagged() -> Self {
        Self("*".into())
    }

    /// Takes a tag.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let octets = cursor.while_octets(|octet| is_astring_octet(octet) && octet != b'+');
        if octets.len() > cursor.context().limits.tag_octets_max {
            return Err(Fault::Syntax("tag is too long"));
        }
        match std::str::from_utf8(octets) {
            Ok(tag) if !tag.is_empty() => Ok(Self(tag.into())),
            _ => Err(Fault::Syntax("tag expected")),
        }
    }
}

impl MailboxArgument {
    /// Takes `mailbox`.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let octets = cursor.astring_octets()?;
        Ok(Self::decode(&octets, cursor.utf8()))
    }

    /// Takes `mailbox`, or an empty string, which means the server (RFC 5464 §4.1).
    pub(super) fn parse_or_empty(cursor: &mut Cursor<'_>) -> Parsed<Option<Self>> {
        let octets = cursor.astring_octets()?;
        Ok((!octets.is_empty()).then(|| Self::decode(&octets, cursor.utf8())))
    }

    fn decode(octets: &[u8], utf8: Utf8) -> Self {
        let Some(written) = decode_name(octets, utf8) else {
            let written = String::from_utf8_lossy(octets).into();
            return Self { written, name: Err(MailboxFault::Encoding) };
        };
        let bare = written.strip_suffix(MailboxName::SEPARATOR).unwrap_or(&written);
        let name = MailboxName::new(bare).map_err(MailboxFault::Name);
        Self { written: written.into(), name }
    }
}

/// Decodes a mailbox name or pattern as the client writes them.
pub(super) fn decode_name(octets: &[u8], utf8: Utf8) -> Option<String> {
    match utf8 {
        Utf8::Off => utf7::decode(octets),
        Utf8::Rev2 | Utf8::Accept => std::str::from_utf8(octets).ok().map(str::to_owned),
    }
}

impl FlagList {
    /// Takes `flag-list`: flags in parentheses, perhaps none.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.open()?;
        let mut list = Self::default();
        if !cursor.take(b')') {
            cursor.list(|cursor| list.take(cursor))?;
        }
        Ok(list)
    }

    /// Takes one flag and adds it.
    pub(super) fn take(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        if cursor.take(b'\\') {
            let name = cursor.atom()?;
            let flag = Flags::ALL.iter().find(|(_, known)| known[1..].eq_ignore_ascii_case(name));
            let (flag, _) = flag.ok_or(Fault::Syntax("this system flag can't be set"))?;
            self.flags = self.flags.with(*flag);
            return Ok(());
        }
        let keyword = parse_keyword(cursor)?;
        if !self.keywords.contains(&keyword) {
            if self.keywords.len() == cursor.context().limits.keywords_max {
                return Err(Fault::Limit("too many keywords"));
            }
            self.keywords.push(keyword);
        }
        Ok(())
    }
}

/// Takes `flag-keyword`.
pub(super) fn parse_keyword(cursor: &mut Cursor<'_>) -> Parsed<Keyword> {
    Keyword::new(cursor.atom()?).ok_or(Fault::Limit("keyword is too long"))
}
