//! BODY and BODYSTRUCTURE (RFC 9051 §7.5.2 and §9 `body`).
//!
//! Types, encodings and parameters are sent as they were written, defaults of RFC 2045 filled in.
//! A part of type multipart or message/rfc822 that is described as a leaf (encoded, nested too
//! deep) is sent as application/octet-stream: the grammar has no form for it.

use super::super::parameter::{self, MediaType, is_multipart_without_boundary, leading_token};
use super::super::record::{PartRef, StructureRef};
use super::super::{FieldName, Kind, Limits};
use super::envelope::envelope;
use super::string::{ClientText, string, text};

/// Appends BODY: the structure without extension data.
pub fn body(out: &mut Vec<u8>, structure: &StructureRef<'_>, client: ClientText) {
    Writer { out, structure, client, is_extended: false }.part(0);
}

/// Appends the structure of the part with this index, without extension data (RFC 5524 §3.2).
pub fn body_of_part(out: &mut Vec<u8>, structure: &StructureRef<'_>, index: usize, client: ClientText) {
    Writer { out, structure, client, is_extended: false }.part(index);
}

/// Appends BODYSTRUCTURE: the structure with extension data.
pub fn body_structure(out: &mut Vec<u8>, structure: &StructureRef<'_>, client: ClientText) {
    Writer { out, structure, client, is_extended: true }.part(0);
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    structure: &'a StructureRef<'a>,
    client: ClientText,
    is_extended: bool,
}

impl<'a> Writer<'a> {
    /// The scanner bounds the depth of parts, and so that of the calls; a damaged record could
    /// nest deeper, so there is a bound here too.
    fn part(&mut self, root: usize) {
        self.part_at_depth(root, 0);
    }

    fn part_at_depth(&mut self, index: usize, depth: usize) {
        let structure = self.structure;
        let part = &structure.parts()[index];
        let is_leaf = part.kind == Kind::Leaf || depth >= Limits::DEFAULT.depth_max;
        self.out.push(b'(');
        if part.kind == Kind::Multipart && !is_leaf {
            self.multipart(index, part, depth);
        } else {
            let child = structure.children(index).next().filter(|_| !is_leaf);
            self.single(part, child, depth);
        }
        self.out.push(b')');
    }

    fn multipart(&mut self, index: usize, part: &PartRef<'a>, depth: usize) {
        let structure = self.structure;
        for child in structure.children(index) {
            self.part_at_depth(child, depth + 1);
        }
        let media = part.field(FieldName::ContentType).and_then(MediaType::parse);
        self.out.push(b' ');
        self.string(media.map_or(b"mixed", |media| media.subtype));
        if self.is_extended {
            self.out.push(b' ');
            self.parameters(media.map_or(b"", |media| media.rest), None);
            self.disposition(part);
        }
    }

    fn single(&mut self, part: &PartRef<'a>, child: Option<usize>, depth: usize) {
        let written = part.field(FieldName::ContentType);
        let media = self.media_of(part, written, child);
        self.string(media.kind);
        self.out.push(b' ');
        self.string(media.subtype);
        self.out.push(b' ');
        // RFC 2046 §4.1.2: text without a charset is US-ASCII.
        self.parameters(media.rest, media.is_kind("text").then_some("charset"));
        self.out.push(b' ');
        text(self.out, part.field(FieldName::ContentId), self.client);
        self.out.push(b' ');
        text(self.out, part.field(FieldName::ContentDescription), self.client);
        self.out.push(b' ');
        let encoding =
            part.field(FieldName::ContentTransferEncoding).map_or(&b""[..], |value| leading_token(value).0);
        self.string(if encoding.is_empty() { b"7bit" } else { encoding });
        self.number(part.body_octets());
        if let Some(child) = child {
            self.out.push(b' ');
            envelope(self.out, &self.structure.parts()[child], self.client);
            self.out.push(b' ');
            self.part_at_depth(child, depth + 1);
            self.number(part.lines);
        } else if media.is_kind("text") {
            self.number(part.lines);
        }
        if self.is_extended {
            self.out.push(b' ');
            text(self.out, part.field(FieldName::ContentMd5), self.client);
            self.disposition(part);
        }
    }

