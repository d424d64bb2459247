//! The report to a sender about recipients that did not get an accepted message (RFC 3464, RFC 6522).

use postrider_proto::address::{Address, ForwardPath};
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::envelope::{Envelope, Recipient};
use postrider_proto::smtp::trace;

/// A recipient that failed.
pub(super) struct Failed<'a> {
    pub(super) recipient: &'a Recipient,
    pub(super) reply: &'a Reply,
}

fn path(path: &ForwardPath) -> String {
    match path {
        ForwardPath::Postmaster => "postmaster".to_owned(),
        ForwardPath::Address(address) => address.to_string(),
        ForwardPath::Literal(literal) => literal.localpart.to_string(),
    }
}

/// A whole message, from the server to `sender`.
pub(super) fn report(
    hostname: &str,
    sender: &Address,
    envelope: &Envelope,
    failed: &[Failed<'_>],
    unix_seconds: i64,
) -> String {
    let boundary = format!("=_report_{unix_seconds}_{}", failed.len());
    let date = trace::date(unix_seconds);
    let utf8 = envelope.smtputf8;
    let status_type = if utf8 { "message/global-delivery-status" } else { "message/delivery-status" };
    let address_type = if utf8 { "utf-8" } else { "rfc822" };
    let mut text = String::new();
    let mut status = format!("Reporting-MTA: dns; {hostname}\r\nArrival-Date: {date}\r\n");
    if let Some(id) = &envelope.envelope_id {
        status += &format!("Original-Envelope-Id: {}\r\n", one_line(id));
    }
    for Failed { recipient, reply } in failed {
        let address = one_line(&path(&recipient.path));
        text += &format!("  {address}: {} {}\r\n", reply.code(), one_line(reply.text()));
        status += "\r\n";
        if let Some(original) = &recipient.original {
            status += &format!(
                "Original-Recipient: {};{}\r\n",
                one_line(&original.address_type),
                one_line(&original.address)
            );
        }
        let (class, subject, detail) = reply.enhanced().unwrap_or((5, 0, 0));
        status += &format!(
            "Final-Recipient: {address_type};{address}\r\nAction: failed\r\nStatus: {class}.{subject}.{detail}\r\n\
             Diagnostic-Code: smtp; {} {class}.{subject}.{detail} {}\r\nLast-Attempt-Date: {date}\r\n",
            reply.code(),
            one_line(reply.text()),
        );
    }
    format!(
        "From: Mail delivery <postmaster@{hostname}>\r\nTo: <{sender}>\r\n\
         Subject: Mail could not be delivered to all recipients\r\nDate: {date}\r\n\
         Message-ID: <report.{unix_seconds}.{boundary_id}@{hostname}>\r\nAuto-Submitted: auto-replied\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Your message was delivered to some of its recipients, but not to these:\r\n\r\n{text}\r\n\
         --{boundary}\r\nContent-Type: {status_type}\r\n\r\n{status}\r\n--{boundary}--\r\n",
        boundary_id = failed.len(),
    )
}

/// Nothing in a field may end its line early.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use postrider_proto::address::ReversePath;
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
        assert!(report.contains("Final-Recipient: rfc822;b@localhost\r\n"), "{report}");
        assert!(report.contains("Status: 4.2.2\r\n"), "{report}");
        assert!(!report.replace("\r\n", "").contains(['\r', '\n']));
        let mut scanner = Scanner::new(mime::Limits::DEFAULT);
        scanner.push(report.as_bytes());
        let structure = scanner.finish();
        assert_eq!(structure.parts.len(), 3, "a multipart with two parts");
        assert!(structure.root().field(FieldName::From).is_some());
    }
}
