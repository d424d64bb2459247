//! Typed reads of one snapshot.
//!
//! What always holds: everything read from one [`Reader`] is of one moment. Nothing here reads more
//! rows than its answer has, plus one; what walks a mailbox is an iterator that may be dropped early.

mod ascending;

use std::ops::{Bound, RangeInclusive};

use postrider_proto::imap::types::{Flags, Keyword, ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;

use crate::engine::{Bytes, Snapshot, Space};
use crate::ids::{AccountId, BlobId, EmailId, KeywordId, MailboxId};
use crate::keys::{self, MetadataPlace, SYSTEM, Which, table};
use crate::rows::pack::{Block, View};
use crate::rows::{
    BlobRow, EmailRow, HeadRow, MailboxRow, MessageRow, MetadataRow, RefsRow, TombstoneRow, UrlKeyRow,
    decode_keyword,
};
use crate::store::StoreError;
use ascending::Ascending;

/// One moment of the store.
pub struct Reader {
    snapshot: Box<dyn Snapshot>,
}

/// A row as stored.
pub type Raw = (Bytes, Bytes);

/// An entry of a mailbox's change index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Changed {
    /// The message.
    pub uid: Uid,
    /// Its last change, or its removal.
    pub modseq: ModSeq,
    /// The tombstone, when it was removed.
    pub tombstone: Option<TombstoneRow>,
}

/// What a scan of flags looks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlagQuery {
    /// Flags that must be set.
    pub set: Flags,
    /// Flags that must not be set.
    pub unset: Flags,
}

impl FlagQuery {
    /// Whether `flags` are as asked for.
    pub const fn matches(self, flags: Flags) -> bool {
        flags.contains(self.set) && flags.bits() & self.unset.bits() == 0
    }
}

impl Reader {
    /// Reads from `snapshot`.
    pub fn new(snapshot: Box<dyn Snapshot>) -> Self {
        Self { snapshot }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &dyn Snapshot {
        &*self.snapshot
    }

    /// The snapshot, to read of the same moment otherwise.
    pub fn into_snapshot(self) -> Box<dyn Snapshot> {
        self.snapshot
    }

    /// A row of the space `rows`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.snapshot.get(Space::Rows, key)?)
    }

    /// All rows whose keys begin with `prefix`.
    pub fn prefix<'a>(
        &'a self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<Raw, StoreError>> + use<'a> {
        self.snapshot.prefix(Space::Rows, prefix).map(|row| Ok(row?))
    }

    /// All rows from `from` on, up to the end of `prefix`.
    pub fn from<'a>(
        &'a self,
        from: &[u8],
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<Raw, StoreError>> + use<'a> {
        let end = keys::after(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.snapshot.range(Space::Rows, Bound::Included(from), end).map(|row| Ok(row?))
    }

    /// The last row whose key begins with `prefix`.
    pub fn last(&self, space: Space, prefix: &[u8]) -> Result<Option<Raw>, StoreError> {
        Ok(self.snapshot.prefix(space, prefix).next_back().transpose()?)
    }

