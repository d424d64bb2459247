//! What is remembered and for how long.

use std::time::Duration;

use hickory_proto::op::{Edns, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;

use super::world::{A, Reaction, at_once, code};
use super::*;
use crate::limits::{FAILURE_KEPT_MAX, NEGATIVE_TTL_MAX, STALE_MAX, STALE_TTL};

const INSECURE: &str =
    "mx.plain. 600 A 192.0.2.1\nlong.plain. 4000000 A 192.0.2.1\nzero.plain. 0 A 192.0.2.1\n";

fn rig() -> Rig {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.serve(&format!("{ZONES}{INSECURE}"));
    rig
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn an_answer_is_kept_for_its_time_and_ages() {
    let rig = rig();
    assert_eq!(rig.ask("mx.plain.", A).ttl, 600);
    rig.world.pass(seconds(590));
    let answer = rig.ask("mx.plain.", A);
    assert!((9..=10).contains(&answer.ttl) && answer.records[0].ttl == answer.ttl, "{answer:?}");
    assert_eq!(rig.world.asked().len(), 1);
    rig.world.pass(seconds(11));
    assert_eq!(rig.ask("mx.plain.", A).ttl, 600);
    assert_eq!(rig.world.asked().len(), 2);
}

#[test]
fn times_are_bounded_and_zero_is_not_kept() {
    let rig = rig();
    assert_eq!(rig.ask("long.plain.", A).ttl, TTL_MAX);
    rig.world.pass(seconds(u64::from(TTL_MAX)));
    rig.ask("long.plain.", A);
    assert_eq!(rig.world.asked().len(), 2);
    rig.ask("zero.plain.", A);
    rig.ask("zero.plain.", A);
    assert_eq!(rig.world.asked().len(), 4);
}

#[test]
fn what_does_not_exist_is_kept_as_its_soa_says() {
    for (minimum, kept) in [(120, 120), (4_000_000, 3600), (u32::MAX, 3600)] {
        let rig = rig();
        rig.world.set_negative_ttl(minimum);
        for (name, outcome) in [("nothing.plain.", Outcome::NoName), ("mx.plain.", Outcome::NoData)] {
            let answer = rig.ask(name, RecordType::TXT);
            // The SOA record itself has a TTL of 3600.
            assert_eq!((answer.outcome, answer.ttl), (outcome, kept));
        }
        rig.world.pass(seconds(u64::from(kept) - 1));
        rig.ask("nothing.plain.", RecordType::TXT);
        assert_eq!(rig.world.asked().len(), 2);
        rig.world.pass(seconds(2));
        rig.ask("nothing.plain.", RecordType::TXT);
        assert_eq!(rig.world.asked().len(), 3);
    }
    const { assert!(3600 < NEGATIVE_TTL_MAX) };
}

#[test]
fn a_failure_is_kept_briefly_and_longer_when_it_comes_again() {
    let rig = rig();
    rig.world.server(LOOPBACK, |_, query| at_once(code(query, ResponseCode::ServFail, |_| ())));
    let mut pause = FAILURE_KEPT;
    for round in 1..=10 {
        assert_eq!(rig.ask("mx.plain.", A).outcome, Outcome::Failed);
        assert_eq!(rig.world.asked().len(), round);
        rig.world.pass(pause - seconds(1));
        let answer = rig.ask("mx.plain.", A);
        assert_eq!(rig.world.asked().len(), round, "not asked again after {pause:?}");
        assert!(answer.errors.iter().any(|error| error.code == 13), "{answer:?}");
        rig.world.pass(seconds(1));
        pause = (pause * 2).min(FAILURE_KEPT_MAX);
    }
    assert_eq!(pause, FAILURE_KEPT_MAX);
}

/// Makes the upstream fail in a way.
fn fail(rig: &Rig, error: Option<u16>) {
    rig.world.server(LOOPBACK, move |_, query| match error {
        None => Reaction::Silence,
        Some(error) => at_once(code(query, ResponseCode::ServFail, |message| {
            let mut edns = Edns::new();
            edns.options_mut().insert(EdnsOption::Unknown(15, error.to_be_bytes().to_vec()));
            message.edns = Some(edns);
        })),
    });
}

#[test]
fn an_expired_answer_stands_in_when_upstreams_fail() {
    let rig = rig();
    rig.ask("mx.plain.", A);
    rig.world.pass(seconds(3600));
    fail(&rig, None);
    let asked = rig.world.asked().len();
    let answer = rig.ask("mx.plain.", A);
    assert_eq!((answer.outcome, answer.ttl, answer.records[0].ttl), (Outcome::Found, STALE_TTL, STALE_TTL));
    assert!(answer.errors.iter().any(|error| error.code == 3), "{answer:?}");
    assert!(rig.world.asked().len() > asked, "it was tried");
    let asked = rig.world.asked().len();
    assert_eq!(rig.ask("mx.plain.", A).outcome, Outcome::Found);
    assert_eq!(rig.world.asked().len(), asked, "not tried again at once");
    assert!(rig.saw("Stale"));

    rig.world.pass(STALE_MAX);
    assert_eq!(rig.ask("mx.plain.", A).outcome, Outcome::Failed, "not for ever");
}

#[test]
fn what_is_secure_or_absent_or_forged_does_not_stand_in() {
    let rig = rig();
    rig.ask("mx.example.", A);
    rig.ask("nothing.plain.", A);
    rig.ask("mx.plain.", A);
    rig.world.pass(seconds(4000));
    fail(&rig, Some(7));
    let answer = rig.ask("mx.plain.", A);
    assert_eq!((answer.outcome, answer.authenticity), (Outcome::Failed, Authenticity::Bogus));
    fail(&rig, None);
    assert_eq!(rig.ask("mx.example.", A).outcome, Outcome::Failed);
    assert_eq!(rig.ask("nothing.plain.", A).outcome, Outcome::Failed);
}

#[test]
fn bogus_is_kept_as_a_failure_only() {
    let rig = rig();
    fail(&rig, Some(6));
    assert_eq!(rig.ask("mx.plain.", A).authenticity, Authenticity::Bogus);
    let answer = rig.ask("mx.plain.", A);
    assert_eq!((answer.outcome, answer.authenticity), (Outcome::Failed, Authenticity::Bogus));
    assert_eq!(rig.world.asked().len(), 1);
}
