//! What was found out, as the header of a message tells it (RFC 8601).

use postrider_authentication::arc::{self, ArcResult, trusted_results};
use postrider_authentication::dmarc::Author;
use postrider_authentication::{dkim, dmarc};
use postrider_proto::address::{Address, Domain};
use postrider_proto::arc::ChainStatus;
use postrider_proto::authentication_results::{
    self, AuthenticationResults, Method, MethodResult, ParsedProperty,
};
use postrider_proto::smtp::trace::Charset;

use super::examination::Evidence;

/// Which sealer says that a message passed DMARC, when it is one whose word counts and it speaks of the same author.
/// Nobody can vouch for a message of several authors.
pub(in crate::smtp) fn voucher(arc: &ArcResult, trusted: &[Domain], author: &Author) -> Option<Domain> {
    let Author::Domain(author) = author else { return None };
    let instance = trusted_results(arc, trusted)?;
    let set = arc.sets.iter().find(|set| set.instance == instance)?;
    let parsed = authentication_results::parse(&set.results).ok()?;
    let of_author = |property: &ParsedProperty| {
        let is_from = property.kind == "header" && property.name == "from";
        is_from && Domain::parse(&property.value).is_ok_and(|domain| domain == *author)
    };
    let passed = parsed
        .results
        .iter()
        .any(|one| one.method == "dmarc" && one.result == "pass" && one.properties.iter().any(of_author));
    passed.then(|| set.domain.clone())
}

/// The results of a message from outside, in the order of product 1.10. `dmarc_override` says why what DMARC says
/// doesn't count for a recipient.
pub(in crate::smtp) fn all(
    evidence: &Evidence,
    dmarc: &dmarc::Verdict,
    voucher: Option<&Domain>,
    dmarc_override: Option<&str>,
) -> Vec<MethodResult> {
    let mut results = vec![evidence.iprev.value.method_result()];
    results.extend(dkim::method_results(&evidence.dkim.value));
    results.push(evidence.spf.value.method_result());
    let mut of_author = dmarc.method_result();
    if let Some(word) = dmarc_override {
        of_author = of_author.comment(format!("override {word}"));
    } else if let Some(sealer) = voucher {
        of_author = of_author.comment(format!("override local_policy, passed at {sealer}"));
    }
    results.push(of_author);
    if evidence.arc.value.status != ChainStatus::None {
        results.push(arc::method_result(&evidence.arc.value));
    }
    results
}

/// The field of a message of one of our own users.
pub(in crate::smtp) fn of_submission(
    hostname: &Domain,
    sender: Option<&Address>,
    charset: Charset,
) -> String {
    let mut result = MethodResult::new(Method::Auth, "pass");
    if let Some(sender) = sender {
        result = result.property("smtp", "mailfrom", sender.to_string());
    }
    field(hostname, &[result], charset)
}

/// The field, which says `none` when nothing was checked.
pub(in crate::smtp) fn field(hostname: &Domain, results: &[MethodResult], charset: Charset) -> String {
    AuthenticationResults { authserv_id: hostname.as_str(), charset, results }.field()
}
