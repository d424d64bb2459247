//! Changes of the directory that are too large for one batch, and are one transaction all the same.
//!
//! The rows that a large change writes are first put aside, under STAGED, in batches of bounded size, and
//! nothing looks at them. One small batch then *seals* the plan: from that commit on, whoever reads the
//! directory reads the staged rows on top of it ([`Overlay`]), so the change is there, all of it, for
//! everybody at once. The staged rows are moved to their places afterwards ([`settle`]), in bounded batches
//! that change nothing of what is read. What a process that died leaves is the same: a plan that is sealed
//! holds, and is moved on with; one that isn't is thrown away.
//!
//! | table | name | rest of the key | value |
//! |---|---|---|---|
//! | 0x5d | PLAN | - | version, state u8 (0: being written, 1: sealed, 2: being tried) |
//! | 0x5e | STAGED | table and rest of the key of a row of the directory | version, 0 (removed), or 1 and the value |
//! | 0x5f | WANTED | kind u8, name | what an applied document wants; see `apply/wanted.rs` |
//!
//! The first rows of accounts that the plan adds, which are rows of their own, are written to their places
//! at once. Until the plan is sealed nothing leads to them; when it is thrown away they are removed, and the
//! numbers of those accounts are never given out again.
//!
//! What always holds: STAGED and WANTED have rows only while there is PLAN; while there is PLAN, nobody
//! changes the directory but [`settle`].

mod overlay;
mod settle;

pub(crate) use overlay::reading;
pub(super) use overlay::{Layered, Overlay};
pub use settle::{Effect, Settled, effects, effects_of, settle};

use super::lookup::corrupt;
use super::rows::{self, BadRow, PREFIX_OCTETS};
use crate::engine::{Bytes, EngineError, Snapshot, Space};

/// How far a plan is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlanState {
    /// It is being written; nobody sees it.
    Writing,
    /// As that, and it never will be seen: it has no rows of new accounts.
    Trying,
    /// It holds.
    Sealed,
}

const WRITING: u8 = 0;
const SEALED: u8 = 1;
const TRYING: u8 = 2;

/// The plan that a snapshot has, if any.
pub fn plan_state(snapshot: &dyn Snapshot) -> Result<Option<PlanState>, EngineError> {
    let key = plan_key();
    let value = snapshot.get(Space::Rows, &key)?;
    value.map(|value| decode_plan(&key, &value)).transpose().map_err(corrupt)
}

pub(super) fn plan_key() -> Vec<u8> {
    rows::table(rows::PLAN)
}

pub(super) fn encode_plan(state: PlanState) -> Vec<u8> {
    let state = match state {
        PlanState::Writing => WRITING,
        PlanState::Trying => TRYING,
        PlanState::Sealed => SEALED,
    };
    vec![rows::VERSION, state]
}

pub(super) fn decode_plan(key: &[u8], value: &[u8]) -> Result<PlanState, BadRow> {
    rows::Reader::read(key, value, |reader| match reader.u8()? {
        WRITING => Some(PlanState::Writing),
        TRYING => Some(PlanState::Trying),
        SEALED => Some(PlanState::Sealed),
        _ => None,
    })
}

/// Whether a key is of a row of the directory, which a plan may stage.
pub(super) fn can_be_staged(key: &[u8]) -> bool {
    key.strip_prefix(&[0, 0, 0, 0])
        .and_then(<[u8]>::first)
        .is_some_and(|table| (rows::STATE..=rows::LAST).contains(table))
}

/// Where the row of `key` is staged; `key` can be.
pub(super) fn staged_key(key: &[u8]) -> Vec<u8> {
    let mut staged = rows::table(rows::STAGED);
    staged.extend_from_slice(key.get(PREFIX_OCTETS - 1..).unwrap_or_default());
    staged
}

/// The key of the row that is staged here.
pub(super) fn unstaged_key(staged: &[u8]) -> Option<Vec<u8>> {
    let mut key = vec![0; PREFIX_OCTETS - 1];
    key.extend_from_slice(staged.get(PREFIX_OCTETS..)?);
    can_be_staged(&key).then_some(key)
}

const REMOVED: u8 = 0;
const PUT: u8 = 1;

pub(super) fn encode_staged(value: Option<&[u8]>) -> Vec<u8> {
    let mut out = vec![rows::VERSION, if value.is_some() { PUT } else { REMOVED }];
    out.extend_from_slice(value.unwrap_or_default());
    out
}

/// What a staged row does: gives its key a value, or removes it.
pub(super) fn decode_staged(key: &[u8], value: &[u8]) -> Result<Option<Bytes>, BadRow> {
    rows::Reader::read(key, value, |reader| match (reader.u8()?, reader.rest()) {
        (REMOVED, []) => Some(None),
        (PUT, value) => Some(Some(Bytes::copy_from(value))),
        _ => None,
    })
}
