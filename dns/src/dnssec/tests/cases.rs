//! What is right and what is broken, over zones made for it.

use hickory_proto::dnssec::DigestType;
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::super::{Denied, End, Link, Reason, TrustAnchors, Verdict};
use super::text::{self, name};
use super::zones::{HASHED, Key, LEFT, Mode, NOW, OPT_OUT, TTL, TestZone, World, dnssec};
use crate::answer::Authenticity::{self, Bogus, Indeterminate, Insecure, Secure};

fn is_signature(record: &Record) -> bool {
    record.record_type() == RecordType::RRSIG
}

fn is_proof(record: &Record) -> bool {
    matches!(super::replay::covered(record), RecordType::NSEC | RecordType::NSEC3)
}

/// The answer, how it is judged, and the extended error.
fn judged(verdict: &Verdict) -> (Authenticity, End, Option<u16>) {
    (verdict.authenticity, verdict.end.clone(), verdict.extended_error().map(|error| error.code))
}

fn secure(end: End) -> (Authenticity, End, Option<u16>) {
    (Secure, end, None)
}

fn bogus(code: u16) -> (Authenticity, End, Option<u16>) {
    (Bogus, End::Failed, Some(code))
}

const MODES: [Mode; 3] = [Mode::Nsec, HASHED, OPT_OUT];
const MAIL: &str = "mail.a.test.";

#[test]
fn signed_data_is_secure_however_the_zone_denies() {
    for mode in MODES {
        let world = World::usual(mode);
        for (name, kind) in [
            (MAIL, RecordType::A),
            ("MAIL.a.TEST.", RecordType::A),
            ("a.test.", RecordType::MX),
            ("a.test.", RecordType::DNSKEY),
            ("a.test.", RecordType::DS),
            (".", RecordType::DNSKEY),
            ("_25._tcp.mail.a.test.", RecordType::TLSA),
            ("www.a.test.", RecordType::CNAME),
            ("*.wild.a.test.", RecordType::TXT),
        ] {
            assert_eq!(judged(&world.ask(name, kind)), secure(End::Found), "{mode:?} {name} {kind}");
        }
    }
}

#[test]
fn what_is_not_there_is_proven() {
    for mode in MODES {
        let world = World::usual(mode);
        let check = |name: &str, kind, denied| {
            let verdict = world.ask(name, kind);
            // With Opt-Out, only names that have a record of their own are denied for sure.
            let sure = mode != OPT_OUT || verdict.reason.is_none();
            let expected = if sure { Secure } else { Insecure };
            assert_eq!(
                (verdict.authenticity, &verdict.end),
                (expected, &End::Denied(denied)),
                "{mode:?} {name} {kind}"
            );
            sure
        };
        assert!(check(MAIL, RecordType::TXT, Denied::Type));
        assert!(check("empty.a.test.", RecordType::A, Denied::Type), "an empty non-terminal");
        assert!(check("wild.a.test.", RecordType::TXT, Denied::Type), "the wildcard is below it");
        assert_eq!(
            check("x.wild.a.test.", RecordType::A, Denied::Type),
            mode != OPT_OUT,
            "a wildcard without the type"
        );
        assert_eq!(check("no.a.test.", RecordType::A, Denied::Name), mode != OPT_OUT);
        assert_eq!(check("no.such.a.test.", RecordType::A, Denied::Name), mode != OPT_OUT);
        assert!(check("zz.a.test.", RecordType::DS, Denied::Type), "no delegation");
        assert_eq!(check("zzz.a.test.", RecordType::DS, Denied::Name), mode != OPT_OUT);
        assert!(check(".", RecordType::DS, Denied::Type), "the root has no zone above");
        check("plain.test.", RecordType::DS, Denied::Type);
    }
}

