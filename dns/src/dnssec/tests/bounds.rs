//! Each limit of a validation is hit, and what is at the limit still works.

use futures_lite::future::block_on;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_proto::dnssec::{DigestType, PublicKey, PublicKeyBuf};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::super::{End, Limits, Reason, Spent, Verdict};
use super::text::{self, name};
use super::zones::{HASHED, Key, Mode, NOW, TTL, World, dnssec};
use crate::answer::Authenticity::{Bogus, Insecure, Secure};

const MAIL: &str = "mail.a.test.";

/// A world, and what its question costs.
fn cost(world: &World, asked: &str, kind: RecordType) -> Spent {
    let verdict = world.ask(asked, kind);
    assert_eq!(verdict.authenticity, Secure, "{}", verdict.sentence());
    verdict.spent
}

fn assert_over(verdict: &Verdict, most: u32) {
    let limit = |reason: &Reason| matches!(reason, Reason::Limit { max, .. } if *max == most);
    assert!(verdict.reason.as_ref().is_some_and(limit), "{:?}", verdict.reason);
    assert_eq!((verdict.authenticity, &verdict.end), (Bogus, &End::Failed));
    assert_eq!(verdict.extended_error().unwrap().code, 6);
}

/// What a good answer costs may be the limit, and one less may not.
#[test]
fn counts_of_work_are_limited_exactly() {
    type Count = fn(&Spent) -> u32;
    type Field = fn(&mut Limits) -> &mut u32;
    let cases: [(Mode, &str, RecordType, Count, Field); 4] = [
        (Mode::Nsec, MAIL, RecordType::A, |spent| spent.fetches, |limits| &mut limits.fetches_max),
        (
            Mode::Nsec,
            MAIL,
            RecordType::A,
            |spent| spent.verifications,
            |limits| &mut limits.verifications_max,
        ),
        (Mode::Nsec, MAIL, RecordType::A, |spent| spent.digests, |limits| &mut limits.digests_max),
        (
            HASHED,
            "no.such.a.test.",
            RecordType::A,
            |spent| spent.hashes,
            |limits| &mut limits.nsec3_hashes_max,
        ),
    ];
    for (mode, asked, kind, spent, field) in cases {
        let mut world = World::usual(mode);
        let needed = spent(&cost(&world, asked, kind));
        assert!(needed > 1);
        *field(&mut world.limits) = needed;
        assert_eq!(spent(&cost(&world, asked, kind)), needed);
        *field(&mut world.limits) = needed - 1;
        assert_over(&world.ask(asked, kind), needed - 1);
    }
}

/// Keys that all have the tag of `key`: octets in the same places of 16 bits are swapped.
fn colliding(key: &Key, count: usize) -> Vec<DNSKEY> {
    let octets = key.dnskey.public_key().public_bytes().to_vec();
    let places =
        (0..octets.len()).flat_map(|one| (one + 2..octets.len()).step_by(2).map(move |other| (one, other)));
    let keys = places.filter_map(|(one, other)| {
        let mut swapped = octets.clone();
        swapped.swap(one, other);
        (swapped != octets)
            .then(|| DNSKEY::with_flags(257, PublicKeyBuf::new(swapped, key.signing.algorithm())))
    });
    let mut keys: Vec<_> = keys.collect();
    keys.sort_by(|one, other| one.public_key().public_bytes().cmp(other.public_key().public_bytes()));
    keys.dedup();
    keys.truncate(count);
    assert_eq!(keys.len(), count);
    assert!(keys.iter().all(|one| one.calculate_key_tag().unwrap() == key.tag()));
    keys
}

/// `a.test.` with keys that collide with its own, which comes last.
fn with_colliding(count: usize) -> World {
    let mut world = World::usual(Mode::Nsec);
    let zone = name("a.test.");
    let key = &world.zone("a.test.").key;
    let keys = colliding(key, count).into_iter().chain([key.dnskey.clone()]);
    let records = keys.map(|key| dnssec(&zone, TTL, DNSSECRData::DNSKEY(key))).collect();
    world.put("a.test.", "a.test.", RecordType::DNSKEY, records);
    world
}

