//! FETCH and UID FETCH.

use postrider_proto::imap::command::Fetch;

use crate::imap::session::{Completion, Context, Ended};

/// Does it.
pub async fn fetch(_context: &mut Context<'_>, _command: Fetch) -> Result<Completion, Ended> {
    Ok(Completion::no("not available yet"))
}
