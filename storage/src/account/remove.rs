//! Removing all rows of an account that the directory has removed.

use super::unshare;
use crate::engine::{Batch, Space};
use crate::ids::{AccountId, EmailId};
use crate::keys::{self, table};
use crate::reader::Reader;
use crate::rows::{EmailRow, MARK};
use crate::store::StoreError;

/// One step of removing an account's rows.
#[derive(Debug)]
#[must_use = "the batch is to be committed"]
pub struct Removal {
    /// The writes; they need not be synced.
    pub batch: Batch,
    /// Whether to go on, with a reader that shows this batch committed.
    pub more: bool,
}

/// Removes the first `rows_max` rows of an account; with the last of them, the directory's to-do row.
/// Nobody may have the account loaded any more. Its contents are left to the collector.
pub fn remove_account(reader: &Reader, account: AccountId, rows_max: usize) -> Result<Removal, StoreError> {
    let mut batch = Batch::new();
    let own = keys::owner(account.get());
    let mut rows = 0;
    let queue = [keys::suppressions(account), keys::strikes_of(account)];
    let listed = [[own, keys::erases(account), keys::drops(account)].as_slice(), &queue].concat();
    for row in listed.iter().flat_map(|prefix| reader.prefix(prefix)).take(rows_max) {
        let (key, value) = row?;
        rows += 1;
        let (owner, number, _) = keys::split(&key)?;
        if owner == account.get() && number == table::EMAIL {
            let [email] = keys::numbers(&key, [8])?;
            let blob = EmailRow::decode(&value)?.blob;
            batch.remove(Space::Rows, keys::blob_ref(blob, owner, EmailId(email).0));
            batch.insert(Space::Rows, keys::blob_gc(blob, owner, email), MARK);
        }
        if owner == account.get() && number == table::ACL {
            unshare(&mut batch, &key, &value)?;
        }
        batch.remove(Space::Rows, key);
    }
    let more = rows == rows_max;
    if !more {
        batch.remove(Space::Rows, crate::directory::removed_account(account));
    }
    Ok(Removal { batch, more })
}
