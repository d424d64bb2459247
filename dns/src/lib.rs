//! The resolver, DNSSEC validation and DANE.
//!
//! Everything here is free of sockets, clocks and threads of its own: transport, time and chance are passed
//! in, so that a resolver runs the same on the server's runtime, in the command line and in a scripted test.
//!
//! [`Lookup`] is what the rest of the product asks; [`Answer`] is what it gets.

mod answer;
pub mod dnssec;

pub use answer::{Answer, Authenticity, ExtendedError, Lookup, Outcome, Step};
pub use hickory_proto::rr::{Name, RData, Record, RecordType};
