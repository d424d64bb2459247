//! The field of a set that is written as text.

use super::RESULTS;
use super::set::Instance;

/// An ARC-Authentication-Results field with its line break. `payload` is what an Authentication-Results field
/// would have after its colon, folded, without the line break at its end (RFC 8617 §4.1.1).
#[must_use]
pub fn results_field(instance: Instance, payload: &str) -> String {
    format!("{RESULTS}: i={}; {}\r\n", instance.number(), payload.trim())
}
