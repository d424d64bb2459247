//! Reports to other domains, and those that come from them: `[reports]`.

use std::time::Duration;

use super::section::Section;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is reported to domains that ask for it, and how long what they report is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reports {
    /// Whether it is recorded how TLS with other servers went, and reported (RFC 8460).
    pub tls: bool,
    /// Whether also domains are told with which TLS never failed.
    pub tls_when_all_succeed: bool,
    /// Whether it is reported what DMARC said of mail (RFC 7489).
    pub dmarc: bool,
    /// How long reports that came are kept.
    pub keep: Duration,
}

impl Default for Reports {
    fn default() -> Self {
        Self { tls: true, tls_when_all_succeed: false, dmarc: true, keep: DAY * 400 }
    }
}

pub(super) fn read(section: Section<'_>) -> Reports {
    let default = Reports::default();
    let flag = |key, default| section.flag(key).map_or(default, |flag| flag.value);
    let reports = Reports {
        tls: flag("tls", default.tls),
        tls_when_all_succeed: flag("tls_when_all_succeed", default.tls_when_all_succeed),
        dmarc: flag("dmarc", default.dmarc),
        keep: section.duration("keep", DAY..=DAY * 3650).map_or(default.keep, |at| at.value),
    };
    section.finish();
    reports
}
