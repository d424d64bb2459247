//! Messages, keys and results of other projects and of the standards (`shared/suites/dkim`).

use std::path::Path;

use postrider_proto::address::Domain;
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::canonical::{BodyCanonicalizer, Crlf};
use postrider_proto::dkim::key::KeyRecord;
use postrider_proto::dkim::signature::{Algorithm, Canonicalization};
use postrider_proto::dkim::tags::TagList;
use postrider_testing::suite;

use super::*;
use crate::content::wanted;
use crate::dkim::verify::signed_octets;
use crate::testing::{ShortKey, read, script};

fn text(folder: &Path, name: &str) -> String {
    String::from_utf8(read(folder, name)).unwrap()
}

fn words(folder: &Path, name: &str, script: &Script) -> Vec<&'static str> {
    let results = verified(&content(&read(folder, name)), &Policy::default(), script);
    results.iter().map(|result| result.result.word()).collect()
}

fn names(folder: &Path) -> Script {
    script(&serde_json::from_slice(&read(folder, "dns.json")).unwrap())
}

#[test]
fn the_examples_of_the_standards_verify() {
    let Some(folder) = suite("dkim/rfc-examples") else { return };
    let script = names(&folder);
    let mut messages = 0;
    for line in text(&folder, "expected.tsv").lines() {
        let (name, expected) = line.split_once('\t').unwrap();
        assert_eq!(words(&folder, name, &script).join(","), expected, "{name}");
        messages += 1;
    }
    assert_eq!(messages, 2);
}

#[test]
fn the_examples_of_the_standards_are_signed_as_they_are_there() {
    let Some(folder) = suite("dkim/rfc-examples") else { return };
    let ed25519 = || {
        let seed = text(&folder, "rfc8463-brisbane.ed25519.b64");
        let seed = TagList::parse(format!("p={}", seed.trim()).as_bytes())
            .map(|tags| tags.value("p").map(str::to_owned));
        let record = KeyRecord::parse(format!("k=ed25519; p={}", seed.unwrap().unwrap()).as_bytes()).unwrap();
        PrivateKey::from_ed25519_seed(&record.key).unwrap()
    };
    let rsa = |name: &str| ShortKey::from_pem(&text(&folder, name));
    let keys: [(&str, Vec<Box<dyn SigningKey>>); 2] = [
        ("rfc6376-A.2.eml", vec![Box::new(rsa("rfc6376-brisbane.rsa.pem"))]),
        ("rfc8463-A.3.eml", vec![Box::new(ed25519()), Box::new(rsa("rfc8463-test.rsa.pem"))]),
    ];
    for (name, keys) in keys {
        let content = content(&read(&folder, name));
        assert_eq!(content.signatures.len(), keys.len());
        for (candidate, key) in content.signatures.iter().zip(keys) {
            let signature = candidate.signature.as_ref().unwrap();
            let hash = content.hashes.get(wanted(&signature.content)).unwrap();
            assert_eq!(signature.content.body_hash, hash.digest);
            let part = Part { core: &signature.core, content: &signature.content, field: candidate.field };
            let made = key.sign(&signed_octets(&content.header, &part)).unwrap();
            assert_eq!(made, signature.core.signature, "{name}");
        }
    }
}

#[test]
fn messages_of_mail_auth_have_the_results_that_dkimpy_gives() {
    let Some(folder) = suite("dkim/mail-auth") else { return };
    let script = names(&folder);
    let mut messages = 0;
    for line in text(&folder, "expected.tsv").lines() {
        let (name, expected) = line.split_once('\t').unwrap();
        // dkimpy says that one has expired, in its own words.
        let expected = if expected.starts_with("ValidationError:x=") { "permerror" } else { expected };
        assert_eq!(words(&folder, name, &script).join(","), expected, "{name}");
        messages += 1;
    }
    assert_eq!(messages, 6);
}

