//! EXPUNGE, UID EXPUNGE and CLOSE.

use postrider_proto::imap::sequence::MessageSet;

use crate::imap::session::{Completion, Context, Ended};

/// EXPUNGE; with uids UID EXPUNGE.
pub async fn expunge(_context: &mut Context<'_>, _uids: Option<MessageSet>) -> Result<Completion, Ended> {
    Ok(Completion::no("not available yet"))
}

/// What CLOSE does before the mailbox is deselected: removes without telling, unless read-only.
pub async fn close(_context: &mut Context<'_>) -> Result<Completion, Ended> {
    Ok(Completion::no("not available yet"))
}
