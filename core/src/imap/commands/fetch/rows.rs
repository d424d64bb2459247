//! Writes FETCH rows, some octets at a time (RFC 9051 §7.5.2).
//!
//! [`Rows`] is a state that goes on where it stopped, also in the middle of a literal. It holds neither
//! a snapshot nor content between two runs, so it may be sent between threads and may wait for a slow
//! client as long as that takes.

use std::collections::VecDeque;
use std::sync::Arc;

use postrider_proto::imap::response::FetchRow;
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::types::{Flags, ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::ids::{AccountId, EmailId, KeywordId, MailboxId, ThreadId};
use postrider_storage::reader::Reader;
use postrider_storage::rows::MessageRow;
use postrider_storage::store::StoreError;

use super::items::{self, Items, Step};
use super::plan::Plan;
use crate::imap::content::Loader;

/// Rows that are looked up together.
const GROUP: u32 = 512;
/// From this many messages on, rows are walked when the uids are dense.
const DENSE_MIN: u32 = 8;
/// Dense is at least one wanted message in so many uids.
const DENSE_GAPS: u32 = 4;

/// How far a run came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Run it again.
    More,
    /// All rows up to the bound are written.
    Done,
}

/// Rows that are still to be written.
pub struct Rows {
    plan: Arc<Plan>,
    account: AccountId,
    mailbox: MailboxId,
    /// Spellings of keywords by id.
    keywords: Vec<Box<str>>,
    view: UidSet,
    wanted: UidSet,
    /// How many of `wanted` are done with.
    at: u32,
    /// Up to how many the next runs go.
    until: u32,
    /// Messages that this very FETCH marked as seen: their rows tell the flags.
    newly_seen: UidSet,
    /// Keywords that FLAGS told.
    told: Vec<KeywordId>,
    /// A row that waits for FLAGS: the change that gave the message keywords which aren't told yet.
    awaited: Option<(ModSeq, Vec<KeywordId>)>,
    /// The highest modification sequence among the rows so far.
    pub highest: ModSeq,
    /// A row that stopped in the middle.
    open: Option<Open>,
    missing: Vec<Uid>,
    removed: VecDeque<(Uid, EmailId)>,
    /// Whether a part had an encoding that isn't known.
    pub unknown_encoding: bool,
    /// Messages that could not be read.
    pub unreadable: u32,
}

/// A row of which some items are written.
struct Open {
    row: FetchRow,
    items: Items,
}

/// What is told of one message.
struct Facts<'a> {
    sequence: u32,
    uid: Uid,
    /// Not known of a removed message.
    state: Option<(Flags, &'a [KeywordId], ModSeq)>,
    email: EmailId,
    /// Of a removed message this is looked up.
    more: Option<More>,
}

/// What a message's row has besides.
struct More {
    thread: ThreadId,
    size: u64,
    received: i64,
    saved: Option<i64>,
}

impl Rows {
    /// The rows of `wanted`, a part of `view`.
    pub fn new(
        plan: Arc<Plan>,
        (account, mailbox): (AccountId, MailboxId),
        view: UidSet,
        wanted: UidSet,
        keywords: Vec<Box<str>>,
    ) -> Self {
        let until = wanted.len();
        Self {
            plan,
            account,
            mailbox,
            keywords,
            view,
            wanted,
            at: 0,
            until,
            newly_seen: UidSet::new(),
            told: Vec::new(),
            awaited: None,
            highest: ModSeq::MIN,
            open: None,
            missing: Vec::new(),
            removed: VecDeque::new(),
            unknown_encoding: false,
            unreadable: 0,
        }
    }

    /// Whether a row has begun and isn't ended: only closing the connection is left when it can't be.
    pub const fn is_in_row(&self) -> bool {
        self.open.is_some()
    }

    /// Whether every wanted message is done with.
    pub fn is_finished(&self) -> bool {
        self.at == self.wanted.len() && self.open.is_none() && self.removed.is_empty()
    }

