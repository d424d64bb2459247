//! SELECT and EXAMINE (RFC 9051 §6.3.2, RFC 3501 §6.3.1, RFC 7162 §3.1.2 and §3.2.5).

use std::collections::BTreeMap;

use postrider_proto::imap::command::{Access, Select};
use postrider_proto::imap::response::{
    Code, Condition, ListAttributes, ListRow, write_exists, write_flags, write_list, write_recent,
};
use postrider_proto::imap::types::{Flags, Keyword, ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::ids::MailboxId;
use postrider_storage::rows::MailboxRow;
use postrider_storage::store::{Refusal, StoreError};

use super::qresync;
use crate::imap::answers;
use crate::imap::contexts::Contexts;
use crate::imap::selected::Selected;
use crate::imap::session::{AccountContext, Completion, CompletionCode, Ended};
use crate::imap::sync::{ACCOUNT_BROKEN, ALL_FLAGS};
use crate::imap::views;

/// A mailbox at one moment.
struct Moment {
    mailbox: MailboxId,
    row: MailboxRow,
    view: UidSet,
    /// The account's modification sequence.
    head: ModSeq,
    keywords: Vec<Keyword>,
    first_unseen: Option<u32>,
    news: Option<qresync::News>,
}

/// SELECT or EXAMINE. A mailbox that was selected before is left in any case (RFC 9051 §6.3.2).
pub(in crate::imap) async fn select(
    context: &mut AccountContext<'_>,
    command: Select,
) -> Result<Completion, Ended> {
    if command.qresync.is_some() && !context.member.enabled.qresync {
        return Ok(Completion::bad("QRESYNC has to be enabled first"));
    }
    if context.member.deselect() {
        context.out.untagged(Condition::Ok, Some(&Code::Closed), "the mailbox selected before is closed");
    }
    if command.condstore {
        context.member.enabled.condstore = true;
    }
    let moment = match moment(context, &command) {
        Ok(moment) => moment,
        Err(error) => return Ok(answers::store_failed(&error, context.id)),
    };
    let member = &*context.member;
    member.account.hold(&member.watcher, Some((moment.mailbox, moment.head)));
    // A commit may be on its way to the disk: nothing is told that a power loss could take back.
    member.account.installed(moment.head).await;
    if member.account.is_broken() {
        return Err(ACCOUNT_BROKEN);
    }
    tell(context, &command, &moment);
    let Moment { mailbox, row, view, head, news, .. } = moment;
    let member = &mut *context.member;
    member.selected = Some(Selected {
        mailbox,
        access: command.access,
        view,
        seen: head,
        ahead: head,
        lowered: false,
        deferred: BTreeMap::new(),
        keywords_told: row.keywords,
        saved: UidSet::new(),
        contexts: Contexts::default(),
    });
    if let Some(news) = news {
        qresync::tell(context, news).await?;
    }
    let (code, text) = match command.access {
        Access::ReadWrite => (Code::ReadWrite, "selected"),
        Access::ReadOnly => (Code::ReadOnly, "selected, read-only"),
    };
    Ok(Completion::ok(text).with(CompletionCode::Plain(code)))
}

/// Reads all of a mailbox that is told, from one snapshot.
fn moment(context: &AccountContext<'_>, command: &Select) -> Result<Moment, StoreError> {
    let account = &context.member.account;
    let missing = StoreError::from(Refusal::NoSuchMailbox);
    let name = command.mailbox.name.as_ref().ok();
    let mailbox = name.and_then(|name| account.state().mailbox_id(name));
    let Some(mailbox) = mailbox else { return Err(missing) };
    let reader = account.reader();
    let (row, head) = match (reader.mailbox(account.id(), mailbox)?, reader.head(account.id())?) {
        (Some(row), Some(head)) => (row, head.modseq),
        _ => return Err(missing),
    };
    let view = views::load(account, &reader, mailbox, &row, head)?;
    let mut keywords = Vec::with_capacity(row.keywords.len());
    for id in &row.keywords {
        keywords.extend(reader.keyword(account.id(), *id)?);
    }
    // IMAP4rev2 has no UNSEEN here.
    let first_unseen = if row.unseen > 0 && !context.member.enabled.rev2 {
        views::first_unseen(account, &reader, mailbox, &row, &view, head)?
    } else {
        None
    };
    let news = match &command.qresync {
        Some(known) if known.uid_validity == row.uid_validity => {
            Some(qresync::news(&reader, account.id(), mailbox, &row, &view, known)?)
        }
        _ => None,
    };
    Ok(Moment { mailbox, row, view, head, keywords, first_unseen, news })
}

/// Appends the untagged responses.
fn tell(context: &mut AccountContext<'_>, command: &Select, moment: &Moment) {
    let (enabled, out) = (&context.member.enabled, &mut *context.out);
    write_flags(&mut out.buffer, ALL_FLAGS, &moment.keywords);
    let permanent = match command.access {
        Access::ReadWrite => Code::PermanentFlags(ALL_FLAGS, &moment.keywords, true),
        Access::ReadOnly => Code::PermanentFlags(Flags::NONE, &[], false),
    };
    out.untagged(Condition::Ok, Some(&permanent), "flags that stay");
    write_exists(&mut out.buffer, moment.view.len());
    if !enabled.rev2 {
        write_recent(&mut out.buffer);
    }
    if let Some(first) = moment.first_unseen {
        out.untagged(Condition::Ok, Some(&Code::Unseen(first)), "first unseen message");
    }
    let row = &moment.row;
    out.untagged(Condition::Ok, Some(&Code::UidValidity(row.uid_validity)), "uids are valid");
    out.untagged(Condition::Ok, Some(&Code::UidNext(row.uid_next)), "the next uid");
    out.untagged(Condition::Ok, Some(&Code::HighestModSeq(row.modseq)), "the last change");
    if enabled.rev2 {
        let old_name = old_name(&command.mailbox.written, row.name.as_str());
        let list = ListRow {
            attributes: ListAttributes::NONE,
            name: row.name.as_str(),
            child_subscribed: false,
            child_special_use: false,
            old_name,
        };
        write_list(&mut out.buffer, enabled.utf8, &list);
    }
    debug_assert!(moment.view.last().is_none_or(|last: Uid| last < row.uid_next));
}

/// What the client wrote, when that isn't the mailbox's name (RFC 9051 §6.3.9.7).
pub(super) fn old_name<'a>(written: &'a str, name: &str) -> Option<&'a str> {
    let written = written.strip_suffix('/').unwrap_or(written);
    // INBOX in any case is the inbox's name, not another one.
    (written != name && !written.eq_ignore_ascii_case(name)).then_some(written)
}
