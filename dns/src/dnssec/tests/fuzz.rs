//! Changed responses never panic, and never make other data secure. Seeds are fixed.

use std::collections::BTreeSet;

use futures_lite::future::block_on;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};

use super::super::{End, TrustAnchors, Verdict};
use super::text::name;
use super::zones::{HASHED, Mode, NOW, World};
use crate::answer::Authenticity;

/// A small generator (xorshift), so that a failure comes again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// The data that a verdict vouches for: of the name where the aliases end, without TTL and order.
fn vouched(verdict: &Verdict, asked: &Name, kind: RecordType, response: &Message) -> BTreeSet<String> {
    let end = verdict.aliases.last().map_or(asked, |step| &step.to);
    let own = response.answers.iter().filter(|record| record.name == *end && record.record_type() == kind);
    own.map(|record| record.data.to_string().to_lowercase()).collect()
}

fn mutate(octets: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..=chance.below(3) {
        let at = 12 + chance.below(octets.len() - 12);
        match chance.below(5) {
            0 => octets[at] ^= 1 << chance.below(8),
            1 => octets[at] = chance.below(256) as u8,
            2 => drop(octets.remove(at)),
            3 => octets.insert(at, chance.below(256) as u8),
            _ => {
                let from = 12 + chance.below(octets.len() - 12);
                octets[at] = octets[from];
            }
        }
    }
}

/// Changes records rather than octets: what is left parses.
fn shuffle(response: &mut Message, other: &Message, chance: &mut Chance) {
    let sections = [&mut response.answers, &mut response.authorities];
    for section in sections {
        for _ in 0..chance.below(3) {
            if section.is_empty() {
                break;
            }
            let at = chance.below(section.len());
            match chance.below(4) {
                0 => drop(section.remove(at)),
                1 => {
                    let to = chance.below(section.len());
                    let name = section[to].name.clone();
                    section[at].name = name;
                }
                2 => {
                    let to = chance.below(section.len());
                    let data = section[to].data.clone();
                    section[at].data = data;
                }
                _ => {
                    let foreign: Vec<_> = other.answers.iter().chain(&other.authorities).collect();
                    if !foreign.is_empty() {
                        section.push((*foreign[chance.below(foreign.len())]).clone());
                    }
                }
            }
        }
    }
}

#[test]
fn changed_responses_never_make_other_data_secure() {
    let questions = [
        ("mail.a.test.", RecordType::A),
        ("a.test.", RecordType::MX),
        ("www.a.test.", RecordType::A),
        ("x.wild.a.test.", RecordType::TXT),
        ("x.old.a.test.", RecordType::TXT),
        ("mail.a.test.", RecordType::TXT),
        ("no.such.a.test.", RecordType::A),
        ("_25._tcp.mail.a.test.", RecordType::TLSA),
    ];
    let mut chance = Chance(0x5eed_0001);
    let (mut parsed, mut still_secure) = (0, 0);
    for mode in [Mode::Nsec, HASHED] {
        let world = World::usual(mode);
        let validator = world.validator();
        let responses: Vec<_> =
            questions.iter().map(|(asked, kind)| world.resolve(&name(asked), *kind)).collect();
        for (at, (asked, kind)) in questions.iter().enumerate() {
            let asked = name(asked);
            let good = &responses[at];
            let truth = world.ask_with(&validator, &asked.to_ascii(), *kind);
            let data = vouched(&truth, &asked, *kind, good);
            let octets = good.to_vec().unwrap();
            for round in 0..120 {
                let response = if round % 2 == 0 {
                    let mut changed = octets.clone();
                    mutate(&mut changed, &mut chance);
                    let Ok(response) = Message::from_vec(&changed) else { continue };
                    response
                } else {
                    let mut response = good.clone();
                    let other = &responses[chance.below(responses.len())];
                    shuffle(&mut response, other, &mut chance);
                    response
                };
                parsed += 1;
                let verdict = block_on(validator.validate(&world, NOW, &asked, *kind, &response));
                let _ = super::super::explain(&verdict);
                if verdict.authenticity != Authenticity::Secure || matches!(verdict.end, End::Alias(_)) {
                    continue;
                }
                still_secure += 1;
                let said = vouched(&verdict, &asked, *kind, &response);
                // The proof of an empty non-terminal and the like may tell less than the whole, never another thing.
                assert_eq!(verdict.end, truth.end, "{asked} {kind}, round {round}");
                assert_eq!(said, data, "{asked} {kind}, round {round}");
            }
        }
    }
    assert!(parsed > 800, "{parsed}");
    assert!(still_secure > 50, "{still_secure}");
}

#[test]
fn chains_of_changed_responses_never_panic() {
    let mut chance = Chance(0x5eed_0002);
    for mode in [Mode::Nsec, HASHED] {
        for _ in 0..60 {
            let world = World::usual(mode);
            let seed = chance.below(usize::MAX) as u64 | 1;
            let state = std::cell::RefCell::new(Chance(seed));
            world.tamper(move |_, kind, response| {
                if matches!(kind, RecordType::DS | RecordType::DNSKEY) {
                    let mut octets = response.to_vec().unwrap();
                    mutate(&mut octets, &mut state.borrow_mut());
                    if let Ok(changed) = Message::from_vec(&octets) {
                        *response = changed;
                    }
                }
            });
            let verdict = world.ask("mail.a.test.", RecordType::A);
            // What is secure all the same is what is true: the answer itself wasn't changed.
            assert!(verdict.authenticity != Authenticity::Secure || verdict.end == End::Found);
            assert_ne!(verdict.authenticity, Authenticity::Insecure, "seed {seed}: {}", verdict.sentence());
        }
    }
}

#[test]
fn files_of_anchors_never_panic() {
    let world = World::usual(Mode::Nsec);
    let key = &world.zone("a.test.").key;
    let text = format!(
        "; anchors\na.test. 3600 IN DS {}\na.test. IN DNSKEY (\n257 3 13 {} )\n",
        key.ds(&name("a.test."), hickory_proto::dnssec::DigestType::SHA256),
        data_encoding::BASE64.encode(hickory_proto::dnssec::PublicKey::public_bytes(key.dnskey.public_key())),
    );
    TrustAnchors::parse(&text).unwrap();
    let mut chance = Chance(0x5eed_0003);
    let mut failed = 0;
    for _ in 0..3000 {
        let mut octets = text.clone().into_bytes();
        for _ in 0..=chance.below(4) {
            if octets.is_empty() {
                break;
            }
            let at = chance.below(octets.len());
            match chance.below(3) {
                0 => octets[at] = b"();. \n\tA0\\\x00\xff"[chance.below(12)],
                1 => drop(octets.remove(at)),
                _ => octets.truncate(at + 1),
            }
        }
        let text = String::from_utf8_lossy(&octets);
        failed += usize::from(TrustAnchors::parse(&text).is_err());
    }
    assert!(failed > 500, "{failed}");
}
