//! Records of DMARC, one on each line up to an empty one, and a header: whose message it is, and what comes of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_authentication::dmarc::{
    Author, DmarcResult, Identifier, IdentifierState, Mode, Policy, QUERIES_MAX, Request, evaluate,
};
use postrider_dns::Authenticity;
use postrider_fuzz::{Answers, check_field};
use postrider_proto::address::Domain;
use postrider_proto::authentication_results::AuthenticationResults;
use postrider_proto::dmarc::Record;
use postrider_proto::smtp::trace::Charset;

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else { return };
    let end = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(input.len());
    let (records, header) = (&input[..end], input.get(end + 2..).unwrap_or_default());
    let records: Vec<Vec<u8>> = records.split(|octet| *octet == b'\n').map(<[u8]>::to_vec).collect();
    for text in &records {
        let Some(record) = Record::parse(text) else { continue };
        let again = Record::parse(record.to_string().as_bytes()).expect("a record prints as one");
        assert_eq!(again.to_string(), record.to_string());
        assert_eq!(again.faults, []);
    }
    let author = Author::of_header(header);
    let domains = match &author {
        Author::Domain(domain) => vec![domain.clone()],
        Author::Unclear { domains, .. } => {
            assert!(domains.len() <= Author::DOMAINS_MAX);
            domains.clone()
        }
    };
    let states = [IdentifierState::Pass, IdentifierState::Temperror, IdentifierState::Other];
    let below = domains.first().and_then(|domain| Domain::parse(&format!("x.{domain}")).ok());
    let others = ["a.example", "b.a.example"].map(|name| Domain::parse(name).expect("a domain"));
    let identifiers: Vec<Identifier> = domains
        .iter()
        .cloned()
        .chain(below)
        .chain(others)
        .enumerate()
        .map(|(at, domain)| {
            let state = states[(usize::from(*first) + at) % states.len()];
            Identifier { domain, state, authenticity: Authenticity::Insecure }
        })
        .collect();
    for mode in [Mode::TreeWalk, Mode::PublicSuffixList] {
        let dns = Answers::new(records.clone());
        let request = Request {
            author: &author,
            spf: identifiers.last(),
            dkim: &identifiers,
            mode,
            sample: first % 100,
        };
        let verdict = futures_lite::future::block_on(evaluate(&dns, &request));
        assert_eq!(verdict.queries, dns.asked());
        assert!(verdict.queries <= QUERIES_MAX, "{} questions", verdict.queries);
        let passed = verdict.result == DmarcResult::Pass;
        assert_eq!(passed, verdict.aligned_spf || verdict.aligned_dkim);
        assert!(!passed || matches!(author, Author::Domain(_)), "a message of several authors passes");
        assert!(verdict.applied == Policy::None || verdict.result == DmarcResult::Fail);
        assert!(verdict.at_stake == Policy::None || verdict.result == DmarcResult::Temperror);
        assert!(verdict.applied.max(verdict.at_stake) <= verdict.policy);
        let results = [verdict.method_result()];
        check_field(
            &AuthenticationResults { authserv_id: "us", charset: Charset::Ascii, results: &results }.field(),
        );
    }
});
