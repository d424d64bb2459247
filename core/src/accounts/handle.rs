//! One account: its transactions, and who is told of them.
//!
//! Transactions that arrive while a batch is on its way to the disk wait, and are then built into the
//! next batch together, each with its own modification sequence. A transaction that is refused leaves
//! no trace and doesn't disturb its neighbours.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use postrider_proto::imap::types::{ModSeq, Uid};
use postrider_storage::account::{Account, Change, Erase, MESSAGES_PER_TRANSACTION_MAX, Quota, Tx};
use postrider_storage::committer::{CommitError, Committer};
use postrider_storage::engine::{Batch, Durability, Incarnation};
use postrider_storage::ids::{AccountId, EmailId, MailboxId};
use postrider_storage::reader::Reader;
use postrider_storage::store::{Refusal, Store, StoreError};

use super::build::{self, Built, Waiting};
use super::log::{ChangeLog, Published};
use super::watch::{Watcher, WatcherId, Watchers};
use crate::commit;
use crate::reads::Reads;
use crate::runtime::{LocalNotify, Turns, sleep, spawn};

/// Transactions that may wait for one account.
const JOBS_MAX: usize = 4096;
/// How often the end of a commit is looked for when an account is removed.
const QUIET_LOOK: Duration = Duration::from_millis(5);

/// Why a transaction was not done. Nothing of it was acknowledged to anybody.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// What was asked can't be; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store could not read what it needed; nothing was changed.
    #[error(transparent)]
    Store(StoreError),
    /// The commit failed: it isn't known whether it was done.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Too many transactions wait for this account; nothing was changed.
    #[error("too many changes wait for this account")]
    Busy,
    /// The account was loaded anew since, after a failed commit; nothing was changed.
    #[error("the account was reopened")]
    Reopened,
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => Self::Refused(refusal),
            other => Self::Store(other),
        }
    }
}

/// The task that commits. When it ends early, by a panic in a transaction, those who wait must not wait
/// for ever: the account is broken, and is loaded anew by the next who asks for it.
struct Running<'a> {
    account: &'a AccountHandle,
    ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.account.break_off();
            let refused = std::mem::take(&mut *self.account.waiting.borrow_mut());
            drop(refused);
        }
        self.account.committing.set(false);
    }
}

/// An account on its home shard.
pub struct AccountHandle {
    id: AccountId,
    store: Arc<Store>,
    committer: Arc<Committer>,
    reads: Reads,
    /// Shared with the thread that builds a batch, while it does.
    state: RefCell<Arc<Account>>,
    waiting: RefCell<VecDeque<Waiting>>,
    committing: Cell<bool>,
    broken: Cell<bool>,
    /// The life of the store that the state was loaded in.
    incarnation: Incarnation,
    log: RefCell<ChangeLog>,
    watchers: RefCell<Watchers>,
    /// Told after each batch, and when the account breaks.
    changed: LocalNotify,
    /// Content of removed messages that waits to be erased.
    removed: RefCell<BTreeMap<(MailboxId, ModSeq, Uid), EmailId>>,
    departures: Turns,
}

impl AccountHandle {
    pub(super) fn new(
        state: Account,
        incarnation: Incarnation,
        store: Arc<Store>,
        committer: Arc<Committer>,
        reads: Reads,
    ) -> Self {
        let floor = state.head().map(|head| head.modseq);
        Self {
            id: state.id(),
            store,
            committer,
            reads,
            state: RefCell::new(Arc::new(state)),
            waiting: RefCell::default(),
            committing: Cell::new(false),
            broken: Cell::new(false),
            incarnation,
            log: RefCell::new(ChangeLog::new(floor)),
            watchers: RefCell::default(),
            changed: LocalNotify::new(),
            removed: RefCell::default(),
            departures: Turns::default(),
        }
    }

    /// Turns of what moves messages out of their mailboxes: to another account alone, within this one beside
    /// others. So nobody takes away what is just being copied to another account, and two such moves never both
    /// copy a message.
    pub const fn departures(&self) -> &Turns {
        &self.departures
    }

    /// The account's id.
    pub const fn id(&self) -> AccountId {
        self.id
    }

