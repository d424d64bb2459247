//! Whether a message is from whom it says.
//!
//! The formats are `postrider-proto`'s; here is what they mean, over a resolver that is passed in
//! ([`postrider_dns::Lookup`]). No sockets, clocks or threads.
