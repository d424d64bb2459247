//! Reports that other servers send about our domains: found in the mail that came to addresses where they are read,
//! judged, and stored.
//!
//! Reading one takes some milliseconds, of a hostile one up to seconds, so it isn't done before the sender of the message
//! is answered: a row that is written with the message says that there may be a report. One task of the process, on its
//! first shard, takes these rows one after the other, has each read on a worker thread when nobody else wants one, and
//! removes the row in the batch that stores the report. So a flood of reports delays reports alone, nothing is lost when
//! the process dies, and nothing is stored twice. What can't be read for trouble with the store is tried again, and holds
//! up none behind it. The message stays in its mailbox whatever comes of it.

mod judge;
mod room;
mod summary;
#[cfg(test)]
mod tests;
mod trim;

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_lite::future::or;
use postrider_proto::address::Domain;
use postrider_proto::mime::record::StructureRef;
use postrider_proto::reports::{self, FileError, Report};
use postrider_storage::account::Content;
use postrider_storage::blobs::BlobReader;
use postrider_storage::directory::{Directory, ReportKinds};
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::BlobId;
use postrider_storage::reader::Reader;
use postrider_storage::reports as stored;
use postrider_storage::rows::{ReportKind, ReportProof, ReportTodoRow};
use postrider_storage::store::StoreError;
use tracing::{error, info, warn};

pub use judge::{home, proof_name};
pub(crate) use summary::{DOCUMENT_OCTETS_MAX, document};
pub use summary::{Summary, summarise};

use crate::clock::unix_now;
use crate::commit;
use crate::config::Config;
use crate::metrics::ReceivedReport;
use crate::runtime::{LocalNotify, PoolError, ShardId, sleep, spawn, timeout};
use crate::shard::{Shard, Shared};
use judge::{Judged, Refused};
use room::Room;

/// The shard whose task reads reports.
const READER: ShardId = ShardId(0);
/// How long it waits after trouble with the store.
const TROUBLE_PAUSE: Duration = Duration::from_secs(30);
/// Messages that can't be read now, of which so many are tried before it waits.
const TROUBLES_MAX: usize = 20;
/// How often it looks for work that nobody told it of: what was written just before a crash, or while it had trouble.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// How long it lets others have the workers first, and how often it looks.
const PATIENCE: u32 = 100;
const PATIENCE_PAUSE: Duration = Duration::from_millis(20);

/// Says that there may be reports to read.
#[derive(Default)]
pub struct Bell(LocalNotify);

/// Tells the task that a message with a report came. Nobody waits for it.
pub(crate) fn tell(shard: &Rc<Shard>) {
    let shard = Rc::clone(shard);
    spawn("tell of a report", async move {
        // When the server stops, the row is found at the next start.
        let _ = shard.send(READER, Box::new(|reader| reader.report_bell.0.notify())).await;
    });
}

/// Adds to a batch that a message may have a report.
pub(crate) fn note(batch: &mut Batch, blob: BlobId, todo: &ReportTodoRow) {
    if let Err(error) = stored::add_todo(batch, blob, todo) {
        // Names are shorter, and their number is bounded.
        error!(%error, blob = blob.0, "a report will not be read");
    }
}

/// Starts the task, on the shard that has it.
pub fn start(shard: &Rc<Shard>) {
    if shard.id == READER {
        let shard = Rc::clone(shard);
        spawn("read reports", async move { serve(&shard).await });
    }
}

