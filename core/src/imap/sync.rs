//! Tells a session what changed in its selected mailbox (RFC 9051 §5.2 and §7.5.1, RFC 7162 §3.2.10).
//!
//! There is no queue for each session: what is new is read from the account's log, or from the store
//! when the log doesn't reach back that far. What always holds: changes are told in their order, rows
//! are those of the moment of telling, and a message loses its number only when its removal is told.

use std::collections::{BTreeMap, HashMap, HashSet};

use postrider_proto::imap::command::Events;
use postrider_proto::imap::response::{
    Code, Condition, FetchRow, write_exists, write_expunge, write_flags, write_vanished,
};
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::types::{Flags, Keyword, ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::account::{Account, Change};
use postrider_storage::ids::{AccountId, KeywordId, MailboxId};
use postrider_storage::keys::Which;
use postrider_storage::reader::Reader;
use postrider_storage::rows::MessageRow;
use postrider_storage::store::StoreError;
use tracing::error;

use super::commands::fetch;
use super::contexts::Happened;
use super::output::Output;
use super::selected::{Selected, permanent_flags};
use super::session::{Context, Ended};
use crate::accounts::{AccountHandle, Published, Since, WatcherId};
use crate::runtime::yield_if_needed;

/// How often a row that changes just now is looked at again before it is left to the next command.
const ROUNDS_MAX: u32 = 4;
/// Messages whose rows are read from one snapshot.
const ROWS_PER_READER: usize = 256;
/// Removals that are noted or told before others of the shard get their turn.
const REMOVALS_AT_ONCE: usize = 1024;

/// Whether removals may be told: not while FETCH, STORE or SEARCH run (RFC 9051 §7.5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expunges {
    /// They are told, before new messages.
    Now,
    /// They are told, and the command itself removed messages: those are told whatever NOTIFY says.
    Own,
    /// As `Own`, but behind new messages: one of these takes the place of one that is removed (RFC 8508
    /// §3.2).
    AfterNew,
    /// They wait for another command.
    Later,
}

/// How flags that this very session changed are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnFlags {
    /// Like everybody else's.
    Tell,
    /// Likewise, while the client may be sending its next command.
    Pushed,
    /// `.SILENT`: not; with CONDSTORE the new modification sequence only (RFC 7162 §3.1.3).
    Silent,
    /// Not at all: the command's own rows told them.
    Told,
}

/// What a session didn't know yet.
#[derive(Default)]
struct News {
    /// New messages, ascending, with who added them.
    added: Vec<(Uid, Cause)>,
    /// Removed ones, with the change that removed them and who made it.
    removed: BTreeMap<Uid, (ModSeq, Cause)>,
    /// Whether URLs of the mailbox have to be authorised anew.
    url_key: bool,
    /// Messages whose flags changed, in the order of their last change.
    flagged: Vec<(Uid, Cause)>,
    /// Everything up to here is in it.
    seen: Option<ModSeq>,
}

/// Who changed a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// This session alone.
    Own,
    /// Somebody else, at least once.
    Other,
}

