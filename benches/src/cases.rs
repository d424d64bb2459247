//! What is measured. A case is made ready once and then run any number of times, each time with the same
//! outcome.

mod authentication;
mod delivery;
mod names;
mod ordering;
mod signatures;

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use postrider_core::imap::commands::fetch::plan::Plan;
use postrider_core::imap::commands::fetch::rows::{Progress, Rows};
use postrider_core::imap::commands::qresync::Told;
use postrider_core::imap::commands::select::{Ask, Moment};
use postrider_proto::imap::command::{Command, Context, Utf8, parse};
use postrider_proto::imap::limits::Limits;
use postrider_proto::imap::response::write_vanished;
use postrider_proto::imap::rights::Rights;
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::types::Uid;
use postrider_proto::imap::uidset::UidSet;
use postrider_proto::mime::scan::Scanner;
use postrider_proto::mime::{self, record};
use postrider_proto::smtp::body::DataReader;

use crate::World;
use crate::world::changes;

/// Runs what is measured once. The number of things done says whether it did what it should.
pub type Run<'a> = Box<dyn FnMut() -> Result<usize> + 'a>;

/// One thing to measure.
pub struct Case {
    /// Its name; words with underscores.
    pub name: String,
    /// The mailbox that it needs, in messages.
    pub mailbox: Option<u32>,
    /// What one run does, in things: rows, octets, commands. Every run is checked against it.
    pub things: usize,
    make: Make,
}

type Make = Box<dyn for<'a> Fn(&'a World) -> Result<Run<'a>> + Sync + Send>;

impl Case {
    fn new(
        name: impl Into<String>,
        mailbox: Option<u32>,
        things: usize,
        make: impl for<'a> Fn(&'a World) -> Result<Run<'a>> + Sync + Send + 'static,
    ) -> Self {
        Self { name: name.into(), mailbox, things, make: Box::new(make) }
    }

    /// Makes it ready. Every run of what is returned is checked.
    pub fn ready<'a>(&self, world: &'a World) -> Result<Run<'a>> {
        (self.make)(world)
    }

    /// Complains when a run did something else than it should.
    pub fn check(&self, done: usize) -> Result<()> {
        if done != self.things {
            bail!("{} did {done} things, not {}", self.name, self.things);
        }
        Ok(())
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases = parsing();
    cases.extend(fetching());
    cases.extend(selecting());
    cases.extend(receiving());
    cases.extend(vanishing());
    cases.extend(signatures::cases());
    cases.extend(names::cases());
    cases.extend(authentication::cases());
    cases.extend(delivery::cases());
    cases.extend(ordering::cases());
    cases
}

const COMMANDS: [(&str, &str); 9] = [
    ("noop", "a NOOP"),
    ("fetch_flags", "a FETCH 1:* (UID FLAGS)"),
    ("fetch_envelopes", "a UID FETCH 1:* (UID FLAGS ENVELOPE INTERNALDATE RFC822.SIZE)"),
    ("fetch_header_fields", "a UID FETCH 1:500 (FLAGS BODY.PEEK[HEADER.FIELDS (From To Subject Date)])"),
    ("store", "a UID STORE 1:1000 +FLAGS.SILENT (\\Seen)"),
    ("select", "a SELECT Inbox"),
    ("select_qresync", "a SELECT Inbox (QRESYNC (1000000001 900000 1:100000))"),
    ("search", "a UID SEARCH RETURN (ALL) UNSEEN SINCE 1-Nov-2026 FROM \"someone\""),
    ("status", "a STATUS \"Archive/2026\" (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ)"),
];

fn parsing() -> Vec<Case> {
    let case = |(name, line): &(&str, &'static str)| {
        let line = format!("{line}\r\n");
        Case::new(format!("parse_{name}"), None, 1, move |_| {
            let line = line.clone();
            Ok(Box::new(move || parsed(black_box(&line)).map(|_| 1)))
        })
    };
    COMMANDS.iter().map(case).collect()
}

fn parsed(line: &str) -> Result<Command> {
    let context = Context { utf8: Utf8::Off, limits: &Limits::AUTHENTICATED };
    let parsed = parse(line.as_bytes(), context).map_err(|bad| anyhow!("{line}: {}", bad.fault))?;
    Ok(parsed.command)
}

/// Rows that a session writes before they go out.
const RUN_OCTETS: usize = 256 * 1024;

/// FETCH of a whole mailbox.
fn fetch_case(name: &str, messages: u32, items: &'static str) -> Case {
    let things = (messages - removals(messages)) as usize;
    Case::new(format!("{name}_of_{messages}"), Some(messages), things, move |world| {
        let place = world.place(messages)?;
        let Command::Fetch(fetch) = parsed(&format!("a FETCH 1:* {items}\r\n"))? else { bail!("no FETCH") };
        let ask = Ask { qresync: None, ..ASK };
        let moment =
            Moment::read(&world.reader(), (place.account, place.mailbox), world.incarnation(), &ask)?;
        let plan = Arc::new(Plan::new(fetch.items, Utf8::Off, false));
        let mut out = Vec::with_capacity(2 * RUN_OCTETS);
        Ok(Box::new(move || {
            let (view, wanted) = (moment.view.clone(), moment.view.clone());
            let mut rows =
                Rows::new(Arc::clone(&plan), (place.account, place.mailbox), view, wanted, Vec::new());
            let mut written = 0;
            loop {
                out.clear();
                let progress = rows.run(&world.reader(), &mut out, RUN_OCTETS)?;
                written += out.split(|octet| *octet == b'\n').filter(|line| line.starts_with(b"* ")).count();
                if progress == Progress::Done {
                    return Ok(written);
                }
            }
        }))
    })
}

