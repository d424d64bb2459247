//! What becomes of a message, from what was found out about it (product 1.12).
//!
//! Pure: the same findings give the same decision. The steps are taken in their order, and the first that decides,
//! decides. Each destination decides for itself: what it wants are its [`Treatment`]s, from the rule that matched (step
//! 2, [`super::rules`]).

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
const AUTH_REQUIRED: Reply = Reply::new(Class::Permanent, 50, (7, 26), "");
const AUTH_NOT_FOUND_OUT: Reply = Reply::new(Class::Transient, 51, (7, 26), "");
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
    /// Whether SPF or a signature stands for the author's domain, or one of the same organization.
    pub(in crate::smtp) author_confirmed: bool,
    /// A sealer that is trusted says that the message passed DMARC there.
    pub(in crate::smtp) vouched_for: bool,
    /// The blocklist that has the client's address; none, too, when none was asked yet.
    pub(in crate::smtp) blocklist: Option<Domain>,
}

/// What the settings of a destination say of a message (product 8.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::smtp) struct Treatment {
    /// It comes from a mailing list whose mail is taken, and whose domain is verified.
    pub(in crate::smtp) is_list: bool,
    /// Who sends it forwards it for the account's owner, and is verified.
    pub(in crate::smtp) is_forward: bool,
    /// What the client is told when nothing confirms the author; none when such mail is taken.
    pub(in crate::smtp) auth_required: Option<String>,
}

impl Treatment {
    /// Why what the author's domain wants of mail that fails DMARC isn't done, as a word of RFC 7489 Appendix C.
    pub(in crate::smtp) const fn dmarc_override(&self) -> Option<&'static str> {
        match self {
            Self { is_list: true, .. } => Some("mailing_list"),
            Self { is_forward: true, .. } => Some("forwarded"),
            Self { .. } => None,
        }
    }
}

/// What decides, in the order of product 1.12.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// 3: the destination takes mail of a mailing list.
    ListAllow,
    /// 5: what the author's domain wants. Step 4, mail that is forwarded, is that it doesn't count.
    DmarcPolicy,
    /// 8: the destination wants an author who is confirmed.
    AuthRequired,
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

const STEPS: [Step; 8] = [
    Step::ListAllow,
    Step::DmarcPolicy,
    Step::AuthRequired,
    Step::Reputation,
    Step::SpfPolicy,
    Step::Iprev,
    Step::Content,
    Step::Blocklist,
];

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::smtp) struct Decision {
    /// Why: a word for logs, metrics and the header.
    pub(in crate::smtp) reason: metrics::Reason,
    /// What the client is told when the message isn't accepted.
    pub(in crate::smtp) refusal: Option<Reply>,
}

impl Decision {
    /// Whether a message is refused only because something can't be found out now.
    pub(in crate::smtp) fn waits_for_dns(&self) -> bool {
        let deferred = self.refusal.as_ref().is_some_and(|reply| reply.class() == Class::Transient);
        deferred && matches!(self.reason, metrics::Reason::DmarcUnknown | metrics::Reason::AuthRequired)
    }
}

/// Decides what becomes of a message at a destination.
pub(in crate::smtp) fn decide(findings: &Findings, checks: &Checks, treatment: &Treatment) -> Decision {
    let decided = STEPS.iter().find_map(|step| take(*step, findings, checks, treatment));
    decided.unwrap_or(Decision { reason: metrics::Reason::NoBadSignals, refusal: None })
}

/// Whether mail that fails DMARC fails it here, too: quarantine is treated as refusal, since there is no place for
/// mail that is only half accepted.
pub(in crate::smtp) fn fails_dmarc(findings: &Findings) -> bool {
    findings.dmarc == DmarcResult::Fail && findings.policy != Policy::None && !findings.vouched_for
}

