//! What the server does besides serving: gives back what removed messages, mailboxes and accounts used.
//!
//! Each shard looks after its own accounts; the first one after contents and disk space. All of it goes in
//! bounded steps with pauses: reading happens on the worker pool, writing through the committer, and only
//! the transactions of an account are built on its shard. Whatever is left when the server stops is a
//! to-do row in the store, and is found again.

mod evaluations;
mod queue;
mod reports;
mod tls_known;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use postrider_proto::imap::types::ModSeq;
use postrider_storage::account::{Erase, MESSAGES_PER_TRANSACTION_MAX, Swept, unshare};
use postrider_storage::blobs;
use postrider_storage::committer::CommitError;
use postrider_storage::directory::{Directory, removed_account};
use postrider_storage::engine::{Batch, Durability, Space};
use postrider_storage::ids::{AccountId, BlobId, EmailId, MailboxId};
use postrider_storage::keys::{self, Key, SYSTEM, Which, table};
use postrider_storage::maintenance::{CollectLimits, Collector, free_octets};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{EmailRow, Grantee, MARK};
use postrider_storage::store::StoreError;

use crate::accounts::{AccountHandle, LoadError, WriteError, home_of};
use crate::clock::unix_now;
use crate::commit;
use crate::config::TextIndex;
use crate::metrics::Upkeep;
use crate::runtime::{PoolError, ShardId, oneshot, sleep, spawn, timeout};
use crate::shard::Shard;
use crate::textindex;

/// How often deleted mailboxes are looked for, and whether removed messages can go.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// How often contents that nothing refers to are looked for.
const CONTENTS_EVERY: Duration = Duration::from_secs(5);
/// How often it is asked whether collecting disk space pays.
const SPACE_EVERY: Duration = Duration::from_secs(60);
/// How often tombstones that are too old are looked for, and when first.
const TOMBSTONES_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
const TOMBSTONES_FIRST: Duration = Duration::from_secs(10 * 60);
/// The pause between two steps of the same work.
const STEP_PAUSE: Duration = Duration::from_millis(5);
/// Removed messages that one transaction erases: its building stays around a millisecond.
const ERASED_MAX: usize = 64;
/// Chunks that one step removes.
const CHUNKS_MAX: usize = 256;
/// Rows of a removed account that one step removes.
const ROWS_MAX: usize = 500;
/// Accounts that one step looks at, or lists.
const ACCOUNTS_MAX: usize = 256;

/// Why a piece of work was given up for now. It is begun again later.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Webhooks(#[from] crate::webhooks::Trouble),
}

/// Counts what a piece of work removed.
fn count(shard: &Shard, work: Upkeep, removed: usize) {
    shard.recorder.add(shard.shared.metrics.upkeep.removed.at([work as usize]), removed as u64);
}

/// Counts a step that failed.
fn count_failure(shard: &Shard, work: Upkeep) {
    shard.recorder.increment(shard.shared.metrics.upkeep.failures.at([work as usize]));
}

/// Starts the work of a shard. Call it before the shard serves anybody.
pub fn start(shard: &Rc<Shard>) {
    // Who removed these messages is gone: this is taken before there are sessions.
    let before = shard.shared.store.reader();
    let tidied = Rc::clone(shard);
    spawn("tidy accounts", async move { tidy_accounts(&tidied, before).await });
    let purged = Rc::clone(shard);
    spawn("purge tombstones", async move { purge_tombstones(&purged).await });
    let forgets = Rc::clone(shard);
    spawn("forget the TLS of domains", async move { tls_known::forget(&forgets).await });
    if textindex::is_on(shard) {
        spawn("index texts", textindex::serve(Rc::clone(shard)));
        if shard.shared.config.search.text_index == TextIndex::Always {
            spawn("look for texts to index", textindex::touch_all(Rc::clone(shard)));
        }
    }
    if shard.id == ShardId(0) {
        let erased = Rc::clone(shard);
        spawn("erase removed accounts", async move { erase_removed(&erased).await });
        let free_octets_min = shard.shared.config.storage.min_free_octets;
        let limits = CollectLimits { free_octets_min, ..CollectLimits::default() };
        let collector = Arc::new(Collector::new(limits));
        let (collected, freed) = (Rc::clone(shard), Arc::clone(&collector));
        spawn("collect contents", async move { collect_contents(&collected, &freed).await });
        let reported = Rc::clone(shard);
        spawn("purge evaluations", async move { evaluations::purge(&reported).await });
        let received = Rc::clone(shard);
        spawn("purge reports", async move { reports::purge(&received).await });
        let forgets = Rc::clone(shard);
        spawn("purge what the queue kept", async move { queue::purge(&forgets).await });
        let refreshes = Rc::clone(shard);
        spawn("refresh policies", async move { queue::refresh(&refreshes).await });
        let spaced = Rc::clone(shard);
        spawn("collect space", async move { collect_space(&spaced, collector).await });
    }
}

