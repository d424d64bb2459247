//! Places of the server and of local addresses, and those that are kept for domains that were woken.

use super::shards::{busy, busy_from, postpone, session, shards};
use super::*;

const SOURCE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)));

/// Tells all what they have to be told.
fn tell<const N: usize>(shards: &mut [Schedule; N], now: i64) -> usize {
    let mut told = 0;
    while let Some(call) = shards.iter_mut().find_map(Schedule::next_call) {
        shards[call.shard].called(&call, now);
        told += 1;
    }
    told
}

fn go(schedule: &mut Schedule, session: SessionId, to: u8, source: Option<IpAddr>, now: i64) {
    assert_eq!(schedule.connect(session, address(to), source, IfBusy::Leave, now), Admission::Go);
}

#[test]
fn sessions_are_bounded_over_all_shards_which_take_turns() {
    let mut both = shards::<2>(Settings { sessions_max: 2, ..Settings::DEFAULT });
    let mut running: VecDeque<(usize, Turn)> = VecDeque::new();
    let mut turns = [0_u32; 2];
    // One has much for many domains, the other much for one.
    (0..50).for_each(|domain| both[0].notify(due(domain, 0), 0));
    both[1].notify(due(100, 0), 0);
    for _ in 0..200 {
        for shard in 0..2 {
            while let Some(command) = both[shard].poll(0) {
                let Command::Start(turn) = command else { panic!("{command:?}") };
                both[shard].claimed(turn.session, 20, Some(0), 0);
                turns[shard] += 1;
                running.push_back((shard, turn));
                assert!(running.len() <= 2);
            }
        }
        if tell(&mut both, 0) > 0 {
            continue;
        }
        assert_eq!(running.len(), 2, "no place is lost");
        let (shard, turn) = running.pop_front().unwrap();
        let _ = both[shard].finished(turn.session, ended(Signal::Neutral, Some(0)), 0);
    }
    assert!(turns[0].min(turns[1]) > 40 && turns[0].abs_diff(turns[1]) <= 3, "{turns:?}");
}

#[test]
fn a_place_of_the_server_that_is_not_needed_goes_to_the_next_shard() {
    let mut three = shards::<3>(Settings { sessions_max: 1, ..Settings::DEFAULT });
    let open = session(&mut three[0], 0, 0);
    for (domain, shard) in (1..).zip(&mut three[1..]) {
        shard.notify(due(domain, 0), 0);
        assert_eq!(shard.poll(0), None, "there is no place");
    }
    let mark = three[1].mark(1);
    three[1].set(1, mark, None, 0);
    let _ = three[0].finished(open, ended(Signal::Good, None), 0);
    let call = three[0].next_call().unwrap();
    assert_eq!(call.shard, 1);
    three[1].called(&call, 0);
    assert_eq!(three[1].poll(0), None);
    assert_eq!((tell(&mut three, 0), starts(&mut three[2], 0)), (1, vec![2]));
}

/// Connections that lie idle count, and are closed when another needs the place, whoever has it.
#[test]
fn what_lies_idle_makes_room_for_a_session() {
    for own in [true, false] {
        let mut both = shards::<2>(Settings { sessions_max: 1, ..Settings::DEFAULT });
        let idle = session(&mut both[0], 0, 0);
        go(&mut both[0], idle, 1, None, 0);
        assert_eq!(both[0].next(idle, Signal::Good, None, 0), Next::Idle);
        let shard = usize::from(!own);
        both[shard].notify(due(7, 0), 0);
        if !own {
            assert_eq!((both[1].poll(0), tell(&mut both, 0)), (None, 1));
        }
        assert_eq!(both[0].poll(0), Some(Command::Close(idle)));
        tell(&mut both, 0);
        assert_eq!(starts(&mut both[shard], 0), [7]);
    }
}

