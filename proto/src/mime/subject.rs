//! The base subject (RFC 5256 §2.1), by which messages are threaded and sorted.

use super::words;

/// A subject without reply and forward marks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseSubject {
    /// The base subject, in the case as written.
    pub text: String,
    /// Whether something was taken off that marks a reply or a forward (RFC 5256 §3, REFERENCES).
    pub is_reply: bool,
}

/// The base subject of an unfolded Subject value.
pub fn base_subject(value: &[u8]) -> BaseSubject {
    let decoded = words::decode(value);
    // (1) One space for any white space.
    let text = decoded.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let mut subject = text.as_str();
    let mut is_reply = false;
    // The place up to which blobs were found not to lead to a reply mark, counted from the end.
    let mut no_mark_until = usize::MAX;
    loop {
        // (2)
        loop {
            let trimmed = subject.trim_end_matches(' ');
            let Some(stripped) = strip_suffix_ignore_case(trimmed, "(fwd)") else {
                subject = trimmed;
                break;
            };
            subject = stripped;
            no_mark_until = usize::MAX;
            is_reply = true;
        }
        // (3) to (5)
        loop {
            subject = subject.trim_start_matches(' ');
            if subject.len() < no_mark_until || no_mark_until == usize::MAX {
                match strip_leader(subject) {
                    Ok(stripped) => {
                        (subject, is_reply) = (stripped, true);
                        no_mark_until = usize::MAX;
                        continue;
                    }
                    // Taking off one of these blobs cannot make a mark appear.
                    Err(left) => no_mark_until = left,
                }
            }
            match strip_blob(subject) {
                Some(stripped) if !stripped.is_empty() => subject = stripped,
                _ => break,
            }
        }
        // (6)
        let inner = strip_prefix_ignore_case(subject, "[fwd:").and_then(|inner| inner.strip_suffix(']'));
        match inner {
            Some(inner) => {
                (subject, is_reply) = (inner, true);
                no_mark_until = usize::MAX;
            }
            None => return BaseSubject { text: subject.to_owned(), is_reply },
        }
    }
}

/// `*subj-blob subj-refwd`; otherwise how much is left after the blobs.
fn strip_leader(subject: &str) -> Result<&str, usize> {
    let mut rest = subject;
    while let Some(stripped) = strip_blob(rest) {
        rest = stripped;
    }
    let left = rest.len();
    let after =
        ["re", "fwd", "fw"].into_iter().find_map(|mark| strip_prefix_ignore_case(rest, mark)).ok_or(left)?;
    let after = after.trim_start_matches(' ');
    let after = strip_blob(after).unwrap_or(after);
    after.strip_prefix(':').ok_or(left)
}

/// `subj-blob = "[" *BLOBCHAR "]" *WSP`
fn strip_blob(subject: &str) -> Option<&str> {
    let inner = subject.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    Some(inner[end..].strip_prefix(']')?.trim_start_matches(' '))
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn strip_suffix_ignore_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, end) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}
