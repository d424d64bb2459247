//! Finds the parts of a message while it streams by (RFC 5322 §2.2, RFC 2046 §5.1 and §5.2.1).
//!
//! The result depends on the octets alone, never on how they were cut into pushes. Memory is
//! bounded by [`Limits`], not by the size of the message: of a body nothing is kept but counts.
//!
//! - A delimiter counts when it stands at the start of a line and its boundary belongs to an open
//!   multipart; the innermost exact match wins, then the longest boundary that is a prefix of the
//!   line (RFC 2046 §5.1.1: the boundary need not fill the line).
//! - A message/rfc822 or message/global with a transfer encoding other than the identity ones is a
//!   leaf: its parts cannot be found without decoding.
//! - Lines may end in CRLF or in LF alone; a lone CR is content.

mod fields;

use memchr::memmem;

use super::decode::TransferEncoding;
use super::parameter::MediaType;
use super::{FieldName, Kind, Limits, Part, Structure};
use fields::Fields;

/// Octets of a header line that are kept beside the value: a name, with white space around it.
const NAME_OCTETS_MAX: usize = 64;

/// Scans one message; see the module.
pub struct Scanner {
    limits: Limits,
    finder: memmem::Finder<'static>,
    parts: Vec<Part>,
    /// The parts around the current position, the message itself first.
    open: Vec<Open>,
    /// How many of `open` have a boundary to look for.
    delimited: usize,
    fields: Fields,
    mode: Mode,
    /// Start of a line whose end was not pushed yet, up to the octets that matter.
    pending: Vec<u8>,
    /// Octets and line breaks before what is scanned next.
    offset: u64,
    newlines: u64,
    line: LineStart,
    /// Whether octets of the current header line were left out.
    is_line_cut: bool,
    /// The last two octets before what is scanned next.
    last_octets: [u8; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Header,
    /// Inside a body; true at the start of a line.
    Body(bool),
    /// The rest of a line that is decided upon, then this.
    SkipLine(AfterLine),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterLine {
    Header,
    Body,
}

/// A place in the message.
#[derive(Clone, Copy, Default)]
struct Position {
    offset: u64,
    /// Line breaks before it.
    newlines: u64,
}

/// Where a line starts.
#[derive(Clone, Copy, Default)]
struct LineStart {
    at: Position,
    /// Octets of the line break before it: 0 at the start, else 1 or 2.
    break_octets: u64,
}

struct Open {
    part: usize,
    /// Set while delimiters of this multipart are looked for.
    boundary: Option<Box<[u8]>>,
    /// Line breaks before the body.
    newlines: u64,
    /// Whether a child of this multipart was seen.
    has_child: bool,
    /// Children without Content-Type are messages (RFC 2046 §5.1.5).
    is_digest: bool,
}

/// What a line that starts with `--` means.
#[derive(Clone, Copy)]
struct Delimiter {
    /// Index into `open`.
    level: usize,
    is_close: bool,
}

impl Scanner {
    /// Starts at the first octet of a message.
    pub fn new(limits: Limits) -> Self {
        let mut scanner = Self {
            fields: Fields::new(&limits),
            limits,
            finder: memmem::Finder::new(b"\n--"),
            parts: Vec::with_capacity(1),
            open: Vec::with_capacity(4),
            delimited: 0,
            mode: Mode::Header,
            pending: Vec::new(),
            offset: 0,
            newlines: 0,
            line: LineStart::default(),
            is_line_cut: false,
            last_octets: [0; 2],
        };
        scanner.open_part(true);
        scanner
    }

    /// Scans the next octets of the message.
    pub fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let consumed = match self.mode {
                Mode::Header => self.push_header(data),
                Mode::Body(at_line_start) => self.push_body(data, at_line_start),
                Mode::SkipLine(after) => self.push_rest_of_line(data, after),
            };
            self.offset += consumed as u64;
            self.last_octets = match data[..consumed] {
                [.., before, last] => [before, last],
                [last] => [self.last_octets[1], last],
                [] => self.last_octets,
            };
            data = &data[consumed..];
        }
    }

    /// Octets of the message that are held at this moment: kept field values and the start of a
    /// line. What limits the memory of a scan.
    pub fn octets_held(&self) -> usize {
        let fields = self.parts.iter().flat_map(|part| &part.fields);
        let values: usize = fields.map(|field| field.value.len()).sum();
        values + self.fields.octets_held() + self.pending.len()
    }

