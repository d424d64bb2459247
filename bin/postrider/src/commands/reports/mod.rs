//! `postrider reports`: what other servers report about the domains of this one.
//!
//! The JSON is documented in `docs/cli-json.md`.

mod sent;
mod words;

use anyhow::{Result, bail};
use postrider_core::control::protocol::{Answer, ReportEntry, ReportFilter, ReportKind, ReportRow, Request};

use super::control::{Collected, call, unexpected};
use super::locate::Server;
use super::queue::pages;
use super::queue::times::{Direction, moment, now};
use super::show::Bar;
use crate::arguments::{ReportsCommand, ReportsList, ReportsShow, ReportsSummary};
use crate::terminal;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// `postrider reports`
pub fn reports(server: &Server, command: ReportsCommand) -> Result<()> {
    match command {
        ReportsCommand::Summary(arguments) => summary(server, arguments),
        ReportsCommand::List(arguments) => list(server, &arguments),
        ReportsCommand::Show(arguments) => show(server, arguments),
        ReportsCommand::Results(arguments) => sent::results(server, &arguments),
        ReportsCommand::Suppress(arguments) => sent::suppress(server, arguments.command),
        ReportsCommand::Dump(arguments) => {
            call(server, &Request::ReportDump { id: arguments.id })?;
            Ok(())
        }
    }
}

fn summary(server: &Server, arguments: ReportsSummary) -> Result<()> {
    let since = now().saturating_sub(i64::from(arguments.days).saturating_mul(DAY_SECONDS));
    let request = Request::ReportSummary { domain: arguments.domain, since, until: None };
    let mut bar = Bar::of("reports");
    let answer = server.connect()?.call(&request, None, &mut bar);
    bar.finish();
    let Answer::ReportSummary(summary) = answer? else { return Err(unexpected()) };
    if arguments.json {
        terminal::print(&serde_json::to_string(&summary)?);
    } else {
        words::summary(&summary, arguments.days).iter().for_each(|line| terminal::print(line));
    }
    Ok(())
}

fn list(server: &Server, arguments: &ReportsList) -> Result<()> {
    let kind = match arguments.kind.as_deref() {
        None => None,
        Some("dmarc") => Some(ReportKind::Dmarc),
        Some("tls") => Some(ReportKind::Tls),
        Some(other) => bail!("{other:?} is no kind of reports. Write dmarc or tls"),
    };
    let now = now();
    let filter = ReportFilter {
        domain: arguments.domain.clone(),
        kind,
        since: Some(moment(&arguments.since, now, Direction::Ago)?),
        // What comes in this second is meant, too.
        until: Some(moment(&arguments.until, now, Direction::Ago)?.saturating_add(1)),
    };
    let shown = (arguments.json, words::HEADER);
    pages::<ReportRow>(server, shown, arguments.limit, arguments.cursor.clone(), |cursor, limit| {
        Request::ReportList { filter: filter.clone(), cursor, limit: Some(limit) }
    })
}

fn show(server: &Server, arguments: ReportsShow) -> Result<()> {
    let mut entries = Collected::default();
    let answer = server.connect()?.call(&Request::ReportShow { id: arguments.id }, None, &mut entries)?;
    let Answer::Report(report) = answer else { return Err(unexpected()) };
    if arguments.json {
        terminal::print(&serde_json::to_string(&report)?);
    } else {
        words::report(&report).iter().for_each(|line| terminal::print(line));
    }
    entries.show::<ReportEntry>(arguments.json)?;
    Ok(())
}
