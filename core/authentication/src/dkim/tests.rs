#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod keys;
mod rules;
mod sign;
mod suites;

use postrider_dns::script::Script;
use postrider_proto::dkim::canonical::Algorithm as Canonical;
use postrider_proto::dkim::header::Header;
use postrider_proto::dkim::tags::to_base64;
use postrider_proto::dkim::write::SignatureWriter;

use super::*;
use crate::content::{BodyHasher, Content, Wanted};
use crate::testing::{add_text, block_on, content};

/// When tests verify, in seconds since 1970.
const NOW: u64 = 1_780_000_000;
/// The secret of RFC 8032 §7.1, test 1.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
    0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const NAME: &str = "s._domainkey.example.com";
const HEADER: &str = "From: joe@example.com\r\nTo: a@example.net\r\nSubject: hello  there\r\n";
const BODY: &str = "Hi.\r\n\r\nWe lost  the game. \r\n\r\n\r\n";

fn key() -> PrivateKey {
    PrivateKey::from_ed25519_seed(&SEED).unwrap()
}

/// A script with one key record.
fn with_record(record: &str) -> Script {
    let mut script = Script::new();
    add_text(&mut script, NAME, record);
    script
}

fn good_script() -> Script {
    with_record(&format!("v=DKIM1; k=ed25519; p={PUBLIC}"))
}

/// A signature field with the tags given, and those that are needed and aren't given. Only what it signs has
/// to be right; the rest is what the test wants.
fn craft(header: &str, body: &str, tags: &[(&str, &str)]) -> String {
    let given = |name: &str| tags.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    let mut writer = SignatureWriter::new("DKIM-Signature");
    for (name, value) in [
        ("v", "1"),
        ("a", "ed25519-sha256"),
        ("c", "relaxed/relaxed"),
        ("d", "example.com"),
        ("s", "s"),
        ("h", "from:to:subject"),
    ] {
        writer = writer.tag(name, given(name).unwrap_or(value));
    }
    for (name, value) in tags.iter().filter(|(name, _)| !["v", "a", "c", "d", "s", "h", "bh"].contains(name))
    {
        writer = writer.tag(name, value);
    }
    let canonical = given("c").unwrap_or("relaxed/relaxed");
    let relaxed = |word: &str| if word == "simple" { Canonical::Simple } else { Canonical::Relaxed };
    let (header_algorithm, body_algorithm) = canonical.split_once('/').unwrap_or((canonical, "simple"));
    let wanted = Wanted {
        algorithm: relaxed(body_algorithm),
        length: given("l").and_then(|length| length.parse().ok()),
    };
    let mut hasher = BodyHasher::new([wanted]);
    hasher.push(body.as_bytes());
    let hash = hasher.finish().get(wanted).map_or([0; 32], |hash| hash.digest);
    let unsigned = writer.tag("bh", given("bh").map_or_else(|| to_base64(&hash), str::to_owned)).unsigned();
    let names: Vec<&str> = given("h").unwrap_or("from:to:subject").split(':').map(str::trim).collect();
    let parsed = Header::parse(header.as_bytes().to_vec()).unwrap();
    let mut signed = Vec::new();
    for field in parsed.select(&names) {
        postrider_proto::dkim::canonical::write_field(
            &mut signed,
            field,
            relaxed(header_algorithm),
            postrider_proto::dkim::canonical::FieldEnd::LineBreak,
        );
    }
    unsigned.write_canonical(&mut signed, relaxed(header_algorithm));
    unsigned.signed(&key().sign(&signed).unwrap())
}

/// A message with a crafted signature.
fn message(tags: &[(&str, &str)]) -> String {
    format!("{}{HEADER}\r\n{BODY}", craft(HEADER, BODY, tags))
}

fn verified(content: &Content, policy: &Policy, script: &Script) -> Vec<SignatureResult> {
    block_on(verify(content, policy, NOW, script))
}

/// The only result of a message.
fn only(message: &str, script: &Script) -> SignatureResult {
    let mut results = verified(&content(message.as_bytes()), &Policy::default(), script);
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// Result word and reason.
fn told(result: &SignatureResult) -> (&'static str, Option<Reason>) {
    (result.result.word(), result.reason.clone())
}
