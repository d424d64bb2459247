//! What changed in a mailbox since a client saw it last (RFC 7162 §3.2.5).

use postrider_proto::imap::command::{Matched, Qresync};
use postrider_proto::imap::response::{Code, write_vanished};
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::types::{ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::account::Account;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::keys::Which;
use postrider_storage::reader::Reader;
use postrider_storage::rows::{MailboxRow, MessageRow};
use postrider_storage::store::StoreError;
use tracing::error;

use crate::imap::session::{AccountContext, Context, Ended};
use crate::imap::sync::{StatePart, read_rows, write_state_row};
use crate::runtime::yield_if_needed;

/// Messages whose rows are read from one snapshot.
const ROWS_PER_READER: usize = 256;

/// What a client has missed.
pub struct News {
    /// Uids that it knows and that are gone.
    vanished: UidSet,
    /// Messages that changed, in the order of their changes.
    changed: Vec<Uid>,
}

/// Finds out what a client has missed. `view` is of the same moment as `reader` and `row`.
///
/// Tombstones reach back to the mailbox's horizon. For a client that was away longer, every known
/// uid that isn't there is gone; that may name uids that it never had, which it ignores. So it is for one
/// whose number is above `head`, the account's: it saw what is gone since the store was restored.
pub(super) fn news(
    reader: &Reader,
    account: AccountId,
    mailbox: MailboxId,
    row: &MailboxRow,
    view: &UidSet,
    head: ModSeq,
    client: &Qresync,
) -> Result<News, StoreError> {
    let since = ModSeq::new(client.modseq).filter(|since| *since <= head);
    let remembered = since.is_some_and(|since| since.get() >= row.horizon);
    let since = since.unwrap_or(ModSeq::MIN);
    let known = known(client, row.uid_next);
    let removed = if !remembered {
        None
    } else {
        let mut uids = Vec::new();
        if since < row.modseq {
            for changed in reader.changes(account, mailbox, since, Which::Tombstones) {
                uids.push(changed?.uid);
            }
        }
        Some(uids.into_iter().collect::<UidSet>())
    };
    let matched = client.matched.as_ref().map(|matched| pairs(matched, row.uid_next)).unwrap_or_default();
    // A client that has a message which was gone before its modification sequence knows less than it
    // says: it is told of everything.
    let mistaken =
        |removed: &UidSet| matched.iter().any(|(_, uid)| !view.contains(*uid) && !removed.contains(*uid));
    let gone = match removed {
        Some(removed) if !mistaken(&removed) => removed.intersection(&known),
        _ => known.difference(view),
    };
    let vanished = match last_match(&matched, view) {
        // Up to a message that has the same number on both sides, the client knows of all removals.
        Some(last) => gone.difference(&UidSet::from_range(Uid::MIN..=last)),
        None => gone,
    };
    let mut changed = Vec::new();
    if since < row.modseq {
        for live in reader.changes(account, mailbox, since, Which::Live) {
            let uid = live?.uid;
            if known.contains(uid) {
                changed.push(uid);
            }
        }
    }
    Ok(News { vanished, changed })
}

/// The uids that the client knows, none from `uid_next` on.
fn known(client: &Qresync, uid_next: Uid) -> UidSet {
    let Some(last) = Uid::new(uid_next.get() - 1) else { return UidSet::new() };
    let all = UidSet::from_range(Uid::MIN..=last);
    match &client.known_uids {
        None => all,
        Some(set) => all.resolve_uids(set),
    }
}

/// The pairs of message number and uid that a client gives, as far as both lists go.
fn pairs(matched: &Matched, uid_next: Uid) -> Vec<(u32, Uid)> {
    let last = uid_next.0;
    let numbers = matched.sequence.normalised(last).into_iter().flat_map(|(from, to)| from..=to);
    let uids = matched.uids.normalised(last).into_iter().flat_map(|(from, to)| from..=to);
    // There are no more messages than uids, which bounds what a client can make of a short range.
    numbers.zip(uids).take(PAIRS_MAX).filter_map(|(number, uid)| Some((number, Uid::new(uid)?))).collect()
}

/// Pairs that are looked at; clients send a few dozen (RFC 7162 §3.2.5.2).
const PAIRS_MAX: usize = 4096;

/// The largest uid that has the same message number on both sides.
fn last_match(matched: &[(u32, Uid)], view: &UidSet) -> Option<Uid> {
    matched.iter().rev().find(|(number, uid)| view.sequence_of(*uid) == Some(*number)).map(|(_, uid)| *uid)
}

/// Tells it: removals first, so that message numbers fit.
pub(super) async fn tell(context: &mut AccountContext<'_>, news: News) -> Result<(), Ended> {
    write_vanished(&mut context.out.buffer, &news.vanished, true);
    let (shard, out, tag, id) = (context.shard, &mut *context.out, context.tag, context.id);
    let member = &mut *context.member;
    let Some(selected) = member.selected.as_mut() else { return Ok(()) };
    let (account, watcher, enabled) = (&member.account, &member.watcher, &mut member.enabled);
    let (notify, asker, limit) = (member.notify.as_deref(), member.asker, member.limit);
    let mut context =
        Context { shard, account, watcher, enabled, selected, notify, out, tag, asker, limit, id };
    for some in news.changed.chunks(ROWS_PER_READER) {
        if let Err(error) = tell_some(&mut context, some).await {
            error!(cid = %id, %error, "flags could not be read");
            return Err(Ended::Bye(Some(Code::Unavailable), "the store failed"));
        }
        context.out.flush_if_full().await?;
        yield_if_needed().await;
    }
    Ok(())
}

async fn tell_some(context: &mut Context<'_>, some: &[Uid]) -> Result<(), StoreError> {
    let selected = &*context.selected;
    let (place, uids) = ((context.account.id(), selected.mailbox), some.to_vec());
    let rows = context.account.reads().run(move |reader| read_rows(reader, place, &uids)).await?;
    let state = context.account.state();
    let told = Told {
        view: &selected.view,
        seen: selected.seen,
        modseq: context.enabled.condstore,
        numbering: context.enabled.numbering(),
    };
    write_some(&mut context.out.buffer, &state, &told, some, rows);
    Ok(())
}

/// What the client will know once it has been told.
pub struct Told<'a> {
    /// The uids.
    pub view: &'a UidSet,
    /// Changes up to here.
    pub seen: ModSeq,
    /// Whether rows have MODSEQ.
    pub modseq: bool,
    /// How rows name messages.
    pub numbering: Numbering,
}

