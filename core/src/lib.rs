//! The server: runtime, TLS, sessions, delivery and control.

pub mod accounts;
pub mod admission;
pub mod commit;
pub mod config;
pub mod control;
pub mod log;
pub mod metrics;
pub mod runtime;
pub mod tls;

mod sys;
