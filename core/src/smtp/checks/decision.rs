//! What becomes of a message, from what was found out about it (product 1.12).
//!
//! Pure: the same findings give the same decision. The steps are taken in their order, and the first that decides,
//! decides.

use postrider_proto::address::Domain;
use postrider_proto::dmarc::{DmarcResult, Policy};
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::reply::Class;
use postrider_proto::spf::SpfResult;

use crate::config::{Checks, Consequence};
use crate::metrics;

const DMARC_REFUSED: Reply =
    Reply::new(Class::Permanent, 50, (7, 26), "the domain in From wants such mail refused (DMARC)");
const DMARC_DEFERRED: Reply =
    Reply::new(Class::Transient, 51, (7, 26), "the domain in From wants such mail refused (DMARC)");
const DMARC_UNKNOWN: Reply = Reply::new(
    Class::Transient,
    51,
    (7, 26),
    "the domain in From wants mail refused that it doesn't confirm, which DNS does not say now (DMARC)",
);
const SPF_REFUSED: Reply =
    Reply::new(Class::Permanent, 50, (7, 23), "the sender's domain says that you may not send for it (SPF)");
const SPF_DEFERRED: Reply =
    Reply::new(Class::Transient, 51, (7, 23), "the sender's domain says that you may not send for it (SPF)");
const LISTED: Reply = Reply::new(Class::Permanent, 50, (7, 1), "your address is on a blocklist");
const LISTED_DEFERRED: Reply = Reply::new(Class::Transient, 51, (7, 1), "your address is on a blocklist");

/// What decisions rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::smtp) struct Findings {
    /// What SPF says.
    pub(in crate::smtp) spf: SpfResult,
    /// Whether any DKIM signature passed.
    pub(in crate::smtp) dkim_passed: bool,
    /// What DMARC says.
    pub(in crate::smtp) dmarc: DmarcResult,
    /// What the author's domain wants done with mail that fails, sampling applied.
    pub(in crate::smtp) policy: Policy,
    /// What it would want done, sampling applied, if DNS had said that nothing confirms the message, where DNS said
    /// nothing.
    pub(in crate::smtp) at_stake: Policy,
    /// A sealer that is trusted says that the message passed DMARC there.
    pub(in crate::smtp) vouched_for: bool,
    /// The blocklist that has the client's address; none, too, when none was asked yet.
    pub(in crate::smtp) blocklist: Option<Domain>,
}

/// What decides, in the order of product 1.12.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// 5: what the author's domain wants.
    DmarcPolicy,
    /// 9 to 11: what is known of the sender from earlier mail. Nothing is, yet: everybody is unknown.
    Reputation,
    /// 13: an unknown sender, and SPF says no.
    SpfPolicy,
    /// 14: an unknown sender without a name in DNS, with a reputation that is mildly bad. Needs a reputation.
    Iprev,
    /// 16: what the content looks like. Nothing looks at it, yet.
    Content,
    /// 17: an unknown sender whose address is on a blocklist.
    Blocklist,
}

const STEPS: [Step; 6] =
    [Step::DmarcPolicy, Step::Reputation, Step::SpfPolicy, Step::Iprev, Step::Content, Step::Blocklist];

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::smtp) struct Decision {
    /// Why: a word for logs, metrics and the header.
    pub(in crate::smtp) reason: metrics::Reason,
    /// What the client is told when the message isn't accepted.
    pub(in crate::smtp) refusal: Option<Reply>,
}

/// Decides what becomes of a message.
pub(in crate::smtp) fn decide(findings: &Findings, checks: &Checks) -> Decision {
    let decided = STEPS.iter().find_map(|step| take(*step, findings, checks));
    decided.unwrap_or(Decision { reason: metrics::Reason::NoBadSignals, refusal: None })
}

/// Whether mail that fails DMARC fails it here, too: quarantine is treated as refusal, since there is no place for
/// mail that is only half accepted.
pub(in crate::smtp) fn fails_dmarc(findings: &Findings) -> bool {
    findings.dmarc == DmarcResult::Fail && findings.policy != Policy::None && !findings.vouched_for
}

fn take(step: Step, findings: &Findings, checks: &Checks) -> Option<Decision> {
    match step {
        Step::DmarcPolicy if fails_dmarc(findings) => {
            refuse(checks.dmarc, metrics::Reason::DmarcPolicy, [DMARC_DEFERRED, DMARC_REFUSED])
        }
        // Whose key is asked for, the message says: with the name of one that can't be had, a forgery would get in. And
        // RFC 9989 §5.3.6 leaves it to the receiver.
        Step::DmarcPolicy if findings.at_stake != Policy::None && !findings.vouched_for => {
            refuse(checks.dmarc, metrics::Reason::DmarcUnknown, [DMARC_UNKNOWN, DMARC_UNKNOWN])
        }
        Step::SpfPolicy if fails_spf(findings) => {
            refuse(checks.spf_fail, metrics::Reason::SpfPolicy, [SPF_DEFERRED, SPF_REFUSED])
        }
        Step::Blocklist => {
            let zone = findings.blocklist.as_ref()?;
            let text = format!("your address is on the blocklist {zone}");
            let replies = [LISTED_DEFERRED, LISTED].map(|reply| reply.with_text(text.clone()));
            refuse(checks.blocklisted, metrics::Reason::Blocklisted, replies)
        }
        Step::DmarcPolicy | Step::SpfPolicy | Step::Reputation | Step::Iprev | Step::Content => None,
    }
}

/// Forwarded mail fails SPF as well: a signature shows that it is no more than that.
fn fails_spf(findings: &Findings) -> bool {
    let confirmed = findings.dkim_passed || findings.dmarc == DmarcResult::Pass || findings.vouched_for;
    matches!(findings.spf, SpfResult::Fail | SpfResult::Softfail) && !confirmed
}