    /// How many of the wanted messages are done with.
    pub const fn done(&self) -> u32 {
        self.at
    }

    /// Takes the messages that have no row any more.
    pub fn take_missing(&mut self) -> Vec<Uid> {
        std::mem::take(&mut self.missing)
    }

    /// Adds messages that were removed and whose content is still there.
    pub fn add_removed(&mut self, removed: impl IntoIterator<Item = (Uid, EmailId)>) {
        self.removed.extend(removed);
    }

    /// Looks at the next messages: stops the next runs after them, and tells which of them are unseen.
    /// At most `messages_max`, and no more once they have `octets_max` octets together.
    pub fn next_unseen(
        &mut self,
        reader: &Reader,
        messages_max: u32,
        octets_max: u64,
    ) -> Result<Vec<Uid>, StoreError> {
        let mut unseen = Vec::new();
        let mut octets = 0;
        let group = self.group(messages_max);
        let mut cursor = Cursor::new(reader, self.account, self.mailbox, &group);
        self.until = self.at;
        for uid in group.iter() {
            self.until += 1;
            let Some(row) = cursor.at(uid)? else { continue };
            if !row.flags.contains(Flags::SEEN) {
                unseen.push(uid);
            }
            octets += row.size;
            if octets >= octets_max {
                break;
            }
        }
        Ok(unseen)
    }

    /// Says which messages were marked as seen.
    pub fn set_newly_seen(&mut self, uids: UidSet) {
        self.newly_seen = uids;
    }

    /// Says which keywords FLAGS told.
    pub fn set_told(&mut self, keywords: &[KeywordId]) {
        self.told = keywords.to_vec();
    }

    /// Whether the next row has keywords that FLAGS has to tell first, and since which change. It is not
    /// asked for again.
    pub fn take_awaited(&mut self) -> Option<ModSeq> {
        let (modseq, keywords) = self.awaited.take()?;
        self.told.extend(keywords);
        Some(modseq)
    }

