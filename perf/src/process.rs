//! What the kernel says of the server's process, and of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time that a process and its ended threads used, user and system.
pub fn processor_time(pid: u32) -> Result<Duration> {
    Ok(stat_of(pid)?.own)
}

/// Processor time of a process and of all that it started, the ended ones included that were waited for.
pub fn tree_time(root: u32) -> Result<Duration> {
    let mut stats = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that ended just now is in its parent's sum.
        if let Ok(stat) = stat_of(pid) {
            stats.insert(pid, stat);
        }
    }
    let mut sum = Duration::ZERO;
    let mut found = vec![root];
    while let Some(pid) = found.pop() {
        if let Some(stat) = stats.get(&pid) {
            sum += stat.own + stat.ended_children;
        }
        found.extend(stats.iter().filter(|(_, stat)| stat.parent == pid).map(|(child, _)| *child));
    }
    Ok(sum)
}

/// How long the threads of a process whose names begin like this ran, and how long they waited for a
/// processor meanwhile: what of a latency is the machine's doing.
pub fn threads_time(pid: u32, name: &str) -> Result<(Duration, Duration)> {
    let mut sum = (Duration::ZERO, Duration::ZERO);
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid}"))?.flatten()
    {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if read("comm").starts_with(name) {
            let nanoseconds = |at: usize| read("schedstat").split(' ').nth(at)?.trim().parse().ok();
            let time = |at| Duration::from_nanos(nanoseconds(at).unwrap_or(0));
            sum = (sum.0 + time(0), sum.1 + time(1));
        }
    }
    Ok(sum)
}

struct Stat {
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

fn stat_of(pid: u32) -> Result<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    parse_stat(&stat).context("/proc/PID/stat isn't as expected")
}

/// The name in parentheses may hold anything, so fields are counted from its end.
fn parse_stat(stat: &str) -> Option<Stat> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let time = |first: usize| {
        Some(Duration::from_secs_f64((number(first)? + number(first + 1)?) as f64 / per_second))
    };
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, own: time(11)?, ended_children: time(13)? })
}

/// Resident memory of a process in KiB: now, and the most it ever was, or was since [`forget_peak`].
pub fn resident_kib(pid: u32) -> Result<(u64, u64)> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .context("/proc/PID/status isn't as expected")?;
        line.split_ascii_whitespace().next().unwrap_or_default().parse().context("a number of KiB")
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// Lets the peak of resident memory begin anew.
pub fn forget_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("/proc/PID/clear_refs")
}

/// Bytes that a process caused to be written to storage.
pub fn written_bytes(pid: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).with_context(|| format!("process {pid}"))?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "))
        .context("/proc/PID/io isn't as expected")?;
    line.trim().parse().context("a number of bytes")
}

/// The machine's load average of the last minute: how much else ran beside a measurement.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// Disk space that files take, in octets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    /// Journals, which come and go and have a bound of their own.
    pub journals: u64,
    /// All other files.
    pub others: u64,
}

/// Disk space that the files below a directory take.
pub fn disk(dir: &Path) -> Disk {
    use std::os::unix::fs::MetadataExt;
    let mut sum = Disk::default();
    let Ok(entries) = fs::read_dir(dir) else { return sum };
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let below = disk(&entry.path());
                sum.journals += below.journals;
                sum.others += below.others;
            }
            Ok(metadata) if entry.path().extension().is_some_and(|extension| extension == "jnl") => {
                sum.journals += metadata.blocks() * 512;
            }
            Ok(metadata) => sum.others += metadata.blocks() * 512,
            // One that is removed meanwhile takes none.
            Err(_) => {}
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "12 (a) b (c)) S 7 2 3 4 5 6 7 8 9 10 100 23 400 1 20 0 4 0 5555 0 0";
        let parsed = parse_stat(stat).expect("a line as the kernel writes it");
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(parsed.parent, 7);
        assert_eq!(parsed.own, Duration::from_secs_f64(123.0 / per_second));
        assert_eq!(parsed.ended_children, Duration::from_secs_f64(401.0 / per_second));
        assert!(parse_stat("").is_none());
    }

    #[test]
    fn journals_are_told_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("below")).expect("a directory");
        fs::write(dir.path().join("below/1.jnl"), vec![1; 8192]).expect("a file");
        fs::write(dir.path().join("below/2"), vec![1; 40_960]).expect("a file");
        fs::write(dir.path().join("3"), vec![1; 4096]).expect("a file");
        let Disk { journals, others } = disk(dir.path());
        assert!((8192..20_480).contains(&journals), "{journals}");
        assert!((45_056..65_536).contains(&others), "{others}");
    }

    #[test]
    fn a_tree_holds_its_ended_children() {
        let before = tree_time(std::process::id()).expect("this process");
        // Some 100 ms of work in a child that is waited for.
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        let status = std::process::Command::new("sh").args(["-c", script]).status().expect("sh");
        assert!(status.success());
        let after = tree_time(std::process::id()).expect("this process");
        assert!(after - before >= Duration::from_millis(20), "{before:?} to {after:?}");
    }
}
