//! The server: runtime, TLS, sessions, delivery, control.

pub mod runtime;
pub mod tls;

mod sys;
