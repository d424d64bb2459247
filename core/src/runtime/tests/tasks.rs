//! Tasks, timers, wake-ups across threads, the pool, stalls, the end.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::poll_once;

use super::super::*;
use super::{on_shard, unpinned, wait_until};
use crate::testing::{PATIENCE, once};

#[test]
fn a_shard_that_dies_stops_the_others_and_is_named() {
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    let options = unpinned(2);
    let runtime = Runtime::start(&options, shutdown, move |shard| {
        let stop = stop.clone();
        async move {
            assert_ne!(shard, ShardId(1), "this one dies");
            stop.wait().await;
        }
    })
    .unwrap();
    let Err(RuntimeError::Died(death)) = runtime.join() else { panic!("a death must be reported") };
    assert_eq!(death.shard, ShardId(1));
}

#[test]
fn oneshots_wake_a_shard_from_a_thread() {
    on_shard(|| async {
        for round in 0..1000 {
            let (sender, receiver) = oneshot::oneshot();
            thread_sends(round, sender);
            assert_eq!(timeout(PATIENCE, receiver).await.unwrap(), Ok(round));
        }
    });
}

fn thread_sends(value: u32, sender: oneshot::Sender<u32>) {
    thread::spawn(move || {
        if value.is_multiple_of(3) {
            thread::sleep(Duration::from_micros(200));
        }
        sender.send(value).unwrap();
    });
}

#[test]
fn a_oneshot_reports_either_side_gone() {
    let (sender, receiver) = oneshot::oneshot::<u8>();
    drop(sender);
    assert_eq!(receiver.wait_blocking(), Err(channel::Closed));
    let (sender, receiver) = oneshot::oneshot();
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.send(7), Err(7));
}

#[test]
fn a_full_channel_holds_the_sender_up() {
    let (sender, receiver) = channel::bounded(2);
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    assert_eq!(sender.try_send(3), Err(channel::TrySendError::Full(3)));
    let (begin, begun) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        begun.recv().unwrap();
        std::iter::from_fn(|| receiver.recv_blocking().ok()).collect::<Vec<_>>()
    });
    on_shard(move || async move {
        let mut sending = pin!(sender.send(3));
        assert!(poll_once(sending.as_mut()).await.is_none());
        begin.send(()).unwrap();
        sending.await.unwrap();
    });
    assert_eq!(reader.join().unwrap(), [1, 2, 3]);
}

#[test]
fn channels_carry_between_shards_both_ways() {
    const ROUNDS: u32 = 2000;
    let (there, hither) = (channel::bounded::<u32>(4), channel::bounded::<u32>(4));
    let options = unpinned(2);
    let runtime = Runtime::start(&options, Shutdown::new(), move |shard| {
        let (there, hither) = (there.clone(), hither.clone());
        async move {
            for round in 0..ROUNDS {
                if shard == ShardId(0) {
                    there.0.send(round).await.unwrap();
                    assert_eq!(hither.1.recv().await, Ok(round + 1));
                } else {
                    assert_eq!(there.1.recv().await, Ok(round));
                    hither.0.send(round + 1).await.unwrap();
                }
            }
        }
    })
    .unwrap();
    runtime.join().unwrap();
}

