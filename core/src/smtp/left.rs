//! The limits of outgoing mail, looked at for each recipient: who may send no more learns it at RCPT, and not behind a content
//! that took minutes to send.
//!
//! What counts is decided at the end of the content ([`super::sending`]), for all sessions of the account together. Here it is
//! only looked at what is left, and a session remembers that for some seconds: most recipients cost no question to the
//! account's home. So what others sent meanwhile may still refuse the message at its end.

use std::time::{Duration, Instant};

use postrider_proto::address::Address;
use postrider_proto::smtp::Reply;
use postrider_storage::account::{Sent, note_recipients, recipient_hash};
use postrider_storage::engine::Batch;
use postrider_storage::ids::AccountId;
use postrider_storage::reader::Reader;
use postrider_storage::rows::OutgoingRow;

use super::allowance;
use super::connection::Connection;
use super::policy;
use super::sending::early_refusal;
use crate::clock::unix_now;
use crate::config::SendingLimits;

/// How long a session goes by what it was told.
const FRESH: Duration = Duration::from_secs(10);

/// The recipients of other servers in a transaction, and what a session knows of how many there may be.
#[derive(Default, Debug)]
pub(super) struct Outgoing {
    /// Each once, in the order in which they came.
    hashes: Vec<u64>,
    /// To how many of the first of them the account never sent before, with the number of these first.
    new: (u32, usize),
    /// What was left, when that was asked, before the first of them.
    left: Option<(OutgoingRow, Instant)>,
}

impl Outgoing {
    /// A transaction begins. Whatever became of the last one: its recipients are taken for sent to.
    pub(super) fn begin(&mut self) {
        let used = u32::try_from(self.hashes.len()).unwrap_or(u32::MAX);
        if let Some((left, _)) = &mut self.left {
            left.recipients = left.recipients.saturating_sub(used);
            left.first_time = left.first_time.saturating_sub(used);
        }
        self.hashes.clear();
        self.new = (0, 0);
    }

    /// What is left, unless that was asked too long ago.
    fn known(&self) -> Option<OutgoingRow> {
        self.left.filter(|(_, asked)| asked.elapsed() < FRESH).map(|(left, _)| left)
    }
}

impl Connection {
    /// Adds a recipient of another server to those of the message, unless it is one too many.
    pub(super) async fn add_outgoing(&mut self, address: &Address) -> Result<(), Reply> {
        let (Some(user), Some(sending)) = (&self.user, &self.sending) else { return Ok(()) };
        let (account, limits) = (user.account, sending.limits());
        let hash = recipient_hash(&address.to_string());
        if self.outgoing.hashes.contains(&hash) {
            return Ok(());
        }
        let recipients = u32::try_from(self.outgoing.hashes.len() + 1).unwrap_or(u32::MAX);
        let mut wanted = OutgoingRow { recipients, first_time: 0 };
        let left = match self.outgoing.known().filter(|left| left.recipients >= recipients) {
            Some(left) => left,
            None => self.ask_left(account, wanted, limits).await?,
        };
        // Whom it never sent to before doesn't matter while there may be so many of them.
        if left.first_time < recipients {
            wanted.first_time = self.count_new(account, hash).await?;
            if left.first_time < wanted.first_time {
                self.ask_left(account, wanted, limits).await?;
            }
            self.outgoing.new = (wanted.first_time, self.outgoing.hashes.len() + 1);
        }
        self.outgoing.hashes.push(hash);
        Ok(())
    }

    /// Asks the home of the account what is left; refused when so much is too much.
    async fn ask_left(
        &mut self,
        account: AccountId,
        wanted: OutgoingRow,
        limits: SendingLimits,
    ) -> Result<OutgoingRow, Reply> {
        let (id, asked) = (self.id, Instant::now());
        let wanted = Sent { time: unix_now(), row: wanted };
        let left = self.shard.at_home(account, move |home| {
            Box::pin(async move {
                let left = allowance::left(&home, account, wanted, limits).await;
                left.map_err(|error| early_refusal(&error, wanted, id))
            })
        });
        let left = left.await.unwrap_or(Err(Reply::SHUTTING_DOWN))?;
        self.outgoing.left = Some((left, asked));
        Ok(left)
    }

    /// To how many of the recipients, and of one more, the account never sent before. Those that were looked up before aren't
    /// again.
    async fn count_new(&self, account: AccountId, more: u64) -> Result<u32, Reply> {
        let (known, looked) = self.outgoing.new;
        let mut hashes = self.outgoing.hashes.get(looked..).unwrap_or_default().to_vec();
        hashes.push(more);
        let now = unix_now();
        let read = move |reader: &Reader| note_recipients(reader, &mut Batch::new(), account, &hashes, now);
        let found = self.shard.shared.reads.run(read).await;
        Ok(known + found.map_err(|error| policy::store_reply(&error, self.id))?)
    }
}
