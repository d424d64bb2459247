//! The suppression list: addresses to which an account sends no more, because they don't exist.
//!
//! Only what is said of the recipient counts. A refusal for content or policy says nothing of the address, and a
//! failure of our own (TLS, DNS, a host that can't be reached) neither.

use crate::limits::STRIKES_MAX;
use crate::outcome::{Answer, Class, Failure, Stage};

/// What a failure for good means for the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suppress {
    /// It is suppressed.
    Now,
    /// It counts: after [`STRIKES_MAX`] messages in a row the address is suppressed.
    Strike,
    /// It says nothing.
    No,
}

/// Details of the subject "address" (RFC 3463 §3.2) that say that there is no such mailbox: bad mailbox, bad system,
/// bad syntax, moved without a new address, null MX. Others are about the sender, or ambiguous.
const ADDRESS_DETAILS: [u16; 5] = [1, 2, 3, 6, 10];
/// Codes that say the same of a recipient when there is no enhanced code. 521 is of the host, whatever is refused.
const RECIPIENT_CODES: [u16; 4] = [550, 551, 553, 556];

/// Decides on a recipient that failed for good, with the failure that was the last.
///
/// `strikes` are the messages to this address, in a row and of this account, that failed before with
/// [`Suppress::Strike`].
#[must_use]
pub fn decide(failure: &Failure, strikes: u8) -> Suppress {
    match kind(failure) {
        Suppress::Strike if strikes + 1 >= STRIKES_MAX => Suppress::Now,
        other => other,
    }
}

/// Decides on an account of it in a report that came in (RFC 3464): the reply that it quotes was to RCPT as far as
/// anybody can tell.
#[must_use]
pub fn decide_reported(answer: &Answer, strikes: u8) -> Suppress {
    decide(&Failure::replied("", Stage::Recipient, answer, false), strikes)
}

fn kind(failure: &Failure) -> Suppress {
    let (Some(answer), Some(stage)) = (&failure.answer, failure.stage) else { return Suppress::No };
    // Who we are and what we sent says nothing of the recipient.
    if matches!(stage, Stage::Auth | Stage::Mail | Stage::Hello) {
        return Suppress::No;
    }
    let is_permanent = answer.class() == Class::Permanent;
    match answer.enhanced {
        // Content and policy, also where the class is another than the code's.
        Some((_, 6 | 7, _)) => Suppress::No,
        // The enhanced code is more exact than the other, when both are of one class.
        Some((class, subject, detail)) if class == answer.code / 100 => match (subject, detail) {
            (1, detail) if ADDRESS_DETAILS.contains(&detail) && is_permanent => Suppress::Now,
            (2, 1) if is_permanent => Suppress::Now,
            (1, _) => Suppress::No,
            _ => Suppress::Strike,
        },
        _ if answer.code == 521 => Suppress::Now,
        _ if stage == Stage::Recipient && RECIPIENT_CODES.contains(&answer.code) => Suppress::Now,
        // After the content a refusal is of the content more often than not.
        _ if stage == Stage::Recipient => Suppress::Strike,
        _ => Suppress::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Status;

    fn after(stage: Stage, code: u16, enhanced: Option<(u16, u16, u16)>, strikes: u8) -> Suppress {
        decide(&Failure::replied("mx.example", stage, &Answer::new(code, enhanced, ""), false), strikes)
    }

    #[test]
    fn only_what_is_said_of_the_recipient_suppresses() {
        use Suppress::{No, Now, Strike};
        let rcpt = Stage::Recipient;
        for (stage, code, enhanced, expected) in [
            (rcpt, 550, Some((5, 1, 1)), Now),
            (rcpt, 550, Some((5, 1, 2)), Now),
            (rcpt, 553, Some((5, 1, 3)), Now),
            (rcpt, 551, Some((5, 1, 6)), Now),
            (rcpt, 556, Some((5, 1, 10)), Now),
            (rcpt, 550, Some((5, 2, 1)), Now),
            (Stage::Content, 550, Some((5, 1, 1)), Now),
            (rcpt, 550, None, Now),
            (rcpt, 551, None, Now),
            (rcpt, 553, None, Now),
            (rcpt, 556, None, Now),
            (Stage::Greeting, 521, None, Now),
            // Policy and content, whatever the code.
            (rcpt, 550, Some((5, 7, 1)), No),
            (rcpt, 550, Some((5, 7, 26)), No),
            (Stage::Content, 550, Some((5, 7, 1)), No),
            (Stage::Content, 554, Some((5, 6, 0)), No),
            (Stage::Content, 550, None, No),
            // The sender.
            (rcpt, 550, Some((5, 1, 8)), No),
            (Stage::Mail, 550, None, No),
            (Stage::Mail, 550, Some((5, 1, 1)), No),
            (Stage::Auth, 535, Some((5, 7, 8)), No),
            // The mailbox, perhaps not for ever.
            (rcpt, 552, Some((5, 2, 2)), Strike),
            (rcpt, 452, Some((4, 2, 2)), Strike),
            (rcpt, 450, Some((4, 1, 1)), No),
            (rcpt, 554, None, Strike),
            (rcpt, 550, Some((5, 0, 0)), Strike),
            // Codes of two classes: the basic one counts, but policy and content stay what they are.
            (rcpt, 550, Some((4, 1, 1)), Now),
            (rcpt, 550, Some((4, 7, 1)), No),
            (rcpt, 550, Some((4, 6, 0)), No),
        ] {
            assert_eq!(after(stage, code, enhanced, 0), expected, "{stage:?} {code} {enhanced:?}");
        }
    }

    #[test]
    fn three_strikes_in_a_row_suppress() {
        let full = Some((5, 2, 2));
        assert_eq!(after(Stage::Recipient, 552, full, 1), Suppress::Strike);
        assert_eq!(after(Stage::Recipient, 552, full, 2), Suppress::Now);
        // What is no strike never becomes one.
        assert_eq!(after(Stage::Recipient, 550, Some((5, 7, 1)), 9), Suppress::No);
        let ours = Failure::ours(Status::permanent(7, 30), "no REQUIRETLS");
        assert_eq!(decide(&ours, 9), Suppress::No);
        assert_eq!(decide_reported(&Answer::new(550, Some((5, 1, 1)), ""), 0), Suppress::Now);
    }
}
