//! An opened store: its engine, its format, its ids; and what can go wrong in it.
//!
//! What always holds: a store of a newer format is never read or written, one of an older format is converted before
//! anything else reads it; a blob or queue id is given
//! out once, and is greater than every id that a row or chunk has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::account;
use crate::directory::{self, PlanState, stage};
use crate::engine::{Batch, Durability, Engine, EngineError, Space};
use crate::evaluations;
use crate::ids::{BlobId, HookId, QueueId, ReportId};
use crate::keys::{self, BadKey, SYSTEM, table};
use crate::queue;
use crate::reader::Reader;
use crate::rows::{BadRow, FormatRow};

/// The format that this program writes, and the newest that it reads.
///
/// Format 2 has the queue by recipient domain; a store of format 1 is converted when it is opened. Format 3 has entries
/// under way behind all others, evaluations of DMARC by their reports, what is known of TLS by its age, too, and rows that earlier programs don't know.
pub const FORMAT: u32 = 3;

/// Why something could not be done in the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The user asked for what can't be; the session goes on.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A stored value is malformed: the store is damaged.
    #[error("the store is damaged: {0}")]
    BadRow(#[from] BadRow),
    /// A stored key is malformed: the store is damaged.
    #[error("the store is damaged: {0}")]
    BadKey(#[from] BadKey),
    /// Rows contradict each other: the store is damaged. `postrider verifydata` tells more.
    #[error("the store is damaged: {0}; run postrider verifydata")]
    Inconsistent(&'static str),
    /// The store was written by a newer program.
    #[error(
        "the store has format {found}, this program knows formats up to {supported}: \
         install the newer version of postrider again, or restore a backup made before the upgrade"
    )]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format that is supported.
        supported: u32,
    },
}

impl StoreError {
    /// Whether it is about the rows that were asked for alone, so that others may be right.
    pub const fn is_of_rows(&self) -> bool {
        match self {
            Self::Refused(_) | Self::BadRow(_) | Self::BadKey(_) | Self::Inconsistent(_) => true,
            Self::Engine(_) | Self::NewerFormat { .. } => false,
        }
    }

    /// Whether rows are not what was written, or contradict each other.
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::BadRow(_) | Self::BadKey(_) | Self::Inconsistent(_) => true,
            Self::Refused(_) | Self::Engine(_) | Self::NewerFormat { .. } => false,
        }
    }
}