/// Waits; false when the server stops.
async fn pause(shard: &Shard, time: Duration) -> bool {
    timeout(time, shard.shared.shutdown.wait()).await.is_err()
}

/// Reads on the worker pool.
async fn read<T: Send + 'static>(
    shard: &Shard,
    work: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Trouble> {
    let store = Arc::clone(&shard.shared.store);
    Ok(shard.shared.pool.run(move || work(&store.reader())).await??)
}

async fn write(shard: &Shard, batch: Batch) -> Result<(), Trouble> {
    if !batch.is_empty() {
        commit::commit(&shard.shared.committer, batch, Durability::Buffered).await?;
    }
    Ok(())
}

/// Erases what an earlier run left, then sweeps deleted mailboxes for as long as the server runs.
async fn tidy_accounts(shard: &Rc<Shard>, before: Reader) {
    let (home, shards) = (shard.id, shard.shared.shards.len());
    let left = shard.shared.pool.run(move || {
        let accounts = before.accounts_in(table::ERASE);
        let here =
            accounts.filter(|account| account.as_ref().map_or(true, |id| home_of(*id, shards) == home));
        here.map(|account| {
            let account = account?;
            Ok((account, before.head(account)?.map(|head| head.modseq)))
        })
        .collect::<Result<Vec<_>, StoreError>>()
    });
    // Accounts with removed messages that can go now, or once no session may fetch them.
    let mut waiting: BTreeMap<AccountId, Option<ModSeq>> = BTreeMap::new();
    match left.await {
        Ok(Ok(left)) => waiting.extend(left),
        failed => {
            count_failure(shard, Upkeep::Messages);
            let error = match failed {
                Ok(Err(error)) => Trouble::from(error),
                Ok(Ok(_)) => return,
                Err(error) => Trouble::from(error),
            };
            tracing::warn!(%error, "removed messages of an earlier run can't be listed");
        }
    }
    loop {
        match accounts_with_drops(shard).await {
            Ok(dropped) => waiting.extend(dropped.into_iter().map(|account| (account, None))),
            Err(error) => {
                count_failure(shard, Upkeep::Mailboxes);
                tracing::warn!(%error, "deleted mailboxes can't be listed");
            }
        }
        for (account, up_to) in std::mem::take(&mut waiting) {
            match tidy_account(shard, account, up_to).await {
                Ok(true) | Err(Trouble::Load(LoadError::Removed)) => {}
                Ok(false) => {
                    waiting.insert(account, None);
                }
                Err(error) => {
                    count_failure(shard, Upkeep::Messages);
                    tracing::warn!(%account, %error, "what was removed from an account is erased later");
                    waiting.insert(account, up_to);
                }
            }
            if shard.shared.shutdown.is_stopping() {
                return;
            }
        }
        if !pause(shard, TIDY_EVERY).await {
            return;
        }
    }
}

async fn accounts_with_drops(shard: &Shard) -> Result<BTreeSet<AccountId>, Trouble> {
    let (home, shards) = (shard.id, shard.shared.shards.len());
    read(shard, move |reader| {
        let accounts = reader.accounts_in(table::DROP);
        let here =
            accounts.filter(|account| account.as_ref().map_or(true, |id| home_of(*id, shards) == home));
        here.take(ACCOUNTS_MAX).collect()
    })
    .await
}

