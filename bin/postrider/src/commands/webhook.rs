//! `postrider webhook`: calls of webhooks that wait, and what became of others.
//!
//! The JSON is documented in `docs/cli-json.md`.

use anyhow::{Result, bail};
use postrider_core::control::protocol::{
    Answer, Request, RetiredWebhookRow, WebhookChange, WebhookDetails, WebhookFilter, WebhookResult,
    WebhookRow,
};

use super::control::{call, unexpected};
use super::locate::Server;
use super::queue::show::clean;
use super::queue::times::{local, now, short, when};
use super::queue::{one_is_said, pages};
use super::show::Line;
use crate::arguments::{WebhookCommand, WebhookList, WebhookRetired};
use crate::terminal;

/// What the columns of a list are.
const HEADER: &str = "ID                   AGE     TRIES  NEXT         EVENT        ACCOUNT -> URL";

/// The same of calls that ended.
const RETIRED_HEADER: &str =
    "ID                   ENDED                OUTCOME     TRIES  EVENT        ACCOUNT -> URL";

/// `postrider webhook`
pub fn webhook(server: &Server, command: WebhookCommand) -> Result<()> {
    match command {
        WebhookCommand::List(arguments) => list(server, arguments),
        WebhookCommand::Retired(arguments) => retired(server, arguments),
        WebhookCommand::Show(arguments) => {
            let answer = call(server, &Request::WebhookShow { id: arguments.id })?;
            let Answer::Webhook(details) = answer else { return Err(unexpected()) };
            show(&details, arguments.json)
        }
        WebhookCommand::Retry(arguments) => {
            change(server, arguments.filter(), arguments.all, WebhookChange::Retry, "due now")
        }
        WebhookCommand::Cancel(arguments) => {
            change(server, arguments.filter(), arguments.all, WebhookChange::Cancel, "canceled")
        }
        WebhookCommand::Test(arguments) => {
            let request = Request::WebhookTest { account: arguments.account, incoming: arguments.incoming };
            let Answer::WebhookTested(result) = call(server, &request)? else { return Err(unexpected()) };
            let line = if arguments.json { serde_json::to_string(&result)? } else { self::result(&result) };
            terminal::print(&line);
            if result.status == Some(200) {
                Ok(())
            } else {
                bail!("the call was not taken: only status 200 says so")
            }
        }
    }
}

fn list(server: &Server, arguments: WebhookList) -> Result<()> {
    let filter = arguments.filter();
    let WebhookList { json, limit, cursor, .. } = arguments;
    pages::<WebhookRow>(server, (json, HEADER), limit, cursor, |cursor, limit| Request::WebhookList {
        filter: Box::new(filter.clone()),
        cursor,
        limit: Some(limit),
    })
}

fn retired(server: &Server, arguments: WebhookRetired) -> Result<()> {
    let filter = arguments.filter();
    let WebhookRetired { json, limit, cursor, .. } = arguments;
    pages::<RetiredWebhookRow>(server, (json, RETIRED_HEADER), limit, cursor, |cursor, limit| {
        Request::WebhookRetired { filter: Box::new(filter.clone()), cursor, limit: Some(limit) }
    })
}

fn show(details: &WebhookDetails, json: bool) -> Result<()> {
    if json {
        terminal::print(&serde_json::to_string(details)?);
        return Ok(());
    }
    terminal::print(HEADER);
    terminal::print(&details.row.line());
    for result in &details.results {
        terminal::print(&format!("{}  {}", local(result.time), self::result(result)));
    }
    terminal::print(&clean_lines(&serde_json::to_string_pretty(&details.payload)?));
    Ok(())
}

fn change(
    server: &Server,
    filter: WebhookFilter,
    all: bool,
    change: WebhookChange,
    done: &str,
) -> Result<()> {
    one_is_said("calls", filter != WebhookFilter::default(), all)?;
    let request = Request::WebhookChange { filter: Box::new(filter), change };
    let Answer::WebhooksChanged { calls, busy } = call(server, &request)? else { return Err(unexpected()) };
    let verb = if calls == 1 { "call is" } else { "calls are" };
    terminal::say(&format!("{calls} {verb} {done}."));
    if busy > 0 {
        let verb = if busy == 1 { "call is" } else { "calls are" };
        bail!("{busy} {verb} being made just now. Try again when that is over");
    }
    Ok(())
}

impl Line for WebhookRow {
    fn line(&self) -> String {
        let now = now();
        let age = short(now.saturating_sub(self.created).max(0).unsigned_abs());
        let next = if self.next_attempt <= now { "due".to_owned() } else { when(self.next_attempt, now) };
        let mut line = format!(
            "{:<20} {age:<7} {:<6} {next:<12} {:<12} {} -> {}",
            self.id,
            self.attempts,
            self.event,
            self.account,
            clean(&self.url)
        );
        if let Some(last) = &self.last {
            line += &format!("\n    {}", result(last));
        }
        line
    }
}

impl Line for RetiredWebhookRow {
    fn line(&self) -> String {
        let mut line = format!(
            "{:<20} {}  {:<10}  {:<5}  {:<12} {} -> {}",
            self.id,
            local(self.ended),
            self.outcome,
            self.attempts,
            self.event,
            self.account,
            clean(&self.url)
        );
        match (&self.superseded_by, &self.last) {
            (Some(by), _) => line += &format!("\n    superseded by {by}"),
            (None, Some(last)) => line += &format!("\n    {}", result(last)),
            (None, None) => {}
        }
        line
    }
}

fn result(result: &WebhookResult) -> String {
    let status = result.status.map_or_else(|| "no response".to_owned(), |status| format!("status {status}"));
    let mut text = format!("{status} after {} ms", result.milliseconds);
    for part in [&result.error, &result.response] {
        if !part.is_empty() {
            text += &format!(": {}", clean(part));
        }
    }
    text
}

fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}