impl Context<'_> {
    /// Tells everything that was committed since the last call: FLAGS, FETCH in the order of the
    /// changes, EXPUNGE or VANISHED, EXISTS. Call it after a command's transactions.
    ///
    /// Of a broken account nothing can be told any more: the command gets its answer, and then the
    /// session ends.
    pub async fn sync(&mut self, expunges: Expunges, own: OwnFlags) -> Result<(), Ended> {
        self.sync_with(expunges, own, Vec::new()).await
    }

    /// As [`Self::sync`], and tells the rows of `asked`, as they are by then: a command is to answer for
    /// them, though it didn't change them.
    pub(super) async fn sync_with(
        &mut self,
        expunges: Expunges,
        own: OwnFlags,
        mut asked: Vec<(Uid, Cause)>,
    ) -> Result<(), Ended> {
        let mut news = false;
        for _ in 0..ROUNDS_MAX {
            // The store may have shown what the account doesn't show yet.
            self.account.installed(self.selected.ahead).await;
            if self.account.is_broken() {
                return Ok(());
            }
            news |= self.tell_news(expunges, own, std::mem::take(&mut asked)).await?;
            if self.selected.ahead <= self.selected.seen {
                break;
            }
        }
        Box::pin(self.tell_last_results()).await;
        self.tell_delay(news);
        self.account.hold(self.watcher, Some((self.selected.mailbox, self.selected.told())));
        self.out.flush_if_full().await
    }

    /// Tells what the account shows, and of messages that are just being changed nothing. Whether there
    /// was anything new.
    async fn tell_news(
        &mut self,
        expunges: Expunges,
        own: OwnFlags,
        asked: Vec<(Uid, Cause)>,
    ) -> Result<bool, Ended> {
        self.tell_withheld();
        let mut news = self.news(expunges).await?;
        let is_news = news.is_some();
        if news.is_none() && !asked.is_empty() {
            news = Some(News::default());
        }
        if let Some(seen) = news.as_ref().and_then(|news| news.seen) {
            // What was read of the store may be on its way to the disk yet.
            self.account.installed(seen).await;
            if self.account.is_broken() {
                return Err(ACCOUNT_BROKEN);
            }
        }
        self.tell_keywords();
        if let Some(mut news) = news {
            self.withhold(&mut news);
            let News { added, removed, url_key, mut flagged, seen } = news;
            if url_key {
                // RFC 4467 §7, RESETKEY.
                self.out.untagged(Condition::Ok, Some(&Code::UrlMech), "URLs need a new authorisation");
            }
            // First those that didn't change: what they show is not newer than the rest.
            let told: HashSet<Uid> = flagged.iter().map(|(uid, _)| *uid).collect();
            flagged.splice(..0, asked.into_iter().filter(|(uid, _)| !told.contains(uid)));
            let removed: BTreeMap<Uid, ModSeq> = removed
                .into_iter()
                .filter(|(uid, _)| self.selected.view.contains(*uid))
                .map(|(uid, (modseq, _))| (uid, modseq))
                .collect();
            self.tell_removed_results(&removed.keys().copied().collect());
            self.selected.deferred.extend(removed);
            let is_live = !self.selected.contexts.is_empty();
            let changed = flagged.iter().map(|(uid, _)| *uid).filter(|uid| is_live && self.is_known(*uid));
            let changed = changed.collect();
            let until = seen.unwrap_or(self.selected.seen);
            Box::pin(self.tell_flags(flagged, own, until)).await?;
            Box::pin(self.tell_changed_results(&changed, Happened::Flagged)).await;
            if matches!(expunges, Expunges::Now | Expunges::Own) {
                self.tell_removals().await?;
            }
            self.tell_added(&added);
            let new = added.iter().map(|(uid, _)| *uid).filter(|uid| is_live && self.is_known(*uid));
            let new = new.collect();
            Box::pin(self.tell_changed_results(&new, Happened::Added)).await;
            if expunges == Expunges::AfterNew {
                self.tell_removals().await?;
            }
            self.selected.seen = until;
            self.tell_content(&added).await?;
        } else if expunges != Expunges::Later {
            self.tell_removals().await?;
        }
        Ok(is_news)
    }

    /// The events of the selected mailbox that the client wants to be told of.
    fn wanted(&self) -> Events {
        self.notify.map_or(Events::MESSAGES, |notify| notify.selected.events)
    }

    /// Goes back to where the client was told everything, when it wants that again.
    fn tell_withheld(&mut self) {
        if self.wanted() == Events::MESSAGES
            && let Some(withheld) = self.selected.withheld.take()
        {
            self.selected.seen = self.selected.seen.min(withheld);
        }
    }

    /// Takes out of the news what the client doesn't want to be told of, and notes since when. What the
    /// session itself did to messages that the client knows is told in any case: the client asked for it.
    fn withhold(&mut self, news: &mut News) {
        let wanted = self.wanted();
        let before = (news.added.len(), news.removed.len(), news.flagged.len());
        if !wanted.contains(Events::MESSAGE_NEW) {
            news.added.clear();
        }
        if !wanted.contains(Events::MESSAGE_EXPUNGE) {
            news.removed.retain(|_, (_, cause)| *cause == Cause::Own);
        }
        if !wanted.contains(Events::FLAG_CHANGE) {
            news.flagged.retain(|(_, cause)| *cause == Cause::Own);
        }
        if before != (news.added.len(), news.removed.len(), news.flagged.len()) {
            self.selected.withheld.get_or_insert(self.selected.seen);
        }
    }

    /// Tells what the client wants to know of new messages (RFC 5465 §5.2), but not of its own.
    async fn tell_content(&mut self, added: &[(Uid, Cause)]) -> Result<(), Ended> {
        let Some(notify) = self.notify.filter(|notify| !notify.selected.fetch.is_empty()) else {
            return Ok(());
        };
        let others = added.iter().filter(|(_, cause)| *cause == Cause::Other).map(|(uid, _)| *uid);
        let uids = others.collect::<UidSet>().intersection(&self.selected.view);
        Box::pin(fetch::tell_content(self, notify.selected.fetch.clone(), uids)).await
    }

    /// Whether the client knows the message, and it isn't removed.
    fn is_known(&self, uid: Uid) -> bool {
        self.selected.view.contains(uid) && !self.selected.deferred.contains_key(&uid)
    }

    /// Tells up to where the client knows everything, while removals wait: MODSEQs that it was told may be
    /// higher, and it must not take them for that (RFC 7162 §3.2 and §6).
    fn tell_delay(&mut self, news: bool) {
        let withheld = news && self.selected.withheld.is_some();
        let waits = self.enabled.qresync && (!self.selected.deferred.is_empty() || withheld);
        if waits || std::mem::replace(&mut self.selected.lowered, waits) {
            self.selected.lowered = waits;
            let code = Code::HighestModSeq(self.selected.told());
            let text = if waits { "removals wait" } else { "no removal waits" };
            self.out.untagged(Condition::Ok, Some(&code), text);
        }
    }

    /// Tells FLAGS and PERMANENTFLAGS anew when a keyword came into use that wasn't told. Call it
    /// before keywords are written.
    pub fn tell_keywords(&mut self) {
        let state = self.account.state();
        let Some(row) = state.mailbox(self.selected.mailbox) else { return };
        // SELECT may have told more than the account shows yet.
        if row.keywords.iter().all(|keyword| self.selected.keywords_told.contains(keyword)) {
            return;
        }
        drop(state);
        tell_flags_anew(self.account, self.selected, self.out);
    }

    /// What is new since the last look; none when nothing is.
    async fn news(&self, expunges: Expunges) -> Result<Option<News>, Ended> {
        let seen = self.selected.seen;
        let since = {
            let log = self.account.log();
            if !log.has_since(seen) {
                return Ok(None);
            }
            log.since(seen)
        };
        match since {
            Since::Changes(changes) => self.news_of(&changes).map(Some),
            Since::Forgotten => match self.news_of_store(expunges).await {
                Ok(Some(news)) => Ok(Some(news)),
                Ok(None) => Err(MAILBOX_GONE),
                Err(error) => {
                    error!(cid = %self.id, %error, "changes could not be read");
                    Err(Ended::Bye(Some(Code::Unavailable), "the store failed"))
                }
            },
        }
    }

    fn news_of(&self, changes: &[std::rc::Rc<Published>]) -> Result<News, Ended> {
        let selected = self.selected.mailbox;
        let me = self.watcher.id();
        let mut news = News::default();
        let mut flags: HashMap<Uid, (usize, Cause)> = HashMap::new();
        for (at, published) in changes.iter().enumerate() {
            news.seen = Some(published.modseq);
            match &published.change {
                Change::Added { mailbox, uid, .. } if *mailbox == selected => {
                    news.added.push((*uid, cause(published.origin, me)));
                }
                Change::Removed { mailbox, uid, modseq, .. } if *mailbox == selected => {
                    news.removed.insert(*uid, (*modseq, cause(published.origin, me)));
                }
                Change::Flags { mailbox, uid, .. } if *mailbox == selected => {
                    let entry = flags.entry(*uid).or_insert((at, Cause::Own));
                    entry.0 = at;
                    if cause(published.origin, me) == Cause::Other {
                        entry.1 = Cause::Other;
                    }
                }
                Change::UrlKey { mailbox, .. } if *mailbox == selected => news.url_key = true,
                Change::MailboxDeleted { mailbox, .. } if *mailbox == selected => return Err(MAILBOX_GONE),
                _ => {}
            }
        }
        let mut order: Vec<_> = flags.into_iter().map(|(uid, (at, cause))| (at, uid, cause)).collect();
        order.sort_unstable_by_key(|(at, ..)| *at);
        news.flagged = order.into_iter().map(|(_, uid, cause)| (uid, cause)).collect();
        news.added.retain(|(uid, _)| !news.removed.contains_key(uid));
        Ok(news)
    }

    /// What is new by the store's change index; none when the mailbox is gone.
    async fn news_of_store(&self, expunges: Expunges) -> Result<Option<News>, StoreError> {
        let (account, mailbox, seen) = (self.account.id(), self.selected.mailbox, self.selected.seen);
        let read = self.account.reads().run(move |reader| {
            let (Some(head), Some(_)) = (reader.head(account)?, reader.mailbox(account, mailbox)?) else {
                return Ok(None);
            };
            let now = read_view(account, reader, mailbox)?;
            let changes = reader.changes(account, mailbox, seen, Which::Live);
            let changed = changes.map(|changed| Ok(changed?.uid)).collect::<Result<Vec<_>, StoreError>>()?;
            Ok(Some((head, now, changed)))
        });
        let Some((head, now, changed)) = read.await? else { return Ok(None) };
        let mut news = News { seen: Some(head.modseq), ..News::default() };
        // The exact change that removed each isn't needed: all of them came after `seen`.
        let after = seen.next().unwrap_or(seen);
        // Nor is it known who made it.
        let own = matches!(expunges, Expunges::Own | Expunges::AfterNew);
        let cause = if own { Cause::Own } else { Cause::Other };
        let gone = self.selected.view.difference(&now);
        news.removed = gone.iter().map(|uid| (uid, (after, cause))).collect();
        news.removed.retain(|uid, _| !self.selected.deferred.contains_key(uid));
        news.added = now.difference(&self.selected.view).iter().map(|uid| (uid, Cause::Other)).collect();
        news.flagged = changed.into_iter().map(|uid| (uid, Cause::Other)).collect();
        Ok(Some(news))
    }

    /// Tells flags as they are now, in the order given. Messages that are new or gone are left out, and those
    /// that changed again after `until`: that change is told in its place.
    async fn tell_flags(
        &mut self,
        flagged: Vec<(Uid, Cause)>,
        own: OwnFlags,
        until: ModSeq,
    ) -> Result<(), Ended> {
        let known: Vec<_> = flagged
            .into_iter()
            .filter(|(uid, _)| self.is_known(*uid))
            .filter(|(uid, cause)| match own {
                OwnFlags::Tell | OwnFlags::Pushed => true,
                OwnFlags::Silent => {
                    *cause == Cause::Other || self.enabled.condstore || self.selected.pushed.contains(*uid)
                }
                OwnFlags::Told => *cause == Cause::Other,
            })
            .collect();
        for some in known.chunks(ROWS_PER_READER) {
            self.tell_some_flags(some, own, until).await.map_err(|error| {
                error!(cid = %self.id, %error, "flags could not be read");
                Ended::Bye(Some(Code::Unavailable), "the store failed")
            })?;
            self.out.flush_if_full().await?;
            yield_if_needed().await;
        }
        Ok(())
    }

    async fn tell_some_flags(
        &mut self,
        some: &[(Uid, Cause)],
        own: OwnFlags,
        until: ModSeq,
    ) -> Result<(), StoreError> {
        let place = (self.account.id(), self.selected.mailbox);
        let uids: Vec<Uid> = some.iter().map(|(uid, _)| *uid).collect();
        let rows = self.account.reads().run(move |reader| read_rows(reader, place, &uids)).await?;
        for ((uid, cause), row) in some.iter().zip(rows) {
            let Some(row) = row else { continue };
            // No MODSEQ is told above one that isn't: a client may take the largest for all that it knows.
            if row.modseq > until {
                self.selected.ahead = self.selected.ahead.max(row.modseq);
                continue;
            }
            let Some(sequence) = self.selected.view.sequence_of(*uid) else { continue };
            let silent = (*cause, own) == (Cause::Own, OwnFlags::Silent) && !self.selected.pushed.take(*uid);
            if own == OwnFlags::Pushed {
                self.selected.pushed.add(*uid);
            }
            let part = match (silent, self.enabled.condstore) {
                (true, _) => StatePart::ModSeq,
                (false, true) => StatePart::FlagsAndModSeq,
                (false, false) => StatePart::Flags,
            };
            let state = self.account.state();
            let numbering = self.enabled.numbering();
            write_state_row(&mut self.out.buffer, &state, numbering, (sequence, *uid), &row, part);
        }
        Ok(())
    }

    /// Tells all removals that wait.
    async fn tell_removals(&mut self) -> Result<(), Ended> {
        if self.selected.deferred.is_empty() {
            return Ok(());
        }
        let gone: UidSet = std::mem::take(&mut self.selected.deferred).into_keys().collect();
        if self.enabled.qresync || self.enabled.uid_only {
            write_vanished(&mut self.out.buffer, &gone, false);
            self.selected.view.remove_all(&gone);
            return Ok(());
        }
        // From the last to the first, so that no number told shifts those that follow.
        let numbers = self.selected.view.sequence_numbers(&gone);
        self.selected.view.remove_all(&gone);
        for (told, number) in numbers.iter().rev().enumerate() {
            write_expunge(&mut self.out.buffer, number.get());
            self.out.flush_if_full().await?;
            if told % REMOVALS_AT_ONCE == 0 {
                yield_if_needed().await;
            }
        }
        Ok(())
    }

    fn tell_added(&mut self, added: &[(Uid, Cause)]) {
        let view = &mut self.selected.view;
        let before = view.len();
        for (uid, _) in added {
            if view.last().is_none_or(|last| last < *uid) {
                view.push(*uid);
                self.selected.uid_last = self.selected.uid_last.max(Some(*uid));
            }
        }
        if view.len() > before {
            write_exists(&mut self.out.buffer, view.len());
        }
    }
}

