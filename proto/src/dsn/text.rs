//! What a report says to a person: what happened, what the other server said, what happens next, and what can be
//! done.

use std::fmt::Write as _;

use super::meaning::meaning;
use super::write::pieces;
use super::{Action, Letter, Recipient, Report, Returned};

/// Columns of the text.
const COLUMNS: usize = 72;
/// Recipients that are shown one by one; all of them are in the part for machines.
const RECIPIENTS_SHOWN_MAX: usize = 100;
/// Octets of a text of others that are shown.
const SHOWN_OCTETS_MAX: usize = 4096;

/// A text of others with no more than it may hold: no control character, and ASCII unless UTF-8 is allowed.
pub(super) fn shown(text: &str, utf8: bool) -> String {
    let text = &text[..text.floor_char_boundary(SHOWN_OCTETS_MAX)];
    let fits = |c: char| matches!(c, ' '..='~') || (utf8 && !c.is_ascii() && !c.is_control());
    let one_line = |c: char| match c {
        '\r' | '\n' | '\t' => ' ',
        c if fits(c) => c,
        _ => '?',
    };
    text.chars().map(one_line).collect()
}

/// The whole text.
pub(super) fn text(report: &Report, letter: &Letter<'_>) -> String {
    let mut page = Page { out: String::new() };
    page.line(0, &format!("This is the mail server {}.", report.reporting_mta));
    for action in [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed, Action::Expanded] {
        let concerned: Vec<&Recipient> =
            report.recipients.iter().filter(|recipient| recipient.action == action).collect();
        if concerned.is_empty() {
            continue;
        }
        page.gap();
        match letter.sender {
            None => page.line(0, heading(action)),
            Some("") => page.line(0, "A message with the null sender could not be delivered to:"),
            Some(sender) => page.line(0, &format!("A message from {sender} could not be delivered to:")),
        }
        for recipient in concerned.iter().take(RECIPIENTS_SHOWN_MAX) {
            page.gap();
            page.recipient(recipient, action == Action::Failed && letter.sender.is_none());
        }
        if let Some(more) = concerned.len().checked_sub(RECIPIENTS_SHOWN_MAX).filter(|more| *more > 0) {
            page.gap();
            page.line(2, &format!("and {more} more, which the attached report names."));
        }
        page.gap();
        page.line(0, if letter.sender.is_some() { TOLD_TO_NOBODY } else { closing(action) });
    }
    page.gap();
    page.message(report, letter);
    page.out
}

const fn heading(action: Action) -> &'static str {
    match action {
        Action::Failed => "Your message could not be delivered to:",
        Action::Delayed => "Your message could not be delivered yet to:",
        Action::Delivered => "Your message was delivered to:",
        Action::Relayed => "Your message was passed on to the next server for:",
        Action::Expanded => {
            "Your message was delivered to this address, which passes it on to several others:"
        }
    }
}

const fn closing(action: Action) -> &'static str {
    match action {
        Action::Failed => "It will not be tried again. You won't get another report about these recipients.",
        Action::Delayed => {
            "You need not do anything, and need not send it again: it is tried again by itself. If it can't be \
             delivered in the end, you get another report."
        }
        Action::Delivered => "You asked for this report. It doesn't say that anybody has read the message.",
        Action::Relayed => {
            "That server doesn't report on delivery, so you won't hear of success. A failure may still be reported."
        }
        Action::Expanded => "You may still get reports about failures at the other addresses.",
    }
}

/// The end of a report that doesn't go to the sender.
const TOLD_TO_NOBODY: &str = "It will not be tried again, and its sender was not told.";

/// The part is UTF-8 whatever the report may have elsewhere: it is encoded on its way where it has to be.
struct Page {
    out: String,
}

impl Page {
    /// An empty line.
    fn gap(&mut self) {
        self.out.push_str("\r\n");
    }