fn take(step: Step, findings: &Findings, checks: &Checks, treatment: &Treatment) -> Option<Decision> {
    match step {
        Step::ListAllow => {
            treatment.is_list.then_some(Decision { reason: metrics::Reason::ListAllow, refusal: None })
        }
        Step::DmarcPolicy if treatment.is_forward => None,
        Step::DmarcPolicy if fails_dmarc(findings) => {
            refuse(checks.dmarc, metrics::Reason::DmarcPolicy, [DMARC_DEFERRED, DMARC_REFUSED])
        }
        // Whose key is asked for, the message says: with the name of one that can't be had, a forgery would get in. And
        // RFC 9989 §5.3.6 leaves it to the receiver.
        Step::DmarcPolicy if findings.at_stake != Policy::None && !findings.vouched_for => {
            refuse(checks.dmarc, metrics::Reason::DmarcUnknown, [DMARC_UNKNOWN, DMARC_UNKNOWN])
        }
        Step::AuthRequired if !findings.author_confirmed && !findings.vouched_for => {
            let text = treatment.auth_required.clone()?;
            // Nobody is refused for good for what DNS doesn't tell.
            let refusal = match findings.dmarc {
                DmarcResult::Temperror => AUTH_NOT_FOUND_OUT,
                _ => AUTH_REQUIRED,
            };
            Some(Decision { reason: metrics::Reason::AuthRequired, refusal: Some(refusal.with_text(text)) })
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
        Step::DmarcPolicy
        | Step::AuthRequired
        | Step::SpfPolicy
        | Step::Reputation
        | Step::Iprev
        | Step::Content => None,
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
        let author_confirmed = dmarc == DmarcResult::Pass;
        Findings { spf, dkim_passed, dmarc, policy, at_stake, author_confirmed, vouched_for, blocklist }
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
            let decided = decide(&findings(row), checks, &Treatment::default());
            assert_eq!(code(&decided), expected, "{row:?}");
        }
    }

    #[test]
    fn the_settings_of_a_destination_come_in_their_places() {
        use DmarcResult as D;
        use SpfResult as S;
        let (none, reject) = (Policy::None, Policy::Reject);
        let plain = Treatment::default();
        let list = Treatment { is_list: true, ..Treatment::default() };
        let forward = Treatment { is_forward: true, ..Treatment::default() };
        let strict = Treatment { auth_required: Some("who are you".into()), ..Treatment::default() };
        let strict_list = Treatment { is_list: true, ..strict.clone() };
        let strict_forward = Treatment { is_forward: true, ..strict.clone() };
        let accepted = (Reason::NoBadSignals, None);
        let listed = (Reason::ListAllow, None);
        let dmarc = (Reason::DmarcPolicy, Some((550, (5, 7, 26))));
        let dmarc_unknown = (Reason::DmarcUnknown, Some((451, (4, 7, 26))));
        let required = (Reason::AuthRequired, Some((550, (5, 7, 26))));
        let required_later = (Reason::AuthRequired, Some((451, (4, 7, 26))));
        let blocklisted = (Reason::Blocklisted, Some((550, (5, 7, 1))));
        let spf = (Reason::SpfPolicy, Some((451, (4, 7, 23))));
        let forged = (S::Fail, false, D::Fail, reject, false, false);
        let unknown = (S::Temperror, false, D::Temperror, reject, false, false);
        let unsigned = (S::None, false, D::None, none, false, false);
        for (row, treatment, expected) in [
            (forged, &plain, dmarc),
            // 3 comes before all others.
            (forged, &list, listed),
            (forged, &strict_list, listed),
            (unknown, &list, listed),
            (unsigned, &list, listed),
            ((S::Pass, true, D::Pass, none, false, true), &list, listed),
            // 4 is about DMARC alone.
            ((S::Pass, true, D::Fail, reject, false, false), &forward, accepted),
            (unknown, &forward, accepted),
            (forged, &forward, spf),
            ((S::Pass, true, D::Fail, reject, false, true), &forward, blocklisted),
            // 8 comes after DMARC, and before all that needs no confirmation.
            (forged, &strict, dmarc),
            (unknown, &strict, dmarc_unknown),
            (unsigned, &strict, required),
            ((S::Fail, false, D::Fail, none, false, false), &strict, required),
            ((S::None, false, D::None, none, false, true), &strict, required),
            ((S::Temperror, false, D::Temperror, none, false, false), &strict, required_later),
            ((S::Pass, false, D::Pass, reject, false, false), &strict, accepted),
            ((S::Fail, false, D::Fail, reject, true, false), &strict, accepted),
            (forged, &strict_forward, required),
        ] {
            let checks = Checks { spf_fail: Consequence::Defer, ..Checks::default() };
            let decided = decide(&findings(row), &checks, treatment);
            assert_eq!(code(&decided), expected, "{row:?} {treatment:?}");
            let waits = expected == dmarc_unknown || expected == required_later;
            assert_eq!(decided.waits_for_dns(), waits);
            if expected.0 == Reason::AuthRequired {
                assert_eq!(decided.refusal.unwrap().text(), "who are you");
            }
        }
    }

    #[test]
    fn an_author_whom_another_signature_confirms_is_confirmed_without_dmarc() {
        let row = (SpfResult::None, true, DmarcResult::None, Policy::None, false, false);
        let strict = Treatment { auth_required: Some("who".into()), ..Treatment::default() };
        let confirmed = Findings { author_confirmed: true, ..findings(row) };
        assert_eq!(decide(&confirmed, &Checks::default(), &strict).refusal, None);
    }

    #[test]
    fn a_listed_client_is_told_where() {
        let row = (SpfResult::None, false, DmarcResult::None, Policy::None, false, true);
        let decision = decide(&findings(row), &Checks::default(), &Treatment::default());
        assert!(decision.refusal.unwrap().text().contains("bl.example"));
    }
}
