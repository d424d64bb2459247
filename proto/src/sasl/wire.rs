//! How SMTP (RFC 4954 §4) and IMAP (RFC 9051 §6.2.2) write an exchange on the line: base64, `=` for
//! an initial response of no octets, `*` for "I give up".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Limits;
use super::exchange::FailureKind;

/// Decodes a line that the client sent in answer to a challenge, without its CRLF.
pub fn decode_response(line: &[u8], limits: &Limits) -> Result<Vec<u8>, FailureKind> {
    if line == b"*" {
        return Err(FailureKind::Aborted);
    }
    decode(line, limits)
}

/// Decodes an initial response, the argument after the mechanism's name.
pub fn decode_initial(argument: &[u8], limits: &Limits) -> Result<Vec<u8>, FailureKind> {
    if argument == b"=" {
        return Ok(Vec::new());
    }
    if argument.is_empty() {
        return Err(FailureKind::BadBase64);
    }
    decode(argument, limits)
}

/// Encodes a challenge (or, for clients, a response).
pub fn encode(message: &[u8]) -> String {
    STANDARD.encode(message)
}

fn decode(text: &[u8], limits: &Limits) -> Result<Vec<u8>, FailureKind> {
    // Checked before decoding, so that a megabyte of input costs nothing.
    if text.len() > limits.message_octets_max.div_ceil(3) * 4 {
        return Err(FailureKind::TooLong);
    }
    STANDARD.decode(text).map_err(|_| FailureKind::BadBase64)
}
