//! Signing, and verifying what was signed.

use postrider_proto::address::Domain;
use postrider_proto::dkim::signature::{Canonicalization, Signature};
use postrider_proto::dkim::write::zone_line;
use postrider_proto::dkim::{Identity, Selector};

use super::*;

const RSA: &str = include_str!("rsa2048.pem");

fn rsa_key() -> PrivateKey {
    PrivateKey::from_pem(RSA.as_bytes()).unwrap()
}

fn signer() -> Signer<PrivateKey> {
    let named = |selector: &str, key| SignerKey { selector: Selector::parse(selector).unwrap(), key };
    Signer::new(Domain::parse("example.com").unwrap(), vec![named("rsa", rsa_key()), named("ed", key())])
}

fn sign<K: SigningKey>(signer: &Signer<K>, header: &str, body: &str) -> Result<String, SignError> {
    let mut hasher = signer.body_hasher();
    body.as_bytes().chunks(7).for_each(|piece| hasher.push(piece));
    signer.sign(header.as_bytes().to_vec(), &hasher.finish(), None, NOW)
}

fn script() -> Script {
    let mut script = Script::new();
    add_text(&mut script, "rsa._domainkey.example.com", &rsa_key().record());
    add_text(&mut script, "ed._domainkey.example.com", &key().record());
    script
}

fn signatures(fields: &str) -> Vec<Signature> {
    let header = Header::parse(fields.as_bytes().to_vec()).unwrap();
    header.fields().map(|field| Signature::parse(field.value).unwrap()).collect()
}

#[test]
fn every_key_signs_in_every_canonicalization_and_all_verify() {
    use Canonical::{Relaxed, Simple};
    for header in [Simple, Relaxed] {
        for body in [Simple, Relaxed] {
            let mut signer = signer();
            signer.canonicalization = Canonicalization { header, body };
            for text in ["", "\r\n", "no end", BODY] {
                let fields = sign(&signer, HEADER, text).unwrap();
                let message = format!("{fields}{HEADER}\r\n{text}");
                let results = verified(&content(message.as_bytes()), &Policy::default(), &script());
                let told: Vec<_> = results.iter().map(|result| (told(result), result.key_bits)).collect();
                assert_eq!(told, [(("pass", None), Some(2048)), (("pass", None), Some(256))], "{message}");
            }
        }
    }
}

#[test]
fn the_same_input_gives_the_same_field() {
    let fields = sign(&signer(), HEADER, BODY).unwrap();
    assert_eq!(fields, sign(&signer(), HEADER, BODY).unwrap());
    assert!(fields.lines().all(|line| line.len() <= 76), "{fields}");
    let signatures = signatures(&fields);
    assert_eq!(signatures.len(), 2);
    assert_eq!(signatures[0].core.timestamp, Some(NOW));
    assert_eq!(signatures[0].content.expiration, None);
    assert_eq!(signatures[1].core.selector.as_str(), "ed");
}

#[test]
fn no_field_can_be_added_later() {
    let fields = sign(&signer(), HEADER, BODY).unwrap();
    for name in FIELDS {
        let message = format!("{name}: x\r\n{fields}{HEADER}\r\n{BODY}");
        for result in verified(&content(message.as_bytes()), &Policy::default(), &script()) {
            assert_eq!(told(&result), ("fail", Some(Reason::Mismatch)), "{name}");
        }
    }
    let mut plain = signer();
    plain.oversign = false;
    let names = &signatures(&sign(&plain, HEADER, BODY).unwrap())[0].content.fields;
    assert_eq!(**names, ["From", "To", "Subject"].map(Box::from));
}

#[test]
fn what_the_message_has_of_lists_is_signed_and_lists_may_add_theirs() {
    let unsubscribe = "List-Unsubscribe: <https://example.com/u/1>\r\n\
                       List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
    let header = format!("{unsubscribe}Resent-To: a@example.com\r\nResent-To: b@example.com\r\n{HEADER}");
    let fields = sign(&signer(), &header, BODY).unwrap();
    for signature in signatures(&fields) {
        let mentions = |name: &str| signature.content.fields.iter().filter(|field| &***field == name).count();
        let names = ["List-Unsubscribe", "List-Unsubscribe-Post", "Resent-To", "List-Id", "From"];
        assert_eq!(names.map(mentions), [1, 1, 2, 0, 2]);
    }
    let results = |header: &str| -> Vec<_> {
        let message = format!("{fields}{header}\r\n{BODY}");
        verified(&content(message.as_bytes()), &Policy::default(), &script()).iter().map(told).collect()
    };
    let passes = || [("pass", None), ("pass", None)];
    assert_eq!(results(&header), passes());
    let changed = [header.replace("/u/1", "/u/2"), header.replace("One-Click", "All"), HEADER.to_owned()];
    for other in changed {
        let fails = || ("fail", Some(Reason::Mismatch));
        assert_eq!(results(&other), [fails(), fails()], "{other}");
    }
    // A list that passes the message on has fields of its own.
    assert_eq!(results(&format!("List-Id: <l.example>\r\nList-Post: NO\r\n{header}")), passes());
}

