//! One shard of the server: what its sessions share, and how work gets to another shard.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use postrider_storage::committer::Committer;
use postrider_storage::directory::{Directory, Learning, Remembered};
use postrider_storage::engine::EngineError;
use postrider_storage::ids::AccountId;
use postrider_storage::maintenance::Gate;
use postrider_storage::store::{Refusal, Store, StoreError};

use crate::accounts::{AccountHandle, Accounts, LoadError, WriteError, home_of, initial};
use crate::admission::Admission;
use crate::auth::Authenticator;
use crate::clock::unix_now;
use crate::config::Config;
use crate::delivery::Deliveries;
use crate::lookup::Resolver;

use crate::log::LogHandle;
use crate::metrics::{Metrics, Recorder, Registry};
use crate::reads::Reads;
use crate::runtime::channel::{Closed, Receiver, Sender};
use crate::runtime::{Pool, ShardId, Shutdown, oneshot, spawn};
use crate::smtp::allowance::Allowances;
use crate::smtp::checks::evaluation::Hourly;
use crate::smtp::rates::DeliveryRates;

/// Tasks that may wait for a shard before those who send more have to wait.
pub const MAILBOX_MAX: usize = 4096;

/// Work for a shard, made on another.
pub type Work = Box<dyn FnOnce(Rc<Shard>) + Send>;

/// A future of a shard's own.
pub type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// Why an account can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its first mailboxes can't be made.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What all shards share: handles that are made for it, and what never changes.
pub struct Shared {
    /// The configuration.
    pub config: Arc<Config>,
    /// The store, for reading.
    pub store: Arc<Store>,
    /// The only way to write to it.
    pub committer: Arc<Committer>,
    /// Threads for what would hold up a shard.
    pub pool: Pool,
    /// Reads that don't hold it up either. They have threads of their own, so that long work isn't waited for.
    pub reads: Reads,
    /// Who may connect.
    pub admission: Admission,
    /// Who may log in.
    pub authenticator: Authenticator,
    /// How much waits in the queue.
    pub queue_counts: crate::delivery::Counts,
    /// Deliveries under way.
    pub deliveries: crate::delivery::UnderWay,
    /// The hosts that mail goes to, as all shards know them.
    pub hosts: Arc<postrider_delivery::schedule::Hosts>,
    /// The rules that hold messages.
    pub hold_rules: crate::delivery::Rules,
    /// Whether new mail may be stored at the moment.
    pub gate: Arc<Gate>,
    /// The metrics by name.
    pub metrics: Metrics,
    /// Their values.
    pub registry: Arc<Registry>,
    /// Log levels.
    pub log: LogHandle,
    /// The signal that the server stops.
    pub shutdown: Shutdown,
    /// The way to each shard, in their order.
    pub shards: Vec<Sender<Work>>,
}

/// A shard, as its sessions see it.
pub struct Shard {
    /// Its number.
    pub id: ShardId,
    /// What all shards share.
    pub shared: Arc<Shared>,
    /// The accounts that live here.
    pub accounts: Accounts,
    /// Where this shard counts.
    pub recorder: Recorder,
    /// Who answers questions to DNS; none in a local instance that was given no resolver.
    pub resolver: Option<Resolver>,
    /// Messages of first-time senders that wait here.
    pub strangers: crate::smtp::Waits,
    /// What the accounts that live here took from whom.
    pub(crate) rates: DeliveryRates,
    /// What the accounts that live here may still send.
    pub(crate) allowances: Allowances,
    /// What headers take of memory here until their messages are checked.
    pub headers: crate::smtp::checks::Headers,
    /// Messages on their way to other servers, for the domains of this shard.
    pub deliveries: Deliveries,
    /// Calls of webhooks whose URLs are this shard's, and what accounts want to be told.
    pub webhooks: crate::webhooks::Webhooks,
    /// What this shard remembers of the directory.
    pub directory: RefCell<Remembered>,
    /// Keys that sign what leaves.
    pub signing_keys: crate::signing::Keys,
    /// How many evaluations of DMARC were kept here.
    pub evaluations: Hourly,
    /// How TLS with other servers went, until it is written.
    pub(crate) tls_results: crate::reporting::tls::Pending,
    /// Rung when a report came, on the shard that reads them.
    pub report_bell: crate::received_reports::Bell,
}

impl Shard {
    /// The shard on which an account lives.
    pub fn home_of(&self, account: AccountId) -> ShardId {
        home_of(account, self.shared.shards.len())
    }

    /// Asks the directory, as far as possible from what this shard remembers of it. What is asked for is remembered, as
    /// long as there is room and nothing changes: so verifiers of passwords are never asked for here. `ask` only reads, since it
    /// may be called twice.
    pub async fn ask_directory<T: Send + 'static>(
        &self,
        ask: impl Fn(&Directory<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // Before the snapshot: a change that comes after it makes what was read count no more.
        let version = self.shared.store.engine().directory_version();
        if let Some(answer) = self.directory.borrow_mut().ask(version, &ask) {
            return Ok(answer?);
        }
        let read = self.shared.reads.run(move |reader| {
            let learning = Learning::new(reader.snapshot());
            let answer = ask(&Directory::new(&learning));
            Ok((answer, learning.learnt()))
        });
        let (answer, learnt) = read.await?;
        self.directory.borrow_mut().learn(version, learnt);
        Ok(answer?)
    }

    /// An account with its first mailboxes: whoever comes first, a session or a message, makes them when
    /// there are none. Call it on the account's home shard only.
    pub async fn open_account(&self, id: AccountId) -> Result<Rc<AccountHandle>, OpenError> {
        let account = self.accounts.get(id).await?;
        let exists = account.state().exists();
        if !exists {
            let initial = initial(&self.shared.config.accounts, unix_now());
            match account.transact(None, None, move |tx| tx.create_account(&initial)).await {
                // Another one was faster.
                Ok(()) | Err(WriteError::Refused(Refusal::AccountExists)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(account)
    }

    /// Hands work to a shard, this one too; waits while that shard has too much of it already.
    pub async fn send(self: &Rc<Self>, to: ShardId, work: Work) -> Result<(), Closed> {
        if to == self.id {
            work(Rc::clone(self));
            return Ok(());
        }
        match self.shared.shards.get(to.0) {
            Some(shard) => shard.send(work).await,
            None => Err(Closed),
        }
    }

    /// Runs a future on the home shard of an account and waits for what it gives; see [`Self::at_shard`].
    pub async fn at_home<T: Send + 'static>(
        self: &Rc<Self>,
        account: AccountId,
        work: impl FnOnce(Rc<Self>) -> Local<T> + Send + 'static,
    ) -> Result<T, Closed> {
        self.at_shard(self.home_of(account), work).await
    }

    /// Runs a future on a shard and waits for what it gives.
    ///
    /// The future runs to its end there, also when nobody waits for it any more.
    pub async fn at_shard<T: Send + 'static>(
        self: &Rc<Self>,
        shard: ShardId,
        work: impl FnOnce(Rc<Self>) -> Local<T> + Send + 'static,
    ) -> Result<T, Closed> {
        let (tell, outcome) = oneshot::oneshot();
        let run: Work = Box::new(move |shard| {
            let work = work(shard);
            spawn("work for another shard", async move {
                // Whoever asked may be gone.
                let _ = tell.send(work.await);
            });
        });
        self.send(shard, run).await?;
        outcome.await
    }

    /// Does the work that other shards send, until all of them have ended.
    pub async fn serve_others(self: Rc<Self>, work: Receiver<Work>) {
        while let Ok(work) = work.recv().await {
            work(Rc::clone(&self));
        }
    }
}
