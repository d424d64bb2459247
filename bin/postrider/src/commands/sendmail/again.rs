//! Submitting messages again that were kept.

use std::fs::{File, TryLockError};
use std::io::{BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::exit::{Code, Failed};
use super::failures;
use super::message::Spool;
use super::{Surroundings, attempt};
use crate::terminal;

/// Submits each of these files, and removes it when its message needs it no more: it was submitted, or is kept anew for those who
/// don't have it. The last failure, after the others were told.
pub fn run(files: &[String], surroundings: &mut Surroundings, verbose: bool) -> Result<(), Failed> {
    let unique = surroundings.caller.unique.clone();
    let mut last = Ok(());
    for (number, file) in files.iter().enumerate() {
        surroundings.caller.unique = format!("{unique}.{number}");
        let outcome = one(Path::new(file), surroundings, verbose);
        if let Err(failed) = outcome {
            let failed = Failed::new(failed.code, format!("{file}: {failed}"));
            if let Err(earlier) = std::mem::replace(&mut last, Err(failed)) {
                terminal::complain(&earlier.text);
            }
        }
    }
    last
}

fn one(path: &Path, surroundings: &Surroundings, verbose: bool) -> Result<(), Failed> {
    let file = File::open(path).map_err(|error| Failed::io("it can't be opened", &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Failed::new(Code::Temporary, "another sendmail submits it just now"));
        }
        Err(TryLockError::Error(error)) => return Err(Failed::io("it can't be locked", &error)),
    }
    // The one that had the lock may have submitted it.
    let metadata = file.metadata().map_err(|error| Failed::io("it can't be read", &error))?;
    if metadata.nlink() == 0 {
        return Ok(());
    }
    let mut input = BufReader::new(&file);
    let (mut order, begun) = failures::read_fields(&mut input)?;
    order.check()?;
    order.verbose = verbose;
    let mut rest = begun.chain(input);
    let spool = Spool::read(&mut rest, true, surroundings.config.message_octets_max)?;
    let remove = || {
        std::fs::remove_file(path)
            .map_err(|error| Failed::io("it is submitted, and can't be removed", &error))
    };
    match attempt(&order, surroundings, spool) {
        Ok(()) => remove(),
        // Nobody has it: the file says for whom it is.
        Err(unsent) if !unsent.is_partial => Err(unsent.failed),
        Err(mut unsent) => {
            let kept = match surroundings.keep(&mut unsent) {
                Ok(file) => {
                    remove()?;
                    format!("It is kept in {} instead, for those who don't have it", file.display())
                }
                Err(why) => format!("The file stays, and names recipients who have the message: {why}"),
            };
            Err(Failed::new(unsent.failed.code, format!("{}. {kept}", unsent.failed)))
        }
    }
}
