//! Events at random.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Notify { domain: u64, after: i64 },
    Claim { none: bool },
    Connect { address: u8 },
    End { signal: Signal, again: bool },
    Next,
    Wait(i64),
}

fn event() -> impl Strategy<Value = Event> {
    let signal =
        prop_oneof![Just(Signal::Good), Just(Signal::Neutral), Just(Signal::Slower), Just(Signal::Down)];
    prop_oneof![
        (0..8_u64, 0..100_i64).prop_map(|(domain, after)| Event::Notify { domain, after }),
        any::<bool>().prop_map(|none| Event::Claim { none }),
        (0..3_u8).prop_map(|address| Event::Connect { address }),
        (signal, any::<bool>()).prop_map(|(signal, again)| Event::End { signal, again }),
        Just(Event::Next),
        (1..400_i64).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Whatever happens, limits hold, and when everything has ended nothing is left over.
    #[test]
    fn whatever_happens_limits_hold_and_nothing_is_stuck(events in prop::collection::vec(event(), 0..200)) {
        let settings = Settings {
            sessions_max: 3,
            idle_max: 1,
            host_connections_max: 2,
            source_connections_max: 2,
            ..Settings::DEFAULT
        };
        let source = |n: u8| (n > 0).then(|| address(200 + n));
        let mut schedule = Schedule::new(settings);
        let mut open: Vec<SessionId> = Vec::new();
        let mut now = 0;
        let take = |schedule: &mut Schedule, open: &mut Vec<SessionId>, now| {
            while let Some(command) = schedule.poll(now) {
                match command {
                    Command::Start(turn) => open.push(turn.session),
                    Command::Reuse(turn) => assert!(open.contains(&turn.session)),
                    Command::Close(session) => open.retain(|one| *one != session),
                }
            }
            let (active, idle) = schedule.sessions();
            assert!(active + idle <= settings.sessions_max && idle <= settings.idle_max);
            assert_eq!(active + idle, open.len());
            for n in 0..3 {
                assert!(schedule.hosts.connections(address(n)) <= settings.host_connections_max);
                let from = source(n).map_or(0, |source| schedule.hosts.taken(Scope::Source(source)));
                assert!(from <= settings.source_connections_max);
            }
        };
        for event in events {
            let first = open.first().copied();
            match (event, first) {
                (Event::Notify { domain, after }, _) => {
                    schedule.notify(Notice { domain, due: now + after, entry: Some((1, 1)) }, now);
                }
                (Event::Wait(seconds), _) => now += seconds,
                (_, None) => {}
                (Event::Claim { none }, Some(session)) => {
                    schedule.claimed(session, usize::from(!none), (!none).then_some(now), now);
                }
                (Event::Connect { address: n }, Some(session)) => {
                    schedule.connect(session, address(n), source(n), IfBusy::Leave, now);
                }
                (Event::End { signal, again }, Some(session)) => {
                    open.remove(0);
                    let _ = schedule.finished(session, ended(signal, again.then_some(now)), now);
                }
                (Event::Next, Some(session)) => {
                    if schedule.next(session, Signal::Good, Some(now), now) == Next::Close {
                        open.remove(0);
                        let _ = schedule.finished(session, ended(Signal::Good, None), now);
                    } else {
                        open.rotate_left(1);
                    }
                }
            }
            take(&mut schedule, &mut open, now);
        }
        for _ in 0..1000 {
            for session in open.drain(..) {
                let _ = schedule.finished(session, ended(Signal::Good, None), now);
            }
            now = now.max(schedule.next_wake().unwrap_or(now));
            take(&mut schedule, &mut open, now);
        }
        prop_assert_eq!((schedule.domains(), schedule.sessions()), (0, (0, 0)));
        prop_assert_eq!(schedule.next_wake(), None);
        for n in 0..3 {
            prop_assert_eq!(schedule.hosts.connections(address(n)), 0);
            prop_assert_eq!(source(n).map_or(0, |source| schedule.hosts.taken(Scope::Source(source))), 0);
        }
        prop_assert_eq!(schedule.hosts.taken(Scope::Server), 0);
    }
}
