//! Builds text indexes, on the home shards of their accounts.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postrider_storage::account::MESSAGES_PER_TRANSACTION_MAX;
use postrider_storage::ids::{AccountId, EmailId};
use postrider_storage::keys::{self, table};
use postrider_storage::rows::{Segment, TextRow};
use postrider_storage::store::{Store, StoreError};
use postrider_storage::text::{BUILD_OCTETS_MAX, Builder, COVERED_MAX, Finished, Merge, Row, WRITE_OCTETS};

use super::texts::add_email;
use super::{EMAILS_MIN, is_on};
use crate::accounts::{AccountHandle, LoadError, WriteError, home_of};
use crate::config::TextIndex;
use crate::imap::content::on_worker;
use crate::runtime::{PoolError, sleep, timeout};
use crate::shard::Shard;

/// What one run on a worker costs at most, about 50 ms: an email counts as [`EMAIL_COST`] octets.
const RUN_COST: u64 = 2 * 1024 * 1024;
const EMAIL_COST: u64 = 1024;
/// The shortest pause between two steps.
const STEP_PAUSE: Duration = Duration::from_millis(2);
/// How long the job waits for others who want a worker, in all before one step.
const WAIT_MAX: u32 = 100;
const WAIT: Duration = Duration::from_millis(20);
/// How often accounts in use are looked at for new mail.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long after a failure an account is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// Accounts that are listed at once.
const ACCOUNTS_MAX: usize = 256;

/// Whether somebody waits for the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Half of the time is left to others.
    Gentle,
    /// An operator waits.
    Fast,
}

/// How far a job is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Email ids that are behind it.
    pub done: AtomicU64,
    /// Email ids in all.
    pub total: AtomicU64,
}

/// Why an index wasn't built. What is built of it stays.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No worker took the work.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The account can't be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The rows could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The server stops.
    #[error("the server stops")]
    Stopping,
}

/// Builds what is asked for, for as long as the server runs.
pub async fn serve(shard: Rc<Shard>) {
    let mut failed: BTreeSet<AccountId> = BTreeSet::new();
    let mut retry = Instant::now() + AGAIN;
    loop {
        let next = async { Some(timeout(LOOK_EVERY, shard.accounts.text().next()).await.ok()) };
        let stop = async {
            shard.shared.shutdown.wait().await;
            None
        };
        let Some(account) = futures_lite::future::or(stop, next).await else { return };
        let Some(account) = account else {
            look_around(&shard);
            if retry <= Instant::now() {
                retry = Instant::now() + AGAIN;
                std::mem::take(&mut failed).into_iter().for_each(|id| shard.accounts.text().ask(id));
            }
            continue;
        };
        match index(&shard, account, Pace::Gentle, &Progress::default()).await {
            Ok(()) => {}
            Err(Trouble::Stopping) => return,
            Err(Trouble::Load(LoadError::Removed)) => shard.accounts.text().forget(account),
            Err(error) => {
                tracing::warn!(%account, %error, "the text index of an account is built later");
                failed.insert(account);
            }
        }
    }
}

/// Asks for accounts in use whose index lags behind.
fn look_around(shard: &Rc<Shard>) {
    let demand = shard.accounts.text();
    if shard.shared.config.search.text_index == TextIndex::Always {
        let known: BTreeSet<_> = demand.known().into_iter().map(|(account, _)| account).collect();
        let unknown = shard.accounts.loaded_ids().into_iter().filter(|account| !known.contains(account));
        unknown.for_each(|account| demand.note(account, EmailId(0)));
    }
    for (account, covered) in demand.known() {
        let Some(handle) = shard.accounts.loaded(account) else { continue };
        let next = handle.state().head().map_or(0, |head| head.next_email);
        if next.saturating_sub(covered.0) > EMAILS_MIN && next <= COVERED_MAX {
            demand.ask(account);
        }
    }
}

/// Asks for every account of this shard whose index lags behind: at the start, when all are to be indexed.
pub async fn touch_all(shard: Rc<Shard>) {
    let (home, shards) = (shard.id, shard.shared.shards.len());
    let mut from = AccountId::new(1);
    while let Some(first) = from {
        let store = Arc::clone(&shard.shared.store);
        let page = shard.shared.pool.run(move || {
            let reader = store.reader();
            let (mut due, mut last) = (Vec::new(), None);
            for account in reader.accounts_from(first).take(ACCOUNTS_MAX) {
                let account = account?;
                last = Some(account);
                let next = reader.head(account)?.map_or(0, |head| head.next_email);
                let covered = stored(&reader, account)?.map_or(0, |row| row.covered.0);
                if home_of(account, shards) == home && next.saturating_sub(covered) > EMAILS_MIN {
                    due.push(account);
                }
            }
            Ok::<_, StoreError>((due, last))
        });
        let (due, last) = match page.await {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => {
                tracing::warn!(%error, "accounts can't be listed; their texts are indexed when they are used");
                return;
            }
            Err(_) => {
                sleep(AGAIN).await;
                continue;
            }
        };
        due.into_iter().for_each(|account| shard.accounts.text().ask(account));
        from = last.and_then(|last| AccountId::new(last.get().wrapping_add(1)));
        sleep(STEP_PAUSE).await;
    }
}

