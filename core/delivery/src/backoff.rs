//! When a message is tried again, when its sender hears of a delay, and when it is given up (RFC 5321 §4.5.4.1).
//!
//! The times of a message are known from its beginning: chance is drawn once for it and then passed in each time, so
//! what a report promises is what is planned. A host that can't be reached is waited for (see [`crate::schedule`]),
//! which makes an attempt later than planned, by minutes, and never earlier.

/// The schedule of attempts.
///
/// The wait after attempt `n` is `first` × 2^(n - 1), at most `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first attempt, in seconds.
    pub first: u32,
    /// By how much `first` may be shorter or longer, in seconds. Later waits vary in proportion.
    pub jitter: u32,
    /// The longest wait, in seconds.
    pub longest: u32,
    /// Attempts, the first included.
    pub attempts_max: u16,
    /// After how many failed attempts the sender hears of the delay; 0 for never.
    pub delayed_after: u16,
}

/// Why values are no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackoffError {
    /// Waits of under a minute, or of over a week.
    #[error("waits are between a minute and a week, the longest no shorter than the first")]
    Wait,
    /// A jitter of over half of the wait.
    #[error("the jitter is over half of the first wait")]
    Jitter,
    /// No attempts, or over [`Backoff::ATTEMPTS_MAX`].
    #[error("there are 1 to {max} attempts", max = Backoff::ATTEMPTS_MAX)]
    Attempts,
}

impl Backoff {
    /// The most attempts that can be configured.
    pub const ATTEMPTS_MAX: u16 = 1000;

    /// For messages: 7½ and 15 minutes, ½, 1, 2, 4 and 8 hours, then every 8 hours, 21 attempts in all.
    ///
    /// The last is 4 days, 23 hours, 52 minutes and 30 seconds after the first: RFC 5321 §4.5.4.1 wants a
    /// message to be tried for at least 4 to 5 days. Its sender hears of the delay after the fifth, nearly two hours
    /// after the first.
    pub const MESSAGES: Self =
        Self { first: 450, jitter: 5, longest: 8 * 3600, attempts_max: 21, delayed_after: 5 };

    /// For reports that the server makes itself (DMARC, TLSRPT): 5 attempts within two hours. They are optional, a
    /// newer one follows, and nobody hears of a delay. RFC 8460 §5.5 wants no more than 24 hours.
    pub const REPORTS: Self = Self { attempts_max: 5, delayed_after: 0, ..Self::MESSAGES };

    /// The same with another number of attempts; 0 changes nothing.
    #[must_use]
    pub fn with_attempts(self, attempts_max: u16) -> Self {
        match attempts_max {
            0 => self,
            _ => Self { attempts_max: attempts_max.min(Self::ATTEMPTS_MAX), ..self },
        }
    }

    /// Whether the values make sense.
    pub fn check(&self) -> Result<(), BackoffError> {
        const WEEK: u32 = 7 * 24 * 3600;
        if self.first < 60 || self.longest < self.first || self.longest > WEEK {
            return Err(BackoffError::Wait);
        }
        if self.jitter > self.first / 2 {
            return Err(BackoffError::Jitter);
        }
        if !(1..=Self::ATTEMPTS_MAX).contains(&self.attempts_max) {
            return Err(BackoffError::Attempts);
        }
        Ok(())
    }

    /// The wait after this many attempts without jitter, in seconds.
    #[must_use]
    pub fn nominal(&self, made: u16) -> u32 {
        let doublings = u32::from(made.saturating_sub(1)).min(31);
        let wait = u64::from(self.first) << doublings;
        u32::try_from(wait).map_or(self.longest, |wait| wait.min(self.longest))
    }

    /// The wait after this many attempts, in seconds.
    #[must_use]
    pub fn wait(&self, made: u16, chance: u64) -> u32 {
        let (nominal, first, jitter) =
            (u64::from(self.nominal(made)), u64::from(self.first.max(1)), u64::from(self.jitter));
        let drawn = (first + chance % (2 * jitter + 1)).saturating_sub(jitter);
        u32::try_from(nominal * drawn / first).unwrap_or(u32::MAX)
    }

