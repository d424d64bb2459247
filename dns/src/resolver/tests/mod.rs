#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod failures;
mod fuzz;
mod limits;
mod lying;
mod remembering;
pub(crate) mod world;

use std::cell::RefCell;

use futures_lite::future::block_on;

use super::*;
use world::{Via, World};

const ZONES: &str = r"
$ORIGIN example.
$TTL 600
@     MX    10 mx
      MX    5 mx.other.
mx 60 A     192.0.2.1
www   CNAME mx
old   DNAME new
mx.new A    192.0.2.9
$SECURE @
";

/// A resolver over a world, and the words of its events.
pub(crate) struct Rig {
    pub world: Rc<World>,
    pub resolver: Resolver<Rc<World>>,
    events: Rc<RefCell<Vec<String>>>,
}

impl Rig {
    pub fn new(upstreams: &[&str]) -> Self {
        Self::with(upstreams, |_| ())
    }

    pub fn with(upstreams: &[&str], change: impl FnOnce(&mut Options)) -> Self {
        let world = World::new();
        let mut options = Options {
            upstreams: upstreams.iter().map(|text| Upstream::parse(text).unwrap()).collect(),
            // What validation makes of answers is shown beside its own tests.
            mode: Mode::Trust,
            ..Options::default()
        };
        change(&mut options);
        let events: Rc<RefCell<Vec<String>>> = Rc::default();
        let kept = Rc::clone(&events);
        let watch: Watch = Rc::new(move |event| {
            kept.borrow_mut().push(match event {
                Event::Lookup(_, source) => format!("{source:?}"),
                Event::Query(upstream) => format!("query {upstream}"),
                Event::Upstream(upstream, word) => format!("{word} {upstream}"),
                Event::Limit(name) => format!("limit {name}"),
                Event::Evicted(count) => format!("evicted {count}"),
            });
        });
        let resolver = Resolver::new(options, Rc::clone(&world), watch);
        Self { world, resolver, events }
    }

    pub fn ask(&self, name: &str, kind: RecordType) -> Answer {
        block_on(self.resolver.lookup(&Name::from_ascii(name).unwrap(), kind))
    }

    pub fn saw(&self, event: &str) -> bool {
        self.events.borrow().iter().any(|seen| seen == event)
    }
}

pub(crate) const LOOPBACK: &str = "127.0.0.1";

fn shown(answer: &Answer) -> Vec<String> {
    answer.data().map(ToString::to_string).collect()
}

#[test]
fn an_answer_comes_from_an_upstream_with_what_it_says_of_authenticity() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.serve(ZONES);
    let answer = rig.ask("example.", RecordType::MX);
    assert_eq!((answer.outcome, answer.authenticity), (Outcome::Found, Authenticity::Secure));
    assert_eq!(shown(&answer), ["10 mx.example.", "5 mx.other."]);
    assert_eq!((answer.reason.as_str(), answer.ttl), ("", 600));
    assert_eq!(rig.world.asked(), [(Via::Udp, "example. MX".into())]);

    let answer = rig.ask("nothing.other.", RecordType::A);
    assert_eq!((answer.outcome, answer.authenticity), (Outcome::NoName, Authenticity::Insecure));
    let answer = rig.ask("mx.example.", RecordType::TXT);
    assert_eq!((answer.outcome, answer.authenticity), (Outcome::NoData, Authenticity::Secure));
}

#[test]
fn an_upstream_that_is_not_trusted_is_not_believed() {
    let rig = Rig::new(&["192.0.2.53"]);
    rig.world.serve(ZONES);
    let answer = rig.ask("example.", RecordType::MX);
    assert_eq!((answer.outcome, answer.authenticity), (Outcome::Found, Authenticity::Indeterminate));
    assert!(answer.reason.contains("trusted"), "{answer:?}");
}