/// Appends the rows of some changed messages.
fn write_some(
    out: &mut Vec<u8>,
    state: &Account,
    told: &Told<'_>,
    some: &[Uid],
    rows: Vec<Option<MessageRow>>,
) {
    for (uid, row) in some.iter().zip(rows) {
        // One that is gone by now is told by the next command.
        let Some(row) = row else { continue };
        // A later change is told by the next command, in its order.
        if row.modseq > told.seen {
            continue;
        }
        let Some(sequence) = told.view.sequence_of(*uid) else { continue };
        let part = if told.modseq { StatePart::FlagsAndModSeq } else { StatePart::Flags };
        write_state_row(out, state, told.numbering, (sequence, *uid), &row, part);
    }
}

impl News {
    /// Uids that the client knows and that are gone.
    pub const fn vanished(&self) -> &UidSet {
        &self.vanished
    }

    /// Appends everything at once, as a session tells it in pieces.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        reader: &Reader,
        state: &Account,
        mailbox: MailboxId,
        told: &Told<'_>,
    ) -> Result<(), StoreError> {
        write_vanished(out, &self.vanished, true);
        let rows = read_rows(reader, (state.id(), mailbox), &self.changed)?;
        write_some(out, state, told, &self.changed, rows);
        Ok(())
    }
}