    /// Ends the message.
    pub fn finish(mut self) -> Structure {
        if !self.pending.is_empty() {
            let line = std::mem::take(&mut self.pending);
            match self.mode {
                Mode::Header => self.header_line(&line, self.is_line_cut),
                _ => drop(self.body_line(&line)),
            }
        }
        let end = Position { offset: self.offset, newlines: self.newlines };
        if self.mode == Mode::SkipLine(AfterLine::Header) {
            self.resume(AfterLine::Header, end);
        }
        while self.mode == Mode::Header {
            self.end_header(end);
        }
        self.close_above(0, end);
        self.close_innermost(end);
        Structure { size: self.offset, parts: self.parts, references: self.fields.take_references() }
    }

    /// Header lines are taken whole, cut to the octets that are kept of a field.
    fn push_header(&mut self, data: &[u8]) -> usize {
        if self.pending.is_empty() {
            self.line = self.line_start_here();
        }
        let newline = memchr::memchr(b'\n', data);
        let consumed = newline.map_or(data.len(), |at| at + 1);
        let room = (self.limits.field_octets_max + NAME_OCTETS_MAX).saturating_sub(self.pending.len());
        let kept = &data[..consumed.min(room)];
        self.is_line_cut |= kept.len() < consumed;
        if newline.is_none() {
            self.pending.extend_from_slice(kept);
            return consumed;
        }
        self.newlines += 1;
        let after = Position { offset: self.offset + consumed as u64, newlines: self.newlines };
        if self.pending.is_empty() {
            self.header_line_ended(kept, after);
        } else {
            let mut line = std::mem::take(&mut self.pending);
            line.extend_from_slice(kept);
            self.header_line_ended(&line, after);
            line.clear();
            self.pending = line;
        }
        consumed
    }

    /// A header line with its line break; `after` is the start of the next line.
    fn header_line_ended(&mut self, line: &[u8], after: Position) {
        let is_cut = std::mem::take(&mut self.is_line_cut);
        if without_break(line).is_empty() {
            self.end_header(after);
        } else {
            self.header_line(line, is_cut);
            if let Mode::SkipLine(next) = self.mode {
                self.resume(next, after);
            }
        }
    }

    /// A header line that is not empty.
    fn header_line(&mut self, line: &[u8], is_cut: bool) {
        let line = without_break(line);
        if line.starts_with(b"--")
            && let Some(delimiter) = self.delimiter(line)
            // What the header says may need one more part.
            && (delimiter.is_close || self.parts.len() + 1 < self.limits.parts_max)
        {
            // A delimiter ends the part although its header never ended.
            let end = self.before_line();
            self.end_header(end);
            self.take_delimiter(delimiter);
            return;
        }
        self.fields.line(line, is_cut);
    }

    fn push_body(&mut self, data: &[u8], at_line_start: bool) -> usize {
        if self.delimited == 0 {
            self.newlines += count_newlines(data);
            self.mode = Mode::Body(data.ends_with(b"\n"));
            return data.len();
        }
        if at_line_start {
            if self.pending.is_empty() {
                self.line = self.line_start_here();
            }
            if !self.pending.is_empty() || b"--".starts_with(&data[..data.len().min(2)]) {
                return self.push_candidate(data);
            }
        }
        match self.finder.find(data) {
            Some(at) => {
                self.newlines += count_newlines(&data[..=at]);
                self.mode = Mode::Body(true);
                at + 1
            }
            None => {
                // A dash after the last line break may be the first of two.
                let consumed = if data.ends_with(b"\n-") { data.len() - 1 } else { data.len() };
                self.newlines += count_newlines(&data[..consumed]);
                self.mode = Mode::Body(data[consumed - 1] == b'\n');
                consumed
            }
        }
    }

    /// Collects a body line that starts with a dash until it can be decided upon.
    fn push_candidate(&mut self, data: &[u8]) -> usize {
        let room = self.candidate_octets_max() - self.pending.len();
        let window = &data[..data.len().min(room)];
        let newline = memchr::memchr(b'\n', window);
        let taken = &window[..newline.map_or(window.len(), |at| at + 1)];
        if newline.is_none() && taken.len() < room {
            self.pending.extend_from_slice(taken);
            return taken.len();
        }
        self.newlines += u64::from(newline.is_some());
        let is_delimiter = if self.pending.is_empty() {
            self.body_line(taken)
        } else {
            let mut line = std::mem::take(&mut self.pending);
            line.extend_from_slice(taken);
            let is_delimiter = self.body_line(&line);
            line.clear();
            self.pending = line;
            is_delimiter
        };
        if newline.is_none() {
            if !is_delimiter {
                self.mode = Mode::Body(false);
            }
        } else if let Mode::SkipLine(next) = self.mode {
            let after = Position { offset: self.offset + taken.len() as u64, newlines: self.newlines };
            self.resume(next, after);
        } else {
            self.mode = Mode::Body(true);
        }
        taken.len()
    }

