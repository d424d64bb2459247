//! What the kernel says of the server's process.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time that a process and its ended threads used, user and system.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>())
        .sum::<Result<u64, _>>()
        .context("/proc/PID/stat isn't as expected")?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Resident memory of a process in KiB: now, and the most it ever was.
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

/// Bytes that a process caused to be written to storage.
pub fn written_bytes(pid: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).with_context(|| format!("process {pid}"))?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "))
        .context("/proc/PID/io isn't as expected")?;
    line.trim().parse().context("a number of bytes")
}
