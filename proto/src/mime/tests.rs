//! Tests of the message scanner and of what is written from its result.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod oracle;

use super::record::{self, StructureRef};
use super::scan::Scanner;
use super::{Limits, Structure};

/// Scans a message that arrives in one piece.
fn scan(message: &[u8]) -> Structure {
    scan_with(message, Limits::DEFAULT)
}

fn scan_with(message: &[u8], limits: Limits) -> Structure {
    let mut scanner = Scanner::new(limits);
    scanner.push(message);
    scanner.finish()
}

fn encoded(structure: &Structure) -> Vec<u8> {
    let mut out = Vec::new();
    record::encode(structure, &mut out);
    out
}

/// Where the shared conformance data is, or none with a note that the test is skipped.
fn suites(test: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("POSTRIDER_SUITES").map_or_else(
        || std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/suites")),
        std::path::PathBuf::from,
    );
    if path.is_dir() {
        return Some(path);
    }
    println!("{test}: skipped, the conformance data is not at {} (POSTRIDER_SUITES)", path.display());
    None
}
