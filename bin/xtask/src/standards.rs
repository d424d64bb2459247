//! `docs/imap.md`: every standard of IMAP, whether it is served, where its code is and which test shows it.
//!
//! The list of standards is here; the rest is found: a standard is served when its capabilities are in
//! `core/src/imap/capability.rs`, its code and its tests are the files that name it (`RFC 7162`). A test
//! keeps the page true, and complains of a standard that is announced and has no test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use argh::FromArgs;

use crate::cargo::root;

/// Write `docs/imap.md`, the table of standards of IMAP.
#[derive(FromArgs)]
#[argh(subcommand, name = "standards")]
pub struct Standards {
    /// only say whether the page is up to date
    #[argh(switch)]
    check: bool,
}

/// A standard.
struct Standard {
    rfc: u32,
    title: &'static str,
    /// Its capabilities; none for what every client may rely on.
    capabilities: &'static [&'static str],
    /// What a reader should know besides.
    note: &'static str,
}

const fn standard(
    rfc: u32,
    title: &'static str,
    capabilities: &'static [&'static str],
    note: &'static str,
) -> Standard {
    Standard { rfc, title, capabilities, note }
}

const STANDARDS: &[Standard] = &[
    standard(9051, "IMAP4rev2", &["IMAP4rev2"], ""),
    standard(3501, "IMAP4rev1", &["IMAP4rev1"], ""),
    standard(2177, "IDLE", &["IDLE"], ""),
    standard(2342, "NAMESPACE", &["NAMESPACE"], ""),
    standard(2971, "ID", &["ID"], ""),
    standard(3348, "CHILDREN", &["CHILDREN"], ""),
    standard(3502, "MULTIAPPEND", &["MULTIAPPEND"], ""),
    standard(3516, "BINARY", &["BINARY"], ""),
    standard(3691, "UNSELECT", &["UNSELECT"], ""),
    standard(4314, "ACL", &["ACL", "RIGHTS="], ""),
    standard(4315, "UIDPLUS", &["UIDPLUS"], ""),
    standard(4467, "URLAUTH", &["URLAUTH"], ""),
    standard(4469, "CATENATE", &["CATENATE"], ""),
    standard(4731, "ESEARCH", &["ESEARCH"], ""),
    standard(4959, "SASL-IR", &["SASL-IR"], ""),
    standard(4978, "COMPRESS=DEFLATE", &["COMPRESS=DEFLATE"], ""),
    standard(5032, "WITHIN", &["WITHIN"], ""),
    standard(5092, "IMAP URLs", &[], ""),
    standard(5161, "ENABLE", &["ENABLE"], ""),
    standard(5182, "SEARCHRES", &["SEARCHRES"], ""),
    standard(5255, "Internationalisation", &["I18NLEVEL=1"], "level 1: comparison by i;unicode-casemap"),
    standard(5256, "SORT and THREAD", &["SORT", "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES"], ""),
    standard(5258, "LIST-EXTENDED", &["LIST-EXTENDED"], ""),
    standard(5267, "CONTEXT and ESORT", &["ESORT", "CONTEXT=SEARCH", "CONTEXT=SORT"], ""),
    standard(5464, "METADATA", &["METADATA"], ""),
    standard(5465, "NOTIFY", &["NOTIFY"], ""),
    standard(5524, "URLAUTH=BINARY", &["URLAUTH=BINARY"], ""),
    standard(5530, "Response codes", &[], ""),
    standard(5550, "URL-PARTIAL", &["URL-PARTIAL"], "only this part of Lemonade"),
    standard(5819, "LIST-STATUS", &["LIST-STATUS"], ""),
    standard(5957, "SORT=DISPLAY", &["SORT=DISPLAY"], ""),
    standard(6154, "SPECIAL-USE", &["SPECIAL-USE", "CREATE-SPECIAL-USE"], ""),
    standard(6203, "SEARCH=FUZZY", &["SEARCH=FUZZY"], ""),
    standard(6851, "MOVE", &["MOVE"], ""),
    standard(6855, "UTF8=ACCEPT", &["UTF8=ACCEPT"], ""),
    standard(7162, "CONDSTORE and QRESYNC", &["CONDSTORE", "QRESYNC"], ""),
    standard(7377, "MULTISEARCH", &["MULTISEARCH"], ""),
    standard(7888, "LITERAL+", &["LITERAL+"], ""),
    standard(7889, "APPENDLIMIT", &["APPENDLIMIT"], ""),
    standard(8437, "UNAUTHENTICATE", &["UNAUTHENTICATE"], ""),
    standard(8438, "STATUS=SIZE", &["STATUS=SIZE"], ""),
    standard(8440, "LIST-MYRIGHTS", &["LIST-MYRIGHTS"], ""),
    standard(8457, "$Important", &[], "the keyword; no message is marked by the server"),
    standard(8474, "OBJECTID", &["OBJECTID"], ""),
    standard(8508, "REPLACE", &["REPLACE"], ""),
    standard(8514, "SAVEDATE", &["SAVEDATE"], ""),
    standard(8970, "PREVIEW", &["PREVIEW"], ""),
    standard(9208, "QUOTA", &["QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE"], ""),
    standard(9394, "PARTIAL", &["PARTIAL"], ""),
    standard(9585, "INPROGRESS", &["INPROGRESS"], ""),
    standard(9586, "UIDONLY", &["UIDONLY"], ""),
    standard(9590, "LIST-METADATA", &["LIST-METADATA"], ""),
    standard(9738, "MESSAGELIMIT", &["MESSAGELIMIT="], ""),
];

