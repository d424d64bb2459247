//! What is noted of a message to an address where reports of other servers are read: who confirms it, as long as that is
//! known.

use postrider_authentication::content::Content;
use postrider_authentication::dkim::{self, Reason, SignatureResult};
use postrider_authentication::dmarc;
use postrider_authentication::keys::KeyFault;
use postrider_authentication::spf::{self, SpfResult};
use postrider_dns::Lookup;
use postrider_proto::address::Address;
use postrider_proto::dkim::key::Service;
use postrider_storage::directory::ReportKinds;
use postrider_storage::rows::ReportTodoRow;

use super::examination::Evidence;
use crate::smtp::recipients::Place;

/// Signatures of a message whose keys are looked at again.
pub(super) const SIGNATURES_MAX: u32 = 10;

/// The reports that are read where a message goes. What is only kept although it was refused isn't read.
pub(in crate::smtp) fn kinds(places: &[Place]) -> ReportKinds {
    places.iter().flat_map(Place::reads).fold(ReportKinds::default(), ReportKinds::or)
}

/// What is noted of a message that nothing confirms.
pub(in crate::smtp) fn unconfirmed(kinds: ReportKinds, from: Option<&Address>, now: i64) -> ReportTodoRow {
    ReportTodoRow {
        kinds,
        received: now,
        dmarc: false,
        submitted: false,
        from: from.map(|from| from.domain.as_str()).unwrap_or_default().into(),
        spf: "".into(),
        signers: "".into(),
        tls_signers: "".into(),
    }
}

/// Adds what checks found out.
pub(super) fn confirm(todo: ReportTodoRow, evidence: &Evidence, dmarc: &dmarc::Verdict) -> ReportTodoRow {
    let spf = &evidence.spf.value;
    let is_sender = spf.result == SpfResult::Pass && spf.identity == spf::Identity::MailFrom;
    ReportTodoRow {
        dmarc: dmarc.result == dmarc::DmarcResult::Pass
            && dmarc.domain.as_ref().is_some_and(|domain| domain.as_str() == &*todo.from),
        spf: if is_sender { spf.domain.to_ascii_lowercase().into() } else { "".into() },
        signers: signers(&evidence.dkim.value),
        ..todo
    }
}

/// Whether a signature could count for a report on TLS alone: domains may have keys that are for nothing else
/// (RFC 8460 §3).
pub(super) fn has_key_for_reports(evidence: &Evidence) -> bool {
    evidence.dkim.value.iter().any(|one| one.reason == Some(Reason::Key(KeyFault::Service)))
}

/// The domains whose signatures pass as those of a report on TLS.
pub(super) async fn tls_signers(content: &Content, now: u64, dns: &impl Lookup) -> Box<str> {
    let policy = dkim::Policy { service: Service::TlsReports, ..dkim::Policy::default() };
    signers(&dkim::verify(content, &policy, now, dns).await)
}

/// The domains whose signatures pass. One that is of a part of the body may have another report behind that
/// (RFC 8460 §3 forbids `l=`).
fn signers(results: &[SignatureResult]) -> Box<str> {
    let passed = results.iter().filter(|one| one.result.word() == "pass" && one.body_length.is_none());
    let mut text = String::new();
    for domain in passed.filter_map(|one| one.domain.as_ref()) {
        let known = text.split(' ').any(|one| one == domain.as_str());
        if !known && text.len() + 1 + domain.as_str().len() <= ReportTodoRow::TEXT_OCTETS_MAX {
            if !text.is_empty() {
                text.push(' ');
            }
            text += domain.as_str();
        }
    }
    text.into()
}
