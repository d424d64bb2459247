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

    /// Whether a name that begins with `part` might match.
    pub fn may_begin_with(&self, part: &str) -> bool {
        let literal = self.text.split(['*', '%']).next().unwrap_or_default();
        literal.starts_with(part) || part.starts_with(literal)
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

/// Runs all positions of `pattern` over `name` at once; the first `folded` octets ignore case. Bit
/// `n` of the states says that the name so far is matched by the first `n` octets of the pattern.
fn matches_from(pattern: &[u8], name: &[u8], folded: usize) -> bool {
    let masks = Masks::new(pattern);
    let words = masks.any.len();
    let mut states = vec![0u64; words];
    states[0] = 1;
    masks.pass_wildcards(&mut states);
    for (index, octet) in name.iter().enumerate() {
        let exact = masks.of(*octet);
        let other = if index < folded { masks.of(swap_case(*octet)) } else { None };
        let mut carry = 0;
        let mut alive = 0;
        for (word, state) in states.iter_mut().enumerate() {
            let wanted = exact.map_or(0, |mask| mask[word]) | other.map_or(0, |mask| mask[word]);
            let stay = masks.any[word] | if *octet == b'/' { 0 } else { masks.level[word] };
            let step = *state & wanted;
            let next = step << 1 | carry | *state & stay;
            carry = step >> (WORD - 1);
            *state = next;
            alive |= next;
        }
        if alive == 0 {
            return false;
        }
        masks.pass_wildcards(&mut states);
    }
    states[pattern.len() / WORD] & 1 << (pattern.len() % WORD) != 0
}

/// For each octet, the positions of the pattern where it stands.
struct Masks {
    /// Positions of `*`.
    any: Vec<u64>,
    /// Positions of `%`.
    level: Vec<u64>,
    /// For each octet the index of its mask in `masks`, plus one; 0 for none.
    index: [u8; 256],
    masks: Vec<Vec<u64>>,
}

impl Masks {
    fn new(pattern: &[u8]) -> Self {
        // One position more than the pattern has: its end.
        let words = pattern.len() / WORD + 1;
        let mut masks =
            Self { any: vec![0; words], level: vec![0; words], index: [0; 256], masks: Vec::new() };
        for (position, octet) in pattern.iter().enumerate() {
            let mask = match octet {
                b'*' => &mut masks.any,
                b'%' => &mut masks.level,
                _ => {
                    let index = &mut masks.index[usize::from(*octet)];
                    if *index == 0 {
                        masks.masks.push(vec![0; words]);
                        // UTF-8 has fewer than 255 different octets.
                        *index = u8::try_from(masks.masks.len()).unwrap_or(u8::MAX);
                    }
                    &mut masks.masks[usize::from(*index) - 1]
                }
            };
            mask[position / WORD] |= 1 << (position % WORD);
        }
        masks
    }

    fn of(&self, octet: u8) -> Option<&[u64]> {
        let index = usize::from(self.index[usize::from(octet)]).checked_sub(1)?;
        self.masks.get(index).map(Vec::as_slice)
    }

    /// A wildcard may stand for nothing: where a state is at one, it is behind it as well.
    /// Wildcards never stand side by side, so one step is enough.
    fn pass_wildcards(&self, states: &mut [u64]) {
        let mut carry = 0;
        for (word, state) in states.iter_mut().enumerate() {
            let step = *state & (self.any[word] | self.level[word]);
            *state |= step << 1 | carry;
            carry = step >> (WORD - 1);
        }
    }
}

const fn swap_case(octet: u8) -> u8 {
    if octet.is_ascii_alphabetic() { octet ^ 0x20 } else { octet }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().matches_text(name)
    }

    /// The definition, which takes exponential time.
    fn slowly(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                slowly(rest, name) || name.split_first().is_some_and(|(_, after)| slowly(pattern, after))
            }
            ([b'%', rest @ ..], _) => {
                slowly(rest, name)
                    || name.split_first().is_some_and(|(o, after)| *o != b'/' && slowly(pattern, after))
            }
            ([p, rest @ ..], [n, after @ ..]) => p == n && slowly(rest, after),
            _ => false,
        }
    }

    #[test]
    fn wildcards_mean_what_the_standard_says() {
        for (pattern, name, is) in [
            ("*", "a/b", true),
            ("%", "a/b", false),
            ("%", "a", true),
            ("%/%", "a/b", true),
            ("a/%", "a", false),
            ("a*", "a/b/c", true),
            ("%*", "a/b", true),
            ("*%", "a/b", true),
            ("*b", "a/bb", true),
            ("", "a", false),
            ("Entw\u{75}\u{308}rfe", "Entwürfe", true),
            ("inbox", "Inbox", true),
            ("INBOX/%", "Inbox/x", true),
            ("inb%", "Inbox", true),
            ("*BOX", "Inbox", true),
            ("foo/inb%", "foo/Inbox", false),
            ("inb%", "Inboxes", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
        assert!(Pattern::new(&"a".repeat(Pattern::OCTETS_MAX)).is_some());
        assert!(Pattern::new(&"a".repeat(Pattern::OCTETS_MAX + 1)).is_none());
    }

    #[test]
    fn patterns_that_match_nothing_there_are_known() {
        for (pattern, may) in
            [("*", true), ("%", true), ("Ot%", true), ("Other/x*", true), ("In%", false), ("", true)]
        {
            assert_eq!(Pattern::new(pattern).unwrap().may_begin_with("Other"), may, "{pattern}");
        }
    }

    #[test]
    fn hostile_patterns_cost_no_more_than_others() {
        let pattern = Pattern::new(&"*a".repeat(Pattern::OCTETS_MAX / 2)).unwrap();
        let name = "a".repeat(500);
        for _ in 0..1000 {
            assert!(!pattern.matches_text(&name));
        }
        let pattern = Pattern::new(&"*a".repeat(500)).unwrap();
        assert!(pattern.matches_text(&"a".repeat(500)));
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(pattern in "[ab/*%]{0,9}", name in "[ab/]{0,8}") {
            prop_assert_eq!(matches(&pattern, &name), slowly(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn long_patterns_carry_over_words(at in 0usize..200, pattern in "[ab/*%]{0,5}", name in "[ab/]{0,5}") {
            let (pattern, name) = ("c".repeat(at) + &pattern, "c".repeat(at) + &name);
            prop_assert_eq!(matches(&pattern, &name), slowly(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