/// Why a transaction of an account was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The account has no rows.
    #[error("no such account")]
    NoSuchAccount,
    /// The account exists already.
    #[error("account exists already")]
    AccountExists,
    /// The mailbox doesn't exist.
    #[error("no such mailbox")]
    NoSuchMailbox,
    /// The message was removed.
    #[error("the message was removed")]
    NoSuchMessage,
    /// A mailbox of that name exists already.
    #[error("mailbox exists already")]
    MailboxExists,
    /// RFC 9051 §7.1, HASCHILDREN.
    #[error("mailbox has mailboxes below it")]
    HasChildren,
    /// The inbox can't be deleted, and is renamed by moving its messages.
    #[error("not possible with the inbox")]
    Inbox,
    /// A mailbox can't be moved below itself.
    #[error("a mailbox can't be moved below itself")]
    BelowItself,
    /// The new name of a mailbox below the renamed one would be too long or too deep.
    #[error("a mailbox below it would get a name that is too long or too deep")]
    ChildName,
    /// COPY or MOVE to the mailbox that the messages are in.
    #[error("source and destination are the same mailbox")]
    SameMailbox,
    /// RFC 9051 §7.1, OVERQUOTA.
    #[error("over quota")]
    OverQuota,
    /// The name belongs to the mailboxes of other users.
    #[error("names that begin so are of other users' mailboxes")]
    ReservedName,
    /// More than [`AclRow::ENTRIES_MAX`](crate::rows::AclRow::ENTRIES_MAX).
    #[error("too many entries in the mailbox's access control list")]
    TooManyAclEntries,
    /// More than [`Limits::mailboxes_max`](crate::account::Limits::mailboxes_max).
    #[error("too many mailboxes")]
    TooManyMailboxes,
    /// More than [`Limits::subscriptions_max`](crate::account::Limits::subscriptions_max).
    #[error("too many subscriptions")]
    TooManySubscriptions,
    /// More than [`Limits::keywords_max`](crate::account::Limits::keywords_max) in the account, or
    /// [`Limits::message_keywords_max`](crate::account::Limits::message_keywords_max) on a message.
    #[error("too many keywords")]
    TooManyKeywords,
    /// More than [`Limits::annotations_max`](crate::account::Limits::annotations_max).
    #[error("too many annotations")]
    TooManyAnnotations,
    /// More than [`Limits::annotation_value_octets_max`](crate::account::Limits::annotation_value_octets_max),
    /// or than what is left of those of all annotations.
    #[error("the annotation is too large, allowed are {octets_max} octets")]
    AnnotationTooLarge {
        /// What the value may have.
        octets_max: usize,
    },
    /// More than [`Limits::messages_max`](crate::account::Limits::messages_max) in one transaction: the
    /// caller has to cut the work into several.
    #[error("too many messages for one transaction")]
    TooManyMessages,
    /// More than [`Limits::prefix_octets_max`](crate::account::Limits::prefix_octets_max).
    #[error("the message's own header fields are too long")]
    PrefixTooLong,
    /// More than [`Limits::octets_max`](crate::account::Limits::octets_max) written by one transaction.
    #[error("the change is too large for one transaction")]
    TooLarge,
    /// The mailbox has given out all its uids.
    #[error("the mailbox has no more uids: copy its messages to a new one")]
    NoMoreUids,
    /// A counter of the account is at its end.
    #[error("a counter of the account is at its end")]
    CounterEnd,
    /// A message's structure record is longer than
    /// [`STRUCTURE_OCTETS_MAX`](crate::blobs::STRUCTURE_OCTETS_MAX).
    #[error("the message's structure is too large")]
    StructureTooLarge,
    /// A message is longer than [`BLOB_OCTETS_MAX`](crate::blobs::BLOB_OCTETS_MAX).
    #[error("the message is too large")]
    MessageTooLarge,
    /// A text of an envelope is too long.
    #[error("an address or parameter of the envelope is too long")]
    EnvelopeTooLong,
    /// More than [`RECIPIENTS_MAX`](crate::queue::RECIPIENTS_MAX).
    #[error("too many recipients")]
    TooManyRecipients,
    /// More than [`HOLD_RULES_MAX`](crate::queue::HOLD_RULES_MAX).
    #[error("too many hold rules")]
    TooManyHoldRules,
    /// More than [`IDS_MAX`](crate::queue::IDS_MAX).
    #[error("too many ids")]
    TooManyIds,
    /// A comment, reason, domain or name of a transport is too long.
    #[error("a text is too long")]
    TextTooLong,
    /// The place at which a list is to be continued is of another list, or of none.
    #[error("the list can't be continued there")]
    BadCursor,
}

/// An opened store.
pub struct Store {
    engine: Arc<dyn Engine>,
    last_id: AtomicU64,
    /// Odd while a snapshot may have a sealed plan of the directory. It only grows.
    sealed: AtomicU64,
}

/// Bits of an id that count within one millisecond.
const ID_COUNTER_BITS: u32 = 20;

impl Store {
    /// Opens the store that `engine` holds; an empty one gets the present format, one of an older format is
    /// converted.
    ///
    /// Runs before the committer starts: it may write itself.
    pub fn open(engine: Arc<dyn Engine>) -> Result<Self, StoreError> {
        let reader = Reader::new(engine.snapshot());
        let mut from = None;
        match reader.get(&keys::format())? {
            Some(row) => {
                let found = FormatRow::decode(&row)?;
                if found.format > FORMAT {
                    return Err(StoreError::NewerFormat { found: found.format, supported: FORMAT });
                }
                from = converted_from(&found);
            }
            None if reader.is_empty()? => write_format(&*engine, 0)?,
            None => return Err(StoreError::Inconsistent("it has rows, but none that says its format")),
        }
        let last_id = AtomicU64::new(last_id(&reader)?);
        let sealed = directory::plan_state(reader.snapshot())? == Some(PlanState::Sealed);
        let store = Self { engine, last_id, sealed: AtomicU64::new(u64::from(sealed)) };
        if let Some(from) = from {
            // From here on an older program refuses the store, also when this is cut off.
            write_format(&*store.engine, from)?;
            if from == FORMAT_1 {
                queue::convert(&store)?;
            }
            queue::convert_claims(&store)?;
            evaluations::convert(&store)?;
            account::convert_tls_known(&store)?;
            write_format(&*store.engine, 0)?;
        }
        Ok(store)
    }

