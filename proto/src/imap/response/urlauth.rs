//! GENURLAUTH and URLFETCH responses (RFC 4467 §8, RFC 5524 §3.2).
//!
//! Of content, only the header of its literal is written here; the caller appends exactly so many
//! octets, flushing in between.

use super::super::command::Utf8;
use super::string::write_literal_header;
use super::write_string;

/// Appends GENURLAUTH.
pub fn write_genurlauth<'a>(out: &mut Vec<u8>, urls: impl IntoIterator<Item = &'a str>) {
    out.extend_from_slice(b"* GENURLAUTH");
    for url in urls {
        out.push(b' ');
        write_string(out, Utf8::Off, url.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// The response for one URL of URLFETCH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a response has to be ended"]
pub struct UrlFetchRow(());

impl UrlFetchRow {
    /// Appends the start, with the URL as the client wrote it.
    pub fn begin(out: &mut Vec<u8>, url: &str) -> Self {
        out.extend_from_slice(b"* URLFETCH ");
        write_string(out, Utf8::Off, url.as_bytes());
        Self(())
    }

    /// Appends the end.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
    }

    /// Appends NIL: the URL is not valid.
    pub fn nil(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b" NIL");
    }

    /// Appends ` {octets}`; the caller appends the octets.
    pub fn content(&self, out: &mut Vec<u8>, octets: u64) {
        out.push(b' ');
        write_literal_header(out, octets);
    }

    /// Appends ` (BODYPARTSTRUCTURE body)`, the body already encoded.
    pub fn structure(&self, out: &mut Vec<u8>, encoded: &[u8]) {
        out.extend_from_slice(b" (BODYPARTSTRUCTURE ");
        out.extend_from_slice(encoded);
        out.push(b')');
    }

    /// Appends ` (BODY {octets}`; the caller appends the octets and a parenthesis.
    pub fn body(&self, out: &mut Vec<u8>, octets: u64) {
        out.extend_from_slice(b" (BODY ");
        write_literal_header(out, octets);
    }

    /// Appends ` (BINARY ~{octets}`; the caller appends the octets and a parenthesis.
    pub fn binary(&self, out: &mut Vec<u8>, octets: u64) {
        out.extend_from_slice(b" (BINARY ~");
        write_literal_header(out, octets);
    }

    /// Appends ` (BINARY NIL)`: the encoding isn't known.
    pub fn binary_nil(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b" (BINARY NIL)");
    }
}
