//! What a signature must be, cover and survive.

use postrider_proto::dkim::signature::SignatureError;

use super::*;
use crate::content::{SIGNATURES_MAX, SIGNATURES_REPORTED_MAX};

#[test]
fn a_result_says_who_signed_and_how() {
    let result =
        only(&message(&[("i", "joe@mail.example.com"), ("t", "5"), ("x", "1999999999")]), &good_script());
    assert_eq!(told(&result), ("pass", None));
    assert_eq!(result.domain.unwrap().as_str(), "example.com");
    assert_eq!(result.selector.unwrap().as_str(), "s");
    assert_eq!(result.algorithm.as_deref(), Some("ed25519-sha256"));
    assert_eq!(result.identity.unwrap().to_string(), "joe@mail.example.com");
    assert_eq!((result.key_bits, result.testing), (Some(256), false));
    assert_eq!(
        (result.timestamp, result.expiration, result.body_length),
        (Some(5), Some(1_999_999_999), None)
    );
    assert_eq!(result.signature.map(|signature| signature.len()), Some(64));
}

#[test]
fn what_each_canonicalization_forgives() {
    type Change = (&'static str, &'static str);
    const CHANGES: [(Change, &str, &str); 8] = [
        // (what is replaced by what), (result of fields simple and relaxed), (of body simple and relaxed).
        (("Subject: hello  there", "SUBJECT:  hello\r\n\tthere"), "fail pass", "pass pass"),
        (("Subject: hello", "Subject : hello"), "fail pass", "pass pass"),
        (("Subject: hello", "Subject: Hello"), "fail fail", "pass pass"),
        (("lost  the", "lost\tthe"), "pass pass", "fail pass"),
        (("game. \r\n", "game.\r\n"), "pass pass", "fail pass"),
        (("game. \r\n\r\n\r\n", "game. \r\n"), "pass pass", "pass pass"),
        (("We lost", "Welost"), "pass pass", "fail fail"),
        (("Hi.\r\n\r\n", "Hi.\r\n"), "pass pass", "fail fail"),
    ];
    let script = good_script();
    for ((from, to), fields, body) in CHANGES {
        for (header_at, header) in ["simple", "relaxed"].into_iter().enumerate() {
            for (body_at, body_algorithm) in ["simple", "relaxed"].into_iter().enumerate() {
                let canonical = format!("{header}/{body_algorithm}");
                let message = message(&[("c", &canonical)]);
                assert_eq!(only(&message, &script).result.word(), "pass", "{canonical}");
                let word = |words: &'static str, at: usize| words.split(' ').nth(at).unwrap();
                let both = [word(fields, header_at), word(body, body_at)];
                let expected = if both.contains(&"fail") { "fail" } else { "pass" };
                let changed = message.replace(from, to);
                assert_ne!(changed, message);
                assert_eq!(
                    only(&changed, &script).result.word(),
                    expected,
                    "{canonical}: {from:?} to {to:?}"
                );
            }
        }
    }
}

#[test]
fn changes_are_told_apart() {
    let good = message(&[]);
    let reason = |message: &str| told(&only(message, &good_script()));
    assert_eq!(reason(&good.replace("game", "match")), ("fail", Some(Reason::BodyHash)));
    assert_eq!(reason(&good.replace("joe@", "eve@")), ("fail", Some(Reason::Mismatch)));
    assert_eq!(reason(&good.replace("d=example.com", "d=EXAMPLE.com")), ("fail", Some(Reason::Mismatch)));
    assert_eq!(reason(&good.replace("To: a@example.net\r\n", "")), ("fail", Some(Reason::Mismatch)));
    // What isn't signed may change.
    assert_eq!(reason(&good.replace("From:", "X-New: 1\r\nFrom:")), ("pass", None));
}

#[test]
fn repeated_missing_and_oversigned_fields() {
    let header = "Received: 1\r\nReceived: 2\r\nFrom: a\r\nReceived: 3\r\n";
    let signed = |fields: &str| craft(header, BODY, &[("h", fields)]);
    let check = |fields: &str, header: &str| {
        only(&format!("{}{header}\r\n{BODY}", signed(fields)), &good_script()).result.word()
    };
    let on_top = format!("Received: 0\r\n{header}");
    let below = format!("{header}Received: 4\r\n");
    for (fields, top, bottom) in [
        ("from:received", "pass", "fail"),
        ("from:received:received:received", "pass", "fail"),
        ("from:received:received:received:received", "fail", "fail"),
        ("from:x-absent:x-absent", "pass", "pass"),
    ] {
        assert_eq!(check(fields, header), "pass", "{fields}");
        assert_eq!(check(fields, &on_top), top, "{fields}");
        assert_eq!(check(fields, &below), bottom, "{fields}");
    }
    assert_eq!(check("from:x-absent", &format!("X-Absent:\r\n{header}")), "fail");
}

