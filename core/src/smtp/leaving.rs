//! The part of a message that leaves: it waits in the queue for recipients of other servers.

use std::collections::HashSet;

use postrider_proto::address::{Address, ForwardPath};
use postrider_proto::smtp::body::TlsRequired;
use postrider_proto::smtp::envelope::{self, BodyType, Envelope, Return};
use postrider_storage::engine::{Batch, Durability, Incarnation};
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::queue::{self, NewQueued, NewRecipient};
use postrider_storage::rows::{Kind, RequireTls, Ret};
use tracing::{debug, info};

use super::deliver::Delivery;
use super::outcomes::Outcome;
use super::policy;
use super::sending::{Allowed, End};
use crate::commit;
use crate::delivery;
use crate::metrics;

impl Delivery {
    /// Puts the message into the queue for these recipients.
    pub(super) async fn queue(
        &self,
        recipients: &[usize],
        content: (Option<Batch>, Option<Incarnation>),
        allowed: Option<Allowed>,
    ) -> Outcome {
        let envelope = &self.envelope;
        let mut known = HashSet::new();
        let recipients: Vec<NewRecipient> = recipients
            .iter()
            .filter_map(|number| envelope.recipients.get(*number))
            .filter_map(new_recipient)
            .filter(|recipient| known.insert(recipient.address.clone()))
            .map(|recipient| {
                let sending = self.sending.as_ref();
                let from_id = sending.and_then(|sending| sending.id(envelope.reverse_path.address()));
                NewRecipient { from_id, ..recipient }
            })
            .collect();
        let prefix = self.leaving_prefix();
        // Of an address of another domain, this one need not know.
        let sender_is_ascii = envelope.reverse_path.address().is_none_or(Address::is_ascii);
        let smtputf8 =
            envelope.smtputf8 && (self.facts.has_eight_bit_header || !prefix.is_ascii() || !sender_is_ascii);
        let queued = NewQueued {
            content: self.content,
            created: self.now,
            sender: self.sender,
            mail_from: envelope.reverse_path.address().map(Address::to_string).unwrap_or_default().into(),
            kind: Kind::Ordinary,
            require_tls: wish(envelope, self.facts.tls_required),
            smtputf8,
            eight_bit: self.facts.has_eight_bit || !prefix.is_ascii(),
            prefix,
            binary: envelope.body == BodyType::BinaryMime,
            // What its sender signed leaves as it is: most servers take it, and a broken signature nobody mends.
            long_lines: self.facts.has_long_line && self.facts.dkim_signatures == 0,
            ret: match envelope.ret {
                None => Ret::Unspecified,
                Some(Return::Full) => Ret::Full,
                Some(Return::Headers) => Ret::Headers,
            },
            envelope_id: envelope.envelope_id.as_deref().unwrap_or_default().into(),
            hold_until: envelope.hold,
            max_attempts: 0,
            meta: self.meta.clone(),
            recipients,
        };
        self.enqueue(queued, content, allowed).await
    }

    /// Queues what is made, and gives back what it was allowed when that fails.
    pub(super) async fn enqueue(
        &self,
        queued: NewQueued,
        (content_batch, incarnation): (Option<Batch>, Option<Incarnation>),
        allowed: Option<Allowed>,
    ) -> Outcome {
        let shared = &self.shard.shared;
        let account = queued.sender.map_or(0, AccountId::get);
        let (kind, recipients) = (queued.kind, queued.recipients.len());
        let octets = queued.content.size + queued.prefix.len() as u64;
        shared.reads.calm().await;
        let rules = shared.hold_rules.get(&shared.store);
        let enqueued = rules.and_then(|rules| queue::enqueue(|| shared.store.new_queue_id(), queued, &rules));
        let enqueued = match enqueued {
            Ok(enqueued) => enqueued,
            Err(error) => {
                self.settle(allowed, End::Refused).await;
                return Err(policy::store_reply(&error, self.id));
            }
        };
        let (mut batch, delta) = (enqueued.edit.batch, enqueued.edit.delta);
        let allowed =
            allowed.zip(enqueued.entries.first()).map(|(allowed, first)| allowed.note(&mut batch, first.id));
        if let Some(content) = content_batch {
            batch.append(content);
        }
        let submitted = commit::submit(&shared.committer, batch, Durability::Synced, incarnation).await;
        let done = match submitted {
            Ok(submitted) => submitted.done().await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            self.settle(allowed, End::Refused).await;
            return Err(policy::commit_reply(&error, self.id));
        }
        self.settle(allowed, End::Queued).await;
        shared.queue_counts.add(delta);
        if let (Kind::Ordinary, Some(first)) = (kind, enqueued.entries.first()) {
            self.log_queued(account, first.id, octets, recipients);
            for other in enqueued.entries.iter().skip(1) {
                debug!(cid = %self.id, entry = other.id.0, base = first.id.0, "queued");
            }
        }
        delivery::announce(&self.shard, enqueued.entries, account).await;
        Ok(metrics::Delivery::Queued)
    }

    /// Says who queued what. The lines on what became of it have the entry, and the same account and sender.
    fn log_queued(&self, account: u32, entry: QueueId, octets: u64, recipients: usize) {
        let from = self.envelope.reverse_path.address().map(Address::to_string).unwrap_or_default();
        let message_id = &self.message_id;
        info!(cid = %self.id, entry = entry.0, account, %from, %message_id, octets, recipients, "queued");
    }

    /// The fields in front of the message when it leaves for other servers.
    fn leaving_prefix(&self) -> Vec<u8> {
        let results = self.results.get(&None).map_or("", String::as_str);
        [&self.signatures, results, &self.trace].concat().into_bytes()
    }
}

fn new_recipient(recipient: &envelope::Recipient) -> Option<NewRecipient> {
    let ForwardPath::Address(address) = &recipient.path else { return None };
    let original = recipient.original.as_ref().map(|o| format!("{};{}", o.address_type, o.address));
    Some(NewRecipient {
        address: address.to_string().into(),
        notify: recipient.notify,
        original: original.unwrap_or_default().into(),
        from_id: None,
    })
}

/// What the client asked of transport security (RFC 8689 §4.2.1).
pub(super) const fn wish(envelope: &Envelope, tls_required: TlsRequired) -> RequireTls {
    match (envelope.requiretls, tls_required) {
        (true, _) => RequireTls::Required,
        (false, TlsRequired::No) => RequireTls::No,
        (false, TlsRequired::Absent | TlsRequired::Other) => RequireTls::Unset,
    }
}
