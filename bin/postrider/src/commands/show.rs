//! How answers and streamed rows are shown.

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use postrider_core::control::Events;
use postrider_core::control::protocol::{
    AccountRow, AddressRow, AliasRow, DomainRow, ListenerStatus, MailboxRow, Progress, Status, StoreStatus,
    TlsKeyRow,
};
use serde::de::DeserializeOwned;

use crate::terminal;

/// A row as a line of text.
pub trait Line: DeserializeOwned {
    /// The line.
    fn line(&self) -> String;
}

impl Line for AccountRow {
    fn line(&self) -> String {
        let quota = self.quota.map_or_else(|| "unlimited".to_owned(), terminal::octets);
        let disabled = if self.disabled { "\tdisabled" } else { "" };
        format!("{}\t{} of {quota}{disabled}", self.account, terminal::octets(self.used))
    }
}

impl Line for TlsKeyRow {
    fn line(&self) -> String {
        format!("{}\t{}", self.fingerprint, self.name)
    }
}

impl Line for AddressRow {
    fn line(&self) -> String {
        let rules = match self.rules {
            0 => String::new(),
            1 => "\t1 rule".to_owned(),
            rules => format!("\t{rules} rules"),
        };
        let required = if self.auth_required.is_some() { "\tauthenticated mail only" } else { "" };
        let reports = match &*self.reports {
            [] => String::new(),
            kinds => format!("\treads reports of {}", kinds.join(" and ")),
        };
        format!("{}\t{}{rules}{required}{reports}", self.address, self.account)
    }
}

impl Line for DomainRow {
    fn line(&self) -> String {
        if self.disabled { format!("{}\tdisabled", self.domain) } else { self.domain.clone() }
    }
}

impl Line for AliasRow {
    fn line(&self) -> String {
        format!("{}\t{}", self.alias, self.members.join(" "))
    }
}

impl Line for MailboxRow {
    fn line(&self) -> String {
        let octets = terminal::octets(self.octets);
        format!("  {}\t{} messages, {} unseen, {octets}", self.mailbox, self.messages, self.unseen)
    }
}

/// Shows streamed rows as they come.
pub struct Rows<L> {
    json: bool,
    partial: Vec<u8>,
    count: u32,
    out: Box<dyn FnMut(&str)>,
    row: PhantomData<L>,
}

impl<L: Line> Rows<L> {
    /// Shows rows as text, or as the JSON that they come in.
    pub fn new(json: bool) -> Self {
        Self { json, partial: Vec::new(), count: 0, out: Box::new(terminal::print), row: PhantomData }
    }

    /// How many rows came.
    pub fn count(&self) -> u32 {
        self.count
    }
}

impl<L: Line> Events for Rows<L> {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A chunk can end within a row.
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|octet| *octet == b'\n') {
            let rest = self.partial.split_off(end + 1);
            let mut line = std::mem::replace(&mut self.partial, rest);
            line.truncate(end);
            self.count = self.count.saturating_add(1);
            if self.json {
                (self.out)(&String::from_utf8_lossy(&line));
            } else {
                let row: L = serde_json::from_slice(&line).map_err(of_another_version)?;
                (self.out)(&row.line());
            }
        }
        Ok(())
    }
}

/// Rows get fields with time, and a server goes on running when another version is installed.
fn of_another_version(error: serde_json::Error) -> io::Error {
    io::Error::other(format!(
        "the server tells what this command doesn't understand ({error}). Are both the same version? Restart the server after an \
         upgrade"
    ))
}

/// Writes streamed data as it is.
pub struct Raw;

impl Events for Raw {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        terminal::write_out(bytes);
        Ok(())
    }
}

/// Shows how far a long request is, on a terminal.
pub struct Bar {
    bar: ProgressBar,
    /// What is counted.
    unit: &'static str,
}

impl Bar {
    /// A bar at nothing, that counts messages.
    pub fn new() -> Self {
        Self::of("messages")
    }

    /// A bar at nothing.
    pub fn of(unit: &'static str) -> Self {
        // Hidden by itself where standard error isn't a terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, unit }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Events for Bar {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bar.suspend(|| terminal::write_out(bytes));
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) {
        if let Some(total) = progress.total {
            self.bar.set_length(total);
        }
        // The templates are right; a test says so.
        if let Ok(style) = ProgressStyle::with_template(&template(self.unit, progress.total)) {
            self.bar.set_style(style);
        }
        if progress.done < self.bar.position() {
            // It begins to count other work, which has another speed.
            self.bar.reset_eta();
        }
        self.bar.set_message(progress.what.clone().unwrap_or_default());
        self.bar.set_position(progress.done);
    }
}

