//! Tests of the message scanner and of what is written from its result.
