//! SMTP and submission end to end: a server with a store in memory, and clients on threads.
//!
//! The store is verified at the end of each test, when the server is dropped.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod aggregate_reports;
mod arrival;
mod authentication;
mod checks;
mod client;
mod company;
mod destinations;
mod ending;
mod failures;
mod first_time;
mod floods;
mod ids;
mod incoming_reports;
mod learned;
mod leaving;
mod limits;
mod other_server;
mod reports;
mod sequences;
mod signing;
mod submission;
mod tls_reports;
mod told;
mod verdicts;
mod web_server;
mod webhooks;
mod world;
