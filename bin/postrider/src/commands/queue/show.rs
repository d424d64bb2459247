//! Rows of the queue for people. What others wrote, as replies of servers are, comes without control characters.

use std::fmt::Write as _;

use postrider_core::control::protocol::{
    HoldRuleRow, QueueDamagedRow, QueueDetails, QueueListRow, QueueRecipientRow, QueueRequireTls,
    QueueResult, QueueRow, RetiredRow, SuppressionRow,
};

use super::times::{local, now, short, when};
use crate::commands::show::Line;
use crate::terminal;

/// What the columns of a list are.
pub const HEADER: &str = "ID                   AGE     TRIES  NEXT         SIZE       FROM -> TO";

/// The same of recipients that have left.
pub const RETIRED_HEADER: &str = "LEFT                 OUTCOME    TRIES  FROM -> TO";

/// Recipients that a list shows of each entry.
const SHOWN_MAX: usize = 3;

impl Line for QueueListRow {
    fn line(&self) -> String {
        match self {
            Self::Entry(row) => row_line(row, now()),
            Self::Damaged(row) => format!("{:<20} damaged: {}", row.id, clean(&row.damaged)),
        }
    }
}

fn row_line(row: &QueueRow, now: i64) -> String {
    let age = short(now.saturating_sub(row.submitted).max(0).unsigned_abs());
    let mut to: Vec<&str> = row.to.iter().take(SHOWN_MAX).map(String::as_str).collect();
    let more = format!("and {} more", (row.waiting as usize).max(row.to.len()).saturating_sub(to.len()));
    if to.len() < row.to.len() {
        to.push(&more);
    }
    let mut line = format!(
        "{:<20} {age:<7} {:<6} {:<12} {:<10} {} -> {}",
        row.id,
        row.attempts,
        next(row, now),
        terminal::octets(row.size),
        sender(&row.from),
        clean(&to.join(", "))
    );
    for mark in marks(row) {
        let _ = write!(line, " [{mark}]");
    }
    if let Some(error) = &row.error {
        let _ = write!(line, "\n    {}", result(error));
    }
    line
}

fn next(row: &QueueRow, now: i64) -> String {
    match row.next_attempt {
        _ if row.underway => "under way".to_owned(),
        Some(time) if time <= now => "due".to_owned(),
        Some(time) => when(time, now),
        None => "held".to_owned(),
    }
}

fn marks(row: &QueueRow) -> Vec<String> {
    let mut marks = Vec::new();
    if let Some(rule) = row.held_by_rule {
        marks.push(format!("held by rule {rule}"));
    }
    if row.kind != "message" {
        marks.push(row.kind.clone());
    }
    if let Some(transport) = &row.transport {
        marks.push(format!("transport {}", clean(transport)));
    }
    if row.requiretls != QueueRequireTls::Default {
        marks.push(format!("requiretls {}", row.requiretls.name()));
    }
    marks
}

