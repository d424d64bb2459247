//! Mail protocols as pure code: bytes in, values and bytes out.
//!
//! Nothing here opens a socket, reads a clock or a file, or draws randomness that was not passed
//! in. Every type that stands for something from the wire can only hold valid values.
#![forbid(unsafe_code)]

pub mod address;
pub mod arc;
pub mod authentication_results;
pub mod deflate;
pub mod dkim;
pub mod dmarc;
pub mod dsn;
mod field;
pub mod gzip;
pub mod http;
pub mod imap;
pub mod mime;
pub mod mta_sts;
pub mod public_suffix;
pub mod reports;
pub mod sasl;
pub mod smtp;
pub mod socks;
pub mod spf;
pub mod tlsrpt;
mod words;
pub mod zip;
