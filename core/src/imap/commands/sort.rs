//! SORT and UID SORT (RFC 5256, RFC 5957, RFC 5267, MODSEQ: RFC 7162 §3.1.9 and §3.1.10).
//!
//! Messages are searched first; then the keys of those that were found are read from their rows and
//! structure records, and put in order, all on worker threads in runs of some ten milliseconds. What is
//! held is the keys: a few dozen octets for each message, and a bound on all of it ([`memory`]).

mod insert;
mod keys;
pub(in crate::imap) mod memory;
pub(in crate::imap) mod order;
#[cfg(test)]
mod tests;
pub(in crate::imap) mod walk;

use std::sync::Arc;

use postrider_proto::imap::command::{Sort, SortCriterion};
use postrider_proto::imap::response::write_sort;
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::types::Uid;
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::store::Store;

use super::search::{
    Failed, Found, Place, Results, Wanted, Workers, end, find, refuse, save_nothing, saved, tree,
    write_results,
};
use crate::imap::content::on_worker;
use crate::imap::contexts::{self, LiveResults};
use crate::imap::progress::telling;
use crate::imap::session::{Completion, Context, Ended};
pub(in crate::imap) use insert::insert;
use keys::Columns;
pub(super) use keys::sent;

use memory::{NoRoom, Room};
use order::Order;
use walk::{Depth, Walk};

/// Comparisons of one run, some ten milliseconds.
pub(super) const RUN_COMPARISONS: u64 = 200_000;
/// Results that are written without a worker thread.
const INLINE_MAX: usize = 10_000;

/// Does it.
pub async fn sort(context: &mut Context<'_>, command: Sort) -> Result<Completion, Ended> {
    let Sort { numbering, returns, criteria, key } = command;
    if contexts::is_tag_taken(context, returns) {
        return Ok(contexts::TAG_TAKEN);
    }
    let tree = Arc::new(tree(context, &key));
    let (workers, place) = (context.workers(), context.place());
    let criteria: Arc<[SortCriterion]> = criteria.into();
    let finding = find(&workers, tree, &place, Wanted::Every);
    let found =
        match telling(context.limit.progress, context.out, context.tag, workers.counts(), finding).await? {
            Ok(found) => found,
            Err(failed) => return Ok(refuse(context, returns, &failed)),
        };
    // Parts in order are no order of the whole (RFC 9738 §3.3).
    if let Some(refused) = context.limit.refuses(&found.uids, "too many messages, sort some of them") {
        save_nothing(context, returns);
        return Ok(refused);
    }
    let sorting = sorted(&workers, &place, &criteria, found.uids.clone());
    let uids =
        match telling(context.limit.progress, context.out, context.tag, workers.counts(), sorting).await? {
            Ok(uids) => uids,
            Err(failed) => return Ok(refuse(context, returns, &failed)),
        };
    let Some(returns) = returns else {
        if let Err(failed) = answer(context, numbering, uids, found).await {
            return Ok(refuse(context, returns, &failed));
        }
        end(context, numbering).await?;
        return Ok(Completion::ok("SORT done"));
    };
    let results = Results::Sorted(&uids);
    let view = &context.selected.view;
    write_results(&mut context.out.buffer, context.tag.into(), view, numbering, returns, &results, &found);
    if returns.save {
        context.selected.saved = saved(returns, &results);
    }
    if returns.update {
        contexts::begin(context, numbering, &key, Some(LiveResults::Sorted(criteria, uids)));
    }
    end(context, numbering).await?;
    Ok(Completion::ok("SORT done"))
}

/// Puts messages in order; those that were removed meanwhile are left out.
pub async fn sorted(
    workers: &Workers,
    place: &Place,
    criteria: &[SortCriterion],
    uids: UidSet,
) -> Result<Vec<Uid>, Failed> {
    let mut sorting = Sorting::new(place, criteria, uids);
    loop {
        let run = |sorting: &mut Sorting, store: &Store| sorting.run(store);
        let (state, done) = on_worker(workers.pool(), &workers.store, sorting, run).await?;
        sorting = state;
        match done? {
            Step::Goes => {}
            Step::Done(sorted) => return Ok(sorted),
        }
    }
}

/// A sort under way.
pub struct Sorting {
    walk: Walk,
    columns: Columns,
    /// The messages whose keys are known.
    uids: Vec<Uid>,
    order: Option<Order>,
    room: Room,
}

/// How far a sort is.
pub enum Step {
    /// There is more to do.
    Goes,
    /// The messages in their order.
    Done(Vec<Uid>),
}

impl From<NoRoom> for Failed {
    fn from(_: NoRoom) -> Self {
        Self::TooMany
    }
}

impl Sorting {
    /// A sort of some messages of a mailbox.
    pub fn new(place: &Place, criteria: &[SortCriterion], uids: UidSet) -> Self {
        let columns = Columns::new(criteria);
        let depth = if columns.need_structure() { Depth::Structures } else { Depth::Rows };
        let walk = Walk::new((place.account, place.mailbox), uids, depth);
        Self { walk, columns, uids: Vec::new(), order: None, room: Room::default() }
    }

    /// Goes on for some ten milliseconds.
    pub fn run(&mut self, store: &Store) -> Result<Step, Failed> {
        if !self.walk.is_finished() {
            let (columns, uids) = (&mut self.columns, &mut self.uids);
            self.walk.run(store, |uid, row, root| {
                uids.push(uid);
                columns.push(row, root);
            })?;
            // The order takes as much again twice: its runs, and what they are merged into.
            let octets = self.columns.octets() + 4 * self.uids.len() * size_of::<Uid>();
            self.room.hold(octets)?;
            return Ok(Step::Goes);
        }
        let columns = &self.columns;
        let order = self.order.get_or_insert_with(|| Order::new(columns.len()));
        if !order.step(RUN_COMPARISONS, |a, b| columns.compare(a, b).then(a.cmp(&b))) {
            return Ok(Step::Goes);
        }
        let order = std::mem::take(order).into_sorted();
        Ok(Step::Done(order.into_iter().map(|index| self.uids[index as usize]).collect()))
    }
}

/// SORT to be written.
struct Answer {
    uids: Vec<Uid>,
    /// For message numbers.
    view: Option<UidSet>,
    found: Found,
    out: Vec<u8>,
}

impl Answer {
    fn write(&mut self) {
        let modseq = self.found.modseq_of(&self.found.uids);
        if let Some(view) = &self.view {
            let number = |uid: Uid| Uid::new(view.sequence_of(uid)?);
            self.uids = std::mem::take(&mut self.uids).into_iter().filter_map(number).collect();
        }
        write_sort(&mut self.out, &self.uids, modseq);
    }
}

/// Writes SORT; where it is long, on a worker thread.
async fn answer(
    context: &mut Context<'_>,
    numbering: Numbering,
    uids: Vec<Uid>,
    found: Found,
) -> Result<(), Failed> {
    let view = (numbering == Numbering::Sequence).then(|| context.selected.view.clone());
    let mut answer = Answer { uids, view, found, out: Vec::new() };
    if answer.uids.len() <= INLINE_MAX {
        answer.write();
    } else {
        let workers = context.workers();
        (answer, ()) = on_worker(workers.pool(), &workers.store, answer, |answer: &mut Answer, _: &Store| {
            answer.write()
        })
        .await?;
    }
    context.out.buffer.append(&mut answer.out);
    Ok(())
}