#[test]
fn what_is_used_again_before_it_hears_that_it_is_to_be_closed_makes_room_later() {
    let mut both = shards::<2>(Settings { sessions_max: 2, ..Settings::DEFAULT });
    let idle = [0, 1].map(|domain| {
        let idle = session(&mut both[0], domain, 0);
        go(&mut both[0], idle, 1, None, 0);
        assert_eq!(both[0].next(idle, Signal::Neutral, None, 0), Next::Idle);
        idle
    });
    both[1].notify(due(7, 0), 0);
    assert_eq!(both[1].poll(0), None);
    both[0].notify(due(0, 0), 0);
    let Some(Command::Reuse(turn)) = both[0].poll(0) else { panic!() };
    assert_eq!(turn.session, idle[0]);
    both[0].claimed(idle[0], 1, None, 0);
    // The other one is asked in its place.
    tell(&mut both, 0);
    assert_eq!(both[0].poll(0), Some(Command::Close(idle[1])));
    both[1].notify(due(8, 0), 0);
    tell(&mut both, 0);
    assert_eq!(starts(&mut both[1], 0), [7]);
    // And who goes on doesn't while another shard waits.
    assert_eq!(both[0].next(idle[0], Signal::Neutral, Some(0), 0), Next::Close);
    let _ = both[0].finished(idle[0], ended(Signal::Neutral, Some(0)), 0);
    tell(&mut both, 0);
    assert_eq!(starts(&mut both[1], 0), [8]);
}

#[test]
fn connections_from_an_address_are_bounded_over_all_shards_and_who_waits_longest_is_next() {
    let settings = Settings { source_connections_max: 1, ..Settings::DEFAULT };
    let mut three = shards::<3>(settings);
    let open = session(&mut three[0], 0, 0);
    go(&mut three[0], open, 9, SOURCE, 0);
    for shard in [2, 1, 0_usize] {
        let waits = session(&mut three[shard], 10 + shard as u64, 0);
        busy_from(&mut three[shard], waits, SOURCE, 0);
    }
    assert_eq!(three[0].hosts.connections(address(1)), 0, "it has no place at the host");
    // From elsewhere it goes.
    let other = session(&mut three[1], 4, 0);
    go(&mut three[1], other, 1, Some(address(200)), 0);
    let mut last = (0, open);
    for shard in [2, 1, 0_usize] {
        three[last.0].disconnected(last.1, Signal::Neutral, 1);
        tell(&mut three, 1);
        let turn = started(&mut three[shard], 1);
        assert_eq!(turn.domain, 10 + shard as u64);
        three[shard].claimed(turn.session, 1, None, 1);
        go(&mut three[shard], turn.session, 1, SOURCE, 1);
        last = (shard, turn.session);
    }
    three[0].disconnected(last.1, Signal::Neutral, 1);
    assert_eq!(three[0].hosts.taken(Scope::Source(SOURCE.unwrap())), 0);
}

#[test]
fn what_lies_idle_makes_room_for_a_connection_from_its_address() {
    let mut both = shards::<2>(Settings { source_connections_max: 1, ..Settings::DEFAULT });
    let idle = session(&mut both[0], 0, 0);
    go(&mut both[0], idle, 2, SOURCE, 0);
    assert_eq!(both[0].next(idle, Signal::Good, None, 0), Next::Idle);
    let waits = session(&mut both[1], 1, 0);
    busy_from(&mut both[1], waits, SOURCE, 0);
    tell(&mut both, 0);
    assert_eq!(both[0].poll(0), Some(Command::Close(idle)));
    tell(&mut both, 0);
    let turn = started(&mut both[1], 0);
    both[1].claimed(turn.session, 1, None, 0);
    go(&mut both[1], turn.session, 1, SOURCE, 0);
    // It doesn't lie idle while another waits for that place.
    let waits = session(&mut both[0], 2, 0);
    busy_from(&mut both[0], waits, SOURCE, 0);
    assert_eq!(both[1].next(turn.session, Signal::Neutral, None, 0), Next::Close);
}

/// Who has a place at the host and none to come from leaves it to others.
#[test]
fn a_place_at_a_host_is_not_held_while_waiting_for_an_address() {
    let settings = Settings { source_connections_max: 1, host_connections_max: 1, ..Settings::DEFAULT };
    let mut both = shards::<2>(settings);
    let [far, here] = [0, 1].map(|domain| session(&mut both[0], domain, 0));
    go(&mut both[0], far, 9, SOURCE, 0);
    go(&mut both[0], here, 1, None, 0);
    let first = session(&mut both[1], 2, 0);
    busy_from(&mut both[1], first, SOURCE, 0);
    let second = session(&mut both[1], 3, 0);
    busy(&mut both[1], second, 0);
    both[0].disconnected(here, Signal::Neutral, 0);
    tell(&mut both, 0);
    let turn = started(&mut both[1], 0);
    both[1].claimed(turn.session, 1, None, 0);
    assert_eq!(turn.domain, 2);
    let Admission::Busy { until } = both[1].connect(turn.session, address(1), SOURCE, IfBusy::Leave, 0)
    else {
        panic!()
    };
    postpone(&mut both[1], turn.session, until, 0);
    assert_eq!(starts(&mut both[1], 0), [3], "it has the place");
    both[0].disconnected(far, Signal::Neutral, 0);
    tell(&mut both, 0);
    assert_eq!(starts(&mut both[1], 0), [2]);
}

