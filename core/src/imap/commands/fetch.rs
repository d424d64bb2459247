//! FETCH and UID FETCH (RFC 9051 §6.4.5, RFC 3516, RFC 7162 §3.1.4 and §3.2.6, RFC 9394 §3.3).
//!
//! Rows are written on worker threads, some octets at a time, and go out in between; see [`rows`].
//! Reading that sets `\Seen` does so for some messages before their rows, which then tell the flags.

pub(in crate::imap) mod items;
mod packed;
pub mod plan;
pub mod rows;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod world;

use std::sync::Arc;

use postrider_proto::imap::command::{ChangedSince, Fetch, FetchItem, Vanished};
use postrider_proto::imap::response::{Code, Status, write_vanished};
use postrider_proto::imap::rights::Rights;
use postrider_proto::imap::sequence::{MessageSet, Messages, Numbering};
use postrider_proto::imap::types::{Flags, ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::account::{FlagChange, FlagOp};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::keys::Which;
use postrider_storage::reader::Reader;
use postrider_storage::store::{Store, StoreError};

pub use items::HEADER_OCTETS_MAX;
pub(super) use rows::Cursor;

use crate::imap::answers::{NO_SUCH_MESSAGE, store_failed, write_failed};
use crate::imap::content::on_worker;
use crate::imap::progress::Teller;
use crate::imap::session::{Completion, CompletionCode, Context, Ended};
use crate::imap::sync::{Expunges, OwnFlags};
use crate::runtime::yield_if_needed;
use plan::Plan;
use rows::{Progress, Rows};

/// Octets of rows that are written before they go out.
const RUN_OCTETS: usize = 256 * 1024;
/// Up to so many messages, rows that need no content are written without a worker thread.
const INLINE_MESSAGES_MAX: u32 = 64;
/// Messages that are marked as seen together, and their octets: those at most are marked and not sent
/// when the client goes away.
const SEEN_MESSAGES_MAX: u32 = 256;
const SEEN_OCTETS_MAX: u64 = 1024 * 1024;
/// From so many messages on, CHANGEDSINCE is answered by the change index.
const CHANGES_MIN: u32 = 64;

const BUSY: Completion = Completion::refused(Code::Unavailable, "too much to do, try again");

/// Does it.
pub async fn fetch(context: &mut Context<'_>, command: Fetch) -> Result<Completion, Ended> {
    let Fetch { messages, items, changed_since, partial } = command;
    if let Some(ChangedSince { vanished: Vanished::Told, .. }) = changed_since
        && (messages.numbering != Numbering::Uid || !context.enabled.qresync)
    {
        return Ok(Completion::bad("VANISHED needs UID FETCH and QRESYNC"));
    }
    let Ok(mut wanted) = context.selected.resolve(&messages) else { return Ok(NO_SUCH_MESSAGE) };
    if let Some(range) = partial {
        // Before CHANGEDSINCE (RFC 9394 §3.4).
        let places = range.places(wanted.len());
        let ends = Uid::new(places.start + 1).zip(Uid::new(places.end));
        let numbers = ends.map(|(first, last)| UidSet::from_range(first..=last));
        wanted = wanted.at_sequence(&numbers.unwrap_or_default());
    }
    let (mut wanted, limit) = context.limit.cut(wanted);
    if changed_since.is_some() || items.contains(&FetchItem::ModSeq) {
        context.enable_condstore();
    }
    let mut plan = plan_for(context, items);
    plan.marks_seen &= context.selected.is_writable() && context.selected.rights.contains(Rights::SEEN);
    if let Some(since) = changed_since {
        plan.changed_since = Some(since.modseq);
        match narrow(context, &messages, since, wanted).await {
            Ok(narrowed) => wanted = narrowed,
            Err(completion) => return Ok(completion),
        }
    }
    let completion = write_rows(context, plan, wanted).await?;
    // Rows that were left out told no flags, though their messages may be marked as seen.
    let own = if completion.status == Status::Ok { OwnFlags::Told } else { OwnFlags::Tell };
    let expunges = match messages.numbering {
        Numbering::Uid => Expunges::Now,
        Numbering::Sequence => Expunges::Later,
    };
    context.sync(expunges, own).await?;
    Ok(completion.limited(limit, context.out))
}

/// What is to be told, in the form that the client enabled.
fn plan_for(context: &Context<'_>, items: Vec<FetchItem>) -> Plan {
    let mut plan = Plan::new(items, context.enabled.utf8, context.enabled.condstore);
    plan.numbering = context.enabled.numbering();
    plan
}

/// Tells what NOTIFY asks of new messages; `\Seen` is never set by that.
pub(in crate::imap) async fn tell_content(
    context: &mut Context<'_>,
    items: Vec<FetchItem>,
    uids: UidSet,
) -> Result<(), Ended> {
    let mut plan = plan_for(context, items);
    plan.marks_seen = false;
    // What can't be told now the client fetches when it misses it.
    write_rows(context, plan, uids).await.map(drop)
}

/// Answers VANISHED, and finds those of `wanted` that changed.
async fn narrow(
    context: &mut Context<'_>,
    messages: &Messages,
    since: ChangedSince,
    wanted: UidSet,
) -> Result<UidSet, Completion> {
    let (account, mailbox) = (context.account.id(), context.selected.mailbox);
    let view = context.selected.view.clone();
    let asked = match since.vanished {
        Vanished::Untold => None,
        Vanished::Told => {
            // Of no uid that the client can't know yet.
            context.selected.uid_last.map(|last| named_uids(&messages.set, last, &context.selected.saved))
        }
    };
    let work = Changes { account, mailbox, since: since.modseq, wanted, asked, view };
    let worked =
        on_worker(&context.shard.shared.pool, context.account.store(), work, |work, store: &Store| {
            work.read(&store.reader())
        })
        .await;
    let Ok((_, found)) = worked else { return Err(BUSY) };
    let (wanted, vanished) = found.map_err(|error| store_failed(&error, context.id))?;
    write_vanished(&mut context.out.buffer, &vanished, true);
    Ok(wanted)
}

/// The uids that a set names up to `last`, whether there are messages or not.
fn named_uids(set: &MessageSet, last: Uid, saved: &UidSet) -> UidSet {
    UidSet::from_range(Uid::MIN..=last).resolve_uid_argument(set, saved)
}

/// What CHANGEDSINCE looks for.
struct Changes {
    account: AccountId,
    mailbox: MailboxId,
    since: u64,
    wanted: UidSet,
    /// The uids of which it is asked whether they vanished.
    asked: Option<UidSet>,
    view: UidSet,
}

impl Changes {
    /// Those of `wanted` that may have changed, and those that vanished.
    fn read(&self, reader: &Reader) -> Result<(UidSet, UidSet), StoreError> {
        let Some(since) = ModSeq::new(self.since) else {
            // Everything changed since 0, and everything that isn't there vanished.
            let vanished = self.asked.as_ref().map(|asked| asked.difference(&self.view));
            return Ok((self.wanted.clone(), vanished.unwrap_or_default()));
        };
        let uids = |which| {
            let changes = reader.changes(self.account, self.mailbox, since, which);
            changes.map(|change| Ok(change?.uid)).collect::<Result<UidSet, StoreError>>()
        };
        let mut wanted = self.wanted.clone();
        if wanted.len() >= CHANGES_MIN {
            wanted = wanted.intersection(&uids(Which::Live)?);
        }
        let Some(asked) = &self.asked else { return Ok((wanted, UidSet::new())) };
        let horizon = reader.mailbox(self.account, self.mailbox)?.map_or(0, |row| row.horizon);
        // Below the horizon removals were forgotten: tell all that isn't there (RFC 7162 §3.2.5.2).
        let mut vanished = asked.difference(&self.view);
        if since.get() >= horizon {
            vanished = vanished.intersection(&uids(Which::Tombstones)?);
        }
        Ok((wanted, vanished))
    }
}

/// Writes the rows of `wanted`.
async fn write_rows(context: &mut Context<'_>, plan: Plan, wanted: UidSet) -> Result<Completion, Ended> {
    if wanted.is_empty() {
        return Ok(Completion::ok("FETCH done"));
    }
    let mut keywords = Vec::new();
    if plan.flags || plan.marks_seen {
        context.tell_keywords();
        let state = context.account.state();
        let known = state.head().map_or(0, |head| head.keywords);
        let ids = (0..known).map(postrider_storage::ids::KeywordId);
        keywords.extend(ids.filter_map(|id| state.keyword(id)).map(|keyword| keyword.as_str().into()));
    }
    let (mut teller, mut told) = (Teller::new(context.limit.progress, wanted.len()), 0);
    let plan = Arc::new(plan);
    let inline = !plan.needs_message && wanted.len() <= INLINE_MESSAGES_MAX;
    let place = (context.account.id(), context.selected.mailbox);
    let mut rows = Rows::new(Arc::clone(&plan), place, context.selected.view.clone(), wanted, keywords);
    rows.set_told(&context.selected.keywords_told);
    let mut expunged = false;
    let mut unreadable = 0;
    while !rows.is_finished() {
        if plan.marks_seen && !rows.is_in_row() {
            // After each transaction, while the account still remembers whose changes these are.
            let all_told = std::mem::replace(&mut unreadable, rows.unreadable) == rows.unreadable;
            let own = if all_told { OwnFlags::Told } else { OwnFlags::Tell };
            context.sync(Expunges::Later, own).await?;
            let marked = mark_seen(context, rows).await?;
            match marked {
                Ok(marked) => {
                    rows = marked;
                    context.tell_keywords();
                    rows.set_told(&context.selected.keywords_told);
                }
                Err(completion) => return Ok(completion),
            }
        }
        let mut progress = Progress::More;
        while progress == Progress::More {
            let here = inline && !context.account.store().engine().reads_may_wait();
            let ran = if here { Some(run_here(context, rows)) } else { run(context, rows).await };
            let Some((state, done)) = ran else {
                // A row may have begun.
                return Err(Ended::Bye(Some(Code::Unavailable), "too much to do, try again"));
            };
            rows = state;
            progress = match done {
                Ok(progress) => progress,
                Err(error) if rows.is_in_row() => {
                    let _ = store_failed(&error, context.id);
                    return Err(Ended::Gone);
                }
                Err(error) => return Ok(store_failed(&error, context.id)),
            };
            context.selected.ahead = context.selected.ahead.max(rows.highest);
            if let Some(modseq) = rows.take_awaited() {
                context.account.installed(modseq).await;
                context.tell_keywords();
            }
            let missing = rows.take_missing();
            expunged |= !missing.is_empty();
            if !plan.is_of_flags_only() {
                let found = |uid: Uid| Some((uid, context.account.removed(place.1, uid)?));
                rows.add_removed(missing.into_iter().filter_map(found));
            }
            // Within a row nothing else may stand; a client that gets one sees that it goes on.
            if !rows.is_in_row() {
                let done = rows.done() - std::mem::replace(&mut told, rows.done());
                teller.done(done, context.out, context.tag).await?;
            }
            context.out.flush_if_full().await?;
            yield_if_needed().await;
        }
    }
    Ok(completion(&rows, expunged))
}

fn completion(rows: &Rows, expunged: bool) -> Completion {
    if rows.unreadable > 0 {
        Completion::refused(Code::Corruption, "some messages could not be read")
    } else if rows.unknown_encoding {
        Completion::refused(Code::UnknownCte, "a part has an unknown encoding")
    } else if expunged {
        Completion::ok("some messages were removed by others")
            .with(CompletionCode::Plain(Code::ExpungeIssued))
    } else {
        Completion::ok("FETCH done")
    }
}

type Ran = (Rows, Result<Progress, StoreError>);

fn run_here(context: &mut Context<'_>, mut rows: Rows) -> Ran {
    let done = rows.run(&context.account.reader(), &mut context.out.buffer, RUN_OCTETS);
    (rows, done)
}

/// Writes some rows on a worker thread; none when no worker took it.
async fn run(context: &mut Context<'_>, rows: Rows) -> Option<Ran> {
    let buffer = std::mem::take(&mut context.out.buffer);
    let ((rows, buffer), done) = on_worker(
        &context.shard.shared.pool,
        context.account.store(),
        (rows, buffer),
        |(rows, buffer), store: &Store| rows.run(&store.reader(), buffer, RUN_OCTETS),
    )
    .await
    .ok()?;
    context.out.buffer = buffer;
    Some((rows, done))
}

/// Sets `\Seen` on the next messages, and bounds the next runs to them.
async fn mark_seen(context: &mut Context<'_>, rows: Rows) -> Result<Result<Rows, Completion>, Ended> {
    let worked =
        on_worker(&context.shard.shared.pool, context.account.store(), rows, |rows, store: &Store| {
            rows.next_unseen(&store.reader(), SEEN_MESSAGES_MAX, SEEN_OCTETS_MAX)
        })
        .await;
    let Ok((mut rows, unseen)) = worked else { return Ok(Err(BUSY)) };
    let unseen = match unseen {
        Ok(unseen) => unseen,
        Err(error) => return Ok(Err(store_failed(&error, context.id))),
    };
    if unseen.is_empty() {
        rows.set_newly_seen(UidSet::new());
        return Ok(Ok(rows));
    }
    let change = FlagChange { op: FlagOp::Add, flags: Flags::SEEN, keywords: Vec::new() };
    let mailbox = context.selected.mailbox;
    let stored = context
        .account
        .transact_many(Some(context.watcher.id()), None, unseen.len(), move |tx| {
            tx.store_flags(mailbox, &unseen, &change, None)
        })
        .await;
    match stored {
        Ok(done) => {
            rows.set_newly_seen(done.updated.iter().map(|updated| updated.uid).collect());
            Ok(Ok(rows))
        }
        Err(error) => Ok(Err(write_failed(&error, context.id))),
    }
}
