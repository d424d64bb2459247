//! `postrider.toml`: what needs a restart to change.
//!
//! Read in two steps. `raw` takes the file as it is written and keeps where each value stands;
//! `resolve` fills in defaults and checks that the parts fit together. Both collect every problem
//! before they give up, so that one run tells everything that is to be mended. The result is a
//! [`Config`], which can only hold what passed.

mod checks;
mod delivery;
mod limits;
mod localserve;
mod model;
mod problem;
mod raw;
mod reports;
mod resolve;
mod section;
mod webhooks;

use std::path::{Path, PathBuf};

use postrider_storage::toml;

pub use checks::{Checks, Consequence};
pub use delivery::Delivery;
pub use limits::{
    AuthenticationLimits, Classes, ConnectionLimits, DeliveryLimits, ImapLimits, Limits, SmtpLimits,
};
pub use localserve::{ACCOUNT, ADDRESS, PASSWORD};
pub use model::{
    AccountDefaults, CertificateFiles, Certificates, Config, Dns, DnsUpstreams, HostName, InitialMailbox,
    Listener, Log, Mode, Network, Passwords, Postmaster, Protocol, RunAs, Search, SendingLimits, SpecialUse,
    Storage, Switch, TextIndex, Tls, TlsMode, TlsVersion,
};
pub use problem::{ConfigError, Problem};
pub use reports::Reports;
pub use resolve::Files;
pub use section::{parse_duration, parse_octets};
pub use webhooks::Webhooks;

use problem::Problems;
use section::Section;

/// A configuration file with everything that can be set, at its default, and explained.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Octets of a configuration file; nobody writes more.
pub const FILE_OCTETS_MAX: u64 = 1 << 20;

impl Config {
    /// Reads and checks a file, and the files that it names. Relative paths in it start at its
    /// directory.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |what: String, advice: &str| ConfigError {
            file: file.to_owned(),
            problems: vec![Problem { line: None, column: 1, what, advice: advice.to_owned() }],
        };
        let text = read_bounded(file).map_err(|error| {
            let advice =
                "Check the path, or write a first one with: postrider config example > postrider.toml";
            unreadable(format!("can't read the configuration: {error}"), advice)
        })?;
        let text = String::from_utf8(text)
            .map_err(|_| unreadable("the configuration is not in UTF-8".to_owned(), "Save it as UTF-8"))?;
        // `.` stands for the directory of a file that was named without one.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Self::parse(&text, &file, Files::Check)
    }

    /// Parses and checks the text of `file`.
    pub fn parse(text: &str, file: &Path, files: Files) -> Result<Self, ConfigError> {
        let problems = Problems::new(text);
        let document = match toml::parse(text) {
            Ok(document) => document,
            Err(bad) => {
                let what = format!("this is not TOML: {}", bad.problem);
                problems.add(&Some(bad.at), what, "See https://toml.io for how it is written");
                return Err(problems
                    .error(file)
                    .unwrap_or(ConfigError { file: file.to_owned(), problems: Vec::new() }));
            }
        };
        let raw = raw::read(Section::root(document.as_table(), &problems));
        let base = file.parent().map_or_else(PathBuf::new, Path::to_owned);
        let config = resolve::resolve(raw, &base, files, &problems);
        match problems.error(file) {
            Some(error) => Err(error),
            None => Ok(config),
        }
    }
}

fn read_bounded(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(FILE_OCTETS_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_OCTETS_MAX {
        return Err(std::io::Error::other(format!("it is longer than {FILE_OCTETS_MAX} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
