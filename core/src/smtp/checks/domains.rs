//! Whether the names that a client gives can be: the one of HELO, and the domain of a sender (product 1.3, 1.6).

use postrider_dns::{Lookup, Name, Outcome, RData, RecordType};
use postrider_proto::address::Domain;

/// Mail hosts of a domain that are looked up: one that has an address is enough.
const HOSTS_MAX: usize = 10;

/// What DNS says of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::smtp) enum Standing {
    /// It is one that mail can come from.
    Good,
    /// It isn't.
    Bad,
    /// It can't be found out at the moment.
    Unknown,
}

/// An absolute name.
pub(in crate::smtp) fn absolute(domain: &Domain) -> Option<Name> {
    let mut name = Name::from_ascii(domain.as_str()).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// Whether a host has an address (RFC 5321 §2.3.5: a name in HELO is one that resolves).
pub(in crate::smtp) async fn host(dns: &impl Lookup, domain: &Domain) -> Standing {
    match absolute(domain) {
        Some(name) => addresses(dns, &name).await,
        None => Standing::Bad,
    }
}

async fn addresses(dns: &impl Lookup, name: &Name) -> Standing {
    let mut standing = Standing::Bad;
    for kind in [RecordType::A, RecordType::AAAA] {
        match dns.lookup(name, kind).await.outcome {
            Outcome::Found => return Standing::Good,
            // No name, no records of any type (RFC 8020).
            Outcome::NoName => return standing,
            Outcome::NoData => {}
            Outcome::Failed => standing = Standing::Unknown,
        }
    }
    standing
}

/// Whether a domain takes mail, so that reports can be sent to its addresses (RFC 5321 §5.1, RFC 7505 §4.2).
pub(in crate::smtp) async fn mail_domain(dns: &impl Lookup, domain: &Domain) -> Standing {
    let Some(name) = absolute(domain) else { return Standing::Bad };
    let answer = dns.lookup(&name, RecordType::MX).await;
    match answer.outcome {
        Outcome::NoName => return Standing::Bad,
        Outcome::Failed => return Standing::Unknown,
        // The domain itself is its mail host.
        Outcome::NoData => return addresses(dns, &name).await,
        Outcome::Found => {}
    }
    let mut hosts: Vec<(u16, Name)> = answer
        .data()
        .filter_map(|data| match data {
            RData::MX(mx) if !mx.exchange.is_root() => Some((mx.preference, mx.exchange.clone())),
            _ => None,
        })
        .collect();
    hosts.sort();
    let mut standing = Standing::Bad;
    for (_, mut host) in hosts.into_iter().take(HOSTS_MAX) {
        host.set_fqdn(true);
        match addresses(dns, &host).await {
            Standing::Good => return Standing::Good,
            Standing::Unknown => standing = Standing::Unknown,
            Standing::Bad => {}
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use futures_lite::future::block_on;
    use postrider_dns::script::Script;

    use super::*;

    const SCRIPT: &str = "
        $ORIGIN example.
        plain     A    192.0.2.1
        six       AAAA 2001:db8::1
        mx        MX   10 gone
        mx        MX   20 six
        null      MX   0 .
        null      A    192.0.2.1
        dead      MX   10 gone
        dead      A    192.0.2.1
        empty     TXT  \"x\"
        maybe     MX   10 gone
        maybe     MX   20 broken
        alias     CNAME mx
        $SERVFAIL broken
    ";

    #[test]
    fn a_domain_takes_mail_when_one_of_its_hosts_has_an_address() {
        let script = crate::testing::script_of(SCRIPT);
        let domain = |name: &str| Domain::parse(&format!("{name}.example")).unwrap();
        for (name, mail, of_host) in [
            ("plain", Standing::Good, Standing::Good),
            ("six", Standing::Good, Standing::Good),
            ("mx", Standing::Good, Standing::Bad),
            ("alias", Standing::Good, Standing::Bad),
            ("null", Standing::Bad, Standing::Good),
            // With MX records, the domain's own address doesn't count (RFC 5321 §5.1).
            ("dead", Standing::Bad, Standing::Good),
            ("empty", Standing::Bad, Standing::Bad),
            ("gone", Standing::Bad, Standing::Bad),
            ("maybe", Standing::Unknown, Standing::Bad),
            ("broken", Standing::Unknown, Standing::Unknown),
        ] {
            assert_eq!(block_on(mail_domain(&script, &domain(name))), mail, "{name}");
            assert_eq!(block_on(host(&script, &domain(name))), of_host, "{name}");
        }
    }

    #[test]
    fn many_mail_hosts_cost_a_bounded_number_of_questions() {
        let mut script = Script::new();
        for number in 0..200 {
            script.add(&format!("$ORIGIN example.\nmany MX {number} gone{number}\n")).unwrap();
        }
        let standing = block_on(mail_domain(&script, &Domain::parse("many.example").unwrap()));
        assert_eq!(standing, Standing::Bad);
        assert!(script.lookups() <= 1 + 2 * HOSTS_MAX, "{}", script.lookups());
    }
}
