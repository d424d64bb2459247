//! THREAD and UID THREAD (RFC 5256 §3, REFS: draft-ietf-morg-inthread).
//!
//! As SORT: messages are searched, then what they refer to is read from their structure records on worker
//! threads, some at a time. What is held is hashes and numbers, bounded like the keys of SORT.

use std::sync::Arc;

use postrider_proto::imap::command::{Thread, ThreadAlgorithm};
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::thread::{Member, Threads};
use postrider_proto::imap::types::Uid;
use postrider_proto::imap::uidset::UidSet;
use postrider_proto::mime::collation::fold;
use postrider_proto::mime::record::PartRef;
use postrider_proto::mime::{FieldName, header, subject};
use postrider_storage::account::hash;
use postrider_storage::rows::MessageRow;
use postrider_storage::store::Store;

use super::search::{Failed, Place, Wanted, Workers, end, find, refuse, tree};
use super::sort::memory::Room;
use super::sort::order::Order;
use super::sort::walk::{Depth, Walk};
use super::sort::{RUN_COMPARISONS, sent};
use crate::imap::content::on_worker;
use crate::imap::progress::telling;
use crate::imap::session::{Completion, Context, Ended};

/// Steps up the trees that hostile references may cost: some seconds of a worker thread, in short runs.
const STEPS_MAX: u64 = 1_000_000_000;

/// Does it.
pub async fn thread(context: &mut Context<'_>, command: Thread) -> Result<Completion, Ended> {
    let tree = Arc::new(tree(context, &command.key));
    let (workers, place) = (context.workers(), context.place());
    let finding = find(&workers, tree, &place, Wanted::Every);
    let found =
        match telling(context.limit.progress, context.out, context.tag, workers.counts(), finding).await? {
            Ok(found) => found,
            Err(failed) => return Ok(refuse(context, None, &failed)),
        };
    // Threads would be torn (RFC 9738 §3.3).
    if let Some(refused) = context.limit.refuses(&found.uids, "too many messages, thread some of them") {
        return Ok(refused);
    }
    let threading = threaded(&workers, &place, command.algorithm, command.numbering, found.uids);
    match telling(context.limit.progress, context.out, context.tag, workers.counts(), threading).await? {
        Ok(mut response) => context.out.buffer.append(&mut response),
        Err(failed) => return Ok(refuse(context, None, &failed)),
    }
    end(context, command.numbering).await?;
    Ok(Completion::ok("THREAD done"))
}

/// The THREAD response for messages.
async fn threaded(
    workers: &Workers,
    place: &Place,
    algorithm: ThreadAlgorithm,
    numbering: Numbering,
    uids: UidSet,
) -> Result<Vec<u8>, Failed> {
    let mut threading = Threading::new(place, algorithm, numbering, uids);
    loop {
        let run = |threading: &mut Threading, store: &Store| threading.run(store);
        let (state, done) = on_worker(workers.pool(), &workers.store, threading, run).await?;
        threading = state;
        if let Some(response) = done? {
            return Ok(response);
        }
    }
}

/// Threads under way.
pub struct Threading {
    walk: Walk,
    /// For message numbers.
    view: Option<UidSet>,
    threads: Threads,
    order: Option<Order>,
    room: Room,
}

impl Threading {
    /// Threads of some messages of a mailbox.
    pub fn new(place: &Place, algorithm: ThreadAlgorithm, numbering: Numbering, uids: UidSet) -> Self {
        Self {
            walk: Walk::new((place.account, place.mailbox), uids, Depth::Structures),
            view: (numbering == Numbering::Sequence).then(|| place.view.clone()),
            threads: Threads::new(algorithm),
            order: None,
            room: Room::default(),
        }
    }

    /// Goes on for some ten milliseconds; the response once it is made.
    pub fn run(&mut self, store: &Store) -> Result<Option<Vec<u8>>, Failed> {
        if !self.walk.is_finished() {
            let (threads, view) = (&mut self.threads, self.view.as_ref());
            let mut references = Vec::new();
            self.walk.run(store, |uid, row, root| {
                let number = match view {
                    None => Some(uid),
                    Some(view) => view.sequence_of(uid).and_then(Uid::new),
                };
                if let (Some(number), Some(root)) = (number, root) {
                    push(threads, number, row, root, &mut references);
                }
            })?;
            self.room.hold(self.threads.octets())?;
            let is_endless = self.threads.steps() > STEPS_MAX;
            return if is_endless { Err(Failed::TooMany) } else { Ok(None) };
        }
        let threads = &self.threads;
        let order = self.order.get_or_insert_with(|| Order::new(threads.len()));
        if !order.step(RUN_COMPARISONS, |a, b| threads.compare(a, b)) {
            return Ok(None);
        }
        let order = std::mem::take(order).into_sorted();
        let threads = std::mem::replace(&mut self.threads, Threads::new(ThreadAlgorithm::Refs));
        let mut response = Vec::new();
        threads.write(&order, &mut response);
        Ok(Some(response))
    }
}

/// Adds a message, reading no more of it than the algorithm needs.
fn push(threads: &mut Threads, number: Uid, row: &MessageRow, root: &PartRef<'_>, references: &mut Vec<u64>) {
    references.clear();
    let mut id = None;
    if threads.needs_references() {
        id = first_id(root, FieldName::MessageId);
        if let Some(value) = root.field(FieldName::References) {
            header::each_message_id(value, |id| {
                references.push(hash(id));
                true
            });
        }
        if references.is_empty() {
            references.extend(first_id(root, FieldName::InReplyTo));
        }
    }
    let (mut base, mut is_reply) = (0, false);
    if threads.needs_subjects()
        && let Some(value) = root.field(FieldName::Subject)
    {
        let subject = subject::base_subject(value);
        if !subject.text.is_empty() {
            base = hash(fold(&subject.text).as_bytes());
        }
        is_reply = subject.is_reply;
    }
    let sent = sent(row, Some(root));
    threads.push(&Member { number, id, references, sent, received: row.received, subject: base, is_reply });
}

/// The hash of the first valid message id in a field.
fn first_id(root: &PartRef<'_>, field: FieldName) -> Option<u64> {
    let mut first = None;
    header::each_message_id(root.field(field)?, |id| {
        first = Some(hash(id));
        false
    });
    first
}
