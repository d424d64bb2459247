//! The selected mailbox as its client knows it.

use std::collections::{BTreeMap, BTreeSet};

use postrider_proto::imap::command::Access;
use postrider_proto::imap::response::Code;
use postrider_proto::imap::rights::Rights;
use postrider_proto::imap::sequence::{MessageSet, Messages, Numbering};
use postrider_proto::imap::types::{Flags, Keyword, ModSeq, Uid};
use postrider_proto::imap::uidset::{NoSuchMessage, UidSet};
use postrider_storage::account::FlagScope;
use postrider_storage::ids::{KeywordId, MailboxId};

use super::contexts::Contexts;

/// PERMANENTFLAGS: what a user with `rights` can change so that it stays (RFC 4314 §5.1.1).
pub(super) fn permanent_flags(access: Access, rights: Rights, keywords: &[Keyword]) -> Code<'_> {
    let scope = FlagScope::of(rights);
    match access {
        Access::ReadOnly => Code::PermanentFlags(Flags::NONE, &[], false),
        Access::ReadWrite if scope.keywords => Code::PermanentFlags(scope.flags, keywords, true),
        Access::ReadWrite => Code::PermanentFlags(scope.flags, &[], false),
    }
}

/// A selected mailbox.
///
/// What always holds: message numbers are those of `view`; a message leaves `view` only when its removal
/// is told; every change up to `seen` was told, or is in `deferred`, or came after `withheld`.
pub struct Selected {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// SELECT or EXAMINE.
    pub access: Access,
    /// What the user may do, as the client was told; looked up anew before each command.
    pub rights: Rights,
    /// The uids that the client knows.
    pub view: UidSet,
    /// The last uid that the client can know of: by UIDNEXT, or by EXISTS.
    pub uid_last: Option<Uid>,
    /// Every change up to here has been looked at.
    pub seen: ModSeq,
    /// The highest change that was told or met before the account showed it. The command ends once the
    /// account does, and everything before it is told too: a client may take the largest MODSEQ for all
    /// that it has to remember (RFC 7162 §6).
    pub ahead: ModSeq,
    /// Changes after this one are told in part only, for the client wants it so (NOTIFY); none when it is
    /// told of all.
    pub withheld: Option<ModSeq>,
    /// Whether HIGHESTMODSEQ was told lower than other MODSEQs, because removals wait.
    pub lowered: bool,
    /// Removals that were looked at and are not told yet, still in `view`, with the change that removed
    /// them.
    pub deferred: BTreeMap<Uid, ModSeq>,
    /// The keywords told by FLAGS, ascending.
    pub keywords_told: Box<[KeywordId]>,
    /// Messages whose flags were told without a command that asked.
    pub pushed: Pushed,
    /// `$`: the result of the last saved search (RFC 5182).
    pub saved: UidSet,
    /// Searches whose results are told on (RFC 5267).
    pub(super) contexts: Contexts,
}

/// Messages whose flags were told while the client may have sent a STORE with `.SILENT` already. It can't
/// know which came first, so what its STORE makes of them is told after all (RFC 9051 §6.4.6).
#[derive(Default)]
pub struct Pushed {
    uids: BTreeSet<Uid>,
    /// There were more than are remembered: any message may be one.
    all: bool,
}

impl Pushed {
    /// Messages that are remembered.
    const MESSAGES_MAX: usize = 4096;

    /// Notes a message.
    pub fn add(&mut self, uid: Uid) {
        self.all |= self.uids.len() >= Self::MESSAGES_MAX;
        if !self.all {
            self.uids.insert(uid);
        }
    }

    /// Whether a message is one.
    pub fn contains(&self, uid: Uid) -> bool {
        self.all || self.uids.contains(&uid)
    }

    /// Forgets a message that is told now. Whether it was one.
    pub fn take(&mut self, uid: Uid) -> bool {
        self.uids.remove(&uid) || self.all
    }
}

impl Selected {
    /// Whether the mailbox may be changed.
    pub fn is_writable(&self) -> bool {
        self.access == Access::ReadWrite
    }

    /// The flags that the user may change.
    pub fn scope(&self) -> FlagScope {
        FlagScope::of(self.rights)
    }

    /// The uids that a command's messages mean.
    pub fn resolve(&self, messages: &Messages) -> Result<UidSet, NoSuchMessage> {
        match (&messages.set, messages.numbering) {
            (MessageSet::Saved, _) => Ok(self.view.intersection(&self.saved)),
            (MessageSet::Set(set), Numbering::Uid) => Ok(self.view.resolve_uids(set)),
            (MessageSet::Set(set), Numbering::Sequence) => self.view.resolve_sequence(set),
        }
    }

    /// Up to where removals are told; content of messages removed later must stay.
    pub fn told(&self) -> ModSeq {
        let first = self.deferred.values().min().and_then(|first| ModSeq::new(first.get() - 1));
        let withheld = self.withheld.unwrap_or(self.seen);
        first.map_or(self.seen, |first| first.min(self.seen)).min(withheld)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_messages_than_are_remembered_are_all_of_them() {
        let mut pushed = Pushed::default();
        let uids: Vec<Uid> = (1..=4097).filter_map(Uid::new).collect();
        for uid in &uids[..4096] {
            pushed.add(*uid);
        }
        assert!(pushed.contains(uids[0]) && !pushed.contains(uids[4096]));
        assert!(pushed.take(uids[0]) && !pushed.take(uids[0]));
        pushed.add(uids[0]);
        pushed.add(uids[4096]);
        assert!(pushed.take(Uid::MAX) && pushed.take(Uid::MAX));
    }
}
