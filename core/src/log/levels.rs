//! Which lines are written: a level for everything, and others for single modules.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// The modules whose level can be set by a short name.
pub const MODULES: [&str; 16] = [
    "accounts",
    "admission",
    "auth",
    "config",
    "control",
    "dns",
    "imap",
    "log",
    "metrics",
    "queue",
    "runtime",
    "server",
    "smtp",
    "storage",
    "tls",
    "transfer",
];

/// How much is said.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Nothing.
    Off,
    /// What the operator must act on.
    Error,
    /// What the operator should know.
    Warn,
    /// What happened: a line or two for each connection and message.
    #[default]
    Info,
    /// Why it happened.
    Debug,
    /// What went over the wire, passwords and content included.
    Trace,
}

impl Level {
    /// Every level, quietest first.
    pub const ALL: [Self; 6] = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The name, as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A level or module that doesn't exist.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LevelsError {
    /// No such level.
    #[error("there is no log level {0:?}; the levels are off, error, warn, info, debug and trace")]
    NoSuchLevel(String),
    /// No such module.
    #[error(
        "there is no module {0:?} to log; the modules are {modules}, or the path of a Rust module such as \
         postrider_core::smtp",
        modules = MODULES.join(", ")
    )]
    NoSuchModule(String),
}

impl FromStr for Level {
    type Err = LevelsError;

    fn from_str(text: &str) -> Result<Self, LevelsError> {
        let found = Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| LevelsError::NoSuchLevel(text.to_owned()))
    }
}

/// The level of everything, and those of single modules.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Levels {
    default: Level,
    modules: BTreeMap<String, Level>,
}

impl Levels {
    /// One level for everything.
    pub fn new(default: Level) -> Self {
        Self { default, modules: BTreeMap::new() }
    }

    /// The level of modules that have none of their own.
    pub fn default_level(&self) -> Level {
        self.default
    }

    /// The modules that have a level of their own.
    pub fn modules(&self) -> impl Iterator<Item = (&str, Level)> {
        self.modules.iter().map(|(module, level)| (module.as_str(), *level))
    }

    /// Sets the level of modules that have none of their own.
    pub fn set_default(&mut self, level: Level) {
        self.default = level;
    }

    /// Sets the level of a module, or with `None` gives it the default again.
    pub fn set_module(&mut self, module: &str, level: Option<Level>) -> Result<(), LevelsError> {
        if !(MODULES.contains(&module) || module.contains("::") || module.starts_with("postrider")) {
            return Err(LevelsError::NoSuchModule(module.to_owned()));
        }
        match level {
            Some(level) => self.modules.insert(module.to_owned(), level),
            None => self.modules.remove(module),
        };
        Ok(())
    }

    /// The levels by the path of the code that logs.
    pub(super) fn targets(&self) -> Targets {
        // Dependencies tell of themselves at `warn`, unless everything is quieter than that.
        let others = self.default.min(Level::Warn);
        let mut targets = Targets::new().with_default(others.filter());
        targets = targets.with_target("postrider", self.default.filter());
        for (module, level) in &self.modules {
            for path in paths(module) {
                targets = targets.with_target(path, level.filter());
            }
        }
        targets
    }
}

/// The paths that a module's name stands for.
fn paths(module: &str) -> Vec<String> {
    if module.contains("::") || module.starts_with("postrider") {
        return vec![module.to_owned()];
    }
    ["postrider_core::", "postrider_proto::", "postrider_"]
        .iter()
        .map(|start| format!("{start}{module}"))
        .collect()
}

/// The short name of the module with this path: `postrider_core::smtp::driver` is `smtp`.
pub(super) fn short_name(path: &str) -> &str {
    let inner = ["postrider_core::", "postrider_proto::", "postrider_"]
        .iter()
        .find_map(|start| path.strip_prefix(start))
        .unwrap_or(path);
    inner.split("::").next().unwrap_or(inner)
}