#[test]
fn wildcards_need_a_proof_that_there_is_nothing_closer() {
    for mode in MODES {
        let world = World::usual(mode);
        for wild in ["x.wild.a.test.", "x.y.wild.a.test."] {
            let verdict = world.ask(wild, RecordType::TXT);
            let expected = if mode == OPT_OUT { Insecure } else { Secure };
            assert_eq!((verdict.authenticity, &verdict.end), (expected, &End::Found), "{mode:?} {wild}");
            let told = |link: &Link| matches!(link, Link::Data { wildcard: Some(_), .. });
            assert!(mode == OPT_OUT || verdict.trace.iter().any(told), "the trace says so");
        }
        world.tamper(|_, _, response| response.authorities.retain(|record| !is_proof(record)));
        let verdict = world.ask("x.wild.a.test.", RecordType::TXT);
        assert_eq!(judged(&verdict), bogus(6));
        assert!(matches!(verdict.reason, Some(Reason::WildcardUnproven { .. })), "{:?}", verdict.reason);

        // The wildcard's records can't be put at a name that exists.
        let world = World::usual(mode);
        world.tamper(move |name, kind, response| {
            if kind == RecordType::TXT && name.to_ascii().starts_with("zz.wild") {
                for record in response.answers.iter_mut() {
                    record.name = text::name("wild.a.test.");
                }
            }
        });
        let response = world.resolve(&name("zz.wild.a.test."), RecordType::TXT);
        let asked = name("wild.a.test.");
        let validator = world.validator();
        let verdict = futures_lite::future::block_on(validator.validate(
            &world,
            NOW,
            &asked,
            RecordType::TXT,
            &response,
        ));
        assert_eq!(judged(&verdict), bogus(6));
    }
}

#[test]
fn broken_signatures_are_bogus_and_say_why() {
    type Breaks = fn(&mut World);
    let cases: [(Breaks, u16); 3] = [
        (|world| world.zone_mut("a.test.").expires = NOW - 1, 7),
        (|world| world.zone_mut("a.test.").begins = NOW + 1, 8),
        (|world| world.zone_mut("a.test.").key = Key::p256(), 10),
    ];
    for (breaks, code) in cases {
        let mut world = World::usual(Mode::Nsec);
        breaks(&mut world);
        assert_eq!(judged(&world.ask(MAIL, RecordType::A)), bogus(code));
        assert_eq!(judged(&world.ask(MAIL, RecordType::TXT)), bogus(code));
        // A zone beside it isn't touched.
        assert_eq!(judged(&world.ask("www.b.test.", RecordType::A)), secure(End::Found));
    }

    // The last and the first second.
    let mut world = World::usual(Mode::Nsec);
    for zone in &mut world.zones {
        (zone.begins, zone.expires) = (NOW, NOW);
    }
    assert_eq!(judged(&world.ask(MAIL, RecordType::A)), secure(End::Found));

    let world = World::usual(Mode::Nsec);
    world.tamper(|_, kind, response| {
        if kind == RecordType::A {
            response.answers[0] = text::record("mail.a.test. 3600 A 192.0.2.66");
        }
    });
    let verdict = world.ask(MAIL, RecordType::A);
    assert_eq!(judged(&verdict), bogus(6));
    assert!(matches!(verdict.reason, Some(Reason::SignatureWrong { .. })));

    let world = World::usual(Mode::Nsec);
    world.tamper(|_, kind, response| {
        if kind == RecordType::A {
            response.answers.retain(|record| !is_signature(record));
        }
    });
    assert_eq!(judged(&world.ask(MAIL, RecordType::A)), bogus(10));
}

#[test]
fn one_good_signature_is_enough() {
    let world = World::usual(Mode::Nsec);
    let other = Key::ed25519();
    world.tamper(move |_, kind, response| {
        if kind == RecordType::A {
            let zone = name("a.test.");
            let records: Vec<_> =
                response.answers.iter().filter(|record| !is_signature(record)).cloned().collect();
            let stranger = other.sign(&zone, &name(MAIL), &records, NOW - 1, NOW + 1);
            response.answers.insert(0, stranger);
        }
    });
    assert_eq!(judged(&world.ask(MAIL, RecordType::A)), secure(End::Found));
}

