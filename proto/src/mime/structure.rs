//! What the scanner found in a message.
//!
//! Parts are listed in the order in which their headers stand in the message, so a parent comes
//! before its children. Part 0 is the message itself. For every part holds
//! `header_start <= body_start <= end`, and the range of a child lies inside the body of its parent.

/// Fields whose values are kept. The number is the stored form: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "each variant is the field of that name")]
pub enum FieldName {
    Date = 1,
    Subject = 2,
    From = 3,
    Sender = 4,
    ReplyTo = 5,
    To = 6,
    Cc = 7,
    Bcc = 8,
    InReplyTo = 9,
    MessageId = 10,
    ContentType = 11,
    ContentDisposition = 12,
    ContentTransferEncoding = 13,
    ContentId = 14,
    ContentDescription = 15,
    ContentMd5 = 16,
    ContentLanguage = 17,
    ContentLocation = 18,
    References = 19,
}

impl FieldName {
    /// Every kept field with its name in lower case.
    pub const ALL: [(Self, &'static str); 19] = [
        (Self::Date, "date"),
        (Self::Subject, "subject"),
        (Self::From, "from"),
        (Self::Sender, "sender"),
        (Self::ReplyTo, "reply-to"),
        (Self::To, "to"),
        (Self::Cc, "cc"),
        (Self::Bcc, "bcc"),
        (Self::InReplyTo, "in-reply-to"),
        (Self::MessageId, "message-id"),
        (Self::ContentType, "content-type"),
        (Self::ContentDisposition, "content-disposition"),
        (Self::ContentTransferEncoding, "content-transfer-encoding"),
        (Self::ContentId, "content-id"),
        (Self::ContentDescription, "content-description"),
        (Self::ContentMd5, "content-md5"),
        (Self::ContentLanguage, "content-language"),
        (Self::ContentLocation, "content-location"),
        (Self::References, "references"),
    ];

    /// The field with this name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        // Length and first letter decide for nearly every other field of a message.
        let candidates: &[usize] = match (name.len(), name.first()?.to_ascii_lowercase()) {
            (4, b'd') => &[0],
            (7, b's') => &[1],
            (4, b'f') => &[2],
            (6, b's') => &[3],
            (8, b'r') => &[4],
            (2, b't') => &[5],
            (2, b'c') => &[6],
            (3, b'b') => &[7],
            (11, b'i') => &[8],
            (10, b'm') => &[9],
            (10, b'r') => &[18],
            (10, b'c') => &[13],
            (11, b'c') => &[15],
            (12, b'c') => &[10],
            (16, b'c') => &[16, 17],
            (19, b'c') => &[11, 14],
            (25, b'c') => &[12],
            _ => return None,
        };
        candidates
            .iter()
            .map(|&at| Self::ALL[at])
            .find_map(|(field, text)| name.eq_ignore_ascii_case(text.as_bytes()).then_some(field))
    }

    /// The field with this stored number.
    pub fn from_code(code: u8) -> Option<Self> {
        let at = usize::from(code).checked_sub(1)?;
        Self::ALL.get(at).map(|(field, _)| *field)
    }

    /// The stored number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether the field describes a message rather than a body part, and is in its envelope.
    pub const fn is_envelope(self) -> bool {
        (self as u8) <= Self::MessageId as u8
    }

    /// Whether the value is a list of addresses.
    pub const fn is_addresses(self) -> bool {
        matches!(self, Self::From | Self::Sender | Self::ReplyTo | Self::To | Self::Cc | Self::Bcc)
    }

    /// Whether the value ends in a list of parameters.
    pub const fn has_parameters(self) -> bool {
        matches!(self, Self::ContentType | Self::ContentDisposition)
    }
}

/// One kept field: its value unfolded (line breaks taken out), without surrounding white space,
/// otherwise as it stands in the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Which field.
    pub name: FieldName,
    /// The unfolded value.
    pub value: Vec<u8>,
}

/// How the body of a part is made up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Content without parts.
    Leaf,
    /// A multipart; it has one child or more.
    Multipart,
    /// A message; it has exactly one child, whose header is the header of that message.
    Message,
}

/// One part of a message. All offsets count octets from the start of the scanned message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// How the body is made up.
    pub kind: Kind,
    /// Index of the part around this one; none for the message itself.
    pub parent: Option<u32>,
    /// Whether the header is that of a message: part 0 and the child of a [`Kind::Message`].
    pub is_message: bool,
    /// Where the header starts.
    pub header_start: u64,
    /// Where the body starts: after the empty line.
    pub body_start: u64,
    /// Where the body ends. The line break before a delimiter belongs to the delimiter.
    pub end: u64,
    /// Line breaks in the body.
    pub lines: u64,
    /// The kept fields of the header, each name at most once, in the order of the names' numbers.
    pub fields: Vec<Field>,
}

impl Part {
    /// Octets of the body.
    pub fn body_octets(&self) -> u64 {
        self.end - self.body_start
    }

    /// The unfolded value of a kept field.
    pub fn field(&self, name: FieldName) -> Option<&[u8]> {
        self.fields.iter().find(|field| field.name == name).map(|field| field.value.as_slice())
    }
}

/// What the scanner found in a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Structure {
    /// Octets of the message.
    pub size: u64,
    /// The parts, the message itself first.
    pub parts: Vec<Part>,
    /// The unfolded References field of the message, for threading; that of messages inside it isn't kept.
    pub references: Option<Vec<u8>>,
}

impl Structure {
    /// The message itself.
    pub fn root(&self) -> &Part {
        &self.parts[0]
    }
}
