//! Which policy of MTA-STS counts (RFC 8461 §3.3, §5.1): by what a domain announces, what is kept of it, and what a
//! fetch gives. The server and those who explain what it does decide here alike.
//!
//! Always holds: a kept policy that has not expired stands in whenever no other can be had.

use postrider_dns::{Answer, Lookup, Outcome, RData, RecordType, parse_name};
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::{Policy, Record, RecordError, record_name};
use postrider_proto::tlsrpt::ResultType;

use crate::security::Sts;
use crate::tls_results::Fault;

/// Types of failure in reports (RFC 8460 §4.3.2.2), and the reason of one that isn't tried again yet.
const FETCH_ERROR: &str = "sts-policy-fetch-error";
const POLICY_INVALID: &str = "sts-policy-invalid";
const BACKING_OFF: &str = "back-off";

/// What DNS says of a domain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    /// There is one, and this is its id.
    Yes(Record),
    /// There is none, or nothing that could be one; why.
    No(NoRecord),
    /// DNS doesn't say; why.
    Unknown(String),
}

/// Why a domain counts as one without a policy (RFC 8461 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRecord {
    /// None there.
    #[error("there is no record")]
    Absent,
    /// Several of them.
    #[error("there is more than one record")]
    Several,
    /// It can't be read.
    #[error(transparent)]
    Syntax(#[from] RecordError),
}

/// What is kept of a domain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The id of the record that announced it.
    pub id: Box<str>,
    /// The policy; none when it has expired, or couldn't be fetched.
    pub policy: Option<Policy>,
    /// Whether fetching failed a short while ago, so that it isn't tried again yet.
    pub is_backing_off: bool,
}

/// Where a policy, or that there is none, is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the domain, just now.
    Domain,
    /// It is kept, and the domain announces the same.
    Kept,
    /// It is kept, and stands in for what can't be had now.
    StandsIn,
}

/// A policy, and what went wrong with finding it, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What is known.
    pub sts: Sts,
    /// What went wrong.
    pub fault: Option<Fault>,
    /// Where it is from.
    pub source: Source,
}

impl From<Sts> for Found {
    fn from(sts: Sts) -> Self {
        Self { sts, fault: None, source: Source::Domain }
    }
}

impl Found {
    /// A kept policy in place of one that isn't there, or else what is known without it.
    fn instead(kept: Option<&Kept>, otherwise: Sts) -> Self {
        match kept.and_then(|kept| kept.policy.clone()) {
            Some(policy) => Self { sts: Sts::Policy(policy), fault: None, source: Source::StandsIn },
            None => otherwise.into(),
        }
    }

    /// With a fault, beside which a kept policy may stand in.
    fn faulty(kept: Option<&Kept>, otherwise: Sts, result_type: &str, reason: &str) -> Self {
        let found = Self::instead(kept, otherwise);
        let suffix = if found.source == Source::StandsIn { "+fallback-to-cached-policy" } else { "" };
        let fault = Fault::new(ResultType::parse(result_type), Some(&format!("{reason}{suffix}")));
        Self { fault: Some(fault), ..found }
    }
}

/// Asks DNS whether a domain announces a policy (RFC 8461 §3.1).
pub async fn announced(lookup: &impl Lookup, domain: &Domain) -> Announced {
    let Ok(name) = parse_name(&record_name(domain)) else { return Announced::No(NoRecord::Absent) };
    let answer = lookup.lookup(&name, RecordType::TXT).await;
    match answer.outcome {
        Outcome::Failed => Announced::Unknown(answer.reason),
        Outcome::NoName | Outcome::NoData => Announced::No(NoRecord::Absent),
        Outcome::Found => read(&answer),
    }
}

fn read(answer: &Answer) -> Announced {
    let texts = answer.data().filter_map(|data| match data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    });
    let mut records = texts.filter(|text| Record::is_one(text));
    match (records.next(), records.next()) {
        (None, _) => Announced::No(NoRecord::Absent),
        (Some(_), Some(_)) => Announced::No(NoRecord::Several),
        (Some(text), None) => match Record::parse(&text) {
            Ok(record) => Announced::Yes(record),
            Err(error) => Announced::No(NoRecord::Syntax(error)),
        },
    }
}

