//! What a status says to a person, and what they can do: by who found it. Of a server that said nothing, nothing is
//! claimed.

use super::Recipient;
use crate::smtp::client::EnhancedCode;

/// What it means, and what can be done.
type Words = (&'static str, &'static str);

const LATER: &str = "Please try again later.";
const HOW_IT_IS_WRITTEN: &str = "Please check how the address is written.";
const BEHIND_THE_AT: &str = "Please check how the part of the address behind the @ is written.";
const CONTACT: &str = "Please reach the recipient in another way, and tell what the server said.";
const OUR_OPERATOR: &str = "Please ask whoever runs your mail server.";
const PROTECTED_OTHERWISE: &str = "Please use another way, or send it without that requirement.";

/// What a status means, and what its receiver can do. None where the code says nothing.
pub(super) fn meaning(recipient: &Recipient) -> Option<Words> {
    let status = recipient.status;
    match (&recipient.diagnostic, &recipient.remote_mta) {
        (Some(reply), Some(_)) => {
            // A status becomes permanent when attempts are used up; what was said doesn't.
            let is_temporary = reply.code().map_or(status.class == 4, |code| code < 500);
            mailbox(status, is_temporary).or_else(|| said(status))
        }
        (Some(_), None) => mailbox(status, status.class == 4).or_else(|| said_here(status)),
        (None, _) => found(status),
    }
}

/// What a reply says of the mailbox (RFC 3463 §3.2 and §3.3), whoever's it is.
fn mailbox(status: EnhancedCode, is_temporary: bool) -> Option<Words> {
    Some(match (status.subject, status.detail) {
        (1, 1 | 3) if is_temporary => ("The address can't be confirmed there now.", HOW_IT_IS_WRITTEN),
        (1, 1 | 3) => (
            "The address does not exist there.",
            "Please check how the address is written, and ask the recipient for the right one.",
        ),
        (1, 2 | 4) => ("The part of the address behind the @ leads nowhere.", HOW_IT_IS_WRITTEN),
        (1, 6) => ("The recipient has moved and left no new address.", "Please ask the recipient for it."),
        (1, 10) => NO_MAIL,
        // Used for who sends too fast, too.
        (2, 1) if is_temporary => ("The mailbox takes no mail at the moment.", LATER),
        (2, 1) => ("The mailbox is switched off.", CONTACT),
        (2, 2) => ("The mailbox is full.", "Please try again later, or reach the recipient in another way."),
        (2, 3) | (3, 4) => TOO_LARGE,
        _ => return None,
    })
}

const NO_MAIL: Words = ("This domain takes no mail at all.", "Please ask the recipient for another address.");
const TOO_LARGE: Words = (
    "The message is too large.",
    "Please send it with fewer or smaller attachments, or offer them for download.",
);

/// What else another server's reply says (RFC 3463 §3, RFC 7372, RFC 8689).
fn said(status: EnhancedCode) -> Option<Words> {
    Some(match (status.subject, status.detail) {
        (1, 7 | 8) => (
            "The other server does not accept your address as a sender.",
            "Please ask whoever runs your mail server whether your address is set up for sending.",
        ),
        (3, 1) => ("The other server has no space left.", LATER),
        (3, _) => ("The other server has a problem of its own.", LATER),
        (4, 6) => (
            "The message went round in circles between servers.",
            "Please tell the recipient that mail to this address is forwarded in a circle.",
        ),
        (4, 7) => ("It took too long.", "Please try again later, or reach the recipient in another way."),
        (4, _) => ("The other server has trouble with its network.", LATER),
        (5, 3) => ("There were too many recipients for one message.", "Please send it to fewer at a time."),
        (5, _) => ("The two servers did not understand each other.", CONTACT),
        (6, 7..=10) => INTERNATIONAL,
        (6, _) => {
            ("The other server can not take the content in this form.", "Please send it in a simpler form.")
        }
        (7, 8 | 9) => ("The server that mail leaves through refused the login.", OUR_OPERATOR),
        (7, 10 | 30) => (
            "The message may only be sent protected, and the other server can not do that.",
            PROTECTED_OTHERWISE,
        ),
        (7, 20..=27) => (
            "The other server does not believe that the message is from your domain.",
            "Please ask whoever runs your mail server to check SPF, DKIM and DMARC of your domain.",
        ),
        (7, _) => ("The other server refuses the message by its own rules.", CONTACT),
        _ => return None,
    })
}

const INTERNATIONAL: Words = (
    "The other server does not know international addresses.",
    "Please ask the recipient for an address in plain letters.",
);

/// What else this server says of its own mailboxes.
fn said_here(status: EnhancedCode) -> Option<Words> {
    Some(match status.subject {
        3 | 4 => ("This server has a problem of its own.", LATER),
        7 => ("The message is refused by the rules of this server, or of the recipient.", CONTACT),
        _ => return None,
    })
}

