//! How much an account sent in the last 24 hours, and to whom it sent before (product 2.4).
//!
//! What one submission sends is a row with its time, in the batch that puts the message into the queue; so what is counted is
//! what was accepted, after a crash as well. Rows older than the window go, and those of one hour become one, so an account has
//! few.

use std::collections::BTreeMap;

use super::senders::{SENDER_DAYS, day};
use crate::engine::{Batch, Space};
use crate::ids::{AccountId, QueueId};
use crate::keys::{self, table};
use crate::reader::Reader;
use crate::rows::{OutgoingRow, SendersRow};
use crate::store::StoreError;

/// The seconds that are looked back.
pub const SENT_WINDOW: i64 = 24 * 60 * 60;
/// The seconds that become one row.
const FOLDED: i64 = 60 * 60;

/// To how many an account sent at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// When, in seconds since 1970.
    pub time: i64,
    /// To how many.
    pub row: OutgoingRow,
}

/// What an account sent in the [`SENT_WINDOW`] before `now`, in the order of time.
pub fn sent(
    reader: &Reader,
    account: AccountId,
    now: i64,
) -> impl Iterator<Item = Result<Sent, StoreError>> + '_ {
    let from = keys::outgoing(account, now.saturating_sub(SENT_WINDOW - 1), QueueId(0));
    reader.from(&from, &keys::of_table(account.get(), table::OUTGOING)).map(|row| {
        let (key, value) = row?;
        Ok(Sent { time: keys::outgoing_parts(&key)?.0, row: OutgoingRow::decode(&value)? })
    })
}

/// The sum of what an account sent in the window before `now`: recipients, and those of them to whom it never sent before.
pub fn sent_in_window(reader: &Reader, account: AccountId, now: i64) -> Result<(u64, u64), StoreError> {
    sent(reader, account, now).try_fold((0, 0), |(recipients, first_time), sent| {
        let OutgoingRow { recipients: more, first_time: more_first } = sent?.row;
        Ok((recipients + u64::from(more), first_time + u64::from(more_first)))
    })
}

/// Adds to a batch that an account sent to so many with a submission whose first entry is `id`.
pub fn note_sent(batch: &mut Batch, account: AccountId, id: QueueId, sent: Sent) {
    batch.insert(Space::Rows, keys::outgoing(account, sent.time, id), sent.row.encode());
}

/// The recipient of these 64 bits; case is nothing that makes another one.
pub fn recipient_hash(address: &str) -> u64 {
    super::hash(address.to_lowercase().as_bytes())
}

/// Adds to a batch that an account sent to these recipients, and says to how many it never did before, or not for
/// [`SENDER_DAYS`] days. Whoever notes at the same time may undo this for a recipient in the same bucket, who then is new
/// once more.
pub fn note_recipients(
    reader: &Reader,
    batch: &mut Batch,
    account: AccountId,
    recipients: &[u64],
    now: i64,
) -> Result<u32, StoreError> {
    let mut buckets: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for hash in recipients {
        buckets.entry(SendersRow::bucket(*hash)).or_default().push(*hash);
    }
    let (today, mut first_time) = (day(now), 0);
    for (bucket, mut hashes) in buckets {
        hashes.sort_unstable();
        hashes.dedup();
        let key = keys::recipients(account, bucket);
        let row = reader.get(&key)?.map(|row| SendersRow::decode(&row)).transpose()?;
        let mut row = row.unwrap_or_default();
        row.forget_before(today.saturating_sub(SENDER_DAYS));
        let mut is_changed = false;
        for hash in hashes {
            let last = row.day(hash);
            first_time += u32::from(last.is_none());
            if last.is_none_or(|last| last < today) {
                row.note(hash, today);
                is_changed = true;
            }
        }
        if is_changed {
            batch.insert(Space::Rows, key, row.encode());
        }
    }
    Ok(first_time)
}

/// The batch that removes what an account sent before the window, and makes one row of those of each hour that is over, with
/// the time of its last; it looks at most at `rows_max` rows. The second value says whether there may be more to do.
pub fn fold_sent(
    reader: &Reader,
    account: AccountId,
    now: i64,
    rows_max: usize,
) -> Result<(Batch, bool), StoreError> {
    let mut batch = Batch::new();
    // Later ones may still be on their way to the disk.
    let (begins, ends) = (now.saturating_sub(SENT_WINDOW), now.saturating_sub(FOLDED));
    let mut hour: Option<(keys::Key, i64, OutgoingRow)> = None;
    let mut looked = 0;
    for row in reader.prefix(&keys::of_table(account.get(), table::OUTGOING)) {
        let (key, value) = row?;
        let (time, row) = (keys::outgoing_parts(&key)?.0, OutgoingRow::decode(&value)?);
        if time > ends || looked == rows_max {
            break;
        }
        looked += 1;
        if time <= begins {
            batch.remove(Space::Rows, key.to_vec());
            continue;
        }
        match &mut hour {
            Some((last, of, sum)) if of.div_euclid(FOLDED) == time.div_euclid(FOLDED) => {
                batch.remove(Space::Rows, std::mem::replace(last, key.to_vec()));
                sum.recipients = sum.recipients.saturating_add(row.recipients);
                sum.first_time = sum.first_time.saturating_add(row.first_time);
                batch.insert(Space::Rows, key.to_vec(), sum.encode());
            }
            _ => hour = Some((key.to_vec(), time, row)),
        }
    }
    Ok((batch, looked == rows_max))
}
