//! Power loss: rewrites a data directory to what a disk could hold after it.
//!
//! What was not covered by a sync that began after the write had returned is kept or thrown away, page by page,
//! by chance; a page may also hold any state that it had in between. Sizes likewise. Names (made, renamed,
//! removed) since the last sync of their directory are undone all, none or some. Everything else stays.
//!
//! POSIX promises a new file's name only after a sync of its directory. The filesystems of Linux (ext4, XFS, Btrfs,
//! F2FS) also make it durable with the first sync of the file itself, and the engine relies on that for its files of
//! message content. [`Names`] chooses which of the two to go by.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::random::Random;
use super::shim::{self, Log, What};

const PAGE: u64 = 4096;

/// When a new file's name is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// After a sync of its directory or of itself, as on Linux.
    WithTheFile,
    /// After a sync of its directory only.
    WithTheDirectory,
}

/// What is logged of one life of the server, and how to bring back what it removed.
pub struct Watch {
    data: PathBuf,
    log: PathBuf,
    grave: PathBuf,
    library: PathBuf,
    before: Tree,
}

/// What a loss took.
#[derive(Default, Debug)]
pub struct Loss {
    /// Octets that the server wrote.
    pub written: u64,
    /// Pages that were not synced, and how many of them were lost.
    pub pages: (u64, u64),
    /// Files that became shorter or longer.
    pub sizes: u64,
    /// Names that were not synced, and how many of them were undone.
    pub names: (u64, u64),
    /// What was lost where, a line each.
    pub details: Vec<String>,
}

impl Loss {
    /// Adds the numbers of a later loss, and takes over its details.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        self.pages = (self.pages.0 + other.pages.0, self.pages.1 + other.pages.1);
        self.sizes += other.sizes;
        self.names = (self.names.0 + other.names.0, self.names.1 + other.names.1);
        self.details = other.details;
    }
}

#[derive(Default)]
struct Tree {
    files: BTreeMap<u64, Found>,
    /// Directories: path and content.
    directories: BTreeMap<u64, (PathBuf, BTreeMap<String, u64>)>,
}

struct Found {
    path: PathBuf,
    size: u64,
    modified: (i64, i64),
}

impl Watch {
    /// Prepares for the next start of the server. `dir` is of the same filesystem as `data`.
    pub fn new(dir: &Path, data: &Path, library: &Path) -> Result<Self> {
        let (log, grave) = (dir.join("shim.log"), dir.join("grave"));
        if grave.exists() {
            fs::remove_dir_all(&grave)?;
        }
        fs::create_dir(&grave)?;
        shim::new_log(&log)?;
        let data = data.canonicalize().context("the data directory")?;
        let before = scan(&data)?;
        let watch = Self { data, log, grave, library: library.into(), before };
        watch.bury(&watch.before)?;
        Ok(watch)
    }