#[test]
fn aliases_come_whole_or_are_asked_for() {
    for cut in [false, true] {
        let rig = Rig::new(&[LOOPBACK]);
        rig.world.serve(ZONES);
        rig.world.cut_aliases(cut);
        let answer = rig.ask("www.example.", RecordType::A);
        assert_eq!(shown(&answer), ["192.0.2.1"]);
        assert_eq!(answer.records[0].name, Name::from_ascii("mx.example.").unwrap());
        let step = &answer.aliases[0];
        assert_eq!(
            (step.from.to_string(), step.to.to_string()),
            ("www.example.".into(), "mx.example.".into())
        );
        assert_eq!((answer.aliases.len(), answer.ttl), (1, 60));
        assert_eq!(answer.authenticity, Authenticity::Secure);
        assert_eq!(rig.world.asked().len(), if cut { 2 } else { 1 });

        let answer = rig.ask("mx.old.example.", RecordType::A);
        assert_eq!((shown(&answer), answer.aliases.len()), (vec!["192.0.2.9".to_owned()], 1));
        let answer = rig.ask("www.example.", RecordType::CNAME);
        assert_eq!((answer.outcome, answer.aliases.len()), (Outcome::Found, 0));
    }
}

#[test]
fn a_name_in_another_case_is_the_same_question() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.serve(ZONES);
    rig.ask("example.", RecordType::MX);
    let answer = rig.ask("EXAMPLE", RecordType::MX);
    assert_eq!(answer.name.to_ascii(), "EXAMPLE.");
    assert_eq!(rig.world.asked().len(), 1);
    assert!(rig.saw("Cache"));
}

#[test]
fn the_same_question_is_asked_once_and_dropping_one_asker_strands_nobody() {
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.serve(ZONES);
    rig.world.pause_once();
    let name = Name::from_ascii("example.").unwrap();
    let mut first = Box::pin(rig.resolver.lookup(&name, RecordType::MX));
    assert!(block_on(futures_lite::future::poll_once(first.as_mut())).is_none());
    let mut second = Box::pin(rig.resolver.lookup(&name, RecordType::MX));
    assert!(block_on(futures_lite::future::poll_once(second.as_mut())).is_none());
    drop(first);
    rig.world.go_on();
    assert_eq!(block_on(second).outcome, Outcome::Found);
    assert_eq!(rig.world.asked().len(), 1);
    assert!(rig.saw("Shared"));

    // When all have gone, nothing stays behind, and the next asks anew.
    rig.world.pause_once();
    let mut gone = Box::pin(rig.resolver.lookup(&name, RecordType::TXT));
    assert!(block_on(futures_lite::future::poll_once(gone.as_mut())).is_none());
    drop(gone);
    assert!(rig.resolver.inner.flights.borrow().is_empty());
    rig.world.go_on();
    assert_eq!(rig.ask("example.", RecordType::TXT).outcome, Outcome::NoData);
}

#[test]
fn tls_is_asked_with_its_name_and_never_in_the_clear() {
    let rig = Rig::new(&["tls://127.0.0.1#dns.example"]);
    rig.world.serve(ZONES);
    assert_eq!(rig.ask("example.", RecordType::MX).outcome, Outcome::Found);
    rig.world.break_stream(TransportError::Tls("a certificate of another name".into()));
    let answer = rig.ask("mx.example.", RecordType::A);
    assert_eq!(answer.outcome, Outcome::Failed);
    assert!(answer.reason.contains("a certificate of another name"), "{answer:?}");
    assert!(rig.world.asked().iter().all(|(via, _)| *via == Via::Tls(Some("dns.example".into()))));
}

#[test]
fn the_case_of_the_question_does_not_come_back_in_names() {
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::rdata::{CNAME, MX};
    use hickory_proto::rr::{RData, Record};
    use world::{at_once, code};
    let rig = Rig::new(&[LOOPBACK]);
    rig.world.server(LOOPBACK, |_, query| {
        at_once(code(query, ResponseCode::NoError, |message| {
            let asked = message.queries[0].name.clone();
            assert!(!asked.eq_case(&asked.to_lowercase()), "in mixed case");
            let below = asked.prepend_label("MX").unwrap();
            message.answers.push(Record::from_rdata(asked, 60, RData::CNAME(CNAME(below.clone()))));
            message.answers.push(Record::from_rdata(below.clone(), 60, RData::MX(MX::new(10, below))));
        }))
    });
    let answer = rig.ask("a-domain-of-many-letters.example.", RecordType::MX);
    assert_eq!(shown(&answer), ["10 mx.a-domain-of-many-letters.example."]);
    assert_eq!(answer.aliases[0].to.to_ascii(), "mx.a-domain-of-many-letters.example.");
    assert_eq!(answer.records[0].name.to_ascii(), "mx.a-domain-of-many-letters.example.");
}
