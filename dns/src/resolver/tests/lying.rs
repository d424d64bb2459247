//! Servers, and those between, that send what they shouldn't.

use std::cell::Cell;

use hickory_proto::rr::RData;
use hickory_proto::rr::Record;

use super::world::{A, Reaction, address, at_once, code};
use super::*;
use crate::limits::DATAGRAMS_WRONG_MAX;
use crate::resolver::hop::Verdict;
use crate::resolver::read::Reading;
use hickory_proto::op::{Edns, Message, ResponseCode};

fn addresses(rig: &Rig) -> (Outcome, Vec<String>) {
    let answer = rig.ask("mail.example.", A);
    (answer.outcome, shown(&answer))
}

fn vias(rig: &Rig) -> Vec<Via> {
    rig.world.asked().into_iter().map(|(via, _)| via).collect()
}

const GOOD: &str = "192.0.2.7";

#[test]
fn forged_datagrams_are_passed_over() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 5] = [
        ("another id", |octets| octets[1] ^= 1),
        ("no response", |octets| octets[2] &= 0x7f),
        ("another name", |octets| octets[13] ^= 1),
        ("another type", |octets| octets[12 + 14 + 1] ^= 3),
        ("cut within the header", |octets| octets.truncate(11)),
    ];
    for (what, change) in changes {
        let rig = Rig::new(&[LOOPBACK]);
        rig.world.server(LOOPBACK, move |_, query| {
            // What the forger claims is another address.
            let mut forged = address(query, change);
            if let Some(last) = forged.last_mut() {
                *last = 66;
            }
            Reaction::Send(Duration::from_millis(5), vec![forged, address(query, |_| ())])
        });
        assert_eq!(addresses(&rig), (Outcome::Found, vec![GOOD.to_owned()]), "{what}");
        assert_eq!(vias(&rig), [Via::Udp], "{what}");
    }
}

#[test]
fn a_flood_of_guesses_leads_to_tcp() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.server(LOOPBACK, |via, query| match via {
        Via::Udp => {
            let wrong = address(query, |octets| octets[1] ^= 1);
            let mut datagrams = vec![wrong; usize::try_from(DATAGRAMS_WRONG_MAX).unwrap()];
            datagrams.push(address(query, |octets| *octets.last_mut().unwrap() = 66));
            Reaction::Send(Duration::ZERO, datagrams)
        }
        _ => at_once(address(query, |_| ())),
    });
    assert_eq!(addresses(&rig), (Outcome::Found, vec![GOOD.to_owned()]));
    assert_eq!(vias(&rig), [Via::Udp, Via::Tcp]);
    assert!(rig.saw("limit datagrams_wrong"));
}

#[test]
fn one_wrong_datagram_less_than_the_limit_is_no_flood() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.server(LOOPBACK, |_, query| {
        let wrong = address(query, |octets| octets[1] ^= 1);
        let mut datagrams = vec![wrong; usize::try_from(DATAGRAMS_WRONG_MAX).unwrap() - 1];
        datagrams.push(address(query, |_| ()));
        Reaction::Send(Duration::ZERO, datagrams)
    });
    assert_eq!(addresses(&rig), (Outcome::Found, vec![GOOD.to_owned()]));
    assert_eq!(vias(&rig), [Via::Udp]);
}

#[test]
fn a_response_in_another_case_is_asked_for_again_over_tcp() {
    // A forger that doesn't know the case: over TCP the true answer comes.
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.server(LOOPBACK, |via, query| match via {
        Via::Udp => at_once(address(query, |octets| {
            octets[12..26].make_ascii_lowercase();
            *octets.last_mut().unwrap() = 66;
        })),
        _ => at_once(address(query, |_| ())),
    });
    assert_eq!(addresses(&rig), (Outcome::Found, vec![GOOD.to_owned()]));
    assert_eq!(vias(&rig), [Via::Udp, Via::Tcp]);
    rig.ask("mail2.example.", A);
    assert_eq!(vias(&rig)[2..], [Via::Udp, Via::Tcp], "the case still counts");

    // An upstream that changes it over TCP, too: from then on the case isn't mixed.
    let rig = Rig::new(&[LOOPBACK]);
    rig.world
        .server(LOOPBACK, |_, query| at_once(address(query, |octets| octets[12..26].make_ascii_lowercase())));
    assert_eq!(addresses(&rig).0, Outcome::Found);
    rig.ask("mail3.example.", A);
    assert_eq!(vias(&rig), [Via::Udp, Via::Tcp, Via::Udp]);
}

