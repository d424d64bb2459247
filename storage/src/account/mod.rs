//! An account on its home shard: committed state in memory, and the transactions that change it.
//!
//! The way of a change: [`Account::begin`] with a fresh [`Reader`], one or more
//! [`AccountBatch::transact`], [`AccountBatch::finish`]; the batch goes to the committer; after its
//! acknowledgement [`Account::install`], then the changes go to the sessions. Meanwhile no other batch
//! of the account is begun.
//!
//! What always holds: [`Account`] shows committed state only. A transaction that fails leaves no
//! trace. One that changes something takes exactly one modification sequence (RFC 7162 §3.1), one that
//! changes nothing takes none and writes nothing. The cost of a transaction follows the messages that
//! it touches, not those that there are.

mod append;
mod batch;
mod change;
mod erase;
mod expunge;
mod flags;
mod mailboxes;
pub(crate) mod metadata;
mod outgoing;
mod overlay;
mod packs;
mod remove;
mod senders;
mod sharing;
mod threads;
mod tls_known;
mod urlkeys;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::Keyword;

use crate::ids::{AccountId, KeywordId, MailboxId};
use crate::keys::{self, table};
use crate::reader::Reader;
use crate::rows::{AclRow, HeadRow, MailboxRow};
use crate::store::StoreError;

pub use append::{Appended, Content, NewMessage, Source};
pub use batch::{AccountBatch, Pending, Tx};
pub use change::{Change, Touched};
pub use erase::{Erase, Swept};
pub use expunge::{Copied, Expunge, Expunged};
pub use flags::{FlagChange, FlagOp, FlagScope, StoreDone, Unchanged, Updated};
pub use mailboxes::{Initial, Moved};
pub use outgoing::{
    SENT_WINDOW, Sent, fold_sent, note_recipients, note_sent, recipient_hash, sent, sent_in_window,
};
pub use remove::{Removal, remove_account};
pub use senders::{SENDER_DAYS, knows_sender};
pub use sharing::unshare;
pub use threads::{ThreadInfo, hash};
pub(crate) use tls_known::convert as convert_tls_known;
pub use tls_known::{TlsKnown, has_old_tls_known, tls_known, tls_known_list};

/// The most messages that one transaction touches, by default. At most about 1100 octets are written for
/// each (a moved message with the most keywords, alone in its PACK block), so that a transaction fits
/// [`TRANSACTION_OCTETS_MAX`].
///
/// STORE, COPY, MOVE and EXPUNGE of more are cut into several transactions by the caller, each atomic
/// and with a modification sequence of its own: RFC 6851 §3.3 asks for atomicity of each message only.
pub const MESSAGES_PER_TRANSACTION_MAX: usize = 800;

/// The most octets that one transaction writes, besides message content, by default.
pub const TRANSACTION_OCTETS_MAX: usize = 1024 * 1024;

const _: () = assert!(MESSAGES_PER_TRANSACTION_MAX * 1280 < TRANSACTION_OCTETS_MAX);

/// What an account may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Mailboxes.
    pub mailboxes_max: usize,
    /// Subscribed names.
    pub subscriptions_max: usize,
    /// Different keywords, ever.
    pub keywords_max: u16,
    /// Keywords of one message.
    pub message_keywords_max: usize,
    /// Octets of a message's own header fields.
    pub prefix_octets_max: usize,
    /// References of a new message that are looked up for its conversation.
    pub references_max: usize,
    /// Annotations of the server and of all mailboxes, of every user.
    pub annotations_max: usize,
    /// Octets of their paths and values.
    pub annotation_octets_max: usize,
    /// Octets of one annotation's value.
    pub annotation_value_octets_max: usize,
    /// Messages that one transaction touches.
    pub messages_max: usize,
    /// Octets that one transaction writes besides message content.
    pub octets_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            mailboxes_max: 10_000,
            subscriptions_max: 10_000,
            keywords_max: 1000,
            message_keywords_max: 100,
            prefix_octets_max: 32 * 1024,
            references_max: 20,
            annotations_max: 1000,
            annotation_octets_max: 1_000_000,
            annotation_value_octets_max: 64 * 1024,
            messages_max: MESSAGES_PER_TRANSACTION_MAX,
            octets_max: TRANSACTION_OCTETS_MAX,
        }
    }
}

