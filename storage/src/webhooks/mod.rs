//! Webhooks: what accounts want to be told by HTTP.

mod settings;

pub use settings::{Endpoint, Event, Events, Webhooks};
