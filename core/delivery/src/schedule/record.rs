//! What is known of a domain with entries.

use super::Settings;
use super::window::Window;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: nothing to do, or what there is to do is being done.
    None,
    /// Among those that wait, with the time in `waits_until`.
    Waiting,
    /// In the ring.
    Ready,
}

/// What is known of a domain with entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// When its first entry is due.
    pub(super) due: i64,
    /// Not before this, whatever is due.
    pub(super) not_before: i64,
    /// The key of its place among those that wait.
    pub(super) waits_until: i64,
    /// Changes with everything that is told of its due time.
    pub(super) epoch: u32,
    /// Failures in a row.
    pub(super) failures: u8,
    /// Sessions, idle ones not counted.
    pub(super) running: u16,
    pub(super) window: Window,
    pub(super) place: Place,
    /// It is among those that wait for a place for a connection.
    pub(super) waits_for_place: bool,
    /// A session that found none has not ended yet.
    pub(super) is_leaving: bool,
    /// A session reads and claims its entries.
    pub(super) is_claiming: bool,
}

impl Record {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            due: i64::MAX,
            not_before: i64::MIN,
            waits_until: 0,
            epoch: 0,
            failures: 0,
            running: 0,
            window: Window::new(settings.domain_sessions_max),
            place: Place::None,
            waits_for_place: false,
            is_leaving: false,
            is_claiming: false,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        let most = if self.failures > 0 { 1 } else { self.window.size() };
        !self.is_claiming && self.running < most
    }

    pub(super) fn is_startable(&self, now: i64) -> bool {
        self.due <= now && self.not_before <= now && self.has_room()
    }

    pub(super) fn told(&mut self, due: i64) {
        self.epoch = self.epoch.wrapping_add(1);
        self.due = self.due.min(due);
    }
}
