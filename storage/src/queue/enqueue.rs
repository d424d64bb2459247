//! Putting messages into the queue.

use std::collections::HashMap;

use postrider_proto::smtp::envelope::{Hold, Notify};

use super::edit::Edit;
use super::hold::HoldRules;
use super::schedule::Scheduled;
use super::{EncodedPrefix, PREFIX_OCTETS_MAX, RECIPIENTS_MAX};
use crate::account::Content;
use crate::engine::BATCH_OCTETS_MAX;
use crate::ids::{AccountId, QueueId};
use crate::keys::SYSTEM;
use crate::rows::{Held, Kind, QueueMeta, QueueRow, RecipientRow, RequireTls, Ret};
use crate::store::{Refusal, StoreError};

/// The most octets that one submission writes: the entries of all its domains are one batch, each with the
/// message's prefix. What is left of a batch is for the last of the content.
pub const ENQUEUE_OCTETS_MAX: usize = 24 * 1024 * 1024;

const _: () = assert!(ENQUEUE_OCTETS_MAX + 4 * 1024 * 1024 < BATCH_OCTETS_MAX);

/// A message to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewQueued {
    /// The content, stored or attached.
    pub content: Content,
    /// Header fields in front of it.
    pub prefix: Vec<u8>,
    /// When it was accepted, seconds since 1970.
    pub created: i64,
    /// The account that submitted it; none when the system did.
    pub sender: Option<AccountId>,
    /// The reverse path without angle brackets; empty for reports.
    pub mail_from: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// What is wanted of transport security.
    pub require_tls: RequireTls,
    /// Whether header or sender need SMTPUTF8 (RFC 6531); what recipients need is seen in them.
    pub smtputf8: bool,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 3030.
    pub binary: bool,
    /// RFC 5321 §4.5.3.1.6.
    pub long_lines: bool,
    /// RFC 3461 RET.
    pub ret: Ret,
    /// RFC 3461 ENVID, decoded; empty without one.
    pub envelope_id: Vec<u8>,
    /// RFC 4865: not before this time, or so long after `created`.
    pub hold_until: Option<Hold>,
    /// How many attempts are made; 0 is the default.
    pub max_attempts: u32,
    /// To whom; at least one.
    pub recipients: Vec<NewRecipient>,
    /// What programs are told of it, but for the id; it is kept where there is some, or an id.
    pub meta: Option<QueueMeta>,
}

impl NewQueued {
    /// A message of the server itself, with nothing in front of it and the null reverse path, that asks for nothing.
    pub fn new(content: Content, created: i64, recipients: Vec<NewRecipient>) -> Self {
        Self {
            content,
            prefix: Vec::new(),
            created,
            sender: None,
            mail_from: Vec::new(),
            kind: Kind::Ordinary,
            require_tls: RequireTls::Unset,
            smtputf8: false,
            eight_bit: false,
            binary: false,
            long_lines: false,
            ret: Ret::Unspecified,
            envelope_id: Vec::new(),
            hold_until: None,
            max_attempts: 0,
            recipients,
            meta: None,
        }
    }
}

/// One recipient.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewRecipient {
    /// The address without angle brackets.
    pub address: Vec<u8>,
    /// RFC 3461 NOTIFY; none when the sender didn't say.
    pub notify: Option<Notify>,
    /// RFC 3461 ORCPT; empty without one.
    pub original: Vec<u8>,
    /// What is in the reverse path instead, when it is one of its own: then this is an entry of its own.
    pub from_id: Option<FromId>,
}

impl NewRecipient {
    /// One of whom nothing else is said.
    pub fn new(address: impl Into<Vec<u8>>) -> Self {
        Self { address: address.into(), ..Self::default() }
    }
}

/// An id by which reports on a recipient are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FromId {
    /// The id: of no other recipient of the account that waits or is known.
    pub id: Box<str>,
    /// The reverse path with it, without angle brackets.
    pub mail_from: Box<[u8]>,
}

/// A message on its way into the queue.
#[derive(Debug)]
#[must_use = "the edit is to be committed"]
pub struct Enqueued {
    /// The writes. Append the last batch of a content that nobody else takes.
    pub edit: Edit,
    /// The new entries, one a domain, to be told to the shards that own them.
    pub entries: Vec<Scheduled>,
}

