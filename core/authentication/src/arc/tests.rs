#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod suites;

use postrider_dns::Authenticity;
use postrider_dns::script::Script;
use postrider_proto::address::Domain;
use postrider_proto::arc::{ChainStatus, Instance};
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::header::HeaderError;

use super::*;
use crate::content::Reader;
use crate::dkim::PrivateKey;
use crate::testing::{add_text, block_on, content};

const NOW: u64 = 1_780_000_000;
const MESSAGE: &str = "From: joe@example.com\r\nTo: list@list.example\r\nSubject: hello\r\n\r\nHi.\r\n";

fn key(domain: &str) -> PrivateKey {
    let mut seed = [7; 32];
    seed[0] = domain.len() as u8;
    PrivateKey::from_ed25519_seed(&seed).unwrap()
}

/// A script with the keys of sealers.
fn script(domains: &[&str]) -> Script {
    let mut script = Script::new();
    for domain in domains {
        add_text(&mut script, &format!("arc._domainkey.{domain}"), &key(domain).record());
    }
    script
}

fn validated(message: &str, script: &Script) -> ArcResult {
    block_on(verify(&content(message.as_bytes()), NOW, script))
}

/// The message with a set of a domain on top.
fn sealed(message: &str, domain: &str, status: ChainStatus) -> Result<String, SealError> {
    let sealer = Sealer {
        domain: Domain::parse(domain).unwrap(),
        selector: Selector::parse("arc").unwrap(),
        key: key(domain),
        fields: ["From", "To", "Subject", "DKIM-Signature", "ARC-Seal"].map(String::from).to_vec(),
    };
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    let mut hasher = sealer.body_hasher();
    hasher.push(body.as_bytes());
    let results = |instance: Instance| {
        let (number, status) = (instance.number(), status.word());
        format!(
            "ARC-Authentication-Results: i={number}; {domain};\r\n spf=pass smtp.mailfrom=joe@example.com; arc={status}\r\n"
        )
    };
    let hashes = hasher.finish();
    let fields = seal(&sealer, format!("{header}\r\n").into_bytes(), &hashes, (status, results), NOW)?;
    Ok(format!("{fields}{message}"))
}

/// A message that went through handlers, each of which sealed it.
fn chain(domains: &[&str]) -> String {
    let mut message = MESSAGE.to_owned();
    for (at, domain) in domains.iter().enumerate() {
        let status = if at == 0 { ChainStatus::None } else { ChainStatus::Pass };
        message = sealed(&message, domain, status).unwrap();
    }
    message
}

const SEALERS: [&str; 3] = ["a.example", "bb.example", "ccc.example"];

#[test]
fn a_message_without_sets_has_no_chain() {
    let script = script(&SEALERS);
    let result = validated(MESSAGE, &script);
    assert_eq!((result.status, result.sets.len(), result.authenticity), (ChainStatus::None, 0, None));
    assert_eq!(script.lookups(), 0);
}

#[test]
fn what_is_sealed_is_a_chain() {
    for length in 1..=SEALERS.len() {
        let script = script(&SEALERS);
        let result = validated(&chain(&SEALERS[..length]), &script);
        assert_eq!((result.status, &result.reason), (ChainStatus::Pass, &None));
        assert_eq!(result.oldest_pass, Some(0));
        assert_eq!(script.lookups(), length, "a sealer has one key for both signatures");
        for (set, domain) in result.sets.iter().zip(SEALERS) {
            assert_eq!(set.domain.as_str(), domain);
            assert_eq!(set.selector.as_ref().unwrap().as_str(), "arc");
            assert_eq!((set.seal, set.signature, set.timestamp), (Some(true), Some(true), Some(NOW)));
            assert!(String::from_utf8(set.results.clone()).unwrap().trim_start().starts_with(domain));
        }
    }
}

