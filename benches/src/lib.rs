//! Micro-benchmarks of the hot paths: `cargo bench --package postrider-benches`.
//!
//! Each is one thing that happens for every message or every row. Compare figures of one run; this
//! machine and the next are not alike.