    /// When the next attempt is, after this many with the last at `last`. None when there is no other.
    #[must_use]
    pub fn next(&self, made: u16, last: i64, chance: u64) -> Option<i64> {
        (made < self.attempts_max).then(|| self.due_when_cut_off(made, last, chance))
    }

    /// When an entry is due that is claimed now for its attempt number `made`, should the process end before
    /// the attempt does: also after the last, whose result is then not known.
    #[must_use]
    pub fn due_when_cut_off(&self, made: u16, now: i64, chance: u64) -> i64 {
        now.saturating_add(i64::from(self.wait(made, chance)))
    }

    /// What is planned after this many attempts, the last of which was at `last`.
    #[must_use]
    pub fn promise(&self, made: u16, last: i64, chance: u64) -> Promise {
        let mut promise = Promise { attempts: Vec::new(), waits: Vec::new() };
        let mut at = last;
        for made in made..self.attempts_max.min(Self::ATTEMPTS_MAX) {
            at = self.due_when_cut_off(made, at, chance);
            promise.attempts.push(at);
            promise.waits.push(self.nominal(made));
        }
        promise
    }

    /// Whether the sender hears of the delay now, after this many failed attempts. Not when there is no other.
    #[must_use]
    pub fn tells_of_delay(&self, made: u16) -> bool {
        self.delayed_after > 0 && made == self.delayed_after && made < self.attempts_max
    }
}

/// What is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// When the next attempts are.
    pub attempts: Vec<i64>,
    waits: Vec<u32>,
}

impl Promise {
    /// Until when the message is tried: the time of the last attempt (`Will-Retry-Until`, RFC 3464 §2.3.9).
    #[must_use]
    pub fn until(&self) -> Option<i64> {
        self.attempts.last().copied()
    }

    /// It in words, for the text of a report.
    #[must_use]
    pub fn sentence(&self) -> String {
        let count = match self.attempts.len() {
            0 => return "It will not be tried again.".into(),
            1 => "once more".into(),
            count => format!("{count} more times"),
        };
        let mut parts: Vec<String> = Vec::new();
        let mut rest = self.waits.as_slice();
        while let Some((wait, after)) = rest.split_first() {
            let equal = 1 + after.iter().take_while(|other| *other == wait).count();
            let words = duration(*wait);
            parts.push(match (equal, parts.is_empty()) {
                (1 | 2, true) => format!("in {words}"),
                (1 | 2, false) => format!("after another {words}"),
                (_, true) => format!("every {words}"),
                (_, false) => format!("then every {words}"),
            });
            rest = &rest[if equal > 2 { equal } else { 1 }..];
        }
        format!("It will be tried {count}: {}.", parts.join(", "))
    }
}