    /// A paragraph, wrapped, each line after so many spaces.
    fn line(&mut self, indent: usize, text: &str) {
        let text = shown(text, true);
        let mut column = 0;
        for piece in text.split(' ').filter(|word| !word.is_empty()).flat_map(pieces) {
            let width = piece.chars().count();
            if column > indent && column + 1 + width > COLUMNS {
                self.out.push_str("\r\n");
                column = 0;
            }
            if column == 0 {
                self.out.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            } else {
                self.out.push(' ');
                column += 1;
            }
            self.out.push_str(piece);
            column += width;
        }
        self.out.push_str("\r\n");
    }

    fn recipient(&mut self, recipient: &Recipient, tells_what_to_do: bool) {
        let name = &recipient.address.address;
        match recipient.original.as_ref().filter(|original| original.address != *name) {
            Some(original) => self.line(2, &format!("{name} (for {})", original.address)),
            None => self.line(2, name),
        }
        let advice = meaning(recipient);
        let is_good = !matches!(recipient.action, Action::Failed | Action::Delayed);
        if let Some((what, _)) = advice.filter(|_| !is_good) {
            self.line(4, what);
        }
        if let Some(reason) = &recipient.reason {
            self.line(4, &format!("What happened: {reason}."));
        }
        if let Some(diagnostic) = &recipient.diagnostic {
            match &recipient.remote_mta {
                Some(server) => self.line(4, &format!("The server {server} said:")),
                None => self.line(4, "This server said:"),
            }
            self.line(6, &diagnostic.text);
        }
        self.times(recipient);
        if let Some((_, what_to_do)) = advice.filter(|_| tells_what_to_do) {
            self.line(4, what_to_do);
        }
    }

    /// When it was and will be tried.
    fn times(&mut self, recipient: &Recipient) {
        let mut said = String::new();
        let times =
            |attempts: u32| if attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
        let last = recipient.last_attempt.map(|time| format!("on {}", moment(time)));
        let _ = match (recipient.action, recipient.attempts, last) {
            (Action::Failed, attempts, Some(last)) if attempts > 1 => {
                write!(said, "It was tried {}, the last time {last}, and then given up.", times(attempts))
            }
            (Action::Failed, _, Some(last)) => write!(said, "It was tried {last}."),
            (Action::Delayed, attempts, Some(last)) if attempts > 0 => {
                write!(said, "It was tried {} so far, the last time {last}.", times(attempts))
            }
            (Action::Delayed, _, Some(last)) => write!(said, "It was tried {last}."),
            (_, _, Some(last)) => write!(said, "This was {last}."),
            (_, _, None) => Ok(()),
        };
        if recipient.action == Action::Delayed {
            let _ = match (recipient.next_attempt, recipient.will_retry_until) {
                (Some(next), Some(until)) => write!(
                    said,
                    " It is tried again on {}, and if need be until {}.",
                    moment(next),
                    moment(until)
                ),
                (Some(next), None) => write!(said, " It is tried again on {}.", moment(next)),
                (None, Some(until)) => write!(said, " It is tried again until {}.", moment(until)),
                (None, None) => Ok(()),
            };
        }
        if !said.is_empty() {
            self.line(4, said.trim_start());
        }
    }

    /// Which message it is about, and what comes with the report.
    fn message(&mut self, report: &Report, letter: &Letter<'_>) {
        self.line(0, "About which message:");
        if let Some(subject) = letter.subject.filter(|subject| !subject.trim().is_empty()) {
            self.line(2, &format!("Subject: {subject}"));
        }
        if let Some(arrival) = report.arrival {
            self.line(2, &format!("Received here on {}", moment(arrival)));
        }
        if let Some(id) = letter.about {
            self.line(2, &format!("Message-ID: {id}"));
        }
        match letter.returned {
            Returned::Nothing => {}
            Returned::Headers => self.line(2, "Its header is attached."),
            Returned::Full => self.line(2, "It is attached as a whole."),
        }
    }
}

/// A time for people: to the minute, in UTC.
fn moment(unix_seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(unix_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%A, %-d %B %Y, %H:%M UTC").to_string()
}
