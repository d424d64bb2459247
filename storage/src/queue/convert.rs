//! From format 1, in which a message had recipients of all domains, each scheduled by itself, to entries; and from formats
//! before 3, in which entries under way had another place in the schedule.
//!
//! What always holds: every batch leaves each recipient in the queue exactly once, either of a message of format 1 or
//! of an entry. So the work may be cut off behind any batch, and goes on when the store is opened again.

use tracing::{error, info, warn};

use super::EncodedPrefix;
use super::edit::{Edit, place};
use super::enqueue::by_domain;
use crate::engine::{Durability, Space};
use crate::ids::QueueId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::queue_v1::{QueueV1, RecipientV1};
use crate::rows::{Held, Kind, MARK, QueueRow, RecipientRow, RequireTls};
use crate::store::{Store, StoreError};

/// Octets from which on what is converted is committed.
const BATCH_OCTETS: usize = 1024 * 1024;

/// Rows of the old schedule that are looked at between two commits.
const ROWS_MAX: usize = 10_000;

/// The longest domain of an entry.
const DOMAIN_OCTETS_MAX: usize = 255;

/// Converts the queue of a store of format 1. Nothing else may use the store meanwhile. The last of the batches isn't
/// synced: the caller syncs by writing the format.
pub(crate) fn convert(store: &Store) -> Result<(), StoreError> {
    let mut work = Work { store, edit: Edit::default(), messages: 0, entries: 0 };
    let mut from = Some(QueueId(0));
    while let Some(first) = from {
        from = work.some(&store.reader(), first)?;
        work.commit()?;
    }
    work.remove_schedule()?;
    let Work { messages, entries, .. } = work;
    info!(messages, entries, "the queue was converted from format 1");
    Ok(())
}

/// Puts what formats before 3 had under way behind all others of its domain: its place was where its next attempt was due.
/// Nothing else may use the store meanwhile, and it may be done again. The last of the batches isn't synced.
pub(crate) fn convert_claims(store: &Store) -> Result<(), StoreError> {
    let reader = store.reader();
    let mut work = Work { store, edit: Edit::default(), messages: 0, entries: 0 };
    for row in reader.prefix(&keys::of_table(SYSTEM, table::CLAIMED)) {
        let [id] = keys::numbers(&row?.0, [8])?;
        let id = QueueId(id);
        let row = match super::entry(&reader, id) {
            Ok(Some(row)) => row,
            Ok(None) => continue,
            Err(error @ (StoreError::BadRow(_) | StoreError::BadKey(_))) => {
                error!(id = id.0, %error, "an entry of the queue can't be converted, and is left as it is");
                continue;
            }
            Err(error) => return Err(error),
        };
        let (from, to) = (place(id, &QueueRow { claimed: false, ..row.clone() }), place(id, &row));
        if from != to {
            work.edit.remove(from);
            work.edit.insert(to, MARK);
        }
        if work.edit.batch.octets() >= BATCH_OCTETS {
            work.commit()?;
        }
    }
    work.commit()
}

struct Work<'a> {
    store: &'a Store,
    edit: Edit,
    messages: u64,
    entries: u64,
}

/// A message that is being converted.
struct Message<'a> {
    id: QueueId,
    row: &'a QueueV1,
}

type Recipients = Vec<(u32, RecipientV1)>;

