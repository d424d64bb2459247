//! Records of SPF, one on each line, that include and redirect to each other, evaluated for a client.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_authentication::spf::{Identity, Limits, Query, Record, check};
use postrider_fuzz::{Answers, check_field};
use postrider_proto::authentication_results::AuthenticationResults;
use postrider_proto::smtp::trace::Charset;

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else { return };
    let lines: Vec<Vec<u8>> = input.split(|octet| *octet == b'\n').map(<[u8]>::to_vec).collect();
    for line in &lines {
        let Ok(record) = Record::parse(line) else { continue };
        let printed = record.to_string();
        assert_eq!(Record::parse(printed.as_bytes()).as_ref(), Ok(&record), "it prints as another one");
    }
    // The last line is what the client says of itself.
    let said = lines.last().map(|line| String::from_utf8_lossy(line)).unwrap_or_default();
    let (local_part, helo) = said.split_once('@').unwrap_or((&*said, "mx.example"));
    let client_ip = if first & 1 == 0 { "192.0.2.1" } else { "2001:db8::1" };
    let limits = Limits::default();
    for (identity, domain) in
        [(Identity::MailFrom, "a.example"), (Identity::Helo, "cd.example"), (Identity::Helo, helo)]
    {
        let query = Query {
            client_ip: client_ip.parse().expect("an address"),
            identity,
            local_part,
            domain,
            helo,
            receiver: "mx.us.example",
            unix_seconds: 1_780_000_000,
        };
        let dns = Answers::new(lines.clone());
        let verdict = futures_lite::future::block_on(check(&dns, &limits, &query));
        assert_eq!(verdict.queries, dns.asked());
        assert!(verdict.queries <= limits.queries_max + 1, "{} questions", verdict.queries);
        assert!(
            verdict.lookups <= limits.lookups_max + 1 && verdict.void_lookups <= limits.void_lookups_max + 1
        );
        let explanation = verdict.explanation.as_deref().unwrap_or_default();
        assert!(explanation.bytes().all(|octet| octet == b' ' || octet.is_ascii_graphic()));
        for charset in [Charset::Ascii, Charset::Utf8] {
            check_field(&verdict.received_field(&query, Some(&*said), charset));
            let results = [verdict.method_result()];
            check_field(&AuthenticationResults { authserv_id: "us", charset, results: &results }.field());
        }
    }
});