/// Sweeps the deleted mailboxes of an account, and erases its removed messages up to `up_to`, or else up to
/// what no session can fetch any more. Says whether all were.
async fn tidy_account(shard: &Shard, id: AccountId, up_to: Option<ModSeq>) -> Result<bool, Trouble> {
    let account = shard.accounts.get(id).await?;
    let mut rows = 0;
    for mailbox in account.transact(None, None, |tx| tx.dropped()).await? {
        loop {
            let swept: Swept = account
                .transact_many(None, None, MESSAGES_PER_TRANSACTION_MAX, move |tx| tx.sweep(mailbox))
                .await?;
            rows += swept.rows;
            count(shard, Upkeep::Mailboxes, swept.rows);
            if !swept.more {
                break;
            }
            sleep(STEP_PAUSE).await;
        }
    }
    let mut erased = 0;
    let all = loop {
        let head = account.state().head().map(|head| head.modseq);
        let Some(limit) = up_to.or_else(|| account.processed_by_all()).or(head) else { break true };
        let (due, more) = read(shard, move |reader| removed_messages(reader, id, limit)).await?;
        if due.is_empty() {
            break !more;
        }
        let messages = due.len();
        account.transact_many(None, None, due.len(), move |tx| tx.erase(Erase::These(&due))).await?;
        erased += messages;
        count(shard, Upkeep::Messages, messages);
        sleep(STEP_PAUSE).await;
    };
    if rows > 0 || erased > 0 {
        tracing::info!(account = %id, rows, erased, "erased what was removed");
    }
    Ok(all)
}

type Removed = Vec<(ModSeq, EmailId)>;

/// Some removed messages of an account, and whether there are others that have to wait.
fn removed_messages(reader: &Reader, id: AccountId, up_to: ModSeq) -> Result<(Removed, bool), StoreError> {
    let mut found = Vec::new();
    for row in reader.prefix(&keys::erases(id)) {
        let [_, modseq, email] = keys::numbers(&row?.0, [4, 8, 8])?;
        let modseq = ModSeq::new(modseq).ok_or(StoreError::Inconsistent("a removal without its number"))?;
        if modseq > up_to || found.len() == ERASED_MAX {
            return Ok((found, true));
        }
        found.push((modseq, EmailId(email)));
    }
    Ok((found, false))
}

/// Once a day removes the tombstones that are older than configured.
async fn purge_tombstones(shard: &Rc<Shard>) {
    let mut wait = TOMBSTONES_FIRST;
    while pause(shard, wait).await {
        wait = TOMBSTONES_EVERY;
        let retention = shard.shared.config.storage.tombstone_retention.as_secs();
        match purge_once(shard, unix_now().saturating_sub_unsigned(retention)).await {
            Ok(0) => {}
            Ok(purged) => tracing::info!(purged, "forgot removals that are too old"),
            Err(error) => {
                count_failure(shard, Upkeep::Tombstones);
                tracing::warn!(%error, "old removals are forgotten another day");
            }
        }
    }
}

/// Removes the tombstones of this shard's accounts that are too old; gives their number.
async fn purge_once(shard: &Rc<Shard>, removed_before: i64) -> Result<usize, Trouble> {
    let (home, shards) = (shard.id, shard.shared.shards.len());
    let mut from = AccountId::new(1);
    let mut purged = 0;
    while let Some(first) = from {
        let page = read(shard, move |reader| {
            let mut due = Vec::new();
            let mut last = None;
            for account in reader.accounts_from(first).take(ACCOUNTS_MAX) {
                let account = account?;
                last = Some(account);
                if home_of(account, shards) == home {
                    old_tombstones(reader, account, removed_before, &mut due)?;
                }
            }
            Ok((due, last))
        });
        let (due, last) = page.await?;
        for (account, mailbox) in due {
            let handle = match shard.accounts.get(account).await {
                Err(LoadError::Removed) => continue,
                handle => handle?,
            };
            purged += purge_mailbox(shard, &handle, mailbox, removed_before).await?;
        }
        from = last.and_then(|last| AccountId::new(last.get().wrapping_add(1)));
        sleep(STEP_PAUSE).await;
    }
    Ok(purged)
}

fn old_tombstones(
    reader: &Reader,
    account: AccountId,
    removed_before: i64,
    due: &mut Vec<(AccountId, MailboxId)>,
) -> Result<(), StoreError> {
    for mailbox in reader.mailboxes(account) {
        let (mailbox, _) = mailbox?;
        // The oldest comes first.
        let first = reader.changes(account, mailbox, ModSeq::MIN, Which::Tombstones).next().transpose()?;
        if first.and_then(|change| change.tombstone).is_some_and(|row| row.removed < removed_before) {
            due.push((account, mailbox));
        }
    }
    Ok(())
}

