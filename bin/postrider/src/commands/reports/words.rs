//! Reports in words.

use postrider_core::control::protocol::{
    DmarcEntry, DmarcSummary, FailureSummary, ReportEntry, ReportKind, ReportRow, ReportSummary,
    SourceSummary, TlsEntry, TlsFailure, TlsSummary,
};

use super::super::queue::times::local;
use super::super::show::Line;

/// Above a list.
pub const HEADER: &str = "ID\tCAME\tKIND\tDOMAIN\tFROM\tTOTAL\tFAILED";
/// Sources that are told of with what is known of them; the JSON has more.
const SOURCES_MAX: usize = 20;
/// Ways to fail that are told.
const FAILURES_MAX: usize = 20;

impl Line for ReportRow {
    fn line(&self) -> String {
        let kind = kind(self.kind);
        let from = from(self);
        let (total, failed) = (self.total, self.failed);
        format!("{}\t{}\t{kind}\t{}\t{from}\t{total}\t{failed}", self.id, local(self.received), self.domain)
    }
}

const fn kind(kind: ReportKind) -> &'static str {
    match kind {
        ReportKind::Dmarc => "dmarc",
        ReportKind::Tls => "tls",
    }
}

fn from(report: &ReportRow) -> String {
    match report.confirmed_by {
        Some(_) => report.submitter.clone(),
        None => format!("{} (unconfirmed)", report.submitter),
    }
}

/// A report, above its entries.
pub fn report(report: &ReportRow) -> Vec<String> {
    let confirmed = match report.confirmed_by.as_deref() {
        Some("submission") => format!("{}, a user of this server", report.submitter),
        Some(by) => format!("{}, confirmed by {}", report.submitter, by.to_uppercase()),
        None => {
            format!("{}, which nothing confirms: it may be forged, and is in no summary", report.submitter)
        }
    };
    let (what, named) = match report.kind {
        ReportKind::Dmarc => ("messages", "DMARC"),
        ReportKind::Tls => ("sessions", "TLS"),
    };
    let mut lines = vec![
        format!("Report {} on {named} about {}", report.id, report.policy_domain),
        format!("By {} ({}), who calls it {}", report.organization, confirmed, report.report_id),
        format!("From {} to {}, came {}", local(report.begin), local(report.end), local(report.received)),
        format!("{} {what}, {} failed", report.total, report.failed),
    ];
    if report.kind == ReportKind::Dmarc && report.quarantined + report.rejected > 0 {
        lines.push(format!("{} were put aside, {} refused", report.quarantined, report.rejected));
    }
    if report.left_out > 0 {
        lines.push(format!("{} entries were too many to be kept; they are in the sums", report.left_out));
    }
    lines
}

impl Line for ReportEntry {
    fn line(&self) -> String {
        match self {
            Self::Dmarc(entry) => messages(entry),
            Self::Tls(entry) => sessions(entry),
        }
    }
}

fn messages(entry: &DmarcEntry) -> String {
    let source = entry.source.as_deref().unwrap_or("an unknown address");
    let mut line = format!(
        "{source}\t{} messages from {}\tDKIM {}\tSPF {}\t{}",
        entry.messages, entry.header_from, entry.dkim, entry.spf, entry.disposition
    );
    for (name, words) in
        [("signatures", &entry.signatures), ("senders", &entry.senders), ("since", &entry.reasons)]
    {
        if !words.is_empty() {
            line += &format!("\t{name}: {}", words.join(", "));
        }
    }
    line
}

fn sessions(entry: &TlsEntry) -> String {
    let failure = |failure: &TlsFailure| {
        let host = failure.receiving_host.as_deref().or(failure.receiving_ip.as_deref());
        let to = host.map(|host| format!(" to {host}")).unwrap_or_default();
        let from = failure.sending_ip.as_deref().map(|ip| format!(" from {ip}")).unwrap_or_default();
        let reason = failure.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("\t{} {}{from}{to}{reason}", failure.sessions, failure.result)
    };
    let failures: String = entry.failures.iter().map(failure).collect();
    format!(
        "{} of {}\t{} succeeded\t{} failed{failures}",
        entry.policy_type, entry.policy_domain, entry.successful, entry.failed
    )
}

/// What reports of some days say.
pub fn summary(summary: &ReportSummary, days: u32) -> Vec<String> {
    let mut lines = vec![format!("{}: reports of the last {days} days", summary.domain), String::new()];
    mail(&mut lines, &summary.dmarc, &summary.domain);
    lines.push(String::new());
    connections(&mut lines, &summary.tls, &summary.domain);
    lines
}

fn unconfirmed(lines: &mut Vec<String>, count: u64) {
    if count > 0 {
        lines.push(format!("  {count} reports are left out: nothing confirms who sent them."));
    }
}