fn template(unit: &str, total: Option<u64>) -> String {
    match total {
        Some(_) => format!("{{bar:30}} {{pos}} of {{len}} {unit}, {{per_sec}}, {{eta}} left {{wide_msg}}"),
        None => format!("{{spinner}} {{pos}} {unit}, {{per_sec}} {{wide_msg}}"),
    }
}

/// The lines that show how the server is.
pub fn status(status: &Status) -> Vec<String> {
    let mut lines = vec![
        format!(
            "Postrider {}, process {}, up for {}",
            status.version,
            status.pid,
            duration(status.uptime_seconds)
        ),
        format!(
            "{} connections on {} shards, {} messages queued",
            status.connections, status.shards, status.queued
        ),
    ];
    match &status.store {
        StoreStatus::Writable => lines.push("The store takes writes.".to_owned()),
        StoreStatus::Stopped { reason } => lines.push(format!("The store takes no writes: {reason}.")),
    }
    let listener = |listener: &ListenerStatus| {
        format!("  {} ({}) on {}", listener.name, listener.protocol, listener.address)
    };
    lines.extend(status.listeners.iter().map(listener));
    lines
}

fn duration(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    fn shown(json: bool, chunks: &[&str]) -> Vec<String> {
        let lines = Rc::new(RefCell::new(Vec::new()));
        let mut rows = Rows::<DomainRow>::new(json);
        let sink = Rc::clone(&lines);
        rows.out = Box::new(move |line| sink.borrow_mut().push(line.to_owned()));
        for chunk in chunks {
            rows.data(chunk.as_bytes()).unwrap();
        }
        lines.take()
    }

    #[test]
    fn addresses_are_shown_with_what_is_set() {
        let row = |rules, auth_required: Option<&str>, reports: &[&str]| AddressRow {
            address: "a@x.example".to_owned(),
            account: "anna".to_owned(),
            mailbox: "Inbox".to_owned(),
            rules,
            auth_required: auth_required.map(str::to_owned),
            reports: reports.iter().map(|&kind| kind.to_owned()).collect(),
        };
        let rows = [row(0, None, &[]), row(1, None, &["dmarc", "tls"]), row(2, Some("sign"), &[])];
        let expected = ["", "\t1 rule\treads reports of dmarc and tls", "\t2 rules\tauthenticated mail only"];
        let lines = rows.map(|row| row.line());
        assert_eq!(lines, expected.map(|rest| format!("a@x.example\tanna{rest}")));
    }

    #[test]
    fn rows_of_another_version_are_said_to_be_that() {
        let mut rows = Rows::<DomainRow>::new(false);
        let error = rows.data(b"{\"domain\":\"a.example\"}\n").unwrap_err().to_string();
        assert!(
            error.contains("disabled") && error.contains("Restart the server after an upgrade"),
            "{error}"
        );
    }

    #[test]
    fn rows_may_be_split_over_chunks() {
        let text =
            "{\"domain\":\"a.example\",\"disabled\":false}\n{\"domain\":\"b.example\",\"disabled\":true}\n";
        for cut in 0..=text.len() {
            let (first, second) = text.split_at(cut);
            assert_eq!(shown(false, &[first, second]), ["a.example", "b.example\tdisabled"], "cut at {cut}");
        }
        assert_eq!(shown(true, &[text]).join("\n") + "\n", text);
    }

    #[test]
    fn the_templates_of_the_bar_are_right() {
        for total in [None, Some(10)] {
            let mut bar = Bar { bar: ProgressBar::hidden(), unit: "entries" };
            for done in [3, 5, 1] {
                bar.progress(&Progress { done, total, what: Some("Inbox".to_owned()) });
                assert_eq!((bar.bar.position(), bar.bar.length()), (done, total));
            }
            ProgressStyle::with_template(&template("entries", total)).unwrap();
        }
    }

    #[test]
    fn times_are_short() {
        assert_eq!([59, 61, 3720, 90_000].map(duration), ["59 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]);
    }
}
