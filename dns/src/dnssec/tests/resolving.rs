//! The resolver with validation: what it answers, asks and remembers.

use std::rc::Rc;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;

use super::zones::{HASHED, Mode, NOW, World};
use crate::answer::{Answer, Authenticity, Lookup as _, Outcome};
use crate::resolver::Mode as Belief;
use crate::resolver::tests::world::{Reaction, at_once};
use crate::resolver::tests::{LOOPBACK, Rig};

/// A resolver whose one upstream is a resolver over `world` that doesn't validate.
fn rig(world: &Rc<World>) -> Rig {
    let rig = Rig::with(&["192.0.2.53"], |options| {
        options.mode = Belief::Validate;
        options.anchors = world.anchors();
    });
    let world = Rc::clone(world);
    rig.world.server("192.0.2.53", move |_, query| at_once(respond(&world, query)));
    assert_eq!(crate::resolver::Clock::wall(&rig.world), NOW);
    rig
}

/// As servers do, with names that repeat the letters of the question.
fn respond(world: &World, query: &[u8]) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    assert!(query.metadata.checking_disabled && query.edns.as_ref().unwrap().flags().dnssec_ok);
    let asked = &query.queries[0];
    let mut response = world.resolve(&asked.name.to_lowercase(), asked.query_type);
    response.metadata.id = query.metadata.id;
    response.metadata.recursion_available = true;
    for record in response.answers.iter_mut().chain(&mut response.authorities) {
        if record.name == query.queries[0].name {
            record.name = query.queries[0].name.clone();
        }
    }
    response.queries = query.queries;
    response.to_vec().unwrap()
}

fn judged(answer: &Answer) -> (Outcome, Authenticity) {
    (answer.outcome, answer.authenticity)
}

const SECURE: Authenticity = Authenticity::Secure;

#[test]
fn answers_are_secure_insecure_or_absent_by_proof() {
    for mode in [Mode::Nsec, HASHED] {
        let world = Rc::new(World::usual(mode));
        let rig = rig(&world);
        let ask = |name: &str, kind| rig.ask(name, kind);
        assert_eq!(judged(&ask("mail.a.test.", RecordType::A)), (Outcome::Found, SECURE));
        assert_eq!(judged(&ask("a.test.", RecordType::MX)), (Outcome::Found, SECURE));
        assert_eq!(judged(&ask("_25._tcp.mail.a.test.", RecordType::TLSA)), (Outcome::Found, SECURE));
        assert_eq!(judged(&ask("x.wild.a.test.", RecordType::TXT)), (Outcome::Found, SECURE));
        assert_eq!(judged(&ask("mail.a.test.", RecordType::TXT)), (Outcome::NoData, SECURE));
        assert_eq!(judged(&ask("none.a.test.", RecordType::A)), (Outcome::NoName, SECURE));
        assert_eq!(judged(&ask("www.plain.test.", RecordType::A)), (Outcome::Found, Authenticity::Insecure));
        let answer = ask("www.plain.test.", RecordType::A);
        assert!(answer.reason.contains("without DS records"), "{answer:?}");
    }
}

#[test]
fn each_alias_is_judged_on_its_own() {
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig(&world);
    let answer = rig.ask("out.a.test.", RecordType::A);
    assert_eq!(judged(&answer), (Outcome::Found, Authenticity::Insecure));
    let steps: Vec<_> = answer.aliases.iter().map(|step| (step.to.to_ascii(), step.authenticity)).collect();
    assert_eq!(steps, [("www.plain.test.".to_owned(), SECURE)]);
    let answer = rig.ask("x.old.a.test.", RecordType::TXT);
    assert_eq!((judged(&answer), answer.aliases.len()), ((Outcome::Found, SECURE), 1));
    let answer = rig.ask("over.a.test.", RecordType::A);
    assert_eq!((judged(&answer), answer.aliases.len()), ((Outcome::Found, SECURE), 1));
}

