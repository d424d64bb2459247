//! COPY and MOVE.

use postrider_proto::imap::command::CopyMove;

use crate::imap::session::{Completion, Context, Ended};

/// COPY and UID COPY.
pub async fn copy(_context: &mut Context<'_>, _command: CopyMove) -> Result<Completion, Ended> {
    Ok(Completion::no("not available yet"))
}

/// MOVE and UID MOVE.
pub async fn move_messages(_context: &mut Context<'_>, _command: CopyMove) -> Result<Completion, Ended> {
    Ok(Completion::no("not available yet"))
}
