//! The durable store: accounts, mailboxes, messages, changes, bodies, queue rows.
//!
//! An honest blocking library: it owns every key encoding, and knows nothing of sockets or shards.
#![deny(unsafe_code)]

pub mod account;
pub mod blobs;
pub mod committer;
pub mod directory;
pub mod engine;
pub mod error;
pub mod evaluations;
pub mod ids;
pub mod keys;
pub mod maintenance;
pub mod mta_sts;
pub mod queue;
pub mod reader;
pub mod repair;
pub mod report_suppressions;
pub mod reports;
pub mod rows;
pub mod store;
pub mod text;
pub mod tls_results;
pub mod toml;
pub mod verify;
pub mod webhooks;
