//! `postrider queue`: the messages that wait, and what operators decide on them.
//!
//! The JSON is documented in `docs/cli-json.md`.

pub(super) mod show;
pub(super) mod times;

use anyhow::{Result, bail};
use postrider_core::control::protocol::{
    Answer, HoldRule, HoldRuleRow, QUEUE_PAGE_MAX, QueueChange, QueueFilter, QueueListRow, QueueRecipientRow,
    Request, RetiredFilter, RetiredRow, SuppressionRow,
};

use super::control::{Collected, call, list, simple, unexpected};
use super::locate::Server;
use super::show::{Bar, Line, Rows};
use crate::arguments::{
    Filter, HoldRulesCommand, QueueCommand, QueueList, QueueRetired, QueueShow, SuppressionsCommand,
    SuppressionsList,
};
use crate::terminal;
use times::{Direction, moment, now};

/// `postrider queue`
pub fn queue(server: &Server, command: QueueCommand) -> Result<()> {
    match command {
        QueueCommand::List(arguments) => list_entries(server, &arguments),
        QueueCommand::Show(arguments) => show_entry(server, arguments),
        QueueCommand::Dump(arguments) => {
            call(server, &Request::QueueDump { id: arguments.id })?;
            Ok(())
        }
        QueueCommand::Hold(arguments) => {
            change(server, &arguments.filter(), arguments.all, QueueChange::Hold, "held")
        }
        QueueCommand::Release(arguments) => {
            change(server, &arguments.filter(), arguments.all, QueueChange::Release, "no longer held")
        }
        QueueCommand::Schedule(arguments) => {
            let at = moment(&arguments.at, now(), Direction::Ahead)?;
            let done = format!("due {}", times::when(at, now()));
            change(server, &arguments.filter(), arguments.all, QueueChange::Schedule { at }, &done)
        }
        QueueCommand::Transport(arguments) => {
            let name = (!arguments.set.is_empty()).then(|| arguments.set.clone());
            let done = match &name {
                Some(name) => format!("to be delivered by {name}"),
                None => "to be delivered by routes".to_owned(),
            };
            change(server, &arguments.filter(), arguments.all, QueueChange::Transport { name }, &done)
        }
        QueueCommand::Requiretls(arguments) => {
            let done = format!("set to REQUIRETLS {}", arguments.set.name());
            let wish = QueueChange::RequireTls { wish: arguments.set };
            change(server, &arguments.filter(), arguments.all, wish, &done)
        }
        QueueCommand::Fail(arguments) => {
            let fail = QueueChange::Fail { reason: arguments.reason.clone() };
            change(
                server,
                &arguments.filter(),
                arguments.all,
                fail,
                "given up, and the senders told who want to be",
            )
        }
        QueueCommand::Drop(arguments) => {
            change(server, &arguments.filter(), arguments.all, QueueChange::Drop, "dropped")
        }
        QueueCommand::HoldRules(arguments) => hold_rules(server, arguments.command),
        QueueCommand::Suppressions(arguments) => suppressions(server, arguments.command),
        QueueCommand::Retired(arguments) => list_retired(server, &arguments),
    }
}

/// What is meant, with times as they are now.
fn filter(written: &Filter, now: i64) -> Result<QueueFilter> {
    let at = |text: &Option<String>, direction| {
        text.as_deref().map(|text| moment(text, now, direction)).transpose()
    };
    Ok(QueueFilter {
        ids: written.ids.clone(),
        account: written.account.clone(),
        from: written.from.clone(),
        to: written.to.clone(),
        sender_domain: written.sender_domain.clone(),
        recipient_domain: written.recipient_domain.clone(),
        submitted_from: at(&written.submitted_after, Direction::Ago)?,
        submitted_before: at(&written.submitted_before, Direction::Ago)?,
        next_from: at(&written.next_after, Direction::Ahead)?,
        next_before: at(&written.next_before, Direction::Ahead)?,
        held: match (written.held, written.not_held) {
            (true, true) => bail!("nothing is held and not held. Write --held or --not-held"),
            (true, false) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        },
        transport: written.transport.clone(),
    })
}

