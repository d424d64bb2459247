//! Evaluations that say the same, as one record of a report.

use std::collections::BTreeMap;

use postrider_proto::dmarc::report::{
    AuthResult, Disposition, DkimResult, Outcome, OverrideType, Reason, Record, SpfResult, SpfScope,
};
use postrider_storage::evaluations::{Evaluation, EvaluationId, interval};
use postrider_storage::rows::{self, EvaluationRow};
use postrider_storage::store::StoreError;

/// Octets that a record takes besides its texts.
const RECORD_OCTETS: usize = 400;

/// How much one report has. What is left is in another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Evaluations.
    pub(super) rows: usize,
    /// Records.
    pub(super) records: usize,
    /// Octets of all records in memory.
    pub(super) octets: usize,
}

impl Limits {
    pub(super) const DEFAULT: Self = Self { rows: 50_000, records: 10_000, octets: 4 << 20 };
}

/// What a report is made of.
#[derive(Debug, Default)]
pub(super) struct Aggregate {
    /// The records, each with its count.
    pub(super) records: Vec<Record>,
    /// The evaluations in them, and those that are too old for any report.
    pub(super) ids: Vec<EvaluationId>,
    /// Where the interval of the first one begins.
    pub(super) begin: i64,
    /// The record of the domain that was evaluated last.
    pub(super) policy: Box<str>,
    /// Whether there are more for another report.
    pub(super) has_more: bool,
}

/// Puts evaluations together, of which those from before a time are left out.
pub(super) fn aggregate(
    rows: impl Iterator<Item = Result<Evaluation, StoreError>>,
    not_before: i64,
    limits: Limits,
) -> Result<Aggregate, StoreError> {
    let mut counts: BTreeMap<Record, u64> = BTreeMap::new();
    let mut made = Aggregate { begin: i64::MAX, ..Aggregate::default() };
    let mut octets = 0;
    for row in rows {
        let (id, row) = row?;
        if made.ids.len() == limits.rows {
            made.has_more = true;
            break;
        }
        if id.time < not_before {
            made.ids.push(id);
            continue;
        }
        let record = record_of(&row);
        match counts.get_mut(&record) {
            Some(count) => *count += 1,
            None => {
                octets += octets_of(&row);
                if counts.len() == limits.records || (octets > limits.octets && !counts.is_empty()) {
                    made.has_more = true;
                    break;
                }
                counts.insert(record, 1);
            }
        }
        made.ids.push(id);
        made.begin = made.begin.min(interval(id.time, &row).begin);
        made.policy = row.record;
    }
    made.records = counts.into_iter().map(|(record, count)| Record { count, ..record }).collect();
    Ok(made)
}

fn octets_of(row: &EvaluationRow) -> usize {
    let texts = [&row.overrides, &row.header_from, &row.envelope_from, &row.envelope_to, &row.spf_domain];
    // Each signature is a few words in the row, and some pointers more in memory.
    let signatures = row.dkim.len() + row.dkim.lines().count() * size_of::<DkimResult>();
    RECORD_OCTETS + signatures + texts.iter().map(|text| text.len()).sum::<usize>()
}

/// What is said of a message, with a count of zero.
fn record_of(row: &EvaluationRow) -> Record {
    let outcome = |is_aligned| if is_aligned { Outcome::Pass } else { Outcome::Fail };
    let text = |text: &str| (!text.is_empty()).then(|| text.into());
    let scope = if row.envelope_from.is_empty() { SpfScope::Helo } else { SpfScope::Mfrom };
    Record {
        source: Some(row.source),
        count: 0,
        disposition: match row.disposition {
            rows::Disposition::None => Disposition::None,
            rows::Disposition::Quarantine => Disposition::Quarantine,
            rows::Disposition::Reject => Disposition::Reject,
        },
        dkim: outcome(row.dkim_aligned),
        spf: outcome(row.spf_aligned),
        reasons: row
            .overrides
            .split_ascii_whitespace()
            .map(|word| Reason { kind: OverrideType::parse(word), comment: None })
            .collect(),
        header_from: row.header_from.clone(),
        envelope_from: Some(row.envelope_from.clone()),
        envelope_to: text(&row.envelope_to),
        dkim_results: row.dkim.lines().filter_map(signature).collect(),
        spf_results: vec![SpfResult {
            domain: row.spf_domain.clone(),
            scope: Some(scope),
            result: AuthResult::parse(&row.spf_result),
            human_result: None,
        }],
    }
}