/// KeyTrap, CVE-2023-50387: many keys of one tag, and many signatures by it that all fail.
#[test]
fn keys_of_one_tag_and_failing_signatures_cost_little() {
    let max = Limits::DEFAULT.tag_collisions_max;
    let verdict = with_colliding(max - 1).ask(MAIL, RecordType::A);
    assert_eq!(verdict.authenticity, Secure, "the own key is still tried: {}", verdict.sentence());
    assert_eq!(with_colliding(max).ask(MAIL, RecordType::A).authenticity, Bogus, "it comes too late");

    let world = with_colliding(60);
    world.tamper(|_, kind, response| {
        if kind == RecordType::A {
            let [.., last] = &response.answers[..] else { panic!("no signature") };
            let signatures = (0..200u8).map(|number| broken(last, number)).collect::<Vec<_>>();
            response.answers.pop();
            response.answers.extend(signatures);
        }
    });
    let (verdict, took) = postrider_testing::processor_time(|| world.ask(MAIL, RecordType::A));
    assert_over(&verdict, Limits::DEFAULT.failures_max);
    assert!(verdict.spent.verifications < 32, "{:?}", verdict.spent);
    assert_eq!(verdict.spent.failures, Limits::DEFAULT.failures_max);
    assert!(took.as_secs() < 2, "{took:?}");
}

/// The same signature with other octets.
fn broken(signature: &Record, number: u8) -> Record {
    let RData::DNSSEC(DNSSECRData::RRSIG(data)) = &signature.data else { panic!("no signature") };
    let mut octets = data.sig().to_vec();
    octets[8] ^= number.wrapping_add(1);
    octets[9] ^= number;
    let data = RRSIG::from_sig(data.input().clone(), octets);
    dnssec(&signature.name, signature.ttl, DNSSECRData::RRSIG(data))
}

/// Puts broken signatures before the good one.
fn with_broken_before(world: &World, count: u8) {
    world.tamper(move |_, kind, response| {
        if kind == RecordType::A {
            let good = response.answers.pop().unwrap();
            response.answers.extend((0..count).map(|number| broken(&good, number)));
            response.answers.push(good);
        }
    });
}

#[test]
fn signatures_of_a_set_are_limited() {
    let max = Limits::DEFAULT.set_signatures_max;
    let world = World::usual(Mode::Nsec);
    with_broken_before(&world, u8::try_from(max - 1).unwrap());
    assert_eq!(world.ask(MAIL, RecordType::A).authenticity, Secure, "the last that is looked at is good");
    with_broken_before(&world, u8::try_from(max).unwrap());
    let verdict = world.ask(MAIL, RecordType::A);
    assert!(matches!(verdict.reason, Some(Reason::SignatureWrong { .. })), "{:?}", verdict.reason);
    assert_eq!(verdict.spent.failures as usize, max);
}

#[test]
fn failures_are_limited() {
    let mut world = World::usual(Mode::Nsec);
    world.limits.failures_max = 3;
    with_broken_before(&world, 3);
    assert_eq!(world.ask(MAIL, RecordType::A).authenticity, Secure);
    with_broken_before(&world, 4);
    assert_over(&world.ask(MAIL, RecordType::A), 3);
}

#[test]
fn keys_and_ds_records_of_a_zone_are_limited() {
    let zone = name("a.test.");
    let strangers = |count: usize| (0..count).map(|_| Key::ed25519()).collect::<Vec<_>>();
    let max = 4;
    for count in [max - 1, max] {
        // The key that is named signs the keys, another one signs the data; strangers come before it.
        let mut world = World::usual(Mode::Nsec);
        world.limits.zone_keys_max = max;
        let named = Key::ed25519();
        let mut keys: Vec<_> = strangers(count - 1).iter().map(|key| key.dnskey.clone()).collect();
        keys.insert(0, named.dnskey.clone());
        keys.push(world.zone("a.test.").key.dnskey.clone());
        let records: Vec<_> =
            keys.into_iter().map(|key| dnssec(&zone, TTL, DNSSECRData::DNSKEY(key))).collect();
        world.put(
            "test.",
            "a.test.",
            RecordType::DS,
            vec![dnssec(&zone, TTL, DNSSECRData::DS(named.ds(&zone, DigestType::SHA256)))],
        );
        let signature = named.sign(&zone, &zone, &records, NOW - 1, NOW + 100);
        world.tamper(move |_, kind, response| {
            if kind == RecordType::DNSKEY && response.answers[0].name == name("a.test.") {
                response.answers = records.clone();
                response.answers.push(signature.clone());
            }
        });
        let verdict = world.ask(MAIL, RecordType::A);
        let expected = if count < max { Secure } else { Bogus };
        assert_eq!(verdict.authenticity, expected, "{count}: {}", verdict.sentence());
    }
    for count in [max - 1, max] {
        let mut world = World::usual(Mode::Nsec);
        world.limits.delegation_digests_max = max;
        let mut all: Vec<DS> = strangers(count).iter().map(|key| key.ds(&zone, DigestType::SHA256)).collect();
        all.push(world.zone("a.test.").key.ds(&zone, DigestType::SHA256));
        let records = all.into_iter().map(|ds| dnssec(&zone, TTL, DNSSECRData::DS(ds))).collect();
        world.put("test.", "a.test.", RecordType::DS, records);
        let verdict = world.ask(MAIL, RecordType::A);
        let expected = if count < max { Secure } else { Bogus };
        assert_eq!(verdict.authenticity, expected, "{count}: {}", verdict.sentence());
    }
}

