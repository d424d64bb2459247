//! The whole directory as a text: written out, and applied as one transaction, however large it is.
//!
//! All reading and comparing happens on the workers, in steps of some milliseconds; this only carries texts,
//! lines and batches between the client, the workers and the committer. What is held of a document is a few
//! MiB, whatever its size.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use postrider_storage::directory::{
    self, Apply, Derive, Effect, Export, Finish, Mode, Options, PENDING_OCTETS_MAX, effects, effects_of,
};
use postrider_storage::engine::{Batch, Durability, Incarnation};
use postrider_storage::ids::AccountId;
use postrider_storage::reader::Reader;

use super::changes::{Planned, first_rows};
use super::dkim::read_key;
use super::edit::derive;
use super::settle::{APPLYING, Pace, Settler, Went};
use super::{ServerOperations, failure, internal};
use crate::accounts::initial;
use crate::clock::unix_now;
use crate::commit;
use crate::control::protocol::{Answer, Progress};
use crate::control::{Exchange, OperationError, Transport};
use crate::lock::Held;
use crate::shard::Shared;

/// Of a text that is shorter all is read before others have to wait for the directory.
const AHEAD_OCTETS: usize = 1 << 20;
/// Lines of changes that are sent together.
const LINES_OCTETS: usize = 32 << 10;

/// A text that comes from the client.
#[derive(Default)]
struct Text {
    chunks: VecDeque<Vec<u8>>,
    ended: bool,
}

/// What is to be committed at the end.
enum End {
    Nothing,
    Whole(Planned),
    Seal(Batch),
}

impl ServerOperations {
    pub(super) async fn export_directory<T: Transport>(
        &self,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let mut export = Export::default();
        // All of it is of one moment.
        let mut moment: Option<(Reader, u64)> = None;
        let mut pace = Pace::new();
        loop {
            let made = self.on_idle_pool(move |shared| {
                let (reader, total) = match moment {
                    Some(moment) => moment,
                    None => {
                        let reader = shared.store.reader();
                        let status = directory::Directory::new(reader.snapshot()).status();
                        let status = status.map_err(internal)?;
                        (reader, u64::from(status.accounts) + u64::from(status.domains))
                    }
                };
                let part = export.part(reader.snapshot()).map_err(internal)?;
                Ok((export, (reader, total), part))
            });
            let (exported, (reader, total), part) = made.await?;
            let Some(part) = part else { return Ok(Answer::Done) };
            if !part.is_empty() {
                exchange.write(part.as_bytes()).await?;
            }
            if pace.is_due() {
                let done = exported.done();
                exchange.progress(progress("written", done, Some(total.max(done)))).await?;
            }
            (export, moment) = (exported, Some((reader, total)));
        }
    }

    pub(super) async fn apply_directory<T: Transport>(
        &self,
        dry_run: bool,
        files: Option<PathBuf>,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let mut text = Text::default();
        let mut octets = 0;
        while !text.ended && octets < AHEAD_OCTETS {
            octets += text.read(exchange).await?;
        }
        let held = self.directory.take().await.map_err(failure::long)?;
        self.settle_leftovers(&held).await?;
        if !text.ended {
            held.for_long(APPLYING);
        }
        let mode = if dry_run { Mode::Try } else { Mode::Make };
        let mut work = Work { incarnation: None, staged: 0 };
        let outcome = match self.find((mode, files), text, &mut work, &held, exchange).await {
            Ok((end, changes)) => self.conclude(end, &work, exchange).await.map(|()| changes),
            Err(error) => Err(error),
        };
        let changes = match outcome {
            Ok(changes) => changes,
            Err(error) => {
                if work.staged > 0 {
                    self.throw_away().await;
                }
                return Err(error);
            }
        };
        drop(held);
        Ok(Answer::Applied { changes })
    }

    /// Reads the text and finds all changes; gives what is to be committed, and how many changes there are.
    async fn find<T: Transport>(
        &self,
        (mode, files): (Mode, Option<PathBuf>),
        mut text: Text,
        work: &mut Work,
        held: &Held<'_>,
        exchange: &mut Exchange<T>,
    ) -> Result<(End, u64), OperationError> {
        let shared = Arc::clone(&self.shard.shared);
        let mut apply =
            Box::new(self.on_pool(move |_| Ok(Apply::new(options(mode, files, &shared)?))).await?);
        let (mut lines, mut pace) = (String::new(), Pace::new());
        while !apply.is_done() {
            if apply.wants_text() {
                if text.chunks.is_empty() && !text.ended {
                    text.read(exchange).await?;
                }
                apply.text(text.chunks.pop_front().as_deref());
            }
            let stepped = self.on_idle_pool(move |shared| {
                let step = apply.step(&*shared.store.engine().snapshot()).map_err(failure::apply)?;
                Ok((apply, step))
            });
            let step;
            (apply, step) = stepped.await?;
            work.commit(self, step.batch, Durability::Buffered).await?;
            if work.staged > 0 {
                held.for_long(APPLYING);
            }
            lines.push_str(&step.lines);
            if lines.len() >= LINES_OCTETS || apply.is_done() {
                exchange.write(std::mem::take(&mut lines).as_bytes()).await?;
            }
            if pace.is_due() {
                exchange.progress(progress_of(&apply)).await?;
            }
        }
        let changes = apply.changes();
        let finished = self.on_idle_pool(move |shared| {
            let snapshot = shared.store.engine().snapshot();
            Ok(match apply.finish(&*snapshot).map_err(failure::apply)? {
                Finish::Nothing => End::Nothing,
                Finish::Whole(batch) => {
                    let effects = effects_of(&*snapshot, &batch).map_err(internal)?;
                    End::Whole(Planned { batch, effects })
                }
                Finish::Seal(batch) => End::Seal(batch),
            })
        });
        Ok((finished.await?, changes))
    }