    /// The committed state. Don't hold it over an `await`.
    pub fn state(&self) -> Ref<'_, Account> {
        Ref::map(self.state.borrow(), |state| &**state)
    }

    /// Sets the quota that the directory has for the account.
    pub fn set_quota(&self, quota: Quota) {
        // Copied when a batch is just being built: that one has the quota from before.
        Arc::make_mut(&mut self.state.borrow_mut()).set_quota(quota);
    }

    /// The store, for reading. It may show a batch that [`Self::state`] doesn't show yet.
    pub fn reader(&self) -> Reader {
        self.store.reader()
    }

    /// Reads of the store that don't hold up the shard.
    pub const fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The committer.
    pub fn committer(&self) -> &Arc<Committer> {
        &self.committer
    }

    /// Whether a commit failed, or the account was removed: sessions have to end.
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Breaks off when the store was reopened since the account was loaded: nothing that is built on this
    /// state would be committed any more.
    pub(super) fn check_life(&self) {
        if !self.broken.get() && self.committer.engine().incarnation() != self.incarnation {
            self.break_off();
        }
    }

    pub(super) fn break_off(&self) {
        self.broken.set(true);
        self.changed.notify();
    }

    /// Waits until no commit is under way.
    pub(super) async fn quiet(&self) {
        while self.committing.get() {
            sleep(QUIET_LOOK).await;
        }
    }

    /// The life of the store that the state was loaded in.
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Waits until [`Self::state`] shows everything up to `modseq`, which a reader showed: from then on
    /// it is on the disk, and its changes are in the log. Returns also when the account breaks.
    pub async fn installed(&self, modseq: ModSeq) {
        loop {
            let version = self.changed.version();
            let shown = self.state.borrow().head().is_none_or(|head| head.modseq >= modseq);
            if shown || self.broken.get() {
                return;
            }
            self.changed.changed(version).await;
        }
    }

    /// What every session has processed: removals up to this one can't be fetched any more. None when
    /// no session has a mailbox selected.
    pub fn processed_by_all(&self) -> Option<ModSeq> {
        self.watchers.borrow().processed_by_all()
    }

    /// Tells of every batch.
    pub const fn changed(&self) -> &LocalNotify {
        &self.changed
    }

    /// The last changes.
    pub fn log(&self) -> Ref<'_, ChangeLog> {
        self.log.borrow()
    }

    /// Starts to watch: from now on changes are remembered.
    pub fn watch(&self) -> Rc<Watcher> {
        self.watchers.borrow_mut().add()
    }

    /// Number of sessions that watch.
    pub fn watching(&self) -> usize {
        self.watchers.borrow().len()
    }

    /// Says which removals a session has processed; what nobody can fetch any more is erased.
    pub fn hold(self: &Rc<Self>, watcher: &Watcher, holds: Option<(MailboxId, ModSeq)>) {
        if watcher.holds.replace(holds) != holds {
            self.erase_unheld();
        }
    }

    /// Ends watching.
    pub fn unwatch(self: &Rc<Self>, watcher: &Watcher) {
        self.watchers.borrow_mut().remove(watcher.id);
        if self.watchers.borrow().is_empty() {
            self.log.borrow_mut().clear(self.state.borrow().head().map(|head| head.modseq));
        }
        self.erase_unheld();
    }

    /// The content of a message that was removed from a mailbox, while a session may still fetch it.
    pub fn removed(&self, mailbox: MailboxId, uid: Uid) -> Option<EmailId> {
        let removed = self.removed.borrow();
        let all = (mailbox, ModSeq::MIN, Uid::MIN)..=(mailbox, ModSeq::MAX, Uid::MAX);
        removed.range(all).find(|((_, _, removed), _)| *removed == uid).map(|(_, email)| *email)
    }

    /// Runs a transaction of a few messages, and returns once it is on the disk.
    ///
    /// `content` is the life of the store in which content that the transaction refers to was written,
    /// when that was not synced yet. Changes are marked with `origin` when a session caused them.
    ///
    /// Dropping the future doesn't take the transaction back.
    pub async fn transact<T: Send + 'static>(
        self: &Rc<Self>,
        origin: Option<WatcherId>,
        content: Option<Incarnation>,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, WriteError> {
        self.transact_many(origin, content, 1, work).await
    }

    /// As [`Self::transact`], of about so many messages: many are dealt with on a worker thread, so that they
    /// don't hold up the shard.
    pub async fn transact_many<T: Send + 'static>(
        self: &Rc<Self>,
        origin: Option<WatcherId>,
        content: Option<Incarnation>,
        messages: usize,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, WriteError> {
        self.transact_with(origin, content, messages, Batch::new(), work).await
    }

    /// As [`Self::transact_many`], with rows that aren't the account's: they are written when the transaction is, in the
    /// same batch, and not otherwise.
    pub async fn transact_with<T: Send + 'static>(
        self: &Rc<Self>,
        origin: Option<WatcherId>,
        content: Option<Incarnation>,
        messages: usize,
        also: Batch,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, WriteError> {
        self.check_life();
        if self.broken.get() || content.is_some_and(|content| content != self.incarnation) {
            return Err(WriteError::Reopened);
        }
        if self.waiting.borrow().len() >= JOBS_MAX {
            return Err(WriteError::Busy);
        }
        let (waiting, outcome) = Waiting::new(origin, messages, also, work);
        self.waiting.borrow_mut().push_back(waiting);
        self.start();
        outcome.await.unwrap_or_else(|_| {
            // On another thread, a panic ends the channel a moment before the shard hears of it. Who is told meanwhile
            // and asks for the account again must not get this one.
            self.break_off();
            Err(WriteError::Reopened)
        })
    }

    /// Begins to commit what waits, unless that is under way.
    fn start(self: &Rc<Self>) {
        if !self.committing.replace(true) {
            let account = Rc::clone(self);
            spawn("account commits", async move { account.run().await });
        }
    }

    async fn run(self: Rc<Self>) {
        let mut running = Running { account: &self, ended: false };
        while !self.waiting.borrow().is_empty() {
            if self.broken.get() {
                // Those who wait are told by the end of their channel.
                let refused = std::mem::take(&mut *self.waiting.borrow_mut());
                drop(refused);
                break;
            }
            self.commit_waiting().await;
        }
        running.ended = true;
        drop(running);
        self.erase_unheld();
    }

    /// Builds a batch of what waits, commits it, and tells of it.
    async fn commit_waiting(self: &Rc<Self>) {
        let jobs = build::take(&mut self.waiting.borrow_mut());
        let state = Arc::clone(&self.state.borrow());
        let Some(built) = build::build(state, &self.store, self.reads.pool(), jobs).await else {
            self.break_off();
            return;
        };
        let Built { batch, pending, published, finishes, rest } = built;
        {
            let mut waiting = self.waiting.borrow_mut();
            rest.into_iter().rev().for_each(|job| waiting.push_front(job));
        }
        let outcome = if batch.is_empty() { Ok(()) } else { self.commit(batch).await };
        let outcome = match outcome {
            Ok(()) if self.broken.get() => Err(WriteError::Reopened),
            Ok(()) => Ok(()),
            Err(error) => Err(WriteError::Commit(error)),
        };
        match &outcome {
            Ok(()) => {
                // Nobody shares it any more, so nothing is copied.
                Arc::make_mut(&mut self.state.borrow_mut()).install(pending);
                self.publish(published);
                self.changed.notify();
            }
            Err(_) => self.break_off(),
        }
        for finish in finishes {
            finish(outcome.clone());
        }
    }

    /// Refused when the store was reopened since this account was loaded: it may show what is gone.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let life = Some(self.incarnation);
        commit::submit(&self.committer, batch, Durability::Synced, life).await?.done().await.map(drop)
    }

    fn publish(&self, published: Vec<Published>) {
        if published.is_empty() {
            return;
        }
        for entry in &published {
            if let Change::Removed { mailbox, uid, modseq, email } = &entry.change {
                self.removed.borrow_mut().insert((*mailbox, *modseq, *uid), *email);
            }
        }
        if self.watchers.borrow().is_empty() {
            self.log.borrow_mut().clear(self.state.borrow().head().map(|head| head.modseq));
        } else {
            let mut log = self.log.borrow_mut();
            published.into_iter().for_each(|entry| log.push(entry));
        }
    }

    /// Erases the content of removed messages that no session can fetch any more.
    fn erase_unheld(self: &Rc<Self>) {
        if self.committing.get() || self.broken.get() {
            return;
        }
        let mut due = Vec::new();
        {
            let watchers = self.watchers.borrow();
            self.removed.borrow_mut().retain(|(mailbox, modseq, _), email| {
                let held = watchers.hold(*mailbox, *modseq);
                if !held {
                    due.push((*modseq, *email));
                }
                held
            });
        }
        if due.is_empty() {
            return;
        }
        let account = Rc::clone(self);
        spawn("erase removed messages", async move {
            for some in due.chunks(MESSAGES_PER_TRANSACTION_MAX) {
                let some = some.to_vec();
                let erased =
                    account.transact_many(None, None, some.len(), move |tx| tx.erase(Erase::These(&some)));
                // What isn't erased now is found again at the next start.
                if let Err(error) = erased.await {
                    tracing::debug!(account = %account.id, %error, "removed messages wait for a later erasure");
                    return;
                }
            }
        });
    }
}