    /// Whether there is no row at all.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.snapshot.prefix(Space::Rows, &[]).next().transpose()?.is_none())
    }

    /// The counters of an account; none when it has no rows.
    pub fn head(&self, account: AccountId) -> Result<Option<HeadRow>, StoreError> {
        self.get(&keys::head(account))?.map(|row| Ok(HeadRow::decode(&row)?)).transpose()
    }

    /// Accounts that have rows, ascending from `from`: one seek for each.
    pub fn accounts_from(&self, from: AccountId) -> impl Iterator<Item = Result<AccountId, StoreError>> + '_ {
        let mut next = Some(from.get());
        std::iter::from_fn(move || {
            let from = keys::owner(next?);
            let found = self.snapshot.range(Space::Rows, Bound::Included(&from), Bound::Unbounded).next()?;
            let account = found.map_err(StoreError::from).and_then(|(key, _)| {
                AccountId::new(keys::split(&key)?.0).ok_or(StoreError::Inconsistent("a key of no account"))
            });
            next = account.as_ref().ok().and_then(|account| account.get().checked_add(1));
            Some(account)
        })
    }

    /// Accounts that have rows in a system table whose keys begin with the account: removed messages
    /// to erase, deleted mailboxes to sweep. One seek for each.
    pub fn accounts_in(&self, table: u8) -> impl Iterator<Item = Result<AccountId, StoreError>> + '_ {
        let prefix = keys::of_table(SYSTEM, table);
        let mut next = Some(1_u32);
        std::iter::from_fn(move || {
            let mut from = prefix.clone();
            from.extend_from_slice(&next?.to_be_bytes());
            let account = self.from(&from, &prefix).next()?.and_then(|(key, _)| {
                let (_, _, rest) = keys::split(&key)?;
                let number = rest.first_chunk::<4>().map_or(0, |number| u32::from_be_bytes(*number));
                AccountId::new(number).ok_or(StoreError::Inconsistent("a to-do row of no account"))
            });
            next = account.as_ref().ok().and_then(|account| account.get().checked_add(1));
            Some(account)
        })
    }

    /// A mailbox's row.
    pub fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<Option<MailboxRow>, StoreError> {
        self.get(&keys::mailbox(account, mailbox))?.map(|row| Ok(MailboxRow::decode(&row)?)).transpose()
    }

    /// All mailboxes of an account, by id.
    pub fn mailboxes(
        &self,
        account: AccountId,
    ) -> impl Iterator<Item = Result<(MailboxId, MailboxRow), StoreError>> + '_ {
        self.prefix(&keys::of_table(account.get(), table::MAILBOX)).map(|row| {
            let (key, value) = row?;
            let [id] = keys::numbers(&key, [4])?;
            let id = u32::try_from(id).ok().and_then(MailboxId::new);
            Ok((id.ok_or(StoreError::Inconsistent("mailbox id 0"))?, MailboxRow::decode(&value)?))
        })
    }

    /// The dictionary of keywords, by id.
    pub fn keywords(&self, account: AccountId) -> Result<Vec<Keyword>, StoreError> {
        let mut keywords = Vec::new();
        for row in self.prefix(&keys::of_table(account.get(), table::KEYWORD)) {
            let (key, value) = row?;
            if keys::numbers(&key, [2])? != [keywords.len() as u64] {
                return Err(StoreError::Inconsistent("ids of keywords have a gap"));
            }
            keywords.push(decode_keyword(&value)?);
        }
        Ok(keywords)
    }

    /// One keyword's spelling.
    pub fn keyword(&self, account: AccountId, id: KeywordId) -> Result<Option<Keyword>, StoreError> {
        self.get(&keys::keyword(account, id))?.map(|row| Ok(decode_keyword(&row)?)).transpose()
    }

    /// An annotation; `path` is its name without `/private` or `/shared`.
    pub fn metadata(
        &self,
        account: AccountId,
        place: MetadataPlace,
        path: &str,
    ) -> Result<Option<MetadataRow>, StoreError> {
        let row = self.get(&keys::metadata(account, place, path))?;
        row.map(|row| Ok(MetadataRow::decode(&row)?)).transpose()
    }

    /// All annotations whose keys begin with `prefix`, by place and path.
    pub fn metadata_in(
        &self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(MetadataPlace, String, MetadataRow), StoreError>> + '_ {
        self.prefix(prefix).map(|row| {
            let (key, value) = row?;
            let (place, path) = keys::metadata_parts(&key)?;
            Ok((place, path.to_owned(), MetadataRow::decode(&value)?))
        })
    }

    /// A message.
    pub fn message(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uid: Uid,
    ) -> Result<Option<MessageRow>, StoreError> {
        let row = self.get(&keys::message(account, mailbox, uid))?;
        row.map(|row| Ok(MessageRow::decode(&row)?)).transpose()
    }

    /// The messages with uids in a range, ascending; from the back descending.
    pub fn messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: RangeInclusive<Uid>,
    ) -> impl DoubleEndedIterator<Item = Result<(Uid, MessageRow), StoreError>> + '_ {
        let from = keys::message(account, mailbox, *uids.start());
        let to = keys::message(account, mailbox, *uids.end());
        let rows = self.snapshot.range(Space::Rows, Bound::Included(&from), Bound::Included(&to));
        rows.map(|row| {
            let (key, value) = row?;
            Ok((keys::mailbox_and_uid(&key)?.1, MessageRow::decode(&value)?))
        })
    }

    /// The packed blocks of a mailbox, ascending, unpacked one by one.
    pub fn blocks(
        &self,
        account: AccountId,
        mailbox: MailboxId,
    ) -> impl DoubleEndedIterator<Item = Result<Block, StoreError>> + '_ {
        self.prefix(&keys::packs(account, mailbox)).map(|row| {
            let (key, value) = row?;
            Ok(Block::decode(keys::mailbox_and_uid(&key)?.1, &value)?)
        })
    }

    /// Calls `each` for every run of consecutive uids of a mailbox, ascending: first uid and count.
    /// Two thousand short rows for a million messages.
    pub fn uid_runs(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        mut each: impl FnMut(Uid, u32),
    ) -> Result<(), StoreError> {
        let mut behind = 0;
        for row in self.prefix(&keys::packs(account, mailbox)) {
            let (key, value) = row?;
            for run in View::parse(keys::mailbox_and_uid(&key)?.1, &value)?.runs() {
                let (first, count) = run?;
                if first.get() <= behind {
                    return Err(StoreError::Inconsistent("PACK blocks overlap"));
                }
                behind = first.get() + (count - 1);
                each(first, count);
            }
        }
        Ok(())
    }

    /// All uids of a mailbox.
    pub fn uid_set(&self, account: AccountId, mailbox: MailboxId) -> Result<UidSet, StoreError> {
        let mut runs = Vec::new();
        self.uid_runs(account, mailbox, |first, count| {
            // The runs of a block end at or below the last uid.
            runs.push(first..=Uid::new(first.get() + (count - 1)).unwrap_or(Uid::MAX));
        })?;
        Ok(UidSet::from_runs(runs))
    }

    /// The uids of messages whose flags are as asked for, ascending. Blocks whose counts exclude a
    /// match are not unpacked.
    pub fn uids_by_flags(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        query: FlagQuery,
    ) -> impl Iterator<Item = Result<Uid, StoreError>> + '_ {
        let mut blocks = self.prefix(&keys::packs(account, mailbox));
        let mut found = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(uid) = found.next() {
                    return Some(Ok(uid));
                }
                let uids = blocks
                    .next()?
                    .and_then(|(key, value)| matches_in(keys::mailbox_and_uid(&key)?.1, &value, query));
                match uids {
                    Ok(uids) => found = uids.into_iter(),
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }

    /// The first message without `\Seen`, and how many messages come before it.
    pub fn first_unseen(
        &self,
        account: AccountId,
        mailbox: MailboxId,
    ) -> Result<Option<(Uid, u32)>, StoreError> {
        let mut before = 0;
        for row in self.prefix(&keys::packs(account, mailbox)) {
            let (key, value) = row?;
            let base = keys::mailbox_and_uid(&key)?.1;
            let counts = View::parse(base, &value)?.counts();
            if counts.unseen > 0 {
                let block = Block::decode(base, &value)?;
                let found = block.iter().zip(before..).find(|((_, flags), _)| !flags.contains(Flags::SEEN));
                return Ok(found.map(|((uid, _), at)| (uid, at)));
            }
            before += u32::from(counts.messages);
        }
        Ok(None)
    }

    /// What changed in a mailbox after `since`, by modseq. The cost is the number of changes.
    ///
    /// Tombstones are complete only from the mailbox's horizon on: below it, a caller has to answer as
    /// RFC 7162 §3.2.5 allows when the server doesn't remember.
    pub fn changes(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        since: ModSeq,
        which: Which,
    ) -> impl DoubleEndedIterator<Item = Result<Changed, StoreError>> + '_ {
        let from = keys::changes_after(account, mailbox, which, since);
        self.from(&from, &keys::changes(account, mailbox, which)).map(|row| {
            let (key, value) = row?;
            let (_, which, modseq, uid) = keys::change_parts(&key)?;
            let tombstone = match which {
                Which::Live => None,
                Which::Tombstones => Some(TombstoneRow::decode(&value)?),
            };
            Ok(Changed { uid, modseq, tombstone })
        })
    }

    /// What the copies of a message share.
    pub fn email(&self, account: AccountId, email: EmailId) -> Result<Option<EmailRow>, StoreError> {
        self.get(&keys::email(account, email))?.map(|row| Ok(EmailRow::decode(&row)?)).transpose()
    }

    /// Lookups of emails that mostly follow each other.
    pub fn emails(&self, account: AccountId) -> Emails<'_> {
        Emails(Ascending::new(self, keys::emails(account)))
    }

    /// Lookups of contents' headers that mostly follow each other.
    pub fn blobs(&self) -> Blobs<'_> {
        Blobs(Ascending::new(self, keys::blobs()))
    }

    /// How many MESSAGE and ERASE rows refer to an email that exists.
    pub fn email_refs(&self, account: AccountId, email: EmailId) -> Result<u32, StoreError> {
        let row = self.get(&keys::email_refs(account, email))?;
        row.map_or(Ok(1), |row| Ok(RefsRow::decode(&row)?.refs))
    }

    /// The key that authorises URLs of a mailbox's messages; none before it is needed.
    pub fn url_key(&self, account: AccountId, mailbox: MailboxId) -> Result<Option<UrlKeyRow>, StoreError> {
        self.get(&keys::url_key(account, mailbox))?.map(|row| Ok(UrlKeyRow::decode(&row)?)).transpose()
    }

    /// A content's header with the structure record; none while it is not complete.
    pub fn blob(&self, blob: BlobId) -> Result<Option<BlobRow>, StoreError> {
        self.get(&keys::blob(blob))?.map(|row| Ok(BlobRow::decode(&row)?)).transpose()
    }
}