/// The lines that show an entry, without its recipients.
pub fn details(details: &QueueDetails, now: i64) -> Vec<String> {
    let row = &details.row;
    let account = row.account.as_deref().unwrap_or("the server itself");
    let mut lines = vec![
        format!("Entry {} of submission {}, {}", row.id, row.base, row.kind),
        format!("From {}, submitted by {account}", sender(&row.from)),
        format!("Submitted {} ({})", local(row.submitted), when(row.submitted, now)),
        format!("{} for {}", terminal::octets(row.size), clean(&row.domain)),
    ];
    let last = row.last_attempt.map(|time| format!(", the last one {} ({})", local(time), when(time, now)));
    let most = details.max_attempts.map(|most| format!(" of at most {most}")).unwrap_or_default();
    lines.push(format!("Attempts: {}{most}{}", row.attempts, last.unwrap_or_default()));
    lines.push(match (row.underway, row.next_attempt, row.held_by_rule) {
        (true, ..) => "An attempt is under way.".to_owned(),
        (_, Some(time), _) => format!("Next attempt: {} ({})", local(time), when(time, now)),
        (_, None, Some(rule)) => format!("Held by rule {rule}"),
        (_, None, None) => "Held by an operator".to_owned(),
    });
    if let Some(error) = &row.error {
        lines.push(format!("Last failure: {}", result(error)));
    }
    lines.extend(details.damaged.as_ref().map(|what| damaged_line(&row.id, what)));
    lines.extend(details.waits_for.as_ref().map(|why| format!("It waits: {}", clean(why))));
    lines.extend(details.unwritten.as_ref().map(|error| {
        format!("What came of the last attempt can't be written, which is tried again: {}", clean(error))
    }));
    lines.extend(row.transport.as_ref().map(|name| format!("Transport: {}", clean(name))));
    if row.requiretls != QueueRequireTls::Default {
        lines.push(format!("REQUIRETLS: {}", row.requiretls.name()));
    }
    lines.extend(details.hold_until.map(|time| format!("Not to be sent before {}", local(time))));
    if details.delay_reported {
        lines.push("The sender was told that it is delayed.".to_owned());
    }
    lines.extend(details.envelope_id.as_ref().map(|id| format!("ENVID: {}", clean(id))));
    lines.extend(details.ret.as_ref().map(|ret| format!("RET: {ret}")));
    if !details.dialed.is_empty() {
        lines.push(format!("Dialed: {}", details.dialed.join(", ")));
    }
    if !details.prefix.is_empty() {
        lines.push("In front of its content:".to_owned());
        lines.extend(details.prefix.lines().map(|line| format!("  {}", clean(line))));
    }
    lines.push(format!("Recipients, {} of {} left:", row.waiting, details.recipients));
    lines
}

/// The lines that show an entry whose own row can't be read, without its recipients.
pub fn damaged_details(row: &QueueDamagedRow) -> Vec<String> {
    let recipients = "Recipients that can be read:".to_owned();
    vec![format!("Entry {}", row.id), damaged_line(&row.id, &row.damaged), recipients]
}

fn damaged_line(id: &str, what: &str) -> String {
    format!(
        "It is damaged: {}. Only a backup of the store has it whole; postrider queue drop {id} removes it.",
        clean(what)
    )
}

impl Line for QueueRecipientRow {
    fn line(&self) -> String {
        let mut line = format!("  {}", clean(&self.to));
        if let Some(notify) = &self.notify {
            let _ = write!(line, " NOTIFY={notify}");
        }
        if let Some(original) = &self.original {
            let _ = write!(line, " ORCPT={}", clean(original));
        }
        if let Some(last) = &self.result {
            let _ = write!(line, "\n    {}: {}", local(last.time), result(last));
        }
        line
    }
}

