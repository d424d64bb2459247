//! The TXT record that says that there is a policy, and which version of it (RFC 8461 §3.1).

/// Octets of the name of a field.
const NAME_OCTETS_MAX: usize = 32;
/// Octets of an id.
const ID_OCTETS_MAX: usize = 32;

/// Why a record isn't one that can be used: the domain counts as one without a policy then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Over [`Record::OCTETS_MAX`].
    #[error("the record is over {max} octets", max = Record::OCTETS_MAX)]
    TooLong,
    /// Something between semicolons that is no field.
    #[error("not name=value between semicolons")]
    Field,
    /// No `id`.
    #[error("the record has no id")]
    NoId,
    /// An `id` that isn't 1 to 32 letters and digits.
    #[error("the id is not 1 to 32 letters and digits")]
    Id,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which version of the policy there is: letters and digits without an order.
    pub id: Box<str>,
}

impl Record {
    /// The longest record that is read.
    pub const OCTETS_MAX: usize = 4096;

    /// Whether the text of a TXT record is one: it begins with `v=STSv1;`, blanks allowed before the semicolon, as the
    /// grammar has it. All others are discarded.
    #[must_use]
    pub fn is_one(text: &[u8]) -> bool {
        after_version(text).is_some()
    }

    /// Parses the strings of a TXT record, put together without anything between them, for which [`Record::is_one`]
    /// holds. Of a field that stands there twice the first counts.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        if text.len() > Self::OCTETS_MAX {
            return Err(RecordError::TooLong);
        }
        let mut id = None;
        let mut fields =
            after_version(text).ok_or(RecordError::Field)?.split(|octet| *octet == b';').peekable();
        while let Some(field) = fields.next() {
            let field = trim_blanks(field);
            // A semicolon at the end is no field, but there is at least one.
            if field.is_empty() && fields.peek().is_none() {
                break;
            }
            let (name, value) = split(field).ok_or(RecordError::Field)?;
            if name == b"id" && id.is_none() {
                id = Some(value);
            }
        }
        let id = id.ok_or(RecordError::NoId)?;
        let is_valid = id.len() <= ID_OCTETS_MAX && id.iter().all(u8::is_ascii_alphanumeric);
        if !is_valid {
            return Err(RecordError::Id);
        }
        Ok(Self { id: String::from_utf8_lossy(id).into() })
    }
}

/// What follows the version and its semicolon.
fn after_version(text: &[u8]) -> Option<&[u8]> {
    trim_blanks(text.strip_prefix(b"v=STSv1")?).strip_prefix(b";")
}

fn trim_blanks(text: &[u8]) -> &[u8] {
    let is_blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    let start = text.iter().position(|octet| !is_blank(octet)).unwrap_or(text.len());
    let end = text.iter().rposition(|octet| !is_blank(octet)).map_or(start, |at| at + 1);
    &text[start..end]
}

/// Splits `name "=" value`, known or not.
fn split(field: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = field.iter().position(|octet| *octet == b'=')?;
    let (name, value) = (&field[..at], &field[at + 1..]);
    let may_stand = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.');
    let is_name = name.len() <= NAME_OCTETS_MAX
        && name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(may_stand);
    let is_value = !value.is_empty()
        && value.iter().all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'=' | b';'));
    (is_name && is_value).then_some((name, value))
}
