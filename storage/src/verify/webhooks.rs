//! Invariants of calls of webhooks.

use super::Report;
use crate::ids::HookId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{HookRow, RetiredHookRow};
use crate::store::StoreError;
use crate::webhooks::{about, all, is_listed, place};

/// A call has its places, and no place is of anything else.
pub(super) fn check(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&all()) {
        let (key, value) = row?;
        let Some([id]) = report.read(keys::numbers(&key, [8]), "HOOK")? else { continue };
        let (id, at) = (HookId(id), format!("call {id} of a webhook"));
        let Some(row) = report.read(HookRow::decode(&value), &at)? else { continue };
        for key in [Some(place(id, &row)), about(id, &row)].into_iter().flatten() {
            report.check(
                reader.get(&key)?.is_some(),
                &at,
                "is not listed where it is due, or by what it tells of",
            );
        }
    }
    for number in [table::HOOKDUE, table::HOOKABOUT] {
        for row in reader.prefix(&keys::of_table(SYSTEM, number)) {
            let (key, _) = row?;
            let at = format!("table {number:#04x} of webhooks");
            if let Some(right) = report.read(is_listed(reader, &key), &at)? {
                report.check(right, at, "lists what isn't so");
            }
        }
    }
    for row in reader.prefix(&keys::of_table(SYSTEM, table::HOOKRETIRED)) {
        let (key, value) = row?;
        let Some((_, id)) = report.read(keys::hook_retired_parts(&key), "HOOKRETIRED")? else { continue };
        report.read(RetiredHookRow::decode(&value), format_args!("ended call {} of a webhook", id.0))?;
    }
    Ok(())
}
