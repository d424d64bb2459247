//! Whether the author's domain of a message is authenticated, and what its owner wants done when it isn't: DMARC
//! (RFC 9989, whose last draft is draft-ietf-dmarc-dmarcbis-41; RFC 7489 for [`Mode::PublicSuffixList`]).
//!
//! Policy records are found by the tree walk, or below public suffixes as the first standard did. How often DNS is
//! asked is bounded by [`QUERIES_MAX`], whatever a message says.

mod destinations;
mod discover;
#[cfg(test)]
mod suites;
#[cfg(test)]
mod tests;

use postrider_dns::{Authenticity, Lookup};
use postrider_proto::address::Domain;
use postrider_proto::authentication_results::{Method, MethodResult};
use postrider_proto::dmarc::{Alignment, Record, Standing};

pub use destinations::{Destination, Destinations, destinations};
pub use discover::{Policies, Source};
pub use postrider_proto::dmarc::{Author, DmarcResult, Policy};

use crate::{dkim, spf};
use discover::{Discovery, Walker};
#[cfg(test)]
use discover::{one_below, targets};

/// Questions to DNS for one evaluation: nine for the author's domain, and the rest for domains of signatures and
/// of SPF that lie below its organizational domain. What would need more isn't aligned.
pub const QUERIES_MAX: u32 = 24;

/// How organizational domains are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// By the records of the names above (RFC 9989 §4.10).
    #[default]
    TreeWalk,
    /// By the public suffix list (RFC 7489 §3.2).
    PublicSuffixList,
}

/// What came of authenticating an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifierState {
    /// It is authenticated.
    Pass,
    /// DNS failed; a later attempt may authenticate it.
    Temperror,
    /// It is not authenticated.
    Other,
}

/// A domain that SPF or a signature stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier {
    /// The domain of MAIL FROM (of HELO when the reverse-path is empty), or `d=` of a signature.
    pub domain: Domain,
    /// Whether it is authenticated.
    pub state: IdentifierState,
    /// What the result rests on in DNS.
    pub authenticity: Authenticity,
}

impl Identifier {
    /// The identifier of SPF; none when what was checked is no domain of mail. The verdict must be that of the
    /// MAIL FROM identity, which is HELO's when the reverse-path is empty (RFC 9989 §3.2.4).
    #[must_use]
    pub fn of_spf(verdict: &spf::Verdict) -> Option<Self> {
        let state = match verdict.result {
            spf::SpfResult::Pass => IdentifierState::Pass,
            spf::SpfResult::Temperror => IdentifierState::Temperror,
            _ => IdentifierState::Other,
        };
        let domain = Domain::parse(&verdict.domain).ok()?;
        Some(Self { domain, state, authenticity: verdict.authenticity })
    }

    /// The identifier of a signature; none when its domain can't be read.
    #[must_use]
    pub fn of_signature(signature: &dkim::SignatureResult) -> Option<Self> {
        let state = match signature.result {
            dkim::DkimResult::Pass => IdentifierState::Pass,
            dkim::DkimResult::Temperror => IdentifierState::Temperror,
            _ => IdentifierState::Other,
        };
        // What isn't looked up rests on nothing that could be forged, and nothing that was validated.
        let authenticity = signature.authenticity.unwrap_or(Authenticity::Indeterminate);
        Some(Self { domain: signature.domain.clone()?, state, authenticity })
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Whose mail it says it is.
    pub author: &'a Author,
    /// The identifier of SPF.
    pub spf: Option<&'a Identifier>,
    /// The identifiers of the signatures.
    pub dkim: &'a [Identifier],
    /// How organizational domains are found.
    pub mode: Mode,
    /// A number from 0 to 99 by chance, for the `pct` of old records: the policy applies when it is below.
    pub sample: u8,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One of five words.
    pub result: DmarcResult,
    /// The author's domain. With several, the one whose policy is the strictest.
    pub domain: Option<Domain>,
    /// The policy that counts, and where it was found.
    pub policies: Option<Policies>,
    /// What the owner asks for with mail that fails: `p`, `sp` or `np`.
    pub policy: Policy,
    /// What is to be done with this message: [`Policy::None`] unless the result is fail.
    pub applied: Policy,
    /// What would be done with this message if what DNS didn't tell authenticated nobody: [`Policy::None`] unless the
    /// result is temperror and the policy is known.
    pub at_stake: Policy,
    /// Whether `t=y` lowered the policy.
    pub testing: bool,
    /// Whether `pct` left this message out and lowered the policy.
    pub sampled_out: bool,
    /// Whether SPF passed for a domain that is aligned.
    pub aligned_spf: bool,
    /// Whether a signature of an aligned domain passed.
    pub aligned_dkim: bool,
    /// Why there is no result, or why the author is unclear.
    pub problem: Option<String>,
    /// Questions to DNS.
    pub queries: u32,
    /// The least of what it rests on: the lookups made here, and for a pass the best of the aligned identifiers,
    /// for a fail all identifiers. Indeterminate when nothing was asked.
    pub authenticity: Authenticity,
}

impl Verdict {
    fn new(result: DmarcResult, domain: Option<Domain>) -> Self {
        Self {
            result,
            domain,
            policies: None,
            policy: Policy::None,
            applied: Policy::None,
            at_stake: Policy::None,
            testing: false,
            sampled_out: false,
            aligned_spf: false,
            aligned_dkim: false,
            problem: None,
            queries: 0,
            authenticity: Authenticity::Indeterminate,
        }
    }