#[test]
fn a_message_that_a_handler_changed_is_followed_back_to_that_handler() {
    let first = chain(&SEALERS[..1]).replace("Subject: hello", "Subject: [list] hello");
    let second = sealed(&first, SEALERS[1], ChainStatus::Pass).unwrap();
    let third = sealed(&second, SEALERS[2], ChainStatus::Pass).unwrap();
    let result = validated(&third, &script(&SEALERS));
    assert_eq!((result.status, result.oldest_pass), (ChainStatus::Pass, Some(2)));
    assert_eq!(
        result.sets.iter().map(|set| set.signature).collect::<Vec<_>>(),
        [Some(false), Some(true), Some(true)]
    );
    // A key that is gone by now doesn't break the chain of custody of the message alone.
    assert_eq!(result.sets.iter().map(|set| set.seal).collect::<Vec<_>>(), [Some(true); 3]);
}

#[test]
fn a_change_after_the_last_seal_breaks_the_chain() {
    let good = chain(&SEALERS);
    for (from, to, reason) in [
        ("Hi.", "Ho.", "message signature 3: the body was changed"),
        ("Subject: hello", "Subject: hallo", "message signature 3: the signature does not match"),
        (
            "i=2; bb.example;\r\n spf=pass",
            "i=2; bb.example;\r\n spf=fail",
            "seal 3: the signature does not match",
        ),
        (
            "i=1; a.example;\r\n spf=pass",
            "i=1; a.example;\r\n spf=fail",
            "seal 3: the signature does not match",
        ),
    ] {
        let changed = good.replace(from, to);
        assert_ne!(changed, good);
        let result = validated(&changed, &script(&SEALERS));
        assert_eq!(result.status, ChainStatus::Fail);
        assert_eq!(result.reason.unwrap().to_string(), reason);
        assert_eq!(result.oldest_pass, None);
    }
}

#[test]
fn a_made_up_chain_costs_others_one_lookup() {
    // The last sealer is real, and says that all before was well.
    let mut message = MESSAGE.to_owned();
    for number in 1..=20 {
        let status = if number == 1 { "none" } else { "pass" };
        let tags = format!("i={number}; a=ed25519-sha256; d=victim{number}.example; s=x; b=AAAA");
        message = format!(
            "ARC-Seal: {tags}; cv={status}\r\nARC-Message-Signature: {tags}; h=from; bh=AAAA\r\n\
             ARC-Authentication-Results: i={number}; victim{number}.example; dkim=pass\r\n{message}"
        );
    }
    let script = script(&SEALERS);
    let result = validated(&sealed(&message, SEALERS[0], ChainStatus::Pass).unwrap(), &script);
    assert_eq!(result.status, ChainStatus::Fail);
    assert_eq!(result.reason.unwrap().to_string(), "seal 20: there is no key");
    assert_eq!(script.lookups(), 2);
}

#[test]
fn fifty_sets_are_a_chain_and_one_more_is_not_sealed() {
    let domains = vec![SEALERS[0]; 50];
    let message = chain(&domains);
    let result = validated(&message, &script(&SEALERS));
    assert_eq!((result.status, result.sets.len(), result.oldest_pass), (ChainStatus::Pass, 50, Some(0)));
    assert_eq!(sealed(&message, SEALERS[0], ChainStatus::Pass), Err(SealError::Full));
}

#[test]
fn a_lookup_that_fails_breaks_the_chain() {
    let message = chain(&SEALERS);
    for (directive, authenticity) in
        [("$SERVFAIL", Authenticity::Indeterminate), ("$BOGUS", Authenticity::Bogus)]
    {
        let mut script = script(&SEALERS[1..]);
        script.add(&format!("{directive} arc._domainkey.a.example.\n")).unwrap();
        let result = validated(&message, &script);
        assert_eq!(result.status, ChainStatus::Fail);
        assert!(result.reason.unwrap().to_string().starts_with("seal 1: the key could not be looked up"));
        assert!(result.authenticity.unwrap() <= authenticity.max(Authenticity::Insecure));
    }
}

