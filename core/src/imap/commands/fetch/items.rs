//! Writes the items of one FETCH row, some octets at a time.

use std::ops::Range;

use postrider_proto::imap::command::Partial;
use postrider_proto::imap::objectid::ObjectId;
use postrider_proto::imap::response::FetchRow;
use postrider_proto::mime::decode::{Decoder, TransferEncoding};
use postrider_proto::mime::header::FieldFilter;
use postrider_proto::mime::imap;
use postrider_proto::mime::preview::{Preview, preview_parts};
use postrider_storage::ids::{AccountId, EmailId, ThreadId};
use postrider_storage::reader::Reader;
use postrider_storage::store::StoreError;

use super::plan::{Item, Label, Octets, Part, Plan};
use crate::imap::content::{ContentReader, MessageContent};

/// Octets of a header of which HEADER.FIELDS picks fields; fields behind them aren't seen.
pub const HEADER_OCTETS_MAX: u64 = 1024 * 1024;
/// The empty line behind the fields, which isn't needed.
const EMPTY_LINE_OCTETS: u64 = 2;

/// What a step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The buffer is full.
    Full,
    /// Every item is written.
    Ended,
    /// An item was left out, because its part is in an encoding that isn't known. Go on.
    UnknownEncoding,
}

/// The items of a row that are still to be written.
pub struct Items {
    message: Option<MessageContent>,
    facts: Facts,
    /// The next item.
    next: usize,
    content: Option<Streaming>,
}

/// What is told of a message without its content.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The account that owns it.
    pub account: AccountId,
    /// What its copies share.
    pub email: EmailId,
    /// Its conversation.
    pub thread: ThreadId,
    /// Octets.
    pub size: u64,
    /// The internal date.
    pub received: i64,
    /// When it came into the mailbox; not known of a removed message.
    pub saved: Option<i64>,
}

/// Content of an item that is under way.
enum Streaming {
    /// Octets as they are, announced by a literal's header.
    Copy(ContentReader),
    /// Finds out how long decoded content is.
    Measure { source: ContentReader, decoder: Decoder, octets: u64, then: Measured, scratch: Vec<u8> },
    /// Decoded octets, announced by a literal's header: some are skipped, some are written.
    Decode { source: ContentReader, decoder: Decoder, skip: u64, left: u64, scratch: Vec<u8> },
}

/// What decoded content is measured for.
enum Measured {
    Size(Part),
    Content { part: Part, partial: Option<Partial>, encoding: TransferEncoding, source: ContentReader },
}

impl Items {
    /// Nothing is written yet. Without `message`, the plan must not need it.
    pub const fn new(message: Option<MessageContent>, facts: Facts) -> Self {
        Self { message, facts, next: 0, content: None }
    }

    /// Writes until something is to be told to the caller.
    pub fn step(
        &mut self,
        plan: &Plan,
        row: &mut FetchRow,
        reader: &Reader,
        out: &mut Vec<u8>,
        full: usize,
    ) -> Result<Step, StoreError> {
        loop {
            while let Some(content) = self.content.take() {
                if out.len() >= full {
                    self.content = Some(content);
                    return Ok(Step::Full);
                }
                self.content = content.advance(row, reader, out)?;
            }
            let Some(item) = plan.items.get(self.next) else { return Ok(Step::Ended) };
            self.next += 1;
            match (item, &self.message) {
                (Item::InternalDate, _) => row.internal_date(out, self.facts.received),
                (Item::Size, _) => row.rfc822_size(out, self.facts.size),
                (Item::SaveDate, _) => row.save_date(out, self.facts.saved),
                (Item::EmailId, _) => {
                    row.email_id(out, ObjectId::email(self.facts.account.0, self.facts.email.0));
                }
                (Item::ThreadId, _) => {
                    row.thread_id(out, ObjectId::thread(self.facts.account.0, self.facts.thread.0));
                }
                (_, None) => return Err(StoreError::Inconsistent("a message's content wasn't looked up")),
                (Item::Envelope | Item::Body | Item::BodyStructure, Some(message)) => {
                    describe(item, plan, message, row, out)?;
                }
                (Item::Preview, Some(message)) => {
                    row.preview(out, plan.utf8(), &preview(message, reader)?);
                }
                (Item::Octets(octets), Some(message)) => {
                    self.content = begin_octets(octets, message, row, reader, out)?;
                }
                (Item::Binary(part, partial), Some(message)) => {
                    match begin_binary(part, *partial, message, row, out)? {
                        Ok(content) => self.content = content,
                        Err(UnknownEncoding) => return Ok(Step::UnknownEncoding),
                    }
                }
                (Item::BinarySize(part), Some(message)) => match begin_size(part, message, row, out)? {
                    Ok(content) => self.content = content,
                    Err(UnknownEncoding) => return Ok(Step::UnknownEncoding),
                },
            }
        }
    }
}