    /// The engine below.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// The committed state of this moment. Keep it short: an open snapshot pins disk space.
    pub fn reader(&self) -> Reader {
        let before = self.sealed.load(Ordering::SeqCst);
        let snapshot = self.engine.snapshot();
        // The number is odd from before a plan is sealed until after it is settled. When it was even and is
        // the same, there was no sealed plan in between, and nothing has to be looked for.
        if before.is_multiple_of(2) && self.sealed.load(Ordering::SeqCst) == before {
            return Reader::new(snapshot);
        }
        Reader::new(stage::reading(snapshot))
    }

    /// To be called before the batch that seals a plan of the directory is handed in.
    pub fn begin_sealing(&self) {
        // The closure refuses when it is odd already, which is as good.
        let odd = |number: u64| number.is_multiple_of(2).then_some(number + 1);
        let _ = self.sealed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, odd);
    }

    /// To be called when there is no sealed plan of the directory any more, or it never came to be.
    pub fn end_sealing(&self) {
        let even = |number: u64| (!number.is_multiple_of(2)).then_some(number + 1);
        let _ = self.sealed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, even);
    }

    /// Reads something of both spaces, to wait as long as reads have to wait.
    pub fn touch(&self) -> Result<(), StoreError> {
        let reader = self.reader();
        reader.get(&keys::format())?;
        Ok(reader.snapshot().get(Space::Blobs, &keys::chunk(BlobId(0), 0)).map(drop)?)
    }

    /// A new id for a message's content.
    pub fn new_blob(&self) -> BlobId {
        BlobId(self.new_id())
    }

    /// A new id for an outgoing message.
    pub fn new_queue_id(&self) -> QueueId {
        QueueId(self.new_id())
    }

    /// An id for a new call of a webhook.
    pub fn new_hook_id(&self) -> HookId {
        HookId(self.new_id())
    }

    /// An id for a report that was received.
    pub fn new_report_id(&self) -> ReportId {
        ReportId(self.new_id())
    }

    fn new_id(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(0) << ID_COUNTER_BITS;
        let next = |last: u64| now.max(last + 1);
        // The closure never refuses, so both arms hold the id from before.
        match self.last_id.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last))) {
            Ok(last) | Err(last) => next(last),
        }
    }
}

/// The first format.
const FORMAT_1: u8 = 1;

/// From which format a store is to be converted to the present one: that from which an earlier start began to, or its own.
fn converted_from(found: &FormatRow) -> Option<u8> {
    match found.converting {
        0 if found.format == FORMAT => None,
        // Older formats are small numbers; the caller has seen that it is none that is newer.
        0 => Some(u8::try_from(found.format).unwrap_or(FORMAT_1)),
        begun => Some(begun),
    }
}

/// Writes the present format, and from which one the store is being converted.
fn write_format(engine: &dyn Engine, converting: u8) -> Result<(), EngineError> {
    let mut batch = Batch::new();
    batch.insert(Space::Rows, keys::format(), FormatRow { format: FORMAT, converting }.encode());
    engine.commit(batch, Durability::Synced)
}

/// The first id that may be given out at a time (seconds since 1970).
pub(crate) fn first_id(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1000 << ID_COUNTER_BITS)
}

/// The greatest id that anything in the store has: a clock that was set back must not repeat one.
fn last_id(reader: &Reader) -> Result<u64, StoreError> {
    let mut last = 0;
    const TABLES: [u8; 8] = [
        table::BLOB,
        table::BLOBREF,
        table::BLOBGC,
        table::BLOBPENDING,
        table::QUEUE,
        table::QUEUERCPT,
        table::HOOK,
        table::REPORTTEXT,
    ];
    for number in TABLES {
        if let Some((key, _)) = reader.last(Space::Rows, &keys::of_table(SYSTEM, number))? {
            let (_, _, rest) = keys::split(&key)?;
            let id = rest.first_chunk::<8>().ok_or_else(|| BadKey(key.to_vec()))?;
            last = last.max(u64::from_be_bytes(*id));
        }
    }
    if let Some((key, _)) = reader.last(Space::Blobs, &[])? {
        last = last.max(keys::chunk_parts(&key)?.0.0);
    }
    Ok(last)
}
