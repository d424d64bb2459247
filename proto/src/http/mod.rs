//! HTTP/1.1 as a client, as far as a mail server needs it (RFC 9110, RFC 9112): one request on a connection of its own,
//! and its response.
//!
//! Nothing here connects. What always holds: what is read is bounded, and what is written can't be made into something
//! else by the texts it is made of.

mod request;
mod response;
#[cfg(test)]
mod tests;
mod url;

pub use request::{Method, request};
pub use response::{Accept, Longer, Progress, ResponseError, ResponseReader, Statuses};
pub use url::{Host, URL_OCTETS_MAX, Url, UrlError};
