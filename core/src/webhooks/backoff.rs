//! When a call is made again (product 3.13), and when no more.

use postrider_storage::rows::HookEnd;

/// The pauses after attempts that failed, in seconds. After the last of them comes one more attempt.
const PAUSES: [i64; 11] = [60, 120, 240, 450, 900, 1800, 3600, 7200, 14_400, 28_800, 57_600];

/// How long a call may wait in all, in seconds: all attempts take 32 hours, and the rest is for a URL that has more to hear than it
/// takes. Receivers are told to remember ids for longer than that.
pub(crate) const LIFE: i64 = 3 * 24 * 60 * 60;

/// Attempts of a call.
#[cfg(test)]
const ATTEMPTS_MAX: u32 = PAUSES.len() as u32 + 1;

/// Whether a call that was made at `created` has waited for too long.
pub(super) fn is_over(created: i64, now: i64) -> bool {
    now.saturating_sub(created) >= LIFE
}

/// When the next attempt of a call is due that was made at `created` and whose attempt number `made` has failed, or how it ends.
pub(super) fn next(made: u32, created: i64, now: i64, chance: u64) -> Result<i64, HookEnd> {
    let due = now.saturating_add(pause(made, chance).ok_or(HookEnd::Failed)?);
    if is_over(created, due) { Err(HookEnd::Expired) } else { Ok(due) }
}

/// Seconds until the next attempt after `made` of them, a hundredth more or less by `chance`, which is any number; none
/// when there is no other.
fn pause(made: u32, chance: u64) -> Option<i64> {
    let index = usize::try_from(made).ok()?.checked_sub(1)?;
    let pause = *PAUSES.get(index)?;
    let spread = pause / 100;
    // At most two hundredths, and so in range.
    let part = (chance % (2 * spread.unsigned_abs() + 1)).cast_signed();
    Some(pause - spread + part)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn pauses_are_as_documented_and_then_it_is_given_up() {
        let documented = [1.0, 2.0, 4.0, 7.5, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 960.0];
        for (made, minutes) in (1..).zip(documented) {
            let exact = minutes * 60.0;
            let all: Vec<_> = (0..100_000).filter_map(|chance| pause(made, chance)).collect();
            let (least, most) = (all.iter().min(), all.iter().max());
            let [least, most] = [least, most].map(|pause| pause.map_or(0.0, |pause| *pause as f64));
            assert!(least >= exact * 0.99 && most <= exact * 1.01, "{made}: {least} to {most}");
            if exact >= 100.0 {
                assert!(least < exact && most > exact, "{made}: {least} to {most}");
            }
        }
        assert_eq!((pause(0, 1), pause(ATTEMPTS_MAX, 1), pause(u32::MAX, 1)), (None, None, None));
        assert!(pause(ATTEMPTS_MAX - 1, u64::MAX).is_some());
    }

    /// As docs/webhooks.md has it.
    #[test]
    fn there_are_twelve_attempts_in_three_days_and_not_one_more() {
        const DAY: i64 = 24 * 60 * 60;
        assert!(next(11, 0, 1000, 1).is_ok());
        assert_eq!(
            (next(12, 0, 1000, 1), next(13, 0, 1000, 1)),
            (Err(HookEnd::Failed), Err(HookEnd::Failed))
        );
        assert_eq!((is_over(50, 50 + 3 * DAY - 1), is_over(50, 50 + 3 * DAY)), (false, true));
        // The first pause: a hundredth of it is less than a second.
        let last = 3 * DAY - 1 - 60;
        assert_eq!(next(1, 0, last, 0), Ok(3 * DAY - 1));
        assert_eq!(next(1, 0, last + 1, 0), Err(HookEnd::Expired));
    }

    #[test]
    fn a_call_ends_with_its_attempts_or_with_its_life() {
        assert_eq!(next(ATTEMPTS_MAX, 0, 1000, 1), Err(HookEnd::Failed));
        for (made, created, now) in [(1, 0, 1000), (ATTEMPTS_MAX - 1, 0, 1000), (3, 900, -5_000_000)] {
            let due = next(made, created, now, 7).unwrap();
            assert_eq!(Some(due - now), pause(made, 7));
            // To the second.
            let last = due - LIFE;
            assert_eq!(
                (next(made, last, now, 7), next(made, last + 1, now, 7)),
                (Err(HookEnd::Expired), Ok(due))
            );
        }
        assert_eq!(
            (is_over(100, 99 + LIFE), is_over(100, 100 + LIFE), is_over(100, 0)),
            (false, true, false)
        );
        let all: i64 = PAUSES.iter().map(|pause| pause + pause / 100).sum();
        assert!(all < 33 * 60 * 60 && 2 * all < LIFE, "all attempts have time: {all}");
    }
}
