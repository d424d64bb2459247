//! Trace fields.
