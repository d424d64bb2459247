//! NOTIFY (RFC 5465 §3.1); what it leads to is in [`notify`](crate::imap::notify).

use postrider_proto::imap::command::{Notify as Command, Tag};
use postrider_proto::imap::types::ModSeq;

use super::status::write_row;
use crate::imap::connection::{Connection, Flow};
use crate::imap::notify::Notify;
use crate::imap::session::{Completion, Ended};
use crate::imap::sync::{Expunges, OwnFlags};
use crate::runtime::yield_if_needed;

impl Connection {
    /// NOTIFY SET and NOTIFY NONE.
    pub(in crate::imap) async fn notify(&mut self, tag: &Tag, command: Command) -> Result<Flow, Ended> {
        let done = Ok(Flow::Done(Completion::ok("done")));
        let set = match command {
            Command::Set(set) => set,
            Command::None => {
                if let Some(member) = &mut self.member {
                    member.notify = Some(Box::new(Notify::none()));
                }
                return done;
            }
        };
        // It implies a NOOP: whatever was withheld till now is told.
        if let Some(member) = &mut self.member {
            member.notify = None;
        }
        if let Some(mut context) = self.context(tag) {
            context.sync(Expunges::Now, OwnFlags::Tell).await?;
        }
        let status = set.status;
        let Some(member) = &mut self.member else { return done };
        let now = member.account.state().head().map_or(ModSeq::MIN, |head| head.modseq);
        let notify = member.notify.insert(Box::new(Notify::new(set, now)));
        let selected = member.selected.as_ref().map(|selected| selected.mailbox);
        let mailboxes = if status { notify.at_first(&member.account.state(), selected) } else { Vec::new() };
        let (account, utf8) = (std::rc::Rc::clone(&member.account), member.enabled.utf8);
        for (mailbox, items) in mailboxes {
            if let Some(row) = account.state().mailbox(mailbox) {
                write_row(&mut self.out.buffer, utf8, (account.id(), mailbox), row, items, 0);
            }
            self.out.flush_if_full().await?;
            yield_if_needed().await;
        }
        done
    }
}