    /// What the server needs in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", &self.library),
            ("POSTRIDER_SHIM_DIR", &self.data),
            ("POSTRIDER_SHIM_LOG", &self.log),
            ("POSTRIDER_SHIM_GRAVE", &self.grave),
        ]
        .map(|(name, value)| (name.to_owned(), value.display().to_string()))
        .into()
    }

    /// Rewrites the directory. The server was killed.
    pub fn lose_power(&self, names: Names, random: &mut Random) -> Result<Loss> {
        let log = Log::read(&self.log)?;
        let after = scan(&self.data)?;
        self.bury(&after)?;
        self.check_coverage(&log, &after)?;
        let mut loss = Loss { written: log.written, ..Loss::default() };
        let files: BTreeSet<u64> = log.records.iter().map(|record| record.inode).collect();
        for inode in files {
            let path = self.grave.join(inode.to_string());
            if path.exists() {
                lose_pages(&log, inode, &path, random, &mut loss)?;
            }
        }
        let mut synced = BTreeSet::new();
        if names == Names::WithTheFile {
            let syncs = log
                .records
                .iter()
                .filter(|record| matches!(record.what, What::Sync) && record.done.is_some());
            synced.extend(
                syncs.map(|record| record.inode).filter(|inode| !self.before.files.contains_key(inode)),
            );
        }
        self.lose_names(&log, &after, &synced, random, &mut loss)?;
        Ok(loss)
    }

    /// Gives every file a second link, so that it outlives its removal.
    fn bury(&self, tree: &Tree) -> Result<()> {
        for (inode, found) in &tree.files {
            let link = self.grave.join(inode.to_string());
            if !link.exists() {
                fs::hard_link(&found.path, &link).with_context(|| found.path.display().to_string())?;
            }
        }
        Ok(())
    }

    /// A write that went past the shim would make all of this worthless, so the sizes must add up, and a file
    /// without a record must be as it was.
    fn check_coverage(&self, log: &Log, after: &Tree) -> Result<()> {
        for (inode, found) in &after.files {
            let writes = log.records.iter().filter(|record| record.inode == *inode);
            let writes: Vec<_> = writes.filter(|record| matches!(record.what, What::Write { .. })).collect();
            let path = found.path.display();
            if writes.iter().any(|record| record.done.is_none()) {
                continue;
            }
            let expected = match (writes.last().map(|record| &record.what), self.before.files.get(inode)) {
                (Some(What::Write { size, .. }), _) => size.1,
                (_, Some(before)) => {
                    ensure!(before.modified == found.modified, "the shim did not see who wrote {path}");
                    before.size
                }
                (_, None) => 0,
            };
            ensure!(
                expected == found.size,
                "{path}: the shim saw {expected} octets, and there are {}",
                found.size
            );
        }
        Ok(())
    }

    fn lose_names(
        &self,
        log: &Log,
        after: &Tree,
        durable: &BTreeSet<u64>,
        random: &mut Random,
        loss: &mut Loss,
    ) -> Result<()> {
        for (inode, (path, now)) in &after.directories {
            let synced = log.records.iter().rev().find_map(|record| match &record.what {
                What::SyncDirectory(names) if record.inode == *inode && record.done.is_some() => {
                    Some(names.iter().cloned().collect::<BTreeMap<_, _>>())
                }
                _ => None,
            });
            let before = || self.before.directories.get(inode).map(|(_, names)| names.clone());
            let old = synced.or_else(before).unwrap_or_default();
            let names: BTreeSet<&String> = old.keys().chain(now.keys()).collect();
            let percent = [100, 0, 50][random.index(3)];
            for name in names.into_iter().filter(|name| old.get(*name) != now.get(*name)) {
                let target = path.join(name);
                // Sockets mean nothing after a restart.
                let is_socket = fs::symlink_metadata(&target).is_ok_and(|m| !m.is_file() && !m.is_dir());
                let lost = self.grave.join(old.get(name).map(u64::to_string).unwrap_or_default());
                let is_durable =
                    !old.contains_key(name) && now.get(name).is_some_and(|inode| durable.contains(inode));
                if is_socket || is_durable || (old.contains_key(name) && !lost.is_file()) {
                    continue;
                }
                loss.names.0 += 1;
                if !random.percent(percent) {
                    continue;
                }
                loss.names.1 += 1;
                let (was, is) = (old.get(name), now.get(name));
                loss.details.push(format!("{}: inode {is:?} was {was:?} again", target.display()));
                if target.is_dir() {
                    fs::remove_dir_all(&target)?;
                } else if target.exists() {
                    fs::remove_file(&target)?;
                }
                if old.contains_key(name) {
                    fs::hard_link(&lost, &target).with_context(|| target.display().to_string())?;
                }
            }
        }
        Ok(())
    }
}

fn scan(data: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut open = vec![data.to_path_buf()];
    while let Some(dir) = open.pop() {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            names.insert(entry.file_name().to_string_lossy().into_owned(), metadata.ino());
            if metadata.is_dir() {
                open.push(entry.path());
            } else if metadata.is_file() {
                let modified = (metadata.mtime(), metadata.mtime_nsec());
                let found = Found { path: entry.path(), size: metadata.len(), modified };
                tree.files.insert(metadata.ino(), found);
            }
        }
        tree.directories.insert(fs::metadata(&dir)?.ino(), (dir, names));
    }
    Ok(tree)
}