/// RFC 3516 §4.3: the part's encoding isn't known.
struct UnknownEncoding;

/// Writes what the structure record tells.
fn describe(
    item: &Item,
    plan: &Plan,
    message: &MessageContent,
    row: &mut FetchRow,
    out: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let structure = message.structure()?;
    let mut encoded = Vec::with_capacity(512);
    match item {
        Item::Envelope => {
            imap::envelope(&mut encoded, structure.root(), plan.client);
            row.envelope(out, &encoded);
        }
        Item::Body => {
            imap::body(&mut encoded, &structure, plan.client);
            row.body(out, &encoded);
        }
        _ => {
            imap::body_structure(&mut encoded, &structure, plan.client);
            row.body_structure(out, &encoded);
        }
    }
    Ok(())
}

/// Makes the preview: it costs the first octets of a part or two, so nothing is stored.
fn preview(message: &MessageContent, reader: &Reader) -> Result<String, StoreError> {
    let structure = message.structure()?;
    for part in preview_parts(&structure, message.prefix_octets()) {
        let Some(mut preview) = Preview::new(&part) else { continue };
        let mut source = message.range(part.range);
        let mut is_enough = false;
        while !is_enough && source.read(reader, |piece| is_enough = preview.push(piece))? {}
        let text = preview.finish();
        if !text.is_empty() {
            return Ok(text);
        }
    }
    Ok(String::new())
}

/// The offset that is echoed, and the octets that a partial request takes of `octets`.
fn cut(partial: Option<Partial>, octets: u64) -> (Option<u64>, u64, u64) {
    match partial {
        None => (None, 0, octets),
        Some(Partial { offset, length }) => {
            let skip = offset.min(octets);
            (Some(offset), skip, (octets - skip).min(length.get()))
        }
    }
}

fn begin_octets(
    octets: &Octets,
    message: &MessageContent,
    row: &mut FetchRow,
    reader: &Reader,
    out: &mut Vec<u8>,
) -> Result<Option<Streaming>, StoreError> {
    let mut announce = |origin: Option<u64>, length: u64, out: &mut Vec<u8>| match &octets.label {
        Label::Section(section) => row.section(out, section, origin, length),
        Label::Old(label) => row.old_section(out, *label, length),
    };
    match octets.find(message, reader)? {
        None => {
            match &octets.label {
                Label::Section(section) => {
                    row.section_nil(out, section, octets.partial.map(|partial| partial.offset));
                }
                // The whole message always has a header and a text.
                Label::Old(label) => row.old_section(out, *label, 0),
            }
            Ok(None)
        }
        Some(Found::Range(range)) => {
            let (origin, skip, length) = cut(octets.partial, range.end - range.start);
            announce(origin, length, out);
            let start = range.start + skip;
            Ok(Some(Streaming::Copy(message.range(start..start + length))))
        }
        Some(Found::Fields(picked)) => {
            let (origin, skip, length) = cut(octets.partial, picked.len() as u64);
            announce(origin, length, out);
            // Both were cut to the length of `picked`.
            out.extend_from_slice(&picked[skip as usize..(skip + length) as usize]);
            Ok(None)
        }
    }
}

/// Where the octets of a section are.
pub enum Found {
    /// A range of the message.
    Range(Range<u64>),
    /// Fields that were picked from a header.
    Fields(Vec<u8>),
}

impl Octets {
    /// Finds the octets, before the partial is cut from them; none when there is no such part.
    pub fn find(&self, message: &MessageContent, reader: &Reader) -> Result<Option<Found>, StoreError> {
        let structure = message.structure()?;
        let range = imap::section(&structure, &self.path, self.text, message.prefix_octets());
        let Some(range) = range else { return Ok(None) };
        match &self.fields {
            None => Ok(Some(Found::Range(range))),
            Some((filter, names)) => {
                Ok(Some(Found::Fields(pick_fields(message, reader, range, *filter, names)?)))
            }
        }
    }
}

/// Reads the fields of a header that are asked for.
fn pick_fields(
    message: &MessageContent,
    reader: &Reader,
    range: Range<u64>,
    filter: FieldFilter,
    names: &[Box<str>],
) -> Result<Vec<u8>, StoreError> {
    let mut header = message.read(reader, range.clone(), HEADER_OCTETS_MAX)?;
    if range.end - range.start > HEADER_OCTETS_MAX + EMPTY_LINE_OCTETS {
        let whole_lines = header.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        header.truncate(whole_lines);
    }
    let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    let mut picked = Vec::new();
    imap::filter_fields(&header, filter, &names, &mut picked);
    Ok(picked)
}

