//! Does what the survey found, while the content goes by once more.

use super::encode::Encoder;
use super::{Edit, Plan, What};

/// Rewrites a message piece by piece. It must be the octets that were surveyed.
#[derive(Debug)]
pub struct Converter {
    edits: std::vec::IntoIter<Edit>,
    /// The edit that is next or under way.
    current: Option<Edit>,
    encoder: Option<Encoder>,
    /// Octets before what is pushed next.
    offset: u64,
    /// Whether what was written last ends a line.
    ends_line: bool,
}

impl Converter {
    /// One at the start of the message.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let mut edits = plan.edits.into_iter();
        let current = edits.next();
        Self { edits, current, encoder: None, offset: 0, ends_line: true }
    }

    /// Takes the next octets and appends what stands in their place.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        self.convert(data, out);
        if out.len() > before {
            self.ends_line = out.ends_with(b"\n");
        }
    }

    fn convert(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        while !data.is_empty() {
            self.apply_empty(out);
            let Some(edit) = &self.current else {
                out.extend_from_slice(data);
                self.offset += data.len() as u64;
                return;
            };
            let is_before = self.offset < edit.start;
            let until = if is_before { edit.start } else { edit.end };
            let octets = usize::try_from(until - self.offset).unwrap_or(usize::MAX).min(data.len());
            let (piece, rest) = data.split_at(octets);
            match &edit.what {
                _ if is_before => out.extend_from_slice(piece),
                What::Replace(_) => {}
                What::Mask => {
                    out.extend(piece.iter().map(|octet| if octet.is_ascii() { *octet } else { b'?' }))
                }
                What::Encode(encoding) => {
                    self.encoder.get_or_insert_with(|| Encoder::new(*encoding)).push(piece, out);
                }
            }
            self.offset += piece.len() as u64;
            data = rest;
            if !is_before && self.offset == edit.end {
                self.end_edit(out);
            }
        }
    }

    /// Ends the message.
    pub fn finish(self, out: &mut Vec<u8>) {
        // Base64 that ends the message has no line end of its own.
        if !self.ends_line {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Does what stands at this place and takes no octets away.
    fn apply_empty(&mut self, out: &mut Vec<u8>) {
        while self.current.as_ref().is_some_and(|edit| edit.start == self.offset && edit.end == edit.start) {
            self.end_edit(out);
        }
    }

    fn end_edit(&mut self, out: &mut Vec<u8>) {
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(out);
        }
        if let Some(Edit { what: What::Replace(octets), .. }) = self.current.take() {
            out.extend_from_slice(&octets);
        }
        self.current = self.edits.next();
    }
}
