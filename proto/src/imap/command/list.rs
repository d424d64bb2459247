//! LIST and LSUB (RFC 9051 §6.3.9, RFC 3501 §6.3.9, RFC 5258, RFC 5819, RFC 6154 §2, RFC 8440, RFC 9590).

use super::super::metadata::EntryName;
use super::super::pattern::Pattern;
use super::arguments::decode_name;
use super::cursor::{Cursor, Parsed, is_astring_octet};
use super::metadata::take_entries;
use super::{Fault, StatusItems};

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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListReturn {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// CHILDREN
    pub children: bool,
    /// SPECIAL-USE
    pub special_use: bool,
    /// MYRIGHTS (RFC 8440)
    pub my_rights: bool,
    /// STATUS (RFC 5819); empty when not asked.
    pub status: StatusItems,
    /// METADATA (RFC 9590): these annotations; empty when not asked.
    pub metadata: Vec<EntryName>,
}

/// LSUB (RFC 3501 §6.3.9).
#[derive(Clone, Debug)]
pub struct Lsub {
    /// What to match, the reference put before it.
    pub pattern: Pattern,
}

impl List {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let mut select = ListSelect::default();
        let plain = cursor.peek() != Some(b'(');
        if !plain {
            select = ListSelect::parse(cursor)?;
            cursor.space()?;
        }
        let reference = cursor.astring_octets()?.into_owned();
        cursor.space()?;
        let mut patterns = Vec::new();
        let mut asks_separator = false;
        if cursor.take(b'(') {
            cursor.list(|cursor| {
                if patterns.len() == cursor.context().limits.list_patterns_max {
                    return Err(Fault::Limit("too many patterns"));
                }
                let text = list_mailbox(cursor)?;
                patterns.push(pattern(cursor, &reference, &text)?);
                Ok(())
            })?;
        } else {
            let text = list_mailbox(cursor)?;
            asks_separator = plain && text.is_empty();
            patterns.push(pattern(cursor, &reference, &text)?);
        }
        let mut returns = ListReturn::default();
        if cursor.take(b' ') {
            if cursor.label()?.as_str() != "RETURN" {
                return Err(Fault::Syntax("RETURN expected"));
            }
            cursor.space()?;
            returns = ListReturn::parse(cursor)?;
        }
        Ok(Self { patterns, select, returns, asks_separator })
    }
}

impl ListSelect {
    /// Takes `(option ...)`, perhaps empty.
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut select = Self::default();
        cursor.open()?;
        if cursor.take(b')') {
            return Ok(select);
        }
        cursor.list(|cursor| {
            match cursor.label()?.as_str() {
                "SUBSCRIBED" => select.subscribed = true,
                "REMOTE" => select.remote = true,
                "RECURSIVEMATCH" => select.recursive_match = true,
                "SPECIAL-USE" => select.special_use = true,
                _ => return Err(Fault::Syntax("unknown selection option")),
            }
            Ok(())
        })?;
        // RFC 5258 §3.1: it modifies an option, so it needs one.
        if select.recursive_match && !select.subscribed && !select.special_use {
            return Err(Fault::Syntax("RECURSIVEMATCH needs SUBSCRIBED or SPECIAL-USE"));
        }
        Ok(select)
    }
}

impl ListReturn {
    /// Takes `(option ...)`, perhaps empty.
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut returns = Self::default();
        cursor.open()?;
        if cursor.take(b')') {
            return Ok(returns);
        }
        cursor.list(|cursor| {
            match cursor.label()?.as_str() {
                "SUBSCRIBED" => returns.subscribed = true,
                "CHILDREN" => returns.children = true,
                "SPECIAL-USE" => returns.special_use = true,
                "MYRIGHTS" => returns.my_rights = true,
                "STATUS" => {
                    cursor.space()?;
                    returns.status = StatusItems::parse(cursor)?;
                }
                "METADATA" => {
                    cursor.space()?;
                    returns.metadata = take_entries(cursor)?;
                }
                _ => return Err(Fault::Syntax("unknown return option")),
            }
            Ok(())
        })?;
        Ok(returns)
    }
}

impl Lsub {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let reference = cursor.astring_octets()?.into_owned();
        cursor.space()?;
        let text = list_mailbox(cursor)?;
        Ok(Self { pattern: pattern(cursor, &reference, &text)? })
    }
}

/// Takes `list-mailbox`: a string, or an atom that may hold wildcards.
fn list_mailbox(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    match cursor.peek() {
        Some(b'"' | b'{') => Ok(cursor.astring_octets()?.into_owned()),
        _ => match cursor.while_octets(|octet| is_astring_octet(octet) || matches!(octet, b'%' | b'*')) {
            [] => Err(Fault::Syntax("pattern expected")),
            text => Ok(text.to_vec()),
        },
    }
}

/// Puts the reference before the pattern (RFC 9051 §6.3.9) and decodes both. Where that can't be
/// decoded no name is meant: the pattern is one that matches none.
fn pattern(cursor: &Cursor<'_>, reference: &[u8], text: &[u8]) -> Parsed<Pattern> {
    let joined = [reference, text].concat();
    let decoded = decode_name(&joined, cursor.utf8()).unwrap_or_default();
    Pattern::new(&decoded).ok_or(Fault::TooBig("pattern is too long"))
}
