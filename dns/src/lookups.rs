//! Lookups by what they are for, over any [`Lookup`]: the records as values, beside the whole answer.

use std::net::IpAddr;

use hickory_proto::rr::rdata::{CAA, SRV, TLSA};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::answer::{Answer, Authenticity, ExtendedError, Lookup, Outcome};
use crate::names::reverse_name;

/// The values of an answer, and the answer.
#[derive(Clone, Debug)]
pub struct Values<T> {
    /// In the order of the answer, unless a function says otherwise.
    pub values: Vec<T>,
    /// What they were made of.
    pub answer: Answer,
}

impl<T> Values<T> {
    fn of(answer: Answer, value: impl Fn(&RData) -> Option<T>) -> Self {
        Self { values: answer.data().filter_map(value).collect(), answer }
    }
}

/// The addresses of a host, of both families.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// IPv6 before IPv4, each in the order of its answer.
    pub values: Vec<IpAddr>,
    /// The answers: for AAAA, then for A.
    pub answers: [Answer; 2],
}

impl Addresses {
    /// The least of both answers.
    #[must_use]
    pub fn authenticity(&self) -> Authenticity {
        self.answers[0].authenticity.and(self.answers[1].authenticity)
    }

    /// What came of it: found when there is an address of either family; failed when there is none and
    /// either lookup failed.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let outcomes = [self.answers[0].outcome, self.answers[1].outcome];
        match outcomes {
            _ if outcomes.contains(&Outcome::Found) => Outcome::Found,
            _ if outcomes.contains(&Outcome::Failed) => Outcome::Failed,
            [Outcome::NoName, Outcome::NoName] => Outcome::NoName,
            _ => Outcome::NoData,
        }
    }

    /// Why: the first reason that there is.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.answers
            .iter()
            .map(|answer| answer.reason.as_str())
            .find(|reason| !reason.is_empty())
            .unwrap_or("")
    }

    /// The extended errors of both answers.
    pub fn errors(&self) -> impl Iterator<Item = &ExtendedError> {
        self.answers.iter().flat_map(|answer| &answer.errors)
    }
}

/// The addresses of a host. Both families are asked for one after the other: the second question finds the
/// aliases of the first remembered.
pub async fn addresses(lookup: &impl Lookup, host: &Name) -> Addresses {
    let six = lookup.lookup(host, RecordType::AAAA).await;
    let four = lookup.lookup(host, RecordType::A).await;
    let values = six.data().chain(four.data()).filter_map(|data| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    });
    Addresses { values: values.collect(), answers: [six, four] }
}

/// A host that takes mail for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanger {
    /// The lower is tried first.
    pub preference: u16,
    /// Its name.
    pub host: Name,
}

/// Who takes mail for a domain.
#[derive(Clone, Debug)]
pub struct Exchangers {
    /// By preference; among equals in the order of the answer, which the sender has to shuffle (RFC 5321
    /// §5.1). Empty with a null MX, and when there is no MX record.
    pub hosts: Vec<Exchanger>,
    /// Whether the domain says that it takes no mail: one MX record with the root as its host (RFC 7505 §3).
    pub takes_no_mail: bool,
    /// What it was made of.
    pub answer: Answer,
}

/// The MX records of a domain.
pub async fn exchangers(lookup: &impl Lookup, domain: &Name) -> Exchangers {
    let answer = lookup.lookup(domain, RecordType::MX).await;
    let mut hosts: Vec<Exchanger> = answer
        .data()
        .filter_map(|data| match data {
            RData::MX(mx) => Some(Exchanger { preference: mx.preference, host: mx.exchange.clone() }),
            _ => None,
        })
        .collect();
    let takes_no_mail = matches!(hosts.as_slice(), [only] if only.host.is_root());
    // Beside others the root is no host, and says nothing (RFC 7505 §3: there must be no others).
    hosts.retain(|exchanger| !exchanger.host.is_root());
    hosts.sort_by_key(|exchanger| exchanger.preference);
    Exchangers { hosts, takes_no_mail, answer }
}

/// The TXT records of a name, the strings of each joined without anything between (RFC 7208 §3.3).
pub async fn texts(lookup: &impl Lookup, name: &Name) -> Values<Vec<u8>> {
    Values::of(lookup.lookup(name, RecordType::TXT).await, |data| match data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    })
}

/// The names of an address, by its place in the reverse tree.
pub async fn names_of(lookup: &impl Lookup, address: IpAddr) -> Values<Name> {
    Values::of(lookup.lookup(&reverse_name(address), RecordType::PTR).await, |data| match data {
        RData::PTR(name) => Some(name.0.clone()),
        _ => None,
    })
}

/// The SRV records of a service name (`_imaps._tcp.example.org`), by priority (RFC 2782).
pub async fn services(lookup: &impl Lookup, name: &Name) -> Values<SRV> {
    let mut found = Values::of(lookup.lookup(name, RecordType::SRV).await, |data| match data {
        RData::SRV(service) => Some(service.clone()),
        _ => None,
    });
    found.values.sort_by_key(|service| service.priority);
    found
}

/// The TLSA records at exactly this name (`_25._tcp.mx.example.org`).
pub async fn associations(lookup: &impl Lookup, name: &Name) -> Values<TLSA> {
    Values::of(lookup.lookup(name, RecordType::TLSA).await, |data| match data {
        RData::TLSA(association) => Some(association.clone()),
        _ => None,
    })
}