fn stored(
    reader: &postrider_storage::reader::Reader,
    account: AccountId,
) -> Result<Option<TextRow>, StoreError> {
    Ok(reader.get(&keys::text(account))?.map(|row| TextRow::decode(&row)).transpose()?)
}

/// How an index is: its row, none when there is none, and the next email's id.
pub async fn status(shard: &Rc<Shard>, account: AccountId) -> Result<(Option<TextRow>, u64), Trouble> {
    let store = Arc::clone(&shard.shared.store);
    let read = shard.shared.pool.run(move || {
        let reader = store.reader();
        let next = reader.head(account)?.map_or(0, |head| head.next_email);
        Ok::<_, StoreError>((stored(&reader, account)?, next))
    });
    Ok(read.await??)
}

/// One job in the process builds: its memory is that of one segment, or of one merge.
static BUILDING: AtomicBool = AtomicBool::new(false);

struct Turn;

impl Turn {
    async fn take(shard: &Shard) -> Result<Self, Trouble> {
        while BUILDING.swap(true, Ordering::AcqRel) {
            if shard.shared.shutdown.is_stopping() {
                return Err(Trouble::Stopping);
            }
            sleep(WAIT).await;
        }
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BUILDING.store(false, Ordering::Release);
    }
}

/// Indexes all emails of an account that are not indexed yet. Call it on the account's home shard only.
pub async fn index(
    shard: &Rc<Shard>,
    account: AccountId,
    pace: Pace,
    progress: &Progress,
) -> Result<(), Trouble> {
    if !is_on(shard) {
        return Ok(());
    }
    let handle = shard.accounts.get(account).await?;
    if !handle.state().exists() {
        return Ok(());
    }
    let _turn = Turn::take(shard).await?;
    let job = Job { shard, account: handle, pace };
    let begun = Instant::now();
    let mut emails = 0;
    loop {
        let row = job.account.transact(None, None, |tx| tx.open_text()).await?;
        let next = job.account.state().head().map_or(0, |head| head.next_email);
        progress.done.store(row.covered.0, Ordering::Relaxed);
        progress.total.store(next, Ordering::Relaxed);
        if let Some(number) = row.dropped() {
            while job
                .account
                .transact_many(None, None, MESSAGES_PER_TRANSACTION_MAX, move |tx| tx.drop_segment(number))
                .await?
            {
                job.pause(STEP_PAUSE).await?;
            }
        } else if let Some(inputs) = row.due_merge() {
            job.merge(&inputs).await?;
        } else if row.covered.0 < next && next <= COVERED_MAX {
            emails += job.build(row.covered, EmailId(next), progress).await?;
        } else {
            shard.accounts.text().note(account, row.covered);
            break;
        }
        job.pause(STEP_PAUSE).await?;
    }
    if emails > 0 {
        tracing::info!(%account, emails, seconds = begun.elapsed().as_secs_f64(), "indexed texts");
    }
    Ok(())
}

/// The account that is worked on.
struct Job<'a> {
    shard: &'a Rc<Shard>,
    account: Rc<AccountHandle>,
    pace: Pace,
}

/// What builds a segment, on a worker.
struct Build {
    account: AccountId,
    builder: Builder,
    /// Where emails are looked for; none when all were.
    from: Option<keys::Key>,
    end: EmailId,
    /// The last email that was added.
    last: EmailId,
}

