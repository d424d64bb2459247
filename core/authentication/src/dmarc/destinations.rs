//! Where the reports of a domain go: the addresses of its record, each of which is of its own organization or has said
//! that it takes them (RFC 7489 §7.1; RFC 9990 §4).

use postrider_dns::{Lookup, Outcome, RecordType};
use postrider_proto::address::{Address, Domain};
use postrider_proto::dmarc::{Alignment, Record, ReportUri};

use super::discover::Walker;
use super::{Mode, QUERIES_MAX};
use crate::names;

/// An address that takes the reports of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The address.
    pub address: Address,
    /// The largest message that it wants, in octets.
    pub octets_max: Option<u64>,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Destinations {
    /// Those that take reports, in the order of the record, each once.
    pub found: Vec<Destination>,
    /// Those that don't, and why.
    pub refused: Vec<(String, &'static str)>,
    /// Whether DNS didn't say of some whether they do.
    pub is_unclear: bool,
}

/// What a host says of the reports of a domain.
#[derive(Clone)]
enum Consent {
    /// The record's addresses are fine.
    Given,
    /// They are to go there instead.
    Replaced(Vec<ReportUri>),
    /// It doesn't want them.
    Refused(&'static str),
    /// DNS failed.
    Unclear,
}

impl Destinations {
    /// Questions to DNS that finding them takes at most.
    pub const QUERIES_MAX: u32 = QUERIES_MAX + Record::REPORT_URIS_MAX as u32;

    fn add(&mut self, address: Address, octets_max: Option<u64>) {
        if !self.found.iter().any(|known| known.address == address) {
            self.found.push(Destination { address, octets_max });
        }
    }
}

/// Finds where the reports of the domain that publishes a record go.
pub async fn destinations<L: Lookup>(dns: &L, domain: &Domain, record: &Record, mode: Mode) -> Destinations {
    let mut walker = Walker::new(dns, mode);
    let mut hosts: Vec<(Domain, Consent)> = Vec::new();
    let mut destinations = Destinations::default();
    for uri in &record.aggregate_reports {
        let Some(address) = Address::of_mailto(&uri.uri) else {
            destinations.refused.push((uri.uri.clone(), "it is no address of mail"));
            continue;
        };
        let consent = match hosts.iter().find(|(host, _)| *host == address.domain) {
            Some((_, consent)) => consent.clone(),
            None => {
                let consent = consent(&mut walker, dns, domain, &address.domain).await;
                hosts.push((address.domain.clone(), consent.clone()));
                consent
            }
        };
        match consent {
            Consent::Given => destinations.add(address, uri.octets_max),
            Consent::Replaced(others) => {
                for other in others {
                    if let Some(address) = Address::of_mailto(&other.uri) {
                        destinations.add(address, other.octets_max);
                    }
                }
            }
            Consent::Refused(reason) => destinations.refused.push((uri.uri.clone(), reason)),
            Consent::Unclear => destinations.is_unclear = true,
        }
    }
    destinations
}

/// Asks the host of an address (RFC 7489 §7.1).
async fn consent<L: Lookup>(walker: &mut Walker<'_, L>, dns: &L, domain: &Domain, host: &Domain) -> Consent {
    match walker.is_aligned(domain, host, Alignment::Relaxed).await {
        Ok(true) => return Consent::Given,
        Ok(false) => {}
        Err(_) => return Consent::Unclear,
    }
    let Some(name) = names::below(&format!("{domain}._report._dmarc"), host.as_str()) else {
        return Consent::Refused("the name at which its host would allow it is too long");
    };
    let answer = dns.lookup(&name, RecordType::TXT).await;
    if answer.outcome == Outcome::Failed {
        return Consent::Unclear;
    }
    let texts = answer.data().filter_map(names::text_of);
    let records: Vec<Record> = texts.filter_map(|text| Record::parse(&text)).collect();
    if records.is_empty() {
        return Consent::Refused("its host doesn't allow it");
    }
    let others: Vec<ReportUri> = records.into_iter().flat_map(|record| record.aggregate_reports).collect();
    let is_there = |uri: &ReportUri| Address::of_mailto(&uri.uri).is_some_and(|other| other.domain == *host);
    match others.iter().all(is_there) {
        _ if others.is_empty() => Consent::Given,
        true => Consent::Replaced(others),
        // Neither the one nor the other, so that nobody is made to flood a third.
        false => Consent::Refused("its host names another host instead"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use futures_lite::future::block_on;
    use postrider_dns::script::Script;

    use super::*;

    const ZONE: &str = "
        $ORIGIN example.
        _dmarc.blue                     TXT \"v=DMARC1; p=none\"
        blue._report._dmarc.bare        TXT \"v=DMARC1\"
        blue._report._dmarc.open        TXT \"v=DMARC1;\"
        blue.example._report._dmarc.bare TXT \"v=DMARC1\"
        *._report._dmarc.any            TXT \"v=DMARC1; p=none\"
        blue.example._report._dmarc.other TXT \"v=DMARC1; rua=mailto:all@other.example!5m\"
        blue.example._report._dmarc.away TXT \"v=DMARC1; rua=mailto:all@away.example,mailto:x@third.example\"
        blue.example._report._dmarc.wrong TXT \"v=spf1 -all\"
        blue.example._report._dmarc.two TXT \"some text\"
        blue.example._report._dmarc.two TXT \"v=DMARC1\"
        $SERVFAIL blue.example._report._dmarc.shaky
    ";

    fn of(rua: &str) -> (Vec<String>, Vec<String>, bool) {
        let zone: Vec<&str> = ZONE.lines().map(str::trim_start).collect();
        let script = Script::parse(&zone.join("\n")).unwrap();
        let record = Record::parse(format!("v=DMARC1; p=none; rua={rua}").as_bytes()).unwrap();
        let domain = Domain::parse("blue.example").unwrap();
        let Destinations { found, refused, is_unclear } =
            block_on(destinations(&script, &domain, &record, Mode::TreeWalk));
        assert!(script.lookups() <= Destinations::QUERIES_MAX as usize);
        let shown = |one: Destination| match one.octets_max {
            Some(max) => format!("{}!{max}", one.address),
            None => one.address.to_string(),
        };
        (
            found.into_iter().map(shown).collect(),
            refused.into_iter().map(|(uri, why)| format!("{uri}: {why}")).collect(),
            is_unclear,
        )
    }

    #[test]
    fn reports_go_where_they_are_wanted() {
        for (rua, found) in [
            ("mailto:a@blue.example", "a@blue.example"),
            ("mailto:a@in.blue.example!10m", "a@in.blue.example!10485760"),
            ("mailto:a@bare.example!1k", "a@bare.example!1024"),
            ("mailto:a@any.example", "a@any.example"),
            ("mailto:a@two.example", "a@two.example"),
            ("mailto:a@other.example,mailto:b@other.example", "all@other.example!5242880"),
            (
                "mailto:b@blue.example,mailto:a@blue.example,mailto:b@blue.example",
                "b@blue.example a@blue.example",
            ),
        ] {
            assert_eq!(of(rua), (found.split(' ').map(String::from).collect(), vec![], false), "{rua}");
        }
    }

    #[test]
    fn reports_go_nowhere_else() {
        let long = format!(
            "mailto:a@{}.example",
            ["x".repeat(60), "y".repeat(60), "z".repeat(60), "z".repeat(50)].join(".")
        );
        for (rua, why) in [
            ("mailto:a@open.example", "its host doesn't allow it"),
            ("mailto:a@wrong.example", "its host doesn't allow it"),
            ("mailto:a@notblue.example", "its host doesn't allow it"),
            ("mailto:a@example", "its host doesn't allow it"),
            ("mailto:a@away.example", "its host names another host instead"),
            ("https://blue.example/a", "it is no address of mail"),
            ("mailto:a@[192.0.2.1]", "it is no address of mail"),
            (&long, "the name at which its host would allow it is too long"),
        ] {
            assert_eq!(of(rua), (vec![], vec![format!("{rua}: {why}")], false), "{rua}");
        }
        let (found, refused, is_unclear) = of("mailto:a@shaky.example,mailto:a@blue.example");
        assert_eq!((found, refused, is_unclear), (vec!["a@blue.example".into()], vec![], true));
    }
}
