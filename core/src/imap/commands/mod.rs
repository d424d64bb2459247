//! The commands, a file for each family.

pub mod batches;
mod compress;
pub mod copy;
pub mod esearch;
pub mod expunge;
pub mod fetch;
pub mod qresync;
pub mod quota;
pub mod search;
pub mod select;
pub mod sort;
pub mod store;
pub mod thread;

pub(super) mod acl;
pub(super) mod append;
pub(super) mod auth;
pub(super) mod idle;
pub(super) mod list;
pub(super) mod mailboxes;
pub(super) mod metadata;
pub(super) mod notify;
pub(super) mod session;
pub(super) mod status;
pub(super) mod urlauth;

mod abroad;
