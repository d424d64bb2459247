//! Many operations in a row, compared with a plain list of who waits.

use std::collections::BTreeMap;

use postrider_proto::smtp::envelope::Hold;
use proptest::prelude::*;

use super::*;
use crate::rows::{Held, Retirement};

/// A recipient that waits: of which submission, and what is known of its entry.
#[derive(Clone, PartialEq, Debug)]
struct Waits {
    due: i64,
    held: bool,
    attempts: u32,
    transport: String,
}

/// Who waits, by submission and address.
type Model = BTreeMap<(u32, String), Waits>;

struct Run {
    world: World,
    content: Content,
    model: Model,
    submissions: u32,
    counts: Delta,
}

impl Run {
    fn new() -> Self {
        let world = World::new();
        let content = world.content();
        Self { world, content, model: Model::new(), submissions: 0, counts: Delta::default() }
    }

    fn commit(&mut self, edit: Edit) {
        let Delta { entries, recipients, held } = edit.delta;
        self.counts.entries += entries;
        self.counts.recipients += recipients;
        self.counts.held += held;
        self.world.commit(edit.batch);
    }

    fn submit(&mut self, bits: u8, hold: u8) {
        self.submissions += 1;
        let addresses: Vec<_> = (0..8)
            .filter(|bit| bits >> bit & 1 == 1)
            .map(|bit| format!("r{bit}@d{}.example", bit % 3))
            .collect();
        let mut new = message(self.content, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
        new.created = i64::from(self.submissions);
        new.hold_until = (hold > 200).then(|| Hold::Until(i64::from(hold)));
        let due = if hold > 200 { i64::from(hold) } else { new.created };
        for address in addresses {
            let waits = Waits { due, held: false, attempts: 0, transport: String::new() };
            self.model.insert((self.submissions, address), waits);
        }
        let enqueued = enqueue(|| self.world.store.new_queue_id(), new, &HoldRules::default()).unwrap();
        self.commit(enqueued.edit);
    }

    /// Some entry, with the recipients that a bit mask chooses of it.
    fn pick(&self, which: u8, mask: u8) -> Option<(QueueId, QueueRow, Vec<u32>)> {
        let all: Vec<_> = entries(&self.world.reader(), QueueId(0)).map(Result::unwrap).collect();
        let (id, row) = all.get(usize::from(which) % all.len().max(1))?.clone();
        let numbers = self.world.addresses(id).into_iter().map(|(number, _)| number);
        Some((id, row, numbers.filter(|number| mask >> (number % 8) & 1 == 1).collect()))
    }

    fn waits(&mut self, row: &QueueRow, address: &str) -> Option<&mut Waits> {
        self.model.get_mut(&(row.created as u32, address.to_owned()))
    }

    fn attempt(&mut self, which: u8, mask: u8, how: u8) {
        let Some((id, row, chosen)) = self.pick(which, mask) else { return };
        let times = Attempt { now: 300, next: 400 };
        let claimed = claim(&self.world.reader(), id, times).unwrap();
        assert_eq!(claimed.is_some(), row.held == Held::No);
        let Some(claimed) = claimed else { return };
        self.commit(claimed.edit);
        let addresses = self.world.addresses(id);
        if how.is_multiple_of(5) {
            // The process ends meanwhile.
            let released = release_claims(&self.world.reader(), QueueId(0), 10).unwrap();
            assert_eq!(released.entries, [(id, row.attempts + 1)]);
            self.commit(released.edit);
            for (_, address) in addresses {
                let waits = self.waits(&row, &address).unwrap();
                (waits.attempts, waits.due) = (waits.attempts + 1, 400);
            }
            return;
        }
        let result = said(301, 250, "");
        let fate = match how % 3 {
            0 => Fate::Delivered(result),
            1 => Fate::Failed(result, Consequence::Strike),
            _ => Fate::Waits(result),
        };
        let gone = !matches!(fate, Fate::Waits(_));
        let recipients = chosen.iter().map(|number| (*number, fate.clone())).collect();
        let attempt = row.attempts + 1;
        let of = Outcome { attempt, now: 301, due: 350, recipients, ..Outcome::default() };
        let concluded = outcome(&self.world.reader(), id, &of).unwrap().unwrap();
        self.commit(concluded.edit);
        for (number, address) in addresses {
            if gone && chosen.contains(&number) {
                self.model.remove(&(row.created as u32, address));
            } else {
                let waits = self.waits(&row, &address).unwrap();
                (waits.attempts, waits.due) = (waits.attempts + 1, 350);
            }
        }
    }

    fn operate(&mut self, which: u8, mask: u8, how: u8) {
        let Some((id, row, chosen)) = self.pick(which, mask) else { return };
        let addresses = self.world.addresses(id);
        let mut meant: Vec<_> = addresses.iter().filter(|(number, _)| chosen.contains(number)).collect();
        let mut which = Chosen::These(&chosen);
        if how > 200 {
            (meant, which) = (addresses.iter().collect(), Chosen::All);
        }
        if how % 6 == 5 {
            let of = End { retirement: Retirement::Dropped, result: said(1, 0, ""), retired_until: Some(9) };
            if let Changed::Done(done) = end(&self.world.reader(), id, which, &of).unwrap() {
                assert_eq!(done.recipients as usize, meant.len());
                self.commit(done.edit);
            } else {
                assert!(meant.is_empty());
            }
            for (_, address) in meant {
                self.model.remove(&(row.created as u32, address.clone()));
            }
            return;
        }
        let what = match how % 6 {
            0 | 1 => Change::Hold(Held::Operator),
            2 => Change::Release,
            3 => Change::Due(i64::from(how)),
            _ => Change::Transport(how.to_string().into()),
        };
        let changed =
            change(&self.world.reader(), id, which, &what, || self.world.store.new_queue_id()).unwrap();
        let Changed::Done(done) = changed else {
            assert!(meant.is_empty());
            return;
        };
        self.commit(done.edit);
        for (_, address) in meant {
            let waits = self.waits(&row, address).unwrap();
            match &what {
                Change::Hold(_) => waits.held = true,
                Change::Release => waits.held = false,
                Change::Due(due) => waits.due = *due,
                _ => waits.transport = how.to_string(),
            }
        }
    }

    /// The store shows what the model says.
    fn compare(&self) {
        let reader = self.world.reader();
        let mut shown = Model::new();
        let all = Bounds { entries_max: 1000, rows_max: 100_000 };
        for listed in list(&reader, &Filter::default(), Order::Ascending, None, all).unwrap().entries {
            let row = &listed.row;
            for (_, recipient) in listed.recipients {
                let address = String::from_utf8(recipient.address.to_vec()).unwrap();
                let (due, held, attempts) = (row.due, row.held != Held::No, row.attempts);
                let waits = Waits { due, held, attempts, transport: row.transport.to_string() };
                assert_eq!(shown.insert((row.created as u32, address), waits), None);
            }
        }
        assert_eq!(shown, self.model);
        let counts = count(&reader).unwrap();
        let sums = (counts.entries as i64, counts.recipients as i64, counts.held as i64);
        assert_eq!(sums, (self.counts.entries, self.counts.recipients, self.counts.held));
        let due_now = (0..3).flat_map(|domain| {
            let found = due(&reader, Scheduled::start(domain_hash(&format!("d{domain}.example"))), 250, 1000)
                .unwrap()
                .entries;
            assert!(found.is_sorted());
            found
        });
        let due_now: u32 = due_now.map(|entry| self.world.entry(entry.id).waiting).sum();
        let expected = self.model.values().filter(|waits| !waits.held && waits.due <= 250).count();
        assert_eq!(due_now as usize, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_queue_has_exactly_who_waits(
        steps in proptest::collection::vec((0_u8..4, any::<u8>(), any::<u8>(), any::<u8>()), 1..40),
    ) {
        let mut run = Run::new();
        for (kind, which, mask, how) in steps {
            match kind {
                0 => run.submit(mask, how),
                1 | 2 => run.attempt(which, mask, how),
                _ => run.operate(which, mask, how),
            }
            run.compare();
        }
    }
}
