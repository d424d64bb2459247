//! Keys of calls of webhooks.

use super::{BadKey, Key, SYSTEM, build, numbers, table, time, to_time};
use crate::ids::{HookId, QueueId};

/// A call that waits.
pub fn hook(id: HookId) -> Key {
    build(SYSTEM, table::HOOK, &[&id.0.to_be_bytes()])
}

/// A call by the hash of its URL and the time of its next attempt.
pub fn hook_due(url: u64, due: i64, id: HookId) -> Key {
    build(SYSTEM, table::HOOKDUE, &[&url.to_be_bytes(), &time(due), &id.0.to_be_bytes()])
}

/// The prefix of all calls of a URL.
pub fn hook_url(url: u64) -> Key {
    build(SYSTEM, table::HOOKDUE, &[&url.to_be_bytes()])
}

/// A call by what it tells of: the first entry of a submission, and the hash of a recipient's address.
pub fn hook_about(base: QueueId, recipient: u64, id: HookId) -> Key {
    build(SYSTEM, table::HOOKABOUT, &[&base.0.to_be_bytes(), &recipient.to_be_bytes(), &id.0.to_be_bytes()])
}

/// The prefix of all calls that tell of a recipient.
pub fn hooks_about(base: QueueId, recipient: u64) -> Key {
    build(SYSTEM, table::HOOKABOUT, &[&base.0.to_be_bytes(), &recipient.to_be_bytes()])
}

/// What became of a call, kept until a time.
pub fn hook_retired(until: i64, id: HookId) -> Key {
    build(SYSTEM, table::HOOKRETIRED, &[&time(until), &id.0.to_be_bytes()])
}

/// Time and id of a key of HOOKRETIRED.
pub fn hook_retired_parts(key: &[u8]) -> Result<(i64, HookId), BadKey> {
    let [until, id] = numbers(key, [8, 8])?;
    Ok((to_time(until), HookId(id)))
}
