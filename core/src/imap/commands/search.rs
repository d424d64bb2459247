//! SEARCH and UID SEARCH (RFC 9051 §6.4.4, RFC 4731, SAVE: RFC 5182, MODSEQ: RFC 7162 §3.1.5, OLDER and
//! YOUNGER: RFC 5032, SAVEDON and its like: RFC 8514 §4.3, EMAILID and THREADID: RFC 8474 §6).
//!
//! The cheapest facts that decide are read, and no more: sets first, then flags from the packed blocks,
//! rows, the text index, stored structures, headers, and texts last.

mod facts;
mod index;
#[cfg(test)]
mod indexed;
mod scan;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use postrider_proto::imap::command::{Search, SearchReturn};
use postrider_proto::imap::response::{Code, Esearch, write_esearch, write_search};
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::types::{ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::store::{Store, StoreError};

use crate::clock::unix_now;
use crate::imap::answers::store_failed;
use crate::imap::content::on_worker;
use crate::imap::session::{Completion, Context, Ended};
use crate::imap::sync::{Expunges, OwnFlags};
use crate::runtime::PoolError;
use crate::textindex;
use scan::{Scan, Sorted, Want, sort};
use tree::{Names, Tree};

/// Without RETURN in an IMAP4rev2 session (RFC 9051 §6.4.4).
const RETURN_ALL: SearchReturn =
    SearchReturn { min: false, max: false, all: true, count: false, save: false };

/// Does it.
pub async fn search(context: &mut Context<'_>, command: Search) -> Result<Completion, Ended> {
    let tree = {
        let state = context.account.state();
        let names = Names {
            account: context.account.id(),
            now: unix_now(),
            view: &context.selected.view,
            saved: &context.selected.saved,
            keyword: &|keyword| state.keyword_id(keyword),
        };
        Tree::new(&command.key, &names)
    };
    if tree.has_modseq {
        context.enable_condstore();
    }
    let returns = command.returns.or(context.enabled.rev2.then_some(RETURN_ALL));
    let (found, limit) = match find(context, Arc::new(tree), returns).await {
        Ok(Found { uids, modseq }) => {
            let (uids, limit) = context.limit.cut(uids);
            (Found { uids, modseq }, limit)
        }
        Err(failed) => {
            // RFC 5182 §2.1: a search that fails saves nothing.
            if returns.is_some_and(|returns| returns.save) {
                context.selected.saved = UidSet::new();
            }
            return Ok(match failed {
                Failed::Store(error) => store_failed(&error, context.id),
                Failed::Busy => Completion::refused(Code::Unavailable, "too much to do, try again"),
            });
        }
    };
    answer(context, command.numbering, returns, &found);
    if returns.is_some_and(|returns| returns.save) {
        context.selected.saved = found.uids;
    }
    let expunges = match command.numbering {
        Numbering::Uid => Expunges::Now,
        Numbering::Sequence => Expunges::Later,
    };
    context.sync(expunges, OwnFlags::Tell).await?;
    Ok(Completion::ok("SEARCH done").limited(limit, context.out))
}

/// What was found.
struct Found {
    uids: UidSet,
    modseq: Option<ModSeq>,
}

enum Failed {
    Store(StoreError),
    /// No worker took it.
    Busy,
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

/// Writes SEARCH or ESEARCH; nothing when the result is only saved (RFC 5182 §2.1).
fn answer(context: &mut Context<'_>, numbering: Numbering, returns: Option<SearchReturn>, found: &Found) {
    let numbers = match numbering {
        Numbering::Uid => found.uids.clone(),
        Numbering::Sequence => context.selected.view.sequence_numbers(&found.uids),
    };
    let buffer = &mut context.out.buffer;
    match returns {
        None => write_search(buffer, &numbers, found.modseq),
        Some(SearchReturn { min: false, max: false, all: false, count: false, .. }) => {}
        Some(returns) => {
            let count = numbers.len();
            let result = Esearch { numbering, returns, found: &numbers, count, modseq: found.modseq };
            write_esearch(buffer, context.tag, &result);
        }
    }
}

/// What [`sort`] works with.
struct Sorting {
    tree: Arc<Tree>,
    place: (AccountId, MailboxId),
    view: UidSet,
}

/// Finds what the search looks for; with MIN and MAX alone only the ends of it.
async fn find(
    context: &Context<'_>,
    tree: Arc<Tree>,
    returns: Option<SearchReturn>,
) -> Result<Found, Failed> {
    let place = (context.account.id(), context.selected.mailbox);
    let view = context.selected.view.clone();
    let mut sorted = match tree.test.set(&view) {
        // Nothing has to be read.
        Some(sure) => Sorted { sure, open: UidSet::new() },
        None => {
            let sorting = Sorting { tree: Arc::clone(&tree), place, view };
            let sort =
                |work: &mut Sorting, store: &Store| sort(&work.tree, &store.reader(), work.place, &work.view);
            on_worker(&context.shard.shared.pool, context.account.store(), sorting, sort).await?.1?
        }
    };
    let texts = textindex::is_on(context.shard).then(|| context.shard.accounts.text());
    index::ask(&context.shard.shared.pool, context.account.store(), texts, place.0, (&tree, &sorted.open))
        .await?;
    if tree.has_modseq {
        // Their modification sequences are needed too.
        sorted = Sorted { open: sorted.open.union(&sorted.sure), sure: UidSet::new() };
    }
    let mut found = Found { uids: sorted.sure.clone(), modseq: None };
    for (want, open) in wants(returns, &sorted) {
        let mut scan = Scan::new(Arc::clone(&tree), place, open, want);
        while !scan.is_finished() {
            let run = |scan: &mut Scan, store: &Store| scan.run(store);
            let (state, done) =
                on_worker(&context.shard.shared.pool, context.account.store(), scan, run).await?;
            done?;
            scan = state;
        }
        let (uids, modseq) = scan.into_found();
        found.uids = found.uids.union(&uids);
        found.modseq = found.modseq.max(modseq);
    }
    if let Some(returns) = returns.filter(|returns| is_of_ends(*returns)) {
        found.uids = ends(returns, &found.uids);
    }
    found.modseq = found.modseq.filter(|_| tree.has_modseq);
    Ok(found)
}

/// Whether only the smallest or largest message is asked for.
fn is_of_ends(returns: SearchReturn) -> bool {
    (returns.min || returns.max) && !returns.all && !returns.count
}

/// The ends that are asked for: what is told, and saved (RFC 5182 §2.4).
fn ends(returns: SearchReturn, found: &UidSet) -> UidSet {
    let min = found.first().filter(|_| returns.min);
    let max = found.last().filter(|_| returns.max);
    min.into_iter().chain(max).collect()
}

/// What has to be looked at, and from which end.
fn wants(returns: Option<SearchReturn>, sorted: &Sorted) -> Vec<(Want, UidSet)> {
    let Some(returns) = returns.filter(|returns| is_of_ends(*returns)) else {
        return vec![(Want::Every, sorted.open.clone())];
    };
    let mut wants = Vec::new();
    if returns.min {
        let sure = sorted.sure.first().unwrap_or(Uid::MAX);
        wants.push((Want::First, sorted.open.between(Uid::MIN..=sure)));
    }
    if returns.max {
        let sure = sorted.sure.last().unwrap_or(Uid::MIN);
        wants.push((Want::Last, sorted.open.between(sure..=Uid::MAX)));
    }
    wants
}
