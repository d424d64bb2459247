//! Reports to a sender about recipients here: of an accepted message that some of them did not get, and of its delivery, where
//! that was asked for (RFC 3461 §5.2.3, RFC 3464).

use postrider_delivery::report::{About, Action, returns};
use postrider_delivery::security::{self, Requirement};
use postrider_proto::address::{Address, Domain};
use postrider_proto::dsn::{self, Diagnostic, Letter, Report, Returned};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::client::{EnhancedCode, Reply as Said};
use postrider_proto::smtp::envelope::{BodyType, Envelope, Recipient, Return};
use postrider_storage::engine::Batch;
use postrider_storage::queue::{NewQueued, NewRecipient};
use postrider_storage::rows::{Kind, RequireTls};
use tracing::{error, info};

use super::deliver::Delivery;
use super::leaving::wish;
use super::policy;
use crate::delivery::reports::{self, named};
use crate::delivery::{self, Mail, Unstored, nonce};
use crate::intake;
use crate::signing;

/// What a mailbox that took a message stands for: RFC 3463 §3.2, a valid address.
const DELIVERED: EnhancedCode = EnhancedCode { class: 2, subject: 1, detail: 5 };

/// A recipient that is told of.
struct Told<'a> {
    recipient: &'a Recipient,
    /// Why it didn't get the message; none when it did.
    failure: Option<&'a Reply>,
}

impl Delivery {
    /// Stores a text as a content.
    async fn take(&self, text: &[u8]) -> Result<intake::Message, Reply> {
        delivery::taken(&self.shard, text).await.map_err(|error| policy::intake_reply(&error, self.id))
    }

    /// Reports to the sender about recipients that did not get the message.
    pub(super) async fn report(&self, failed: &[(usize, Reply)]) -> Result<(), Reply> {
        let told = failed.iter().filter_map(|(number, reply)| {
            Some(Told { recipient: self.envelope.recipients.get(*number)?, failure: Some(reply) })
        });
        let told = told.filter(|told| told.recipient.notify.is_none_or(|notify| notify.failure));
        self.tell(Action::Failed, told.collect()).await
    }

    /// Reports to the sender that the message is in mailboxes, where it asked for that (RFC 3461 §5.2.3).
    pub(super) async fn confirm(&self, delivered: &[usize]) -> Result<(), Reply> {
        let recipients = delivered.iter().filter_map(|number| self.envelope.recipients.get(*number));
        let asked = recipients.filter(|recipient| recipient.notify.is_some_and(|notify| notify.success));
        let told = asked.map(|recipient| Told { recipient, failure: None });
        self.tell(Action::Delivered, told.collect()).await
    }

    /// What comes back of the message, as with reports of the queue.
    fn returns(&self, action: Action) -> Return {
        let about = About {
            has_null_sender: self.envelope.reverse_path.address().is_none(),
            kind: security::Kind::Message,
            requirement: match wish(&self.envelope, self.facts.tls_required) {
                RequireTls::Required => Requirement::Required,
                RequireTls::No => Requirement::No,
                RequireTls::Unset => Requirement::Unset,
            },
            ret: self.envelope.ret,
            fits: reports::fits(self.content.size, self.envelope.body == BodyType::BinaryMime),
        };
        returns(&about, action)
    }

    /// Stores a report: in the mailbox of our own user, otherwise in the queue.
    async fn tell(&self, action: Action, told: Vec<Told<'_>>) -> Result<(), Reply> {
        let (Some(sender), false) = (self.envelope.reverse_path.address(), told.is_empty()) else {
            return Ok(());
        };
        let returns = self.returns(action);
        // One whole message at a time is in memory.
        let _one = match returns {
            Return::Full => Some(delivery::composing(&self.shard).await.map_err(|_| Reply::LOCAL_ERROR)?),
            Return::Headers => None,
        };
        let original = reports::original(&self.shard.shared.reads, self.content, returns).await;
        let original = original
            .inspect_err(|error| error!(cid = %self.id, %error, "a report lacks what it brings back"))
            .ok();
        let original = original.as_deref().map(|original| (returns, original));
        let report = report(&self.hostname, sender, &self.envelope, &told, self.now, original);
        if let Some(account) = self.sender {
            let message = self.take(&report).await?;
            let content = message.content;
            let mail = vec![Mail { message, is_needed: true }];
            let inbox = MailboxName::inbox();
            match delivery::into_mailbox(&self.shard, account, inbox, mail, Batch::new()).await {
                Ok(_) => return Ok(()),
                Err(Unstored::Refused(why)) => {
                    info!(cid = %self.id, %why, "a report has no room in the sender's mailbox");
                    intake::abandon(&self.shard.shared.committer, content);
                    if action != Action::Failed {
                        return Ok(());
                    }
                    // There may be room later: it waits for that in the queue.
                }
                Err(Unstored::Failed(error)) => {
                    error!(cid = %self.id, %error, "a report can't be stored");
                    intake::abandon(&self.shard.shared.committer, content);
                    return Err(Reply::LOCAL_ERROR);
                }
            }
        }
        let shared = &self.shard.shared;
        let message = self.take(&report).await?;
        let prefix = match Domain::parse(&self.hostname) {
            Ok(hostname) => signing::sign_ours(&self.shard, &hostname, &report).await,
            // A server that is named by an address signs nothing.
            Err(_) => Vec::new(),
        };
        let queued = NewQueued {
            prefix,
            kind: Kind::Report,
            // A report may come back as the message went (RFC 8689 §5).
            require_tls: wish(&self.envelope, self.facts.tls_required),
            smtputf8: self.envelope.smtputf8 && !report.is_ascii(),
            eight_bit: !report.is_ascii(),
            long_lines: returns == Return::Full && self.facts.has_long_line,
            ..NewQueued::new(message.content, self.now, vec![NewRecipient::new(sender.to_string())])
        };
        let queued = self.enqueue(queued, (Some(message.batch), message.incarnation), None).await;
        if queued.is_err() {
            intake::abandon(&shared.committer, message.content);
        }
        queued.map(drop)
    }
}

