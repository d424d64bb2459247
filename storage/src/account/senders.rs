//! Whose mail an account has had before: so that only the first message of a stranger has to wait.

use super::Tx;
use crate::ids::AccountId;
use crate::keys;
use crate::reader::Reader;
use crate::rows::SendersRow;
use crate::store::StoreError;

/// Days for which a sender is remembered.
pub const SENDER_DAYS: u32 = 400;

/// The day of a time in seconds since 1970.
pub(super) fn day(now: i64) -> u32 {
    u32::try_from(now.div_euclid(24 * 60 * 60)).unwrap_or(0)
}

/// Whether an account has had mail of a sender in the last [`SENDER_DAYS`] days.
pub fn knows_sender(reader: &Reader, account: AccountId, sender: u64, now: i64) -> Result<bool, StoreError> {
    let Some(row) = reader.get(&keys::senders(account, SendersRow::bucket(sender)))? else {
        return Ok(false);
    };
    let last = SendersRow::decode(&row)?.day(sender);
    Ok(last.is_some_and(|last| last.saturating_add(SENDER_DAYS) >= day(now)))
}

impl Tx<'_, '_> {
    /// Notes that mail of a sender came. Writes once a day at most for each, and only together with what
    /// the transaction does otherwise.
    pub fn note_sender(&mut self, sender: u64) -> Result<(), StoreError> {
        let key = keys::senders(self.account(), SendersRow::bucket(sender));
        let mut row = self.get(&key)?.map(|row| SendersRow::decode(&row)).transpose()?.unwrap_or_default();
        let today = day(self.now());
        if row.day(sender).is_some_and(|last| last >= today) {
            return Ok(());
        }
        row.forget_before(today.saturating_sub(SENDER_DAYS));
        row.note(sender, today);
        self.insert(key, row.encode());
        Ok(())
    }
}