    /// Octets of a line that decide whether it is a delimiter.
    fn candidate_octets_max(&self) -> usize {
        self.limits.boundary_octets_max + 8
    }

    /// Decides upon a body line that starts with a dash; true when it is a delimiter.
    fn body_line(&mut self, line: &[u8]) -> bool {
        let line = without_break(line);
        match self.delimiter(line) {
            Some(delimiter) if line.starts_with(b"--") => {
                self.take_delimiter(delimiter);
                true
            }
            _ => false,
        }
    }

    fn push_rest_of_line(&mut self, data: &[u8], next: AfterLine) -> usize {
        let Some(at) = memchr::memchr(b'\n', data) else { return data.len() };
        self.newlines += 1;
        let after = Position { offset: self.offset + at as u64 + 1, newlines: self.newlines };
        self.resume(next, after);
        at + 1
    }

    /// Goes on after the line break of a delimiter line.
    fn resume(&mut self, next: AfterLine, after: Position) {
        match next {
            AfterLine::Body => self.mode = Mode::Body(true),
            AfterLine::Header => {
                self.start_header(after);
            }
        }
    }

    /// The delimiter that `line`, without its line break, is.
    fn delimiter(&self, line: &[u8]) -> Option<Delimiter> {
        let rest = line.get(2..)?;
        let mut best: Option<(usize, Delimiter)> = None;
        for (level, open) in self.open.iter().enumerate().rev() {
            let Some(boundary) = &open.boundary else { continue };
            let Some(tail) = rest.strip_prefix(&**boundary) else { continue };
            let delimiter = Delimiter { level, is_close: tail.starts_with(b"--") };
            if matches!(tail.trim_ascii_end(), b"" | b"--") {
                return Some(delimiter);
            }
            if best.is_none_or(|(octets, _)| octets < boundary.len()) {
                best = Some((boundary.len(), delimiter));
            }
        }
        best.map(|(_, delimiter)| delimiter)
    }

    /// Ends the parts that a delimiter line ends and starts the one that it starts.
    fn take_delimiter(&mut self, delimiter: Delimiter) {
        let Delimiter { level, is_close } = delimiter;
        // A multipart that ends without a part gets an empty one.
        let innermost = self.open.len() - 1;
        let childless = innermost > level && self.is_childless(innermost);
        if !is_close && self.parts.len() + usize::from(childless) >= self.limits.parts_max {
            // The line is content of the last part.
            self.mode = Mode::SkipLine(AfterLine::Body);
            return;
        }
        let end = self.before_line();
        self.close_above(level, end);
        if is_close {
            self.open[level].boundary = None;
            self.delimited -= 1;
            self.mode = Mode::SkipLine(AfterLine::Body);
        } else {
            self.open[level].has_child = true;
            self.open_part(false);
            self.mode = Mode::SkipLine(AfterLine::Header);
        }
    }

    fn is_childless(&self, level: usize) -> bool {
        let open = &self.open[level];
        self.parts[open.part].kind == Kind::Multipart && !open.has_child
    }

    fn start_header(&mut self, start: Position) {
        if let Some(open) = self.open.last() {
            let part = &mut self.parts[open.part];
            (part.header_start, part.body_start) = (start.offset, start.offset);
        }
        self.mode = Mode::Header;
    }

    /// Opens a child of the innermost open part, or the message itself.
    fn open_part(&mut self, is_message: bool) {
        let start = self.offset;
        self.fields.start(is_message);
        self.open.push(Open {
            part: self.parts.len(),
            boundary: None,
            newlines: self.newlines,
            has_child: false,
            is_digest: false,
        });
        let parent = self.open.iter().rev().nth(1).map(|open| open.part as u32);
        self.parts.push(Part {
            kind: Kind::Leaf,
            parent,
            is_message,
            header_start: start,
            body_start: start,
            end: start,
            lines: 0,
            fields: Vec::new(),
        });
    }