    /// The media type to send for a part that is no multipart.
    fn media_of(&self, part: &PartRef<'a>, written: Option<&'a [u8]>, child: Option<usize>) -> MediaType<'a> {
        const TEXT: MediaType<'static> = MediaType { kind: b"text", subtype: b"plain", rest: b"" };
        const MESSAGE: MediaType<'static> = MediaType { kind: b"message", subtype: b"rfc822", rest: b"" };
        let Some(value) = written else {
            return if part.kind == Kind::Message && child.is_some() { MESSAGE } else { TEXT };
        };
        // RFC 2045 §5.2: a type that cannot be read is text. So is a multipart without its boundary.
        let Some(media) = MediaType::parse(value).filter(|media| !is_multipart_without_boundary(media))
        else {
            return TEXT;
        };
        let needs_child =
            media.is_kind("multipart") || media.is("message", "rfc822") || media.is("message", "global");
        if needs_child && child.is_none() {
            return MediaType { kind: b"application", subtype: b"octet-stream", rest: media.rest };
        }
        media
    }

    /// Disposition, languages and location.
    fn disposition(&mut self, part: &PartRef<'a>) {
        self.out.push(b' ');
        match part.field(FieldName::ContentDisposition).map(leading_token) {
            Some((kind, rest)) if !kind.is_empty() => {
                self.out.push(b'(');
                self.string(kind);
                self.out.push(b' ');
                self.parameters(rest, None);
                self.out.push(b')');
            }
            _ => self.out.extend_from_slice(b"NIL"),
        }
        self.out.push(b' ');
        self.languages(part.field(FieldName::ContentLanguage).unwrap_or_default());
        self.out.push(b' ');
        text(self.out, part.field(FieldName::ContentLocation), self.client);
    }

    fn languages(&mut self, value: &[u8]) {
        let tags = value.split(|byte| *byte == b',').map(|tag| leading_token(tag).0);
        let mut is_first = true;
        for tag in tags.filter(|tag| !tag.is_empty()) {
            self.out.push(if is_first { b'(' } else { b' ' });
            self.string(tag);
            is_first = false;
        }
        self.out.extend_from_slice(if is_first { b"NIL" } else { b")" });
    }

    /// Parameters in parentheses; `default` is given as US-ASCII when it is not among them.
    fn parameters(&mut self, rest: &[u8], default: Option<&str>) {
        let mut parameters = parameter::joined(rest, Limits::DEFAULT.parameters_max);
        let has = |name: &str| {
            parameters.iter().any(|(found, _)| {
                found.strip_suffix(b"*").unwrap_or(found).eq_ignore_ascii_case(name.as_bytes())
            })
        };
        if let Some(name) = default
            && !has(name)
        {
            parameters.push((name.as_bytes().to_vec(), b"us-ascii".to_vec()));
        }
        if parameters.is_empty() {
            self.out.extend_from_slice(b"NIL");
            return;
        }
        for (at, (name, value)) in parameters.iter_mut().enumerate() {
            self.out.push(if at == 0 { b'(' } else { b' ' });
            if self.client == ClientText::SevenBit && !value.is_ascii() {
                extend_value(name, value);
            }
            self.string(name);
            self.out.push(b' ');
            self.string(value);
        }
        self.out.push(b')');
    }

    fn number(&mut self, number: u64) {
        self.out.extend_from_slice(format!(" {number}").as_bytes());
    }

    fn string(&mut self, value: &[u8]) {
        string(self.out, value, self.client);
    }
}

/// Makes a parameter value with octets above 127 an extended one (RFC 2231 §4).
fn extend_value(name: &mut Vec<u8>, value: &mut Vec<u8>) {
    let mut extended = Vec::new();
    if name.ends_with(b"*") {
        // Already extended, though wrongly: what is there stays, the rest is encoded.
        for byte in &*value {
            match byte {
                byte if byte.is_ascii() => extended.push(*byte),
                byte => parameter::percent_encode(&[*byte], &mut extended),
            }
        }
    } else {
        name.push(b'*');
        let charset: &[u8] = if std::str::from_utf8(value).is_ok() { b"utf-8''" } else { b"unknown-8bit''" };
        extended.extend_from_slice(charset);
        parameter::percent_encode(value, &mut extended);
    }
    *value = extended;
}