#[test]
fn every_field_that_readers_are_shown_is_signed() {
    let good = message(&[("h", "from:to:subject")]);
    for (name, field) in [("From", "From: boss@example.com\r\n"), ("Subject", "subject: urgent\r\n")] {
        let result = only(&format!("{field}{good}"), &good_script());
        assert_eq!(told(&result), ("policy", Some(Reason::UnsignedField(name))));
    }
    let unsigned = message(&[("h", "from:to")]);
    assert_eq!(told(&only(&unsigned, &good_script())), ("policy", Some(Reason::UnsignedField("Subject"))));
    let without = format!("{}{}\r\n", craft("From: a\r\n", "", &[("h", "from")]), "From: a\r\n");
    assert_eq!(told(&only(&without, &good_script())), ("pass", None));
    let lax = Policy { covered: Vec::new(), ..Policy::default() };
    assert_eq!(verified(&content(unsigned.as_bytes()), &lax, &good_script())[0].result, DkimResult::Pass);
}

#[test]
fn a_second_field_on_how_the_body_is_read_is_signed_or_there_is_none() {
    let header = format!("{HEADER}Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n");
    let check = |fields: &str, on_top: &str| {
        let signature = craft(&header, BODY, &[("h", fields)]);
        told(&only(&format!("{on_top}{signature}{header}\r\n{BODY}"), &good_script()))
    };
    let all = "from:to:subject:content-type:content-transfer-encoding";
    for (name, field) in [
        ("Content-Type", "content-type: text/html\r\n"),
        ("Content-Transfer-Encoding", "Content-Transfer-Encoding: base64\r\n"),
    ] {
        let refused = ("policy", Some(Reason::UnsignedField(name)));
        for fields in [all, "from:to:subject"] {
            assert_eq!(check(fields, ""), ("pass", None));
            assert_eq!(check(fields, field), refused, "{fields}");
        }
        // What is named once more than the message has it can't be added at all.
        let more = format!("{all}:content-type:content-transfer-encoding");
        assert_eq!(check(&more, ""), ("pass", None));
        assert_eq!(check(&more, field), ("fail", Some(Reason::Mismatch)));
    }
}

#[test]
fn nothing_hides_between_the_signed_header_and_the_signed_body() {
    // Content of BINARYMIME keeps a bare LF, which ends a line for everybody who reads it.
    let good = message(&[]);
    let (header, body) = good.split_once("\r\n\r\n").unwrap();
    for between in ["\r\n\nsend money\r\n\r\n", "\n\nsend money\r\n\r\n", "\n\r\nsend money\r\n\r\n"] {
        let mut reader = crate::content::Reader::new();
        reader.push(format!("{header}{between}{body}").as_bytes());
        let results = verified(&reader.finish().unwrap(), &Policy::default(), &good_script());
        assert_eq!(told(&results[0]), ("fail", Some(Reason::BodyHash)), "{between:?}");
    }
}

#[test]
fn a_length_that_leaves_some_of_the_body_unsigned_is_refused() {
    // The canonical body: "Hi.", nothing, "We lost the game.", each with its line break.
    let lax = Policy { partial_body: PartialBody::Accept, ..Policy::default() };
    for (length, strict, accepted) in [
        ("26", ("pass", None), "pass"),
        ("25", ("policy", Some(Reason::PartialBody(1))), "pass"),
        ("0", ("policy", Some(Reason::PartialBody(26))), "pass"),
        ("27", ("fail", Some(Reason::BodyTooShort)), "fail"),
        ("99999999999999999999", ("fail", Some(Reason::BodyTooShort)), "fail"),
    ] {
        let message = message(&[("l", length)]);
        assert_eq!(told(&only(&message, &good_script())), strict, "{length}");
        let result = &verified(&content(message.as_bytes()), &lax, &good_script())[0];
        assert_eq!(result.result.word(), accepted, "{length}");
    }
    // What a list appends to a message that was signed whole, with its length.
    let appended = format!("{}An added part.\r\n", message(&[("l", "26")]).trim_end_matches("\r\n\r\n"));
    assert_eq!(told(&only(&appended, &good_script())).0, "policy");
    let changed = message(&[("l", "20")]).replace("Hi.", "Ho.");
    assert_eq!(told(&only(&changed, &good_script())), ("fail", Some(Reason::BodyHash)));
}

#[test]
fn a_signature_lives_until_it_expires() {
    for (expires, expected) in
        [(NOW + 1, ("pass", None)), (NOW, ("pass", None)), (NOW - 1, ("permerror", Some(Reason::Expired)))]
    {
        assert_eq!(told(&only(&message(&[("x", &expires.to_string())]), &good_script())), expected);
    }
    let script = good_script();
    only(&message(&[("x", "1")]), &script);
    assert_eq!(script.lookups(), 0, "what can't pass costs no lookup");
}

#[test]
fn sha1_is_not_accepted() {
    let result = only(&message(&[("a", "rsa-sha1")]), &good_script());
    assert_eq!(told(&result), ("permerror", Some(Reason::Sha1)));
    assert_eq!(result.algorithm.as_deref(), Some("rsa-sha1"));
}

