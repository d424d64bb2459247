//! Servers that are silent, slow, unreachable, or fail.

use std::time::Duration;

use hickory_proto::op::{Edns, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;

use super::world::{A, Reaction, address, at_once, code};
use super::*;

const SECOND: &str = "127.0.0.2";

fn good(rig: &Rig, server: &str) {
    rig.world.server(server, |_, query| at_once(address(query, |_| ())));
}

fn extended(query: &[u8], response: ResponseCode, error: u16, text: &str) -> Vec<u8> {
    code(query, response, |message| {
        let mut data = error.to_be_bytes().to_vec();
        data.extend_from_slice(text.as_bytes());
        let mut edns = Edns::new();
        edns.options_mut().insert(EdnsOption::Unknown(15, data));
        message.edns = Some(edns);
    })
}

#[test]
fn a_silent_upstream_costs_one_wait_and_then_rests() {
    let rig = Rig::new(&[LOOPBACK, SECOND]);
    rig.world.server(LOOPBACK, |_, _| Reaction::Silence);
    good(&rig, SECOND);
    assert_eq!(rig.ask("a.example.", A).outcome, Outcome::Found);
    assert!(rig.world.passed() < Duration::from_secs(4));
    assert_eq!(rig.ask("b.example.", A).outcome, Outcome::Found);
    let before = rig.world.passed();
    assert_eq!(rig.ask("c.example.", A).outcome, Outcome::Found);
    assert!(rig.world.passed() - before < Duration::from_millis(100), "it rests");
    assert!(rig.saw("timeout 127.0.0.1:53"));
}

#[test]
fn a_datagram_that_is_lost_is_sent_again() {
    let rig = Rig::new(&[LOOPBACK]);
    let lost = std::cell::Cell::new(false);
    rig.world.server(LOOPBACK, move |_, query| {
        if lost.replace(true) { at_once(address(query, |_| ())) } else { Reaction::Silence }
    });
    assert_eq!(rig.ask("a.example.", A).outcome, Outcome::Found);
    assert_eq!(rig.world.asked().len(), 2);
}

#[test]
fn where_udp_is_filtered_tcp_is_tried_last() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.server(LOOPBACK, |via, query| match via {
        Via::Udp => Reaction::Silence,
        _ => at_once(address(query, |_| ())),
    });
    assert_eq!(rig.ask("a.example.", A).outcome, Outcome::Found);
    let vias: Vec<_> = rig.world.asked().into_iter().map(|(via, _)| via).collect();
    assert_eq!(vias, [Via::Udp, Via::Udp, Via::Tcp]);
}

#[test]
fn when_all_are_silent_the_lookup_fails_within_its_time() {
    let upstreams = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let rig = Rig::new(&upstreams);
    for upstream in upstreams {
        rig.world.server(upstream, |_, _| Reaction::Silence);
    }
    let answer = rig.ask("a.example.", A);
    assert_eq!((answer.outcome, answer.authenticity), (Outcome::Failed, Authenticity::Indeterminate));
    assert_eq!(rig.world.passed(), Options::default().total);
    assert!(answer.errors.iter().any(|error| error.code == 23), "{answer:?}");
    assert!(answer.reason.contains("no answer in time"), "{answer:?}");
}

#[test]
fn a_slow_upstream_is_waited_for() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.server(LOOPBACK, |_, query| {
        Reaction::Send(Duration::from_millis(2900), vec![address(query, |_| ())])
    });
    assert_eq!(rig.ask("a.example.", A).outcome, Outcome::Found);
    assert_eq!(rig.world.asked().len(), 1);
}

#[test]
fn servers_that_fail_are_asked_once_each_and_what_they_say_is_kept() {
    let rig = Rig::new(&["192.0.2.1", "192.0.2.2"]);
    rig.world.server("192.0.2.1", |_, query| at_once(extended(query, ResponseCode::ServFail, 22, "lame")));
    rig.world.server("192.0.2.2", |_, query| at_once(code(query, ResponseCode::Refused, |_| ())));
    let answer = rig.ask("a.example.", A);
    assert_eq!((answer.outcome, answer.authenticity), (Outcome::Failed, Authenticity::Indeterminate));
    assert_eq!(answer.errors, [ExtendedError { code: 22, text: "lame".into() }]);
    assert_eq!(answer.reason, "192.0.2.2:53: REFUSED");
    assert_eq!(rig.world.asked().len(), 2);

    let rig = Rig::new(&["192.0.2.1", "192.0.2.2"]);
    rig.world.server("192.0.2.1", |_, query| at_once(code(query, ResponseCode::ServFail, |_| ())));
    good(&rig, "192.0.2.2");
    assert_eq!(rig.ask("a.example.", A).outcome, Outcome::Found);
}

#[test]
fn an_upstream_that_is_trusted_and_says_why_makes_a_failure_bogus() {
    for (server, error, authenticity) in [
        (LOOPBACK, 7, Authenticity::Bogus),
        (LOOPBACK, 12, Authenticity::Bogus),
        (LOOPBACK, 22, Authenticity::Indeterminate),
        ("192.0.2.1", 7, Authenticity::Indeterminate),
    ] {
        let rig = Rig::new(&[server]);
        rig.world.server(server, move |_, query| {
            at_once(extended(query, ResponseCode::ServFail, error, "signature expired"))
        });
        let answer = rig.ask("a.example.", A);
        assert_eq!((answer.outcome, answer.authenticity), (Outcome::Failed, authenticity));
        assert_eq!(answer.reason, format!("{server}:53: SERVFAIL ({error}: signature expired)"));
    }
}

#[test]
fn extended_errors_of_good_answers_are_kept_too() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.server(LOOPBACK, |_, query| at_once(extended(query, ResponseCode::NXDomain, 15, "blocked")));
    let answer = rig.ask("a.example.", A);
    assert_eq!(answer.outcome, Outcome::NoName);
    assert_eq!(answer.errors, [ExtendedError { code: 15, text: "blocked".into() }]);
}

#[test]
fn without_upstreams_every_lookup_fails_at_once() {
    let rig = Rig::new(&[]);
    let answer = rig.ask("a.example.", A);
    assert_eq!((answer.outcome, answer.reason.as_str()), (Outcome::Failed, "there is no upstream to ask"));
}
