//! Message content on the wire: DATA (RFC 5321 §4.5.2) and BDAT (RFC 3030).
//!
//! Always holds: what is written out has CR and LF only as CR LF, unless the body is BINARYMIME; the
//! readers know exactly where the content ends, whatever is in it.

mod chunk;
mod data;
mod results;
mod watch;

use memchr::{memchr_iter, memrchr};

pub use chunk::{ChunkReader, LineEnds};
pub use data::{DataProgress, DataReader};
pub use results::ResultsFilter;
pub use watch::{ContentFacts, HeaderWatch, TlsRequired};

/// What is wrong with content that is otherwise read to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContentFault {
    /// A CR that is not followed by LF.
    BareCr,
    /// What another server might take for the end of the content: `LF . LF`, `LF . CR LF`, `CR LF . LF`.
    FalseEnd,
}

/// Whether a line that starts with a dot is like any other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::smtp) enum Dots {
    Plain,
    Special,
}

/// How many octets at the start of `input`, which starts a line, are whole lines with CR LF and nothing to
/// look at twice. Nearly all mail is copied by it, by the kilobyte.
///
/// What it looks at and does not return is looked at again at most twice before a fault is found, and it is
/// not called after a fault, so all of a reader's work is linear in its input.
pub(in crate::smtp) fn clean_lines(input: &[u8], dots: Dots) -> usize {
    let special = |at: usize| dots == Dots::Special && input.get(at) == Some(&b'.');
    if special(0) {
        return 0;
    }
    let mut end = 0;
    let mut lines = 0;
    for line_feed in memchr_iter(b'\n', input) {
        if line_feed == 0 || input[line_feed - 1] != b'\r' {
            break;
        }
        end = line_feed + 1;
        lines += 1;
        if special(end) {
            break;
        }
    }
    let clean = &input[..end];
    if memchr_iter(b'\r', clean).count() == lines {
        return end;
    }
    // More CRs than lines: stop before the line of the first bare one.
    let bare = memchr_iter(b'\r', clean).find(|at| clean.get(at + 1) != Some(&b'\n')).unwrap_or(0);
    memrchr(b'\n', &clean[..bare]).map_or(0, |line_feed| line_feed + 1)
}
