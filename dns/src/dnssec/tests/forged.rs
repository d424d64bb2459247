//! Proofs and signatures that are genuine, put where they prove nothing: what an attacker has who can't sign.

use futures_lite::future::block_on;
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::super::{End, Reason, Verdict};
use super::text::{self, name};
use super::zones::{HASHED, Key, Mode, NOW, TTL, World, dnssec};
use crate::answer::Authenticity::{Bogus, Secure};

const MAIL: &str = "mail.a.test.";

/// The verdict about a response that was put together.
fn judge(world: &World, asked: &str, kind: RecordType, response: &Message) -> Verdict {
    let validator = world.validator();
    block_on(validator.validate(world, NOW, &name(asked), kind, response))
}

fn assert_bogus(verdict: &Verdict, what: &str) {
    assert_eq!((verdict.authenticity, &verdict.end), (Bogus, &End::Failed), "{what}: {}", verdict.sentence());
}

/// A negative response: the SOA of a zone, signed, and proofs.
fn negative(world: &World, zone: &str, code: ResponseCode, proof: Vec<Record>) -> Message {
    let mut response = world.resolve(&name(zone), RecordType::TXT);
    response.authorities.retain(|record| super::replay::covered(record) == RecordType::SOA);
    assert_eq!(response.authorities.len(), 2);
    response.authorities.extend(proof);
    response.metadata.response_code = code;
    response
}

#[test]
fn a_delegation_proves_nothing_of_names_below_it() {
    for mode in [Mode::Nsec, HASHED] {
        let world = World::usual(mode);
        let names = [name("a.test."), name(MAIL), name("*.a.test.")];
        let proof = world.zone("test.").proof(&[&names[0], &names[1], &names[2]]);
        let response = negative(&world, "test.", ResponseCode::NXDomain, proof);
        assert_bogus(&judge(&world, MAIL, RecordType::A, &response), &format!("{mode:?}"));
    }
}

#[test]
fn a_dname_proves_nothing_of_names_below_it() {
    for mode in [Mode::Nsec, HASHED] {
        let world = World::usual(mode);
        let names = [name("old.a.test."), name("x.old.a.test."), name("*.old.a.test.")];
        let proof = world.zone("a.test.").proof(&[&names[0], &names[1], &names[2]]);
        let response = negative(&world, "a.test.", ResponseCode::NXDomain, proof);
        assert_bogus(&judge(&world, "x.old.a.test.", RecordType::TXT, &response), &format!("{mode:?}"));
    }
}

#[test]
fn a_name_with_an_alias_has_no_other_types_to_deny() {
    for mode in [Mode::Nsec, HASHED] {
        let world = World::usual(mode);
        let proof = world.zone("a.test.").proof(&[&name("www.a.test.")]);
        let response = negative(&world, "a.test.", ResponseCode::NoError, proof);
        assert_bogus(&judge(&world, "www.a.test.", RecordType::A, &response), &format!("{mode:?}"));
        // The same with a wildcard that is an alias.
        let names = [name("alias.a.test."), name("x.alias.a.test."), name("*.alias.a.test.")];
        let proof = world.zone("a.test.").proof(&[&names[0], &names[1], &names[2]]);
        let response = negative(&world, "a.test.", ResponseCode::NoError, proof);
        assert_bogus(&judge(&world, "x.alias.a.test.", RecordType::A, &response), &format!("{mode:?}"));
    }
}

#[test]
fn a_wildcard_must_not_exist_for_a_name_not_to() {
    for mode in [Mode::Nsec, HASHED] {
        let world = World::usual(mode);
        // All of the proof but the part that would be of the wildcard, which exists.
        let names = [name("wild.a.test."), name("x.wild.a.test.")];
        let proof = world.zone("a.test.").proof(&[&names[0], &names[1]]);
        let response = negative(&world, "a.test.", ResponseCode::NXDomain, proof.clone());
        assert_bogus(&judge(&world, "x.wild.a.test.", RecordType::TXT, &response), &format!("{mode:?}"));
        // A name that doesn't exist may have no wildcard denied for another encloser.
        let names = [name("a.test."), name("x.wild.a.test."), name("*.a.test.")];
        let proof = world.zone("a.test.").proof(&[&names[0], &names[1], &names[2]]);
        let response = negative(&world, "a.test.", ResponseCode::NXDomain, proof);
        assert_bogus(&judge(&world, "x.wild.a.test.", RecordType::TXT, &response), &format!("{mode:?}"));
    }
}

