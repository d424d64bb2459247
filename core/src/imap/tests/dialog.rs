//! Dialogs in text files.
//!
//! `C: ` is a line that the first client sends, `S: ` one that it gets, `C2: ` and `S2: ` those of a
//! second client and so on. `S~: ` skips lines up to the one given. `<*>` stands for any text, `<=x>`
//! too, which is then called `x`; `<x>` stands for it from then on. `<crlf>` in a sent line makes two
//! of it, `<nothing>` at its end sends it without CRLF. `EOF` is the end of the connection, `SILENCE`
//! that nothing comes. Lines with `#` and empty ones say nothing. Clients have logged in, unless the
//! first line is `GUESTS`. They log in as `user`; a first line `USERS 2=bob 3=carol` says who else is a
//! user, and that the second client is bob, who may have several. Such a dialog is played with one shard and with two.
//! `QUOTA octets messages` as the first line, or at its end, limits the account of `user`; `SETUP` there names one of [`SETUPS`].
//! `<validity>` is the UIDVALIDITY of the user's Inbox, `<validity+1>` that of the next mailbox, `<host>` the name
//! of the host, and `<HOST>` that in capitals.
//!
//! Dialogs are played with a server in this process, and, when `POSTRIDER_BINARY` names one, with the program
//! (`cargo xtask external dialogs`).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use postrider_storage::account::Quota;

use super::program::Served;
use super::server::{Peer, Setup};
use crate::testing::within_one;

type Names = HashMap<String, String>;

/// In seconds. When messages came is told by the day.
const DAY: i64 = 24 * 60 * 60;
/// Mailboxes of which a dialog may name the UIDVALIDITY.
const VALIDITIES: u32 = 10;

/// Servers that are set up in another way: what their configuration says of the listener.
const SETUPS: [(&str, &str); 2] = [
    ("limited", "[listener.limits.imap]\nmessages_per_command = 3"),
    (
        "without",
        "disabled_capabilities = [\"COMPRESS=DEFLATE\", \"UNAUTHENTICATE\", \"UIDBATCHES\", \"QRESYNC\", \"IMAP4REV2\"]",
    ),
];

fn dialogs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/imap").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has dialogs", folder.display());
    files
}

macro_rules! folders {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { dialogs(stringify!($name)).iter().for_each(|file| within_one(DAY, || play(file))); })*

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

/// Plays the dialog of a file.
fn play(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let first = text.lines().next().unwrap_or_default();
    let listener = first.strip_prefix("SETUP ").map(|name| {
        SETUPS.into_iter().find_map(|(known, listener)| (known == name).then_some(listener)).unwrap()
    });
    let limits = first.split_once("QUOTA ").map(|(_, limits)| limits);
    let mut limits = limits.into_iter().flat_map(str::split_whitespace).map(|limit| limit.parse().ok());
    let quota = Quota { octets: limits.next().flatten(), messages: limits.next().flatten() };
    play_with(path, &Setup { quota, listener: listener.unwrap_or_default(), ..Setup::default() });
    if text.starts_with("USERS ") {
        play_with(path, &Setup { quota, shards: 2, ..Setup::default() });
    }
}

