//! Reads the server's metrics.

use anyhow::{Context, Result, bail};

use crate::client::{Client, Security};

/// Commits that waited for the disk.
pub const SYNCS: &str = "postrider_commit_syncs_total";
/// The longest run of a task without a pause.
pub const LONGEST_RUN: &str = "postrider_shard_longest_run_seconds";

/// The value of a metric without labels, from a Prometheus page.
pub fn value(address: &str, name: &str) -> Result<f64> {
    let [value] = values(address, [name])?;
    Ok(value)
}

/// The values of several metrics, from one page.
pub fn values<const N: usize>(address: &str, names: [&str; N]) -> Result<[f64; N]> {
    let mut client = Client::connect(address, Security::Plain)?;
    client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut found = [None; N];
    while let Ok(line) = client.line() {
        for (name, found) in names.iter().zip(&mut found) {
            if let Some(value) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')) {
                *found = Some(value.parse::<f64>().with_context(|| format!("{name} is {value:?}"))?);
            }
        }
    }
    let mut values = [0.0; N];
    for ((name, found), value) in names.iter().zip(found).zip(&mut values) {
        let Some(found) = found else { bail!("{address} has no metric {name}") };
        *value = found;
    }
    Ok(values)
}
