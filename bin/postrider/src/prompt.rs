//! Passwords: from the terminal without showing them, or a line of standard input.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Octets of a password; more is a mistake, and expensive to hash.
pub const PASSWORD_OCTETS_MAX: usize = 1024;

/// Asks for a new password: twice on the terminal, or once from standard input when that isn't one.
pub fn new_password(whose: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        return from_input(&mut io::stdin().lock());
    }
    let first = hidden(&format!("New password for {whose}: "))?;
    let second = hidden("The same again: ")?;
    if first != second {
        bail!("the two passwords differ, so nothing was changed. Run the command again");
    }
    checked(first)
}

fn from_input(input: &mut dyn BufRead) -> anyhow::Result<String> {
    let mut line = Vec::new();
    let limit = PASSWORD_OCTETS_MAX as u64 + 3;
    input.take(limit).read_until(b'\n', &mut line).context("can't read the password from standard input")?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    checked(String::from_utf8(line).ok().context("the password is not UTF-8. Use one that is")?)
}

fn checked(password: String) -> anyhow::Result<String> {
    if password.is_empty() {
        bail!("the password is empty. Type one, or give it as a line of standard input");
    }
    if password.len() > PASSWORD_OCTETS_MAX {
        bail!("the password is longer than {PASSWORD_OCTETS_MAX} bytes. Use a shorter one");
    }
    Ok(password)
}

/// Shows the terminal's input again when dropped.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn new(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // The terminal may be gone; then nothing is shown anyway.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
        let _ = self.terminal.write_all(b"\n");
    }
}

fn hidden(question: &str) -> anyhow::Result<String> {
    let mut terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .context("there is no terminal to ask for the password. Give it as a line of standard input")?;
    terminal.write_all(question.as_bytes())?;
    let hidden = Hidden::new(terminal).context("can't hide what is typed on the terminal")?;
    from_input(&mut io::BufReader::new(&hidden.terminal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<String, String> {
        from_input(&mut &*text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_password_is_a_line_without_its_end() {
        for text in ["pa ss\n", "pa ss\r\n", "pa ss", "pa ss\nmore\n"] {
            assert_eq!(read(text.as_bytes()), Ok("pa ss".to_owned()), "{text:?}");
        }
        assert!(read(b"\n").is_err_and(|error| error.contains("empty")));
        assert!(read(b"\xff\n").is_err_and(|error| error.contains("UTF-8")));
    }

    #[test]
    fn a_password_at_the_limit_is_taken_and_a_longer_one_is_not() {
        let long = "x".repeat(PASSWORD_OCTETS_MAX);
        assert_eq!(read(format!("{long}\r\n").as_bytes()), Ok(long.clone()));
        assert!(read(format!("{long}x\n").as_bytes()).is_err_and(|error| error.contains("longer than 1024")));
    }
}
