//! GETMETADATA and SETMETADATA (RFC 5464 §4.2 and §4.3).

use super::super::metadata::EntryName;
use super::cursor::{Cursor, Parsed};
use super::{Fault, MailboxArgument};

/// How far below an entry GETMETADATA looks (RFC 5464 §4.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Depth {
    /// `0`: only the entry itself.
    #[default]
    Zero,
    /// `1`: also what lies immediately below it.
    One,
    /// `infinity`: also everything below it.
    Infinity,
}

/// GETMETADATA.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GetMetadata {
    /// The mailbox; none is the server.
    pub mailbox: Option<MailboxArgument>,
    /// What is asked for.
    pub entries: Vec<EntryName>,
    /// Longer values are left out (RFC 5464 §4.2.1).
    pub max_size: Option<u64>,
    /// How far to look below the entries.
    pub depth: Depth,
}

/// SETMETADATA.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetMetadata {
    /// The mailbox; none is the server.
    pub mailbox: Option<MailboxArgument>,
    /// The new values, in order; none removes.
    pub values: Vec<(EntryName, Option<Box<[u8]>>)>,
}

const BAD_NAME: Fault = Fault::Syntax("no valid entry name");

impl GetMetadata {
    /// Takes the arguments, from the space on. Options stand before the mailbox; behind it, where the
    /// standard's first examples have them, they are taken, too (RFC 5464, errata 2785 and 2786).
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let (mut max_size, mut depth) = (None, Depth::Zero);
        let before = cursor.peek() == Some(b'(');
        if before {
            take_options(cursor, &mut max_size, &mut depth)?;
            cursor.space()?;
        }
        let mailbox = MailboxArgument::parse_or_empty(cursor)?;
        cursor.space()?;
        if !before && begins_options(cursor) {
            take_options(cursor, &mut max_size, &mut depth)?;
            cursor.space()?;
        }
        Ok(Self { mailbox, entries: take_entries(cursor)?, max_size, depth })
    }
}

/// Whether options come: entries begin with a slash, or a string.
fn begins_options(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.take(b'(') && ahead.peek().is_some_and(|octet| octet.is_ascii_alphabetic())
}

/// Takes `(option ...)`.
fn take_options(cursor: &mut Cursor<'_>, max_size: &mut Option<u64>, depth: &mut Depth) -> Parsed<()> {
    cursor.open()?;
    cursor.list(|cursor| {
        let name = cursor.label()?;
        cursor.space()?;
        match name.as_str() {
            "MAXSIZE" => *max_size = Some(cursor.number64()?),
            "DEPTH" => {
                *depth = match cursor.label()?.as_str() {
                    "0" => Depth::Zero,
                    "1" => Depth::One,
                    "INFINITY" => Depth::Infinity,
                    _ => return Err(Fault::Syntax("0, 1 or infinity expected")),
                }
            }
            _ => return Err(Fault::Syntax("unknown GETMETADATA option")),
        }
        Ok(())
    })
}

/// Takes `entries`: one, or several in parentheses.
pub(super) fn take_entries(cursor: &mut Cursor<'_>) -> Parsed<Vec<EntryName>> {
    let mut entries = Vec::new();
    if !cursor.take(b'(') {
        entries.push(take_entry(cursor)?);
        return Ok(entries);
    }
    cursor.list(|cursor| {
        if entries.len() == cursor.context().limits.metadata_entries_max {
            return Err(Fault::Limit("too many entries"));
        }
        let entry = take_entry(cursor)?;
        if !entries.contains(&entry) {
            entries.push(entry);
        }
        Ok(())
    })?;
    Ok(entries)
}

fn take_entry(cursor: &mut Cursor<'_>) -> Parsed<EntryName> {
    EntryName::new(&cursor.astring_octets()?).ok_or(BAD_NAME)
}

impl SetMetadata {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let mailbox = MailboxArgument::parse_or_empty(cursor)?;
        cursor.space()?;
        cursor.open()?;
        let mut values = Vec::new();
        cursor.list(|cursor| {
            if values.len() == cursor.context().limits.metadata_entries_max {
                return Err(Fault::Limit("too many entries"));
            }
            let entry = take_entry(cursor)?;
            if !entry.may_have_value() {
                return Err(BAD_NAME);
            }
            cursor.space()?;
            let value = cursor.nstring8()?;
            values.push((entry, value.map(|value| value.into_owned().into())));
            Ok(())
        })?;
        Ok(Self { mailbox, values })
    }
}
