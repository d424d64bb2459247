//! Reading an mbox file (RFC 4155), of the variants `mboxrd` and `mboxo`.
//!
//! A line that begins with `From ` after an empty line, or at the start, begins a message. A `>` in front
//! of `From ` is taken away. Flags are read from Status, X-Status and X-Keywords; these three are taken
//! away when they stand, in this order, at the start, as an export of ours writes them, and are content
//! everywhere else.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::convert::ToCrlf;
use super::date;
use super::flags::Marks;
use super::source::{Event, PIECE_MESSAGES, PIECE_OCTETS, READ_OCTETS, Source, changed, open};

/// The fields that an export writes in front.
const FIELDS: [&[u8]; 3] = [b"status", b"x-status", b"x-keywords"];

/// An mbox file that is read.
pub(super) struct Mbox {
    file: BufReader<File>,
    name: String,
    /// For messages whose From_ line has no date.
    changed: i64,
    lines: u64,
    /// The rest of a long line comes next.
    within_line: bool,
    /// An empty line was read that may belong to the next From_ line: its octets.
    held: Vec<u8>,
    at_start: bool,
    message: Option<Message>,
}

/// A message that is read.
struct Message {
    convert: ToCrlf,
    marks: Marks,
    received: i64,
    in_header: bool,
    /// Fields of ours that were read; all of them when others came.
    fields: usize,
    ours: bool,
}

impl Mbox {
    /// Opens an mbox file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let changed = changed(&file);
        let mut file = BufReader::with_capacity(READ_OCTETS, file);
        let start = file.fill_buf()?;
        let text = start.iter().position(|octet| !matches!(octet, b'\r' | b'\n'));
        if text.is_some_and(|at| !start.get(at..).unwrap_or_default().starts_with(b"From ")) {
            return Err(io::Error::other("it does not begin with a From_ line, so it is no mbox"));
        }
        Ok(Self {
            file,
            name: path.display().to_string(),
            changed,
            lines: 0,
            within_line: false,
            held: Vec::new(),
            at_start: true,
            message: None,
        })
    }

    /// A line, or a piece of a long one; empty at the end of the file.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.file).take(READ_OCTETS as u64).read_until(b'\n', &mut line)?;
        Ok(line)
    }

    fn end_message(&mut self, events: &mut Vec<Event>) {
        self.held.clear();
        if let Some(Message { marks, received, .. }) = self.message.take() {
            events.push(Event::End { marks, received });
        }
    }

    fn take_line(&mut self, mut line: Vec<u8>, out: &mut Vec<u8>, events: &mut Vec<Event>) {
        let whole = line.ends_with(b"\n");
        let begins = !std::mem::replace(&mut self.within_line, !whole);
        let blank = begins && matches!(line.as_slice(), b"\n" | b"\r\n");
        if begins {
            self.lines += 1;
        }
        let after_blank = self.at_start || !self.held.is_empty();
        if begins && after_blank && line.starts_with(b"From ") {
            flush(out, events);
            self.end_message(events);
            self.at_start = false;
            events.push(Event::Begin(format!("the message at line {} of {}", self.lines, self.name)));
            let received = date::read(&line).unwrap_or(self.changed);
            let marks = Marks::default();
            self.message = Some(Message {
                convert: ToCrlf::default(),
                marks,
                received,
                in_header: true,
                fields: 0,
                ours: false,
            });
            return;
        }
        let Some(message) = &mut self.message else { return };
        if !self.held.is_empty() {
            message.convert.push(&std::mem::take(&mut self.held), out);
        }
        if blank {
            message.in_header = false;
            self.held = line;
            return;
        }
        if begins && message.in_header && whole && message.takes_field(&line) {
            return;
        }
        let quotes = line.iter().take_while(|octet| **octet == b'>').count();
        if begins && quotes > 0 && line.get(quotes..).is_some_and(|rest| rest.starts_with(b"From ")) {
            line.remove(0);
        }
        message.convert.push(&line, out);
    }
}

impl Message {
    /// Reads flags of a header field; says whether an export of ours added the field.
    fn takes_field(&mut self, line: &[u8]) -> bool {
        let Some(colon) = memchr::memchr(b':', line) else {
            self.fields = FIELDS.len();
            return false;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        if FIELDS.get(self.fields).is_some_and(|field| name.eq_ignore_ascii_case(field)) {
            self.fields += 1;
            self.ours = true;
            self.marks.read_field(name, value);
            return true;
        }
        self.fields = FIELDS.len();
        if !self.ours {
            self.marks.read_field(name, value);
        }
        false
    }
}

fn flush(out: &mut Vec<u8>, events: &mut Vec<Event>) {
    if !out.is_empty() {
        events.push(Event::Octets(std::mem::take(out)));
    }
}

impl Source for Mbox {
    fn count(&mut self) -> Option<u64> {
        None
    }

    fn read(&mut self) -> io::Result<Vec<Event>> {
        loop {
            let (mut events, mut out) = (Vec::new(), Vec::new());
            let (mut octets, mut messages) = (0, 0);
            while octets < PIECE_OCTETS && messages < PIECE_MESSAGES {
                let line = self.line()?;
                if line.is_empty() {
                    flush(&mut out, &mut events);
                    self.end_message(&mut events);
                    break;
                }
                octets += line.len();
                let before = events.len();
                self.take_line(line, &mut out, &mut events);
                messages += usize::from(events.len() > before);
                if out.len() >= READ_OCTETS {
                    flush(&mut out, &mut events);
                }
            }
            flush(&mut out, &mut events);
            // A piece of which nothing came is not the end.
            if !events.is_empty() || octets == 0 {
                return Ok(events);
            }
        }
    }
}
