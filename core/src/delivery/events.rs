//! What senders' programs are told of what became of messages, by webhooks.

use postrider_proto::mime::{FieldName, header, record, words};
use postrider_storage::directory::{Directory, WebhookEvent};
use postrider_storage::engine::Batch;
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::queue;
use postrider_storage::reader::Reader;
use postrider_storage::rows::{AttemptResult, Kind, QueueMeta, QueueRow};
use postrider_storage::store::{Store, StoreError};
use postrider_storage::webhooks::ScheduledHook;

use super::attempt;
use crate::shard::Shard;
use crate::webhooks::{self, Hooks, Meta, Told};

/// Something that happened to a message for one recipient.
pub(super) struct Happened<'a> {
    pub(super) event: WebhookEvent,
    pub(super) recipient: &'a [u8],
    /// What the other server said, or what went wrong.
    pub(super) result: &'a AttemptResult,
    /// The recipient's address is suppressed from now on.
    pub(super) suppressing: bool,
}

/// Who wants to be told of an entry: the program of the account that submitted it.
#[derive(Clone)]
pub(super) struct Listener {
    account: AccountId,
    hooks: Hooks,
}

/// Whose program is told of an entry; none where there is none. The server's own reports have none.
pub(super) async fn listener(shard: &Shard, entry: &QueueRow) -> Result<Option<Listener>, StoreError> {
    let Some(account) = account_of(entry) else { return Ok(None) };
    let hooks = webhooks::of(shard, account).await?;
    Ok(hooks.outgoing.is_some().then_some(Listener { account, hooks }))
}

/// Whose program is told of entries of a sender that are no reports, read at once.
pub(super) fn listener_now(reader: &Reader, sender: u32) -> Result<Option<Listener>, StoreError> {
    let Some(account) = AccountId::new(sender) else { return Ok(None) };
    let hooks = Hooks::read(&Directory::new(reader.snapshot()), account)?;
    Ok(hooks.outgoing.is_some().then_some(Listener { account, hooks }))
}

fn account_of(entry: &QueueRow) -> Option<AccountId> {
    AccountId::new(entry.sender).filter(|_| entry.kind == Kind::Ordinary)
}

impl Listener {
    /// Adds the calls that tell of this to the change that makes it.
    pub(super) fn add(
        &self,
        store: &Store,
        (id, entry, meta): (QueueId, &QueueRow, &Meta),
        happened: &[Happened<'_>],
        batch: &mut Batch,
    ) -> Vec<ScheduledHook> {
        let add = |happened: &Happened<'_>| {
            let Happened { event, recipient, result, suppressing } = happened;
            let failed = *event != WebhookEvent::Delivered;
            let told = Told {
                event: *event,
                is_dsn: false,
                suppressing: *suppressing,
                entry: id,
                base: entry.base,
                recipient: &attempt::text(recipient),
                meta,
                code: (result.code != 0).then_some(result.code),
                enhanced: result.enhanced,
                error: if failed { result.text() } else { "" },
            };
            webhooks::add(store, self.account, &self.hooks, &told, batch)
        };
        happened.iter().filter_map(add).collect()
    }
}

/// What the sender said of a message: as it was kept, or as far as its content has it.
pub(super) fn meta(reader: &Reader, id: QueueId, entry: &QueueRow) -> Result<Meta, StoreError> {
    if entry.has_meta
        && let Some(meta) = queue::meta(reader, id)?
    {
        return Ok(kept(&meta));
    }
    let Some(blob) = reader.blob(entry.blob)? else { return Ok(Meta::default()) };
    // What can't be read tells less.
    let Ok(root) = record::root(&blob.structure) else { return Ok(Meta::default()) };
    let value = |name| root.field(name).unwrap_or_default();
    let id = header::message_id(value(FieldName::MessageId)).unwrap_or_default();
    Ok(Meta {
        message_id: String::from_utf8_lossy(&id).into_owned(),
        subject: words::decode(&header::unfold(value(FieldName::Subject))),
        ..Meta::default()
    })
}

/// What was kept of it.
pub(super) fn kept(meta: &QueueMeta) -> Meta {
    Meta {
        from_id: meta.from_id.to_string(),
        message_id: meta.message_id.to_string(),
        subject: meta.subject.to_string(),
        extra: meta.extra.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
    }
}