impl Work<'_> {
    /// Converts messages from `first` on until a batch is full. Gives where to go on, with a new reader.
    fn some(&mut self, reader: &Reader, first: QueueId) -> Result<Option<QueueId>, StoreError> {
        for row in reader.from(&keys::queue(first), &keys::of_table(SYSTEM, table::QUEUE)) {
            let (key, value) = row?;
            let id = QueueId(keys::last_number(&key)?);
            if QueueRow::is_v1(&value) {
                match self.message(reader, id, &value) {
                    // Nothing of it was written. The server goes on, and verifydata tells of it.
                    Err(error @ (StoreError::BadRow(_) | StoreError::BadKey(_))) => {
                        error!(id = id.0, %error, "a message of the queue can't be converted, and is left as it is");
                    }
                    done => done?,
                }
            }
            if self.edit.batch.octets() >= BATCH_OCTETS {
                return Ok(id.0.checked_add(1).map(QueueId));
            }
        }
        Ok(None)
    }

    fn message(&mut self, reader: &Reader, id: QueueId, value: &[u8]) -> Result<(), StoreError> {
        let row = QueueV1::decode(value)?;
        let message = &Message { id, row: &row };
        let mut recipients = Recipients::new();
        for row in reader.prefix(&keys::queue_recipients(message.id)) {
            let (key, value) = row?;
            let [_, number] = keys::numbers(&key, [8, 4])?;
            recipients.push((number as u32, RecipientV1::decode(&value)?));
        }
        self.messages += 1;
        let prefix = EncodedPrefix::of(&message.row.prefix);
        let mut parts = by_domain(recipients.into_iter(), |(_, row)| &row.address);
        let Some((domain, last)) = parts.pop() else {
            warn!(id = message.id.0, "a message of the queue had no recipients");
            self.drop(message);
            return Ok(());
        };
        // All but the last domain get entries of their own; the message stays until that one takes its place.
        for (domain, recipients) in parts {
            let id = self.store.new_queue_id();
            let row = entry(message, &domain, &recipients);
            self.remove(message.id, &recipients);
            self.edit.create(id, &row, &prefix, None)?;
            self.put(id, &recipients)?;
            if self.edit.batch.octets() >= BATCH_OCTETS {
                self.commit()?;
            }
        }
        self.remove(message.id, &last);
        let row = entry(message, &domain, &last);
        // Writes its reference to the content again.
        self.edit.create(message.id, &row, &prefix, None)?;
        self.put(message.id, &last)
    }

    fn remove(&mut self, id: QueueId, recipients: &[(u32, RecipientV1)]) {
        for (number, row) in recipients {
            self.edit.remove(keys::queue_recipient(id, *number));
            self.edit.remove(keys::queue_due_v1(row.due, id, *number));
        }
    }

    fn put(&mut self, id: QueueId, recipients: &[(u32, RecipientV1)]) -> Result<(), StoreError> {
        self.entries += 1;
        for (number, (_, row)) in (0..).zip(recipients) {
            let text = |octets: &[u8]| octets[..octets.len().min(RecipientRow::TEXT_OCTETS_MAX)].into();
            let row = RecipientRow {
                notify: row.notify,
                address: row.address.clone(),
                original: text(&row.original),
                result: None,
            };
            self.edit.put(id, number, &row)?;
        }
        Ok(())
    }

    /// A message without recipients is for nobody.
    fn drop(&mut self, message: &Message<'_>) {
        let Message { id, row } = message;
        self.edit.remove(keys::queue(*id));
        self.edit.remove(keys::blob_ref(row.blob, SYSTEM, id.0));
        self.edit.insert(keys::blob_gc(row.blob, SYSTEM, id.0), MARK);
    }

    /// Removes what is left of the old schedule: rows of nobody.
    fn remove_schedule(&mut self) -> Result<(), StoreError> {
        loop {
            let reader = self.store.reader();
            for row in reader.prefix(&keys::of_table(SYSTEM, table::QUEUEDUE_V1)).take(ROWS_MAX) {
                self.edit.batch.remove(Space::Rows, row?.0);
            }
            if self.edit.batch.is_empty() {
                return Ok(());
            }
            self.commit()?;
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let batch = std::mem::take(&mut self.edit).batch;
        if batch.is_empty() {
            return Ok(());
        }
        Ok(self.store.engine().commit(batch, Durability::Buffered)?)
    }
}

/// The entry of one domain's recipients.
fn entry(message: &Message<'_>, domain: &str, recipients: &[(u32, RecipientV1)]) -> QueueRow {
    let Message { id, row } = message;
    let of = |field: fn(&RecipientV1) -> i64| recipients.iter().map(move |(_, row)| field(row));
    QueueRow {
        blob: row.blob,
        size: row.size,
        // Bounded by PREFIX_OCTETS_MAX.
        prefix_octets: row.prefix.len() as u32,
        created: row.created,
        sender: row.sender,
        base: *id,
        domain: domain[..domain.floor_char_boundary(DOMAIN_OCTETS_MAX)].into(),
        // Bounded by RECIPIENTS_MAX.
        recipients: recipients.len() as u32,
        waiting: recipients.len() as u32,
        kind: if row.mail_from.is_empty() { Kind::Report } else { Kind::Ordinary },
        require_tls: if row.require_tls { RequireTls::Required } else { RequireTls::Unset },
        smtputf8: row.smtputf8,
        eight_bit: row.eight_bit,
        binary: row.binary,
        // Older programs didn't look.
        long_lines: false,
        ret: row.ret,
        envelope_id: row.envelope_id.clone(),
        mail_from: row.mail_from.clone(),
        hold_until: of(|row| row.hold_until).max().unwrap_or(0),
        hold_for: false,
        attempts: recipients.iter().map(|(_, row)| row.attempts).max().unwrap_or(0),
        max_attempts: 0,
        last_attempt: 0,
        due: of(|row| row.due).min().unwrap_or(row.created),
        held: Held::No,
        claimed: false,
        delay_reported: false,
        has_meta: false,
        transport: Box::default(),
        dialed: Box::default(),
        last_error: None,
    }
}
