//! Reports that this server sends to other domains, and what all kinds of them share.
//!
//! The first shard is their home: it alone sends reports, so nobody sends one twice. A report is queued in the same
//! batch that removes what it is made of, so it is sent once, whatever happens between; and what is left when the
//! server stops is what the next start goes on with.
//!
//! Times are passed in ([`pace::Pace`]), so that tests lead the clock.

pub(crate) mod addresses;
pub(crate) mod dmarc;
pub(crate) mod outgoing;
pub(crate) mod pace;
pub(crate) mod tls;

use std::rc::Rc;

use crate::runtime::{ShardId, spawn};
use crate::shard::Shard;

/// Starts what a shard does for reports: all record, the first one sends.
pub fn start(shard: &Rc<Shard>) {
    tls::start(shard);
    if shard.id == ShardId(0) && shard.shared.config.reports.dmarc {
        let reports = Rc::clone(shard);
        spawn("report what DMARC said", async move { dmarc::run(&reports).await });
    }
}