#[test]
fn delegations_must_be_signed_or_proven_not_to_be() {
    for mode in MODES {
        let world = World::usual(mode);
        let verdict = world.ask("www.plain.test.", RecordType::A);
        assert_eq!((verdict.authenticity, &verdict.end), (Insecure, &End::Found), "{mode:?}");
        let expected = if mode == OPT_OUT { "OptOut" } else { "Unsigned" };
        assert!(format!("{:?}", verdict.reason).contains(expected), "{:?}", verdict.reason);
        assert_eq!(verdict.ttl_max, u32::MAX, "signatures bound nothing here");
        let verdict = world.ask("no.plain.test.", RecordType::A);
        assert_eq!((verdict.authenticity, &verdict.end), (Insecure, &End::Denied(Denied::Name)), "{mode:?}");

        // The DS records are taken away, and the proof that there are none is another's.
        world.tamper(move |name, kind, response| {
            if kind == RecordType::DS && *name == text::name("a.test.") {
                response.answers.clear();
            }
        });
        let verdict = world.ask(MAIL, RecordType::A);
        assert_eq!(judged(&verdict), bogus(12), "{mode:?} {:?}", verdict.reason);
        let world = World::usual(mode);
        let proof = world.zone("test.").proof(&[&name("plain.test.")]);
        world.tamper(move |name, kind, response| {
            if kind == RecordType::DS && *name == text::name("a.test.") {
                response.answers.clear();
                response.authorities = proof.clone();
            }
        });
        assert_eq!(judged(&world.ask(MAIL, RecordType::A)), bogus(6), "{mode:?}");
        // The record of the name itself says that there are DS records.
        let world = World::usual(mode);
        let proof = world.zone("test.").proof(&[&name("a.test.")]);
        world.tamper(move |name, kind, response| {
            if kind == RecordType::DS && *name == text::name("a.test.") {
                response.answers.clear();
                response.authorities = proof.clone();
            }
        });
        assert_eq!(judged(&world.ask(MAIL, RecordType::A)), bogus(6), "{mode:?}");
    }
}

#[test]
fn keys_must_be_those_that_the_zone_above_names() {
    let with_ds = |records: Vec<Record>| {
        let mut world = World::usual(Mode::Nsec);
        world.put("test.", "a.test.", RecordType::DS, records);
        world
    };
    let zone = name("a.test.");
    let ds = |ds| dnssec(&zone, TTL, DNSSECRData::DS(ds));
    let stranger = Key::ed25519().ds(&zone, DigestType::SHA256);
    assert_eq!(judged(&with_ds(vec![ds(stranger.clone())]).ask(MAIL, RecordType::A)), bogus(9));

    let mut world = World::usual(Mode::Nsec);
    let own = world.zone("a.test.").key.ds(&zone, DigestType::SHA256);
    world.put("test.", "a.test.", RecordType::DS, vec![ds(stranger), ds(own)]);
    assert_eq!(judged(&world.ask(MAIL, RecordType::A)), secure(End::Found), "one of two is enough");

    let world = World::usual(Mode::Nsec);
    world.tamper(|name, kind, response| {
        if kind == RecordType::DNSKEY && *name == text::name("a.test.") {
            response.answers.clear();
        }
    });
    assert_eq!(judged(&world.ask(MAIL, RecordType::A)), bogus(9));

    // Signed by another key of the zone than the one that is named.
    let mut world = World::usual(Mode::Nsec);
    let named = Key::ed25519();
    world.put("test.", "a.test.", RecordType::DS, vec![ds(named.ds(&zone, DigestType::SHA256))]);
    let mut keys = vec![dnssec(&zone, TTL, DNSSECRData::DNSKEY(named.dnskey.clone()))];
    keys.push(dnssec(&zone, TTL, DNSSECRData::DNSKEY(world.zone("a.test.").key.dnskey.clone())));
    world.put("a.test.", "a.test.", RecordType::DNSKEY, keys);
    let verdict = world.ask(MAIL, RecordType::A);
    assert_eq!(judged(&verdict), bogus(10));
    assert!(matches!(verdict.reason, Some(Reason::KeysUnsigned { .. })));
}