/// The policy for mail to a domain, as far as that is known without a fetch. None says that it is to be fetched;
/// [`fetched`] decides then.
#[must_use]
pub fn known(announced: &Announced, kept: Option<&Kept>) -> Option<Found> {
    let record = match announced {
        Announced::Yes(record) => record,
        Announced::No(NoRecord::Absent) => return Some(Found::instead(kept, Sts::None)),
        Announced::No(error) => {
            return Some(Found::faulty(kept, Sts::None, POLICY_INVALID, &format!("the record: {error}")));
        }
        Announced::Unknown(reason) => {
            let told = format!("the record: {reason}");
            return Some(Found::faulty(kept, Sts::Unknown(reason.clone()), FETCH_ERROR, &told));
        }
    };
    let kept = kept?;
    match &kept.policy {
        Some(policy) if *kept.id == *record.id.to_string() => {
            Some(Found { sts: Sts::Policy(policy.clone()), fault: None, source: Source::Kept })
        }
        _ if kept.is_backing_off => Some(Found::faulty(Some(kept), Sts::None, FETCH_ERROR, BACKING_OFF)),
        _ => None,
    }
}

/// The same once a fetch gave a policy, or failed with a type of failure of reports and in these words.
#[must_use]
pub fn fetched(fetch: Result<Policy, (&str, &str)>, kept: Option<&Kept>) -> Found {
    match fetch {
        Ok(policy) => Sts::Policy(policy).into(),
        Err((result_type, reason)) => Found::faulty(kept, Sts::None, result_type, reason),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn policy(mx: &str) -> Policy {
        let text = format!("version: STSv1\nmode: enforce\nmx: {mx}\nmax_age: 86400\n");
        Policy::parse(text.as_bytes()).unwrap()
    }

    fn kept(id: &str, policy: Option<Policy>) -> Kept {
        Kept { id: id.into(), policy, is_backing_off: false }
    }

    fn id(id: &str) -> Announced {
        Announced::Yes(Record::parse(format!("v=STSv1; id={id};").as_bytes()).unwrap())
    }

    fn failing() -> Announced {
        Announced::Unknown("no answer".to_owned())
    }

    #[test]
    fn a_kept_policy_stands_in_when_no_other_can_be_had() {
        let valid = kept("1", Some(policy("mx.example")));
        let stands_in = Some((Sts::Policy(policy("mx.example")), Source::StandsIn));
        let known =
            |announced: &Announced| known(announced, Some(&valid)).map(|found| (found.sts, found.source));
        assert_eq!(known(&failing()), stands_in);
        assert_eq!(known(&Announced::No(NoRecord::Absent)), stands_in);
        assert_eq!(known(&Announced::No(NoRecord::Several)), stands_in);
        assert_eq!(known(&id("1")), Some((Sts::Policy(policy("mx.example")), Source::Kept)));
        assert_eq!(known(&id("2")), None, "another id is fetched");
        let paused = Kept { is_backing_off: true, ..valid.clone() };
        let found = super::known(&id("2"), Some(&paused)).unwrap();
        assert_eq!(Some((found.sts, found.source)), stands_in);
        assert_eq!(found.fault.unwrap().reason.as_deref(), Some("back-off+fallback-to-cached-policy"));
        let failed = fetched(Err((FETCH_ERROR, "it hangs")), Some(&valid));
        assert_eq!(Some((failed.sts, failed.source)), stands_in);
        let other = fetched(Ok(policy("other.example")), Some(&valid));
        assert_eq!((other.sts, other.source), (Sts::Policy(policy("other.example")), Source::Domain));
    }

    #[test]
    fn what_has_expired_or_never_came_stands_in_for_nothing() {
        let expired = kept("1", None);
        for kept in [None, Some(&expired)] {
            assert_eq!(known(&failing(), kept).unwrap().sts, Sts::Unknown("no answer".to_owned()));
            assert_eq!(known(&Announced::No(NoRecord::Absent), kept), Some(Sts::None.into()));
            assert_eq!(known(&id("1"), kept), None, "it is fetched, with the same id too");
            let failed = fetched(Err((POLICY_INVALID, "no mode")), kept);
            assert_eq!(failed.sts, Sts::None);
            assert_eq!(failed.fault.unwrap().reason.as_deref(), Some("no mode"));
        }
        let paused = Kept { is_backing_off: true, ..expired };
        let found = known(&id("2"), Some(&paused)).unwrap();
        assert_eq!((found.sts, found.source), (Sts::None, Source::Domain));
        assert_eq!(found.fault.unwrap().reason.as_deref(), Some("back-off"));
    }
}
