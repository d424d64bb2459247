//! Exit codes of sysexits.h, which callers of `sendmail` know, with what is said along.

use std::fmt;

/// Why it failed, as a number for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// The words make no sense.
    Usage = 64,
    /// The message makes no sense, or is too large.
    Data = 65,
    /// A recipient doesn't exist, says the server.
    NoUser = 67,
    /// The server's name isn't known.
    NoHost = 68,
    /// The server refused.
    Unavailable = 69,
    /// Something of this machine can't be read or written.
    Io = 74,
    /// Try again later.
    Temporary = 75,
    /// The server doesn't keep to the protocol.
    Protocol = 76,
    /// The server doesn't let us in, or the caller may not do this.
    NoPermission = 77,
    /// The configuration makes no sense.
    Config = 78,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// For programs.
    pub code: Code,
    /// For people.
    pub text: String,
}

impl Failed {
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Something of this machine can't be read or written.
    pub fn io(what: &str, error: &std::io::Error) -> Self {
        Self::new(Code::Io, format!("{what}: {error}"))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
