//! The control socket: how `postrider account add` and its like reach the running server.
//!
//! A Unix socket with mode 0600 in the data directory. A client is served when its user, as the
//! kernel tells it, is root or the server's own. [`protocol`] says what is sent, [`serve`] serves
//! it and hands each request to [`Operations`], [`Client`] is the command line's side.

mod client;
mod exchange;
mod operations;
pub mod protocol;
mod server;

pub use client::{Client, ClientError, Events};
pub use exchange::{Exchange, ExchangeLimits, Gone, Transport};
pub use operations::{LocalFuture, OperationError, Operations};
pub use server::{CONNECTIONS_MAX, ControlOptions, bind, serve};

#[cfg(test)]
mod tests;
