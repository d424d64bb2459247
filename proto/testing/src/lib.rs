//! What tests of all crates share: where the data of other projects is, how a test says that it can't run, and how much
//! work something is.
//!
//! The test harness knows no tests that are left out while they run: such a test returns, and counts as passed. So that
//! nobody takes it for one, [`skip`] writes its name and the reason to the file that `POSTRIDER_SKIPPED` names, and
//! `cargo xtask test` lists them at its end.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Names the file that tests that can't run are written to.
pub const SKIPPED: &str = "POSTRIDER_SKIPPED";

/// Names the folder of data of other projects.
const SUITES: &str = "POSTRIDER_SUITES";

/// Says that the test of this thread can't run, and why.
///
/// # Panics
///
/// When it can't be told: then the test is to fail.
pub fn skip(reason: impl Display) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    eprintln!("skipped: {name}: {reason}");
    if let Some(file) = std::env::var_os(SKIPPED) {
        let told = note(Path::new(&file), name, &reason);
        assert!(told.is_ok(), "{name} can't say that it is skipped: {told:?}");
    }
}

/// One line a test; tests of many processes write at once, so each line is one write.
fn note(file: &Path, name: &str, reason: &dyn Display) -> std::io::Result<()> {
    let line = format!("{name}\t{reason}\n");
    OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
}

/// The tests that a run skipped, each with the reason, from what they wrote.
pub fn skipped(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.map(|(name, reason)| (name.to_owned(), reason.to_owned())).collect()
}

/// The folder of data of other projects: the one that `POSTRIDER_SUITES` names, or `shared/suites` beside the project or
/// a folder around it. Skips the test when there is none.
pub fn suites() -> Option<PathBuf> {
    let named = std::env::var_os(SUITES).map(PathBuf::from);
    let around =
        || Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|place| place.join("shared/suites"));
    let found = named.or_else(|| around().find(|place| place.is_dir()));
    if found.is_none() {
        skip(format_args!("there is no data of other projects; {SUITES} tells where it is"));
    }
    found
}

/// A file or folder of that data. Skips the test when there is no such data.
///
/// # Panics
///
/// When there is such data, but not this: a test that asks for what was moved would test nothing for ever.
pub fn suite(path: &str) -> Option<PathBuf> {
    suites().map(|suites| within(&suites, path))
}

fn within(suites: &Path, path: &str) -> PathBuf {
    let found = suites.join(path);
    assert!(found.exists(), "{} is not there", found.display());
    found
}

/// What some work takes of the processor, on this thread. Unlike what a clock says, it doesn't depend on what else the
/// machine does, so a test can demand that work is little.
pub fn processor_time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let begun = now();
    let done = work();
    (done, now().saturating_sub(begun))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

    use super::*;

    #[test]
    fn what_is_skipped_is_told_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("skipped");
        note(&file, "one::test", &"no data").unwrap();
        note(&file, "another", &"no IPv6").unwrap();
        let read = skipped(&std::fs::read_to_string(file).unwrap());
        let told = [("one::test", "no data"), ("another", "no IPv6")];
        assert_eq!(read, told.map(|(name, reason)| (name.to_owned(), reason.to_owned())));
    }

    #[test]
    #[should_panic(expected = "no/such/file is not there")]
    fn data_that_was_moved_is_no_reason_to_skip() {
        within(&std::env::temp_dir(), "no/such/file");
    }

    #[test]
    fn only_work_takes_time_of_the_processor() {
        let (sum, time) =
            processor_time(|| (0..1_000_000_u64).fold(1, |sum, number| sum ^ (sum << 1) ^ number));
        assert!(sum != 0 && time > Duration::ZERO);
        let begun = std::time::Instant::now();
        let ((), waited) = processor_time(|| std::thread::sleep(Duration::from_millis(50)));
        assert!(waited < begun.elapsed());
    }
}
