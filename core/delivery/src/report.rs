//! Which delivery status notifications are sent, to whom, and with what (RFC 3461 §4 to §6, RFC 8689 §5).
//!
//! Always holds: nothing is ever sent to the null sender, nobody hears of what NOTIFY excludes, and a report about a
//! report of ours is none that anybody could answer with another.

use postrider_proto::smtp::envelope::{Notify, Return};

use crate::security::{Kind, Requirement};

/// What a report says of a recipient (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It doesn't get the message.
    Failed,
    /// It hasn't got it yet.
    Delayed,
    /// It has it in its mailbox.
    Delivered,
    /// A host took it that makes no such reports.
    Relayed,
}

impl Action {
    /// The value of the field `Action`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
        }
    }
}

/// What happened to a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It doesn't get the message.
    Failed,
    /// It waits, and it is time to say so ([`crate::backoff::Backoff::tells_of_delay`]).
    Delayed,
    /// It is in a mailbox here.
    Stored,
    /// Another host took it, and was given the recipient's wishes: reports are its matter from here.
    HandedOn,
    /// Another host took it that has no DSN extension.
    Relayed,
}

/// The message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Whether MAIL FROM was the null sender.
    pub has_null_sender: bool,
    /// The kind of message.
    pub kind: Kind,
    /// The sender's wish about TLS.
    pub requirement: Requirement,
    /// RET.
    pub ret: Option<Return>,
    /// Whether the whole message is small enough to go back.
    pub fits: bool,
}

/// Who gets a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Addressee {
    /// The sender: into the account's mailbox when it was submitted here, otherwise to the reverse path.
    Sender,
    /// The postmaster, into a mailbox here, never over SMTP: the message had the null sender (RFC 3461 §5.2), or is
    /// one of the server's own reports.
    Postmaster,
}

/// A report to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who gets it.
    pub to: Addressee,
    /// What it says.
    pub action: Action,
    /// Of which recipients: places in what was asked about.
    pub recipients: Vec<usize>,
    /// What it brings back of the message.
    pub returns: Return,
    /// Whether it is sent with REQUIRETLS (RFC 8689 §5).
    pub requires_tls: bool,
}

/// What is told of a recipient (RFC 3461 §5.2.2, §5.2.3, §5.2.5, §5.2.6).
#[must_use]
pub fn action(event: Event, notify: Option<Notify>) -> Option<Action> {
    // Without NOTIFY: failures and delays.
    let wishes = notify.unwrap_or(Notify { success: false, failure: true, delay: true });
    match event {
        Event::Failed => wishes.failure.then_some(Action::Failed),
        Event::Delayed => wishes.delay.then_some(Action::Delayed),
        Event::Stored => wishes.success.then_some(Action::Delivered),
        Event::Relayed => wishes.success.then_some(Action::Relayed),
        Event::HandedOn => None,
    }
}

/// The reports of what happened to recipients of one message: at most one for each action.
#[must_use]
pub fn decide(about: &About, recipients: &[(Event, Option<Notify>)]) -> Vec<Report> {
    let mut reports: Vec<Report> = Vec::new();
    let is_unanswerable = about.has_null_sender || about.kind != Kind::Message;
    for (index, (event, notify)) in recipients.iter().enumerate() {
        let Some(action) = action(*event, *notify) else { continue };
        let to = match action {
            Action::Failed if is_unanswerable => Addressee::Postmaster,
            _ if is_unanswerable => continue,
            _ => Addressee::Sender,
        };
        match reports.iter_mut().find(|report| report.action == action) {
            Some(report) => report.recipients.push(index),
            None => reports.push(Report {
                to,
                action,
                recipients: vec![index],
                returns: returns(about, action),
                requires_tls: about.requirement == Requirement::Required,
            }),
        }
    }
    reports.sort_by_key(|report| report.action);
    reports
}