/// What this server found out without a reply: the statuses of `Failure` in the decisions on outgoing mail.
fn found(status: EnhancedCode) -> Option<Words> {
    Some(match (status.subject, status.detail) {
        (1, 0) => (
            "This mail server sends nothing more to this address.",
            "If the address is right, please ask whoever runs your mail server to take it off the list.",
        ),
        (1, 2) => ("The part of the address behind the @ leads nowhere.", HOW_IT_IS_WRITTEN),
        (1, 3) => ("The address can not be used.", HOW_IT_IS_WRITTEN),
        (1, 10) => NO_MAIL,
        (3, 4) => TOO_LARGE,
        (3, _) => ("This mail server could not send the message.", OUR_OPERATOR),
        (4, 1) => (
            "The other server does not answer.",
            "Please try again later, and check how the address is written.",
        ),
        (4, 2) => ("The connection to the other server broke.", LATER),
        (4, 3 | 4) => ("The server for this address could not be found.", BEHIND_THE_AT),
        (4, 6) => (
            "Mail to this domain is led to this server, which does not have the domain.",
            "Please check how the address is written, and tell the recipient.",
        ),
        (4, _) => ("No server could be reached in time.", LATER),
        (5, 3) => ("The other server takes only a few recipients at a time.", LATER),
        (6, 7) => INTERNATIONAL,
        (6, _) => {
            ("The other server can not take the content in this form.", "Please send it in a simpler form.")
        }
        (7, 4) => ("This mail server can not log in at the server that mail leaves through.", OUR_OPERATOR),
        (7, 5) => (
            "The message may go to this domain only over a connection that is protected and verified, and there was none. \
             It was not sent.",
            "Please reach the recipient in another way, and tell what happened: whoever runs the other server can \
             mend it.",
        ),
        (7, 10 | 30) => (
            "The message may only be sent protected, which is not possible with the other server. It was not sent.",
            PROTECTED_OTHERWISE,
        ),
        (7, _) => ("This mail server does not send the message, by its own rules.", OUR_OPERATOR),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsn::{Action, Diagnostic};

    fn status(class: u8, subject: u16, detail: u16) -> EnhancedCode {
        EnhancedCode { class, subject, detail }
    }

    fn what(status: EnhancedCode, server: Option<&str>, reply: Option<&str>) -> Option<&'static str> {
        let recipient = Recipient {
            remote_mta: server.map(Into::into),
            diagnostic: reply.map(|text| Diagnostic { kind: "smtp".into(), text: text.into() }),
            ..Recipient::new("b@them.example", Action::Failed, status)
        };
        meaning(&recipient).map(|(what, _)| what)
    }

    #[test]
    fn nothing_is_said_of_a_server_that_said_nothing() {
        // Who only has a name has not refused.
        for server in [None, Some("mx.them.example")] {
            for subject in 0..=7 {
                for detail in 0..=40 {
                    let words = what(status(5, subject, detail), server, None).unwrap_or_default();
                    assert!(!words.contains("refuse") && !words.contains("problem of its own"), "{words}");
                    assert!(!words.contains("believe") && !words.contains("accept"), "{words}");
                }
            }
        }
    }

    #[test]
    fn every_subject_that_this_server_finds_has_words_of_its_own() {
        let found = [
            (1, 0, "sends nothing more"),
            (1, 2, "leads nowhere"),
            (1, 3, "can not be used"),
            (1, 10, "takes no mail at all"),
            (3, 0, "could not send"),
            (3, 4, "too large"),
            (3, 5, "could not send"),
            (4, 0, "No server could be reached"),
            (4, 1, "does not answer"),
            (4, 2, "broke"),
            (4, 3, "could not be found"),
            (4, 4, "could not be found"),
            (4, 6, "led to this server"),
            (5, 3, "a few recipients"),
            (6, 3, "can not take the content"),
            (6, 7, "international"),
            (7, 0, "does not send the message"),
            (7, 1, "does not send the message"),
            (7, 4, "log in"),
            (7, 5, "only over a connection that is protected"),
            (7, 10, "only be sent protected"),
            (7, 30, "only be sent protected"),
        ];
        for (subject, detail, words) in found {
            let said = what(status(5, subject, detail), None, None).unwrap_or_default();
            assert!(said.contains(words), "{subject}.{detail}: {said}");
        }
    }

    #[test]
    fn who_replied_is_who_is_spoken_of() {
        let refused = status(5, 7, 1);
        let theirs = what(refused, Some("mx.them.example"), Some("550 5.7.1 no")).unwrap_or_default();
        assert!(theirs.starts_with("The other server refuses"), "{theirs}");
        let ours = what(refused, None, Some("550 5.7.1 no")).unwrap_or_default();
        assert!(ours.contains("rules of this server"), "{ours}");
    }

    #[test]
    fn what_was_temporary_is_not_told_as_final_when_attempts_are_used_up() {
        let host = Some("mx.them.example");
        let slow = "450 4.2.1 receiving mail too quickly";
        for class in [4, 5] {
            let words = what(status(class, 2, 1), host, Some(slow)).unwrap_or_default();
            assert_eq!(words, "The mailbox takes no mail at the moment.", "{class}");
        }
        let off = what(status(5, 2, 1), host, Some("550 5.2.1 disabled")).unwrap_or_default();
        assert_eq!(off, "The mailbox is switched off.");
        let unknown = what(status(5, 1, 1), host, Some("450 4.1.1 try later")).unwrap_or_default();
        assert_eq!(unknown, "The address can't be confirmed there now.");
    }
}