#[test]
fn records_of_a_wildcard_stay_below_the_closest_name() {
    for mode in [Mode::Nsec, HASHED] {
        let mut world = World::usual(mode);
        world.put(
            "a.test.",
            "z.y.wild.a.test.",
            RecordType::A,
            vec![text::record("z.y.wild.a.test. 3600 A 192.0.2.6")],
        );
        let expanded = world.resolve(&name("q.wild.a.test."), RecordType::TXT);
        let zone = world.zone("a.test.");
        // `y.wild` exists, so the wildcard isn't for it, nor for what is below it.
        for at in ["y.wild.a.test.", "x.y.wild.a.test."] {
            let mut response = expanded.clone();
            response.answers.iter_mut().for_each(|record| record.name = name(at));
            for proven in [at, "y.wild.a.test.", "q.wild.a.test."] {
                response.authorities = zone.proof(&[&name("wild.a.test."), &name(proven)]);
                let verdict = judge(&world, at, RecordType::TXT, &response);
                assert_bogus(&verdict, &format!("{mode:?} {at} {proven}"));
                assert!(
                    matches!(verdict.reason, Some(Reason::WildcardUnproven { .. })),
                    "{:?}",
                    verdict.reason
                );
            }
        }
        assert_eq!(judge(&world, "q.wild.a.test.", RecordType::TXT, &expanded).authenticity, Secure);
    }
}

#[test]
fn a_proof_is_not_made_of_a_wildcard() {
    let mut world = World::usual(Mode::Nsec);
    world.put(
        "a.test.",
        "real.wild.a.test.",
        RecordType::A,
        vec![text::record("real.wild.a.test. 3600 A 192.0.2.6")],
    );
    let real = name("real.wild.a.test.");
    let mut proof = world.zone("a.test.").nsec(&name("*.wild.a.test."));
    proof.iter_mut().for_each(|record| record.name = real.clone());
    let response = negative(&world, "a.test.", ResponseCode::NoError, proof);
    assert_bogus(&judge(&world, "real.wild.a.test.", RecordType::A, &response), "the NSEC of the wildcard");
}

#[test]
fn nsec3_counts_directly_below_its_zone_only() {
    // The NSEC3 of another zone, whose signer is the name that it would be of.
    let world = World::usual(HASHED);
    let proof = world.zone("b.test.").proof(&[&name("b.test.")]);
    let response = negative(&world, "a.test.", ResponseCode::NoError, proof);
    assert_bogus(&judge(&world, MAIL, RecordType::TXT, &response), "another zone");
}

#[test]
fn a_delegation_is_not_made_of_a_wildcard() {
    let mut world = World::usual(Mode::Nsec);
    let stranger = Key::ed25519();
    let owner = name("*.deleg.a.test.");
    let ds = stranger.ds(&name("x.deleg.a.test."), hickory_proto::dnssec::DigestType::SHA256);
    world.put("a.test.", "*.deleg.a.test.", RecordType::DS, vec![dnssec(&owner, TTL, DNSSECRData::DS(ds))]);
    let mut response = world.resolve(&name(MAIL), RecordType::A);
    response.answers.retain(|record| record.record_type() == RecordType::A);
    response.answers.iter_mut().for_each(|record| record.name = name("x.deleg.a.test."));
    let verdict = judge(&world, "x.deleg.a.test.", RecordType::A, &response);
    assert_bogus(&verdict, "wildcard");
    assert!(
        matches!(verdict.reason, Some(Reason::SignatureMisfit { kind: RecordType::DS, .. })),
        "{:?}",
        verdict.reason
    );
}

/// The A records of `mail.a.test.`, signed by the key of the zone in the name of somebody else.
fn signed_in_the_name_of(world: &World, signer: &str) -> Message {
    let mut response = world.resolve(&name(MAIL), RecordType::A);
    response.answers.retain(|record| record.record_type() == RecordType::A);
    let key = &world.zone("a.test.").key;
    let signature = key.sign(&name(signer), &name(MAIL), &response.answers, NOW - 1, NOW + 100);
    response.answers.push(signature);
    response
}

#[test]
fn the_signer_is_the_zone() {
    let world = World::usual(Mode::Nsec);
    let verdict = judge(&world, MAIL, RecordType::A, &signed_in_the_name_of(&world, "a.test."));
    assert_eq!(verdict.authenticity, Secure);
    // A name in the zone, and a zone beside it.
    let verdict = judge(&world, MAIL, RecordType::A, &signed_in_the_name_of(&world, MAIL));
    assert_bogus(&verdict, "a name");
    assert!(matches!(verdict.reason, Some(Reason::SignerNoZone { .. })), "{:?}", verdict.reason);
    let verdict = judge(&world, MAIL, RecordType::A, &signed_in_the_name_of(&world, "b.test."));
    assert_bogus(&verdict, "beside");
    assert!(matches!(verdict.reason, Some(Reason::SignatureMisfit { .. })), "{:?}", verdict.reason);
    // A zone above, whose key is the same: what it signs in the name of another counts for nothing.
    let mut world = World::usual(Mode::Nsec);
    let key = &world.zone("a.test.").key;
    let extra = dnssec(&name("test."), TTL, DNSSECRData::DNSKEY(key.dnskey.clone()));
    let own = dnssec(&name("test."), TTL, DNSSECRData::DNSKEY(world.zone("test.").key.dnskey.clone()));
    world.put("test.", "test.", RecordType::DNSKEY, vec![own, extra]);
    let mut response = signed_in_the_name_of(&world, "a.test.");
    response.answers.iter_mut().for_each(|record| record.name = name("www.b.test."));
    assert_bogus(&judge(&world, "www.b.test.", RecordType::A, &response), "another zone's name");
    let mut both = signed_in_the_name_of(&world, "nobody.");
    let RData::DNSSEC(DNSSECRData::RRSIG(_)) = &both.answers[2].data else { panic!("a signature") };
    let stranger = Key::ed25519().sign(&name("a.test."), &name(MAIL), &both.answers[..2], NOW - 1, NOW + 100);
    both.answers.push(stranger);
    let verdict = judge(&world, MAIL, RecordType::A, &both);
    assert!(matches!(verdict.reason, Some(Reason::KeyMissing { .. })), "{:?}", verdict.reason);
}

