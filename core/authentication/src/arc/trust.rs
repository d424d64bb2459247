//! Whose testimony counts.

use postrider_proto::address::Domain;
use postrider_proto::arc::{ChainStatus, Instance};

use super::verify::ArcResult;

/// The set whose authentication results may be used in place of our own: the oldest of those that trusted
/// sealers added without anybody else's between theirs and us.
///
/// A valid chain only says who handled a message, and anybody can make one up (RFC 8617 §9.6). Who sealed
/// after a trusted sealer could have changed the message, and said that the chain was intact; so a set counts
/// only if all after it are of trusted sealers, too. Among these the oldest one saw the message first. A domain
/// stands for those below it. And since whoever brought the message here may have added fields that the last sealer
/// didn't sign, such as another From, no set counts when there is one of those that readers are shown.
#[must_use]
pub fn trusted_results(arc: &ArcResult, trusted: &[Domain]) -> Option<Instance> {
    if arc.status != ChainStatus::Pass || arc.unsigned_field.is_some() {
        return None;
    }
    let is_trusted = |sealer: &Domain| trusted.iter().any(|domain| sealer.is_at_or_below(domain));
    arc.sets.iter().rev().take_while(|set| is_trusted(&set.domain)).last().map(|set| set.instance)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::super::verify::SetResult;
    use super::*;

    #[test]
    fn a_set_counts_when_all_after_it_are_of_trusted_sealers() {
        let domain = |name: &str| Domain::parse(name).unwrap();
        let trusted: Vec<Domain> = ["list.example", "relay.example"].map(domain).into();
        for (sealers, expected) in [
            (&["list.example"][..], Some(1)),
            (&["mx.list.example"], Some(1)),
            (&["badlist.example"], None),
            (&["example"], None),
            (&["other.example", "list.example"], Some(2)),
            (&["list.example", "other.example"], None),
            (&["list.example", "relay.example"], Some(1)),
            (&["list.example", "other.example", "relay.example", "list.example"], Some(3)),
            (&[], None),
        ] {
            let sets: Vec<SetResult> = (1..)
                .zip(sealers)
                .map(|(number, sealer)| SetResult::untested(Instance::new(number).unwrap(), domain(sealer)))
                .collect();
            let mut arc = ArcResult { status: ChainStatus::Pass, sets, ..ArcResult::none() };
            let found =
                |arc: &ArcResult, trusted: &[Domain]| trusted_results(arc, trusted).map(Instance::number);
            assert_eq!(found(&arc, &trusted), expected, "{sealers:?}");
            assert_eq!(found(&arc, &[]), None);
            arc.unsigned_field = Some("From");
            assert_eq!(found(&arc, &trusted), None);
            arc.unsigned_field = None;
            for status in [ChainStatus::Fail, ChainStatus::None] {
                arc.status = status;
                assert_eq!(found(&arc, &trusted), None);
            }
        }
    }
}