    fn with_problem(self, result: DmarcResult, problem: String) -> Self {
        Self { result, problem: Some(problem), ..self }
    }

    /// The record that counts.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.policies.as_ref().map(|policies| &policies.record)
    }

    /// The result for `Authentication-Results`.
    #[must_use]
    pub fn method_result(&self) -> MethodResult {
        let mut result =
            MethodResult::new(Method::Dmarc, self.result.word()).dnssec(crate::dnssec(self.authenticity));
        if self.sampled_out {
            result = result.comment("sampled out");
        }
        if self.testing {
            result = result.comment("testing");
        }
        if let Some(problem) = &self.problem {
            result = result.reason(problem.as_str());
        }
        if let Some(domain) = &self.domain {
            result = result.property("header", "from", domain.as_str());
        }
        // RFC 9989 §9.1: what is to be done after all options were looked at.
        if self.policies.is_some() { result.property("policy", "dmarc", self.applied.word()) } else { result }
    }
}

/// Finds the policy for mail of a domain, without a message. The result is none, or an error: whether there is a
/// policy, `policies` says.
pub async fn lookup<L: Lookup>(dns: &L, domain: &Domain, mode: Mode) -> Verdict {
    let mut walker = Walker::new(dns, mode);
    let mut verdict = Verdict::new(DmarcResult::None, Some(domain.clone()));
    match walker.discover(domain).await {
        Discovery::None => {}
        Discovery::Failed(problem) => verdict = verdict.with_problem(DmarcResult::Temperror, problem),
        Discovery::Found(policies) => verdict = choose_policy(&mut walker, verdict, policies).await,
    }
    verdict.queries = walker.queries;
    verdict.authenticity = walker.authenticity();
    verdict
}

/// Evaluates a message.
pub async fn evaluate<L: Lookup>(dns: &L, request: &Request<'_>) -> Verdict {
    let mut walker = Walker::new(dns, request.mode);
    let (mut verdict, aligned) = match request.author {
        Author::Domain(domain) => evaluate_author(&mut walker, request, domain).await,
        Author::Unclear { problem, domains } => {
            let verdict = evaluate_unclear(&mut walker, domains).await;
            let result =
                if verdict.result == DmarcResult::None { DmarcResult::Permerror } else { verdict.result };
            (verdict.with_problem(result, problem.to_string()), None)
        }
    };
    match verdict.result {
        DmarcResult::Fail => verdict.applied = apply_options(&mut verdict, request.sample),
        DmarcResult::Temperror => verdict.at_stake = apply_options(&mut verdict, request.sample),
        DmarcResult::None | DmarcResult::Pass | DmarcResult::Permerror => {}
    }
    verdict.queries = walker.queries;
    let own = walker.authenticity();
    verdict.authenticity = match (verdict.result, aligned) {
        // Each aligned identifier is enough.
        (DmarcResult::Pass, Some(aligned)) => own.and(aligned),
        (DmarcResult::Fail, _) => {
            let identifiers = request.spf.into_iter().chain(request.dkim);
            identifiers.fold(own, |least, identifier| least.and(identifier.authenticity))
        }
        _ => own,
    };
    verdict
}

/// A message with several authors never passes: what its readers see isn't known. The strictest policy of its
/// domains counts (RFC 9989 §11.5).
async fn evaluate_unclear<L: Lookup>(walker: &mut Walker<'_, L>, domains: &[Domain]) -> Verdict {
    let rank = |verdict: &Verdict| match verdict.result {
        DmarcResult::Fail => (3, verdict.policy),
        DmarcResult::Temperror => (2, verdict.policy),
        DmarcResult::Permerror => (1, verdict.policy),
        DmarcResult::None | DmarcResult::Pass => (0, verdict.policy),
    };
    let mut strictest = Verdict::new(DmarcResult::None, domains.first().cloned());
    for domain in domains {
        let verdict = Verdict::new(DmarcResult::Fail, Some(domain.clone()));
        let verdict = match walker.discover(domain).await {
            Discovery::None => continue,
            Discovery::Failed(problem) => verdict.with_problem(DmarcResult::Temperror, problem),
            Discovery::Found(policies) => choose_policy(walker, verdict, policies).await,
        };
        if rank(&verdict) > rank(&strictest) {
            strictest = verdict;
        }
    }
    strictest
}

