//! Command lines (RFC 5321 §4.1) and their parameters, as typed commands.
//!
//! Always holds: a command that parsed is complete and valid by itself; whether it is allowed now is the
//! session's to decide. Parameters: RFC 1870 (SIZE), RFC 6152 and RFC 3030 (BODY, BDAT), RFC 6531
//! (SMTPUTF8), RFC 8689 (REQUIRETLS), RFC 4954 (AUTH), RFC 3461 (RET, ENVID, NOTIFY, ORCPT), RFC 4865
//! (HOLDFOR, HOLDUNTIL).

mod parameters;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Envelope, Reply};
use crate::address::{AddressError, ForwardPath, HeloName, ReversePath, path_length};
use crate::smtp::envelope::Recipient;

/// Octets of an authentication exchange. They may hold a password, so they print as a placeholder.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslOctets(pub Vec<u8>);

impl fmt::Debug for SaslOctets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaslOctets(secret)")
    }
}

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// EHLO
    Ehlo(HeloName),
    /// HELO
    Helo(HeloName),
    /// STARTTLS
    StartTls,
    /// AUTH
    Auth {
        /// Name of the mechanism, in upper case.
        mechanism: Box<str>,
        /// The initial response, decoded.
        initial_response: Option<SaslOctets>,
    },
    /// MAIL
    Mail(Mail),
    /// RCPT
    Rcpt(Rcpt),
    /// DATA
    Data,
    /// BDAT
    Bdat(Chunk),
    /// RSET
    Rset,
    /// VRFY
    Vrfy,
    /// EXPN
    Expn,
    /// HELP
    Help,
    /// NOOP
    Noop,
    /// QUIT
    Quit,
}

/// MAIL with its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mail {
    /// The envelope that it begins.
    pub envelope: Box<Envelope>,
    /// What the path was written with.
    pub spelling: Spelling,
}

/// RCPT with its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rcpt {
    /// The recipient, its token not set yet.
    pub recipient: Recipient,
    /// What the path was written with.
    pub spelling: Spelling,
}

/// The characters that a path was written with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spelling {
    /// ASCII only.
    Ascii,
    /// Others too, which needs SMTPUTF8 (RFC 6531 §3.4).
    Utf8,
}

/// BDAT's arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Octets that follow the command line.
    pub octets: u64,
    /// Whether the message ends with it.
    pub last: bool,
}

/// Why a line is no command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// The verb is not known.
    Unknown,
    /// Not UTF-8, or control characters: perhaps not SMTP at all.
    Garbage(Reply),
    /// A known verb with wrong arguments.
    Refused(Reply),
    /// BDAT with wrong arguments: nobody knows how much content follows, so the transaction is lost.
    BadChunk,
}

impl CommandError {
    /// What to answer.
    pub fn reply(self) -> Reply {
        match self {
            Self::Unknown => Reply::UNKNOWN_COMMAND,
            Self::Garbage(reply) | Self::Refused(reply) => reply,
            Self::BadChunk => Reply::BAD_CHUNK,
        }
    }
}

impl Command {
    /// Parses a line without its line break. Verbs and keywords in any case; spaces at the end are
    /// tolerated.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let line = std::str::from_utf8(line).map_err(|_| CommandError::Garbage(Reply::NOT_UTF8))?;
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(CommandError::Garbage(Reply::SYNTAX));
        }
        let line = line.trim_end_matches([' ', '\t']);
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let mut upper = [0; 8];
        let upper = upper.get_mut(..verb.len()).ok_or(CommandError::Unknown)?;
        upper.copy_from_slice(verb.as_bytes());
        upper.make_ascii_uppercase();
        match &*upper {
            b"EHLO" => Ok(Self::Ehlo(helo(argument)?)),
            b"HELO" => Ok(Self::Helo(helo(argument)?)),
            b"STARTTLS" => bare(argument, Self::StartTls),
            b"AUTH" => auth(argument),
            b"MAIL" => mail(argument).map(Self::Mail).map_err(CommandError::Refused),
            b"RCPT" => rcpt(argument).map(Self::Rcpt).map_err(CommandError::Refused),
            b"DATA" => bare(argument, Self::Data),
            b"BDAT" => chunk(argument).map(Self::Bdat).ok_or(CommandError::BadChunk),
            b"RSET" => bare(argument, Self::Rset),
            b"VRFY" => verify(argument, Self::Vrfy),
            b"EXPN" => verify(argument, Self::Expn),
            b"HELP" => Ok(Self::Help),
            b"NOOP" => Ok(Self::Noop),
            b"QUIT" => bare(argument, Self::Quit),
            _ => Err(CommandError::Unknown),
        }
    }
}

