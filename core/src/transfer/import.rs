//! Importing: files are read ahead on the worker pool, messages are taken in on the first shard, and go
//! into the account on its home shard, some in one transaction, while the next are read.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use postrider_proto::imap::mailbox::MailboxName;
use postrider_storage::blobs::{BLOB_OCTETS_MAX, Sharing};
use postrider_storage::ids::AccountId;
use postrider_storage::store::StoreError;

use super::source::{Event, Source};
use super::target::{Deposit, Outcome, Ready, deposit};
use super::{Import, Tally, files};
use crate::config::ImapLimits;
use crate::control::protocol::{Answer, FailureKind, Format, Progress};
use crate::control::{Exchange, Gone, OperationError, Transport};
use crate::intake::{Intake, IntakeError, abandon};
use crate::operations::failure::{busy, commit, internal};
use crate::runtime::{Task, now, sleep, spawn_task, timeout, yield_if_needed};
use crate::shard::Shard;

/// Messages that one transaction adds.
const MESSAGES_MAX: usize = 100;
/// Octets of their contents, as far as they are written by the transaction, at which it is full.
const OCTETS_MAX: usize = 256 * 1024;
/// How often the client is told how far the work is; twice as often as it has to be.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// How long to wait when the worker pool is full.
const POOL_PAUSE: Duration = Duration::from_millis(20);

type Read = (Box<dyn Source>, std::io::Result<Vec<Event>>);

/// Imports messages from files.
pub async fn import<T: Transport>(
    shard: &Rc<Shard>,
    import: Import,
    exchange: &mut Exchange<T>,
) -> Result<Answer, OperationError> {
    let Import { format, account, mailbox, path } = import;
    tracing::info!(%account, %mailbox, path = %path.display(), "import begins");
    let (source, total) = open(shard, format, &path, &mailbox).await?;
    let mut work = Work::new(shard, account, mailbox, total);
    let outcome = work.run(source, &path, exchange).await;
    let Tally { messages, octets, skipped_count, .. } = work.tally;
    tracing::info!(%account, messages, octets, skipped = skipped_count, ok = outcome.is_ok(), "import ended");
    match outcome {
        Ok(()) => Ok(std::mem::take(&mut work.tally).answer()),
        Err(OperationError::Failed(mut failure)) => {
            let there = format!("; {messages} messages were imported before and are there");
            failure.message.push_str(&there);
            Err(failure.into())
        }
        Err(gone) => Err(gone),
    }
}

async fn open(
    shard: &Rc<Shard>,
    format: Format,
    path: &Path,
    mailbox: &MailboxName,
) -> Result<(Box<dyn Source>, Option<u64>), OperationError> {
    let (path, mailbox) = (path.to_owned(), mailbox.clone());
    let opened = shard.shared.pool.run(move || {
        if !path.is_absolute() {
            return Err(files(format!("{} is no absolute path", path.display())));
        }
        let source: std::io::Result<Box<dyn Source>> = match format {
            Format::Maildir => {
                super::maildir::Maildir::open(&path, &mailbox).map(|maildir| Box::new(maildir) as _)
            }
            Format::Mbox => super::mbox::Mbox::open(&path).map(|mbox| Box::new(mbox) as _),
        };
        let mut source = source.map_err(|error| {
            let advice = match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    ". The server reads the files itself: give the user that it runs as the right to"
                }
                _ => "",
            };
            files(format!("can't import {}: {error}{advice}", path.display()))
        })?;
        let total = source.count();
        Ok((source, total))
    });
    opened.await.map_err(busy)?
}

/// Starts to read the next piece.
fn read(shard: &Rc<Shard>, mut source: Box<dyn Source>) -> Task<Result<Read, OperationError>> {
    let pool = shard.shared.pool.clone();
    spawn_task("import reads", async move {
        let mut patience = 500_u32;
        while pool.stats().queued > 0 && patience > 0 {
            // Logins come first.
            patience -= 1;
            sleep(POOL_PAUSE).await;
        }
        let reading = pool.run(move || {
            let events = source.read();
            (source, events)
        });
        reading.await.map_err(busy)
    })
}

/// An import under way.
struct Work {
    shard: Rc<Shard>,
    account: AccountId,
    mailbox: MailboxName,
    octets_max: u64,
    /// The message that comes in, with its name.
    intake: Option<(Intake, String)>,
    ready: Vec<Ready>,
    ready_octets: usize,
    /// The transaction that is under way.
    depositing: Option<Task<Result<Outcome, OperationError>>>,
    tally: Tally,
    total: Option<u64>,
    told: Instant,
}

impl Work {
    fn new(shard: &Rc<Shard>, account: AccountId, mailbox: MailboxName, total: Option<u64>) -> Self {
        let limits = shard.shared.config.listeners.iter().map(|listener| listener.limits.imap.append_octets);
        let octets_max = limits.max().unwrap_or(ImapLimits::default().append_octets).min(BLOB_OCTETS_MAX);
        Self {
            shard: Rc::clone(shard),
            account,
            mailbox,
            octets_max,
            intake: None,
            ready: Vec::new(),
            ready_octets: 0,
            depositing: None,
            tally: Tally::default(),
            total,
            told: now(),
        }
    }

