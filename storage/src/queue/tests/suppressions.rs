use super::suppression::{Failure, STRIKES_MAX, Verdict, base_address};
use super::*;
use crate::rows::StrikesRow;

fn failure(address: &str) -> Failure<'_> {
    Failure { address, time: 50, reason: "550 no such user" }
}

impl World {
    fn note(&self, account: u32, verdict: Verdict, address: &str) -> Option<String> {
        let mut batch = Batch::new();
        let account = AccountId::new(account).unwrap();
        let base = suppression::note(&self.reader(), &mut batch, account, verdict, failure(address)).unwrap();
        self.commit(batch);
        base
    }

    fn is_suppressed(&self, account: u32, address: &str) -> bool {
        suppression::lookup(&self.reader(), AccountId::new(account).unwrap(), address).unwrap().is_some()
    }
}

#[test]
fn addresses_of_one_mailbox_have_one_base() {
    for (address, base) in [
        ("User.Name+tag-x@Example.org", "username@example.org"),
        ("user-list+x@example.org", "user@example.org"),
        ("+x@example.org", "+x@example.org"),
        ("-x@example.org", "-x@example.org"),
        ("...@example.org", "...@example.org"),
        ("Grüße@example.org", "grüße@example.org"),
        ("a@b@example.org", "a@b@example.org"),
        ("postmaster", "postmaster@"),
    ] {
        assert_eq!(base_address(address), base);
    }
}

#[test]
fn three_failures_in_a_row_of_one_account_and_address_suppress() {
    let world = World::new();
    assert_eq!(STRIKES_MAX, 3);
    for _ in 0..2 {
        assert_eq!(world.note(3, Verdict::Strike, "r@one.example"), None);
        assert_eq!(world.note(4, Verdict::Strike, "r@one.example"), None, "another account");
        assert_eq!(world.note(3, Verdict::Strike, "R@one.example"), None, "another address");
    }
    world.note(3, Verdict::Delivered, "r@one.example");
    for _ in 0..2 {
        assert_eq!(world.note(3, Verdict::Strike, "r@one.example"), None, "counted anew");
        assert_eq!(world.note(3, Verdict::Nothing, "r@one.example"), None);
    }
    assert!(!world.is_suppressed(3, "r@one.example"));
    assert_eq!(world.note(3, Verdict::Strike, "r@one.example").as_deref(), Some("r@one.example"));
    assert!(world.is_suppressed(3, "R+tag@one.example") && !world.is_suppressed(4, "r@one.example"));
    assert_eq!(world.note(3, Verdict::Suppress, "r@one.example"), None, "it is already");
    assert_eq!(world.note(4, Verdict::Suppress, "r.x@two.example").as_deref(), Some("rx@two.example"));
}

#[test]
fn outcomes_count_failures_and_suppress() {
    let world = World::new();
    for attempt in 0..3 {
        let id = world.send(&["r@one.example", "s@one.example", "t@one.example"])[0];
        world.claim(id, 1000);
        let no = said(1001, 550, "no");
        let recipients = vec![
            (0, Fate::Failed(no.clone(), Consequence::Strike)),
            (1, Fate::Failed(no.clone(), Consequence::None)),
            (2, Fate::Failed(no, Consequence::Suppress)),
        ];
        let concluded = world.outcome(id, &Outcome { now: 1001, recipients, ..Outcome::default() });
        let expected: &[&str] = match attempt {
            0 => &["t@one.example"],
            1 => &[],
            _ => &["r@one.example"],
        };
        assert_eq!(concluded.suppressed, expected);
    }
    let row =
        suppression::lookup(&world.reader(), AccountId::new(3).unwrap(), "r@one.example").unwrap().unwrap();
    assert_eq!((row.created, row.automatic, &*row.reason), (1001, true, "no"));
    // Nobody's list has what the system sends.
    let mut report = message(world.content(), &["u@one.example"]);
    report.sender = None;
    let id = world.enqueue(report)[0].id;
    world.claim(id, 1);
    let recipients = vec![(0, Fate::Failed(said(2, 550, "no"), Consequence::Suppress))];
    assert!(world.outcome(id, &Outcome { recipients, ..Outcome::default() }).suppressed.is_empty());
}

#[test]
fn people_add_remove_and_list_addresses() {
    let world = World::new();
    let account = |number| AccountId::new(number).unwrap();
    let mut batch = Batch::new();
    for (number, address) in
        [(3, "c@one.example"), (4, "a@one.example"), (3, "a@one.example"), (3, "b@one.example")]
    {
        suppression::add(&mut batch, account(number), failure(address)).unwrap();
    }
    let long = format!("{}@one.example", "x".repeat(2000));
    assert!(suppression::add(&mut batch, account(3), failure(&long)).is_err());
    world.commit(batch);
    assert_eq!(world.note(3, Verdict::Suppress, &long), None, "an outcome isn't lost for it");

    let page = |of: Option<u32>, cursor: Option<&Cursor>, count_max| {
        let page = suppression::list(&world.reader(), of.map(account), cursor, count_max).unwrap();
        let text = |found: suppression::Suppressed| format!("{} {}", found.account, found.base);
        (page.addresses.into_iter().map(text).collect::<Vec<_>>(), page.next)
    };
    let (all, next) = page(None, None, 10);
    assert_eq!(all, ["3 a@one.example", "3 b@one.example", "3 c@one.example", "4 a@one.example"]);
    assert_eq!(next, None);
    let (some, next) = page(Some(3), None, 2);
    assert_eq!(some, all[..2]);
    let next: Cursor = next.unwrap().to_string().parse().unwrap();
    assert_eq!(page(Some(3), Some(&next), 2), (all[2..3].to_vec(), None));
    let refused = suppression::list(&world.reader(), Some(account(4)), Some(&next), 2);
    assert!(refused.is_err(), "a cursor of another list");
    assert!("0g".parse::<Cursor>().is_err() && "0".repeat(4098).parse::<Cursor>().is_err());

    let remove = |address| {
        let mut batch = Batch::new();
        let removed = suppression::remove(&world.reader(), &mut batch, account(3), address).unwrap();
        world.commit(batch);
        removed
    };
    assert!(remove("A+x@one.example"));
    assert!(!remove("A+x@one.example") && !world.is_suppressed(3, "a@one.example"));
    assert!(world.is_suppressed(4, "a@one.example"));
}

#[test]
fn old_failures_are_forgotten_and_those_of_removed_accounts() {
    let world = World::new();
    let mut batch = Batch::new();
    for hash in 0..5_u64 {
        let row = StrikesRow { count: 1, last: hash as i64 };
        batch.insert(
            crate::engine::Space::Rows,
            keys::strikes(AccountId::new(3).unwrap(), hash),
            row.encode(),
        );
    }
    world.commit(batch);
    let mut cursor = None;
    let mut pages = 0;
    loop {
        let (batch, next) = suppression::purge_strikes(&world.reader(), 3, cursor.as_ref(), 2).unwrap();
        world.commit(batch);
        pages += 1;
        let Some(next) = next else { break };
        cursor = Some(next);
    }
    let left = world.reader().prefix(&keys::of_table(SYSTEM, table::STRIKES)).count();
    assert_eq!((pages, left), (3, 2));
    world.note(3, Verdict::Suppress, "r@one.example");
    let removal = crate::account::remove_account(&world.reader(), AccountId::new(3).unwrap(), 100).unwrap();
    world.commit(removal.batch);
    assert_eq!(world.reader().prefix(&[]).count(), 1, "only the format is left");
}