#[test]
fn a_chain_is_as_authentic_as_the_lookups_that_its_status_rests_on() {
    let mut script = script(&SEALERS);
    script.add("$SECURE example.\n").unwrap();
    let message = chain(&SEALERS);
    assert_eq!(validated(&message, &script).authenticity, Some(Authenticity::Secure));
    script.add("$INSECURE bb.example.\n").unwrap();
    let result = validated(&message, &script);
    assert_eq!(result.authenticity, Some(Authenticity::Insecure));
    assert_eq!(result.sets[0].authenticity, Some(Authenticity::Secure));
    assert_eq!(result.sets[1].authenticity, Some(Authenticity::Insecure));
}

#[test]
fn a_failed_chain_is_sealed_alone_and_then_never_again() {
    let broken = chain(&SEALERS[..2]).replace("Hi.", "Ho.");
    assert_eq!(validated(&broken, &script(&SEALERS)).status, ChainStatus::Fail);
    let marked = sealed(&broken, SEALERS[2], ChainStatus::Fail).unwrap();
    let script = script(&SEALERS);
    let result = validated(&marked, &script);
    assert_eq!(result.status, ChainStatus::Fail);
    assert_eq!(result.reason.unwrap().to_string(), "set 3 says that the chain failed");
    assert_eq!(script.lookups(), 0);
    assert_eq!(sealed(&marked, SEALERS[0], ChainStatus::Fail), Err(SealError::FailedBefore));
}

/// Whether the seal of a set verifies over this set and nothing else.
fn covers_its_own_set_alone(set: &str) -> bool {
    use postrider_proto::arc::{MESSAGE_SIGNATURE, RESULTS, SEAL, Seal};
    use postrider_proto::dkim::canonical::{Algorithm, FieldEnd, write_field, write_field_without};
    use postrider_proto::dkim::header::Header;
    use postrider_proto::dkim::key::KeyRecord;
    let header = Header::parse(set.as_bytes().to_vec()).unwrap();
    let field = |name| header.named(name).next().unwrap();
    let mut signed = Vec::new();
    for name in [RESULTS, MESSAGE_SIGNATURE] {
        write_field(&mut signed, field(name), Algorithm::Relaxed, FieldEnd::LineBreak);
    }
    let seal = Seal::parse(field(SEAL).value).unwrap();
    let place = seal.core.signature_place.clone();
    write_field_without(&mut signed, field(SEAL), place, Algorithm::Relaxed, FieldEnd::Nothing);
    let record = KeyRecord::parse(key(seal.core.domain.as_str()).record().as_bytes()).unwrap();
    crate::keys::PublicKey::of(&record).unwrap().verifies(&signed, &seal.core.signature)
}

#[test]
fn what_is_no_chain_is_sealed_as_failed() {
    let good = chain(&SEALERS[..2]);
    let full: String = chain(&[SEALERS[0]; 50]).replacen("ARC-Seal: i=1;", "X-Seal: i=1;", 1);
    for (torn, number, reason) in [
        (good.replace("ARC-Seal: i=1", "X-Seal: i=1"), 3, "set 1 is not complete"),
        (good.replace("ARC-Seal: i=2", "ARC-Seal: i=7"), 8, "set 2 is not complete"),
        (format!("ARC-Seal: none\r\n{MESSAGE}"), 1, "an ARC field has no valid instance"),
        (format!("ARC-Seal: i=1; a=x\r\n{good}"), 3, "set 1 has a field twice"),
    ] {
        let before = validated(&torn, &script(&SEALERS));
        assert_eq!((before.status, before.reason.unwrap().to_string().as_str()), (ChainStatus::Fail, reason));
        for status in [ChainStatus::None, ChainStatus::Pass] {
            assert_eq!(sealed(&torn, SEALERS[2], status), Err(SealError::Status));
        }
        let marked = sealed(&torn, SEALERS[2], ChainStatus::Fail).unwrap();
        assert!(marked.starts_with(&format!("ARC-Seal: i={number}; ")), "{marked}");
        assert!(covers_its_own_set_alone(marked.strip_suffix(&torn).unwrap()), "{marked}");
        assert_eq!(validated(&marked, &script(&SEALERS)).status, ChainStatus::Fail);
        assert_eq!(sealed(&marked, SEALERS[0], ChainStatus::Fail), Err(SealError::FailedBefore), "{marked}");
    }
    assert_eq!(sealed(&full, SEALERS[0], ChainStatus::Fail), Err(SealError::Full));
    // Where there is no chain, or a valid one, the status is that.
    assert_eq!(sealed(MESSAGE, SEALERS[0], ChainStatus::Pass), Err(SealError::Status));
    assert_eq!(sealed(MESSAGE, SEALERS[0], ChainStatus::Fail), Err(SealError::Status));
    assert_eq!(sealed(&good, SEALERS[0], ChainStatus::None), Err(SealError::Status));
}

