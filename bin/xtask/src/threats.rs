//! `docs/threats.md` names the tests that show each row; a test that is gone, or a row without one, is told.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::cargo::root;

const FOLDERS: [&str; 6] = ["proto", "dns", "storage", "core", "bin", "perf"];
/// What a row says that no test shows yet.
const LATER: [&str; 2] = ["comes with issue ", "comes with a later issue"];

/// The names of functions and of external tests below a folder.
fn names(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                names(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let word = |text: &str| {
                text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
            };
            found.extend(text.split("fn ").skip(1).map(word));
            found.extend(text.split("    (\"").skip(1).map(word));
        }
    }
}

#[test]
fn tests_named_for_threats_exist() {
    let mut known = BTreeSet::new();
    for folder in FOLDERS {
        names(&root().join(folder), &mut known);
    }
    let text = fs::read_to_string(root().join("docs/threats.md")).expect("docs/threats.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")).filter(|row| {
        row.starts_with(|c: char| c.is_ascii_uppercase())
            && row[1..].starts_with(|c: char| c.is_ascii_digit())
    });
    let mut seen = BTreeSet::new();
    let mut shown = 0;
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [id, _, tests] = cells[..] else { panic!("three cells: {row}") };
        assert!(seen.insert(id), "{id} comes twice");
        let tests: Vec<&str> = tests.trim_end_matches(" |").split('`').collect();
        let named: Vec<&str> = tests.iter().copied().skip(1).step_by(2).collect();
        let later = LATER.iter().any(|later| tests.concat().contains(later));
        assert!(later || !named.is_empty(), "{id} has neither tests nor a time");
        for test in named {
            let there = if test.contains('/') { root().join(test).exists() } else { known.contains(test) };
            assert!(there, "{id} names {test}, which isn't there");
            shown += 1;
        }
    }
    assert!(seen.len() >= 50 && shown >= 60, "{} rows, {shown} tests", seen.len());
}
