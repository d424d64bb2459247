//! Writing aggregate reports, in the order of RFC 7489 Appendix C.
//!
//! Elements have no namespace: the schema's own types don't name theirs, and nobody writes one. What is RFC 9990's is
//! written only when it says something.

use std::fmt::Display;
use std::net::IpAddr;

use quick_xml::escape::partial_escape;

use super::read::clean;
use super::{DkimResult, PublishedPolicy, Record, Report, SpfResult};
use crate::dmarc::Alignment;

impl Report {
    /// The report as XML.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut out = Writer { xml: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"), depth: 0 };
        out.group("feedback", |out| {
            out.value("version", "1.0");
            out.group("report_metadata", |out| self.write_metadata(out));
            out.group("policy_published", |out| self.policy.write(out));
            for record in &self.records {
                out.group("record", |out| record.write(out));
            }
        });
        out.xml
    }

    fn write_metadata(&self, out: &mut Writer) {
        out.value("org_name", &self.organization_name);
        out.value("email", &self.email);
        out.option("extra_contact_info", self.extra_contact_info.as_ref());
        out.value("report_id", &self.report_id);
        out.group("date_range", |out| {
            out.value("begin", self.begin);
            out.value("end", self.end);
        });
        for error in &self.errors {
            out.value("error", error);
        }
        out.option("generator", self.generator.as_ref());
    }
}

impl PublishedPolicy {
    fn write(&self, out: &mut Writer) {
        let letter = |alignment: Alignment| match alignment {
            Alignment::Relaxed => "r",
            Alignment::Strict => "s",
        };
        out.value("domain", &self.domain);
        out.option("discovery_method", self.discovery_method.as_ref());
        out.option("adkim", self.dkim_alignment.map(letter));
        out.option("aspf", self.spf_alignment.map(letter));
        out.option("p", self.policy.as_ref().map(|policy| policy.name()));
        out.option("sp", self.subdomain_policy.as_ref().map(|policy| policy.name()));
        out.option("np", self.nonexistent_policy.as_ref().map(|policy| policy.name()));
        out.option("pct", self.percent);
        out.option("fo", self.failure_options.as_ref());
        out.option("testing", self.testing.map(|testing| if testing { "y" } else { "n" }));
    }
}

impl Record {
    fn write(&self, out: &mut Writer) {
        out.group("row", |out| {
            out.value("source_ip", self.source.map(whole).unwrap_or_default());
            out.value("count", self.count);
            out.group("policy_evaluated", |out| {
                out.value("disposition", self.disposition.name());
                out.value("dkim", self.dkim.name());
                out.value("spf", self.spf.name());
                for reason in &self.reasons {
                    out.group("reason", |out| {
                        out.value("type", reason.kind.name());
                        out.option("comment", reason.comment.as_ref());
                    });
                }
            });
        });
        out.group("identifiers", |out| {
            out.option("envelope_to", self.envelope_to.as_ref());
            out.option("envelope_from", self.envelope_from.as_ref());
            out.value("header_from", &self.header_from);
        });
        out.group("auth_results", |out| {
            self.dkim_results.iter().for_each(|result| out.group("dkim", |out| result.write(out)));
            self.spf_results.iter().for_each(|result| out.group("spf", |out| result.write(out)));
        });
    }
}

/// An address with all its parts: the schema of RFC 7489 knows no shorter form of IPv6.
fn whole(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|part| format!("{part:x}")).join(":"),
    }
}

impl DkimResult {
    fn write(&self, out: &mut Writer) {
        out.value("domain", &self.domain);
        out.option("selector", self.selector.as_ref());
        out.value("result", self.result.name());
        out.option("human_result", self.human_result.as_ref());
    }
}

impl SpfResult {
    fn write(&self, out: &mut Writer) {
        out.value("domain", &self.domain);
        out.option("scope", self.scope.as_ref().map(|scope| scope.name()));
        out.value("result", self.result.name());
        out.option("human_result", self.human_result.as_ref());
    }
}

struct Writer {
    xml: String,
    depth: usize,
}

impl Writer {
    fn indent(&mut self) {
        self.xml.extend(std::iter::repeat_n(' ', self.depth));
    }

    /// An element with others in it.
    fn group(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.indent();
        self.xml.extend(["<", name, ">\n"]);
        self.depth += 1;
        content(self);
        self.depth -= 1;
        self.indent();
        self.xml.extend(["</", name, ">\n"]);
    }

    /// An element with a text, in which nothing is that XML can't say.
    fn value(&mut self, name: &str, value: impl Display) {
        let text = clean(&value.to_string());
        self.indent();
        self.xml.extend(["<", name, ">", &partial_escape(&*text), "</", name, ">\n"]);
    }

    /// An element that may be missing.
    fn option(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.value(name, value);
        }
    }
}