#[test]
fn messages_whose_keys_are_gone_have_their_body_hashes() {
    let Some(folder) = suite("dkim/ocaml-dkim") else { return };
    let table = text(&folder, "body-hash.tsv");
    let mut signatures = 0;
    for row in table.lines().skip(1) {
        let fields: Vec<&str> = row.split('\t').collect();
        let [name, domain, selector, canonical, expected] = fields[..] else { panic!("{row}") };
        let content = content(&read(&folder, name));
        let of_row = content.signatures.iter().filter_map(|candidate| candidate.signature.as_ref().ok());
        let signature = of_row
            .filter(|signature| signature.core.domain.as_str() == domain.to_ascii_lowercase())
            .find(|signature| signature.core.selector.as_str() == selector.to_ascii_lowercase())
            .unwrap_or_else(|| panic!("{row}: no such signature"));
        let Canonicalization { header, body } = signature.content.canonicalization;
        assert!(
            [header.word().to_owned(), format!("{}/{}", header.word(), body.word())]
                .contains(&canonical.to_owned())
        );
        // Some are of the time of SHA-1, which nothing but this test computes.
        let algorithm = match signature.core.algorithm {
            Algorithm::RsaSha1 => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            _ => &ring::digest::SHA256,
        };
        let message = read(&folder, name);
        let mut context = ring::digest::Context::new(algorithm);
        let mut canonicalizer = BodyCanonicalizer::new(body);
        canonicalizer.push(&message[content.header.octets().len()..], &mut |octets| context.update(octets));
        canonicalizer.finish(&mut |octets| context.update(octets));
        let matches = context.finish().as_ref() == signature.content.body_hash;
        assert_eq!(matches, expected == "match", "{row}");
        signatures += 1;
    }
    assert_eq!(signatures, 7);
}

#[test]
fn messages_of_mimekit() {
    let Some(folder) = suite("dkim/mimekit") else { return };
    // A key in PEM, whose lines between the markers are the value of `p=`.
    let pem = |name: &str| -> String {
        text(&folder, name).lines().filter(|line| !line.starts_with("-----")).collect()
    };
    let mut gmail = Script::new();
    add_text(&mut gmail, "20120113._domainkey.gmail.com", &format!("k=rsa; p={}", pem("gmail.pub")));
    assert_eq!(words(&folder, "gmail.msg", &gmail), ["pass"]);

    let mut example = Script::new();
    add_text(
        &mut example,
        "brisbane._domainkey.football.example.com",
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    );
    let rsa = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qv\
        x/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/\
        K4w3QIDAQAB";
    add_text(&mut example, "test._domainkey.football.example.com", &format!("v=DKIM1; k=rsa; p={rsa}"));
    assert_eq!(words(&folder, "rfc8463-example.msg", &example), ["pass", "pass"]);

    // Signing takes a message as it is, without the boundary that should end it.
    let key = ShortKey::from_pem(&text(&folder, "example.pem"));
    let message = Crlf::whole(&read(&folder, "multipart-no-end-boundary.msg"));
    round_trip(&message, key);

    // The line of the zone file is cut into four strings.
    let zone = text(&folder, "example.bind9").replace(['(', ')', '\n'], " ");
    let served = Script::parse(&format!("$TTL 60\n{zone}\n")).unwrap();
    let record = served.answer(
        &postrider_dns::Name::from_ascii("1433868189.example._domainkey.example.com.").unwrap(),
        postrider_dns::RecordType::TXT,
    );
    let Some(postrider_dns::RData::TXT(strings)) = record.data().next().cloned() else { panic!("no record") };
    let record = KeyRecord::parse(&strings.txt_data.concat()).unwrap();
    assert!(record.strict && record.key.len() == 162);
}

/// Signs a message in every canonicalisation with a key that only tests use, and verifies it.
fn round_trip(message: &[u8], key: ShortKey) {
    use Canonical::{Relaxed, Simple};
    let end = memchr::memmem::find(message, b"\r\n\r\n").unwrap() + 4;
    let (header, body) = message.split_at(end);
    let script = with_record(&key.record());
    let named = SignerKey { selector: Selector::parse("s").unwrap(), key };
    let mut signer = Signer::new(Domain::parse("example.com").unwrap(), vec![named]);
    for header_algorithm in [Simple, Relaxed] {
        for body_algorithm in [Simple, Relaxed] {
            signer.canonicalization = Canonicalization { header: header_algorithm, body: body_algorithm };
            let mut hasher = signer.body_hasher();
            hasher.push(body);
            let fields = signer.sign(header.to_vec(), &hasher.finish(), None, NOW).unwrap();
            let signed = [fields.as_bytes(), message].concat();
            let results = verified(&content(&signed), &Policy::default(), &script);
            assert_eq!(told(&results[0]), ("pass", None));
        }
    }
}

