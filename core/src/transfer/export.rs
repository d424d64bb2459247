//! Exporting: written by the worker pool, some messages at a time, each time from a snapshot of its own.
//!
//! The files are written to a directory with `.incomplete` behind its name, which is renamed once all of
//! it is on the disk: what has the name that was asked for is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use postrider_proto::imap::types::Uid;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::reader::Reader;
use postrider_storage::store::StoreError;
use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};

use super::write::{Exported, WriteFailed, Writer};
use super::{Export, Tally, files};
use crate::control::protocol::{Answer, FailureKind, Format, Progress};
use crate::control::{Exchange, OperationError, Transport};
use crate::operations::failure::{busy, internal};
use crate::runtime::{spawn_task, timeout};
use crate::shard::Shard;

/// Messages that one step writes.
const MESSAGES_MAX: usize = 200;
/// Octets at which a step ends.
const OCTETS_MAX: u64 = 1 << 20;
/// How often the client is told how far the work is; twice as often as it has to be.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// A mailbox that is exported.
struct Source {
    id: MailboxId,
    name: postrider_proto::imap::mailbox::MailboxName,
    messages: u64,
}

/// Exports messages to files.
pub async fn export<T: Transport>(
    shard: &Rc<Shard>,
    export: Export,
    exchange: &mut Exchange<T>,
) -> Result<Answer, OperationError> {
    let (account, path) = (export.account, export.path.clone());
    tracing::info!(%account, path = %path.display(), "export begins");
    let mut work = Work { shard, account, tally: Tally::default(), total: 0 };
    let outcome = work.run(export, exchange).await;
    let Tally { messages, octets, skipped_count, .. } = work.tally;
    tracing::info!(%account, messages, octets, skipped = skipped_count, ok = outcome.is_ok(), "export ended");
    match outcome {
        Ok(()) => Ok(work.tally.answer()),
        Err(error) => {
            // Only what this export made itself.
            let partial = partial_of(&path);
            let hint = format!("what was written is in {}", partial.display());
            match error {
                OperationError::Failed(mut failure) if messages > 0 => {
                    failure.message = format!("{}; {hint}", failure.message);
                    Err(failure.into())
                }
                other => Err(other),
            }
        }
    }
}

struct Work<'a> {
    shard: &'a Rc<Shard>,
    account: AccountId,
    tally: Tally,
    total: u64,
}

impl Work<'_> {
    async fn run<T: Transport>(
        &mut self,
        export: Export,
        exchange: &mut Exchange<T>,
    ) -> Result<(), OperationError> {
        let Export { format, account, mailbox, path } = export;
        let partial = partial_of(&path);
        let (store, made, only) = (Arc::clone(&self.shard.shared.store), partial.clone(), mailbox.clone());
        let asked = path.clone();
        let begun = self.shard.shared.pool.run(move || {
            let mailboxes = mailboxes(&store.reader(), account, only.as_ref())?;
            begin(&asked, &made)?;
            Ok::<_, OperationError>(mailboxes)
        });
        let mailboxes = begun.await.map_err(busy)??;
        self.total = mailboxes.iter().map(|mailbox| mailbox.messages).sum();
        for source in mailboxes {
            self.mailbox(format, source, mailbox.is_some(), &partial, exchange).await?;
        }
        let finished = self.on_pool("", exchange, move || finish(&partial, &path));
        finished.await?.map_err(|error| files(format!("the export can't be finished: {error}")))
    }

    /// Runs `work` on the worker pool, and tells the client how far it is meanwhile.
    async fn on_pool<T: Transport, R: Send + 'static>(
        &self,
        what: &str,
        exchange: &mut Exchange<T>,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, OperationError> {
        let running = self.shard.shared.pool.run(work);
        let mut task = spawn_task("export writes", running);
        loop {
            match timeout(TELL_EVERY, &mut task).await {
                Ok(outcome) => return outcome.map_err(internal)?.map_err(busy),
                Err(_) => self.tell(what, exchange).await?,
            }
        }
    }

    async fn tell<T: Transport>(&self, what: &str, exchange: &mut Exchange<T>) -> Result<(), OperationError> {
        let done = self.tally.messages + self.tally.skipped_count;
        let what = Some(what.to_owned());
        Ok(exchange.progress(Progress { done, total: Some(self.total), what }).await?)
    }

    async fn mailbox<T: Transport>(
        &mut self,
        format: Format,
        source: Source,
        alone: bool,
        dir: &Path,
        exchange: &mut Exchange<T>,
    ) -> Result<(), OperationError> {
        let (account, mailbox, name) = (self.account, source.id, source.name.to_string());
        let dir = dir.to_owned();
        let made = self
            .on_pool(&name, exchange, move || Writer::begin(format, &dir, &source.name, source.id, alone));
        let mut writer = made.await?.map_err(|error| files(format!("can't write {name}: {error}")))?;
        let mut from = Some(Uid::MIN);
        let mut told = std::time::Instant::now();
        while let Some(first) = from {
            let store = Arc::clone(&self.shard.shared.store);
            let step = self.on_pool(&name, exchange, move || {
                let step = step(&store.reader(), account, mailbox, first, &mut writer);
                (writer, step)
            });
            let (again, step) = step.await?;
            writer = again;
            let Step { exported, next } = step.map_err(|error| match error {
                WriteFailed::Files(error) => files(format!("can't write {name}: {error}")),
                WriteFailed::Store(error) => internal(error),
            })?;
            from = next;
            self.tally.messages += exported.messages;
            self.tally.octets += exported.octets;
            exported.skipped.into_iter().for_each(|what| self.tally.skip(format!("{name}: {what}")));
            if told.elapsed() >= TELL_EVERY {
                told = std::time::Instant::now();
                self.tell(&name, exchange).await?;
            }
            if self.shard.shared.shutdown.is_stopping() {
                return Err(OperationError::new(FailureKind::Unavailable, "the server stops"));
            }
        }
        let ended = self.on_pool(&name, exchange, move || writer.end()).await?;
        let lost = ended.map_err(|error| files(format!("can't write {name}: {error}")))?;
        lost.into_iter().for_each(|what| self.tally.note(format!("{name}: {what}")));
        Ok(())
    }
}

