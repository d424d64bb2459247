//! The resolver, DNSSEC validation and DANE.
//!
//! Everything here is free of sockets, clocks and threads of its own: transport, time and chance are passed
//! in, so that a resolver runs the same on the server's runtime, in the command line and in a scripted test.
//!
//! [`Lookup`] is what the rest of the product asks; [`Answer`] is what it gets. Tests ask a
//! [`script::Script`] in the place of the resolver.

mod answer;
mod budget;
mod names;
mod present;

pub mod dane;
pub mod dnssec;
pub mod limits;
pub mod lookups;
pub mod resolver;
pub mod script;

pub use answer::{Answer, Authenticity, ExtendedError, Lookup, Outcome, Step};
pub use budget::Budget;
pub use hickory_proto::rr::{Name, RData, Record, RecordType};
pub use names::{NameError, parse_name, reverse_name};
pub use present::{hexadecimal, present};
