//! How many at a time: grows with success, shrinks when the other side wants less.

use super::Settings;

/// A number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    size: u16,
    /// Successes since it grew.
    credit: u16,
    /// Until the other side has had enough for the first time, each success makes it grow.
    is_opening: bool,
}

impl Window {
    /// Two, where so many are allowed: one that stalls doesn't hold up everything.
    pub(super) fn new(most: u16) -> Self {
        Self { size: most.clamp(1, 2), credit: 0, is_opening: true }
    }

    pub(super) fn size(&self) -> u16 {
        self.size
    }

    pub(super) fn grow(&mut self, most: u16) {
        self.credit = self.credit.saturating_add(1);
        if self.is_opening || self.credit >= self.size {
            self.size = self.size.saturating_add(1);
            self.credit = 0;
        }
        self.size = self.size.min(most.max(1));
    }

    pub(super) fn shrink(&mut self) {
        *self = Self { size: (self.size / 2).max(1), credit: 0, is_opening: false };
    }

    pub(super) fn close(&mut self) {
        *self = Self { size: 1, credit: 0, is_opening: false };
    }
}

/// The pause after so many failures in a row, in seconds.
pub(super) fn pause(settings: Settings, failures: u8) -> i64 {
    let doublings = u32::from(failures.saturating_sub(1)).min(20);
    let pause = u64::from(settings.pause_first) << doublings;
    i64::try_from(pause.min(u64::from(settings.pause_max))).unwrap_or(i64::from(settings.pause_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_fast_and_after_the_first_no_slowly() {
        let mut window = Window::new(8);
        let grown = |window: &mut Window, times: usize| {
            (0..times).for_each(|_| window.grow(8));
            window.size()
        };
        assert_eq!(grown(&mut window, 3), 5);
        assert_eq!(grown(&mut window, 100), 8);
        window.shrink();
        assert_eq!(window.size(), 4);
        assert_eq!((grown(&mut window, 3), grown(&mut window, 1)), (4, 5));
        assert_eq!((grown(&mut window, 4), grown(&mut window, 1)), (5, 6));
        window.close();
        assert_eq!((window.size(), grown(&mut window, 1)), (1, 2));
        window.close();
        window.shrink();
        assert_eq!(window.size(), 1);
    }

    #[test]
    fn it_never_opens_further_than_it_may() {
        for (most, expected) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
            assert_eq!(Window::new(most).size(), expected);
            let mut window = Window::new(most);
            (0..10).for_each(|_| window.grow(most));
            assert_eq!(window.size(), most.max(1));
        }
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let pauses = [1, 2, 3, 4, 5, 6, 255].map(|failures| pause(Settings::DEFAULT, failures));
        assert_eq!(pauses, [60, 120, 240, 480, 900, 900, 900]);
    }
}