/// See [`Reader::emails`].
pub struct Emails<'a>(Ascending<'a>);

impl Emails<'_> {
    /// As [`Reader::email`].
    pub fn get(&mut self, email: EmailId) -> Result<Option<EmailRow>, StoreError> {
        self.0.get(email.0)?.map(|row| Ok(EmailRow::decode(&row)?)).transpose()
    }
}

/// See [`Reader::blobs`].
pub struct Blobs<'a>(Ascending<'a>);

impl Blobs<'_> {
    /// As [`Reader::blob`].
    pub fn get(&mut self, blob: BlobId) -> Result<Option<BlobRow>, StoreError> {
        self.0.get(blob.0)?.map(|row| Ok(BlobRow::decode(&row)?)).transpose()
    }
}

/// The messages of a stored block whose flags are as asked for.
pub(crate) fn matches_in(base: Uid, value: &[u8], query: FlagQuery) -> Result<Vec<Uid>, StoreError> {
    let counts = View::parse(base, value)?.counts();
    let none_unseen = query.unset.contains(Flags::SEEN) && counts.unseen == 0;
    let none_seen = query.set.contains(Flags::SEEN) && counts.unseen == counts.messages;
    let none_deleted = query.set.contains(Flags::DELETED) && counts.deleted == 0;
    if none_unseen || none_seen || none_deleted {
        return Ok(Vec::new());
    }
    let block = Block::decode(base, value)?;
    Ok(block.iter().filter(|(_, flags)| query.matches(*flags)).map(|(uid, _)| uid).collect())
}