/// A time in words, rounded to minutes.
#[must_use]
pub fn duration(seconds: u32) -> String {
    let minutes = seconds.saturating_add(30) / 60;
    let part = |count: u32, unit: &str| match count {
        0 => None,
        1 => Some(format!("1 {unit}")),
        _ => Some(format!("{count} {unit}s")),
    };
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let parts = [part(days, "day"), part(hours, "hour"), part(minutes, "minute")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "less than a minute".into() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chance in the middle, so that there is no jitter.
    const NONE: u64 = 5;
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn attempts_of_messages_are_those_that_are_documented() {
        let series = Backoff::MESSAGES.promise(1, 0, NONE).attempts;
        let mut documented = vec![450, 1350, 3150, 6750, 13_950, 28_350, 57_150];
        documented.extend((1..=13).map(|more| 57_150 + more * 8 * HOUR));
        assert_eq!(series, documented);
        assert_eq!(series.len() + 1, usize::from(Backoff::MESSAGES.attempts_max));
        // 4 days, 23 hours, 52 minutes, 30 seconds; the standard's 4 to 5 days.
        assert_eq!(series.last(), Some(&(4 * DAY + 23 * HOUR + 52 * 60 + 30)));
        // RFC 5321: two attempts in the first hour, at least.
        assert!(series.iter().filter(|at| **at < HOUR).count() >= 2);
    }

    #[test]
    fn attempts_of_reports_end_within_two_hours() {
        assert_eq!(Backoff::REPORTS.promise(1, 0, NONE).until(), Some(6750));
        assert!((0..=5).all(|made| !Backoff::REPORTS.tells_of_delay(made)));
    }

    #[test]
    fn jitter_is_in_proportion_and_never_more() {
        let backoff = Backoff::MESSAGES;
        for made in 1..40 {
            let nominal = i64::from(backoff.nominal(made));
            let waits: Vec<i64> = (0..11).map(|chance| i64::from(backoff.wait(made, chance))).collect();
            assert!(waits.is_sorted() && waits[5] == nominal);
            assert_eq!((waits[0], waits[10]), (nominal * 445 / 450, nominal * 455 / 450));
        }
        assert_eq!(backoff.nominal(0), 450);
        assert_eq!(backoff.nominal(u16::MAX), backoff.longest);
    }

    #[test]
    fn what_is_promised_is_what_happens() {
        for chance in [0, 3, 9, u64::MAX] {
            let promise = Backoff::MESSAGES.promise(5, 1_000_000, chance);
            let (mut at, mut made, mut happened) = (1_000_000, 5, Vec::new());
            while let Some(next) = Backoff::MESSAGES.next(made, at, chance) {
                happened.push(next);
                (at, made) = (next, made + 1);
            }
            assert_eq!(promise.attempts, happened);
            assert_eq!(promise.until(), happened.last().copied());
            assert_eq!(made, Backoff::MESSAGES.attempts_max);
        }
    }

    #[test]
    fn words_and_numbers_of_a_promise_agree() {
        let sentence = |backoff: Backoff, made| backoff.promise(made, 0, NONE).sentence();
        assert_eq!(
            sentence(Backoff::MESSAGES, 5),
            "It will be tried 16 more times: in 2 hours, after another 4 hours, then every 8 hours."
        );
        // The schedule with eight attempts, whose remaining waits are 2, 4 and 8 hours.
        assert_eq!(
            sentence(Backoff::MESSAGES.with_attempts(8), 5),
            "It will be tried 3 more times: in 2 hours, after another 4 hours, after another 8 hours."
        );
        assert_eq!(sentence(Backoff::MESSAGES, 18), "It will be tried 3 more times: every 8 hours.");
        assert_eq!(sentence(Backoff::MESSAGES, 20), "It will be tried once more: in 8 hours.");
        assert_eq!(sentence(Backoff::MESSAGES, 21), "It will not be tried again.");
        for (seconds, words) in [
            (0, "less than a minute"),
            (450, "8 minutes"),
            (3600, "1 hour"),
            (5400, "1 hour 30 minutes"),
            (172_860, "2 days 1 minute"),
        ] {
            assert_eq!(duration(seconds), words);
        }
    }

    #[test]
    fn the_sender_hears_of_a_delay_once_and_while_there_is_hope() {
        let told =
            |backoff: Backoff| (0..=30).filter(|made| backoff.tells_of_delay(*made)).collect::<Vec<_>>();
        assert_eq!(told(Backoff::MESSAGES), [5]);
        assert_eq!(told(Backoff::MESSAGES.with_attempts(6)), [5]);
        assert!(told(Backoff::MESSAGES.with_attempts(5)).is_empty());
    }

    #[test]
    fn attempts_end_exactly_at_their_limit() {
        let backoff = Backoff::MESSAGES.with_attempts(3);
        assert_eq!(backoff.next(2, 0, NONE), Some(900));
        assert_eq!(backoff.next(3, 0, NONE), None);
        assert_eq!(backoff.due_when_cut_off(3, 0, NONE), 1800);
        assert_eq!(backoff.with_attempts(0), backoff);
    }

    #[test]
    fn schedules_that_make_no_sense_are_refused() {
        let good = Backoff::MESSAGES;
        assert_eq!((good.check(), Backoff::REPORTS.check()), (Ok(()), Ok(())));
        for (backoff, error) in [
            (Backoff { first: 59, ..good }, BackoffError::Wait),
            (Backoff { longest: 449, ..good }, BackoffError::Wait),
            (Backoff { longest: 604_801, ..good }, BackoffError::Wait),
            (Backoff { jitter: 226, ..good }, BackoffError::Jitter),
            (Backoff { attempts_max: 0, ..good }, BackoffError::Attempts),
            (Backoff { attempts_max: 1001, ..good }, BackoffError::Attempts),
        ] {
            assert_eq!(backoff.check(), Err(error));
        }
    }
}
