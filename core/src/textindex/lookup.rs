//! What the index says of the terms of a search.

use std::sync::Arc;

use postrider_proto::mime::text::Needle;
use postrider_storage::ids::AccountId;
use postrider_storage::store::{Store, StoreError};
use postrider_storage::text::{COVERED_MAX, Finder, Hits, Place, Query, Step};

use super::{Demand, EMAILS_MIN};
use crate::imap::content::on_worker;
use crate::runtime::{Pool, PoolError};

/// How often a lookup is begun anew because segments were merged meanwhile.
const TRIES_MAX: u32 = 3;

/// Why there is no answer; the search fails with it.
#[derive(Debug)]
pub enum Trouble {
    /// The store could not be read.
    Store(StoreError),
    /// No worker took it.
    Busy,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PoolError> for Trouble {
    fn from(_: PoolError) -> Self {
        Self::Busy
    }
}

/// What is looked for: needles, and where.
pub struct Wanted<'a> {
    /// The needle.
    pub needle: &'a Needle,
    /// Whether headers are looked at too.
    pub places: &'static [Place],
}

/// Where BODY looks.
pub const BODY: &[Place] = &[Place::Body];
/// Where TEXT looks.
pub const TEXT: &[Place] = &[Place::Body, Place::Header];

/// Asks the index of an account, and has it built when it lags behind. Gives an entry for each needle; none
/// where the index doesn't tell anything.
pub async fn look_up(
    pool: &Pool,
    store: &Arc<Store>,
    demand: &Demand,
    account: AccountId,
    wanted: impl Iterator<Item = Wanted<'_>>,
) -> Result<Vec<Option<Hits>>, Trouble> {
    let queries: Vec<Query> = wanted
        .map(|Wanted { needle, places }| {
            let (runs, is_one_run) = needle.runs();
            Query { runs, is_one_run, places }
        })
        .collect();
    let none = vec![None; queries.len()];
    for _ in 0..TRIES_MAX {
        let begin = |(queries, account): &mut (Vec<Query>, AccountId), store: &Store| {
            let reader = store.reader();
            let next = reader.head(*account)?.map_or(0, |head| head.next_email);
            Ok::<_, StoreError>((next, Finder::begin(&reader, *account, std::mem::take(queries))?))
        };
        let (_, begun) = on_worker(pool, store, (queries.clone(), account), begin).await?;
        let (next, finder) = begun?;
        let covered = finder.as_ref().map_or(0, |finder| finder.covered().0);
        if next.saturating_sub(covered) > EMAILS_MIN && next <= COVERED_MAX {
            demand.ask(account);
        }
        let Some(finder) = finder else { return Ok(none) };
        demand.note(account, finder.covered());
        if let Some(hits) = run(pool, store, finder).await? {
            return Ok(hits);
        }
    }
    Ok(none)
}

/// Looks at all segments, one at a time; none when they changed.
async fn run(
    pool: &Pool,
    store: &Arc<Store>,
    mut finder: Finder,
) -> Result<Option<Vec<Option<Hits>>>, Trouble> {
    loop {
        let step = |finder: &mut Finder, store: &Store| finder.step(&store.reader());
        let (state, step) = on_worker(pool, store, finder, step).await?;
        finder = state;
        match step? {
            Step::More => {}
            Step::Done => return Ok(Some(finder.into_hits())),
            Step::Changed => return Ok(None),
        }
    }
}
