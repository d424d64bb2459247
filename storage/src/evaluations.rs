//! Evaluations of DMARC that wait to be reported, by the report that they are to be in.
//!
//! A report is about the mail of one policy domain in one interval, and due at its end. They are ordered by that time, so
//! that what a round of reports has to do is one range from the beginning, and so is what nobody reported in time.

use postrider_proto::dmarc::Record;
use postrider_proto::dmarc::report::Interval;
use tracing::{info, warn};

use crate::engine::{Batch, Durability, Space};
use crate::ids::BlobId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::EvaluationRow;
use crate::store::{Store, StoreError};

/// Seconds for which an evaluation may be reported.
pub const RETENTION_SECONDS: i64 = 48 * 60 * 60;
/// Octets from which on what was converted is committed.
const BATCH_OCTETS: usize = 1024 * 1024;
/// The longest domain that there is.
const DOMAIN_OCTETS_MAX: usize = 253;

/// Which evaluation: messages have a content each, and some recipients.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EvaluationId {
    /// When the message came, seconds since 1970.
    pub time: i64,
    /// The content that it has or was to have.
    pub blob: BlobId,
    /// The recipient's place in the envelope.
    pub recipient: u32,
}

/// Which report.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Group {
    /// The end of its interval, seconds since 1970.
    pub due: i64,
    /// The domain that the policy is of.
    pub domain: Box<str>,
}

/// An evaluation with its number.
pub type Evaluation = (EvaluationId, EvaluationRow);

/// The interval that the record of an evaluation asks for.
#[must_use]
pub fn interval(time: i64, row: &EvaluationRow) -> Interval {
    Interval::of(time, &Record::parse(row.record.as_bytes()).unwrap_or_default())
}

/// Adds an evaluation to a batch. One with too long a text is left out.
pub fn record(batch: &mut Batch, id: EvaluationId, row: &EvaluationRow) {
    let is_domain = row.policy_domain.len() <= DOMAIN_OCTETS_MAX && !row.policy_domain.contains('\0');
    if let Some(value) = row.encode().filter(|_| is_domain) {
        let group = Group { due: interval(id.time, row).end, domain: row.policy_domain.clone() };
        batch.insert(Space::Rows, keys::evaluation(&group, id), value);
    }
}

/// All evaluations.
pub fn all(reader: &Reader) -> impl Iterator<Item = Result<Evaluation, StoreError>> + '_ {
    reader.prefix(&keys::of_table(SYSTEM, table::EVALUATION)).map(|row| {
        let (key, value) = row?;
        Ok((keys::evaluation_parts(&key)?.1, EvaluationRow::decode(&value)?))
    })
}

/// Reports that are due at a time, in order, behind one; at most so many. One seek for each.
pub fn due(
    reader: &Reader,
    until: i64,
    after: Option<&Group>,
    groups_max: usize,
) -> Result<Vec<Group>, StoreError> {
    let all = keys::of_table(SYSTEM, table::EVALUATION);
    let mut next = after.map_or_else(|| Some(all.clone()), |group| keys::after(&keys::evaluations(group)));
    let mut found: Vec<Group> = Vec::new();
    while let Some(from) = next.filter(|_| found.len() < groups_max) {
        let Some(row) = reader.from(&from, &all).next() else { break };
        let (group, _) = keys::evaluation_parts(&row?.0)?;
        if group.due > until {
            break;
        }
        next = keys::after(&keys::evaluations(&group));
        found.push(group);
    }
    Ok(found)
}

/// The evaluations of a report, by time.
pub fn of<'a>(
    reader: &'a Reader,
    group: &Group,
) -> impl Iterator<Item = Result<Evaluation, StoreError>> + use<'a> {
    reader.prefix(&keys::evaluations(group)).map(|row| {
        let (key, value) = row?;
        Ok((keys::evaluation_parts(&key)?.1, EvaluationRow::decode(&value)?))
    })
}

/// Removes one.
pub fn remove(batch: &mut Batch, group: &Group, id: EvaluationId) {
    batch.remove(Space::Rows, keys::evaluation(group, id));
}

/// The batch that removes evaluations of a report, at most `rows_max`, and how many.
pub fn remove_of(reader: &Reader, group: &Group, rows_max: usize) -> Result<(Batch, usize), StoreError> {
    let mut batch = Batch::new();
    let mut count = 0;
    for row in reader.prefix(&keys::evaluations(group)).take(rows_max) {
        batch.remove(Space::Rows, row?.0);
        count += 1;
    }
    Ok((batch, count))
}

