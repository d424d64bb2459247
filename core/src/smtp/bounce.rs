//! Reports to a sender about recipients here: of an accepted message that some of them did not get, and of its delivery, where
//! that was asked for (RFC 3461 §5.2.3, RFC 3464).

use postrider_proto::address::Address;
use postrider_proto::dsn::{self, Action, Diagnostic, Letter, Report, Returned};
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::client::{EnhancedCode, Reply as Said};
use postrider_proto::smtp::envelope::{Envelope, Recipient};

use crate::delivery::nonce;
use crate::delivery::reports::named;

/// What a mailbox that took a message stands for: RFC 3463 §3.2, a valid address.
const DELIVERED: EnhancedCode = EnhancedCode { class: 2, subject: 1, detail: 5 };

/// A recipient that is told of.
pub(super) struct Told<'a> {
    pub(super) recipient: &'a Recipient,
    /// Why it didn't get the message; none when it did.
    pub(super) failure: Option<&'a Reply>,
}

/// A whole message, from the server to `sender`. `header` is that of the message that it is about, if it is known.
pub(super) fn report(
    hostname: &str,
    sender: &Address,
    envelope: &Envelope,
    told: &[Told<'_>],
    unix_seconds: i64,
    header: Option<&[u8]>,
) -> Vec<u8> {
    let report = Report {
        reporting_mta: hostname.into(),
        arrival: Some(unix_seconds),
        envelope_id: envelope.envelope_id.clone(),
        future_release: envelope.hold.map(|hold| hold.to_string().into()),
        recipients: told.iter().map(|told| reported(told, unix_seconds)).collect(),
        utf8: envelope.smtputf8,
    };
    let (id, subject) = header.map(named).unwrap_or_default();
    let letter = Letter {
        to: sender,
        sender: None,
        now: unix_seconds,
        unique: &nonce(),
        about: id.as_deref(),
        subject: subject.as_deref(),
        returned: if header.is_some() { Returned::Headers } else { Returned::Nothing },
    };
    let composed = dsn::compose(&report, &letter);
    [composed.before.as_bytes(), header.unwrap_or_default(), composed.after.as_bytes()].concat()
}

fn reported(told: &Told<'_>, unix_seconds: i64) -> dsn::Recipient {
    let Told { recipient, failure } = told;
    let address = recipient.path.to_string();
    let (action, status, said) = match failure {
        None => (Action::Delivered, DELIVERED, None),
        Some(reply) => {
            let (class, subject, detail) = reply.enhanced().unwrap_or((5, 0, 0));
            let status = EnhancedCode { class, subject: subject.into(), detail: detail.into() };
            (Action::Failed, status, Said::new(reply.code(), Some(status), reply.text()))
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
