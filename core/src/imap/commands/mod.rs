//! The commands, a file for each family.

pub mod copy;
pub mod expunge;
pub mod fetch;
pub mod search;
pub mod store;
