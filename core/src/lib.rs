//! The server: runtime, TLS, sessions, delivery and control.

pub mod config;
pub mod control;
pub mod log;
pub mod metrics;
