#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod finding;
mod handshakes;
mod records;
mod suite;