type Begun = Result<Option<Streaming>, UnknownEncoding>;

fn begin_binary(
    part: &Part,
    partial: Option<Partial>,
    message: &MessageContent,
    row: &mut FetchRow,
    out: &mut Vec<u8>,
) -> Result<Begun, StoreError> {
    let structure = message.structure()?;
    let Some(body) = imap::binary(&structure, &part.path, message.prefix_octets()) else {
        row.binary_nil(out, &part.numbers, partial.map(|partial| partial.offset));
        return Ok(Ok(None));
    };
    let Some(decoder) = Decoder::new(body.encoding) else { return Ok(Err(UnknownEncoding)) };
    if body.encoding == TransferEncoding::Identity {
        let (origin, skip, length) = cut(partial, body.range.end - body.range.start);
        row.binary(out, &part.numbers, origin, length);
        let start = body.range.start + skip;
        return Ok(Ok(Some(Streaming::Copy(message.range(start..start + length)))));
    }
    // The length stands in front, so the content is decoded twice: once to measure it.
    let source = message.range(body.range);
    let then =
        Measured::Content { part: part.clone(), partial, encoding: body.encoding, source: source.clone() };
    Ok(Ok(Some(Streaming::Measure { source, decoder, octets: 0, then, scratch: Vec::new() })))
}

fn begin_size(
    part: &Part,
    message: &MessageContent,
    row: &mut FetchRow,
    out: &mut Vec<u8>,
) -> Result<Begun, StoreError> {
    let structure = message.structure()?;
    let Some(body) = imap::binary(&structure, &part.path, message.prefix_octets()) else {
        row.binary_size(out, &part.numbers, 0);
        return Ok(Ok(None));
    };
    let Some(decoder) = Decoder::new(body.encoding) else { return Ok(Err(UnknownEncoding)) };
    if body.encoding == TransferEncoding::Identity {
        row.binary_size(out, &part.numbers, body.range.end - body.range.start);
        return Ok(Ok(None));
    }
    let then = Measured::Size(part.clone());
    let source = message.range(body.range);
    Ok(Ok(Some(Streaming::Measure { source, decoder, octets: 0, then, scratch: Vec::new() })))
}

impl Streaming {
    /// Deals with the next piece; none when the item is ended.
    fn advance(
        self,
        row: &mut FetchRow,
        reader: &Reader,
        out: &mut Vec<u8>,
    ) -> Result<Option<Self>, StoreError> {
        match self {
            Self::Copy(mut source) => {
                let more = source.read(reader, |piece| out.extend_from_slice(piece))?;
                Ok(more.then_some(Self::Copy(source)))
            }
            Self::Measure { mut source, mut decoder, mut octets, then, mut scratch } => {
                scratch.clear();
                let more = source.read(reader, |piece| decoder.push(piece, &mut scratch))?;
                if !more {
                    decoder.finish(&mut scratch);
                }
                octets += scratch.len() as u64;
                if more {
                    return Ok(Some(Self::Measure { source, decoder, octets, then, scratch }));
                }
                Ok(then.begin(octets, row, out))
            }
            Self::Decode { mut source, mut decoder, mut skip, mut left, mut scratch } => {
                scratch.clear();
                let more = source.read(reader, |piece| decoder.push(piece, &mut scratch))?;
                if !more {
                    decoder.finish(&mut scratch);
                }
                // Both are at most the length of `scratch`.
                let skipped = skip.min(scratch.len() as u64);
                let taken = left.min(scratch.len() as u64 - skipped);
                out.extend_from_slice(&scratch[skipped as usize..(skipped + taken) as usize]);
                skip -= skipped;
                left -= taken;
                if left == 0 {
                    return Ok(None);
                }
                if !more {
                    return Err(StoreError::Inconsistent("content is shorter than it was measured"));
                }
                Ok(Some(Self::Decode { source, decoder, skip, left, scratch }))
            }
        }
    }
}

impl Measured {
    /// Writes what was measured, and begins the content.
    fn begin(self, octets: u64, row: &mut FetchRow, out: &mut Vec<u8>) -> Option<Streaming> {
        match self {
            Self::Size(part) => {
                row.binary_size(out, &part.numbers, octets);
                None
            }
            Self::Content { part, partial, encoding, source } => {
                let (origin, skip, left) = cut(partial, octets);
                row.binary(out, &part.numbers, origin, left);
                let decoder = Decoder::new(encoding)?;
                let content = Streaming::Decode { source, decoder, skip, left, scratch: Vec::new() };
                (left > 0).then_some(content)
            }
        }
    }
}