/// Asks for pages until there are enough rows. The header, if there is one, is for people.
pub(super) fn pages<L: Line>(
    server: &Server,
    (json, header): (bool, &str),
    limit: u32,
    cursor: Option<String>,
    request: impl Fn(Option<String>, u32) -> Request,
) -> Result<()> {
    let mut rows = Rows::<L>::new(json);
    let (mut cursor, mut header) = (cursor, (!json && !header.is_empty()).then_some(header));
    loop {
        let left = limit.saturating_sub(rows.count());
        if left == 0 {
            break;
        }
        let request = request(cursor.take(), left.min(QUEUE_PAGE_MAX));
        let client = server.connect()?;
        if let Some(header) = header.take() {
            terminal::print(header);
        }
        let Answer::Page { next } = client.call(&request, None, &mut rows)? else { return Err(unexpected()) };
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    if let Some(cursor) = cursor {
        if json {
            terminal::print(&serde_json::json!({ "next": cursor }).to_string());
            return Ok(());
        }
        terminal::say(&format!("There may be more: take a greater --limit, or go on with --cursor {cursor}"));
    }
    Ok(())
}

fn list_entries(server: &Server, arguments: &QueueList) -> Result<()> {
    let filter = filter(&arguments.filter(), now())?;
    let descending = arguments.reverse;
    let shown = (arguments.json, show::HEADER);
    pages::<QueueListRow>(server, shown, arguments.limit, arguments.cursor.clone(), |cursor, limit| {
        Request::QueueList { filter: Box::new(filter.clone()), descending, cursor, limit: Some(limit) }
    })
}

fn list_retired(server: &Server, arguments: &QueueRetired) -> Result<()> {
    let shown = (arguments.json, show::RETIRED_HEADER);
    let filter = Box::new(RetiredFilter {
        entry: arguments.entry.clone(),
        account: arguments.account.clone(),
        from: arguments.from.clone(),
        to: arguments.to.clone(),
        outcome: arguments.outcome.clone(),
    });
    pages::<RetiredRow>(server, shown, arguments.limit, arguments.cursor.clone(), |cursor, limit| {
        Request::RetiredList { filter: filter.clone(), cursor, limit: Some(limit) }
    })
}

fn show_entry(server: &Server, arguments: QueueShow) -> Result<()> {
    let mut recipients = Collected::default();
    let answer = server.connect()?.call(&Request::QueueShow { id: arguments.id }, None, &mut recipients)?;
    let (json, lines) = match answer {
        Answer::QueueEntry(details) => (serde_json::to_string(&details)?, show::details(&details, now())),
        Answer::QueueDamaged(damaged) => (serde_json::to_string(&damaged)?, show::damaged_details(&damaged)),
        _ => return Err(unexpected()),
    };
    if arguments.json {
        terminal::print(&json);
    } else {
        lines.iter().for_each(|line| terminal::print(line));
    }
    recipients.show::<QueueRecipientRow>(arguments.json)?;
    Ok(())
}

/// Sees to it that a change says either which of them are meant or `--all`.
pub fn one_is_said(them: &str, says_which: bool, all: bool) -> Result<()> {
    match (says_which, all) {
        (false, false) => {
            bail!(
                "nothing says which {them} are meant. Name their ids, or what they have in common; or write --all"
            )
        }
        (true, true) => {
            bail!("--all is for all {them}. Leave it out, or everything else that says which are meant")
        }
        _ => Ok(()),
    }
}

fn change(server: &Server, written: &Filter, all: bool, change: QueueChange, done: &str) -> Result<()> {
    one_is_said("entries", *written != Filter::default(), all)?;
    let request = Request::QueueChange { filter: Box::new(filter(written, now())?), change };
    let mut bar = Bar::of("entries");
    let answer = server.connect()?.call(&request, None, &mut bar);
    bar.finish();
    let Answer::QueueChanged { entries, recipients, busy, missing, damaged, damaged_ids } = answer? else {
        return Err(unexpected());
    };
    let verb = if entries == 1 { "entry is" } else { "entries are" };
    let many = if recipients == 1 { "recipient" } else { "recipients" };
    terminal::say(&format!("{entries} {verb} {done} ({recipients} {many})."));
    let mut problems = Vec::new();
    if !missing.is_empty() {
        problems.push(format!("there is no entry {} in the queue", missing.join(", ")));
    }
    if busy > 0 {
        let verb = if busy == 1 { "entry is" } else { "entries are" };
        problems.push(format!(
            "{busy} {verb} just being delivered, and nothing was done to them. Try again later"
        ));
    }
    if damaged > 0 {
        problems.push(told_of_damaged(damaged, &damaged_ids));
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}

/// What is said of entries that were passed over since they are damaged, of which not all may be named.
fn told_of_damaged(count: u64, ids: &[String]) -> String {
    let verb = if count == 1 { "entry is" } else { "entries are" };
    let more = count.saturating_sub(ids.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "{count} {verb} damaged, and nothing was done to them: {}{more}. Only a backup of the store has them whole; postrider queue \
         drop with nothing but their ids removes them",
        ids.join(" ")
    )
}

fn hold_rules(server: &Server, command: HoldRulesCommand) -> Result<()> {
    match command {
        HoldRulesCommand::List(arguments) => {
            list::<HoldRuleRow>(server, &Request::HoldRuleList, arguments.json)
        }
        HoldRulesCommand::Add(arguments) => {
            let rule = HoldRule {
                account: arguments.account,
                sender_domain: arguments.sender_domain,
                recipient_domain: arguments.recipient_domain,
                comment: arguments.comment,
            };
            let says_nothing = HoldRule { comment: rule.comment.clone(), ..HoldRule::default() } == rule;
            if says_nothing != arguments.all {
                bail!("say what the rule is about, or write --all alone: then everything is held");
            }
            let mut bar = Bar::of("entries");
            let answer = server.connect()?.call(&Request::HoldRuleAdd { rule }, None, &mut bar);
            bar.finish();
            let Answer::HoldRule { id, held } = answer? else { return Err(unexpected()) };
            terminal::say(&format!("Hold rule {id} is there, and holds {held} entries that waited."));
            Ok(())
        }
        HoldRulesCommand::Rm(arguments) => {
            let done = format!("Hold rule {} is removed. What it holds stays held.", arguments.id);
            simple(server, &Request::HoldRuleRemove { id: arguments.id }, &done)
        }
    }
}

fn list_suppressions(server: &Server, arguments: &SuppressionsList) -> Result<()> {
    let shown = (arguments.json, "");
    pages::<SuppressionRow>(server, shown, arguments.limit, arguments.cursor.clone(), |cursor, limit| {
        Request::SuppressionList { account: arguments.account.clone(), cursor, limit: Some(limit) }
    })
}

fn suppressions(server: &Server, command: SuppressionsCommand) -> Result<()> {
    match command {
        SuppressionsCommand::List(arguments) => list_suppressions(server, &arguments),
        SuppressionsCommand::Lookup(arguments) => {
            let (account, address) = (arguments.account, arguments.address);
            let told = format!("Account {account} sends to {address}.");
            let mut rows = Rows::<SuppressionRow>::new(arguments.json);
            server.connect()?.call(&Request::SuppressionLookup { account, address }, None, &mut rows)?;
            if rows.count() == 0 {
                terminal::say(&told);
            }
            Ok(())
        }
        SuppressionsCommand::Add(arguments) => {
            let done = format!("Account {} no longer sends to {}.", arguments.account, arguments.address);
            let request = Request::SuppressionAdd {
                account: arguments.account,
                address: arguments.address,
                reason: arguments.reason,
            };
            simple(server, &request, &done)
        }
        SuppressionsCommand::Rm(arguments) => {
            let done = format!("Account {} sends to {} again.", arguments.account, arguments.address);
            let request =
                Request::SuppressionRemove { account: arguments.account, address: arguments.address };
            simple(server, &request, &done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_entries_are_named_as_far_as_they_are_known() {
        let one = told_of_damaged(1, &["7".to_owned()]);
        assert!(one.starts_with("1 entry is damaged, and nothing was done to them: 7. Only"), "{one}");
        let many = told_of_damaged(5, &["7".to_owned(), "9".to_owned()]);
        assert!(many.starts_with("5 entries are damaged") && many.contains(": 7 9 and 3 more. "), "{many}");
    }
}
