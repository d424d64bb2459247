//! Renews the Public Suffix List that `postrider-proto` has as data. Its README says where to get the list.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use argh::FromArgs;
use postrider_proto::public_suffix::compact;

use crate::cargo::root;

/// The file that is written, seen from the project's root.
const RULES: &str = "proto/src/public_suffix/rules.txt";
/// A list with fewer names than this is no whole one.
const NAMES_MIN: usize = 9000;

/// Renew the public suffix list from a file.
#[derive(FromArgs)]
#[argh(subcommand, name = "public-suffixes")]
pub struct PublicSuffixes {
    /// the list, from `publicsuffix.org/list/public_suffix_list.dat`
    #[argh(positional)]
    list: PathBuf,
}

pub fn run(arguments: &PublicSuffixes) -> Result<bool> {
    let list = fs::read_to_string(&arguments.list)
        .with_context(|| format!("cannot read {}", arguments.list.display()))?;
    let (rules, skipped) = compact(&list);
    let names = rules.lines().count();
    ensure!(names >= NAMES_MIN, "{} has only {names} names: not a whole list", arguments.list.display());
    let path = root().join(RULES);
    fs::write(&path, rules).with_context(|| format!("cannot write {}", path.display()))?;
    println!(
        "{names} names, {skipped} left out because they are no domains; name the list's version in the README"
    );
    Ok(true)
}