async fn serve(shard: &Rc<Shard>) {
    let room = Arc::new(Mutex::new(Room::default()));
    let mut place = BlobId(0);
    loop {
        let seen = shard.report_bell.0.version();
        let wait = match read_all(shard, &room, &mut place).await {
            Ok(()) => EVERY,
            Err(trouble) => {
                warn!(%trouble, "reports wait to be read");
                TROUBLE_PAUSE
            }
        };
        let told = async {
            // After trouble a new message is no reason to try at once.
            if wait == EVERY {
                shard.report_bell.0.changed(seen).await;
            } else {
                sleep(wait).await;
            }
            ControlFlow::Continue(())
        };
        let stopping = async {
            shard.shared.shutdown.wait().await;
            ControlFlow::Break(())
        };
        if let Ok(ControlFlow::Break(())) = timeout(EVERY, or(stopping, told)).await {
            return;
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pool(PoolError),
    #[error(transparent)]
    Commit(#[from] postrider_storage::committer::CommitError),
}

/// Reads all that waits from a place on, in the order in which it came. What can't be read now stays for the next time,
/// and those behind it are read nevertheless.
async fn read_all(shard: &Rc<Shard>, room: &Arc<Mutex<Room>>, place: &mut BlobId) -> Result<(), Trouble> {
    let mut start = *place;
    let mut troubles = 0;
    let mut last = None;
    loop {
        if shard.shared.shutdown.is_stopping() {
            return Ok(());
        }
        let mut patience = PATIENCE;
        while patience > 0 && shard.shared.pool.stats().queued > 0 {
            patience -= 1;
            sleep(PATIENCE_PAUSE).await;
        }
        shard.shared.reads.calm().await;
        let Some((blob, row)) = stored::todo(&shard.shared.store.reader(), *place)? else {
            *place = BlobId(0);
            match last {
                Some(trouble) => return Err(trouble),
                // What was passed over before has its turn again.
                None if start != *place => start = *place,
                None => return Ok(()),
            }
            continue;
        };
        match read_and_keep(shard, room, blob, row).await {
            Ok(()) => {}
            Err(Trouble::Store(error)) => {
                warn!(blob = blob.0, %error, "the report of a message can't be read now, and waits");
                last = Some(Trouble::Store(error));
                troubles += 1;
            }
            Err(trouble) => return Err(trouble),
        }
        *place = BlobId(blob.0.saturating_add(1));
        if let Some(trouble) = last.take_if(|_| troubles == TROUBLES_MAX) {
            return Err(trouble);
        }
    }
}

/// Reads the report of one message, and writes what comes of it.
async fn read_and_keep(
    shard: &Rc<Shard>,
    room: &Arc<Mutex<Room>>,
    blob: BlobId,
    row: Option<ReportTodoRow>,
) -> Result<(), Trouble> {
    let (shared, known) = (Arc::clone(&shard.shared), Arc::clone(room));
    let done = shard.shared.pool.run(move || {
        let mut room = known.lock().unwrap_or_else(PoisonError::into_inner);
        read_one(&shared, &mut room, blob, row)
    });
    let mut done = match done.await {
        Ok(done) => done?,
        Err(PoolError::Panicked) => Done::nothing(ReceivedReport::Unreadable, "its reader panicked".into()),
        Err(error) => return Err(Trouble::Pool(error)),
    };
    stored::remove_todo(&mut done.batch, blob);
    commit::commit(&shard.shared.committer, done.batch, Durability::Synced).await?;
    // Counted when it is on the disk: what failed until here is done again.
    shard.shared.metrics.received.count(&shard.recorder, &done.counted);
    for (report, why) in &done.outcomes {
        shard.recorder.increment(shard.shared.metrics.received.outcomes.at([*report as usize]));
        info!(blob = blob.0, outcome = report.name(), why, "read a report of another server");
    }
    room.lock().unwrap_or_else(PoisonError::into_inner).keep();
    Ok(())
}

/// What came of one message.
#[derive(Default)]
struct Done {
    batch: Batch,
    outcomes: Vec<(ReceivedReport, String)>,
    /// Reports that are counted in metrics: those that were stored, and that something confirms.
    counted: Vec<Report>,
}

impl Done {
    fn nothing(outcome: ReceivedReport, why: String) -> Self {
        Self { outcomes: vec![(outcome, why)], ..Self::default() }
    }
}

/// Reads the report of a message, if there is one.
fn read_one(
    shared: &Shared,
    room: &mut Room,
    blob: BlobId,
    todo: Option<ReportTodoRow>,
) -> Result<Done, StoreError> {
    // What was taken for something that isn't on the disk is given back.
    room.give_back();
    let Some(todo) = todo else {
        return Ok(Done::nothing(ReceivedReport::Unreadable, "what was noted of it is damaged".into()));
    };
    let reader = shared.store.reader();
    let found = match find(&reader, blob) {
        // What is damaged stays so: it must not hold up the reports behind it.
        Err(error @ (StoreError::BadRow(_) | StoreError::BadKey(_) | StoreError::Inconsistent(_))) => {
            error!(blob = blob.0, %error, "a message with a report can't be read");
            return Ok(Done::nothing(ReceivedReport::Unreadable, "its message is damaged".into()));
        }
        found => found?,
    };
    let found = match found {
        None => return Ok(Done::nothing(ReceivedReport::Gone, "its message is gone".into())),
        Some(Err(error)) => return Ok(Done::nothing(ReceivedReport::Unreadable, error.to_string())),
        Some(Ok(report)) => report,
    };
    if !is_wanted(&found, todo.kinds) {
        return Ok(Done::nothing(ReceivedReport::Unwanted, "reports of its kind are not read there".into()));
    }
    let directory = Directory::new(reader.snapshot());
    let hostnames = hostnames(&shared.config);
    let keep = i64::try_from(shared.config.reports.keep.as_secs()).unwrap_or(i64::MAX);
    let judged = match judge::judge(found, &todo, keep, |name| home(&directory, &hostnames, name))? {
        Ok(judged) => judged,
        Err(refused) => {
            let outcome = match refused {
                Refused::OtherDomain(_) => ReceivedReport::OtherDomain,
                Refused::Times | Refused::Counts | Refused::Id => ReceivedReport::Unreadable,
            };
            return Ok(Done::nothing(outcome, refused.to_string()));
        }
    };
    let mut done = Done::default();
    for one in judged {
        store(shared, &reader, room, one, &mut done)?;
    }
    Ok(done)
}

/// Adds one report to what is to be written, unless it is there or there is no room.
fn store(
    shared: &Shared,
    reader: &Reader,
    room: &mut Room,
    one: Judged,
    done: &mut Done,
) -> Result<(), StoreError> {
    let Judged { domain, mut row, report } = one;
    let about = format!("{} of {} about {domain}", row.report_id, row.submitter);
    if row.kind == ReportKind::Tls && row.proof == ReportProof::Nothing {
        // RFC 8460 §3: reports lacking a signature of who reports are ignored.
        done.outcomes.push((ReceivedReport::Unsigned, about));
        return Ok(());
    }
    if stored::known(reader, &row.digest)?.is_some() {
        done.outcomes.push((ReceivedReport::Duplicate, about));
        return Ok(());
    }
    let (text, report) = trim::fit(report, &mut row);
    row.text_octets = u32::try_from(text.len()).unwrap_or(u32::MAX);
    if !room.take(reader, &domain, &row, unix_now())? {
        done.outcomes.push((ReceivedReport::Limited, about));
        return Ok(());
    }
    stored::add(&mut done.batch, &domain, shared.store.new_report_id(), &row, &text)?;
    let outcome = match row.proof {
        ReportProof::Nothing => ReceivedReport::Unconfirmed,
        _ => ReceivedReport::Stored,
    };
    done.outcomes.push((outcome, about));
    if outcome == ReceivedReport::Stored {
        done.counted.push(report);
    }
    Ok(())
}

/// The report in a message; none when its content is gone.
fn find(reader: &Reader, blob: BlobId) -> Result<Option<Result<Report, FileError>>, StoreError> {
    let Some(row) = reader.blob(blob)? else { return Ok(None) };
    let Ok(structure) = StructureRef::decode(&row.structure) else {
        return Err(StoreError::Inconsistent("the structure record of a message can't be read"));
    };
    let content = Content { blob, size: row.size };
    let found = reports::find::<StoreError>(&structure.to_structure(), |candidate| {
        let Some(mut decoder) = candidate.decoder() else { return Ok(None) };
        let mut file = Vec::new();
        let mut body = BlobReader::new(content, candidate.start..candidate.end);
        while let Some(piece) = body.read(reader)? {
            decoder.push(&piece, &mut file);
        }
        decoder.finish(&mut file);
        Ok(Some(file))
    });
    Ok(Some(found?))
}

const fn is_wanted(report: &Report, kinds: ReportKinds) -> bool {
    match report {
        Report::Dmarc(_) => kinds.dmarc,
        Report::Tls(_) => kinds.tls,
    }
}

/// The names of this host.
pub(crate) fn hostnames(config: &Config) -> Vec<Domain> {
    let names = config.listeners.iter().map(|listener| &listener.hostname).chain([&config.hostname]);
    names.filter_map(|name| Domain::parse(name.as_str()).ok()).collect()
}