    /// Makes the changes. When a plan is sealed they are there, and what follows is done whether or not the
    /// client still listens.
    async fn conclude<T: Transport>(
        &self,
        end: End,
        work: &Work,
        exchange: &mut Exchange<T>,
    ) -> Result<(), OperationError> {
        let batch = match end {
            End::Whole(planned) => return self.commit(planned).await,
            End::Nothing => {
                if work.staged > 0 {
                    self.throw_away().await;
                }
                return Ok(());
            }
            End::Seal(batch) => batch,
        };
        let shared = &self.shard.shared;
        let mut sealed = Work { incarnation: work.incarnation, staged: work.staged };
        shared.store.begin_sealing();
        sealed.commit(self, batch, Durability::Synced).await?;
        tracing::info!(rows = sealed.staged, "a large change of the directory is made");
        let removed = self.tell_sealed().await.unwrap_or_else(|error| {
            // What shards remember of quotas is stale until the account is loaded again.
            tracing::warn!(%error, "not all accounts heard of a change of the directory");
            1
        });
        let (mut pace, mut moved, mut listens) = (Pace::new(), 0, true);
        let mut settler = Settler::default();
        loop {
            match self.settle_step(&mut settler).await {
                Ok(Went::On(rows)) => moved += rows,
                Ok(Went::ToItsEnd(_)) => break,
                Err(error) => {
                    // The change is made; moving its rows goes on with the next change or start.
                    tracing::warn!(%error, "a large change of the directory is settled later");
                    break;
                }
            }
            if listens && pace.is_due() {
                let told = progress("put in place", moved.min(sealed.staged), Some(sealed.staged));
                listens = exchange.progress(told).await.is_ok();
            }
        }
        if removed > 0 {
            self.erase_removed();
        }
        Ok(())
    }

    /// Tells the shards of accounts that a sealed plan changes or removes; gives how many it removes.
    async fn tell_sealed(&self) -> Result<u64, OperationError> {
        let mut after = None;
        let mut removed = 0;
        loop {
            let found = self.on_idle_pool(move |shared| {
                effects(&*shared.store.engine().snapshot(), after.as_deref()).map_err(internal)
            });
            let (part, next): (Vec<Effect>, _) = found.await?;
            removed += self.tell(part).await?;
            after = next;
            if after.is_none() {
                return Ok(removed);
            }
        }
    }
}

impl Text {
    /// Reads a chunk, or the end; gives its octets.
    async fn read<T: Transport>(&mut self, exchange: &mut Exchange<T>) -> Result<usize, OperationError> {
        match exchange.read().await? {
            Some(chunk) => {
                let octets = chunk.len();
                self.chunks.push_back(chunk);
                Ok(octets)
            }
            None => {
                self.ended = true;
                Ok(0)
            }
        }
    }
}

/// What was committed of a plan.
struct Work {
    /// The engine's life in which the first part was.
    incarnation: Option<Incarnation>,
    /// Rows.
    staged: u64,
}

impl Work {
    async fn commit(
        &mut self,
        operations: &ServerOperations,
        batch: Batch,
        durability: Durability,
    ) -> Result<(), OperationError> {
        if batch.is_empty() {
            return Ok(());
        }
        // Counted before it is known to be there: what fails may be.
        self.staged += batch.len() as u64;
        let committer = &operations.shard.shared.committer;
        let submitted = commit::submit(committer, batch, durability, self.incarnation).await;
        let done = match submitted {
            Ok(submitted) => submitted.done().await,
            Err(error) => Err(error),
        };
        let done = done.map_err(|error| failure::commit(&error))?;
        self.incarnation = Some(done.incarnation);
        Ok(())
    }
}

fn options(mode: Mode, files: Option<PathBuf>, shared: &Arc<Shared>) -> Result<Options, OperationError> {
    let now = unix_now();
    let reader = shared.store.reader();
    // Any number that no account has; the last one is given out last.
    let nobody = AccountId(std::num::NonZeroU32::MAX);
    let first_rows = first_rows(&reader, nobody, &initial(&shared.config.accounts, now), now);
    let deriving = Arc::clone(shared);
    let derive: Derive = Box::new(move |password| {
        derive(&deriving.config.passwords, password).map_err(|error| error.to_string())
    });
    Ok(Options {
        mode,
        limits: directory::Limits::DEFAULT,
        now,
        first_rows: first_rows.map_err(internal)?,
        derive,
        read_key: Box::new(move |text| read_key(text, files.as_deref())),
        pending_octets_max: PENDING_OCTETS_MAX,
    })
}

fn progress(what: &str, done: u64, total: Option<u64>) -> Progress {
    Progress { done, total, what: Some(what.to_owned()) }
}

fn progress_of(apply: &Apply) -> Progress {
    match apply.progress() {
        directory::Progress::Reading(done) => progress("read", done, None),
        directory::Progress::Comparing(done, total) => progress("compared", done, Some(total)),
    }
}