/// A line of an evaluation: domain, selector and result.
fn signature(line: &str) -> Option<DkimResult> {
    let mut words = line.split_ascii_whitespace();
    let (domain, selector, result) = (words.next()?, words.next()?, words.next()?);
    Some(DkimResult {
        domain: domain.into(),
        selector: Some(selector.into()),
        result: AuthResult::parse(result),
        human_result: None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use postrider_storage::ids::BlobId;

    use super::*;

    fn row(domain: &str) -> EvaluationRow {
        EvaluationRow {
            optional: false,
            disposition: rows::Disposition::None,
            dkim_aligned: false,
            spf_aligned: true,
            overrides: "".into(),
            source: "192.0.2.1".parse().unwrap(),
            policy_domain: domain.into(),
            record: "v=DMARC1; p=reject".into(),
            header_from: domain.into(),
            envelope_from: domain.into(),
            envelope_to: "us.example".into(),
            spf_domain: domain.into(),
            spf_result: "pass".into(),
            dkim: "".into(),
        }
    }

    const SOME: Limits = Limits { rows: 100, records: 100, octets: 1 << 20 };

    fn of(rows: &[EvaluationRow], not_before: i64, limits: Limits) -> Aggregate {
        let id = |time| EvaluationId { time, blob: BlobId(1), recipient: 0 };
        let rows = (0..).zip(rows).map(|(hour, row)| Ok((id(hour * 3600), row.clone())));
        aggregate(rows, not_before, limits).unwrap()
    }

    #[test]
    fn what_differs_in_anything_is_a_record_of_its_own() {
        let base = row("them.example");
        let variants: Vec<EvaluationRow> = vec![
            EvaluationRow { source: "192.0.2.9".parse().unwrap(), ..base.clone() },
            EvaluationRow { disposition: rows::Disposition::Reject, ..base.clone() },
            EvaluationRow { dkim_aligned: !base.dkim_aligned, ..base.clone() },
            EvaluationRow { spf_aligned: !base.spf_aligned, ..base.clone() },
            EvaluationRow { overrides: "mailing_list".into(), ..base.clone() },
            EvaluationRow { overrides: "mailing_list sampled_out".into(), ..base.clone() },
            EvaluationRow { header_from: "sub.them.example".into(), ..base.clone() },
            EvaluationRow { envelope_from: "other.example".into(), ..base.clone() },
            EvaluationRow { envelope_to: "other.example".into(), ..base.clone() },
            EvaluationRow { dkim: "them.example s pass".into(), ..base.clone() },
            EvaluationRow { dkim: "them.example s fail".into(), ..base.clone() },
            EvaluationRow { dkim: "them.example s pass\nlist.example l pass".into(), ..base.clone() },
            EvaluationRow { spf_domain: "other.example".into(), ..base.clone() },
            EvaluationRow { spf_result: "softfail".into(), ..base.clone() },
        ];
        for variant in &variants {
            let made = of(&[base.clone(), variant.clone(), base.clone()], 0, SOME);
            let counts: Vec<u64> = made.records.iter().map(|record| record.count).collect();
            assert!(counts == [1, 2] || counts == [2, 1], "{variant:?}");
        }
        let all: Vec<EvaluationRow> = variants.iter().chain(&variants).cloned().collect();
        let made = of(&all, 0, SOME);
        assert_eq!((made.records.len(), made.ids.len()), (variants.len(), 2 * variants.len()));
        assert!(made.records.iter().all(|record| record.count == 2) && !made.has_more);
        // What the record says, and whether a report is due for it, makes no difference.
        let same = [
            EvaluationRow { optional: true, ..base.clone() },
            EvaluationRow { record: "v=DMARC1; p=quarantine; ri=3600".into(), ..base.clone() },
        ];
        let made = of(&same, 0, SOME);
        assert_eq!((made.records.len(), made.records[0].count), (1, 2));
        assert_eq!((&*made.policy, made.begin), ("v=DMARC1; p=quarantine; ri=3600", 0));
    }

    #[test]
    fn a_record_says_what_was_found() {
        let row = EvaluationRow {
            disposition: rows::Disposition::Quarantine,
            overrides: "sampled_out local_policy".into(),
            envelope_from: "".into(),
            dkim: "a.example s1 pass\nb.example s2 temperror".into(),
            spf_domain: "mx.them.example".into(),
            spf_result: "none".into(),
            ..row("them.example")
        };
        let record = of(&[row], 0, SOME).records.pop().unwrap();
        let kinds: Vec<&str> = record.reasons.iter().map(|reason| reason.kind.name()).collect();
        assert_eq!(kinds, ["sampled_out", "local_policy"]);
        assert_eq!(
            (record.disposition, record.dkim, record.spf),
            (Disposition::Quarantine, Outcome::Fail, Outcome::Pass)
        );
        assert_eq!(record.envelope_from.as_deref(), Some(""));
        let dkim: Vec<_> = record
            .dkim_results
            .iter()
            .map(|one| (&*one.domain, one.selector.as_deref(), one.result.name()))
            .collect();
        assert_eq!(dkim, [("a.example", Some("s1"), "pass"), ("b.example", Some("s2"), "temperror")]);
        let spf = &record.spf_results[0];
        assert_eq!(
            (&*spf.domain, &spf.scope, &spf.result),
            ("mx.them.example", &Some(SpfScope::Helo), &AuthResult::None)
        );
    }

    #[test]
    fn what_is_too_old_is_in_no_report() {
        let rows = [row("them.example"), row("them.example"), row("them.example")];
        let made = of(&rows, 3601, SOME);
        assert_eq!((made.ids.len(), made.records[0].count), (3, 1));
        let made = of(&rows, 7201, SOME);
        assert_eq!((made.ids.len(), made.records.len()), (3, 0));
    }

    #[test]
    fn a_report_has_so_much_and_the_next_one_the_rest() {
        let same = vec![row("them.example"); 5];
        let made = of(&same, 0, Limits { rows: 5, ..SOME });
        assert_eq!((made.ids.len(), made.has_more), (5, false));
        let made = of(&same, 0, Limits { rows: 4, ..SOME });
        assert_eq!((made.ids.len(), made.records[0].count, made.has_more), (4, 4, true));
        let differ: Vec<EvaluationRow> = (0..5_u8)
            .map(|number| EvaluationRow { source: [192, 0, 2, number].into(), ..row("them.example") })
            .collect();
        let made = of(&differ, 0, Limits { records: 5, ..SOME });
        assert_eq!((made.records.len(), made.has_more), (5, false));
        let made = of(&differ, 0, Limits { records: 4, ..SOME });
        assert_eq!((made.records.len(), made.ids.len(), made.has_more), (4, 4, true));
        let one = octets_of(&differ[0]);
        let made = of(&differ, 0, Limits { octets: 3 * one, ..SOME });
        assert_eq!((made.records.len(), made.has_more), (3, true));
        // One is always taken.
        let made = of(&differ, 0, Limits { octets: 0, ..SOME });
        assert_eq!((made.records.len(), made.has_more), (1, true));
    }
}