/// Tells FLAGS and PERMANENTFLAGS as they are for this user now.
pub(super) fn tell_flags_anew(account: &AccountHandle, selected: &mut Selected, out: &mut Output) {
    let state = account.state();
    let Some(row) = state.mailbox(selected.mailbox) else { return };
    let keywords: Vec<Keyword> = row.keywords.iter().filter_map(|id| state.keyword(*id)).cloned().collect();
    selected.keywords_told = row.keywords.clone();
    write_flags(&mut out.buffer, ALL_FLAGS, &keywords);
    if selected.is_writable() {
        let code = permanent_flags(selected.access, selected.rights, &keywords);
        out.untagged(Condition::Ok, Some(&code), "flags that stay");
    }
}

/// What a row of a changed message has besides its UID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StatePart {
    Flags,
    FlagsAndModSeq,
    /// After `.SILENT`, which CONDSTORE clients only make (RFC 7162 §3.1.3).
    ModSeq,
}

/// Appends FETCH with the state of a message.
pub(super) fn write_state_row(
    out: &mut Vec<u8>,
    state: &Account,
    numbering: Numbering,
    (sequence, uid): (u32, Uid),
    row: &MessageRow,
    part: StatePart,
) {
    let mut fetch = FetchRow::of(out, numbering, sequence, uid);
    if part != StatePart::ModSeq {
        fetch.flags(out, row.flags, names(state, &row.keywords));
    }
    if part != StatePart::Flags {
        fetch.modseq(out, row.modseq);
    }
    fetch.end(out);
}

