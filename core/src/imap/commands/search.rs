//! SEARCH and UID SEARCH.

use postrider_proto::imap::command::Search;

use crate::imap::session::{Completion, Context, Ended};

/// Does it.
pub async fn search(_context: &mut Context<'_>, _command: Search) -> Result<Completion, Ended> {
    Ok(Completion::no("not available yet"))
}