#[test]
fn keys_with_other_flags_are_no_keys_of_the_zone() {
    // Not a zone key: 11. Revoked: it isn't the key that the DS record is of.
    for (flags, code) in [(1u16, 11), (0x0181, 9)] {
        let zone = name("a.test.");
        let mut world = World::usual(Mode::Nsec);
        let key = &mut world.zone_mut("a.test.").key;
        key.dnskey = hickory_proto::dnssec::rdata::DNSKEY::with_flags(flags, key.dnskey.public_key().clone());
        let (dnskey, ds) = (key.dnskey.clone(), key.ds(&zone, DigestType::SHA256));
        world.put(
            "a.test.",
            "a.test.",
            RecordType::DNSKEY,
            vec![dnssec(&zone, TTL, DNSSECRData::DNSKEY(dnskey))],
        );
        world.put("test.", "a.test.", RecordType::DS, vec![dnssec(&zone, TTL, DNSSECRData::DS(ds))]);
        assert_eq!(judged(&world.ask(MAIL, RecordType::A)), bogus(code));
    }
}

#[test]
fn what_is_not_supported_counts_as_unsigned() {
    let zone = name("a.test.");
    let check = |records: Vec<&str>| {
        let mut world = World::usual(Mode::Nsec);
        let records = records.iter().map(|line| text::record(line)).collect();
        world.put("test.", "a.test.", RecordType::DS, records);
        judged(&world.ask(MAIL, RecordType::A))
    };
    let digest = "00".repeat(32);
    let algorithm = |number: u8| format!("a.test. 3600 DS 1 {number} 2 {digest}");
    for number in [1u8, 3, 5, 6, 7, 12, 16, 200] {
        assert_eq!(
            check(vec![algorithm(number).as_str()]),
            (Insecure, End::Found, Some(1)),
            "algorithm {number}"
        );
    }
    assert_eq!(check(vec!["a.test. 3600 DS 1 15 3 00"]), (Insecure, End::Found, Some(2)));
    // With one that is supported beside it, the zone is signed, and must be.
    assert_eq!(check(vec![algorithm(5).as_str(), algorithm(13).as_str()]).0, Bogus);

    // SHA-1 counts where there is nothing better, and only there (RFC 4509 §3).
    let mut world = World::usual(Mode::Nsec);
    let key = &world.zone("a.test.").key;
    let good = |digest| dnssec(&zone, TTL, DNSSECRData::DS(key.ds(&zone, digest)));
    let (sha1, sha384) = (good(DigestType::SHA1), good(DigestType::SHA384));
    let wrong = text::record(&format!("a.test. 3600 DS {} 13 2 {digest}", key.tag()));
    world.put("test.", "a.test.", RecordType::DS, vec![sha1.clone()]);
    assert_eq!(judged(&world.ask(MAIL, RecordType::A)), secure(End::Found));
    world.put("test.", "a.test.", RecordType::DS, vec![sha1, wrong.clone()]);
    assert_eq!(judged(&world.ask(MAIL, RecordType::A)), bogus(9));
    world.put("test.", "a.test.", RecordType::DS, vec![sha384, wrong]);
    assert_eq!(judged(&world.ask(MAIL, RecordType::A)), secure(End::Found));
}

