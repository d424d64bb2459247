//! How a line looks.
//!
//! Text: `2026-11-22T20:09:00.123Z info smtp: message accepted cid=6443e1a40 size=10240`. Values
//! with spaces, quotes or control characters are quoted as JSON strings, so that nothing that a
//! peer sends can forge a line or a field. JSON: one object in a line with the same parts.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::levels::short_name;
use super::writer::Sender;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Octets of one line; longer ones are cut.
pub(super) const LINE_OCTETS_MAX: usize = 16 << 10;

pub(super) struct Lines {
    format: Format,
    sender: Sender,
}

impl Lines {
    pub(super) fn new(format: Format, sender: Sender) -> Self {
        Self { format, sender }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields { format: self.format, message: String::new(), rest: String::new() };
        event.record(&mut fields);
        let line = fields.line(event.metadata(), Timestamp::now());
        self.sender.line(*event.metadata().level(), line);
    }
}

/// Collects the fields of one line.
struct Fields {
    format: Format,
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
            return;
        }
        match self.format {
            Format::Text => {
                let _ = write!(self.rest, " {}=", field.name());
                if needs_quotes(value) { push_json(&mut self.rest, value) } else { self.rest.push_str(value) }
            }
            Format::Json => {
                self.key(field);
                push_json(&mut self.rest, value);
            }
        }
    }

    fn add_plain(&mut self, field: &Field, value: impl fmt::Display) {
        match self.format {
            Format::Text => self.rest.push_str(&format!(" {}={value}", field.name())),
            Format::Json => {
                self.key(field);
                let _ = write!(self.rest, "{value}");
            }
        }
    }

    fn key(&mut self, field: &Field) {
        self.rest.push(',');
        push_json(&mut self.rest, field.name());
        self.rest.push(':');
    }

    fn line(mut self, metadata: &Metadata<'_>, time: Timestamp) -> Vec<u8> {
        let level = match *metadata.level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        let module = short_name(metadata.target());
        let mut line = Vec::with_capacity(128);
        truncate(&mut self.message, LINE_OCTETS_MAX / 2);
        let written = match self.format {
            Format::Text => {
                truncate(&mut self.rest, LINE_OCTETS_MAX / 2);
                let message = self.message.replace(|c: char| c.is_control(), "\u{fffd}");
                writeln!(line, "{time:.3} {level} {module}: {message}{}", self.rest)
            }
            Format::Json => {
                // Cutting JSON would make it unreadable: a line that is too long loses its fields.
                if self.rest.len() > LINE_OCTETS_MAX / 2 {
                    self.rest = ",\"cut\":true".to_owned();
                }
                let mut message = String::new();
                push_json(&mut message, &self.message);
                let rest = &self.rest;
                writeln!(
                    line,
                    "{{\"time\":\"{time:.3}\",\"level\":\"{level}\",\"module\":\"{module}\",\"message\":{message}{rest}}}"
                )
            }
        };
        debug_assert!(written.is_ok(), "a vector takes every write");
        line
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.add(field, &text);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add_plain(field, value);
    }
}

fn needs_quotes(value: &str) -> bool {
    value.is_empty() || value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=')
}

fn push_json(out: &mut String, value: &str) {
    // Serialising a string can't fail.
    out.push_str(&serde_json::to_string(value).unwrap_or_default());
}

fn truncate(text: &mut String, octets_max: usize) {
    if text.len() > octets_max {
        text.truncate(text.floor_char_boundary(octets_max));
        text.push('…');
    }
}
