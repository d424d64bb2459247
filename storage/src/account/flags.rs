//! Changing flags and keywords (RFC 9051 §6.4.6, RFC 7162 §3.1.3).

use std::collections::BTreeMap;

use postrider_proto::imap::rights::Rights;
use postrider_proto::imap::types::{Flags, Keyword, ModSeq, Uid};

use super::append::pack_octet;
use super::{Change, Touched, Tx};
use crate::ids::{KeywordId, MailboxId};
use crate::keys::{self, Which};
use crate::rows::MessageRow;
use crate::store::{Refusal, StoreError};

/// How flags change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagOp {
    /// These are set besides those that are.
    Add,
    /// These are no longer set.
    Remove,
    /// These are set and no others.
    Replace,
}

/// A change of flags and keywords.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlagChange {
    /// How.
    pub op: FlagOp,
    /// System flags.
    pub flags: Flags,
    /// Keywords.
    pub keywords: Vec<Keyword>,
}

/// Which flags somebody may change, or give to a message that is added (RFC 4314 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlagScope {
    /// System flags.
    pub flags: Flags,
    /// Whether keywords, too.
    pub keywords: bool,
}

impl FlagScope {
    /// All of them.
    pub const ALL: Self = Self { flags: Flags::from_bits(u8::MAX), keywords: true };

    /// What `rights` allow: `s` for `\Seen`, `t` for `\Deleted`, `w` for all others.
    pub const fn of(rights: Rights) -> Self {
        let others = Self::ALL.flags.without(Flags::SEEN).without(Flags::DELETED);
        let keywords = rights.contains(Rights::WRITE);
        let mut flags = if keywords { others } else { Flags::NONE };
        if rights.contains(Rights::SEEN) {
            flags = flags.with(Flags::SEEN);
        }
        if rights.contains(Rights::DELETE) {
            flags = flags.with(Flags::DELETED);
        }
        Self { flags, keywords }
    }

    /// Those of `flags` that are within it.
    pub const fn cut(self, flags: Flags) -> Flags {
        Flags::from_bits(flags.bits() & self.flags.bits())
    }

    /// Whether it allows any of what a change wants: a replacement wants all that there are.
    pub fn allows_some(self, change: &FlagChange) -> bool {
        let nothing = change.flags == Flags::NONE && change.keywords.is_empty();
        match change.op {
            FlagOp::Replace => self.keywords || self.flags != Flags::NONE,
            FlagOp::Add | FlagOp::Remove => {
                nothing
                    || self.cut(change.flags) != Flags::NONE
                    || self.keywords && !change.keywords.is_empty()
            }
        }
    }
}

/// Which messages a conditional change leaves alone (RFC 7162 §3.1.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unchanged {
    /// Those that changed after this one; 0 means all.
    pub since: u64,
    /// But for those whose changes since then were of other flags: the last such change of each. One that
    /// changed again is left alone (RFC 7162 §3.1.12).
    pub but_for: BTreeMap<Uid, ModSeq>,
}

impl Unchanged {
    /// Whatever changed later is left alone.
    pub const fn since(since: u64) -> Self {
        Self { since, but_for: BTreeMap::new() }
    }

    fn allows(&self, uid: Uid, modseq: ModSeq) -> bool {
        modseq.get() <= self.since || self.but_for.get(&uid) == Some(&modseq)
    }
}

/// A message's flags after [`Tx::store_flags`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Updated {
    /// The message.
    pub uid: Uid,
    /// Its modification sequence; an old one when its flags were already so.
    pub modseq: ModSeq,
    /// Its flags.
    pub flags: Flags,
    /// Its keywords, ascending.
    pub keywords: Box<[KeywordId]>,
}

/// What [`Tx::store_flags`] did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreDone {
    /// Messages that have the wanted flags now, ascending.
    pub updated: Vec<Updated>,
    /// Messages that changed after `unchanged_since` and so were left alone (RFC 7162 MODIFIED).
    pub modified: Vec<Uid>,
    /// Uids without message.
    pub missing: Vec<Uid>,
}

impl Tx<'_, '_> {
    /// Changes flags of messages (`uids` ascending, each once). A message whose flags are already as
    /// wanted keeps its modification sequence. With `unchanged_since`, one that changed later is left
    /// alone; 0 leaves all alone.
    pub fn store_flags(
        &mut self,
        mailbox: MailboxId,
        uids: &[Uid],
        change: &FlagChange,
        unchanged_since: Option<u64>,
    ) -> Result<StoreDone, StoreError> {
        let unchanged = unchanged_since.map(Unchanged::since);
        self.store_flags_within(mailbox, uids, change, unchanged.as_ref(), FlagScope::ALL)
    }

