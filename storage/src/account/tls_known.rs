//! What an account's deliveries learned of the transport security of recipient domains; the last connection's.
//!
//! An index has the domains by the time at which they were last updated, in periods of 30 days: so what is old is found
//! without looking at what isn't, and a row that is renewed every day moves there once in a period.

use tracing::info;

use super::{Swept, Tx};
use crate::engine::{Batch, Durability, Space};
use crate::ids::AccountId;
use crate::keys::{self, table};
use crate::reader::Reader;
use crate::rows::{MARK, TlsKnownRow};
use crate::store::{Refusal, Store, StoreError};

/// The longest domain.
const DOMAIN_OCTETS_MAX: usize = 255;
/// Octets from which on what is converted is committed.
const BATCH_OCTETS: usize = 1024 * 1024;

/// What is known of a domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsKnown {
    /// The domain, lower-case ASCII.
    pub domain: String,
    /// What is known.
    pub row: TlsKnownRow,
}

/// What an account knows of a recipient domain (lower-case ASCII).
pub fn tls_known(
    reader: &Reader,
    account: AccountId,
    domain: &str,
) -> Result<Option<TlsKnownRow>, StoreError> {
    let row = reader.get(&keys::tls_known(account, domain))?;
    row.map(|row| Ok(TlsKnownRow::decode(&row)?)).transpose()
}

/// What an account knows of domains from `from` on, in their order; at most `count_max`.
pub fn tls_known_list(
    reader: &Reader,
    account: AccountId,
    from: &str,
    count_max: usize,
) -> Result<Vec<TlsKnown>, StoreError> {
    let prefix = keys::of_table(account.get(), table::TLSKNOWN);
    let rows = reader.from(&keys::tls_known(account, from), &prefix).take(count_max);
    rows.map(|row| {
        let (key, value) = row?;
        Ok(TlsKnown { domain: keys::domain_of(&key)?.to_owned(), row: TlsKnownRow::decode(&value)? })
    })
    .collect()
}

/// Whether an account has domains whose period is before that of `time` (seconds since 1970): one seek.
pub fn has_old_tls_known(reader: &Reader, account: AccountId, time: i64) -> Result<bool, StoreError> {
    let oldest = reader.prefix(&keys::of_table(account.get(), table::TLSAGE)).next().transpose()?;
    Ok(match oldest {
        Some((key, _)) => keys::tls_age_parts(&key)?.0 < period_of(time),
        None => false,
    })
}

/// Indexes what formats before 3 knew of domains by its age. Nothing else may use the store meanwhile, and it may be done again.
/// The last of the batches isn't synced: the caller syncs by writing the format.
pub(crate) fn convert(store: &Store) -> Result<(), StoreError> {
    let reader = store.reader();
    let (mut batch, mut indexed) = (Batch::new(), 0_u64);
    let Some(first) = AccountId::new(1) else { return Ok(()) };
    for account in reader.accounts_from(first) {
        let account = account?;
        for row in reader.prefix(&keys::of_table(account.get(), table::TLSKNOWN)) {
            let (key, value) = row?;
            // What can't be read, verifydata tells of; the next delivery replaces it.
            let (Ok(domain), Ok(row)) = (keys::domain_of(&key), TlsKnownRow::decode(&value)) else {
                continue;
            };
            batch.insert(Space::Rows, keys::tls_age(account, row.period(), domain), MARK.to_vec());
            indexed += 1;
            if batch.octets() >= BATCH_OCTETS {
                store.engine().commit(std::mem::take(&mut batch), Durability::Buffered)?;
            }
        }
    }
    if indexed > 0 {
        info!(indexed, "what is known of the TLS of domains was indexed by its age");
        store.engine().commit(batch, Durability::Buffered)?;
    }
    Ok(())
}

impl Tx<'_, '_> {
    /// Notes what is known of a recipient domain (lower-case ASCII), in place of what was. No session sees it, so it
    /// takes no modification sequence.
    pub fn note_tls_known(&mut self, domain: &str, row: TlsKnownRow) -> Result<(), StoreError> {
        if domain.is_empty() || domain.len() > DOMAIN_OCTETS_MAX {
            return Err(Refusal::TextTooLong.into());
        }
        self.head()?;
        let (account, period) = (self.account(), row.period());
        let key = keys::tls_known(account, domain);
        // What can't be read is replaced; where its age was noted goes when that is old.
        let before = self.batch.overlay.get(self.batch.reader, &key)?;
        let before = before.and_then(|before| TlsKnownRow::decode(&before).ok()).map(|row| row.period());
        if before != Some(period) {
            if let Some(before) = before {
                self.remove(keys::tls_age(account, before, domain));
            }
            self.insert(keys::tls_age(account, period, domain), MARK.to_vec());
        }
        self.insert(key, row.encode());
        Ok(())
    }

    /// Forgets domains whose period is before that of `time` (seconds since 1970), as many as one transaction may touch;
    /// looks at no others. Gives them, and how far it came.
    pub fn forget_tls_known(&mut self, time: i64) -> Result<(Swept, Vec<String>), StoreError> {
        let rows_max = self.batch.account.limits.messages_max;
        let (account, periods) = (self.account(), period_of(time));
        let mut forgotten = Vec::new();
        let ages = self.first_rows(&keys::of_table(account.get(), table::TLSAGE), rows_max)?;
        let mut swept = Swept { rows: 0, more: ages.len() == rows_max };
        for (age, _) in ages {
            let (period, domain) = keys::tls_age_parts(&age)?;
            if period >= periods {
                swept.more = false;
                break;
            }
            let key = keys::tls_known(account, domain);
            let row = self.batch.overlay.get(self.batch.reader, &key)?;
            // One that can't be read was no younger when this was noted.
            if row.is_some_and(|row| TlsKnownRow::decode(&row).map_or(true, |row| row.period() == period)) {
                forgotten.push(domain.to_owned());
                self.remove(key);
            }
            self.remove(age);
            swept.rows += 1;
        }
        Ok((swept, forgotten))
    }
}

fn period_of(time: i64) -> u32 {
    TlsKnownRow { updated: time, ..TlsKnownRow::default() }.period()
}
