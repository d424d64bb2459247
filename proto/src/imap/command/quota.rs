//! GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208 §4.1).

use super::cursor::{Cursor, Parsed};

/// SETQUOTA, which nobody may do here: what it asks for is checked and dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetQuota;

/// Takes the name of a quota root, from the space on.
pub(super) fn quota_root(cursor: &mut Cursor<'_>) -> Parsed<Box<[u8]>> {
    cursor.space()?;
    Ok(cursor.astring_octets()?.into_owned().into())
}

impl SetQuota {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        quota_root(cursor)?;
        cursor.space()?;
        cursor.open()?;
        if cursor.take(b')') {
            return Ok(Self);
        }
        cursor.list(|cursor| {
            cursor.atom()?;
            cursor.space()?;
            cursor.number64().map(drop)
        })?;
        Ok(Self)
    }
}
