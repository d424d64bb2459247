//! When a call is made again (product 3.13).

/// The pauses after attempts that failed, in seconds. After the last of them comes one more attempt.
const PAUSES: [i64; 11] = [60, 120, 240, 450, 900, 1800, 3600, 7200, 14_400, 28_800, 57_600];

/// Attempts of a call.
#[cfg(test)]
const ATTEMPTS_MAX: u32 = PAUSES.len() as u32 + 1;

/// Seconds until the next attempt after `made` of them, a hundredth more or less by `chance`, which is any number; none
/// when there is no other.
pub(super) fn pause(made: u32, chance: u64) -> Option<i64> {
    let index = usize::try_from(made).ok()?.checked_sub(1)?;
    let pause = *PAUSES.get(index)?;
    let spread = pause / 100;
    // At most two hundredths, and so in range.
    let part = (chance % (2 * spread.unsigned_abs() + 1)).cast_signed();
    Some(pause - spread + part)
}

#[cfg(test)]
mod tests {
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
}
