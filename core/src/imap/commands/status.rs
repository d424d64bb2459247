//! STATUS (RFC 9051 §6.3.11, RFC 8438, RFC 7889, RFC 7162 §3.1.7, RFC 8474 §4.3, RFC 9208 §4.1.4), from
//! counters only.

use postrider_proto::imap::command::{Status, StatusItem, StatusItems, Utf8};
use postrider_proto::imap::objectid::ObjectId;
use postrider_proto::imap::response::{StatusValue, write_status};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::rows::MailboxRow;

use crate::imap::places::{self, Deed, Found};
use crate::imap::session::{AccountContext, Completion, Ended};

/// STATUS.
pub(in crate::imap) async fn status(
    context: &mut AccountContext<'_>,
    command: Status,
) -> Result<Completion, Ended> {
    let asker = context.asker();
    let found = async {
        let place = places::find(context.shard, asker, &command.mailbox).await?;
        let found = places::visit(context.shard, asker, &place, Deed::Read).await?;
        Ok((place.told(&found.row.name), found))
    };
    Ok(match found.await {
        Ok((name, found)) => {
            tell_status(context, &name, &found, command.items);
            Completion::ok("done")
        }
        Err(refused) => refused,
    })
}

/// Appends STATUS of a mailbox. Asking for HIGHESTMODSEQ enables CONDSTORE (RFC 7162 §3.1).
pub(super) fn tell_status(context: &mut AccountContext<'_>, name: &str, found: &Found, items: StatusItems) {
    if items.contains(StatusItem::HighestModSeq) {
        context.enable_condstore();
    }
    let place = (found.account, found.mailbox);
    let (out, utf8) = (&mut context.out.buffer, context.member.enabled.utf8);
    write_row(out, utf8, name, place, &found.row, items, context.append_octets_max);
}

/// Appends STATUS of a mailbox that the user knows by `name`.
pub(in crate::imap) fn write_row(
    out: &mut Vec<u8>,
    utf8: Utf8,
    name: &str,
    (account, mailbox): (AccountId, MailboxId),
    row: &MailboxRow,
    items: StatusItems,
    append_octets_max: u64,
) {
    let id = ObjectId::mailbox(account.0, mailbox.0);
    let values = items.iter().map(|item| {
        let number = match item {
            StatusItem::Messages => row.exists.into(),
            StatusItem::Recent => 0,
            StatusItem::UidNext => row.uid_next.get().into(),
            StatusItem::UidValidity => row.uid_validity.0.get().into(),
            StatusItem::Unseen => row.unseen.into(),
            StatusItem::Deleted => row.deleted.into(),
            StatusItem::Size => row.size,
            StatusItem::HighestModSeq => row.modseq.get(),
            StatusItem::DeletedStorage => row.deleted_size,
            StatusItem::AppendLimit => append_octets_max,
            StatusItem::MailboxId => return (item, StatusValue::Id(id)),
        };
        (item, StatusValue::Number(number))
    });
    write_status(out, utf8, name, values);
}
