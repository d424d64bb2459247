//! `postrider mtasts cached` and `postrider mtasts forget`: the policies that the running server keeps.

use anyhow::Result;
use postrider_core::control::protocol::{MtaStsRow, Request};

use crate::arguments::{MtaStsCached, MtaStsForget};
use crate::commands::control::simple;
use crate::commands::locate::Server;
use crate::commands::queue::pages;
use crate::commands::queue::times::{now, short, when};
use crate::commands::show::Line;

/// What the columns of the list are.
const HEADER: &str =
    "DOMAIN                       MODE     ID                   VALID        FETCHED      HOSTS";

pub fn cached(server: &Server, arguments: MtaStsCached) -> Result<()> {
    let MtaStsCached { json, limit, cursor, domain } = arguments;
    let domain = domain.map(|domain| domain.to_string());
    pages::<MtaStsRow>(server, (json, HEADER), limit, cursor, |cursor, limit| Request::MtaStsList {
        domain: domain.clone(),
        cursor,
        limit: Some(limit),
    })
}

pub fn forget(server: &Server, arguments: &MtaStsForget) -> Result<()> {
    let domain = arguments.domain.to_string();
    let done = format!("The policy of {domain} is forgotten. The next delivery asks the domain anew.");
    simple(server, &Request::MtaStsForget { domain }, &done)
}

impl Line for MtaStsRow {
    fn line(&self) -> String {
        line(self, now())
    }
}

fn line(row: &MtaStsRow, now: i64) -> String {
    let valid = match row.valid_until {
        Some(until) if row.valid => {
            format!("for {}", short(until.saturating_sub(now).max(0).unsigned_abs()))
        }
        Some(_) => "expired".to_owned(),
        None => "-".to_owned(),
    };
    let mut line = format!(
        "{:<28} {:<8} {:<20} {valid:<12} {:<12} {}",
        row.domain,
        row.mode.as_deref().unwrap_or("-"),
        row.id,
        row.fetched.map_or_else(|| "-".to_owned(), |time| when(time, now)),
        row.mx.join(", ")
    );
    line.truncate(line.trim_end().len());
    if let Some(failed) = row.failed {
        line += &format!("\n    fetching it failed {}", when(failed, now));
        if let Some(until) = row.waits_until {
            line += &format!(", and isn't tried again for {}", short(until.abs_diff(now)));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_780_000_000;

    fn row() -> MtaStsRow {
        MtaStsRow {
            domain: "example.org".to_owned(),
            id: "20260101".to_owned(),
            mode: Some("enforce".to_owned()),
            max_age: Some(86400),
            mx: vec!["mx.example.org".to_owned(), "*.example.net".to_owned()],
            policy: Some("version: STSv1\n".to_owned()),
            fetched: Some(NOW - 3600),
            valid_until: Some(NOW + 82800),
            valid: true,
            used: NOW,
            failed: None,
            waits_until: None,
        }
    }

    #[test]
    fn a_line_says_what_a_kept_policy_is_worth() {
        let valid = line(&row(), NOW);
        let words: Vec<&str> = valid.split_whitespace().collect();
        let expected = "example.org enforce 20260101 for 23h 1h ago mx.example.org, *.example.net";
        assert_eq!(words.join(" "), expected);
        // Each word begins below its header, unless it has no room.
        let at = |text: &str| valid.find(text);
        assert_eq!(at("enforce"), HEADER.find("MODE"));
        assert_eq!((at("for 23h"), at("1h ago")), (HEADER.find("VALID"), HEADER.find("FETCHED")));
        assert_eq!(at("mx."), HEADER.find("HOSTS"));
        let expired = MtaStsRow { valid: false, valid_until: Some(NOW - 1), ..row() };
        assert!(line(&expired, NOW).contains(" expired "), "{}", line(&expired, NOW));
        let failed = MtaStsRow {
            mode: None,
            max_age: None,
            mx: Vec::new(),
            policy: None,
            fetched: None,
            valid_until: None,
            valid: false,
            failed: Some(NOW - 60),
            waits_until: Some(NOW + 240),
            ..row()
        };
        let line = line(&failed, NOW);
        assert!(line.ends_with("\n    fetching it failed 1m ago, and isn't tried again for 4m"), "{line}");
    }
}