fn bare(argument: &str, command: Command) -> Result<Command, CommandError> {
    if argument.is_empty() { Ok(command) } else { Err(CommandError::Refused(Reply::NO_ARGUMENT)) }
}

fn helo(argument: &str) -> Result<HeloName, CommandError> {
    HeloName::parse(argument.trim_start_matches(' ')).map_err(|_| CommandError::Refused(Reply::BAD_HELO))
}

/// VRFY and EXPN need something to look at; UTF-8 only when they say so (RFC 6531 §3.7.4.2).
fn verify(argument: &str, command: Command) -> Result<Command, CommandError> {
    if argument.is_empty() {
        return Err(CommandError::Refused(Reply::SYNTAX));
    }
    let says_utf8 = argument.rsplit(' ').next().is_some_and(|word| word.eq_ignore_ascii_case("SMTPUTF8"));
    if argument.is_ascii() || says_utf8 {
        return Ok(command);
    }
    Err(CommandError::Refused(Reply::RECIPIENT_NEEDS_UTF8))
}

fn auth(argument: &str) -> Result<Command, CommandError> {
    let (name, initial) = match argument.split_once(' ') {
        Some((name, initial)) => (name, Some(initial)),
        None => (argument, None),
    };
    // sasl-mech = 1*20mech-char (RFC 4422 §3.1).
    let mechanism_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !(1..=20).contains(&name.len()) || !name.bytes().all(mechanism_char) {
        return Err(CommandError::Refused(Reply::SYNTAX));
    }
    let initial_response = match initial {
        None => None,
        // An empty initial response is a single "=" (RFC 4954 §4).
        Some("=") => Some(SaslOctets(Vec::new())),
        Some(text) => Some(decode_sasl(text.as_bytes()).map_err(CommandError::Refused)?),
    };
    Ok(Command::Auth { mechanism: name.to_ascii_uppercase().into(), initial_response })
}

/// Decodes a line of an authentication exchange; `*` aborts it.
pub(super) fn decode_sasl(line: &[u8]) -> Result<SaslOctets, Reply> {
    if line == b"*" {
        return Err(Reply::AUTH_ABORTED);
    }
    BASE64.decode(line).map(SaslOctets).map_err(|_| Reply::BAD_BASE64)
}

/// Encodes a challenge.
pub(super) fn encode_sasl(octets: &[u8]) -> String {
    BASE64.encode(octets)
}

fn chunk(argument: &str) -> Option<Chunk> {
    let (size, last) = match argument.split_once(' ') {
        None => (argument, false),
        Some((size, last)) if last.trim_start_matches(' ').eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return None,
    };
    parameters::digits(size, 20).map(|octets| Chunk { octets, last })
}

/// Cuts `FROM:<path> parameters` into path and parameters.
fn split_path<'a>(argument: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let start = argument.get(..word.len())?;
    if !start.eq_ignore_ascii_case(word) {
        return None;
    }
    // A space before the path breaks the grammar, but old clients send it.
    let rest = argument[word.len()..].trim_start_matches(' ');
    let (path, parameters) = rest.split_at(path_length(rest).ok()?);
    if parameters.is_empty() || parameters.starts_with(' ') { Some((path, parameters)) } else { None }
}

fn spelling(path: &str) -> Spelling {
    if path.is_ascii() { Spelling::Ascii } else { Spelling::Utf8 }
}

fn mail(argument: &str) -> Result<Mail, Reply> {
    let (path, rest) = split_path(argument, "FROM:")
        .ok_or_else(|| Reply::SYNTAX.with_text("syntax: MAIL FROM:<address>, brackets included"))?;
    let reverse_path = ReversePath::parse(path).map_err(|error| match error {
        AddressError::LiteralRefused => Reply::LITERAL_SENDER,
        _ => Reply::BAD_SENDER.with_text(format!("bad sender address: {error}")),
    })?;
    let mut envelope = Envelope::new(reverse_path);
    parameters::mail(rest, &mut envelope)?;
    Ok(Mail { envelope: Box::new(envelope), spelling: spelling(path) })
}

fn rcpt(argument: &str) -> Result<Rcpt, Reply> {
    let (path, rest) = split_path(argument, "TO:")
        .ok_or_else(|| Reply::SYNTAX.with_text("syntax: RCPT TO:<address>, brackets included"))?;
    let forward_path = ForwardPath::parse(path)
        .map_err(|error| Reply::BAD_RECIPIENT.with_text(format!("bad recipient address: {error}")))?;
    let mut recipient = Recipient { path: forward_path, notify: None, original: None, token: 0 };
    parameters::rcpt(rest, &mut recipient)?;
    Ok(Rcpt { recipient, spelling: spelling(path) })
}