/// What all messages of an account may take; without a number there is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// Octets.
    pub octets: Option<u64>,
    /// Messages.
    pub messages: Option<u64>,
}

impl Quota {
    /// Whether so much may come to what an account has.
    pub fn admits(self, head: &HeadRow, octets: u64, messages: u64) -> bool {
        let fits = |used: u64, more: u64, max: Option<u64>| {
            max.is_none_or(|max| used.checked_add(more).is_some_and(|sum| sum <= max))
        };
        fits(head.quota_used, octets, self.octets) && fits(head.messages, messages, self.messages)
    }
}

/// The committed state of an account.
#[derive(Clone)]
pub struct Account {
    id: AccountId,
    limits: Limits,
    quota: Quota,
    head: Option<HeadRow>,
    mailboxes: BTreeMap<MailboxId, Arc<MailboxRow>>,
    names: BTreeMap<MailboxName, MailboxId>,
    keywords: Vec<Keyword>,
    keyword_ids: HashMap<Keyword, KeywordId>,
    subscriptions: BTreeSet<MailboxName>,
    acls: BTreeMap<MailboxId, Arc<AclRow>>,
    /// Counts installed batches, to notice one that was begun before another was installed.
    generation: u64,
}

impl Account {
    /// Reads an account. One that has no rows yet is loaded empty: see [`Self::exists`].
    pub fn load(reader: &Reader, id: AccountId, limits: Limits) -> Result<Self, StoreError> {
        let mut account = Self {
            id,
            limits,
            quota: Quota::default(),
            head: reader.head(id)?,
            mailboxes: BTreeMap::new(),
            names: BTreeMap::new(),
            keywords: reader.keywords(id)?,
            keyword_ids: HashMap::new(),
            subscriptions: BTreeSet::new(),
            acls: BTreeMap::new(),
            generation: 0,
        };
        for mailbox in reader.mailboxes(id) {
            let (mailbox_id, row) = mailbox?;
            if account.names.insert(row.name.clone(), mailbox_id).is_some() {
                return Err(StoreError::Inconsistent("two mailboxes have one name"));
            }
            account.mailboxes.insert(mailbox_id, Arc::new(row));
        }
        for (at, keyword) in (0..).zip(&account.keywords) {
            account.keyword_ids.insert(keyword.clone(), KeywordId(at));
        }
        for row in reader.prefix(&keys::of_table(id.get(), table::SUBSCRIPTION)) {
            let (key, _) = row?;
            let (_, _, name) = keys::split(&key)?;
            let name = std::str::from_utf8(name).ok().and_then(|name| MailboxName::new(name).ok());
            account.subscriptions.insert(name.ok_or(StoreError::Inconsistent("a subscription has no name"))?);
        }
        for row in reader.prefix(&keys::of_table(id.get(), table::ACL)) {
            let (key, value) = row?;
            let [mailbox] = keys::numbers(&key, [4])?;
            let mailbox = u32::try_from(mailbox).ok().and_then(MailboxId::new);
            let mailbox = mailbox.ok_or(StoreError::Inconsistent("mailbox id 0"))?;
            account.acls.insert(mailbox, Arc::new(AclRow::decode(&value)?));
        }
        Ok(account)
    }

    /// The account's id.
    pub const fn id(&self) -> AccountId {
        self.id
    }

    /// Whether [`Tx::create_account`] was ever committed.
    pub const fn exists(&self) -> bool {
        self.head.is_some()
    }

    /// Counters; none before the account was created.
    pub const fn head(&self) -> Option<&HeadRow> {
        self.head.as_ref()
    }