#[test]
fn a_revoked_key_vouches_for_nothing() {
    let zone: Name = name("a.test.");
    let mut world = World::usual(Mode::Nsec);
    let key = &mut world.zone_mut("a.test.").key;
    key.dnskey = hickory_proto::dnssec::rdata::DNSKEY::with_flags(0x0181, key.dnskey.public_key().clone());
    let (dnskey, ds) = (key.dnskey.clone(), key.ds(&zone, hickory_proto::dnssec::DigestType::SHA256));
    world.put(
        "a.test.",
        "a.test.",
        RecordType::DNSKEY,
        vec![dnssec(&zone, TTL, DNSSECRData::DNSKEY(dnskey))],
    );
    world.put("test.", "a.test.", RecordType::DS, vec![dnssec(&zone, TTL, DNSSECRData::DS(ds))]);
    let verdict = world.ask(MAIL, RecordType::A);
    assert!(matches!(verdict.reason, Some(Reason::KeysUnmatched { .. })), "{:?}", verdict.reason);
}

#[test]
fn a_revoked_key_signs_nothing_but_its_own_revocation() {
    let zone: Name = name("a.test.");
    let mut world = World::usual(Mode::Nsec);
    let named = Key::ed25519();
    let ds = named.ds(&zone, hickory_proto::dnssec::DigestType::SHA256);
    world.put("test.", "a.test.", RecordType::DS, vec![dnssec(&zone, TTL, DNSSECRData::DS(ds))]);
    for (flags, expected) in [(0x0101, Secure), (0x0181, Bogus), (0x0001, Bogus)] {
        let key = &mut world.zone_mut("a.test.").key;
        key.dnskey = hickory_proto::dnssec::rdata::DNSKEY::with_flags(flags, key.dnskey.public_key().clone());
        let keys = [named.dnskey.clone(), key.dnskey.clone()];
        let keys: Vec<_> = keys.into_iter().map(|key| dnssec(&zone, TTL, DNSSECRData::DNSKEY(key))).collect();
        let signature = named.sign(&zone, &zone, &keys, NOW - 1, NOW + 100);
        world.tamper(move |asked, kind, response| {
            if kind == RecordType::DNSKEY && *asked == name("a.test.") {
                response.answers = keys.clone();
                response.answers.push(signature.clone());
            }
        });
        let verdict = world.ask(MAIL, RecordType::A);
        assert_eq!(verdict.authenticity, expected, "{flags}: {}", verdict.sentence());
    }
}

#[test]
fn a_zone_signs_no_wildcard_above_it() {
    let world = World::usual(Mode::Nsec);
    let mut response = world.resolve(&name(MAIL), RecordType::A);
    response.answers.retain(|record| record.record_type() == RecordType::A);
    let zone = world.zone("a.test.");
    let signature = zone.key.sign(&zone.name, &name("*.test."), &response.answers, NOW - 1, NOW + 100);
    response.answers.push(signature);
    let verdict = judge(&world, MAIL, RecordType::A, &response);
    assert_bogus(&verdict, "above");
    assert!(matches!(verdict.reason, Some(Reason::SignatureMisfit { .. })), "{:?}", verdict.reason);
}

#[test]
fn names_below_a_wildcard_make_it_exist() {
    let mut world = World::usual(Mode::Nsec);
    world.put(
        "a.test.",
        "a.*.star.a.test.",
        RecordType::A,
        vec![text::record("a.*.star.a.test. 3600 A 192.0.2.6")],
    );
    let proof = world.zone("a.test.").proof(&[&name("x.star.a.test."), &name("*.star.a.test.")]);
    let response = negative(&world, "a.test.", ResponseCode::NXDomain, proof);
    assert_bogus(&judge(&world, "x.star.a.test.", RecordType::A, &response), "the wildcard is there");
}