/// Puts a message into the queue, as one entry for each domain, and for each recipient with an id. `new_id` is
/// [`Store::new_queue_id`](crate::store::Store::new_queue_id).
///
/// Refused: too many recipients, too long a prefix or envelope, and with
/// [`TooLarge`](Refusal::TooLarge) what exceeds [`ENQUEUE_OCTETS_MAX`].
pub fn enqueue(
    mut new_id: impl FnMut() -> QueueId,
    message: NewQueued,
    rules: &HoldRules,
) -> Result<Enqueued, StoreError> {
    if message.recipients.len() > RECIPIENTS_MAX {
        return Err(Refusal::TooManyRecipients.into());
    }
    if message.prefix.len() > PREFIX_OCTETS_MAX {
        return Err(Refusal::PrefixTooLong.into());
    }
    let (prefix, recipients) = (EncodedPrefix::of(&message.prefix), &message.recipients);
    let mut edit = Edit::default();
    let mut entries = Vec::new();
    let mut base = None;
    let together = recipients.iter().filter(|recipient| recipient.from_id.is_none());
    let alone = recipients.iter().filter(|recipient| recipient.from_id.is_some());
    let parts = by_domain(together, |recipient| &recipient.address).into_iter();
    let alone = alone.flat_map(|recipient| by_domain([recipient].into_iter(), |one| &one.address));
    for (domain, recipients) in parts.chain(alone) {
        let id = new_id();
        let mut row = entry_of(&message, *base.get_or_insert(id), domain);
        let mut meta = message.meta.clone();
        if let Some(from_id) = recipients.first().and_then(|recipient| recipient.from_id.as_ref()) {
            row.mail_from = from_id.mail_from.clone();
            meta.get_or_insert_default().from_id = from_id.id.clone();
        }
        row.has_meta = meta.is_some();
        // Bounded by RECIPIENTS_MAX.
        row.recipients = recipients.len() as u32;
        // One recipient who needs it is no reason for other domains to need it.
        row.smtputf8 |= recipients.iter().any(|recipient| !recipient.address.is_ascii());
        row.waiting = row.recipients;
        row.held = rules.matching(&row).map_or(Held::No, Held::Rule);
        for (number, recipient) in (0..).zip(recipients) {
            let row = RecipientRow {
                notify: recipient.notify,
                address: recipient.address.clone().into(),
                original: recipient.original.clone().into(),
                result: None,
            };
            edit.put(id, number, &row)?;
        }
        edit.create(id, &row, &prefix, meta.as_ref())?;
        if edit.batch.octets() > ENQUEUE_OCTETS_MAX {
            return Err(Refusal::TooLarge.into());
        }
        entries.push(Scheduled::of(id, &row));
    }
    Ok(Enqueued { edit, entries })
}

/// Parts by the domain of an address, lower-case, in the order in which domains come.
pub(super) fn by_domain<T>(
    items: impl Iterator<Item = T>,
    address: impl Fn(&T) -> &[u8],
) -> Vec<(Box<str>, Vec<T>)> {
    let mut parts: Vec<(Box<str>, Vec<T>)> = Vec::new();
    let mut places: HashMap<Box<str>, usize> = HashMap::new();
    for item in items {
        let domain = String::from_utf8_lossy(super::domain_of(address(&item))).to_ascii_lowercase();
        let domain: Box<str> = domain.into();
        let place = *places.entry(domain.clone()).or_insert_with(|| {
            parts.push((domain, Vec::new()));
            parts.len() - 1
        });
        parts[place].1.push(item);
    }
    parts
}

fn entry_of(message: &NewQueued, base: QueueId, domain: Box<str>) -> QueueRow {
    let hold_until = message.hold_until.map(|hold| match hold {
        Hold::For(seconds) => message.created.saturating_add(i64::from(seconds)),
        Hold::Until(time) => time,
    });
    QueueRow {
        blob: message.content.blob,
        size: message.content.size + message.prefix.len() as u64,
        // Bounded by PREFIX_OCTETS_MAX.
        prefix_octets: message.prefix.len() as u32,
        created: message.created,
        sender: message.sender.map_or(SYSTEM, AccountId::get),
        base,
        domain,
        recipients: 0,
        waiting: 0,
        kind: message.kind,
        require_tls: message.require_tls,
        smtputf8: message.smtputf8,
        eight_bit: message.eight_bit,
        binary: message.binary,
        long_lines: message.long_lines,
        ret: message.ret,
        envelope_id: message.envelope_id.clone().into(),
        mail_from: message.mail_from.clone().into(),
        hold_until: hold_until.unwrap_or(0),
        hold_for: matches!(message.hold_until, Some(Hold::For(_))),
        attempts: 0,
        max_attempts: message.max_attempts,
        last_attempt: 0,
        due: hold_until.map_or(message.created, |hold| hold.max(message.created)),
        held: Held::No,
        claimed: false,
        delay_reported: false,
        has_meta: false,
        transport: Box::default(),
        dialed: Box::default(),
        last_error: None,
    }
}