#[test]
fn octets_of_a_key_are_limited() {
    // The keys of a.test. are of P-256, those above of Ed25519.
    for (max, expected) in [(64, Secure), (63, Bogus)] {
        let mut world = World::usual(Mode::Nsec);
        world.limits.key_octets_max = max;
        let verdict = world.ask(MAIL, RecordType::A);
        assert_eq!(verdict.authenticity, expected, "{}", verdict.sentence());
    }
}

/// CVE-2023-50868: names of many labels, hashed with many iterations.
#[test]
fn iterations_of_nsec3_are_limited() {
    let max = Limits::DEFAULT.nsec3_iterations_max;
    for (iterations, expected) in [(max, Secure), (max + 1, Insecure), (2000, Insecure)] {
        let mut world = World::usual(Mode::Nsec);
        world.zone_mut("a.test.").mode = Mode::Nsec3 { iterations, opt_out: false };
        for asked in ["no.a.test.", "x.wild.a.test.", MAIL] {
            let verdict = world.ask(asked, RecordType::TXT);
            assert_eq!(verdict.authenticity, expected, "{asked} {iterations} {}", verdict.sentence());
            let code = (expected == Insecure).then_some(27);
            assert_eq!(verdict.extended_error().map(|error| error.code), code);
            if expected == Insecure {
                assert_eq!(verdict.spent.hashes, 0, "nothing was computed");
            }
        }
        // What has a signature of its own stays secure.
        assert_eq!(world.ask(MAIL, RecordType::A).authenticity, Secure);
    }
    // The count was changed on the way: then it counts for nothing.
    let world = World::usual(HASHED);
    let mut other = World::usual(HASHED);
    other.zone_mut("a.test.").mode = Mode::Nsec3 { iterations: 999, opt_out: false };
    let forged = other.resolve(&name("no.a.test."), RecordType::A);
    world.tamper(move |_, kind, response| {
        if kind == RecordType::A {
            *response = forged.clone();
        }
    });
    assert_eq!(world.ask("no.a.test.", RecordType::A).authenticity, Bogus);
}

#[test]
fn hashes_of_a_long_name_are_limited() {
    let world = World::usual(HASHED);
    let long = format!("{}a.test.", "x.".repeat(118));
    let verdict = world.ask(&long, RecordType::A);
    assert_eq!(verdict.authenticity, Secure, "{}", verdict.sentence());
    assert!(verdict.spent.hashes < 130, "{:?}", verdict.spent);
}

#[test]
fn sets_of_proofs_are_limited() {
    let max = Limits::DEFAULT.denial_sets_max;
    for (before, expected) in [(max - 2, Secure), (max, Bogus)] {
        let world = World::usual(Mode::Nsec);
        let zone = world.zone("a.test.");
        let template = zone.nsec(&name("zz.a.test."));
        world.tamper(move |_, kind, response| {
            if kind == RecordType::AAAA {
                let junk = (0..before).flat_map(|number| {
                    let owner = name(&format!("junk{number}.a.test."));
                    let mut records = template.clone();
                    records.iter_mut().for_each(|record| record.name = owner.clone());
                    // Signatures of other names: not verified as they are, but looked at.
                    records.truncate(1);
                    records
                });
                response.authorities = junk.chain(std::mem::take(&mut response.authorities)).collect();
            }
        });
        let verdict = world.ask(MAIL, RecordType::AAAA);
        assert_eq!(verdict.authenticity, expected, "{before}: {}", verdict.sentence());
    }
}

#[test]
fn aliases_of_a_response_are_limited() {
    let max = Limits::DEFAULT.aliases_max;
    for (count, expected) in [(max, Secure), (max + 1, Bogus)] {
        let mut world = World::usual(Mode::Nsec);
        for number in 0..count {
            let next = if number + 1 == count { MAIL.to_owned() } else { format!("l{}.a.test.", number + 1) };
            let record = text::record(&format!("l{number}.a.test. 3600 CNAME {next}"));
            world.put("a.test.", &format!("l{number}.a.test."), RecordType::CNAME, vec![record]);
        }
        let verdict = world.ask("l0.a.test.", RecordType::A);
        assert_eq!(verdict.authenticity, expected, "{}", verdict.sentence());
        if expected == Bogus {
            assert_over(&verdict, u32::try_from(max).unwrap());
        } else {
            assert_eq!(verdict.aliases.len(), max);
        }
    }
    // A loop ends at once.
    let mut world = World::usual(Mode::Nsec);
    for (from, to) in [("one", "two"), ("two", "one")] {
        let record = text::record(&format!("{from}.a.test. 3600 CNAME {to}.a.test."));
        world.put("a.test.", &format!("{from}.a.test."), RecordType::CNAME, vec![record]);
    }
    world.tamper(|_, _, response| {
        let mut seen = Vec::new();
        response.answers.retain(|record| {
            let new = !seen.contains(&(record.name.clone(), record.record_type()));
            seen.push((record.name.clone(), record.record_type()));
            new
        });
    });
    let verdict = world.ask("one.a.test.", RecordType::A);
    assert!(matches!(verdict.reason, Some(Reason::Alias { .. })), "{:?}", verdict.reason);
    assert_eq!(verdict.aliases.len(), 2);
}

