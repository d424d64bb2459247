//! The stored form of a [`Structure`]: once per message, typically a few hundred octets.
//!
//! ```text
//! record   = version(1 octet: 1) size:v count:v part*count
//! part     = kind(1 octet) [back:v] header_at:v header_octets:v body_octets:v lines:v
//!            fields_octets:v field*
//! kind     = 0 leaf | 1 multipart | 2 message, + 4 when the header is that of a message
//! back     = own index - index of the parent; absent for part 0
//! header_at = start of the header - start of the parent's body (0 for part 0: from the start)
//! field    = name(1 octet: FieldName) octets:v value; that of References in part 0 only
//! v        = unsigned LEB128 of at most 10 octets
//! ```
//!
//! [`StructureRef::decode`] checks everything that readers rely on: the tree is well-formed, ranges
//! lie inside each other and inside the message, fields are whole. Damaged octets give an error.

use super::{Field, FieldName, Kind, Part, Structure};

/// The version that is written.
const VERSION: u8 = 1;
/// Added to the kind of a part whose header is that of a message.
const IS_MESSAGE: u8 = 4;

/// Why octets are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// The record is of a version that this program does not know.
    #[error("structure record has unknown version {0}")]
    Version(u8),
    /// The octets contradict the layout.
    #[error("structure record is damaged")]
    Damaged,
}

/// Appends the record of `structure`.
pub fn encode(structure: &Structure, out: &mut Vec<u8>) {
    out.push(VERSION);
    put(out, structure.size);
    put(out, structure.parts.len() as u64);
    let mut fields = Vec::new();
    for (index, part) in structure.parts.iter().enumerate() {
        let kind = match part.kind {
            Kind::Leaf => 0,
            Kind::Multipart => 1,
            Kind::Message => 2,
        };
        out.push(kind | if part.is_message { IS_MESSAGE } else { 0 });
        let base = match part.parent {
            Some(parent) => {
                put(out, index as u64 - u64::from(parent));
                structure.parts[parent as usize].body_start
            }
            None => 0,
        };
        put(out, part.header_start - base);
        put(out, part.body_start - part.header_start);
        put(out, part.end - part.body_start);
        put(out, part.lines);
        fields.clear();
        for field in &part.fields {
            fields.push(field.name.code());
            put(&mut fields, field.value.len() as u64);
            fields.extend_from_slice(&field.value);
        }
        if let Some(references) = structure.references.as_ref().filter(|_| index == 0) {
            fields.push(FieldName::References.code());
            put(&mut fields, references.len() as u64);
            fields.extend_from_slice(references);
        }
        put(out, fields.len() as u64);
        out.extend_from_slice(&fields);
    }
}

/// A decoded record; field values stay in the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StructureRef<'a> {
    size: u64,
    parts: Vec<PartRef<'a>>,
}

/// One part; see [`Part`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartRef<'a> {
    /// How the body is made up.
    pub kind: Kind,
    /// Index of the part around this one.
    pub parent: Option<u32>,
    /// Whether the header is that of a message.
    pub is_message: bool,
    /// Where the header starts.
    pub header_start: u64,
    /// Where the body starts.
    pub body_start: u64,
    /// Where the body ends.
    pub end: u64,
    /// Line breaks in the body.
    pub lines: u64,
    /// Index after the last part inside this one.
    subtree_end: u32,
    fields: &'a [u8],
}

impl<'a> PartRef<'a> {
    /// The unfolded value of a kept field.
    pub fn field(&self, name: FieldName) -> Option<&'a [u8]> {
        self.fields().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The kept fields.
    pub fn fields(&self) -> impl Iterator<Item = (FieldName, &'a [u8])> + use<'a> {
        let mut rest = Reader(self.fields);
        // `decode` has read the same octets without an error.
        std::iter::from_fn(move || rest.field().ok().flatten())
    }

    /// Octets of the body.
    pub fn body_octets(&self) -> u64 {
        self.end - self.body_start
    }
}

impl<'a> StructureRef<'a> {
    /// Reads a record; `record` holds nothing else.
    pub fn decode(record: &'a [u8]) -> Result<Self, RecordError> {
        let mut reader = Reader(record);
        match reader.octet()? {
            VERSION => {}
            version => return Err(RecordError::Version(version)),
        }
        let size = reader.number()?;
        let count = reader.number()?;
        // A part takes at least six octets, which bounds what a damaged count allocates.
        if count == 0 || count > reader.0.len() as u64 / 6 {
            return Err(RecordError::Damaged);
        }
        let mut parts: Vec<PartRef<'a>> = Vec::with_capacity(count as usize);
        for index in 0..count {
            let part = reader.part(size, &parts, index)?;
            parts.push(part);
        }
        if !reader.0.is_empty() {
            return Err(RecordError::Damaged);
        }
        close_subtrees(&mut parts)?;
        Ok(Self { size, parts })
    }

    /// Octets of the scanned message.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The parts, the message itself first.
    pub fn parts(&self) -> &[PartRef<'a>] {
        &self.parts
    }

    /// The message itself.
    pub fn root(&self) -> &PartRef<'a> {
        &self.parts[0]
    }