fn refuse(consequence: Consequence, reason: metrics::Reason, replies: [Reply; 2]) -> Option<Decision> {
    let [deferred, refused] = replies;
    let refusal = match consequence {
        Consequence::Accept => return None,
        Consequence::Defer => deferred,
        Consequence::Reject => refused,
    };
    Some(Decision { reason, refusal: Some(refusal) })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::metrics::Reason;

    /// SPF, whether DKIM passed, DMARC, policy, whether a sealer vouches, whether a list has the address.
    type Row = (SpfResult, bool, DmarcResult, Policy, bool, bool);

    fn findings((spf, dkim_passed, dmarc, policy, vouched_for, listed): Row) -> Findings {
        let blocklist = listed.then(|| Domain::parse("bl.example").unwrap());
        // Only one of the two is known.
        let known = |result: DmarcResult| if dmarc == result { policy } else { Policy::None };
        let (policy, at_stake) = (known(DmarcResult::Fail), known(DmarcResult::Temperror));
        Findings { spf, dkim_passed, dmarc, policy, at_stake, vouched_for, blocklist }
    }

    /// The code and the enhanced code of a reply.
    type Codes = (u16, (u8, u8, u8));

    fn code(decision: &Decision) -> (Reason, Option<Codes>) {
        (decision.reason, decision.refusal.as_ref().map(|reply| (reply.code(), reply.enhanced().unwrap())))
    }

    #[test]
    fn the_first_step_that_decides_decides() {
        use DmarcResult as D;
        use SpfResult as S;
        let (none, quarantine, reject) = (Policy::None, Policy::Quarantine, Policy::Reject);
        let defaults = Checks::default();
        let strict = Checks { spf_fail: Consequence::Defer, ..Checks::default() };
        let lax =
            Checks { dmarc: Consequence::Accept, blocklisted: Consequence::Accept, ..Checks::default() };
        let soft = Checks {
            dmarc: Consequence::Defer,
            spf_fail: Consequence::Reject,
            blocklisted: Consequence::Defer,
            ..Checks::default()
        };
        let accepted = (Reason::NoBadSignals, None);
        let dmarc = (Reason::DmarcPolicy, Some((550, (5, 7, 26))));
        let unknown = (Reason::DmarcUnknown, Some((451, (4, 7, 26))));
        let listed = (Reason::Blocklisted, Some((550, (5, 7, 1))));
        let spf = (Reason::SpfPolicy, Some((451, (4, 7, 23))));
        for (row, checks, expected) in [
            ((S::Pass, true, D::Pass, reject, false, false), &defaults, accepted),
            ((S::None, false, D::None, none, false, false), &defaults, accepted),
            // DMARC: fails, and a policy; quarantine is refused, too.
            ((S::Fail, false, D::Fail, reject, false, false), &defaults, dmarc),
            ((S::Pass, true, D::Fail, quarantine, false, false), &defaults, dmarc),
            ((S::Fail, false, D::Fail, none, false, false), &defaults, accepted),
            ((S::Fail, false, D::Fail, reject, false, false), &lax, accepted),
            (
                (S::Pass, false, D::Fail, reject, false, false),
                &soft,
                (Reason::DmarcPolicy, Some((451, (4, 7, 26)))),
            ),
            // Nothing is refused for errors, but mail waits that would be refused without what isn't known.
            ((S::Temperror, false, D::Temperror, none, false, false), &defaults, accepted),
            ((S::Temperror, false, D::Temperror, reject, false, false), &defaults, unknown),
            ((S::Pass, true, D::Temperror, quarantine, false, false), &soft, unknown),
            ((S::Temperror, false, D::Temperror, reject, true, false), &defaults, accepted),
            ((S::Temperror, false, D::Temperror, reject, false, false), &lax, accepted),
            ((S::Permerror, false, D::Permerror, reject, false, false), &strict, accepted),
            // A sealer's word.
            ((S::Fail, false, D::Fail, reject, true, false), &strict, accepted),
            // SPF alone.
            ((S::Fail, false, D::None, none, false, false), &defaults, accepted),
            ((S::Fail, false, D::None, none, false, false), &strict, spf),
            ((S::Softfail, false, D::Fail, none, false, false), &strict, spf),
            (
                (S::Fail, false, D::None, none, false, false),
                &soft,
                (Reason::SpfPolicy, Some((550, (5, 7, 23)))),
            ),
            ((S::Neutral, false, D::None, none, false, false), &strict, accepted),
            ((S::Fail, true, D::None, none, false, false), &strict, accepted),
            ((S::Softfail, false, D::Pass, none, false, false), &strict, accepted),
            // Blocklists come last.
            ((S::Pass, true, D::Pass, none, false, true), &defaults, listed),
            ((S::Pass, true, D::Pass, none, false, true), &lax, accepted),
            (
                (S::Pass, true, D::Pass, none, false, true),
                &soft,
                (Reason::Blocklisted, Some((451, (4, 7, 1)))),
            ),
            ((S::Fail, false, D::Fail, reject, false, true), &defaults, dmarc),
            ((S::Fail, false, D::None, none, false, true), &strict, spf),
        ] {
            assert_eq!(code(&decide(&findings(row), checks)), expected, "{row:?}");
        }
    }

    #[test]
    fn a_listed_client_is_told_where() {
        let row = (SpfResult::None, false, DmarcResult::None, Policy::None, false, true);
        let decision = decide(&findings(row), &Checks::default());
        assert!(decision.refusal.unwrap().text().contains("bl.example"));
    }
}
