//! A key record, and a message with ARC sets, in one line and all the rest: collected, validated, and sealed once more.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postrider_authentication::arc::{SealError, Sealer, method_result, seal, trusted_results, verify};
use postrider_authentication::dkim::PrivateKey;
use postrider_fuzz::{Answers, check_field, content};
use postrider_proto::address::Domain;
use postrider_proto::arc::{ChainStatus, Instance, newest};
use postrider_proto::authentication_results::{AuthenticationResults, parse};
use postrider_proto::dkim::Selector;
use postrider_proto::smtp::trace::Charset;

const NOW: u64 = 1_780_000_000;

static SEALER: LazyLock<Sealer<PrivateKey>> = LazyLock::new(|| Sealer {
    domain: Domain::parse("us.example").expect("a domain"),
    selector: Selector::parse("s").expect("a selector"),
    key: PrivateKey::from_ed25519_seed(&[7; 32]).expect("a key"),
    fields: vec!["From".to_owned(), "Subject".to_owned()],
});

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else { return };
    let end = input.iter().position(|octet| *octet == b'\n').unwrap_or(input.len());
    let (record, message) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let Ok(read) = content(message, usize::from(*first) + 1) else { return };
    let dns = Answers::new(vec![record.to_vec(), SEALER.key.record().into_bytes()]);
    let result = futures_lite::future::block_on(verify(&read, NOW, &dns));
    assert!(dns.asked() <= 100 && result.sets.len() <= 50, "{} questions", dns.asked());
    assert_eq!(result.reason.is_some(), result.status == ChainStatus::Fail);
    assert_eq!(result.oldest_pass.is_some(), result.status == ChainStatus::Pass);
    let trusted: Vec<Domain> = result.sets.iter().map(|set| set.domain.clone()).collect();
    let counts = trusted_results(&result, &trusted);
    assert!(counts.is_none() || result.status == ChainStatus::Pass);
    for set in &result.sets {
        let _ = parse(&set.results);
    }
    let results = [method_result(&result)];
    check_field(
        &AuthenticationResults { authserv_id: "us", charset: Charset::Ascii, results: &results }.field(),
    );

    let header = read.header.octets().to_vec();
    let before = newest(&read.header);
    let own = |instance: Instance| {
        format!("ARC-Authentication-Results: i={}; us.example; none\r\n", instance.number())
    };
    let body = message.get(header.len()..).unwrap_or_default();
    let mut hasher = SEALER.body_hasher();
    hasher.push(body);
    match seal(&SEALER, header, &hasher.finish(), (result.status, own), NOW) {
        Ok(fields) => {
            // With one more set the header may be over a limit.
            let Ok(sealed) = content(&[fields.as_bytes(), message].concat(), usize::MAX) else { return };
            let after = newest(&sealed.header).expect("a set");
            assert_eq!(after.instance.number(), before.map_or(0, |before| before.instance.number()) + 1);
            assert_eq!(after.is_failed, result.status == ChainStatus::Fail);
            let chain = sealed.chain.expect("a set");
            // What was a chain still is one.
            assert_eq!(chain.is_ok(), result.status != ChainStatus::Fail, "{chain:?}");
        }
        Err(SealError::Full) => assert_eq!(before.map(|before| before.instance.number()), Some(50)),
        Err(SealError::FailedBefore) => assert_eq!(result.status, ChainStatus::Fail),
        Err(SealError::Sign(_)) => {}
        Err(SealError::Status) => panic!("what was validated has its status"),
    }
});
