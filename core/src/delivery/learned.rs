//! What deliveries learn of the TLS of a recipient's domain, kept in the sender's account: its user can be shown
//! beforehand whether a message can require it.
//!
//! A failure to keep it is no failure of the delivery.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use postrider_delivery::security::Sts;
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::Mode;
use postrider_storage::account::hash;
use postrider_storage::ids::AccountId;
use postrider_storage::rows::{MtaStsSeen, TlsKnownRow};
use tracing::debug;

use super::hosts::Offered;
use crate::runtime::spawn;
use crate::shard::Shard;

/// Accounts and domains that are remembered on a shard.
const KNOWN_MAX: usize = 4096;
/// Seconds after which it is noted again that nothing has changed.
const NOTED_EVERY: i64 = 24 * 60 * 60;

/// What was noted lately, so that not every message writes it again: by the hash of account and domain.
#[derive(Default)]
pub(super) struct Learned(RefCell<HashMap<u64, TlsKnownRow>>);

impl Learned {
    /// Whether it is news.
    fn is_news(&self, account: AccountId, domain: &Domain, row: TlsKnownRow) -> bool {
        let mut known = self.0.borrow_mut();
        let key = Self::key(account, domain);
        let same = |old: &TlsKnownRow| {
            TlsKnownRow { updated: row.updated, ..*old } == row && row.updated < old.updated + NOTED_EVERY
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

    /// Takes that it could not be kept: it is news again.
    fn forget(&self, account: AccountId, domain: &Domain) {
        self.0.borrow_mut().remove(&Self::key(account, domain));
    }

    fn key(account: AccountId, domain: &Domain) -> u64 {
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
    if !shard.deliveries.learned.is_news(account, domain, row) {
        return;
    }
    let (here, learnt) = (Rc::clone(shard), domain.clone());
    let (shard, domain) = (Rc::clone(shard), domain.to_string());
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
