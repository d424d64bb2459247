//! Patterns of LIST (RFC 9051 §6.3.9): `*` is anything, `%` anything without the separator.
//!
//! Matching takes time linear in the name (times pattern / 64), whatever the pattern: every
//! position of the pattern is a bit and all positions advance together, so `*a*a*a*b` costs no
//! more than `a`.

use unicode_normalization::UnicodeNormalization;

use super::mailbox::MailboxName;

const WORD: usize = 64;

/// A pattern with its reference already put before it; no two wildcards side by side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    text: Box<str>,
}

impl Pattern {
    /// The longest pattern, in octets.
    pub const OCTETS_MAX: usize = 1024;

    /// Makes a pattern of UTF-8 text; none when it is too long.
    pub fn new(text: &str) -> Option<Self> {
        if text.len() > Self::OCTETS_MAX {
            return None;
        }
        let mut joined = String::with_capacity(text.len());
        for c in text.nfc() {
            match (joined.chars().next_back(), c) {
                (Some('*'), '*' | '%') | (Some('%'), '%') => {}
                (Some('%'), '*') => {
                    joined.pop();
                    joined.push('*');
                }
                _ => joined.push(c),
            }
        }
        let first = joined.split('/').next().map_or(0, str::len);
        if joined.get(..first).is_some_and(|part| part.eq_ignore_ascii_case(MailboxName::INBOX)) {
            joined.replace_range(..first, MailboxName::INBOX);
        }
        Some(Self { text: joined.into() })
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is no wildcard, so that at most one name matches.
    pub fn is_literal(&self) -> bool {
        !self.text.contains(['*', '%'])
    }

    /// Whether `name` matches.
    pub fn matches(&self, name: &MailboxName) -> bool {
        self.matches_text(name.as_str())
    }

    /// Whether a name in normal form matches. The part `Inbox` is compared without regard to case
    /// also where a wildcard stands for some of it (`inb%`).
    pub fn matches_text(&self, name: &str) -> bool {
        let folded = match name.split('/').next() {
            Some(first) if first == MailboxName::INBOX => first.len(),
            _ => 0,
        };
        match &*self.text {
            "*" => true,
            "%" => !name.contains('/'),
            text if self.is_literal() => text == name,
            text => matches_from(text.as_bytes(), name.as_bytes(), folded),
        }
    }
}

/// Runs all positions of `pattern` over `name`; the first `folded` octets ignore case.
fn matches_from(pattern: &[u8], name: &[u8], folded: usize) -> bool {
    let words = pattern.len() / WORD + 1;
    let mut states = vec![0u64; words];
    enter(&mut states, pattern, 0);
    for (index, octet) in name.iter().enumerate() {
        let mut next = vec![0u64; words];
        let mut alive = false;
        for (word, bits) in states.iter().enumerate() {
            let mut bits = *bits;
            while bits != 0 {
                let position = word * WORD + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let Some(wanted) = pattern.get(position) else { continue };
                match wanted {
                    b'*' => enter(&mut next, pattern, position),
                    b'%' if *octet != b'/' => enter(&mut next, pattern, position),
                    wanted if *wanted == *octet => enter(&mut next, pattern, position + 1),
                    wanted if index < folded && wanted.eq_ignore_ascii_case(octet) => {
                        enter(&mut next, pattern, position + 1);
                    }
                    _ => continue,
                }
                alive = true;
            }
        }
        if !alive {
            return false;
        }
        states = next;
    }
    states[pattern.len() / WORD] & 1 << (pattern.len() % WORD) != 0
}

/// Puts `position` among the live ones, and the one after it when it is a wildcard, which may
/// stand for nothing. Wildcards never stand side by side, so one step is enough.
fn enter(states: &mut [u64], pattern: &[u8], position: usize) {
    states[position / WORD] |= 1 << (position % WORD);
    if matches!(pattern.get(position), Some(b'*' | b'%')) {
        let after = position + 1;
        states[after / WORD] |= 1 << (after % WORD);
    }
}
