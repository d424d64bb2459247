//! Finds the places of new messages in an order, for live searches: by reading the keys of the messages
//! that a binary search meets, so that no keys are held in between.

use std::cmp::Ordering;
use std::sync::Arc;

use postrider_proto::imap::command::SortCriterion;
use postrider_proto::imap::types::Uid;
use postrider_storage::reader::Reader;
use postrider_storage::store::{Store, StoreError};

use super::keys::Columns;
use super::walk::{Depth, read};
use crate::imap::commands::search::{Failed, Place, Workers};
use crate::imap::content::on_worker;

/// Messages that are inserted in one run.
const RUN: usize = 64;

/// Messages on their way into an order.
struct Insertion {
    place: Place,
    criteria: Arc<[SortCriterion]>,
    sorted: Vec<Uid>,
    /// From the back.
    new: Vec<Uid>,
    places: Vec<(u32, Uid)>,
}

/// Puts messages into an order. Also tells where each of them went, one after the other, counted from 0;
/// those that were removed meanwhile go nowhere.
pub async fn insert(
    workers: &Workers,
    place: &Place,
    criteria: Arc<[SortCriterion]>,
    sorted: Vec<Uid>,
    mut new: Vec<Uid>,
) -> Result<(Vec<Uid>, Vec<(u32, Uid)>), Failed> {
    new.reverse();
    let mut insertion = Insertion { place: place.clone(), criteria, sorted, new, places: Vec::new() };
    while !insertion.new.is_empty() {
        let run = |insertion: &mut Insertion, store: &Store| insertion.run(store);
        let (state, done) = on_worker(workers.pool(), &workers.store, insertion, run).await?;
        insertion = state;
        done?;
    }
    Ok((insertion.sorted, insertion.places))
}

impl Insertion {
    fn run(&mut self, store: &Store) -> Result<(), StoreError> {
        let reader = store.reader();
        for _ in 0..RUN {
            let Some(uid) = self.new.pop() else { break };
            let mut columns = Columns::new(&self.criteria);
            self.read(&reader, uid, &mut columns)?;
            if columns.len() == 0 {
                continue;
            }
            let at = self.place_of(&reader, uid, &mut columns)?;
            self.sorted.insert(at, uid);
            // A mailbox has fewer messages than there are uids.
            self.places.push((u32::try_from(at).unwrap_or(u32::MAX), uid));
        }
        Ok(())
    }

    /// Adds the keys of a message, unless it was removed.
    fn read(&self, reader: &Reader, uid: Uid, columns: &mut Columns) -> Result<(), StoreError> {
        let Place { account, mailbox, .. } = self.place;
        let depth = if columns.need_structure() { Depth::Structures } else { Depth::Rows };
        let Some(row) = reader.message(account, mailbox, uid)? else { return Ok(()) };
        read(reader, account, depth, uid, &row, &mut |_, row, root| columns.push(row, root))
    }

    /// Where the message belongs whose keys are the first in `columns`.
    fn place_of(&self, reader: &Reader, uid: Uid, columns: &mut Columns) -> Result<usize, StoreError> {
        let (mut from, mut to) = (0, self.sorted.len());
        while from < to {
            let middle = from.midpoint(to);
            // One that was removed has no keys any more: the next that has decides.
            let mut at = middle;
            let order = loop {
                let Some(other) = self.sorted[..to].get(at) else { break Ordering::Less };
                let known = columns.len();
                self.read(reader, *other, columns)?;
                if columns.len() > known {
                    break columns.compare(0, known).then(uid.cmp(other));
                }
                at += 1;
            };
            match order {
                Ordering::Greater => from = at + 1,
                _ => to = middle,
            }
        }
        Ok(from)
    }
}