#[test]
fn forged_data_is_no_answer_and_is_remembered_as_none() {
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig(&world);
    world.tamper(|name, kind, message| {
        if name.to_ascii() == "mail.a.test." && kind == RecordType::A {
            message.answers.retain(|record| record.record_type() != RecordType::RRSIG);
        }
    });
    let answer = rig.ask("mail.a.test.", RecordType::A);
    assert_eq!(judged(&answer), (Outcome::Failed, Authenticity::Bogus));
    assert!(
        answer.records.is_empty() && answer.reason.contains("A records of mail.a.test. have no signature")
    );
    assert!(answer.errors.iter().any(crate::answer::ExtendedError::is_of_dnssec));
    let queries = rig.world.asked().len();
    assert_eq!(judged(&rig.ask("mail.a.test.", RecordType::A)), (Outcome::Failed, Authenticity::Bogus));
    assert_eq!(rig.world.asked().len(), queries);
    // What is right beside it is still secure.
    assert_eq!(judged(&rig.ask("a.test.", RecordType::MX)), (Outcome::Found, SECURE));
}

#[test]
fn what_was_judged_is_what_is_read() {
    // Beside a DNAME that is signed, and without the alias that was made of it, comes one that isn't, further up,
    // and data at its end.
    for first in [false, true] {
        let world = Rc::new(World::usual(Mode::Nsec));
        let rig = rig(&world);
        world.tamper(move |name, kind, message| {
            if name.to_ascii() == "x.old.a.test." && kind == RecordType::TXT {
                message.answers.retain(|record| record.record_type() != RecordType::CNAME);
                let forged = super::text::record("a.test. 3600 DNAME evil.");
                message.answers.insert(if first { 0 } else { message.answers.len() }, forged);
                message.answers.push(super::text::record("x.old.evil. 3600 TXT \"forged\""));
            }
        });
        let answer = rig.ask("x.old.a.test.", RecordType::TXT);
        assert_eq!(judged(&answer), (Outcome::Found, SECURE), "{answer:?}");
        assert_eq!(answer.records[0].name.to_ascii(), "x.wild.a.test.");
        let shown: Vec<_> = answer.data().map(ToString::to_string).collect();
        assert_eq!(shown, ["from the wildcard"]);
    }
}

#[test]
fn a_record_that_is_there_twice_counts_once() {
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig(&world);
    world.tamper(|_, kind, message| {
        if kind == RecordType::MX {
            // The signature holds, and names have no case.
            message.answers.push(super::text::record("a.test. 3600 MX 10 MAIL.a.test."));
        }
    });
    let answer = rig.ask("a.test.", RecordType::MX);
    assert_eq!((judged(&answer), answer.records.len()), ((Outcome::Found, SECURE), 2));
}

const OTHER: &str = "192.0.2.54";
const ALL: [&str; 4] = ["192.0.2.53", OTHER, "192.0.2.55", "192.0.2.56"];

