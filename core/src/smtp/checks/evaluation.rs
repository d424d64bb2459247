//! Evaluations of DMARC that are kept for reports (product 6.5).

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;

use postrider_authentication::dmarc;
use postrider_proto::address::ForwardPath;
use postrider_proto::smtp::envelope::Envelope;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::evaluations::{self, EvaluationId};
use postrider_storage::ids::BlobId;
use postrider_storage::rows::{Disposition, EvaluationRow};
use tracing::debug;

use super::decision::Decision;
use super::examination::Evidence;
use crate::commit;
use crate::metrics::{Limit, Reason};
use crate::runtime::spawn;
use crate::shard::Shard;

/// Evaluations that a shard keeps in an hour.
const HOURLY_MAX: u32 = 10_000;

/// How many evaluations were kept in the present hour.
#[derive(Default)]
pub struct Hourly(Cell<(i64, u32)>);

impl Hourly {
    /// Counts one, if there is room.
    fn take(&self, now: i64) -> bool {
        let hour = now.div_euclid(3600);
        let (known, count) = self.0.get();
        let count = if known == hour { count } else { 0 };
        if count >= HOURLY_MAX {
            return false;
        }
        self.0.set((hour, count + 1));
        true
    }
}

/// What was decided where a message goes.
pub(in crate::smtp) struct Treated<'a> {
    /// The decision.
    pub(in crate::smtp) decision: &'a Decision,
    /// Why what DMARC says doesn't count.
    pub(in crate::smtp) dmarc_override: Option<&'static str>,
    /// Refused, and kept where such mail goes.
    pub(in crate::smtp) is_kept: bool,
    /// It is a report of another server, or comes to where these are read.
    pub(in crate::smtp) is_about_reports: bool,
}

/// What is kept of an evaluation; none for a domain that wants no reports, or when the message was refused for
/// something else.
pub(in crate::smtp) fn row(
    client: IpAddr,
    envelope: &Envelope,
    evidence: &Evidence,
    dmarc: &dmarc::Verdict,
    is_vouched_for: bool,
    treated: &Treated<'_>,
) -> Option<EvaluationRow> {
    let policies = dmarc.policies.as_ref()?;
    let Treated { decision, dmarc_override, is_kept, is_about_reports } = treated;
    let fails_here = decision.reason == Reason::DmarcPolicy;
    let refused_by_dmarc = fails_here && !is_kept;
    let is_refused = decision.refusal.is_some() && !is_kept;
    if policies.record.aggregate_reports.is_empty() || (is_refused && !refused_by_dmarc) {
        return None;
    }
    let disposition = match (fails_here, *is_kept) {
        (false, _) => Disposition::None,
        (true, true) => Disposition::Quarantine,
        (true, false) => Disposition::Reject,
    };
    let failed = dmarc.result == dmarc::DmarcResult::Fail;
    let mut overrides = Vec::new();
    if dmarc.sampled_out {
        overrides.push("sampled_out");
    }
    if dmarc.testing {
        overrides.push("policy_test_mode");
    }
    let is_spared = dmarc.applied != dmarc::Policy::None && decision.refusal.is_none();
    let is_eased = disposition == Disposition::Quarantine && dmarc.applied == dmarc::Policy::Reject;
    match dmarc_override {
        Some(word) => overrides.push(word),
        None if failed && (is_vouched_for || is_spared || is_eased) => overrides.push("local_policy"),
        None => {}
    }
    let spf = &evidence.spf.value;
    let recipient = envelope.recipients.iter().find_map(|recipient| match &recipient.path {
        ForwardPath::Address(address) => Some(address.domain.as_str()),
        _ => None,
    });
    let mut dkim = String::new();
    for signature in &evidence.dkim.value {
        let (Some(domain), Some(selector)) = (&signature.domain, &signature.selector) else { continue };
        let line = format!("{domain} {selector} {}\n", signature.result.word());
        if dkim.len() + line.len() <= EvaluationRow::TEXT_OCTETS_MAX {
            dkim += &line;
        }
    }
    let cut = |text: &str| -> Box<str> {
        let end =
            (0..=text.len().min(EvaluationRow::TEXT_OCTETS_MAX)).rev().find(|at| text.is_char_boundary(*at));
        text[..end.unwrap_or(0)].into()
    };
    Some(EvaluationRow {
        // Whose mail is refused may be anybody; reports alone would tell them that their mail was looked at. And a
        // report about nothing but reports would be answered by another one.
        optional: refused_by_dmarc || *is_about_reports,
        disposition,
        dkim_aligned: dmarc.aligned_dkim,
        spf_aligned: dmarc.aligned_spf,
        overrides: overrides.join(" ").into(),
        source: client.to_canonical(),
        policy_domain: policies.domain.as_str().into(),
        record: cut(&policies.text),
        header_from: dmarc.domain.as_ref().map(|domain| domain.as_str()).unwrap_or_default().into(),
        envelope_from: envelope.reverse_path.address().map(|a| a.domain.as_str()).unwrap_or_default().into(),
        envelope_to: recipient.unwrap_or_default().into(),
        spf_domain: cut(&spf.domain),
        spf_result: spf.result.word().into(),
        dkim: dkim.trim_end().into(),
    })
}

/// Keeps an evaluation, one of several of a message when its recipients decide differently. Nobody waits for it: what is
/// lost in a crash is missing in a report.
pub(in crate::smtp) fn keep(
    shard: &Rc<Shard>,
    now: i64,
    (blob, recipient): (BlobId, u32),
    row: &EvaluationRow,
) {
    if !shard.shared.config.reports.dmarc {
        return;
    }
    if !shard.evaluations.take(now) {
        shard.recorder.increment(shard.shared.metrics.limit(Limit::Evaluations));
        return;
    }
    let mut batch = Batch::new();
    evaluations::record(&mut batch, EvaluationId { time: now, blob, recipient }, row);
    let committer = std::sync::Arc::clone(&shard.shared.committer);
    spawn("keep an evaluation", async move {
        if let Err(error) = commit::commit(&committer, batch, Durability::Buffered).await {
            debug!(%error, "an evaluation of DMARC is lost");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_room_for_so_many() {
        let hourly = Hourly::default();
        assert!((0..HOURLY_MAX).all(|_| hourly.take(7200)));
        assert!(!hourly.take(7200 + 3599));
        assert!(hourly.take(7200 + 3600));
    }
}
