//! Each limit, hit and one before it.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, Record};

use futures_lite::future::poll_once;

use super::world::{A, at_once, code};
use super::*;
use crate::limits::{QUERIES_PER_LOOKUP_MAX, RECORDS_MAX};

fn chain(length: usize) -> String {
    let mut text = String::new();
    for index in 0..length {
        text.push_str(&format!("n{index}. CNAME n{}.\n", index + 1));
    }
    format!("{text}n{length}. A 192.0.2.1\n")
}

#[test]
fn aliases_are_bounded_however_they_come() {
    for cut in [false, true] {
        for (length, outcome) in [(ALIASES_MAX, Outcome::Found), (ALIASES_MAX + 1, Outcome::Failed)] {
            let rig = Rig::new(&[LOOPBACK]);
            rig.world.cut_aliases(cut);
            // The script has the same limit: longer chains are cut by hand.
            if length > ALIASES_MAX && !cut {
                rig.world.server(LOOPBACK, move |_, query| {
                    at_once(code(query, ResponseCode::NoError, |message| {
                        for index in 0..length {
                            let name = |index: usize| Name::from_ascii(format!("n{index}.")).unwrap();
                            let alias = RData::CNAME(hickory_proto::rr::rdata::CNAME(name(index + 1)));
                            message.answers.push(Record::from_rdata(name(index), 300, alias));
                        }
                    }))
                });
            } else {
                rig.world.serve(&chain(length));
            }
            let answer = rig.ask("n0.", A);
            assert_eq!(answer.outcome, outcome, "{length} {cut} {}", answer.reason);
            assert!(rig.world.asked().len() <= ALIASES_MAX + 1);
        }
    }
}

#[test]
fn records_are_bounded() {
    for (count, outcome) in [(RECORDS_MAX, Outcome::Found), (RECORDS_MAX + 1, Outcome::Failed)] {
        let rig = Rig::new(&[LOOPBACK]);
        rig.world.server(LOOPBACK, move |_, query| {
            at_once(code(query, ResponseCode::NoError, |message| {
                let name = message.queries[0].name.clone();
                for index in 0..count {
                    let address = std::net::Ipv4Addr::from(u32::try_from(index).unwrap());
                    message.answers.push(Record::from_rdata(name.clone(), 300, RData::A(address.into())));
                }
            }))
        });
        let answer = rig.ask("many.", A);
        assert_eq!((answer.outcome, answer.records.len() % RECORDS_MAX), (outcome, 0), "{}", answer.reason);
    }
}

#[test]
fn queries_of_one_lookup_are_bounded() {
    // Each alias costs two queries, the first being cut; with one upstream that fails first, four.
    let upstreams: Vec<String> = (1..=16).map(|last| format!("127.0.0.{last}")).collect();
    let upstreams: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    let rig = Rig::with(&upstreams, |options| options.rounds = 8);
    for upstream in &upstreams {
        rig.world.server(upstream, |_, _| world::Reaction::Fail(TransportError::Closed));
    }
    let answer = rig.ask("a.", A);
    assert_eq!(answer.outcome, Outcome::Failed);
    assert_eq!(rig.world.asked().len(), usize::try_from(QUERIES_PER_LOOKUP_MAX).unwrap());
    assert!(rig.saw("limit queries_per_lookup"));
    let before = rig.world.asked().len();
    rig.ask("a.", A);
    assert!(rig.world.asked().len() > before, "a limit of its own isn't remembered");
}

#[test]
fn lookups_under_way_are_bounded() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.serve(ZONES);
    rig.world.pause_once();
    let names: Vec<Name> =
        (0..=LOOKUPS_UNDER_WAY_MAX).map(|index| Name::from_ascii(format!("n{index}.")).unwrap()).collect();
    let mut waiting = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut lookup = Box::pin(rig.resolver.lookup(name, A));
        match block_on(poll_once(lookup.as_mut())) {
            None => waiting.push(lookup),
            Some(answer) => {
                assert_eq!((index, answer.outcome), (LOOKUPS_UNDER_WAY_MAX, Outcome::Failed));
                assert!(answer.reason.contains("too many lookups"), "{answer:?}");
            }
        }
    }
    assert_eq!(waiting.len(), LOOKUPS_UNDER_WAY_MAX);
    assert!(rig.saw("limit lookups_under_way"));
    drop(waiting);
    rig.world.go_on();
    assert_eq!(rig.ask("example.", RecordType::MX).outcome, Outcome::Found, "and there is room again");
}

#[test]
fn memory_is_bounded_in_octets() {
    let octets_max = 200_000;
    let rig = Rig::with(&[LOOPBACK], |options| options.cache_octets_max = octets_max);
    rig.world.serve("*. 600 TXT \"some text of a usual length, so that entries have some weight\"");
    for index in 0..2000 {
        assert_eq!(rig.ask(&format!("n{index}."), RecordType::TXT).outcome, Outcome::Found);
        assert!(rig.resolver.remembered().0 <= octets_max);
    }
    assert!(rig.resolver.remembered().1 > 100);
    assert!(rig.saw("evicted 1"));
}

#[test]
fn upstreams_are_bounded() {
    let upstreams: Vec<String> = (1..=UPSTREAMS_MAX + 1).map(|last| format!("127.0.0.{last}")).collect();
    let upstreams: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    let rig = Rig::with(&upstreams, |options| options.rounds = 1);
    for upstream in &upstreams {
        rig.world.server(upstream, |_, query| at_once(code(query, ResponseCode::Refused, |_| ())));
    }
    rig.ask("a.", A);
    assert_eq!(rig.world.asked().len(), UPSTREAMS_MAX);
}