impl Line for HoldRuleRow {
    fn line(&self) -> String {
        let rule = &self.rule;
        let parts = [
            rule.account.as_ref().map(|account| format!("account {account}")),
            rule.sender_domain.as_ref().map(|domain| match domain.as_str() {
                "" => "no sender".to_owned(),
                domain => format!("from {domain}"),
            }),
            rule.recipient_domain.as_ref().map(|domain| format!("to {domain}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let says = if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") };
        format!("{}\t{}\t{says}\t{}", self.id, local(self.created), clean(&rule.comment))
    }
}

impl Line for SuppressionRow {
    fn line(&self) -> String {
        let by = if self.automatic { "failed" } else { "added" };
        format!(
            "{}\t{}\t{by} {}\t{}",
            self.account,
            clean(&self.address),
            local(self.created),
            clean(&self.reason)
        )
    }
}

impl Line for RetiredRow {
    fn line(&self) -> String {
        let mut line = format!(
            "{}  {:<9}  {:<5}  {} -> {}",
            local(self.ended),
            self.outcome,
            self.attempts,
            sender(&self.from),
            clean(&self.to)
        );
        if let Some(last) = self.result.as_ref().filter(|last| !last.text.is_empty()) {
            let _ = write!(line, "\n    {}", result(last));
        }
        for report in &self.reports {
            let _ = write!(line, "\n    reported {}: {}", report.action, result(&report.result));
        }
        line
    }
}

fn sender(from: &str) -> String {
    if from.is_empty() { "<>".to_owned() } else { clean(from) }
}

fn result(result: &QueueResult) -> String {
    let code = result.code.map(|code| format!("{code} ")).unwrap_or_default();
    let enhanced = result.enhanced.as_ref().map(|code| format!("{code} ")).unwrap_or_default();
    let host = if result.host.is_empty() { String::new() } else { format!(" ({})", clean(&result.host)) };
    format!("{code}{enhanced}{}{host}", clean(&result.text))
}

/// A text of others, without what would move the cursor or change colours.
pub fn clean(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn row() -> QueueRow {
        QueueRow {
            id: "1874919424000000000".to_owned(),
            base: "1874919424000000000".to_owned(),
            account: Some("anna".to_owned()),
            from: "anna@example.com".to_owned(),
            domain: "example.org".to_owned(),
            to: ["a", "b", "c", "d"].map(|name| format!("{name}@example.org")).into(),
            waiting: 4,
            kind: "message".to_owned(),
            size: 2048,
            submitted: 1000,
            attempts: 2,
            last_attempt: Some(2000),
            next_attempt: Some(4660),
            underway: false,
            held: false,
            held_by_rule: None,
            transport: None,
            requiretls: QueueRequireTls::Default,
            error: None,
        }
    }

    #[test]
    fn a_damaged_entry_is_known_by_its_row() {
        let json = r#"{"id":"7","damaged":"a row\u001b"}"#;
        let row: QueueListRow = serde_json::from_str(json).unwrap();
        assert_eq!(row.line(), format!("7{} damaged: a row ", " ".repeat(19)));
        let QueueListRow::Damaged(damaged) = &row else { panic!("{row:?}") };
        assert!(
            damaged_details(damaged)[1].contains("a row . Only")
                && serde_json::to_string(&row).unwrap() == json
        );
        let whole = serde_json::to_string(&QueueListRow::Entry(Box::new(self::row()))).unwrap();
        assert_eq!(whole, serde_json::to_string(&self::row()).unwrap());
        assert!(matches!(serde_json::from_str(&whole).unwrap(), QueueListRow::Entry(_)));
    }

    #[test]
    fn a_row_says_who_waits_and_until_when() {
        let start = "1874919424000000000  1h      2      in 1m        2.0 KiB    anna@example.com -> ";
        let to = "a@example.org, b@example.org, c@example.org, and 1 more";
        assert_eq!(row_line(&row(), 4600), format!("{start}{to}"));
        let columns = ["AGE", "TRIES", "NEXT", "SIZE", "FROM"].map(|name| HEADER.find(name));
        let values =
            ["1h ", "2 ", "in 1m", "2.0 KiB", "anna@"].map(|value| start[20..].find(value).map(|at| at + 20));
        assert_eq!(columns, values);
        let held = QueueRow {
            held: true,
            held_by_rule: Some(7),
            next_attempt: None,
            from: String::new(),
            to: vec!["a@example.org".to_owned()],
            waiting: 1,
            kind: "report".to_owned(),
            transport: Some("relay".to_owned()),
            requiretls: QueueRequireTls::No,
            error: Some(QueueResult {
                time: 2000,
                code: Some(450),
                enhanced: Some("4.2.1".to_owned()),
                host: "mx.example.org".to_owned(),
                text: "not \x1b[31mnow\r\nlater".to_owned(),
            }),
            ..row()
        };
        let line = row_line(&held, 4600);
        assert!(line.contains(" held  "), "{line}");
        let end = "<> -> a@example.org [held by rule 7] [report] [transport relay] [requiretls no]\n    450 4.2.1 not  \
                   [31mnow  later (mx.example.org)";
        assert!(line.ends_with(end), "{line}");
    }
}