    /// The limits.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What all messages may take.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Sets what all messages may take; it comes from the directory.
    pub const fn set_quota(&mut self, quota: Quota) {
        self.quota = quota;
    }

    /// A mailbox.
    pub fn mailbox(&self, id: MailboxId) -> Option<&Arc<MailboxRow>> {
        self.mailboxes.get(&id)
    }

    /// The mailbox of that name.
    pub fn mailbox_id(&self, name: &MailboxName) -> Option<MailboxId> {
        self.names.get(name).copied()
    }

    /// All mailboxes, by name.
    pub fn mailboxes(&self) -> impl Iterator<Item = (&MailboxName, MailboxId, &Arc<MailboxRow>)> {
        self.names.iter().filter_map(|(name, id)| Some((name, *id, self.mailboxes.get(id)?)))
    }

    /// Whether mailboxes lie below that name.
    pub fn has_children(&self, name: &MailboxName) -> bool {
        children(&self.names, name).next().is_some()
    }

    /// All subscribed names; a mailbox of that name need not exist.
    pub fn subscriptions(&self) -> impl Iterator<Item = &MailboxName> {
        self.subscriptions.iter()
    }

    /// Whether a name is subscribed.
    pub fn is_subscribed(&self, name: &MailboxName) -> bool {
        self.subscriptions.contains(name)
    }

    /// A keyword's spelling.
    pub fn keyword(&self, id: KeywordId) -> Option<&Keyword> {
        self.keywords.get(usize::from(id.0))
    }

    /// The id of a keyword, in whatever case.
    pub fn keyword_id(&self, keyword: &Keyword) -> Option<KeywordId> {
        self.keyword_ids.get(keyword).copied()
    }

    /// Begins a batch of transactions. `reader` must show the state that this account shows: take it
    /// after the last batch was acknowledged.
    pub fn begin<'a>(&'a self, reader: &'a Reader) -> AccountBatch<'a> {
        AccountBatch::new(self, reader)
    }

    /// Makes a batch's changes visible, after it was acknowledged.
    ///
    /// # Panics
    /// When `pending` is of another account, or was begun before another batch was installed.
    pub fn install(&mut self, pending: Pending) {
        assert_eq!((pending.account, pending.generation), (self.id, self.generation), "batch out of order");
        self.generation += 1;
        let delta = pending.delta;
        self.head = delta.head;
        for (id, row) in delta.mailboxes {
            match row {
                Some(row) => self.mailboxes.insert(id, row),
                None => self.mailboxes.remove(&id),
            };
        }
        for (name, id) in delta.names {
            match id {
                Some(id) => self.names.insert(name, id),
                None => self.names.remove(&name),
            };
        }
        for keyword in delta.keywords {
            // The limit of keywords is a u16, so the dictionary's length fits.
            let id = KeywordId(self.keywords.len() as u16);
            self.keyword_ids.insert(keyword.clone(), id);
            self.keywords.push(keyword);
        }
        for (mailbox, acl) in delta.acls {
            match acl {
                Some(acl) => self.acls.insert(mailbox, acl),
                None => self.acls.remove(&mailbox),
            };
        }
        for (name, subscribed) in delta.subscriptions {
            if subscribed {
                self.subscriptions.insert(name);
            } else {
                self.subscriptions.remove(&name);
            }
        }
    }
}

/// The entries of `names` that lie below `name`.
fn children<'a, T>(
    names: &'a BTreeMap<MailboxName, T>,
    name: &MailboxName,
) -> impl Iterator<Item = (&'a MailboxName, &'a T)> {
    let parent = name.clone();
    // Names with the parent's text as prefix are contiguous, but `a b` and `a-b` lie between `a` and
    // `a/b`, for some characters sort before the separator.
    names
        .range(name.clone()..)
        .take_while({
            let parent = parent.clone();
            move |(name, _)| name.as_str().starts_with(parent.as_str())
        })
        .filter(move |(name, _)| name.is_below(&parent))
}

#[cfg(test)]
pub(crate) mod tests;
