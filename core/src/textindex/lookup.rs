//! What the index says of the terms of a search.

use std::rc::Rc;
use std::sync::Arc;

use postrider_proto::mime::text::Needle;
use postrider_storage::store::{Store, StoreError};
use postrider_storage::text::{Finder, Hits, Place, Query, Step};

use super::{EMAILS_MIN, is_on};
use crate::accounts::AccountHandle;
use crate::imap::content::on_worker;
use crate::runtime::PoolError;
use crate::shard::Shard;

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

/// Asks the index of an account, and asks for it to be built when it lags behind. Gives an entry for each
/// needle; none where the index doesn't tell anything.
pub async fn look_up(
    shard: &Rc<Shard>,
    account: &Rc<AccountHandle>,
    wanted: impl Iterator<Item = Wanted<'_>>,
) -> Result<Vec<Option<Hits>>, Trouble> {
    let queries: Vec<Query> = wanted
        .map(|Wanted { needle, places }| {
            let (runs, is_one_run) = needle.runs();
            Query { runs, is_one_run, places }
        })
        .collect();
    let none = vec![None; queries.len()];
    if !is_on(shard) {
        return Ok(none);
    }
    let id = account.id();
    let next = account.state().head().map_or(0, |head| head.next_email);
    for _ in 0..TRIES_MAX {
        let begin = (queries.clone(), id, None::<Finder>);
        let work = |(queries, id, finder): &mut (Vec<Query>, _, Option<Finder>), store: &Store| {
            *finder = Finder::begin(&store.reader(), *id, std::mem::take(queries))?;
            Ok::<(), StoreError>(())
        };
        let ((_, _, finder), done) = on_worker(&shard.shared.pool, account.store(), begin, work).await?;
        done?;
        let Some(finder) = finder else {
            if next > EMAILS_MIN {
                shard.accounts.text().ask(id);
            }
            return Ok(none);
        };
        shard.accounts.text().note(id, finder.covered());
        if next.saturating_sub(finder.covered().0) > EMAILS_MIN {
            shard.accounts.text().ask(id);
        }
        if let Some(hits) = run(shard, account, finder).await? {
            return Ok(hits);
        }
    }
    Ok(none)
}

/// Looks at all segments, one at a time; none when they changed.
async fn run(
    shard: &Rc<Shard>,
    account: &Rc<AccountHandle>,
    mut finder: Finder,
) -> Result<Option<Vec<Option<Hits>>>, Trouble> {
    let store: &Arc<Store> = account.store();
    loop {
        let step = |finder: &mut Finder, store: &Store| finder.step(&store.reader());
        let (state, step) = on_worker(&shard.shared.pool, store, finder, step).await?;
        finder = state;
        match step? {
            Step::More => {}
            Step::Done => return Ok(Some(finder.into_hits())),
            Step::Changed => return Ok(None),
        }
    }
}
