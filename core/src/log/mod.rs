//! Log lines: levels for each module, changeable while the server runs, as text or JSON.
//!
//! Lines are made with `tracing`'s macros. A line that belongs to a connection carries its
//! [`ConnectionId`] in the field `cid`, written out (`info!(%cid, "connected")`): spans would need
//! every future of a shard to be wrapped, and a forgotten one would mix up its neighbours' lines.
//!
//! Writing never blocks a shard: lines go over a bounded queue to one thread, and a line that
//! finds the queue full is dropped and counted. Passwords and message content are only ever
//! logged at `trace`.

mod connection_id;
mod layer;
mod levels;
mod writer;

pub use connection_id::ConnectionId;
pub use layer::Format;
pub use levels::{Level, Levels, LevelsError, MODULES};
pub use writer::{LineCounts, QUEUE_LINES_MAX};

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::reload;

/// Changes levels while the server runs, and tells how many lines were written.
///
/// Lines still in the queue are written when the last clone is dropped.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    levels: Arc<Mutex<Levels>>,
    writer: Arc<writer::Writer>,
}

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The process already has a subscriber.
    #[error("logging was already started in this process")]
    AlreadyStarted,
    /// No thread for writing lines.
    #[error("can't start the thread that writes log lines: {0}")]
    Thread(#[source] std::io::Error),
}

/// Starts logging to standard error for the whole process.
pub fn start(format: Format, levels: Levels) -> Result<LogHandle, LogError> {
    let (subscriber, handle) = subscriber(format, levels, Box::new(std::io::stderr()))?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadyStarted)?;
    Ok(handle)
}

/// Makes a subscriber that writes to `output`.
fn subscriber(
    format: Format,
    levels: Levels,
    output: Box<dyn Write + Send>,
) -> Result<(impl tracing::Subscriber + Send + Sync, LogHandle), LogError> {
    let writer = Arc::new(writer::Writer::start(output).map_err(LogError::Thread)?);
    let (filter, filter_handle) = reload::Layer::new(levels.targets());
    let lines = layer::Lines::new(format, writer.sender());
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    let handle = LogHandle { filter: filter_handle, levels: Arc::new(Mutex::new(levels)), writer };
    Ok((subscriber, handle))
}

impl LogHandle {
    /// The levels in force.
    pub fn levels(&self) -> Levels {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other levels in force, for all lines from now on.
    pub fn set_levels(&self, levels: Levels) {
        let mut current = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        // Fails only when the subscriber is gone, and then there is nothing left to filter.
        if self.filter.reload(levels.targets()).is_ok() {
            *current = levels;
        }
    }

    /// How many lines were written and lost since the start.
    pub fn counts(&self) -> LineCounts {
        self.writer.counts()
    }

    /// Waits until every line that was logged before this call is written, for a second or two at
    /// most.
    pub fn flush(&self) {
        self.writer.flush();
    }
}

/// A handle for tests: its levels can be changed, its lines go nowhere.
#[cfg(test)]
pub(crate) fn for_tests() -> LogHandle {
    match subscriber(Format::Text, Levels::default(), Box::new(std::io::sink())) {
        Ok((subscriber, handle)) => {
            // Levels can only be changed while it is there.
            Box::leak(Box::new(subscriber));
            handle
        }
        Err(error) => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests;