/// What is found of a standard.
#[derive(Default)]
struct Found {
    code: Vec<String>,
    tests: Vec<String>,
}

/// Writes the page, or says whether it is up to date.
pub fn run(arguments: &Standards) -> Result<bool> {
    let page = page()?;
    let file = root().join("docs/imap.md");
    let present = fs::read_to_string(&file).unwrap_or_default();
    if present == page {
        return Ok(true);
    }
    if arguments.check {
        eprintln!("docs/imap.md is out of date: cargo xtask standards");
        return Ok(false);
    }
    fs::write(file, page)?;
    Ok(true)
}

fn page() -> Result<String> {
    let announced = fs::read_to_string(root().join("core/src/imap/capability.rs"))?;
    let found = find()?;
    let mut page = "# Standards of IMAP\n\nWritten by `cargo xtask standards`; a test keeps it true. Code and \
        tests are the files that name the standard; files with both are listed twice.\n\n| RFC | | served | code | tests |\n|---|---|---|---|---|\n"
        .to_owned();
    let nothing = Found::default();
    for standard in STANDARDS {
        let Found { code, tests } = found.get(&standard.rfc).unwrap_or(&nothing);
        let served = served(standard, &announced, code);
        ensure!(
            served != "yes" || (!code.is_empty() && !tests.is_empty()),
            "RFC {} ({}) is served: its code and a test have to name it. Code: {code:?}, tests: {tests:?}",
            standard.rfc,
            standard.title
        );
        let note = if standard.note.is_empty() { String::new() } else { format!(" ({})", standard.note) };
        writeln!(
            page,
            "| {} | {}{note} | {served} | {} | {} |",
            standard.rfc,
            standard.title,
            names(code),
            names(tests)
        )?;
    }
    Ok(page)
}

/// Whether all of a standard's capabilities are announced.
fn served(standard: &Standard, announced: &str, code: &[String]) -> &'static str {
    let is_announced = |name: &&&str| {
        let name = name.trim_end_matches('=');
        announced.contains(&format!("\"{name}\"")) || announced.contains(&format!("{name}="))
    };
    match standard.capabilities.iter().filter(is_announced).count() {
        _ if standard.capabilities.is_empty() && !code.is_empty() => "yes",
        all if all > 0 && all == standard.capabilities.len() => "yes",
        0 => "no",
        _ => "in part",
    }
}

fn names(files: &[String]) -> String {
    /// More files than this are not listed one by one.
    const LISTED_MAX: usize = 6;
    let listed: Vec<String> = files.iter().take(LISTED_MAX).map(|file| format!("`{file}`")).collect();
    let more = files.len().saturating_sub(LISTED_MAX);
    if more == 0 { listed.join(", ") } else { format!("{}, and {more} more", listed.join(", ")) }
}

/// The files that name each standard.
fn find() -> Result<BTreeMap<u32, Found>> {
    let mut found: BTreeMap<u32, Found> = BTreeMap::new();
    let mut files = Vec::new();
    for folder in
        ["proto/src/imap", "proto/src/mime", "proto/src/deflate", "core/src/imap", "core/tests/imap"]
    {
        list(&root().join(folder), &mut files)?;
    }
    files.sort();
    for file in files {
        let name = file.strip_prefix(root())?.to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).with_context(|| name.clone())?;
        let is_test = name.contains("tests") || name.ends_with("suites.rs");
        for rfc in named(&text) {
            let found = found.entry(rfc).or_default();
            if is_test || text.contains("#[test]") {
                found.tests.push(name.clone());
            }
            if !is_test {
                found.code.push(name.clone());
            }
        }
    }
    Ok(found)
}

/// The numbers behind `RFC `, each once.
fn named(text: &str) -> Vec<u32> {
    let number = |rest: &str| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    let mut all: Vec<u32> = text.split("RFC ").skip(1).filter_map(number).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[test]
fn the_page_of_standards_is_up_to_date() {
    let page = page().expect("every standard that is served has code and tests");
    let present = fs::read_to_string(root().join("docs/imap.md")).unwrap_or_default();
    assert!(present == page, "docs/imap.md is out of date: cargo xtask standards");
}
