//! Room in the process's table of open files.

use std::fs::File;
use std::io;

use rustix::io::fcntl_dupfd_cloexec;

/// Lets the table of open files grow to `files` entries at once. It never shrinks.
///
/// The kernel doubles the table of a process with several threads only after all processors have passed a
/// point of rest: each time an accept waits ten milliseconds and more, on a busy machine a hundred and more.
/// Without this, thousands of connections that arrive at once cost six such waits of their shard.
pub fn widen_file_table(files: u64) -> io::Result<()> {
    let last = i32::try_from(files.saturating_sub(1)).unwrap_or(i32::MAX);
    // A descriptor with such a number needs the room, and is closed again.
    drop(fcntl_dupfd_cloexec(&File::open("/dev/null")?, last)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn table_size() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        line.trim().parse().unwrap()
    }

    #[test]
    fn the_table_of_open_files_has_room_afterwards() {
        // Well above what tests use that run beside, and below the usual limit.
        widen_file_table(1000).unwrap();
        assert!(table_size() >= 1000);
    }
}
