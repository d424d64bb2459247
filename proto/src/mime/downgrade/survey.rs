//! Finds out what is to be done with a message.

use super::super::decode::TransferEncoding;
use super::super::header::fields;
use super::super::parameter::{MediaType, leading_token};
use super::super::{FieldName, Kind, Limits, Part, Structure};
use super::{Edit, Encoding, Obstacle, Plan, Target, What};

/// Octets of a header that is looked at.
const HEADER_OCTETS_MAX: usize = 512 * 1024;
/// Octets of a line without its end (RFC 5322 §2.1.1).
const LINE_OCTETS_MAX: u64 = 998;
/// Text with more than one eight-bit octet in so many is shorter in base64, and no easier to read otherwise.
const EIGHT_BIT_SHARE: u64 = 4;

/// What a stretch of the message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// The header of the part of this number.
    Header(usize),
    /// The body of this leaf.
    Body(usize),
    /// Delimiters, and what stands around them.
    Between,
}

#[derive(Clone, Copy, Debug)]
struct Region {
    start: u64,
    end: u64,
    role: Role,
}

/// What was seen in a stretch.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    octets: u64,
    eight_bit: u64,
    /// NUL, or CR and LF not together.
    is_binary: bool,
    has_long_line: bool,
    line_octets: u64,
    after_cr: bool,
}

impl Facts {
    fn push(&mut self, data: &[u8]) {
        self.octets += data.len() as u64;
        if !data.is_ascii() {
            self.eight_bit += data.iter().filter(|octet| !octet.is_ascii()).count() as u64;
        }
        self.is_binary |= memchr::memchr(0, data).is_some();
        let mut rest = data;
        while let Some(&first) = rest.first() {
            if self.after_cr {
                self.after_cr = false;
                if first == b'\n' {
                    self.line_octets = 0;
                    rest = &rest[1..];
                    continue;
                }
                self.is_binary = true;
            }
            let run = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            self.line_octets += run as u64;
            self.has_long_line |= self.line_octets > LINE_OCTETS_MAX;
            match rest.get(run) {
                Some(b'\r') => self.after_cr = true,
                Some(_) => {
                    self.is_binary = true;
                    self.line_octets = 0;
                }
                None => {}
            }
            rest = rest.get(run + 1..).unwrap_or_default();
        }
    }

    /// Whether it has to be encoded for this target.
    fn must_be_encoded(&self, target: Target) -> bool {
        let has_lines = !(self.is_binary || self.after_cr || self.has_long_line);
        !has_lines || (target == Target::SevenBit && self.eight_bit > 0)
    }
}

/// Looks at a message piece by piece; it must be the one whose structure is given.
#[derive(Debug)]
pub struct Survey<'a> {
    structure: &'a Structure,
    target: Target,
    regions: Vec<Region>,
    /// The stretch that is looked at, how far, and what was seen of it.
    current: usize,
    offset: u64,
    facts: Facts,
    header: Vec<u8>,
    /// What was found in the headers and bodies, by the numbers of the parts.
    headers: Vec<Label>,
    bodies: Vec<Option<Facts>>,
    /// Stretches between parts with eight-bit octets.
    masked: Vec<Region>,
    obstacle: Option<Obstacle>,
}

/// What a header says of the encoding, and where.
#[derive(Clone, Debug, Default)]
struct Label {
    /// Where the fields stand.
    fields: Vec<(u64, u64)>,
    /// Where a further field would go.
    end: u64,
    /// Whether the last line has no end of its own.
    is_open: bool,
    is_mime: bool,
    has_type: bool,
}

impl<'a> Survey<'a> {
    /// One at the start of the message, that was scanned with these limits.
    #[must_use]
    pub fn new(structure: &'a Structure, limits: &Limits, target: Target) -> Self {
        // Beyond these limits the structure isn't all there is.
        let is_whole = structure.parts.len() < limits.parts_max;
        Self {
            structure,
            target,
            regions: regions(structure),
            current: 0,
            offset: 0,
            facts: Facts::default(),
            header: Vec::new(),
            headers: vec![Label::default(); structure.parts.len()],
            bodies: vec![None; structure.parts.len()],
            masked: Vec::new(),
            obstacle: (!is_whole).then_some(Obstacle::TooComplex),
        }
    }