/// The CAA records that say who may issue certificates for a name: of the closest name that has any, from it
/// upwards (RFC 8659 §3). The answer is that of the name which has them, or the last that was asked for.
pub async fn issuers(lookup: &impl Lookup, name: &Name) -> Values<CAA> {
    let mut here = name.clone();
    here.set_fqdn(true);
    loop {
        let found = Values::of(lookup.lookup(&here, RecordType::CAA).await, |data| match data {
            RData::CAA(issuer) => Some(issuer.clone()),
            _ => None,
        });
        // A name has at most 127 labels, so this ends.
        let stop = matches!(found.answer.outcome, Outcome::Found | Outcome::Failed) || here.is_root();
        here = here.base_name();
        if stop || here.is_root() {
            return found;
        }
    }
}

/// The name servers of a zone.
pub async fn name_servers(lookup: &impl Lookup, zone: &Name) -> Values<Name> {
    Values::of(lookup.lookup(zone, RecordType::NS).await, |data| match data {
        RData::NS(name) => Some(name.0.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use futures_lite::future::block_on;

    use super::*;
    use crate::script::Script;

    const ZONES: &str = r#"
        mail.example. A 192.0.2.1
        mail.example. AAAA 2001:db8::1
        four.example. A 192.0.2.2
        text.example. TXT "v=spf1 " "-all"
        text.example. TXT other
        10.2.0.192.in-addr.arpa. PTR mail.example.
        _imaps._tcp.example. SRV 20 0 993 b.example.
        _imaps._tcp.example. SRV 10 0 993 a.example.
        _25._tcp.mail.example. TLSA 3 1 1 00
        example. CAA 0 issue "ca.example"
        example. NS ns.example.
        example. MX 20 b.example.
        example. MX 10 a.example.
        example. MX 10 c.example.
        null.example. MX 0 .
        odd.example. MX 0 .
        odd.example. MX 5 a.example.
        $SECURE example.
        $INSECURE mail.example. A
        $TIMEOUT broken.example. A
        $SERVFAIL ca.broken.example. CAA
    "#;

    fn script() -> Script {
        let flat: Vec<&str> = ZONES.lines().map(str::trim_start).collect();
        Script::parse(&flat.join("\n")).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn addresses_of_both_families_rest_on_both_answers() {
        let script = script();
        let found = block_on(addresses(&script, &name("mail.example.")));
        assert_eq!(found.values, ["2001:db8::1", "192.0.2.1"].map(|text| text.parse::<IpAddr>().unwrap()));
        assert_eq!((found.outcome(), found.authenticity()), (Outcome::Found, Authenticity::Insecure));
        let outcome = |text| block_on(addresses(&script, &name(text))).outcome();
        assert_eq!(outcome("four.example."), Outcome::Found);
        assert_eq!(outcome("text.example."), Outcome::NoData);
        assert_eq!(outcome("nothing.example."), Outcome::NoName);
        assert_eq!(outcome("broken.example."), Outcome::Failed);
        let found = block_on(addresses(&script, &name("broken.example.")));
        assert!(found.reason().contains("in time"));
    }

    #[test]
    fn mail_exchangers_come_by_preference_and_a_null_mx_is_told() {
        let script = script();
        let found = block_on(exchangers(&script, &name("example.")));
        let hosts: Vec<String> = found.hosts.iter().map(|one| one.host.to_ascii()).collect();
        assert_eq!(
            (hosts.join(" ").as_str(), found.takes_no_mail),
            ("a.example. c.example. b.example.", false)
        );
        let found = block_on(exchangers(&script, &name("null.example.")));
        assert!(found.takes_no_mail && found.hosts.is_empty());
        let found = block_on(exchangers(&script, &name("odd.example.")));
        assert_eq!((found.hosts.len(), found.takes_no_mail), (1, false));
        let found = block_on(exchangers(&script, &name("text.example.")));
        assert_eq!((found.takes_no_mail, found.answer.outcome), (false, Outcome::NoData));
    }

    #[test]
    fn the_other_types_become_values() {
        let script = script();
        let found = block_on(texts(&script, &name("text.example.")));
        assert_eq!(found.values, [b"v=spf1 -all".to_vec(), b"other".to_vec()]);
        let found = block_on(names_of(&script, "192.0.2.10".parse().unwrap()));
        assert_eq!(found.values, [name("mail.example.")]);
        let found = block_on(services(&script, &name("_imaps._tcp.example.")));
        assert_eq!(found.values.iter().map(|one| one.priority).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(block_on(associations(&script, &name("_25._tcp.mail.example."))).values.len(), 1);
        assert_eq!(block_on(name_servers(&script, &name("example."))).values, [name("ns.example.")]);
    }

    #[test]
    fn issuers_are_those_of_the_closest_name_that_has_any() {
        let script = script();
        let found = block_on(issuers(&script, &name("a.b.mail.example.")));
        assert_eq!((found.values.len(), found.answer.name), (1, name("example.")));
        script.forget();
        let found = block_on(issuers(&script, &name("a.other.")));
        assert_eq!((found.values.len(), script.lookups()), (0, 2));
        let found = block_on(issuers(&script, &name("ca.broken.example.")));
        assert_eq!(found.answer.outcome, Outcome::Failed, "who can't be asked may have said no");
    }
}