#[test]
fn proofs_must_be_of_what_is_denied() {
    for mode in MODES {
        let none = World::usual(mode);
        none.tamper(|_, _, response| response.authorities.retain(|record| !is_proof(record)));
        assert_eq!(judged(&none.ask(MAIL, RecordType::TXT)), bogus(12), "{mode:?}");

        let unsigned = World::usual(mode);
        unsigned.tamper(|_, _, response| response.authorities.retain(|record| !is_signature(record)));
        assert_eq!(judged(&unsigned.ask(MAIL, RecordType::TXT)), bogus(10), "{mode:?}");

        // Of another name.
        for other in ["zz.a.test.", "a.test.", "ns.a.test."] {
            let world = World::usual(mode);
            let proof = world.zone("a.test.").proof(&[&name(other)]);
            world.tamper(move |_, kind, response| {
                if kind == RecordType::TXT {
                    response.authorities.retain(|record| !is_proof(record));
                    response.authorities.extend(proof.clone());
                }
            });
            assert_eq!(judged(&world.ask(MAIL, RecordType::TXT)), bogus(6), "{mode:?} {other}");
        }

        // The name exists and has the type.
        let world = World::usual(mode);
        let proof = world.zone("a.test.").proof(&[&name(MAIL)]);
        let soa = world.resolve(&name(MAIL), RecordType::TXT).authorities;
        world.tamper(move |name, kind, response| {
            if kind == RecordType::A && *name == text::name(MAIL) {
                response.answers.clear();
                response.authorities = [soa.clone(), proof.clone()].concat();
            }
        });
        assert_eq!(judged(&world.ask(MAIL, RecordType::A)), bogus(6), "{mode:?}");

        // It is said not to exist, by what proves that another doesn't.
        let world = World::usual(mode);
        let no = world.resolve(&name("no.a.test."), RecordType::A);
        world.tamper(move |name, kind, response| {
            if kind == RecordType::A && *name == text::name(MAIL) {
                *response = no.clone();
            }
        });
        assert_eq!(judged(&world.ask(MAIL, RecordType::A)), bogus(6), "{mode:?}");
    }
}

#[test]
fn the_zone_above_and_the_zone_below_deny_what_is_theirs() {
    for mode in [Mode::Nsec, HASHED] {
        // From above the delegation: it has no A records in `test.`, and nothing below.
        let world = World::usual(mode);
        for asked in ["a.test.", MAIL] {
            let above = world.zone("test.").proof(&[&name("a.test.")]);
            let soa = world.resolve(&name("no.test."), RecordType::A).authorities;
            world.tamper(move |_, kind, response| {
                if kind == RecordType::A {
                    response.answers.clear();
                    response.authorities = [soa.clone(), above.clone()].concat();
                }
            });
            assert_eq!(judged(&world.ask(asked, RecordType::A)), bogus(6), "{mode:?} {asked}");
        }
        // From below: DS records are of the zone above.
        let world = World::usual(mode);
        let below = world.resolve(&name("a.test."), RecordType::TXT);
        world.tamper(move |name, kind, response| {
            if kind == RecordType::DS && *name == text::name("a.test.") {
                *response = below.clone();
            }
        });
        let verdict = world.ask("a.test.", RecordType::DS);
        assert_eq!(verdict.authenticity, Bogus, "{mode:?}");
        assert_eq!(world.ask(MAIL, RecordType::A).authenticity, Bogus, "{mode:?}");
    }
}

#[test]
fn an_empty_non_terminal_may_be_said_not_to_exist_and_is_told_right() {
    for mode in [Mode::Nsec, HASHED] {
        let world = World::usual(mode);
        world.tamper(|_, _, response| response.metadata.response_code = ResponseCode::NXDomain);
        let verdict = world.ask("empty.a.test.", RecordType::A);
        assert_eq!(judged(&verdict), secure(End::Denied(Denied::Type)), "{mode:?}");
    }
}

