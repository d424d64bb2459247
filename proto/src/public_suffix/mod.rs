//! Under which names organisations register theirs: the Public Suffix List (<https://publicsuffix.org>), as RFC 7489
//! §3.2 finds organizational domains, and as DKIM needs it to see that nobody signs for all of `com`.
//!
//! The list is data of this crate, searched where it lies: a lookup allocates nothing and looks at some 14 lines
//! for each label of the name. `README.md` beside it says how it is renewed.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::address::Domain;

/// The rules: `name flags`, sorted by the octets of the names.
static RULES: &str = include_str!("rules.txt");

/// Which rules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// Those of registries alone.
    Icann,
    /// Those of registries, and of companies that give out names below theirs (`github.io`).
    IcannAndPrivate,
}

/// What the list says of one name.
#[derive(Clone, Copy, Default)]
struct Flags {
    is_suffix: bool,
    is_wildcard: bool,
    is_exception: bool,
}

/// The public suffix that a name is at or below: always a part of the name, at least its last label.
#[must_use]
pub fn public_suffix(domain: &Domain, division: Division) -> &str {
    let name = domain.as_str();
    let mut here = name;
    loop {
        let flags = flags(here, division);
        let Some((_, parent)) = here.split_once('.') else {
            // Without a rule, the last label is the suffix.
            return here;
        };
        if flags.is_exception {
            return parent;
        }
        if flags.is_suffix || self::flags(parent, division).is_wildcard {
            return here;
        }
        here = parent;
    }
}

/// Whether a name is itself a public suffix, below which others register.
#[must_use]
pub fn is_public_suffix(domain: &Domain, division: Division) -> bool {
    public_suffix(domain, division).len() == domain.as_str().len()
}

/// The organizational domain of a name (RFC 7489 §3.2): its public suffix and one label more. None for a public
/// suffix itself.
#[must_use]
pub fn organizational_domain(domain: &Domain, division: Division) -> Option<Domain> {
    let suffix = public_suffix(domain, division);
    let name = domain.as_str();
    let below = name[..name.len() - suffix.len()].strip_suffix('.')?;
    let start = below.rfind('.').map_or(0, |at| at + 1);
    Domain::parse(&name[start..]).ok()
}

/// Finds the line of a name by halves.
fn flags(name: &str, division: Division) -> Flags {
    let (mut low, mut high) = (0, RULES.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start =
            RULES.as_bytes()[..middle].iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        let start = start.max(low);
        let end = RULES.as_bytes()[start..].iter().position(|octet| *octet == b'\n');
        let end = end.map_or(RULES.len(), |length| start + length);
        let Some((known, letters)) = RULES[start..end].split_once(' ') else { return Flags::default() };
        match known.as_bytes().cmp(name.as_bytes()) {
            Ordering::Equal => return read_flags(letters, division),
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = start,
        }
    }
    Flags::default()
}

fn read_flags(letters: &str, division: Division) -> Flags {
    let has = |icann, private| {
        letters.contains(icann) || (division == Division::IcannAndPrivate && letters.contains(private))
    };
    Flags { is_suffix: has('i', 'p'), is_wildcard: has('I', 'P'), is_exception: letters.contains('!') }
}