    /// Takes the next octets.
    pub fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() && self.obstacle.is_none() {
            let Some(region) = self.regions.get(self.current).copied() else { return };
            let octets = usize::try_from(region.end - self.offset).unwrap_or(usize::MAX).min(data.len());
            let (piece, rest) = data.split_at(octets);
            self.facts.push(piece);
            if let Role::Header(_) = region.role {
                if self.header.len() + piece.len() > HEADER_OCTETS_MAX {
                    self.obstacle = Some(Obstacle::TooComplex);
                    return;
                }
                self.header.extend_from_slice(piece);
            }
            self.offset += octets as u64;
            data = rest;
            if self.offset == region.end {
                self.end_region(region);
            }
        }
    }

    fn end_region(&mut self, region: Region) {
        let facts = std::mem::take(&mut self.facts);
        self.current += 1;
        match region.role {
            Role::Header(part) => {
                let header = std::mem::take(&mut self.header);
                if facts.eight_bit > 0 && self.target == Target::SevenBit {
                    self.obstacle = Some(Obstacle::Header);
                }
                self.headers[part] = label(&header, region.start);
            }
            Role::Body(part) => self.bodies[part] = Some(facts),
            Role::Between if facts.eight_bit > 0 && self.target == Target::SevenBit => {
                self.masked.push(region)
            }
            Role::Between => {}
        }
    }

    /// What is to be done.
    pub fn finish(self) -> Result<Plan, Obstacle> {
        if let Some(obstacle) = self.obstacle {
            return Err(obstacle);
        }
        let mut edits = Vec::new();
        for (number, part) in self.structure.parts.iter().enumerate() {
            self.edit_part(number, part, &mut edits)?;
        }
        for Region { start, end, .. } in &self.masked {
            let inside = |part: &&Part| part.header_start <= *start && *end <= part.end;
            let around = self.structure.parts.iter().rev().find(inside);
            if around.is_some_and(|part| self.is_signed(part)) {
                return Err(Obstacle::Signed);
            }
            edits.push(Edit { start: *start, end: *end, what: What::Mask });
        }
        edits.sort_by_key(|edit| (edit.start, edit.end));
        Ok(Plan { edits })
    }

    fn edit_part(&self, number: usize, part: &Part, edits: &mut Vec<Edit>) -> Result<(), Obstacle> {
        let written = part.field(FieldName::ContentTransferEncoding).unwrap_or_default();
        let encoding = TransferEncoding::parse(written);
        let facts = self.bodies[number].unwrap_or_default();
        if part.kind == Kind::Leaf && facts.must_be_encoded(self.target) {
            if self.is_signed(part) {
                return Err(Obstacle::Signed);
            }
            if encoding != TransferEncoding::Identity {
                return Err(Obstacle::NotEncodable);
            }
            let encoding = choose(part, &facts)?;
            self.relabel(number, part, encoding.name(), edits);
            edits.push(Edit { start: part.body_start, end: part.end, what: What::Encode(encoding) });
            return Ok(());
        }
        // What isn't encoded has a label that is still true, but not one that the other side takes.
        let (token, _) = leading_token(written);
        let is = |name: &str| token.eq_ignore_ascii_case(name.as_bytes());
        let label = match self.target {
            Target::SevenBit if is("8bit") || is("binary") => "7bit",
            Target::EightBit if is("binary") => "8bit",
            _ => return Ok(()),
        };
        if !self.is_signed(part) {
            self.relabel(number, part, label, edits);
        }
        Ok(())
    }

    /// Whether a signature covers the part.
    fn is_signed(&self, part: &Part) -> bool {
        let mut around = part.parent;
        while let Some(parent) = around.and_then(|number| self.structure.parts.get(number as usize)) {
            let media = parent.field(FieldName::ContentType).and_then(MediaType::parse);
            if media.is_some_and(|media| media.is("multipart", "signed")) {
                return true;
            }
            around = parent.parent;
        }
        false
    }

    /// Puts the name of an encoding into a header: in place of the one that is there, or behind all fields.
    fn relabel(&self, number: usize, part: &Part, name: &str, edits: &mut Vec<Edit>) {
        let label = &self.headers[number];
        let mut field = format!("Content-Transfer-Encoding: {name}\r\n");
        if part.is_message {
            if !label.is_mime {
                field.push_str("MIME-Version: 1.0\r\n");
            }
            if !label.has_type {
                // Nobody knows which charset it is (RFC 1428 §3).
                field.push_str("Content-Type: text/plain; charset=unknown-8bit\r\n");
            }
        }
        let mut place = label.fields.first().copied().unwrap_or((label.end, label.end));
        // The line end behind a header without a body is the delimiter's. With another one there would be a body, in which a
        // delimiter could be one of other parts.
        if let Some(&last) = label.fields.last().filter(|last| label.is_open && last.1 == label.end) {
            place = last;
            field.truncate(field.len() - 2);
        }
        edits.push(Edit { start: place.0, end: place.1, what: What::Replace(field.into_bytes()) });
        for &(start, end) in label.fields.iter().filter(|other| **other != place) {
            edits.push(Edit { start, end, what: What::Replace(Vec::new()) });
        }
    }
}