/// What a report brings back of the message. RFC 3461 §4.3: the whole message only with failures. RFC 8689 §5: with REQUIRETLS
/// never.
#[must_use]
pub fn returns(about: &About, action: Action) -> Return {
    let wants_all = about.ret == Some(Return::Full) && about.requirement != Requirement::Required;
    if action == Action::Failed && wants_all && about.fits { Return::Full } else { Return::Headers }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: About = About {
        has_null_sender: false,
        kind: Kind::Message,
        requirement: Requirement::Unset,
        ret: None,
        fits: true,
    };
    const NEVER: Option<Notify> = Some(Notify { success: false, failure: false, delay: false });
    const ALL: Option<Notify> = Some(Notify { success: true, failure: true, delay: true });
    const SUCCESS: Option<Notify> = Some(Notify { success: true, failure: false, delay: false });
    const FAILURE: Option<Notify> = Some(Notify { success: false, failure: true, delay: false });
    const EVENTS: [Event; 5] =
        [Event::Failed, Event::Delayed, Event::Stored, Event::HandedOn, Event::Relayed];

    #[test]
    fn wishes_for_reports_are_honoured() {
        use Action::{Delayed, Delivered, Failed, Relayed};
        for (notify, expected) in [
            (None, [Some(Failed), Some(Delayed), None, None, None]),
            (NEVER, [None; 5]),
            (ALL, [Some(Failed), Some(Delayed), Some(Delivered), None, Some(Relayed)]),
            (SUCCESS, [None, None, Some(Delivered), None, Some(Relayed)]),
            (FAILURE, [Some(Failed), None, None, None, None]),
        ] {
            assert_eq!(EVENTS.map(|event| action(event, notify)), expected, "{notify:?}");
        }
    }

    #[test]
    fn one_report_tells_of_all_recipients_with_one_fate() {
        let recipients = [
            (Event::Relayed, SUCCESS),
            (Event::Failed, None),
            (Event::Delayed, None),
            (Event::Failed, NEVER),
            (Event::Failed, FAILURE),
        ];
        let reports = decide(&MESSAGE, &recipients);
        let shown: Vec<(Action, &[usize])> =
            reports.iter().map(|report| (report.action, report.recipients.as_slice())).collect();
        assert_eq!(shown, [(Action::Failed, &[1, 4][..]), (Action::Delayed, &[2]), (Action::Relayed, &[0])]);
        assert!(reports.iter().all(|report| report.to == Addressee::Sender));
    }

    /// RFC 3461 §5.2: only the postmaster hears of it, and of failures alone.
    #[test]
    fn nothing_is_reported_to_the_null_sender() {
        let kinds = [Kind::Message, Kind::Notification, Kind::DmarcReport, Kind::TlsReport];
        for kind in kinds {
            for has_null_sender in [false, true] {
                let about = About { kind, has_null_sender, ..MESSAGE };
                for event in EVENTS {
                    for notify in [None, ALL, SUCCESS, FAILURE, NEVER] {
                        let reports = decide(&about, &[(event, notify)]);
                        let to_sender = reports.iter().any(|report| report.to == Addressee::Sender);
                        let to_postmaster = reports.iter().any(|report| report.to == Addressee::Postmaster);
                        let is_answerable = kind == Kind::Message && !has_null_sender;
                        assert!(is_answerable || !to_sender);
                        assert!(!is_answerable || !to_postmaster);
                        assert!(!to_postmaster || event == Event::Failed);
                    }
                }
            }
        }
    }

    #[test]
    fn the_whole_message_goes_back_only_when_it_may() {
        let full = About { ret: Some(Return::Full), ..MESSAGE };
        let of = |about: About, event| decide(&about, &[(event, ALL)])[0].clone();
        assert_eq!(of(full, Event::Failed).returns, Return::Full);
        assert_eq!(of(MESSAGE, Event::Failed).returns, Return::Headers);
        assert_eq!(of(full, Event::Delayed).returns, Return::Headers);
        assert_eq!(of(About { fits: false, ..full }, Event::Failed).returns, Return::Headers);
        let required = of(About { requirement: Requirement::Required, ..full }, Event::Failed);
        assert_eq!((required.returns, required.requires_tls), (Return::Headers, true));
        assert!(!of(full, Event::Failed).requires_tls);
    }
}
