//! Reports on TLS (RFC 8460): what is recorded, and what is sent of it.
//!
//! How TLS went with each domain that mail goes to is summed in memory ([`record`]) and written once a minute, by UTC
//! day; a crash loses the last minute. Whether a domain wants reports is asked when there is something to report, once
//! a day, and not with each delivery.
//!
//! The next day the first shard sends reports ([`rounds`]): to recipient domains, about their policy and the hosts
//! that their mail went to, and then to the domains of these hosts. Results are removed in the batch that queues their
//! report, so what is there of a day that is over is what is still to be looked after.
//!
//! Messages that bring reports on TLS are not recorded (RFC 8460 §3), and those that bring reports on DMARC are no
//! reason for one as long as TLS works, so that reports don't lead to reports for ever.

mod lookup;
mod pending;
mod report;
mod rounds;

#[cfg(test)]
pub(crate) use pending::flush_and_wait;
pub(crate) use pending::{Pending, record};
#[cfg(test)]
pub(crate) use rounds::round;

use std::rc::Rc;

use crate::runtime::{ShardId, spawn};
use crate::shard::Shard;

/// Starts to write what a shard records; the first one sends reports, too.
pub(super) fn start(shard: &Rc<Shard>) {
    if !shard.shared.config.reports.tls {
        if shard.id == ShardId(0) {
            // What was recorded before it was switched off.
            let forgets = Rc::clone(shard);
            spawn("forget results of TLS", async move { rounds::forget_all(&forgets).await });
        }
        return;
    }
    let records = Rc::clone(shard);
    spawn("write results of TLS", async move { pending::write_from_time_to_time(&records).await });
    if shard.id == ShardId(0) {
        let sends = Rc::clone(shard);
        spawn("send reports on TLS", async move { rounds::run(&sends).await });
    }
}