fn mail(lines: &mut Vec<String>, dmarc: &DmarcSummary, domain: &str) {
    if dmarc.reports == 0 {
        lines.push(format!(
            "No reports on DMARC. Does the record _dmarc.{domain} have rua= with an address here, and are reports \
             read there (postrider address reports)?"
        ));
        unconfirmed(lines, dmarc.unconfirmed);
        return;
    }
    lines.push(format!(
        "Mail in its name (DMARC): {} messages in {} reports, {} failed; {} were put aside, {} refused.",
        dmarc.messages, dmarc.reports, dmarc.failed, dmarc.quarantined, dmarc.rejected
    ));
    unconfirmed(lines, dmarc.unconfirmed);
    for source in dmarc.sources.iter().take(SOURCES_MAX) {
        let address = source.source.as_deref().unwrap_or("unknown addresses");
        lines.push(format!(
            "  {address}: {} messages, {} failed; {} with an aligned signature, {} by SPF; reported by {}",
            source.messages,
            source.failed,
            source.dkim_aligned,
            source.spf_aligned,
            source.reporters.join(", ")
        ));
        if source.failed > 0 {
            lines.push(format!("    {}", why(source, domain)));
        }
    }
    let more = dmarc.sources.len().saturating_sub(SOURCES_MAX) as u64 + dmarc.sources_left_out;
    if more > 0 {
        lines.push(format!("  {more} more sources; --json has the first 100."));
    }
}

/// Why messages of a source failed, and what can be done.
fn why(source: &SourceSummary, domain: &str) -> String {
    let seen = |words: &[String]| match words {
        [] => "none".to_owned(),
        words => words.join(", "),
    };
    let facts = format!("signatures: {}; SPF: {}", seen(&source.signatures), seen(&source.senders));
    let passes = |words: &[String]| words.iter().any(|word| word.ends_with(" pass"));
    let is_forwarded = source
        .reasons
        .iter()
        .any(|reason| matches!(&**reason, "forwarded" | "mailing_list" | "trusted_forwarder"));
    let advice = if is_forwarded {
        "it forwards mail or is a mailing list, as reporters see it; nothing to do".to_owned()
    } else if source.dkim_aligned + source.spf_aligned > 0 {
        format!("some pass and some don't: see that all its mail is signed for {domain}")
    } else if passes(&source.signatures) || passes(&source.senders) {
        format!(
            "it is a real sender of another domain; if it sends for you, have it sign for {domain}, or send with a MAIL \
             FROM of {domain} that SPF allows; if not, it forwards or forges"
        )
    } else {
        format!(
            "if it sends for you, allow it in the SPF record and give it a key to sign for {domain}; if not, it forges"
        )
    };
    format!("{facts}: {advice}")
}

fn connections(lines: &mut Vec<String>, tls: &TlsSummary, domain: &str) {
    if tls.reports == 0 {
        lines.push(format!(
            "No reports on TLS. Does the record _smtp._tls.{domain} have rua= with an address here, and are reports \
             read there (postrider address reports)?"
        ));
        unconfirmed(lines, tls.unconfirmed);
        return;
    }
    lines.push(format!(
        "Deliveries to it (TLS): {} sessions succeeded and {} failed, in {} reports.",
        tls.successful, tls.failed, tls.reports
    ));
    unconfirmed(lines, tls.unconfirmed);
    for failure in tls.failures.iter().take(FAILURES_MAX) {
        lines.push(format!("  {}", failed(failure)));
        lines.push(format!("    {}", remedy(&failure.result, domain)));
    }
    let more = tls.failures.len().saturating_sub(FAILURES_MAX) as u64 + tls.failures_left_out;
    if more > 0 {
        lines.push(format!("  {more} more ways to fail; --json has the first 100."));
    }
}

fn failed(failure: &FailureSummary) -> String {
    let part = |text: &str, before: &str, after: &str| match text {
        "" => String::new(),
        text => format!("{before}{text}{after}"),
    };
    let reporter = if failure.reporter.is_empty() { "others" } else { &failure.reporter };
    format!(
        "{reporter}: {} sessions failed{}{}{}",
        failure.sessions,
        part(&failure.receiving_host, " to ", ""),
        part(&failure.result, ": ", ""),
        part(&failure.reason, " (", ")")
    )
}

/// What can be done about a failure (RFC 8460 §4.3).
fn remedy(result: &str, domain: &str) -> String {
    match result {
        "starttls-not-supported" => {
            "the sender was offered no STARTTLS: look whether the host's port 25 offers it to the outside; some firewalls \
             take it away, or somebody in between does"
                .to_owned()
        }
        "certificate-host-mismatch" => {
            "the certificate has another name than the MX record: get one with the host's name, or name the right host"
                .to_owned()
        }
        "certificate-expired" => "renew the certificate, and have the server read the new one".to_owned(),
        "certificate-not-trusted" => {
            "the sender doesn't know the issuer: serve the whole chain, of a public authority".to_owned()
        }
        "tlsa-invalid" => {
            "no TLSA record fits the certificate: publish the record of a new key a day before the key is used".to_owned()
        }
        "dnssec-invalid" => {
            "signatures in DNS are broken or missing for the sender: see `postrider dane lookup` and your name server"
                .to_owned()
        }
        "dane-required" => "the sender wants TLSA records, and found none".to_owned(),
        "sts-policy-fetch-error" => {
            format!("see that https://mta-sts.{domain}/.well-known/mta-sts.txt is served, without redirects")
        }
        "sts-policy-invalid" => {
            format!("see what `postrider mtasts lookup {domain}` says of the policy")
        }
        "sts-webpki-invalid" => format!("the certificate of mta-sts.{domain} isn't valid: renew it"),
        "validation-failure" => {
            format!("the reason, if there is one, says more; see what `postrider tls explain {domain}` says")
        }
        _ => "the sender's own word; its contact in the report may say more".to_owned(),
    }
}

#[cfg(test)]
mod tests;
