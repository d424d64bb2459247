//! Evaluates a search on a mailbox given as values, on worker threads.

use std::rc::Rc;
use std::sync::Arc;

use postrider_proto::imap::command::SearchReturn;
use postrider_proto::imap::response::Code;
use postrider_proto::imap::sequence::Counted;
use postrider_proto::imap::types::{ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::store::{Store, StoreError};

use super::index;
use super::scan::{Scan, Sorted, Want, sort};
use super::tree::Tree;
use crate::imap::answers::store_failed;
use crate::imap::content::on_worker;
use crate::imap::progress::Counts;
use crate::imap::session::{Completion, Context};
use crate::log::ConnectionId;
use crate::runtime::{Pool, PoolError};
use crate::shard::Shard;
use crate::textindex::{self, Demand};

/// What searches run with.
#[derive(Clone)]
pub struct Workers {
    shard: Rc<Shard>,
    /// The store.
    pub store: Arc<Store>,
    counts: Counts,
}

impl Workers {
    /// With what a shard has.
    pub fn new(shard: &Rc<Shard>, store: &Arc<Store>) -> Self {
        Self { shard: Rc::clone(shard), store: Arc::clone(store), counts: Counts::default() }
    }

    /// The worker threads.
    pub fn pool(&self) -> &Pool {
        &self.shard.shared.pool
    }

    /// How far searches are, for [`telling`](crate::imap::progress::telling).
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The text indexes, where there are some.
    fn texts(&self) -> Option<&Demand> {
        textindex::is_on(&self.shard).then(|| self.shard.accounts.text())
    }
}

/// Where is searched.
#[derive(Clone)]
pub struct Place {
    /// The account.
    pub account: AccountId,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The messages that may be found.
    pub view: UidSet,
}

/// Which of the messages that match have to be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// All.
    Every,
    /// So many from the start and from the end; others may be found too.
    Ends {
        /// From the start.
        first: u32,
        /// From the end.
        last: u32,
    },
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The messages.
    pub uids: UidSet,
    /// Their modification sequences, ascending by uid, when the search has MODSEQ.
    modseqs: Vec<(Uid, ModSeq)>,
}

/// Why nothing was found out.
#[derive(Debug)]
pub enum Failed {
    /// The store failed.
    Store(StoreError),
    /// No worker took it.
    Busy,
    /// It would take more memory than there is for it.
    TooMany,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PoolError> for Failed {
    fn from(_: PoolError) -> Self {
        Self::Busy
    }
}

impl Failed {
    /// What the client is told.
    pub fn completion(&self, id: ConnectionId) -> Completion {
        match self {
            Self::Store(error) => store_failed(error, id),
            Self::Busy => Completion::refused(Code::Unavailable, "too much to do, try again"),
            Self::TooMany => Completion::refused(Code::Limit, "too many messages"),
        }
    }
}

impl Context<'_> {
    /// What searches run with.
    pub(in crate::imap) fn workers(&self) -> Workers {
        Workers::new(self.shard, self.account.store())
    }

    /// The selected mailbox.
    pub(in crate::imap) fn place(&self) -> Place {
        let view = self.selected.view.clone();
        Place { account: self.account.id(), mailbox: self.selected.mailbox, view }
    }
}

impl Wanted {
    /// What an answer needs; without RETURN everything.
    pub fn of(returns: Option<SearchReturn>) -> Self {
        let Some(returns) = returns else { return Self::Every };
        let ends_alone =
            (returns.is_of_ends() || returns.partial.is_some()) && !returns.all && !returns.count;
        if !ends_alone || returns.update {
            return Self::Every;
        }
        let (mut first, mut last) = (u32::from(returns.min), u32::from(returns.max));
        if let Some(partial) = returns.partial {
            match partial.counted {
                Counted::FromFirst => first = first.max(partial.reach()),
                Counted::FromLast => last = last.max(partial.reach()),
            }
        }
        Self::Ends { first, last }
    }
}

