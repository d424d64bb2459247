//! Whether a message is from whom it says: SPF, DMARC, and all checks of one message, with answers that are known.

use std::hint::black_box;

use anyhow::{Result, anyhow, ensure};
use futures_lite::future::block_on;
use postrider_authentication::dkim::{self, DkimResult, Policy};
use postrider_authentication::dmarc::{
    self, Author, DmarcResult, Identifier, IdentifierState, Mode, Request,
};
use postrider_authentication::spf::{self, Identity, Limits, Query, SpfResult};
use postrider_authentication::{arc, iprev};
use postrider_dns::Authenticity;
use postrider_dns::script::Script;
use postrider_proto::address::Domain;
use postrider_proto::arc::ChainStatus;
use postrider_proto::authentication_results::AuthenticationResults;
use postrider_proto::smtp::body::ResultsFilter;
use postrider_proto::smtp::trace::Charset;

use super::Case;
use super::signatures::{NOW, PIECE_OCTETS, Setting, ed25519, rsa};

/// What a domain of ordinary size publishes.
const ZONE: &str = "$TTL 60
1.2.0.192.in-addr.arpa. PTR mx.example.org.
$ORIGIN example.org.
@      MX   10 mx
@      TXT  \"v=spf1 ip4:198.51.100.0/24 include:_spf.example.org mx -all\"
_spf   TXT  \"v=spf1 ip4:203.0.113.0/25 ip6:2001:db8::/32 a:out.example.org ~all\"
out    A    192.0.2.7
mx     A    192.0.2.1
_dmarc TXT  \"v=DMARC1; p=reject; sp=quarantine; rua=mailto:reports@example.org\"
";

fn zone() -> Result<Script> {
    Script::parse(ZONE).map_err(|error| anyhow!("{error}"))
}

fn domain(name: &str) -> Result<Domain> {
    Domain::parse(name).map_err(|error| anyhow!("{error}"))
}

fn query() -> Query<'static> {
    Query {
        client_ip: [192, 0, 2, 1].into(),
        identity: Identity::MailFrom,
        local_part: "sender",
        domain: "example.org",
        helo: "mx.example.org",
        receiver: "mx.us.example",
        unix_seconds: NOW,
    }
}

fn spf_case() -> Case {
    Case::new("spf_of_two_records", None, 1, |_| {
        let script = zone()?;
        Ok(Box::new(move || {
            let verdict = block_on(spf::check(&script, &Limits::default(), black_box(&query())));
            ensure!(verdict.result == SpfResult::Pass && verdict.lookups == 3, "{verdict:?}");
            script.forget();
            Ok(1)
        }))
    })
}

fn dmarc_case() -> Case {
    Case::new("dmarc_of_a_name_below", None, 1, |_| {
        let script = zone()?;
        let author = Author::Domain(domain("news.example.org")?);
        let identifier = |name: &str, state| {
            Ok::<_, anyhow::Error>(Identifier {
                domain: domain(name)?,
                state,
                authenticity: Authenticity::Insecure,
            })
        };
        let spf = identifier("bounces.example.com", IdentifierState::Pass)?;
        let dkim = [identifier("example.org", IdentifierState::Pass)?];
        Ok(Box::new(move || {
            let request = Request {
                author: black_box(&author),
                spf: Some(&spf),
                dkim: &dkim,
                mode: Mode::TreeWalk,
                sample: 0,
            };
            let verdict = block_on(dmarc::evaluate(&script, &request));
            ensure!(verdict.result == DmarcResult::Pass && verdict.aligned_dkim, "{verdict:?}");
            script.forget();
            Ok(1)
        }))
    })
}

/// All that is done for a message from outside, from its first octet to the field that tells of it.
fn whole_case(name: &str, key: fn() -> Result<dkim::PrivateKey>) -> Case {
    Case::new(name, None, 1, move |_| {
        let mut setting = Setting::new(key()?)?;
        setting.script.add(ZONE).map_err(|error| anyhow!("{error}"))?;
        let message = [setting.signed()?.as_bytes(), &setting.message].concat();
        let ours = vec![domain("mx.us.example")?];
        let policy = Policy::default();
        let mut kept = Vec::with_capacity(message.len());
        Ok(Box::new(move || {
            let mut reader = postrider_authentication::content::Reader::new();
            let mut filter = ResultsFilter::new(ours.clone());
            kept.clear();
            for piece in message.chunks(PIECE_OCTETS) {
                reader.push(black_box(piece));
                filter.push(piece, &mut kept);
            }
            filter.finish(&mut kept);
            let content = reader.finish()?;
            let author = Author::of_header(content.header.octets());
            let dns = &setting.script;
            let field = block_on(async {
                let iprev = iprev::check(dns, [192, 0, 2, 1].into()).await;
                let spf = spf::check(dns, &Limits::default(), &query()).await;
                let signatures = dkim::verify(&content, &policy, NOW, dns).await;
                let arc = arc::verify(&content, NOW, dns).await;
                let identifiers: Vec<Identifier> =
                    signatures.iter().filter_map(Identifier::of_signature).collect();
                let of_spf = Identifier::of_spf(&spf);
                let request = Request {
                    author: &author,
                    spf: of_spf.as_ref(),
                    dkim: &identifiers,
                    mode: Mode::TreeWalk,
                    sample: 0,
                };
                let dmarc = dmarc::evaluate(dns, &request).await;
                ensure!(
                    signatures.iter().all(|one| one.result == DkimResult::Pass)
                        && dmarc.aligned_spf
                        && dmarc.aligned_dkim
                        && arc.status == ChainStatus::None,
                    "{spf:?} {signatures:?} {dmarc:?}"
                );
                let mut results = vec![iprev.method_result()];
                results.extend(dkim::method_results(&signatures));
                results.extend([spf.method_result(), dmarc.method_result()]);
                let charset = Charset::Ascii;
                let field =
                    AuthenticationResults { authserv_id: "mx.us.example", charset, results: &results }
                        .field();
                Ok(field + &spf.received_field(&query(), Some("sender@example.org"), charset))
            })?;
            dns.forget();
            ensure!(field.contains("iprev=pass") && field.contains("dmarc=pass"), "{field}");
            Ok(1)
        }))
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        spf_case(),
        dmarc_case(),
        whole_case("check_of_10_kib_rsa2048", rsa),
        whole_case("check_of_10_kib_ed25519", ed25519),
    ]
}