    /// The indexes of the parts directly inside the part with this index.
    pub fn children(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let end = self.parts[index].subtree_end as usize;
        let mut next = index + 1;
        std::iter::from_fn(move || {
            let child = next;
            (child < end).then(|| {
                next = self.parts[child].subtree_end as usize;
                child
            })
        })
    }

    /// The same as an owned value.
    pub fn to_structure(&self) -> Structure {
        let part = |part: &PartRef<'a>| Part {
            kind: part.kind,
            parent: part.parent,
            is_message: part.is_message,
            header_start: part.header_start,
            body_start: part.body_start,
            end: part.end,
            lines: part.lines,
            fields: part
                .fields()
                .filter(|(name, _)| *name != FieldName::References)
                .map(|(name, value)| Field { name, value: value.to_vec() })
                .collect(),
        };
        let references = self.root().field(FieldName::References).map(<[u8]>::to_vec);
        Structure { size: self.size, parts: self.parts.iter().map(part).collect(), references }
    }
}

/// The message itself, without a look at the parts inside it: for reading many records.
pub fn root(record: &[u8]) -> Result<PartRef<'_>, RecordError> {
    let mut reader = Reader(record);
    match reader.octet()? {
        VERSION => {}
        version => return Err(RecordError::Version(version)),
    }
    let size = reader.number()?;
    reader.number()?;
    reader.part(size, &[], 0)
}

/// Finds where each part's subtree ends and checks that parts stand in order, each parent before
/// and around its children, with as many children as its kind has.
fn close_subtrees(parts: &mut [PartRef<'_>]) -> Result<(), RecordError> {
    let mut children = vec![0_u32; parts.len()];
    for index in (0..parts.len()).rev() {
        let part = parts[index];
        let end = part.subtree_end.max(index as u32 + 1);
        parts[index].subtree_end = end;
        if let Some(parent) = part.parent {
            let parent = &mut parts[parent as usize];
            parent.subtree_end = parent.subtree_end.max(end);
        }
    }
    for index in 0..parts.len() {
        let Some(parent) = parts[index].parent else { continue };
        // In pre-order the parent's previous subtree ends exactly here.
        let previous = parts[index - 1];
        if parent as usize != index - 1 && previous.subtree_end as usize != index {
            return Err(RecordError::Damaged);
        }
        if parts[index].subtree_end > parts[parent as usize].subtree_end {
            return Err(RecordError::Damaged);
        }
        children[parent as usize] += 1;
    }
    for (index, part) in parts.iter().enumerate() {
        let count_fits = match part.kind {
            Kind::Leaf => children[index] == 0,
            Kind::Multipart => children[index] >= 1,
            Kind::Message => children[index] == 1,
        };
        let around = part.parent.map(|parent| parts[parent as usize].kind);
        let is_message = matches!(around, None | Some(Kind::Message));
        if !count_fits || part.is_message != is_message {
            return Err(RecordError::Damaged);
        }
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes values off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn octet(&mut self) -> Result<u8, RecordError> {
        let (&octet, rest) = self.0.split_first().ok_or(RecordError::Damaged)?;
        self.0 = rest;
        Ok(octet)
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let octet = self.octet()?;
            let bits = u64::from(octet & 0x7f);
            if bits << shift >> shift != bits {
                return Err(RecordError::Damaged);
            }
            number |= bits << shift;
            if octet < 0x80 {
                // One number, one form.
                let is_shortest = octet != 0 || shift == 0;
                return if is_shortest { Ok(number) } else { Err(RecordError::Damaged) };
            }
        }
        Err(RecordError::Damaged)
    }

    fn octets(&mut self) -> Result<&'a [u8], RecordError> {
        let octets = usize::try_from(self.number()?).map_err(|_| RecordError::Damaged)?;
        let (taken, rest) = self.0.split_at_checked(octets).ok_or(RecordError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<Option<(FieldName, &'a [u8])>, RecordError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let name = FieldName::from_code(self.octet()?).ok_or(RecordError::Damaged)?;
        Ok(Some((name, self.octets()?)))
    }

    fn part(&mut self, size: u64, before: &[PartRef<'a>], index: u64) -> Result<PartRef<'a>, RecordError> {
        let octet = self.octet()?;
        let kind = match octet & !IS_MESSAGE {
            0 => Kind::Leaf,
            1 => Kind::Multipart,
            2 => Kind::Message,
            _ => return Err(RecordError::Damaged),
        };
        let (parent, base, limit) = if index == 0 {
            (None, 0, size)
        } else {
            let parent = index.checked_sub(self.number()?).ok_or(RecordError::Damaged)?;
            let around = before.get(parent as usize).ok_or(RecordError::Damaged)?;
            (Some(parent as u32), around.body_start, around.end)
        };
        let mut ahead = |from: u64| {
            let number = self.number()?;
            from.checked_add(number).filter(|&to| to <= limit).ok_or(RecordError::Damaged)
        };
        let header_start = ahead(base)?;
        let body_start = ahead(header_start)?;
        let end = ahead(body_start)?;
        let lines = self.number()?;
        let fields = self.octets()?;
        let mut check = Reader(fields);
        while check.field()?.is_some() {}
        let is_message = octet & IS_MESSAGE != 0;
        Ok(PartRef { kind, parent, is_message, header_start, body_start, end, lines, subtree_end: 0, fields })
    }
}
