//! Evaluations of DMARC that wait to be reported, by the time of the message.
//!
//! They are removed when they are too old to be reported: [`remove_before`].

use crate::engine::{Batch, Space};
use crate::ids::BlobId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::EvaluationRow;
use crate::store::StoreError;

/// Seconds for which an evaluation is kept.
pub const RETENTION_SECONDS: i64 = 48 * 60 * 60;

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

/// Adds an evaluation to a batch. One with too long a text is left out.
pub fn record(batch: &mut Batch, id: EvaluationId, row: &EvaluationRow) {
    if let Some(row) = row.encode() {
        batch.insert(Space::Rows, keys::evaluation(id), row);
    }
}

/// All evaluations from a time on.
pub fn since(
    reader: &Reader,
    time: i64,
) -> impl Iterator<Item = Result<(EvaluationId, EvaluationRow), StoreError>> + '_ {
    reader.from(&keys::evaluations_from(time), &keys::of_table(SYSTEM, table::EVALUATION)).map(|row| {
        let (key, value) = row?;
        Ok((keys::evaluation_parts(&key)?, EvaluationRow::decode(&value)?))
    })
}

/// The batch that removes evaluations from before `time`, at most `rows_max` of them, and how many it removes.
pub fn remove_before(reader: &Reader, time: i64, rows_max: usize) -> Result<(Batch, usize), StoreError> {
    let mut batch = Batch::new();
    let mut count = 0;
    for row in reader.prefix(&keys::of_table(SYSTEM, table::EVALUATION)).take(rows_max) {
        let (key, _) = row?;
        if keys::evaluation_parts(&key)?.time >= time {
            break;
        }
        batch.remove(Space::Rows, key);
        count += 1;
    }
    Ok((batch, count))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use super::*;
    use crate::committer::{self, Committer};
    use crate::engine::memory::MemoryEngine;
    use crate::engine::{Durability, Engine};
    use crate::rows::Disposition;
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

    #[test]
    fn evaluations_are_found_by_time_and_go_when_they_are_old() {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        let store = Arc::new(Store::open(Arc::clone(&engine)).unwrap());
        let committer = Committer::start(engine, committer::Limits::default(), |_| {}).unwrap();
        let id = |time| EvaluationId { time, blob: BlobId(7), recipient: 0 };
        let mut batch = Batch::new();
        for time in [-5, 10, 20, 30] {
            record(&mut batch, id(time), &row("them.example"));
        }
        record(&mut batch, id(40), &row(&"x".repeat(EvaluationRow::TEXT_OCTETS_MAX + 1)));
        committer.commit_blocking(batch, Durability::Synced).unwrap();
        let times = |from| {
            let found: Vec<_> = since(&store.reader(), from).map(|row| row.unwrap().0.time).collect();
            found
        };
        assert_eq!(times(i64::MIN), [-5, 10, 20, 30], "one with too long a text is left out");
        assert_eq!(times(20), [20, 30]);
        let report = verify::verify(store.reader(), None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.violations);
        assert_eq!(report.counts.evaluations, 4);
        for (rows_max, left) in [(1, &[10, 20, 30][..]), (10, &[20, 30]), (10, &[20, 30])] {
            let (batch, _) = remove_before(&store.reader(), 20, rows_max).unwrap();
            committer.commit_blocking(batch, Durability::Synced).unwrap();
            assert_eq!(times(i64::MIN), left);
        }
    }
}