/// All system flags.
pub(super) const ALL_FLAGS: Flags = Flags::from_bits(u8::MAX);

/// The account has to be loaded anew.
pub(super) const ACCOUNT_BROKEN: Ended =
    Ended::Bye(Some(Code::Unavailable), "the account was closed, log in again");
const MAILBOX_GONE: Ended = Ended::Bye(Some(Code::NonExistent), "the selected mailbox was deleted");

fn cause(origin: Option<WatcherId>, me: WatcherId) -> Cause {
    if origin == Some(me) { Cause::Own } else { Cause::Other }
}

/// The spellings of keywords.
pub(super) fn names<'a>(state: &'a Account, keywords: &'a [KeywordId]) -> impl Iterator<Item = &'a str> {
    keywords.iter().filter_map(|id| state.keyword(*id)).map(Keyword::as_str)
}

/// The rows of messages; none of those that are gone.
pub(super) fn read_rows(
    reader: &Reader,
    (account, mailbox): (AccountId, MailboxId),
    uids: &[Uid],
) -> Result<Vec<Option<MessageRow>>, StoreError> {
    uids.iter().map(|uid| reader.message(account, mailbox, *uid)).collect()
}

/// The uids of a mailbox at the moment of `reader`.
pub(super) fn read_view(
    account: AccountId,
    reader: &Reader,
    mailbox: MailboxId,
) -> Result<UidSet, StoreError> {
    let mut runs = Vec::new();
    reader.uid_runs(account, mailbox, |first, count| {
        let last = first.get().saturating_add(count.saturating_sub(1));
        runs.extend(Uid::new(last).map(|last| first..=last));
    })?;
    Ok(UidSet::from_runs(runs))
}