async fn purge_mailbox(
    shard: &Shard,
    account: &Rc<AccountHandle>,
    mailbox: MailboxId,
    removed_before: i64,
) -> Result<usize, Trouble> {
    let mut purged = 0;
    loop {
        let swept = account
            .transact_many(None, None, MESSAGES_PER_TRANSACTION_MAX, move |tx| {
                tx.purge_tombstones(mailbox, removed_before)
            })
            .await?;
        purged += swept.rows;
        count(shard, Upkeep::Tombstones, swept.rows);
        if !swept.more {
            return Ok(purged);
        }
        sleep(STEP_PAUSE).await;
    }
}

/// Erases the rows of all accounts that were removed from the directory.
pub async fn erase_removed(shard: &Rc<Shard>) {
    let listed = read(shard, |reader| Ok(Directory::new(reader.snapshot()).removed_accounts(usize::MAX)?));
    match listed.await {
        Ok(accounts) => {
            for account in accounts {
                erase_account(shard, account).await;
            }
        }
        Err(error) => {
            count_failure(shard, Upkeep::Accounts);
            tracing::warn!(%error, "removed accounts can't be listed; they are erased later");
        }
    }
}

/// Erases the rows of an account that was removed from the directory, after nothing writes them any more.
async fn erase_account(shard: &Rc<Shard>, account: AccountId) {
    match try_erase(shard, account).await {
        Ok(Some(rows)) => tracing::info!(%account, rows, "a removed account is erased"),
        // It goes on at the next start.
        Ok(None) => {}
        Err(error) => {
            count_failure(shard, Upkeep::Accounts);
            tracing::warn!(%account, %error, "a removed account is erased at the next start");
        }
    }
}

async fn try_erase(shard: &Rc<Shard>, account: AccountId) -> Result<Option<usize>, Trouble> {
    // Usually that was done when it was removed; but its shard may not have heard of that.
    let forget =
        shard.at_home(account, move |home| Box::pin(async move { home.accounts.forget(account).await }));
    if forget.await.is_err() {
        // The shard has ended: the server stops.
        return Ok(None);
    }
    let mut rows = forget_grantee(shard, account).await?;
    // The to-do rows first: what they refer to must be there.
    for prefix in [keys::erases(account), keys::drops(account), keys::owner(account.get())] {
        let mut from = Some(prefix.clone());
        while let Some(key) = from {
            let prefix = prefix.clone();
            let (batch, next) = read(shard, move |reader| erase_step(reader, account, &key, &prefix)).await?;
            let removed = batch.len();
            write(shard, batch).await?;
            rows += removed;
            count(shard, Upkeep::Accounts, removed);
            from = next;
            sleep(STEP_PAUSE).await;
            if shard.shared.shutdown.is_stopping() {
                return Ok(None);
            }
        }
    }
    let mut batch = Batch::new();
    batch.remove(Space::Rows, removed_account(account));
    write(shard, batch).await?;
    Ok(Some(rows))
}

/// Takes a removed account out of the lists of mailboxes that were shared with it; gives their number.
async fn forget_grantee(shard: &Rc<Shard>, account: AccountId) -> Result<usize, Trouble> {
    let who = Grantee::Account(account);
    let shared = read(shard, move |reader| {
        let rows = reader.prefix(&keys::shared_with(who));
        rows.map(|row| Ok(keys::shared_parts(&row?.0)?)).collect::<Result<Vec<_>, StoreError>>()
    });
    let shared = shared.await?;
    let count = shared.len();
    for (_, owner, mailbox) in shared {
        let forgotten = shard.at_home(owner, move |shard| {
            Box::pin(async move {
                match shard.accounts.get(owner).await {
                    // Its lists go with it.
                    Err(LoadError::Removed) => Ok(()),
                    Err(error) => Err(Trouble::from(error)),
                    Ok(handle) => {
                        let forget = handle.transact(None, None, move |tx| tx.forget_grantee(mailbox, who));
                        Ok(forget.await?)
                    }
                }
            })
        });
        // The server stops: it goes on at the next start.
        let Ok(forgotten) = forgotten.await else { break };
        forgotten?;
    }
    Ok(count)
}

