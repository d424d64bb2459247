//! NOTIFY (RFC 5465 §3.1); what it leads to is in [`notify`](crate::imap::notify).

use postrider_proto::imap::command::{Notify as Command, Tag};
use postrider_proto::imap::types::ModSeq;

use super::status::write_row;
use crate::imap::connection::{Connection, Flow};
use crate::imap::notify::{Notify, watch};
use crate::imap::places;
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
        let Some(member) = &self.member else { return done };
        let (asker, utf8) = (member.asker, member.enabled.utf8);
        // Of the user's own mailboxes, wherever the session is.
        let selected = member.selected.as_ref().filter(|_| !member.is_away());
        let selected = selected.map(|selected| selected.mailbox);
        let groups = set.groups.clone();
        let begun = places::at(&self.shard, asker.id, asker.user, move |_, account| {
            Box::pin(async move {
                let state = account.state();
                let notify = Notify::new(set, state.head().map_or(ModSeq::MIN, |head| head.modseq));
                let first = if status { notify.at_first(&state, selected) } else { Vec::new() };
                let rows = first.into_iter().filter_map(|(mailbox, items)| {
                    Some((mailbox, std::sync::Arc::clone(state.mailbox(mailbox)?), items))
                });
                let rows: Vec<_> = rows.collect();
                let subscribed: Vec<_> =
                    state.subscriptions().filter(|name| name.is_of_others()).cloned().collect();
                Ok((Box::new(notify), rows, subscribed))
            })
        });
        let (mut notify, mailboxes, subscribed) = match begun.await {
            Ok(begun) => begun,
            Err(refused) => return Ok(Flow::Done(refused)),
        };
        let mut told = Vec::new();
        match watch(&self.shard, asker, &groups, &subscribed, status).await {
            Ok(None) => {}
            Ok(Some((abroad, first))) => {
                notify.abroad = Some(abroad);
                told = first;
            }
            Err(refused) => return Ok(Flow::Done(refused)),
        }
        if let Some(member) = &mut self.member {
            member.notify = Some(notify);
        }
        for (mailbox, row, items) in mailboxes {
            write_row(&mut self.out.buffer, utf8, row.name.as_str(), (asker.user, mailbox), &row, items, 0);
            self.out.flush_if_full().await?;
            yield_if_needed().await;
        }
        self.tell_abroad(told).await?;
        done
    }
}
