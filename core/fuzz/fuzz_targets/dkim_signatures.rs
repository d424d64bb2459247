//! A key record, and a message with signatures, in one line and all the rest: read whatever the cuts, and verified.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_authentication::dkim::{DkimResult, Policy, method_results, verify};
use postrider_authentication::keys::PublicKey;
use postrider_fuzz::{Answers, check_field, content};
use postrider_proto::authentication_results::AuthenticationResults;
use postrider_proto::dkim::canonical::{Algorithm, FieldEnd, write_field};
use postrider_proto::dkim::key::KeyRecord;
use postrider_proto::smtp::trace::Charset;

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else { return };
    let end = input.iter().position(|octet| *octet == b'\n').unwrap_or(input.len());
    let (record, message) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    if let Ok(record) = KeyRecord::parse(record)
        && let Ok(key) = PublicKey::of(&record)
    {
        assert!(key.bits() == 256 || (1024..=8192).contains(&key.bits()));
        assert!(!key.verifies(b"", b""));
    }
    let whole = content(message, usize::MAX);
    let cut = content(message, usize::from(*first) + 1);
    let (whole, cut) = match (whole, cut) {
        (Ok(whole), Ok(cut)) => (whole, cut),
        (whole, cut) => {
            assert_eq!(whole.err(), cut.err(), "what is refused depends on the cuts");
            return;
        }
    };
    assert_eq!(whole.header.octets(), cut.header.octets(), "the header depends on the cuts");
    for field in whole.header.fields() {
        for algorithm in [Algorithm::Simple, Algorithm::Relaxed] {
            let mut out = Vec::new();
            write_field(&mut out, field, algorithm, FieldEnd::LineBreak);
            assert!(out.ends_with(b"\r\n") && out.len() <= field.octets.len() + 3);
        }
    }
    let dns = Answers::new(vec![record.to_vec()]);
    let check =
        |content| futures_lite::future::block_on(verify(content, &Policy::default(), 1_780_000_000, &dns));
    let results = check(&whole);
    assert!(dns.asked() <= 10, "{} questions", dns.asked());
    let other = check(&cut);
    assert_eq!(results.len(), other.len());
    for (one, other) in results.iter().zip(&other) {
        assert_eq!(
            (one.result, &one.reason),
            (other.result, &other.reason),
            "the result depends on the cuts"
        );
        assert_eq!(one.reason.is_none(), one.result == DkimResult::Pass);
    }
    for charset in [Charset::Ascii, Charset::Utf8] {
        check_field(
            &AuthenticationResults { authserv_id: "us", charset, results: &method_results(&results) }.field(),
        );
    }
});