#[test]
fn each_step_of_a_chain_of_aliases_is_judged_on_its_own() {
    let world = World::usual(Mode::Nsec);
    let steps = |verdict: &Verdict| {
        verdict.aliases.iter().map(|step| (step.to.to_ascii(), step.authenticity)).collect::<Vec<_>>()
    };
    let verdict = world.ask("www.a.test.", RecordType::A);
    assert_eq!(judged(&verdict), secure(End::Found));
    assert_eq!(steps(&verdict), [("mail.a.test.".to_owned(), Secure)]);

    let verdict = world.ask("out.a.test.", RecordType::A);
    assert_eq!((verdict.authenticity, &verdict.end), (Insecure, &End::Found));
    assert_eq!(steps(&verdict), [("www.plain.test.".to_owned(), Secure)]);
    assert_eq!(verdict.end_authenticity, Insecure);

    let verdict = world.ask("x.alias.a.test.", RecordType::A);
    assert_eq!(judged(&verdict), secure(End::Found));
    assert!(matches!(&verdict.trace[..], [.., Link::Data { wildcard: Some(_), .. }, Link::Data { .. }]));

    let verdict = world.ask("x.old.a.test.", RecordType::TXT);
    assert_eq!(judged(&verdict), secure(End::Found));
    assert_eq!(steps(&verdict), [("x.wild.a.test.".to_owned(), Secure)]);
    let verdict = world.ask("x.old.a.test.", RecordType::CNAME);
    assert_eq!(judged(&verdict), secure(End::Found), "an alias that a DNAME made, asked for");

    // The last zone is broken: the step to it isn't.
    let mut world = World::usual(Mode::Nsec);
    world.zone_mut("b.test.").expires = NOW - 1;
    let verdict = world.ask("over.a.test.", RecordType::A);
    assert_eq!(judged(&verdict), bogus(7));
    assert_eq!(steps(&verdict), [("www.b.test.".to_owned(), Secure)]);

    // An alias that isn't what the DNAME makes.
    let world = World::usual(Mode::Nsec);
    world.tamper(|_, _, response| {
        for record in &mut response.answers {
            if record.record_type() == RecordType::CNAME {
                *record = text::record("x.old.a.test. 3600 CNAME evil.test.");
            }
        }
    });
    assert_eq!(judged(&world.ask("x.old.a.test.", RecordType::TXT)), bogus(6));
}

#[test]
fn a_response_may_end_at_an_alias() {
    let world = World::usual(Mode::Nsec);
    world.tamper(|_, kind, response| {
        if kind == RecordType::A {
            response.answers.truncate(2);
            response.authorities.clear();
        }
    });
    let verdict = world.ask("www.a.test.", RecordType::A);
    assert_eq!(judged(&verdict), secure(End::Alias(name(MAIL))));
}

#[test]
fn what_can_not_be_looked_up_is_indeterminate_and_asked_for_again() {
    let world = World::usual(Mode::Nsec);
    let validator = world.validator();
    world.tamper(|_, kind, response| {
        if kind == RecordType::DNSKEY {
            response.metadata.response_code = ResponseCode::ServFail;
        }
    });
    let verdict = world.ask_with(&validator, MAIL, RecordType::A);
    assert_eq!(judged(&verdict), (Indeterminate, End::Failed, Some(5)));
    assert!(
        verdict.sentence().contains("SERVFAIL") || verdict.sentence().contains("Server Failure"),
        "{}",
        verdict.sentence()
    );
    *world.tamper.borrow_mut() = None;
    assert_eq!(judged(&world.ask_with(&validator, MAIL, RecordType::A)), secure(End::Found));
}

#[test]
fn what_is_no_answer_is_not_used() {
    let world = World::usual(Mode::Nsec);
    world.tamper(|_, kind, response| {
        if kind == RecordType::A {
            response.metadata.response_code = ResponseCode::Refused;
        }
    });
    assert_eq!(judged(&world.ask(MAIL, RecordType::A)), (Indeterminate, End::Failed, None));
}

#[test]
fn an_alias_in_the_place_of_a_delegation_must_be_proven() {
    for proven in [true, false] {
        let world = World::usual(Mode::Nsec);
        world.tamper(move |name, kind, response| {
            if kind == RecordType::DS && *name == text::name("y.alias.a.test.") && !proven {
                response.authorities.clear();
            }
            // Without a signature, each label is asked for its DS records; those of this one are an alias.
            if kind == RecordType::A {
                response.answers.retain(|record| !is_signature(record));
            }
        });
        let verdict = world.ask("y.alias.a.test.", RecordType::A);
        assert_eq!(verdict.authenticity, Bogus);
        let inside =
            |link: &Link| matches!(link, Link::Inside { name, .. } if *name == text::name("y.alias.a.test."));
        assert_eq!(verdict.trace.iter().any(inside), proven);
    }
}