#[test]
fn an_identity_and_an_expiration_are_written() {
    let mut signer = signer();
    signer.lifetime = Some(3600);
    let mut hasher = signer.body_hasher();
    hasher.push(BODY.as_bytes());
    let domain = Domain::parse("mail.example.com").unwrap();
    let identity = Identity { localpart: "j\u{f6}rg =;x".into(), domain };
    let hashes = hasher.finish();
    let fields = signer.sign(HEADER.as_bytes().to_vec(), &hashes, Some(&identity), NOW).unwrap();
    assert!(fields.is_ascii());
    for signature in signatures(&fields) {
        assert_eq!(signature.identity, identity);
        assert_eq!(signature.content.expiration, Some(NOW + 3600));
    }
}

#[test]
fn what_can_t_be_signed_is_told_why() {
    for header in ["", "To: a\r\n", "From: a\r\nfrom: b\r\n"] {
        assert_eq!(sign(&signer(), header, BODY), Err(SignError::From));
    }
    let mut many = signer();
    many.fields = vec!["X-Many".into()];
    let header = |count: usize| format!("From: a\r\n{}", "X-Many: 1\r\n".repeat(count));
    // From and X-Many once more each.
    assert!(sign(&many, &header(256 - 3), BODY).is_ok());
    assert_eq!(sign(&many, &header(256 - 2), BODY), Err(SignError::TooManyFields));
    let other = BodyHasher::new([]).finish();
    assert_eq!(signer().sign(HEADER.as_bytes().to_vec(), &other, None, NOW), Err(SignError::Hash));
}

#[test]
fn from_is_signed_even_where_it_isn_t_listed() {
    let mut signer = signer();
    signer.fields = vec!["Subject".into()];
    let names = &signatures(&sign(&signer, HEADER, BODY).unwrap())[0].content.fields;
    assert_eq!(**names, ["From", "From", "Subject", "Subject"].map(Box::from));
}

#[test]
fn keys_are_made_kept_and_read_again() {
    for made in [PrivateKey::generate_ed25519().unwrap(), PrivateKey::generate_rsa().unwrap()] {
        let pem = made.to_pem().unwrap();
        let read = PrivateKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(read.record(), made.record());
        assert_eq!(read.to_pem(), None);
        // Version 1 of PKCS#8 (RFC 5208 §5): OpenSSL and what uses it read no Ed25519 key of version 2.
        let der = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            pem.lines().filter(|line| !line.starts_with('-')).collect::<String>(),
        );
        let der = der.unwrap();
        let start: &[u8] = if der.len() == 48 { &[0x30, 0x2e, 0x02, 1, 0] } else { &[0x30, 0x82] };
        assert!(der.starts_with(start) && (der.len() == 48 || der[4..7] == [0x02, 1, 0]), "{der:?}");
        assert!(!format!("{made:?}").contains(&pem[30..60]));
        let selector = Selector::parse("s").unwrap();
        let signer = Signer::new(
            Domain::parse("example.com").unwrap(),
            vec![SignerKey { selector: selector.clone(), key: read }],
        );
        let message = format!("{}{HEADER}\r\n{BODY}", sign(&signer, HEADER, BODY).unwrap());
        // The line for a zone file, put on one line for the script, is what a server serves.
        let script = Script::parse(&format!(
            "$TTL 60\n{}\n",
            zone_line(&selector, &signer.domain, &made.record()).replace(['(', ')', '\n'], " ")
        ))
        .unwrap();
        assert_eq!(told(&only(&message, &script)), ("pass", None));
    }
}

#[test]
fn what_is_no_private_key_is_refused() {
    for (pem, error) in [
        ("", PrivateKeyError::Pem),
        ("-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n", PrivateKeyError::Unusable),
        ("-----BEGIN PUBLIC KEY-----\nAAEC\n-----END PUBLIC KEY-----\n", PrivateKeyError::Pem),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAEC\n-----END RSA PRIVATE KEY-----\n", PrivateKeyError::Unusable),
    ] {
        assert_eq!(PrivateKey::from_pem(pem.as_bytes()).unwrap_err(), error);
    }
}
