//! What deliveries learn of the TLS of a recipient's domain, kept in the sender's account: its user can be shown
//! beforehand whether a message can require it.
//!
//! A failure to keep it is no failure of the delivery. Each delivery renews it, and upkeep forgets what nobody renewed for half a
//! year ([`crate::maintenance`]).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use postrider_delivery::security::Sts;
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::Mode;
use postrider_storage::account::hash;
use postrider_storage::ids::AccountId;
use postrider_storage::queue;
use postrider_storage::rows::{MtaStsSeen, TlsKnownRow};
use tracing::debug;

use super::hosts::Offered;
use crate::runtime::{ShardId, spawn};
use crate::shard::Shard;

/// Accounts and domains that are remembered on a shard.
const KNOWN_MAX: usize = 4096;
/// Seconds after which it is noted again that nothing has changed.
const NOTED_EVERY: u64 = 24 * 60 * 60;

/// What was noted lately, so that not every message writes it again: by the hash of account and domain.
#[derive(Default)]
pub(super) struct Learned(RefCell<HashMap<u64, TlsKnownRow>>);

impl Learned {
    /// Whether it is news.
    fn is_news(&self, account: AccountId, domain: &str, row: TlsKnownRow) -> bool {
        let mut known = self.0.borrow_mut();
        let key = Self::key(account, domain);
        // A clock that goes back makes it news, too.
        let same = |old: &TlsKnownRow| {
            TlsKnownRow { updated: row.updated, ..*old } == row
                && row.updated.abs_diff(old.updated) < NOTED_EVERY
        };
        if known.get(&key).is_some_and(same) {
            return false;
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, row);
        true
    }

    /// Takes that it isn't in the store: it is news again.
    fn forget(&self, account: AccountId, domain: &str) {
        self.0.borrow_mut().remove(&Self::key(account, domain));
    }

    fn key(account: AccountId, domain: &str) -> u64 {
        hash(format!("{} {domain}", account.get()).as_bytes())
    }
}

/// What was learnt.
pub(super) fn row(now: i64, offered: Offered, dnssec: bool, dane: bool, policy: &Sts) -> TlsKnownRow {
    TlsKnownRow {
        updated: now,
        starttls: offered.starttls,
        requiretls: offered.requiretls,
        dnssec,
        dane,
        mta_sts: match policy {
            Sts::None | Sts::Unknown(_) => MtaStsSeen::Absent,
            Sts::Policy(policy) => match policy.mode {
                Mode::None => MtaStsSeen::None,
                Mode::Testing => MtaStsSeen::Testing,
                Mode::Enforce => MtaStsSeen::Enforce,
            },
        },
    }
}

/// Notes it in the account. Nothing is waited for.
pub(super) fn note(shard: &Rc<Shard>, account: AccountId, domain: &Domain, row: TlsKnownRow) {
    let domain = domain.to_string();
    if !shard.deliveries.learned.is_news(account, &domain, row) {
        return;
    }
    let (here, learnt) = (Rc::clone(shard), domain.clone());
    let shard = Rc::clone(shard);
    spawn("note the TLS of a domain", async move {
        let noted = shard
            .at_home(account, move |home| {
                Box::pin(async move {
                    let handle = home.accounts.get(account).await.map_err(|error| error.to_string())?;
                    let written =
                        handle.transact(None, None, move |tx| tx.note_tls_known(&domain, row)).await;
                    written.map_err(|error| error.to_string())
                })
            })
            .await;
        if let Ok(Err(error)) = noted {
            here.deliveries.learned.forget(account, &learnt);
            debug!(%account, %error, "what was learnt of a domain's TLS can't be kept");
        }
    });
}

/// Takes that the store has forgotten what an account knew of domains: the shards that deliver to them note it again with the
/// next delivery. By the clock none of them can remember what is that old; but a clock may have been wrong.
pub(crate) async fn forget(shard: &Rc<Shard>, account: AccountId, domains: Vec<String>) {
    let shards = shard.shared.shards.len();
    let mut by_owner: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for domain in domains {
        by_owner.entry(queue::shard_of(queue::domain_hash(&domain), shards)).or_default().push(domain);
    }
    for (owner, domains) in by_owner {
        let told = shard.send(
            ShardId(owner),
            Box::new(move |owner| {
                domains.iter().for_each(|domain| owner.deliveries.learned.forget(account, domain));
            }),
        );
        // Where there is no such shard any more, nothing is remembered.
        let _ = told.await;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_was_noted_lately_is_no_news_until_it_changes_or_is_forgotten() {
        let learned = Learned::default();
        let (anna, bert) = (AccountId::new(1).unwrap(), AccountId::new(2).unwrap());
        let at = |updated| TlsKnownRow { updated, starttls: true, ..TlsKnownRow::default() };
        let day = NOTED_EVERY.cast_signed();
        let news = |account, domain, row| learned.is_news(account, domain, row);
        assert!(news(anna, "a.example", at(7 * day)));
        assert!(!news(anna, "a.example", at(8 * day - 1)) && !news(anna, "a.example", at(6 * day + 1)));
        assert!(news(bert, "a.example", at(7 * day)) && news(anna, "b.example", at(7 * day)));
        assert!(news(anna, "a.example", TlsKnownRow { requiretls: true, ..at(7 * day) }));
        assert!(news(anna, "a.example", at(7 * day)), "and back");
        // Renewed once a day, also by a clock that went back, which would otherwise stop that until it has caught up.
        assert!(news(anna, "a.example", at(8 * day)) && news(anna, "a.example", at(2 * day)));
        learned.forget(anna, "a.example");
        assert!(news(anna, "a.example", at(2 * day)) && !news(bert, "a.example", at(7 * day)));
    }
}
