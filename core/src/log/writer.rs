//! The thread that writes log lines, so that a slow reader of them holds up nobody.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines that wait to be written; more are dropped and counted.
pub const QUEUE_LINES_MAX: usize = 8192;

/// Numbers of lines since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LineCounts {
    /// Lines at level error.
    pub error: u64,
    /// Lines at level warn.
    pub warn: u64,
    /// Lines at level info.
    pub info: u64,
    /// Lines at any level that were dropped because the queue was full.
    pub lost: u64,
}

/// Octets of lines that are written together; the last of them may go beyond it.
const TOGETHER_OCTETS: usize = 64 << 10;

/// How long the thread rests after it wrote. Lines that come meanwhile wake nobody, and are written together: waking the
/// thread and a write for each line cost a busy shard as much as making the line.
const REST: Duration = Duration::from_millis(2);

/// How long the end of the process waits for lines to be written.
const FLUSH_TIME: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Counters {
    error: AtomicU64,
    warn: AtomicU64,
    info: AtomicU64,
    lost: AtomicU64,
}

enum Job {
    Line(Vec<u8>),
    Flush(flume::Sender<()>),
}

/// Owns the thread; it ends when this and all senders are gone.
pub(super) struct Writer {
    jobs: Option<Sender>,
    thread: Option<JoinHandle<()>>,
}

/// Queues lines.
#[derive(Clone)]
pub(super) struct Sender {
    jobs: flume::Sender<Job>,
    counters: Arc<Counters>,
}

impl Writer {
    pub(super) fn start(output: Box<dyn Write + Send>) -> std::io::Result<Self> {
        let (jobs, queue) = flume::bounded(QUEUE_LINES_MAX);
        let counters = Arc::new(Counters::default());
        let counted = Arc::clone(&counters);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&queue, output, &counted))?;
        Ok(Self { jobs: Some(Sender { jobs, counters }), thread: Some(thread) })
    }

    pub(super) fn sender(&self) -> Sender {
        let Some(sender) = &self.jobs else { unreachable!("only drop takes the sender") };
        sender.clone()
    }

    pub(super) fn counts(&self) -> LineCounts {
        self.jobs.as_ref().map(Sender::counts).unwrap_or_default()
    }

    /// Waits for the lines before this, for a while: who reads them may have stopped.
    pub(super) fn flush(&self) {
        let (done, wait) = flume::bounded(1);
        if let Some(sender) = &self.jobs
            && sender.jobs.send_timeout(Job::Flush(done), FLUSH_TIME).is_ok()
        {
            // An error means that the thread is stuck or gone, and nothing more can be done.
            let _ = wait.recv_timeout(FLUSH_TIME);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The subscriber may keep a sender for ever, so wait for the lines and not for the thread.
        self.flush();
        self.jobs = None;
        drop(self.thread.take());
    }
}

impl Sender {
    pub(super) fn line(&self, level: tracing::Level, line: Vec<u8>) {
        let counter = match level {
            tracing::Level::ERROR => Some(&self.counters.error),
            tracing::Level::WARN => Some(&self.counters.warn),
            tracing::Level::INFO => Some(&self.counters.info),
            _ => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if self.jobs.try_send(Job::Line(line)).is_err() {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> LineCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LineCounts {
            error: read(&self.counters.error),
            warn: read(&self.counters.warn),
            info: read(&self.counters.info),
            lost: read(&self.counters.lost),
        }
    }
}

fn write_lines(queue: &flume::Receiver<Job>, mut output: Box<dyn Write + Send>, counters: &Counters) {
    let mut reported = 0;
    let mut lines = Vec::new();
    while let Ok(job) = queue.recv() {
        let mut next = Some(job);
        while let Some(job) = next.take() {
            match job {
                Job::Line(line) => lines.extend_from_slice(&line),
                Job::Flush(done) => {
                    write_out(&mut lines, &mut output);
                    let _ = output.flush();
                    let _ = done.send(());
                }
            }
            if lines.len() < TOGETHER_OCTETS {
                next = queue.try_recv().ok();
            }
        }
        write_out(&mut lines, &mut output);
        let lost = counters.lost.load(Ordering::Relaxed);
        if lost != reported && queue.is_empty() {
            let _ = writeln!(output, "{} log lines were lost because they came too fast", lost - reported);
            reported = lost;
        }
        if queue.is_empty() {
            std::thread::sleep(REST);
        }
    }
}

/// Writes lines that were gathered.
fn write_out(lines: &mut Vec<u8>, output: &mut impl Write) {
    // Nobody can be told that standard error is closed.
    let _ = output.write_all(lines);
    lines.clear();
}
