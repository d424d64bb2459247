//! COMPRESS (RFC 4978) and UNAUTHENTICATE (RFC 8437).

use std::sync::Arc;

use postrider_proto::imap::command::Tag;
use postrider_proto::imap::response::Code;

use crate::imap::capability::{COMPRESS, UNAUTHENTICATE, is_disabled};
use crate::imap::connection::{Connection, Flow};
use crate::imap::session::{Completion, CompletionCode, Ended};

const UNKNOWN: Completion = Completion::bad("unknown command");

impl Connection {
    /// COMPRESS. Both sides compress from its answer on.
    pub(in crate::imap) async fn compress(&mut self, tag: &Tag) -> Result<Flow, Ended> {
        if is_disabled(&self.service.listener, COMPRESS) {
            return Ok(Flow::Done(UNKNOWN));
        }
        // RFC 4978 §3 wants BAD.
        if self.out.is_compressed() {
            let active = Completion::bad("DEFLATE is active already");
            return Ok(Flow::Done(active.with(CompletionCode::Plain(Code::CompressionActive))));
        }
        // Whether it is compressed can't be known (RFC 4978 §3: a client waits for the answer).
        if !self.framer.unread().is_empty() {
            return Ok(Flow::Done(Completion::bad("nothing may be sent before the answer to COMPRESS")));
        }
        self.answer(tag, &Completion::ok("DEFLATE is active"));
        self.out.flush().await?;
        self.out.start_compression();
        Ok(Flow::Answered)
    }

    /// UNAUTHENTICATE. Everything is as it was before the login, but for TLS (RFC 8437 §3). Compression
    /// ends on both sides with this command and its answer. It is never answered NO.
    pub(in crate::imap) async fn unauthenticate(&mut self, tag: &Tag) -> Result<Flow, Ended> {
        if is_disabled(&self.service.listener, UNAUTHENTICATE) {
            return Ok(Flow::Done(UNKNOWN));
        }
        if self.member.take().is_none() {
            return Ok(Flow::Done(Completion::bad("nobody is logged in")));
        }
        self.framer.set_limits(Arc::clone(&self.service.unauthenticated));
        let names = self.capabilities();
        let answer = Completion::ok("nobody is logged in any more").with(CompletionCode::Capability(names));
        self.answer(tag, &answer);
        self.out.flush().await?;
        if let Some(rest) = self.out.stop_compression() {
            self.framer.push(&rest);
        }
        Ok(Flow::Answered)
    }
}