/// Plays the dialog of a file with a server set up as given.
fn play_with(path: &Path, setup: &Setup) {
    let text = std::fs::read_to_string(path).unwrap();
    let server = Served::start(setup);
    let first = text.lines().next().unwrap_or_default();
    let guests = first == "GUESTS";
    let directive = guests || ["QUOTA ", "SETUP ", "USERS "].iter().any(|start| first.starts_with(start));
    let users = first.strip_prefix("USERS ");
    let users: HashMap<&str, &str> = users
        .map(|users| users.split(' ').filter_map(|user| user.split_once('=')).collect())
        .unwrap_or_default();
    // In the order of their clients, so that each has the same number, and home, every time.
    let mut names_of_users: Vec<_> = users.iter().collect();
    names_of_users.sort_unstable();
    let mut there = HashSet::from(["user"]);
    for (_, name) in names_of_users {
        if there.insert(name) {
            server.add_account(name, Quota::default());
        }
    }
    let mut peers: HashMap<String, Peer> = HashMap::new();
    let mut names = given(&server);
    for (number, line) in text.lines().enumerate().skip(usize::from(directive)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = format!("{}:{}", path.display(), number + 1);
        let (who, what) = line.split_once(": ").unwrap_or_else(|| panic!("{at}: no dialog line: {line}"));
        let key = who.trim_matches(['C', 'S', '~']).to_owned();
        let user = users.get(key.as_str()).unwrap_or(&"user");
        let connect = || if guests { server.connect() } else { server.log_in_as(user) };
        let peer = peers.entry(key).or_insert_with(connect);
        if who.starts_with('C') {
            let text = filled(what, &names).replace("<crlf>", "\r\n");
            match text.strip_suffix("<nothing>") {
                Some(part) => peer.send(part.as_bytes()),
                None => peer.send(format!("{text}\r\n").as_bytes()),
            }
        } else if what == "SILENCE" {
            assert!(peer.is_silent(), "{at}: {:?} came", peer.line());
        } else {
            expect(peer, what, who.contains('~'), &mut names, &at);
        }
    }
    drop(peers);
    server.finish();
    // What `cargo xtask external dialogs` counts.
    let folder = path.parent().and_then(Path::file_name).unwrap().display();
    println!("played {folder}/{}, shards: {}", path.file_name().unwrap().display(), setup.shards);
}

/// What a dialog may name without having been told.
fn given(server: &Served) -> Names {
    let first = server.validity();
    let numbers = (1..VALIDITIES).map(|more| (format!("validity+{more}"), (first + more).to_string()));
    let hosts = [server.host().to_owned(), server.host().to_ascii_uppercase()];
    let names = [("validity", first.to_string())].into_iter().chain(["host", "HOST"].into_iter().zip(hosts));
    numbers.chain(names.map(|(name, value)| (name.to_owned(), value))).collect()
}

fn expect(peer: &mut Peer, what: &str, skip: bool, names: &mut Names, at: &str) {
    let wanted = filled(what, names);
    let mut skipped = Vec::new();
    loop {
        let line = peer.line();
        if let Some(found) = matched(&wanted, &line) {
            names.extend(found);
            return;
        }
        assert!(
            skip && line != "EOF" && !line.starts_with("NOTHING"),
            "{at}\nwanted {wanted}\ngot    {line}\nskipped {skipped:#?}"
        );
        skipped.push(line);
    }
}

fn filled(text: &str, names: &Names) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("<{name}>"), value))
}

/// The names that a line gives, when it is as wanted.
fn matched(wanted: &str, line: &str) -> Option<Vec<(String, String)>> {
    let Some(at) = wanted.find("<*>").into_iter().chain(wanted.find("<=")).min() else {
        return (wanted == line).then(Vec::new);
    };
    let rest = line.strip_prefix(&wanted[..at])?;
    let (hole, after) = wanted[at..].split_once('>')?;
    let ends = (0..=rest.len()).filter(|end| rest.is_char_boundary(*end));
    for end in ends {
        if let Some(mut found) = matched(after, &rest[end..]) {
            if let Some(name) = hole.strip_prefix("<=") {
                found.push((name.to_owned(), rest[..end].to_owned()));
            }
            return Some(found);
        }
    }
    None
}

#[test]
fn wildcards_match_and_name() {
    assert_eq!(matched("a <*> c", "a b b c"), Some(vec![]));
    assert_eq!(matched("a <=x>]", "a 12]"), Some(vec![("x".to_owned(), "12".to_owned())]));
    assert_eq!(matched("a <*> c", "a b"), None);
    assert_eq!(matched("a", "ab"), None);
}