#[test]
fn a_response_that_was_cut_is_asked_for_over_tcp() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.server(LOOPBACK, |via, query| match via {
        Via::Udp => at_once(code(query, ResponseCode::NoError, |message| message.metadata.truncation = true)),
        _ => at_once(address(query, |_| ())),
    });
    assert_eq!(addresses(&rig), (Outcome::Found, vec![GOOD.to_owned()]));
    assert_eq!(vias(&rig), [Via::Udp, Via::Tcp]);
}

#[test]
fn garbage_is_no_answer_and_the_next_upstream_is_asked() {
    let rig = Rig::new(&[LOOPBACK, "127.0.0.2"]);
    rig.world.server(LOOPBACK, |_, query| {
        at_once(address(query, |octets| {
            // A record count that the message doesn't have.
            octets[7] = 200;
        }))
    });
    rig.world.server("127.0.0.2", |_, query| at_once(address(query, |_| ())));
    assert_eq!(addresses(&rig), (Outcome::Found, vec![GOOD.to_owned()]));
    assert!(rig.saw("garbage 127.0.0.1:53"));
}

#[test]
fn an_upstream_without_edns_is_asked_without_it_and_remembered() {
    for (refusal, has_opt) in
        [(ResponseCode::FormErr, false), (ResponseCode::NotImp, false), (ResponseCode::BADVERS, true)]
    {
        let rig = Rig::new(&[LOOPBACK]);
        rig.world.server(LOOPBACK, move |_, query| {
            let with_edns = Message::from_vec(query).unwrap().edns.is_some();
            at_once(if with_edns {
                code(query, refusal, |message| {
                    if has_opt {
                        let mut edns = Edns::new();
                        edns.set_rcode_high(refusal.high());
                        message.edns = Some(edns);
                    }
                })
            } else {
                address(query, |_| ())
            })
        });
        assert_eq!(addresses(&rig), (Outcome::Found, vec![GOOD.to_owned()]), "{refusal}");
        rig.ask("mail2.example.", A);
        assert_eq!(rig.world.asked().len(), 3, "the second lookup knows: {refusal}");
    }
}

#[test]
fn a_server_that_does_not_resolve_is_passed_over() {
    let rig = Rig::new(&[LOOPBACK, "127.0.0.2"]);
    rig.world.server(LOOPBACK, |_, query| {
        at_once(code(query, ResponseCode::NoError, |message| {
            let ns = RData::NS(hickory_proto::rr::rdata::NS(Name::root()));
            message.authorities.push(Record::from_rdata(Name::root(), 300, ns));
        }))
    });
    rig.world.server("127.0.0.2", |_, query| at_once(address(query, |_| ())));
    assert_eq!(addresses(&rig), (Outcome::Found, vec![GOOD.to_owned()]));
    assert!(rig.saw("referral 127.0.0.1:53"));
}

#[test]
fn records_of_other_names_are_not_taken() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.server(LOOPBACK, |_, query| {
        at_once(code(query, ResponseCode::NoError, |message| {
            let address = |name: &str| {
                let name = Name::from_ascii(name).unwrap();
                Record::from_rdata(name, 300, RData::A("192.0.2.66".parse().unwrap()))
            };
            message.metadata.recursion_available = true;
            message.answers.push(address("other.example."));
            message.additionals.push(address("mail.example."));
        }))
    });
    assert_eq!(addresses(&rig), (Outcome::NoData, Vec::new()));
    rig.ask("other.example.", A);
    assert_eq!(rig.world.asked().len(), 2, "nothing else was remembered");
}