    /// Ends the header of the innermost part; its body starts at `body`.
    fn end_header(&mut self, body: Position) {
        let fields = self.fields.finish();
        let (kind, boundary, is_digest) = self.kind_of(&fields);
        let Some(open) = self.open.last_mut() else { return };
        open.newlines = body.newlines;
        open.is_digest = is_digest;
        let part = &mut self.parts[open.part];
        part.body_start = body.offset;
        part.fields = fields;
        part.kind = kind;
        self.mode = Mode::Body(true);
        match kind {
            Kind::Leaf => {}
            Kind::Multipart => {
                open.boundary = boundary;
                self.delimited += 1;
            }
            Kind::Message => {
                self.open_part(true);
                self.start_header(body);
            }
        }
    }

    /// What the innermost part is by its header, with the boundary of a multipart and whether it is
    /// a digest.
    fn kind_of(&self, fields: &[super::Field]) -> (Kind, Option<Box<[u8]>>, bool) {
        const LEAF: (Kind, Option<Box<[u8]>>, bool) = (Kind::Leaf, None, false);
        if self.open.len() >= self.limits.depth_max || self.parts.len() >= self.limits.parts_max {
            return LEAF;
        }
        let value = |name| fields.iter().find(|field| field.name == name).map(|field| field.value.as_slice());
        let in_digest = self.open.iter().rev().nth(1).is_some_and(|parent| parent.is_digest);
        let media = match value(FieldName::ContentType) {
            Some(value) => MediaType::parse(value),
            None if in_digest => MediaType::parse(b"message/rfc822"),
            None => None,
        };
        let Some(media) = media else { return LEAF };
        if media.is_kind("multipart") {
            let boundary = media.parameter("boundary").unwrap_or_default();
            let boundary = boundary.trim_ascii_end();
            if boundary.is_empty() || boundary.len() > self.limits.boundary_octets_max {
                return LEAF;
            }
            let is_digest = media.subtype.eq_ignore_ascii_case(b"digest");
            return (Kind::Multipart, Some(boundary.into()), is_digest);
        }
        let encoding = TransferEncoding::parse(value(FieldName::ContentTransferEncoding).unwrap_or_default());
        if (media.is("message", "rfc822") || media.is("message", "global"))
            && encoding == TransferEncoding::Identity
        {
            return (Kind::Message, None, false);
        }
        LEAF
    }

    /// Ends all open parts inside `open[level]`.
    fn close_above(&mut self, level: usize, end: Position) {
        while self.open.len() > level + 1 {
            self.close_innermost(end);
        }
    }

    fn close_innermost(&mut self, end: Position) {
        let Some(open) = self.open.pop() else { return };
        self.delimited -= usize::from(open.boundary.is_some());
        let part = &mut self.parts[open.part];
        // Without a body the end may lie before the empty line that ended the header.
        part.header_start = part.header_start.min(end.offset);
        part.body_start = part.body_start.min(end.offset);
        part.end = end.offset;
        part.lines = end.newlines.saturating_sub(open.newlines);
        if part.kind == Kind::Multipart && !open.has_child {
            // RFC 9051 §9: the body of a multipart has one part or more.
            self.parts.push(Part {
                kind: Kind::Leaf,
                parent: Some(open.part as u32),
                is_message: false,
                header_start: end.offset,
                body_start: end.offset,
                end: end.offset,
                lines: 0,
                fields: Vec::new(),
            });
        }
    }

    /// The end of what precedes the current line, without the line break that belongs to the
    /// delimiter (RFC 2046 §5.1.1). That may be the empty line after a header: the body is absent
    /// then. A line break that ended another delimiter line stays with that.
    fn before_line(&self) -> Position {
        let LineStart { at, break_octets } = self.line;
        let is_body_part = |open: &&Open| !self.parts[open.part].is_message;
        let start = self.open.iter().rev().find(is_body_part).map(|open| self.parts[open.part].header_start);
        if break_octets == 0 || start.is_none_or(|start| at.offset <= start) {
            return at;
        }
        Position { offset: at.offset - break_octets, newlines: at.newlines - 1 }
    }

    fn line_start_here(&self) -> LineStart {
        let break_octets = match self.last_octets {
            [b'\r', b'\n'] => 2,
            [_, b'\n'] => 1,
            _ => 0,
        };
        LineStart { at: Position { offset: self.offset, newlines: self.newlines }, break_octets }
    }
}

fn count_newlines(data: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', data).count() as u64
}

/// A line without its line break.
fn without_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
