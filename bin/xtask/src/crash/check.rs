//! What the server shows after a restart, read over IMAP.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};

use super::client::{Imap, Response};
use super::load::{expand, is_delivered, numbers};
use super::message::Token;
use super::model::{Flags, MAILBOXES, Model, Seen, View};
use super::random::Random;

/// Messages whose content is asked for at once.
const TOGETHER: usize = 100;
/// Of a hundred messages that nobody touched, so many are read as well.
const UNTOUCHED_PERCENT: u64 = 5;
/// Octets that delivery may put before a message.
const TRACE_OCTETS_MAX: usize = 4096;

/// Makes the mailboxes that are missing.
pub fn make_mailboxes() -> Result<()> {
    let mut imap = Imap::login()?;
    for name in MAILBOXES {
        if !imap.command(&format!("STATUS {name} (UIDNEXT)"))?.is_ok() {
            imap.done(&format!("CREATE {name}"))?;
        }
    }
    Ok(())
}

/// Reads all messages of a mailbox. None is there twice, and each is as it was sent.
pub fn contents(mailbox: &str) -> Result<BTreeSet<Token>> {
    let mut imap = Imap::login()?;
    imap.done(&format!("EXAMINE {mailbox}"))?;
    let answer = imap.done("UID FETCH 1:* (UID BODY.PEEK[])")?;
    let mut found = BTreeSet::new();
    for response in answer.untagged.iter().filter(|response| response.is_fetch()) {
        let content = response.literals.first().context("a message without content")?;
        let token = Token::find(content).context("no message of this run")?;
        ensure!(is_as_sent(token, content), "{token:?} has other content");
        ensure!(found.insert(token), "{token:?} is there twice");
    }
    Ok(found)
}

/// Whether the content is what was sent, behind the trace fields if it was delivered.
fn is_as_sent(token: Token, content: &[u8]) -> bool {
    let sent = token.content();
    let before = content.len().saturating_sub(sent.len());
    let before_max = if is_delivered(token.client()) { TRACE_OCTETS_MAX } else { 0 };
    before <= before_max && content.ends_with(&sent)
}

/// Reads everything and compares it with the model.
pub fn check(model: &mut Model, random: &mut Random) -> Result<()> {
    let mut imap = Imap::login()?;
    imap.done("ENABLE QRESYNC")?;
    let mut views = Vec::new();
    for mailbox in 0..MAILBOXES.len() {
        let view = view(&mut imap, model, mailbox)?;
        let wanted: Vec<&Seen> = view
            .messages
            .iter()
            .filter(|seen| model.is_touched(seen.token) || random.percent(UNTOUCHED_PERCENT))
            .collect();
        for some in wanted.chunks(TOGETHER) {
            model.problems.extend(compare_contents(&mut imap, mailbox, some)?);
        }
        views.push(view);
    }
    model.compare(&views);
    Ok(())
}

fn view(imap: &mut Imap, model: &Model, mailbox: usize) -> Result<View> {
    let (name, before) = (MAILBOXES[mailbox], model.checked_numbers(mailbox));
    let parameter = match before.validity {
        0 => "CONDSTORE".to_owned(),
        validity => format!("QRESYNC ({validity} {})", before.highest),
    };
    let answer = imap.done(&format!("SELECT {name} ({parameter})"))?;
    let vanished = match before.validity {
        0 => None,
        _ => Some(vanished(&answer.untagged)?),
    };
    let mut view = View { numbers: numbers(&answer), messages: Vec::new(), vanished };
    let exists = answer.untagged.iter().find_map(|response| response.text.strip_suffix(" EXISTS"));
    let exists: usize = exists.and_then(|text| text.strip_prefix("* ")).context("no EXISTS")?.parse()?;
    if exists > 0 {
        let items = "UID FLAGS MODSEQ RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]";
        let answer = imap.done(&format!("UID FETCH 1:* ({items})"))?;
        for response in answer.untagged.iter().filter(|response| response.is_fetch()) {
            view.messages.push(seen(response).with_context(|| format!("{name}: {}", response.text))?);
        }
    }
    ensure!(
        view.messages.len() == exists,
        "{name}: EXISTS is {exists}, and {} were there",
        view.messages.len()
    );
    Ok(view)
}

fn vanished(untagged: &[Response]) -> Result<BTreeSet<u32>> {
    let mut uids = BTreeSet::new();
    for set in untagged.iter().filter_map(|response| response.text.strip_prefix("* VANISHED (EARLIER) ")) {
        uids.extend(expand(set)?);
    }
    Ok(uids)
}

fn seen(response: &Response) -> Result<Seen> {
    let flags = response.text.split_once("FLAGS (").and_then(|(_, rest)| rest.split_once(')'));
    let flags = flags.context("no FLAGS")?.0;
    let Ok(flags) = Flags::parse(flags) else { bail!("a flag that nobody set: {flags}") };
    let header = response.literals.first().map_or(response.text.as_bytes(), Vec::as_slice);
    Ok(Seen {
        token: Token::find(header).context("no message of this run")?,
        uid: u32::try_from(response.number("UID ").context("no UID")?)?,
        flags,
        modseq: response.number("MODSEQ").context("no MODSEQ")?,
    })
}

fn compare_contents(imap: &mut Imap, mailbox: usize, messages: &[&Seen]) -> Result<Vec<String>> {
    let uids: Vec<String> = messages.iter().map(|seen| seen.uid.to_string()).collect();
    let answer = imap.done(&format!("UID FETCH {} (UID RFC822.SIZE BODY.PEEK[])", uids.join(",")))?;
    let fetched: Vec<&Response> = answer.untagged.iter().filter(|response| response.is_fetch()).collect();
    let mut problems = Vec::new();
    for seen in messages {
        let response = fetched.iter().find(|response| response.number("UID ") == Some(u64::from(seen.uid)));
        let (Some(response), name) = (response, MAILBOXES[mailbox]) else {
            problems.push(format!("{}: no content of uid {}", MAILBOXES[mailbox], seen.uid));
            continue;
        };
        let content = response.literals.first().map_or(&[][..], Vec::as_slice);
        if !is_as_sent(seen.token, content) {
            let (is, was) = (content.len(), seen.token.content().len());
            problems
                .push(format!("{name}: uid {} has other content: {is} octets, {was} were sent", seen.uid));
        }
        if response.number("RFC822.SIZE") != Some(content.len() as u64) {
            problems.push(format!(
                "{name}: uid {} has {} octets: {}",
                seen.uid,
                content.len(),
                response.text
            ));
        }
    }
    Ok(problems)
}
