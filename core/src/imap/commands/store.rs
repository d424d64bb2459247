//! STORE and UID STORE.

use postrider_proto::imap::command::Store;

use crate::imap::session::{Completion, Context, Ended};

/// Does it.
pub async fn store(_context: &mut Context<'_>, _command: Store) -> Result<Completion, Ended> {
    Ok(Completion::no("not available yet"))
}
