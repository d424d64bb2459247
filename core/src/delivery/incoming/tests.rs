use postrider_proto::dsn::TypedAddress;

use super::*;

/// A report of another program, as it stands in the mail.
pub(crate) fn report_of(status: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.remote.example (Mail Delivery System)\r\nSubject: Undelivered Mail Returned to Sender\r\n\
         Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; \
         report-type=delivery-status;\r\n\tboundary=\"B1.1700000000/mx.remote.example\"\r\n\r\n\
         This is a MIME-encapsulated message.\r\n\r\n--B1.1700000000/mx.remote.example\r\n\
         Content-Description: Notification\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nI'm sorry.\r\n\r\n\
         --B1.1700000000/mx.remote.example\r\nContent-Description: Delivery report\r\n\
         Content-Type: message/delivery-status\r\n\r\n{status}\r\n--B1.1700000000/mx.remote.example\r\n\
         Content-Description: Undelivered Message Headers\r\nContent-Type: text/rfc822-headers\r\n\r\n\
         Subject: hello\r\n\r\n--B1.1700000000/mx.remote.example--\r\n"
    )
}

/// What Postfix writes.
pub(crate) const POSTFIX: &str = "Reporting-MTA: dns; mx.remote.example\r\nX-Postfix-Queue-ID: 4Xabc\r\n\
    X-Postfix-Sender: rfc822; anna+x@example.org\r\nArrival-Date: Tue, 14 Nov 2023 22:13:20 +0000 (UTC)\r\n\r\n\
    Final-Recipient: rfc822; gone@remote.example\r\nOriginal-Recipient: rfc822;a@x.example\r\nAction: failed\r\n\
    Status: 5.1.1\r\nRemote-MTA: dns; inner.remote.example\r\nDiagnostic-Code: smtp; 550 5.1.1\r\n \
    <gone@remote.example>: Recipient address rejected:\r\n    User unknown in virtual mailbox table\r\n";

/// What Exim writes.
const EXIM: &str = "Reporting-MTA: dns; mx.remote.example\r\n\r\nAction: failed\r\n\
    Final-Recipient: rfc822;gone@remote.example\r\nStatus: 5.0.0\r\nRemote-MTA: dns; inner.remote.example\r\n\
    Diagnostic-Code: smtp; 552 5.2.2 mailbox full\r\n";

fn said(status: &str) -> Option<Reported> {
    let message = report_of(status);
    let report = dsn::read(message.as_bytes())?.report;
    match &*report.recipients {
        [only] => Some(Reported::of(only)),
        _ => None,
    }
}

#[test]
fn reports_of_other_programs_are_understood() {
    use suppression::Verdict::{Nothing, Strike, Suppress};
    let simple = |action: &str, status: &str, diagnostic: &str| {
        format!(
            "Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: {action}\r\nStatus: {status}\r\n\
             {diagnostic}"
        )
    };
    let rows = [
        (POSTFIX.to_owned(), WebhookEvent::Failed, 550, [5, 1, 1], Suppress),
        (EXIM.to_owned(), WebhookEvent::Failed, 552, [5, 2, 2], Strike),
        // Without a reply, the status says it.
        (simple("failed", "5.1.1", ""), WebhookEvent::Failed, 500, [5, 1, 1], Suppress),
        (simple("failed", "5.0.0", ""), WebhookEvent::Failed, 500, [5, 0, 0], Strike),
        // Content and policy say nothing of the address.
        (
            simple("failed", "5.7.1", "Diagnostic-Code: smtp; 550 5.7.1 spam\r\n"),
            WebhookEvent::Failed,
            550,
            [5, 7, 1],
            Nothing,
        ),
        (
            simple("failed", "5.0.0", "Diagnostic-Code: smtp; 550-5.7.26 unauthenticated\r\n"),
            WebhookEvent::Failed,
            550,
            [5, 7, 26],
            Nothing,
        ),
        (simple("Delayed", "4.4.1", ""), WebhookEvent::Delayed, 400, [4, 4, 1], Nothing),
        (simple("delivered", "2.0.0", ""), WebhookEvent::Delivered, 200, [2, 0, 0], Nothing),
        (simple("relayed", "2.0.0", ""), WebhookEvent::Relayed, 200, [2, 0, 0], Nothing),
        (simple("expanded", "2.0.0", ""), WebhookEvent::Expanded, 200, [2, 0, 0], Nothing),
    ];
    for (status, event, code, enhanced, verdict) in rows {
        let found = said(&status).unwrap_or(Reported::UNRECOGNIZED);
        let shown = (found.event(), found.code, found.enhanced, found.verdict());
        assert_eq!(shown, (event, Some(code), Some(enhanced), verdict), "{status}");
    }
}

#[test]
fn what_is_no_report_on_one_recipient_is_unrecognized() {
    let two =
        format!("{POSTFIX}\r\nFinal-Recipient: rfc822; b@c.example\r\nAction: failed\r\nStatus: 5.1.1\r\n");
    for status in [&*two, "", "Reporting-MTA: dns; x\r\n", "Action: read\r\n"] {
        assert_eq!(said(status), None, "{status}");
    }
    assert_eq!(Reported::UNRECOGNIZED.event(), WebhookEvent::Unrecognized);
    assert_eq!(Reported::UNRECOGNIZED.verdict(), suppression::Verdict::Nothing);
    assert_eq!(Reported::UNRECOGNIZED.result(0), None);
}

#[test]
fn a_report_that_this_program_writes_is_understood() {
    let status = EnhancedCode { class: 5, subject: 2, detail: 1 };
    let mut recipient = Recipient::new("a@x.example", Action::Failed, status);
    recipient.original = Some(TypedAddress { address_type: "rfc822".into(), address: "b@x.example".into() });
    recipient.remote_mta = Some("mx.x.example".into());
    recipient.diagnostic = Some(dsn::Diagnostic { kind: "smtp".into(), text: "550 5.2.1 disabled".into() });
    let found = Reported::of(&recipient);
    assert_eq!((found.code, found.enhanced, &*found.host), (Some(550), Some([5, 2, 1]), "mx.x.example"));
    let result = found.result(9);
    let said = result.as_ref().map(|result| (result.action, result.result.text()));
    assert_eq!(said, Some((ReportedAction::Failed, "disabled")));
}

#[test]
fn results_have_what_was_said_without_its_codes() {
    for (text, said) in [
        ("550 5.1.1 nobody", "nobody"),
        ("550-5.1.1 nobody 550 5.1.1 here", "nobody 550 5.1.1 here"),
        ("550 nobody", "nobody"),
        ("550 10.0.0 is not your version", "10.0.0 is not your version"),
        ("550 5.1 nobody", "5.1 nobody"),
        ("nobody", "nobody"),
        ("5501 times", "5501 times"),
        ("\u{e4}\u{e4}", "\u{e4}\u{e4}"),
        ("550", "550"),
    ] {
        assert_eq!(without_codes(text), said, "{text}");
    }
}
