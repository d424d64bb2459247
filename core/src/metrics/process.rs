//! What the system says about this process, under the names that all Prometheus clients use.

use std::fs;

use super::text::Text;

/// Writes the figures of the process that can be read; others are left out.
pub fn write_process(text: &mut Text) {
    if let Some(octets) = resident_octets(&fs::read_to_string("/proc/self/statm").unwrap_or_default()) {
        text.gauge("process_resident_memory_bytes", "Resident memory.", octets);
    }
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let start = boot_seconds(&fs::read_to_string("/proc/stat").unwrap_or_default());
    if let Some((cpu_ticks, start_ticks)) = cpu_and_start(&stat) {
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        text.counter(
            "process_cpu_seconds_total",
            "Processor time used.",
            hundredths(cpu_ticks * 100 / ticks),
        );
        if let Some(boot) = start {
            let started = boot + start_ticks / ticks;
            text.gauge("process_start_time_seconds", "When the process started, since 1970.", started);
        }
    }
}

fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// The second number of `/proc/self/statm` is resident pages.
fn resident_octets(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Ticks of the processor used, and ticks from boot to start. The name in parentheses may hold
/// anything, so fields are counted from its end.
fn cpu_and_start(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((number(11)? + number(12)?, number(19)?))
}

fn boot_seconds(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 100 23 0 0 20 0 4 0 5555 0 0";
        assert_eq!(cpu_and_start(stat), Some((123, 5555)));
        assert_eq!(boot_seconds("cpu 1\nbtime 1700000000\nx 1\n"), Some(1_700_000_000));
        assert_eq!(cpu_and_start(""), None);
    }

    #[test]
    fn this_process_has_figures() {
        let mut text = Text::new();
        write_process(&mut text);
        let text = text.finish();
        let memory =
            text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap_or("");
        assert!(memory.parse::<u64>().is_ok_and(|octets| octets > 1 << 20), "{text}");
        assert!(text.contains("\nprocess_start_time_seconds "), "{text}");
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
    }
}