    async fn run<T: Transport>(
        &mut self,
        source: Box<dyn Source>,
        path: &Path,
        exchange: &mut Exchange<T>,
    ) -> Result<(), OperationError> {
        let mut reading = read(&self.shard, source);
        loop {
            let (source, events) = self.wait(&mut reading, exchange).await??;
            let events = events.map_err(|error| files(format!("can't read {}: {error}", path.display())))?;
            if events.is_empty() {
                break;
            }
            reading = read(&self.shard, source);
            for event in events {
                self.take(event, exchange).await?;
                yield_if_needed().await;
            }
            self.tell(exchange).await?;
            if self.shard.shared.shutdown.is_stopping() {
                return Err(OperationError::new(FailureKind::Unavailable, "the server stops"));
            }
        }
        self.flush(exchange).await?;
        self.finish_deposit(exchange).await
    }

    /// Waits for a task, and tells the client how far the work is meanwhile.
    async fn wait<T: Transport, R: 'static>(
        &self,
        task: &mut Task<R>,
        exchange: &mut Exchange<T>,
    ) -> Result<R, OperationError> {
        loop {
            match timeout(TELL_EVERY, &mut *task).await {
                Ok(outcome) => return outcome.map_err(internal),
                Err(_) => exchange.progress(self.progress()).await?,
            }
        }
    }

    fn progress(&self) -> Progress {
        let done = self.tally.messages + self.tally.skipped_count;
        Progress { done, total: self.total, what: Some(self.mailbox.to_string()) }
    }

    async fn tell<T: Transport>(&mut self, exchange: &mut Exchange<T>) -> Result<(), Gone> {
        if self.told.elapsed() >= TELL_EVERY {
            self.told = now();
            exchange.progress(self.progress()).await?;
        }
        Ok(())
    }

    async fn take<T: Transport>(
        &mut self,
        event: Event,
        exchange: &mut Exchange<T>,
    ) -> Result<(), OperationError> {
        match event {
            Event::Mailbox(mailbox) => {
                self.flush(exchange).await?;
                self.mailbox = mailbox;
            }
            Event::Begin(name) => {
                let shared = &self.shard.shared;
                self.intake = Some((Intake::new(&shared.store, &shared.committer, self.octets_max), name));
            }
            Event::Octets(octets) => {
                let Some((intake, _)) = &mut self.intake else { return Ok(()) };
                if let Err(error) = intake.push(&octets).await {
                    self.give_up(error)?;
                }
            }
            Event::End { marks, received } => {
                let Some((intake, name)) = self.intake.take() else { return Ok(()) };
                if intake.octets() == 0 {
                    self.tally.skip(format!("{name}: it is empty"));
                    return Ok(());
                }
                match intake.finish(Sharing::One) {
                    Ok(message) => {
                        self.ready_octets += message.batch.octets();
                        self.ready.push(Ready { message, marks, received, name });
                    }
                    Err(error) => return self.refused(error, &name),
                }
                if self.ready.len() >= MESSAGES_MAX || self.ready_octets >= OCTETS_MAX {
                    self.flush(exchange).await?;
                }
            }
            Event::Broken(reason) => {
                let name = self.intake.take().map_or_else(String::new, |(_, name)| name);
                self.tally.skip(format!("{name}: {reason}"));
            }
            Event::Skip(what) => self.tally.skip(what),
        }
        Ok(())
    }

    /// Leaves out the message that comes in, or ends the import.
    fn give_up(&mut self, error: IntakeError) -> Result<(), OperationError> {
        let name = self.intake.take().map_or_else(String::new, |(_, name)| name);
        self.refused(error, &name)
    }

    fn refused(&mut self, error: IntakeError, name: &str) -> Result<(), OperationError> {
        match error {
            IntakeError::Store(StoreError::Refused(refusal)) => {
                self.tally.skip(format!("{name}: {refusal}"));
                Ok(())
            }
            IntakeError::Store(error) => Err(internal(error)),
            IntakeError::Commit(error) => Err(commit(&error)),
        }
    }

    /// Sends what is ready into the account, after what was sent before is there.
    async fn flush<T: Transport>(&mut self, exchange: &mut Exchange<T>) -> Result<(), OperationError> {
        self.finish_deposit(exchange).await?;
        if self.ready.is_empty() {
            return Ok(());
        }
        if let Err(refusal) = self.shard.shared.gate.admits() {
            let message = format!("the server takes no new mail: {refusal}");
            return Err(OperationError::new(FailureKind::Unavailable, message));
        }
        self.ready_octets = 0;
        let messages = std::mem::take(&mut self.ready);
        let what = Deposit { account: self.account, mailbox: self.mailbox.clone(), messages };
        let shard = Rc::clone(&self.shard);
        self.depositing = Some(spawn_task("import writes", async move { deposit(&shard, what).await }));
        Ok(())
    }

    async fn finish_deposit<T: Transport>(
        &mut self,
        exchange: &mut Exchange<T>,
    ) -> Result<(), OperationError> {
        let Some(mut task) = self.depositing.take() else { return Ok(()) };
        let outcome = match self.wait(&mut task, exchange).await {
            Ok(outcome) => outcome?,
            Err(gone) => {
                // What was sent goes on without us.
                task.detach();
                return Err(gone);
            }
        };
        self.tally.messages += outcome.messages;
        self.tally.octets += outcome.octets;
        outcome.skipped.into_iter().for_each(|what| self.tally.skip(what));
        match outcome.ended {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        for ready in self.ready.drain(..) {
            // Others were never written.
            if ready.message.incarnation.is_some() {
                abandon(&self.shard.shared.committer, ready.message.content);
            }
        }
    }
}
