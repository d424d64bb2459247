//! What is looked at before mail of other servers is accepted (product 1.3, 1.6, 1.7, 1.9 to 1.12).
//!
//! At HELO, MAIL and RCPT the names that the client gives; while the content passes by, its header and the hashes of
//! its body; after it, whether the message is from whom it says. All that is asked of DNS goes through
//! [`Questions`]: bounded in number and time, so that no message costs more than is said, and no lookup that fails
//! loses mail.

mod blocklists;
mod conclude;
pub(super) mod decision;
mod domains;
pub mod evaluation;
mod examination;
mod headers;
pub(super) mod reported;
pub(super) mod results;
pub(super) mod rules;

use std::rc::Rc;
use std::time::Instant;

use futures_lite::future::or;
use postrider_proto::address::ReversePath;
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::reply::Class;
use postrider_proto::smtp::server::{Answer, Dialect, Hello, Role};
use tracing::info;

pub(super) use self::blocklists::Healths;
pub(super) use self::conclude::{Conclusion, Fields, Received, Reports};
use self::domains::Standing;
pub(super) use self::examination::{Examination, Signatures, Timed};
pub use self::headers::Headers;
use super::connection::Connection;
use crate::config::Switch;
use crate::lookup::Questions;
use crate::metrics;

/// Questions that HELO may cause: the name's addresses of both kinds.
const HELO_QUESTIONS: u32 = 2;

const NO_SUCH_HOST: Reply =
    Reply::new(Class::Permanent, 50, (5, 0), "the name in HELO has no address in DNS");
const NO_MAIL_FOR_SENDER: Reply =
    Reply::new(Class::Permanent, 50, (7, 27), "the sender's domain does not take mail");
const SENDER_NOT_FOUND_OUT: Reply =
    Reply::new(Class::Transient, 51, (4, 0), "DNS does not say now whether the sender's domain takes mail");

impl Connection {
    /// Whether this message is one of another server's, that is not just believed.
    pub(super) fn is_incoming(&self) -> bool {
        self.service.settings.role == Role::Incoming && self.user.is_none()
    }

    /// Begins to count questions for a new transaction.
    pub(super) fn begin_questions(&mut self) {
        let checks = self.is_incoming() && self.service.listener.checks.enabled == Switch::On;
        let resolver = self.shard.resolver.clone().filter(|_| checks);
        let most = self.service.listener.checks.questions;
        self.questions = resolver.map(|resolver| Rc::new(Questions::new(resolver, most)));
        self.spf = None;
    }

    /// Runs what asks DNS; none when the server stops meanwhile.
    async fn unless_stopping<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let stopping = async {
            self.shard.shared.shutdown.wait().await;
            None
        };
        or(async { Some(work.await) }, stopping).await
    }

    /// Whether a client may greet so. A name that can't be looked up at the moment is fine: nothing depends on it.
    pub(super) async fn hello(&self, hello: &Hello) -> Answer {
        let checks = &self.service.listener.checks;
        let name = hello.name.domain().filter(|_| hello.dialect == Dialect::Smtp);
        let (Some(name), Some(resolver)) = (name, &self.shard.resolver) else { return Answer::Proceed };
        if checks.enabled == Switch::Off || checks.helo_name == Switch::Off || !self.is_incoming() {
            return Answer::Proceed;
        }
        let questions = Questions::new(resolver.clone(), HELO_QUESTIONS);
        questions.limit_time(Instant::now() + checks.time);
        match self.unless_stopping(domains::host(&questions, name)).await {
            Some(Standing::Bad) => Answer::Refuse(NO_SUCH_HOST),
            Some(Standing::Good | Standing::Unknown) => Answer::Proceed,
            None => Answer::Refuse(Reply::SHUTTING_DOWN),
        }
    }

    /// Whether reports can be sent to the sender, when there is one (product 1.6).
    pub(super) async fn sender_domain(&self, path: &ReversePath) -> Result<(), Reply> {
        let checks = &self.service.listener.checks;
        let (Some(address), Some(questions)) = (path.address(), &self.questions) else { return Ok(()) };
        if checks.sender_domain == Switch::Off {
            return Ok(());
        }
        questions.limit_time(Instant::now() + checks.time);
        let standing = self.unless_stopping(domains::mail_domain(&**questions, &address.domain)).await;
        self.count_questions();
        match standing {
            Some(Standing::Good) => Ok(()),
            Some(Standing::Bad) => Err(NO_MAIL_FOR_SENDER),
            Some(Standing::Unknown) => Err(SENDER_NOT_FOUND_OUT),
            None => Err(Reply::SHUTTING_DOWN),
        }
    }

    fn count_questions(&self) {
        if self.questions.as_ref().is_some_and(|questions| questions.is_exceeded()) {
            self.count_limit(metrics::Limit::Questions);
        }
    }

    /// Says in the log when fields were taken out.
    pub(super) fn note_forged(&self, removed: u32) {
        if removed > 0 {
            info!(cid = %self.id, peer = %self.peer, removed, "Authentication-Results that claimed to be ours were removed");
        }
    }
}
