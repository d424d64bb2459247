//! Writing to the terminal, or to what stands in for it.

use std::io::{self, IsTerminal as _, Write as _};

/// Prints a line of the result. A reader that went away (`postrider account list | head`) ends
/// the program quietly.
pub fn print(line: &str) {
    write_out(line.as_bytes());
    write_out(b"\n");
}

/// Writes a part of the result as it is.
pub fn write_out(bytes: &[u8]) {
    if let Err(error) = io::stdout().write_all(bytes) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            complain(&format!("can't write the result: {error}"));
        }
        std::process::exit(1);
    }
}

/// Says what went wrong, on standard error.
pub fn complain(text: &str) {
    let (red, plain) = if colours() { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
    // Nothing can be done when standard error is closed.
    let _ = writeln!(io::stderr(), "{red}postrider:{plain} {text}");
}

/// Says what is going on, on standard error.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Colours only for people, and only when they don't mind (no-color.org).
fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// An error with its causes. A cause that the text before it already ends in isn't repeated.
pub fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// A size for people.
pub fn octets(octets: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut unit = "B";
    let (mut whole, mut tenths) = (octets, 0);
    for next in UNITS {
        if whole < 1024 {
            break;
        }
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit = next;
    }
    if unit == "B" { format!("{whole} B") } else { format!("{whole}.{tenths} {unit}") }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_are_said_once() {
        let error: anyhow::Result<()> = Err(io::Error::other("disk on fire")).context("can't read x");
        assert_eq!(error.map_err(|error| with_causes(&error)), Err("can't read x: disk on fire".to_owned()));
        let error: anyhow::Result<()> =
            Err(io::Error::other("on fire")).context("can't read x: on fire. Use water");
        assert_eq!(
            error.map_err(|error| with_causes(&error)),
            Err("can't read x: on fire. Use water".to_owned())
        );
    }

    #[test]
    fn sizes_are_short() {
        let shown = [0, 1023, 1024, 1536, 104_857_600, u64::MAX].map(octets);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "100.0 MiB", "16777215.9 TiB"]);
    }
}
