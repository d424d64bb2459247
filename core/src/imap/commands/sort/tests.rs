//! SORT against a plain sort of the same messages by what they were made of.

#![expect(clippy::unwrap_used, reason = "tests")]

use postrider_proto::imap::command::{Direction, SortKey};

use super::*;
use crate::imap::commands::fetch::world::{Mail, World};

/// What a message was made of: as texts are compared.
struct Known {
    uid: Uid,
    arrival: i64,
    sent: i64,
    size: usize,
    subject: &'static str,
    from: &'static str,
    display: &'static str,
}

/// As written, the base subject folded.
const SUBJECTS: [(&str, &str); 9] = [
    ("", ""),
    ("Subject: Re: beta\r\n", "BETA"),
    ("Subject: [list] FWD: Beta (fwd)\r\n", "BETA"),
    ("Subject: =?utf-8?Q?=C3=A9t=C3=A9?=\r\n", "E\u{301}TE\u{301}"),
    ("Subject: etf\r\n", "ETF"),
    ("Subject: under_score\r\n", "UNDER_SCORE"),
    ("Subject: underA\r\n", "UNDERA"),
    ("Subject: Re:\r\n", ""),
    ("Subject: [fwd: alpha]\r\n", "ALPHA"),
];
/// As written, local part and display value folded.
const FROMS: [(&str, &str, &str); 6] = [
    ("", "", ""),
    ("From: ann@b.example\r\n", "ANN", "ANN@B.EXAMPLE"),
    ("From: \"Zoe\" <Ann@b.example>, c@d\r\n", "ANN", "ZOE"),
    ("From: =?utf-8?Q?=C3=84?= <z@b.example>\r\n", "Z", "A\u{308}"),
    ("From: friends: x@y, z@y;\r\n", "FRIENDS", "FRIENDS"),
    ("From: lonely\r\n", "LONELY", "LONELY@"),
];

fn made(world: &mut World, random: &mut impl FnMut(usize) -> usize) -> Known {
    let (subject, folded) = SUBJECTS[random(SUBJECTS.len())];
    let (from, local, display) = FROMS[random(FROMS.len())];
    let arrival = i64::try_from(random(4)).unwrap();
    let (date, sent) = match random(4) {
        0 => (String::new(), arrival),
        1 => ("Date: no date\r\n".to_owned(), arrival),
        _ => {
            let hour = random(3);
            (
                format!("Date: 1 Jan 1970 {hour:02}:00:00 +0100\r\n"),
                i64::try_from(hour).unwrap() * 3600 - 3600,
            )
        }
    };
    let body = "x".repeat(random(3));
    let message = format!("{subject}{from}{date}\r\n{body}");
    let uid = world.append(&Mail { message: message.as_bytes(), received: arrival, ..Mail::default() });
    Known { uid, arrival, sent, size: message.len(), subject: folded, from: local, display }
}

fn compared(a: &Known, b: &Known, criteria: &[SortCriterion]) -> std::cmp::Ordering {
    criteria
        .iter()
        .map(|criterion| {
            let order = match criterion.key {
                SortKey::Arrival => a.arrival.cmp(&b.arrival),
                SortKey::Date => a.sent.cmp(&b.sent),
                SortKey::Size => a.size.cmp(&b.size),
                SortKey::Subject => a.subject.cmp(b.subject),
                SortKey::From => a.from.cmp(b.from),
                SortKey::DisplayFrom => a.display.cmp(b.display),
                SortKey::Cc | SortKey::To | SortKey::DisplayTo => std::cmp::Ordering::Equal,
            };
            if criterion.direction == Direction::Descending { order.reverse() } else { order }
        })
        .fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        .then(a.uid.cmp(&b.uid))
}

fn run(world: &World, criteria: &[SortCriterion], uids: UidSet) -> Vec<Uid> {
    let (account, mailbox) = world.place();
    let mut sorting = Sorting::new(&Place { account, mailbox, view: world.view() }, criteria, uids);
    loop {
        if let Step::Done(sorted) = sorting.run(&world.store).unwrap() {
            return sorted;
        }
    }
}

#[test]
fn sort_is_a_plain_sort_by_the_rules_of_the_standard() {
    let mut world = World::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut known: Vec<Known> = (0..300).map(|_| made(&mut world, &mut random)).collect();
    let keys = [
        SortKey::Arrival,
        SortKey::Cc,
        SortKey::Date,
        SortKey::DisplayFrom,
        SortKey::DisplayTo,
        SortKey::From,
        SortKey::Size,
        SortKey::Subject,
        SortKey::To,
    ];
    for round in 0..150 {
        let criteria: Vec<SortCriterion> = (0..1 + random(4))
            .map(|_| SortCriterion {
                key: keys[random(keys.len())],
                direction: [Direction::Ascending, Direction::Descending][random(2)],
            })
            .collect();
        known.sort_by(|a, b| compared(a, b, &criteria));
        let plain: Vec<Uid> = known.iter().map(|known| known.uid).collect();
        let sorted = run(&world, &criteria, world.view());
        assert_eq!(sorted, plain, "round {round}: {criteria:?}");
        // Some of them, in the same order; and a uid that isn't there.
        let some: UidSet = plain.iter().copied().filter(|uid| uid.get() % 3 == 0).collect();
        let expected: Vec<Uid> = plain.into_iter().filter(|uid| some.contains(*uid)).collect();
        let asked = some.union(&UidSet::from_range(Uid::new(900).unwrap()..=Uid::new(910).unwrap()));
        assert_eq!(run(&world, &criteria, asked), expected, "round {round}: {criteria:?}");
    }
}

#[test]
fn texts_are_compared_up_to_their_limit() {
    let mut world = World::new();
    let mut add = |end: &str, octets: usize| {
        let message = format!("Subject: {}{end}\r\n\r\n", "x".repeat(octets));
        world.append(&Mail { message: message.as_bytes(), ..Mail::default() }).get()
    };
    let uids = [add("b", 999), add("a", 999), add("b", 1000), add("a", 1000)];
    assert_eq!(uids, [1, 2, 3, 4]);
    let by_subject = [SortCriterion { key: SortKey::Subject, direction: Direction::Ascending }];
    let sorted: Vec<u32> = run(&world, &by_subject, world.view()).into_iter().map(Uid::get).collect();
    // The thousandth octet of the first two decides; that of the others is an x, and the next not looked at.
    assert_eq!(sorted, [2, 1, 3, 4]);
}
