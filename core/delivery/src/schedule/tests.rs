#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
mod interleavings;
mod places;
mod random;
mod shards;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::*;
use crate::outcome::Signal;

const SETTINGS: Settings = Settings { sessions_max: 4, idle_max: 2, ..Settings::DEFAULT };

fn schedule() -> Schedule {
    Schedule::new(SETTINGS)
}

fn due(domain: u64, due: i64) -> Notice {
    Notice { domain, due, entry: None }
}

fn ended(signal: Signal, first_due: Option<i64>) -> Ended {
    Ended { signal, postponed: None, first_due }
}

/// The next command, which must be a start.
fn started(schedule: &mut Schedule, now: i64) -> Turn {
    match schedule.poll(now) {
        Some(Command::Start(turn)) => turn,
        other => panic!("{other:?}"),
    }
}

fn starts(schedule: &mut Schedule, now: i64) -> Vec<u64> {
    std::iter::from_fn(|| schedule.poll(now))
        .map(|command| match command {
            Command::Start(turn) => turn.domain,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn address(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

#[test]
fn domains_have_their_turn_when_they_are_due() {
    let mut schedule = schedule();
    for (domain, at) in [(1, 300), (2, 100), (3, 200)] {
        schedule.notify(due(domain, at), 0);
    }
    assert_eq!((schedule.poll(99), schedule.next_wake()), (None, Some(100)));
    assert_eq!(starts(&mut schedule, 250), [2, 3]);
    assert_eq!(schedule.next_wake(), Some(300));
    assert_eq!(starts(&mut schedule, 300), [1]);
    assert_eq!((schedule.next_wake(), schedule.sessions()), (None, (3, 0)));
}

#[test]
fn a_domain_is_forgotten_when_nothing_is_left() {
    let mut schedule = schedule();
    schedule.notify(due(1, 0), 0);
    let turn = started(&mut schedule, 0);
    schedule.claimed(turn.session, 1, Some(450), 0);
    assert_eq!(schedule.finished(turn.session, ended(Signal::Good, None), 1), Afterwards::Nothing);
    assert_eq!((schedule.domains(), schedule.sessions()), (0, (0, 0)));
    // What is held has no due time.
    schedule.notify(due(1, i64::MAX), 1);
    assert_eq!(schedule.domains(), 0);
}

#[test]
fn sessions_are_bounded_and_domains_take_turns() {
    let mut schedule = schedule();
    for domain in 1..=3 {
        schedule.notify(due(domain, 0), 0);
    }
    // All have a backlog that doesn't end.
    let mut turns: Vec<Turn> = Vec::new();
    let mut count: BTreeMap<u64, u32> = BTreeMap::new();
    for now in 0..300 {
        while let Some(command) = schedule.poll(now) {
            let Command::Start(turn) = command else { panic!("{command:?}") };
            schedule.claimed(turn.session, 20, Some(now), now);
            *count.entry(turn.domain).or_default() += 1;
            turns.push(turn);
            assert!(turns.len() <= SETTINGS.sessions_max);
        }
        assert_eq!(turns.len(), SETTINGS.sessions_max);
        let turn = turns.remove(0);
        let _ = schedule.finished(turn.session, ended(Signal::Good, Some(now)), now);
    }
    let (least, most) = (count.values().min().unwrap(), count.values().max().unwrap());
    assert!(count.len() == 3 && most - least <= 2, "{count:?}");
}

#[test]
fn a_due_time_is_not_lost_to_what_was_read_before() {
    let mut schedule = schedule();
    schedule.notify(due(1, 0), 0);
    let turn = started(&mut schedule, 0);
    // A new entry comes while the session reads: what it read doesn't have it.
    schedule.notify(due(1, 5), 0);
    schedule.claimed(turn.session, 1, Some(450), 0);
    assert_eq!(schedule.next_wake(), Some(5));
    let other = started(&mut schedule, 5);
    schedule.claimed(other.session, 1, Some(450), 5);
    // The other ends with an entry that is tried again at 300; the first had read before that.
    let _ = schedule.finished(other.session, ended(Signal::Neutral, Some(300)), 6);
    let _ = schedule.finished(turn.session, ended(Signal::Neutral, Some(450)), 6);
    assert_eq!(schedule.next_wake(), Some(300));
}

#[test]
fn an_operators_change_is_exact() {
    let mut schedule = schedule();
    schedule.notify(due(1, 100), 0);
    let set = |schedule: &mut Schedule, first_due| {
        let mark = schedule.mark(1);
        schedule.set(1, mark, first_due, 0);
        schedule.next_wake()
    };
    assert_eq!(set(&mut schedule, Some(900)), Some(900));
    assert_eq!(set(&mut schedule, Some(50)), Some(50));
    assert_eq!((set(&mut schedule, None), schedule.domains()), (None, 0));
    assert_eq!(set(&mut schedule, Some(70)), Some(70));
    // What is told between reading and setting isn't lost.
    let mark = schedule.mark(1);
    schedule.notify(due(1, 60), 0);
    schedule.set(1, mark, Some(900), 0);
    assert_eq!(schedule.next_wake(), Some(60));
}

/// One dead domain costs one connection, and pauses that grow; what is due shares its failure.
#[test]
fn a_domain_that_cannot_be_reached_costs_little() {
    let mut schedule = schedule();
    schedule.notify(due(1, 0), 0);
    let (mut now, mut at) = (0, Vec::new());
    for _ in 0..7 {
        let turn = started(&mut schedule, now);
        assert_eq!(schedule.poll(now), None);
        schedule.claimed(turn.session, 20, Some(now), now);
        if !at.is_empty() {
            assert_eq!(schedule.poll(now), None, "only one looks whether it is back");
        } else if let Some(Command::Start(second)) = schedule.poll(now) {
            schedule.claimed(second.session, 0, Some(now), now);
            assert_eq!(
                schedule.finished(second.session, ended(Signal::Down, Some(now)), now),
                Afterwards::Nothing
            );
        }
        at.push(now);
        assert_eq!(schedule.finished(turn.session, ended(Signal::Down, Some(now)), now), Afterwards::Share);
        now = schedule.next_wake().unwrap();
    }
    let pauses: Vec<i64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [60, 120, 240, 480, 900, 900]);
    // It is back.
    let turn = started(&mut schedule, now);
    schedule.claimed(turn.session, 1, Some(now), now);
    let _ = schedule.finished(turn.session, ended(Signal::Good, Some(now)), now);
    assert_eq!(starts(&mut schedule, now).len(), 1);
    // An operator doesn't wait.
    let mut schedule = Schedule::new(SETTINGS);
    schedule.notify(due(1, 0), 0);
    let turn = started(&mut schedule, 0);
    let _ = schedule.finished(turn.session, ended(Signal::Down, Some(0)), 0);
    assert_eq!(schedule.poll(1), None);
    schedule.kick(1, 1);
    assert_eq!(starts(&mut schedule, 1), [1]);
}

#[test]
fn what_keeps_a_domain_from_its_turn_is_known() {
    let mut schedule = schedule();
    schedule.notify(due(1, 0), 0);
    assert_eq!(schedule.obstacle(1, 0), None, "it has its turn next");
    let turn = started(&mut schedule, 0);
    schedule.claimed(turn.session, 1, Some(0), 0);
    let _ = schedule.finished(turn.session, ended(Signal::Down, Some(0)), 0);
    assert_eq!(schedule.obstacle(1, 10), Some(Obstacle::Pause { until: 60, failures: 1 }));
    assert_eq!(schedule.obstacle(2, 10), None, "nothing is known of it");
    schedule.kick(1, 10);
    assert_eq!(schedule.obstacle(1, 10), None);
    for domain in 2..=5 {
        schedule.notify(due(domain, 10), 10);
    }
    assert_eq!(starts(&mut schedule, 10), [1, 2, 3, 4]);
    assert_eq!(schedule.obstacle(5, 10), Some(Obstacle::Sessions));
    schedule.notify(due(6, 99), 10);
    assert_eq!(schedule.obstacle(6, 10), None, "it isn't due");
}

#[test]
fn who_says_421_gets_fewer_connections_and_then_a_pause() {
    let mut schedule = Schedule::new(Settings { sessions_max: 50, ..Settings::DEFAULT });
    schedule.notify(due(1, 0), 0);
    // It grows.
    for _ in 0..40 {
        let turn = started(&mut schedule, 0);
        schedule.claimed(turn.session, 1, Some(0), 0);
        let _ = schedule.finished(turn.session, ended(Signal::Good, Some(0)), 0);
    }
    let mut open: Vec<SessionId> = Vec::new();
    let mut fill = |schedule: &mut Schedule, now: i64| {
        while let Some(Command::Start(turn)) = schedule.poll(now) {
            schedule.claimed(turn.session, 1, Some(now), now);
            open.push(turn.session);
        }
        open.clone()
    };
    let sessions = fill(&mut schedule, 0);
    assert_eq!(sessions.len(), 20);
    for session in &sessions[..19] {
        assert_eq!(schedule.finished(*session, ended(Signal::Slower, Some(0)), 0), Afterwards::Nothing);
    }
    assert_eq!(schedule.poll(0), None, "one is as many as it wants");
    assert_eq!(schedule.finished(sessions[19], ended(Signal::Slower, Some(0)), 0), Afterwards::Nothing);
    assert_eq!(schedule.next_wake(), Some(60));
    // After the third in a row what is due comes later.
    for (now, expected) in [(60, Afterwards::Nothing), (180, Afterwards::Share)] {
        let turn = started(&mut schedule, now);
        schedule.claimed(turn.session, 1, Some(now), now);
        assert_eq!(schedule.finished(turn.session, ended(Signal::Slower, Some(now)), now), expected);
    }
}

#[test]
fn connections_to_a_host_are_bounded_over_all_domains() {
    let mut schedule =
        Schedule::new(Settings { sessions_max: 50, host_connections_max: 3, ..Settings::DEFAULT });
    for domain in 0..6 {
        schedule.notify(due(domain, 0), 0);
    }
    let turns: Vec<Turn> = (0..6).map(|_| started(&mut schedule, 0)).collect();
    let mut went = Vec::new();
    for turn in &turns {
        schedule.claimed(turn.session, 1, None, 0);
        match schedule.connect(turn.session, address(1), None, IfBusy::Leave, 0) {
            Admission::Go => went.push(turn.session),
            Admission::Busy { until } => {
                let postponed = Ended { postponed: Some(until), ..ended(Signal::Neutral, Some(0)) };
                let _ = schedule.finished(turn.session, postponed, 0);
            }
            Admission::Down { .. } => panic!("it isn't"),
        }
    }
    assert_eq!((went.len(), schedule.hosts.connections(address(1))), (2, 2));
    assert_eq!(schedule.poll(1), None, "they wait for the host");
    schedule.disconnected(went[0], Signal::Good, 1);
    let woken: Vec<SessionId> = (0..2).map(|_| started(&mut schedule, 1).session).collect();
    assert_eq!(schedule.poll(1), None, "one ended, and there may be one more");
    assert_eq!(schedule.next_wake(), Some(11), "places are kept no longer");
    // Who comes now doesn't pass those that were woken.
    schedule.notify(due(9, 1), 1);
    let late = started(&mut schedule, 1);
    let mut connect = |session, now| schedule.connect(session, address(1), None, IfBusy::Leave, now);
    assert!(matches!(connect(late.session, 1), Admission::Busy { .. }));
    assert_eq!(connect(woken[0], 1), Admission::Go);
    // One that doesn't come loses its place.
    assert_eq!(connect(late.session, 11), Admission::Go);
}

#[test]
fn room_that_is_made_before_a_postponed_session_ends_is_used() {
    let mut schedule = schedule();
    for domain in 0..3 {
        schedule.notify(due(domain, 0), 0);
    }
    let turns: Vec<Turn> = (0..3).map(|_| started(&mut schedule, 0)).collect();
    turns.iter().for_each(|turn| schedule.claimed(turn.session, 1, None, 0));
    for turn in &turns[..2] {
        assert_eq!(schedule.connect(turn.session, address(1), None, IfBusy::Leave, 0), Admission::Go);
    }
    let third = turns[2].session;
    let Admission::Busy { until } = schedule.connect(third, address(1), None, IfBusy::Leave, 0) else {
        panic!()
    };
    schedule.disconnected(turns[0].session, Signal::Good, 0);
    let postponed = Ended { postponed: Some(until), ..ended(Signal::Neutral, Some(0)) };
    let _ = schedule.finished(third, postponed, 0);
    assert_eq!(starts(&mut schedule, 0), [2]);
}

#[test]
fn a_connection_that_waits_makes_room_for_another_domain() {
    let mut schedule = schedule();
    for domain in 0..2 {
        schedule.notify(due(domain, 0), 0);
        let turn = started(&mut schedule, 0);
        schedule.claimed(turn.session, 1, None, 0);
        assert_eq!(schedule.connect(turn.session, address(1), None, IfBusy::Leave, 0), Admission::Go);
        assert_eq!(schedule.next(turn.session, Signal::Neutral, None, 0), Next::Idle);
    }
    schedule.notify(due(2, 0), 0);
    let turn = started(&mut schedule, 0);
    schedule.claimed(turn.session, 1, Some(450), 0);
    let Admission::Busy { until } = schedule.connect(turn.session, address(1), None, IfBusy::Leave, 0) else {
        panic!()
    };
    let postponed = Ended { postponed: Some(until), ..ended(Signal::Neutral, Some(0)) };
    let _ = schedule.finished(turn.session, postponed, 0);
    let Some(Command::Close(_)) = schedule.poll(0) else { panic!() };
    assert_eq!(starts(&mut schedule, 0), [2]);
}

#[test]
fn a_connection_does_not_lie_idle_while_another_domain_waits_for_its_place() {
    let mut schedule = schedule();
    for domain in 1..=3 {
        schedule.notify(due(domain, 0), 0);
    }
    let turns = [1, 2, 3].map(|_| started(&mut schedule, 0));
    let mut waits = Vec::new();
    let mut open = Vec::new();
    for turn in &turns {
        schedule.claimed(turn.session, 1, None, 0);
        match schedule.connect(turn.session, address(1), None, IfBusy::Leave, 0) {
            Admission::Go => open.push(turn),
            Admission::Busy { until } => waits.push((turn, until)),
            other @ Admission::Down { .. } => panic!("{other:?}"),
        }
    }
    assert!(!open.is_empty() && !waits.is_empty(), "{open:?} {waits:?}");
    for (turn, until) in &waits {
        let ended = Ended { signal: Signal::Neutral, postponed: Some(*until), first_due: Some(0) };
        assert_eq!(schedule.finished(turn.session, ended, 0), Afterwards::Nothing);
    }
    assert_eq!(schedule.poll(0), None, "they wait for the host");
    // What has no more to send makes room at once.
    assert_eq!(schedule.next(open[0].session, Signal::Neutral, None, 1), Next::Close);
    assert_eq!(schedule.finished(open[0].session, ended(Signal::Neutral, None), 1), Afterwards::Nothing);
    assert!(!starts(&mut schedule, 1).is_empty());
}

#[test]
fn a_connection_that_others_can_use_goes_on_with_a_domain_that_waits_for_it() {
    let mut schedule = schedule();
    for domain in 1..=3 {
        schedule.notify(due(domain, 0), 0);
    }
    let turns = [1, 2, 3].map(|_| started(&mut schedule, 0));
    let [first, second, waits] = &turns;
    for turn in &turns {
        schedule.claimed(turn.session, 1, None, 0);
    }
    assert_eq!(schedule.connect(first.session, address(1), None, IfBusy::Leave, 0), Admission::Go);
    assert_eq!(schedule.connect(second.session, address(1), None, IfBusy::Leave, 0), Admission::Go);
    let Admission::Busy { until } = schedule.connect(waits.session, address(1), None, IfBusy::Leave, 0)
    else {
        panic!()
    };
    schedule.share(first.session);
    assert!(!schedule.take_over(second.session, first.session, 0), "it isn't idle");
    let postponed = Ended { signal: Signal::Neutral, postponed: Some(until), first_due: Some(0) };
    assert_eq!(schedule.finished(waits.session, postponed, 0), Afterwards::Nothing);
    assert_eq!(schedule.poll(0), None, "it waits for the host");
    // The first has no more to send: its connection stays, and who waits is woken.
    assert_eq!(schedule.next(first.session, Signal::Neutral, None, 1), Next::Idle);
    let next = started(&mut schedule, 1);
    assert_eq!(next.domain, waits.domain);
    schedule.claimed(next.session, 1, None, 1);
    assert!(schedule.take_over(next.session, first.session, 1));
    assert!(!schedule.take_over(second.session, first.session, 1), "it is forgotten");
    assert_eq!(schedule.sessions(), (2, 0));
    // As its own, and as long as any.
    assert_eq!(schedule.next(next.session, Signal::Neutral, None, 1), Next::Idle);
    assert_eq!(schedule.poll(1), None);
    assert!(matches!(schedule.poll(20), Some(Command::Close(session)) if session == next.session));
}

#[test]
fn a_host_that_is_down_is_down_for_all_domains() {
    let mut schedule = Schedule::new(Settings { sessions_max: 50, ..Settings::DEFAULT });
    for domain in 0..4 {
        schedule.notify(due(domain, 0), 0);
    }
    let turns: Vec<Turn> = (0..4).map(|_| started(&mut schedule, 0)).collect();
    assert_eq!(schedule.connect(turns[0].session, address(1), None, IfBusy::Leave, 0), Admission::Go);
    schedule.disconnected(turns[0].session, Signal::Down, 0);
    assert_eq!(
        schedule.connect(turns[1].session, address(1), None, IfBusy::Leave, 1),
        Admission::Down { until: 60 }
    );
    assert_eq!(schedule.connect(turns[1].session, address(2), None, IfBusy::Leave, 1), Admission::Go);
    // One looks whether it is back.
    assert_eq!(schedule.connect(turns[2].session, address(1), None, IfBusy::Leave, 60), Admission::Go);
    assert_eq!(
        schedule.connect(turns[3].session, address(1), None, IfBusy::Leave, 60),
        Admission::Down { until: 90 }
    );
    schedule.disconnected(turns[2].session, Signal::Neutral, 61);
    assert_eq!(schedule.connect(turns[3].session, address(1), None, IfBusy::Leave, 61), Admission::Go);
}

#[test]
fn hosts_are_remembered_within_bounds() {
    let mut schedule = Schedule::new(Settings::DEFAULT);
    schedule.notify(due(1, 0), 0);
    let turn = started(&mut schedule, 0);
    for n in 0..40_000_u32 {
        schedule.connect(turn.session, IpAddr::from(n.to_be_bytes()), None, IfBusy::Leave, 0);
        schedule.disconnected(turn.session, Signal::Down, 0);
        assert!(schedule.hosts.remembered() <= crate::limits::HOSTS_REMEMBERED_MAX);
    }
    // Who is fine is not remembered.
    let mut schedule = Schedule::new(Settings::DEFAULT);
    schedule.notify(due(1, 0), 0);
    let turn = started(&mut schedule, 0);
    schedule.connect(turn.session, address(1), None, IfBusy::Leave, 0);
    schedule.disconnected(turn.session, Signal::Neutral, 0);
    assert_eq!(schedule.hosts.remembered(), 0);
}

#[test]
fn connections_from_an_address_are_bounded() {
    let mut schedule =
        Schedule::new(Settings { sessions_max: 50, source_connections_max: 2, ..Settings::DEFAULT });
    for domain in 0..4 {
        schedule.notify(due(domain, 0), 0);
    }
    let turns: Vec<Turn> = (0..4).map(|_| started(&mut schedule, 0)).collect();
    let source = Some(address(200));
    let mut connect = |n: usize, source| {
        schedule.connect(turns[n].session, address(u8::try_from(n).unwrap()), source, IfBusy::Leave, 0)
            == Admission::Go
    };
    assert!(connect(0, source) && connect(1, source) && !connect(2, source));
    assert!(connect(2, None) && connect(3, Some(address(201))));
    // A session that connects anew gives back what it had.
    assert!(connect(1, source));
}

#[test]
fn a_connection_takes_the_next_entries_of_its_domain() {
    let mut schedule = schedule();
    schedule.notify(due(1, 0), 0);
    let turn = started(&mut schedule, 0);
    schedule.claimed(turn.session, 20, Some(0), 0);
    assert_eq!(schedule.connect(turn.session, address(1), None, IfBusy::Leave, 0), Admission::Go);
    let Next::Claim(more) = schedule.next(turn.session, Signal::Good, Some(0), 0) else { panic!() };
    assert_eq!((more.session, more.domain), (turn.session, 1));
    schedule.claimed(turn.session, 3, None, 0);
    // Nothing is due: the connection waits.
    assert_eq!(schedule.next(turn.session, Signal::Good, None, 1), Next::Idle);
    assert_eq!((schedule.sessions(), schedule.next_wake(), schedule.domains()), ((0, 1), Some(11), 1));
    schedule.notify(Notice { domain: 1, due: 5, entry: Some((7, 7)) }, 5);
    let Some(Command::Reuse(again)) = schedule.poll(5) else { panic!() };
    assert_eq!(again.session, turn.session);
    schedule.claimed(turn.session, 1, None, 5);
    assert_eq!(schedule.next(turn.session, Signal::Good, None, 5), Next::Idle);
    assert_eq!(schedule.poll(14), None);
    assert_eq!(schedule.poll(15), Some(Command::Close(turn.session)));
    assert_eq!(
        (schedule.sessions(), schedule.domains(), schedule.hosts.connections(address(1))),
        ((0, 0), 0, 0)
    );
}

#[test]
fn a_connection_makes_room_when_others_wait() {
    let mut schedule = Schedule::new(Settings { sessions_max: 1, ..SETTINGS });
    schedule.notify(due(1, 0), 0);
    schedule.notify(due(2, 0), 0);
    let first = started(&mut schedule, 0);
    schedule.claimed(first.session, 20, Some(0), 0);
    schedule.connect(first.session, address(1), None, IfBusy::Leave, 0);
    assert_eq!(schedule.poll(0), None);
    // Its entries are due, and so are the other's.
    assert_eq!(schedule.next(first.session, Signal::Good, Some(0), 0), Next::Close);
    let _ = schedule.finished(first.session, ended(Signal::Good, Some(0)), 0);
    let second = started(&mut schedule, 0);
    assert_eq!((second.domain, schedule.sessions()), (2, (1, 0)));
    schedule.claimed(second.session, 1, None, 0);
    schedule.connect(second.session, address(2), None, IfBusy::Leave, 0);
    let _ = schedule.next(second.session, Signal::Good, None, 0);
    let _ = schedule.finished(second.session, ended(Signal::Good, None), 0);
    assert_eq!(started(&mut schedule, 0).domain, 1);
}

#[test]
fn connections_end_after_so_many_messages_and_when_too_many_wait() {
    let mut schedule = schedule();
    schedule.notify(due(1, 0), 0);
    let turn = started(&mut schedule, 0);
    schedule.connect(turn.session, address(1), None, IfBusy::Leave, 0);
    schedule.claimed(turn.session, 20, Some(0), 0);
    let mut messages = 20;
    while let Next::Claim(_) = schedule.next(turn.session, Signal::Good, Some(0), 0) {
        schedule.claimed(turn.session, 20, Some(0), 0);
        messages += 20;
    }
    assert_eq!(messages, crate::limits::TRANSACTIONS_MAX);
    let _ = schedule.finished(turn.session, ended(Signal::Good, None), 0);
    let mut next = Vec::new();
    for domain in 10..13 {
        schedule.notify(due(domain, 0), 0);
        let turn = started(&mut schedule, 0);
        schedule.claimed(turn.session, 1, None, 0);
        schedule.connect(turn.session, address(1), None, IfBusy::Leave, 0);
        next.push(schedule.next(turn.session, Signal::Good, None, 0));
    }
    assert_eq!(next, [Next::Idle, Next::Idle, Next::Close]);
}

#[test]
fn new_mail_of_others_is_not_behind_a_backlog() {
    let mut schedule = schedule();
    schedule.notify(due(1, 0), 0);
    let turn = started(&mut schedule, 0);
    schedule.claimed(turn.session, 20, Some(0), 0);
    for entry in 0..50 {
        schedule.notify(Notice { domain: 1, due: 0, entry: Some((entry, 7)) }, 0);
    }
    schedule.notify(Notice { domain: 1, due: 0, entry: Some((99, 8)) }, 0);
    // What is due later is not new mail.
    schedule.notify(Notice { domain: 1, due: 60, entry: Some((98, 9)) }, 0);
    let next = started(&mut schedule, 0);
    assert_eq!(next.first, [0, 99, 1, 2, 3]);
}

#[test]
fn what_comes_first_does_so_again_after_a_turn_without_a_place() {
    let new = |entry, account| Notice { domain: 1, due: 0, entry: Some((entry, account)) };
    for is_claimed in [false, true] {
        let mut schedule = Schedule::new(Settings { host_connections_max: 1, ..SETTINGS });
        schedule.notify(due(1, 0), 0);
        let open = started(&mut schedule, 0);
        schedule.claimed(open.session, 20, Some(0), 0);
        assert_eq!(schedule.connect(open.session, address(1), None, IfBusy::Leave, 0), Admission::Go);
        schedule.notify(new(98, 7), 0);
        schedule.notify(new(99, 8), 0);
        let turn = started(&mut schedule, 0);
        assert_eq!(turn.first, [98, 99]);
        if is_claimed {
            schedule.claimed(turn.session, 2, Some(0), 0);
        }
        schedule.notify(new(100, 9), 0);
        let Admission::Busy { until } = schedule.connect(turn.session, address(1), None, IfBusy::Leave, 0)
        else {
            panic!()
        };
        let postponed = Ended { postponed: Some(until), ..ended(Signal::Neutral, Some(0)) };
        assert_eq!(schedule.finished(turn.session, postponed, 0), Afterwards::Nothing);
        assert_eq!(schedule.poll(0), None, "it waits for the host");
        schedule.disconnected(open.session, Signal::Neutral, 1);
        let turn = started(&mut schedule, 1);
        assert_eq!(turn.first, [98, 99, 100]);
        // Once.
        schedule.claimed(turn.session, 20, Some(0), 1);
        assert_eq!(schedule.finished(turn.session, ended(Signal::Good, Some(0)), 1), Afterwards::Nothing);
        assert!(started(&mut schedule, 1).first.is_empty());
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_prolong_pauses() {
    const DAY: i64 = 86_400;
    let mut schedule = schedule();
    schedule.notify(due(1, 0), 10 * DAY);
    let turn = started(&mut schedule, 10 * DAY);
    let _ = schedule.finished(turn.session, ended(Signal::Down, Some(0)), 10 * DAY);
    assert_eq!(schedule.poll(9 * DAY), None);
    assert_eq!(schedule.next_wake(), Some(9 * DAY + 900));
    assert_eq!(starts(&mut schedule, 9 * DAY + 900), [1]);
}

/// 100,000 waiting domains, whatever the number of entries.
#[test]
fn records_are_small() {
    let mut schedule = Schedule::new(Settings::DEFAULT);
    for n in 0..100_000_u64 {
        let domain = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for _ in 0..10 {
            schedule.notify(due(domain, 1_000_000 + i64::try_from(n % 86_400).unwrap()), 0);
        }
    }
    let octets = schedule.octets();
    assert_eq!(schedule.domains(), 100_000);
    assert!(octets < 12_000_000, "{octets}");
}

#[test]
fn a_connection_that_lies_idle_is_taken_over_for_another_domain_at_the_host() {
    let mut schedule = schedule();
    schedule.notify(due(1, 0), 0);
    let first = started(&mut schedule, 0).session;
    schedule.claimed(first, 1, None, 0);
    assert_eq!(schedule.connect(first, address(1), None, IfBusy::Leave, 0), Admission::Go);
    schedule.notify(due(2, 0), 0);
    let second = started(&mut schedule, 0).session;
    schedule.claimed(second, 1, None, 0);
    assert!(!schedule.take_over(second, first, 0), "it isn't idle");
    assert_eq!(schedule.next(first, Signal::Good, None, 0), Next::Idle);
    assert!(schedule.take_over(second, first, 0));
    assert!(!schedule.take_over(second, first, 0), "it is gone");
    assert_eq!((schedule.hosts.connections(address(1)), schedule.sessions()), (1, (1, 0)));
    // Its domain has nothing more; nobody closes what it no longer has.
    assert_eq!((schedule.domains(), schedule.poll(100)), (1, None));
    assert_eq!(schedule.next(second, Signal::Good, None, 100), Next::Idle);
    assert_eq!(schedule.poll(200), Some(Command::Close(second)));
    assert_eq!((schedule.hosts.connections(address(1)), schedule.domains()), (0, 0));
}