/// Makes the rules of this crate from the list as it is published. Names that are none are left out; it says how
/// many.
#[must_use]
pub fn compact(list: &str) -> (String, usize) {
    let mut rules: BTreeMap<String, String> = BTreeMap::new();
    let (mut is_private, mut skipped) = (false, 0);
    for line in list.lines() {
        if line.contains("===BEGIN PRIVATE DOMAINS===") {
            is_private = true;
        }
        let rule = line.split_whitespace().next().unwrap_or_default();
        if rule.is_empty() || rule.starts_with("//") {
            continue;
        }
        let (name, letter) = match (rule.strip_prefix("*."), rule.strip_prefix('!')) {
            (Some(name), _) => (name, if is_private { 'P' } else { 'I' }),
            (None, Some(name)) => (name, '!'),
            (None, None) => (rule, if is_private { 'p' } else { 'i' }),
        };
        let Ok(name) = Domain::parse(name) else {
            skipped += 1;
            continue;
        };
        let letters = rules.entry(name.to_string()).or_default();
        if !letters.contains(letter) {
            letters.push(letter);
        }
    }
    let mut text = String::new();
    for (name, letters) in rules {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{name} {letters}");
    }
    (text, skipped)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn organizational(name: &str, division: Division) -> Option<String> {
        organizational_domain(&Domain::parse(name).ok()?, division).map(|domain| domain.to_string())
    }

    fn load(name: &str) -> Option<String> {
        let file = postrider_testing::suite(&format!("dmarc/public-suffix-list/{name}"))?;
        Some(std::fs::read_to_string(file).unwrap())
    }

    #[test]
    fn the_list_s_own_vectors() {
        let Some(text) = load("test_psl.json") else { return };
        let rows: Vec<(Option<String>, Option<String>)> = serde_json::from_str(&text).unwrap();
        assert_eq!(rows.len(), 78);
        let mut wrong = Vec::new();
        for (name, expected) in rows {
            let found = name.as_deref().and_then(|name| organizational(name, Division::IcannAndPrivate));
            // The vectors have names in both forms; ours is that of A-labels.
            let expected = expected.map(|name| Domain::parse(&name).unwrap().to_string());
            if found != expected {
                wrong.push(format!("{name:?}: {found:?}, expected {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn the_rules_are_those_of_the_list() {
        let Some(list) = load("public_suffix_list.dat") else { return };
        let (rules, skipped) = compact(&list);
        assert_eq!(skipped, 0);
        assert!(rules == RULES, "run: cargo xtask public-suffixes public_suffix_list.dat");
    }

    #[test]
    fn every_rule_is_found() {
        let mut last = "";
        let mut count = 0;
        for line in RULES.lines() {
            let (name, letters) = line.split_once(' ').unwrap();
            assert!(last < name, "{last} before {name}");
            last = name;
            count += 1;
            let found = flags(name, Division::IcannAndPrivate);
            assert_eq!(found.is_exception, letters.contains('!'), "{name}");
            assert_eq!(found.is_suffix, letters.contains(['i', 'p']), "{name}");
            assert_eq!(found.is_wildcard, letters.contains(['I', 'P']), "{name}");
        }
        assert!(count > 9000, "{count}");
        for name in ["", "-", "zzzzzzzz", "aaaaaaaa.", "xn--", "comm"] {
            let found = flags(name, Division::IcannAndPrivate);
            assert!(!found.is_suffix && !found.is_wildcard && !found.is_exception, "{name}");
        }
    }

    #[test]
    fn divisions_wildcards_and_exceptions_count() {
        let both = |name| organizational(name, Division::IcannAndPrivate);
        let icann = |name| organizational(name, Division::Icann);
        assert_eq!(both("a.b.github.io").as_deref(), Some("b.github.io"));
        assert_eq!(icann("a.b.github.io").as_deref(), Some("github.io"));
        assert_eq!(both("github.io"), None);
        assert_eq!(both("a.b.c.ck").as_deref(), Some("b.c.ck"));
        assert_eq!(both("x.www.ck").as_deref(), Some("www.ck"));
        assert_eq!(both("c.ck"), None);
        assert_eq!(both("a.b.example.unlisted").as_deref(), Some("example.unlisted"));
        assert_eq!(both("unlisted"), None);
        let is_suffix = |name| is_public_suffix(&Domain::parse(name).unwrap(), Division::Icann);
        assert!(
            is_suffix("com") && is_suffix("co.uk") && !is_suffix("example.com") && !is_suffix("github.io")
        );
        assert_eq!(public_suffix(&Domain::parse("a.co.uk").unwrap(), Division::Icann), "co.uk");
    }
}