/// How to encode a leaf.
fn choose(part: &Part, facts: &Facts) -> Result<Encoding, Obstacle> {
    let media = part.field(FieldName::ContentType).and_then(MediaType::parse);
    let is_text = media.as_ref().is_none_or(|media| media.is_kind("text"));
    if media.as_ref().is_some_and(|media| media.is_kind("multipart")) {
        // One without parts, or nested too deep to be looked at.
        return Err(Obstacle::NotEncodable);
    }
    // RFC 2046 §5.2 forbids to encode what is in a message/* part; RFC 6532 §3.7 and RFC 6533 §5 and §6 allow it for
    // international ones.
    let is_message = media.as_ref().is_some_and(|media| media.is_kind("message"));
    let is_global = ["global", "global-headers", "global-delivery-status", "global-disposition-notification"]
        .iter()
        .any(|subtype| media.as_ref().is_some_and(|media| media.is("message", subtype)));
    if is_message && !is_global {
        return Err(Obstacle::NotEncodable);
    }
    let is_readable =
        facts.eight_bit * EIGHT_BIT_SHARE <= facts.octets && !facts.is_binary && !facts.after_cr;
    Ok(if (is_text || is_global) && is_readable { Encoding::QuotedPrintable } else { Encoding::Base64 })
}

/// The stretches of a message, one after the other, without empty ones.
fn regions(structure: &Structure) -> Vec<Region> {
    let mut found = Vec::with_capacity(structure.parts.len() * 3 + 1);
    for (number, part) in structure.parts.iter().enumerate() {
        found.push(Region { start: part.header_start, end: part.body_start, role: Role::Header(number) });
        if part.kind == Kind::Leaf {
            found.push(Region { start: part.body_start, end: part.end, role: Role::Body(number) });
        }
    }
    found.retain(|region| region.start < region.end);
    found.sort_by_key(|region| region.start);
    let mut whole = Vec::with_capacity(found.len() * 2 + 1);
    let mut at = 0;
    for region in found {
        if at < region.start {
            whole.push(Region { start: at, end: region.start, role: Role::Between });
        }
        at = region.end;
        whole.push(region);
    }
    if at < structure.size {
        whole.push(Region { start: at, end: structure.size, role: Role::Between });
    }
    whole
}

/// What a header that starts at `start` says of the encoding.
fn label(header: &[u8], start: u64) -> Label {
    let mut found = Label { is_open: !header.ends_with(b"\n"), ..Label::default() };
    let mut at = start;
    for field in fields(header) {
        let end = at + field.octets.len() as u64;
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        if is("Content-Transfer-Encoding") {
            found.fields.push((at, end));
        }
        found.is_mime |= is("MIME-Version");
        found.has_type |= is("Content-Type");
        at = end;
    }
    found.end = at;
    found
}
