//! How much an account sent, and to whom.

use super::*;
use crate::account::{
    SENDER_DAYS, SENT_WINDOW, Sent, fold_sent, note_recipients, note_sent, recipient_hash, sent,
    sent_in_window,
};
use crate::engine::Batch;
use crate::ids::QueueId;
use crate::rows::OutgoingRow;

const HOUR: i64 = 60 * 60;
/// The begin of an hour.
const BEGIN: i64 = NOW - NOW % HOUR;

impl World {
    fn note_sent(&self, time: i64, id: u64, recipients: u32, first_time: u32) {
        let mut batch = Batch::new();
        let row = OutgoingRow { recipients, first_time };
        note_sent(&mut batch, self.account.id(), QueueId(id), Sent { time, row });
        self.engine.commit(batch, Durability::Buffered).unwrap();
    }

    fn note_recipients(&self, addresses: &[&str], now: i64) -> u32 {
        let hashes: Vec<u64> = addresses.iter().map(|address| recipient_hash(address)).collect();
        let mut batch = Batch::new();
        let count =
            note_recipients(&self.store.reader(), &mut batch, self.account.id(), &hashes, now).unwrap();
        self.engine.commit(batch, Durability::Buffered).unwrap();
        count
    }

    fn sent(&self, now: i64) -> Vec<(i64, u32, u32)> {
        sent(&self.store.reader(), self.account.id(), now)
            .map(|sent| sent.map(|Sent { time, row }| (time, row.recipients, row.first_time)).unwrap())
            .collect()
    }

    fn fold(&self, now: i64, rows_max: usize) -> bool {
        let (batch, more) = fold_sent(&self.store.reader(), self.account.id(), now, rows_max).unwrap();
        self.engine.commit(batch, Durability::Buffered).unwrap();
        more
    }
}

#[test]
fn a_window_has_what_was_sent_in_24_hours() {
    let world = World::new();
    world.note_sent(NOW, 1, 3, 1);
    world.note_sent(NOW, 2, 4, 0);
    world.note_sent(NOW + 1, 1, 5, 2);
    let sum = |now| sent_in_window(&world.store.reader(), world.account.id(), now).unwrap();
    assert_eq!(sum(NOW + SENT_WINDOW - 1), (12, 3));
    assert_eq!(sum(NOW + SENT_WINDOW), (5, 2));
    assert_eq!(sum(NOW + SENT_WINDOW + 1), (0, 0));
    world.verify();
}

#[test]
fn rows_of_an_hour_that_is_over_become_one_with_the_time_of_the_last() {
    let world = World::new();
    for (time, id) in [(0, 1), (0, 2), (HOUR - 1, 3), (HOUR, 4), (HOUR + 1, 5), (2 * HOUR, 6), (2 * HOUR, 7)]
    {
        world.note_sent(BEGIN + time, id, 10, 1);
    }
    let now = BEGIN + 2 * HOUR + HOUR - 1;
    assert!(!world.fold(now, 100));
    let folded = [
        (BEGIN + HOUR - 1, 30, 3),
        (BEGIN + HOUR + 1, 20, 2),
        // This hour isn't over for long enough.
        (BEGIN + 2 * HOUR, 10, 1),
        (BEGIN + 2 * HOUR, 10, 1),
    ];
    assert_eq!(world.sent(now), folded);
    assert!(!world.fold(now, 100));
    assert_eq!(world.sent(now), folded, "again changes nothing");
    // One that comes late is folded later.
    world.note_sent(BEGIN, 8, 1, 0);
    world.fold(now, 100);
    assert_eq!(world.sent(now)[0], (BEGIN + HOUR - 1, 31, 3));
    // A day later all are gone, some at a time.
    let later = BEGIN + 3 * HOUR + SENT_WINDOW;
    assert_eq!(world.sent(later), []);
    assert!(world.fold(later, 3));
    assert!(!world.fold(later, 3));
    assert_eq!(world.sent(BEGIN), []);
    world.verify();
}

#[test]
fn recipients_are_new_once() {
    let world = World::new();
    let (anna, ben) = ("Anna@x.example", "ben@x.example");
    assert_eq!(world.note_recipients(&[anna, ben, "anna@X.example"], NOW), 2);
    assert_eq!(world.note_recipients(&[anna, "carl@x.example"], NOW), 1);
    let day = 24 * HOUR;
    let last = NOW + i64::from(SENDER_DAYS) * day;
    assert_eq!(world.note_recipients(&[anna], last), 0, "still known");
    assert_eq!(world.note_recipients(&[anna, ben], last + 2 * day), 1, "only who was written to since");
    world.verify();
}
