//! Dialogs with the server, and what they can't show.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod compress;
mod contexts;
mod cost;
mod dialog;
mod external;
mod failures;
mod metadata;
mod model;
mod notify;
mod probe;
mod rights;
mod server;
mod sessions;
mod urls;

use std::path::{Path, PathBuf};

fn dialogs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/imap").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has dialogs", folder.display());
    files
}

macro_rules! folders {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { dialogs(stringify!($name)).iter().for_each(|file| dialog::play(file)); })*

        #[test]
        fn every_folder_of_dialogs_is_played() {
            let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/imap");
            for entry in std::fs::read_dir(all).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!([$(stringify!($name)),*].contains(&name.as_str()), "{name} is played");
            }
        }
    };
}

folders!(
    basic,
    mailboxes,
    list,
    select,
    append,
    idle,
    condstore,
    qresync,
    limits,
    fetch,
    store,
    search,
    copy,
    expunge,
    unauthenticate,
    uidonly,
    messagelimit,
    uidbatches,
    capabilities,
    multisearch,
    grammar,
    within,
    quota,
    acl,
    sharing,
    metadata,
    list_metadata,
    notify,
    objectid,
    savedate,
    multiappend,
    catenate,
    replace,
    preview,
    urlauth,
    sort,
    esort,
    partial,
    context,
    thread
);
