//! The control socket: how `postrider account add` and its like reach the running server.
//!
//! A Unix socket with mode 0600 in the data directory. A client is served when its user, as the
//! kernel tells it, is root or the server's own. [`protocol`] says what is sent, [`server`] serves
//! it and hands each request to [`Operations`], [`client`] is the command line's side.

mod exchange;
mod operations;
pub mod protocol;

pub use exchange::{Exchange, ExchangeLimits, Gone, Transport};
pub use operations::{LocalFuture, OperationError, Operations};
