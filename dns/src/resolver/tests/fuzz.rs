//! Octets of all kinds as responses: nothing panics, and nothing is believed that doesn't answer the query.

use super::world::{A, World, address, at_once};
use super::*;
use crate::resolver::query::{Manner, Query};

/// A generator of its own, so that a failing seed can be run again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap()
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() % end.max(1)
    }

    fn change(&mut self, octets: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(octets.len());
            match self.below(6) {
                0 => octets.truncate(at),
                1 => octets.insert(at, u8::try_from(self.below(256)).unwrap()),
                2 if !octets.is_empty() => drop(octets.remove(at)),
                3 if !octets.is_empty() => octets[at] = 0xc0,
                4 => {
                    let more: Vec<u8> = octets[at..].iter().copied().take(40).collect();
                    octets.extend(more);
                }
                _ if !octets.is_empty() => octets[at] = u8::try_from(self.below(256)).unwrap(),
                _ => {}
            }
        }
    }
}

const KINDS: [RecordType; 9] = [
    A,
    RecordType::MX,
    RecordType::TXT,
    RecordType::PTR,
    RecordType::SRV,
    RecordType::TLSA,
    RecordType::CAA,
    RecordType::SOA,
    RecordType::CNAME,
];

const BODIES: &str = r#"
*. MX 10 a.b.
*. A 192.0.2.1
*. TXT "text" "more"
*. PTR host.example.
*. SRV 1 2 3 host.example.
*. TLSA 3 1 1 00112233
*. CAA 0 issue "ca.example"
*. SOA a. b. 1 2 3 4 5
$SECURE .
"#;

#[test]
fn responses_of_changed_octets_never_panic() {
    let world = World::new();
    world.serve(BODIES);
    for seed in 1..=6000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let kind = KINDS[random.below(KINDS.len())];
        let rig = Rig::with(&[LOOPBACK], |options| options.rounds = 1);
        let source = Rc::clone(&world);
        let random = RefCell::new(random);
        rig.world.server(LOOPBACK, move |_, query| {
            let mut octets = source.respond(query);
            random.borrow_mut().change(&mut octets);
            at_once(octets)
        });
        let answer = rig.ask("fuzz.", kind);
        let outcome = (answer.outcome == Outcome::Found) != answer.records.is_empty();
        assert!(outcome, "seed {seed}: {answer:?}");
        assert!(answer.records.iter().all(|record| record.record_type() == kind), "seed {seed}: {answer:?}");
    }
}

#[test]
fn octets_without_the_right_id_and_question_are_never_an_answer() {
    let manner = Manner { edns: true, checking_disabled: false, mixed_case: true };
    for seed in 1..=20_000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut toss = Random(seed);
        let query = Query::new(&Name::from_ascii("fuzz.example.").unwrap(), A, manner, &mut || {
            u8::try_from(toss.below(256)).unwrap()
        });
        let mut octets = address(query.octets(), |_| ());
        random.change(&mut octets);
        if query.is_answered_by(&octets) && octets[4..6] == [0, 1] {
            let head = 12 + "fuzz.example.".len() + 1 + 4;
            assert_eq!(octets[..2], query.octets()[..2], "seed {seed}");
            assert!(octets[12..head].eq_ignore_ascii_case(&query.octets()[12..head]), "seed {seed}");
        }
    }
}
