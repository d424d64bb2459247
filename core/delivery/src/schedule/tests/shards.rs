//! Schedules that have hosts in common.

use super::*;

/// So many shards.
pub(super) fn shards<const N: usize>(settings: Settings) -> [Schedule; N] {
    let hosts = Arc::new(Hosts::new(settings));
    std::array::from_fn(|shard| Schedule::of_shard(settings, Arc::clone(&hosts), shard))
}

/// A session of a domain that is due and may have its turn.
pub(super) fn session(schedule: &mut Schedule, domain: u64, now: i64) -> SessionId {
    schedule.notify(due(domain, now), now);
    let turn = started(schedule, now);
    assert_eq!(turn.domain, domain);
    schedule.claimed(turn.session, 1, None, now);
    turn.session
}

/// Ends a session that found its host busy.
pub(super) fn postpone(schedule: &mut Schedule, session: SessionId, until: i64, now: i64) {
    let postponed = Ended { postponed: Some(until), ..ended(Signal::Neutral, Some(0)) };
    let _ = schedule.finished(session, postponed, now);
}

pub(super) fn busy(schedule: &mut Schedule, session: SessionId, now: i64) {
    busy_from(schedule, session, None, now);
}

pub(super) fn busy_from(schedule: &mut Schedule, session: SessionId, source: Option<IpAddr>, now: i64) {
    let Admission::Busy { until } = schedule.connect(session, address(1), source, IfBusy::Leave, now) else {
        panic!()
    };
    postpone(schedule, session, until, now);
    assert_eq!(schedule.poll(now), None, "it waits for the host");
}

#[test]
fn connections_to_a_host_are_bounded_over_all_shards_and_who_waits_longest_is_next() {
    let [mut one, mut two] = shards(Settings { sessions_max: 50, ..Settings::DEFAULT });
    let open = [0, 1].map(|domain| session(&mut one, domain, 0));
    for session in open {
        assert_eq!(one.connect(session, address(1), None, IfBusy::Leave, 0), Admission::Go);
    }
    let elsewhere = session(&mut two, 2, 0);
    busy(&mut two, elsewhere, 0);
    let later = session(&mut one, 3, 0);
    busy(&mut one, later, 0);
    // It takes mail slowly: there is room for the one that waits longest, wherever it is.
    one.disconnected(open[0], Signal::Neutral, 1);
    let call = one.next_call().unwrap();
    assert_eq!((call.shard, one.next_call(), one.poll(1)), (1, None, None));
    // Who comes now doesn't pass it.
    let late = session(&mut one, 4, 1);
    assert!(matches!(one.connect(late, address(1), None, IfBusy::Leave, 1), Admission::Busy { .. }));
    two.called(&call, 1);
    let turn = started(&mut two, 1);
    two.claimed(turn.session, 1, None, 1);
    assert_eq!(
        (turn.domain, two.connect(turn.session, address(1), None, IfBusy::Leave, 1)),
        (2, Admission::Go)
    );
    assert_eq!(two.hosts.connections(address(1)), 2);
    // And then the next.
    two.disconnected(turn.session, Signal::Neutral, 2);
    let call = two.next_call().unwrap();
    one.called(&call, 2);
    assert_eq!((call.shard, started(&mut one, 2).domain), (0, 3));
}

#[test]
fn a_connection_that_lies_idle_on_another_shard_makes_room() {
    let [mut one, mut two] = shards(SETTINGS);
    for domain in 0..2 {
        let idle = session(&mut one, domain, 0);
        assert_eq!(one.connect(idle, address(1), None, IfBusy::Leave, 0), Admission::Go);
        assert_eq!(one.next(idle, Signal::Neutral, None, 0), Next::Idle);
    }
    let waits = session(&mut two, 2, 0);
    busy(&mut two, waits, 0);
    let call = two.next_call().unwrap();
    assert_eq!(call.shard, 0);
    one.called(&call, 0);
    assert!(matches!(one.poll(0), Some(Command::Close(_))));
    let call = one.next_call().unwrap();
    two.called(&call, 0);
    assert_eq!((call.shard, starts(&mut two, 0)), (1, vec![2]));
    assert_eq!((one.next_call(), two.next_call()), (None, None));
}

/// A connection can't go from one shard to another.
#[test]
fn a_connection_goes_on_for_its_own_shard_and_ends_for_others() {
    for (is_here, expected) in [(false, Next::Close), (true, Next::Idle)] {
        let [mut one, mut two] = shards(Settings { sessions_max: 50, ..Settings::DEFAULT });
        let open = [0, 1].map(|domain| session(&mut one, domain, 0));
        for session in open {
            assert_eq!(one.connect(session, address(1), None, IfBusy::Leave, 0), Admission::Go);
            one.share(session);
        }
        let elsewhere = session(&mut two, 2, 0);
        busy(&mut two, elsewhere, 0);
        if is_here {
            let here = session(&mut one, 3, 0);
            busy(&mut one, here, 0);
        }
        assert_eq!(one.next(open[0], Signal::Neutral, None, 1), expected);
        assert_eq!(starts(&mut one, 1), if is_here { vec![3] } else { vec![] });
    }
}