/// Two domains that wait for the one connection to a host that is allowed, on another shard; it has just ended.
fn woken() -> [Schedule; 2] {
    let mut both = shards::<2>(Settings { host_connections_max: 1, ..Settings::DEFAULT });
    let open = session(&mut both[0], 0, 0);
    go(&mut both[0], open, 1, None, 0);
    for domain in [1, 2] {
        let waits = session(&mut both[1], domain, 0);
        busy(&mut both[1], waits, 0);
    }
    both[0].disconnected(open, Signal::Neutral, 1);
    tell(&mut both, 1);
    both
}

#[test]
fn a_kept_place_that_is_not_needed_is_given_up_at_once() {
    // Its entries are gone when they are to be claimed.
    let [_, mut schedule] = woken();
    let turn = started(&mut schedule, 1);
    assert_eq!((turn.domain, schedule.poll(1)), (1, None));
    schedule.claimed(turn.session, 0, None, 1);
    let _ = schedule.finished(turn.session, ended(Signal::Neutral, None), 1);
    assert_eq!(starts(&mut schedule, 1), [2]);
    // They go elsewhere.
    let [_, mut schedule] = woken();
    let turn = started(&mut schedule, 1);
    schedule.claimed(turn.session, 1, None, 1);
    go(&mut schedule, turn.session, 2, None, 1);
    assert_eq!(starts(&mut schedule, 1), [2]);
    // Somebody removes them before the turn comes.
    let [_, mut schedule] = woken();
    let mark = schedule.mark(1);
    schedule.set(1, mark, Some(500), 1);
    assert_eq!(starts(&mut schedule, 1), [2]);
    // The turn takes long.
    let [_, mut schedule] = woken();
    let turn = started(&mut schedule, 1);
    schedule.claimed(turn.session, 1, None, 1);
    assert_eq!((schedule.poll(10), schedule.next_wake()), (None, Some(11)));
    assert_eq!(starts(&mut schedule, 11), [2]);
}

/// In the midst of an attempt, one host after the other is tried.
#[test]
fn no_place_is_kept_for_who_goes_on_without() {
    for (waits_at, source) in [(1, None), (2, SOURCE)] {
        let settings = Settings { host_connections_max: 1, source_connections_max: 1, ..Settings::DEFAULT };
        let mut both = shards::<2>(settings);
        let open = session(&mut both[0], 0, 0);
        go(&mut both[0], open, 1, source, 0);
        let goes_on = session(&mut both[1], 1, 0);
        let admission = both[1].connect(goes_on, address(waits_at), source, IfBusy::GoOn, 0);
        assert!(matches!(admission, Admission::Busy { .. }), "{admission:?}");
        assert_eq!(both[1].obstacle(1, 0), None);
        go(&mut both[1], goes_on, 3, None, 0);
        let waits = session(&mut both[1], 2, 0);
        let Admission::Busy { until } = both[1].connect(waits, address(waits_at), source, IfBusy::Leave, 0)
        else {
            panic!()
        };
        postpone(&mut both[1], waits, until, 0);
        both[0].disconnected(open, Signal::Neutral, 1);
        tell(&mut both, 1);
        assert_eq!(starts(&mut both[1], 1), [2]);
        // It lies idle, and its domain wakes as any other.
        assert_eq!(both[1].next(goes_on, Signal::Neutral, Some(9), 1), Next::Idle);
        assert_eq!(both[1].next_wake(), Some(9));
    }
}

