//! What becomes of an outgoing message: every decision of delivery as a pure function, and the schedule of a shard
//! as a state machine.
//!
//! - [`route`] and [`transport`]: how a message leaves.
//! - [`destination`] and [`order`]: which hosts and addresses take it, over a resolver that is passed in.
//! - [`security`]: what TLS has to give, and what happens when it doesn't.
//! - [`sts`]: which policy of MTA-STS counts, by what a domain announces and what is kept of it.
//! - [`attempt`]: one attempt, which puts these together; [`outcome`]: what it means for each recipient.
//! - [`backoff`], [`report`], [`suppression`]: when it is tried again, who is told, whom to write to no more.
//! - [`tls_results`]: what reports on TLS say of an attempt.
//! - [`schedule`]: which domain has its turn.
//!
//! No sockets, clocks, threads or randomness: answers, times and chance are passed in. Times are seconds since 1970.
//!
//! Always holds: what comes from outside is bounded by [`limits`], and what a decision rests on is a value that can
//! be shown to an operator.

pub mod attempt;
pub mod backoff;
pub mod destination;
pub mod limits;
pub mod order;
pub mod outcome;
pub mod report;
pub mod route;
pub mod schedule;
pub mod security;
pub mod sts;
pub mod suppression;
pub mod tls_results;
pub mod transport;