#[test]
fn keys_and_messages_of_dkimpy() {
    let Some(folder) = suite("dkim/dkimpy") else { return };
    let key = |name: &str| ShortKey::from_pem(&text(&folder, name));
    for message in ["test.message", "test2.message", "test_extra.message", "rfc6376.msg", "rfc6376.w1258.msg"]
    {
        round_trip(&Crlf::whole(&read(&folder, message)), key("test.private"));
        round_trip(&Crlf::whole(&read(&folder, message)), key("1024_testkey.key"));
    }
    for name in ["2048_testkey.key", "2048_testkey_PKCS8.key"] {
        // Some lines of them are longer than the form allows, which rings no bell elsewhere.
        let made = PrivateKey::from_pem(text(&folder, name).as_bytes());
        assert!(made.is_ok(), "{name}");
    }

    // A message without From is neither signed nor verified.
    let unsigned = Crlf::whole(&read(&folder, "test_nofrom.message"));
    let named = SignerKey { selector: Selector::parse("test").unwrap(), key: key("test.private") };
    let signer = Signer::new(Domain::parse("example.com").unwrap(), vec![named]);
    let mut hasher = signer.body_hasher();
    hasher.push(b"");
    assert_eq!(signer.sign(unsigned, &hasher.finish(), None, NOW), Err(SignError::From));

    // Each record of the same key, with a message that was signed with it.
    let message = Crlf::whole(&read(&folder, "test.message"));
    let end = memchr::memmem::find(&message, b"\r\n\r\n").unwrap() + 4;
    let mut hasher = signer.body_hasher();
    hasher.push(&message[end..]);
    let fields = signer.sign(message[..end].to_vec(), &hasher.finish(), None, NOW).unwrap();
    let signed = [fields.as_bytes(), &message].concat();
    for (record, expected) in [
        ("test.txt", "pass"),
        ("test2.txt", "pass"),
        ("badk.txt", "permerror"),
        ("badversion.txt", "permerror"),
        ("test_bad.txt", "permerror"),
        ("test_tlsrpt.txt", "permerror"),
    ] {
        let mut script = Script::new();
        add_text(&mut script, "test._domainkey.example.com", &text(&folder, record));
        let results = verified(&content(&signed), &Policy::default(), &script);
        assert_eq!(results[0].result.word(), expected, "{record}: {:?}", results[0].reason);
    }
    // Both forms of an RSA key, of two sizes.
    for record in [
        "1024_testkey_wo_markers.pub.txt",
        "1024_testkey_wo_markers.pub.rsa.txt",
        "2048_testkey_wo_markers.pub.txt",
        "2048_testkey_wo_markers.pub.rsa.txt",
    ] {
        let parsed = KeyRecord::parse(text(&folder, record).trim().as_bytes()).unwrap();
        let bits = crate::keys::PublicKey::of(&parsed).unwrap().bits();
        assert!(record.starts_with(&bits.to_string()), "{record}: {bits}");
    }
}

#[test]
fn signed_messages_of_dkimpy_verify() {
    let Some(folder) = suite("dkim/dkimpy") else { return };
    let mut script = Script::new();
    let rsa = text(&folder, "test.txt");
    add_text(&mut script, "test._domainkey.football.example.com", &rsa);
    add_text(
        &mut script,
        "brisbane._domainkey.football.example.com",
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    );
    for (name, expected) in [
        ("rfc6376.signed.msg", &["pass", "pass"][..]),
        ("rfc6376.signed.rsa.msg", &["pass"]),
        // Its `x=` was put in after it was signed; dkimpy says that it is False.
        ("rfc6376.signed.no_t.msg", &["fail"]),
    ] {
        assert_eq!(words(&folder, name, &script), expected, "{name}");
    }
}