impl Found {
    /// The highest modification sequence of some messages, when the search has MODSEQ.
    pub fn modseq_of(&self, told: &UidSet) -> Option<ModSeq> {
        self.modseqs.iter().filter(|(uid, _)| told.contains(*uid)).map(|(_, modseq)| *modseq).max()
    }

    fn add(&mut self, scan: Scan) {
        let (uids, modseqs) = scan.into_found();
        self.uids = self.uids.union(&uids);
        self.modseqs.extend(modseqs);
        self.modseqs.sort_unstable();
        self.modseqs.dedup();
    }
}

/// What [`sort`] works with.
struct Sorting {
    tree: Arc<Tree>,
    place: Place,
}

/// Finds the messages of a mailbox that match: the cheapest facts first.
pub async fn find(
    workers: &Workers,
    tree: Arc<Tree>,
    place: &Place,
    wanted: Wanted,
) -> Result<Found, Failed> {
    let mut sorted = match tree.test.set(&place.view) {
        // Nothing has to be read.
        Some(sure) => Sorted { sure, open: UidSet::new() },
        None => {
            let sorting = Sorting { tree: Arc::clone(&tree), place: place.clone() };
            let sort = |work: &mut Sorting, store: &Store| {
                let Place { account, mailbox, view } = &work.place;
                sort(&work.tree, &store.reader(), (*account, *mailbox), view)
            };
            on_worker(workers.pool(), &workers.store, sorting, sort).await?.1?
        }
    };
    index::ask(workers.pool(), &workers.store, workers.texts(), place.account, (&tree, &sorted.open)).await?;
    if tree.has_modseq {
        // Their modification sequences are needed too.
        sorted = Sorted { open: sorted.open.union(&sorted.sure), sure: UidSet::new() };
    }
    let mut found = Found { uids: sorted.sure.clone(), ..Found::default() };
    for (want, open) in wants(wanted, &sorted) {
        found.add(scan(workers, &tree, place, open, want).await?);
    }
    Ok(found)
}

/// Finds which of a few messages match, without looking at the rest of the mailbox.
pub async fn find_among(
    workers: &Workers,
    tree: Arc<Tree>,
    place: &Place,
    few: &UidSet,
) -> Result<UidSet, Failed> {
    Ok(scan(workers, &tree, place, few.clone(), Want::Every).await?.into_found().0)
}

async fn scan(
    workers: &Workers,
    tree: &Arc<Tree>,
    place: &Place,
    open: UidSet,
    want: Want,
) -> Result<Scan, Failed> {
    let mut scan = Scan::new(Arc::clone(tree), (place.account, place.mailbox), open, want);
    workers.counts.add_goal(scan.left());
    while !scan.is_finished() {
        let left = scan.left();
        let run = |scan: &mut Scan, store: &Store| scan.run(store);
        let (state, done) = on_worker(workers.pool(), &workers.store, scan, run).await?;
        done?;
        scan = state;
        workers.counts.add_done(left - scan.left());
    }
    Ok(scan)
}

/// What has to be looked at, and from which end.
pub(super) fn wants(wanted: Wanted, sorted: &Sorted) -> Vec<(Want, UidSet)> {
    let Wanted::Ends { first, last } = wanted else {
        return vec![(Want::Every, sorted.open.clone())];
    };
    let mut wants = Vec::new();
    if first > 0 {
        // Once so many are sure, what comes after them needn't be known.
        let sure = sorted.sure.uid_at(first).unwrap_or(Uid::MAX);
        wants.push((Want::First(first), sorted.open.between(Uid::MIN..=sure)));
    }
    if last > 0 {
        let before = sorted.sure.len().checked_sub(last);
        let sure = before.and_then(|before| sorted.sure.uid_at(before + 1)).unwrap_or(Uid::MIN);
        wants.push((Want::Last(last), sorted.open.between(sure..=Uid::MAX)));
    }
    wants
}
