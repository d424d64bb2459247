//! Address data of other projects (`shared/suites/address`).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic")]
