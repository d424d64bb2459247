//! The server: runtime, TLS, sessions, delivery, control.

pub mod config;
pub mod control;
pub mod log;
pub mod metrics;
pub mod runtime;
pub mod tls;

mod sys;
