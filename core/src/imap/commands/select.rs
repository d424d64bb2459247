//! SELECT and EXAMINE (RFC 9051 §6.3.2, RFC 3501 §6.3.1, RFC 7162 §3.1.2 and §3.2.5, RFC 8474 §4.2).

mod moment;

use std::collections::BTreeMap;

use postrider_proto::imap::command::{Access, Select};
use postrider_proto::imap::response::Code;
use postrider_proto::imap::rights::Rights;
use postrider_proto::imap::types::Uid;
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::ids::MailboxId;
use postrider_storage::store::StoreError;

pub use moment::{Ask, Moment};

use super::qresync;
use crate::imap::answers;
use crate::imap::contexts::Contexts;
use crate::imap::places::{self, Deed, Found, Place};
use crate::imap::selected::{Pushed, Selected};
use crate::imap::session::{AccountContext, Completion, CompletionCode, Enabled, Ended};
use crate::imap::sync::ACCOUNT_BROKEN;

/// SELECT or EXAMINE of a mailbox of the account that the session is at; none is selected.
pub(in crate::imap) async fn select(
    context: &mut AccountContext<'_>,
    command: Select,
    place: Place,
) -> Result<Completion, Ended> {
    let found = places::enter(&context.member.account.state(), context.asker(), &place.name, Deed::Read);
    let Found { mailbox, rights, .. } = match found {
        Ok(found) => found,
        Err(refused) => return Ok(refused),
    };
    context.member.account.reads().calm().await;
    let asked = ask(&context.member.enabled, &command, rights, &place);
    let moment = match moment(context, mailbox, &asked) {
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
    moment.write(&mut context.out.buffer, &ask(&context.member.enabled, &command, rights, &place));
    let Moment { mailbox, row, view, head, news, .. } = moment;
    let member = &mut *context.member;
    member.selected = Some(Selected {
        mailbox,
        access: command.access,
        rights,
        view,
        uid_last: Uid::new(row.uid_next.get() - 1),
        seen: head,
        ahead: head,
        withheld: None,
        lowered: false,
        deferred: BTreeMap::new(),
        keywords_told: row.keywords,
        pushed: Pushed::default(),
        saved: UidSet::new(),
        contexts: Contexts::default(),
    });
    if let Some(news) = news {
        qresync::tell(context, news).await?;
    }
    let (code, text) = match command.access {
        Access::ReadWrite if rights.intersects(Rights::CHANGING) => (Code::ReadWrite, "selected"),
        Access::ReadWrite => (Code::ReadOnly, "selected; nothing can be changed"),
        Access::ReadOnly => (Code::ReadOnly, "selected, read-only"),
    };
    Ok(Completion::ok(text).with(CompletionCode::Plain(code)))
}

/// Reads the mailbox at this moment.
fn moment(context: &AccountContext<'_>, mailbox: MailboxId, ask: &Ask<'_>) -> Result<Moment, StoreError> {
    let account = &context.member.account;
    Moment::read(&account.reader(), (account.id(), mailbox), account.incarnation(), ask)
}

fn ask<'a>(enabled: &Enabled, command: &'a Select, rights: Rights, place: &'a Place) -> Ask<'a> {
    Ask {
        access: command.access,
        rights,
        qresync: command.qresync.as_ref(),
        rev2: enabled.rev2,
        numbering: enabled.numbering(),
        utf8: enabled.utf8,
        prefix: place.prefix(),
        written: &command.mailbox.written,
    }
}

/// What the client wrote, when that isn't the mailbox's name (RFC 9051 §6.3.9.7).
pub(super) fn old_name<'a>(written: &'a str, name: &str) -> Option<&'a str> {
    let written = written.strip_suffix('/').unwrap_or(written);
    // INBOX in any case is the inbox's name, not another one.
    (written != name && !written.eq_ignore_ascii_case(name)).then_some(written)
}
