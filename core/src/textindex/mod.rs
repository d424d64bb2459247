//! The text index: SEARCH TEXT and BODY without reading every message.
//!
//! [`postrider_storage::text`] owns what is stored; here is who builds it, and when. An account gets an
//! index when its texts are searched for the first time (or at once, as configured), and is indexed further
//! when enough new mail has come. That is a job of the account's home shard ([`job`]): texts are read and
//! cut on the worker pool, the rows go through transactions of the account. One job in the process builds at
//! a time, so that memory is bounded.
//!
//! What always holds: the index only ever spares a search the reading of messages. Where it doesn't tell,
//! messages are looked at as without it ([`lookup`]).

mod demand;
mod job;
pub mod lookup;
pub mod texts;

#[cfg(test)]
mod tests;

pub use demand::Demand;
pub use job::{Pace, Progress, Trouble, index, serve, status, touch_all};

use crate::config::TextIndex;
use crate::shard::Shard;

/// So many emails that are not indexed yet are worth indexing.
pub const EMAILS_MIN: u64 = 256;

/// Whether there are text indexes.
pub fn is_on(shard: &Shard) -> bool {
    shard.shared.config.search.text_index != TextIndex::Off
}