    /// Appends rows until about `octets` more octets are in `out`.
    pub fn run(&mut self, reader: &Reader, out: &mut Vec<u8>, octets: usize) -> Result<Progress, StoreError> {
        let full = out.len() + octets;
        let mut loader = Loader::new(reader, self.account);
        if let Some(open) = self.open.take() {
            self.go_on(open, reader, out, full)?;
        }
        while self.open.is_none() && self.awaited.is_none() && out.len() < full {
            if let Some((uid, email)) = self.removed.pop_front() {
                let sequence = self.view.sequence_of(uid).unwrap_or(0);
                let facts = Facts { sequence, uid, state: None, email, more: None };
                self.row(reader, &mut loader, facts, out, full)?;
            } else if self.at < self.until {
                self.some_rows(reader, &mut loader, out, full)?;
            } else {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    /// The next wanted messages.
    fn group(&self, messages_max: u32) -> UidSet {
        let last = self.at.saturating_add(messages_max).min(self.wanted.len());
        match (Uid::new(self.at + 1), Uid::new(last)) {
            (Some(first), Some(last)) => self.wanted.at_sequence(&UidSet::from_range(first..=last)),
            _ => UidSet::new(),
        }
    }

    /// The account and the mailbox.
    pub(super) const fn place(&self) -> (AccountId, MailboxId) {
        (self.account, self.mailbox)
    }

    /// How the client numbers messages.
    pub(super) fn numbering(&self) -> Numbering {
        self.plan.numbering
    }

    /// The number of a message.
    pub(super) fn sequence_of(&self, uid: Uid) -> u32 {
        self.view.sequence_of(uid).unwrap_or(0)
    }

    /// Notes a message that has no row any more.
    pub(super) fn add_missing(&mut self, uid: Uid) {
        self.missing.push(uid);
    }

    /// Says that one more of the wanted messages is done with.
    pub(super) const fn advance(&mut self) {
        self.at += 1;
    }

    fn some_rows(
        &mut self,
        reader: &Reader,
        loader: &mut Loader<'_>,
        out: &mut Vec<u8>,
        full: usize,
    ) -> Result<(), StoreError> {
        let mut group = self.group(GROUP.min(self.until - self.at));
        if self.plan.is_packed() && self.newly_seen.is_empty() {
            if self.packed_rows(reader, &group, out, full)? {
                return Ok(());
            }
            // One with keywords comes next: it and those behind it are read as rows.
            group = self.group(GROUP.min(self.until - self.at));
        }
        let mut cursor = Cursor::new(reader, self.account, self.mailbox, &group);
        let changed_since = self.plan.changed_since.unwrap_or(0);
        for run in group.runs() {
            let first = self.view.sequence_of(*run.start()).unwrap_or(0);
            for (uid, sequence) in (run.start().get()..=run.end().get()).filter_map(Uid::new).zip(first..) {
                let row = cursor.at(uid)?;
                let Some(row) = row else {
                    self.at += 1;
                    self.missing.push(uid);
                    continue;
                };
                let tells_flags = self.plan.flags || self.newly_seen.contains(uid);
                if tells_flags && !row.keywords.iter().all(|keyword| self.told.contains(keyword)) {
                    self.awaited = Some((row.modseq, row.keywords.to_vec()));
                    return Ok(());
                }
                self.at += 1;
                self.highest = self.highest.max(row.modseq);
                if row.modseq.get() <= changed_since {
                    continue;
                }
                let facts = Facts {
                    sequence,
                    uid,
                    state: Some((row.flags, &row.keywords, row.modseq)),
                    email: row.email,
                    more: Some(More {
                        thread: row.thread,
                        size: row.size,
                        received: row.received,
                        saved: Some(row.saved),
                    }),
                };
                self.row(reader, loader, facts, out, full)?;
                if self.open.is_some() || out.len() >= full {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Writes a row, or as much of it as fits. A message that can't be read is left out and counted.
    fn row(
        &mut self,
        reader: &Reader,
        loader: &mut Loader<'_>,
        facts: Facts<'_>,
        out: &mut Vec<u8>,
        full: usize,
    ) -> Result<(), StoreError> {
        let start = out.len();
        let (plan, uid) = (Arc::clone(&self.plan), facts.uid);
        let mut row = FetchRow::of(out, plan.numbering, facts.sequence, facts.uid);
        if plan.uid && plan.numbering == Numbering::Uid {
            row.uid(out, facts.uid);
        }
        if let Some((flags, keywords, modseq)) = facts.state {
            if plan.flags || self.newly_seen.contains(facts.uid) {
                self.flags(reader, &mut row, out, flags, keywords)?;
            }
            if plan.modseq {
                row.modseq(out, modseq);
            }
        }
        if plan.items.is_empty() {
            row.end(out);
            return Ok(());
        }
        let items = match self.items(reader, loader, &plan, facts) {
            Ok(Some(items)) => items,
            Ok(None) => {
                // Erased since: only a removed message is.
                out.truncate(start);
                return Ok(());
            }
            Err(error) => return self.leave_out(&error, uid, start, out),
        };
        match self.go_on(Open { row, items }, reader, out, full) {
            Ok(()) => Ok(()),
            Err(error) => self.leave_out(&error, uid, start, out),
        }
    }

    fn items(
        &self,
        reader: &Reader,
        loader: &mut Loader<'_>,
        plan: &Plan,
        facts: Facts<'_>,
    ) -> Result<Option<Items>, StoreError> {
        let More { thread, size, received, saved } = match facts.more {
            Some(known) => known,
            None => match reader.email(self.account, facts.email)? {
                Some(email) => {
                    More { thread: email.thread, size: email.size, received: email.received, saved: None }
                }
                None => return Ok(None),
            },
        };
        let mut message = None;
        if plan.needs_message {
            message = loader.load(facts.email)?;
            if message.is_none() {
                return match facts.state {
                    None => Ok(None),
                    Some(_) => Err(StoreError::Inconsistent("a message has no email")),
                };
            }
        }
        let (account, email) = (self.account, facts.email);
        let facts = items::Facts { account, email, thread, size, received, saved };
        Ok(Some(Items::new(message, facts)))
    }

    fn leave_out(
        &mut self,
        error: &StoreError,
        uid: Uid,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        tracing::error!(account = %self.account, mailbox = %self.mailbox, %uid, %error, "a message can't be read");
        out.truncate(start);
        self.open = None;
        self.unreadable += 1;
        Ok(())
    }

    /// Goes on with a row, up to its end or until the buffer is full.
    fn go_on(
        &mut self,
        mut open: Open,
        reader: &Reader,
        out: &mut Vec<u8>,
        full: usize,
    ) -> Result<(), StoreError> {
        let plan = Arc::clone(&self.plan);
        loop {
            match open.items.step(&plan, &mut open.row, reader, out, full) {
                Ok(Step::Ended) => {
                    open.row.end(out);
                    return Ok(());
                }
                Ok(Step::UnknownEncoding) => self.unknown_encoding = true,
                Ok(Step::Full) => {
                    self.open = Some(open);
                    return Ok(());
                }
                Err(error) => {
                    self.open = Some(open);
                    return Err(error);
                }
            }
        }
    }

    fn flags(
        &self,
        reader: &Reader,
        row: &mut FetchRow,
        out: &mut Vec<u8>,
        flags: Flags,
        keywords: &[KeywordId],
    ) -> Result<(), StoreError> {
        let name = |id: &KeywordId| self.keywords.get(usize::from(id.0)).map(|name| &**name);
        if keywords.iter().all(|id| name(id).is_some()) {
            row.flags(out, flags, keywords.iter().filter_map(name));
            return Ok(());
        }
        // One of them came into use after this command began.
        let mut names = Vec::with_capacity(keywords.len());
        for id in keywords {
            let keyword = reader.keyword(self.account, *id)?;
            names.push(keyword.ok_or(StoreError::Inconsistent("a message has an unknown keyword"))?);
        }
        row.flags(out, flags, names.iter().map(|name| name.as_str()));
        Ok(())
    }
}

type Walk<'a> = Box<dyn Iterator<Item = Result<(Uid, MessageRow), StoreError>> + 'a>;

/// Looks up the rows of a set of messages, ascending: neighbours are walked.
pub struct Cursor<'a> {
    reader: &'a Reader,
    account: AccountId,
    mailbox: MailboxId,
    walk: Option<Walk<'a>>,
    ahead: Option<(Uid, MessageRow)>,
}

impl<'a> Cursor<'a> {
    /// For lookups of members of `uids`.
    pub fn new(reader: &'a Reader, account: AccountId, mailbox: MailboxId, uids: &UidSet) -> Self {
        let mut cursor = Self { reader, account, mailbox, walk: None, ahead: None };
        if let (Some(first), Some(last)) = (uids.first(), uids.last()) {
            let span = last.get() - first.get();
            if uids.len() >= DENSE_MIN && span / DENSE_GAPS < uids.len() {
                cursor.walk = Some(Box::new(reader.messages(account, mailbox, first..=last)));
            }
        }
        cursor
    }

    /// The row of `uid`, which must be above those asked for before.
    pub fn at(&mut self, uid: Uid) -> Result<Option<MessageRow>, StoreError> {
        let Some(walk) = &mut self.walk else {
            return self.reader.message(self.account, self.mailbox, uid);
        };
        loop {
            let next = match self.ahead.take() {
                Some(ahead) => Some(ahead),
                None => walk.next().transpose()?,
            };
            match next {
                Some((found, row)) if found == uid => return Ok(Some(row)),
                Some((found, _)) if found < uid => {}
                ahead => {
                    self.ahead = ahead;
                    return Ok(None);
                }
            }
        }
    }
}
