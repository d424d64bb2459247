//! HTTP/1.1 as a client, as far as a mail server needs it (RFC 9110, RFC 9112): one request on a connection of its own,
//! and its response.
//!
//! Nothing here connects. What always holds: what is read is bounded, and what is written can't be made into something
//! else by the texts it is made of.

mod request;
mod response;
#[cfg(test)]
mod tests;

pub use request::{Method, Resource, request};
pub use response::{Accept, Longer, Progress, ResponseError, ResponseReader, Statuses};

use std::fmt;
use std::net::IpAddr;

use crate::address::Domain;

/// The host of a URL.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// A name.
    Domain(Domain),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    /// As a URL and the field `Host` have it (RFC 3986 §3.2.2).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => domain.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
        }
    }
}
