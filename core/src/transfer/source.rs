//! Where imported messages come from: files, read some at a time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use postrider_proto::imap::mailbox::MailboxName;

use super::flags::Marks;

/// Octets that are read by one step, about.
pub(super) const PIECE_OCTETS: usize = 256 * 1024;
/// Messages that are read by one step.
pub(super) const PIECE_MESSAGES: usize = 100;
/// Octets that are read at once.
pub(super) const READ_OCTETS: usize = 64 * 1024;

/// What comes from the files, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The next messages are of this mailbox.
    Mailbox(MailboxName),
    /// A message begins; this names it.
    Begin(String),
    /// Some octets of it, with CRLF.
    Octets(Vec<u8>),
    /// It ends.
    End {
        /// Its flags.
        marks: Marks,
        /// When it was received, seconds since 1970.
        received: i64,
    },
    /// It can't be read to its end, for this reason.
    Broken(String),
    /// Something else is left out, with the reason.
    Skip(String),
}

/// Files with messages.
pub(super) trait Source: Send {
    /// How many messages there are, when that can be told without reading them.
    fn count(&mut self) -> Option<u64>;

    /// The next events, about [`PIECE_OCTETS`]; none at the end.
    fn read(&mut self) -> io::Result<Vec<Event>>;
}

/// Opens a file that may be in other hands: never a pipe that blocks, never a link elsewhere.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// The time of a file's last change.
pub(super) fn changed(file: &File) -> i64 {
    let Ok(time) = file.metadata().and_then(|data| data.modified()) else { return 0 };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(0),
        Err(before) => {
            // Whole seconds, rounded down.
            let before = before.duration();
            -i64::try_from(before.as_secs() + u64::from(before.subsec_nanos() > 0)).unwrap_or(0)
        }
    }
}

/// The moment of seconds since 1970.
pub(super) fn moment(seconds: i64) -> SystemTime {
    let distance = std::time::Duration::from_secs(seconds.unsigned_abs());
    let moment =
        if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    moment.unwrap_or(UNIX_EPOCH)
}
