//! Listing calls of webhooks, page by page, and forgetting those that ended.

use tracing::warn;

use super::{all, first_id, url_hash};
use crate::engine::{Batch, Space};
use crate::ids::{AccountId, HookId};
use crate::keys::{self, SYSTEM, table};
use crate::queue::{Bounds, Cursor, Order, between};
use crate::reader::Reader;
use crate::rows::{HookRow, HookSubject, RetiredHookRow};
use crate::store::StoreError;

/// What the clock may be set back by between two moments that follow each other.
const SLACK_SECONDS: i64 = 24 * 60 * 60;

/// Which calls are meant: those for which all that is given holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HookFilter {
    /// One of these.
    pub ids: Option<Vec<HookId>>,
    /// Of this account.
    pub account: Option<AccountId>,
    /// To this URL, as it is written.
    pub url: Option<String>,
    /// What they tell of, as [`HookFilter::kind`] names it.
    pub kind: Option<String>,
    /// Made at this time or later, in seconds since 1970.
    pub from: Option<i64>,
}

impl HookFilter {
    /// The name of what a call tells of: that of an event, or `incoming`.
    pub fn kind(subject: HookSubject) -> &'static str {
        match subject {
            HookSubject::Outgoing { event, .. } => event.name(),
            HookSubject::Incoming { .. } => "incoming",
        }
    }

    fn matches(&self, id: HookId, row: &HookRow) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&id))
            && self.account.is_none_or(|account| account == row.account)
            && self.url.as_deref().is_none_or(|url| url == &*row.url)
            && self.kind.as_deref().is_none_or(|kind| kind == Self::kind(row.subject))
            && self.from.is_none_or(|from| row.created >= from)
    }
}

/// A call of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedHook {
    /// Its id.
    pub id: HookId,
    /// Its row.
    pub row: HookRow,
}

/// Some calls that wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HookPage {
    /// They, in order.
    pub hooks: Vec<ListedHook>,
    /// Where to go on; none at the end. There may be more even when nothing was found.
    pub next: Option<Cursor>,
}

/// About the most octets of rows on one page.
const PAGE_OCTETS_MAX: usize = 1024 * 1024;

/// Lists calls that wait: of a URL by the time of the next attempt, all others by id. Chosen ids are looked up.
pub fn list(
    reader: &Reader,
    filter: &HookFilter,
    cursor: Option<&Cursor>,
    bounds: Bounds,
) -> Result<HookPage, StoreError> {
    let mut page = HookPage { hooks: Vec::new(), next: None };
    if let Some(ids) = &filter.ids {
        for id in ids.iter().take(bounds.entries_max) {
            let row = super::hook(reader, *id)?.filter(|row| filter.matches(*id, row));
            page.hooks.extend(row.map(|row| ListedHook { id: *id, row }));
        }
        return Ok(page);
    }
    let prefix = filter.url.as_deref().map_or_else(all, |url| keys::hook_url(url_hash(url)));
    let first = match (&filter.url, filter.from) {
        (None, Some(from)) => keys::hook(first_id(from.saturating_sub(SLACK_SECONDS))),
        _ => prefix.clone(),
    };
    let behind = keys::after(&prefix).unwrap_or_default();
    let cursor = cursor.map(|cursor| cursor.key(&prefix)).transpose()?;
    let mut octets = 0;
    let mut last = None;
    for (looked, row) in between(reader, &first, &behind, Order::Ascending, cursor).enumerate() {
        let (key, value) = row?;
        if page.hooks.len() >= bounds.entries_max || looked >= bounds.rows_max || octets >= PAGE_OCTETS_MAX {
            page.next = last.map(Cursor::at);
            break;
        }
        let id = HookId(keys::last_number(&key)?);
        let row = match filter.url {
            None => Some(HookRow::decode(&value)?),
            Some(_) => super::hook(reader, id)?,
        };
        if let Some(row) = row.filter(|row| filter.matches(id, row)) {
            octets += row.payload.len() + row.url.len() + 1024 * row.results.len();
            page.hooks.push(ListedHook { id, row });
        }
        last = Some(key);
    }
    Ok(page)
}