impl Build {
    fn run(&mut self, store: &Store) -> Result<(), StoreError> {
        let reader = store.reader();
        let prefix = keys::of_table(self.account.get(), table::EMAIL);
        let mut cost = 0;
        let Some(from) = self.from.take() else { return Ok(()) };
        for row in reader.from(&from, &prefix) {
            let (key, _) = row?;
            let [email] = keys::numbers(&key, [8])?;
            if email >= self.end.0 {
                break;
            }
            if cost >= RUN_COST || self.is_full() {
                self.from = Some(key.to_vec());
                break;
            }
            cost += EMAIL_COST + add_email(&reader, self.account, EmailId(email), &mut self.builder)?;
            self.last = EmailId(email);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.builder.octets() >= BUILD_OCTETS_MAX
    }
}

impl Job<'_> {
    /// Waits, at least for `worked` when the job is to leave time to others; and while others want workers.
    async fn pause(&self, worked: Duration) -> Result<(), Trouble> {
        let time = match self.pace {
            Pace::Gentle => worked.max(STEP_PAUSE),
            Pace::Fast => STEP_PAUSE,
        };
        sleep(time).await;
        let mut waits = 0;
        while self.shard.shared.pool.stats().queued > 0 && waits < WAIT_MAX {
            waits += 1;
            sleep(WAIT).await;
        }
        if self.shard.shared.shutdown.is_stopping() { Err(Trouble::Stopping) } else { Ok(()) }
    }

    async fn work<S: Send + 'static, T: Send + 'static>(
        &self,
        state: S,
        step: fn(&mut S, &Store) -> T,
    ) -> Result<(S, T), Trouble> {
        let begun = Instant::now();
        let done = on_worker(&self.shard.shared.pool, self.account.store(), state, step).await?;
        self.pause(begun.elapsed()).await?;
        Ok(done)
    }

    /// Builds a segment of the emails from `first` on, as many as memory takes; gives their number.
    async fn build(&self, first: EmailId, end: EmailId, progress: &Progress) -> Result<u64, Trouble> {
        let account = self.account.id();
        let from = Some(keys::email(account, first));
        let mut build = Build { account, builder: Builder::new(first), from, end, last: first };
        while build.from.is_some() && !build.is_full() {
            let (state, done) = self.work(build, Build::run).await?;
            done?;
            build = state;
            progress.done.store(build.last.0, Ordering::Relaxed);
        }
        let end = if build.from.is_some() { EmailId(build.last.0 + 1) } else { end };
        let emails = build.builder.emails();
        let number = self.account.transact(None, None, move |tx| tx.begin_segment(first, end)).await?;
        let state = (Some(build.builder), account, number);
        let finish = |(builder, account, number): &mut (Option<Builder>, AccountId, u32), _: &Store| {
            builder.take().map(|builder| builder.finish(*account, *number))
        };
        let (_, finished) = self.work(state, finish).await?;
        let (rows, finished) = finished.unwrap_or_default();
        self.write(number, rows).await?;
        self.finish(number, emails, finished, Vec::new()).await?;
        Ok(emails.into())
    }

    /// Merges segments into one.
    async fn merge(&self, inputs: &[Segment]) -> Result<(), Trouble> {
        let account = self.account.id();
        let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else { return Ok(()) };
        let (first, end) = (first.first, last.end);
        let number = self.account.transact(None, None, move |tx| tx.begin_segment(first, end)).await?;
        let mut merge = Merge::new(account, inputs, number);
        loop {
            let step = |merge: &mut Merge, store: &Store| merge.step(&store.reader());
            let (state, more) = self.work(merge, step).await?;
            merge = state;
            if !more? {
                break;
            }
            if merge.octets() >= WRITE_OCTETS {
                self.write(number, merge.take()).await?;
            }
        }
        let (rows, finished, emails) = merge.finish();
        self.write(number, rows).await?;
        let replaces = inputs.iter().map(|segment| segment.number).collect();
        self.finish(number, emails, finished, replaces).await
    }

    /// Writes rows of a segment, some in each transaction.
    async fn write(&self, number: u32, rows: Vec<Row>) -> Result<(), Trouble> {
        let mut some: Vec<Row> = Vec::new();
        let mut octets = 0;
        let mut rows = rows.into_iter().peekable();
        while let Some(row) = rows.next() {
            octets += row.0.len() + row.1.len();
            some.push(row);
            if octets >= WRITE_OCTETS || rows.peek().is_none() {
                let part = std::mem::take(&mut some);
                octets = 0;
                self.account
                    .transact_many(None, None, MESSAGES_PER_TRANSACTION_MAX, move |tx| {
                        tx.write_segment(number, part)
                    })
                    .await?;
                self.pause(STEP_PAUSE).await?;
            }
        }
        Ok(())
    }

    async fn finish(
        &self,
        number: u32,
        emails: u32,
        finished: Finished,
        replaces: Vec<u32>,
    ) -> Result<(), Trouble> {
        let finish = self.account.transact_many(None, None, MESSAGES_PER_TRANSACTION_MAX, move |tx| {
            tx.finish_segment(number, emails, finished, &replaces)
        });
        if !finish.await? {
            tracing::debug!(account = %self.account.id(), "a text index was emptied while it was built");
        }
        Ok(())
    }
}
