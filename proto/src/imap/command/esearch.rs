//! ESEARCH: one search in several mailboxes (RFC 7377).

use super::cursor::{Cursor, Parsed};
use super::search::{Search, SearchReturn};
use super::{Fault, MailboxArgument};
use crate::imap::sequence::Numbering;

/// ESEARCH (RFC 7377 §2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Esearch {
    /// Where is searched: in the selected mailbox when nothing was said.
    pub sources: Vec<Source>,
    /// What is looked for, and what is told of it: uids, with RETURN options. Without any it is ALL.
    pub search: Search,
}

/// Mailboxes that are searched (RFC 7377 §2.2, RFC 5465 §6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// SELECTED
    Selected,
    /// INBOXES: those to which mail may be delivered.
    Inboxes,
    /// PERSONAL: the user's own.
    Personal,
    /// SUBSCRIBED
    Subscribed,
    /// SUBTREE: these and all below them.
    Subtree(Vec<MailboxArgument>),
    /// SUBTREE-ONE: these and those directly below them.
    SubtreeOne(Vec<MailboxArgument>),
    /// MAILBOXES: these.
    Mailboxes(Vec<MailboxArgument>),
}

impl Esearch {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut ahead = cursor.clone();
        ahead.space()?;
        let sources = if ahead.take_text("IN (") {
            *cursor = ahead;
            sources(cursor)?
        } else {
            vec![Source::Selected]
        };
        let mut search = Search::parse(cursor, Numbering::Uid)?;
        search.returns.get_or_insert(SearchReturn::ALL);
        let alone = sources.iter().all(|source| *source == Source::Selected);
        if !alone && search.returns.is_some_and(|returns| returns.save) {
            return Err(Fault::Syntax("SAVE is for the selected mailbox only"));
        }
        Ok(Self { sources, search })
    }
}

/// Takes `source-mbox [SP (scope-options)])`, after the parenthesis. No scope option is defined.
fn sources(cursor: &mut Cursor<'_>) -> Parsed<Vec<Source>> {
    let mut sources = Vec::new();
    let mut names = 0;
    cursor.list(|cursor| {
        if sources.len() == cursor.context().limits.search_sources_max {
            return Err(Fault::Limit("too many sources"));
        }
        if !sources.is_empty() && cursor.peek() == Some(b'(') {
            return Err(Fault::Syntax("unknown scope option"));
        }
        sources.push(match cursor.label()?.as_str() {
            "SELECTED" => Source::Selected,
            "INBOXES" => Source::Inboxes,
            "PERSONAL" => Source::Personal,
            "SUBSCRIBED" => Source::Subscribed,
            "SUBTREE" => Source::Subtree(mailboxes(cursor, &mut names)?),
            "SUBTREE-ONE" => Source::SubtreeOne(mailboxes(cursor, &mut names)?),
            "MAILBOXES" => Source::Mailboxes(mailboxes(cursor, &mut names)?),
            _ => return Err(Fault::Syntax("unknown source of a search")),
        });
        Ok(())
    })?;
    Ok(sources)
}

/// Takes a mailbox, or several in parentheses.
fn mailboxes(cursor: &mut Cursor<'_>, names: &mut usize) -> Parsed<Vec<MailboxArgument>> {
    cursor.space()?;
    let mut mailboxes = Vec::new();
    let mut take = |cursor: &mut Cursor<'_>| {
        if *names == cursor.context().limits.search_mailboxes_max {
            return Err(Fault::Limit("too many mailboxes"));
        }
        *names += 1;
        mailboxes.push(MailboxArgument::parse(cursor)?);
        Ok(())
    };
    if cursor.take(b'(') {
        cursor.list(take)?;
    } else {
        take(cursor)?;
    }
    Ok(mailboxes)
}