/// The same as [`rig`] with several upstreams, of which some drop the signatures of one type.
fn rig_of(world: &Rc<World>, upstreams: &[&'static str], bad: &[&str], kind: RecordType) -> Rig {
    let rig = Rig::with(upstreams, |options| {
        options.mode = Belief::Validate;
        options.anchors = world.anchors();
    });
    for upstream in upstreams {
        let (world, bad) = (Rc::clone(world), bad.contains(upstream));
        rig.world.server(upstream, move |_, query| {
            let mut response = Message::from_vec(&respond(&world, query)).unwrap();
            if bad && response.queries[0].query_type == kind {
                response.answers.retain(|record| record.record_type() != RecordType::RRSIG);
            }
            at_once(response.to_vec().unwrap())
        });
    }
    rig
}

#[test]
fn what_is_bogus_is_asked_of_another_upstream() {
    // The answer itself, and the chain of trust to it, of which each upstream gives a part.
    for kind in [RecordType::A, RecordType::DNSKEY, RecordType::DS] {
        for bad in ["192.0.2.53", OTHER] {
            let world = Rc::new(World::usual(Mode::Nsec));
            let rig = rig_of(&world, &["192.0.2.53", OTHER], &[bad], kind);
            let good = if bad == OTHER { "192.0.2.53" } else { OTHER };
            for name in ["mail.a.test.", "ns.a.test.", "www.b.test.", "zz.a.test."] {
                let answer = rig.ask(name, RecordType::A);
                assert_eq!(judged(&answer), (Outcome::Found, SECURE), "{kind} {bad} {answer:?}");
            }
            if kind == RecordType::A && bad == "192.0.2.53" {
                assert!(rig.saw(&format!("bogus {bad}:53")) && !rig.saw(&format!("bogus {good}:53")));
            }
        }
    }
}

#[test]
fn what_is_bogus_everywhere_is_asked_of_a_bounded_number_of_upstreams_and_stays_bogus() {
    let count = |rig: &Rig, line: &str| rig.world.asked().iter().filter(|(_, asked)| asked == line).count();
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig_of(&world, &ALL, &ALL, RecordType::A);
    let answer = rig.ask("mail.a.test.", RecordType::A);
    assert_eq!(judged(&answer), (Outcome::Failed, Authenticity::Bogus));
    assert!(answer.reason.contains("no signature"), "{answer:?}");
    assert_eq!(count(&rig, "mail.a.test. A"), 1 + crate::limits::OTHERS_ASKED_MAX);

    // A chain that is broken at two upstreams is broken, and isn't looked at again for each name.
    let rig = rig_of(&world, &ALL, &ALL, RecordType::DNSKEY);
    assert_eq!(judged(&rig.ask("mail.a.test.", RecordType::A)), (Outcome::Failed, Authenticity::Bogus));
    assert_eq!(count(&rig, "mail.a.test. A"), 1 + crate::limits::OTHERS_ASKED_MAX);
    let before = rig.world.asked().len();
    assert_eq!(judged(&rig.ask("ns.a.test.", RecordType::A)), (Outcome::Failed, Authenticity::Bogus));
    assert_eq!(rig.world.asked().len(), before + 1);

    // When the other says nothing, the first has said it.
    let rig = rig_of(&world, &["192.0.2.53", OTHER], &["192.0.2.53"], RecordType::A);
    rig.world.server(OTHER, |_, _| Reaction::Silence);
    let answer = rig.ask("mail.a.test.", RecordType::A);
    assert_eq!(judged(&answer), (Outcome::Failed, Authenticity::Bogus));
    assert!(!rig.saw("bogus 192.0.2.53:53"));
}

#[test]
fn a_forged_refusal_of_edns_lasts_for_one_answer() {
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig(&world);
    let (source, forged) = (Rc::clone(&world), std::cell::Cell::new(false));
    rig.world.server("192.0.2.53", move |_, query| {
        let asked = Message::from_vec(query).unwrap();
        if !forged.replace(true) {
            let refusal = hickory_proto::op::ResponseCode::FormErr;
            return at_once(crate::resolver::tests::world::code(query, refusal, |message| {
                message.queries.clear()
            }));
        }
        let mut response = source.resolve(&asked.queries[0].name.to_lowercase(), asked.queries[0].query_type);
        if asked.edns.is_none() {
            response.answers.retain(|record| record.record_type() != RecordType::RRSIG);
        }
        response.metadata.id = asked.metadata.id;
        response.queries = asked.queries;
        at_once(response.to_vec().unwrap())
    });
    assert_eq!(judged(&rig.ask("mail.a.test.", RecordType::A)), (Outcome::Failed, Authenticity::Bogus));
    assert_eq!(judged(&rig.ask("a.test.", RecordType::MX)), (Outcome::Found, SECURE));
}

#[test]
fn keys_are_asked_for_once() {
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig(&world);
    rig.ask("mail.a.test.", RecordType::A);
    let cold = rig.world.asked().len();
    rig.ask("ns.a.test.", RecordType::A);
    rig.ask("a.test.", RecordType::MX);
    assert_eq!(rig.world.asked().len(), cold + 2, "{:?}", rig.world.asked());
}

#[test]
fn keys_are_asked_for_once_by_those_who_need_them_at_the_same_time() {
    use futures_lite::future::{block_on, poll_once, zip};
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig(&world);
    rig.world.take_turns();
    let (one, other) = (super::text::name("mail.a.test."), super::text::name("ns.a.test."));
    let (first, second) =
        block_on(zip(rig.resolver.lookup(&one, RecordType::A), rig.resolver.lookup(&other, RecordType::A)));
    assert_eq!((judged(&first), judged(&second)), ((Outcome::Found, SECURE), (Outcome::Found, SECURE)));
    let mut asked: Vec<String> = rig.world.asked().into_iter().map(|(_, line)| line).collect();
    assert_eq!(asked.len(), 7, "two answers, and five for the chain: {asked:?}");
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 7);

    // Who asked first goes away, and the other still gets it.
    let rig = self::rig(&world);
    rig.world.take_turns();
    let mut gone = Box::pin(rig.resolver.lookup(&one, RecordType::A));
    let mut stays = Box::pin(rig.resolver.lookup(&other, RecordType::A));
    for _ in 0..2 {
        assert!(
            block_on(poll_once(gone.as_mut())).is_none() && block_on(poll_once(stays.as_mut())).is_none()
        );
    }
    drop(gone);
    assert_eq!(judged(&block_on(stays)), (Outcome::Found, SECURE));
}

