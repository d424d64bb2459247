//! ARC: what the handlers of a message found before it came here (RFC 8617).

mod report;
mod seal;
mod trust;
mod verify;

#[cfg(test)]
mod tests;

pub use report::method_result;
pub use seal::{SealError, Sealer, seal};
pub use trust::trusted_results;
pub use verify::{ArcResult, Reason, SetResult, verify};