    /// The same for somebody who may change some flags only: all others stay as they are.
    pub fn store_flags_within(
        &mut self,
        mailbox: MailboxId,
        uids: &[Uid],
        change: &FlagChange,
        unchanged: Option<&Unchanged>,
        scope: FlagScope,
    ) -> Result<StoreDone, StoreError> {
        self.check_messages(uids.len())?;
        self.mailbox(mailbox)?;
        let rows = self.rows(mailbox, uids)?;
        let mut done = StoreDone {
            missing: uids
                .iter()
                .filter(|uid| rows.binary_search_by_key(uid, |(uid, _)| uid).is_err())
                .copied()
                .collect(),
            ..StoreDone::default()
        };
        let (rows, modified): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|(uid, row)| unchanged.is_none_or(|unchanged| unchanged.allows(*uid, row.modseq)));
        done.modified = modified.into_iter().map(|(uid, _)| uid).collect();
        // An unknown keyword joins the dictionary only when a message gets it.
        let keywords = match change.op {
            _ if !scope.keywords => Box::default(),
            FlagOp::Remove => change.keywords.iter().filter_map(|keyword| self.keyword_id(keyword)).collect(),
            FlagOp::Add | FlagOp::Replace if rows.is_empty() => Box::default(),
            FlagOp::Add | FlagOp::Replace => self.intern(&change.keywords)?,
        };
        let mut packed = Vec::new();
        for (uid, mut row) in rows {
            let kept = row.flags.without(scope.flags);
            let flags = scope.cut(apply_flags(row.flags, change)).with(kept);
            let new_keywords = match scope.keywords {
                true => apply_keywords(&row.keywords, &keywords, change.op),
                false => row.keywords.clone(),
            };
            if (flags, &new_keywords) != (row.flags, &row.keywords) {
                if new_keywords.len() > self.batch.account.limits.message_keywords_max {
                    return Err(Refusal::TooManyKeywords.into());
                }
                packed.push((uid, pack_octet(flags, &new_keywords)));
                self.replace_flags(mailbox, uid, &mut row, flags, new_keywords)?;
            }
            done.updated.push(Updated { uid, modseq: row.modseq, flags: row.flags, keywords: row.keywords });
        }
        let (packs, source) = self.packs();
        packs.set(source, mailbox, &packed)?;
        Ok(done)
    }

    /// The only place that changes a message's flags.
    fn replace_flags(
        &mut self,
        mailbox: MailboxId,
        uid: Uid,
        row: &mut MessageRow,
        flags: Flags,
        keywords: Box<[KeywordId]>,
    ) -> Result<(), StoreError> {
        let modseq = self.modseq()?;
        let account = self.account();
        self.use_keywords(mailbox, &keywords)?;
        let (before, after) = (Counted::of(row.flags, row.size), Counted::of(flags, row.size));
        let target = self.mailbox_mut(mailbox)?;
        target.modseq = modseq;
        target.unseen = target.unseen - before.unseen + after.unseen;
        target.deleted = target.deleted - before.deleted + after.deleted;
        target.deleted_size = target.deleted_size - before.deleted_size + after.deleted_size;

        self.remove(keys::change(account, mailbox, Which::Live, row.modseq, uid));
        self.insert(keys::change(account, mailbox, Which::Live, modseq, uid), Vec::new());
        let touched = Touched::between((row.flags, flags), (&row.keywords, &keywords));
        row.flags = flags;
        row.keywords = keywords;
        row.modseq = modseq;
        self.insert(keys::message(account, mailbox, uid), row.encode());
        let keywords = row.keywords.clone();
        self.changes.push(Change::Flags { mailbox, uid, modseq, flags, keywords, touched });
        Ok(())
    }
}

/// What a message counts for in its mailbox.
struct Counted {
    unseen: u32,
    deleted: u32,
    deleted_size: u64,
}

impl Counted {
    fn of(flags: Flags, size: u64) -> Self {
        let deleted = flags.contains(Flags::DELETED);
        Self {
            unseen: u32::from(!flags.contains(Flags::SEEN)),
            deleted: u32::from(deleted),
            deleted_size: if deleted { size } else { 0 },
        }
    }
}

fn apply_flags(flags: Flags, change: &FlagChange) -> Flags {
    match change.op {
        FlagOp::Add => flags.with(change.flags),
        FlagOp::Remove => flags.without(change.flags),
        FlagOp::Replace => change.flags,
    }
}

fn apply_keywords(keywords: &[KeywordId], change: &[KeywordId], op: FlagOp) -> Box<[KeywordId]> {
    match op {
        FlagOp::Add => {
            let mut all: Vec<_> = keywords.iter().chain(change).copied().collect();
            all.sort_unstable();
            all.dedup();
            all.into()
        }
        FlagOp::Remove => keywords.iter().filter(|id| !change.contains(id)).copied().collect(),
        FlagOp::Replace => change.into(),
    }
}