fn fetching() -> Vec<Case> {
    const ENVELOPES: &str = "(UID FLAGS ENVELOPE INTERNALDATE RFC822.SIZE)";
    vec![
        fetch_case("fetch_flags", 10_000, "(FLAGS)"),
        fetch_case("fetch_flags", 100_000, "(FLAGS)"),
        fetch_case("fetch_flags_and_modseq", 10_000, "(FLAGS MODSEQ)"),
        fetch_case("fetch_envelopes", 10_000, ENVELOPES),
        fetch_case("fetch_previews", 1_000, "(PREVIEW)"),
    ]
}

/// Messages that the changes at the end of a mailbox's life removed.
const fn removals(messages: u32) -> u32 {
    changes(messages) / 5
}

const ASK: Ask<'static> = Ask {
    access: postrider_proto::imap::command::Access::ReadWrite,
    qresync: None,
    rev2: false,
    utf8: Utf8::Off,
    written: "Inbox",
    numbering: Numbering::Sequence,
    rights: Rights::ALL,
    prefix: "",
};

fn select_case(messages: u32, changes: u32) -> Case {
    let things = changes as usize + 1;
    let name = format!("qresync_{changes}_changes_of_{messages}");
    Case::new(name, Some(messages), things, move |world| {
        let place = world.place(messages)?;
        let before = world.before(messages, changes)?;
        let validity = {
            let account = world.account();
            account.mailbox(place.mailbox).context("no such mailbox")?.uid_validity
        };
        let line = format!("a SELECT \"of {messages}\" (QRESYNC ({validity} {before}))\r\n");
        let mut out = Vec::with_capacity(RUN_OCTETS);
        Ok(Box::new(move || {
            out.clear();
            let Command::Select(select) = parsed(black_box(&line))? else { bail!("no SELECT") };
            let ask = Ask { qresync: select.qresync.as_ref(), ..ASK };
            let reader = world.reader();
            let moment = Moment::read(&reader, (place.account, place.mailbox), world.incarnation(), &ask)?;
            moment.write(&mut out, &ask);
            let news = moment.news.as_ref().context("the client knows the mailbox")?;
            let told =
                Told { view: &moment.view, seen: moment.head, modseq: true, numbering: Numbering::Sequence };
            news.write(&mut out, &reader, &world.account(), place.mailbox, &told)?;
            // Rows, vanished uids, and the command itself.
            let rows = out.split(|octet| *octet == b'\n').filter(|line| line.ends_with(b"))\r")).count();
            Ok(rows + news.vanished().len() as usize + 1)
        }))
    })
}

fn selecting() -> Vec<Case> {
    let mut cases = Vec::new();
    for messages in [1_000, 100_000, 1_000_000] {
        cases.push(select_case(messages, 0));
        cases.push(select_case(messages, 100));
    }
    cases.push(select_case(100_000, 10_000));
    cases.push(select_case(1_000_000, 10_000));
    cases
}

/// A message of 10 KiB as it is on the wire, without its end.
fn message() -> Vec<u8> {
    let mut text = b"From: Sender <sender@example.org>\r\nTo: <user@localhost>\r\nSubject: a message\r\n\
        Message-ID: <1@example.org>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=part\r\n\r\n--part\r\nContent-Type: text/plain\r\n\r\n"
        .to_vec();
    while text.len() < 10 * 1024 {
        text.extend_from_slice(b"A line of text as mail has many, and none of them begins with a dot.\r\n");
    }
    text.extend_from_slice(b"--part--\r\n");
    text
}

fn receiving() -> Vec<Case> {
    let octets = message().len();
    vec![
        Case::new("read_data_of_10_kib", None, octets, |_| {
            let mut input = message();
            input.extend_from_slice(b".\r\n");
            let mut out = Vec::with_capacity(input.len());
            Ok(Box::new(move || {
                out.clear();
                DataReader::new().push(black_box(&input), &mut out);
                Ok(out.len())
            }))
        }),
        Case::new("scan_structure_of_10_kib", None, 1, |_| {
            let input = message();
            let mut out = Vec::with_capacity(1024);
            Ok(Box::new(move || {
                out.clear();
                let mut scanner = Scanner::new(mime::Limits::DEFAULT);
                scanner.push(black_box(&input));
                record::encode(&scanner.finish(), &mut out);
                Ok(usize::from(!out.is_empty()))
            }))
        }),
        Case::new("append_a_message_to_100000", Some(100_000), 1, |world| {
            let place = world.place(100_000)?;
            Ok(Box::new(move || world.build_append(place)))
        }),
    ]
}

fn vanishing() -> Vec<Case> {
    let case = |name: &str, step: u32| {
        Case::new(name, None, 10_000, move |_| {
            let gone: UidSet = (0..10_000).filter_map(|number| Uid::new(number * step + 1)).collect();
            let mut out = Vec::with_capacity(128 * 1024);
            Ok(Box::new(move || {
                out.clear();
                write_vanished(&mut out, black_box(&gone), true);
                Ok(if out.is_empty() { 0 } else { gone.len() as usize })
            }))
        })
    };
    vec![case("vanished_10000_in_a_row", 1), case("vanished_10000_apart", 3)]
}