/// The batch that removes evaluations whose reports were due before `time`, at most `rows_max` of them, and how many it
/// removes.
pub fn remove_before(reader: &Reader, time: i64, rows_max: usize) -> Result<(Batch, usize), StoreError> {
    let mut batch = Batch::new();
    let mut count = 0;
    for row in reader.prefix(&keys::of_table(SYSTEM, table::EVALUATION)).take(rows_max) {
        let (key, _) = row?;
        if keys::evaluation_parts(&key)?.0.due >= time {
            break;
        }
        batch.remove(Space::Rows, key);
        count += 1;
    }
    Ok((batch, count))
}

/// Puts evaluations of formats 1 and 2 of the store, in a table by time, where they are looked for now. Nothing else may use
/// the store meanwhile. Each batch takes what it puts elsewhere, so the work may be cut off behind any of them, and goes on
/// when the store is opened again. The last one isn't synced: the caller syncs by writing the format.
pub(crate) fn convert(store: &Store) -> Result<(), StoreError> {
    let reader = store.reader();
    let (mut batch, mut moved) = (Batch::new(), 0_u64);
    for row in reader.prefix(&keys::of_table(SYSTEM, table::EVALUATION_V1)) {
        let (key, value) = row?;
        let read = || Ok::<_, StoreError>((keys::evaluation_v1_parts(&key)?, EvaluationRow::decode(&value)?));
        match read() {
            Ok((id, row)) => record(&mut batch, id, &row),
            // It is a line of a report; what else was damaged with it, verifydata tells.
            Err(error) => warn!(%error, "an evaluation of DMARC can't be read, and won't be reported"),
        }
        moved += 1;
        batch.remove(Space::Rows, key);
        if batch.octets() >= BATCH_OCTETS {
            store.engine().commit(std::mem::take(&mut batch), Durability::Buffered)?;
        }
    }
    if moved > 0 {
        info!(moved, "evaluations of DMARC were converted");
        store.engine().commit(batch, Durability::Buffered)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use super::*;
    use crate::committer::{self, Committer};
    use crate::engine::memory::{Crash, Fault, MemoryEngine};
    use crate::engine::{Durability, Engine};
    use crate::rows::{Disposition, FormatRow};
    use crate::store::Store;
    use crate::verify;

    fn row(domain: &str) -> EvaluationRow {
        EvaluationRow {
            optional: false,
            disposition: Disposition::Reject,
            dkim_aligned: false,
            spf_aligned: true,
            overrides: "".into(),
            source: "192.0.2.1".parse().unwrap(),
            policy_domain: domain.into(),
            record: "v=DMARC1; p=reject".into(),
            header_from: domain.into(),
            envelope_from: "".into(),
            envelope_to: "us.example".into(),
            spf_domain: domain.into(),
            spf_result: "pass".into(),
            dkim: "".into(),
        }
    }

    struct World {
        store: Arc<Store>,
        committer: Committer,
    }

    impl World {
        fn new() -> Self {
            let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
            let store = Arc::new(Store::open(Arc::clone(&engine)).unwrap());
            let committer = Committer::start(engine, committer::Limits::default(), |_| {}).unwrap();
            Self { store, committer }
        }

        fn commit(&self, batch: Batch) {
            self.committer.commit_blocking(batch, Durability::Synced).unwrap();
        }

        fn due(&self, until: i64) -> Vec<(i64, String)> {
            let groups = due(&self.store.reader(), until, None, 100).unwrap();
            groups.into_iter().map(|group| (group.due, group.domain.into())).collect()
        }

        fn counted(&self) -> u64 {
            let report = verify::verify(self.store.reader(), None, &mut |_| {}).unwrap();
            assert!(report.is_clean(), "{:?}", report.violations);
            report.counts.evaluations
        }
    }

    fn id(time: i64) -> EvaluationId {
        EvaluationId { time, blob: BlobId(7), recipient: 0 }
    }

    fn hourly(domain: &str) -> EvaluationRow {
        EvaluationRow { record: "v=DMARC1; p=reject; ri=3600".into(), ..row(domain) }
    }

    #[test]
    fn evaluations_are_found_by_their_reports_and_go_when_these_are_late() {
        let world = World::new();
        let mut batch = Batch::new();
        for time in [1, 86_399, 86_400] {
            record(&mut batch, id(time), &row("b.example"));
        }
        record(&mut batch, id(3600), &hourly("b.example"));
        record(&mut batch, id(10), &hourly("a.example"));
        record(&mut batch, id(20), &hourly("b.example"));
        record(&mut batch, id(40), &row(&"x".repeat(DOMAIN_OCTETS_MAX + 1)));
        record(&mut batch, id(40), &EvaluationRow { dkim: "x".repeat(5000).into(), ..row("c.example") });
        world.commit(batch);
        assert_eq!(world.counted(), 6, "what is too long is left out");
        let a = |due| (due, "a.example".to_owned());
        let b = |due| (due, "b.example".to_owned());
        assert_eq!(world.due(3599), []);
        assert_eq!(world.due(3600), [a(3600), b(3600)]);
        assert_eq!(world.due(86_400), [a(3600), b(3600), b(7200), b(86_400)]);
        let reader = world.store.reader();
        let first = due(&reader, i64::MAX, None, 1).unwrap().pop().unwrap();
        assert_eq!((first.due, &*first.domain), (3600, "a.example"));
        let behind = due(&reader, i64::MAX, Some(&first), 2).unwrap();
        assert_eq!(behind.iter().map(|group| group.due).collect::<Vec<_>>(), [3600, 7200]);
        let group = Group { due: 86_400, domain: "b.example".into() };
        let found: Vec<_> = of(&reader, &group).map(|row| row.unwrap().0.time).collect();
        assert_eq!(found, [1, 86_399]);
        let mut batch = Batch::new();
        remove(&mut batch, &group, id(1));
        world.commit(batch);
        let (batch, count) =
            remove_of(&reader, &Group { due: 86_400, domain: "a.example".into() }, 9).unwrap();
        assert_eq!((batch.is_empty(), count), (true, 0));
        for (rows_max, left) in [(1, 4), (10, 3), (10, 3)] {
            let (batch, _) = remove_before(&world.store.reader(), 3601, rows_max).unwrap();
            world.commit(batch);
            assert_eq!(world.counted(), left);
        }
        assert_eq!(world.due(i64::MAX), [b(7200), b(86_400), b(172_800)]);
        let (batch, count) = remove_of(&world.store.reader(), &group, 9).unwrap();
        world.commit(batch);
        assert_eq!((count, world.due(i64::MAX)), (1, vec![b(7200), b(172_800)]));
    }

    /// A store of format 2 with evaluations, so many that a conversion has several batches, and one that can't be read.
    fn earlier(count: i64) -> Arc<MemoryEngine> {
        let engine = Arc::new(MemoryEngine::new());
        let mut batch = Batch::new();
        for time in 0..count {
            batch.insert(Space::Rows, keys::evaluation_v1(id(time)), hourly("a.example").encode().unwrap());
        }
        batch.insert(Space::Rows, keys::evaluation_v1(id(count)), [1, 2, 3]);
        batch.insert(Space::Rows, keys::format(), FormatRow { format: 2, converting: 0 }.encode());
        engine.commit(batch, Durability::Synced).unwrap();
        engine
    }

    #[test]
    fn evaluations_of_earlier_formats_find_their_reports_wherever_the_conversion_is_cut_off() {
        const COUNT: i64 = 12_000;
        let mut cut = 0;
        for nth in 1.. {
            let engine = earlier(COUNT);
            engine.fail_commit(nth, Fault::Write);
            let opened = Store::open(Arc::clone(&engine) as Arc<dyn Engine>);
            let is_done = opened.is_ok();
            drop(opened);
            if !is_done {
                cut += 1;
                engine.crash(Crash::KeepUnsynced(engine.unsynced() / 2));
            }
            let store = Store::open(Arc::clone(&engine) as Arc<dyn Engine>).unwrap();
            let reader = store.reader();
            let times: Vec<_> = all(&reader).map(|row| row.unwrap().0.time).collect();
            assert_eq!(times, (0..COUNT).collect::<Vec<_>>());
            let groups = due(&reader, i64::MAX, None, 100).unwrap();
            assert_eq!(
                groups.iter().map(|group| group.due).collect::<Vec<_>>(),
                [3600, 7200, 10_800, 14_400]
            );
            let row = of(&reader, &groups[0]).next().unwrap().unwrap().1;
            assert_eq!(row, hourly("a.example"));
            let report = verify::verify(reader, None, &mut |_| {}).unwrap();
            assert!(report.is_clean(), "{:?}", report.violations);
            if is_done {
                break;
            }
        }
        assert!(cut > 4, "there were several batches: {cut}");
    }
}