/// Evaluates a message of one author. For a pass, how authentic the best of the aligned identifiers is.
async fn evaluate_author<L: Lookup>(
    walker: &mut Walker<'_, L>,
    request: &Request<'_>,
    author: &Domain,
) -> (Verdict, Option<Authenticity>) {
    let verdict = Verdict::new(DmarcResult::None, Some(author.clone()));
    let policies = match walker.discover(author).await {
        Discovery::None => return (verdict, None),
        Discovery::Failed(problem) => return (verdict.with_problem(DmarcResult::Temperror, problem), None),
        Discovery::Found(policies) => policies,
    };
    let (strict_spf, strict_dkim) = (policies.record.spf_alignment, policies.record.dkim_alignment);
    let mut verdict = choose_policy(walker, verdict, policies).await;
    if verdict.result == DmarcResult::Permerror {
        return (verdict, None);
    }
    // Which policy it would be doesn't matter to a pass.
    let mut pending = verdict.problem.take();
    let spf = align(walker, author, strict_spf, request.spf.into_iter(), &mut pending).await;
    let dkim = align(walker, author, strict_dkim, request.dkim.iter(), &mut pending).await;
    (verdict.aligned_spf, verdict.aligned_dkim) = (spf.is_some(), dkim.is_some());
    if spf.is_some() || dkim.is_some() {
        verdict.result = DmarcResult::Pass;
    } else if let Some(problem) = pending {
        // RFC 9989 §5.3.6: the message can be said neither to pass nor to fail.
        verdict = verdict.with_problem(DmarcResult::Temperror, problem);
    } else {
        verdict.result = DmarcResult::Fail;
    }
    (verdict, spf.max(dkim))
}

/// How authentic the best of the identifiers is that are authenticated and aligned; none when none is. A failure of
/// DNS that leaves it open is put in `pending`.
async fn align<L: Lookup>(
    walker: &mut Walker<'_, L>,
    author: &Domain,
    alignment: Alignment,
    identifiers: impl Iterator<Item = &Identifier>,
    pending: &mut Option<String>,
) -> Option<Authenticity> {
    let mut best = None;
    for identifier in identifiers.filter(|identifier| identifier.state != IdentifierState::Other) {
        match walker.is_aligned(author, &identifier.domain, alignment).await {
            Ok(false) => {}
            Ok(true) if identifier.state == IdentifierState::Pass => {
                best = best.max(Some(identifier.authenticity))
            }
            Ok(true) => {
                let problem = format!("authentication of {} met a temporary error", identifier.domain);
                pending.get_or_insert(problem);
            }
            Err(problem) => {
                pending.get_or_insert(problem);
            }
        }
    }
    best
}

/// Chooses among `p`, `sp` and `np` (RFC 9989 §4.10.1). When DNS fails at that, the result is temperror, and the
/// policy the stricter of those that it may be.
async fn choose_policy<L: Lookup>(
    walker: &mut Walker<'_, L>,
    mut verdict: Verdict,
    policies: Policies,
) -> Verdict {
    let record = &policies.record;
    let is_own = verdict.domain.as_ref() == Some(&policies.domain);
    let own = record.policy.unwrap_or_default();
    let below = record.subdomain_policy.unwrap_or(own);
    let nonexistent = record.nonexistent_policy.unwrap_or(below);
    match record.standing() {
        Standing::Unusable => {
            let problem = format!("the record of {} has no usable policy", policies.domain);
            verdict = verdict.with_problem(DmarcResult::Permerror, problem);
        }
        Standing::ReportsAlone => {}
        Standing::Applies if is_own => verdict.policy = own,
        Standing::Applies if below == nonexistent => verdict.policy = below,
        Standing::Applies => {
            let exists = match &verdict.domain {
                Some(domain) => walker.exists(domain).await,
                None => Ok(true),
            };
            verdict.policy = match &exists {
                Ok(true) => below,
                Ok(false) => nonexistent,
                Err(_) => below.max(nonexistent),
            };
            if let Err(problem) = exists {
                verdict = verdict.with_problem(DmarcResult::Temperror, problem);
            }
        }
    }
    verdict.policies = Some(policies);
    verdict
}

/// What is to be done with a message that fails, after the options of the record. Which of them lowered the policy, is
/// noted.
fn apply_options(verdict: &mut Verdict, sample: u8) -> Policy {
    let Some(record) = verdict.policies.as_ref().map(|policies| &policies.record) else {
        return verdict.policy;
    };
    if verdict.policy == Policy::None {
        return Policy::None;
    }
    verdict.testing = record.testing == Some(true);
    // Records that say `t` know that `pct` went away (RFC 9989 §A.6); in others it means what it meant.
    let percent = record.percent.filter(|_| record.testing.is_none());
    verdict.sampled_out = percent.is_some_and(|percent| sample >= percent);
    if verdict.testing || verdict.sampled_out { verdict.policy.one_below() } else { verdict.policy }
}
