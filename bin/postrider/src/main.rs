//! The command line of Postrider: parses arguments, calls the server's code or speaks to the
//! running server over its control socket, and prints.
//!
//! Exit codes: 0 when it was done, 1 when it failed, 2 when the arguments make no sense. Results
//! go to standard output, everything else to standard error. `sendmail` has the codes of sysexits.h instead, also under its other names.

mod allocator;
mod arguments;
mod commands;
mod prompt;
mod terminal;

use std::path::Path;
use std::process::ExitCode;

use arguments::{Early, Top};

#[global_allocator]
static ALLOCATOR: allocator::BySize = allocator::BySize;

fn main() -> ExitCode {
    allocator::keep_little();
    // Read as bytes first: an argument that isn't UTF-8 is a mistake of usage, and no panic.
    let mut words = Vec::new();
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let is_called = |other: &str| Path::new(&name).ends_with(other);
    // Other names of sendmail, which stand for one of its options.
    let option = [("mailq", "-bp"), ("newaliases", "-bi")].into_iter().find(|(other, _)| is_called(other));
    let mut is_sendmail = option.is_some() || is_called("sendmail");
    words.extend(option.map(|(_, option)| option.to_owned()));
    for word in arguments {
        match word.into_string() {
            Ok(word) if word == "sendmail" && !is_sendmail && words.is_empty() => is_sendmail = true,
            Ok(word) => words.push(word),
            Err(word) => {
                let problem = format!("the argument {} is not UTF-8", word.display());
                if is_sendmail {
                    return commands::sendmail::refuse_argument(&problem);
                }
                terminal::complain(&problem);
                return ExitCode::from(2);
            }
        }
    }
    if is_sendmail {
        return commands::sendmail::run(&words);
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