fn lose_pages(log: &Log, inode: u64, path: &Path, random: &mut Random, loss: &mut Loss) -> Result<()> {
    let records = || log.records.iter().filter(|record| record.inode == inode);
    let synced = records().filter(|record| matches!(record.what, What::Sync) && record.done.is_some());
    let synced = synced.map(|record| record.at).max().unwrap_or(0);
    let mut pages: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    let mut sizes = Vec::new();
    for record in records().filter(|record| record.done.is_none_or(|done| done > synced)) {
        let What::Write { offset, length, size, before } = record.what else { continue };
        if size.0 != size.1 {
            sizes.push(size.0);
        }
        let (first, end) = (offset / PAGE, (offset + length).div_ceil(PAGE));
        let before = log.before(before);
        for page in first..end {
            let at = usize::try_from((page - first) * PAGE)?;
            let mut content = before.get(at..).unwrap_or_default().to_vec();
            content.resize(usize::try_from(PAGE)?, 0);
            pages.entry(page).or_default().push(content);
        }
    }
    if pages.is_empty() && sizes.is_empty() {
        return Ok(());
    }
    let file = File::options().read(true).write(true).open(path)?;
    let mut size = file.metadata()?.len();
    let lost_before = loss.pages.1;
    let lost_percent = [100, 0, 50, 50, 10][random.index(5)];
    if !sizes.is_empty() && random.percent(lost_percent) {
        let chosen = sizes[random.index(sizes.len())];
        loss.sizes += u64::from(chosen != size);
        size = chosen;
        file.set_len(size)?;
    }
    let unsynced = pages.len();
    for (page, states) in pages {
        loss.pages.0 += 1;
        if !random.percent(lost_percent) {
            continue;
        }
        loss.pages.1 += 1;
        // Most often nothing since the last sync reached the disk; else something in between did.
        let state = &states[if random.percent(60) { 0 } else { random.index(states.len()) }];
        let room = size.saturating_sub(page * PAGE).min(PAGE);
        file.write_all_at(&state[..usize::try_from(room)?], page * PAGE)?;
    }
    let lost = loss.pages.1 - lost_before;
    loss.details.push(format!(
        "inode {inode}: {lost} of {unsynced} pages lost, {size} octets long, was one of {sizes:?}"
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Runs shell commands below the shim.
    fn life(dir: &Path, library: &Path, script: &str) -> Watch {
        let watch = Watch::new(dir, &dir.join("data"), library).expect("a watch");
        let status = Command::new("sh")
            .args(["-c", script])
            .current_dir(dir.join("data"))
            .envs(watch.environment())
            .status()
            .expect("a shell");
        assert!(status.success());
        watch
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_may_go() {
        let (mut lost, mut kept, mut renamed_back) = (0, 0, 0);
        let tools = tempfile::tempdir().expect("a directory");
        let library = shim::compile(tools.path()).expect("a C compiler, which Rust needs, too");
        for seed in 0..16 {
            let dir = tempfile::tempdir().expect("a directory");
            fs::create_dir(dir.path().join("data")).expect("a directory");
            fs::write(dir.path().join("data/old"), vec![b'o'; 9000]).expect("a file");
            let script = "head -c 8192 /dev/zero | tr '\\0' a | dd of=synced bs=4096 conv=fsync status=none; sync .;\
                          head -c 8192 /dev/zero | tr '\\0' b | dd of=synced bs=4096 oflag=append conv=notrunc status=none;\
                          mv old new";
            let watch = life(dir.path(), &library, script);
            let loss = watch.lose_power(Names::WithTheDirectory, &mut Random::new(seed)).expect("a loss");
            assert_eq!(loss.written, 16384);
            let content = fs::read(dir.path().join("data/synced")).expect("what was synced");
            assert!(content.len() >= 8192 && content[..8192].iter().all(|octet| *octet == b'a'));
            assert!(content[8192..].iter().all(|octet| *octet == b'b' || *octet == 0));
            match content[8192..].iter().filter(|octet| **octet == b'b').count() {
                8192 => kept += 1,
                _ => lost += 1,
            }
            let (old, new) =
                ["old", "new"].map(|name| fs::read(dir.path().join("data").join(name)).ok()).into();
            assert!([&old, &new].into_iter().flatten().all(|content| *content == vec![b'o'; 9000]));
            renamed_back += usize::from(old.is_some() && new.is_none());
        }
        assert!(lost > 0 && kept > 0 && renamed_back > 0, "{lost} {kept} {renamed_back}");
    }
}