#[test]
fn without_an_anchor_data_may_be_used_and_is_not_secure() {
    let world = World::usual(Mode::Nsec);
    let validator = super::super::Validator::new(TrustAnchors::none(), world.limits.clone());
    let verdict = world.ask_with(&validator, MAIL, RecordType::A);
    assert_eq!(judged(&verdict), (Indeterminate, End::Found, None));
    assert!(verdict.is_usable());
    validator.set_anchors(world.anchors());
    assert_eq!(judged(&world.ask_with(&validator, MAIL, RecordType::A)), secure(End::Found));
}

/// Gets responses, and puts other anchors in the place of those that a validation began with.
struct Switching<'w>(&'w World, &'w super::super::Validator);

impl super::super::Fetch for Switching<'_> {
    async fn fetch(&self, name: &Name, kind: RecordType) -> Result<Message, super::super::FetchError> {
        self.1.set_anchors(TrustAnchors::none());
        self.0.fetch(name, kind).await
    }
}

#[test]
fn what_old_anchors_vouched_for_is_not_kept_for_new_ones() {
    use futures_lite::future::block_on;
    let world = World::usual(Mode::Nsec);
    let validator = world.validator();
    let asked = name(MAIL);
    let response = world.resolve(&asked, RecordType::A);
    let fetch = Switching(&world, &validator);
    let verdict = block_on(validator.validate(&fetch, NOW, &asked, RecordType::A, &response));
    assert_eq!(judged(&verdict), secure(End::Found), "judged by the anchors that it began with");
    assert_eq!(validator.kept_names(), 0);
    assert_eq!(world.ask_with(&validator, MAIL, RecordType::A).authenticity, Indeterminate);
}

#[test]
fn keys_are_kept_and_cuts_too() {
    let world = World::usual(Mode::Nsec);
    let validator = world.validator();
    let first = world.ask_with(&validator, MAIL, RecordType::A);
    assert_eq!(first.spent.fetches, 5, "DNSKEY of three zones, DS of two");
    let second = world.ask_with(&validator, "a.test.", RecordType::MX);
    assert_eq!(judged(&second), secure(End::Found));
    assert_eq!((second.spent.fetches, second.spent.verifications), (0, 1));
    assert_eq!(validator.kept_names(), 3);
    // The chain is told all the same.
    assert_eq!(first.trace.len(), second.trace.len());
}

#[test]
fn a_cache_keeps_data_no_longer_than_its_signature() {
    let world = World::usual(Mode::Nsec);
    assert_eq!(world.ask(MAIL, RecordType::A).ttl_max, TTL);
    let mut world = World::usual(Mode::Nsec);
    world.zone_mut("a.test.").expires = NOW + 17;
    assert_eq!(world.ask(MAIL, RecordType::A).ttl_max, 17);
    assert_eq!(world.ask(MAIL, RecordType::TXT).ttl_max, 17);

    // A TTL that was raised on the way counts as the one that was signed.
    let world = World::usual(Mode::Nsec);
    world.tamper(|_, _, response| response.answers.iter_mut().for_each(|record| record.ttl = 999_999));
    assert_eq!(world.ask(MAIL, RecordType::A).ttl_max, TTL);
    assert!(u64::from(TTL) < LEFT);
}

