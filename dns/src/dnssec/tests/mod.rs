//! Tests of the validator as a whole.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod bounds;
mod cases;
mod forged;
mod fuzz;
mod replay;
mod resolving;
mod rollover;
mod text;
mod unbound;
mod vectors;
mod zones;