#[test]
fn a_kept_place_is_for_who_comes_for_it() {
    let [mut other, mut schedule] = woken();
    let late = session(&mut other, 9, 1);
    busy(&mut other, late, 1);
    let turn = started(&mut schedule, 1);
    schedule.claimed(turn.session, 1, None, 1);
    // An address that is down is not what it was kept for.
    other.notify(due(8, 1), 1);
    let down = started(&mut other, 1).session;
    go(&mut other, down, 3, None, 1);
    other.disconnected(down, Signal::Down, 1);
    assert_eq!(
        schedule.connect(turn.session, address(3), None, IfBusy::Leave, 1),
        Admission::Down { until: 61 }
    );
    go(&mut schedule, turn.session, 1, None, 1);
    assert_eq!((schedule.poll(1), schedule.next_call()), (None, None));
    assert_eq!(schedule.next_wake(), Some(300), "the other one waits");
}

#[test]
fn a_host_that_takes_more_wakes_who_waits_before_a_connection_ends() {
    let mut both = shards::<2>(Settings::DEFAULT);
    let open = [0, 1].map(|domain| session(&mut both[0], domain, 0));
    open.iter().for_each(|one| go(&mut both[0], *one, 1, None, 0));
    let waits = session(&mut both[1], 2, 0);
    busy(&mut both[1], waits, 0);
    let Next::Claim(_) = both[0].next(open[0], Signal::Good, Some(0), 1) else { panic!() };
    tell(&mut both, 1);
    assert_eq!(starts(&mut both[1], 1), [2]);
    // Each message counts, and not each turn.
    for domain in 3..6 {
        let waits = session(&mut both[1], domain, 1);
        busy(&mut both[1], waits, 1);
    }
    both[0].delivered(open[1], 1);
    both[0].delivered(open[1], 1);
    tell(&mut both, 1);
    assert_eq!(starts(&mut both[1], 1), [3, 4]);
}

/// Connections that are passed on from domain to domain don't end.
#[test]
fn a_host_with_domains_that_wait_gets_as_many_connections_as_it_may_have() {
    let mut both = shards::<2>(Settings::DEFAULT);
    let mut open: VecDeque<(usize, SessionId)> = VecDeque::new();
    (0..400).for_each(|domain| both[usize::from(domain % 2 == 0)].notify(due(domain, 0), 0));
    let mut most = 0;
    for now in 0..100 {
        loop {
            let mut has_some = tell(&mut both, now) > 0;
            for (shard, schedule) in both.iter_mut().enumerate() {
                while let Some(command) = schedule.poll(now) {
                    has_some = true;
                    let Command::Start(turn) = command else { continue };
                    schedule.claimed(turn.session, 1, None, now);
                    let idle = open.iter().position(|(of, idle)| *of == shard && schedule.is_idle(*idle));
                    if let Some(idle) = idle
                        && schedule.take_over(turn.session, open[idle].1, now)
                    {
                        open[idle].1 = turn.session;
                        continue;
                    }
                    match schedule.connect(turn.session, address(1), None, IfBusy::Leave, now) {
                        Admission::Go => {
                            schedule.share(turn.session);
                            open.push_back((shard, turn.session));
                        }
                        Admission::Busy { until } => postpone(schedule, turn.session, until, now),
                        Admission::Down { .. } => panic!("it is up"),
                    }
                }
            }
            if !has_some {
                break;
            }
        }
        most = most.max(both[0].hosts.connections(address(1)));
        // Each takes a second for a message.
        let mut left = VecDeque::new();
        for (shard, session) in std::mem::take(&mut open) {
            match both[shard].next(session, Signal::Good, None, now) {
                Next::Idle => left.push_back((shard, session)),
                _ if both[shard].is_idle(session) => left.push_back((shard, session)),
                _ => {
                    let _ = both[shard].finished(session, ended(Signal::Good, None), now);
                }
            }
        }
        open = left;
        if now == 8 {
            assert_eq!(most, Settings::DEFAULT.host_connections_max, "after a few messages");
        }
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_places_for_longer() {
    const DAY: i64 = 86_400;
    let [_, mut schedule] = woken();
    assert_eq!(started(&mut schedule, 1).domain, 1);
    assert_eq!((schedule.poll(1 - DAY), schedule.next_wake()), (None, Some(0)));
    let other = session(&mut schedule, 5, 1 - DAY);
    go(&mut schedule, other, 1, None, 1 - DAY);
}