#[test]
fn the_chain_of_trust_is_told_in_words() {
    let world = World::usual(Mode::Nsec);
    let lines = super::super::explain(&world.ask("www.a.test.", RecordType::A));
    let starts = [
        "The chain of trust starts at ., by trust anchors:",
        "  key ",
        "The DNSKEY records of . are its own, signed by key ",
        "  key ",
        "test. is a signed zone: . has its DS records, signed by key ",
        "  key ",
        "The DNSKEY records of test. are its own, signed by key ",
        "  key ",
        "a.test. is a signed zone: test. has its DS records, signed by key ",
        "  key ",
        "The DNSKEY records of a.test. are its own, signed by key ",
        "  key ",
        "The answer has 1 CNAME record of www.a.test., signed by key ",
        "The answer has 2 A records of mail.a.test., signed by key ",
        "www.a.test. is an alias of mail.a.test.: secure.",
        "Outcome: there are records, secure.",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    assert!(
        lines[2].ends_with("from 2027-01-14 08:00:00 UTC until 2027-01-25 08:00:00 UTC:"),
        "{}",
        lines[2]
    );

    let lines = super::super::explain(&world.ask("www.plain.test.", RecordType::A));
    let end = &lines[lines.len() - 4..];
    assert_eq!(
        end[0],
        "The chain of trust ends at plain.test.: plain.test. is delegated without DS records, as test. proves: what is \
         below isn't signed."
    );
    assert!(
        end[1].starts_with("  NSEC of plain.test. lists the types of its name, signed by key "),
        "{}",
        end[1]
    );
    assert!(
        end[2].starts_with("A of www.plain.test.: plain.test. is delegated without DS records"),
        "{}",
        end[2]
    );
    assert!(
        end[3].starts_with("Outcome: there are records, insecure (plain.test. is delegated"),
        "{}",
        end[3]
    );

    let lines = super::super::explain(&world.ask("no.a.test.", RecordType::A));
    assert!(lines.iter().any(|line| line == "a.test. proves that no.a.test. doesn't exist:"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains(" spans no.a.test., ")), "{lines:#?}");
}

#[test]
fn compact_denial_says_that_a_name_does_not_exist() {
    // RFC 9824: an NSEC of the name itself, with the type NXNAME.
    let world = World::usual(Mode::Nsec);
    let asked = name("no.a.test.");
    let next = asked.prepend_label([0u8].as_slice()).unwrap();
    let types = [RecordType::RRSIG, RecordType::NSEC, RecordType::from(128)];
    let nsec = hickory_proto::dnssec::rdata::NSEC::new(next, types);
    let nsec = dnssec(&asked, TTL, DNSSECRData::NSEC(nsec));
    let zone = world.zone("a.test.");
    let signature = zone.key.sign(&zone.name, &asked, std::slice::from_ref(&nsec), NOW - 1, NOW + 100);
    world.tamper(move |_, kind, response: &mut Message| {
        if kind == RecordType::A {
            response.metadata.response_code = ResponseCode::NoError;
            response.authorities.retain(|record| !is_proof(record));
            response.authorities.extend([nsec.clone(), signature.clone()]);
        }
    });
    assert_eq!(judged(&world.ask("no.a.test.", RecordType::A)), secure(End::Denied(Denied::Name)));
}

#[test]
fn an_island_of_trust_starts_at_its_own_anchor() {
    let zones = vec![TestZone::new("a.test.", Mode::Nsec, &["mail.a.test. 3600 A 192.0.2.1"])];
    let world = World::new(zones);
    let verdict = world.ask(MAIL, RecordType::A);
    assert_eq!(judged(&verdict), secure(End::Found));
    // Its DS records would be of a zone that nothing is known of.
    let empty = Message::new(0, hickory_proto::op::MessageType::Response, hickory_proto::op::OpCode::Query);
    let validator = world.validator();
    let zone: Name = name("a.test.");
    let asked = validator.validate(&world, NOW, &zone, RecordType::DS, &empty);
    let verdict = futures_lite::future::block_on(asked);
    assert_eq!(verdict.authenticity, Indeterminate);
    assert!(matches!(verdict.reason, Some(Reason::NoAnchor { .. })));
}

#[test]
fn signatures_themselves_are_not_signed() {
    let world = World::usual(Mode::Nsec);
    let response = world.resolve(&name(MAIL), RecordType::A);
    let mut only = response.clone();
    only.answers.retain(|record| matches!(record.data, RData::DNSSEC(DNSSECRData::RRSIG(_))));
    let validator = world.validator();
    let asked = name(MAIL);
    let verdict = validator.validate(&world, NOW, &asked, RecordType::RRSIG, &only);
    assert_eq!(judged(&futures_lite::future::block_on(verdict)), (Indeterminate, End::Found, None));
}