#[test]
fn a_message_without_the_fields_to_be_signed_is_sealed_all_the_same() {
    let sealed = sealed("X-Other: 1\r\n\r\nHi.\r\n", SEALERS[0], ChainStatus::None).unwrap();
    let result = validated(&sealed, &script(&SEALERS));
    assert_eq!((result.status, result.reason), (ChainStatus::Pass, None));
}

#[test]
fn a_field_that_the_last_sealer_did_not_sign_is_told() {
    let good = chain(&SEALERS);
    let unsigned = |message: &str| {
        let result = validated(message, &script(&SEALERS));
        assert_eq!(result.status, ChainStatus::Pass);
        result.unsigned_field
    };
    assert_eq!(unsigned(&good), None);
    assert_eq!(unsigned(&format!("From: boss@bank.example\r\n{good}")), Some("From"));
    assert_eq!(unsigned(&format!("subject: urgent\r\n{good}")), Some("Subject"));
    assert_eq!(unsigned(&format!("X-New: 1\r\nContent-Type: text/html\r\n{good}")), None);
}

#[test]
fn fields_of_arc_are_not_in_what_a_message_signature_covers() {
    let message = chain(&SEALERS);
    let newest = message.split("ARC-Message-Signature:").nth(1).unwrap();
    let signed = newest.split("h=").nth(1).unwrap().split(';').next().unwrap();
    assert_eq!(signed.split_whitespace().collect::<String>(), "From:To:Subject");
}

#[test]
fn a_header_over_a_limit_has_no_valid_chain() {
    let mut reader = Reader::new();
    reader.push(&[b"a: b\r\n".repeat(2001), b"\r\n".to_vec()].concat());
    let error = reader.finish().unwrap_err();
    let result = ArcResult::refused(error);
    assert_eq!(
        (result.status, result.reason),
        (ChainStatus::Fail, Some(Reason::Header(HeaderError::TooManyFields)))
    );
}

#[test]
fn a_chain_is_told_with_how_far_back_the_message_is_the_same() {
    use postrider_proto::authentication_results::AuthenticationResults;
    use postrider_proto::smtp::trace::Charset;
    let field = |result: &ArcResult| {
        let results = [method_result(result)];
        let field =
            AuthenticationResults { authserv_id: "mx.example", charset: Charset::Ascii, results: &results };
        field.field().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field(&ArcResult::none()), "Authentication-Results: mx.example; arc=none");
    let passed = validated(&chain(&SEALERS), &script(&SEALERS));
    assert_eq!(
        field(&passed),
        "Authentication-Results: mx.example; arc=pass (3 sets, without dnssec) header.oldest-pass=0"
    );
    let failed = validated(&chain(&SEALERS), &Script::new());
    assert_eq!(
        field(&failed),
        "Authentication-Results: mx.example; arc=fail (without dnssec) reason=\"message signature 3: there is no key\""
    );
}
