//! Dialogs with the server, and what they can't show.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod abroad;
mod compress;
mod contexts;
mod cost;
mod crowd;
mod dialog;
mod external;
mod failures;
mod metadata;
mod model;
mod notify;
mod probe;
mod program;
mod rights;
mod server;
mod sessions;
mod urls;
