//! The report to a sender about recipients that did not get an accepted message (RFC 3464).

use postrider_proto::address::Address;
use postrider_proto::dsn::{self, Action, Diagnostic, Letter, Report, Returned};
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::client::{EnhancedCode, Reply as Said};
use postrider_proto::smtp::envelope::{Envelope, Recipient};

/// A recipient that failed.
pub(super) struct Failed<'a> {
    pub(super) recipient: &'a Recipient,
    pub(super) reply: &'a Reply,
}

/// A whole message, from the server to `sender`.
pub(super) fn report(
    hostname: &str,
    sender: &Address,
    envelope: &Envelope,
    failed: &[Failed<'_>],
    unix_seconds: i64,
) -> String {
    let recipients = failed.iter().map(|failed| reported(failed, unix_seconds)).collect();
    let report = Report {
        reporting_mta: hostname.into(),
        arrival: Some(unix_seconds),
        envelope_id: envelope.envelope_id.clone(),
        future_release: envelope.hold.map(|hold| hold.to_string().into()),
        recipients,
        utf8: envelope.smtputf8,
    };
    let letter = Letter {
        to: sender,
        sender: None,
        now: unix_seconds,
        unique: &format!("{unix_seconds}n{}", failed.len()),
        about: None,
        subject: None,
        returned: Returned::Nothing,
    };
    let composed = dsn::compose(&report, &letter);
    composed.before + &composed.after
}

fn reported(failed: &Failed<'_>, unix_seconds: i64) -> dsn::Recipient {
    let Failed { recipient, reply } = failed;
    let (class, subject, detail) = reply.enhanced().unwrap_or((5, 0, 0));
    let status = EnhancedCode { class, subject: subject.into(), detail: detail.into() };
    let said = Said::new(reply.code(), Some(status), reply.text());
    dsn::Recipient {
        original: recipient.original.clone(),
        diagnostic: said.as_ref().map(Diagnostic::smtp),
        last_attempt: Some(unix_seconds),
        ..dsn::Recipient::new(&recipient.path.to_string(), Action::Failed, status)
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
        let failed = [Failed { recipient: &recipient, reply: &Reply::MAILBOX_FULL }];
        let report = report("mail.example", &sender, &envelope, &failed, 1_700_000_000);
        assert!(report.contains("Final-Recipient: rfc822; b@localhost\r\n"), "{report}");
        assert!(report.contains("Status: 4.2.2\r\n"), "{report}");
        assert!(!report.replace("\r\n", "").contains(['\r', '\n']));
        let mut scanner = Scanner::new(mime::Limits::DEFAULT);
        scanner.push(report.as_bytes());
        let structure = scanner.finish();
        assert_eq!(structure.parts.len(), 3, "a multipart with two parts");
        assert!(structure.root().field(FieldName::From).is_some());
    }
}