#[test]
fn aliases_that_contradict_each_other_or_loop_are_refused() {
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[("mail.example.", "a.example."), ("mail.example.", "b.example.")], "two targets"),
        (&[("mail.example.", "a.example."), ("a.example.", "mail.example.")], "loop"),
        (&[("mail.example.", "mail.example.")], "loop"),
    ];
    for (aliases, why) in cases {
        let rig = Rig::new(&[LOOPBACK]);
        rig.world.server(LOOPBACK, move |_, query| {
            at_once(code(query, ResponseCode::NoError, |message| {
                for (from, to) in aliases {
                    let alias = RData::CNAME(hickory_proto::rr::rdata::CNAME(Name::from_ascii(to).unwrap()));
                    message.answers.push(Record::from_rdata(Name::from_ascii(from).unwrap(), 300, alias));
                }
            }))
        });
        let answer = rig.ask("mail.example.", A);
        assert_eq!(answer.outcome, Outcome::Failed);
        assert!(answer.reason.contains(why), "{}", answer.reason);
    }
}

#[test]
fn a_loop_over_several_responses_ends() {
    let rig = Rig::new(&[LOOPBACK]);
    let count = Rc::new(Cell::new(0));
    let asked = Rc::clone(&count);
    rig.world.server(LOOPBACK, move |_, query| {
        asked.set(asked.get() + 1);
        at_once(code(query, ResponseCode::NoError, |message| {
            let name = message.queries[0].name.to_lowercase();
            let other = if name.to_ascii().starts_with("mail") { "other.example." } else { "mail.example." };
            let alias = RData::CNAME(hickory_proto::rr::rdata::CNAME(Name::from_ascii(other).unwrap()));
            message.answers.push(Record::from_rdata(name, 300, alias));
        }))
    });
    let answer = rig.ask("mail.example.", A);
    assert!(answer.outcome == Outcome::Failed && answer.reason.contains("loop"), "{answer:?}");
    assert_eq!(count.get(), 2);
}

#[test]
fn records_of_certificates_that_are_too_short_make_no_answer() {
    use crate::dane::{Associations, Unusable, usable};
    for length in [0, 1, 2, 3, 4, 19] {
        let rig = Rig::new(&[LOOPBACK]);
        rig.world.server(LOOPBACK, move |_, query| {
            let mut octets = address(query, |octets| octets.truncate(octets.len() - 14));
            octets.extend([0, 52, 0, 1, 0, 0, 1, 44, 0, u8::try_from(length).unwrap()]);
            octets.extend(vec![1_u8; length].into_iter().map(|_| 3));
            at_once(octets)
        });
        let answer = rig.ask("_25._tcp.mx.example.", RecordType::TLSA);
        match answer.data().next() {
            None => assert_eq!((answer.outcome, length < 3), (Outcome::Failed, true), "{length}"),
            Some(RData::TLSA(tlsa)) => {
                assert_eq!(usable(tlsa), Err(Unusable::Selector(3)), "{length}");
                assert!(Associations::of([tlsa]).is_empty());
            }
            Some(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_way_through_aliases_that_was_not_judged_is_not_read() {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let step = |to: &str| {
        let (from, to) = (name("www.a.test."), name(to));
        Step { from, to, authenticity: Authenticity::Secure }
    };
    let judged = |aliases: Vec<Step>| dnssec::Verdict {
        authenticity: Authenticity::Secure,
        aliases,
        end: dnssec::End::Found,
        end_authenticity: Authenticity::Secure,
        reason: None,
        ttl_max: 60,
        settled: false,
        trace: Vec::new(),
        spent: dnssec::Spent::default(),
    };
    let reading = Reading {
        aliases: vec![(name("WWW.a.test."), name("mail.a.test."))],
        end: End::Found(Vec::new()),
        ttl: 60,
    };
    let same = Verdict::of(judged(vec![step("Mail.a.test.")]), &reading);
    assert!(matches!(same.end, Conclusion::Found));
    for aliases in [vec![step("evil.")], Vec::new(), vec![step("mail.a.test."), step("evil.")]] {
        let verdict = Verdict::of(judged(aliases), &reading);
        assert!(matches!(verdict.end, Conclusion::Unusable) && verdict.elsewhere);
        assert_eq!(verdict.authenticity, Authenticity::Bogus);
    }
}
