//! Benchmarks of the hot paths. Each case is one thing that happens for every command, message or row.
//!
//! A case is counted in instructions by `cargo xtask counts`, which says whether it became dearer than the
//! figures in `benches/counts.tsv`, and timed by `cargo bench --package postrider-benches`. Both run the
//! same closures on the same mailboxes, kept on disk by the server's own engine.

mod cases;
mod world;

pub use cases::{Case, Run, all};
pub use world::{MAILBOXES, World};