#[test]
fn what_is_kept_is_kept_for_a_bounded_time() {
    let mut world = World::usual(Mode::Nsec);
    world.limits.kept_seconds_max = 30;
    let validator = world.validator();
    let at = |now: u64| -> Verdict {
        let asked: Name = name(MAIL);
        let response = world.resolve(&asked, RecordType::A);
        block_on(validator.validate(&world, now, &asked, RecordType::A, &response))
    };
    assert_eq!(at(NOW).spent.fetches, 5);
    assert_eq!(at(NOW + 29).spent.fetches, 0);
    assert_eq!(at(NOW + 30).spent.fetches, 5);

    // Broken ones for `broken_seconds`.
    let mut world = World::usual(Mode::Nsec);
    world.put(
        "test.",
        "a.test.",
        RecordType::DS,
        vec![dnssec(
            &name("a.test."),
            TTL,
            DNSSECRData::DS(Key::ed25519().ds(&name("a.test."), DigestType::SHA256)),
        )],
    );
    let validator = world.validator();
    let at = |now: u64| -> Verdict {
        let asked: Name = name(MAIL);
        let response = world.resolve(&asked, RecordType::A);
        block_on(validator.validate(&world, now, &asked, RecordType::A, &response))
    };
    let kept = u64::from(Limits::DEFAULT.broken_seconds);
    assert_eq!(at(NOW).spent.fetches, 5);
    assert_eq!(at(NOW + kept - 1).spent.fetches, 0);
    assert_eq!(at(NOW + kept).spent.fetches, 2, "DS and DNSKEY of the broken zone alone");
    assert_eq!(at(NOW + kept).authenticity, Bogus);
}

#[test]
fn names_that_are_kept_are_limited() {
    let mut world = World::usual(Mode::Nsec);
    world.limits.kept_names_max = 8;
    let validator = world.validator();
    // Without signatures, each name is asked whether it is a zone.
    world.tamper(|_, kind, response| {
        if kind == RecordType::AAAA {
            response.authorities.retain(|record| record.record_type() != RecordType::RRSIG);
        }
    });
    for number in 0..50 {
        let verdict = world.ask_with(&validator, &format!("n{number}.a.test."), RecordType::AAAA);
        assert_eq!(verdict.authenticity, Bogus);
        assert!(validator.kept_names() <= 8);
    }
    assert_eq!(validator.kept_names(), 8);
}

#[test]
fn keys_of_rsa_have_a_size() {
    // Too small and too large count as an algorithm that isn't supported.
    for (bits, expected) in
        [(512usize, Insecure), (1016, Insecure), (1024, Bogus), (4096, Bogus), (4104, Insecure)]
    {
        let mut key = vec![3, 1, 0, 1];
        key.extend(vec![0xff; bits / 8]);
        let dnskey =
            DNSKEY::with_flags(257, PublicKeyBuf::new(key, hickory_proto::dnssec::Algorithm::RSASHA256));
        let zone = name("a.test.");
        let digest = dnskey.to_digest(&zone, DigestType::SHA256).unwrap().as_ref().to_vec();
        let ds = DS::new(
            dnskey.calculate_key_tag().unwrap(),
            hickory_proto::dnssec::Algorithm::RSASHA256,
            DigestType::SHA256,
            digest,
        );
        let mut world = World::usual(Mode::Nsec);
        world.put("test.", "a.test.", RecordType::DS, vec![dnssec(&zone, TTL, DNSSECRData::DS(ds))]);
        world.put(
            "a.test.",
            "a.test.",
            RecordType::DNSKEY,
            vec![dnssec(&zone, TTL, DNSSECRData::DNSKEY(dnskey))],
        );
        let verdict = world.ask(MAIL, RecordType::A);
        assert_eq!(verdict.authenticity, expected, "{bits}: {}", verdict.sentence());
    }
}