/// A whole message, from the server to `sender`. `original` is what comes back of the message that it is about, if that is
/// known.
fn report(
    hostname: &str,
    sender: &Address,
    envelope: &Envelope,
    told: &[Told<'_>],
    unix_seconds: i64,
    original: Option<(Return, &[u8])>,
) -> Vec<u8> {
    let report = Report {
        reporting_mta: hostname.into(),
        arrival: Some(unix_seconds),
        envelope_id: envelope.envelope_id.clone(),
        future_release: envelope.hold.map(|hold| hold.to_string().into()),
        recipients: told.iter().map(|told| reported(told, unix_seconds)).collect(),
        utf8: envelope.smtputf8,
    };
    let (returned, original) = match original {
        Some((Return::Full, whole)) => (Returned::Full, whole),
        Some((Return::Headers, header)) => (Returned::Headers, header),
        None => (Returned::Nothing, &[][..]),
    };
    let (id, subject) = named(original);
    let letter = Letter {
        to: sender,
        sender: None,
        now: unix_seconds,
        unique: &nonce(),
        about: id.as_deref(),
        subject: subject.as_deref(),
        returned,
    };
    let composed = dsn::compose(&report, &letter);
    [composed.before.as_bytes(), original, composed.after.as_bytes()].concat()
}

fn reported(told: &Told<'_>, unix_seconds: i64) -> dsn::Recipient {
    let Told { recipient, failure } = told;
    let address = recipient.path.to_string();
    let (action, status, said) = match failure {
        None => (dsn::Action::Delivered, DELIVERED, None),
        Some(reply) => {
            let (class, subject, detail) = reply.enhanced().unwrap_or((5, 0, 0));
            let status = EnhancedCode { class, subject: subject.into(), detail: detail.into() };
            (dsn::Action::Failed, status, Said::new(reply.code(), Some(status), reply.text()))
        }
    };
    dsn::Recipient {
        original: recipient.original.clone(),
        diagnostic: said.as_ref().map(Diagnostic::smtp),
        last_attempt: Some(unix_seconds),
        ..dsn::Recipient::new(&address, action, status)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use postrider_proto::address::{ForwardPath, ReversePath};
    use postrider_proto::mime::scan::Scanner;
    use postrider_proto::mime::{self, FieldName};

    use super::*;

    #[test]
    fn a_report_is_a_well_formed_message_that_names_who_failed() {
        let sender = Address::parse("a@example.org").unwrap();
        let envelope = Envelope::new(ReversePath::Address(sender.clone()));
        let recipient = Recipient {
            path: ForwardPath::parse("<b@localhost>").unwrap(),
            notify: None,
            original: None,
            token: 0,
        };
        let told = [Told { recipient: &recipient, failure: Some(&Reply::MAILBOX_FULL) }];
        let write = || {
            let report = report("mail.example", &sender, &envelope, &told, 1_700_000_000, None);
            String::from_utf8(report).unwrap()
        };
        let report = write();
        assert!(report.contains("Final-Recipient: rfc822; b@localhost\r\n"), "{report}");
        assert!(report.contains("Status: 4.2.2\r\n"), "{report}");
        assert!(!report.replace("\r\n", "").contains(['\r', '\n']));
        let mut scanner = Scanner::new(mime::Limits::DEFAULT);
        scanner.push(report.as_bytes());
        let structure = scanner.finish();
        assert_eq!(structure.parts.len(), 3, "a multipart with two parts");
        assert!(structure.root().field(FieldName::From).is_some());
        // Two in a second are two messages.
        let id =
            |report: &str| report.lines().find(|line| line.starts_with("Message-ID:")).map(str::to_owned);
        assert!(id(&report).is_some() && id(&report) != id(&write()), "{report}");
    }
}
