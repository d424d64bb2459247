//! What an account's deliveries learned of the transport security of recipient domains; the last connection's.

use super::{Swept, Tx};
use crate::ids::AccountId;
use crate::keys::{self, table};
use crate::reader::Reader;
use crate::rows::TlsKnownRow;
use crate::store::{Refusal, StoreError};

/// The longest domain.
const DOMAIN_OCTETS_MAX: usize = 255;

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

impl Tx<'_, '_> {
    /// Notes what is known of a recipient domain (lower-case ASCII), in place of what was. No session sees it, so it
    /// takes no modification sequence.
    pub fn note_tls_known(&mut self, domain: &str, row: TlsKnownRow) -> Result<(), StoreError> {
        if domain.is_empty() || domain.len() > DOMAIN_OCTETS_MAX {
            return Err(Refusal::TextTooLong.into());
        }
        self.head()?;
        self.insert(keys::tls_known(self.account(), domain), row.encode());
        Ok(())
    }

    /// Forgets what was last updated before `time` (seconds since 1970), of the first domains from `from` on that one
    /// transaction may touch. Gives how many it looked at, and the domain to go on from.
    pub fn forget_tls_known(&mut self, from: &str, time: i64) -> Result<(Swept, Option<String>), StoreError> {
        let rows_max = self.batch.account.limits.messages_max;
        let prefix = keys::of_table(self.account().get(), table::TLSKNOWN);
        let first = keys::tls_known(self.account(), from);
        let rows = self.batch.overlay.scan(self.batch.reader, &first, &prefix);
        let mut rows: Vec<_> = rows.take(rows_max + 1).collect::<Result<_, _>>()?;
        let next = if rows.len() > rows_max { rows.pop() } else { None };
        let next = next.map(|(key, _)| keys::domain_of(&key).map(str::to_owned)).transpose()?;
        let swept = Swept { rows: rows.len(), more: next.is_some() };
        for (key, value) in rows {
            if TlsKnownRow::decode(&value)?.updated < time {
                self.remove(key);
            }
        }
        Ok((swept, next))
    }
}