#[test]
fn where_keys_cannot_be_had_nothing_is_believed() {
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig(&world);
    let source = Rc::clone(&world);
    rig.world.server("192.0.2.53", move |_, query| {
        let kind = Message::from_vec(query).unwrap().queries[0].query_type;
        if kind == RecordType::DNSKEY { Reaction::Silence } else { at_once(respond(&source, query)) }
    });
    let answer = rig.ask("mail.a.test.", RecordType::A);
    assert_eq!(judged(&answer), (Outcome::Failed, Authenticity::Indeterminate));
    assert!(answer.reason.contains("could not be looked up"), "{answer:?}");
}

#[test]
fn an_upstream_that_drops_signatures_makes_nothing_secure_or_insecure() {
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig(&world);
    world.tamper(|_, _, message| {
        message.answers.retain(|record| record.record_type() != RecordType::RRSIG);
        message.authorities.retain(|record| record.record_type() == RecordType::SOA);
    });
    for name in ["mail.a.test.", "www.plain.test."] {
        let answer = rig.ask(name, RecordType::A);
        assert_eq!(judged(&answer), (Outcome::Failed, Authenticity::Bogus), "{name}");
    }
}

#[test]
fn what_is_secure_is_kept_no_longer_than_its_signatures() {
    let mut world = World::usual(Mode::Nsec);
    world.zone_mut("a.test.").expires = NOW + 100;
    let rig = rig(&Rc::new(world));
    let answer = rig.ask("mail.a.test.", RecordType::A);
    assert_eq!((judged(&answer), answer.ttl), ((Outcome::Found, SECURE), 100));
    rig.world.pass(std::time::Duration::from_secs(101));
    let answer = rig.ask("mail.a.test.", RecordType::A);
    assert_eq!(judged(&answer), (Outcome::Failed, Authenticity::Bogus), "and doesn't stand in: {answer:?}");
}

#[test]
fn a_chain_of_trust_is_explained() {
    use futures_lite::future::block_on;
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig(&world);
    let name = super::text::name("mail.a.test.");
    let (answer, lines) = block_on(rig.resolver.explain(&name, RecordType::A));
    assert_eq!(judged(&answer), (Outcome::Found, SECURE));
    let text = lines.join("\n");
    assert!(text.ends_with("Outcome: there are records, secure."), "{text}");
    assert!(text.contains("a.test."), "{text}");

    let trusting = Rig::new(&[LOOPBACK]);
    trusting.world.serve("x. A 192.0.2.1");
    let (answer, lines) = block_on(trusting.resolver.explain(&super::text::name("x."), RecordType::A));
    assert_eq!((answer.outcome, lines.len()), (Outcome::Found, 0));
}

#[test]
fn anchors_follow_their_zone_through_the_resolver() {
    use crate::dnssec::{KeyState, Rollover};
    use futures_lite::future::block_on;
    let world = Rc::new(World::usual(Mode::Nsec));
    let rig = rig(&world);
    let root = super::text::name(".");
    let mut rollover = Rollover::start(&root, &world.anchors()).unwrap();
    let changes = block_on(rig.resolver.observe(&mut rollover)).unwrap();
    assert_eq!(changes.iter().map(|change| change.after).collect::<Vec<_>>(), [Some(KeyState::Valid)]);
    assert!(rollover.due() > NOW);

    rig.world.server("192.0.2.53", |_, _| Reaction::Silence);
    let why = block_on(rig.resolver.observe(&mut rollover)).unwrap_err();
    assert!(why.contains("no answer in time"), "{why}");
    assert!(rollover.due() > crate::resolver::Clock::wall(&rig.world), "it isn't tried again at once");
}
