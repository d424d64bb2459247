//! The client's messages of SCRAM (RFC 5802 §7), parsed strictly: attributes in the order of the
//! grammar, unknown optional extensions passed over, mandatory ones refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::sasl::exchange::FailureKind;

/// What the client says of channel binding (RFC 5802 §7, `gs2-cbind-flag`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sasl) enum BindingFlag<'a> {
    /// `n`: it cannot.
    Incapable,
    /// `y`: it could, and thinks that the server cannot.
    Unannounced,
    /// `p=name`: it does, with this type.
    Used(&'a str),
}

/// `client-first-message`.
#[derive(Debug)]
pub(in crate::sasl) struct ClientFirst<'a> {
    pub(in crate::sasl) flag: BindingFlag<'a>,
    /// Empty when not given.
    pub(in crate::sasl) authzid: String,
    /// Flag and authorization identity with their commas, as written.
    pub(in crate::sasl) gs2_header: &'a str,
    pub(in crate::sasl) username: String,
    pub(in crate::sasl) nonce: &'a str,
    /// What follows the header, as written: it is part of what is signed.
    pub(in crate::sasl) bare: &'a str,
}

/// `client-final-message`.
#[derive(Debug)]
pub(in crate::sasl) struct ClientFinal<'a> {
    /// Decoded: the header and the channel's data.
    pub(in crate::sasl) binding: Vec<u8>,
    pub(in crate::sasl) nonce: &'a str,
    pub(in crate::sasl) proof: Vec<u8>,
    /// As written, for what is signed.
    pub(in crate::sasl) without_proof: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub(in crate::sasl) fn parse(message: &'a [u8]) -> Result<Self, FailureKind> {
        let text = readable(message)?;
        let (flag_text, rest) = text.split_once(',').ok_or(FailureKind::BadSyntax)?;
        let (authzid_text, bare) = rest.split_once(',').ok_or(FailureKind::BadSyntax)?;
        let flag = match flag_text {
            "n" => BindingFlag::Incapable,
            "y" => BindingFlag::Unannounced,
            _ => BindingFlag::Used(binding_name(attribute(flag_text, "p=")?)?),
        };
        let authzid = match authzid_text {
            "" => String::new(),
            _ => unescape_name(attribute(authzid_text, "a=")?)?,
        };
        let gs2_header = &text[..text.len() - bare.len()];
        let mut parts = bare.split(',');
        let mut next = parts.next().unwrap_or_default();
        if next.starts_with("m=") {
            // RFC 5802 §5.1: a mandatory extension that is not understood fails the exchange.
            return Err(FailureKind::Unsupported);
        }
        let username = unescape_name(attribute(next, "n=")?)?;
        next = parts.next().unwrap_or_default();
        let nonce = nonce(attribute(next, "r=")?)?;
        parts.try_for_each(extension)?;
        Ok(Self { flag, authzid, gs2_header, username, nonce, bare })
    }
}

impl<'a> ClientFinal<'a> {
    pub(in crate::sasl) fn parse(message: &'a [u8]) -> Result<Self, FailureKind> {
        let text = readable(message)?;
        let (without_proof, last) = text.rsplit_once(',').ok_or(FailureKind::BadSyntax)?;
        let proof = base64(attribute(last, "p=")?)?;
        let mut parts = without_proof.split(',');
        let binding = base64(attribute(parts.next().unwrap_or_default(), "c=")?)?;
        let nonce = nonce(attribute(parts.next().unwrap_or_default(), "r=")?)?;
        parts.try_for_each(extension)?;
        Ok(Self { binding, nonce, proof, without_proof })
    }
}

/// Writes a name as `saslname`: `=` and `,` escaped.
pub(in crate::sasl) fn escape_name(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Reads a `saslname`; any `=` but in `=2C` and `=3D` is an error (RFC 5802 §5.1).
fn unescape_name(text: &str) -> Result<String, FailureKind> {
    let mut pieces = text.split('=');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (escaped, rest) = if let Some(rest) = piece.strip_prefix("2C") {
            (',', rest)
        } else if let Some(rest) = piece.strip_prefix("3D") {
            ('=', rest)
        } else {
            return Err(FailureKind::BadSyntax);
        };
        name.push(escaped);
        name.push_str(rest);
    }
    if name.is_empty() { Err(FailureKind::BadSyntax) } else { Ok(name) }
}

/// UTF-8 without NUL: nothing in the grammar may hold one.
fn readable(message: &[u8]) -> Result<&str, FailureKind> {
    let text = str::from_utf8(message).map_err(|_| FailureKind::BadSyntax)?;
    if text.contains('\0') { Err(FailureKind::BadSyntax) } else { Ok(text) }
}

fn attribute<'a>(part: &'a str, name: &str) -> Result<&'a str, FailureKind> {
    part.strip_prefix(name).ok_or(FailureKind::BadSyntax)
}

/// `cb-name = 1*(ALPHA / DIGIT / "." / "-")`
fn binding_name(text: &str) -> Result<&str, FailureKind> {
    let valid = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
    if !text.is_empty() && text.bytes().all(valid) { Ok(text) } else { Err(FailureKind::BadSyntax) }
}

/// `1*(%x21-2B / %x2D-7E)`; the comma is gone already.
fn nonce(text: &str) -> Result<&str, FailureKind> {
    if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic()) {
        Ok(text)
    } else {
        Err(FailureKind::BadSyntax)
    }
}

/// `attr-val = ALPHA "=" value`, an optional extension to pass over.
fn extension(part: &str) -> Result<(), FailureKind> {
    let mut octets = part.bytes();
    let named = octets.next().is_some_and(|octet| octet.is_ascii_alphabetic());
    let valued = octets.next() == Some(b'=') && octets.next().is_some();
    if named && valued { Ok(()) } else { Err(FailureKind::BadSyntax) }
}

fn base64(text: &str) -> Result<Vec<u8>, FailureKind> {
    STANDARD.decode(text).map_err(|_| FailureKind::BadSyntax)
}
