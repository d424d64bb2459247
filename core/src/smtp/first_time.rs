//! The wait before the first message of a sender is accepted (product 1.2).
//!
//! Who sends to many strangers in a hurry doesn't stay for it, and meanwhile blocklists learn of it. A wait is
//! a task that sleeps: no shard and nothing of the store is held by it. When the client goes or
//! the server stops, the message is not accepted, so that the client tries again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use postrider_proto::address::Address;
use postrider_storage::account::{hash, knows_sender};
use postrider_storage::ids::AccountId;
use tracing::{debug, error};

use crate::clock::unix_now;
use crate::log::ConnectionId;
use crate::metrics::Limit;
use crate::runtime::{LocalNotify, sleep};
use crate::shard::Shard;

/// Messages that wait on a shard: the content of each may hold some ten kilobytes. With more, nobody waits.
const WAITS_MAX: usize = 1000;

/// Whether something confirmed that a message is of the domain in its From field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Confirmed {
    /// It did.
    Yes,
    /// Nothing did: anybody may have written it.
    No,
}

/// The sender of a message as accounts remember it. Forgeries gain nothing from the mail of whom they name.
pub(super) fn sender_hash(from: &Address, confirmed: Confirmed) -> u64 {
    let way = match confirmed {
        Confirmed::Yes => "confirmed",
        Confirmed::No => "unconfirmed",
    };
    let from = format!("{way} {}@{}", from.localpart.as_str().to_lowercase(), from.domain);
    hash(from.as_bytes())
}

/// What becomes of a message that had to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waited {
    /// It may be stored.
    Enough,
    /// Its client is gone, or the server stops.
    Cut,
}

/// How a message waits for those recipients to whom its sender is a stranger.
#[derive(Clone)]
pub(super) struct FirstTime {
    /// Who wrote it; none when that can't be told, and then it is always a stranger.
    pub(super) sender: Option<u64>,
    /// How long.
    pub(super) delay: Duration,
    /// Told when the client goes.
    pub(super) gone: LocalNotify,
}

impl FirstTime {
    /// Waits when the sender is a stranger to any of these accounts.
    pub(super) async fn wait(
        &self,
        shard: &Rc<Shard>,
        id: ConnectionId,
        mut accounts: impl Iterator<Item = AccountId>,
    ) -> Waited {
        if !self.delay.is_zero() {
            shard.shared.reads.calm().await;
        }
        let Some(stranger) = accounts.find(|account| !self.is_known(shard, id, *account)) else {
            return Waited::Enough;
        };
        let Some(_place) = Place::take(shard) else {
            shard.recorder.increment(shard.shared.metrics.limit(Limit::FirstTimeWaits));
            return Waited::Enough;
        };
        debug!(cid = %id, account = %stranger, delay = ?self.delay, "the sender is a stranger");
        let enough = async {
            sleep(self.delay).await;
            Waited::Enough
        };
        let gone = async {
            self.gone.changed(0).await;
            Waited::Cut
        };
        let stopping = async {
            shard.shared.shutdown.wait().await;
            Waited::Cut
        };
        or(enough, or(gone, stopping)).await
    }

    fn is_known(&self, shard: &Shard, id: ConnectionId, account: AccountId) -> bool {
        if self.delay.is_zero() {
            return true;
        }
        let Some(sender) = self.sender else { return false };
        match knows_sender(&shard.shared.store.reader(), account, sender, unix_now()) {
            Ok(known) => known,
            Err(error) => {
                error!(cid = %id, %account, %error, "it can't be told whether a sender is a stranger");
                true
            }
        }
    }
}

/// How many messages wait on a shard.
#[derive(Default)]
pub struct Waits(Cell<usize>);

impl Waits {
    /// Counts one, if there is room.
    fn take(&self) -> bool {
        let has_room = self.0.get() < WAITS_MAX;
        self.0.set(self.0.get() + usize::from(has_room));
        has_room
    }
}

/// One of the messages that wait on a shard.
struct Place(Rc<Shard>);

impl Place {
    fn take(shard: &Rc<Shard>) -> Option<Self> {
        shard.strangers.take().then(|| Self(Rc::clone(shard)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waits = &self.0.strangers.0;
        waits.set(waits.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_messages_wait_and_no_more() {
        let waits = Waits::default();
        assert!((0..WAITS_MAX).all(|_| waits.take()));
        assert!(!waits.take());
        waits.0.set(WAITS_MAX - 1);
        assert!(waits.take() && !waits.take());
    }
}
