//! Which addresses of a domain's record get reports.

use postrider_proto::address::Address;
use postrider_storage::report_suppressions;
use postrider_storage::store::StoreError;
use tracing::info;

use crate::shard::Shard;

/// Addresses of one report.
pub(crate) const ADDRESSES_MAX: usize = 10;

/// Those of some addresses that get reports now, each once, at most [`ADDRESSES_MAX`]: those in ASCII to which an
/// operator hasn't stopped reports.
pub(crate) async fn wanted(shard: &Shard, to: Vec<Address>, now: i64) -> Result<Vec<Address>, StoreError> {
    let read = move |reader: &postrider_storage::reader::Reader| {
        let mut kept: Vec<Address> = Vec::new();
        for address in to {
            let text = address.to_string();
            if kept.len() == ADDRESSES_MAX || !text.is_ascii() || kept.contains(&address) {
                continue;
            }
            match report_suppressions::get(reader, &text, now)? {
                Some(row) => {
                    info!(%address, until = row.until, "an address gets no report: it is suppressed")
                }
                None => kept.push(address),
            }
        }
        Ok(kept)
    };
    shard.shared.reads.run(read).await
}
