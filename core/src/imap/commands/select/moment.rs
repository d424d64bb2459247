//! A mailbox at one moment, and the responses that tell of it. Pure: a snapshot in, octets out.

use postrider_proto::imap::command::{Access, Qresync, Utf8};
use postrider_proto::imap::objectid::ObjectId;
use postrider_proto::imap::response::{
    Code, Condition, ListAttributes, ListRow, write_exists, write_flags, write_list, write_recent,
    write_untagged,
};
use postrider_proto::imap::rights::Rights;
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::types::{Keyword, ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::engine::Incarnation;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::reader::Reader;
use postrider_storage::rows::MailboxRow;
use postrider_storage::store::{Refusal, StoreError};

use super::super::qresync;
use crate::imap::selected::permanent_flags;
use crate::imap::sync::ALL_FLAGS;
use crate::imap::views;

/// What a client wants to know of a mailbox that it opens.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// SELECT or EXAMINE.
    pub access: Access,
    /// What the user may do (RFC 4314).
    pub rights: Rights,
    /// What it knows already (RFC 7162 §3.2.5).
    pub qresync: Option<&'a Qresync>,
    /// Whether it speaks IMAP4rev2.
    pub rev2: bool,
    /// How it names messages.
    pub numbering: Numbering,
    /// How names are written.
    pub utf8: Utf8,
    /// What the user's name for it has before the owner's.
    pub prefix: &'a str,
    /// The mailbox's name as the client wrote it.
    pub written: &'a str,
}

/// A mailbox at one moment.
pub struct Moment {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its row.
    pub row: MailboxRow,
    /// The uids.
    pub view: UidSet,
    /// The account's modification sequence.
    pub head: ModSeq,
    account: AccountId,
    keywords: Vec<Keyword>,
    first_unseen: Option<u32>,
    /// What the client missed, when it knows the mailbox.
    pub news: Option<qresync::News>,
}

impl Moment {
    /// Reads all of a mailbox that is told, from one snapshot. `incarnation` is the life of the store that
    /// `reader` reads. Refused when there is no such mailbox.
    pub fn read(
        reader: &Reader,
        (account, mailbox): (AccountId, MailboxId),
        incarnation: Incarnation,
        ask: &Ask<'_>,
    ) -> Result<Self, StoreError> {
        let (row, head) = match (reader.mailbox(account, mailbox)?, reader.head(account)?) {
            (Some(row), Some(head)) => (row, head.modseq),
            _ => return Err(Refusal::NoSuchMailbox.into()),
        };
        let place = (account, mailbox);
        let view = views::load(reader, place, incarnation, &row, head)?;
        let mut keywords = Vec::with_capacity(row.keywords.len());
        for id in &row.keywords {
            keywords.extend(reader.keyword(account, *id)?);
        }
        // IMAP4rev2 has no UNSEEN here, nor has UIDONLY, as it is a message number (RFC 9586 §3.6).
        let first_unseen = if row.unseen > 0 && !ask.rev2 && ask.numbering == Numbering::Sequence {
            views::first_unseen(reader, place, incarnation, &row, &view, head)?
        } else {
            None
        };
        let news = match ask.qresync {
            Some(known) if known.uid_validity == row.uid_validity => {
                Some(qresync::news(reader, account, mailbox, &row, &view, head, known)?)
            }
            _ => None,
        };
        Ok(Self { mailbox, row, view, head, account, keywords, first_unseen, news })
    }

    /// Appends the untagged responses, without what the client missed.
    pub fn write(&self, out: &mut Vec<u8>, ask: &Ask<'_>) {
        write_flags(out, ALL_FLAGS, &self.keywords);
        let permanent = permanent_flags(ask.access, ask.rights, &self.keywords);
        let told = |out: &mut Vec<u8>, code: Code<'_>, text: &str| {
            write_untagged(out, Condition::Ok, Some(&code), text);
        };
        told(out, permanent, "flags that stay");
        write_exists(out, self.view.len());
        if !ask.rev2 {
            write_recent(out);
        }
        if let Some(first) = self.first_unseen {
            told(out, Code::Unseen(first), "first unseen message");
        }
        let row = &self.row;
        let id = ObjectId::mailbox(self.account.0, self.mailbox.0);
        told(out, Code::MailboxId(id), "the mailbox's identifier");
        told(out, Code::UrlMech, "URLs are authorised");
        told(out, Code::UidValidity(row.uid_validity), "uids are valid");
        told(out, Code::UidNext(row.uid_next), "the next uid");
        told(out, Code::HighestModSeq(row.modseq), "the last change");
        if ask.rev2 {
            let name = format!("{}{}", ask.prefix, row.name);
            let list = ListRow {
                attributes: ListAttributes::NONE,
                name: &name,
                child_subscribed: false,
                child_special_use: false,
                old_name: super::old_name(ask.written, &name),
            };
            write_list(out, ask.utf8, &list);
        }
        debug_assert!(self.view.last().is_none_or(|last: Uid| last < row.uid_next));
    }
}
