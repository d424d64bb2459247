//! IDLE (RFC 2177, RFC 9051 §6.3.13): changes are told as soon as they are committed.

use postrider_proto::imap::command::Tag;
use postrider_proto::imap::framing::{Frame, Outcome};
use postrider_proto::imap::response::{write_continuation, write_refused};

use crate::imap::connection::Connection;
use crate::imap::session::{Completion, Ended};
use crate::imap::sync::{Expunges, OwnFlags};

impl Connection {
    /// Tells changes until DONE comes. Anything else ends the connection: the client doesn't know
    /// what it is saying.
    pub(in crate::imap) async fn idle(&mut self, tag: &Tag) -> Result<Completion, Ended> {
        let Some(member) = &self.member else { return Ok(Completion::bad("not logged in")) };
        let changed = member.account.changed().clone();
        write_continuation(&mut self.out.buffer, "waiting");
        self.framer.expect_line();
        self.rest();
        loop {
            // Before looking: a change meanwhile ends the next wait at once.
            let version = changed.version();
            self.check_account()?;
            self.check_rights().await?;
            if let Some(mut context) = self.context(tag) {
                Box::pin(context.sync(Expunges::Now, OwnFlags::Pushed)).await?;
            }
            Box::pin(self.tell_others()).await?;
            match self.framer.next_frame() {
                Some(Frame::Line(line)) if line.eq_ignore_ascii_case(b"DONE") => {
                    return Ok(Completion::ok("done"));
                }
                Some(Frame::Refused(refused)) if refused.outcome == Outcome::Closes => {
                    write_refused(&mut self.out.buffer, &refused);
                    return Err(Ended::Gone);
                }
                Some(_) => return Err(Ended::Bye(None, "DONE was expected")),
                None => {
                    let change = changed.changed(version);
                    Box::pin(self.fill_or_hear(async {
                        change.await;
                    }))
                    .await?;
                }
            }
        }
    }
}