#[test]
fn what_is_no_signature_is_told_with_what_it_claims() {
    for (tags, expected) in [
        (&[("v", "2")][..], ("neutral", SignatureError::Version)),
        (&[("a", "future-sha3")], ("neutral", SignatureError::Algorithm)),
        (&[("c", "nofws")], ("neutral", SignatureError::Canonicalization)),
        (&[("q", "https")], ("neutral", SignatureError::Query)),
        (&[("h", "to:subject")], ("permerror", SignatureError::FromNotSigned)),
        (&[("i", "@example.org")], ("permerror", SignatureError::Identity)),
        (&[("t", "9"), ("x", "9")], ("permerror", SignatureError::Times)),
    ] {
        let script = good_script();
        let result = only(&message(tags), &script);
        assert_eq!(told(&result), (expected.0, Some(Reason::Signature(expected.1))), "{tags:?}");
        assert_eq!(result.domain.unwrap().as_str(), "example.com");
        assert_eq!(script.lookups(), 0);
    }
}

#[test]
fn public_suffixes_sign_for_nobody() {
    let sign = |domain: &str| message(&[("d", domain)]);
    let told = |domain: &str| {
        let mut script = Script::new();
        add_text(&mut script, &format!("s._domainkey.{domain}"), &format!("k=ed25519; p={PUBLIC}"));
        told(&only(&sign(domain), &script))
    };
    for domain in ["com", "co.uk", "nowhere"] {
        assert_eq!(told(domain), ("permerror", Some(Reason::PublicSuffix)), "{domain}");
    }
    for domain in ["example.co.uk", "example.com", "localhost"] {
        assert_eq!(told(domain), ("pass", None), "{domain}");
    }
}

#[test]
fn results_come_in_the_order_of_the_fields_and_only_so_many() {
    let sign = |selector: &str| craft(HEADER, BODY, &[("s", selector)]);
    let mut script = Script::new();
    let mut fields = String::new();
    for number in 0..SIGNATURES_MAX + 2 {
        let selector = format!("s{number}");
        add_text(
            &mut script,
            &format!("{selector}._domainkey.example.com"),
            &format!("k=ed25519; p={PUBLIC}"),
        );
        fields.push_str(&sign(&selector));
    }
    let results =
        verified(&content(format!("{fields}{HEADER}\r\n{BODY}").as_bytes()), &Policy::default(), &script);
    let selectors: Vec<String> =
        results.iter().map(|result| result.selector.as_ref().unwrap().to_string()).collect();
    assert_eq!(selectors, (0..SIGNATURES_MAX + 2).map(|number| format!("s{number}")).collect::<Vec<_>>());
    for (at, result) in results.iter().enumerate() {
        let expected = if at < SIGNATURES_MAX { ("pass", None) } else { ("policy", Some(Reason::TooMany)) };
        assert_eq!(told(result), expected, "{at}");
    }
    assert_eq!(script.lookups(), SIGNATURES_MAX);

    // Two hundred signatures with one key: one lookup, and not even told of all.
    let script = good_script();
    let message = format!("{}{HEADER}\r\n{BODY}", craft(HEADER, BODY, &[]).repeat(200));
    let results = verified(&content(message.as_bytes()), &Policy::default(), &script);
    assert_eq!(results.len(), SIGNATURES_REPORTED_MAX);
    assert_eq!(script.lookups(), 1);
}

#[test]
fn a_message_without_signatures_has_no_results() {
    let script = good_script();
    assert!(
        verified(&content(format!("{HEADER}\r\n{BODY}").as_bytes()), &Policy::default(), &script).is_empty()
    );
    assert_eq!(script.lookups(), 0);
}

#[test]
fn bare_line_feeds_are_octets_like_any_other() {
    let mut reader = crate::content::Reader::new();
    reader.push(message(&[]).replace("We lost", "We\nlost").as_bytes());
    let results = verified(&reader.finish().unwrap(), &Policy::default(), &good_script());
    assert_eq!(told(&results[0]), ("fail", Some(Reason::BodyHash)));
}

#[test]
fn what_leaves_some_unsigned_authenticates_nobody() {
    use crate::dmarc::{Identifier, IdentifierState};
    let state = |message: &str| Identifier::of_signature(&only(message, &good_script())).unwrap().state;
    assert_eq!(state(&message(&[])), IdentifierState::Pass);
    assert_eq!(state(&message(&[("l", "0")])), IdentifierState::Other);
    assert_eq!(state(&format!("Subject: urgent\r\n{}", message(&[]))), IdentifierState::Other);
    let failing = Script::parse(&format!("$SERVFAIL {NAME}.\n")).unwrap();
    let identifier = Identifier::of_signature(&only(&message(&[]), &failing)).unwrap();
    assert_eq!(identifier.state, IdentifierState::Temperror);
    assert_eq!(identifier.domain.as_str(), "example.com");
    assert_eq!(Identifier::of_signature(&only(&message(&[("d", "a b")]), &failing)), None);
}
