//! The resolver's work in metrics.

use std::rc::Rc;

use postrider_dns::resolver::{Event, Source, Watch};
use postrider_dns::{Authenticity, Outcome};

use super::ShardResolver;
use crate::metrics::{DnsAuthenticity, DnsFault, DnsMetrics, DnsOutcome, DnsSource, DnsWay, Limit, Recorder};

/// Counts what a resolver does.
pub fn count(recorder: Recorder, metrics: DnsMetrics) -> Watch {
    Rc::new(move |event| match event {
        Event::Lookup(answer, source) => {
            let outcome = match answer.outcome {
                Outcome::Found => DnsOutcome::Found,
                Outcome::NoData => DnsOutcome::NoData,
                Outcome::NoName => DnsOutcome::NoName,
                Outcome::Failed => DnsOutcome::Failed,
            };
            let authenticity = match answer.authenticity {
                Authenticity::Secure => DnsAuthenticity::Secure,
                Authenticity::Insecure => DnsAuthenticity::Insecure,
                Authenticity::Bogus => DnsAuthenticity::Bogus,
                Authenticity::Indeterminate => DnsAuthenticity::Indeterminate,
            };
            let source = match source {
                Source::Upstream => DnsSource::Upstream,
                Source::Cache => DnsSource::Cache,
                Source::Shared => DnsSource::Shared,
                Source::Stale => DnsSource::Stale,
            };
            recorder.add(metrics.lookups.at([outcome as usize, authenticity as usize]), 1);
            recorder.add(metrics.sources.at([source as usize]), 1);
        }
        Event::Query(upstream) => {
            let way = if upstream.way_word() == "tls" { DnsWay::Tls } else { DnsWay::Plain };
            recorder.add(metrics.queries.at([way as usize]), 1);
        }
        Event::Upstream(_, word) => {
            let fault = DnsFault::ALL.iter().find(|fault| fault.name() == word);
            recorder.add(metrics.faults.at([fault.copied().unwrap_or(DnsFault::Code) as usize]), 1);
        }
        Event::Limit(name) => {
            let is_it = |limit: &&Limit| limit.name().strip_prefix("dns_") == Some(name);
            if let Some(limit) = Limit::ALL.iter().find(is_it) {
                recorder.add(metrics.limits.at([*limit as usize]), 1);
            }
        }
        Event::Evicted(count) => recorder.add(metrics.evicted, count as u64),
    })
}

/// Shows what a resolver remembers.
pub fn count_memory(resolver: &ShardResolver, recorder: &Recorder, metrics: &DnsMetrics) {
    let (octets, entries) = resolver.remembered();
    recorder.set(metrics.cache_octets, i64::try_from(octets).unwrap_or(i64::MAX));
    recorder.set(metrics.cache_entries, i64::try_from(entries).unwrap_or(i64::MAX));
}
