//! The server: runtime, TLS, sessions, delivery and control.

pub mod accounts;
pub mod admission;
pub mod arrival;
pub mod auth;
pub mod clock;
pub mod commit;
pub mod config;
pub mod control;
pub mod delivery;
pub mod http;
pub mod imap;
pub mod intake;
mod lock;
pub mod log;
pub mod lookup;
pub mod maintenance;
pub mod metrics;
pub mod operations;
pub mod reads;
pub mod received_reports;
pub mod reporting;
pub mod resolver;
pub mod runtime;
pub mod server;
pub mod shard;
pub mod signing;
pub mod smtp;
pub mod textindex;
pub mod tls;
pub mod transfer;
pub mod webhooks;

mod sys;
#[cfg(test)]
mod testing;