/// Some calls that wait and were made before a time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OldHooks {
    /// They, with the hash of the URL of each.
    pub hooks: Vec<(HookId, u64)>,
    /// After which id to go on; none at the end. There may be more even when nothing was found.
    pub next: Option<HookId>,
}

/// Finds calls that were made before a time, in the order of their ids, from behind one: it looks at `rows_max` rows at most, and not beyond
/// the first call that is younger. One that was made after `now`, by a clock that was wrong, is passed over. Times are seconds since 1970.
pub fn old(
    reader: &Reader,
    after: Option<HookId>,
    (before, now): (i64, i64),
    rows_max: usize,
) -> Result<OldHooks, StoreError> {
    let mut found = OldHooks::default();
    let first = after.map_or_else(all, |id| keys::hook(HookId(id.0.saturating_add(1))));
    let behind = keys::after(&all()).unwrap_or_default();
    for (place, row) in between(reader, &first, &behind, Order::Ascending, None).take(rows_max).enumerate() {
        let (key, value) = row?;
        let id = HookId(keys::last_number(&key)?);
        match HookRow::decode(&value) {
            Ok(row) if row.created < before => found.hooks.push((id, url_hash(&row.url))),
            Ok(row) if row.created <= now => return Ok(found),
            Ok(_) => {}
            // It keeps none behind it; verifydata tells of it.
            Err(error) => warn!(id = id.0, %error, "a call of a webhook is damaged"),
        }
        if place + 1 == rows_max {
            found.next = Some(id);
        }
    }
    Ok(found)
}

/// Some of what became of calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetiredHookPage {
    /// Until when each is known, its id, and what became of it; the latest first, by the first.
    pub hooks: Vec<(i64, HookId, RetiredHookRow)>,
    /// Where to go on; none at the end. There may be more even when nothing was found.
    pub next: Option<Cursor>,
}

/// Lists what became of calls.
pub fn retired(
    reader: &Reader,
    filter: &HookFilter,
    cursor: Option<&Cursor>,
    bounds: Bounds,
) -> Result<RetiredHookPage, StoreError> {
    let prefix = keys::of_table(SYSTEM, table::HOOKRETIRED);
    let behind = keys::after(&prefix).unwrap_or_default();
    let cursor = cursor.map(|cursor| cursor.key(&prefix)).transpose()?;
    let mut page = RetiredHookPage { hooks: Vec::new(), next: None };
    let (mut last, mut octets) = (None, 0);
    for (looked, row) in between(reader, &prefix, &behind, Order::Descending, cursor).enumerate() {
        let (key, value) = row?;
        if page.hooks.len() >= bounds.entries_max || looked >= bounds.rows_max || octets >= PAGE_OCTETS_MAX {
            page.next = last.map(Cursor::at);
            break;
        }
        let (until, id) = keys::hook_retired_parts(&key)?;
        let row = RetiredHookRow::decode(&value)?;
        if filter.matches(id, &row.hook) {
            octets += value.len();
            page.hooks.push((until, id, row));
        }
        last = Some(key);
    }
    Ok(page)
}

/// The batch that forgets what is to be known until `now` (seconds since 1970) or less, at most `rows_max` rows, and how
/// many they are.
pub fn purge_retired(reader: &Reader, now: i64, rows_max: usize) -> Result<(Batch, usize), StoreError> {
    let mut batch = Batch::new();
    for row in reader.prefix(&keys::of_table(SYSTEM, table::HOOKRETIRED)).take(rows_max) {
        let (key, _) = row?;
        if keys::hook_retired_parts(&key)?.0 > now {
            break;
        }
        batch.remove(Space::Rows, key);
    }
    let count = batch.len();
    Ok((batch, count))
}
