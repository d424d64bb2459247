//! The resolver, DNSSEC validation and DANE: nothing of it is here yet.
//!
//! The crate holds its place in the order of imports (`proto` below it, `core` above it). Until it is
//! filled, the server looks nothing up: mail is accepted without any check that needs DNS, and trace
//! fields claim no result of one.