/// Removes some rows with `prefix` from `from` on; says where to go on.
fn erase_step(
    reader: &Reader,
    account: AccountId,
    from: &[u8],
    prefix: &[u8],
) -> Result<(Batch, Option<Key>), StoreError> {
    let mut batch = Batch::new();
    for (count, row) in reader.from(from, prefix).enumerate() {
        let (key, value) = row?;
        if count == ROWS_MAX {
            return Ok((batch, Some(key.to_vec())));
        }
        let (owner, number, _) = keys::split(&key)?;
        if owner != SYSTEM && number == table::EMAIL {
            let [email] = keys::numbers(&key, [8])?;
            let blob = EmailRow::decode(&value)?.blob;
            batch.remove(Space::Rows, keys::blob_ref(blob, account.get(), email));
            batch.insert(Space::Rows, keys::blob_gc(blob, account.get(), email), MARK);
        }
        if owner != SYSTEM && number == table::ACL {
            unshare(&mut batch, &key, &value)?;
        }
        batch.remove(Space::Rows, key);
    }
    Ok((batch, None))
}

/// Removes contents that nothing refers to.
async fn collect_contents(shard: &Rc<Shard>, collector: &Collector) {
    let mut from = BlobId(0);
    loop {
        let wait = match collect_step(shard, collector, from).await {
            Ok(Some(next)) => {
                from = next;
                STEP_PAUSE
            }
            Ok(None) => {
                from = BlobId(0);
                CONTENTS_EVERY
            }
            Err(error) => {
                count_failure(shard, Upkeep::Contents);
                tracing::debug!(%error, "unused contents are removed later");
                CONTENTS_EVERY
            }
        };
        if !pause(shard, wait).await {
            return;
        }
    }
}

async fn collect_step(shard: &Shard, collector: &Collector, from: BlobId) -> Result<Option<BlobId>, Trouble> {
    let collected = read(shard, move |reader| blobs::collect(reader, from, CHUNKS_MAX)).await?;
    let (contents, octets) = (collected.blobs, collected.octets);
    write(shard, collected.batch).await?;
    collector.note_freed(octets);
    count(shard, Upkeep::Contents, contents);
    shard.recorder.add(shard.shared.metrics.upkeep.content_octets, octets);
    if contents > 0 {
        tracing::debug!(contents, octets, "removed contents that nothing refers to");
    }
    Ok(collected.next)
}

/// Gives disk space back when enough content was removed.
async fn collect_space(shard: &Rc<Shard>, collector: Arc<Collector>) {
    let dir: PathBuf = shard.shared.config.data_dir.clone();
    while pause(shard, SPACE_EVERY).await {
        let engine = Arc::clone(shard.shared.committer.engine());
        let (asked, dir) = (Arc::clone(&collector), dir.clone());
        let pays = shard.shared.pool.run(move || asked.pays(&engine.stats(), free_octets(&dir)));
        if !matches!(pays.await, Ok(true)) {
            continue;
        }
        // Minutes of work: not for a worker.
        let engine = Arc::clone(shard.shared.committer.engine());
        let (runs, (tell, done)) = (Arc::clone(&collector), oneshot::oneshot());
        let thread = std::thread::Builder::new().name("space".to_owned()).spawn(move || {
            // Nobody may be waiting when the server stops.
            let _ = tell.send(runs.run(&*engine, |_| {}));
        });
        if let Err(error) = thread {
            count_failure(shard, Upkeep::Space);
            tracing::warn!(%error, "disk space is given back later");
            continue;
        }
        let stopping = async {
            shard.shared.shutdown.wait().await;
            collector.cancel();
            None
        };
        match futures_lite::future::or(async { Some(done.await) }, stopping).await {
            Some(Ok(Ok(Some(run)))) => {
                let (before, after) = (run.octets_before, run.octets_after);
                count(shard, Upkeep::Space, 1);
                shard.recorder.add(shard.shared.metrics.upkeep.disk_octets, before.saturating_sub(after));
                tracing::info!(before, after, seconds = run.seconds, "disk space was given back");
            }
            Some(Ok(Err(error))) => {
                count_failure(shard, Upkeep::Space);
                tracing::warn!(%error, "disk space can't be given back");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod tests;

/// For how long what is known of the TLS of a domain is kept, for tests.
#[cfg(test)]
pub(crate) const TLS_KNOWN_KEPT: i64 = tls_known::KEPT;

/// Does at once what is done daily with what is known of the TLS of domains.
#[cfg(test)]
pub(crate) async fn forget_tls_known(shard: &Rc<Shard>, time: i64) -> Result<usize, String> {
    tls_known::forget_before(shard, time).await.map_err(|error| error.to_string())
}
