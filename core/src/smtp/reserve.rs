//! Whether accounts take a message, asked before any of it is stored (see [`super::deliver`]).

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use postrider_proto::smtp::Reply;
use postrider_storage::ids::AccountId;

use super::deliver::{Counted, Delivery, open_reply};
use super::outcomes::Outcomes;
use super::recipients::Drop;
use super::room::Lack;
use crate::accounts::LoadError;
use crate::runtime::{spawn, spawn_task};
use crate::shard::OpenError;

impl Delivery {
    /// Asks the home of each account whether it takes its messages, and counts them there. Of an alias, members that
    /// don't are left out when there are others that do. Gives what is left, and what was counted where.
    pub(super) async fn reserve(
        &self,
        drops: Vec<(usize, Drop)>,
        outcomes: &mut Outcomes,
    ) -> (Vec<(usize, Drop)>, Vec<(AccountId, u64)>) {
        let mut messages: BTreeMap<AccountId, Vec<u64>> = BTreeMap::new();
        for (_, drop) in &drops {
            let octets = self.content.size + self.prefix(drop).len() as u64;
            messages.entry(drop.account).or_default().push(octets);
        }
        let asked = messages.into_iter().map(|(account, messages)| {
            let work = self.reserve_in(account, messages.clone());
            (account, messages, spawn_task("ask whether a message fits", work))
        });
        let asked: Vec<_> = asked.collect();
        let (mut reserved, mut refused) = (Vec::new(), BTreeMap::new());
        for (account, messages, task) in asked {
            match task.await.unwrap_or(Err(Reply::LOCAL_ERROR)) {
                Ok(()) => reserved.extend(messages.into_iter().map(|octets| (account, octets))),
                Err(reply) => drop(refused.insert(account, reply)),
            }
        }
        let (fitting, others): (Vec<_>, Vec<_>) =
            drops.into_iter().partition(|(_, drop)| !refused.contains_key(&drop.account));
        let reached: HashSet<usize> = fitting.iter().map(|(number, _)| *number).collect();
        for (number, drop) in others {
            if !reached.contains(&number)
                && let Some(reply) = refused.get(&drop.account)
            {
                outcomes.note(number, Err(reply.clone()));
            }
        }
        (fitting, reserved)
    }

    fn reserve_in(
        &self,
        account: AccountId,
        messages: Vec<u64>,
    ) -> impl Future<Output = Result<(), Reply>> + use<> {
        let (shard, id, counted, now) = (Rc::clone(&self.shard), self.id, self.counted, self.now);
        async move {
            let asked = shard.at_home(account, move |home| {
                Box::pin(async move {
                    let handle = home.open_account(account).await.map_err(|error| {
                        // It alone is ill, unlike when the disk is full.
                        if matches!(&error, OpenError::Load(LoadError::Store(_))) {
                            home.rates.no_room.note(account, Lack::Trouble, now);
                        }
                        open_reply(&error, account, id)
                    })?;
                    let (count, octets) = (messages.len() as u64, messages.iter().sum());
                    let state = handle.state();
                    if state.head().is_some_and(|head| !state.quota().admits(head, octets, count)) {
                        home.rates.no_room.note(account, Lack::Room(octets), now);
                        return Err(Reply::MAILBOX_FULL);
                    }
                    let Some(Counted { peer, limits }) = counted else { return Ok(()) };
                    for (at, octets) in messages.iter().enumerate() {
                        if !home.rates.take(account, peer, *octets, &limits, now) {
                            let taken = messages.iter().take(at);
                            taken.for_each(|octets| home.rates.give_back(account, peer, *octets, now));
                            return Err(Reply::TOO_MUCH_MAIL);
                        }
                    }
                    Ok(())
                })
            });
            asked.await.unwrap_or(Err(Reply::SHUTTING_DOWN))
        }
    }

    /// Takes back what was counted of a message that comes again. Nobody waits for it.
    pub(super) fn give_back(&self, reserved: Vec<(AccountId, u64)>) {
        let Some(Counted { peer, .. }) = self.counted else { return };
        let now = self.now;
        for (account, octets) in reserved {
            let shard = Rc::clone(&self.shard);
            spawn("take back what was counted", async move {
                let give_back = shard.at_home(account, move |home| {
                    Box::pin(async move { home.rates.give_back(account, peer, octets, now) })
                });
                // A server that stops counts nothing any more.
                let _ = give_back.await;
            });
        }
    }
}