#[test]
fn timers_fire_in_order_and_not_early() {
    let order = || async {
        let began = now();
        let order = Rc::new(Cell::new(0));
        let tasks: Vec<_> = [30_u64, 10, 20]
            .into_iter()
            .map(|millis| {
                let order = Rc::clone(&order);
                spawn_task("timer", async move {
                    sleep(Duration::from_millis(millis)).await;
                    assert!(began.elapsed() >= Duration::from_millis(millis));
                    order.set(order.get() * 100 + millis);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        order.get()
    };
    // A machine that stands still for so long lets all pass before some are set.
    assert!(once(|_| on_shard(order) == 10_20_30));
    on_shard(|| async {
        let began = now();
        let late = timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
        assert_eq!(late, Err(Elapsed));
        // What is ready wins over a deadline that has passed.
        assert_eq!(timeout_at(began, async { 7 }).await, Ok(7));
    });
}

#[test]
fn forty_thousand_tasks_can_wait_for_one_event() {
    // One task with that many wakers would end the executor; one waker each is the way.
    on_shard(|| async {
        let (notify, woken) = (LocalNotify::new(), Rc::new(Cell::new(0)));
        for _ in 0..40_000 {
            let (changed, woken) = (notify.changed(0), Rc::clone(&woken));
            spawn("waiter", async move {
                changed.await;
                woken.set(woken.get() + 1);
            });
        }
        while notify.waiting() < 40_000 {
            yield_now().await;
        }
        notify.notify();
        while woken.get() < 40_000 {
            yield_now().await;
        }
        assert_eq!(notify.waiting(), 0);
    });
}

#[test]
fn a_change_before_the_wait_is_not_missed() {
    on_shard(|| async {
        let notify = LocalNotify::new();
        let seen = notify.version();
        notify.notify();
        notify.notify();
        assert_eq!(notify.changed(seen).await, 2);
        assert!(timeout(Duration::from_millis(2), notify.changed(2)).await.is_err());
        assert_eq!(notify.waiting(), 0, "a dropped wait leaves its place");
    });
}

#[test]
fn turns_are_taken_one_after_the_other() {
    on_shard(|| async {
        let turns = Rc::new(Turns::default());
        let (taken, done) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        for _ in 0..20 {
            let (turns, taken, done) = (Rc::clone(&turns), Rc::clone(&taken), Rc::clone(&done));
            spawn("one of many", async move {
                let _turn = turns.take().await;
                assert!(!taken.replace(true), "two have a turn");
                sleep(Duration::from_millis(1)).await;
                taken.set(false);
                done.set(done.get() + 1);
            });
        }
        yield_now().await;
        // Who gives up waiting takes no turn along.
        assert!(timeout(Duration::from_millis(2), turns.take()).await.is_err());
        let all = async {
            while done.get() < 20 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("each had a turn");
        drop(turns.take().await);
    });
}

#[test]
fn who_takes_turn_after_turn_lets_others_have_theirs() {
    on_shard(|| async {
        let (turns, order) = (Rc::new(Turns::default()), Rc::new(RefCell::new(Vec::new())));
        let first = turns.take().await;
        for number in 1..=2 {
            let (turns, order) = (Rc::clone(&turns), Rc::clone(&order));
            spawn("one turn", async move {
                let _turn = turns.take().await;
                order.borrow_mut().push(number);
            });
        }
        yield_now().await;
        drop(first);
        for _ in 0..2 {
            let _turn = turns.take().await;
            order.borrow_mut().push(0);
        }
        assert_eq!(*order.borrow(), [1, 2, 0, 0]);
    });
}

#[test]
fn shared_turns_wait_for_who_wants_one_alone_and_it_for_them() {
    on_shard(|| async {
        let turns = Turns::default();
        let short = Duration::from_millis(2);
        let (one, other) = (turns.share().await, turns.share().await);
        {
            let mut alone = Box::pin(turns.take());
            assert!(timeout(short, alone.as_mut()).await.is_err(), "two are shared");
            assert!(timeout(short, turns.share()).await.is_err(), "somebody waits for one alone");
            drop((one, other));
            let alone = timeout(PATIENCE, alone).await.expect("nobody has one");
            assert!(timeout(short, turns.share()).await.is_err(), "somebody has one alone");
            assert!(timeout(short, turns.take()).await.is_err());
            drop(alone);
        }
        // Who gave up waiting doesn't count.
        let _shared = timeout(short, turns.share()).await.expect("nobody has or wants one alone");
        assert!(timeout(short, turns.take()).await.is_err());
        drop(timeout(short, turns.share()).await.expect("nobody wants one any more"));
    });
}

#[test]
fn dropping_a_task_handle_cancels_and_a_panic_is_an_error() {
    on_shard(|| async {
        let task = spawn_task("bad", async { panic!("on purpose") });
        assert_eq!(task.await, Err::<(), _>(TaskPanicked));
        let ran = Rc::new(Cell::new(false));
        let flag = Rc::clone(&ran);
        drop(spawn_task("cancelled", async move {
            sleep(Duration::from_millis(2)).await;
            flag.set(true);
        }));
        sleep(Duration::from_millis(10)).await;
        assert!(!ran.get());
    });
}

#[test]
fn a_new_task_runs_after_the_caller_gives_way() {
    on_shard(|| async {
        let shared = Rc::new(RefCell::new(Vec::new()));
        let task = {
            let mut held = shared.borrow_mut();
            let theirs = Rc::clone(&shared);
            let task = spawn_task("borrower", async move { theirs.borrow_mut().push("task") });
            held.push("caller");
            task
        };
        task.await.unwrap();
        assert_eq!(*shared.borrow(), ["caller", "task"]);
    });
}

#[test]
fn a_stall_is_counted_and_its_task_named() {
    let named = |_| {
        let runtime = Runtime::start(&unpinned(1), Shutdown::new(), |_| async {
            spawn_task("heavy work", async { thread::sleep(Duration::from_millis(300)) }).await.unwrap();
            spawn_task("light work", async { thread::sleep(Duration::from_millis(1)) }).await.unwrap();
        })
        .unwrap();
        let stats = Arc::clone(runtime.stats());
        runtime.join().unwrap();
        let figures = stats[0].snapshot();
        assert!(figures.stalls >= 1);
        assert!(figures.longest_stall >= Duration::from_millis(300));
        assert_eq!(figures.tasks, 0);
        assert_eq!(figures.running, None);
        figures.longest_label
    };
    // Whatever runs while the machine stands still takes long.
    assert!(once(|number| named(number) == "heavy work"));
}

#[test]
fn a_shard_that_hangs_can_be_seen_from_outside() {
    let (go, wait) = channel::bounded::<()>(1);
    let runtime = Runtime::start(&unpinned(1), Shutdown::new(), move |_| {
        let wait = wait.clone();
        async move {
            spawn_task("hung", async move { wait.recv_blocking().unwrap() }).await.unwrap();
        }
    })
    .unwrap();
    let stats = Arc::clone(runtime.stats());
    wait_until(|| stats[0].snapshot().running.is_some_and(|(label, _)| label == "hung"));
    thread::sleep(Duration::from_millis(5));
    assert!(stats[0].snapshot().running.unwrap().1 >= Duration::from_millis(5));
    go.send_blocking(()).unwrap();
    runtime.join().unwrap();
}

#[test]
fn the_pool_runs_refuses_and_survives_panics() {
    let pool = Pool::start("test", PoolLimits { threads: 1, queue_max: 2 }, Priority::Usual).unwrap();
    on_shard(move || async move {
        let (open, gate) = channel::bounded::<()>(1);
        let first = pool.run(move || gate.recv_blocking().is_ok());
        while pool.stats().running == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let (second, third) = (pool.run(|| 2), pool.run(|| panic!("on purpose")));
        assert_eq!(pool.stats().queued, 2);
        assert_eq!(pool.run(|| 4).await, Err(PoolError::Full));
        let here = thread::current().id();
        let full = pool.run_anyway(|| thread::current().id()).await;
        assert_eq!(full, Ok(here), "what has to be done is done by the one who asks");
        open.send(()).await.unwrap();
        assert_eq!(first.await, Ok(true));
        assert_eq!(second.await, Ok(2));
        assert_eq!(third.await, Err::<(), _>(PoolError::Panicked));
        assert_eq!(pool.run(|| 5).await, Ok(5));
        assert_ne!(pool.run_anyway(|| thread::current().id()).await, Ok(here));
        let stats = pool.stats();
        assert_eq!((stats.refused, stats.panics, stats.queued), (1, 1, 0));
    });
}

#[test]
fn shutdown_reaches_shards_and_keeps_the_earliest_deadline() {
    let shutdown = Shutdown::new();
    assert!(!shutdown.is_stopping());
    assert_eq!(shutdown.deadline(), None);
    let thrower = shutdown.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        thrower.begin(Duration::from_secs(5));
        thrower.begin(Duration::from_secs(60));
    });
    let waiting = shutdown.clone();
    let deadline = on_shard(move || async move { waiting.wait().await });
    assert!(shutdown.is_stopping());
    assert!(deadline <= Instant::now() + Duration::from_secs(5));
    assert!(shutdown.deadline().unwrap() <= Instant::now() + Duration::from_secs(5));
}
