//! The command line of Postrider: parses arguments, calls the server's code or speaks to the
//! running server over its control socket, and prints.
//!
//! Exit codes: 0 when it was done, 1 when it failed, 2 when the arguments make no sense. Results
//! go to standard output, everything else to standard error.

mod arguments;
mod commands;
mod prompt;
mod terminal;

use std::process::ExitCode;

use arguments::{Early, Top};

fn main() -> ExitCode {
    // Read as bytes first: an argument that isn't UTF-8 is a mistake of usage, and no panic.
    let mut words = Vec::new();
    for word in std::env::args_os().skip(1) {
        match word.into_string() {
            Ok(word) => words.push(word),
            Err(word) => {
                terminal::complain(&format!("the argument {} is not UTF-8", word.display()));
                return ExitCode::from(2);
            }
        }
    }
    match Top::parse(&words) {
        Ok(top) => match commands::run(top) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                terminal::complain(&terminal::with_causes(&error));
                ExitCode::FAILURE
            }
        },
        Err(Early::Help(text)) => {
            terminal::print(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(Early::Usage(text)) => {
            terminal::complain(text.trim_end());
            ExitCode::from(2)
        }
    }
}