/// Each shard goes on with its own connections: one that closed those of another for each message would have to make them
/// anew, and the other, too.
#[test]
fn shards_with_connections_leave_each_other_those_that_are_used() {
    let [mut one, mut two] = shards(Settings { sessions_max: 50, ..Settings::DEFAULT });
    let open = session(&mut one, 0, 0);
    assert_eq!(one.connect(open, address(1), None, IfBusy::Leave, 0), Admission::Go);
    one.share(open);
    let own = session(&mut two, 1, 0);
    assert_eq!(two.connect(own, address(1), None, IfBusy::Leave, 0), Admission::Go);
    // One lies idle before the other shard has more to send than its connection can take.
    assert_eq!(one.next(open, Signal::Neutral, None, 0), Next::Idle);
    let waits = session(&mut two, 2, 0);
    busy(&mut two, waits, 0);
    one.called(&two.next_call().unwrap(), 0);
    assert_eq!(one.poll(0), None, "it has a while");
    // It is used again, and has its while again.
    one.notify(due(0, 0), 0);
    let Some(Command::Reuse(turn)) = one.poll(0) else { panic!() };
    one.claimed(turn.session, 1, None, 0);
    assert_eq!(one.next(open, Signal::Neutral, None, 3), Next::Idle);
    assert_eq!((one.poll(3), one.next_wake()), (None, Some(4)));
    // What nobody used is one too many here.
    assert_eq!(one.poll(4), Some(Command::Close(open)));
    two.called(&one.next_call().unwrap(), 4);
    assert_eq!(starts(&mut two, 4), [2]);
}

#[test]
fn a_place_for_a_domain_that_has_nothing_more_to_send_goes_to_the_next() {
    let [mut one, mut two, mut three] = shards(Settings { sessions_max: 50, ..Settings::DEFAULT });
    let open = [0, 1].map(|domain| session(&mut one, domain, 0));
    for session in open {
        assert_eq!(one.connect(session, address(1), None, IfBusy::Leave, 0), Admission::Go);
    }
    for (schedule, domain) in [(&mut two, 2), (&mut three, 3)] {
        let waits = session(schedule, domain, 0);
        busy(schedule, waits, 0);
    }
    // Somebody removed what it had.
    let mark = two.mark(2);
    two.set(2, mark, None, 1);
    one.disconnected(open[0], Signal::Neutral, 1);
    let call = one.next_call().unwrap();
    two.called(&call, 1);
    let call = two.next_call().unwrap();
    assert_eq!(call.shard, 2);
    three.called(&call, 1);
    assert_eq!(starts(&mut three, 1), [3]);
}

#[test]
fn a_host_that_is_down_is_down_for_all_shards() {
    let [mut one, mut two] = shards(SETTINGS);
    let first = session(&mut one, 0, 0);
    assert_eq!(one.connect(first, address(1), None, IfBusy::Leave, 0), Admission::Go);
    one.disconnected(first, Signal::Down, 0);
    let second = session(&mut two, 1, 0);
    assert_eq!(two.connect(second, address(1), None, IfBusy::Leave, 1), Admission::Down { until: 60 });
}

#[test]
fn hosts_with_connections_are_not_forgotten_however_many_there_are() {
    const HOSTS: u32 = 40_000;
    let settings = Settings { sessions_max: usize::MAX, ..Settings::DEFAULT };
    let mut schedule = Schedule::new(settings);
    let to = |n: u32| IpAddr::from(n.to_be_bytes());
    let open: Vec<SessionId> = (0..HOSTS)
        .map(|n| {
            let session = session(&mut schedule, u64::from(n), 0);
            assert_eq!(schedule.connect(session, to(n), None, IfBusy::Leave, 0), Admission::Go);
            session
        })
        .collect();
    assert!((0..HOSTS).all(|n| schedule.hosts.connections(to(n)) == 1));
    open.iter().for_each(|session| schedule.disconnected(*session, Signal::Neutral, 0));
    assert_eq!(schedule.hosts.remembered(), 0);
}

#[test]
fn who_connects_to_the_same_address_again_keeps_the_place() {
    let mut schedule = Schedule::new(SETTINGS);
    let open = [0, 1].map(|domain| session(&mut schedule, domain, 0));
    for session in open {
        assert_eq!(schedule.connect(session, address(1), None, IfBusy::Leave, 0), Admission::Go);
    }
    let waits = session(&mut schedule, 2, 0);
    busy(&mut schedule, waits, 0);
    assert_eq!(schedule.connect(open[0], address(1), None, IfBusy::Leave, 1), Admission::Go);
    assert_eq!((schedule.poll(1), schedule.hosts.connections(address(1))), (None, 2));
    // To another address it doesn't.
    assert_eq!(schedule.connect(open[0], address(2), None, IfBusy::Leave, 1), Admission::Go);
    assert_eq!(starts(&mut schedule, 1), [2]);
}
