//! Which records apply: the base domain, aliases, and what is unknown (RFC 7672 §2.2).

use futures_lite::future::block_on;
use hickory_proto::rr::{Name, RecordType};

use crate::answer::Authenticity;
use crate::dane::{Applies, Found, NextHop, find, tlsa_name};
use crate::script::Script;

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn zones() -> Script {
    let zones = format!(
        r"
$SECURE signed.
mx.signed. A 192.0.2.1
_25._tcp.mx.signed. TLSA 3 1 1 {DIGEST}
_587._tcp.mx.signed. TLSA 2 1 1 {DIGEST}
bare.signed. A 192.0.2.1
alias.signed. CNAME mx.signed.
own.signed. CNAME bare.signed.
_25._tcp.own.signed. TLSA 2 1 1 {DIGEST}
out.signed. CNAME mx.plain.
_25._tcp.out.signed. TLSA 3 1 1 {DIGEST}
indirect.signed. A 192.0.2.1
_25._tcp.indirect.signed. CNAME _25._tcp.mx.signed.
leads.signed. A 192.0.2.1
_25._tcp.leads.signed. CNAME _25._tcp.mx.plain.
unusable.signed. A 192.0.2.1
_25._tcp.unusable.signed. TLSA 0 1 1 {DIGEST}
broken.signed. A 192.0.2.1
$SERVFAIL _25._tcp.broken.signed. TLSA
bogus.signed. A 192.0.2.1
_25._tcp.bogus.signed. TLSA 3 1 1 {DIGEST}
$BOGUS _25._tcp.bogus.signed.
six.signed. A 192.0.2.1
$SERVFAIL six.signed. AAAA
_25._tcp.six.signed. TLSA 3 1 1 {DIGEST}
$TIMEOUT silent.signed. A AAAA
empty.signed. TXT nothing
mx.plain. A 192.0.2.1
_25._tcp.mx.plain. TLSA 3 1 1 {DIGEST}
$SERVFAIL mx.plain. TLSA
toplain.plain. CNAME mx.signed.
"
    );
    Script::parse(&zones).unwrap()
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn look(script: &Script, host: &str, next_hop: &NextHop) -> Found {
    block_on(find(script, &name(host), 25, next_hop))
}

/// The base and the names for authorities, or which case it is.
fn host(host: &str) -> String {
    shown(&look(&zones(), host, &NextHop::Host).applies)
}

fn shown(applies: &Applies) -> String {
    match applies {
        Applies::Records { base, verification, records } => {
            let names: Vec<String> = verification.names.iter().map(Name::to_ascii).collect();
            let usable = verification.associations.iter().count();
            format!("{base} {usable}/{} {}", records.len(), names.join(" "))
        }
        Applies::No(why) => format!("no: {why}"),
        Applies::Unknown(why) => format!("unknown: {why}"),
        Applies::NoAddresses(why) => format!("nothing: {why}"),
    }
}

#[test]
fn a_host_has_its_own_records() {
    assert_eq!(host("mx.signed."), "mx.signed. 1/1 mx.signed.");
    assert_eq!(host("bare.signed."), "no: there are no TLSA records of _25._tcp.bare.signed.");
    assert_eq!(host("unusable.signed."), "unusable.signed. 0/1 unusable.signed.");
    assert_eq!(host("six.signed."), "six.signed. 1/1 six.signed.", "one family that fails is none");
}

#[test]
fn of_an_alias_the_expanded_name_comes_first() {
    assert_eq!(host("alias.signed."), "mx.signed. 1/1 mx.signed. alias.signed.");
    assert_eq!(host("own.signed."), "own.signed. 1/1 own.signed.");
    // A secure alias of something insecure: the alias's own name alone.
    assert_eq!(host("out.signed."), "out.signed. 1/1 out.signed.");
    assert_eq!(host("toplain.plain."), "no: the addresses of toplain.plain. and its alias are insecure");
}

#[test]
fn aliases_of_the_records_do_not_change_the_base() {
    assert_eq!(host("indirect.signed."), "indirect.signed. 1/1 indirect.signed.");
    assert_eq!(host("leads.signed."), "no: the TLSA records of _25._tcp.leads.signed. are insecure");
}

#[test]
fn where_the_addresses_are_insecure_nobody_asks_for_records() {
    let script = zones();
    let found = look(&script, "mx.plain.", &NextHop::Host);
    assert_eq!(shown(&found.applies), "no: the addresses of mx.plain. are insecure");
    assert!(script.questions().iter().all(|question| question.kind != RecordType::TLSA));
}

#[test]
fn what_cannot_be_found_out_is_not_taken_for_nothing() {
    for text in ["broken.signed.", "bogus.signed.", "silent.signed."] {
        assert!(host(text).starts_with("unknown: "), "{text}: {}", host(text));
    }
    assert_eq!(host("empty.signed."), "nothing: empty.signed. has no addresses");
    assert_eq!(host("absent.signed."), "nothing: absent.signed. has no addresses");
}

#[test]
fn addresses_are_asked_for_before_records() {
    let script = zones();
    look(&script, "mx.signed.", &NextHop::Host);
    let kinds: Vec<RecordType> = script.questions().iter().map(|question| question.kind).collect();
    assert_eq!(kinds, [RecordType::AAAA, RecordType::A, RecordType::TLSA]);
}

#[test]
fn the_way_by_mx_records_must_be_secure_and_adds_its_names() {
    let by = |authenticity| NextHop::Exchanger {
        domain: name("domain.signed."),
        expanded: name("expanded.signed."),
        authenticity,
    };
    let script = zones();
    let secure = look(&script, "mx.signed.", &by(Authenticity::Secure));
    assert_eq!(shown(&secure.applies), "mx.signed. 1/1 mx.signed. domain.signed. expanded.signed.");
    for authenticity in [Authenticity::Insecure, Authenticity::Indeterminate] {
        let found = look(&script, "mx.signed.", &by(authenticity));
        let expected = format!("no: the MX records of domain.signed. are {}", authenticity.word());
        assert_eq!(shown(&found.applies), expected);
        assert_eq!(found.addresses.values.len(), 1);
    }
}

#[test]
fn the_port_is_a_part_of_the_name() {
    let found = block_on(find(&zones(), &name("mx.signed"), 587, &NextHop::Host));
    assert_eq!(shown(&found.applies), "mx.signed. 1/1 mx.signed.");
    let found = block_on(find(&zones(), &name("mx.signed"), 465, &NextHop::Host));
    assert_eq!(shown(&found.applies), "no: there are no TLSA records of _465._tcp.mx.signed.");
    let long = name(&format!("{}a.", "a.".repeat(122)));
    assert_eq!(tlsa_name(&long, 25), None);
}