/// Where an export is written until it is whole.
fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".incomplete");
    path.with_file_name(name)
}

fn mailboxes(
    reader: &Reader,
    account: AccountId,
    only: Option<&postrider_proto::imap::mailbox::MailboxName>,
) -> Result<Vec<Source>, OperationError> {
    let mut found = Vec::new();
    for mailbox in reader.mailboxes(account) {
        let (id, row) = mailbox.map_err(internal)?;
        if only.is_none_or(|only| *only == row.name) {
            found.push(Source { id, name: row.name, messages: row.exists.into() });
        }
    }
    if let (Some(only), true) = (only, found.is_empty()) {
        let message = format!("the account has no mailbox {only}");
        return Err(OperationError::new(FailureKind::NotFound, message));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Makes the directory, unless there is one already.
fn begin(path: &Path, partial: &Path) -> Result<(), OperationError> {
    if !path.is_absolute() || path.file_name().is_none() {
        return Err(files(format!("{} is no absolute path of a directory", path.display())));
    }
    if fs::symlink_metadata(path).is_ok() {
        let message = format!("{} is there already; name a directory that is not", path.display());
        return Err(OperationError::new(FailureKind::Exists, message));
    }
    fs::create_dir(partial).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AlreadyExists => ": it is left of an earlier export; remove it first".to_owned(),
            io::ErrorKind::PermissionDenied => {
                ": the server writes the files itself; give the user that it runs as the right to".to_owned()
            }
            _ => format!(": {error}"),
        };
        files(format!("can't make {}{advice}", partial.display()))
    })
}

/// Puts everything on the disk, and gives the directory its name.
fn finish(partial: &Path, path: &Path) -> io::Result<()> {
    let directory = File::open(partial)?;
    syncfs(&directory)?;
    renameat_with(CWD, partial, CWD, path, RenameFlags::NOREPLACE)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// What one step did.
struct Step {
    exported: Exported,
    next: Option<Uid>,
}

/// Writes some messages from `first` on.
fn step(
    reader: &Reader,
    account: AccountId,
    mailbox: MailboxId,
    first: Uid,
    writer: &mut Writer,
) -> Result<Step, WriteFailed> {
    let mut exported = Exported::default();
    for (count, message) in reader.messages(account, mailbox, first..=Uid::MAX).enumerate() {
        let (uid, row) = message?;
        if count == MESSAGES_MAX || exported.octets >= OCTETS_MAX {
            return Ok(Step { exported, next: Some(uid) });
        }
        match writer.message(reader, account, uid, &row) {
            Ok(octets) => {
                exported.messages += 1;
                exported.octets += octets;
            }
            Err(WriteFailed::Store(error @ StoreError::Engine(_))) => return Err(error.into()),
            Err(WriteFailed::Store(error)) => exported.skipped.push(format!("message {uid}: {error}")),
            Err(error) => return Err(error),
        }
    }
    Ok(Step { exported, next: None })
}
