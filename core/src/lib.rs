//! The server: runtime, TLS, sessions, delivery and control.

pub mod admission;
pub mod config;
pub mod control;
pub mod log;
pub mod metrics;
