//! Instruction counts of the hot paths, and whether they rose.
//!
//! `benches/counts.tsv` holds the figures of the main branch: the case, the instructions of one run, and what
//! compiled them. They are counted by callgrind, so a busy machine doesn't change them; another compiler does,
//! and then they are not compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use argh::FromArgs;

use crate::cargo;

/// A rise of more than this is told, in percent.
const RISE_MAX: f64 = 3.0;
/// Fewer instructions than this may rise by [`SMALL_RISE_MAX`] instead: an allocation more or less.
const SMALL: u64 = 20_000;
const SMALL_RISE_MAX: f64 = 10.0;

/// Count the instructions of the hot paths and compare them with `benches/counts.tsv`.
#[derive(FromArgs)]
#[argh(subcommand, name = "counts")]
pub struct Counts {
    /// write the figures down instead of comparing them
    #[argh(switch)]
    write: bool,
    /// the largest mailbox, in messages; cases with larger ones are left out (100,000 takes a minute to
    /// prepare, 1,000,000 some minutes)
    #[argh(option, default = "100_000")]
    messages_max: u32,
    /// only cases whose name contains this
    #[argh(positional)]
    names: Vec<String>,
}

/// What was found of one case.
struct Row {
    case: String,
    known: Option<u64>,
    counted: u64,
}

impl Row {
    fn rise(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a percentage of counts far below 2^53")]
        self.known.map(|known| (self.counted as f64 / known as f64 - 1.0) * 100.0)
    }

    fn is_too_much(&self) -> bool {
        let allowed = if self.known.is_some_and(|known| known < SMALL) { SMALL_RISE_MAX } else { RISE_MAX };
        self.rise().is_some_and(|rise| rise > allowed)
    }
}

/// The figures that are written down.
#[derive(Default)]
struct Known {
    compiler: String,
    counts: BTreeMap<String, u64>,
}

/// Counts, and compares or writes. False when something rose too much.
pub fn run(arguments: &Counts) -> Result<bool> {
    ensure!(
        Path::new("/usr/bin/valgrind").exists(),
        "valgrind is missing; as root: apt-get install valgrind, or cargo xtask install"
    );
    let binary = cargo::release_build("postrider-benches", "postrider-counts")?;
    let world = tempfile::tempdir()?;
    let prepared = Command::new(&binary)
        .arg("prepare")
        .arg(world.path())
        .args(["--messages-max", &arguments.messages_max.to_string()])
        .status()?;
    ensure!(prepared.success(), "the mailboxes could not be prepared");
    let known = read_known()?;
    let compiler = compiler()?;
    let mut rows = Vec::new();
    for (case, mailbox) in cases(&binary)? {
        let named =
            arguments.names.is_empty() || arguments.names.iter().any(|part| case.contains(part.as_str()));
        if !named || mailbox > arguments.messages_max {
            continue;
        }
        let counted = count(&binary, world.path(), &case)?;
        let row = Row { known: known.counts.get(&case).copied(), case, counted };
        eprintln!("{}", line(&row));
        rows.push(row);
    }
    if arguments.write {
        return write_known(known, compiler, &rows).map(|()| true);
    }
    if known.compiler != compiler {
        eprintln!(
            "the figures are of {}, this is {compiler}: not compared. To renew them: cargo xtask counts --write",
            known.compiler
        );
        return Ok(true);
    }
    let risen: Vec<&str> = rows.iter().filter(|row| row.is_too_much()).map(|row| row.case.as_str()).collect();
    let unknown: Vec<&str> =
        rows.iter().filter(|row| row.known.is_none()).map(|row| row.case.as_str()).collect();
    if !risen.is_empty() || !unknown.is_empty() {
        eprintln!("dearer than written down: {risen:?}; not written down: {unknown:?}");
        eprintln!("if that is wanted, say why in the commit, and: cargo xtask counts --write");
    }
    Ok(risen.is_empty() && unknown.is_empty())
}

fn line(row: &Row) -> String {
    let rise = row.rise().map_or_else(|| "new".to_owned(), |rise| format!("{rise:+.2} %"));
    format!("{:<40} {:>14} instructions {rise}", row.case, row.counted)
}

/// The cases, and the mailbox that each needs.
fn cases(binary: &Path) -> Result<Vec<(String, u32)>> {
    let output = Command::new(binary).arg("list").output()?;
    let text = String::from_utf8(output.stdout)?;
    let case = |line: &str| {
        let (name, mailbox) = line.split_once('\t').with_context(|| format!("no case: {line}"))?;
        Ok((name.to_owned(), mailbox.parse()?))
    };
    text.lines().map(case).collect()
}

/// The instructions of one run.
fn count(binary: &Path, world: &Path, case: &str) -> Result<u64> {
    let out = tempfile::NamedTempFile::new()?;
    let output = Command::new("/usr/bin/valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_from_here*"])
        .arg(format!("--callgrind-out-file={}", out.path().display()))
        .arg(binary)
        .arg("run")
        .arg(world)
        .arg(case)
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{case} failed under valgrind:\n{told}");
    let text = std::fs::read_to_string(out.path())?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let counted = total.and_then(|total| total.trim().parse().ok()).unwrap_or(0);
    ensure!(counted > 0, "{case}: nothing was counted; is the function's name still there?");
    Ok(counted)
}

fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("rustc could not be started")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn file() -> PathBuf {
    cargo::root().join("benches/counts.tsv")
}

fn read_known() -> Result<Known> {
    let text = match std::fs::read_to_string(file()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Known::default()),
        text => text?,
    };
    let mut known = Known::default();
    for line in text.lines() {
        match line.split_once('\t') {
            Some(("compiler", compiler)) => known.compiler = compiler.to_owned(),
            Some((case, count)) => {
                known.counts.insert(case.to_owned(), count.parse().context("no count")?);
            }
            None => bail!("benches/counts.tsv has a line without a tab: {line}"),
        }
    }
    Ok(known)
}

/// Cases that were not run keep their figures.
fn write_known(mut known: Known, compiler: String, rows: &[Row]) -> Result<()> {
    known.counts.extend(rows.iter().map(|row| (row.case.clone(), row.counted)));
    let mut text = format!("compiler\t{compiler}\n");
    for (case, count) in &known.counts {
        writeln!(text, "{case}\t{count}")?;
    }
    std::fs::write(file(), text)?;
    Ok(())
}
