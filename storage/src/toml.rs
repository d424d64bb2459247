//! Reading a text as TOML, whatever it is.

use std::ops::Range;
use std::panic::catch_unwind;

use toml_edit::Document;

/// A text that is no TOML.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadToml {
    /// The octets that are wrong, as far as that is known.
    pub at: Range<usize>,
    /// What is wrong.
    pub problem: String,
}

/// Reads a text. The library panics at some texts in which a key names both a value and a table; that is an
/// error like any other here.
pub fn parse(text: &str) -> Result<Document<&str>, BadToml> {
    match catch_unwind(|| Document::parse(text)) {
        Ok(Ok(document)) => Ok(document),
        Ok(Err(error)) => {
            Err(BadToml { at: error.span().unwrap_or(0..0), problem: error.message().trim_end().to_owned() })
        }
        Err(_) => {
            let problem = "this can't be read: are there keys with dots that contradict each other?";
            Err(BadToml { at: 0..0, problem: problem.to_owned() })
        }
    }
}
